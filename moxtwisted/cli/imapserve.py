"""``admin imapserve``: IMAP on standard input and output, with an account's mail and without a log-in.

While the server runs it is reached over its control socket, and this program only carries octets. When it is down, the closed
files are served.
"""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from moxtwisted.cli.session import NotRunningError, load_for, run_reactor, socket_path
from moxtwisted.errors import MailError

_OCTETS: Final = 65536
_REFUSED: Final = b"* BYE"


def imapserve(arguments: argparse.Namespace) -> int:
    """``admin imapserve``."""
    account: str = arguments.account
    if not account.isprintable():
        raise MailError("an account's name has no control characters")
    path = socket_path(arguments)
    try:
        connection = _connect(path)
    except OSError as e:
        if e.errno not in (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR):
            raise MailError(f"{path}: the running server cannot be reached: {e}") from e
        if arguments.socket:
            raise NotRunningError(f"the server does not run (nobody listens at {path})") from e
        return 0 if _serve_closed_files(arguments, account) else 1
    with connection:
        connection.sendall(f"imap {account}\n".encode())
        return 0 if _carry(connection) else 1


def _connect(path: Path) -> socket.socket:
    from moxtwisted.server.control.address import socket_address

    name, directory = socket_address(path)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(name)
    except OSError:
        connection.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return connection


def _carry(connection: socket.socket) -> bool:
    """Standard input to the connection, the connection to standard output, until the server has nothing more to say.

    :return: whether it took the client in: its first word was another one than BYE.
    """
    threading.Thread(target=_carry_in, args=(connection,), daemon=True).start()
    output = sys.stdout.fileno()
    greeting = b""
    # The other end may go away at any time: then we are done.
    with suppress(OSError):
        while data := connection.recv(_OCTETS):
            greeting += data[: len(_REFUSED) - len(greeting)]
            view = memoryview(data)
            while view:
                view = view[os.write(output, view) :]
    return bool(greeting) and greeting != _REFUSED


def _carry_in(connection: socket.socket) -> None:
    with suppress(OSError):
        while data := os.read(0, _OCTETS):
            connection.sendall(data)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _serve_closed_files(arguments: argparse.Namespace, account: str) -> bool:
    loaded = load_for(arguments)
    ours, theirs = socket.socketpair()

    async def work(reactor: Any) -> bool:
        from twisted.internet.threads import deferToThread

        from moxtwisted.compose.offline import offline_imap
        from moxtwisted.config.rekey import restore_owner

        try:
            factory, close = await offline_imap(loaded, reactor, account)
            try:
                reactor.adoptStreamConnection(theirs.fileno(), socket.AF_UNIX, factory)
                theirs.close()
                return bool(await deferToThread(_carry, ours))
            finally:
                await close()
        finally:
            restore_owner(loaded)
            ours.close()
            theirs.close()

    return bool(run_reactor(work))
