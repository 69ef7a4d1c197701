"""Load: many messages over many connections, measured.

::

    settings = SourceSettings(client=ClientSettings(hello_name="client.example"), sessions=10, messages=1000)
    source = LoadSource(reactor, endpoint, settings, Mail(letters, sender, recipients), now=time.perf_counter)
    figures = await source.run()                 # source.stop() ends it before; so does cancelling what run() returned
    figures.tally.stages["message"].percentile(99)

Without a rate the loop is *closed*: each session sends the next message as soon as the server has answered the one before. A server
that stalls then gets less load, and its stall is seen in as many messages as there are sessions, not in all those that would have come
meanwhile. With a rate the loop is *open*: message *n* is due at *n* / rate, whatever the server does. What finds no free session waits,
and its **response time** counts from when it was due (this is what corrects for coordinated omission); its **service time** counts from
when a session took it up. Both are reported.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from moxtwisted.address import Path
from moxtwisted.load.connection import LoadConnection, Meter
from moxtwisted.load.letters import Letter, Letters
from moxtwisted.load.tally import Tally
from moxtwisted.smtp.agent import ClientSettings
from moxtwisted.smtp.envelope import MailParameters, Recipient
from moxtwisted.smtp.transmission import Envelope, RecipientResult

__all__ = ["Figures", "LoadSource", "Mail", "SourceSettings"]

#: So many messages are begun before other things have their turn.
_TURN: Final = 50
_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 1.0


@frozen(kw_only=True)
class SourceSettings:
    """How much load, and of which kind.

    :ivar client: how a connection is opened.
    :ivar sessions: connections at the same time, at most.
    :ivar messages: in all; None = no end, for a duration.
    :ivar duration_seconds: then no message is begun any more; None = no end.
    :ivar rate: messages a second, of all sessions together; None = as fast as the server answers.
    :ivar per_connection: messages over one connection; None = as many as there are.
    :ivar pipelining: send the commands of a message together where the server allows it (RFC 2920).
    :ivar attempts: how often a connection is tried before its message counts as failed.
    :ivar pause_seconds: a session's pause after each message.
    :ivar random_pause_seconds: and a random one, up to this.
    :ivar give_up_after: connections that fail one after the other, none working in between, end the run.
    :ivar drain_seconds: when the time is over, messages under way have so much more.
    """

    client: ClientSettings
    sessions: int = 1
    messages: int | None = 1
    duration_seconds: float | None = None
    rate: float | None = None
    per_connection: int | None = 1
    pipelining: bool = True
    attempts: int = 1
    pause_seconds: float = 0.0
    random_pause_seconds: float = 0.0
    give_up_after: int = 100
    drain_seconds: float = 30.0


class Mail:
    """Letters and their envelopes."""

    def __init__(
        self,
        letters: Letters,
        sender: Path,
        recipients: Callable[[int], list[Recipient]],
        *,
        smtputf8: bool = False,
    ) -> None:
        """:param recipients: those of the message of this number."""
        self._letters = letters
        self._sender = sender
        self._recipients = recipients
        self._smtputf8 = smtputf8
        self._parameters = MailParameters()

    def message(self, number: int) -> tuple[Envelope, Letter]:
        """What goes out.

        :raise OSError: a file cannot be read.
        """
        letter = self._letters.letter(number)
        body = "8BITMIME" if letter.eight_bit else "7BIT"
        known = self._parameters
        if known.size != letter.octets or known.body != body:
            known = MailParameters(size=letter.octets, body=body, smtputf8=self._smtputf8)
            self._parameters = known
        return Envelope(self._sender, self._recipients(number), known), letter


@frozen(kw_only=True)
class Figures:
    """What a run came to.

    :ivar seconds: from its begin to the last reply.
    :ivar ended: ``"done"``, ``"interrupted"``, or ``"gave up"``.
    :ivar cut_off: messages that were under way when it was stopped.
    """

    tally: Tally = field(repr=False)
    seconds: float
    ended: str
    cut_off: int = 0

    @property
    def rate(self) -> float:
        """Messages a second that the server took."""
        return self.tally.accepted / self.seconds if self.seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        octets = self.tally.octets / self.seconds if self.seconds > 0 else 0.0
        return {
            "ended": self.ended,
            "seconds": self.seconds,
            "messages_per_second": self.rate,
            "octets_per_second": octets,
            "cut_off": self.cut_off,
            **self.tally.as_json(),
        }


class LoadSource:
    """A run.

    :ivar tally: what was counted so far.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        settings: SourceSettings,
        mail: Mail,
        *,
        now: Callable[[], float] | None = None,
        random: Callable[[], float] = lambda: 0.5,
    ) -> None:
        """

        :param reactor: the clock of limits and pauses.
        :param now: the clock of latencies, in seconds; it should be one that nobody sets, as ``time.perf_counter``. None = the reactor's.
        :param random: gives numbers from 0 to below 1, for random pauses.
        """
        self.tally = Tally()
        self.settings = settings
        self.endpoint = endpoint
        self.reactor = reactor
        self.meter = Meter(reactor, now or reactor.seconds, self.tally)
        self._mail = mail
        self._random = random
        self._done: Deferred[Figures] | None = None
        self._workers: list[_Worker] = []
        self._busy = 0
        self._free: deque[_Worker] = deque()
        self._pumping = False
        self._timer: Any = None
        self._limit: Any = None
        self._next = 1
        self._started = 0.0
        self._last = 0.0
        self._ended = ""
        self._failures = 0  # connections that failed, without one that worked in between
        self._winding_up = False
        self._on_time = False  # whether sessions were free, waiting for messages to be due

    def trace_to(self, trace: Callable[[str], None]) -> None:
        """Have all that is said told to somebody, line by line, without secrets and messages; before ``run``."""
        self.meter = evolve(self.meter, trace=trace)

    @property
    def seconds(self) -> float:
        """How long it runs, or ran."""
        if self._ended and not self._busy:
            return max(0.0, self._last - self._started)
        return self.meter.now() - self._started if self._started else 0.0

    @property
    def overdue(self) -> int:
        """Messages that are due and have not been begun, as no session is free."""
        rate = self.settings.rate
        if rate is None or not self.more:
            return 0
        due = int((self.meter.now() - self._started) * rate) + 1
        messages = self.settings.messages
        return max(0, (due if messages is None else min(due, messages)) - self._next + 1)

    def run(self) -> Deferred[Figures]:
        """Begin.

        :return: fires with the figures, also when it is cancelled, which does what ``stop`` does.
        """
        settings = self.settings
        done: Deferred[Figures] = Deferred(lambda _: self.stop())
        self._done = done
        self._started = self._last = self.meter.now()
        if settings.duration_seconds is not None:
            self._limit = self.reactor.callLater(settings.duration_seconds, self._time_is_over)
        count = settings.sessions if settings.messages is None else min(settings.sessions, settings.messages)
        self._workers = [_Worker(self) for _ in range(count)]
        self._free.extend(self._workers)
        self._pump()
        return done

    def stop(self, why: str = "interrupted") -> None:
        """End it now: messages under way are cut off."""
        if self._done is None or self._done.called:
            return
        self._ended = self._ended or why
        cut_off = sum(worker.abort() for worker in self._workers)
        self._busy = 0
        self._last = self.meter.now() if cut_off else self._last
        self._finish(cut_off)

    # -- who sends what when ---------------------------------------------------------------------------------------------

    def freed(self, worker: _Worker) -> None:
        """A session can take up a message."""
        self._free.append(worker)
        if not self._pumping:
            self._pump()

    def _pump(self) -> None:
        """Give messages to those who are free."""
        self._pumping = True
        free, count = self._free, 0
        while free and count < _TURN and self._give():
            count += 1
        self._pumping = False
        if self._done is None or self._done.called:
            return
        if not self.more:
            self._wind_up()
        elif free and self._timer is None:
            # Due times only rise: a timer that is set already comes early enough.
            self._timer = self.reactor.callLater(max(0.0, self._due() - self.meter.now()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._on_time = True
        self._pump()
        self._on_time = False

    @property
    def more(self) -> bool:
        """Whether there is another message to be sent."""
        return not self._ended and (self.settings.messages is None or self._next <= self.settings.messages)

    def _due(self) -> float:
        """When the next message is."""
        rate = self.settings.rate
        return self._started + (self._next - 1) / rate if rate else 0.0

    def _give(self) -> bool:
        """Have the first of those who are free send the next message; not when there is none, or it is not due yet."""
        if not self.more:
            return False
        now = due = self.meter.now()
        if self.settings.rate is not None:
            due = self._due()
            if due > now:
                return False
            if self._on_time:
                # A session was free when the message was due: it is we who are late.
                self.tally.stages["late"].record(now - due)
        try:
            envelope, letter = self._mail.message(self._next)
        except OSError as e:
            self.tally.error(f"file: {e.strerror}")
            self._give_up()
            return False
        worker = self._free.popleft()
        self._next += 1
        self._busy += 1
        self.tally.begun += 1
        worker.begin(envelope, letter, due, now)
        return True

    def settled(self, began: float, due: float) -> None:
        """The server decided on a message."""
        self._last = now = self.meter.now()
        self._busy -= 1
        self.tally.stages["message"].record(now - began)
        if self.settings.rate is not None:
            self.tally.stages["response"].record(now - due)

    def failed(self) -> None:
        """A message ended without that."""
        self._last = self.meter.now()
        self._busy -= 1
        self.tally.failed += 1

    def connection_worked(self) -> None:
        """A connection could be opened."""
        self._failures = 0

    def connection_failed(self) -> None:
        """A connection could not be opened."""
        self._failures += 1
        if self._failures >= self.settings.give_up_after and not self._ended:
            self._give_up()

    def _give_up(self) -> None:
        """There is no sense in going on: what is under way is cut off."""
        self._ended = "gave up"
        self._limit_to(0)

    def _limit_to(self, seconds: float) -> None:
        """Stop then, if nothing else ends it before."""
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self._limit = self.reactor.callLater(seconds, self.stop)

    def pause(self) -> float:
        """Seconds that a session waits after a message."""
        settings = self.settings
        pause = settings.pause_seconds
        if settings.random_pause_seconds:
            pause += settings.random_pause_seconds * self._random()
        return pause

    # -- the end ---------------------------------------------------------------------------------------------------------

    def _time_is_over(self) -> None:
        self._ended = "done"
        self._limit_to(self.settings.drain_seconds)
        self._pump()

    def _wind_up(self) -> None:
        """No message is left to be begun: close what is not needed, and end with the last reply."""
        if self._busy or self._winding_up:
            return
        self._winding_up = True
        self._ended = self._ended or "done"
        self._limit_to(self.settings.client.timeouts.connect)
        for worker in self._workers:
            worker.close()
        self.closed()

    def closed(self) -> None:
        """A session's connection may be gone, after the last message."""
        if self._winding_up and not any(worker.open for worker in self._workers):
            self._finish(0)

    def _finish(self, cut_off: int) -> None:
        for call in (self._timer, self._limit):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._limit = None
        self._free.clear()
        done = self._done
        if done is not None and not done.called:
            seconds = max(0.0, self._last - self._started)
            done.callback(Figures(tally=self.tally, seconds=seconds, ended=self._ended, cut_off=cut_off))


class _Connecting(Factory):
    """Gives an endpoint the one connection that it is for."""

    noisy = False

    def __init__(self, connection: LoadConnection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: object) -> LoadConnection:
        """It."""
        return self._connection


class _State(Enum):
    FREE = "has no message"
    OPENING = "has a message, and no connection yet"
    SENDING = "the server has the word"
    QUITTING = "the connection is done with"
    RESTING = "waits for a timer before it is free"
    CLOSING = "there are no messages any more"


class _Worker:
    """A session: one connection after the other, one message at a time."""

    def __init__(self, source: LoadSource) -> None:
        self._source = source
        self._state = _State.FREE
        self._connection: LoadConnection | None = None
        self._attempt: Deferred[Any] | None = None
        self._attempts = 0
        self._failures = 0  # connections that failed, one after the other
        self._timer: Any = None
        self._message: tuple[Envelope, Letter] | None = None
        self._due = 0.0
        self._began = 0.0
        self._connecting_at = 0.0

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def begin(self, envelope: Envelope, letter: Letter, due: float, now: float) -> None:
        """Take up a message."""
        self._due, self._began = due, now
        connection = self._connection
        if connection is not None:
            self._state = _State.SENDING
            connection.send(envelope, letter)
            return
        self._message = envelope, letter
        self._state, self._attempts = _State.OPENING, 0
        self._connect()

    def _connect(self) -> None:
        self._timer = None
        self._attempts += 1
        source = self._source
        settings = source.settings
        self._connection = connection = LoadConnection(
            self, settings.client, source.meter, pipelining=settings.pipelining
        )
        self._connecting_at = source.meter.now()
        self._attempt = attempt = source.endpoint.connect(_Connecting(connection))
        attempt.addTimeout(source.settings.client.timeouts.connect, source.reactor)
        attempt.addCallbacks(self._connected, self._not_connected)

    def _connected(self, _: Any) -> None:
        self._attempt = None
        source = self._source
        source.tally.connections += 1
        source.tally.stages["connect"].record(source.meter.now() - self._connecting_at)

    def _not_connected(self, failure: Failure) -> None:
        self._attempt = None
        if not failure.check(CancelledError):
            self.over(f"connect: {_kind(failure.value)}")

    def ready(self) -> None:
        """The connection is open."""
        self._failures = 0
        self._source.connection_worked()
        message, self._message = self._message, None
        if message is not None and self._connection is not None:
            self._state = _State.SENDING
            self._connection.send(*message)

    def settled(self, results: list[RecipientResult], octets: int) -> None:
        """The server decided on the message."""
        source, connection = self._source, self._connection
        source.tally.result(results, octets)
        source.settled(self._began, self._due)
        self._state = _State.QUITTING
        if connection is None or not connection.alive:
            return  # it is about to be over
        most = source.settings.per_connection
        if most is not None and connection.sent >= most:
            connection.quit()
        else:
            self._rest(source.pause())

    def over(self, kind: str) -> None:
        """The connection is gone."""
        self._connection = None
        source, state = self._source, self._state
        if kind:
            source.tally.error(kind)
        if state is _State.OPENING:
            self._not_opened()
        elif state is _State.SENDING:
            source.failed()
            self._rest(source.pause())
        elif state is _State.QUITTING:
            self._rest(source.pause())
        elif state is _State.CLOSING:
            source.closed()

    def _not_opened(self) -> None:
        source = self._source
        pause = min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2.0 ** min(self._failures, 10))
        self._failures += 1
        source.connection_failed()
        if self._attempts < source.settings.attempts:
            self._timer = source.reactor.callLater(pause, self._connect)
            return
        self._message = None
        source.failed()
        self._rest(pause)

    def _rest(self, seconds: float) -> None:
        if seconds > 0 and self._source.more:
            self._state = _State.RESTING
            self._timer = self._source.reactor.callLater(seconds, self._rested)
        else:
            self._rested()

    def _rested(self) -> None:
        self._timer = None
        self._state = _State.FREE
        self._source.freed(self)

    def close(self) -> None:
        """There are no messages any more: QUIT."""
        self._cancel_timer()
        connection, state = self._connection, self._state
        self._state = _State.CLOSING
        if connection is not None and connection.alive and state is not _State.QUITTING:
            connection.quit()

    def abort(self) -> bool:
        """End at once.

        :return: whether a message was under way.
        """
        self._cancel_timer()
        state, self._state = self._state, _State.CLOSING
        attempt, self._attempt = self._attempt, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if attempt is not None:
            attempt.cancel()
        return state in {_State.OPENING, _State.SENDING}

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


#: What Twisted's errors of connecting are called here.
_KINDS: Final = {
    "ConnectionRefusedError": "refused",
    "TCPTimedOutError": "timeout",
    "TimeoutError": "timeout",
    "NoRouteError": "no route",
    "DNSLookupError": "no such host",
    "UnknownHostError": "no such host",
}
#: What the system's errors are called here.
_NUMBERS: Final = {errno.ENOENT: "no such socket", errno.EACCES: "not allowed"}


def _kind(error: BaseException | None) -> str:
    """Why there is no connection, in a word."""
    name = type(error).__name__
    if name in _KINDS:
        return _KINDS[name]
    number = getattr(error, "osError", None) if isinstance(error, ConnectError) else None
    if number is None:
        number = getattr(error, "errno", None)
    return _NUMBERS.get(number) or errno.errorcode.get(number, name) if isinstance(number, int) else name
