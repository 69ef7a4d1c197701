"""One connection of BadSMTP: what the machine asks is answered as addresses, names and hooks want it.

The session is all that our SMTP machine lets a host be: the handler that decides, the interceptor that replaces replies, the one
for VRFY and extensions, and the ``ISessionWriter`` that hooks get. Where a wish stands, and when it comes true:

    MAIL FROM:<mail550@x>      at once
    MAIL FROM:<data451@x>      instead of 354; dend, bdat, rset, quit, noop, starttls, auth: when that command comes
    RCPT TO:<rcpt550@x>        for this recipient; dend after the message, in LMTP for this recipient alone
    EHLO badquit421.x          for every such command of the connection
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.address import Path
from moxtwisted.badsmtp.authentication import AuthContext, name_decides
from moxtwisted.badsmtp.conduct import Conduct, SpoiltReply
from moxtwisted.badsmtp.faults import Ending, spoil
from moxtwisted.badsmtp.grammar import TEXTS, Wish
from moxtwisted.badsmtp.interfaces import CapturedMessage, ISessionWriter, Level, StorageError
from moxtwisted.badsmtp.machine import KNOWN_VERBS, STATE_NAMES, BadMachine
from moxtwisted.badsmtp.mechanisms import begin
from moxtwisted.badsmtp.surroundings import Listener, Surroundings
from moxtwisted.badsmtp.tokens import Wishes, parse_hello_name
from moxtwisted.badsmtp.transcript import REDACTED, Transcript, printable, redact
from moxtwisted.badsmtp.verification import verify
from moxtwisted.sasl.outcome import Success
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Transaction
from moxtwisted.smtp.events import Event
from moxtwisted.smtp.interfaces import (
    IMessageSink,
    ISMTPAttached,
    ISMTPCommandHandler,
    ISMTPHandler,
    ISMTPInterceptor,
)
from moxtwisted.smtp.peer import Peer, TLSInfo
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.states import State

__all__ = ["Session"]

_log = Logger()


@implementer(IMessageSink)
class _Sink:
    """Takes one message, and may stop in the middle."""

    def __init__(self, session: Session, transaction: Transaction, midway: Wish | None) -> None:
        self.transaction = transaction
        self._session = session
        self._midway = midway
        # One piece of memory: a client may send two octets at a time, which cost forty each in a list.
        self._octets_so_far = bytearray()
        self._octets = 0

    @property
    def content(self) -> bytes:
        """The message so far."""
        return bytes(self._octets_so_far)

    def write(self, octets: bytes) -> Any:
        """The next octets."""
        if not self._session.surroundings.reserve(len(octets)):
            return Reply(452, "", TEXTS[452])
        self._octets += len(octets)
        self._octets_so_far += octets
        wish, self._midway = self._midway, None
        return None if wish is None else self._session.stop_midway(wish)

    def abort(self) -> None:
        """Forget them."""
        self._octets_so_far.clear()
        self.release()

    def release(self) -> None:
        """The octets are no longer on their way."""
        self._session.surroundings.in_transfer -= self._octets
        self._octets = 0


@implementer(ISMTPHandler, ISMTPInterceptor, ISMTPCommandHandler, ISMTPAttached, ISessionWriter)
class Session:
    """One connection: ``Session(surroundings, listener, peer)``.

    :ivar connection: the ``ISMTPConnection``.
    """

    def __init__(self, surroundings: Surroundings, listener: Listener, peer: Peer) -> None:
        self.surroundings = surroundings
        self.listener = listener
        self.session = "sess_" + surroundings.entropy(12).hex()
        self.client_ip = "" if peer.ip is None else str(peer.ip)
        self.username = ""
        self.transcript = Transcript(surroundings.clock.seconds)
        self._since = surroundings.clock.seconds()
        self._peer = peer
        self.connection: Any = None
        self._conduct = Conduct(self)
        self._metadata: dict[str, Any] = {}
        self._tls: TLSInfo | None = None
        self._handshaking = listener.implicit_tls
        self._secret = False  # whether what comes next may be a password
        self._verb = ""
        self._wishes: Wishes | None = None  # of the EHLO that is being answered
        self._limited = False  # whether the rate limiter knows of us

    # -- what hooks see --------------------------------------------------------------------------------------------------

    @property
    def machine(self) -> BadMachine:
        """The machine of the connection."""
        machine: BadMachine = self.connection.machine
        return machine

    @property
    def hello_name(self) -> str:
        """See ``ISessionWriter``."""
        return self.machine.hello_name

    def write_response(self, octets: bytes) -> None:
        """See ``ISessionWriter.write_response``."""
        self.transcript.said(octets)
        self.connection.write(octets)

    def metadata(self, key: str) -> Any:
        """See ``ISessionWriter.metadata``."""
        return self._metadata.get(key)

    def set_metadata(self, key: str, value: Any) -> None:
        """See ``ISessionWriter.set_metadata``."""
        self._metadata[key] = value

    def log(self, level: Level, message: str, error: str = "", **fields: Any) -> None:
        """A line of the log, with who it is about."""
        about = {"session_id": self.session, "client_ip": self.client_ip}
        try:
            self.surroundings.journal.write(level, message, {**about, **fields}, error)
        except Exception:  # noqa: BLE001  (somebody else's code ends here)
            _log.failure("a journal failed")

    def _milliseconds_since(self, seconds: float) -> int:
        return int(1000 * (self.surroundings.clock.seconds() - seconds))

    # -- the connection --------------------------------------------------------------------------------------------------

    def attached(self, connection: Any) -> None:
        """See ``ISMTPAttached``."""
        self.connection = connection
        connection.machine.watcher = self
        self.log(Level.INFO, "SMTP connection established", port=self.listener.port)
        self.transcript.event(f"connected to port {self.listener.port}")
        self.surroundings.arrived(self)
        self.surroundings.observe("connected", self)

    def intercept(self, event: Event, reply: Reply) -> Any:
        """See ``ISMTPInterceptor.intercept``."""
        return self._conduct.intercept(event, reply)

    def refusal_at_once(self) -> Reply | None:
        """What is said instead of a greeting to those who are too many, or None."""
        limiter = self.surroundings.hooks.rate_limiter
        if self.surroundings.crowded:
            return Reply(421, "", TEXTS[421])
        if limiter is not None:
            if not limiter.allow_connection(self.client_ip):
                return Reply(421, "", TEXTS[421])
            self._limited = True
        return None

    def own_name(self) -> Any:
        """Our name for the greeting, or an awaitable of it."""
        return self.surroundings.name_of(self._peer.local_ip)

    async def pause(self, seconds: float) -> None:
        """Wait, and hear the client leave meanwhile."""
        if seconds:
            self.connection.listen()
            await self.connection.sleep(seconds * self.surroundings.pace)

    def tls_started(self, tls: TLSInfo) -> None:
        """See ``ISMTPHandler.tls_started``."""
        self._tls = tls
        self._handshaking = False
        self.username = ""
        self.log(
            Level.INFO, "TLS handshake successful", success=True, tls_version=tls.version, cipher=tls.cipher
        )
        self.transcript.event(f"TLS began: {tls.version} {tls.cipher}")

    def disconnected(self, reason: str) -> None:
        """See ``ISMTPHandler.disconnected``."""
        if self._handshaking:
            self.log(Level.ERROR, "TLS handshake failed", error=reason, success=False)
        self.transcript.event(f"disconnected: {reason}")
        duration = self._milliseconds_since(self._since)
        self.log(
            Level.INFO,
            "SMTP connection closed",
            behaviour=reason,
            hostname=self.hello_name,
            duration_ms=duration,
        )
        self.surroundings.left(self)
        self.surroundings.observe("disconnected", self, reason)
        if self._limited:
            self.surroundings.hooks.rate_limiter.connection_closed(self.client_ip)

    # -- the machine's watcher -------------------------------------------------------------------------------------------

    def heard(self, line: bytes) -> None:
        """See ``machine.Watcher``."""
        verb = line.partition(b" ")[0].strip().upper().decode("latin-1")
        known = verb in KNOWN_VERBS or verb in self.machine.extra_commands
        # Whoever pipelines a password behind AUTH says it even when AUTH was refused.
        secret = self._secret and (not known or self.machine.state is State.AUTH)
        auth = redact(line)
        text = REDACTED if secret else auth or printable(line)
        self._secret = secret or auth is not None
        self._wishes = None
        self.transcript.heard(line, secret=secret)
        word, _, args = text.partition(" ")
        self._verb = verb if known else ""
        self.log(
            Level.INFO,
            "SMTP command received",
            command=word.upper() if known else word,
            args=args,
            smtp_state=STATE_NAMES[self.machine.state],
        )

    def said(self, event: Event | None, reply: Reply, wire: bytes) -> None:
        """See ``machine.Watcher``."""
        octets = reply.shown if isinstance(reply, SpoiltReply) else wire
        if octets.startswith(b"334"):
            self._secret = True
        self._handshaking = self._handshaking or self.machine.state is State.TLS
        self.transcript.said(octets)
        refused = reply.code >= 400
        self.log(
            Level.WARN if refused else Level.INFO,
            "SMTP error response sent" if refused else "SMTP response sent",
            command=self._verb,
            response=printable(octets.rstrip(b"\r\n").replace(b"\r\n", b" | ")),
            response_code=reply.code,
            smtp_state=STATE_NAMES[self.machine.state],
        )
        if refused:
            self.surroundings.observe("error", self, "" if event is None else event.verb, reply)

    def wishes_of(self, name: str) -> Wishes:
        """See ``machine.Watcher``."""
        if self._wishes is None:  # asked several times for each EHLO
            parsers = self.surroundings.hooks.capability_parsers
            try:
                found = next((w for parser in parsers if (w := parser.parse(name)) is not None), None)
            except Exception:  # noqa: BLE001  (somebody else's code ends here)
                _log.failure("a parser of capabilities failed")
                found = Wishes(hello_code=451)
            self._wishes = parse_hello_name(name) if found is None else found
        return self._wishes

    # -- the handler -----------------------------------------------------------------------------------------------------

    def hello(self, name: str, esmtp: bool) -> Any:
        """See ``ISMTPHandler.hello``."""
        wishes = self.wishes_of(name)
        if wishes.hello_code:
            return self._conduct.coded(Wish("ehlo", wishes.hello_code))
        if wishes.reject and esmtp:
            return Reply(502, "", TEXTS[502])
        return None

    def mail(self, reverse_path: Path, parameters: MailParameters) -> Any:
        """See ``ISMTPHandler.mail``."""
        limiter, authorizer = self.surroundings.hooks.rate_limiter, self.surroundings.hooks.authorizer
        if limiter is not None and not limiter.allow_message(self.client_ip, self.username):
            return Reply(450, "", TEXTS[450])
        if authorizer is None:
            return self._mail(reverse_path, may=True)
        answer = authorizer.can_send_from(self.username, str(reverse_path))
        if hasattr(answer, "__await__"):
            return self._mail_when(answer, reverse_path)
        return self._mail(reverse_path, may=answer)

    async def _mail_when(self, answer: Any, path: Path) -> Reply | None:
        return self._mail(path, may=await answer)

    def _mail(self, path: Path, *, may: bool) -> Reply | None:
        if not may:
            return Reply(553, "", TEXTS[553])
        self._conduct.transaction_begins(path)
        return None

    def rcpt(self, forward_path: Path, parameters: RcptParameters) -> Any:
        """See ``ISMTPHandler.rcpt``."""
        authorizer = self.surroundings.hooks.authorizer
        if authorizer is None:
            return None
        answer = authorizer.can_send_to(self.username, str(forward_path))
        if hasattr(answer, "__await__"):
            return self._rcpt_when(answer)
        return None if answer else Reply(550, "", TEXTS[550])

    async def _rcpt_when(self, answer: Any) -> Reply | None:
        return None if await answer else Reply(550, "", TEXTS[550])

    def command(self, verb: str, argument: str) -> Any:
        """See ``ISMTPCommandHandler.command``."""
        if verb == "VRFY":
            return verify(argument)
        for extension in self.surroundings.hooks.extensions:
            if verb in extension.commands():
                return extension.handle(verb, argument, self)
        return None

    # -- AUTH ------------------------------------------------------------------------------------------------------------

    def sasl_start(self, mechanism: str, tls: TLSInfo | None) -> Any:
        """See ``ISMTPHandler.sasl_start``."""
        refusal = self._conduct.refusal_of("auth")
        if refusal is not None:
            return refusal  # and nobody is asked
        return begin(mechanism, AuthContext(self._decide, self.surroundings.challenge, tls))

    async def _decide(self, mechanism: str, username: str, secret: bytes) -> bool:
        authenticator = self.surroundings.hooks.authenticator
        if authenticator is None:
            success = name_decides(username)
        else:
            answer = authenticator.authenticate(mechanism, username, secret, self)
            success = bool(await answer if hasattr(answer, "__await__") else answer)
        self.log(
            Level.INFO if success else Level.WARN,
            "SMTP authentication successful" if success else "SMTP authentication failed",
            auth_mechanism=mechanism,
            username=username,
            success=success,
        )
        self.surroundings.observe("authenticated", self, mechanism, username, success)
        return success

    def authenticated(self, identity: Success) -> Any:
        """See ``ISMTPHandler.authenticated``."""
        self.username = identity.login

    # -- messages --------------------------------------------------------------------------------------------------------

    def data_started(self, transaction: Transaction) -> Any:
        """See ``ISMTPHandler.data_started``."""
        verb = self._verb.lower()  # data or bdat
        refusal = self._conduct.refusal_of(verb)
        if refusal is not None and not refusal.positive:
            if verb == "bdat":  # its reply is not ours to intercept
                self._conduct.triggered(Wish(verb, refusal.code))
            return refusal
        return _Sink(self, transaction, self._conduct.midway(verb))

    async def stop_midway(self, wish: Wish) -> None:
        """In the middle of a message: read nothing for a while, or drop the connection."""
        self._conduct.triggered(wish)
        if wish.fault == "midway":
            self.connection.abort()
            return
        plan = spoil(b"", "stall", wish.number)
        for step in plan.steps:
            await self.connection.sleep(step.pause_seconds * self.surroundings.pace)
        if plan.ending is not Ending.GO_ON:
            self.connection.abort()

    def data_done(self, sink: Any) -> Any:
        """See ``ISMTPHandler.data_done``."""
        return self._conclude(sink)

    async def _conclude(self, sink: _Sink) -> Reply | Sequence[Reply | None] | None:
        try:
            reply = self._conduct.simulated(".")
            if reply is None:
                return await self._keep(sink)
        except Exception:  # noqa: BLE001  (somebody else's code ends here)
            _log.failure("a hook failed at the end of a message")
            reply = Reply(451, "", TEXTS[451])
        finally:
            sink.release()
        return [reply] * len(sink.transaction.recipients) if self.listener.lmtp else reply

    async def _keep(self, sink: _Sink) -> Reply | Sequence[Reply | None] | None:
        transaction, conduct = sink.transaction, self._conduct
        paths = tuple(str(recipient.path) for recipient in transaction.recipients)
        if not self.listener.lmtp:
            wish = conduct.after_message(transaction)
            return conduct.coded(wish) if wish is not None and wish.code else await self._store(sink, paths)
        outcomes = conduct.outcomes(transaction)
        accepted = tuple(path for path, reply in zip(paths, outcomes, strict=True) if reply is None)
        failure = await self._store(sink, accepted) if accepted else None
        return [failure if reply is None else reply for reply in outcomes]

    async def _store(self, sink: _Sink, paths: tuple[str, ...]) -> Reply | None:
        """Keep the message for these recipients.

        :return: None when it is kept.
        """
        surroundings, content = self.surroundings, sink.content
        begun = surroundings.clock.seconds()
        fields: dict[str, Any] = {
            "mail_from": _text(sink.transaction.reverse_path),
            "rcpt_to": list(paths),
            "rcpt_count": len(paths),
            "message_size": len(content),
        }
        self.log(Level.INFO, "SMTP message processing started", **fields)
        fields["storage_type"] = surroundings.storage_type
        authorizer = surroundings.hooks.authorizer
        quota = None if authorizer is None else authorizer.quota_octets(self.username)
        if quota is not None and len(content) > quota:
            return Reply(552, "", TEXTS[552])
        message = self._message(sink.transaction, paths, content)
        try:
            kept = await surroundings.keep(message)
        except StorageError as e:
            words = e.detail.lower()
            code = 550 if "not active" in words else 452 if "quota" in words else 450
            self.log(Level.ERROR, "SMTP message storage failed", error=e.detail, **fields)
            return Reply(code, "", TEXTS[code])
        except Exception:  # noqa: BLE001  (somebody else's code ends here)
            _log.failure("a store failed")
            self.log(Level.ERROR, "SMTP message storage failed", error="an exception", **fields)
            return Reply(451, "", TEXTS[451])
        self.log(
            Level.INFO,
            "SMTP message stored successfully",
            duration_ms=self._milliseconds_since(begun),
            **fields,
        )
        surroundings.observe("message", self, kept)
        return None

    def _message(self, transaction: Transaction, paths: tuple[str, ...], content: bytes) -> CapturedMessage:
        machine, tls, port = self.machine, self._tls, self._peer.port
        word = "LMTP" if self.listener.lmtp else "ESMTP" if machine.esmtp else "SMTP"
        self.transcript.event(f"a message of {len(content)} octets")
        return CapturedMessage(
            received=datetime.fromtimestamp(self.surroundings.clock.seconds(), UTC),
            reverse_path=_text(transaction.reverse_path),
            forward_paths=paths,
            content=content,
            hello_name=machine.hello_name,
            protocol=word + ("S" if tls is not None else "") + ("A" if machine.authenticated else ""),
            client=f"[{self.client_ip}]:{port}" if ":" in self.client_ip else f"{self.client_ip}:{port}",
            port=self.listener.port,
            username=self.username,
            session=self.session,
            server_name="" if tls is None else tls.server_name or "",
            transcript=self.transcript.lines,
        )

    def reset(self) -> None:
        """See ``ISMTPHandler.reset``: wishes stay (BadSMTP)."""


def _text(path: Path) -> str:
    """A path as it is kept and logged: empty for ``<>``."""
    return "" if path.is_null else str(path)
