"""Sorting in steps is sorting."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.stepsort import sort_in_steps


class StepSortTests(SynchronousTestCase):
    @given(st.lists(st.integers(0, 20), max_size=80), st.booleans(), st.integers(1, 9))
    @settings(max_examples=200)
    def test_as_sorted(self, keys: list[int], reverse: bool, at_once: int) -> None:
        """The order is that of sorted(), what is equal stays in order, and no step is long."""
        work = sort_in_steps(list(range(len(keys))), keys.__getitem__, reverse=reverse, at_once=at_once)
        steps = 0
        while True:
            try:
                next(work)
                steps += 1
            except StopIteration as end:
                found = end.value
                break
        self.assertEqual(found, sorted(range(len(keys)), key=keys.__getitem__, reverse=reverse))
        if len(keys) > at_once:
            self.assertGreaterEqual(steps, len(keys) // at_once)
