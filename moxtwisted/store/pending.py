"""Rows that a transaction is going to write, and how they are written with as few steps as can be.

Every step of a statement gives up the interpreter, and the thread has to win it back from a busy reactor: that costs more than most
statements do. So what the writer's jobs change waits here until the transaction ends or somebody reads it::

    pending = Pending()
    pending.insert_message(row)
    pending.touches(mailbox, uid)                        # True: write before you read that message
    pending.write_alone(connection, mailboxes) or ...    # all in one statement, which is a transaction of its own
    pending.write(connection)                            # in a transaction, many rows with few statements

A few rows are written in one step: a temporary view of the writer's connection takes rows for any of the tables, and its triggers
put each where it belongs. SQLite makes a statement outside of a transaction a transaction by itself, so that BEGIN and COMMIT
are no steps either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from moxtwisted.store.insertion import insert_rows

__all__ = ["Pending", "set_mailboxes"]

_Row = tuple[Any, ...]

#: Rows and octets that wait, at most.
_ROWS: Final = 64
_OCTETS: Final = 1 << 20
#: Rows that one step takes: as many as there are, or up to the next of these numbers with rows that are for no table.
_LENGTHS: Final = (2, 4, 8, 16)
#: SQLite makes a copy of the rows for the triggers; that of a larger chunk would cost more than a step.
_STEP_OCTETS: Final = 1 << 16

_COLUMNS: Final = "abcdefghij"
_BODY, _CHUNK, _MESSAGE, _FLAGS, _GONE, _REFS, _UNJUDGED, _MAILBOX = range(1, 9)
_NOTHING: Final = (0,) + (None,) * len(_COLUMNS)

_SET_FLAGS: Final = "UPDATE message SET flags = ?, keywords = ?, modseq = ? WHERE mailbox = ? AND uid = ?"
_DELETE: Final = "DELETE FROM message WHERE mailbox = ? AND uid = ?"
_EXPUNGED: Final = "INSERT INTO expunged (mailbox, modseq, uid) VALUES (?, ?, ?)"
_REFER: Final = "UPDATE body SET refs = refs + ? WHERE id = ?"
_UNJUDGE: Final = "INSERT OR IGNORE INTO unjudged VALUES (?)"
_SET_MAILBOX: Final = (
    "UPDATE mailbox SET uidnext = ?, special_use = ?, modseq = ?, messages = ?, unseen = ?,"
    " deleted = ?, size = ?, deleted_size = ? WHERE id = ?"
)


def _with(statement: str, columns: str) -> str:
    """The statement with columns of a trigger's row instead of the question marks."""
    pieces = statement.split("?")
    return (
        "".join([f"{piece}NEW.{column}" for piece, column in zip(pieces, columns, strict=False)]) + pieces[-1]
    )


def _insert(table: str, width: int) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * width)})"


_INSERT_BODY: Final = _insert("body", 7)
_INSERT_CHUNK: Final = _insert("chunk", 3)
_INSERT_MESSAGE: Final = _insert("message", 10)

#: What is done with a row of each kind; the letters are the places of the question marks' values in the row.
_TRIGGERS: Final = {
    _BODY: ((_INSERT_BODY, "abcdefg"),),
    _CHUNK: ((_INSERT_CHUNK, "abc"),),
    _MESSAGE: ((_INSERT_MESSAGE, "abcdefghij"),),
    _FLAGS: ((_SET_FLAGS, "abcde"),),
    _GONE: ((_DELETE, "ac"), (_EXPUNGED, "abc")),
    _REFS: ((_REFER, "ab"),),
    _UNJUDGED: ((_UNJUDGE, "a"),),
    _MAILBOX: ((_SET_MAILBOX, "abcdefghi"),),
}


def _view() -> str:
    columns = ", ".join(f"0 AS {column}" for column in ("kind", *_COLUMNS))
    made = [f"CREATE TEMP VIEW IF NOT EXISTS step AS SELECT {columns};"]
    for kind, statements in _TRIGGERS.items():
        does = "; ".join(_with(*statement) for statement in statements)
        made.append(
            f"CREATE TEMP TRIGGER IF NOT EXISTS step_{kind} INSTEAD OF INSERT ON step"
            f" WHEN NEW.kind = {kind} BEGIN {does}; END;"
        )
    return "\n".join(made)


_VIEW: Final = _view()
_STEPS: Final = {
    length: "INSERT INTO temp.step VALUES " + ", ".join([f"({', '.join('?' * len(_NOTHING))})"] * length)
    for length in _LENGTHS
}


