"""SQLite databases as the store uses them: encrypted, in WAL mode, migrated, each with one writer and one reader.

A ``Database`` is a file and its two connections::

    database = Database.open(path, key, schema="account")    # KeyRefusedError: another key, nothing was touched
    database.reader.execute("SELECT count(*) FROM message").get
    database.close()

Only the writer threads use ``writer``; ``reader`` is for the reactor's thread. The schema is a row of files
``schema/NAME-0001.sql``, ``NAME-0002.sql``…; ``PRAGMA user_version`` is the number of the newest that was applied.
Before a migration a copy of the whole database (encrypted like it) is put beside it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import apsw
from attrs import define, field

from moxtwisted.errors import KeyRefusedError, StoreFullError, StoreUnavailableError
from moxtwisted.store.ciphers import Cipher, cipher_of, preferred_cipher, unlock
from moxtwisted.store.readahead import Line
from moxtwisted.store.room import Room, disk_is_full
from moxtwisted.store.writeaheadlog import PAGE_SIZE, WriteAheadLog, write_back

__all__ = ["PAGE_SIZE", "Database", "newest_version", "remove_database"]

#: Pages of log after which it is written back into the file: 32 MB.
CHECKPOINT_PAGES: Final = 4000
#: So long may the log become while another thread writes it back; then the writer waits for it.
_PATIENT_PAGES: Final = 16000
#: Every so many pages of log the room on the disk is looked at (4 MB), and when it is scarce, more often.
_LOOK_PAGES: Final = 512
_LOOK_PAGES_SCARCE: Final = 64
#: Pages that are given back to a full file system at once; each may cost a page of log first.
_VACUUM_PAGES: Final = 64
#: How long emptying a log waits for who reads it.
_PATIENCE_MILLISECONDS: Final = 250
#: How long a connection that another thread is just asking is waited for when it is closed; and how often it is looked at; seconds.
_BUSY_SECONDS: Final = 5.0
_BUSY_LOOK_SECONDS: Final = 0.002
#: Page cache of a reading connection, in KiB; all caches together are bounded by L{bound_memory}.
READER_CACHE_KIB: Final = 32_768
WRITER_CACHE_KIB: Final = 8_192
#: SQLite's memory of the whole process from which on page caches are reused instead of growing, octets.
MEMORY_OCTETS: Final = 192 * 1024 * 1024
_SCHEMA: Final = Path(__file__).parent / "schema"
_SIDES: Final = ("-wal", "-shm", "-journal")


@cache
def _read_schema(folder: Path, schema: str) -> tuple[tuple[int, str], ...]:
    files = folder.glob(f"{schema}-[0-9]*.sql")
    found = sorted((int(path.stem.rpartition("-")[2]), path.read_text("utf-8")) for path in files)
    if not found:
        raise StoreUnavailableError(
            f"{folder} has nothing of the schema {schema}: the program is not installed whole"
        )
    return tuple(found)


def _migrations(schema: str) -> tuple[tuple[int, str], ...]:
    """(number, SQL) of a schema, ascending; read once, for an update may replace the files under a running server."""
    return _read_schema(_SCHEMA, schema)


def newest_version(schema: str) -> int:
    """The number of the newest migration that this program knows."""
    return _migrations(schema)[-1][0]


def connect(path: Path, key: bytes | None, *, immutable: bool = False, cipher: Cipher | None = None) -> Any:
    """A bare connection that has its key; nothing was read yet.

    :param key: 32 octets, used as they are; None: the file is not encrypted.
    :param immutable: read the file alone and write nothing beside it.
    :param cipher: for a new file; None: that of the file.
    """
    # URIs for what is attached or copied to.
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    name = str(path)
    if immutable:
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        name = f"{path.absolute().as_uri()}?immutable=1"
    connection = apsw.Connection(name, flags=flags, statementcachesize=160)
    # https://sqlite.org/queryplanner-ng.html#qpsg: else a statement that joins a table with a partial index is compiled anew whenever
    # other values are bound, in case that index is of use for them.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    if key is not None:
        unlock(connection, key, cipher or cipher_of(path))
    return connection


def databases(directory: Path) -> list[tuple[Path, str]]:
    """(file, name that its key is derived from) of all in a data directory."""
    accounts = sorted((directory / "accounts").glob("*.db"))
    found = [(path, "accounts/" + unquote(path.name.removesuffix(".db"))) for path in accounts]
    whole = [(directory / f"{name}.db", name) for name in ("queue", "grants", "bans", "greylist", "reports")]
    return [*found, *((path, name) for path, name in whole if path.exists())]


def check_key(path: Path, key: bytes | None) -> None:
    """Read the first page of a database file without locks, logs or writing.

    A file that was being checkpointed when the machine stopped may be half written; then the log has what is missing,
    and L{_first_look} decides: this alone says yes to every key when there is a log. `read_with` does not.

    :raises KeyRefusedError: when the file is not one written with this key.
    """
    connection = connect(path, key, immutable=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.CorruptError:
        # Shorter than its first page says: that page could be read with this key.
        pass
    except apsw.NotADBError as e:
        if not _has_log(path):
            raise KeyRefusedError(f"{path}: not a database written with this key") from e
    finally:
        connection.close()


def read_with(path: Path, key: bytes | None) -> None:
    """Really read a closed database with a key, through its log if a killed server left one: a row of every table.

    Neither file nor log change, whatever the key is; what SQLite remembers of the log (``-shm``) may.

    :raises KeyRefusedError: when it cannot be read with this key.
    :raises StoreUnavailableError: when the key is right and the file damaged.
    """
    check_key(path, key)
    logged = _has_log(path)
    connection = connect(path, key, immutable=not logged)
    try:
        if logged:
            connection.set_busy_timeout(10_000)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.pragma("query_only", True)
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        ).fetchall()
        if not tables:
            # Nothing in an empty file contradicts a key: any would do.
            raise KeyRefusedError(f"{path}: an empty file, which is written with no key")
        for (name,) in tables:
            connection.execute(f'SELECT * FROM "{name}" LIMIT 1').fetchall()
    except apsw.NotADBError as e:
        raise KeyRefusedError(f"{path}: not a database written with this key") from e
    except apsw.Error as e:
        raise StoreUnavailableError(f"{path} cannot be read: {e}") from e
    finally:
        connection.close()


def _has_log(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _first_look(connection: Any, path: Path) -> None:
    """Read through the log, in a way that leaves file and log alone if the key is wrong."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.NotADBError as e:
        raise KeyRefusedError(f"{path}: not a database written with this key") from e
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


