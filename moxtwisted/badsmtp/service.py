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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.threads import deferToThreadPool

from moxtwisted.badsmtp.captured import Captured
from moxtwisted.badsmtp.certificates import Authority
from moxtwisted.badsmtp.grammar import parse_local_part
from moxtwisted.badsmtp.interfaces import Hooks, ICaptured
from moxtwisted.badsmtp.ownnames import OwnNames
from moxtwisted.badsmtp.settings import DELAYS_SECONDS, GREETING_FAULTS, Settings
from moxtwisted.badsmtp.smtpfactory import SHUTDOWN_SECONDS, BadSMTPFactory
from moxtwisted.badsmtp.stores import MaildirStore, make_store
from moxtwisted.badsmtp.surroundings import Listener, SilentJournal, Surroundings
from moxtwisted.badsmtp.tlsfaults import TLSContexts
from moxtwisted.badsmtp.tlslisteners import tls_listeners
from moxtwisted.badsmtp.twinlisteners import twin_listeners
from moxtwisted.smtp.protocol import ServerTLS

__all__ = ["BadSMTPFactory", "BadSMTPService"]


class BadSMTPService(MultiService):
    """One BadSMTP server.

    :ivar settings: as given.
    :ivar captured: the messages that came in, an ``ICaptured``.
    :ivar surroundings: what all connections share.
    :ivar tls: the certificates; ``tls.root_pem`` is the root that clients are given to trust.
    """

    def __init__(
        self, reactor: Any, settings: Settings | None = None, hooks: Hooks | None = None, pace: float = 1.0
    ) -> None:
        """:param pace: how long a second lasts where we wait on purpose; 0.001 for impatient tests."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self.settings = settings or Settings()
        hooks = hooks or Hooks()
        store = make_store(self.settings, self._in_thread) if hooks.store is None else hooks.store
        captured = Captured(self.settings.captured_messages, self.settings.captured_octets)
        self.captured = ICaptured(captured)
        self.surroundings = Surroundings(
            settings=self.settings,
            hooks=hooks,
            clock=reactor,
            entropy=os.urandom,
            captured=captured,
            journal=hooks.journal or SilentJournal(),
            store=store,
            name_of=OwnNames(reactor, self.settings.tls_hostname),
            pid=os.getpid(),
            pace=pace,
        )
        self.tls = TLSContexts(
            Authority(reactor.seconds),
            self.settings.tls_hostname,
            self.settings.tls_cert_file,
            self.settings.tls_key_file,
        )
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
        ordinary = ServerTLS(self.tls.ordinary())
        for port, listener in self.listeners():
            yield listener.name, port, BadSMTPFactory(self.surroundings, listener, ordinary)
        yield from tls_listeners(self.surroundings, self.tls)
        yield from twin_listeners(self.surroundings, self.tls)

    def startService(self) -> None:
        """Listen on all ports.

        :raise CannotListenError: one of them is taken; none is open then.
        :raise OSError: the root certificate cannot be written where the settings want it.
        :raise StorageError: a Maildir cannot be made.
        """
        store = self.surroundings.store
        if isinstance(store, MaildirStore):
            store.prepare()
        if self.settings.tls_root_out:
            Path(self.settings.tls_root_out).write_bytes(self.tls.root_pem)
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
        factories = [factory for _, factory in listening.values() if hasattr(factory, "shutdown")]
        waiting += [self._bounded(factory.shutdown(), factory) for factory in factories]
        waiting.append(maybeDeferred(super().stopService))
        return DeferredList(waiting, consumeErrors=True).addCallback(lambda _: None)

    def _in_thread(self, work: Callable[[], None]) -> Deferred[None]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)

    def _bounded(self, done: Deferred[None], factory: Any) -> Deferred[Any]:
        def late(failure: Any) -> None:
            failure.trap(TimedOut)
            for connection in list(factory.connections):
                connection.transport.abortConnection()

        return done.addTimeout(SHUTDOWN_SECONDS, self._reactor).addErrback(late)


def _nth(start: int, n: int) -> int:
    return start + n if start else 0
