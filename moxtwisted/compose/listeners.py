"""Ports, their certificates, and what is served there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from moxtwisted.compose.certificates import ListenerCertificates
from moxtwisted.compose.opening import ready_accounts
from moxtwisted.compose.parts import Parts
from moxtwisted.compose.translation import SMTPListenerSettings, imap_settings
from moxtwisted.config.privileges import closed_program, find_identity
from moxtwisted.config.schema import (
    Listener,
    LMTPService,
)
from moxtwisted.imap.settings import ServerSettings as IMAPSettings
from moxtwisted.server.certificates.store import CertificateStore
from moxtwisted.server.logging import LevelControl
from moxtwisted.server.sockets import listen_tcp, listen_unix

if TYPE_CHECKING:
    from moxtwisted.imap.protocol import ServerTLS as IMAPServerTLS

__all__ = ["Listeners"]

_log = Logger()

#: Mail is taken in while what IMAP needs is still imported: after so many seconds, or when a client comes.
_IMAP_SECONDS: Final = 0.05
#: What it may take longer to hear that all connections have ended than it takes to end them.
_END_SECONDS: Final = 1.0


class _Late(Factory):
    """Passes connections on to a factory that is made after the port was bound.

    :ivar allowed: whether it may be made.
    """

    noisy = False

    def __init__(self, what: str, make: Callable[[], Any], after_seconds: float = 0.0) -> None:
        self.what = what
        self.make = make
        self.after_seconds = after_seconds
        self.allowed = False
        self.inner: Any = None

    def open(self) -> None:
        """Make it now, unless it is made."""
        self.allowed = True
        if self.inner is None:
            self.inner = self.make()
            _log.info("listening: {what}", what=self.what)

    def buildProtocol(self, addr: Any) -> Any:
        if self.allowed:
            self.open()
        return self.inner.buildProtocol(addr) if self.inner is not None else None


class Listeners(Service):
    """Store and listeners: bound first, opened as the final user, closed when the last connection ended.

    Twisted calls ``privilegedStartService`` as the user that started the process and ``startService`` as the one it became;
    the reactor does not run in between, so no connection comes too early.

    :ivar serving: fires when all listeners serve, but for those that cannot, of which the log knows.
    """

    name = "listeners"

    def __init__(self, server: Parts, log_levels: LevelControl | None = None) -> None:
        self.serving: Deferred[None] = Deferred()
        self._server = server
        self._log_levels = log_levels
        self._listeners: list[_Late] = []
        self._ports: list[Any] = []
        self._opening: list[Any] = []
        self._unopened: list[_Late] = []
        self._binders: list[tuple[_Late, Callable[[Factory], Any]]] = []
        self.certificates: list[CertificateStore] = []
        self._diverted: list[tuple[str, _Late, CertificateStore | None]] = []
        for name, listener in server.static.listeners.items():
            self._plan(name, listener)

    def privilegedStartService(self) -> None:
        """Make the data directory, read the certificates, bind the ports."""
        static = self._server.static
        _make_data_directory(self._server.loaded.data_directory, static.user)
        for certificates in self.certificates:
            certificates.load()
        for late, bind in self._binders:
            self._ports.append(bind(late))
            self._listeners.append(late)

    def startService(self) -> None:
        """Open the store, make the accounts, serve."""
        Service.startService(self)
        self._server.open()
        ready = Deferred.fromCoroutine(
            ready_accounts(self._server.store, self._server.loaded.domains, self._server.static)
        )
        ready.addCallbacks(
            self._serve, lambda failure: _log.failure("the accounts could not be made", failure)
        )
        ready.addErrback(lambda failure: _log.failure("the listeners cannot serve", failure))

    def _serve(self, _: object) -> None:
        if not self.running:
            return
        self._unopened = list(self._listeners)
        for late in self._listeners:
            if late.after_seconds:
                late.allowed = True
                self._opening.append(self._server.reactor.callLater(late.after_seconds, self._open, late))
            else:
                self._open(late)
        if not self._listeners:
            self._all_serve()

    def _all_serve(self) -> None:
        self.serving.callback(None)
        static = self._server.static
        if self._server.has_keepers:
            self._start_keepers()
        elif static.keepers.processes:
            _log.warn("keepers are wanted, but a server for tests has none")
        if not static.receivers.processes or self._server.localserve:
            return
        if not (self._server.has_receivers and self._diverted):
            _log.warn(
                "receivers are wanted, but there is nothing for them: they take in what is verified and judged on SMTP listeners"
                " without proxy_protocol_from"
            )
        elif closed := closed_program(find_identity(static.user)) if static.user else "":
            _log.warn(
                "there are no receivers, and the server reads mail from strangers itself: {closed}",
                closed=closed,
            )
        else:
            # Not earlier: until now the processor was busy with what clients wait for.
            self._start_receivers()

    def _start_receivers(self) -> None:
        # Few servers have them.
        from moxtwisted.compose.receivers import Door, Receivers

        ports = dict(zip(self._listeners, self._ports, strict=True))
        certificates = {name: store for name, _, store in self._diverted if store is not None}
        receivers = Receivers(self._server, certificates, self._log_levels)
        self._server.receivers = receivers
        self._server.factories.append(receivers)
        receivers.start(
            [
                Door(name, ports[late], late.inner)
                for name, late, _ in self._diverted
                if late.inner is not None
            ]
        )

    def _start_keepers(self) -> None:
        from moxtwisted.compose.keepers import Keepers

        server = self._server
        if server.lending is None:
            return
        if closed := closed_program(find_identity(server.static.user)) if server.static.user else "":
            _log.warn("there are no keepers, and the server serves IMAP itself: {closed}", closed=closed)
            return
        server.keepers = Keepers(server, server.lending, self._log_levels)
        server.factories.append(server.keepers)
        server.keepers.begin()

    def _open(self, late: _Late) -> None:
        try:
            late.open()
        except Exception:  # noqa: BLE001 - a boundary: the other listeners serve
            _log.failure("{what} cannot be served", what=late.what)
        self._unopened.remove(late)
        if not self._unopened:
            self._all_serve()

    def stopService(self) -> Deferred[None]:
        """Take no more connections, end those that are there gently, close the store."""
        Service.stopService(self)
        for late in self._listeners:
            late.allowed = False
        for call in self._opening:
            if call.active():
                call.cancel()
        ports, self._ports = self._ports, []
        return Deferred.fromCoroutine(self._stop(ports))

    async def _stop(self, ports: Sequence[Any]) -> None:
        await DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)
        receivers, keepers = self._server.receivers, self._server.keepers
        ending = [late.inner.shutdown() for late in self._listeners if late.inner is not None]
        if receivers is not None:
            ending.append(receivers.shutdown())
        if keepers is not None:
            ending.append(keepers.end_connections())
        ended: Deferred[Any] = DeferredList(ending, consumeErrors=True)
        # Their connections are given as long to end by themselves, and say so then.
        ended.addTimeout(self._server.static.limits.shutdown_seconds + _END_SECONDS, self._server.reactor)
        ended.addErrback(lambda _: _log.warn("some connections did not end in time"))
        await ended
        if receivers is not None:
            receivers.kill()
        if keepers is not None:
            # What came in until now was delivered by them.
            await keepers.finish()
        await self._server.close()

    # -- listeners -----------------------------------------------------------------------------------------------

    def _plan(self, name: str, listener: Listener) -> None:
        """Note what a listener of the configuration serves, and where."""
        server = self._server
        hostname = listener.hostname or server.static.hostname
        tls = ListenerCertificates(listener, server.loaded, server.reactor)
        if tls.certificates is not None:
            self.certificates.append(tls.certificates)
        smtp = SMTPListenerSettings(server.static, server.mechanisms(), listener, hostname)
        if listener.smtp is not None and listener.smtp.enabled:
            make = partial(server.inbound, hostname, smtp.inbound(listener.smtp), tls.inbound)
            self._bind(f"smtp ({name})", listener, listener.smtp.port, make)
            if not listener.proxy_protocol_from:
                self._diverted += [
                    (name, late, tls.certificates) for late, _ in self._binders[-len(listener.ips) :]
                ]
        for submission, implicit in ((listener.submission, False), (listener.submissions, True)):
            if submission is not None and submission.enabled:
                settings = smtp.submission(submission)
                make = partial(server.submission, hostname, settings, partial(tls.smtp, implicit=implicit))
                word = "submissions" if implicit else "submission"
                self._bind(f"{word} ({name})", listener, submission.port, make)
        for imap, implicit in ((listener.imap, False), (listener.imaps, True)):
            if imap is not None and imap.enabled:
                plain = not implicit and not getattr(imap, "require_starttls", True)
                settings_imap = imap_settings(server.static, hostname, plain=plain)
                make_imap = partial(self._imap, listener, settings_imap, partial(tls.imap, implicit=implicit))
                word = "imaps" if implicit else "imap"
                self._bind(f"{word} ({name})", listener, imap.port, make_imap, _IMAP_SECONDS)
        if listener.lmtp is not None and listener.lmtp.enabled:
            make = partial(server.inbound, hostname, smtp.lmtp(), partial(tls.smtp, implicit=False))
            self._bind_lmtp(name, listener, listener.lmtp, make)

    def _imap(
        self, listener: Listener, settings: IMAPSettings, tls: Callable[[], IMAPServerTLS | None]
    ) -> Any:
        factory = self._server.imap(settings, tls)
        if listener.proxy_protocol_from:
            from moxtwisted.server.proxied import ProxiedFactory

            return ProxiedFactory(factory, listener.proxy_protocol_from, self._server.reactor)
        return factory

    def _bind(
        self, what: str, listener: Listener, port: int, make: Callable[[], Any], after_seconds: float = 0.0
    ) -> None:
        for ip in listener.ips:
            where = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
            bind = partial(listen_tcp, self._server.reactor, ip, port)
            self._binders.append((_Late(f"{what} on {where}", make, after_seconds), bind))

    def _bind_lmtp(self, name: str, listener: Listener, lmtp: LMTPService, make: Callable[[], Any]) -> None:
        if not lmtp.path:
            self._bind(f"lmtp ({name})", listener, lmtp.port, make)
            return
        path = self._server.loaded.data_directory / lmtp.path

        def bind(factory: Factory) -> Any:
            port = listen_unix(self._server.reactor, path, factory)
            _give(path, self._server.static.user)
            return port

        self._binders.append((_Late(f"lmtp ({name}) on {path}", make), bind))


def _make_data_directory(path: Path, user: str) -> None:
    """Make it for the user that the process becomes."""
    if path.exists():
        return
    path.mkdir(mode=0o700, parents=True)
    _give(path, user)


def _give(path: Path, user: str) -> None:
    """Make a file or directory that of the user that the process becomes."""
    if user and os.getuid() == 0:
        identity = find_identity(user)
        os.chown(path, identity.uid, identity.gid)
