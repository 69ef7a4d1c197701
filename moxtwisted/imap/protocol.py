"""The Twisted server protocol: moves octets, awaits what commands wait for, starts TLS, keeps the timers.

A server in a few lines, ``authenticator`` being an ``IAuthenticator<moxtwisted.imap.backend.IAuthenticator>``::

    factory = IMAPServerFactory(ServerSettings(hostname="mail.example.org"), authenticator, reactor)
    TCP4ServerEndpoint(reactor, 143).listen(factory)

With TLS: ``ServerTLS(context_factory)`` adds STARTTLS, ``ServerTLS(context_factory, implicit=True)`` begins with the handshake
(listen on plain TCP all the same, the protocol starts TLS by itself; a listener that is TLS already works as well).

All decisions are in ``moxtwisted.imap.server.Server``. Commands that arrive together are answered in one write; long
answers are pulled from their generators as the client reads; nothing is read while a command waits and enough is pending.
Compression (``moxtwisted.imap.compression``) stands between the machine and the transport; each write is flushed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IAuthenticator, ISession
from moxtwisted.imap.carried import Arriving, Leaving
from moxtwisted.imap.commands.fetchbodies import BrokenLiteralError
from moxtwisted.imap.compression import CompressionLayer, CompressionPool, DecompressionError
from moxtwisted.imap.connection import Transport
from moxtwisted.imap.departing import Departure
from moxtwisted.imap.server import (
    SHUTTING_DOWN,
    Close,
    Depart,
    Run,
    Server,
    StartCompression,
    StartTLS,
    StopCompression,
    Stream,
    Surroundings,
    Work,
)
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.imap.states import State
from moxtwisted.sasl.agent import channel_bindings
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.transport.carrying import ICarrier
from moxtwisted.transport.protocol import ListenerFactory

__all__ = ["IMAPServerFactory", "IMAPServerProtocol", "ServerTLS", "inspect_tls"]

_log = Logger()

# How long the commands of one client may keep the reactor before others have their turn, in seconds.
_TURN_SECONDS: Final = 0.02
# And for how long pieces of an answer are sent, which may come behind other work in the same turn.
_PIECES_SECONDS: Final = 0.01


def inspect_tls(connection: Any) -> tuple[bool, Mapping[str, tuple[bytes, ...]]]:
    """Whether the client showed a certificate, and the channel bindings, from a pyOpenSSL connection."""
    return connection.get_peer_certificate() is not None, channel_bindings(connection)


@frozen
class ServerTLS:
    """How a listener does TLS.

    :ivar context_factory: what Twisted's ``startTLS`` takes.
    :ivar implicit: the handshake comes first; there is no STARTTLS.
    :ivar inspect: gives whether there is a client certificate, and channel bindings, from the pyOpenSSL connection.
    """

    context_factory: Any
    implicit: bool = False
    inspect: Callable[[Any], tuple[bool, Mapping[str, tuple[bytes, ...]]]] = inspect_tls


class IMAPServerFactory(ListenerFactory["IMAPServerProtocol"]):
    """Makes the protocols of one listener, and ends them with BYE; a command that is under way is finished, within a time.

    :param clock: the reactor.
    :param decoys: for SASL with unknown users; should outlive restarts.
    :ivar private: whether the connections are such that the authenticator knows the user without a log-in, although they are
        in clear (a socket that only the operator can open).
    :ivar carrier: takes connections that leave after the log-in, and makes those that arrive; None: all stay.
    :ivar compression: which connections keep a compressor ready.
    :ivar surroundings: what the machines are given; replace it before the first connection for other handlers.
    """

    def __init__(
        self,
        settings: ServerSettings,
        authenticator: IAuthenticator,
        clock: Any,
        tls: ServerTLS | None = None,
        decoys: Decoys | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__()
        self.settings = evolve(settings, offer_starttls=tls is not None and not tls.implicit)
        self.authenticator = authenticator
        self.clock = clock
        self.tls = tls
        self.surroundings = Surroundings(clock, entropy, decoys or Decoys(entropy(32)))
        self.private = False
        self.carrier: ICarrier | None = None
        self.compression = CompressionPool()
        self._woken: deque[IMAPServerProtocol] = deque()
        self._telling = False

    def authenticator_for(self, transport: Any) -> IAuthenticator:
        """The authenticator of a new connection: a host overrides it that wants one for each client.

        :raise MailError: to refuse the client; it reads BYE with the error's text.
        """
        return self.authenticator

    def peer_of(self, transport: Any) -> Any:
        """What the authenticator is given as the peer; asked when the client connects and again after a handshake."""
        return transport.getPeer()

    def make_machine(
        self, authenticator: IAuthenticator, transport: Transport, changed: Callable[[], None]
    ) -> Server:
        """The machine of a new connection; override it to use a subclass."""
        return Server(self.settings, authenticator, self.surroundings, transport, changed)

    def make_protocol(self) -> IMAPServerProtocol:
        """See ``ListenerFactory``."""
        return IMAPServerProtocol(self)

    def arrive(
        self,
        descriptor: int,
        departure: Departure,
        session: ISession,
        authenticator: IAuthenticator | None = None,
    ) -> IMAPServerProtocol:
        """Go on with a connection that left another process; ``connection_lost`` is told its end, as that of any other.

        :param descriptor: of its ``Way``; not the caller's any more.
        :param session: the mail of its account.
        :param authenticator: what log-ins are no affair of any more, but the extensions and URLs are; the factory's own if there is none.
        :raises OSError: when the client is gone; the session was told so.
        """
        carrier = self.carrier
        if carrier is None:
            raise RuntimeError("connections cannot arrive without a carrier")
        protocol = _ArrivedProtocol(self)
        protocol.expect(departure, session, authenticator or self.authenticator)
        try:
            carrier.adopt(descriptor, protocol)
        except OSError:
            session.logout()
            raise
        if self.closing:
            protocol.shutdown()
        return protocol

    def wake(self, connection: IMAPServerProtocol) -> None:
        """Have a client told what changed, once, after everything that happens in this turn of the reactor."""
        self._woken.append(connection)
        if not self._telling:
            self._telling = True
            self.clock.callLater(0, self._tell)

    def _tell(self) -> None:
        """Tell those who were woken; when they are many, others have their turn in between."""
        woken, seconds = self._woken, self.clock.seconds
        turn_ends = seconds() + _TURN_SECONDS
        # Who is woken by what another is told waits for the next turn.
        for _ in range(len(woken)):
            woken.popleft().flush()
            if seconds() > turn_ends:
                break
        self._telling = bool(woken)
        if woken:
            self.clock.callLater(0, self._tell)


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class IMAPServerProtocol(Leaving, Protocol):
    """One connection."""

    factory: IMAPServerFactory

    def __init__(self, factory: IMAPServerFactory) -> None:
        super().__init__(factory)
        self._handshaking = False
        self._running = False  # _run is on the stack
        self._result: Work | None = None  # what a coroutine gave while _run was on the stack
        self._answered = True  # something was said since the timer was set
        self._changes = False  # an idling client is to be told something
        self._turn: Any = None
        self._progress: Any = None
        self._cut_off: Any = None  # when the server stops, and a command is not done
        self._progress_due = 0.0

    # -- the connection ----------------------------------------------------------------------------------------
    @property
    def client_ip(self) -> str:
        """The client's address; empty: there is none, or no connection."""
        transport = self.transport
        return str(getattr(transport.getPeer(), "host", "")) if transport is not None else ""

    @property
    def at_work(self) -> bool:
        """Whether a command is under way and nothing of another has come: what the client said last is acknowledged by the answer."""
        return self._waiting and not self._handshaking and not self._pending_octets

    def connectionMade(self) -> None:
        """Greet, or start TLS first."""
        factory, transport = self.factory, self._transport
        factory.connections.add(self)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        try:
            authenticator = factory.authenticator_for(transport)
        except MailError as e:
            self._refuse(e)
            return
        transport.registerProducer(self, True)
        self.server = factory.make_machine(
            authenticator, Transport(factory.peer_of(transport)), self._changed
        )
        self.server.connection.pause = self._pause
        if factory.carrier is not None:
            self.server.connection.can_leave = self._can_leave
        if ISSLTransport.providedBy(transport):
            self._waiting = self._handshaking = True
            self._deadline.set(factory.settings.timeouts.tls_handshake)
        elif factory.tls is not None and factory.tls.implicit:
            self._start_tls()
        else:
            self._greet(preauthenticate=factory.private)

    def _refuse(self, error: MailError) -> None:
        """Nobody talks to this client; with implicit TLS telling it why would cost a handshake."""
        implicit = self.factory.tls is not None and self.factory.tls.implicit
        if not implicit and not ISSLTransport.providedBy(self._transport):
            # RFC 9051 section 7.1.5: BYE as the greeting refuses the connection.
            code = error.imap_code or "UNAVAILABLE"
            self._transport.write(f"* BYE [{code}] {error.public_text}\r\n".encode("ascii", "replace"))
        self._ended = True
        self._transport.loseConnection()

    def _greet(self, *, preauthenticate: bool) -> None:
        self._result = self.machine.start(preauthenticate=preauthenticate)
        self._run()

    def _start_tls(self) -> None:
        tls = self.factory.tls
        if tls is None:
            raise RuntimeError("TLS without a context")
        self._waiting = self._handshaking = True
        self._deadline.set(self.factory.settings.timeouts.tls_handshake)
        self._transport.startTLS(tls.context_factory)

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        if self._ended:
            return
        implicit = self.factory.tls is None or self.factory.tls.implicit
        inspect = self.factory.tls.inspect if self.factory.tls is not None else inspect_tls
        client_key, bindings = inspect(self._transport.getHandle())
        peer = self.factory.peer_of(self._transport)
        self.machine.tls_started(Transport(peer, True, client_key, bindings))
        self._waiting = self._handshaking = False
        self._answered = True
        if implicit:
            self._greet(preauthenticate=client_key)
        else:
            self._rest()

    def dataReceived(self, data: bytes) -> None:
        """Octets from the client."""
        server = self.server
        if server is None or self._ended:
            return
        if self._layer is None:
            server.receive(data)
        else:
            self._layer.feed(data)
        if not (self._waiting or self._blocked or self._pieces is not None or self._turn is not None):
            self._run()
        elif self._pending_octets > self.factory.settings.limits.pending_octets:
            self._read(False)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, whoever ended it."""
        self._ended = True
        self._stop_timers()
        self._pieces = None
        if self._passing is not None:
            # Whatever the pipe has to say, nobody hears it.
            self.__dict__.pop("dataReceived", None)
            self._passing.client_gone()
        if self._layer is not None:
            self._layer.close()
        if self.server is not None:
            exchange, self.server.connection.exchange = self.server.connection.exchange, None
            self.server.lost()
            if exchange is not None:
                # The client left a log-in half way; who counts the attempts has to know.
                told = Deferred.fromCoroutine(exchange[1].abort())
                told.addErrback(lambda failure: _log.failure("an abandoned log-in was not counted", failure))
            if not self._waiting:
                self.server.forget()
        self.factory.connection_lost(self)

    def _stop_timers(self) -> None:
        self._deadline.cancel()
        for call in (self._turn, self._progress, self._cut_off):
            if call is not None and call.active():
                call.cancel()
        self._turn = self._progress = self._cut_off = None

    def readConnectionLost(self) -> None:
        """The client said its last word: finish what it asked for."""
        if self._ended:
            # It has read ours.
            self._transport.loseConnection()
        elif not self._silent:
            self._silent = True
            self._rest()

    def writeConnectionLost(self) -> None:
        """That was us."""

    # -- commands ----------------------------------------------------------------------------------------------
    def _run(self) -> None:
        """Let the machine go on, until it waits for somebody."""
        server, clock = self.machine, self._clock
        work: Work | None = None
        turn_ends = clock.seconds() + _TURN_SECONDS
        self._running = True
        try:
            while not (self._ended or self._blocked or self._waiting):
                if work is None:
                    work, self._result = self._result, None
                if work is None:
                    work = server.next_work()
                octets = server.take_output()
                if octets:
                    self._answered = True
                    self._write(octets)
                if work is not None:
                    self._do(work)
                    work = None
                elif not self._more():
                    break
                if clock.seconds() > turn_ends and not (self._ended or self._waiting or self._blocked):
                    self._yield()
                    return
        except Exception:  # noqa: BLE001  (one session ends, the others go on)
            self._broken(Failure())
        finally:
            self._running = False
        self._rest()

    def _do(self, work: Work) -> None:
        """Carry out what the machine cannot."""
        match work:
            case Stream(pieces):
                self._pieces = pieces
                self._pump()
            case Run(coroutine):
                self._waiting = True
                Deferred.fromCoroutine(coroutine).addCallbacks(self._ran, self._broken)
                if self._waiting:
                    self._watch()
            case StartTLS():
                self._start_tls()
            case StartCompression():
                self._layer = CompressionLayer(self.factory.compression)
                self.machine.compression_started()
            case StopCompression():
                layer, self._layer = self._layer, None
                self.machine.compression_stopped()
                if layer is not None:
                    self.machine.receive(layer.close())
            case Depart(output):
                self._leave(output)
            case Close():
                self._quit = self.machine.logged_out
                self._end()

    def _ran(self, work: Work | None) -> None:
        """The coroutine is done."""
        self._waiting = False
        if self._ended:
            self.machine.forget()
            return
        self._result = work
        if not (self._running or self._blocked):
            self._run()

    def _watch(self) -> None:
        """A command waits for somebody. The timer is only moved when it fires, so this costs next to nothing."""
        first = self.factory.settings.timeouts.progress_first
        self._progress_due = self._clock.seconds() + first
        if self._progress is None:
            self._progress = self._clock.callLater(first, self._still_waiting)

    def _still_waiting(self) -> None:
        """Tell the client of a command that takes long."""
        self._progress = None
        if self._ended or not self._waiting or self._handshaking:
            return
        now = self._clock.seconds()
        if now >= self._progress_due:
            self._progress_due = now + self.factory.settings.timeouts.progress
            if not self._blocked:
                self.machine.tell_progress()
                octets = self.machine.take_output()
                if octets:
                    self._write(octets)
        self._progress = self._clock.callLater(self._progress_due - now, self._still_waiting)

    def _pause(self, seconds: float) -> Deferred[None]:
        """What a command waits for that shall take its time."""
        return deferLater(self._clock, seconds)

    def _pump(self) -> None:
        """Send pieces for as long as the client reads."""
        pieces, clock = self._pieces, self._clock
        write = self._write
        turn_ends = clock.seconds() + _PIECES_SECONDS
        while pieces is not None and not (self._blocked or self._ended):
            piece = next(pieces, None)
            if piece is None:
                self._pieces = None
                self.machine.streamed()
                return
            if piece:
                write(piece)
            # A client that reads at once, or what is compressed well, is long before the transport has enough of it; and some pieces
            # take long to make.
            if clock.seconds() > turn_ends and not self._blocked:
                self._yield()
                return

    def _yield(self) -> None:
        """Go on in the reactor's next turn."""
        if self._turn is not None:
            return
        self._read(False)

        def again() -> None:
            self._turn = None
            if not self._blocked:
                self.resumeProducing()

        self._turn = self._clock.callLater(0, again)

    def _rest(self) -> None:
        """Nothing more to do now: read on, and wait for so long."""
        if self._ended:
            return
        server, timeouts = self.machine, self.factory.settings.timeouts
        if self._changes:
            self.flush()
        if self._blocked or self._handshaking:
            return
        if self._silent and not (self._waiting or self._pieces is not None or self._turn is not None):
            self._quit = True
            self._end()
            return
        if self._waiting or self._pieces is not None:
            self._deadline.suspend()
        elif server.connection.session is None:
            if self._answered:
                # Parts of a command do not count: they could go on coming for ever.
                self._answered = False
                self._deadline.set(timeouts.login)
        elif server.mid_command:
            self._deadline.set(timeouts.literal)
        else:
            self._deadline.set(timeouts.idle)
        if self._pending_octets <= self.factory.settings.limits.pending_octets:
            self._read(True)

    # -- updates while the client idles ------------------------------------------------------------------------
    def _changed(self) -> None:
        """Something is to be told."""
        self.factory.wake(self)

    def flush(self) -> None:
        """Tell what changed."""
        server = self.server
        if server is None or self._ended:
            return
        if self._blocked:
            self._changes = True
            return
        self._changes = False
        try:
            work = server.flush_changes()
            octets = server.take_output()
            if octets:
                self._write(octets)
            if work is not None:
                self._do(work)
        except Exception:  # noqa: BLE001  (one session ends, the others go on)
            self._broken(Failure())
            return
        if work is not None and not (self._waiting or self._running or self._turn) and self._pieces is None:
            # It was said to its end: what happened meanwhile, or was said.
            self._run()

    def _nonsense(self, error: DecompressionError) -> None:
        _log.info("IMAP client {peer}: {error}", peer=self.machine.connection.transport.peer, error=error)
        super()._nonsense(error)

    # -- the end -----------------------------------------------------------------------------------------------
    def shutdown(self, why: str = SHUTTING_DOWN) -> None:
        """The server stops, or this session is to end."""
        if self._passing is not None and self._cut_off is None:
            # Only the other process knows what may be said now.
            self._passing.end()
            self._cut_off = self._clock.callLater(self.factory.settings.timeouts.shutdown, self._abort)
        if self._ended or self.server is None:
            return
        work = self.server.shutdown(why)
        if work is not None:
            self._write(self.server.take_output())
            self._end()
        elif self._cut_off is None:
            self._cut_off = self._clock.callLater(self.factory.settings.timeouts.shutdown, self._abort)

    def _broken(self, failure: Failure) -> None:
        """Something that nobody expected: this session ends, and the log knows why."""
        if self._ended and self.server is not None and self.server.state is State.LOGOUT:
            _log.failure("IMAP command failed after the client had gone", failure=failure)
            self.machine.forget()
            return
        session = self.machine.connection.session
        _log.failure(
            "IMAP session failed, account {account}, peer {peer}",
            failure=failure,
            account=session.account if session is not None else "",
            peer=self.machine.connection.transport.peer,
        )
        if failure.check(BrokenLiteralError):
            self._abort()
            return
        self.machine.failed()
        self._write(self.machine.take_output())
        self._end()

    # -- back-pressure -----------------------------------------------------------------------------------------
    def pauseProducing(self) -> None:
        """The client does not read: answer nothing more until it does, and read nothing."""
        self._blocked = True
        self._read(False)
        self._deadline.set(self.factory.settings.timeouts.write)

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._blocked = False
        if self._ended or self._running:
            return
        if self._pieces is not None:
            self._running = True
            try:
                self._pump()
            except Exception:  # noqa: BLE001  (one session ends, the others go on)
                self._broken(Failure())
                return
            finally:
                self._running = False
        if self._pieces is None and not self._waiting and not self._blocked and self._turn is None:
            self._run()
        else:
            self._rest()

    def stopProducing(self) -> None:
        """The transport is going away; ``connectionLost`` follows."""
        self._blocked = True


class _ArrivedProtocol(Arriving, IMAPServerProtocol):
    """A connection that left another process."""
