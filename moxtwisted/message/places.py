"""Where messages stand among others, many at a time.

Whoever keeps a mailbox in memory has columns, one value for each message in the order of their UIDs, and is told of changes by UID::

    uids = array("I", [3, 4, 7, 9])
    places = places_of(uids, [4, 7])                     # range(1, 3)
    pick(flags, places)                                  # those of the two
    uids, flags = without(places, uids, flags)           # what is left

What is often said of all messages, or of a run of them, costs next to nothing: it is a ``range`` then. Else it is some 0.1 µs a message.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import compress
from typing import Any, Final, TypeVar

__all__ = ["pick", "places_of", "without"]

_T = TypeVar("_T")

#: So many are looked for one by one, and taken out piece by piece; to look through the whole column is quicker for more.
_FEW: Final = 64


def places_of(uids: array[int], wanted: Sequence[int]) -> Sequence[int]:
    """The places in ``uids`` of those that are there.

    :param uids: ascending.
    :param wanted: ascending, too.
    """
    if len(wanted) <= _FEW:
        found = []
        for uid in wanted:
            place = bisect_left(uids, uid)
            if place < len(uids) and uids[place] == uid:
                found.append(place)
        return found
    first, end = bisect_left(uids, wanted[0]), bisect_right(uids, wanted[-1])
    if end - first == len(wanted) and uids[first:end] == (
        wanted if isinstance(wanted, array) else array(uids.typecode, wanted)
    ):
        return range(first, end)
    # All of it is a loop of the interpreter's own, twice as fast as one of ours.
    return list(compress(range(first, end), map(set(wanted).__contains__, uids[first:end])))


def pick(column: Sequence[_T], places: Sequence[int]) -> Sequence[_T]:
    """The values at these places."""
    if isinstance(places, range) and places.step == 1:
        return column[places.start : places.stop]
    return [column[place] for place in places]


def without(places: Sequence[int], *columns: Any) -> list[Any]:
    """New columns without the values at these places, which ascend.

    :param columns: arrays or lists of the same length.
    """
    if isinstance(places, range) and places.step == 1:
        return [column[: places.start] + column[places.stop :] for column in columns]
    if len(places) <= _FEW:
        return [_pieces(column, places) for column in columns]
    kept = bytearray(b"\1") * len(columns[0])
    for place in places:
        kept[place] = 0
    return [_like(column, compress(column, kept)) for column in columns]


def _like(column: Any, values: Any) -> Any:
    return array(column.typecode, values) if isinstance(column, array) else list(values)


def _pieces(column: Any, places: Sequence[int]) -> Any:
    left = column[:0]
    start = 0
    for place in places:
        left += column[start:place]
        start = place + 1
    left += column[start:]
    return left
