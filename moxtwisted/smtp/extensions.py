"""What EHLO offers, as objects that a host can drop, replace or add to.

An ``Extension`` says its line of the EHLO reply, or None where it does not apply, and brings the parameters and commands
that are understood while it is offered::

    class Bananas(Extension):
        keyword = "GOBANANAS"
        commands = {"BANA": frozenset({State.READY})}

    offers = Offers([*standard_extensions(settings), Bananas()])

An offer can also depend on the client's name: override ``Offers.extensions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import define, field, frozen

from moxtwisted.smtp.grammar import MAIL_PARAMETERS, RCPT_PARAMETERS, ParameterRule
from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.settings import Mode, ServerSettings
from moxtwisted.smtp.states import State

__all__ = ["Extension", "Facts", "Offer", "Offers", "standard_extensions"]


@frozen(kw_only=True)
class Facts:
    """What an offer may depend on.

    :ivar tls: the TLS of the connection, or None in clear.
    :ivar tls_available: whether STARTTLS can be done here.
    :ivar authenticated: whether AUTH succeeded.
    :ivar name: the argument of EHLO.
    :ivar now: time of day with zone.
    """

    tls: TLSInfo | None
    tls_available: bool
    authenticated: bool
    name: str
    now: datetime


class Extension:
    """One SMTP service extension (RFC 5321 section 2.2).

    :cvar keyword: the EHLO keyword.
    :cvar commands: verbs that it adds, with the states that allow them; they come as ``ExtensionCommand``.
    """

    keyword = ""
    commands: Mapping[str, frozenset[State]] = {}
    mail_parameters: Mapping[bytes, ParameterRule] = {}
    rcpt_parameters: Mapping[bytes, ParameterRule] = {}

    def offered(self, facts: Facts) -> str | None:
        """The parameters behind the keyword (empty for none), or None when it is not offered now."""
        return ""


class _Standard(Extension):
    """An extension of this package: parameters from the grammar, the condition as a function."""

    def __init__(self, keyword: str, offered: Callable[[Facts], str | None] | None = None) -> None:
        self.keyword = keyword
        self._offered = offered
        self.mail_parameters = MAIL_PARAMETERS.get(keyword, {})
        self.rcpt_parameters = RCPT_PARAMETERS.get(keyword, {})

    def offered(self, facts: Facts) -> str | None:
        return "" if self._offered is None else self._offered(facts)


@define
class Offer:
    """What one EHLO reply offered, and so what is understood from then on.

    :ivar lines: the lines of the reply behind the host name.
    :ivar keywords: keyword to its parameters.
    """

    lines: tuple[str, ...] = ()
    keywords: Mapping[str, str] = field(factory=dict)
    mail_parameters: Mapping[bytes, ParameterRule] = field(factory=dict)
    rcpt_parameters: Mapping[bytes, ParameterRule] = field(factory=dict)
    commands: Mapping[str, frozenset[State]] = field(factory=dict)


#: Before EHLO and after HELO nothing is offered.
NOTHING_OFFERED = Offer()


class Offers:
    """The extensions of a listener, in the order of the EHLO reply."""

    def __init__(self, extensions: Iterable[Extension]) -> None:
        self._extensions = tuple(extensions)
        self._cache: dict[tuple[str, ...], Offer] = {}

    def extensions(self, facts: Facts) -> Sequence[Extension]:
        """Which extensions are asked; override it to let the client's name decide."""
        return self._extensions

    def offer(self, facts: Facts) -> Offer:
        """The offer for these facts; equal offers are one object."""
        offered = [(e, text) for e in self.extensions(facts) if (text := e.offered(facts)) is not None]
        lines = tuple(f"{e.keyword} {text}" if text else e.keyword for e, text in offered)
        known = self._cache.get(lines)
        if known is not None:
            return known
        offer = Offer(lines, {e.keyword: text for e, text in offered})
        for attribute in ("mail_parameters", "rcpt_parameters", "commands"):
            merged: dict[object, object] = {}
            for e, _ in offered:
                merged.update(getattr(e, attribute))
            setattr(offer, attribute, merged)
        if len(self._cache) < 64:  # FUTURERELEASE changes with the time: keep a few, not all
            self._cache[lines] = offer
        return offer


def usable_mechanisms(settings: ServerSettings, facts: Facts) -> tuple[str, ...]:
    """The SASL mechanisms that can succeed now, in the order of the settings."""
    tls = facts.tls
    if facts.authenticated or (tls is None and not settings.auth_without_tls):
        return ()
    if tls is None:
        return tuple(m for m in settings.mechanisms if m != "EXTERNAL" and not m.endswith("-PLUS"))
    return tuple(
        m
        for m in settings.mechanisms
        if (m != "EXTERNAL" or tls.client_key_sha256 is not None)
        and (not m.endswith("-PLUS") or tls.channel_bindings)
    )


def standard_extensions(settings: ServerSettings) -> list[Extension]:
    """The extensions that the settings ask for, in our order."""

    def starttls(facts: Facts) -> str | None:
        return "" if facts.tls is None and facts.tls_available else None

    def requiretls(facts: Facts) -> str | None:
        return None if facts.tls is None else ""

    def auth(facts: Facts) -> str | None:
        return " ".join(usable_mechanisms(settings, facts)) or None

    def future(facts: Facts) -> str | None:
        # RFC 4865 section 3: the longest interval and the latest time, in UTC.
        until = facts.now + timedelta(seconds=settings.future_release_seconds)
        return f"{settings.future_release_seconds} {until:%Y-%m-%dT%H:%M:%SZ}"

    size, rcptmax = str(settings.size_limit), f"RCPTMAX={settings.limits.recipients}"
    extensions: list[Extension] = [
        _Standard("PIPELINING"),
        _Standard("SIZE", lambda _: size),
        _Standard("STARTTLS", starttls),
    ]
    if settings.mechanisms:
        extensions.append(_Standard("AUTH", auth))
    extensions += [_Standard("ENHANCEDSTATUSCODES"), _Standard("8BITMIME")]
    if settings.chunking:
        extensions += [_Standard("BINARYMIME"), _Standard("CHUNKING")]
    if settings.smtputf8:
        extensions.append(_Standard("SMTPUTF8"))
    if settings.dsn:
        extensions.append(_Standard("DSN"))
    if settings.prdr and settings.mode is not Mode.LMTP:  # LMTP answers so anyway
        extensions.append(_Standard("PRDR"))
    if settings.mode is Mode.SUBMISSION and settings.future_release_seconds:
        extensions.append(_Standard("FUTURERELEASE", future))
    extensions.append(_Standard("LIMITS", lambda _: rcptmax))  # RFC 9422
    if settings.requiretls:
        extensions.append(_Standard("REQUIRETLS", requiretls))
    return extensions