def _configure(connection: Any, *, encrypted: bool) -> None:
    connection.set_busy_timeout(10_000)
    if connection.pragma("page_count") == 0:
        # A file keeps these two. Setting the second anew would write its first page each time that it is opened.
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}; PRAGMA auto_vacuum = INCREMENTAL").fetchall()
    connection.execute(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;"
        f"PRAGMA foreign_keys = ON; PRAGMA cache_size = -{WRITER_CACHE_KIB}; PRAGMA temp_store = MEMORY;"
        # Overwriting what was deleted makes every expunge write the freed pages; encryption has hidden them already.
        f"PRAGMA secure_delete = {'OFF' if encrypted else 'FAST'};"
    ).fetchall()


def open_reader(path: Path, key: bytes | None, cache_kib: int = READER_CACHE_KIB) -> Any:
    """A connection for reading, to a database that is open already."""
    reader = connect(path, key)
    try:
        reader.set_busy_timeout(10_000)
        reader.execute(
            f"PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = MEMORY; PRAGMA query_only = ON"
        ).fetchall()
    except BaseException:
        reader.close()
        raise
    return reader


def _recover(connection: Any) -> None:
    """Bring to disk what a killed server left in the log, before anything stands behind it.

    After a sync that failed the system may go on showing pages that are not on disk, and never write them again.
    """
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except (apsw.FullError, apsw.IOError) as e:
        if not disk_is_full(e):
            raise


