"""A POP3 server over a backend of one's own: every .eml file of a folder is a message, and QUIT after DELE removes the file::

python examples/pop3_server.py FOLDER
curl --silent --show-error --user reader:reader pop3://127.0.0.1:2110/1

``MemoryAuthenticator`` knows the user; what it hands out is ours: a maildrop has sizes, unique identifiers and bodies, and
three methods (``moxtwisted.pop3.backend``).
"""

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from zope.interface import implementer

from moxtwisted.pop3.backend import IMaildrop
from moxtwisted.pop3.memory import BytesBody, MemoryAuthenticator, MemoryMaildrop
from moxtwisted.pop3.protocol import POP3ServerFactory
from moxtwisted.pop3.settings import ServerSettings


def message(file: Path) -> bytes:
    """A file with the line ends of the wire."""
    return file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@implementer(IMaildrop)
class FolderMaildrop:
    """The files of a folder, as they are at log-in."""

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("*.eml"))
        self.sizes = [len(message(file)) for file in self._files]
        self.identifiers = [str(file.stat().st_ino) for file in self._files]

    def body(self, number: int) -> BytesBody | None:
        """A message; None when somebody removed the file."""
        file = self._files[number - 1]
        return BytesBody(message(file)) if file.exists() else None

    async def update(self, deleted: Collection[int]) -> None:
        """Remove the files."""
        for number in deleted:
            self._files[number - 1].unlink(missing_ok=True)

    def release(self) -> None:
        """Nothing is locked: two may look at the same time."""


class FolderAuthenticator(MemoryAuthenticator):
    """One user, whose mail is in a folder."""

    def __init__(self, folder: str) -> None:
        super().__init__({"reader": ("reader", MemoryMaildrop())}, os.urandom)
        self._folder = Path(folder)

    def maildrop(self, identity: str, peer: object) -> Any:
        """The mail of the user who logged in."""
        return FolderMaildrop(self._folder)


def announce(port: Any) -> None:
    """Say where it serves, and whom."""
    print(f"POP3 at {port.getHost().host} port {port.getHost().port}, user reader, password reader")


def main(
    reactor: Any, folder: str = ".", where: str = "tcp:2110:interface=127.0.0.1", started: Any = announce
) -> Any:
    """Serve until interrupted; ``started`` is told the port."""
    settings = ServerSettings(hostname="localhost", allow_plain_without_tls=True)
    factory = POP3ServerFactory(settings, FolderAuthenticator(folder), reactor)
    listening = serverFromString(reactor, where).listen(factory)
    return listening.addCallback(lambda port: started(port) or Deferred())


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
