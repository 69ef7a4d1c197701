"""The Twisted server protocol: moves octets and events, starts TLS, keeps the timers, applies back-pressure.

A server in a few lines, C{handlers} being an L{ISMTPHandlerFactory<moxtwisted.smtp.interfaces.ISMTPHandlerFactory>}::

    factory = SMTPServerFactory(ServerSettings(hostname="mx.example.org"), handlers, reactor)
    TCP4ServerEndpoint(reactor, 25).listen(factory)

With TLS: C{ServerTLS(context_factory)} adds STARTTLS, C{ServerTLS(context_factory, implicit=True)} begins with the handshake (listen
on plain TCP all the same: the protocol starts TLS by itself, after the PROXY header if there is one).

All decisions are in L{moxtwisted.smtp.server.ServerMachine} and in the host's handler. Commands that arrive together are
answered in one write. While an awaitable of the host is pending nothing is read.
"""

from __future__ import annotations

import binascii
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.sasl.outcome import Challenge, Success
from moxtwisted.smtp.events import (
    AuthResponse,
    AuthStart,
    BodyData,
    BodyEnd,
    BodyStart,
    Event,
    ExtensionCommand,
    Greeting,
    Hello,
    Mail,
    Plain,
    Quit,
    Rcpt,
    Refused,
)
from moxtwisted.smtp.extensions import Offers
from moxtwisted.smtp.interfaces import (
    IMessageSink,
    ISMTPCommandHandler,
    ISMTPHandler,
    ISMTPHandlerFactory,
    ISMTPInterceptor,
)
from moxtwisted.smtp.peer import Peer, TLSInfo, inspect_tls
from moxtwisted.smtp.proxyheader import ProxyHeaderError, parse_proxy_header
from moxtwisted.smtp.replies import Reply, StandardReplies, reply_for_error
from moxtwisted.smtp.server import ServerMachine
from moxtwisted.smtp.settings import ServerSettings
from moxtwisted.smtp.states import State

__all__ = ["SMTPServerFactory", "SMTPServerProtocol", "ServerTLS"]

_log = Logger()


@frozen
class ServerTLS:
    """How a listener does TLS.

    @ivar context_factory: what Twisted's C{startTLS} takes (C{IOpenSSLServerConnectionCreator} or a context factory).
    @ivar implicit: the handshake comes first; there is no STARTTLS.
    @ivar inspect: gives the facts of a finished handshake from the pyOpenSSL connection.
    """

    context_factory: Any
    implicit: bool = False
    inspect: Callable[[Any], TLSInfo] = inspect_tls


def _now() -> datetime:
    return datetime.now(UTC)


