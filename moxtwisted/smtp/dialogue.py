"""The host's side of a connection: events of the machine become calls of the handler, its answers become replies.

Nothing here knows Twisted. The ``Link`` underneath moves the octets, waits for awaitables, starts TLS and closes; tests give
another link (``moxtwisted.smtp.testing``).
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from attrs import evolve
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
from moxtwisted.smtp.interfaces import (
    IMessageSink,
    ISMTPAttached,
    ISMTPCommandHandler,
    ISMTPConnection,
    ISMTPHandler,
    ISMTPInterceptor,
    ISMTPTagged,
)
from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.replies import Reply, reply_for_error
from moxtwisted.smtp.server import ServerMachine
from moxtwisted.smtp.states import State

__all__ = ["Dialogue", "Link"]


_NO_COMMANDS = frozenset((State.CLOSED, State.TLS))
#: A read can bring ten thousand commands; so many are answered before other connections have their turn (some 5 ms).
TURN_EVENTS = 200


class Link(Protocol):
    """What a dialogue needs of the connection below."""

    @property
    def halted(self) -> bool:
        """Whether no further event is to be taken: the connection ends, or the peer does not read."""

    def write(self, octets: bytes) -> None:
        """Send octets."""

    def wait(self, awaitable: Any, then: Callable[[Any], None]) -> None:
        """Call ``then`` with what the awaitable yields, now or later; with ``dialogue.failed(error)`` when it raises."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def data_begins(self) -> None:
        """A message is in transfer from here on."""

    def slow_down(self) -> None:
        """Slow mode from here on."""

    def listen(self) -> None:
        """Hear the peer leave while an answer is awaited."""

    def abort(self, why: str) -> None:
        """Drop the connection at once."""

    def start_tls(self) -> None:
        """Begin a TLS handshake; what was written before goes out in clear."""

    def end(self, why: str) -> None:
        """Close, once what was written is out."""

    def log_failure(self, what: str) -> None:
        """An exception of the host is being handled: log it."""


