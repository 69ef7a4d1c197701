"""``[bans]`` of ``mox.conf``: for what networks are kept out, and which never."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from moxtwisted.config.schema.structure import ConfigStruct, PerNetwork, Seconds

_BAN = "; 0: nobody is banned for it."
_FIRST = "How long the first ban lasts; each further one within a week twice as long"


class Bans(ConfigStruct, frozen=True, kw_only=True):
    """Networks that may not connect: those that break these rules, and those of ``moxmail bans add``.

    A network from which somebody logged in within the last week is never banned by a rule.
    """

    never: Annotated[
        tuple[str, ...],
        Meta(
            max_length=1000,
            description="Networks that are never banned, beside this machine. Those of proxy_protocol_from are not banned either.",
        ),
    ] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
    failed_logins_per_day: Annotated[
        PerNetwork,
        Meta(
            description="Log-ins that failed or were refused by authentication_failures_per_minute and …_per_day, in 24 hours; "
            "beyond, the address, network or wider network is banned. The same wrong password again counts a hundredth."
        ),
    ] = (100, 300, 900)
    failed_logins_seconds: Annotated[Seconds, Meta(ge=0, le=604800, description=_FIRST + _BAN)] = 28800.0
    login_names_per_hour: Annotated[
        PerNetwork, Meta(description="Different names with which somebody failed to log in, in an hour.")
    ] = (20, 60, 180)
    login_names_seconds: Annotated[Seconds, Meta(ge=0, le=604800, description=_FIRST + _BAN)] = 28800.0
    spam_traps_per_day: Annotated[PerNetwork, Meta(description="Messages to spam traps, in 24 hours.")] = (
        2,
        6,
        18,
    )
    spam_traps_seconds: Annotated[Seconds, Meta(ge=0, le=604800, description=_FIRST + _BAN)] = 86400.0
    protocol_errors_per_hour: Annotated[
        PerNetwork,
        Meta(description="Connections that we ended because the client made too many errors, in an hour."),
    ] = (10, 30, 90)
    protocol_errors_seconds: Annotated[Seconds, Meta(ge=0, le=604800, description=_FIRST + _BAN)] = 3600.0
