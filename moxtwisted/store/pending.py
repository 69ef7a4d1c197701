"""Rows that a transaction is going to write, and how they are written with as few steps as can be.

Every step of a statement gives up the interpreter, and the thread has to win it back from a busy reactor: that costs more than most
statements do. So what the writer's jobs change waits here until the transaction ends or somebody reads it::

    pending = Pending()
    pending.insert_message(row)
    pending.touches(mailbox, uid)                        # True: write before you read that message
    pending.write_alone(connection, mailboxes)           # in one statement, if it is one of the usual changes
    pending.write(connection)                            # in a transaction, many rows with few statements

The usual changes of one message are written in one step: a temporary view of the writer's connection takes all of their values as a
row, and its trigger puts them where they belong. SQLite makes a statement outside of a transaction a transaction by itself, so that
BEGIN and COMMIT are no steps either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from moxtwisted.store.insertion import insert_rows

__all__ = ["Pending", "set_mailboxes"]

_Row = tuple[Any, ...]

#: Rows and octets that wait, at most.
_ROWS: Final = 128
_OCTETS: Final = 1 << 20

_BODY, _CHUNK, _MESSAGE, _FLAGS, _GONE, _REFS, _UNJUDGED = range(7)


def _insert(table: str, width: int) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * width)})"


#: What is done with a row of each kind, in this order. The values of a row are those of its statements, one behind the other.
_STATEMENTS: Final = {
    _BODY: (_insert("body", 7),),
    _CHUNK: (_insert("chunk", 3),),
    _MESSAGE: (_insert("message", 10),),
    _FLAGS: ("UPDATE message SET flags = ?, keywords = ?, modseq = ? WHERE mailbox = ? AND uid = ?",),
    _GONE: (
        "DELETE FROM message WHERE mailbox = ? AND uid = ?",
        "INSERT INTO expunged (mailbox, modseq, uid) VALUES (?, ?, ?)",
    ),
    _REFS: ("UPDATE body SET refs = refs + ? WHERE id = ?",),
    _UNJUDGED: ("INSERT OR IGNORE INTO unjudged VALUES (?)",),
}
_INSERTED: Final = frozenset((_BODY, _CHUNK, _MESSAGE))
_SET_MAILBOX: Final = (
    "UPDATE mailbox SET uidnext = ?, special_use = ?, modseq = ?, messages = ?, unseen = ?,"
    " deleted = ?, size = ?, deleted_size = ? WHERE id = ?"
)


class _Alone:
    """How a change of these kinds is written with one mailbox in one step.

    :ivar make: makes the view.
    :ivar write: writes into it; the values are those of the rows, one behind the other, and the mailbox's.
    """

    def __init__(self, name: str, *kinds: int) -> None:
        statements = [*(statement for kind in kinds for statement in _STATEMENTS[kind]), _SET_MAILBOX]
        columns = [f"c{number}" for number in range("".join(statements).count("?"))]
        names = iter(columns)
        does = "; ".join(
            [re.sub(r"\?", lambda _: f"NEW.{next(names)}", statement) for statement in statements]
        )
        view = ", ".join(f"0 AS {column}" for column in columns)
        self.make = (
            f"CREATE TEMP VIEW IF NOT EXISTS {name} AS SELECT {view};"
            f"CREATE TEMP TRIGGER IF NOT EXISTS {name}_row INSTEAD OF INSERT ON {name} BEGIN {does}; END"
        )
        self.write = _insert(f"temp.{name}", len(columns))


_ALONE: Final[dict[tuple[int, ...], _Alone]] = {
    kinds: _Alone(name, *kinds)
    for name, kinds in (
        ("delivery", (_BODY, _CHUNK, _MESSAGE)),
        ("change", (_FLAGS,)),
        ("removal", (_GONE, _REFS)),
    )
}


class Pending:
    """What one account's transaction is going to write; rows as their tables have them."""

    def __init__(self) -> None:
        self._made: set[tuple[int, ...]] = set()
        self.clear()

    def clear(self) -> None:
        """Forget all of it."""
        self._kinds: list[int] = []
        self._rows: list[_Row] = []
        self._touched: set[tuple[int, int]] = set()
        self._octets = 0

    def __bool__(self) -> bool:
        return bool(self._rows)

    @property
    def full(self) -> bool:
        """Whether so much waits that it should be written."""
        return len(self._rows) >= _ROWS or self._octets > _OCTETS

    def touches(self, mailbox: int, uid: int) -> bool:
        """Whether something that waits is about this message."""
        return (mailbox, uid) in self._touched

    # -- what waits ----------------------------------------------------------------------------------------------

    def _add(self, kind: int, row: _Row) -> None:
        self._kinds.append(kind)
        self._rows.append(row)

    def insert_body(self, row: _Row) -> None:
        """A row of ``body``."""
        self._add(_BODY, row)

    def insert_chunk(self, row: _Row) -> None:
        """A row of ``chunk``."""
        self._add(_CHUNK, row)
        self._octets += len(row[2])

    def insert_message(self, row: _Row) -> None:
        """A row of ``message``."""
        self._add(_MESSAGE, row)
        self._touched.add(row[:2])

    def set_flags(self, row: _Row) -> None:
        """(flags, keywords, modseq, mailbox, uid) of a message that was written."""
        self._add(_FLAGS, row)
        self._touched.add(row[3:])

    def expunge(self, mailbox: int, modseq: int, uid: int) -> None:
        """A message that was written goes, and ``expunged`` keeps that it was there."""
        self._add(_GONE, (mailbox, uid, mailbox, modseq, uid))
        self._touched.add((mailbox, uid))

    def refer(self, count: int, body: int) -> None:
        """So many messages more, or fewer, name this body, which was written."""
        self._add(_REFS, (count, body))

    def unjudge(self, body: int) -> None:
        """What a body is may have changed (``moxtwisted.store.judgements``)."""
        self._add(_UNJUDGED, (body,))

    # -- writing -------------------------------------------------------------------------------------------------

    def write(self, connection: Any) -> None:
        """Write all of it inside a transaction."""
        kinds: dict[int, list[_Row]] = {}
        for kind, row in zip(self._kinds, self._rows, strict=True):
            kinds.setdefault(kind, []).append(row)
        for kind, statements in _STATEMENTS.items():
            rows = kinds.get(kind)
            if rows is None:
                continue
            if kind in _INSERTED:
                insert_rows(connection, statements[0], rows)
                continue
            for row in rows:
                at = 0
                for statement in statements:
                    end = at + statement.count("?")
                    connection.execute(statement, row[at:end])
                    at = end
        self.clear()

    def write_alone(self, connection: Any, mailboxes: Sequence[_Row]) -> bool:
        """Outside of a transaction: write all of it and a mailbox in one step, as a transaction, if it is a usual change.

        :param mailboxes: as ``set_mailboxes`` takes them.
        :returns: False: it is not; nothing was done. True also when there is nothing to be done.
        """
        kinds = tuple(self._kinds)
        alone = _ALONE.get(kinds)
        if alone is None or len(mailboxes) != 1:
            return not kinds and not mailboxes
        if kinds not in self._made:
            connection.execute(alone.make).fetchall()
            self._made.add(kinds)
        connection.execute(alone.write, [value for row in (*self._rows, *mailboxes) for value in row])
        self.clear()
        return True


def set_mailboxes(connection: Any, rows: Sequence[_Row]) -> None:
    """Write rows of ``mailbox``: (uidnext, special_use, modseq, messages, unseen, deleted, size, deleted_size, id)."""
    for row in rows:
        connection.execute(_SET_MAILBOX, row)
