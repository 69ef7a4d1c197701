"""One connection of a source: our client machine, driven by replies alone, with a clock on every stage.

``moxtwisted.smtp.agent`` is made for those who want to know what became of a message; it waits for each reply with a Deferred. Here the
machines are the same (``ClientMachine``, ``Transmission``), and what was awaited is written down.

::

    connection = LoadConnection(user, ClientSettings(hello_name="client.example"), meter)
    endpoint.connect(Factory.forProtocol(lambda: connection))     # then user.ready()
    connection.send(envelope, letter)                             # then user.settled(results)
    connection.quit()                                             # then user.over("")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.interfaces import IHandshakeListener, IPullProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.load.letters import Letter
from moxtwisted.load.tally import Tally
from moxtwisted.sasl.agent import nameless
from moxtwisted.sasl.client import ClientError, ClientExchange
from moxtwisted.smtp.agent import ClientSettings, ClientTLS
from moxtwisted.smtp.client import ClientMachine, Replied, ServerRefused, Unsolicited
from moxtwisted.smtp.clientcommands import Command, auth, auth_response, hello, plain
from moxtwisted.smtp.grammar import decode_base64
from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.transmission import Envelope, RecipientResult, Transmission
from moxtwisted.transport.deadline import Deadline

__all__ = ["ConnectionUser", "LoadConnection", "Meter"]

#: What is written at once; longer messages go out block by block, as fast as the server reads.
BLOCK_OCTETS: Final = 128 * 1024
#: A BDAT chunk.
CHUNK_OCTETS: Final = 1024 * 1024
#: How long a server may take to close after QUIT, before we do.
CLOSE_SECONDS: Final = 1.0

#: Between two messages nothing is waited for; a deadline that is moved costs less than one that is cancelled and set anew.
IDLE_SECONDS: Final = 86400.0

#: Codes of an EHLO that is not known (RFC 5321 section 3.2: then HELO).
_NO_EHLO: Final = range(500, 505)
_STAGES: Final = {"": "greeting", "LHLO": "EHLO", "HELO": "EHLO"}


class ConnectionUser(Protocol):
    """Whom a connection tells."""

    def ready(self) -> None:
        """Messages can be sent."""

    def settled(self, results: list[RecipientResult], octets: int) -> None:
        """What became of the recipients of the message, in their order; and how large it is."""

    def over(self, kind: str) -> None:
        """The connection cannot be used any more; called once. A message without ``settled`` is lost.

        :param kind: what went wrong, a few words; empty after ``quit``.
        """


@frozen
class Meter:
    """What measures.

    :ivar clock: for time limits: ``seconds``, ``callLater``.
    :ivar now: seconds by a clock that nobody sets, as ``time.perf_counter``.
    :ivar trace: is told what is said, a line at a time, without secrets and messages; None = nobody.
    """

    clock: Any
    now: Callable[[], float]
    tally: Tally
    trace: Callable[[str], None] | None = None


class _OneByOne(ClientMachine):
    """Waits for each reply, whatever the server offers."""

    @property
    def pipelining(self) -> bool:
        """Never."""
        return False


@implementer(IHandshakeListener, IPullProducer)
class LoadConnection(TwistedProtocol):
    """A connection, from its greeting to its end.

    :ivar alive: whether another message can be sent when none is under way.
    :ivar sent: messages so far.
    """

    def __init__(
        self, user: ConnectionUser, settings: ClientSettings, meter: Meter, *, pipelining: bool = True
    ) -> None:
        """:param pipelining: send commands together where the server allows it."""
        self.machine = ClientMachine() if pipelining else _OneByOne()
        self.alive = False
        self.sent = 0
        self._user = user
        self._settings = settings
        self._meter = meter
        self._tally = meter.tally
        self._deadline = Deadline(meter.clock, self._timed_out)
        self._asked_at = 0.0
        self._step: Callable[[Reply], None] = self._on_greeting
        self._tls: TLSInfo | None = None
        self._under_tls = False
        self._handshaking = False
        self._exchange: ClientExchange | None = None
        self._job: Transmission | None = None
        self._letter: Letter | None = None
        self._octets = 0  # of the letter
        self._rest = memoryview(b"")  # of a long message
        self._then: Callable[[], None] | None = None  # when all of it went out
        self._chunk_at = 0
        self._leaving = False  # QUIT was answered
        self._over = False

    # -- the connection --------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Wait for the greeting, or shake hands before it."""
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        tls = self._settings.tls
        if tls is not None and tls.implicit:
            self._start_tls(tls)
        else:
            self._wait(self._settings.timeouts.greeting)

    def dataReceived(self, data: bytes) -> None:
        """Replies."""
        machine = self.machine
        machine.receive(data)
        while not self._over:
            try:
                event = machine.next_event()
            except ServerRefused as e:
                self._fail(f"no SMTP: {e.detail}"[:80])
                return
            if event is None:
                return
            self._take(event)

    def _take(self, event: Replied | Unsolicited) -> None:
        reply = event.reply
        if self._meter.trace is not None:
            self._meter.trace(f"S: {reply.code} {reply.enhanced} {reply.text}")
        if type(event) is not Replied:
            self._tally.counted("unasked", reply)
            if self._job is not None:
                # Some servers do not wait for the end of a message to refuse it; the rest of it would be taken for commands.
                self._refuse_all(reply, "BDAT" if self._job.chunked else ".")
            self._fail(f"closed: {reply.code}" if reply.code == 421 else f"unasked reply: {reply.code}")
            return
        verb = event.command.verb
        self._tally.replied(_STAGES.get(verb, verb), reply, self._meter.now() - self._asked_at)
        job = self._job
        if job is None:
            self._step(reply)
        else:
            self._transact(job, event)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever ended it."""
        if self._leaving and not self._over:
            self._end("")
        elif self._handshaking:
            self._fail(f"TLS: {_words(reason.value)}")
        else:
            self._fail(f"lost: {self._where()}")

    def _where(self) -> str:
        """What we were waiting for."""
        if self._then is not None:
            return "in the message"
        if self.machine.outstanding:
            verb = self.machine.outstanding[0].verb
            return f"at {_STAGES.get(verb, verb)}"
        return "idle"

    def _timed_out(self) -> None:
        if self._leaving:
            transport: Any = self.transport
            transport.loseConnection()
            self._end("")
            return
        self._fail(f"timeout: {'TLS' if self._handshaking else self._where()}")

    def _fail(self, kind: str) -> None:
        """Away with it."""
        if self._over:
            return
        transport: Any = self.transport
        if transport is not None:
            self._stop_pouring(transport)
            transport.abortConnection()
        self._end(kind)

    def _end(self, kind: str) -> None:
        self._over, self.alive = True, False
        self._deadline.cancel()
        self._user.over(kind)

    def abort(self) -> None:
        """End it at once; the user is not told any more."""
        self._over, self.alive = True, False
        self._deadline.cancel()
        transport: Any = self.transport
        if transport is not None:
            self._stop_pouring(transport)
            transport.abortConnection()

    def _write(self, octets: bytes) -> None:
        self._asked_at = self._meter.now()
        transport: Any = self.transport
        transport.write(octets)

    def _wait(self, seconds: float) -> None:
        self._asked_at = self._meter.now()
        self._deadline.set(seconds)

    def _ask(self, command: Command, step: Callable[[Reply], None], shown: str = "") -> None:
        """Send a command, and go on with its reply."""
        self._step = step
        if self._meter.trace is not None:
            self._meter.trace("C: " + (shown or command.octets.decode("utf-8", "replace").rstrip()))
        self._write(self.machine.send(command))
        self._deadline.set(self._settings.timeouts.other)

    # -- opening ---------------------------------------------------------------------------------------------------------

    def _on_greeting(self, reply: Reply) -> None:
        if reply.code != 220:
            self._fail(f"refused: greeting {reply.code}")
        else:
            self._hello("LHLO" if self._settings.lmtp else "EHLO")

    def _hello(self, verb: str) -> None:
        self._ask(hello(verb, self._settings.hello_name), self._on_hello if verb != "HELO" else self._on_helo)

    def _on_hello(self, reply: Reply) -> None:
        if reply.code in _NO_EHLO and not self._settings.lmtp:
            self._hello("HELO")
        else:
            self._on_helo(reply)

    def _on_helo(self, reply: Reply) -> None:
        tls = self._settings.tls
        if not reply.positive:
            self._fail(f"refused: EHLO {reply.code}")
        elif tls is None or self._under_tls:
            self._log_in()
        elif "STARTTLS" in self.machine.extensions:
            self._ask(plain("STARTTLS"), self._on_starttls)
        elif tls.required:
            self._fail("TLS: not offered")
        else:
            self._log_in()

    def _on_starttls(self, reply: Reply) -> None:
        tls = self._settings.tls
        if tls is None or reply.code != 220:
            self._fail(f"refused: STARTTLS {reply.code}")
        elif self.machine.buffered:
            # RFC 3207 section 6: what was said in clear behind the 220 must not be taken for something said under TLS.
            self._fail("TLS: octets in clear after the reply to STARTTLS")
        else:
            self._start_tls(tls)

    def _start_tls(self, tls: ClientTLS) -> None:
        self._handshaking = True
        self._deadline.set(self._settings.timeouts.tls_handshake)
        self._asked_at = self._meter.now()
        transport: Any = self.transport
        transport.startTLS(tls.creator)

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        tls, transport = self._settings.tls, self.transport
        if self._over or tls is None or self._under_tls:
            return
        self._tally.stages["TLS"].record(self._meter.now() - self._asked_at)
        self._handshaking, self._under_tls = False, True
        handle: Any = transport
        connection = handle.getHandle()
        self._tally.tls[f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"] += 1
        try:
            if self._settings.exchange is not None:
                self._tls = tls.inspect(connection)
            elif nameless(connection):
                raise MailError("the certificate names no host")
        except MailError as e:
            self._fail(f"TLS: {e.detail}"[:80])
            return
        if tls.implicit:
            self._wait(self._settings.timeouts.greeting)
        else:
            self.machine.tls_started()
            self._hello("LHLO" if self._settings.lmtp else "EHLO")

    def _log_in(self) -> None:
        choose = self._settings.exchange
        if choose is None:
            self._ready()
            return
        self._exchange = exchange = choose(self.machine.extensions.get("AUTH", "").upper().split(), self._tls)
        if exchange is None:
            self._fail("AUTH: no common mechanism")
            return
        try:
            initial = exchange.start()
        except ClientError as e:
            self._fail(f"AUTH: {e.detail}"[:80])
            return
        self._ask(auth(exchange.mechanism, initial), self._on_auth, f"AUTH {exchange.mechanism} …")

    def _on_auth(self, reply: Reply) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        try:
            if reply.code == 334:
                challenge = decode_base64(reply.text.encode("ascii", "replace"))
                if challenge is None:
                    raise ClientError("challenge is not base64")
                self._ask(auth_response(exchange.step(challenge)), self._on_auth, "…")
                return
            if reply.code == 235:
                exchange.finish()
        except ClientError as e:
            self._fail(f"AUTH: {e.detail}"[:80])
            return
        if reply.code == 235:
            self._ready()
        else:
            self._fail(f"refused: AUTH {reply.code}")

    def _ready(self) -> None:
        self.alive = True
        self._deadline.set(IDLE_SECONDS)
        self._user.ready()

    # -- a message -------------------------------------------------------------------------------------------------------

    def send(self, envelope: Envelope, letter: Letter) -> None:
        """Send one message; the one before is settled."""
        settings = self._settings
        job = Transmission(
            self.machine,
            envelope,
            tls=self._under_tls,
            lmtp=settings.lmtp,
            prefer_chunking=settings.prefer_chunking,
        )
        commands = job.start()
        self.sent += 1
        self._octets = letter.octets
        if job.done:  # this server cannot carry it
            self._tally.counted("local", job.results[0].reply)
            self._user.settled(job.results, 0)
            return
        self._job, self._letter, self._chunk_at = job, letter, 0
        self._trace(commands)
        self._write(commands)
        self._deadline.set(settings.timeouts.mail)

    def _trace(self, octets: bytes) -> None:
        if self._meter.trace is not None:
            for line in octets.decode("utf-8", "replace").splitlines():
                self._meter.trace(f"C: {line}")

    def _transact(self, job: Transmission, event: Replied) -> None:
        octets = job.replied(event)
        reply = event.reply
        if reply.code == 421:
            self._refuse_all(reply, event.command.verb)
            self._fail(f"closed: {reply.code}")
            return
        self._deadline.set(self._settings.timeouts.data)
        if octets:
            self._trace(octets)
            self._write(octets)
        if job.body_due and not self.machine.outstanding:
            self._send_body(job)
        elif job.done:
            self._settle(job, spent=job.spent)
        elif job.chunked and job.failed and not self.machine.outstanding:
            # a chunk was refused: the transaction is over once the server forgot it, too
            self._job, self._letter = None, None
            self._ask(plain("RSET"), lambda reply: self._settle(job, spent=not reply.positive))

    def _refuse_all(self, reply: Reply, stage: str) -> None:
        """The server will say nothing more of this message."""
        job, self._job = self._job, None
        self.alive = False
        if job is not None:
            job.abandon(reply, stage)
            self._user.settled(job.results, self._octets)

    def _settle(self, job: Transmission, *, spent: bool) -> None:
        self._job, self._letter = None, None
        self._deadline.set(IDLE_SECONDS)
        self.alive = self.alive and not spent
        self._user.settled(job.results, self._octets)
        if spent:
            self._fail("refused: RSET")

    def _send_body(self, job: Transmission) -> None:
        letter, timeouts = self._letter, self._settings.timeouts
        if letter is None:
            return
        if job.chunked:
            self._send_chunk(job, letter)
        elif len(letter.stuffed) <= BLOCK_OCTETS:
            self._write(b"".join((letter.head, letter.stuffed, job.finish())))
            self._deadline.set(timeouts.data_end)
        else:
            self._pour(letter.head, memoryview(letter.stuffed), lambda: self._finish(job.finish()))

    def _finish(self, octets: bytes) -> None:
        self._write(octets)
        self._deadline.set(self._settings.timeouts.data_end)

    def _send_chunk(self, job: Transmission, letter: Letter) -> None:
        """The next chunk; the reply to each is awaited."""
        head = b"" if self._chunk_at else letter.head
        body = memoryview(letter.body)[self._chunk_at : self._chunk_at + CHUNK_OCTETS - len(head)]
        self._chunk_at += len(body)
        last = self._chunk_at >= len(letter.body)
        command = job.begin_chunk(len(head) + len(body), last=last)
        if self._meter.trace is not None:
            self._trace(command)
        if len(body) <= BLOCK_OCTETS:
            self._write(b"".join((command, head, body)))
            self._deadline.set(self._settings.timeouts.data_end)
        else:
            self._pour(command + head, body, lambda: self._wait(self._settings.timeouts.data_end))

    # -- long messages: as fast as the server reads ----------------------------------------------------------------------

    def _pour(self, first: bytes, rest: memoryview, then: Callable[[], None]) -> None:
        self._rest, self._then = rest, then
        transport: Any = self.transport
        transport.write(first)
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """What was written is out."""
        transport: Any = self.transport
        then = self._then
        if then is None:
            return
        block, self._rest = bytes(self._rest[:BLOCK_OCTETS]), self._rest[BLOCK_OCTETS:]
        if block:
            transport.write(block)
            self._deadline.set(self._settings.timeouts.data_block)
            return
        self._stop_pouring(transport)
        then()

    def stopProducing(self) -> None:
        """The connection goes away."""

    def _stop_pouring(self, transport: Any) -> None:
        if self._then is not None:
            self._then, self._rest = None, memoryview(b"")
            transport.unregisterProducer()

    # -- the end ---------------------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """QUIT; the server closes, or we do."""
        self.alive = False
        self._ask(plain("QUIT"), self._on_quit)

    def _on_quit(self, reply: Reply) -> None:
        # RFC 5321 section 4.1.1.10: the server closes after its reply. Whoever closes first keeps the port occupied for a minute, and a
        # server that counts connections would find the next beside this one.
        self._leaving = True
        self._deadline.set(CLOSE_SECONDS)


def _words(error: Any) -> str:
    """An exception in a few words."""
    arguments = getattr(error, "args", ())
    while arguments and isinstance(arguments[0], (list, tuple)) and arguments[0]:
        arguments = arguments[0]  # OpenSSL's errors are lists of tuples
    text = str(arguments[-1]) if arguments else type(error).__name__
    return (text or type(error).__name__)[:80]
