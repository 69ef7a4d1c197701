"""Doubles for those who write SMTP hosts or clients: a recording handler, and both machines joined in memory.

::

    link = MemoryLink(ServerSettings(hostname="mx.example"), MemoryHandlers())
    link.say()                                # b"220 mx.example ESMTP moxtwisted\\r\\n"
    link.say(b"NOOP\\r\\n")                    # b"250 2.0.0 ok\\r\\n"


``MemoryHandlers`` keeps to the same interfaces as a real host and may be used as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from attrs import define
from zope.interface import implementer

from moxtwisted.address import Path
from moxtwisted.sasl.outcome import Success
from moxtwisted.smtp.dialogue import Dialogue
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Transaction
from moxtwisted.smtp.handlers import MemorySink
from moxtwisted.smtp.interfaces import ISMTPHandler, ISMTPHandlerFactory
from moxtwisted.smtp.peer import Peer, TLSInfo
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.server import ServerMachine
from moxtwisted.smtp.settings import ServerSettings
from moxtwisted.smtp.states import State

__all__ = ["MemoryHandler", "MemoryHandlers", "MemoryLink", "ReceivedMessage"]


@define
class ReceivedMessage:
    """A message that arrived."""

    transaction: Transaction
    octets: bytes


@implementer(ISMTPHandler)
class MemoryHandler:
    """Accepts what ``answers`` does not refuse, and writes down what it was told.

    :ivar calls: method names with their arguments, in order.
    """

    def __init__(self, owner: MemoryHandlers) -> None:
        self._owner = owner
        self.calls: list[tuple[Any, ...]] = []

    def _told(self, method: str, *arguments: Any) -> Any:
        self.calls.append((method, *arguments))
        answer = self._owner.answers.get(method)
        return answer(*arguments) if callable(answer) else answer

    def hello(self, name: str, esmtp: bool) -> Any:
        """EHLO, HELO, LHLO."""
        return self._told("hello", name, esmtp)

    def tls_started(self, tls: TLSInfo) -> None:
        """TLS."""
        self._told("tls_started", tls)

    def sasl_start(self, mechanism: str, tls: TLSInfo | None) -> Any:
        """AUTH; without an answer it is refused."""
        return self._told("sasl_start", mechanism, tls) or Reply(535, "5.7.8", "nobody may log in here")

    def authenticated(self, identity: Success) -> Any:
        """AUTH succeeded."""
        return self._told("authenticated", identity)

    def mail(self, reverse_path: Path, parameters: MailParameters) -> Any:
        """MAIL."""
        return self._told("mail", reverse_path, parameters)

    def rcpt(self, forward_path: Path, parameters: RcptParameters) -> Any:
        """RCPT."""
        return self._told("rcpt", forward_path, parameters)

    def data_started(self, transaction: Transaction) -> Any:
        """DATA."""
        answer = self._told("data_started", transaction)
        return MemorySink(transaction) if answer is None else answer

    def data_done(self, sink: MemorySink) -> Any:
        """The message is complete; kept unless the answer is a refusal."""
        answer = self._told("data_done", sink)
        if not isinstance(answer, Reply) or answer.positive:
            self._owner.received(ReceivedMessage(sink.transaction, sink.message))
        return answer

    def reset(self) -> None:
        """The transaction is void."""
        self._told("reset")

    def disconnected(self, reason: str) -> None:
        """Gone."""
        self._told("disconnected", reason)


@implementer(ISMTPHandlerFactory)
class MemoryHandlers:
    """Makes each ``MemoryHandler`` and collects what they receive.

    :ivar messages: what was received.
    :ivar answers: method name to what it answers: a reply, or a function of the method's arguments, which may give an
        awaitable or raise.
    :ivar handlers: one per connection.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = answers
        self.messages: list[ReceivedMessage] = []
        self.handlers: list[MemoryHandler] = []
        self.make: Callable[[MemoryHandlers], MemoryHandler] = MemoryHandler

    def connected(self, peer: Peer) -> Any:
        """A client."""
        answer = self.answers.get("connected")
        if callable(answer):
            answer = answer(peer)
        if answer is not None:
            return answer
        handler = self.make(self)
        self.handlers.append(handler)
        return handler

    def received(self, message: ReceivedMessage) -> None:
        """A message is complete; override it to look at each."""
        self.messages.append(message)


class MemoryLink:
    """A server connection without a transport: ``link.say(octets)`` gives the octets of the replies.

    Handlers must answer at once. TLS is a word: ``link.tls = TLSInfo(...)`` says what the next handshake yields.

    :ivar ended: why the server closed, or None.
    """

    def __init__(self, settings: ServerSettings, handlers: Any, machine: ServerMachine | None = None) -> None:
        self.machine = machine or ServerMachine(settings, utc_now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.dialogue = Dialogue(self.machine, self)
        self.ended: str | None = None
        self.tls = TLSInfo(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")
        self.failures: list[str] = []
        self._written: list[bytes] = []
        self.dialogue.ask(
            lambda: ISMTPHandlerFactory(handlers).connected(Peer(ip=None)), self.dialogue.accept
        )

    @property
    def halted(self) -> bool:
        """Whether the connection is closed."""
        return self.ended is not None

    def say(self, octets: bytes = b"") -> bytes:
        """What the server replies to these octets."""
        self.machine.receive(octets)
        self.dialogue.run()
        while self.ended is None:
            if self.machine.state is State.TLS:
                self.dialogue.tls_started(self.tls)
            elif not self.dialogue.unfinished:
                break
            self.dialogue.run()
        return self.taken()

    def say_each(self, pieces: Iterable[bytes]) -> bytes:
        """What the server replies to these octets, coming one piece after the other."""
        return b"".join([self.say(piece) for piece in pieces])

    def taken(self) -> bytes:
        """What was written and not taken yet."""
        octets = b"".join(self._written)
        self._written.clear()
        return octets

    def write(self, octets: bytes) -> None:
        """The server's octets."""
        self._written.append(octets)

    def wait(self, awaitable: Any, then: Callable[[Any], None]) -> None:
        """Drive a coroutine that never waits."""
        steps = awaitable.__await__()
        try:
            next(steps)
        except StopIteration as e:
            then(e.value)
        except Exception as e:  # noqa: BLE001  (the host's code ends here)
            then(self.dialogue.failed(e))
        else:
            raise RuntimeError("handlers on a MemoryLink must answer at once")

    async def sleep(self, seconds: float) -> None:
        """No time passes here."""

    def data_begins(self) -> None:
        """Nothing to be timed."""

    def slow_down(self) -> None:
        """Nothing to be slowed."""

    def listen(self) -> None:
        """Nobody leaves here."""

    def abort(self, why: str) -> None:
        """The server drops the connection."""
        self.ended = why

    def start_tls(self) -> None:
        """The handshake happens when ``say`` is called or returns."""

    def end(self, why: str) -> None:
        """The server closes."""
        self.ended = why

    def log_failure(self, what: str) -> None:
        """Something of the host failed."""
        self.failures.append(what)
