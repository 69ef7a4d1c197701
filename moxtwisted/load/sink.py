"""A server that takes all mail and throws it away, counting; or refuses and delays some of it, as it is told.

::

    sink = Sink(SinkSettings(hostname="sink.example"), reactor, random=random.random, entropy=os.urandom)
    endpoint.listen(sink.factory)
    sink.figures()                                 # {"messages": {…}, "numbers": […], …}
    sink.stopped                                   # fires at the limit of messages or sessions, if one was set

It is the SMTP machine of this distribution with handlers that say yes. Messages that a source numbered (``numbers``) are checked: what is
missing, what came twice.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.address import Path
from moxtwisted.load.authentication import AnybodyOr
from moxtwisted.load.keeping import Envelope, Keeper, Kept
from moxtwisted.load.numbers import HEADER_OCTETS, Numbers, find_mark
from moxtwisted.load.rules import Drawn, Fate, Rules
from moxtwisted.sasl.outcome import Success
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Transaction
from moxtwisted.smtp.events import Event, Quit, Reset
from moxtwisted.smtp.extensions import Offers, standard_extensions
from moxtwisted.smtp.handlers import Handler
from moxtwisted.smtp.interfaces import (
    Answer,
    IMessageSink,
    ISMTPCommandHandler,
    ISMTPHandlerFactory,
    ISMTPInterceptor,
)
from moxtwisted.smtp.peer import Peer, TLSInfo
from moxtwisted.smtp.protocol import ServerTLS, SMTPServerFactory
from moxtwisted.smtp.replies import RawReply, Reply
from moxtwisted.smtp.settings import Limits, Mode, ServerSettings, Timeouts

__all__ = ["Sink", "SinkSettings"]

#: Whoever tests makes errors on purpose, and many.
_NO_LIMITS: Final = Limits(
    recipients=100_000,
    bad_transactions=1 << 40,
    bad_commands=1 << 40,
    auth_failures=1 << 40,
    auth_failures_slow=1 << 40,
)
_NO_REPLY: Final = RawReply(421, octets=b"", close=True)
_GOODBYE: Final = Reply(421, "4.3.2", "as I was told", close=True)
_NOT_KEPT: Final = Reply(452, "4.3.1", "the message cannot be written")


@frozen(kw_only=True)
class SinkSettings:
    """What a sink is.

    :ivar hostname: its name.
    :ivar lmtp: LMTP: a reply for each recipient.
    :ivar rules: refusals and delays.
    :ivar soft: the reply of a soft refusal.
    :ivar hard: that of a hard one.
    :ivar not_offered: EHLO keywords that are left out, in upper case; ``"ESMTP"`` is all of it: EHLO is not known.
    :ivar connections: at the same time; others wait for the greeting, most of them unaccepted if ``Sink.port`` is known.
    :ivar stop_messages: ``stopped`` fires after so many; None = never.
    :ivar stop_sessions: and after so many sessions.
    :ivar size_limit: octets of a message.
    :ivar command_seconds: how long the next command, or the next octets of a message, are waited for.
    :ivar keeper: keeps messages; None = they are thrown away.
    :ivar authentication: who may log in; None = AUTH is not offered.
    """

    hostname: str = "smtp-sink"
    lmtp: bool = False
    rules: Rules = field(factory=Rules)
    soft: Reply = Reply(450, "4.3.0", "refused, as I was told")  # noqa: RUF009  (frozen)
    hard: Reply = Reply(550, "5.3.0", "refused, as I was told")  # noqa: RUF009  (frozen)
    not_offered: frozenset[str] = frozenset()
    connections: int = 1000
    stop_messages: int | None = None
    stop_sessions: int | None = None
    size_limit: int = 1 << 30
    command_seconds: float = 300.0
    keeper: Keeper | None = None
    authentication: AnybodyOr | None = None

    def server_settings(self) -> ServerSettings:
        """Those of the SMTP machine."""
        return ServerSettings(
            hostname=self.hostname,
            software="smtp-sink",
            mode=Mode.LMTP if self.lmtp else Mode.MX,
            size_limit=self.size_limit,
            auth_without_tls=True,
            mechanisms=self.authentication.mechanisms if self.authentication is not None else (),
            close_on_first_unknown_command=False,
            limits=_NO_LIMITS,
            timeouts=Timeouts(
                command=self.command_seconds, data_block=self.command_seconds, data_total=86400.0, linger=0.5
            ),
        )


@define
class _Counters:
    sessions: int = 0
    open: int = 0
    most_open: int = 0
    tls: int = 0
    authenticated: int = 0
    messages: int = 0
    refused: int = 0
    broken_off: int = 0
    recipients: int = 0
    octets: int = 0
    unnumbered: int = 0
    refusals: Counter[str] = field(factory=Counter)


@implementer(ISMTPHandlerFactory)
class Sink:
    """All connections of a sink.

    :ivar factory: for an endpoint to listen with.
    :ivar stopped: fires when a limit of the settings is reached.
    :ivar port: the listening port, if somebody tells: then most connections beyond the limit are not even accepted.
    """

    def __init__(
        self,
        settings: SinkSettings,
        clock: Any,
        *,
        random: Callable[[], float],
        entropy: Callable[[int], bytes],
        tls: ServerTLS | None = None,
    ) -> None:
        """

        :param clock: the reactor: for delays, time limits and rates.
        :param random: gives numbers from 0 to below 1.
        """
        self.settings = settings
        self.clock = clock
        self.random = random
        self.entropy = entropy
        self.counted = _Counters()
        self.numbers = Numbers()
        self.stopped: Deferred[None] = Deferred()
        self.port: Any = None
        self._full = False
        self._waiting: deque[Deferred[None]] = deque()
        self._first = 0.0
        self._last = 0.0
        server = settings.server_settings()
        extensions = (e for e in standard_extensions(server) if e.keyword not in settings.not_offered)
        self.factory = SMTPServerFactory(server, self, clock, tls, Offers(extensions))

    def connected(self, peer: Peer) -> Any:
        """See ``ISMTPHandlerFactory``."""
        if self.counted.open < self.settings.connections and not self._waiting:
            return self._admit(peer)
        # The port accepts a few at once before it hears that it is to stop: they wait for their greeting.
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting.addCallback(lambda _: self._admit(peer))

    def _admit(self, peer: Peer) -> Any:
        """A session begins."""
        counted, settings = self.counted, self.settings
        counted.sessions += 1
        counted.open += 1
        counted.most_open = max(counted.most_open, counted.open)
        if counted.open >= settings.connections and self.port is not None:
            self._full = True
            self.port.stopReading()
        handler = _RuledHandler(self, peer) if settings.rules else _SinkHandler(self, peer)
        drawn = settings.rules.draw("CONNECT", self.random)
        if drawn is None:
            return handler
        reply = self.refusal("CONNECT", drawn)
        if reply is not None:
            self.closed()
            return reply if not drawn.seconds else deferLater(self.clock, drawn.seconds, lambda: reply)
        if not drawn.seconds:
            return handler
        later = deferLater(self.clock, drawn.seconds, lambda: handler)
        later.addErrback(self._left)
        return later

    def _left(self, failure: Failure) -> Failure:
        """A client did not wait for the greeting."""
        self.closed()
        return failure

    def closed(self) -> None:
        """A session ended."""
        counted, settings = self.counted, self.settings
        counted.open -= 1
        while self._waiting and counted.open < settings.connections:
            self._waiting.popleft().callback(None)
        if self._full and counted.open < settings.connections:
            self._full = False
            if not self.stopped.called:
                self.port.startReading()
        if settings.stop_sessions is not None and counted.sessions - counted.open >= settings.stop_sessions:
            self._stop()

    def _stop(self) -> None:
        if not self.stopped.called:
            self.stopped.callback(None)

    def refusal(self, command: str, drawn: Drawn) -> Reply | None:
        """The reply of a fate, counted; None when there is none."""
        if drawn.fate is None:
            return None
        self.counted.refusals[command] += 1
        settings = self.settings
        return {
            Fate.SOFT: settings.soft,
            Fate.HARD: settings.hard,
            Fate.CLOSE: _NO_REPLY,
            Fate.GOODBYE: _GOODBYE,
        }[drawn.fate]

    def took(self, message: _Message, recipients: int) -> None:
        """A message was accepted for so many recipients."""
        counted = self.counted
        self._last = self.clock.seconds()
        if not counted.messages:
            self._first = self._last
        counted.messages += 1
        counted.recipients += recipients
        counted.octets += message.octets
        mark = find_mark(message.head)
        if mark is None:
            counted.unnumbered += 1
        else:
            self.numbers.seen(mark)
        if self.settings.stop_messages is not None and counted.messages >= self.settings.stop_messages:
            self._stop()

    def figures(self) -> dict[str, Any]:
        """What was counted, for programs: plain values."""
        counted = self.counted
        seconds = self._last - self._first
        return {
            "seconds": seconds,
            "messages_per_second": (counted.messages - 1) / seconds if seconds > 0 else 0.0,
            "sessions": {"all": counted.sessions, "open": counted.open, "most_open": counted.most_open},
            "tls": counted.tls,
            "authenticated": counted.authenticated,
            "messages": {
                "accepted": counted.messages,
                "refused": counted.refused,
                "broken_off": counted.broken_off,
            },
            "recipients": counted.recipients,
            "octets": counted.octets,
            "refusals": dict(counted.refusals),
            "missing": self.numbers.missing,
            "doubled": self.numbers.doubled,
            "unnumbered": counted.unnumbered,
            "untracked": self.numbers.untracked,
            "runs": self.numbers.as_json(),
        }


@implementer(IMessageSink)
class _Message:
    """One message: its size and the begin of its header, and perhaps a file.

    :ivar recipients: how many it has.
    :ivar octets: so far.
    :ivar head: up to 64 KiB of its begin.
    """

    __slots__ = ("_counted", "head", "kept", "octets", "recipients")

    def __init__(self, counted: _Counters, recipients: int, kept: Kept | None = None) -> None:
        self._counted = counted
        self.recipients = recipients
        self.octets = 0
        self.head = b""
        self.kept = kept

    def write(self, octets: bytes) -> Reply | None:
        """See ``IMessageSink``."""
        if not self.octets:
            self.head = octets[:HEADER_OCTETS]
        elif len(self.head) < HEADER_OCTETS and b"\r\n\r\n" not in self.head:
            self.head += octets[: HEADER_OCTETS - len(self.head)]
        self.octets += len(octets)
        if self.kept is not None:
            try:
                self.kept.write(octets)
            except OSError:
                return _NOT_KEPT
        return None

    def abort(self) -> None:
        """See ``IMessageSink``."""
        self._counted.broken_off += 1
        if self.kept is not None:
            self.kept.abort()

    def finish(self) -> bool:
        """It is complete and accepted; False when it cannot be written."""
        try:
            if self.kept is not None:
                self.kept.finish()
        except OSError:
            return False
        return True

    def refuse(self) -> None:
        """It is complete, and not wanted."""
        self._counted.refused += 1
        if self.kept is not None:
            self.kept.abort()


class _SinkHandler(Handler):
    """One connection: yes to everything."""

    def __init__(self, sink: Sink, peer: Peer) -> None:
        self._sink = sink
        self._peer = peer
        self._hello = ""
        self._tls: TLSInfo | None = None
        self._protocol = "SMTP"

    def hello(self, name: str, esmtp: bool) -> Answer:
        """EHLO, HELO, LHLO."""
        settings = self._sink.settings
        if esmtp and "ESMTP" in settings.not_offered and not settings.lmtp:
            return Reply(502, "5.5.1", "command not implemented here")
        self._hello = name
        self._protocol = "LMTP" if settings.lmtp else "ESMTP" if esmtp else "SMTP"
        return None

    def tls_started(self, tls: TLSInfo) -> None:
        """TLS."""
        self._tls = tls
        self._sink.counted.tls += 1

    def sasl_start(self, mechanism: str, tls: TLSInfo | None) -> Any:
        """AUTH."""
        authentication = self._sink.settings.authentication
        if authentication is None:
            return super().sasl_start(mechanism, tls)
        return authentication.begin(mechanism, tls, self._sink.entropy)

    def authenticated(self, identity: Success) -> Answer:
        """AUTH succeeded."""
        self._sink.counted.authenticated += 1
        return None

    def data_started(self, transaction: Transaction) -> Any:
        """DATA, or the first BDAT."""
        sink = self._sink
        keeper = sink.settings.keeper
        if keeper is None:
            return _Message(sink.counted, len(transaction.recipients))
        envelope = Envelope(
            client=str(self._peer.ip) if self._peer.ip is not None else "",
            protocol=self._protocol,
            hello=self._hello,
            sender=_written(transaction.reverse_path),
            recipients=[_written(recipient.path) for recipient in transaction.recipients],
        )
        try:
            return _Message(sink.counted, len(transaction.recipients), keeper.begin(envelope))
        except OSError:
            return _NOT_KEPT

    def data_done(self, sink: _Message) -> Any:
        """A message is complete."""
        return self._take(sink, sink.recipients)

    def _take(self, message: _Message, recipients: int) -> Reply | None:
        if not message.finish():
            message.refuse()
            return _NOT_KEPT
        self._sink.took(message, recipients)
        return None

    def disconnected(self, reason: str) -> None:
        """Gone."""
        self._sink.closed()


@implementer(ISMTPInterceptor, ISMTPCommandHandler)
class _RuledHandler(_SinkHandler):
    """One connection, with refusals and delays."""

    def _ruled(self, command: str, otherwise: Callable[[], Any]) -> Any:
        sink = self._sink
        drawn = sink.settings.rules.draw(command, sink.random)
        if drawn is None:
            return otherwise()
        reply = sink.refusal(command, drawn)
        if drawn.seconds:
            return self._later(drawn.seconds, reply, otherwise)
        return otherwise() if reply is None else reply

    async def _later(self, seconds: float, reply: Reply | None, otherwise: Callable[[], Any]) -> Any:
        await deferLater(self._sink.clock, seconds)
        return otherwise() if reply is None else reply

    def hello(self, name: str, esmtp: bool) -> Answer:
        """EHLO, HELO, LHLO."""
        verb = "LHLO" if self._sink.settings.lmtp else "EHLO" if esmtp else "HELO"
        answer: Answer = self._ruled(verb, lambda: _SinkHandler.hello(self, name, esmtp))
        return answer

    def mail(self, reverse_path: Path, parameters: MailParameters) -> Answer:
        """MAIL."""
        answer: Answer = self._ruled("MAIL", _nothing)
        return answer

    def rcpt(self, forward_path: Path, parameters: RcptParameters) -> Answer:
        """RCPT."""
        answer: Answer = self._ruled("RCPT", _nothing)
        return answer

    def data_started(self, transaction: Transaction) -> Any:
        """DATA, or the first BDAT."""
        return self._ruled("DATA", lambda: _SinkHandler.data_started(self, transaction))

    def data_done(self, sink: _Message) -> Any:
        """A message is complete: in LMTP each recipient has its own luck."""
        if "." not in self._sink.settings.rules:
            return self._take(sink, sink.recipients)
        count = sink.recipients if self._sink.settings.lmtp else 1
        rules, random = self._sink.settings.rules, self._sink.random
        drawn = [rules.draw(".", random) or Drawn() for _ in range(count)]
        seconds = max((each.seconds for each in drawn), default=0.0)
        return self._decide(sink, drawn) if not seconds else self._decide_later(sink, drawn, seconds)

    async def _decide_later(self, message: _Message, drawn: list[Drawn], seconds: float) -> Any:
        await deferLater(self._sink.clock, seconds)
        return self._decide(message, drawn)

    def _decide(self, message: _Message, drawn: list[Drawn]) -> Any:
        replies = [self._sink.refusal(".", each) for each in drawn]
        taken = replies.count(None)
        if not taken:
            message.refuse()
        else:
            failed = self._take(message, taken if self._sink.settings.lmtp else message.recipients)
            replies = [failed if reply is None else reply for reply in replies]
        return replies if self._sink.settings.lmtp else replies[0]

    def command(self, verb: str, argument: str) -> Answer:
        """NOOP and VRFY."""
        answer: Answer = self._ruled(verb, _nothing)
        return answer

    def intercept(self, event: Event, reply: Reply) -> Answer:
        """RSET and QUIT, which nobody else is asked for."""
        kind = type(event)
        if kind is not Reset and kind is not Quit:
            return None
        answer: Answer = self._ruled("QUIT" if kind is Quit else "RSET", _nothing)
        return answer


def _nothing() -> None:
    """The standard reply."""


def _written(path: Path) -> str:
    """With its brackets."""
    return path.wire(smtputf8=True).decode("utf-8")
