"""Work that is done to its end."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import StoreFullError
from moxtwisted.store.toend import to_end


class ToEndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.answer: Deferred[int] = Deferred()
        self.released: list[bool] = []
        self.waiting = Deferred.fromCoroutine(to_end(self.work(), lambda: self.released.append(True)))

    async def work(self) -> int:
        return await self.answer + 1

    def test_ends(self) -> None:
        """What the work gives is given, after the release."""
        self.assertNoResult(self.waiting)
        self.answer.callback(1)
        self.assertEqual((self.successResultOf(self.waiting), self.released), (2, [True]))

    def test_fails(self) -> None:
        """So is its error."""
        self.answer.errback(StoreFullError("full"))
        self.failureResultOf(self.waiting, StoreFullError)
        self.assertEqual(self.released, [True])

    def test_cancelled(self) -> None:
        """Who waits is let go at once; the work goes on, and the release comes when it has ended, well or not."""
        for failed in (False, True):
            self.setUp()
            self.waiting.cancel()
            self.failureResultOf(self.waiting, CancelledError)
            self.assertEqual(self.released, [])
            self.answer.errback(StoreFullError("full")) if failed else self.answer.callback(1)
            self.assertEqual(self.released, [True])
