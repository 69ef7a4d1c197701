"""Sockets to listen on: TCP with IPv4 and IPv6 side by side, and unix sockets that survive a crash.

::

    port = listen_tcp(reactor, "::", 25, factory)          # CannotListenError says why, in words
    port = listen_unix(reactor, Path("/run/moxmail/lmtp"), factory)

Twisted's own ``listenTCP`` on ``::`` takes IPv4 as well, after which ``0.0.0.0`` cannot be had; and a unix socket
that a killed process left behind stays in the way.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Any, Final

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

__all__ = ["listen_tcp", "listen_unix"]

#: Connections that the kernel holds for us while we are busy; it has an upper bound of its own (somaxconn).
BACKLOG: Final = 1024
_REASONS: Final = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this machine does not have the address",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
}


def listen_tcp(reactor: Any, ip: str, port: int, factory: IProtocolFactory) -> IListeningPort:
    """Listen at an address.

    :param reactor: with ``adoptStreamPort``.
    :param ip: ``0.0.0.0`` is all of IPv4, ``::`` all of IPv6 and nothing else.
    :param port: 0 for any that is free; ``getHost()`` of the result tells which.
    :raise CannotListenError: when the address is taken, not ours or not allowed.
    """
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as bound:
        try:
            # Connections of a former process in TIME_WAIT do not keep us from starting again.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((ip, port))
            bound.listen(BACKLOG)
        except OSError as e:
            reason = _REASONS.get(e.errno or 0, os.strerror(e.errno or 0))
            raise CannotListenError(ip, port, OSError(e.errno, reason)) from e
        # The reactor takes a duplicate of the descriptor.
        adopted: IListeningPort = reactor.adoptStreamPort(bound.fileno(), family, factory)
        return adopted


def listen_unix(reactor: Any, path: Path, factory: IProtocolFactory, mode: int = 0o660) -> IListeningPort:
    """Listen at a unix socket, in place of one that is there.

    Only for the server that owns the data directory: whoever left a socket there is gone.

    :param mode: who may connect.
    :raise CannotListenError: when it cannot be made.
    """
    with suppress(FileNotFoundError):
        if S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listening: IListeningPort = reactor.listenUNIX(str(path), factory, mode=mode)
    return listening
