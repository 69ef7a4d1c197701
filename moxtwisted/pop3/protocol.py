"""The Twisted server protocol of POP3: moves octets, awaits what commands wait for, starts TLS, keeps the timers.

::

    factory = POP3ServerFactory(ServerSettings(hostname="mail.example.org"), authenticator, reactor)
    TCP4ServerEndpoint(reactor, 110).listen(factory)

With TLS: ``ServerTLS(context_factory)`` adds STLS, ``ServerTLS(context_factory, implicit=True)`` begins with the handshake (listen
on plain TCP all the same, the protocol starts TLS by itself). All decisions are in ``moxtwisted.pop3.server.Server``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.pop3.backend import IAuthenticator
from moxtwisted.pop3.server import Close, Run, Server, StartTLS, Stream, Surroundings, Transport, Work
from moxtwisted.pop3.settings import ServerSettings
from moxtwisted.pop3.states import State
from moxtwisted.sasl.agent import channel_bindings
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.transport.deadline import Deadline
from moxtwisted.transport.protocol import ListenerFactory

__all__ = ["POP3ServerFactory", "POP3ServerProtocol", "ServerTLS"]

_log = Logger()


def _inspect(peer: Any, connection: Any) -> Transport:
    """What there is to know of a finished handshake, from the pyOpenSSL connection."""
    return Transport(peer, True, connection.get_peer_certificate() is not None, channel_bindings(connection))


@frozen
class ServerTLS:
    """How a listener does TLS.

    :ivar context_factory: what Twisted's ``startTLS`` takes.
    :ivar implicit: the handshake comes first; there is no STLS.
    """

    context_factory: Any
    implicit: bool = False
    inspect: Callable[[Any, Any], Transport] = _inspect


class POP3ServerFactory(ListenerFactory["POP3ServerProtocol"]):
    """Makes the protocols of one listener, and ends them; a command that is under way is finished, within a time.

    :param clock: the reactor.
    :param decoys: for SASL with unknown users; should outlive restarts.
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
        self.settings = evolve(settings, offer_stls=tls is not None and not tls.implicit)
        self.authenticator = authenticator
        self.clock = clock
        self.tls = tls
        self.surroundings = Surroundings(entropy, decoys or Decoys(entropy(32)))

    def make_machine(self, transport: Transport) -> Server:
        """The machine of a new connection; override it to use a subclass."""
        return Server(self.settings, self.authenticator, self.surroundings, transport)

    def make_protocol(self) -> POP3ServerProtocol:
        """See ``ListenerFactory``."""
        return POP3ServerProtocol(self)