class Pending:
    """What one account's transaction is going to write; rows as their tables have them.

    :ivar full: whether so much waits that it should be written.
    """

    def __init__(self) -> None:
        self._prepared = False
        self.clear()

    def clear(self) -> None:
        """Forget all of it."""
        self._bodies: list[_Row] = []
        self._chunks: list[_Row] = []
        self._messages: list[_Row] = []
        self._flags: list[_Row] = []
        self._gone: list[_Row] = []
        self._refs: list[_Row] = []
        self._unjudged: list[_Row] = []
        self._touched: set[tuple[int, int]] = set()
        self._octets = self._rows = 0

    def __bool__(self) -> bool:
        return self._rows > 0

    @property
    def full(self) -> bool:
        """Whether so much waits that it should be written."""
        return self._rows >= _ROWS or self._octets > _OCTETS

    def touches(self, mailbox: int, uid: int) -> bool:
        """Whether something that waits is about this message."""
        return (mailbox, uid) in self._touched

    # -- what waits ----------------------------------------------------------------------------------------------

    def insert_body(self, row: _Row) -> None:
        """A row of ``body``."""
        self._bodies.append(row)
        self._rows += 1

    def insert_chunk(self, row: _Row) -> None:
        """A row of ``chunk``."""
        self._chunks.append(row)
        self._octets += len(row[2])
        self._rows += 1

    def insert_message(self, row: _Row) -> None:
        """A row of ``message``."""
        self._messages.append(row)
        self._touched.add(row[:2])
        self._rows += 1

    def set_flags(self, row: _Row) -> None:
        """(flags, keywords, modseq, mailbox, uid) of a message that was written."""
        self._flags.append(row)
        self._touched.add(row[3:])
        self._rows += 1

    def expunge(self, mailbox: int, modseq: int, uid: int) -> None:
        """A message that was written goes, and ``expunged`` keeps that it was there."""
        self._gone.append((mailbox, modseq, uid))
        self._touched.add((mailbox, uid))
        self._rows += 1

    def refer(self, count: int, body: int) -> None:
        """So many messages more, or fewer, name this body, which was written."""
        self._refs.append((count, body))
        self._rows += 1

    def unjudge(self, body: int) -> None:
        """What a body is may have changed (``moxtwisted.store.judgements``)."""
        self._unjudged.append((body,))
        self._rows += 1

    # -- writing -------------------------------------------------------------------------------------------------

    def write(self, connection: Any) -> None:
        """Write all of it inside a transaction."""
        if self._bodies:
            insert_rows(connection, _INSERT_BODY, self._bodies)
        if self._chunks:
            insert_rows(connection, _INSERT_CHUNK, self._chunks)
        if self._messages:
            insert_rows(connection, _INSERT_MESSAGE, self._messages)
        execute = connection.execute
        for row in self._flags:
            execute(_SET_FLAGS, row)
        for mailbox, modseq, uid in self._gone:
            execute(_DELETE, (mailbox, uid))
            execute(_EXPUNGED, (mailbox, modseq, uid))
        for row in self._refs:
            execute(_REFER, row)
        for row in self._unjudged:
            execute(_UNJUDGE, row)
        self.clear()

    def write_alone(self, connection: Any, mailboxes: Sequence[_Row]) -> bool:
        """Outside of a transaction: write all of it and these mailboxes in one step, as a transaction, if that can be done.

        :param mailboxes: as ``set_mailboxes`` takes them.
        :returns: False: it is too much; nothing was done.
        """
        count = self._rows + len(mailboxes)
        if count > _LENGTHS[-1] or self._octets > _STEP_OCTETS:
            return False
        if not count:
            return True
        values: list[Any] = []
        for kind, rows in (
            (_BODY, self._bodies),
            (_CHUNK, self._chunks),
            (_MESSAGE, self._messages),
            (_FLAGS, self._flags),
            (_GONE, self._gone),
            (_REFS, self._refs),
            (_UNJUDGED, self._unjudged),
            (_MAILBOX, mailboxes),
        ):
            for row in rows:
                values += (kind, *row, *_NOTHING[len(row) + 1 :])
        for length in _LENGTHS:
            if length >= count:
                values += _NOTHING * (length - count)
                break
        if not self._prepared:
            connection.execute(_VIEW).fetchall()
            self._prepared = True
        connection.execute(_STEPS[length], values)
        self.clear()
        return True


def set_mailboxes(connection: Any, rows: Sequence[_Row]) -> None:
    """Write rows of ``mailbox``: (uidnext, special_use, modseq, messages, unseen, deleted, size, deleted_size, id)."""
    for row in rows:
        connection.execute(_SET_MAILBOX, row)
