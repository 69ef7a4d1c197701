"""The address of a unix socket, however long its path is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["socket_address"]

#: sockaddr_un.sun_path has 108 octets, the last is NUL.
_MAX_SOCKET_PATH: Final = 107


def socket_address(path: Path) -> tuple[str, int]:
    """A name for the socket that is short enough: (name, descriptor to close afterwards or -1).

    A path that does not fit into a socket's address is reached by way of its directory's descriptor.
    """
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return str(path), -1
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{descriptor}/{path.name}", descriptor