class SMTPServerFactory(Factory):
    """Makes the protocols of one listener, and ends them.

    @ivar connections: the connections that are open.
    """

    noisy = False

    def __init__(
        self,
        settings: ServerSettings,
        handlers: Any,
        clock: IReactorTime,
        tls: ServerTLS | None = None,
        offers: Offers | None = None,
        replies: StandardReplies | None = None,
    ) -> None:
        self.settings = settings
        self.handlers = ISMTPHandlerFactory(handlers)
        self.clock = clock
        self.tls = tls
        self.replies = replies if replies is not None else StandardReplies()
        self.offers = offers
        self.utc_now = _now
        self.connections: set[SMTPServerProtocol] = set()
        self._empty: list[Deferred[None]] = []
        self._closing = False

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

    def buildProtocol(self, addr: object) -> Any:
        """A protocol, or None (the connection is dropped) after L{shutdown}."""
        if self._closing:
            return None
        protocol = SMTPServerProtocol(self)
        protocol.factory = self
        return protocol

    def shutdown(self) -> Deferred[None]:
        """End all connections: messages in transfer are finished, all others get 421.

        @return: fires when the last is gone. The caller has stopped listening before.
        """
        self._closing = True
        for connection in list(self.connections):
            connection.shutdown()
        if not self.connections:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._empty.append(done)
        return done

    def connection_lost(self, connection: SMTPServerProtocol) -> None:
        """A protocol says that its connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            waiting, self._empty = self._empty, []
            for done in waiting:
                done.callback(None)


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


async def _coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _as_deferred(awaitable: Any) -> Deferred[Any]:
    if isinstance(awaitable, Deferred):
        return awaitable
    return Deferred.fromCoroutine(awaitable if isinstance(awaitable, Coroutine) else _coroutine(awaitable))


@implementer(IHandshakeListener, IPushProducer)
class SMTPServerProtocol(Protocol):
    """One connection. Hosts do not call it; they are called through L{ISMTPHandler}."""

    factory: SMTPServerFactory

    def __init__(self, factory: SMTPServerFactory) -> None:
        self.factory = factory
        self.settings = factory.settings
        self.machine = factory.make_machine()
        self._clock: Any = factory.clock
        self._handler: Any = None
        self._interceptor: Any = None
        self._commands: Any = None
        self._refusal: Reply | None = None  # instead of the greeting
        self._peer: Peer | None = None
        self._proxy_header: bytes | None = None
        self._early = b""  # what came in the same segment as the PROXY header
        self._sink: Any = None
        self._exchange: Any = None
        self._out: list[bytes] = []
        self._pending: Deferred[Any] | None = None  # the host's answer that we wait for
        self._committing = False  # and it is that to data_done
        self._running = False
        self._blocked = False  # the peer does not read its replies
        self._slow = False
        self._held: bytes | None = None  # what slow mode keeps back
        self._drip = b""
        self._drip_until = 0.0
        self._timer: IDelayedCall | None = None
        self._deadline = 0.0
        self._data_deadline = 0.0
        self._slow_call: IDelayedCall | None = None
        self._ending = ""  # why we close, once we do
        self._shutting_down = False

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
            ip=_ip(getattr(there, "host", "")),
            port=getattr(there, "port", 0),
            local_ip=_ip(getattr(here, "host", "")),
            local_port=getattr(here, "port", 0),
        )
        self._peer = peer
        if peer.ip is not None and any(peer.ip in network for network in self.settings.proxy_networks):
            self._proxy_header = b""
            self._arm(self.settings.timeouts.proxy_header)
            return
        self._connected(peer)

    @property
    def _transport(self) -> Any:
        return self.transport

    def _connected(self, peer: Peer) -> None:
        self._peer = peer
        self._call(lambda: self.factory.handlers.connected(peer), self._accepted)

    def _accepted(self, answer: Any) -> None:
        if isinstance(answer, Reply):
            self._refusal = answer.closing()
        else:
            self._handler = ISMTPHandler(answer)
            self._interceptor = ISMTPInterceptor(answer, None)
            self._commands = ISMTPCommandHandler(answer, None)
        tls = self.factory.tls
        if tls is not None and tls.implicit:
            if self._refusal is not None:
                self._end("refused")
                return
            self._start_tls()
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
            self._end("proxy", abort=True)
            return
        if header is None or peer is None:
            return
        rest, self._proxy_header = self._proxy_header[header.octets :], None
        self._disarm()
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

    def _start_tls(self) -> None:
        tls, transport = self.factory.tls, self._transport
        if tls is None:
            raise RuntimeError("no TLS context")
        self._arm(self.settings.timeouts.tls_handshake)
        transport.startTLS(tls.context_factory)
        if self._early:
            early, self._early = self._early, b""
            transport.protocol.dataReceived(early)

    def handshakeCompleted(self) -> None:
        """TLS is there: forget what was said before."""
        tls = self.factory.tls
        if tls is None or self._ending:
            return
        info = tls.inspect(self._transport.getHandle())
        implicit = self.machine.state is State.CONNECTED
        self.machine.tls_started(info)
        if self._handler is not None:
            try:
                self._handler.tls_started(info)
            except Exception:  # noqa: BLE001  (the host's fault, at our boundary)
                _log.failure("handler failed at tls_started")
                self._end("error", abort=True)
                return
        self._arm(self.settings.timeouts.command)
        if implicit:
            self._run()

    def dataReceived(self, data: bytes) -> None:
        """Octets from the peer."""
        if self._ending:
            return  # lingering: read, so that our last reply is not lost in a reset
        if self._proxy_header is not None:
            self._proxy_received(data)
            return
        if self._slow:
            self._hold(data)
            return
        self.machine.receive(data)
        if self._pending is None and not self._blocked and not self._running:
            self._run()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, whoever ended it."""
        self._disarm()
        if self._slow_call is not None:
            self._slow_call.cancel()
            self._slow_call = None
        why, self._ending = self._ending or "lost", "gone"
        pending, committing = self._pending, self._committing
        self._pending = None
        self.machine.close()
        if pending is not None and not committing:
            pending.cancel()
        self._drop_sink(committing=committing)
        self._drop_exchange()
        if self._handler is not None:
            try:
                self._handler.disconnected(why)
            except Exception:  # noqa: BLE001  (the host's fault, at our boundary)
                _log.failure("handler failed at disconnected")
            self._handler = None
        self.factory.connection_lost(self)

    # -- events ----------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Take events until octets, or an answer of the host, are missing; then write everything at once."""
        if self._running:
            return
        self._running = True
        machine, progress = self.machine, False
        try:
            while self._pending is None and not self._ending and not self._blocked:
                event = machine.next_event()
                if event is None:
                    break
                progress = True
                if isinstance(event, BodyData):
                    self._body(event.octets)
                else:
                    self._call_handler(event)
        finally:
            self._running = False
        self._flush()
        if self._ending:
            return
        if self._pending is not None:
            self._transport.pauseProducing()
        elif progress:
            self._arm_next()

    def _call(self, ask: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Ask the host something, and go on with its answer, at once or later; its errors become replies."""
        try:
            answer = ask()
        except MailError as e:
            answer = reply_for_error(e)
        except Exception:  # noqa: BLE001  (the host's fault, at our boundary)
            _log.failure("SMTP handler failed, peer {peer}", peer=self._peer)
            answer = self.factory.replies.local_error
        if hasattr(answer, "__await__"):
            self._wait(answer, then)
        else:
            then(answer)

    def _wait(self, awaitable: Any, then: Callable[[Any], None]) -> None:
        pending = _as_deferred(awaitable)
        self._pending = pending
        self._arm(self.settings.timeouts.handler)
        pending.addErrback(self._failed_answer)
        pending.addCallback(self._answered, pending, then)

    def _failed_answer(self, failure: Failure) -> Reply:
        if isinstance(failure.value, MailError):
            return reply_for_error(failure.value)
        if not (failure.check(CancelledError) and self._pending is None):
            _log.failure("SMTP handler failed, peer {peer}", failure=failure, peer=self._peer)
        return self.factory.replies.local_error

    def _answered(self, answer: Any, pending: Deferred[Any], then: Callable[[Any], None]) -> None:
        if self._pending is not pending:
            return  # the connection went away, or we gave up waiting
        self._pending = None
        self._committing = False
        then(answer)
        if not self._running and self._pending is None:
            if not self._ending:
                self._transport.resumeProducing()
            self._run()
            if not self._ending and self._pending is None:
                self._arm_next()

    def _call_handler(self, event: Event) -> None:
        kind = type(event)
        handler = self._handler
        if handler is None or kind is Greeting:
            self._reply(event, self._refusal)
            return
        ask = _ASK.get(kind)
        if ask is None:
            self._reply(event, None)
            return
        try:
            answer = ask(self, handler, event)
        except MailError as e:
            answer = reply_for_error(e)
        except Exception:  # noqa: BLE001  (the host's fault, at our boundary)
            _log.failure("SMTP handler failed, peer {peer}", peer=self._peer)
            answer = self.factory.replies.local_error
        if answer is None or isinstance(answer, Reply):
            self._reply(event, answer)
        elif hasattr(answer, "__await__"):
            self._committing = kind is BodyEnd
            self._wait(answer, lambda result: self._host_said(event, result))
        else:
            self._host_said(event, answer)

    def _host_said(self, event: Event, answer: Any) -> None:
        """An answer that may be more than a reply: a sink, or a sequence of replies."""
        if answer is None or isinstance(answer, Reply):
            self._reply(event, answer)
        elif type(event) is BodyStart:
            self._sink = IMessageSink(answer)
            self._data_deadline = self._clock.seconds() + self.settings.timeouts.data_total
            self._reply(event, None)
        elif type(event) is BodyEnd:
            replies = [event.reply if r is None else r for r in answer]
            self._intercept_each(event, replies, 0)
        else:
            raise TypeError(f"not an answer to {event.verb}: {answer!r}")

    def _reply(self, event: Event, answer: Reply | None) -> None:
        reply = event.reply if answer is None else answer
        interceptor = self._interceptor
        # What a first BDAT is answered with comes again as a refusal, after its chunk.
        if interceptor is None or (type(event) is BodyStart and event.verb == "BDAT"):
            self._send(event, reply)
            return
        self._call(
            lambda: interceptor.intercept(event, reply),
            lambda other: self._send(event, reply if other is None else other),
        )

    def _intercept_each(self, event: Event, replies: list[Reply], at: int) -> None:
        interceptor = self._interceptor
        if interceptor is None or at == len(replies):
            self._send_each(event, replies)
            return

        def then(other: Reply | None) -> None:
            replies[at] = replies[at] if other is None else other
            self._intercept_each(event, replies, at + 1)

        self._call(lambda: interceptor.intercept(event, replies[at]), then)

    def _send(self, event: Event, reply: Reply) -> None:
        machine = self.machine
        before = machine.transaction
        wire = machine.send(reply)
        if wire:
            self._out.append(wire)
        self._sent(event, before is not None and machine.transaction is None, reply)

    def _send_each(self, event: Event, replies: list[Reply]) -> None:
        self._out.append(self.machine.send_each(replies))
        self._sent(event, True, replies[-1])

    def _sent(self, event: Event, over: bool, reply: Reply) -> None:
        """What follows from an answer, besides its octets. C{over}: the transaction is no more."""
        machine = self.machine
        kind = type(event)
        if over:
            if kind is BodyEnd:
                self._sink = None
            else:
                self._drop_sink()
                self._reset_handler()
        if reply.slow:
            self._slow = True
        if self._exchange is not None and machine.state is not State.AUTH:
            if kind is Refused:
                self._drop_exchange()
            self._exchange = None
        if machine.state is State.CLOSED:
            self._end("quit" if kind is Quit else "refused")
        elif machine.state is State.TLS:
            self._flush()
            self._start_tls()
        elif self._shutting_down and not machine.receiving:
            self._say_shutdown()

    # -- messages --------------------------------------------------------------------------------------------------------

    def _body(self, octets: bytes) -> None:
        sink = self._sink
        if sink is None:
            return  # refused already: the machine reads on to the end
        try:
            answer = sink.write(octets)
        except MailError as e:
            self._sink_failed(reply_for_error(e))
            return
        except Exception:  # noqa: BLE001  (the host's fault, at our boundary)
            _log.failure("message sink failed, peer {peer}", peer=self._peer)
            self._sink_failed(self.factory.replies.local_error)
            return
        if answer is not None:
            self._wait(answer, self._written)

    def _written(self, answer: Any) -> None:
        if isinstance(answer, Reply):
            self._sink_failed(answer)

    def _sink_failed(self, reply: Reply) -> None:
        self.machine.fail_body(reply)
        self._drop_sink()

    def _drop_sink(self, *, committing: bool = False) -> None:
        sink, self._sink = self._sink, None
        if sink is None or committing:
            return
        try:
            sink.abort()
        except Exception:  # noqa: BLE001  (the host's fault, at our boundary)
            _log.failure("message sink failed at abort")

    def _reset_handler(self) -> None:
        try:
            self._handler.reset()
        except Exception:  # noqa: BLE001  (the host's fault, at our boundary)
            _log.failure("SMTP handler failed at reset")

    # -- SASL ------------------------------------------------------------------------------------------------------------

    async def _auth_start(self, event: AuthStart) -> Reply:
        failures = self.machine.auth_failures
        if failures >= self.settings.limits.auth_failures_slow:
            # As mox: the fourth attempt waits a second, the fifth two, and so on; and the connection is slow from here on.
            self._slow = True
            more = failures - self.settings.limits.auth_failures_slow + 1
            await deferLater(self._clock, self.settings.timeouts.auth_failure * more)
        exchange = self._handler.sasl_start(event.mechanism, self.machine.tls)
        if hasattr(exchange, "__await__"):
            exchange = await exchange
        if isinstance(exchange, Reply):
            return exchange
        self._exchange = exchange
        return await self._auth_step(event.initial)

    async def _auth_step(self, data: bytes | None) -> Reply:
        step = await self._exchange.respond(data)
        if isinstance(step, Challenge):
            return Reply(334, "", binascii.b2a_base64(step.data, newline=False).decode("ascii"))
        if isinstance(step, Success):
            answer = self._handler.authenticated(step)
            if hasattr(answer, "__await__"):
                answer = await answer
            return self.factory.replies.authenticated if answer is None else answer
        reason = step.reason
        return Reply(reason.reply_code, reason.enhanced_code, step.public_text)

    def _drop_exchange(self) -> None:
        """The client broke off: the exchange has to know, since attempts are counted."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            aborted = _as_deferred(exchange.abort())
            aborted.addErrback(lambda f: _log.failure("SASL exchange failed at abort", failure=f))

    # -- octets out, the end ---------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        out = self._out
        if not out:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        if self._slow:
            first = not self._drip
            self._drip += data
            if first:
                self._drip_until = self._clock.seconds() + self.settings.timeouts.slow_total
                self._drip_on()
            return
        self._transport.write(data)

    def _drip_on(self) -> None:
        """Slow mode: an octet at a time, the rest when the time is up."""
        if self._ending == "gone":
            return
        over = self._clock.seconds() >= self._drip_until
        octets, self._drip = (self._drip, b"") if over else (self._drip[:1], self._drip[1:])
        self._transport.write(octets)
        if self._drip:
            self._clock.callLater(self.settings.timeouts.slow_write, self._drip_on)
        elif self._ending:
            self._hang_up()

    def _hold(self, data: bytes) -> None:
        """Slow mode: what was read waits a while."""
        self._transport.pauseProducing()
        self._held = (self._held or b"") + data
        if self._slow_call is None:
            self._slow_call = self._clock.callLater(self.settings.timeouts.slow_read, self._release)

    def _release(self) -> None:
        self._slow_call = None
        data, self._held = self._held or b"", None
        if self._ending:
            return
        self.machine.receive(data)
        if self._pending is None and not self._blocked:
            self._transport.resumeProducing()
            self._run()

    def pauseProducing(self) -> None:
        """The peer does not read: answer nothing more until it does."""
        self._blocked = True
        self._transport.pauseProducing()
        self._arm(self.settings.timeouts.write)

    def resumeProducing(self) -> None:
        """The peer reads again."""
        self._blocked = False
        if self._ending or self._pending is not None:
            return
        self._transport.resumeProducing()
        self._run()
        if not self._ending and self._pending is None:
            self._arm_next()

    def stopProducing(self) -> None:
        """Twisted's word for: the connection is going away."""

    def _end(self, why: str, *, abort: bool = False) -> None:
        """Close, once what we said is out."""
        if self._ending:
            return
        self._ending = why
        self._flush()
        self.machine.close()
        self._transport.unregisterProducer()
        if abort:
            self._transport.abortConnection()
        elif not self._drip:
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
        self._arm(self.settings.timeouts.linger)

    # -- time ------------------------------------------------------------------------------------------------------------

    def _arm_next(self) -> None:
        """The next octets are waited for."""
        timeouts = self.settings.timeouts
        if self.machine.receiving:
            self._arm(min(timeouts.data_block, max(0.0, self._data_deadline - self._clock.seconds())))
        elif self.machine.state is not State.TLS:
            self._arm(timeouts.command)

    def _arm(self, seconds: float) -> None:
        """Give up in so many seconds. The timer is moved only when it would fire too late."""
        now = self._clock.seconds()
        self._deadline = now + seconds
        timer = self._timer
        if timer is None:
            self._timer = self._clock.callLater(seconds, self._tick)
        elif timer.getTime() > self._deadline:
            timer.reset(seconds)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        left = self._deadline - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._tick)
        else:
            self._timed_out()

    def _timed_out(self) -> None:
        replies = self.factory.replies
        if self._ending or self._blocked or self._proxy_header is not None or self.machine.state is State.TLS:
            # Nobody would read what we say.
            self._ending = self._ending or "timeout"
            self._transport.abortConnection()
            return
        if self._pending is not None:
            pending, self._pending = self._pending, None
            if not self._committing:
                pending.cancel()
            _log.warn("the host did not answer in time, peer {peer}", peer=self._peer)
            self._give_up("timeout", replies.local_error.closing())
            return
        self._give_up("timeout", replies.timeout)

    def _give_up(self, why: str, reply: Reply) -> None:
        """End from our side, whatever is going on."""
        self._out.append(self.machine.close(reply))
        self._end(why)

    def shutdown(self) -> None:
        """Finish the message in transfer, if there is one; else say 421 and close."""
        self._shutting_down = True
        if self._ending:
            return
        if self.machine.receiving or self._committing:
            timeout = self.settings.timeouts.shutdown
            self._data_deadline = self._clock.seconds() + timeout
            self._arm(timeout)
        else:
            self._say_shutdown()

    def _say_shutdown(self) -> None:
        if self._proxy_header is not None or self.machine.state in {State.CONNECTED, State.TLS}:
            self._end("shutdown", abort=True)
            return
        self._give_up("shutdown", self.factory.replies.shutting_down)


