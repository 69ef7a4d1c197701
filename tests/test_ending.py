"""The end of a process, at the first signal and once."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.compose.ending import Ending, stop


class Reactor:
    """Stops as Twisted's does: at once, and a second time not at all."""

    def __init__(self) -> None:
        self.stops = 0
        self.shutdown: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, function: Any) -> None:
        """See ``IReactorCore``."""
        self.shutdown.append((phase, event, function))

    def stop(self) -> None:
        """See ``IReactorCore``."""
        if self.stops:
            raise ReactorNotRunning
        self.stops += 1

    def shut_down(self) -> None:
        """What follows from a stop, a little later."""
        for phase, event, function in self.shutdown:
            if (phase, event) == ("before", "shutdown"):
                function()


class EndingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A process that has Twisted's handlers."""
        self.reactor = Reactor()
        self.told: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: self.told.append(number))
        self.ending = Ending(self.reactor)

    def test_first_of_several(self) -> None:
        """Twisted hears of the first, of whichever kind, and of no other."""
        self.ending.take_signals()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        self.assertEqual((self.told, self.ending.signal), ([signal.SIGTERM], signal.SIGTERM))
        self.ending.stop()
        self.assertEqual(self.reactor.stops, 0)  # Twisted's handler has it done.

    def test_stopped_without_one(self) -> None:
        """Signals to what is stopping do nothing, whoever stopped it."""
        self.ending.take_signals()
        self.ending.stop()
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual((self.told, self.ending.signal, self.reactor.stops), ([], None, 1))
        other = Ending(self.reactor)
        other.take_signals()
        self.reactor.shut_down()
        signal.raise_signal(signal.SIGINT)
        self.assertEqual((self.told, other.signal), ([], None))

    def test_terminal_is_closed(self) -> None:
        """SIGHUP ends it, too, but not where it is ignored, or has another use."""
        self.ending.take_signals()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual((self.told, self.ending.signal), ([signal.SIGHUP], signal.SIGHUP))
        reloads: list[int] = []
        for handler in (signal.SIG_IGN, lambda number, _: reloads.append(number)):
            signal.signal(signal.SIGHUP, handler)
            other = Ending(self.reactor)
            other.take_signals()
            signal.raise_signal(signal.SIGHUP)
            self.assertIsNone(other.signal)
        self.assertEqual(reloads, [signal.SIGHUP])

    def test_ignored(self) -> None:
        """What the process ignores, as in the background of a shell, it goes on to ignore."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.ending.take_signals()
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)
        self.assertEqual((self.told, self.ending.signal), ([], None))

    def test_stop_twice(self) -> None:
        """It is stopped already when it is stopped again."""
        stop(self.reactor)
        stop(self.reactor)
        self.ending.stop()
        self.assertEqual(self.reactor.stops, 1)
