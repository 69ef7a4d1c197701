"""FETCH of many messages, the next of which are read while it sends, over the real store."""

from __future__ import annotations

import threading
from typing import Any

from zope.interface.verify import verifyObject

from moxtwisted.imap.readahead import IReadingAhead
from moxtwisted.store import readahead
from moxtwisted.store.database import open_reader
from moxtwisted.store.interfaces import IAhead
from moxtwisted.store.manybodies import read_together
from moxtwisted.store.readahead import ReadAhead
from tests.server.house import Line
from tests.server.test_imapd import IMAPCase

BOB = "bob@example.org"
COMMANDS = ("BODY.PEEK[]", "FLAGS BODY.PEEK[TEXT]<0.100> BODY.PEEK[HEADER]", "RFC822.SIZE BINARY.PEEK[1]")


class ReadAheadTests(IMAPCase):
    def setUp(self) -> None:
        super().setUp()
        self.broken = False
        self.threads: set[int] = set()
        self.patch(readahead, "read_together", self.read)
        self.store = self.house.store
        for number in range(30):
            size = (10, 200_000, 40_000, 700_000)[number % 4]
            self.add(b"Subject: %d\r\n\r\n" % number + b"%09d\r\n" % number * (size // 11))

    def read(self, *args: Any) -> Any:
        self.threads.add(threading.get_ident())
        if self.broken:
            raise ValueError("broken")
        return read_together(*args)

    def start(self) -> ReadAhead:
        """From now on alice's account is read ahead."""
        reader = ReadAhead(self.house.clock)
        self.addCleanup(reader.stop)
        database = self.store.account("alice")._database
        key = self.store.database_key("accounts/alice")
        database.ahead = reader.line(lambda: open_reader(database.path, key))
        self.addCleanup(database.ahead.close)
        return reader

    def test_same(self) -> None:
        """The answers are the same with it, without it, and when it never succeeds; nothing is left afterwards."""
        line = self.log_in()
        self.ask(line, "EXAMINE INBOX")
        before = [self.ask(line, f"UID FETCH 1:* ({what})") for what in COMMANDS]
        reader = self.start()
        again = self.log_in()
        self.ask(again, "EXAMINE INBOX")
        for self.broken in (False, True):
            for what, expected in zip(COMMANDS, before, strict=True):
                self.assertTrue(self.ask(again, f"UID FETCH 1:* ({what})") == expected, what)
                self.assertEqual(reader.octets, 0)
        self.assertGreater(len(self.threads), 0)
        self.assertNotIn(threading.get_ident(), self.threads)

    def test_interfaces(self) -> None:
        """The mailbox that a session selected can read ahead, its own and another's."""
        self.start()
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        verifyObject(IReadingAhead, IReadingAhead(self.selected(line)))
        verifyObject(IAhead, self.store.account("alice").ahead(1))

    def selected(self, line: Line) -> Any:
        return line.protocol.server.connection.selected.mailbox

    def test_left(self) -> None:
        """What was announced is forgotten when the mailbox is left, the connection is lost or another is selected."""
        reader = self.start()
        for leave in (
            lambda line: self.ask(line, "UNSELECT"),
            lambda line: self.ask(line, "SELECT INBOX"),
            lambda line: line.protocol.connectionLost(),
        ):
            line = self.log_in()
            self.ask(line, "SELECT INBOX")
            IReadingAhead(self.selected(line)).read_ahead([1, 2], 100_000)
            self.assertEqual(reader.octets, 100_000)
            leave(line)
            self.assertEqual(reader.octets, 0)

    def test_lost_in_the_middle(self) -> None:
        """A client that goes in the middle of its answer leaves nothing behind."""
        reader = self.start()
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        pieces = line.protocol.server
        pieces.receive(b"t UID FETCH 1:* (BODY.PEEK[])\r\n")
        stream = iter(pieces.next_work().pieces)
        next(stream)
        self.assertGreater(reader.octets, 0)
        stream.close()
        self.assertEqual(reader.octets, 0)

    def test_shared(self) -> None:
        """Somebody else's mailbox is read ahead too, as long as it may be read."""
        reader = self.start()
        owner = self.log_in()
        self.assertIn("t OK", self.ask(owner, "SETACL INBOX bob lr"))
        line = self.log_in(BOB)
        self.assertIn("t OK", self.ask(line, 'SELECT "Other Users/alice/INBOX"'))
        answer = self.ask(line, "UID FETCH 1:* (BODY.PEEK[])")
        self.assertEqual(answer.count("* "), 30)
        mailbox = self.selected(line)
        IReadingAhead(mailbox).read_ahead([1], 100_000)
        self.assertEqual(reader.octets, 100_000)
        self.assertIn("t OK", self.ask(owner, "DELETEACL INBOX bob"))
        IReadingAhead(mailbox).read_ahead([2], 100_000)
        self.assertEqual(reader.octets, 100_000)
        self.assertEqual(mailbox.bodies([1], 100_000), [])
        IReadingAhead(mailbox).read_ahead((), 0)
        self.assertEqual(reader.octets, 0)
