"""Time-outs that are moved often."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.transport.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A clock, and when the moment was reached."""
        self.clock = Clock()
        self.reached: list[float] = []
        self.deadline = Deadline(self.clock, lambda: self.reached.append(self.clock.seconds()))

    def advance(self, seconds: int) -> None:
        """Second by second."""
        self.clock.pump([1] * seconds)

    def test_once(self) -> None:
        """It is reached when it was set for, and once."""
        self.deadline.set(3)
        self.advance(10)
        self.assertEqual((self.reached, self.clock.getDelayedCalls()), ([3.0], []))

    def test_later(self) -> None:
        """Moved to a later moment it keeps its timer, and is reached then."""
        self.deadline.set(3)
        [timer] = self.clock.getDelayedCalls()
        self.advance(2)
        self.deadline.set(3)
        self.assertEqual(self.clock.getDelayedCalls(), [timer])
        self.advance(10)
        self.assertEqual(self.reached, [5.0])

    def test_earlier(self) -> None:
        """Moved to an earlier moment it is reached then, and not again."""
        self.deadline.set(8)
        self.deadline.set(2)
        self.advance(10)
        self.assertEqual(self.reached, [2.0])

    def test_suspended(self) -> None:
        """Suspended it is not reached; set again it is."""
        self.deadline.set(3)
        self.deadline.suspend()
        self.advance(5)
        self.assertEqual((self.reached, self.clock.getDelayedCalls()), ([], []))
        self.deadline.set(3)
        self.advance(5)
        self.assertEqual(self.reached, [8.0])

    def test_cancelled(self) -> None:
        """Cancelled it leaves no timer behind, as often as one likes; it can be set again."""
        self.deadline.set(3)
        self.deadline.cancel()
        self.deadline.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.deadline.set(1)
        self.advance(2)
        self.assertEqual(self.reached, [1.0])
