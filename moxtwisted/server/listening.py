"""Ports: bound while the process still may, served once everything is ready.

::

    ListeningService(reactor, TCPAddress("::", 25), factory).setServiceParent(services)

The socket is bound in ``privilegedStartService``, that is before the process becomes another user, and the caller
of that hears when it cannot be: a mail server that silently lacks a port is worse than one that does not start.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

__all__ = ["ListeningService", "TCPAddress", "UnixAddress"]

#: Connections that the kernel holds for us while we are busy; it has an upper bound of its own (somaxconn).
BACKLOG: Final = 1024


@frozen
class TCPAddress:
    """An IP address (``0.0.0.0`` and ``::`` for all) and a port, 0 for any that is free."""

    ip: str
    port: int


@frozen
class UnixAddress:
    """The path of a unix socket, and who may connect."""

    path: Path
    mode: int = 0o660


class ListeningService(Service):
    """Listens at one address with one factory.

    @ivar port: while it listens; ``port.getHost()`` tells the number that was chosen for 0.
    @param reactor: with ``adoptStreamPort`` and ``listenUNIX``.
    """

    def __init__(self, reactor: Any, address: TCPAddress | UnixAddress, factory: IProtocolFactory) -> None:
        self.port: IListeningPort | None = None
        self._reactor = reactor
        self._address = address
        self._factory = factory
        self._bound: socket.socket | None = None

    def privilegedStartService(self) -> None:
        """Bind, but do not take connections yet.

        @raise CannotListenError: when the address is taken, not ours or not allowed.
        """
        if isinstance(self._address, TCPAddress) and self._bound is None:
            self._bound = _bind(self._address)

    def startService(self) -> None:
        """Take connections."""
        Service.startService(self)
        address = self._address
        if isinstance(address, UnixAddress):
            with suppress(FileNotFoundError):
                # Whoever left it is gone: two servers cannot have the same store open.
                if S_ISSOCK(address.path.lstat().st_mode):
                    address.path.unlink()
            self.port = self._reactor.listenUNIX(str(address.path), self._factory, mode=address.mode)
            return
        self.privilegedStartService()
        bound, self._bound = self._bound, None
        if bound is None:
            return
        try:
            bound.listen(BACKLOG)
            # The reactor takes a duplicate of the descriptor.
            self.port = self._reactor.adoptStreamPort(bound.fileno(), bound.family, self._factory)
        except OSError as e:
            raise CannotListenError(address.ip, address.port, e) from e
        finally:
            bound.close()

    def stopService(self) -> Any:
        """Take no more connections; those that are open are the factory's business."""
        Service.stopService(self)
        if self._bound is not None:
            self._bound.close()
            self._bound = None
        port, self.port = self.port, None
        return port.stopListening() if port is not None else None


def _bind(address: TCPAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Connections of a former process in TIME_WAIT do not keep us from starting again.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" is IPv6 only, so that "0.0.0.0" can be listened on beside it, and peers have one form of address.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address.ip, address.port))
    except OSError as e:
        bound.close()
        reason = OSError(e.errno, _reasons().get(e.errno or 0, os.strerror(e.errno or 0)))
        raise CannotListenError(address.ip, address.port, reason) from e
    return bound


def _reasons() -> dict[int, str]:
    return {
        errno.EADDRINUSE: "another program listens there",
        errno.EADDRNOTAVAIL: "this machine does not have the address",
        errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
    }
