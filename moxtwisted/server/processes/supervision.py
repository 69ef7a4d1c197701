"""Processes of one kind: they are started, asked whether they are well, and started again when they end.

::

    class Receivers(Supervision[Receiver]):
        def set_up(self, place, descriptor):
            place.peer = Receiver(..., partial(self.silent, place, place.process), partial(self.began, place))
            adopt_link(self._reactor, descriptor, place.peer.link)
            place.peer.link.say(Word.SET_UP, ...)

    receivers = Receivers(reactor, Program("receiver", "moxtwisted.tap.receiver"), 2, (Word.ASK, Word.SHUT_DOWN))
    receivers.begin()
    await receivers.shutdown()                # what is under way is finished
    receivers.kill()

The peer is what stands here for the process: when that says that it is ready, it calls ``began``, and when its link is gone ``silent``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from moxtwisted.server.processes.link import Link
from moxtwisted.server.processes.process import ChildProcess, Program

__all__ = ["Connection", "Peer", "Place", "Supervision"]

_log = Logger()

#: How long a process may take to be ready.
_START_SECONDS: Final = 60.0
#: And how long to end when there is nothing more to be said.
_END_SECONDS: Final = 5.0
#: How long one may say nothing when it is asked.
_SILENT_SECONDS: Final = 20.0
#: Before one that ended is started again: so long at first, twice as long each time, at most; after a good while, as at first.
_AGAIN_SECONDS: Final = 1.0
_AGAIN_MOST_SECONDS: Final = 60.0
_GOOD_WHILE_SECONDS: Final = 300.0


class Connection(Protocol):
    """A client that a process has.

    :ivar client_ip: its address.
    """

    @property
    def client_ip(self) -> str:
        """See above."""

    def shutdown(self) -> None:
        """Have the process end it."""


class Peer(Protocol):
    """What stands here for a process.

    :ivar connections: that it has, by their numbers.
    :ivar link: to it.
    :ivar ready: whether it has begun, and its link is there.
    :ivar heard: whether it said anything since somebody set this to False.
    """

    @property
    def connections(self) -> Mapping[int, Connection]:
        """See above."""

    @property
    def link(self) -> Link[Any]:
        """See above."""

    @property
    def ready(self) -> bool:
        """See above."""

    heard: bool


P = TypeVar("P", bound=Peer)


@define(eq=False)
class Place(Generic[P]):
    """Where a process is, or will be again.

    :ivar number: for the log, from 1 on.
    :ivar process: None: there is none.
    :ivar peer: None: there is none, or it was not set up yet.
    :ivar started: when it was started the last time.
    :ivar again_seconds: to wait when it ends.
    :ivar call: what is due: its start, or its end.
    :ivar gone: fires when the process ended; None: there is none.
    """

    number: int
    process: ChildProcess | None = None
    peer: P | None = None
    started: float = 0.0
    again_seconds: float = field(factory=lambda: _AGAIN_SECONDS)
    call: Any = None
    gone: Deferred[None] | None = None


class Supervision(Generic[P]):
    """All processes of one kind.

    :param count: how many there are.
    :param words: what has a process answer whatever else it has to do, and what has it finish what is under way and end.
    :ivar places: one for each process.
    :ivar stopping: whether those that end are not started again.
    """

    def __init__(self, reactor: Any, program: Program, count: int, words: tuple[IntEnum, IntEnum]) -> None:
        self._reactor = reactor
        self._program = program
        self._ask, self._shut_down = words
        self._watch = LoopingCall(self._look_after)
        self._watch.clock = reactor
        self._looked = float("-inf")
        self.stopping = False
        self.places: list[Place[P]] = [Place(n + 1) for n in range(count)]

    @property
    def connections(self) -> Sequence[Connection]:
        """Those of all, for who ends them when a network is banned."""
        return [
            connection
            for place in self.places
            if place.peer is not None
            for connection in place.peer.connections.values()
        ]

    # -- what differs --------------------------------------------------------------------------------------------

    def set_up(self, place: Place[P], descriptor: int) -> None:
        """Make the peer of a process that was started, and tell it what it has to know.

        :param descriptor: of the link; is closed afterwards.
        :raises Exception: whatever is in the way: the process is ended, and started again later.
        """
        raise NotImplementedError

    def is_ready(self, place: Place[P]) -> None:
        """A process has begun."""

    def ended(self, place: Place[P]) -> None:
        """A process has ended; its peer is still there, if it had one, and its link may not know yet."""

    def meanwhile(self) -> str:
        """For the log: what becomes of its work until a process that ended was started again."""
        raise NotImplementedError

    # -- from start to end ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start all."""
        self._watch.start(_SILENT_SECONDS, now=False)
        for place in self.places:
            self._begin(place)

    def _begin(self, place: Place[P]) -> None:
        place.call = None
        place.started = self._reactor.seconds()
        process = ChildProcess(self._program, place.number, partial(self._ended, place))
        try:
            descriptor = process.start(self._reactor)
        except OSError as e:
            _log.error(
                self._program.told("could not be started: {problem}"), problem=str(e), **self._whose(place)
            )
            self._again(place)
            return
        place.process, place.gone = process, Deferred()
        place.call = self._reactor.callLater(_START_SECONDS, self._too_slow, place)
        try:
            self.set_up(place, descriptor)
        except Exception:  # noqa: BLE001 - a boundary: whatever is in the way now may be gone the next time
            _log.failure(self._program.told("could not be set up"), **self._whose(place))
            process.kill()
        finally:
            os.close(descriptor)

    def began(self, place: Place[P], peer: P) -> None:
        """The peer calls this when its process is ready."""
        if place.peer is peer and place.process is not None:
            self._stop_waiting(place)
            self.is_ready(place)

    def silent(self, place: Place[P], process: ChildProcess | None) -> None:
        """The peer calls this when its link is gone: so will the process be soon, or it is ended.

        :param process: which had the link.
        """
        if process is None or place.process is not process:
            # It ended before that was noticed: what waits now is its successor's start.
            return
        self._stop_waiting(place)
        place.call = self._reactor.callLater(_END_SECONDS, process.kill)

    def _too_slow(self, place: Place[P]) -> None:
        place.call = None
        _log.error(self._program.told("did not begin in time, and is ended"), **self._whose(place))
        if place.process is not None:
            place.process.kill()

    def _look_after(self) -> None:
        """One that hangs has work that nobody does."""
        now = self._reactor.seconds()
        if now - self._looked < _SILENT_SECONDS / 2:
            # The last look came late (the machine slept, say, as all its processes did): nobody has had the time to answer.
            return
        self._looked = now
        for place in self.places:
            peer = place.peer
            if peer is None or place.process is None or not peer.ready:
                continue
            if not peer.heard:
                _log.error(self._program.told("does not answer, and is ended"), **self._whose(place))
                place.process.kill()
            peer.heard = False
            peer.link.say(self._ask)

    def _ended(self, place: Place[P]) -> None:
        self._stop_waiting(place)
        if place.peer is not None:
            place.peer.link.abort()
        try:
            self.ended(place)
        except Exception:  # noqa: BLE001 - a boundary: it is started again all the same
            _log.failure(self._program.told("left something behind"), **self._whose(place))
        place.peer = place.process = None
        gone, place.gone = place.gone, None
        if not self.stopping:
            self._again(place)
        if gone is not None:
            gone.callback(None)

    def _again(self, place: Place[P]) -> None:
        if self._reactor.seconds() - place.started > _GOOD_WHILE_SECONDS:
            place.again_seconds = _AGAIN_SECONDS
        seconds = place.again_seconds
        place.again_seconds = min(2 * seconds, _AGAIN_MOST_SECONDS)
        _log.warn(
            self._program.told("is started again in {seconds} s; meanwhile {meanwhile}"),
            seconds=seconds,
            meanwhile=self.meanwhile(),
            **self._whose(place),
        )
        place.call = self._reactor.callLater(seconds, self._begin, place)

    def _whose(self, place: Place[P]) -> dict[str, Any]:
        return {self._program.kind: place.number}

    @staticmethod
    def _stop_waiting(place: Place[P]) -> None:
        call, place.call = place.call, None
        if call is not None and call.active():
            call.cancel()

    def shutdown(self) -> Deferred[Any]:
        """Let them finish what is under way; fires when all have ended. See ``kill``."""
        self.stopping = True
        if self._watch.running:
            self._watch.stop()
        waiting = []
        for place in self.places:
            self._stop_waiting(place)
            if place.peer is not None:
                place.peer.link.say(self._shut_down)
            if place.gone is not None:
                waiting.append(place.gone)
        # Who waits for it may have enough of that, which is no error of those who have not ended.
        return DeferredList(waiting, consumeErrors=True)

    def kill(self) -> None:
        """End those that did not end in time."""
        for place in self.places:
            if place.process is not None:
                place.process.kill()

    def tell(self, word: IntEnum, *values: Any) -> None:
        """Say something to all that are there."""
        for place in self.places:
            if place.peer is not None:
                place.peer.link.say(word, *values)
