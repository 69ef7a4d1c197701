"""Bodies that wait to be deleted go together, and none is forgotten."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import StoreFullError
from moxtwisted.store import sweeping


class SweepingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.slices: list[list[int]] = []
        self.error: Exception | None = None
        self.most = 10

        def sweep(ledger: Any, bodies: list[int]) -> bool:
            if self.error is not None:
                raise self.error
            self.slices.append(bodies[-self.most :])
            del bodies[-self.most :]
            return bool(bodies)

        self.patch(sweeping, "sweep", sweep)
        self.sweeping = sweeping.Sweeping()

    def slice(self) -> bool:
        ledger: Any = None
        return self.sweeping.slice(ledger)

    def test_together(self) -> None:
        """What several commits let go of is one slice's work, and only the first of them has it begun."""
        self.assertEqual([self.sweeping.put([n]) for n in (1, 2, 3)], [True, False, False])
        self.assertFalse(self.slice())
        self.assertEqual(self.slices, [[1, 2, 3]])

    def test_again(self) -> None:
        """When all is done the next body has it begun again."""
        self.sweeping.put([1])
        self.assertFalse(self.slice())
        self.assertTrue(self.sweeping.put([2]))
        self.assertFalse(self.slice())
        self.assertEqual(self.slices, [[1], [2]])

    def test_more_than_a_slice(self) -> None:
        """What a slice leaves is left for the next, with what came meanwhile."""
        self.most = 2
        self.sweeping.put([1, 2, 3])
        self.assertTrue(self.slice())
        self.assertFalse(self.sweeping.put([4]))
        self.assertFalse(self.slice())
        self.assertEqual(self.slices, [[2, 3], [1, 4]])

    def test_refused(self) -> None:
        """What could not be deleted is deleted with what comes next."""
        self.sweeping.put([1])
        self.error = StoreFullError("full")
        self.assertRaises(StoreFullError, self.slice)
        self.error = None
        self.assertTrue(self.sweeping.put([2]))
        self.assertFalse(self.slice())
        self.assertEqual(self.slices, [[1, 2]])
