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
        _serve_closed_files(arguments, account)
        return 0
    with connection:
        connection.sendall(f"imap {account}\n".encode())
        _carry(connection)
    return 0


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


def _carry(connection: socket.socket) -> None:
    """Standard input to the connection, the connection to standard output, until the server has nothing more to say."""
    threading.Thread(target=_carry_in, args=(connection,), daemon=True).start()
    output = sys.stdout.fileno()
    # The other end may go away at any time: then we are done.
    with suppress(OSError):
        while data := connection.recv(_OCTETS):
            view = memoryview(data)
            while view:
                view = view[os.write(output, view) :]


def _carry_in(connection: socket.socket) -> None:
    with suppress(OSError):
        while data := os.read(0, _OCTETS):
            connection.sendall(data)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _serve_closed_files(arguments: argparse.Namespace, account: str) -> None:
    loaded = load_for(arguments)
    ours, theirs = socket.socketpair()

    async def work(reactor: Any) -> None:
        from twisted.internet.threads import deferToThread

        from moxtwisted.compose.offline import offline_imap
        from moxtwisted.config.rekey import restore_owner

        try:
            factory, close = await offline_imap(loaded, reactor, account)
            try:
                reactor.adoptStreamConnection(theirs.fileno(), socket.AF_UNIX, factory)
                theirs.close()
                await deferToThread(_carry, ours)
            finally:
                await close()
        finally:
            restore_owner(loaded)
            ours.close()
            theirs.close()

    run_reactor(work)
