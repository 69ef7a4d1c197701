"""What is remembered has a bound."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.store.remembered import Remembered


class RememberedTests(SynchronousTestCase):
    def test_bound(self) -> None:
        """What was not asked for the longest time is forgotten first, and there is never more than the limit."""
        memory = Remembered(100)
        for number in range(4):
            memory.put((1, number), number, 30)
            memory.get((1, 0))
        self.assertEqual([memory.get((1, number)) for number in range(4)], [0, None, 2, 3])
        self.assertEqual(memory.octets, 90)

    def test_replace(self) -> None:
        """A new value takes the place of the old one, also in the count."""
        memory = Remembered(100)
        memory.put((1, "a"), 1, 30)
        memory.put((1, "a"), 2, 40)
        self.assertEqual((memory.get((1, "a")), memory.octets), (2, 40))

    def test_too_large(self) -> None:
        """A value that would drive out most of the others is not remembered, nor is the one it replaces."""
        memory = Remembered(100)
        memory.put((1, "a"), 1, 30)
        memory.put((1, "a"), 2, 60)
        self.assertEqual((memory.get((1, "a")), memory.octets), (None, 0))

    def test_owners(self) -> None:
        """An account's values are forgotten without the others'."""
        memory = Remembered(100)
        first, second = memory.owner(), memory.owner()
        memory.put((first, "a"), 1, 30)
        memory.put((second, "a"), 2, 30)
        memory.forget(first)
        self.assertEqual((memory.get((first, "a")), memory.get((second, "a")), memory.octets), (None, 2, 30))
