"""What is remembered of what was read, bounded for the whole process.

A server has many accounts and little memory: so what accounts remember, to answer the next question faster, is in one place that all of
them share. It forgets what was not asked for the longest time::

    memory = Remembered(16 * 1024 * 1024)
    memory.put((owner, "vocabulary"), vocabulary, octets)
    memory.get((owner, "vocabulary"))                      # None: it was forgotten, or never put

Nothing here is more than a copy: losing it costs time only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

__all__ = ["SEARCH_OCTETS", "Remembered"]

#: For what searches remember: about 20 octets for each different word of an account, and the text of the header fields
#: that are searched.
SEARCH_OCTETS: Final = 24 * 1024 * 1024

Key = tuple[int, ...] | tuple[int, str] | tuple[int, int, bytes]


class Remembered:
    """Values by key, at most so many octets of them.

    :ivar octets: how many they are now.
    """

    def __init__(self, limit_octets: int) -> None:
        self._limit = limit_octets
        self._values: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._owners = 0
        self.octets = 0

    def owner(self) -> int:
        """A number that begins the keys of one account, and of no other."""
        self._owners += 1
        return self._owners

    def get(self, key: Key) -> Any | None:
        """The value; it is remembered longer now."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Key, value: Any, octets: int) -> None:
        """Remember it instead of what was there, unless it alone would take more than half of the room."""
        old = self._values.pop(key, None)
        if old is not None:
            self.octets -= old[1]
        if octets > self._limit // 2:
            return
        self._values[key] = value, octets
        self.octets += octets
        while self.octets > self._limit:
            self.octets -= self._values.popitem(last=False)[1][1]

    def forget(self, owner: int) -> None:
        """Whatever one account remembers."""
        for key in [key for key in self._values if key[0] == owner]:
            self.octets -= self._values.pop(key)[1]