@implementer(ISMTPConnection)
class Dialogue:
    """One connection between its machine and its handler.

    :ivar handler: the host's ``ISMTPHandler``, or None before there is one.
    :ivar refusal: what is said instead of the greeting, or None.
    :ivar waiting: whether an answer of the host is awaited.
    :ivar running: whether events are being taken right now.
    :ivar unfinished: whether ``run`` stopped because others should have their turn too: call it again soon.
    :ivar committing: whether it is the one to a complete message.
    :ivar closing: a reply to end with as soon as no message is in transfer, or None.
    """

    def __init__(self, machine: ServerMachine, link: Link) -> None:
        self.machine = machine
        self.handler: Any = None
        self.refusal: Reply | None = None
        self.waiting = False
        self.committing = False
        self.closing: Reply | None = None
        self._link = link
        self._interceptor: Any = None
        self._commands: Any = None
        self._tagged: Any = None
        self._sink: Any = None
        self._exchange: Any = None
        self.running = False
        self.unfinished = False
        self._out: list[bytes] = []

    def accept(self, answer: Any) -> None:
        """What the handler factory said to the connection: a handler, or the reply that refuses it."""
        if isinstance(answer, Reply):
            self.refusal = answer.closing()
            return
        self.handler = ISMTPHandler(answer)
        self._interceptor = ISMTPInterceptor(answer, None)
        self._commands = ISMTPCommandHandler(answer, None)
        self._tagged = ISMTPTagged(answer, None)
        attached = ISMTPAttached(answer, None)
        if attached is not None:
            attached.attached(self)

    def run(self) -> bool:
        """Take events until octets, or an answer of the host, are missing; then write all replies at once.

        :return: whether there was an event.
        """
        if self.running:
            return False
        self.running = True
        self.unfinished = False
        machine, link, count = self.machine, self._link, 0
        try:
            while not self.waiting and not link.halted:
                if count == TURN_EVENTS:
                    self.unfinished = True
                    break
                event = machine.next_event()
                if event is None:
                    break
                count += 1
                if isinstance(event, BodyData):
                    self._body(event.octets)
                else:
                    self._ask_host(event)
        finally:
            self.running = False
        self.flush()
        return count > 0

    def flush(self) -> None:
        """Write the replies that are ready."""
        out = self._out
        if out:
            octets = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._link.write(octets)

    def write(self, octets: bytes) -> None:
        """Send octets out of turn; see ``ISMTPConnection.write``."""
        self._out.append(octets)
        if not self.running:
            self.flush()

    def sleep(self, seconds: float) -> Any:
        """Wait; see ``ISMTPConnection.sleep``."""
        return self._link.sleep(seconds)

    def listen(self) -> None:
        """Hear the peer leave while an answer is awaited; see ``ISMTPConnection.listen``."""
        self._link.listen()

    def abort(self) -> None:
        """Drop the connection at once; see ``ISMTPConnection.abort``."""
        self._link.abort("refused")

    def tls_started(self, tls: TLSInfo) -> None:
        """The handshake is done.

        :raise Exception: what the handler raises.
        """
        self.machine.tls_started(tls)
        if self.handler is not None:
            self.handler.tls_started(tls)

    def say_last(self, reply: Reply) -> None:
        """A reply from our side that ends the dialogue, in the middle of whatever is going on."""
        self._out.append(self.machine.close(reply))
        self.flush()

    def over(self, why: str) -> None:
        """The connection is gone."""
        self.machine.close()
        self._drop_sink(committing=self.committing)
        self._drop_exchange()
        handler, self.handler = self.handler, None
        if handler is not None:
            word = "errors" if self.machine.misbehaved else why
            self._tell(lambda: handler.disconnected(word))

    def failed(self, error: BaseException) -> Reply:
        """The reply for what the host raised; called while the exception is handled."""
        if isinstance(error, MailError):
            return reply_for_error(error)
        self._link.log_failure("SMTP handler failed")
        return self.machine.replies.local_error

    def ask(self, question: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Ask the host, and go on with its answer, at once or later; its errors become replies."""
        try:
            answer = question()
        except Exception as e:  # noqa: BLE001  (the host's code ends here)
            answer = self.failed(e)
        if hasattr(answer, "__await__"):
            self._wait(answer, then)
        else:
            then(answer)

    def _wait(self, awaitable: Any, then: Callable[[Any], None]) -> None:
        self.waiting = True

        def answered(answer: Any) -> None:
            self.waiting = self.committing = False
            then(answer)

        self._link.wait(awaitable, answered)

    # -- events to calls -------------------------------------------------------------------------------------------------

    def _ask_host(self, event: Event) -> None:
        kind = type(event)
        if kind is Greeting:
            self._reply(event, self.refusal)
            return
        question = _QUESTIONS.get(kind)
        if question is None or self.handler is None:
            self._reply(event, None)
            return
        try:
            answer = question(self, event)
        except Exception as e:  # noqa: BLE001  (the host's code ends here)
            answer = self.failed(e)
        if answer is None or isinstance(answer, Reply):
            self._reply(event, answer)
        elif hasattr(answer, "__await__"):
            self.committing = kind is BodyEnd
            self._wait(answer, lambda result: self._answer(event, result))
        else:
            self._answer(event, answer)

    def ask_hello(self, event: Hello) -> Any:
        """EHLO, HELO, LHLO."""
        return self.handler.hello(event.name, event.esmtp)

    def ask_mail(self, event: Mail) -> Any:
        """MAIL."""
        return self.handler.mail(event.path, event.parameters)

    def ask_rcpt(self, event: Rcpt) -> Any:
        """RCPT."""
        return self.handler.rcpt(event.path, event.parameters)

    def ask_data(self, event: BodyStart) -> Any:
        """DATA, or the first BDAT."""
        return self.handler.data_started(event.transaction)

    def ask_done(self, event: BodyEnd) -> Any:
        """The message is complete."""
        return self.handler.data_done(self._sink)

    def ask_extra(self, event: Plain | ExtensionCommand) -> Any:
        """VRFY and its like, and commands of extensions."""
        return None if self._commands is None else self._commands.command(event.verb, event.argument)

    async def ask_auth(self, event: AuthStart) -> Reply:
        """AUTH: begin the exchange."""
        machine, settings = self.machine, self.machine.settings
        more = machine.auth_failures - settings.limits.auth_failures_slow + 1
        if more > 0:
            # As mox: the third failure makes the connection slow, and each attempt from then on waits a second longer.
            self._link.slow_down()
            await self._link.sleep(settings.timeouts.auth_failure * more)
        exchange = self.handler.sasl_start(event.mechanism, machine.tls)
        if hasattr(exchange, "__await__"):
            exchange = await exchange
        if isinstance(exchange, Reply):
            return exchange
        self._exchange = exchange
        return await self._auth_step(event.initial)

    def ask_auth_response(self, event: AuthResponse) -> Any:
        """A further message of the exchange."""
        return self._auth_step(event.data)

    async def _auth_step(self, data: bytes | None) -> Reply:
        step = await self._exchange.respond(data)
        if isinstance(step, Challenge):
            return Reply(334, "", binascii.b2a_base64(step.data, newline=False).decode("ascii"))
        if isinstance(step, Success):
            answer = self.handler.authenticated(step)
            if hasattr(answer, "__await__"):
                answer = await answer
            return self.machine.replies.authenticated if answer is None else answer
        reason = step.reason
        return Reply(reason.reply_code, reason.enhanced_code, step.public_text)

    def _drop_exchange(self) -> None:
        """The client broke off: the exchange has to know, since attempts are counted."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._link.wait(exchange.abort(), lambda _: None)

    # -- answers to replies ----------------------------------------------------------------------------------------------

    def _answer(self, event: Event, answer: Any) -> None:
        """An answer that may be more than a reply: a sink, or a sequence of replies."""
        if answer is None or isinstance(answer, Reply):
            self._reply(event, answer)
        elif type(event) is BodyStart:
            self._sink = IMessageSink(answer)
            self._link.data_begins()
            self._reply(event, None)
        elif type(event) is BodyEnd:
            replies = [event.reply if r is None else r for r in answer]
            if self._tagged is not None:
                replies = [self._marked(r) if r.code >= 400 else r for r in replies]
            self._intercept_each(event, replies, 0)
        else:
            raise TypeError(f"not an answer to {event.verb}: {answer!r}")

    def _reply(self, event: Event, answer: Reply | None) -> None:
        reply = event.reply if answer is None else answer
        if reply.code >= 400 and self._tagged is not None:
            reply = self._marked(reply)
        interceptor = self._interceptor
        # The answer to a first BDAT is not sent; a refusal comes again as an event, after the chunk.
        if interceptor is None or (type(event) is BodyStart and event.verb == "BDAT"):
            self._send(event, reply)
            return
        self.ask(
            lambda: interceptor.intercept(event, reply),
            lambda other: self._send(event, reply if other is None else other),
        )

    def _marked(self, reply: Reply) -> Reply:
        tag = self._tagged.reply_tag
        mark = f" ({tag})"
        if not tag or reply.lines[-1].endswith(mark):
            return reply
        return evolve(reply, lines=(*reply.lines[:-1], reply.lines[-1] + mark))

    def _intercept_each(self, event: Event, replies: list[Reply], at: int) -> None:
        interceptor = self._interceptor
        while interceptor is not None and at < len(replies):
            try:
                other = interceptor.intercept(event, replies[at])
            except Exception as e:  # noqa: BLE001  (the host's code ends here)
                other = self.failed(e)
            if hasattr(other, "__await__"):
                self._wait(other, partial(self._intercepted, event, replies, at))
                return
            replies[at] = replies[at] if other is None else other
            at += 1
        self._out.append(self.machine.send_each(replies))
        self._sent(event, True, replies[-1])

    def _intercepted(self, event: Event, replies: list[Reply], at: int, other: Reply | None) -> None:
        replies[at] = replies[at] if other is None else other
        self._intercept_each(event, replies, at + 1)

    def _send(self, event: Event, reply: Reply) -> None:
        machine = self.machine
        before = machine.transaction
        octets = machine.send(reply)
        if octets:
            self._out.append(octets)
        self._sent(event, before is not None and machine.transaction is None, reply)

    def _sent(self, event: Event, transaction_over: bool, reply: Reply) -> None:
        """What follows from an answer, besides its octets."""
        machine, kind = self.machine, type(event)
        if transaction_over:
            if kind is BodyEnd:
                self._sink = None
            else:
                self._drop_sink()
                self._tell(self.handler.reset)
        if reply.slow:
            self._link.slow_down()
        if self._exchange is not None and machine.state is not State.AUTH:
            if kind is Refused:
                self._drop_exchange()
            self._exchange = None
        if machine.state in _NO_COMMANDS:
            self.flush()
            if machine.state is State.TLS:
                self._link.start_tls()
            else:
                self._link.end("quit" if kind is Quit else "refused")
        elif self.closing is not None and not machine.receiving:
            self.say_last(self.closing)
            self._link.end("shutdown")

    # -- messages --------------------------------------------------------------------------------------------------------

    def _body(self, octets: bytes) -> None:
        sink = self._sink
        if sink is None:
            return  # refused already: the machine reads on to the end
        try:
            answer = sink.write(octets)
        except Exception as e:  # noqa: BLE001  (the host's code ends here)
            answer = self.failed(e)
        if hasattr(answer, "__await__"):
            self._wait(answer, self._written)
        else:
            self._written(answer)

    def _written(self, answer: Any) -> None:
        if isinstance(answer, Reply):
            self.machine.fail_body(answer)
            self._drop_sink()

    def _drop_sink(self, *, committing: bool = False) -> None:
        sink, self._sink = self._sink, None
        if sink is not None and not committing:
            self._tell(sink.abort)

    def _tell(self, method: Callable[[], Any]) -> None:
        try:
            method()
        except Exception:  # noqa: BLE001  (the host's code ends here)
            self._link.log_failure("SMTP handler failed at clearing up")


#: Which question to the host an event is. Events that are not here have the machine's own reply.
_QUESTIONS: dict[type[Event], Callable[[Dialogue, Any], Any]] = {
    Hello: Dialogue.ask_hello,
    AuthStart: Dialogue.ask_auth,
    AuthResponse: Dialogue.ask_auth_response,
    Mail: Dialogue.ask_mail,
    Rcpt: Dialogue.ask_rcpt,
    BodyStart: Dialogue.ask_data,
    BodyEnd: Dialogue.ask_done,
    Plain: Dialogue.ask_extra,
    ExtensionCommand: Dialogue.ask_extra,
}
