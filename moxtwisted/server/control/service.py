"""The unix socket for the commands, which is there from the start; what is behind it comes with the first command.

::

    service = ControlService(reactor, Path("/var/lib/moxmail/ctl"), lambda: Administration(...))

The socket has mode 0600 and lies in the data directory: who can open it may do everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Any, Final, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.protocol import Factory

from moxtwisted.server.control.address import socket_address
from moxtwisted.server.control.door import Door, OpenIMAP

__all__ = ["ControlService"]

#: After the start, seconds: the ports are open, and what mail needs was imported.
_PREPARE_SECONDS: Final = 1.0


class _Commands(Factory):
    """Makes the administration with its first connection or some time after the start, and a protocol for each connection.

    Starting would take a tenth longer if all that commands can ask for were imported with it. It is not left to the first connection alone,
    for a new version of the program may have been installed by then, and the old one must still understand ``stop``.
    """

    noisy = False

    def __init__(self, make_administration: Callable[[], Any], seconds: Callable[[], float]) -> None:
        self._make_administration = make_administration
        self._seconds = seconds
        self._inner: Factory | None = None

    def prepare(self) -> Factory:
        """Make it, unless it is there."""
        if self._inner is None:
            from moxtwisted.server.control.amp import ControlFactory

            self._inner = ControlFactory(self._make_administration(), self._seconds)
        return self._inner

    def buildProtocol(self, addr: Any) -> Any:
        """See ``Factory``."""
        return self.prepare().buildProtocol(addr)


class ControlService(Service):
    """Listens on the unix socket while the server runs.

    Start it after the store was opened: whoever holds the store's lock owns the socket, so that one
    that is there already is left over from a crash.

    :param reactor: with ``listenUNIX`` and ``seconds``.
    :param path: of the socket; its directory should be closed to others.
    :param make_administration: makes the ``IAdministration``, once, when somebody connects.
    :param open_imap: see ``moxtwisted.server.control.door``.
    """

    def __init__(
        self,
        reactor: Any,
        path: Path,
        make_administration: Callable[[], Any],
        open_imap: OpenIMAP | None = None,
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._make_administration = make_administration
        self._open_imap = open_imap
        self._port: IListeningPort | None = None
        self._directory = -1
        self._preparing: Any = None

    def startService(self) -> None:
        """Listen."""
        Service.startService(self)
        with suppress(FileNotFoundError):
            if S_ISSOCK(self._path.lstat().st_mode):
                self._path.unlink()
        address, self._directory = socket_address(self._path)
        commands = _Commands(self._make_administration, self._reactor.seconds)
        factory: Factory = commands
        if self._open_imap is not None:
            factory = Door(factory, self._open_imap)
        # bind() makes the socket with what the umask leaves, and listenUNIX calls chmod only after that.
        old = os.umask(0o177)
        try:
            self._port = cast("IReactorUNIX", self._reactor).listenUNIX(address, factory, mode=0o600)
        finally:
            os.umask(old)
        self._preparing = self._reactor.callLater(_PREPARE_SECONDS, commands.prepare)

    def stopService(self) -> Any:
        """Listen no more; calls that run go on until their connections end."""
        Service.stopService(self)
        if self._preparing is not None and self._preparing.active():
            self._preparing.cancel()
        port, self._port = self._port, None
        stopped = port.stopListening() if port is not None else None
        if isinstance(stopped, Deferred):
            return stopped.addBoth(self._closed)
        self._closed(None)
        return None

    def _closed(self, result: Any) -> Any:
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
        return result