def _limit_pages(connection: Any) -> None:
    """Under a limit on the size of files: let no page be made that could not be written back into the file."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY:
        connection.pragma("max_page_count", max(1, limit // PAGE_SIZE))


def bound_memory() -> None:
    """Bound the page caches of the whole process."""
    apsw.soft_heap_limit(MEMORY_OCTETS)


def create_database(
    path: Path, key: bytes | None, schema: str, prepare: str = "", *args: Any, room: Room | None = None
) -> None:
    """Make a database file; it appears under its name when it is complete and on disk.

    :param prepare: SQL that runs, with its arguments, after the schema.
    :param room: of the disk that it is to lie on.
    :raises StoreFullError: when there is no room for it.
    """
    if room is not None and not room.allows(0):
        raise _no_room(path)
    try:
        _create(path, key, schema, prepare, *args)
    except (apsw.FullError, apsw.IOError) as e:
        remove_database(path.with_name(path.name + ".new"))
        if not disk_is_full(e):
            raise
        raise _no_room(path) from e


def _no_room(path: Path) -> StoreFullError:
    return StoreFullError(
        f"{path}: the disk is full; make room on the file system of {path.parent} (a few megabytes), then try again"
    )


def _create(path: Path, key: bytes | None, schema: str, prepare: str, *args: Any) -> None:
    new = path.with_name(path.name + ".new")
    remove_database(new)
    connection = connect(new, key, cipher=preferred_cipher() if key is not None else None)
    try:
        _configure(connection, encrypted=key is not None)
        with connection:
            for number, text in _migrations(schema):
                connection.execute(text)
                connection.pragma("user_version", number)
            if prepare:
                connection.execute(prepare, args or None)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.close()
    new.chmod(0o600)
    new.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have names that were made or removed in a directory on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_database(path: Path) -> None:
    """Delete a closed database: first under its name, so that what is left after a crash is not taken for it."""
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_name(path.name + ".removed"))
    for suffix in (*_SIDES, ".removed"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def migrate(connection: Any, path: Path, key: bytes | None, schema: str) -> None:
    """Bring a database to the newest version, each step in a transaction of its own, after a copy was made.

    The copy is ``NAME.before-NNNN``; a copy of the same step is replaced.

    :raises StoreUnavailableError: when a newer program wrote it.
    """
    version = connection.pragma("user_version")
    if version > newest_version(schema):
        raise StoreUnavailableError(
            f"{path}: version {version} is newer than this program ({newest_version(schema)})"
        )
    for number, text in _migrations(schema):
        if number <= version:
            continue
        _copy_before(connection, path, path.with_name(f"{path.name}.before-{number:04}"), key)
        with connection:
            connection.execute(text)
            connection.pragma("user_version", number)


def _copy_before(connection: Any, path: Path, target: Path, key: bytes | None) -> None:
    unfinished = target.with_name(target.name + ".new")
    remove_database(unfinished)
    # Pages go over as they are, and have room for no other cipher's tags.
    copy = connect(unfinished, key, cipher=cipher_of(path))
    try:
        copy.pragma("page_size", PAGE_SIZE)
        copy.execute("VACUUM").fetchall()
        with copy.backup("main", connection, "main") as backup:
            backup.step(-1)
    finally:
        copy.close()
    unfinished.chmod(0o600)
    with unfinished.open("rb") as f:
        os.fsync(f.fileno())
    unfinished.rename(target)
    sync_directory(target.parent)


@define(eq=False)
class Database:
    """An open database file.

    :ivar writer: for the thread that this database is pinned to (and before it is handed to it).
    :ivar reader: for the reactor's thread; sees what is committed.
    :ivar ahead: what reads ahead from it, with a connection of its own, if anything does.
    :ivar checkpointer: writes long logs back, beside the writer; None: the writer does.
    """

    path: Path
    writer: Any
    reader: Any
    _room: Room | None = None
    _connect: Callable[[], Any] | None = None
    checkpointer: Executor | None = field(default=None, init=False)
    _checkpoint: Future[None] | None = field(default=None, init=False)
    closed: bool = field(default=False, init=False)
    ahead: Line | None = field(default=None, init=False)
    _log: WriteAheadLog = field(init=False)
    #: Pages of log after which to look how much room there is.
    _look_at: int = field(default=_LOOK_PAGES, init=False)
    #: Free octets when the log could not be written back: with no more than that it is not tried again.
    _hopeless: int = field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        self._log = WriteAheadLog(self.path)
        self._log.committed(self.writer)

    @classmethod
    def open(cls, path: Path, key: bytes | None, schema: str, room: Room | None = None) -> Database:
        """Open an existing file and bring it to the newest version; on a full disk the ballast is given up for it.

        :param room: of the disk that it lies on.
        :raises StoreFullError: when there is no room even so.
        :raises KeyRefusedError: when it was not written with this key; nothing was touched.
        :raises StoreUnavailableError: when it is not there, or a newer program wrote it.
        """
        if not path.exists():
            raise StoreUnavailableError(f"{path}: no such database")
        try:
            try:
                return cls._open(path, key, schema, room)
            except (apsw.FullError, apsw.IOError) as e:
                if room is None or not disk_is_full(e) or not room.release():
                    raise
                return cls._open(path, key, schema, room)
        except (apsw.FullError, apsw.IOError) as e:
            if not disk_is_full(e):
                raise
            raise _no_room(path) from e

    @classmethod
    def _open(cls, path: Path, key: bytes | None, schema: str, room: Room | None) -> Database:
        check_key(path, key)
        logged = _has_log(path)
        writer = connect(path, key)
        try:
            _first_look(writer, path)
            _configure(writer, encrypted=key is not None)
            if logged:
                _recover(writer)
            _limit_pages(writer)
            migrate(writer, path, key, schema)
            reader = open_reader(path, key)
        except BaseException:
            writer.close()
            raise
        return cls(path, writer, reader, room, partial(connect, path, key))

    # -- commits that are synced apart ---------------------------------------------------------------------------

    def sync_apart(self) -> Database:
        """From now on COMMIT only writes; who commits syncs the log (``moxtwisted.store.writer.Log``) before he tells anybody.

        Checkpoints sync the log before they write to the file, so that what was not synced can be lost, but nothing else.

        :raises StoreUnavailableError: when the process has too many files open; the database is closed.
        """
        try:
            # Now: a sync must not fail for want of a file.
            self._log.handle()
        except OSError as e:
            self.close()
            raise StoreUnavailableError(f"{self.path}: {e}") from e
        self.writer.pragma("synchronous", "NORMAL")
        return self

    @property
    def prompt(self) -> bool:
        """Whether the next commit is only writing."""
        # The first page of a log is synced by itself, and so is the directory that it is new in.
        return self._log.pages > 0

    @property
    def handle(self) -> int:
        """The log's file."""
        return self._log.handle()

    def expect(self) -> None:
        """Before a commit in the reactor's thread: what it overwrites shall be in the system's memory."""
        self._log.expect()

    def grown(self) -> bool:
        """After a commit in the reactor's thread: count what it wrote; whether there is something to ``tidy``."""
        self._log.committed(self.writer)
        return self._log.pages >= self._look_at or (self._room is not None and self._room.low)

    def tidy(self) -> None:
        """In the writer's thread, after the answers went out: write a full log back into the file."""
        self._log.committed(self.writer)
        if self._room is not None and self._room.low:
            self._give_back(self._room)
        elif self._log.pages >= self._look_at:
            self._log.measure(self.writer)
            if self._log.pages >= self._look_at:
                self._look()

    def _look(self) -> None:
        """The log got longer: write it back if it is long, or if there soon may be no room to write it back."""
        pages, room = self._log.pages, self._room
        self._log.frugal = room is not None and room.scarce(pages * PAGE_SIZE)
        if self._log.frugal:
            self._look_at = _LOOK_PAGES_SCARCE
            if not self._write_back():
                self._look_at += pages
        elif pages >= CHECKPOINT_PAGES and not self._checkpoint_beside(pages):
            # What is left to do after a checkpoint beside us is little; then the log begins anew.
            self._settle()
            self._look_at = _LOOK_PAGES
            self._log.written_back()
            self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        else:
            self._look_at = pages + _LOOK_PAGES

    def _checkpoint_beside(self, pages: int) -> bool:
        """Have another thread write the log back while commits go on; False when it has, cannot, or is too slow."""
        if self._checkpoint is not None:
            return not self._checkpoint.done() and pages < _PATIENT_PAGES
        if self.checkpointer is None or self._connect is None:
            return False
        try:
            self._checkpoint = self.checkpointer.submit(write_back, self._connect)
        except RuntimeError:
            # The store is being closed.
            return False
        return True

    def _settle(self) -> None:
        """Wait for the other thread; whatever it could not do is the writer's to do."""
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is not None and not checkpoint.cancel():
            checkpoint.exception()

    def make_room(self, spare: bool) -> bool:
        """In the writer's thread, after a transaction found no room: write the log back; whether that gained any.

        :param spare: whether the ballast may be given up.
        """
        if self._room is None:
            return self._write_back()
        if self._write_back(hopeful=spare):
            return True
        if spare and self._room.release():
            self._write_back()
            return True
        return False

    def _write_back(self, *, hopeful: bool = True) -> bool:
        """Write the log back and empty its file; whether there is more room now.

        :param hopeful: also when it failed before, and nothing has changed since.
        """
        self._settle()
        free = self._room.free() if self._room is not None else 0
        if not hopeful and free <= self._hopeless:
            return False
        size = self._log.size()
        try:
            self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.writer.set_busy_timeout(_PATIENCE_MILLISECONDS)
            with contextlib.suppress(apsw.BusyError):  # somebody reads: it is used again from its start later
                self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.FullError, apsw.IOError) as e:
            if not disk_is_full(e):
                raise
            self._hopeless = free
            return False
        finally:
            self.writer.set_busy_timeout(10_000)
        self._hopeless = -1
        self._log.emptied()
        return size > 0

    def _give_back(self, room: Room) -> None:
        """While the ballast is gone: shorten log and file until it can be made again."""
        while self._write_back() or self.writer.pragma("freelist_count"):
            if room.restore():
                return
            before = self.writer.pragma("page_count")
            try:
                self.writer.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
            except (apsw.FullError, apsw.IOError) as e:
                if not disk_is_full(e):
                    raise
                return
            if self.writer.pragma("page_count") >= before:
                return

    def close(self) -> None:
        """Checkpoint the log into the file and close all connections; idempotent."""
        if self.closed:
            return
        self.closed = True
        if self.ahead is not None:
            self.ahead.close()
        self._settle()
        _close(self.reader)
        _close(self.writer)
        self._log.close()


def _close(connection: apsw.Connection) -> None:
    """Close a connection. Another thread may just be asking it something, which it finishes, and nothing is asked after that."""
    latest = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.close()
        except apsw.ThreadingViolationError:
            if time.monotonic() > latest:
                raise
            time.sleep(_BUSY_LOOK_SECONDS)
        else:
            return
