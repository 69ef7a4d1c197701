"""A process gives up, for good, whatever it does not need: files, programs, connections, children.

::

    limits = Limits(readable=[Path("/usr/lib")], writable=[Path("data/tmp")], secret=[Path("data")], ports=[53])
    achieved = confine(limits)          # cannot be undone, and holds for all threads that come after it
    achieved.parts, achieved.holes      # ("files", "TCP", ...), (what it may still do, in words)

Files, TCP and signals are Linux's Landlock (``landlock``), sockets of other kinds, attributes of files, and new processes and programs a
filter of system calls (``systemcalls``). Neither needs root. Landlock holds for the thread that asks for it and for those it starts: there
must be no other yet.

What may be read are whole trees, out of which Landlock takes nothing back. So a tree with something secret in it is not allowed, but what
is in it is, piece by piece, without the secret.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Final

from attrs import frozen

from moxtwisted.server.receivers.landlock import SCOPED_VERSION, TCP_VERSION, Landlock, Limits, Numbers
from moxtwisted.server.receivers.systemcalls import filter_calls, prctl

__all__ = ["Confinement", "Limits", "Numbers", "confine"]

_SET_DUMPABLE: Final = 4
_NO_NEW_PRIVILEGES: Final = 38


@frozen
class Confinement:
    """What was achieved.

    :ivar version: of Landlock; 0: the kernel has none.
    :ivar parts: of ``privileges``, ``core``, ``files``, ``TCP``, ``signals``, ``sockets``, ``attributes``, ``processes`` those that are
        confined.
    :ivar holes: what should be and is not, in words.
    """

    version: int
    parts: tuple[str, ...]
    holes: tuple[str, ...]


def confine(limits: Limits, numbers: Numbers | None = None) -> Confinement:
    """Leave nothing else to this process; never raises for what the machine cannot do.

    :param numbers: of other system calls, for tests.
    """
    parts: list[str] = []
    holes: list[str] = []
    if not sys.platform.startswith("linux"):
        return Confinement(0, (), ("only Linux confines",))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Others of the same user do not look into it, and nothing of it is written to a disk when it dies.
    if prctl(_SET_DUMPABLE, 0):
        parts.append("core")
    else:
        holes.append("core: others of this user may look into it")
    if not prctl(_NO_NEW_PRIVILEGES, 1):
        return Confinement(
            0, tuple(parts), (*holes, "privileges: it may get more, so the rest cannot be asked for")
        )
    parts.append("privileges")
    numbers, version = numbers or Numbers(), 0
    if _is_deadly(numbers):
        hole = "files, sockets, processes: the SystemCallFilter of the service forbids landlock_* and seccomp"
        return Confinement(0, tuple(parts), (*holes, hole))
    try:
        landlock = Landlock(numbers)
        version = landlock.version
        if version:
            holes += landlock.confine(limits)
            parts.append("files")
            parts += ["TCP"] if version >= TCP_VERSION else []
            parts += ["signals"] if version >= SCOPED_VERSION else []
    except OSError as e:
        holes.append(f"files: {e.strerror}")
    if filter_calls():
        parts += ["sockets", "attributes", "processes"]
    else:
        why = "the kernel takes no filter of system calls, or we have none for this machine"
        holes.append(f"sockets, attributes, processes: {why}")
    return Confinement(version, tuple(parts), tuple(holes))


def _is_deadly(numbers: Numbers) -> bool:
    """Whether a filter above us ends who asks: the default of systemd's ``SystemCallFilter``. A child finds out."""
    child = os.fork()
    if child == 0:
        try:
            filter_calls()
            Landlock(numbers)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
