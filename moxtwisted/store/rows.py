"""Reading columns of messages: one statement for each set of columns, as few octets touched as possible."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw
from attrs import frozen

from moxtwisted.store.facts import PACKED_COLUMNS, picker
from moxtwisted.store.interfaces import Column

__all__ = ["read_rows"]

_EXPRESSIONS: Final = {
    Column.SIZE: "m.size",
    Column.INTERNALDATE: "m.internaldate",
    Column.SAVEDATE: "m.savedate",
    Column.BODY: "m.body",
    Column.THREAD: "b.thread",
    Column.HEADER_SIZE: "b.header_size",
    Column.PREFIX_SIZE: "b.prefix_size",
}
_OF_MESSAGE: Final = Column.SIZE | Column.INTERNALDATE | Column.SAVEDATE | Column.BODY

_Row = tuple[Any, ...]


@frozen
class _Plan:
    """How a set of columns is read.

    :ivar by_range: statement for a range of UIDs; ``by_array`` for any UIDs.
    :ivar before: how many of the plain columns come before the packed ones, the uid included.
    :ivar pick: takes the wanted columns out of the packed value, which the statement gives last; None when none is wanted.
    """

    by_range: str
    by_array: str
    before: int
    pick: Callable[[bytes], _Row] | None


_PLANS: dict[int, _Plan] = {}


def _plan(columns: int) -> _Plan:
    known = _PLANS.get(columns)
    if known is None:
        plain = [column for column in Column if column & columns & ~PACKED_COLUMNS]
        packed = columns & PACKED_COLUMNS
        wanted = ["m.uid", *(_EXPRESSIONS[column] for column in plain), *(["b.facts"] if packed else [])]
        body = " CROSS JOIN body b ON b.id = m.body" if columns & ~_OF_MESSAGE else ""
        known = _PLANS[columns] = _Plan(
            f"SELECT {', '.join(wanted)} FROM message m{body} WHERE m.mailbox = ? AND m.uid BETWEEN ? AND ?",
            f"SELECT {', '.join(wanted)} FROM carray(?) k"
            f" CROSS JOIN message m ON m.mailbox = ? AND m.uid = k.value{body}",
            1 + sum(column < Column.ENVELOPE for column in plain),
            picker(packed) if packed else None,
        )
    return known


def read_rows(
    connection: Any, mailbox: int, uids: Sequence[int], columns: Column, *, dense: bool = False
) -> list[_Row]:
    """(uid, column, …) of those that exist, ascending.

    :param uids: ascending.
    :param dense: the mailbox has no other messages between the first and the last of them.
    """
    if not uids:
        return []
    plan = _plan(columns)
    if dense or uids[-1] - uids[0] < len(uids):
        found: list[_Row] = connection.execute(plan.by_range, (mailbox, uids[0], uids[-1])).fetchall()
    else:
        found = connection.execute(plan.by_array, (apsw.carray(array("q", uids)), mailbox)).fetchall()
    pick, before = plan.pick, plan.before
    if pick is None:
        return found
    if found and len(found[0]) == before + 1:
        return [row[:-1] + pick(row[-1]) for row in found]
    return [row[:before] + pick(row[-1]) + row[before:-1] for row in found]
