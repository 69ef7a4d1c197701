"""Percentiles against the sorted list of all values, which is what they stand for."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.load.percentiles import PERCENTILES, RELATIVE_ERROR, Histogram

DURATIONS = st.lists(
    st.one_of(
        st.integers(0, 300),
        st.integers(0, 10**13),
        st.integers(0, 43).map(lambda bits: 1 << bits),
        st.integers(1, 43).map(lambda bits: (1 << bits) - 1),
    ),
    min_size=1,
    max_size=200,
)
PERCENTS = st.floats(0.001, 100)


def histogram_of(nanoseconds: list[int]) -> Histogram:
    """One that was told these."""
    histogram = Histogram()
    for value in nanoseconds:
        # the middle of the nanosecond, so that the way through floating point does not fall into the one before
        histogram.record((value + 0.5) / 1e9)
    return histogram


class HistogramTests(SynchronousTestCase):
    """The histogram itself."""

    @settings(max_examples=200)
    @given(DURATIONS, PERCENTS)
    def test_percentiles_are_those_of_the_list(self, values: list[int], percent: float) -> None:
        """A percentile is that of the sorted list by nearest rank: never less, and less than 1/128 more."""
        ordered = sorted(values)
        exact = ordered[max(1, math.ceil(round(len(values) * percent / 100, 6))) - 1]
        found = round(histogram_of(values).percentile(percent) * 1e9)
        self.assertGreaterEqual(found, exact)
        self.assertLessEqual(found, exact + exact * RELATIVE_ERROR)

    @settings(max_examples=100)
    @given(DURATIONS)
    def test_summary_is_exact_where_it_can_be(self, values: list[int]) -> None:
        """Count, minimum, maximum and mean are those of the values, and the percentiles rise from one to the other."""
        summary = histogram_of(values).summary()
        self.assertEqual(summary["count"], len(values))
        self.assertEqual(round(summary["min"] * 1e9), min(values))
        self.assertEqual(round(summary["max"] * 1e9), max(values))
        self.assertTrue(
            math.isclose(summary["mean"] * 1e9, sum(values) / len(values), rel_tol=1e-9, abs_tol=1)
        )
        rising = [summary["min"], *(summary[f"p{percent:g}"] for percent in PERCENTILES), summary["max"]]
        self.assertEqual(rising, sorted(rising))

    @settings(max_examples=100)
    @given(DURATIONS, DURATIONS)
    def test_addition_is_both_together(self, first: list[int], second: list[int]) -> None:
        """Two histograms added are one of all their values, and the one added stays as it was."""
        together, other = histogram_of(first), histogram_of(second)
        together.add(other)
        self.assertEqual(together.summary(), histogram_of(first + second).summary())
        self.assertEqual(other.summary(), histogram_of(second).summary())

    def test_nothing_recorded(self) -> None:
        """Without values all figures are 0, and adding nothing or to nothing is possible."""
        empty = Histogram()
        self.assertEqual(set(empty.summary().values()), {0})
        empty.add(Histogram())
        self.assertEqual(empty.count, 0)
        empty.add(histogram_of([5]))
        self.assertEqual(empty.summary(), histogram_of([5]).summary())

    def test_beyond_the_last_bucket(self) -> None:
        """What took longer than the buckets reach is counted, and percentiles that fall there are the maximum; a negative time is 0."""
        histogram = histogram_of([1, 1, 1])
        histogram.record(1e6)
        histogram.record(2e6)
        histogram.record(-1.0)
        self.assertEqual(histogram.maximum, 2e6)
        self.assertEqual(histogram.minimum, 0.0)
        self.assertEqual(histogram.percentile(99), 2e6)
        self.assertEqual(histogram.percentile(50) * 1e9, 1)
