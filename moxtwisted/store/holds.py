"""What somebody reads stays until he has done with it, though nothing names it any more.

::

    holds.hold(body)                 # somebody begins to read
    holds.left([body, other])        # [other]: that can go now
    holds.unpin(body)                # True: he has done, and it can go now
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field

__all__ = ["Holds"]


@define(eq=False)
class Holds:
    """By the number of what is read."""

    _counts: dict[int, int] = field(factory=dict, init=False)
    _left: set[int] = field(factory=set, init=False)

    def hold(self, number: int) -> None:
        """Somebody begins to read it."""
        self._counts[number] = self._counts.get(number, 0) + 1

    def unpin(self, number: int) -> bool:
        """Somebody has done; whether it can go now."""
        self._counts[number] -= 1
        if self._counts[number]:
            return False
        del self._counts[number]
        if number in self._left:
            self._left.discard(number)
            return True
        return False

    def left(self, numbers: Iterable[int]) -> list[int]:
        """Nothing names these any more; those of them that nobody reads."""
        free = []
        for number in numbers:
            if number in self._counts:
                self._left.add(number)
            else:
                free.append(number)
        return free

    def __contains__(self, number: int) -> bool:
        return number in self._counts

    def __iter__(self) -> Iterator[int]:
        return iter(self._counts)
