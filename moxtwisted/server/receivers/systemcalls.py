"""A filter of system calls (``seccomp(2)``): of sockets a process has TCP and UDP of IPv4 and IPv6, the attributes of files stay, and it
remains the one process with the one program.

Landlock has nothing to say about a unix socket with a name in the file system, as that by which ``moxmail`` tells the server what to
do; nor about ``listen`` without ``bind``, relatives of TCP, TCP whose first octets go with its SYN, and io_uring, which makes sockets
without asking anybody. Nor about who may read a file: ``chmod`` would open the key of the store to all. Nor about ``fork``: whoever ends a
process that it finds suspect would leave a child of it behind, with all its connections and keys. Threads are no processes: they may be
started, and end with it. ::

    filter_calls()        # True; from now on socket(AF_UNIX, ...) and fork() are EACCES

System calls that it does not look at cost nothing measurable: the kernel knows beforehand that they are allowed.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from typing import Any, Final

from attrs import frozen

__all__ = ["filter_calls", "prctl"]


@frozen
class _Machine:
    """Numbers of system calls; ``audit`` is its number in ``linux/audit.h``."""

    audit: int
    seccomp: int
    socket: int
    clone: int
    forbidden: tuple[int, ...]
    #: Those that send, and which of their arguments has the flags.
    sending: tuple[tuple[int, int], ...]


#: Of x86-64: chmod, chown, utime and xattr in all their forms, and truncate by name, which Landlock knows from Linux 6.2 on.
_ATTRIBUTES: Final = (
    90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 261, 280, 188, 189, 190, 463, 197, 198, 199, 466, 469, 76,
)  # fmt: skip
#: The same of ARM.
_ATTRIBUTES_ARM: Final = (52, 53, 452, 54, 55, 88, 5, 6, 7, 463, 14, 15, 16, 466, 469, 45)
#: Of x86-64: fork, vfork, execve and execveat. ARM has clone in place of the first two.
_PROCESSES: Final = (57, 58, 59, 322)
_PROCESSES_ARM: Final = (221, 281)
#: Forbidden are socketpair, listen and io_uring_setup; sendto, sendmsg and sendmmsg send.
_MACHINES: Final = {
    "x86_64": _Machine(
        0xC000003E, 317, 41, 56, (53, 50, 425, *_PROCESSES, *_ATTRIBUTES), ((44, 3), (46, 2), (307, 3))
    ),
    "aarch64": _Machine(
        0xC00000B7,
        277,
        198,
        220,
        (199, 201, 425, *_PROCESSES_ARM, *_ATTRIBUTES_ARM),
        ((206, 3), (211, 2), (269, 3)),
    ),
}
#: Numbers from here on are of the other interface of x86-64.
_X32: Final = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW: Final = 0x7FFF0000
_ACCESS_DENIED: Final = 0x00050000 | 13
#: clone3, the same on all machines, has its flags in memory, where a filter does not see them. To the C library it is not there: then it
#: takes clone for its threads.
_CLONE3: Final = 435
_NOT_THERE: Final = 0x00050000 | 38
#: Of the flags of clone, its first argument on both machines: what it makes is a thread of this process.
_THREAD: Final = 0x00010000
_FAST_OPEN: Final = 0x20000000
_IPV4, _IPV6 = 2, 10
_TCP, _UDP = 6, 17
_SET_FILTER: Final = 1
#: For all threads, and without slowing the processor down for the sake of programs that write their own machine code.
_FLAGS: Final = 1 | 4


def prctl(option: int, value: int) -> bool:
    """Whether the kernel did it."""
    call: Any = ctypes.CDLL(None, use_errno=True).prctl
    given = [ctypes.c_ulong(n) for n in (value, 0, 0, 0)]
    return int(call(ctypes.c_int(option), *given)) == 0


def filter_calls() -> bool:
    """Allow no other sockets, attributes, processes and programs from now on, in no thread; whether that was done.

    ``PR_SET_NO_NEW_PRIVS`` must have been set.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return False
    octets = _program(machine)
    code = ctypes.create_string_buffer(octets, len(octets))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(octets) // 8, ctypes.addressof(code)))
    call: Any = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    given = [ctypes.c_long(n) for n in (machine.seccomp, _SET_FILTER, _FLAGS)]
    return int(call(*given, program)) == 0


def _program(machine: _Machine) -> bytes:
    """For the kernel's small machine: steps of (code, jump if so, jump if not, value); jumps are counted from the next step."""
    steps: list[tuple[int, int, int, int]] = []

    def argument(n: int) -> tuple[int, int, int, int]:
        return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * n)

    def answer(value: int) -> tuple[int, int, int, int]:
        return (_RETURN, 0, 0, value)

    deny = answer(_ACCESS_DENIED)
    steps += [(_LOAD, 0, 0, _MACHINE_AT), (_EQUAL, 1, 0, machine.audit), deny]
    steps += [(_LOAD, 0, 0, _NUMBER_AT), (_AT_LEAST, 0, 1, _X32), deny]
    for number in machine.forbidden:
        steps += [(_EQUAL, 0, 1, number), deny]
    steps += [(_EQUAL, 0, 1, _CLONE3), answer(_NOT_THERE)]
    steps += [(_EQUAL, 0, 4, machine.clone), argument(0), (_ANY_BIT, 1, 0, _THREAD), deny, answer(_ALLOW)]
    for number, flags in machine.sending:
        steps += [(_EQUAL, 0, 4, number), argument(flags), (_ANY_BIT, 0, 1, _FAST_OPEN), deny, answer(_ALLOW)]
    steps += [(_EQUAL, 1, 0, machine.socket), answer(_ALLOW)]
    steps += [argument(0), (_EQUAL, 2, 0, _IPV4), (_EQUAL, 1, 0, _IPV6), deny]
    steps += [
        argument(2),
        (_EQUAL, 3, 0, 0),
        (_EQUAL, 2, 0, _TCP),
        (_EQUAL, 1, 0, _UDP),
        deny,
        answer(_ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
