"""``moxtwisted.store.pacing``: when an index rests, and for how long."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.store.pacing import (
    IMPATIENT_SECONDS,
    MAX_REST_SECONDS,
    QUIET_SECONDS,
    REST_FACTOR,
    Crowd,
    Pace,
)


class PaceTests(SynchronousTestCase):
    """With a clock of our own."""

    def setUp(self) -> None:
        """Some accounts of one server."""
        self.clock = Clock()
        self.crowd = Crowd()
        self.paces = [Pace(self.clock) for _ in range(3)]
        for pace in self.paces:
            pace.share(self.crowd)
        self.pace = self.paces[0]

    def rest(self, pace: Pace, worked_seconds: float) -> Deferred[None]:
        """A batch took so long, and somebody changed something meanwhile."""
        pace.begin_batch()
        pace.disturb()
        return Deferred.fromCoroutine(pace.rest(worked_seconds))

    def rested_seconds(self, pace: Pace, worked_seconds: float) -> float:
        """For how long it rests while somebody changes something all the time."""
        done, seconds = self.rest(pace, worked_seconds), 0.0
        while not done.called:
            self.assertLess(seconds, 60)
            self.clock.advance(0.125)
            seconds += 0.125
            for one in self.paces:
                one.disturb()
        return seconds

    def test_undisturbed(self) -> None:
        """It does not rest if nobody changed anything."""
        self.pace.disturb()
        self.pace.begin_batch()
        self.successResultOf(Deferred.fromCoroutine(self.pace.rest(1.0)))
        self.assertEqual(self.crowd.accounts, 0)

    def test_until_it_is_quiet(self) -> None:
        """It waits for a second without changes."""
        done = self.rest(self.pace, 0.01)
        self.clock.advance(QUIET_SECONDS / 2)
        self.pace.disturb()
        self.clock.advance(QUIET_SECONDS / 2)
        self.assertNoResult(done)
        self.assertEqual(self.crowd.accounts, 1)
        self.clock.advance(QUIET_SECONDS / 2)
        self.successResultOf(done)
        self.assertEqual(self.crowd.accounts, 0)

    def test_impatient(self) -> None:
        """After ten seconds it works for a tenth of the time, and rests no longer than a second."""
        self.assertEqual(self.rested_seconds(self.pace, 0.0), IMPATIENT_SECONDS)
        worked = 0.5 / REST_FACTOR
        self.assertEqual(self.rested_seconds(self.pace, worked), 0.5)
        self.assertEqual(self.rested_seconds(self.pace, 100.0), MAX_REST_SECONDS)

    def test_together(self) -> None:
        """Several accounts that have no quiet second share that tenth."""
        self.rested_seconds(self.paces[1], 0.0)
        self.rested_seconds(self.paces[2], 0.0)
        self.assertEqual(self.crowd.accounts, 2)
        worked = 0.5 / REST_FACTOR
        self.assertEqual(self.rested_seconds(self.paces[1], worked), 1.0)
        self.rested_seconds(self.pace, 0.0)
        self.assertEqual(self.rested_seconds(self.pace, worked), 1.5)
        self.paces[1].over()
        self.paces[1].over()
        self.paces[2].over()
        self.assertEqual(self.crowd.accounts, 1)
        self.assertEqual(self.rested_seconds(self.pace, worked), 0.5)

    def test_hurry(self) -> None:
        """Who asks for all of it now does not wait."""
        done = self.rest(self.pace, 1.0)
        self.assertNoResult(done)
        self.pace.hurry()
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pace.hurry()
