"""What is known of messages besides their octets and flags, unpacked and kept for the next question.

Clients ask for the envelopes of a folder whenever they open it. To read a message's columns takes 0.7 µs, to unpack them 2 µs,
to cut them up another two; none of them ever changes. So they are kept as tuples, 256 neighbours together, as long as there is room::

    kept = KeptRows(Remembered(ROWS_OCTETS))
    kept.rows(connection, state, uids, Column.SIZE | Column.ENVELOPE)      # [(7, 4711, b"(...)"), ...]
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import apsw

from moxtwisted.store.changes import MailboxState
from moxtwisted.store.facts import PACKED_COLUMNS, unpack_columns
from moxtwisted.store.interfaces import Column
from moxtwisted.store.remembered import Remembered
from moxtwisted.store.rows import read_rows

__all__ = ["ROWS_OCTETS", "KeptRows"]

#: For all accounts together. A message takes 1.7 KB.
ROWS_OCTETS: Final = 32 * 1024 * 1024
#: So many UIDs are in one block: two to the power of this.
_BLOCK_BITS: Final = 8
#: What a message's row takes besides the octets of its columns: a tuple, eight numbers, five strings, its place in a dictionary.
_ROW_OCTETS: Final = 700

_Row = tuple[Any, ...]

_BY_RANGE: Final = (
    "SELECT m.uid, m.size, m.internaldate, m.savedate, m.body, b.thread, b.facts, b.header_size, b.prefix_size"
    " FROM message m CROSS JOIN body b ON b.id = m.body WHERE m.mailbox = ? AND m.uid BETWEEN ? AND ?"
)
_BY_ARRAY: Final = (
    "SELECT m.uid, m.size, m.internaldate, m.savedate, m.body, b.thread, b.facts, b.header_size, b.prefix_size"
    " FROM carray(?) k CROSS JOIN message m ON m.mailbox = ? AND m.uid = k.value CROSS JOIN body b ON b.id = m.body"
)


@lru_cache(maxsize=64)
def _picker(columns: int) -> Callable[[_Row], _Row]:
    """From a whole row to (uid, column, …)."""
    places = [1 + place for place, column in enumerate(Column) if column & columns]
    if not places:
        return lambda row: row[:1]
    picked: Callable[[_Row], _Row] = itemgetter(0, *places)
    return picked


class KeptRows:
    """The rows of one account; the memory is shared with others."""

    def __init__(self, memory: Remembered) -> None:
        self._memory = memory
        self._owner = memory.owner()

    def share(self, memory: Remembered) -> None:
        """Use this memory."""
        self.__init__(memory)  # type: ignore[misc]

    def forget(self) -> None:
        """Messages were rendered again."""
        self._memory.forget(self._owner)

    def rows(
        self, connection: Any, state: MailboxState | None, mailbox: int, uids: Sequence[int], columns: Column
    ) -> list[_Row]:
        """(uid, column, …) of those that exist, ascending.

        :param state: of that mailbox, if it is in memory: only then it is known what exists without a look into the database.
        :param uids: ascending.
        """
        if state is None or not uids or uids[-1] >= state.uidnext or not state.exists:
            return read_rows(connection, mailbox, uids, columns)
        known = state.uids
        first, end = bisect_left(known, uids[0]), bisect_right(known, uids[-1])
        dense = end - first == len(uids) and known[first:end] == array("I", uids)
        if not columns & PACKED_COLUMNS:
            if dense and len(uids) == 1:
                # Clients mostly ask for the octets of what they have seen the envelope of.
                row = self._block((self._owner, mailbox, uids[0] >> _BLOCK_BITS))[0].get(uids[0])
                if row is not None:
                    return [_picker(columns)(row)]
            return read_rows(connection, mailbox, uids, columns, dense=dense)
        if not dense:
            there = set(known[first:end])
            uids = [uid for uid in uids if uid in there]
        return list(map(_picker(columns), self._whole(connection, mailbox, uids, dense=dense)))

    def _block(self, key: tuple[int, int, int]) -> tuple[dict[int, _Row], int]:
        """Its rows by UID, and their octets. A block is never changed: who counts a new one's octets must see all of it."""
        found: tuple[dict[int, _Row], int] = self._memory.get(key) or ({}, 0)
        return found

    def _whole(self, connection: Any, mailbox: int, uids: Sequence[int], *, dense: bool) -> list[_Row]:
        memory, owner = self._memory, self._owner
        found: list[_Row] = []
        at = 0
        while at < len(uids):
            block = uids[at] >> _BLOCK_BITS
            end = bisect_left(uids, (block + 1) << _BLOCK_BITS, at)
            wanted = uids[at:end]
            key = (owner, mailbox, block)
            kept, octets = self._block(key)
            try:
                found += list(map(kept.__getitem__, wanted))
            except KeyError:
                missing = [uid for uid in wanted if uid not in kept]
                new = _read(connection, mailbox, missing, dense=dense and len(missing) == len(wanted))
                kept, octets = kept | new, octets + sum(map(_octets, new.values()))
                memory.put(key, (kept, octets), octets)
                found += [kept[uid] for uid in wanted if uid in kept]
            at = end
        return found


def _octets(row: _Row) -> int:
    return _ROW_OCTETS + len(row[6]) + len(row[7]) + len(row[8]) + 4 * len(row[9]) + len(row[10])


def _read(connection: Any, mailbox: int, uids: Sequence[int], *, dense: bool) -> dict[int, _Row]:
    if dense:
        rows = connection.execute(_BY_RANGE, (mailbox, uids[0], uids[-1])).fetchall()
    else:
        rows = connection.execute(_BY_ARRAY, (apsw.carray(array("q", uids)), mailbox)).fetchall()
    return {row[0]: row[:6] + unpack_columns(row[6]) + row[7:] for row in rows}
