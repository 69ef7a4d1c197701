"""Another key for the store, or none: ``moxmail key rotate`` and ``moxmail key off``.

It works on closed files and holds the lock of the data directory, so that no server can start meanwhile::

    change_key(loaded, MasterKey.generate(), progress)     # None: decrypt

First every database is really read, through the log that a killed server may have left: one that opens with neither key
is a refusal before anything is changed. Each database is written into a new file, with the new key and the cipher that new
ones have here, and that takes the database's place by a rename. Before the first, the new key is put beside the key file
(``store.key.next``); after the last, all are read with it, and only then it becomes the key file. When that is cut short,
some databases have the one key and some the other, and the server refuses to start (`read_key` sees the file); asking for
a change again finishes the one that was begun, with the key that was noted.

The key before is kept as ``store.key.old`` until a start has found that every database opens with the new one
(`moxtwisted.config.oldkey`).

Copies that a migration left (``*.before-NNNN``) keep the key that they were made with.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from moxtwisted.config.atomic import replace_file
from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.config.load import LoadedConfig, load
from moxtwisted.config.oldkey import keep_old_key, old_key_path
from moxtwisted.config.storekey import configured_key, file_text, parse_key, pending_path, write_key
from moxtwisted.errors import KeyRefusedError, StoreFullError, StoreUnavailableError
from moxtwisted.server.control.interfaces import Progress
from moxtwisted.store.ciphers import copy_database, preferred_cipher
from moxtwisted.store.database import connect, databases, read_with, remove_database, sync_directory
from moxtwisted.store.keys import MasterKey, write_key_check
from moxtwisted.store.room import disk_is_full

__all__ = ["change_key", "restore_owner"]

_OFF: Final = "off"


def change_key(loaded: LoadedConfig, new: MasterKey | None, progress: Progress) -> None:
    """Write everything with another key, or without one.

    :raises KeyRefusedError: when the key is the operator's (environment, credential), or not that of the files.
    :raises StoreUnavailableError: when a server runs.
    :raises StoreFullError: when there is no room for a copy of the largest database.
    """
    store = loaded.static.store
    if store.key_environment or store.key_credential:
        raise KeyRefusedError(
            "the key comes from the environment or a credential: it cannot be changed from here"
        )
    with _held(loaded.data_directory):
        note = pending_path(loaded)
        if note.exists():
            begun = _noted(note)
            _convert(_planned(loaded, begun), progress)
            _finish(loaded, begun)
            loaded = load(loaded.static_path)
            if (begun is None) == (new is None):
                return
        planned = _planned(loaded, new)
        # Never half of it: what a kill leaves is a whole note or none.
        replace_file(note, b"off\n" if new is None else file_text(new.secret), 0o600)
        _convert(planned, progress)
        _finish(loaded, new)


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold the lock that a server holds."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise StoreUnavailableError(f"{directory}: {e.strerror}") from e
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreUnavailableError(f"{directory} is in use: stop the server first (moxmail stop)") from None
    finally:
        os.close(descriptor)


def _noted(note: Path) -> MasterKey | None:
    text = note.read_text("ascii", "replace")
    return None if text.strip() == _OFF else MasterKey(parse_key(text))


_Plan = list[tuple[Path, bytes | None, bytes | None]]


def _planned(loaded: LoadedConfig, new: MasterKey | None) -> _Plan:
    """(file, its key, its new key) of the databases that do not have the new key yet; nothing is changed.

    :raises KeyRefusedError: when one opens with neither.
    """
    old = configured_key(loaded)
    current = MasterKey(old) if old is not None else None
    planned: _Plan = []
    for path, name in databases(loaded.data_directory):
        if not _opens(path, name, new):
            if not _opens(path, name, current):
                raise KeyRefusedError(
                    f"{path} is not written with the key that the configuration names; nothing was changed"
                )
            had = current.derive(name) if current is not None else None
            planned.append((path, had, new.derive(name) if new is not None else None))
    return planned


def _opens(path: Path, name: str, key: MasterKey | None) -> bool:
    try:
        read_with(path, key.derive(name) if key is not None else None)
    except KeyRefusedError:
        return False
    return True


def _convert(planned: _Plan, progress: Progress) -> None:
    """Give every database the new key that does not have it yet."""
    for done, (path, had, wanted) in enumerate(planned):
        progress(done, len(planned), "databases")
        _rewrite(path, had, wanted)
    progress(len(planned), len(planned), "databases")


def _rewrite(path: Path, had: bytes | None, wanted: bytes | None) -> None:
    """Put a copy with the other key into the place of a database."""
    import apsw

    copy = path.with_name(path.name + ".rekey")
    remove_database(copy)
    try:
        _write_log_back(path, had)
        connection = connect(path, had)
        try:
            copy_database(connection, copy, wanted, preferred_cipher())
        finally:
            connection.close()
        connection = connect(copy, wanted)
        try:
            problems = connection.execute("PRAGMA quick_check(1)").get
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        finally:
            connection.close()
        if problems != "ok":
            raise StoreUnavailableError(f"{path}: the copy with the new key is not sound: {problems}")
        with copy.open("rb") as f:
            os.fsync(f.fileno())
    except (OSError, apsw.Error) as e:
        remove_database(copy)
        if isinstance(e, OSError) or disk_is_full(e):
            raise StoreFullError(f"{path}: no room for a copy: {e}") from e
        raise StoreUnavailableError(f"{path}: cannot be copied: {e}") from e
    status = path.stat()
    copy.chmod(status.st_mode & 0o777)
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(copy, status.st_uid, status.st_gid)
    for suffix in ("-wal", "-shm"):
        # They are empty, and would not fit to the new file.
        for file in (path, copy):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    copy.replace(path)
    sync_directory(path.parent)


def _write_log_back(path: Path, key: bytes | None) -> None:
    """What the log of a killed server holds goes into the file."""
    connection = connect(path, key)
    try:
        connection.execute("PRAGMA synchronous = FULL").fetchall()
        busy, frames, written = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
    finally:
        connection.close()
    if busy or frames != written:
        raise StoreUnavailableError(f"{path}: its log cannot be written back: another process uses it")


def _finish(loaded: LoadedConfig, new: MasterKey | None) -> None:
    """When all databases can be read with the new key: make it the configured one.

    :raises KeyRefusedError: when one cannot; the old key is untouched, and the change can be asked for again.
    """
    for path, name in databases(loaded.data_directory):
        read_with(path, new.derive(name) if new is not None else None)
    write_key_check(loaded.data_directory / "key-check", new)
    key_file = loaded.resolve(loaded.static.store.key_file)
    if configured_key(loaded) != (new.secret if new is not None else None):
        keep_old_key(key_file)
    if new is not None:
        write_key(loaded, new.secret)
    if loaded.static.store.encryption != (new is not None):
        ConfigurationEditor(loaded.static_path).set_encryption(new is not None)
    pending_path(loaded).unlink(missing_ok=True)
    restore_owner(loaded)


def restore_owner(loaded: LoadedConfig) -> None:
    """After work as root: what it made in the data directory belongs to whom the directory belongs to."""
    if os.geteuid() != 0:
        return
    directory = loaded.data_directory
    with suppress(FileNotFoundError):
        owner = directory.stat()
        for path in directory.rglob("*"):
            with suppress(FileNotFoundError):
                if path.lstat().st_uid != owner.st_uid:
                    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    key_file = loaded.resolve(loaded.static.store.key_file)
    for key in (key_file, old_key_path(key_file)):
        with suppress(FileNotFoundError):
            status = key.parent.stat()
            if key.stat().st_uid == 0 and status.st_uid != 0:
                os.chown(key, status.st_uid, status.st_gid)
