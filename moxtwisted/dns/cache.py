"""Answers that were had, for as long as they may be kept, in bounded memory.

::

    cache = Cache(entries=20_000, octets=16 * 2**20)
    cache.put(("example.org", "MX"), answer, octets=300, now=0.0, ttl_seconds=300)
    cache.get(("example.org", "MX"), now=10.0)       # the answer, with 290 seconds left

What was used longest ago goes first. A failure is kept too (RFC 2308 section 7), as the exception that it raised.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from attrs import define, field

__all__ = ["Cache"]

V = TypeVar("V")

#: What an entry costs beside its content, in octets (measured on CPython 3.11: dictionary, tuple, key).
ENTRY_OCTETS = 400


@define
class Cache(Generic[V]):
    """A mapping that forgets.

    :ivar entries: how many things are kept at most.
    :ivar octets: how much they may take together, as those who put them say.
    """

    entries: int
    octets: int
    used_octets: int = field(init=False, default=0)
    _kept: OrderedDict[Hashable, tuple[float, V, int]] = field(init=False, factory=OrderedDict)

    def get(self, key: Hashable, now: float) -> tuple[V, float] | None:
        """What was put there and the seconds that it has left; None when there is nothing, or no longer."""
        found = self._kept.get(key)
        if found is None:
            return None
        expires, value, _ = found
        if now >= expires:
            self.drop(key)
            return None
        self._kept.move_to_end(key)
        return value, expires - now

    def put(self, key: Hashable, value: V, *, octets: int, now: float, ttl_seconds: float) -> None:
        """Keep something; a TTL of 0 or less, or what is larger than the whole cache, is not kept."""
        self.drop(key)
        octets += ENTRY_OCTETS
        if ttl_seconds <= 0 or octets > self.octets or self.entries < 1:
            return
        self._kept[key] = (now + ttl_seconds, value, octets)
        self.used_octets += octets
        while len(self._kept) > self.entries or self.used_octets > self.octets:
            _, (_, _, freed) = self._kept.popitem(last=False)
            self.used_octets -= freed

    def drop(self, key: Hashable) -> None:
        """Forget what is there."""
        found = self._kept.pop(key, None)
        if found is not None:
            self.used_octets -= found[2]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self.used_octets = 0

    def __len__(self) -> int:
        return len(self._kept)
