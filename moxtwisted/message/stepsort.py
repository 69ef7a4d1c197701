"""Sorting very many things a step at a time, so that others may have their turn between the steps.

::

    work = sort_in_steps(list(range(100_000)), keys.__getitem__, reverse=False)
    next(work)                       # a few milliseconds of work; StopIteration has the sorted list

Like ``list.sort`` it is stable, in reverse too. What is sorted in one go stays under ``AT_ONCE``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final

__all__ = ["AT_ONCE", "sort_in_steps"]

AT_ONCE: Final = 8192
"""So many items are sorted, and so many merged, in one step: a few milliseconds."""


def sort_in_steps(
    items: list[int], key: Callable[[int], Any], *, reverse: bool = False, at_once: int = AT_ONCE
) -> Generator[None, None, list[int]]:
    """Sort; the list that was given may be changed.

    :param key: of an item, as of ``list.sort``.
    """
    if len(items) <= at_once:
        items.sort(key=key, reverse=reverse)
        return items
    runs = []
    for start in range(0, len(items), at_once):
        run = items[start : start + at_once]
        run.sort(key=key, reverse=reverse)
        runs.append(run)
        yield
    while len(runs) > 1:
        merged = []
        for at in range(0, len(runs), 2):
            if at + 1 < len(runs):
                merged.append((yield from _merged(runs[at], runs[at + 1], key, reverse, at_once)))
            else:
                merged.append(runs[at])
        runs = merged
    return runs[0]


def _merged(
    left: list[int], right: list[int], key: Callable[[int], Any], reverse: bool, at_once: int
) -> Generator[None, None, list[int]]:
    """Two sorted runs in one; of equals those on the left come first."""
    whole: list[int] = []
    at_left = at_right = 0
    while at_left < len(left):
        end_left = min(at_left + at_once, len(left))
        # Whatever stands before the last of these on the right as well belongs between them; equals come later.
        end_right = _place(right, at_right, key(left[end_left - 1]), key, reverse=reverse)
        if end_right - at_right > at_once:
            # Too much for one step: the other way round.
            end_right = at_right + at_once
            end_left = _place_behind(left, at_left, key(right[end_right - 1]), key, reverse=reverse)
        part = left[at_left:end_left] + right[at_right:end_right]
        # Two runs, one behind the other: merging them is all that sort() has to do.
        part.sort(key=key, reverse=reverse)
        whole += part
        at_left, at_right = end_left, end_right
        yield
    return whole + right[at_right:]


def _place(run: list[int], start: int, bound: Any, key: Callable[[int], Any], *, reverse: bool) -> int:
    """The first place from ``start`` on whose item does not come before ``bound``."""
    end = len(run)
    while start < end:
        middle = (start + end) // 2
        at = key(run[middle])
        if (at > bound) if reverse else (at < bound):
            start = middle + 1
        else:
            end = middle
    return start


def _place_behind(run: list[int], start: int, bound: Any, key: Callable[[int], Any], *, reverse: bool) -> int:
    """The first place from ``start`` on whose item comes behind ``bound``."""
    end = len(run)
    while start < end:
        middle = (start + end) // 2
        at = key(run[middle])
        if (at < bound) if reverse else (at > bound):
            end = middle
        else:
            start = middle + 1
    return start
