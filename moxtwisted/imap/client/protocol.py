"""The Twisted protocol of the IMAP client: moves octets, waits, holds back. ``moxtwisted.imap.agent`` makes and uses it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from attrs import define, field, frozen
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.imap.client.machine import (
    BodyData,
    BodyEnded,
    BodyStarted,
    Challenge,
    Client,
    ClientEvent,
    Completed,
    Data,
    Failed,
    Greeting,
    Idling,
    NotWritten,
    Unsolicited,
    Upload,
)
from moxtwisted.imap.client.results import ResultError
from moxtwisted.imap.client.session import (
    BodySink,
    CommandRefusedError,
    ConnectionFailedError,
    MessageSource,
    NotUnderstoodError,
)
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.responses import ResponseLimits
from moxtwisted.sasl.agent import channel_bindings, nameless
from moxtwisted.sasl.client import ClientExchange, Credentials
from moxtwisted.transport.agent import hang_up

__all__ = ["ClientConnection", "ClientSettings", "ClientTLS", "ClientTimeouts", "Run"]

_log = Logger()

BLOCK_OCTETS = 64 * 1024
"""A source is asked for so many octets at a time."""
TURN_SECONDS = 0.02
"""How long one connection may keep the reactor."""


@frozen(kw_only=True)
class ClientTimeouts:
    """Waits in seconds.

    :ivar answer: how long the server may say nothing while a command is under way.
    :ivar room: how long it may not read what we send.
    """

    connect: float = 30.0
    tls_handshake: float = 60.0
    greeting: float = 120.0
    answer: float = 600.0
    room: float = 300.0


def inspect_as_client(connection: Any) -> Mapping[str, tuple[bytes, ...]]:
    """Channel bindings of a handshake in which we were the client.

    :raise MailError: the certificate was to be verified, and names no host.
    """
    if nameless(connection):
        raise MailError("TLS: the certificate names no host")
    return channel_bindings(connection, server=False)


def _explained(reason: Failure) -> str:
    """Why a connection ended. OpenSSL tells a list of (library, function, words)."""
    if reason.check(VerificationError):
        return "TLS: the certificate is for another name"
    told = next(iter(getattr(reason.value, "args", ())), None)
    if isinstance(told, list) and told and all(isinstance(one, tuple) and one for one in told):
        return "TLS: " + ", ".join(str(one[-1]) for one in told)
    return reason.getErrorMessage()


@frozen
class ClientTLS:
    """How we do TLS.

    :ivar creator: an ``IOpenSSLClientConnectionCreator``, as of ``optionsForClientTLS(hostname)``: it verifies what is to be verified.
    :ivar implicit: the handshake comes first; else STARTTLS.
    :ivar required: without TLS there is no connection; else STARTTLS is used where it is offered.
    """

    creator: Any
    implicit: bool = False
    required: bool = True
    inspect: Callable[[Any], Mapping[str, tuple[bytes, ...]]] = inspect_as_client


@frozen(kw_only=True)
class ClientSettings:
    """How a connection is opened.

    :ivar tls: ``None`` = never.
    :ivar credentials: who logs in; ``None`` leaves it to the caller.
    :ivar exchange: chooses a SASL exchange from the names offered and the channel bindings; by default the best one for the credentials.
    :ivar allow_clear_password: whether a password may be said without TLS.
    :ivar in_thread: runs a function elsewhere (``deferToThread``): a server may ask for a million rounds of SCRAM's hash, which take
        half a second; by default they are done at once.
    :ivar enable: extensions to be enabled after login, as far as they are offered.
    :ivar compress: whether to compress where it is offered.
    """

    tls: ClientTLS | None = None
    credentials: Credentials | None = None
    exchange: Callable[[Collection[str], Mapping[str, bytes]], ClientExchange | None] | None = None
    entropy: Callable[[int], bytes] = field(default=os.urandom)
    allow_clear_password: bool = False
    in_thread: Callable[..., Awaitable[bytes]] | None = None
    enable: tuple[str, ...] = ()
    compress: bool = False
    limits: ResponseLimits = field(factory=ResponseLimits)
    timeouts: ClientTimeouts = field(factory=ClientTimeouts)


@define(eq=False)
class Run:
    """A command under way."""

    word: str
    done: Deferred[Completed]
    each: Callable[[r.Response], Awaitable[None] | None] | None = None
    sinks: Callable[[BodyStarted], BodySink | None] | None = None
    sources: list[MessageSource] = field(factory=list)
    challenged: Callable[[bytes], Awaitable[bytes | None]] | None = None
    granted: Deferred[None] | None = None
    seconds: float | None = None


@implementer(IHandshakeListener, IPushProducer)
class ClientConnection(Protocol):
    """Octets, back-pressure and waiting of an ``IMAPClient``."""

    def __init__(self, clock: Any, settings: ClientSettings, machine: Client) -> None:
        self.machine = machine
        self.settings = settings
        self.lost: str = ""
        self._error: type[ConnectionFailedError] = ConnectionFailedError
        self.bindings: Mapping[str, tuple[bytes, ...]] = {}
        self.encrypted = False
        self.greeting: Deferred[r.StatusResponse] = Deferred()
        self.runs: dict[bytes, Run] = {}
        self.heard: Callable[[r.Response], None] = lambda _: None
        self.answered: Callable[[Completed], None] = lambda _: None
        self.gone: Callable[[str], None] | None = None
        self._clock = clock
        self._sink: BodySink | None = None
        self._in_body = False
        self._held = False
        self._pumping = False
        self._full = False
        self._room: Deferred[None] | None = None
        self._handshake: Deferred[None] | None = None
        self._closed: list[Deferred[None]] = []
        self._gone = self._ended = False
        self._farewell = ""
        self._cause: BaseException | None = None
        self._timer: Any = None
        self._clock_out: Any = None
        self._due = 0.0

    # -- the connection ------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """See ``Protocol``."""
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        if hasattr(transport, "setTcpKeepAlive"):
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)

    def start_tls(self, tls: ClientTLS) -> Deferred[None]:
        """The handshake; ``ConnectionFailedError`` when it fails."""
        done: Deferred[None] = Deferred()
        if self.lost or self.machine.buffered_octets:
            done.errback(ConnectionFailedError(self.lost or "octets in clear before TLS"))
            return done
        self._handshake = done
        self.expect(self.settings.timeouts.tls_handshake)
        transport: Any = self.transport
        transport.startTLS(tls.creator)
        return done

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        done, tls, transport = self._handshake, self.settings.tls, self.transport
        if done is None or tls is None:
            return
        handle: Any = transport
        try:
            self.bindings = tls.inspect(handle.getHandle())
        except MailError as error:
            self.drop(error.explanation)
            return
        self._handshake = None
        self.encrypted = True
        self.machine.tls_started()
        done.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """See ``Protocol``."""
        self.machine.receive(data)
        self._due = self._clock.seconds() + self._patience()
        if not self._held:
            self.pump()

    def flush(self) -> None:
        """Send what the machine has to say."""
        octets = self.machine.data_to_send()
        if octets and not self.lost and self.transport is not None:
            self.transport.write(octets)

    def pump(self) -> None:
        """Hand events on until there are none, somebody must be waited for, or it was long enough."""
        if self._pumping:
            return
        self._pumping = True
        stop = self._clock.seconds() + TURN_SECONDS
        try:
            while not self._held and not self.lost:
                event = self.machine.next_event()
                self.flush()
                if event is None:
                    break
                waits = self._handle(event)
                if waits is not None:
                    self._hold(waits)
                elif self._clock.seconds() > stop:
                    pause: Deferred[None] = Deferred()
                    self._clock.callLater(0, pause.callback, None)
                    self._hold(pause)
        except ResultError as error:
            self._misunderstood(error.explanation)
        except MailError as error:
            self.drop(error.explanation)
        except Exception as error:  # noqa: BLE001  (a callback of the program that uses us, or a defect of ours: this connection ends)
            self._cause = error
            _log.failure("IMAP client: an event could not be handled")
            self.drop("an event could not be handled")
        finally:
            self._pumping = False
        self._rest()

    def _hold(self, waits: Awaitable[None]) -> None:
        """Read nothing until that has fired."""
        self._held = True
        transport: Any = self.transport
        if not self.lost:
            transport.pauseProducing()

        async def wait() -> None:
            await waits

        def go_on(result: Any) -> None:
            self._held = False
            if isinstance(result, Failure):
                self._cause = self._cause or result.value
                if not result.check(MailError, CancelledError):
                    _log.failure("IMAP client: a sink failed", failure=result)
                self.drop(result.getErrorMessage() or "a sink failed")
            if not self.lost:
                transport.resumeProducing()
                self._due = self._clock.seconds() + self._patience()
                self.pump()

        ensureDeferred(wait()).addBoth(go_on)

    # -- events --------------------------------------------------------------------------------------------------------

    def _handle(self, event: ClientEvent) -> Awaitable[None] | None:
        match event:
            case Data(tag, response):
                run = self.runs.get(tag)
                return run.each(response) if run is not None and run.each is not None else None
            case BodyData(octets):
                return self._sink.write(octets) if self._sink is not None else None
            case BodyStarted(tag):
                run = self.runs.get(tag)
                self._sink = run.sinks(event) if run is not None and run.sinks is not None else None
            case BodyEnded():
                sink, self._sink = self._sink, None
                if sink is not None:
                    sink.close(complete=True)
            case Completed(tag):
                self._complete(tag, event)
            case NotWritten(tag, error):
                self._complete(tag, error)
            case Upload(tag):
                self._upload(tag, event)
            case Unsolicited(response):
                if isinstance(response, r.StatusResponse) and response.condition == "BYE":
                    self._farewell = response.text[:300]
                self.heard(response)
            case Challenge(tag, octets):
                run = self.runs.get(tag)
                return self._respond(run.challenged(octets) if run is not None and run.challenged else None)
            case Idling(tag):
                granted = self.runs[tag].granted
                if granted is not None:
                    granted.callback(None)
                if next(reversed(self.runs), tag) != tag:
                    # A command was given behind it while it waited for its own turn.
                    self.machine.done()
                    self.flush()
            case Greeting(status):
                self.greeting.callback(status)
            case Failed(reason):
                self._misunderstood(reason)
        return None

    def _misunderstood(self, why: str) -> None:
        if not self.lost:
            self._error = NotUnderstoodError
        self.drop(why)

    async def _respond(self, answer: Awaitable[bytes | None] | None) -> None:
        self.machine.respond(None if answer is None else await answer)
        self.flush()

    def _complete(self, tag: bytes, event: Completed | Exception) -> None:
        if (
            isinstance(event, Completed)
            and event.status.code is not None
            and event.status.code.name == "ALERT"
        ):
            # RFC 9051 section 7.1: it must be shown to the user.
            self.heard(event.status)
        run = self.runs.pop(tag, None)
        if run is None:
            return
        if isinstance(event, Exception):
            run.done.errback(event)
        elif event.ok:
            run.done.callback(event)
        else:
            # What came with the refusal holds all the same: messages that came and went, alerts.
            self.answered(event)
            run.done.errback(CommandRefusedError(event.status, run.word, event.responses))

    def _upload(self, tag: bytes, event: Upload) -> None:
        run = self.runs.get(tag)
        if run is None or not run.sources:
            self.drop("no source for the octets of a message")
            return
        ensureDeferred(self._send(run.sources.pop(0), event.size_octets)).addErrback(self._source_failed)

    async def _send(self, source: MessageSource, size: int) -> None:
        left = size
        while left and not self.lost:
            octets = source.read(min(left, BLOCK_OCTETS))
            if not isinstance(octets, bytes):
                octets = await octets
            if not octets or len(octets) > left:
                raise ConnectionFailedError("a source has not the octets that it announced")
            left = self.machine.feed(octets)
            self.flush()
            await self.room()
        if not self._held:
            self.pump()

    def _source_failed(self, failure: Failure) -> None:
        # What was announced must come, or nothing else can be said on this connection.
        self._cause = self._cause or failure.value
        if not failure.check(MailError):
            _log.failure("IMAP client: a source failed", failure=failure)
        self.drop(failure.getErrorMessage())

    # -- writing -------------------------------------------------------------------------------------------------------

    async def room(self) -> None:
        """Wait until more may be written."""
        if self._full and not self.lost:
            self._room = Deferred()
            self.expect(self.settings.timeouts.room)
            await self._room

    def pauseProducing(self) -> None:
        """The server does not read as fast as we write."""
        self._full = True

    def resumeProducing(self) -> None:
        """There is room."""
        self._full = False
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """The connection goes away."""

    # -- time ----------------------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        waits = [run.seconds for run in self.runs.values() if run.seconds is not None]
        return max(waits, default=0.0)

    def expect(self, seconds: float) -> None:
        """Something must come within this time. The timer is only moved when it fires."""
        if self.lost:
            return
        self._due = self._clock.seconds() + seconds
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._expired)
        elif self._timer.getTime() > self._due:
            self._timer.reset(seconds)

    def _rest(self) -> None:
        if not self._waiting():
            self._due = 0.0

    def _waiting(self) -> bool:
        """Whether the server owes us something."""
        return (
            self._handshake is not None
            or self._room is not None
            or not self.greeting.called
            or any(run.seconds is not None for run in self.runs.values())
        )

    def _expired(self) -> None:
        self._timer = None
        if self.lost or not self._due or self._held:
            if self._held and not self.lost:
                self._timer = self._clock.callLater(self.settings.timeouts.answer, self._expired)
            return
        left = self._due - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._expired)
        else:
            self.drop("the server did not answer in time")

    # -- the end -------------------------------------------------------------------------------------------------------

    def drop(self, why: str) -> None:
        """Away with the connection."""
        self.lost = self.lost or why
        transport: Any = self.transport
        if transport is not None and not self._gone:
            self._gone = True
            transport.unregisterProducer()
            hang_up(transport)
        self._fail_all()

    def close(self) -> Deferred[None]:
        """Close in peace; fires when the connection is gone."""
        done: Deferred[None] = Deferred()
        transport: Any = self.transport
        if self._ended or transport is None:
            done.callback(None)
            return done
        self._closed.append(done)
        if not self._gone:
            self.lost = self.lost or "closed"
            transport.unregisterProducer()
            transport.loseConnection()
        if self._clock_out is None:
            self._clock_out = self._clock.callLater(self.settings.timeouts.connect, self._close_now)
        return done

    def _close_now(self) -> None:
        """The server does not close its side."""
        self._clock_out = None
        self.drop("closed")
        self._all_closed()

    def _all_closed(self) -> None:
        """Who waits for the end of the connection goes on."""
        if self._clock_out is not None:
            self._clock_out.cancel()
            self._clock_out = None
        closed, self._closed = self._closed, []
        for done in closed:
            done.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``Protocol``."""
        self._gone = self._ended = True
        why = (
            f"the server says good-bye: {self._farewell}" if self._farewell else f"lost: {_explained(reason)}"
        )
        self.lost = self.lost or why[:500]
        self._fail_all()
        self._all_closed()

    def _fail_all(self) -> None:
        """Nobody need wait any longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Before those who wait for commands, who may connect again.
        gone, self.gone = self.gone, None
        if gone is not None:
            gone(self.lost)
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close(complete=False)
        handshake, self._handshake = self._handshake, None
        room, self._room = self._room, None
        runs, self.runs = list(self.runs.values()), {}
        waiting: list[Deferred[Any]] = [run.done for run in runs]
        waiting += [run.granted for run in runs if run.granted is not None and not run.granted.called]
        if handshake is not None:
            waiting.append(handshake)
        if not self.greeting.called:
            if handshake is not None:
                # Who waits for the handshake does not wait for the greeting yet.
                self.greeting.addErrback(lambda _: None)
            waiting.append(self.greeting)
        for done in waiting:
            if not done.called:
                error = self._error(self.lost)
                error.__cause__ = self._cause
                done.errback(error)
        if room is not None:
            room.callback(None)
