"""The Twisted client: sends mail to a server, with PIPELINING, STARTTLS, AUTH, CHUNKING, DSN and all that the machine knows.

One message, one connection::

    results = await send_mail(reactor, TCP4ClientEndpoint(reactor, "mx.example.org", 25),
                              ClientSettings(hello_name="client.example"), envelope, BytesSource(message))
    for result in results:
        print(result.recipient.path, result.delivered, result.reply.text)

Several over one connection::

    session = await connect(reactor, endpoint, settings)      # greeting, EHLO, STARTTLS, AUTH
    results = await session.send(envelope, source)
    await session.quit()

Failures of the server are results, not exceptions: each recipient gets the reply that decided, with the stage at which it came, and an
``outcome``: accepted, refused, later or unknown (see ``moxtwisted.smtp.transmission.Outcome``). Nothing is tried twice here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.sasl.client import ClientError, ClientExchange
from moxtwisted.smtp.client import ClientMachine, OutOfStep, Replied, ServerRefused, Unsolicited
from moxtwisted.smtp.clientcommands import Command, auth, auth_response, hello, plain
from moxtwisted.smtp.clientsettings import ClientSettings, ClientTimeouts, ClientTLS
from moxtwisted.smtp.grammar import decode_base64
from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.sources import BytesSource, FileSource, IMessageSource
from moxtwisted.smtp.transmission import Envelope, RecipientResult, Transmission
from moxtwisted.transport.agent import SoleFactory, hang_up, in_time
from moxtwisted.transport.deadline import Deadline

__all__ = [
    "BytesSource",
    "ClientSettings",
    "ClientTLS",
    "ClientTimeouts",
    "FileSource",
    "IMessageSource",
    "SMTPClient",
    "SessionFailed",
    "connect",
    "send_mail",
]

BLOCK_OCTETS = 64 * 1024

#: More challenges than any mechanism has.
AUTH_STEPS = 10


class SessionFailed(MailError):  # noqa: N818  (it is a result)
    """The session cannot go on.

    :ivar reply: what the server said, or the like in our words.
    :ivar stage: the verb, or CONNECT, TLS.
    """

    def __init__(self, reply: Reply, stage: str) -> None:
        super().__init__(f"{stage}: {reply.code} {reply.text}", public_text=reply.text)
        self.reply = reply
        self.stage = stage
        self.reply_code = reply.code
        self.enhanced_code = reply.enhanced


_LOST = Reply(451, "4.4.2", "connection lost")
_TIMEOUT = Reply(451, "4.4.2", "the next server did not answer in time")
_UNREACHABLE = Reply(451, "4.4.1", "no connection to the next server")
_NO_TLS = Reply(451, "4.7.10", "the next server does not offer TLS")
_TLS_FAILED = Reply(451, "4.7.5", "TLS with the next server failed")
_OUT_OF_STEP = Reply(451, "4.5.0", "the next server said more than it was asked")
_NO_MECHANISM = Reply(451, "4.7.0", "no common authentication mechanism")


@implementer(IHandshakeListener, IPushProducer)
class _Connection(Protocol):
    """The octets and the waiting of an ``SMTPClient``."""

    def __init__(self, clock: Any, machine: ClientMachine, settings: ClientSettings) -> None:
        self.machine = machine
        self.lost: Reply | None = None
        self.out_of_step = False
        self.tls: TLSInfo | None = None
        self._settings = settings
        self._deadline = Deadline(clock, self._timed_out)
        self._event: Deferred[Replied | Unsolicited] | None = None
        self._handshake: Deferred[None] | None = None
        self._room: Deferred[None] | None = None
        self._full = False
        self._closed: Deferred[None] | None = None
        self._gone = False
        self._dropped = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)

    def write(self, octets: bytes) -> None:
        """Send."""
        if octets and self.lost is None and self.transport is not None:
            self.transport.write(octets)

    def dataReceived(self, data: bytes) -> None:
        self.machine.receive(data)
        waiting, self._event = self._event, None
        if waiting is not None:
            self._deliver(waiting)
        elif not self.machine.outstanding and self._handshake is None:
            self._look_around()

    def _look_around(self) -> None:
        """Nobody waits: all that may come is a refusal."""
        try:
            event = self.machine.next_event()
        except ServerRefused as e:
            self._refuse(e)
            return
        if event is not None:
            self.drop(event.reply)

    def expect_silence(self) -> None:
        """Before the next command: all replies are in. What came behind them must not be taken for the answer to what was not asked yet;
        only 421 may come so."""
        if self._dropped or self.machine.outstanding or not self.machine.buffered:
            return
        try:
            event = self.machine.next_event()
        except ServerRefused as e:
            self._refuse(e)
            return
        if event is not None and event.reply.code == 421:
            self.drop(event.reply)
        else:
            self.out_of_step = True
            self.drop(_OUT_OF_STEP)

    def _refuse(self, e: ServerRefused) -> None:
        """This is no SMTP."""
        self.out_of_step = isinstance(e, OutOfStep)
        self.drop(Reply(e.reply_code, e.enhanced_code, f"{e.public_text}: {e.detail}"))

    def _deliver(self, waiting: Deferred[Replied | Unsolicited]) -> None:
        try:
            event = self.machine.next_event()
        except ServerRefused as e:
            self._refuse(e)
            waiting.errback(SessionFailed(self.lost or _LOST, ""))
            return
        if event is None:
            self._event = waiting
        else:
            self._deadline.cancel()
            waiting.callback(event)

    def event(self, timeout: float) -> Deferred[Replied | Unsolicited]:
        """The next reply.

        :raise SessionFailed: by the Deferred: the connection was lost, or time is up.
        """
        waiting: Deferred[Replied | Unsolicited] = Deferred()
        if self._dropped:
            waiting.errback(SessionFailed(self.lost or _LOST, ""))
            return waiting
        self._deliver(waiting)
        if self._event is waiting:
            if self.lost is not None:
                self._event = None
                waiting.errback(SessionFailed(self.lost, ""))
            else:
                self._deadline.set(timeout)
        return waiting

    def start_tls(self, tls: ClientTLS) -> Deferred[None]:
        """The handshake; SessionFailed when it fails."""
        done: Deferred[None] = Deferred()
        if self.lost is not None or self.machine.buffered:
            done.errback(SessionFailed(self.lost or _TLS_FAILED, "TLS"))
            return done
        self._handshake = done
        self._deadline.set(self._settings.timeouts.tls_handshake)
        transport: Any = self.transport
        transport.startTLS(tls.creator)
        return done

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        done, tls, handle = self._handshake, self._settings.tls, self.transport
        if done is None or tls is None:
            return
        try:
            self.tls = tls.inspect(handle.getHandle())  # type: ignore[union-attr]
        except MailError as e:
            self.drop(Reply(_TLS_FAILED.code, _TLS_FAILED.enhanced, f"{_TLS_FAILED.text}: {e.detail}"[:200]))
            return
        self._handshake = None
        self._deadline.cancel()
        done.callback(None)

    def room(self) -> Deferred[None] | None:
        """None when more may be written; else fires when that is so."""
        if not self._full or self.lost is not None:
            return None
        self._room = Deferred()
        self._deadline.set(self._settings.timeouts.data_block)
        return self._room

    def pauseProducing(self) -> None:
        """The server does not read as fast as we write."""
        self._full = True

    def resumeProducing(self) -> None:
        """There is room."""
        self._full = False
        room, self._room = self._room, None
        if room is not None:
            self._deadline.cancel()
            room.callback(None)

    def stopProducing(self) -> None:
        """The connection goes away."""

    def _timed_out(self) -> None:
        self.drop(_TIMEOUT)

    def drop(self, why: Reply) -> None:
        """Away with the connection; whatever else it said does not count."""
        self._dropped = True
        if self.lost is None:
            self.lost = why
        transport: Any = self.transport
        if transport is not None and not self._gone:
            self._gone = True
            if self._closed is None:
                transport.unregisterProducer()
            hang_up(transport)
        self._fail_all(self.lost)

    def close(self) -> Deferred[None]:
        """Close in peace."""
        self._closed = Deferred()
        if self._gone or self.transport is None:
            self._closed.callback(None)
            return self._closed
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()
        self._deadline.set(self._settings.timeouts.connect)
        return self._closed

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        if self.lost is None:
            self.lost = _LOST
            if self._handshake is not None:
                self.lost = Reply(
                    _TLS_FAILED.code, _TLS_FAILED.enhanced, f"{_TLS_FAILED.text}: {reason.value}"[:200]
                )
        self._fail_all(self.lost)
        closed, self._closed = self._closed, None
        if closed is not None and not closed.called:
            closed.callback(None)

    def _fail_all(self, why: Reply) -> None:
        """Nobody need wait any longer."""
        self._deadline.cancel()
        handshake, self._handshake = self._handshake, None
        event, self._event = self._event, None
        room, self._room = self._room, None
        if handshake is not None:
            handshake.errback(SessionFailed(why, "TLS"))
        if event is not None:
            event.errback(SessionFailed(why, ""))
        if room is not None:
            room.callback(None)


class SMTPClient:
    """A session with a server, opened by ``connect``.

    :ivar machine: knows what the server offers.
    :ivar tls: TLS of the connection, or None.
    :ivar greeting: the first reply.
    """

    def __init__(self, connection: _Connection, settings: ClientSettings) -> None:
        self._connection = connection
        self._settings = settings
        self.machine = connection.machine
        self.greeting: Reply | None = None

    @property
    def tls(self) -> TLSInfo | None:
        """TLS of the connection."""
        return self._connection.tls

    @property
    def alive(self) -> bool:
        """Whether another message can be tried."""
        return self._connection.lost is None

    async def command(self, command: Command, seconds: float | None = None) -> Reply:
        """Send a command and wait for its reply; nothing else may be outstanding.

        :raise SessionFailed: there is no reply.
        """
        self._connection.expect_silence()
        self._connection.write(self.machine.send(command))
        return await self._reply(command.verb, self._settings.timeouts.other if seconds is None else seconds)

    async def _reply(self, stage: str, seconds: float) -> Reply:
        try:
            event = await self._connection.event(seconds)
        except SessionFailed as e:
            raise SessionFailed(e.reply, stage) from None
        if isinstance(event, Unsolicited) or event.reply.code == 421:
            self._connection.drop(event.reply)
            raise SessionFailed(event.reply, stage)
        return event.reply

    async def open(self) -> None:
        """Greeting, EHLO, TLS and AUTH, as the settings say.

        :raise SessionFailed: one of them failed; the connection is closed.
        """
        try:
            await self._open()
        except SessionFailed as e:
            self._connection.drop(e.reply)
            raise
        except BaseException:  # we are cancelled, or what chooses or logs in failed
            self._connection.drop(_LOST)
            raise

    async def _open(self) -> None:
        tls, timeouts = self._settings.tls, self._settings.timeouts
        if tls is not None and tls.implicit:
            await self._connection.start_tls(tls)
        self.greeting = await self._reply("", timeouts.greeting)
        if self.greeting.code != 220:
            raise SessionFailed(self.greeting, "")
        await self._hello()
        if tls is not None and not tls.implicit:
            await self._starttls(tls)
        if self._settings.exchange is not None:
            await self._authenticate(self._settings.exchange)

    async def _hello(self) -> None:
        name, timeout = self._settings.hello_name, self._settings.timeouts.hello
        if self._settings.lmtp:
            reply = await self.command(hello("LHLO", name), timeout)
        else:
            reply = await self.command(hello("EHLO", name), timeout)
            if 500 <= reply.code <= 504:  # RFC 5321 section 3.2: then HELO
                reply = await self.command(hello("HELO", name), timeout)
        if not reply.positive:
            raise SessionFailed(reply, "EHLO")

    async def _starttls(self, tls: ClientTLS) -> None:
        if "STARTTLS" not in self.machine.extensions:
            if tls.required:
                raise SessionFailed(_NO_TLS, "TLS")
            return
        reply = await self.command(plain("STARTTLS"))
        if reply.code != 220:
            if tls.required:
                raise SessionFailed(reply, "STARTTLS")
            return
        if self.machine.buffered:
            # What was said in clear behind the 220 must not be taken for something said under TLS.
            raise SessionFailed(_TLS_FAILED, "TLS")
        await self._connection.start_tls(tls)
        self.machine.tls_started()
        await self._hello()

    async def _authenticate(
        self, choose: Callable[[list[str], TLSInfo | None], ClientExchange | None]
    ) -> None:
        exchange = choose(self.machine.extensions.get("AUTH", "").upper().split(), self.tls)
        if exchange is None:
            raise SessionFailed(_NO_MECHANISM, "AUTH")
        try:
            reply = await self.command(auth(exchange.mechanism, exchange.start()))
            for _ in range(AUTH_STEPS):
                if reply.code != 334:
                    break
                reply = await self._auth_step(exchange, reply)
            else:
                raise ClientError("the server asks without end")
            if reply.code != 235:
                raise SessionFailed(reply, "AUTH")
            exchange.finish()
        except ClientError as e:
            raise SessionFailed(Reply(e.reply_code, e.enhanced_code, e.public_text), "AUTH") from e

    async def _auth_step(self, exchange: ClientExchange, challenge: Reply) -> Reply:
        data = decode_base64(challenge.text.encode("ascii", "replace"))
        try:
            if data is None:
                raise ClientError("challenge is not base64")
            answer: bytes | None = exchange.step(data)
        except ClientError:
            await self.command(auth_response(None))
            raise
        return await self.command(auth_response(answer))

    async def send(self, envelope: Envelope, source: Any) -> list[RecipientResult]:
        """Send one message.

        More recipients than the server takes at a time (RFC 9422) get a 452 each; send to them again.

        :param source: an ``IMessageSource``.
        :return: a result for each recipient, in their order.
        """
        connection = self._connection
        if connection.lost is not None:
            # Whatever it said last, it was not about this message.
            why = connection.lost if connection.lost.temporary else _LOST
            return [RecipientResult(r, why, "CONNECT") for r in envelope.recipients]
        source = IMessageSource(source)
        size = source.size()
        if envelope.parameters.size is None and size is not None:
            envelope = evolve(envelope, parameters=evolve(envelope.parameters, size=size))
        most = self.machine.rcpt_max or len(envelope.recipients)
        now, later = envelope.recipients[:most], envelope.recipients[most:]
        settings = self._settings
        job = Transmission(
            self.machine,
            evolve(envelope, recipients=now),
            tls=self.tls is not None,
            lmtp=settings.lmtp,
            prefer_chunking=settings.prefer_chunking,
        )
        try:
            await self._transmit(job, source)
        except SessionFailed as e:
            job.abandon(e.reply, e.stage, doubtful=connection.out_of_step)
        except BaseException:
            # The source failed, or we are cancelled: whatever happens, half a message must not get its final dot.
            connection.drop(_LOST)
            raise
        return job.results + [RecipientResult(r, _LATER, "LOCAL") for r in later]

    async def _transmit(self, job: Transmission, source: Any) -> None:
        connection = self._connection
        connection.expect_silence()
        connection.write(job.start())
        while not job.done:
            if job.body_due:
                await self._send_body(job, source)
            event = await self._next(job)
            connection.expect_silence()
            connection.write(job.replied(event))
        if connection.out_of_step and job.shared_end:
            # One reply more than there are recipients: whose is whose?
            raise SessionFailed(_OUT_OF_STEP, ".")
        if job.spent:
            connection.drop(_OUT_OF_STEP)

    async def _next(self, job: Transmission) -> Replied:
        timeouts = self._settings.timeouts
        verb = self.machine.outstanding[0].verb if self.machine.outstanding else ""
        waits = {"MAIL": timeouts.mail, "RCPT": timeouts.rcpt, "DATA": timeouts.data, ".": timeouts.data_end}
        try:
            event = await self._connection.event(
                waits.get(verb, timeouts.data_end if verb == "BDAT" else timeouts.other)
            )
        except SessionFailed as e:
            raise SessionFailed(e.reply, verb) from None
        if isinstance(event, Unsolicited) or event.reply.code == 421:
            self._connection.drop(event.reply)
            if isinstance(event, Replied):
                job.replied(event)
            raise SessionFailed(event.reply, verb)
        return event

    async def _send_body(self, job: Transmission, source: Any) -> None:
        connection = self._connection
        block = await self._read(source)
        while True:
            following = await self._read(source) if block else b""
            self._still_there()
            if job.chunked:
                connection.write(job.chunk(block, last=not following))
                if following and await self._chunk_refused(job):
                    return
            else:
                connection.write(job.encode(block))
            if not following:
                break
            block = following
            room = connection.room()
            if room is not None:
                await room
        if not job.chunked:
            connection.write(job.finish())

    def _still_there(self) -> None:
        """Before a piece of the message goes out. What never went out has not arrived, so a loss here is no doubt."""
        self._connection.expect_silence()
        if self._connection.lost is not None:
            raise SessionFailed(self._connection.lost, "DATA")

    async def _chunk_refused(self, job: Transmission) -> bool:
        """The reply to a chunk that is not the last."""
        job.replied(await self._next(job))
        if not job.failed:
            return False
        reply = await self.command(plain("RSET"))
        job.done = True
        if not reply.positive:
            self._connection.drop(_OUT_OF_STEP)
        return True

    async def _read(self, source: Any) -> bytes:
        block = source.read(BLOCK_OCTETS)
        if hasattr(block, "__await__"):
            block = await block
        return bytes(block)

    async def quit(self) -> None:
        """QUIT, and close. Never fails."""
        try:
            if self._connection.lost is None and not self.machine.outstanding:
                await self.command(plain("QUIT"), self._settings.timeouts.connect)
            await self._connection.close()
        except SessionFailed:
            return
        except BaseException:  # we are cancelled
            self._connection.drop(_LOST)
            raise


_LATER = Reply(452, "4.5.3", "more recipients than the next server takes at a time")


async def _connect(reactor: Any, endpoint: IStreamClientEndpoint, settings: ClientSettings) -> SMTPClient:
    connection = _Connection(reactor, ClientMachine(), settings)
    try:
        with SoleFactory(connection) as factory:
            await in_time(reactor, endpoint.connect(factory), settings.timeouts.connect)
    except CancelledError:
        raise
    except Exception as e:
        raise SessionFailed(Reply(451, "4.4.1", f"{_UNREACHABLE.text}: {e}"[:200]), "CONNECT") from e
    session = SMTPClient(connection, settings)
    await session.open()
    return session


def connect(reactor: Any, endpoint: IStreamClientEndpoint, settings: ClientSettings) -> Deferred[SMTPClient]:
    """Connect and open a session.

    :param reactor: the clock.
    :return: fires with the session, or fails with ``SessionFailed``. Cancelled, it fails with ``CancelledError`` and leaves no connection.
    """
    return Deferred.fromCoroutine(_connect(reactor, endpoint, settings))


async def _send_mail(
    reactor: Any, endpoint: IStreamClientEndpoint, settings: ClientSettings, envelope: Envelope, source: Any
) -> list[RecipientResult]:
    try:
        session = await _connect(reactor, endpoint, settings)
    except SessionFailed as e:
        return [RecipientResult(r, e.reply, e.stage) for r in envelope.recipients]
    try:
        return await session.send(envelope, source)
    finally:
        await session.quit()


def send_mail(
    reactor: Any, endpoint: IStreamClientEndpoint, settings: ClientSettings, envelope: Envelope, source: Any
) -> Deferred[list[RecipientResult]]:
    """Send one message over a connection of its own.

    :param reactor: the clock.
    :param source: an ``IMessageSource``.
    :return: fires with a result for each recipient, in their order; never fails for what the server or the network does.
    """
    return Deferred.fromCoroutine(_send_mail(reactor, endpoint, settings, envelope, source))
