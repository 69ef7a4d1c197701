"""HEADER.FIELDS from the fields of a message that the backend keeps ready, as literals.

::

    literals = literals_of(frozenset((b"from", b"subject")))
    literals([b"From: a\\r\\nTo: b\\r\\n"])         # [b"{11}\\r\\nFrom: a\\r\\n\\r\\n"]

A program asks for the same fields all the time, and several programs of a user do: what was made is remembered by the fields it was
made of, 24 MiB for all accounts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

__all__ = ["literals_of"]

#: So many octets are remembered, and one batch more; then all is forgotten.
_REMEMBERED: Final = 24 * 1024 * 1024
#: What an entry takes beside its two values: their headers and its place.
_ENTRY_OCTETS: Final = 170
#: Sets of names.
_SETS: Final = 16


class _Memory:
    """How much all sets of names remember together.

    :ivar age: grows when all is to be forgotten.
    """

    def __init__(self) -> None:
        self.octets = 0
        self.age = 0

    def take(self, octets: int) -> None:
        """So many more are remembered."""
        self.octets += octets + _ENTRY_OCTETS
        if self.octets > _REMEMBERED:
            self.octets = 0
            self.age += 1


_MEMORY: Final = _Memory()


class _Literals:
    """Those of one set of names."""

    def __init__(self, names: frozenset[bytes]) -> None:
        alternatives = b"|".join(sorted(map(re.escape, names)))
        # A field begins a line and goes on over lines that begin with a blank. Most of what is kept is wanted: so the rest is
        # taken out, which begins with an octet that is found fast.
        self._without = re.compile(
            rb"\n(?!(?:%b)[ \t]*:|[ \t]|\Z)[^\n]*(?:\n[ \t][^\n]*)*" % alternatives, re.IGNORECASE
        ).sub
        self._known: dict[bytes, bytes] = {}
        self._age = _MEMORY.age

    def __call__(self, kept: Sequence[bytes]) -> list[bytes]:
        if self._age != _MEMORY.age:
            self._known.clear()
            self._age = _MEMORY.age
        try:
            return list(map(self._known.__getitem__, kept))
        except KeyError:
            return list(map(self._literal, kept))

    def _literal(self, fields: bytes) -> bytes:
        found = self._known.get(fields)
        if found is None:
            chosen = self._without(b"", b"\n" + fields)
            # The line feed in front of the first field ends the line with the size.
            found = self._known[fields] = b"{%d}\r%b\r\n" % (len(chosen) + 1, chosen)
            _MEMORY.take(len(fields) + len(found))
        return found


@lru_cache(maxsize=_SETS)
def literals_of(names: frozenset[bytes]) -> Callable[[Sequence[bytes]], list[bytes]]:
    """A function from the kept fields of messages to literals of those with these names.

    :param names: in lower case; all are among those that are kept.
    """
    return _Literals(names)
