"""The Twisted server protocol: moves octets and events, starts TLS, keeps the timers, applies back-pressure.

A server in a few lines, ``handlers`` being an ``ISMTPHandlerFactory``::

    factory = SMTPServerFactory(ServerSettings(hostname="mx.example.org"), handlers, reactor)
    TCP4ServerEndpoint(reactor, 25).listen(factory)

With TLS: ``ServerTLS(context_factory)`` adds STARTTLS, ``ServerTLS(context_factory, implicit=True)`` begins with the handshake (listen
on plain TCP all the same: the protocol starts TLS by itself, after the PROXY header if there is one).

All decisions are in ``moxtwisted.smtp.server.ServerMachine`` and in the host's handler. Commands that arrive together are
answered in one write. While an awaitable of the host is pending nothing is read, but for the end of the connection while a complete message
waits for its answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import CoroutineType
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.smtp.dialogue import Dialogue
from moxtwisted.smtp.extensions import Offers
from moxtwisted.smtp.interfaces import ISMTPHandlerFactory
from moxtwisted.smtp.pacing import Drip
from moxtwisted.smtp.peer import Peer, TLSInfo, client_address, inspect_tls
from moxtwisted.smtp.proxyheader import ProxyHeaderError, parse_proxy_header
from moxtwisted.smtp.replies import Reply, StandardReplies, reply_for_error
from moxtwisted.smtp.server import ServerMachine
from moxtwisted.smtp.settings import ServerSettings
from moxtwisted.smtp.states import State
from moxtwisted.transport.deadline import Deadline
from moxtwisted.transport.protocol import ListenerFactory

__all__ = ["SMTPServerFactory", "SMTPServerProtocol", "ServerTLS"]

_log = Logger()


@frozen
class ServerTLS:
    """How a listener does TLS.

    :ivar context_factory: what Twisted's ``startTLS`` takes (``IOpenSSLServerConnectionCreator`` or a context factory).
    :ivar implicit: the handshake comes first; there is no STARTTLS.
    :ivar inspect: gives the facts of a finished handshake from the pyOpenSSL connection.
    """

    context_factory: Any
    implicit: bool = False
    inspect: Callable[[Any], TLSInfo] = inspect_tls


class SMTPServerFactory(ListenerFactory["SMTPServerProtocol"]):
    """Makes the protocols of one listener, and ends them: messages in transfer are finished, all others get 421."""

    def __init__(
        self,
        settings: ServerSettings,
        handlers: Any,
        clock: IReactorTime,
        tls: ServerTLS | None = None,
        offers: Offers | None = None,
        replies: StandardReplies | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.handlers = ISMTPHandlerFactory(handlers)
        self.clock = clock
        self.tls = tls
        self.replies = replies if replies is not None else StandardReplies()
        self.offers = offers

    def utc_now(self) -> datetime:
        """The time of day, by the clock (a reactor's ``seconds()`` is the time since 1970)."""
        return datetime.fromtimestamp(self.clock.seconds(), UTC)

    def make_machine(self) -> ServerMachine:
        """The machine of a new connection; override it to use a subclass."""
        machine = ServerMachine(
            self.settings,
            utc_now=self.utc_now,
            offers=self.offers,
            replies=self.replies,
            tls_available=self.tls is not None,
        )
        self.offers = machine.offers  # one for all connections
        return machine

    def make_protocol(self) -> SMTPServerProtocol:
        """See ``ListenerFactory``."""
        return SMTPServerProtocol(self)


async def _coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _as_deferred(awaitable: Any) -> Deferred[Any]:
    if isinstance(awaitable, Deferred):
        return awaitable
    if type(awaitable) is not CoroutineType:
        awaitable = _coroutine(awaitable)
    return Deferred.fromCoroutine(awaitable)


@implementer(IHandshakeListener, IPushProducer)
class SMTPServerProtocol(Protocol):
    """One connection. Hosts do not call it; they are called through ``ISMTPHandler``."""

    factory: SMTPServerFactory

    def __init__(self, factory: SMTPServerFactory) -> None:
        self.factory = factory
        self.settings = factory.settings
        self.machine = factory.make_machine()
        self._clock: Any = factory.clock
        self._dialogue = Dialogue(self.machine, self)
        self._deadline = Deadline(self._clock, self._timed_out)
        self._data_deadline = 0.0
        self._peer: Peer | None = None
        self._proxy_header: bytes | None = None
        self._early = b""  # what came in the same segment as the PROXY header
        self._pending: Deferred[Any] | None = None  # the host's answer that we wait for
        self._blocked = False  # the peer does not read its replies
        self._listening = False  # whether the host wants to hear the peer leave while it thinks
        self._drip: Drip | None = None  # slow mode
        self._held: bytes | None = None  # what slow mode keeps back
        self._hold_call: Any = None
        self._turn: Any = None  # when we go on with what we left unfinished
        self._ending = ""  # why we close, once we do

    # -- the connection --------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Find out who it is, and greet."""
        factory, transport = self.factory, self._transport
        factory.connections.add(self)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        there, here = transport.getPeer(), transport.getHost()
        peer = Peer(
            ip=client_address(getattr(there, "host", "")),
            port=getattr(there, "port", 0),
            local_ip=client_address(getattr(here, "host", "")),
            local_port=getattr(here, "port", 0),
        )
        self._peer = peer
        if peer.ip is not None and any(peer.ip in network for network in self.settings.proxy_networks):
            self._proxy_header = b""
            self._deadline.set(self.settings.timeouts.proxy_header)
            return
        self._connected(peer)

    @property
    def _transport(self) -> Any:
        return self.transport

    def _connected(self, peer: Peer) -> None:
        self._peer = peer
        self._dialogue.ask(lambda: self.factory.handlers.connected(peer), self._accepted)

    def _accepted(self, answer: Any) -> None:
        self._dialogue.accept(answer)
        tls = self.factory.tls
        if tls is not None and tls.implicit:
            if self._dialogue.refusal is not None:
                self.end("refused")
            else:
                self.start_tls()
            return
        if self._early:
            self.machine.receive(self._early)
            self._early = b""
        self._run()

    def _proxy_received(self, data: bytes) -> None:
        self._proxy_header = (self._proxy_header or b"") + data
        peer = self._peer
        try:
            header = parse_proxy_header(self._proxy_header, self.settings.limits.proxy_header_octets)
        except ProxyHeaderError:
            _log.info("no PROXY header from {peer}", peer=peer)
            self._abort("proxy")
            return
        if header is None or peer is None:
            return
        rest, self._proxy_header = self._proxy_header[header.octets :], None
        self._deadline.cancel()
        if header.source is not None:
            peer = Peer(
                ip=header.source,
                port=header.source_port,
                local_ip=header.destination,
                local_port=header.destination_port,
                proxy_ip=peer.ip,
            )
        self._early = rest
        self._connected(peer)

    def handshakeCompleted(self) -> None:
        """TLS is there: forget what was said before."""
        tls = self.factory.tls
        if tls is None or self._ending:
            return
        implicit = self.machine.state is State.CONNECTED
        try:
            self._dialogue.tls_started(tls.inspect(self._transport.getHandle()))
        except Exception:  # noqa: BLE001  (the host's code ends here)
            self.log_failure("handler failed at tls_started")
            self._abort("error")
            return
        self._deadline.set(self.settings.timeouts.command)
        if implicit:
            self._run()

    def dataReceived(self, data: bytes) -> None:
        """Octets from the peer."""
        if self._ending:
            return  # lingering: read, so that our last reply is not lost in a reset
        if self._proxy_header is not None:
            self._proxy_received(data)
        elif self._drip is not None:
            self._hold(data)
        else:
            self.machine.receive(data)
            if self._pending is None and not self._blocked:
                self._run()
            elif self._pending is not None:
                self._transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, whoever ended it."""
        why, self._ending = self._ending or "lost", "gone"
        self._deadline.cancel()
        if self._drip is not None:
            self._drip.stop()
        for call in (self._hold_call, self._turn):
            if call is not None:
                call.cancel()
        self._hold_call = self._turn = None
        pending, self._pending = self._pending, None
        committing = self._dialogue.committing
        self._dialogue.over(why)
        if pending is not None and not committing:
            pending.cancel()
        self.factory.connection_lost(self)

    # -- the dialogue's link ---------------------------------------------------------------------------------------------

    @property
    def client_ip(self) -> str:
        """The client's address, also behind a proxy; empty: a unix socket, or not known yet."""
        peer = self._peer
        return str(peer.ip) if peer is not None and peer.ip is not None else ""

    @property
    def at_work(self) -> bool:
        """Whether a complete message waits for its answer: nothing else is expected of the peer."""
        return self._dialogue.committing

    @property
    def halted(self) -> bool:
        """Whether no further event is to be taken."""
        return self._blocked or self._ending != ""

    def _run(self) -> None:
        """Let the dialogue go on with what was received."""
        dialogue = self._dialogue
        if self._turn is not None:
            return  # others have theirs first
        progress = dialogue.run()
        if self._ending:
            return
        if dialogue.unfinished:
            self._transport.pauseProducing()
            self._turn = self._clock.callLater(0, self._next_turn)
        elif dialogue.waiting:
            # Who only listens while a complete message is decided on can be heard leaving, and is then not delivered for.
            if not self._listening and (not dialogue.committing or self.machine.buffered):
                self._transport.pauseProducing()
        elif progress:
            self._wait_for_peer()

    def _next_turn(self) -> None:
        self._turn = None
        if self._ending:
            return
        if not self._blocked and self._pending is None:
            self._transport.resumeProducing()
            self._run()

    def wait(self, awaitable: Any, then: Callable[[Any], None]) -> None:
        """Go on with what the awaitable yields."""
        deferred = _as_deferred(awaitable)
        if self._dialogue.waiting:
            self._pending = deferred
            self._deadline.set(self.settings.timeouts.handler)
        deferred.addErrback(self._failed)
        deferred.addCallback(self._answered, deferred, then)

    def _failed(self, failure: Failure) -> Reply:
        if failure.check(MailError):
            return reply_for_error(failure.value)  # type: ignore[arg-type]  # check() does not narrow
        if not (failure.check(CancelledError) and self._ending):
            _log.failure("SMTP handler failed, peer {peer}", failure=failure, peer=self._peer)
        return self.factory.replies.local_error

    def _answered(self, answer: Any, deferred: Deferred[Any], then: Callable[[Any], None]) -> None:
        if self._pending is not deferred:
            return  # the connection went away, or we gave up waiting
        self._pending = None
        self._listening = False
        then(answer)
        if self._dialogue.running or self._dialogue.waiting or self._ending:
            return
        if not self._blocked:
            self._transport.resumeProducing()
        self._run()
        if not self._ending and not self._dialogue.waiting:
            self._wait_for_peer()

    async def sleep(self, seconds: float) -> None:
        """Wait on our clock."""
        await deferLater(self._clock, seconds)

    def log_failure(self, what: str) -> None:
        """Log the exception that is being handled."""
        _log.failure("{what}, peer {peer}", what=what, peer=self._peer)

    def data_begins(self) -> None:
        """The time for the whole message runs."""
        self._data_deadline = self._clock.seconds() + self.settings.timeouts.data_total

    def slow_down(self) -> None:
        """Slow mode from here on."""
        if self._drip is None:
            timeouts = self.settings.timeouts
            write = self._transport.write
            self._drip = Drip(self._clock, write, self._dry, timeouts.slow_write, timeouts.slow_total)

    def write(self, octets: bytes) -> None:
        """Send octets, slowly in slow mode."""
        if self._drip is None:
            self._transport.write(octets)
        else:
            self._drip.add(octets)

    def listen(self) -> None:
        """Hear the peer leave while an answer is awaited."""
        self._listening = True
        if not self._blocked and not self._ending:
            self._transport.resumeProducing()

    def abort(self, why: str) -> None:
        """Drop the connection at once."""
        self._abort(why)

    def start_tls(self) -> None:
        """Begin a TLS handshake."""
        tls, transport = self.factory.tls, self._transport
        if tls is None:
            raise RuntimeError("TLS without a context")
        self._deadline.set(self.settings.timeouts.tls_handshake)
        transport.startTLS(tls.context_factory)
        if self._early:
            early, self._early = self._early, b""
            transport.protocol.dataReceived(early)

    def end(self, why: str) -> None:
        """Close, once what was written is out."""
        if self._ending:
            return
        self._ending = why
        self._transport.unregisterProducer()
        if self._drip is None or self._drip.empty:
            self._hang_up()

    def _dry(self) -> None:
        if self._ending and self._ending != "gone":
            self._hang_up()

    def _hang_up(self) -> None:
        transport = self._transport
        if (
            self._ending == "quit"
            or getattr(transport, "TLS", False)
            or not hasattr(transport, "loseWriteConnection")
        ):
            transport.loseConnection()
            return
        # Octets that we did not read would make the kernel send a reset, which can overtake our last reply.
        transport.resumeProducing()
        transport.loseWriteConnection()
        self._deadline.set(self.settings.timeouts.linger)

    def _abort(self, why: str) -> None:
        self._ending = self._ending or why
        self._transport.abortConnection()

    # -- back-pressure and slow mode -------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The peer does not read: answer nothing more until it does."""
        self._blocked = True
        self._transport.pauseProducing()
        self._deadline.set(self.settings.timeouts.write)

    def resumeProducing(self) -> None:
        """The peer reads again."""
        self._blocked = False
        if self._ending or self._pending is not None or self._held is not None:
            return
        self._transport.resumeProducing()
        self._run()
        if not self._ending and not self._dialogue.waiting:
            self._wait_for_peer()

    def stopProducing(self) -> None:
        """The connection is going away; ``connectionLost`` follows."""

    def _hold(self, data: bytes) -> None:
        """Slow mode: what was read waits a while, and nothing more is read."""
        self._transport.pauseProducing()
        self._held = (self._held or b"") + data
        if self._hold_call is None:
            self._hold_call = self._clock.callLater(self.settings.timeouts.slow_read, self._release)

    def _release(self) -> None:
        self._hold_call = None
        data, self._held = self._held or b"", None
        if self._ending:
            return
        self.machine.receive(data)
        if self._pending is None and not self._blocked:
            self._transport.resumeProducing()
            self._run()

    # -- time ------------------------------------------------------------------------------------------------------------

    def _wait_for_peer(self) -> None:
        """The next octets are due."""
        timeouts = self.settings.timeouts
        if self.machine.receiving:
            self._deadline.set(
                min(timeouts.data_block, max(0.0, self._data_deadline - self._clock.seconds()))
            )
        elif self.machine.state is not State.TLS:
            self._deadline.set(timeouts.command)

    def _timed_out(self) -> None:
        replies, dialogue = self.factory.replies, self._dialogue
        if self._ending or self._blocked or self._proxy_header is not None or self.machine.state is State.TLS:
            self._abort("timeout")  # nobody would read what we say
            return
        pending, self._pending = self._pending, None
        if pending is None:
            dialogue.say_last(dialogue.closing or replies.timeout)
        else:
            _log.warn("the host did not answer in time, peer {peer}", peer=self._peer)
            dialogue.say_last(replies.local_error)
        self.end("timeout")
        if pending is not None and not dialogue.committing:
            pending.cancel()

    @property
    def _handshaking(self) -> bool:
        tls, machine = self.factory.tls, self.machine
        implicit = tls is not None and tls.implicit
        return machine.state is State.TLS or (
            machine.state is State.CONNECTED and implicit and machine.tls is None
        )

    def shutdown(self) -> None:
        """Finish the message in transfer, if there is one; else say 421 and close."""
        if self._ending:
            return
        dialogue, replies = self._dialogue, self.factory.replies
        if self.machine.receiving or dialogue.committing:
            dialogue.closing = replies.shutting_down
            self._data_deadline = self._clock.seconds() + self.settings.timeouts.shutdown
            self._deadline.set(self.settings.timeouts.shutdown)
        elif self._proxy_header is not None or self._handshaking:
            self._abort("shutdown")
        else:
            pending, self._pending = self._pending, None
            dialogue.say_last(replies.shutting_down)
            self.end("shutdown")
            if pending is not None:
                pending.cancel()
