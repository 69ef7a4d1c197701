"""Five thousand messages, down and up with mbsync and down with offlineimap: no octet, flag or date is different."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from .live import ACCOUNT, IMAPS, PASSWORD, LiveTestCase, message_id
from .peers import needs

COUNT = 5000
AT_ONCE = 500
MAILBOX = "many"

FLAGS = (b"", b"\\Seen", b"\\Seen \\Flagged", b"\\Answered", b"\\Seen \\Draft")
# As the file names of a Maildir have them.
LETTERS = {b"\\Seen": "S", b"\\Flagged": "F", b"\\Answered": "R", b"\\Draft": "D"}

MBSYNCRC = """\
IMAPStore server
Tunnel "openssl s_client -quiet -verify_quiet -connect {ip}:{port}"
User {account}
Pass {password}

MaildirStore local
Path {folder}/mail/
SubFolders Verbatim

Channel down
Far :server:{mailbox}
Near :local:many
Create Near
Sync All
CopyArrivalDate yes
SyncState {folder}/down-

Channel up
Far :server:{mailbox}-up
Near :local:many
Create Far
Sync All
CopyArrivalDate yes
SyncState {folder}/up-
"""

OFFLINEIMAPRC = """\
[general]
accounts = test
ui = quiet
metadata = {folder}/offlineimap
fsync = False

[Account test]
localrepository = local
remoterepository = server

[Repository local]
type = Maildir
localfolders = {folder}/offline

