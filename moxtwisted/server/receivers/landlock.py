"""Linux's Landlock (``landlock(7)``): files, TCP and signals that a process gives up.

::

    landlock = Landlock(Numbers())
    landlock.version                    # 0: the kernel has none
    landlock.confine(limits)            # cannot be undone

There are bindings on PyPI, none kept well: of the one that has a following, only development versions were released, which know files
and nothing else. So these are the three system calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

__all__ = ["SCOPED_VERSION", "TCP_VERSION", "Landlock", "Limits", "Numbers"]

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REMOVE_FILE, _MAKE_REG = 1 << 5, 1 << 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
#: What a rule for a file may say.
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ: Final = _READ_FILE | _READ_DIR
_WRITE: Final = _READ_FILE | _WRITE_FILE | _TRUNCATE | _MAKE_REG | _REMOVE_FILE
#: How many rights for files a version of Landlock knows; later ones know those of the last, or more.
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_BIND_TCP, _CONNECT_TCP = 1, 2
#: Versions from which on there are TCP and what is scoped: abstract unix sockets, and signals.
TCP_VERSION: Final = 4
SCOPED_VERSION: Final = 6
_ABSTRACT, _SIGNALS = 1, 2
_PATH_RULE, _PORT_RULE = 1, 2
_VERSION_WANTED: Final = 1
#: A tree that has to be taken apart into more is not allowed.
_MOST_RULES: Final = 5000


@frozen
class Numbers:
    """System calls of Landlock; the same on all machines."""

    create: int = 444
    add: int = 445
    restrict: int = 446


@frozen
class Limits:
    """What is left to a process.

    :ivar readable: files, and directories with all below them.
    :ivar writable: directories in which it may make, read, write and remove files; secret ones or not.
    :ivar secret: what is not to be read although it lies in something readable.
    :ivar ports: that it may connect to by TCP.
    """

    readable: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    secret: Sequence[Path] = ()
    ports: Sequence[int] = ()


class Landlock:
    """:ivar version: 0: there is none."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._call: Any = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        try:
            self.version = self._do(numbers.create, None, 0, _VERSION_WANTED)
        except OSError as e:
            if e.errno not in (errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            self.version = 0

    def _do(self, number: int, *arguments: bytes | int | None) -> int:
        given = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
        answer = int(self._call(ctypes.c_long(number), *given))
        if answer < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return answer

    def confine(self, limits: Limits) -> list[str]:
        """What is still open, in words. :raises OSError:"""
        holes = []
        others = len(list(Path("/proc/self/task").iterdir())) - 1
        if others:
            holes.append(f"{others} threads that were there before")
        known = (1 << _FILE_RIGHTS.get(self.version, _FILE_RIGHTS[max(_FILE_RIGHTS)])) - 1
        tcp = _BIND_TCP | _CONNECT_TCP if self.version >= TCP_VERSION else 0
        scoped = _ABSTRACT | _SIGNALS if self.version >= SCOPED_VERSION else 0
        rules = self._do(self._numbers.create, struct.pack("=QQQ", known, tcp, scoped), 24, 0)
        try:
            secret = [Path(os.path.realpath(path)) for path in limits.secret]
            for tree in limits.readable:
                try:
                    pieces = list(_without(Path(os.path.realpath(tree)), secret))
                except _TooManyError:
                    holes.append(f"{tree} is too large to be taken apart, and is not readable")
                    continue
                for path in pieces:
                    self._allow(rules, path, _READ & known)
            for path in limits.writable:
                self._allow(rules, path, _WRITE & known)
            for port in limits.ports if tcp else ():
                self._do(self._numbers.add, rules, _PORT_RULE, struct.pack("=QQ", _CONNECT_TCP, port), 0)
            self._do(self._numbers.restrict, rules, 0)
        finally:
            os.close(rules)
        return holes

    def _allow(self, rules: int, path: Path, rights: int) -> None:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            # What is not there, or cannot be come to, needs no permission.
            return
        try:
            if not Path(f"/proc/self/fd/{descriptor}").is_dir():
                rights &= _OF_FILES
            self._do(self._numbers.add, rules, _PATH_RULE, struct.pack("=Qi", rights, descriptor), 0)
        finally:
            os.close(descriptor)


class _TooManyError(Exception):
    """Rules."""


def _without(tree: Path, secret: Sequence[Path]) -> Iterator[Path]:
    """The tree, or the largest pieces of it that have nothing secret in them."""
    left, given = [tree], 0
    while left:
        path = left.pop()
        if path in secret:
            continue
        if not any(one.is_relative_to(path) for one in secret):
            given += 1
            yield path
        else:
            try:
                left += [entry for entry in path.iterdir() if not entry.is_symlink()]
            except OSError:
                continue
        if given + len(left) > _MOST_RULES:
            raise _TooManyError
