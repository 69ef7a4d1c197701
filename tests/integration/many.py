"""A mailbox of five thousand messages, and what it has to be after a program has carried it somewhere.

The mailbox is made once in each process of the tests. Whoever changes it works on a copy (``ManyTestCase.copied``). Comparisons are of all
messages, octet by octet::

    self.same_locally(maildir(path))       # octets and flags of the files of a Maildir
    self.same_on_server("copy", dates=True)
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

from .live import ACCOUNT, IMAPS, PASSWORD, LiveTestCase

T = TypeVar("T")

COUNT = 5000
AT_ONCE = 500
MANY_SECONDS = 300.0
MAILBOX = "many"

FLAGS = (b"", b"\\Seen", b"\\Seen \\Flagged", b"\\Answered", b"\\Seen \\Draft")
# As the file names of a Maildir have them.
LETTERS = {b"\\Seen": "S", b"\\Flagged": "F", b"\\Answered": "R", b"\\Draft": "D"}


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


def date(number: int) -> bytes:
    """Its internal date, as IMAP writes it."""
    return b"%2d-Nov-2026 %02d:%02d:%02d +0000" % (number % 20 + 1, number % 24, number % 60, number % 59)


def letters(names: bytes) -> str:
    """Flags as a Maildir has them."""
    return "".join(sorted(LETTERS[name] for name in names.split() if name in LETTERS))


Mail = Counter[tuple[bytes, str]]
"""How many of each: octets of the wire, and the letters of the flags."""

DatedMail = Counter[tuple[bytes, str, bytes]]
"""The same with internal dates."""

EXPECTED_DATED: DatedMail = Counter((message(n), letters(flags(n)), date(n)) for n in range(COUNT))
EXPECTED: Mail = Counter((octets, marks) for octets, marks, _ in EXPECTED_DATED)


class ManyTestCase(LiveTestCase):
    """The mailbox is filled once for all tests of the process."""

    filled: ClassVar[set[str]] = set()

    def setUp(self) -> None:
        """Have the mailbox with the messages."""
        super().setUp()
        # Programs make several files for a message; in memory, where there is such a place, that takes a fraction of the time.
        memory = Path("/dev/shm")
        self.folder = Path(
            tempfile.mkdtemp(prefix="moxtwisted-many-", dir=memory if memory.is_dir() else None)
        )
        self.addCleanup(shutil.rmtree, self.folder)
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
                parts.append(b' (%b) "%b" {%d+}\r\n%b' % (flags(number), date(number), len(octets), octets))
            self.connection.send(b"".join([*parts, b"\r\n"]))
            answer = self.connection.readline()
            self.assertTrue(answer.startswith(b"many OK [APPENDUID "), answer)

    def created(self, name: str) -> str:
        """An empty mailbox for this test alone: the consistency checks of later tests look at all that is left."""
        self.assertEqual(self.connection.create(name)[0], "OK")
        self.addCleanup(self.deleted, name)
        return name

    def deleted(self, name: str) -> None:
        """Remove a mailbox, by a connection that has none selected."""
        connection = self.server.imap()
        self.assertEqual(connection.delete(name)[0], "OK")
        connection.logout()

    def copied(self, name: str) -> None:
        """Such a mailbox with the same messages."""
        self.created(name)
        self.connection.select(MAILBOX, readonly=True)
        self.assertEqual(self.connection.copy("1:*", name)[0], "OK")
        self.connection.unselect()

    def kept(self, name: str) -> DatedMail:
        """All messages of a mailbox of the server."""
        connection = self.server.imap()
        try:
            connection.select(name, readonly=True)
            _, data = connection.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
            found: DatedMail = Counter()
            for part in data:
                if not isinstance(part, tuple):
                    continue
                head, octets = part
                received = re.search(rb'INTERNALDATE "([^"]*)"', head)
                named = re.search(rb"FLAGS \(([^)]*)\)", head)
                assert received is not None and named is not None, head
                found[octets, letters(named[1]), received[1]] += 1
            return found
        finally:
            connection.logout()

    def same_on_server(self, name: str, *, dates: bool, without: str = "", unknown: str = "") -> None:
        """The mailbox has the messages and nothing else; with their dates, where the program says them.

        :param without: header fields that the program adds, a regular expression.
        :param unknown: letters of flags that it does not have.
        """
        kept = [
            (stripped(octets, without), marks, received)
            for octets, marks, received in self.kept(name).elements()
        ]
        if dates:
            self.same(Counter(kept), EXPECTED_DATED)
        else:
            self.same(Counter((octets, marks) for octets, marks, _ in kept), lacking(unknown))

    def same_locally(
        self, found: Iterable[tuple[bytes, str]], *, without: str = "", unknown: str = ""
    ) -> None:
        """A local mailbox has them."""
        self.same(Counter((stripped(octets, without), marks) for octets, marks in found), lacking(unknown))

    def same(self, found: Counter[T], expected: Counter[T]) -> None:
        """Fail with a few of what is different."""
        self.assertEqual(found.total(), expected.total())
        if found != expected:
            self.fail(f"{(found - expected).most_common(2)} instead of {(expected - found).most_common(2)}")


def lacking(unknown: str) -> Mail:
    """What is expected of a program without these flags."""
    return Counter((octets, marks.replace(unknown, "")) for octets, marks in EXPECTED.elements())


def stripped(octets: bytes, field: str) -> bytes:
    """A message without some fields of its header, a regular expression of names; none is folded."""
    header, blank, body = octets.partition(b"\r\n\r\n")
    return (
        re.sub(rb"(?mi)^(?:%b): .*\n" % field.encode(), b"", header + b"\r\n") + blank[2:] + body
        if field
        else octets
    )


def maildir(path: Path) -> Iterator[tuple[bytes, str]]:
    """The messages of a Maildir with the line ends of the wire, and the letters of their flags."""
    for file in (*path.glob("cur/*"), *path.glob("new/*")):
        octets = file.read_bytes()
        if b"\r" in octets:
            raise ValueError(f"a CR in {file}")
        yield octets.replace(b"\n", b"\r\n"), file.name.partition(":2,")[2].strip()


def write_maildir(path: Path) -> None:
    """Make a Maildir with the messages."""
    for name in ("cur", "new", "tmp"):
        (path / name).mkdir(parents=True)
    now = int(time.time())
    for number in range(COUNT):
        file = path / "cur" / f"{now}.{number}.many:2,{letters(flags(number))}"
        file.write_bytes(message(number).replace(b"\r\n", b"\n"))