@implementer(IHandshakeListener, IPushProducer)
class POP3ServerProtocol(Protocol):
    """One connection."""

    factory: POP3ServerFactory

    def __init__(self, factory: POP3ServerFactory) -> None:
        self.factory = factory
        self._deadline = Deadline(factory.clock, self._expired)
        self.machine: Server | None = None
        self._pieces: Iterator[bytes] | None = None
        self._waiting = False  # for a coroutine, or a handshake
        self._blocked = False  # the client does not read
        self._running = False
        self._ended = False
        self._ending: Any = None
        self._result: Work | None = None
        self._reading = True

    @property
    def _transport(self) -> Any:
        return self.transport

    # -- the connection --------------------------------------------------------------------------------------------
    def connectionMade(self) -> None:
        """Greet, or start TLS first."""
        factory, transport = self.factory, self._transport
        factory.connections.add(self)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self.machine = factory.make_machine(Transport(transport.getPeer()))
        self.machine.pause = self._pause
        if factory.tls is not None and factory.tls.implicit:
            self._start_tls()
        else:
            self._greet()

    def _greet(self) -> None:
        if self.machine is not None:
            self.machine.start()
        self._run()

    def _start_tls(self) -> None:
        tls = self.factory.tls
        if tls is None:
            raise RuntimeError("TLS without a context")
        self._waiting = True
        self._deadline.set(self.factory.settings.timeouts.tls_handshake)
        self._transport.startTLS(tls.context_factory)

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        tls, machine = self.factory.tls, self.machine
        if self._ended or tls is None or machine is None:
            return
        self._waiting = False
        machine.tls_started(tls.inspect(self._transport.getPeer(), self._transport.getHandle()))
        if tls.implicit:
            self._greet()
        else:
            self._run()

    def dataReceived(self, data: bytes) -> None:
        """Octets from the client."""
        machine = self.machine
        if machine is None or self._ended:
            return
        machine.receive(data)
        if self._idle:
            self._run()
        elif machine.pending_octets > self.factory.settings.limits.pending_octets:
            self._read(False)

    @property
    def _idle(self) -> bool:
        return not (self._waiting or self._blocked or self._running or self._pieces is not None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, whoever ended it."""
        self._ended = True
        self._deadline.cancel()
        if self._ending is not None and self._ending.active():
            self._ending.cancel()
        self._drop_pieces()
        machine = self.machine
        if machine is not None:
            exchange, machine.exchange = machine.exchange, None
            machine.lost()
            if exchange is not None and not self._waiting:
                # The client left a log-in half way; who counts the attempts has to know.
                told = Deferred.fromCoroutine(exchange.abort())
                told.addErrback(lambda failure: _log.failure("an abandoned log-in was not counted", failure))
        self.factory.connection_lost(self)

    # -- commands --------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        """Let the machine go on, until it waits for somebody."""
        machine = self.machine
        if machine is None or self._running:
            return
        self._running = True
        try:
            while not (self._ended or self._blocked or self._waiting or self._pieces is not None):
                work, self._result = self._result, None
                if work is None:
                    work = machine.next_work()
                octets = machine.take_output()
                if octets:
                    self.send(octets)
                if work is None:
                    break
                self.do(work)
        except Exception:  # noqa: BLE001  (one session ends, the others go on)
            self._broken(Failure())
        finally:
            self._running = False
        self._rest()

    def send(self, octets: bytes) -> None:
        """To the client."""
        self._transport.write(octets)

    def do(self, work: Any) -> None:
        """Carry out what the machine cannot; a subclass may know of more."""
        match work:
            case Stream(pieces):
                self._pieces = pieces
                self._pump()
            case Run(coroutine):
                self._waiting = True
                Deferred.fromCoroutine(coroutine).addCallbacks(self._ran, self._broken)
            case StartTLS():
                self._start_tls()
            case Close():
                self._end()

    def _ran(self, work: Work | None) -> None:
        """The coroutine is done."""
        self._waiting = False
        if not self._ended:
            self._result = work
            self._run()

    def _pump(self) -> None:
        """Send pieces for as long as the client reads."""
        while self._pieces is not None and not (self._blocked or self._ended):
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
                if self.machine is not None:
                    self.machine.streamed()
            elif piece:
                self.send(piece)

    def _pause(self, seconds: float) -> Deferred[None]:
        """What somebody waits for who guessed a password wrongly."""
        return deferLater(self.factory.clock, seconds)

    def _rest(self) -> None:
        """Nothing more to do now: read on, and wait for so long."""
        machine, settings = self.machine, self.factory.settings
        if self._ended or self._blocked or machine is None or machine.state in {State.TLS, State.CONNECTED}:
            return
        timeouts = settings.timeouts
        if self._waiting or self._pieces is not None:
            self._deadline.suspend()
            return
        self._deadline.set(timeouts.login if machine.maildrop is None else timeouts.idle)
        self._read(True)

    def _read(self, wanted: bool) -> None:
        if wanted is not self._reading:
            self._reading = wanted
            if wanted:
                self._transport.resumeProducing()
            else:
                self._transport.pauseProducing()

    # -- the end ---------------------------------------------------------------------------------------------------
    def _expired(self) -> None:
        """The client was silent for too long, or did not read."""
        if self.machine is not None:
            self.machine.timed_out()
        if self._ended or self._blocked or self._waiting:
            self._transport.abortConnection()
        else:
            self._end()

    def shutdown(self) -> None:
        """The server stops."""
        if self._ended or self.machine is None:
            return
        if self._waiting or self._pieces is not None or self._blocked:
            self.machine.shutdown()
            timeouts = self.factory.settings.timeouts
            self._ending = self.factory.clock.callLater(timeouts.shutdown, self._transport.abortConnection)
            return
        self._result = self.machine.shutdown()
        self._run()

    def _broken(self, failure: Failure) -> None:
        """Something that nobody expected: this session ends, and the log knows why."""
        self._waiting = False
        _log.failure("POP3 session failed, peer {peer}", failure=failure, peer=self._transport.getPeer())
        if self._ended or self.machine is None:
            return
        if self._pieces is not None:
            # In the middle of a message there is no way to say so but to hang up.
            self._ended = True
            self._drop_pieces()
            self._transport.abortConnection()
            return
        self.machine.failed()
        self.send(self.machine.take_output())
        self._end()

    def _drop_pieces(self) -> None:
        pieces, self._pieces = self._pieces, None
        close = getattr(pieces, "close", None)
        if close is not None and not self._running:
            close()

    def _end(self) -> None:
        """Close, once what was written is out."""
        self._ended = True
        transport = self._transport
        transport.unregisterProducer()
        self._read(True)
        timeouts = self.factory.settings.timeouts
        quitted = self.machine is not None and self.machine.quitted
        self._deadline.set(timeouts.write if quitted else timeouts.linger)
        if quitted or getattr(transport, "TLS", False) or not hasattr(transport, "loseWriteConnection"):
            transport.loseConnection()
        else:
            # Octets that we did not read would make the kernel send a reset, which can overtake our last words.
            transport.loseWriteConnection()

    # -- back-pressure ---------------------------------------------------------------------------------------------
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
            finally:
                self._running = False
        if self._idle:
            self._run()
        else:
            self._rest()

    def stopProducing(self) -> None:
        """The transport is going away; ``connectionLost`` follows."""
        self._blocked = True
