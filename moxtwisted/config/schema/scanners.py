"""``[scanners]`` of ``mox.conf``: programs beside us that look at mail from strangers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from moxtwisted.config.schema.structure import ConfigStruct, Octets, Seconds

__all__ = [
    "SCANNERS_OFF_DESCRIPTION",
    "ClamdScanner",
    "MilterScanner",
    "RspamdScanner",
    "ScannerNames",
    "Scanners",
]

_ScannerName = Annotated[
    str, Meta(pattern=r"^(rspamd|clamd|milters\..+)$", title="rspamd, clamd or milters.<name>")
]
ScannerNames = tuple[_ScannerName, ...]
SCANNERS_OFF_DESCRIPTION = (
    "Scanners of mox.conf that are not for its mail: rspamd, clamd, milters.<name>. They are not shown it; a message that is for others as "
    "well is shown to them for those, and what they say of it does not count here."
)

_Address = Annotated[
    str,
    Meta(
        pattern=r"^(/.+|[^:/\s]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5})$",
        title="a path that begins with /, or host:port",
        description="A unix socket (`/run/…`), or `host:port`.",
    ),
]
_WhenUnavailable = Annotated[
    Literal["accept", "defer"],
    Meta(
        description="When it does not answer in time: take mail as if it were not there, or tell senders to try again later. After three "
        "failures in a row it is left alone for half a minute."
    ),
]


class RspamdScanner(ConfigStruct, frozen=True, kw_only=True):
    """Rspamd, asked over HTTP about each message from strangers, beside our own judgement. Its action "add header" (and "rewrite
    subject", "quarantine") makes a message junk, "reject" and "discard" refuse it, "soft reject" refuses it for now."""

    url: Annotated[
        str,
        Meta(pattern=r"^https?://[!-~]+$", title="http://host:port", description="Its normal worker."),
    ] = "http://127.0.0.1:11333"
    controller_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[!-~]+)?$",
            title="http://host:port, or nothing",
            description="Its controller: it is taught there what people move to junk and back. Empty: it is not.",
            examples=["http://127.0.0.1:11334"],
        ),
    ] = ""
    password_file: Annotated[
        str,
        Meta(
            description="A file with the password of the controller; a relative path starts at the directory of mox.conf. Not needed "
            "from addresses that rspamd calls secure_ip."
        ),
    ] = ""
    greylist: Annotated[
        bool,
        Meta(description='Whether its action "greylist" is a temporary refusal, or no reason for anything.'),
    ] = False
    seconds: Annotated[Seconds, Meta(ge=1, le=600, description="How long it may take for one message.")] = (
        20.0
    )
    message_octets: Annotated[
        Octets, Meta(ge=1, le=2**62, description="Larger messages are not shown to it.")
    ] = 52428800
    when_unavailable: _WhenUnavailable = "accept"


class ClamdScanner(ConfigStruct, frozen=True, kw_only=True):
    """ClamAV's clamd. A message in which it finds malware is refused."""

    address: _Address = "/run/clamav/clamd.ctl"
    seconds: Annotated[Seconds, Meta(ge=1, le=600, description="How long it may take for one message.")] = (
        60.0
    )
    when_unavailable: _WhenUnavailable = "accept"


class MilterScanner(ConfigStruct, frozen=True, kw_only=True):
    """A milter. It sees each message from strangers when that has come in whole; it may refuse it, add, change and remove header fields,
    or have it treated as junk (quarantine). One that must change body or recipients cannot be used."""

    address: Annotated[
        str,
        Meta(
            pattern=r"^(/.+|[^:/\s]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5})$",
            title="a path that begins with /, or host:port",
            description="Where it listens: a unix socket (`/run/…`), or `host:port`.",
            examples=["127.0.0.1:8891"],
        ),
    ]
    seconds: Annotated[Seconds, Meta(ge=1, le=600, description="How long it may take for one message.")] = (
        30.0
    )
    when_unavailable: _WhenUnavailable = "accept"


class Scanners(ConfigStruct, frozen=True, kw_only=True):
    """Programs beside us that look at mail from strangers (SMTP, not submission), once for all recipients. None is used when its
    table is not there."""

    rspamd: RspamdScanner | None = None
    clamd: ClamdScanner | None = None
    milters: Annotated[
        dict[str, MilterScanner], Meta(description="By a name for the log.", extra={"example_key": "filter"})
    ] = field(default_factory=dict)
