"""The write-ahead log of a database: how full it is, room for what comes, and writing it back beside the writer.

::

    log = WriteAheadLog(path)
    log.committed(connection)       # after each transaction
    log.pages                       # how many it has, about
    write_back(connect)             # in another thread; then log.written_back()
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw

__all__ = ["PAGE_SIZE", "WriteAheadLog", "write_back"]

# Measured with group commits of 50 deliveries of 4 KB: 37, 26, 27 us each for 4, 8, 16 KiB; alone 267, 331, 400.
PAGE_SIZE: Final = 8192
#: The log of a busy database grows by so many octets at a time. Syncing 56 KB into space that is there takes 240 us and
#: 80 us of CPU; when it makes the file longer, the file system's journal commits too: 330 and 130 us.
_LOG_STEP: Final = 1 << 18
_ZEROS: Final = bytes(_LOG_STEP)
#: Commits without a step before: an account that is opened for one message keeps a small file. With 16, a third of fifty deliveries
#: made the file longer.
_LOG_PATIENCE: Final = 4
_FRAME_HEADER: Final = 24
_FRAME: Final = PAGE_SIZE + _FRAME_HEADER
#: So many octets of a log that begins anew are in the system's memory before they are overwritten, if it has to read them from the disk.
_AHEAD: Final = 1 << 18
#: After a pause of so many seconds they may have gone from there.
_PAUSE: Final = 1.0


class WriteAheadLog:
    """The write-ahead log of one database: how full it is, and room for what comes.

    SQLite takes zeros behind the last frame for the end of the log, as it takes what is left there from before.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-wal")
        self._handle: int | None = None
        self._allocated = 0
        #: Up to where it is in the system's memory.
        self._warm = 0
        self._last = 0.0
        self._written = 0
        self._patience = _LOG_PATIENCE
        #: Whether it may have begun anew since its pages were counted.
        self._doubtful = True
        self.pages = 0
        #: Whether room is so short that none is taken before it is needed.
        self.frugal = False

    def handle(self) -> int:
        """The file, open as long as the database is; no other lock or state of SQLite's hangs on it."""
        if self._handle is None:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        return self._handle

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def committed(self, connection: Any) -> None:
        """A transaction is over: count what it wrote, and see that there is room for the next ones.

        The pages that the connection wrote are counted, which costs nothing; SQLite's own hook would want the interpreter in the
        middle of every commit. That the log began anew only SQLite knows: it is asked when the count says that something is to be done.
        """
        written = connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
        if written == self._written:
            return
        self.pages += written - self._written
        self._written = written
        self._last = time.monotonic()
        self._warm_up()
        if self._short():
            self._patience -= 1
            if self._patience < 0 and not self.frugal:
                if self._doubtful:
                    self.measure(connection)
                if self._short():
                    self._grow(self.pages * _FRAME)

    def expect(self) -> None:
        """A commit comes: after a pause have in memory again what it overwrites."""
        if time.monotonic() - self._last > _PAUSE:
            self._warm = 0
            self._warm_up()

    def _warm_up(self) -> None:
        """Have what is overwritten next in the system's memory.

        Frames begin and end within its pages: of one that is not there it has to read what is around them, each by itself, while the
        writer waits.
        """
        end = self.pages * _FRAME
        if self._warm < min(end + _AHEAD // 2, self._allocated):
            start = max(end, self._warm)
            self._warm = start + _AHEAD
            with suppress(AttributeError, OSError):
                # Not every system has it; what is not in memory is read later.
                os.posix_fadvise(self.handle(), start, _AHEAD, os.POSIX_FADV_WILLNEED)

    def _short(self) -> bool:
        return self.pages * _FRAME + _LOG_STEP // 4 > self._allocated

    def measure(self, connection: Any) -> None:
        """Ask SQLite how many pages the log has."""
        pages = max(0, connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0])
        self._doubtful &= pages >= self.pages
        self.pages = pages

    def written_back(self) -> None:
        """It is in the file; the next commit begins it anew, unless somebody reads it."""
        self.pages = self._warm = 0
        self._doubtful = True
        self._warm_up()

    def size(self) -> int:
        """Octets of its file."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def emptied(self) -> None:
        """It was written back and is empty."""
        self._allocated = 0
        self.written_back()

    def _grow(self, end: int) -> None:
        try:
            handle = self.handle()
            size = os.fstat(handle).st_size
            if size < end + _LOG_STEP // 4:
                size += os.pwrite(handle, _ZEROS, max(size, end))
            self._allocated = size
        except OSError:
            # No room: the next commit will say so, or not need it.
            self._patience = _LOG_PATIENCE


def write_back(connect: Callable[[], Any]) -> None:
    """Write a log back into its file over a connection of one's own; neither readers nor the writer wait for it."""
    connection = connect()
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.pragma("synchronous", "FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    finally:
        connection.close()
