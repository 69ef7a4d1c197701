"""An IMAP server over mail in memory: every .txt file of a folder is a message of INBOX::

python examples/imap_server.py FOLDER
curl --silent --show-error --user reader:reader 'imap://127.0.0.1:2143/INBOX;MAILINDEX=1'

The mail of ``MemoryMail`` stands for whatever a program has: its messages may come from anywhere. Flags and moves last
as long as the program runs. ``imap_backend.py`` leaves the mail where it is.
"""

import os
import sys
from email.utils import formataddr, formatdate
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString

from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import ServerSettings


def read_folder(folder: str, seconds: Any) -> MemoryMail:
    """The mail that a session sees, from files."""
    mail, path = MemoryMail(seconds), Path(folder).resolve()
    sender = formataddr((path.name, "reader@localhost"))
    for file in sorted(path.glob("*.txt")):
        date = int(file.stat().st_mtime)
        header = f"From: {sender}\r\nSubject: {file.stem}\r\nDate: {formatdate(date)}\r\n"
        text = file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        mail.add("INBOX", header.encode() + b"Content-Type: text/plain\r\n\r\n" + text, internaldate=date)
    return mail


def announce(port: Any) -> None:
    """Say where it serves, and whom."""
    print(f"IMAP at {port.getHost().host} port {port.getHost().port}, user reader, password reader")


def main(
    reactor: Any, folder: str = ".", where: str = "tcp:2143:interface=127.0.0.1", started: Any = announce
) -> Any:
    """Serve until interrupted; ``started`` is told the port."""
    users = {"reader": ("reader", read_folder(folder, reactor.seconds))}
    settings = ServerSettings(hostname="localhost", allow_plain_without_tls=True)
    factory = IMAPServerFactory(settings, MemoryAuthenticator(users, os.urandom), reactor)
    listening = serverFromString(reactor, where).listen(factory)
    return listening.addCallback(lambda port: started(port) or Deferred())


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