[Repository server]
type = IMAP
remotehost = {ip}
remoteport = {port}
remoteuser = {account}
remotepass = {password}
ssl = yes
cert_fingerprint = {fingerprint}
auth_mechanisms = PLAIN
createfolders = False
folderfilter = lambda name: name == {mailbox!r}
"""


def message(number: int) -> bytes:
    """A message of its own, of some hundred to some thousand octets."""
    lines = b"".join(b"%d line %d\r\n" % (number, line) for line in range(number % 97))
    return (
        b"From: Sender <sender@client.example>\r\nTo: mox@localhost\r\nSubject: number %d =?utf-8?q?h=C3=A9?=\r\n"
        b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%d.many@client.example>\r\n\r\n%b"
    ) % (number, number, lines)


def flags(number: int) -> bytes:
    """Its flags."""
    return FLAGS[number % len(FLAGS)]


Mail = Counter[tuple[bytes, str]]
"""How many of each: octets with LF, and the letters of the flags."""


def letters(names: bytes) -> str:
    """Flags as a Maildir has them."""
    return "".join(sorted(LETTERS[name] for name in names.split() if name in LETTERS))


EXPECTED: Mail = Counter((message(n).replace(b"\r\n", b"\n"), letters(flags(n))) for n in range(COUNT))


class ManyTestCase(LiveTestCase):
    """The mailbox is filled once for all tests of the process."""

    filled: ClassVar[set[str]] = set()

    def setUp(self) -> None:
        """Have the mailbox with the messages."""
        super().setUp()
        self.connection = self.server.imap()
        self.addCleanup(self.connection.shutdown)
        if self.server.ip not in self.filled:
            self.fill()
            self.filled.add(self.server.ip)
        self.values = {
            "ip": self.server.ip,
            "port": IMAPS,
            "account": ACCOUNT,
            "password": PASSWORD,
            "folder": self.folder,
            "mailbox": MAILBOX,
        }

    def fill(self) -> None:
        """MULTIAPPEND, with the octets behind the command (LITERAL+)."""
        self.connection.create(MAILBOX)
        for start in range(0, COUNT, AT_ONCE):
            parts = [b"many APPEND ", MAILBOX.encode()]
            for number in range(start, start + AT_ONCE):
                octets = message(number)
                date = b"%02d-Nov-2026 %02d:%02d:%02d +0000" % (
                    number % 20 + 1,
                    number % 24,
                    number % 60,
                    number % 59,
                )
                parts.append(b' (%b) "%b" {%d+}\r\n%b' % (flags(number), date, len(octets), octets))
            self.connection.send(b"".join([*parts, b"\r\n"]))
            answer = self.connection.readline()
            self.assertTrue(answer.startswith(b"many OK [APPENDUID "), answer)

    def kept(self, name: str) -> tuple[Mail, Counter[bytes]]:
        """A mailbox of the server: its messages, and its dates."""
        connection = self.server.imap()
        try:
            connection.select(name, readonly=True)
            _, data = connection.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
            parts = [part for part in data if isinstance(part, tuple)]
            dates: Counter[bytes] = Counter()
            found: Mail = Counter()
            for head, octets in parts:
                date = re.search(rb'INTERNALDATE "([^"]*)"', head)
                named = re.search(rb"FLAGS \(([^)]*)\)", head)
                assert date is not None and named is not None, head
                dates[date[1]] += 1
                found[without_tuid(octets).replace(b"\r\n", b"\n"), letters(named[1])] += 1
            return found, dates
        finally:
            connection.logout()

    def same(self, found: Mail) -> None:
        """Fail with a few of what is different."""
        if found != EXPECTED:
            self.fail(f"{(found - EXPECTED).most_common(2)} instead of {(EXPECTED - found).most_common(2)}")


def without_tuid(octets: bytes) -> bytes:
    """Without the header field by which mbsync finds again what it has uploaded."""
    return re.sub(rb"(?m)^X-TUID: .*\r?\n", b"", octets)


def maildir(path: Path) -> Iterator[tuple[bytes, str]]:
    """The messages of a Maildir, and the letters of their flags."""
    for file in (*path.glob("cur/*"), *path.glob("new/*")):
        yield without_tuid(file.read_bytes()), file.name.partition(":2,")[2].strip()


@needs("mbsync", "openssl")
class MbsyncTests(ManyTestCase):
    """Down, and up into another mailbox."""

    def test_down_and_up(self) -> None:
        """What comes down and goes up again is the same with its flags and dates, and a further run changes nothing."""
        (self.folder / "mail").mkdir()
        (self.folder / "mbsyncrc").write_text(MBSYNCRC.format(**self.values))
        run = ("mbsync", "--config", str(self.folder / "mbsyncrc"), "--quiet")
        self.succeeds(*run, "down")
        self.same(Counter(maildir(self.folder / "mail" / "many")))
        self.succeeds(*run, "up")
        found, dates = self.kept(f"{MAILBOX}-up")
        self.same(found)
        self.assertEqual(dates, self.kept(MAILBOX)[1])
        names = [MAILBOX, f"{MAILBOX}-up"]
        before = [self.connection.status(name, "(UIDNEXT HIGHESTMODSEQ)") for name in names]
        self.succeeds(*run, "down", "up")
        self.assertEqual([self.connection.status(name, "(UIDNEXT HIGHESTMODSEQ)") for name in names], before)


@needs("offlineimap")
class OfflineimapTests(ManyTestCase):
    """Down, into a Maildir; and what is changed there, up."""

    def test_down_and_changes_up(self) -> None:
        """All messages come down with their flags; a flag that is set and a file that is put there go up in the next run."""
        certificate = ssl.PEM_cert_to_DER_cert(self.server.certificate())
        fingerprint = hashlib.sha1(certificate, usedforsecurity=False).hexdigest()
        path = self.folder / "offlineimaprc"
        path.write_text(OFFLINEIMAPRC.format(fingerprint=fingerprint, **self.values))
        run = ("offlineimap", "-c", str(path), "-o")
        self.succeeds(*run)
        local = self.folder / "offline" / MAILBOX
        self.same(Counter(maildir(local)))
        here = self.letter(b"from the Maildir\r\n")
        (local / "cur" / "1.2.host:2,S").write_bytes(here.replace(b"\r\n", b"\n"))
        seen = next(local.glob("*/*:2,R"))
        number = re.search(rb"number (\d+)", seen.read_bytes())
        assert number is not None
        seen.rename(local / "cur" / (seen.name + "S"))
        self.succeeds(*run)
        self.assertEqual(len(self.found(here, MAILBOX)), 1)
        self.connection.select(MAILBOX)
        self.addCleanup(self.restore, here, number[1])
        answered = self.connection.search(None, "SEEN", "ANSWERED")[1][0].split()
        self.assertEqual(answered, [b"%d" % (int(number[1]) + 1)])

    def restore(self, letter: bytes, number: bytes) -> None:
        """The mailbox as the other test expects it."""
        self.connection.store(str(int(number) + 1), "-FLAGS", r"(\Seen)")
        _, (found,) = self.connection.search(None, "HEADER", "Message-ID", message_id(letter))
        self.connection.store(found.decode(), "+FLAGS", r"(\Deleted)")
        self.connection.expunge()
