"""Sequence sets: which messages a command is about (RFC 9051 section 9, ``sequence-set``).

A set is kept as ranges, never as members, so that ``1:4294967295`` costs nothing::

    >>> wanted = SequenceSet.parse(b"1:3,7,100:*")
    >>> wanted.members([2, 3, 5, 7, 12])      # UIDs that exist, ascending
    [2, 3, 7, 12]
    >>> compact([1, 2, 3, 7])
    b'1:3,7'

``*`` (the largest number in use) is kept as ``STAR``, and ``$`` (the saved result of the last SEARCH) as
``saved=True`` without ranges.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import frozen

__all__ = [
    "MAX_NUMBER",
    "STAR",
    "IndexRanges",
    "SequenceError",
    "SequenceSet",
    "compact",
    "compact_ascending",
    "compact_in_parts",
    "compact_ranges",
]

STAR = 0
"""Stands for ``*`` in a range; no message has the number 0."""

MAX_NUMBER = 0xFFFFFFFF
"""The largest ``nz-number`` (RFC 9051 section 9)."""

MAX_RANGES = 1_000_000
"""The most ranges that a set may be made of; a command line of 16 KB holds about 8,000."""

PART = 8192
"""So many numbers make one part of a long list of them."""

IndexRanges = list[tuple[int, int]]
"""Half-open index ranges, ascending, neither overlapping nor touching."""

_ITEM = rb"(?:[1-9][0-9]{0,9}|\*)"
_SET = re.compile(_ITEM + rb"(?::" + _ITEM + rb")?(?>(?:," + _ITEM + rb"(?::" + _ITEM + rb")?)*)")


class SequenceError(ValueError):
    """The octets are no sequence set, or it is over a limit."""


def _range(item: bytes) -> tuple[int, int]:
    """The ordered range of one ``seq-number`` or ``seq-range``; ``STAR`` stands last."""
    first, colon, last = item.partition(b":")
    low = STAR if first == b"*" else int(first)
    if not colon:
        return low, low
    high = STAR if last == b"*" else int(last)
    # RFC 9051 section 9, seq-range: the two ends may come in either order.
    if high != STAR and (low == STAR or low > high):
        return high, low
    return low, high


@frozen
class SequenceSet:
    """A set of sequence numbers or UIDs.

    :ivar ranges: (first, last) pairs as they were given, each with first <= last; ``last`` is ``STAR`` for a
        range
        up to ``*`` and both are for ``*`` alone. Pairs may overlap and come in any order.
    :ivar saved: whether this is ``$``, the saved search result (RFC 9051 section 6.4.4.1); ``ranges`` is
        empty then.
    """

    ranges: tuple[tuple[int, int], ...] = ()
    saved: bool = False

    @classmethod
    def parse(cls, text: bytes, *, max_ranges: int = MAX_RANGES) -> SequenceSet:
        """Read a whole ``sequence-set``.

        :raise SequenceError: for a syntax error, a number above 4294967295, or more than ``max_ranges``
            ranges.
        """
        if text == b"1:*":
            return EVERYTHING
        if text == b"$":
            return SAVED
        # First, since matching keeps its place for each range.
        if text.count(b",") >= max_ranges:
            raise SequenceError("too many ranges in the sequence set")
        if _SET.fullmatch(text) is None:
            raise SequenceError("not a sequence set")
        ranges = tuple([_range(item) for item in text.split(b",")])
        if len(text) >= 10 and any(low > MAX_NUMBER or high > MAX_NUMBER for low, high in ranges):
            raise SequenceError("number above 4294967295 in the sequence set")
        return cls(ranges)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> SequenceSet:
        """The set of these numbers, each from 1 to 4294967295, ascending.

        :raise SequenceError: there are others among them.
        """
        listed = list(numbers)
        if listed and not (min(listed) > 0 and max(listed) <= MAX_NUMBER):
            raise SequenceError("numbers of messages are 1 to 4294967295")
        return cls(tuple(compact_ranges(listed)))

    def render(self) -> bytes:
        """The set as octets of the wire; empty for the empty set, which the wire has no form for."""
        if self.saved:
            return b"$"
        return _join(self.ranges)

    def up_to(self, last: int) -> SequenceSet:
        """The set with ``last``, which is not 0, in the place of ``*``."""
        return SequenceSet(
            tuple([(min(low or last, high or last), max(low, high or last)) for low, high in self.ranges])
        )

    def index_ranges(self, known: Sequence[int]) -> IndexRanges:
        """Where the members lie in ``known``.

        :param known: the numbers that exist, ascending without duplicates (a list or an ``array``).
        :return: half-open ranges of indexes into ``known``: ascending, disjoint, merged. ``*`` is the last of
            ``known``;
            nothing is in an empty one.
        """
        if not known:
            return []
        end = len(known)
        star = known[-1]
        found: IndexRanges = []
        for low, high in self.ranges:
            if high == STAR:
                # RFC 9051 section 9: 3291:* holds the last message even if its number is below 3291.
                start = end - 1 if low == STAR or low > star else bisect_left(known, low)
                found.append((start, end))
                continue
            start = bisect_left(known, low)
            stop = bisect_right(known, high, start)
            if start < stop:
                found.append((start, stop))
        return _merge(found)

    def members(self, known: Sequence[int]) -> list[int]:
        """Those of ``known`` (ascending, no duplicates) that are in the set, ascending."""
        found: list[int] = []
        for start, stop in self.index_ranges(known):
            found.extend(known[start:stop])
        return found

    def number_ranges(self, count: int) -> IndexRanges:
        """The members among the sequence numbers 1 to ``count``, as half-open ranges of indexes (number - 1)."""
        return self.index_ranges(range(1, count + 1))

    def exceeds(self, count: int) -> bool:
        """Whether the set names a sequence number that a mailbox of ``count`` messages does not have.

        RFC 9051 section 9, seq-number: such a command should be answered BAD; so should ``*`` if there is no
        message.
        """
        if not count:
            return bool(self.ranges)
        return any(low > count or high > count for low, high in self.ranges)

    def contains(self, number: int, largest: int) -> bool:
        """Whether ``number`` is in the set when ``largest`` is the number that ``*`` stands for."""
        for low, high in self.ranges:
            if high == STAR:
                if number == largest or (low != STAR and low <= number <= largest):
                    return True
            elif low <= number <= high:
                return True
        return False

    def has_star(self) -> bool:
        """Whether ``*`` occurs; some data items (known UIDs of QRESYNC) must not have it."""
        return any(high == STAR for _, high in self.ranges)


EVERYTHING = SequenceSet(((1, STAR),))
"""``1:*``."""

SAVED = SequenceSet((), saved=True)
"""``$``."""


def _merge(found: IndexRanges) -> IndexRanges:
    """Sort ranges and join those that overlap or touch."""
    if len(found) < 2:
        return found
    found.sort()
    merged: IndexRanges = []
    current_start, current_stop = found[0]
    for start, stop in found:
        if start > current_stop:
            merged.append((current_start, current_stop))
            current_start, current_stop = start, stop
        elif stop > current_stop:
            current_stop = stop
    merged.append((current_start, current_stop))
    return merged


def compact_ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers as inclusive (first, last) pairs.

    :param numbers: ascending; a number that follows itself is taken once.
    """
    found: list[tuple[int, int]] = []
    first = last = -1
    for number in numbers:
        if number == last + 1:
            last = number
        elif number != last:
            if first >= 0:
                found.append((first, last))
            first = last = number
    if first >= 0:
        found.append((first, last))
    return found