def _ask_data(protocol: SMTPServerProtocol, handler: Any, event: BodyStart) -> Any:
    return handler.data_started(event.transaction)


def _ask_done(protocol: SMTPServerProtocol, handler: Any, event: BodyEnd) -> Any:
    return handler.data_done(protocol._sink)  # noqa: SLF001  (same module)


def _ask_extra(protocol: SMTPServerProtocol, handler: Any, event: Any) -> Any:
    commands = protocol._commands  # noqa: SLF001  (same module)
    return None if commands is None else commands.command(event.verb, event.argument)


#: Which method of the host answers which event. Events that are not here have the machine's own reply.
_ASK: dict[type[Event], Callable[[SMTPServerProtocol, Any, Any], Any]] = {
    Hello: lambda _p, handler, event: handler.hello(event.name, event.esmtp),
    AuthStart: lambda p, _h, event: p._auth_start(event),  # noqa: SLF001
    AuthResponse: lambda p, _h, event: p._auth_step(event.data),  # noqa: SLF001
    Mail: lambda _p, handler, event: handler.mail(event.path, event.parameters),
    Rcpt: lambda _p, handler, event: handler.rcpt(event.path, event.parameters),
    BodyStart: _ask_data,
    BodyEnd: _ask_done,
    Plain: _ask_extra,
    ExtensionCommand: _ask_extra,
}
