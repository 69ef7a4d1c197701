"""Many times for one call of the reactor."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.timers import Timers


class TimersTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A clock, and what was done."""
        self.clock, self.done = Clock(), list[str]()
        self.timers = Timers(self.clock)

    def begin(self, what: str, seconds: float) -> None:
        """To be done once the time is up."""
        self.timers.begin(what, seconds, lambda: self.done.append(what))

    def test_each_in_its_time(self) -> None:
        """Whatever is begun first, each is done when its own time is up, and with one call at once."""
        for what, seconds in (("c", 3.0), ("a", 1.0), ("d", 20.0), ("b", 2.0)):
            self.begin(what, seconds)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for expected in ("", "a", "ab", "abc"):
            self.assertEqual("".join(self.done), expected)
            self.clock.advance(1)
        self.clock.advance(16)
        self.assertEqual("".join(self.done), "abcd")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """What ended is not done, and when all ended nothing is waited for."""
        self.begin("a", 1.0)
        self.begin("b", 2.0)
        self.timers.end("a")
        self.clock.advance(1)
        self.assertEqual(self.done, [])
        self.timers.end("b")
        self.timers.end("b")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_ends_another(self) -> None:
        """Of those whose time is up together one may end another, or begin it anew."""

        def change() -> None:
            self.timers.end("b")
            self.begin("c", 1.0)

        self.timers.begin("a", 1.0, change)
        self.begin("b", 1.0)
        self.begin("c", 1.0)
        self.clock.advance(1)
        self.assertEqual(self.done, [])
        self.clock.advance(1)
        self.assertEqual(self.done, ["c"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