def _join(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Ranges as octets, ``STAR`` as ``*``."""
    return ",".join(
        [
            (str(low) if low else "*") if low == high else f"{low}:{high}" if high else f"{low}:*"
            for low, high in ranges
        ]
    ).encode("ascii")


def compact(numbers: Iterable[int]) -> bytes:
    """Ascending numbers in the shortest form, ``1:5,7``; empty for none."""
    return _join(compact_ranges(numbers))


def compact_in_parts(numbers: Callable[[int, int], Sequence[int]], count: int) -> Iterator[bytes]:
    """The same as ``compact``, of very many, in parts that belong one behind the other.

    :param numbers: ``numbers(start, stop)`` gives some of them, from 0.
    :param count: how many there are.
    """
    last: list[tuple[int, int]] = []
    for start in range(0, count, PART):
        ranges = compact_ranges(numbers(start, min(start + PART, count)))
        if last and ranges[0][0] == last[0][1] + 1:
            # A run goes on behind the end of its part.
            ranges[0] = (last[0][0], ranges[0][1])
        elif last:
            ranges[:0] = last
        last = ranges[-1:]
        if len(ranges) > 1:
            yield _join(ranges[:-1]) + b","
    if last:
        yield _join(last)


def compact_ascending(numbers: Sequence[int]) -> bytes:
    """The same, and nothing to do for numbers that all follow each other.

    :param numbers: ascending, none twice.
    """
    if numbers and numbers[-1] - numbers[0] == len(numbers) - 1:
        return _join([(numbers[0], numbers[-1])])
    return compact(numbers)
