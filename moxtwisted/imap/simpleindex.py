"""What a ``SimpleMailbox`` knows from one run of the program to the next: UIDs and flags, in a file.

::

    index = MailboxIndex("notes.index", reactor.seconds)    # made when it is not there
    notes = Notes(index)                                    # instead of a UIDVALIDITY

Without it UIDs begin anew with each run, and clients fetch all messages again. The file is one of SQLite's, which one program has at a
time; what a client is told is on disk before. When it is lost nothing else is: the next one has another UIDVALIDITY. It belongs to one
mailbox.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import PathLike, fsdecode
from typing import Any, Final

from moxtwisted.errors import MailError, StoreFullError, StoreInUseError, StoreUnavailableError
from moxtwisted.message.flags import MessageFlags

__all__ = ["MailboxIndex"]

#: ``PRAGMA application_id``: no other database is taken for one.
_APPLICATION: Final = 0x6D784958
_VERSION: Final = 1
#: Modification sequences of one run of the program are above all those of the run before (RFC 7162 section 3.1).
_RUN_BITS: Final = 32

_SCHEMA: Final = f"""
    CREATE TABLE about (uidvalidity INTEGER NOT NULL, runs INTEGER NOT NULL);
    CREATE TABLE messages (uid INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, flags TEXT NOT NULL);
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_VERSION};
"""


class MailboxIndex:
    """UIDs and flags of the messages of one mailbox.

    :param path: of the file.
    :param seconds: the clock, seconds since 1970; the UIDVALIDITY of a new file is the time.
    :raises StoreInUseError: another program has it.
    :raises MailError: it cannot be opened or written, or is something else.
    :ivar uidvalidity: 1 to 4,294,967,295.
    :ivar uidnext: the UID of the next message; none is given twice.
    :ivar first_modseq: what this run of the program begins with.
    """

    def __init__(self, path: str | PathLike[str], seconds: Callable[[], float]) -> None:
        self._path = fsdecode(path)
        self._gone: set[int] = set()  # to be forgotten with the next change
        self._taken = False
        with self._told():
            self._database = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            with self._told():
                self._open(int(seconds()))
        except BaseException:
            self._database.close()
            raise

    def _open(self, now: int) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        kind, version, entries = (
            run(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "schema_version")
        )
        if (entries and kind != _APPLICATION) or version > _VERSION:
            what = "is of a later version" if kind == _APPLICATION else "is the database of something else"
            raise MailError(f"{self._path} {what}", public_text="mailbox cannot be opened")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        with self._change():
            if not entries:
                for statement in _SCHEMA.split(";"):
                    run(statement)
                run("INSERT INTO about VALUES (?, 0)", (max(1, min(now, 0xFFFFFFFF)),))
            run("UPDATE about SET runs = runs + 1")
        self.uidvalidity, runs = run("SELECT uidvalidity, runs FROM about").fetchone()
        self.first_modseq = (runs << _RUN_BITS) + 1
        last = run("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
        self.uidnext = (last[0] if last else 0) + 1

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong with the file, for whoever asked for something."""
        try:
            yield
        except sqlite3.Error as e:
            code = getattr(e, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_FULL:
                raise StoreFullError(f"{self._path}: {e}") from e
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise StoreInUseError(f"{self._path}: another program has it") from e
            raise StoreUnavailableError(f"{self._path}: {e}") from e

    @contextmanager
    def _change(self) -> Iterator[None]:
        """All or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            if self._gone:
                # First of all: the key of one of them may be that of a message that comes.
                self._database.executemany(
                    "DELETE FROM messages WHERE uid = ?", [(uid,) for uid in self._gone]
                )
            yield
            self._database.execute("COMMIT")
            self._gone.clear()
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def left(self) -> dict[Any, tuple[int, MessageFlags]]:
        """UID and flags by key of what the last run left, in the order of UIDs; for the one mailbox whose index it is.

        :raises ValueError: another one has it.
        """
        if self._taken:
            raise ValueError(f"{self._path} is the index of another mailbox")
        self._taken = True
        with self._told():
            rows = self._database.execute("SELECT key, uid, flags FROM messages ORDER BY uid").fetchall()
        return {_key(octets): (uid, MessageFlags.parse(flags.split())) for octets, uid, flags in rows}

    def add(self, messages: Iterable[tuple[int, Any, MessageFlags]]) -> None:
        """Take in new messages: UIDs, keys, flags.

        :raises TypeError: a key is none that can be written.
        """
        rows = [(uid, _octets(key), " ".join(flags.names)) for uid, key, flags in messages]
        with self._told(), self._change():
            self._database.executemany("INSERT INTO messages VALUES (?, ?, ?)", rows)

    def remove(self, uids: Sequence[int]) -> None:
        """Forget messages; what cannot be forgotten now is with the next change, or by the next run of the program."""
        self._gone.update(uids)
        with suppress(MailError), self._told(), self._change():
            pass

    def set_flags(self, flags: Mapping[int, MessageFlags]) -> None:
        """Keep other flags, by UID."""
        rows = [(" ".join(of.names), uid) for uid, of in flags.items()]
        with self._told(), self._change():
            self._database.executemany("UPDATE messages SET flags = ? WHERE uid = ?", rows)

    def close(self) -> None:
        """Let others have the file."""
        self._database.close()


def _octets(key: Any) -> bytes:
    """A key as it is written: what kind it is, and itself."""
    match key:
        case str():
            # File names may have octets that are no text.
            return b"s" + key.encode("utf-8", "surrogatepass")
        case int():
            return b"i%d" % key
        case bytes():
            return b"b" + key
    raise TypeError(f"keys of a mailbox with an index are str, int or bytes, not {type(key).__name__}")


def _key(octets: bytes) -> str | int | bytes:
    kind, rest = octets[:1], octets[1:]
    if kind == b"s":
        return rest.decode("utf-8", "surrogatepass")
    return int(rest) if kind == b"i" else rest
