"""Room on the disk: how much there is, and a ballast that is thrown off when there is none.

Whoever is to make room on a full disk needs some: what deletes messages writes before it frees. So every data directory
has a file ``ballast`` that holds nothing but its place: 4 MiB, less on a small file system::

    room = Room(Path("data"))
    room.prepare()        # at start: makes the ballast when there is room
    room.release()        # the disk is full, and a user deletes something: the ballast goes
    room.low              # from now on nothing that only grows is done…
    room.restore()        # …until there is twice as much as the ballast takes, and it is there again

A delivery that finds the disk full is refused and leaves the ballast alone; expunging, changing flags, moving, and opening
the databases at start may use it. On file systems that promise no place (ZFS) it helps less.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

if TYPE_CHECKING:
    from moxtwisted.store.lanes import Lane

__all__ = ["Room", "disk_is_full"]

BALLAST_OCTETS: Final = 4 << 20
_BALLAST_LEAST: Final = 256 << 10
#: At most this share of the file system.
_SHARE: Final = 16
#: Nearly full: then logs are written back early, because their databases may need as much again.
_SCARCE_OCTETS: Final = 16 << 20

_FULL: Final = frozenset(
    (
        apsw.SQLITE_IOERR_WRITE,
        apsw.SQLITE_IOERR_FSYNC,
        apsw.SQLITE_IOERR_TRUNCATE,
        apsw.SQLITE_IOERR_SHMSIZE,
        apsw.SQLITE_IOERR_SHMMAP,
        apsw.SQLITE_IOERR_SHMOPEN,
    )
)
_NO_PLACE: Final = (errno.ENOSPC, errno.EDQUOT)


def disk_is_full(error: BaseException) -> bool:
    """Whether SQLite says with this that there was no room."""
    if isinstance(error, apsw.FullError):
        return True
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) in _FULL


class Room:
    """The room of one data directory; for all threads.

    :ivar shared: whether other processes use the directory, too (``Store.join``): any of them may throw the ballast off, or make it again.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "ballast"
        self._lock = threading.Lock()
        self._lanes: weakref.WeakSet[Lane] = weakref.WeakSet()
        self._low = False
        self._cannot = False  # there can be no ballast here
        self.shared = False

    @property
    def low(self) -> bool:
        """Whether the ballast is gone: nothing that only grows is to be done."""
        if self.shared and not (self._low or self._cannot):
            self._low = not os.access(self._path, os.F_OK)
        return self._low

    def prepare(self) -> None:
        """At start: see whether the ballast is there, make it if it can be."""
        with self._lock:
            self._low = not self._path.exists()
        self.restore()

    def register(self, lane: Lane) -> None:
        """A database that has a log to be written back when the disk is full."""
        with self._lock:
            self._lanes.add(lane)

    def free(self) -> int:
        """Octets that this process could still write."""
        status = os.statvfs(self._directory)
        return status.f_frsize * status.f_bavail

    def scarce(self, octets: int) -> bool:
        """Whether it is doubtful that so many octets find room beside what else goes on."""
        try:
            return self.free() < octets + _SCARCE_OCTETS
        except OSError:
            return False

    def allows(self, octets: int) -> bool:
        """Whether there is room for so many octets."""
        try:
            return self.restore() and self.free() >= octets
        except OSError:
            return True

    def release(self) -> bool:
        """Throw the ballast off; whether there was any."""
        with self._lock:
            try:
                self._path.unlink()
            except FileNotFoundError:
                # Another process with the same directory did.
                self._low = True
                return False
            except OSError:
                return False
            self._low = True
            lanes = list(self._lanes)
        for lane in lanes:
            # Each writes its log back after a transaction, be there nothing in it.
            lane.idle(_nothing)
        return True

    def restore(self) -> bool:
        """Make the ballast again when there is room; whether growing is allowed now."""
        if not self.low:
            return True
        with self._lock:
            try:
                if self.shared and self._path.exists():
                    self._low = False
                    return True
                status = os.statvfs(self._directory)
                size = status.f_frsize * status.f_blocks // _SHARE
                size = max(_BALLAST_LEAST, min(BALLAST_OCTETS, size))
                if status.f_frsize * status.f_bavail < 2 * size:
                    return False
                self._make(size)
            except OSError as e:
                if e.errno in _NO_PLACE:
                    return False
                # A limit on the size of files, say: without ballast then.
                self._cannot = True
            self._low = False
            return True

    def _make(self, size: int) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise
        finally:
            os.close(handle)


def _nothing() -> bool:
    return False
