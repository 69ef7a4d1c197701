"""BadSMTP as a service of Twisted: all its ports, and what came in by them.

In a test of a program that sends mail::

    service = BadSMTPService(reactor, Settings(port=0))     # or Settings(): the ports of the documentation
    service.startService()
    send_mail("localhost", service.ports["smtp"])            # the program that is tested
    [message] = service.captured.messages(recipient="bob@example.org")
    await service.stopService()

What goes wrong is asked for by addresses and names: ``MAIL FROM:<mail550@any.example>``, ``EHLO nosize.any.example``; see
``moxtwisted.badsmtp.grammar`` and ``moxtwisted.badsmtp.tokens``. Nothing is ever relayed: there is no code here that connects
to anybody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.badsmtp.captured import Captured
from moxtwisted.badsmtp.grammar import parse_local_part
from moxtwisted.badsmtp.interfaces import Hooks, ICaptured
from moxtwisted.badsmtp.machine import HOSTNAME, BadMachine, replies_with_limit
from moxtwisted.badsmtp.mechanisms import ALL_MECHANISMS
from moxtwisted.badsmtp.ownnames import OwnNames
from moxtwisted.badsmtp.session import Session
from moxtwisted.badsmtp.settings import DELAYS_SECONDS, GREETING_FAULTS, Settings
from moxtwisted.badsmtp.surroundings import Listener, SilentJournal, Surroundings
from moxtwisted.smtp.interfaces import ISMTPHandlerFactory
from moxtwisted.smtp.peer import Peer
from moxtwisted.smtp.protocol import ServerTLS, SMTPServerFactory
from moxtwisted.smtp.settings import Limits, Mode, ServerSettings, Timeouts

__all__ = ["BadSMTPFactory", "BadSMTPService"]

#: How long the end of the service may take (BadSMTP: 10 s).
SHUTDOWN_SECONDS = 10.0

#: A test server does not tire of errors; memory and time are bounded all the same.
_LIMITS = Limits(
    line_octets=4096,
    recipients=10_000,
    bad_transactions=1_000_000,
    bad_commands=1_000_000,
    auth_failures=1_000_000,
    auth_failures_slow=1_000_000,
)
_TIMEOUTS = Timeouts(handler=4000.0, shutdown=SHUTDOWN_SECONDS)


@implementer(ISMTPHandlerFactory)
class _Sessions:
    """Makes the sessions of one port."""

    def __init__(self, surroundings: Surroundings, listener: Listener) -> None:
        self._surroundings = surroundings
        self.listener = listener

    def connected(self, peer: Peer) -> Session:
        """See ``ISMTPHandlerFactory.connected``."""
        return Session(self._surroundings, self.listener.at(peer.local_port), peer)


class BadSMTPFactory(SMTPServerFactory):
    """The connections of one port: ``BadSMTPFactory(surroundings, listener, tls)``."""

    def __init__(self, surroundings: Surroundings, listener: Listener, tls: ServerTLS | None = None) -> None:
        settings = ServerSettings(
            hostname=HOSTNAME,
            mode=Mode.LMTP if listener.lmtp else Mode.MX,
            size_limit=surroundings.settings.message_octets,
            auth_without_tls=True,
            mechanisms=tuple(ALL_MECHANISMS),
            close_on_first_unknown_command=False,
            limits=_LIMITS,
            timeouts=_TIMEOUTS,
        )
        super().__init__(
            settings,
            _Sessions(surroundings, listener),
            surroundings.clock,
            tls,
            replies=replies_with_limit(settings.size_limit),
        )
        extensions = surroundings.hooks.extensions
        self._lines = [line for extension in extensions if (line := extension.capability())]
        self._commands = {
            verb.upper(): frozenset(states) for e in extensions for verb, states in e.commands().items()
        }

    def make_machine(self) -> BadMachine:
        """The machine of a new connection."""
        return BadMachine(
            self.settings,
            utc_now=self.utc_now,
            lines=self._lines,
            extra_commands=self._commands,
            tls_available=self.tls is not None and not self.tls.implicit,
        )


class BadSMTPService(MultiService):
    """One BadSMTP server.

    :ivar settings: as given.
    :ivar captured: the messages that came in, an ``ICaptured``.
    :ivar surroundings: what all connections share.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, settings: Settings | None = None, hooks: Hooks | None = None, pace: float = 1.0
    ) -> None:
        """:param pace: how long a second lasts where we wait on purpose; 0.001 for impatient tests."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.settings = settings or Settings()
        hooks = hooks or Hooks()
        captured = Captured(self.settings.captured_messages, self.settings.captured_octets)
        self.captured = ICaptured(captured)
        self.surroundings = Surroundings(
            settings=self.settings,
            hooks=hooks,
            clock=reactor,
            entropy=os.urandom,
            captured=captured,
            journal=hooks.journal or SilentJournal(),
            store=hooks.store,
            name_of=OwnNames(reactor, self.settings.tls_hostname),
            pid=os.getpid(),
            pace=pace,
        )
        self._reactor = reactor
        self._listening: dict[str, tuple[Any, Any]] = {}

    @property
    def ports(self) -> Mapping[str, int]:
        """Name of a listener to its port: ``"smtp"``, ``"greeting-0"`` to ``"greeting-9"``, ``"drop-0"`` …"""
        return MappingProxyType({name: port.getHost().port for name, (port, _) in self._listening.items()})

    def listeners(self) -> Iterator[tuple[int, Listener]]:
        """The SMTP ports that the settings want, in clear, each with what it does."""
        settings = self.settings
        if settings.port is not None:
            yield settings.port, Listener(name="smtp")
        for n, seconds in enumerate(DELAYS_SECONDS):
            if settings.greeting_delay_port_start is not None:
                port = _nth(settings.greeting_delay_port_start, n)
                yield port, Listener(name=f"greeting-{n}", delay_seconds=seconds)
            if settings.drop_delay_port_start is not None:
                port = _nth(settings.drop_delay_port_start, n)
                yield port, Listener(name=f"drop-{n}", delay_seconds=seconds, drop=True)
        if settings.greeting_fault_port_start is not None:
            for n, text in enumerate(GREETING_FAULTS):
                port = _nth(settings.greeting_fault_port_start, n)
                wish = parse_local_part(text, {"greeting"})
                yield port, Listener(name=f"greeting-fault-{n}", greeting=wish)
        if settings.lmtp_port is not None:
            yield settings.lmtp_port, Listener(name="lmtp", lmtp=True)

    def factories(self) -> Iterator[tuple[str, int, Any]]:
        """All listeners: name, port and factory."""
        for port, listener in self.listeners():
            yield listener.name, port, BadSMTPFactory(self.surroundings, listener)

    def startService(self) -> None:
        """Listen on all ports.

        :raise CannotListenError: one of them is taken; none is open then.
        """
        try:
            for name, port, factory in self.factories():
                self.listen(name, port, factory)
        except Exception:
            for listening, _ in self._listening.values():
                listening.stopListening()
            self._listening.clear()
            raise
        super().startService()  # type: ignore[no-untyped-call]

    def listen(self, name: str, port: int, factory: Any) -> None:
        """Open one port. A factory that has ``shutdown()`` (its Deferred fires when its connections are gone) is asked for it at the end.

        :raise CannotListenError: it is taken.
        """
        listening = self._reactor.listenTCP(port, factory, interface=self.settings.listen_address)
        self._listening[name] = (listening, factory)

    def stopService(self) -> Deferred[None]:
        """Close all ports; 421 to all who are there; ten seconds later they are cut off."""
        listening, self._listening = self._listening, {}
        waiting = [maybeDeferred(port.stopListening) for port, _ in listening.values()]
        ending = [factory.shutdown() for _, factory in listening.values() if hasattr(factory, "shutdown")]
        waiting += [
            self._bounded(done, factory)
            for done, (_, factory) in zip(ending, listening.values(), strict=False)
        ]
        waiting.append(maybeDeferred(super().stopService))
        return DeferredList(waiting, consumeErrors=True).addCallback(lambda _: None)

    def _bounded(self, done: Deferred[None], factory: Any) -> Deferred[Any]:
        def late(failure: Any) -> None:
            failure.trap(TimedOut)
            for connection in list(factory.connections):
                connection.transport.abortConnection()

        return done.addTimeout(SHUTDOWN_SECONDS, self._reactor).addErrback(late)


def _nth(start: int, n: int) -> int:
    return start + n if start else 0
