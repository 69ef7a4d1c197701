"""The resolver of the process and what verifies with it, made when somebody first needs them.

::

    verification = Verification(loaded, reactor)
    verification.checks              # for listeners of mail from others; called at the first MAIL FROM
    verification.warm_up()           # or some time before, so that the first message does not wait for imports
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from moxtwisted.config.load import LoadedConfig
from moxtwisted.smtp.settings import Mode

if TYPE_CHECKING:
    from moxtwisted.dns.agent import DNSResolver
    from moxtwisted.dns.answers import IResolver
    from moxtwisted.server.verification.checks import Checks
    from moxtwisted.server.verification.verifier import Verifier

__all__ = ["Verification"]

_log = Logger()

#: After the start, seconds: the ports are open, and IMAP was imported (see Listeners).
_WARM_UP_SECONDS: Final = 0.3
#: A mail server under load asks some hundred times a second: half of what a query costs is its socket (docs/design/performance.rst).
_QUERIES_PER_PORT: Final = 50
_IMPORTED: Final = (
    "moxtwisted.config.resolver",
    "moxtwisted.dns.agent",
    "moxtwisted.server.verification.checks",
    "moxtwisted.server.verification.senders",
    "moxtwisted.server.judgement.judge",
    "moxtwisted.server.inbound.outcome",
)


class Verification:
    """The parts of it, one of each in a process."""

    def __init__(self, loaded: LoadedConfig, reactor: Any) -> None:
        self._loaded = loaded
        self._settings = loaded.static.verification
        self._reactor = reactor
        self._resolver: DNSResolver | None = None
        self._tolerant: IResolver | None = None
        self._plain: list[DNSResolver] = []
        self._checks: Checks | None = None
        self._warming: Any = None

    def checks_for(self, mode: Mode) -> Callable[[], Checks] | None:
        """What a listener is given; None: nothing is checked there."""
        wanted = self._settings.enabled and (mode is not Mode.LMTP or self._settings.lmtp)
        return self.checks if wanted else None

    def checks(self) -> Checks:
        """What finds out where messages come from."""
        if self._checks is None:
            self._checks = self._make()
        return self._checks

    @property
    def resolver(self) -> DNSResolver:
        """The one resolver, with its cache."""
        if self._resolver is None:
            from moxtwisted.config.resolver import resolver_settings
            from moxtwisted.dns.agent import DNSResolver

            settings = resolver_settings(self._loaded.static.resolver)
            settings = evolve(settings, queries_per_port=_QUERIES_PER_PORT)
            self._resolver = DNSResolver(self._reactor, settings, entropy=os.urandom)
        return self._resolver

    @property
    def tolerant_resolver(self) -> IResolver:
        """The same for questions about senders, which have answers also where nothing can be validated."""
        resolver = self.resolver
        if self._tolerant is None:
            from moxtwisted.server.verification.tolerance import TolerantResolver

            self._tolerant = TolerantResolver(resolver, self._make_plain, self._reactor)
        return self._tolerant if resolver.settings.validate else resolver

    def _make_plain(self) -> DNSResolver:
        """A resolver that does not look at signatures."""
        resolver = self.resolver
        plain = type(resolver)(self._reactor, evolve(resolver.settings, validate=False), entropy=os.urandom)
        self._plain.append(plain)
        return plain

    def start(self) -> None:
        """Import and read soon what the first message would have to wait for."""
        if self._settings.enabled:
            self._warming = self._reactor.callLater(_WARM_UP_SECONDS, self.warm_up)

    def stop(self) -> None:
        """End."""
        if self._warming is not None and self._warming.active():
            self._warming.cancel()
        for resolver in filter(None, [self._resolver, *self._plain]):
            resolver.close()

    def warm_up(self) -> None:
        """Have a thread read and import what takes a tenth of a second each; mail is taken in meanwhile."""
        self._in_thread(self.prepare).addErrback(
            lambda failure: _log.failure("the checks of senders are not complete", failure)
        )

    def prepare(self) -> None:
        """Read and import it here and now."""
        _prepare(self._settings.second_opinion)

    def _in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function)
        return done

    def _make(self) -> Checks:
        from moxtwisted.server.verification.checks import Checks
        from moxtwisted.server.verification.senders import SenderRules

        static, settings = self._loaded.static, self._settings
        authserv_id = settings.authserv_id or static.hostname
        hostnames = [listener.hostname for listener in static.listeners.values()]
        return Checks(
            verifier=self._verifier(authserv_id),
            own_names=frozenset(filter(None, [authserv_id, static.hostname, *hostnames])),
            removed_fields=tuple(prefix.lower().encode("ascii") for prefix in settings.removed_fields),
            sender_rules=SenderRules(
                self.tolerant_resolver,
                self._reactor,
                settings.method_seconds,
                settings.sender_must_receive,
                settings.several_recipients_need_spf,
            ),
        )

    def _verifier(self, authserv_id: str) -> Verifier:
        from moxtwisted.dns.names import normalise
        from moxtwisted.server.verification.verifier import Verifier, VerifierSettings

        settings = self._settings
        return Verifier(
            self.tolerant_resolver,
            self._reactor,
            VerifierSettings(
                authserv_id=authserv_id,
                method_seconds=settings.method_seconds,
                total_seconds=settings.total_seconds,
                trusted_sealers=frozenset(map(normalise, settings.trusted_arc_sealers)),
                tree_walk=settings.dmarc_tree_walk,
            ),
            os.urandom,
            self._in_thread if settings.second_opinion else None,
        )


def _prepare(second_opinion: bool) -> None:
    for name in _IMPORTED + (("dkim", "spf") if second_opinion else ()):
        import_module(name)
    from moxtwisted.mailauth.publicsuffix import organizational_domain

    organizational_domain("example.org")
