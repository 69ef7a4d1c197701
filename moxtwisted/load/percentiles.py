"""Latencies as a histogram: percentiles with a known error, in bounded memory, merged by addition.

::

    histogram = Histogram()
    histogram.record(0.00123)                  # seconds
    histogram.percentile(99.0)                 # seconds; 0.0 when nothing was recorded
    histogram.add(other)                       # as if both had been one
    histogram.summary()                        # {"count": 1, "min": 0.00123, "mean": …, "p50": …, "p99.9": …, "max": …}

The buckets are log-linear, as in HdrHistogram: below 256 ns each nanosecond has its own, above that each power of two is cut into
128 of equal width. A percentile is given as the upper end of the bucket it falls into (and never above the maximum). So it is never
too small, and too large by less than 1/128, which is 0.8 % (``RELATIVE_ERROR``). Count, minimum, maximum and mean are exact.

Why not the mean of percentiles, or percentiles of samples: neither can be merged, and both hide the worst hundredth, which is what
is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

__all__ = ["PERCENTILES", "RELATIVE_ERROR", "Histogram"]

#: What reports show.
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)

_BITS = 7
_HALF = 1 << _BITS
#: By how much of itself a percentile may be given too large; never too small.
RELATIVE_ERROR = 1 / _HALF
#: 2**44 ns are almost five hours; what is longer is counted in the last bucket, and its maximum is still exact.
_LONGEST_BITS = 44
_BUCKETS = (_LONGEST_BITS - _BITS + 1) << _BITS
_LONGEST = (1 << _LONGEST_BITS) - 1


def _bucket(nanoseconds: int) -> int:
    shift = nanoseconds.bit_length() - _BITS - 1
    return (shift << _BITS) + (nanoseconds >> shift) if shift > 0 else nanoseconds


def _upper_end(bucket: int) -> int:
    """The largest value in nanoseconds that falls into a bucket."""
    shift = (bucket >> _BITS) - 1
    return bucket if shift <= 0 else ((bucket - (shift << _BITS) + 1) << shift) - 1


class Histogram:
    """How often which duration was seen.

    Takes some 40 KB once something was recorded, however much is.

    :ivar count: how many durations.
    """

    __slots__ = ("_counts", "_max", "_min", "_total", "count")

    def __init__(self) -> None:
        self._counts: list[int] = []
        self.count = 0
        self._total = 0
        self._min = 0
        self._max = 0

    def record(self, seconds: float) -> None:
        """Add one duration; a clock that went backwards counts as 0."""
        value = int(seconds * 1e9)
        value = max(value, 0)
        counts = self._counts
        if not counts:
            self._counts = counts = [0] * _BUCKETS
            self._min = value
        elif value < self._min:
            self._min = value
        self._max = max(self._max, value)
        self.count += 1
        self._total += value
        shift = value.bit_length() - 8
        if shift <= 0:
            counts[value] += 1
        elif value <= _LONGEST:
            counts[(shift << 7) + (value >> shift)] += 1
        else:
            counts[-1] += 1

    def add(self, other: Histogram) -> None:
        """Take in what another one has."""
        if not other.count:
            return
        if not self.count:
            self._counts = [0] * _BUCKETS
            self._min = other._min
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self._total += other._total
        self._min = min(self._min, other._min)
        self._max = max(self._max, other._max)

    @property
    def minimum(self) -> float:
        """The shortest, in seconds."""
        return self._min / 1e9

    @property
    def maximum(self) -> float:
        """The longest, in seconds."""
        return self._max / 1e9

    @property
    def mean(self) -> float:
        """In seconds."""
        return self._total / self.count / 1e9 if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The duration in seconds that so many percent did not exceed, by the nearest rank: at most 1/128 too long, never too short.

        :param percent: above 0, to 100.
        """
        return next(self._values((percent,)))

    def _values(self, percents: tuple[float, ...]) -> Iterator[float]:
        """The percentiles, which must rise, in one pass."""
        seen, bucket = 0, -1
        for percent in percents:
            # 99.9 % of 1000 is 999, though floating point says a little more
            rank = max(1, math.ceil(round(self.count * percent / 100, 6)))
            if not self.count:
                yield 0.0
                continue
            while seen < rank:
                bucket += 1
                seen += self._counts[bucket]
            last = bucket == _BUCKETS - 1
            yield (self._max if last else min(self._max, _upper_end(bucket))) / 1e9

    def summary(self) -> dict[str, float]:
        """What reports show: ``count``, then ``min``, ``mean``, ``p50`` … ``p99.9``, ``max`` in seconds."""
        values = dict(
            zip((f"p{percent:g}" for percent in PERCENTILES), self._values(PERCENTILES), strict=True)
        )
        return {"count": self.count, "min": self.minimum, "mean": self.mean, **values, "max": self.maximum}
