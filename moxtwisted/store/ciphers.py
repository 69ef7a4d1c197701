"""What the pages of a database are encrypted with.

A file says itself what it was made with, in its first 16 octets, so that every one opens wherever it is brought to::

    cipher_of(path)                             # Cipher.CHACHA20, say
    unlock(connection, key, cipher_of(path))    # before anything is read
    preferred_cipher()                          # for a new file: what is faster on this machine
    copy_database(connection, target, key, preferred_cipher())

There SQLite has ``SQLite format 3`` and SQLite3 Multiple Ciphers puts the salt from which it would derive a key. Ours are derived
already, so that nothing needs a salt: files of ChaCha20 have a random one, those of AEGIS a mark. ``docs/design/decisions.rst`` says
why it is these two, and what a page looks like.
"""

from __future__ import annotations

import os
import tempfile
import time
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

import apsw

from moxtwisted.errors import StoreUnavailableError

__all__ = ["Cipher", "cipher_of", "copy_database", "preferred_cipher", "unlock"]

_MARK: Final = b"moxtwisted AEGIS"
#: Pages that are read to find out what is faster, and how often.
_TRIAL_PAGES: Final = 32
_TRIALS: Final = 5


class Cipher(Enum):
    """What files are encrypted with; the value is its name for people."""

    # RFC 8439 section 2.8: ChaCha20 and Poly1305, in an arrangement of SQLite3 Multiple Ciphers' own.
    CHACHA20 = "ChaCha20-Poly1305"
    AEGIS = "AEGIS-256"


#: The settings of SQLite3 Multiple Ciphers, as it names them.
_SETTINGS: Final[dict[Cipher, dict[str, str]]] = {
    Cipher.CHACHA20: {"cipher": "chacha20"},
    Cipher.AEGIS: {"cipher": "aegis", "algorithm": "aegis-256"},
}


def _spelt(key: bytes, cipher: Cipher) -> str:
    """A key as it is, not a passphrase; and the mark of a file that is made with it."""
    return f"raw:{key.hex()}{_MARK.hex() if cipher is Cipher.AEGIS else ''}"


def cipher_of(path: Path) -> Cipher:
    """What a database file is encrypted with, if it is.

    :raises StoreUnavailableError: when it cannot be looked at: with too many files open, say, nothing is known of its key.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # Who opens it will say so.
        return Cipher.CHACHA20
    except OSError as e:
        raise StoreUnavailableError(f"{path}: {e.strerror}") from e
    try:
        return Cipher.AEGIS if os.pread(handle, len(_MARK), 0) == _MARK else Cipher.CHACHA20
    finally:
        os.close(handle)


def unlock(connection: Any, key: bytes, cipher: Cipher) -> None:
    """Give a connection its key; nothing is read yet.

    :param key: 32 octets, used as they are.
    :param cipher: that of its file; a new file becomes one of it.
    """
    settings = {**_SETTINGS[cipher], "key": _spelt(key, cipher)}
    connection.execute("".join(f"PRAGMA {name} = '{value}';" for name, value in settings.items())).fetchall()


def copy_database(connection: Any, target: Path, key: bytes | None, cipher: Cipher) -> None:
    """Write all that a connection sees into a new file with another key, or none; nothing else is written anywhere.

    It is not on disk yet.

    :param connection: opened so that names may be URIs.
    :raises apsw.Error: :raises OSError: when that cannot be done; then remove what is there.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    settings = {**_SETTINGS[cipher], "key": _spelt(key, cipher)} if key is not None else {"key": ""}
    query = "&".join(f"{name}={value.replace(' ', '%20')}" for name, value in settings.items())
    connection.execute("VACUUM INTO ?", (f"{target.absolute().as_uri()}?{query}",)).fetchall()


# -- what is faster ----------------------------------------------------------------------------------------------------


@cache
def preferred_cipher() -> Cipher:
    """AEGIS if it reads pages faster than ChaCha20 here, found out by reading some: 4 ms, once in a process.

    That is so where SQLite3 Multiple Ciphers has AES instructions of the processor to use, by a factor of four. Without
    them AEGIS is slower by as much, and is not promised to keep its key from others who watch the processor's caches.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="moxmail-") as folder:
            return _faster(Path(folder))
    except (OSError, apsw.Error):
        return Cipher.CHACHA20


def _faster(folder: Path) -> Cipher:
    trials = {cipher: _trial(folder / cipher.name, cipher) for cipher in Cipher}
    try:
        times: dict[Cipher, list[float]] = {cipher: [] for cipher in Cipher}
        for _ in range(_TRIALS):
            for cipher, connection in trials.items():
                begin = time.thread_time()
                connection.execute("SELECT count(*) FROM page WHERE octets IS NULL").fetchall()
                times[cipher].append(time.thread_time() - begin)
    finally:
        for connection in trials.values():
            connection.close()
    return min(Cipher, key=lambda cipher: min(times[cipher]))


def _trial(path: Path, cipher: Cipher) -> Any:
    """A connection to a file of which every page is read anew."""
    connection = apsw.Connection(str(path))
    unlock(connection, bytes(32), cipher)
    connection.execute(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = 1;"
        "CREATE TABLE page (octets BLOB)"
    ).fetchall()
    with connection:
        connection.executemany("INSERT INTO page VALUES (zeroblob(?))", [(7000,)] * _TRIAL_PAGES)
    return connection
