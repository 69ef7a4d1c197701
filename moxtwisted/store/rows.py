"""Reading columns of messages: one statement for each set of columns, as few octets touched as possible."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

import apsw

from moxtwisted.store.interfaces import Column

__all__ = ["read_rows"]

_EXPRESSIONS: Final = {
    Column.SIZE: "m.size",
    Column.INTERNALDATE: "m.internaldate",
    Column.SAVEDATE: "m.savedate",
    Column.BODY: "m.body",
    Column.THREAD: "b.thread",
    Column.ENVELOPE: "b.envelope",
    Column.BODYSTRUCTURE: "b.bodystructure",
    Column.FIELDS: "b.fields",
    Column.PREVIEW: "b.preview",
    Column.PARTS: "b.parts",
    Column.HEADER_SIZE: "b.header_size",
    Column.PREFIX_SIZE: "length(b.prefix)",
}
_OF_MESSAGE: Final = Column.SIZE | Column.INTERNALDATE | Column.SAVEDATE | Column.BODY

_STATEMENTS: dict[int, tuple[str, str]] = {}


def _statements(columns: int) -> tuple[str, str]:
    """(for a range of UIDs, for any UIDs)."""
    known = _STATEMENTS.get(columns)
    if known is None:
        wanted = ", ".join(["m.uid", *(_EXPRESSIONS[column] for column in Column if column & columns)])
        body = " CROSS JOIN body b ON b.id = m.body" if columns & ~_OF_MESSAGE else ""
        by_range = f"SELECT {wanted} FROM message m{body} WHERE m.mailbox = ? AND m.uid BETWEEN ? AND ?"
        by_array = (
            f"SELECT {wanted} FROM carray(?) k"
            f" CROSS JOIN message m ON m.mailbox = ? AND m.uid = k.value{body}"
        )
        known = _STATEMENTS[columns] = by_range, by_array
    return known


def read_rows(
    connection: Any, mailbox: int, uids: Sequence[int], columns: Column, *, dense: bool = False
) -> list[tuple[Any, ...]]:
    """(uid, column, …) of those that exist, ascending.

    :param uids: ascending.
    :param dense: the mailbox has no other messages between the first and the last of them.
    """
    if not uids:
        return []
    by_range, by_array = _statements(columns)
    if dense or uids[-1] - uids[0] < len(uids):
        found: list[tuple[Any, ...]] = connection.execute(by_range, (mailbox, uids[0], uids[-1])).fetchall()
    else:
        found = connection.execute(by_array, (apsw.carray(array("q", uids)), mailbox)).fetchall()
    return found
