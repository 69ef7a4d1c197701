"""Replace or make a file so that a crash leaves the old one or the new one, and nothing between.

The octets go to a temporary file in the same directory, which is synced, gets the owner and the mode of the old
one, and is renamed over it; then the directory is synced, so that the rename itself is on disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["create_file", "replace_file"]


def replace_file(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Replace what stands at the path (through symbolic links); owner and mode stay.

    :param mode: for a file that is not there yet.
    :raise OSError: when it cannot be done; the old file is untouched then.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        old = target.stat()
    except FileNotFoundError:
        old = None
    try:
        _write(temporary, data, 0o600)
        if old is not None:
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                with suppress(PermissionError):
                    # Not root: the file becomes ours, which we could write before already.
                    os.chown(temporary, old.st_uid, old.st_gid)
            mode = old.st_mode & 0o7777
        temporary.chmod(mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def create_file(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Make a file that must not be there yet, synced.

    :raise FileExistsError: when it is there.
    """
    _write(path, data, mode)
    path.chmod(mode)  # in spite of the umask
    _sync_directory(path.parent)


def _write(path: Path, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, mode), "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
