"""An IMAP server over a backend of one's own: a folder with files ``*.eml`` is INBOX, each folder in it another mailbox::

    python examples/imap_backend.py FOLDER
    curl --silent --show-error --user reader:reader imap://127.0.0.1:2143/
    curl --silent --show-error --user reader:reader 'imap://127.0.0.1:2143/INBOX;MAILINDEX=1'

The files are the mail, nothing is copied: one that is put there is a new message, within seconds also for a program that waits in IDLE;
what a mail program deletes, moves or saves is deleted, moved or written. Which UIDs and flags they have is kept beside them, in
``.index``. ``SimpleMailbox`` makes a mailbox of the five methods below (``moxtwisted.imap.simple``); instead of files there could be rows
of a database.
"""

import os
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString

from moxtwisted.errors import MailError
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.imap.simple import SimpleAuthenticator, SimpleMail, SimpleMailbox
from moxtwisted.imap.simpleindex import MailboxIndex
from moxtwisted.message.flags import MessageFlags

LOOK_SECONDS = 2


class FolderMailbox(SimpleMailbox):
    """The files of a folder; what names a message is the name of its file."""

    def __init__(self, folder: Path, seconds: Any) -> None:
        super().__init__(MailboxIndex(folder / ".index", seconds))
        self.folder = folder

    def keys(self) -> list[str]:
        """The messages that are there."""
        return sorted(file.name for file in self.folder.glob("*.eml"))

    def octets(self, key: str) -> bytes | None:
        """A message with the line ends of the wire; None when somebody removed the file."""
        try:
            return (self.folder / key).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        except FileNotFoundError:
            return None

    def date(self, key: str) -> int:
        """When it came, in seconds."""
        return int((self.folder / key).stat().st_mtime)

    def remove(self, key: str) -> None:
        """A client has deleted the message."""
        (self.folder / key).unlink(missing_ok=True)

    def add(self, octets: bytes, flags: MessageFlags, date: int) -> str:
        """A client brings a message; it appears under its name when all of it is there."""
        file = self.folder / f"{uuid4()}.eml"
        part = file.with_suffix(".part")
        try:
            part.write_bytes(octets)
            os.utime(part, (date, date))
            part.rename(file)
        except OSError as e:
            part.unlink(missing_ok=True)
            raise MailError(f"{file}: {e}", public_text="it could not be written") from e
        return file.name


def mail_of(folder: Path, seconds: Any) -> SimpleMail:
    """What the user sees: the folder is INBOX, those in it are beside it."""
    folders = [file for file in sorted(folder.iterdir()) if file.is_dir()]
    mailboxes = {one.name: FolderMailbox(one, seconds) for one in folders}
    return SimpleMail({**mailboxes, "INBOX": FolderMailbox(folder, seconds)}, seconds)


def look(mail: SimpleMail) -> None:
    """Notice what came and went. What is wrong with one folder, a full disk say, keeps nobody from the others, nor from the next look."""
    for name, mailbox in mail.mailboxes.items():
        try:
            mailbox.refresh()
        except (MailError, OSError) as error:
            print(f"{name}: {error}")


def announce(port: Any) -> None:
    """Say where it serves, and whom."""
    print(f"IMAP at {port.getHost().host} port {port.getHost().port}, user reader, password reader")


def main(
    reactor: Any, folder: str, where: str = "tcp:2143:interface=127.0.0.1", started: Any = announce
) -> Any:
    """Serve until interrupted; ``started`` is told the port."""
    try:
        mail = mail_of(Path(folder), reactor.seconds)
    except MailError as error:
        sys.exit(error.explanation)
    looking = task.LoopingCall(look, mail)
    looking.clock = reactor
    looking.start(LOOK_SECONDS)
    settings = ServerSettings(hostname="localhost", allow_plain_without_tls=True)
    authenticator = SimpleAuthenticator({"reader": ("reader", mail)}, os.urandom)
    listening = serverFromString(reactor, where).listen(IMAPServerFactory(settings, authenticator, reactor))
    return listening.addCallback(lambda port: started(port) or Deferred(lambda _: looking.stop()))


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3} or not Path(sys.argv[1]).is_dir():
        sys.exit(f"{__doc__}\na FOLDER that is there is expected")
    task.react(main, sys.argv[1:])
