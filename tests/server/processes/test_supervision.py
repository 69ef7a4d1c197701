"""Processes that are started, looked after and started again; none is really there."""

from __future__ import annotations

import os
from enum import IntEnum
from functools import partial
from typing import Any

from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.server.processes.link import Link
from moxtwisted.server.processes.process import Program
from moxtwisted.server.processes.supervision import Place, Supervision


class Word(IntEnum):
    """What is said to these."""

    ASK = 1
    SHUT_DOWN = 2
    OTHER = 3


class _Process:
    """What stands for one in the reactor.

    :ivar signals: that it got.
    """

    def __init__(self, protocol: Any, number: int) -> None:
        self.protocol = protocol
        self.pid = number
        self.signals: list[str] = []
        self.over = False
        protocol.makeConnection(self)

    def signalProcess(self, signal: str) -> None:
        if self.over:
            raise ProcessExitedAlready
        self.signals.append(signal)

    def end(self) -> None:
        """It has ended."""
        self.over = True
        self.protocol.processExited(Failure(ProcessTerminated(1)))

    def loseConnection(self) -> None:
        """Its pipes are closed."""


class _Reactor(Clock):
    """Has a clock, and processes.

    :ivar started: those that were.
    :ivar trouble: raised by the next start.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Process] = []
        self.trouble: list[OSError] = []

    def spawnProcess(self, protocol: Any, *_: Any, **__: Any) -> _Process:
        if self.trouble:
            raise self.trouble.pop()
        self.started.append(_Process(protocol, len(self.started) + 100))
        return self.started[-1]


class _Keeper:
    """A peer.

    :ivar said: words that it was told.
    """

    def __init__(self, keepers: Keepers, place: Place[_Keeper]) -> None:
        self.ready = False
        self.heard = True
        self.connections: dict[int, Any] = {}
        self.link: Link[Word] = Link(
            Word, lambda word, values: None, partial(keepers.silent, place, place.process)
        )
        self.link.makeConnection(StringTransport())
        self._begun = partial(keepers.began, place, self)

    def begin(self) -> None:
        """It says that it is ready."""
        self.ready = True
        self._begun()

    @property
    def said(self) -> list[int]:
        transport: Any = self.link.transport
        octets: bytes = transport.value()
        transport.clear()
        # Each is an array of one word.
        return [octets[at + 5] for at in range(0, len(octets), 6)]


class Keepers(Supervision[_Keeper]):
    """Those that are tested.

    :ivar notes: hooks that were called.
    :ivar trouble: raised by the next hooks.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor, Program("keeper", "none"), 2, (Word.ASK, Word.SHUT_DOWN))
        self.notes: list[str] = []
        self.trouble: list[Exception] = []

    def _note(self, text: str, place: Place[_Keeper]) -> None:
        self.notes.append(f"{text} {place.number}")
        if self.trouble:
            raise self.trouble.pop()

    def set_up(self, place: Place[_Keeper], descriptor: int) -> None:
        os.fstat(descriptor)
        self._note("set up", place)
        place.peer = _Keeper(self, place)

    def is_ready(self, place: Place[_Keeper]) -> None:
        self._note("ready", place)

    def ended(self, place: Place[_Keeper]) -> None:
        self._note("ended" if place.peer is not None else "ended before it was set up", place)

    def meanwhile(self) -> str:
        return "nothing is kept"


class SupervisionTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Both were started."""
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.reactor = _Reactor()
        self.keepers = Keepers(self.reactor)
        self.keepers.begin()
        self.assertEqual(self.notes(), ["set up 1", "set up 2"])

    def notes(self) -> list[str]:
        """Hooks that were called since."""
        notes, self.keepers.notes = self.keepers.notes, []
        return notes

    def lines(self) -> list[str]:
        """What was logged about them since."""
        lines = [formatEvent(event) for event in self.events if "keeper" in event]
        self.events.clear()
        return lines

    def peer(self, number: int = 1) -> _Keeper:
        """The one that is there."""
        peer = self.keepers.places[number - 1].peer
        assert peer is not None
        return peer

    def ready(self) -> None:
        """Both have begun."""
        for number in (1, 2):
            self.peer(number).begin()
        self.assertEqual(self.notes(), ["ready 1", "ready 2"])

    def advance(self, seconds: float) -> None:
        """Time passes, in which those that are there say something."""
        for place in self.keepers.places:
            if place.peer is not None:
                place.peer.heard = True
        self.reactor.advance(seconds)

    def signals(self) -> list[list[str]]:
        """What each process that was started got."""
        return [process.signals for process in self.reactor.started]

    def test_lives(self) -> None:
        """One that is ready and answers is let alone."""
        self.ready()
        for _ in range(20):
            self.reactor.advance(20)
            for number in (1, 2):
                self.assertEqual(self.peer(number).said, [Word.ASK])
                self.peer(number).heard = True
        self.assertEqual((self.signals(), self.lines()), ([[], []], []))

    def test_again(self) -> None:
        """One that ends is started again, later each time; after it lived for a while, soon."""
        self.ready()
        first = self.peer()
        pauses = [1, 2, 4, 8, 16, 32, 60, 60]
        for number, pause in enumerate(pauses):
            self.reactor.started[-1 if number else 0].end()
            self.assertEqual(self.notes(), ["ended 1"])
            self.assertEqual(
                self.lines(),
                [
                    "keeper 1 ended",
                    f"keeper 1 is started again in {pause:.1f} s; meanwhile nothing is kept",
                ],
            )
            self.assertIs(self.keepers.places[0].peer, None)
            self.advance(pause - 0.1)
            self.assertEqual(self.notes(), [])
            self.advance(0.2)
            self.assertEqual(self.notes(), ["set up 1"])
        self.assertIsNot(self.peer(), first)
        self.peer().begin()
        for _ in range(16):
            self.advance(20)
        self.lines()
        self.reactor.started[-1].end()
        self.assertIn("in 1.0 s", self.lines()[1])
        # Whatever the first one's peer still says, it is not the place's any more.
        self.notes()
        first.begin()
        first.link.connectionLost()
        self.assertEqual(self.notes(), [])
        self.reactor.advance(1)
        self.assertEqual(self.notes(), ["set up 1"])

    def test_too_slow(self) -> None:
        """One that does not begin in time is ended."""
        self.peer(2).begin()
        for _ in range(3):
            self.reactor.advance(20)
            self.peer(2).heard = True
        self.assertEqual(self.signals(), [["KILL"], []])
        self.assertEqual(self.lines(), ["keeper 1 did not begin in time, and is ended"])
        self.assertEqual(self.peer(1).said, [])

    def test_silent(self) -> None:
        """One that says nothing for the time between two questions is ended."""
        self.ready()
        self.reactor.advance(20)
        self.peer(2).heard = True
        self.reactor.advance(20)
        self.assertEqual(self.signals(), [["KILL"], []])
        self.assertEqual(self.lines(), ["keeper 1 does not answer, and is ended"])

    def test_late(self) -> None:
        """Where the looks come late, because the machine slept, say, there is time to answer all the same."""
        self.ready()
        self.reactor.rightNow += 39.99
        self.reactor.advance(0)
        self.reactor.advance(0.02)
        self.assertEqual(self.signals(), [[], []])
        self.reactor.advance(19.99)
        self.assertEqual(self.signals(), [["KILL"], ["KILL"]])

    def test_link_gone(self) -> None:
        """One whose link is gone may end by itself, and is ended when it does not."""
        self.ready()
        self.peer(1).link.connectionLost()
        self.peer(2).link.connectionLost()
        self.reactor.advance(4.9)
        self.reactor.started[1].end()
        self.reactor.advance(0.2)
        self.assertEqual(self.signals(), [["KILL"], []])

    def test_connections(self) -> None:
        """They are those of all that are there."""
        here: Any = object()
        self.peer(2).connections[7] = here
        self.assertEqual(self.keepers.connections, [here])
        self.reactor.started[1].end()
        self.assertEqual(self.keepers.connections, [])

    def test_not_set_up(self) -> None:
        """One that could not be set up is ended, and started again; what its end raises is in the way of nothing."""
        self.ready()
        self.keepers.trouble = [ValueError("set up"), KeyError("ended")]
        self.reactor.started[0].end()
        self.reactor.advance(1)
        self.assertEqual(self.signals(), [[], [], ["KILL"]])
        self.reactor.started[2].end()
        self.assertEqual(self.notes(), ["ended 1", "set up 1", "ended before it was set up 1"])
        self.reactor.advance(2)
        self.assertEqual(self.notes(), ["set up 1"])
        said = self.lines()
        self.assertIn("keeper 1 left something behind", said)
        self.assertIn("keeper 1 could not be set up", said)
        self.assertEqual(len(self.flushLoggedErrors(ValueError, KeyError)), 2)

    def test_not_started(self) -> None:
        """Where no process can be started, that is tried again."""
        self.ready()
        self.reactor.trouble = [OSError(11, "no more processes")]
        self.reactor.started[0].end()
        self.reactor.advance(1)
        self.assertIn(
            "keeper 1 could not be started: [Errno 11] no more processes",
            self.lines(),
        )
        self.notes()
        self.reactor.advance(2)
        self.assertEqual(self.notes(), ["set up 1"])

    def test_shutdown(self) -> None:
        """All are told, none is started again, and those that do not end can be ended."""
        self.ready()
        self.keepers.tell(Word.OTHER)
        done = self.keepers.shutdown()
        self.assertEqual([self.peer(n).said for n in (1, 2)], [[Word.OTHER, Word.SHUT_DOWN]] * 2)
        self.reactor.started[0].end()
        self.assertNoResult(done)
        self.keepers.kill()
        self.assertEqual(self.signals(), [[], ["KILL"]])
        self.reactor.started[1].end()
        self.successResultOf(done)
        self.reactor.advance(1000)
        self.assertEqual(len(self.reactor.started), 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_shutdown_is_too_long(self) -> None:
        """Who waits for the end of all may have enough of it."""
        done = self.keepers.shutdown()
        done.cancel()
        self.successResultOf(done)
