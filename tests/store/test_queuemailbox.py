"""Waiting mail as a mailbox of the account that sent it."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import LimitError, StoreUnavailableError
from moxtwisted.message.flags import MessageFlags
from moxtwisted.store import database, search
from moxtwisted.store.database import Database, create_database
from moxtwisted.store.interfaces import Column, IBodyReader, IMailboxState, SearchTerm
from moxtwisted.store.queue import Queue, SendingLimits
from moxtwisted.store.queueledger import NAME, Pins
from moxtwisted.store.queuemailbox import QueueMailbox
from moxtwisted.store.writer import WriterPool
from tests.store.test_queue import KEY, outgoing

DELETED = MessageFlags.parse(["\\Deleted"])
LETTER = b"From: alice@example.org\r\nSubject: gr=?utf-8?q?=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@x>\r\n\r\nSome text.\r\n"
EVERYTHING = Column(2 * Column.PREFIX_SIZE - 1)


class QueueMailboxCase(SynchronousTestCase):
    def setUp(self) -> None:
        # How much is done in a slice must not depend on how busy this machine is.
        self.patch(search, "SLICE_SECONDS", 1000.0)
        self.path = Path(self.mktemp())
        self.pool = WriterPool(None, threads=0)
        self.open()
        self.addCleanup(lambda: self.successResultOf(self.queue.close()))

    def open(self) -> None:
        self.queue = Queue.open(self.path, KEY, self.pool)

    def reopen(self) -> None:
        self.successResultOf(self.queue.close())
        self.open()

    def mailbox(self, account: str = "alice") -> QueueMailbox:
        return self.queue.mailbox(account, Clock())

    def submit(
        self, *recipients: str, octets: bytes = LETTER, account: str = "alice", now: int = 1000
    ) -> int:
        made = outgoing(*(recipients or ("b@example.com",)), octets=octets)
        object.__setattr__(made, "account", account)
        return self.successResultOf(self.queue.submit(made, ["b@example.com"], SendingLimits(), now))

    def count(self, table: str) -> int:
        number: int = self.queue._database.reader.execute(f"SELECT count(*) FROM {table}").get
        return number

    def octets(self, mailbox: QueueMailbox, uid: int) -> bytes:
        body: Any = mailbox.open_body(uid)
        try:
            found: bytes = body.read(0, body.size)
            return found
        finally:
            body.close()


class ReadingTests(QueueMailboxCase):
    def test_state(self) -> None:
        """It is a mailbox's state; what comes and goes is in it, and in a state that is loaded afresh."""
        mailbox = self.mailbox()
        for name in IMailboxState.names():
            self.assertTrue(hasattr(mailbox.state, name), name)
        self.assertEqual((mailbox.state.uidnext, mailbox.state.highestmodseq), (1, 1))
        heard: list[int] = []
        mailbox.state.listen(lambda: heard.append(mailbox.state.version))
        self.submit()
        self.submit(account="bob")
        self.submit()
        self.successResultOf(mailbox.store_flags([1], "add", DELETED))
        self.successResultOf(mailbox.expunge(None))
        self.assertEqual(heard, [1, 2, 3, 4])
        before = mailbox.state
        self.reopen()
        after = self.mailbox().state
        for state in (before, after):
            self.assertEqual(list(state.uids), [2])
            self.assertEqual(list(state.modseqs), [3])
            self.assertEqual([f.names for f in state.flags], [("\\Seen",)])
            self.assertEqual((state.uidnext, state.highestmodseq, state.unseen), (3, 5, 0))
        self.assertEqual(before.uidvalidity, after.uidvalidity)
        self.assertEqual(list(self.mailbox("bob").state.uids), [1])

    def test_columns(self) -> None:
        """Any columns come in the order of their bits."""
        self.submit("b@example.com", "c@example.com")
        mailbox = self.mailbox()
        (row,) = mailbox.rows([1], EVERYTHING)
        whole = self.octets(mailbox, 1)
        self.assertTrue(whole.endswith(b"Received: x\r\n" + LETTER))
        self.assertEqual(row[:4], (1, len(whole), 1000, 1000))
        self.assertIn(b'"gr=?utf-8?q?=C3=BC=C3=9Fe?="', row[6])
        self.assertEqual(row[-4], "Some text.")
        self.assertEqual(row[-1], len(whole) - len(LETTER))
        for columns in range(int(EVERYTHING) + 1):
            picked = [row[1 + n] for n in range(12) if columns & 1 << n]
            self.assertEqual(mailbox.rows([1], Column(columns)), [(1, *picked)])

    def test_large(self) -> None:
        """A message of several chunks is read from anywhere, and is too large for what reads many."""
        self.submit()
        octets = LETTER + os.urandom(600_000).hex().encode() + b"\r\n"
        self.submit(octets=octets)
        mailbox = self.mailbox()
        whole = self.octets(mailbox, 2)
        self.assertTrue(whole.endswith(octets))
        body: Any = mailbox.open_body(2)
        self.assertTrue(IBodyReader.providedBy(body))
        for offset in (0, 10, 262_000, 600_000, len(whole) - 5):
            self.assertEqual(body.read(offset, 300_000), whole[offset : offset + 300_000])
        body.close()
        self.assertEqual([uid for uid, _ in mailbox.bodies([1, 2], 100_000)], [1])
        self.assertEqual(mailbox.bodies([2], 100_000), [])
        self.assertEqual(mailbox.bodies([1, 2, 3], 10**7)[1], (2, whole))
        self.assertIsNone(mailbox.open_body(3))
        self.assertEqual(mailbox.snapshot().size, len(whole) + len(self.octets(mailbox, 1)))

    def test_snapshot(self) -> None:
        """The counts are the same object until something happens."""
        mailbox = self.mailbox()
        empty = mailbox.snapshot()
        self.assertEqual((empty.name, empty.messages, empty.size), (NAME, 0, 0))
        self.assertIs(mailbox.snapshot(), empty)
        self.submit()
        self.assertEqual(mailbox.snapshot().messages, 1)
        self.successResultOf(mailbox.store_flags([1], "add", DELETED))
        full = mailbox.snapshot()
        self.assertEqual((full.deleted, full.deleted_size), (1, full.size))
        self.successResultOf(mailbox.expunge([1]))
        self.assertEqual((mailbox.snapshot().size, mailbox.snapshot().uidnext), (0, 2))

    def test_search(self) -> None:
        """Text is found where it stands, decoded and without case; words nearly so."""
        self.submit("b@example.com")
        self.submit("c@example.com", octets=LETTER.replace(b"Some text.", b"Another word."))
        mailbox = self.mailbox()
        for place, needle, found in (
            ("subject", "GRÜSSE", {1, 2}),
            ("subject", "", {1, 2}),
            ("cc", "", set()),
            ("text", "ANOTHER", {2}),
            ("body", "grüße", set()),
            ("header", "c@example", {2}),
            ("x-moxtwisted-queue", "b@example.com", {1}),
        ):
            term = SearchTerm(place, needle)
            self.assertEqual(self.successResultOf(mailbox.search(term, [1, 2])), found, term)
        for place, needle, scores in (("body", "anothr", {2: 45}), ("text", "", {1: 100, 2: 100})):
            term = SearchTerm(place, needle)
            self.assertEqual(self.successResultOf(mailbox.search_fuzzy(term, [1, 2])), scores, term)

    def test_held_by_whom_looks(self) -> None:
        """One is shared by all who hold it, and gone when nobody does."""
        mailbox = self.mailbox()
        self.assertIs(self.mailbox(), mailbox)
        del mailbox
        gc.collect()
        self.assertEqual(len(self.queue._mailboxes), 0)

    def test_watched(self) -> None:
        """What happens is in the queues of those who want it, until they are closed."""
        mailbox = self.mailbox()
        heard: list[None] = []
        feed = mailbox.watch(2, lambda: heard.append(None))
        self.submit()
        ((change,), lost) = feed.take()
        self.assertEqual((change.kind, change.name, change.added, lost), ("messages", NAME, (1,), False))
        for _ in range(3):
            self.submit()
        self.assertEqual((len(feed.take()[0]), len(heard)), (2, 4))
        feed.close()
        feed.close()
        self.submit()
        self.assertEqual(len(heard), 4)

    def test_closed(self) -> None:
        """A queue that was closed says so."""
        self.submit()
        mailbox = self.mailbox()
        self.successResultOf(self.queue.close())
        with self.assertRaises(StoreUnavailableError):
            mailbox.rows([1], Column.SIZE)
        self.failureResultOf(mailbox.expunge(None), StoreUnavailableError)
        self.failureResultOf(mailbox.search(SearchTerm("text", "x"), [1]), StoreUnavailableError)
        self.open()


class ChangingTests(QueueMailboxCase):
    def test_recipients(self) -> None:
        """A message of which a recipient goes comes under another UID; the one before it is not there any more."""
        self.submit("b@example.com", "c@example.com")
        mailbox = self.mailbox()
        before = self.octets(mailbox, 1)
        self.successResultOf(self.queue.remove([self.queue.entries()[0].id]))
        self.assertEqual(list(mailbox.state.uids), [2])
        self.assertEqual(mailbox.rows([1], Column.SIZE), [])
        after = self.octets(mailbox, 2)
        self.assertEqual(after, before[before.index(b"X-Moxtwisted-Queue: c@") :])
        self.assertEqual(mailbox.state.changes_since(0), ([1], []))
        self.assertEqual(mailbox.snapshot().size, len(after))

    def test_only_ones_own(self) -> None:
        """UIDs are of one account: those of others are not touched."""
        for account in ("alice", "bob", "bob"):
            self.submit(account=account)
        bob = self.mailbox("bob")
        done = self.successResultOf(self.mailbox().store_flags([1, 2, 3], "add", DELETED))
        self.assertEqual(done.changed, (1,))
        self.assertEqual(self.successResultOf(self.mailbox().expunge(None, only_deleted=False)), (1,))
        self.assertEqual((list(bob.state.uids), bob.state.highestmodseq), ([1, 2], 3))
        self.assertEqual(self.successResultOf(bob.expunge([1, 2])), ())
        self.assertEqual(self.successResultOf(self.mailbox("").expunge(None, only_deleted=False)), ())

    def test_flags(self) -> None:
        r"""\Deleted is set, taken away and replaced; UNCHANGEDSINCE is kept; nothing else is stored."""
        self.submit()
        self.submit()
        mailbox = self.mailbox()
        seen = MessageFlags.parse(["\\Seen"])
        for uids, mode, flags, since, changed, refused in (
            ([1, 2, 9], "add", DELETED, None, (1, 2), ()),
            ([1, 2], "add", DELETED, None, (), ()),
            ([1, 2], "remove", seen, None, (), ()),
            ([1], "remove", DELETED, None, (1,), ()),
            ([1, 2], "replace", seen, 4, (2,), (1,)),
            ([], "replace", DELETED, None, (), ()),
        ):
            done = self.successResultOf(mailbox.store_flags(uids, mode, flags, since))  # type: ignore[arg-type]
            self.assertEqual((done.changed, done.refused), (changed, refused), (uids, mode))
            self.assertEqual(done.modseq, mailbox.state.highestmodseq if changed else 0)

    def test_disowned(self) -> None:
        """What an account left behind when it was removed is sent, and seen by nobody who has its name."""
        self.submit("b@example.com")
        self.submit("c@example.com", account="")
        mailbox = self.mailbox()
        self.successResultOf(self.queue.disown("alice"))
        self.assertEqual((list(mailbox.state.uids), mailbox.state.uidnext), ([], 2))
        first = self.queue.entries()[0]
        self.assertEqual((first.account, first.recipient), ("", "b@example.com"))
        self.submit()
        self.assertEqual(list(mailbox.state.uids), [2])

    def test_out_of_numbers(self) -> None:
        """UIDs are not used twice: when there are none left nothing more is taken."""
        self.submit()
        self.queue._database.writer.execute("UPDATE owner SET uidnext = 4294967295")
        self.submit()
        made = outgoing("b@example.com")
        failed = self.queue.submit(made, ["b@example.com"], SendingLimits(), 1000)
        self.failureResultOf(failed, LimitError)
        self.assertEqual(list(self.mailbox().state.uids), [1, 4294967295])

    def test_other_file(self) -> None:
        """A queue that was made anew has another UIDVALIDITY as soon as a second has passed."""
        value = self.mailbox().state.uidvalidity
        self.assertTrue(0 < value < 2**32)
        self.queue._database.writer.execute("UPDATE setting SET value = value + 1 WHERE key = 'uidvalidity'")
        self.reopen()
        self.assertEqual(self.mailbox().state.uidvalidity, value + 1)


class LeavingTests(QueueMailboxCase):
    """Messages that somebody reads while they leave."""

    def test_left_at_the_end(self) -> None:
        """What was still read when the server stopped is gone after the next start."""
        self.submit()
        body: Any = self.mailbox().open_body(1)
        self.successResultOf(self.mailbox().expunge(None, only_deleted=False))
        self.assertEqual((self.count("submission"), self.count("chunk"), self.count("leftover")), (0, 1, 1))
        self.assertIn(b"Some text.", body.read(0, body.size))
        self.reopen()
        body.close()
        self.assertEqual((self.count("chunk"), self.count("leftover")), (0, 0))

    def test_last_reader(self) -> None:
        """The octets go with the last who reads them."""
        self.submit()
        mailbox = self.mailbox()
        one, two = mailbox.open_body(1), mailbox.open_body(1)
        self.successResultOf(mailbox.expunge(None, only_deleted=False))
        for body, left in ((one, 1), (one, 1), (two, 0)):
            assert body is not None
            body.close()
            self.assertEqual(self.count("chunk"), left)

    def test_too_late(self) -> None:
        """Whoever begins to read a message that is being removed, or was, gets nothing; and holds nothing."""
        pins = Pins()
        self.assertFalse(pins.pin(1, lambda: False))
        pins.removing.add(1)
        self.assertFalse(pins.pin(1, lambda: True))
        self.assertNotIn(1, pins)
        self.assertEqual(pins.left([1]), [1])

    def test_removal_that_fails(self) -> None:
        """A removal that came to nothing keeps nobody from reading, and is told to nobody."""
        self.submit()
        mailbox = self.mailbox()
        ledger = self.queue._ledger
        ledger.begin()
        ledger.withdraw([1])
        self.assertIsNone(mailbox.open_body(1))
        ledger.rollback()
        self.assertIn(b"Some text.", self.octets(mailbox, 1))
        self.submit()
        self.assertEqual(list(mailbox.state.uids), [1, 2])


class MigrationTests(QueueMailboxCase):
    def test_from_before(self) -> None:
        """What waited before there was such a mailbox is in it, as if it had come since."""
        self.submit("b@example.com", "c@example.com")
        self.submit(account="bob")
        self.submit("d@example.com")
        new = {name: self.mailbox(name).rows([1, 2], EVERYTHING) for name in ("alice", "bob")}
        tables = {
            name: self.queue._database.reader.execute(f"SELECT * FROM {name}").fetchall()
            for name in ("submission", "recipient", "chunk")
        }
        self.successResultOf(self.queue.close())
        old = Path(self.mktemp())
        first = database._migrations("queue")[:1]
        with patch.object(database, "_migrations", lambda schema: first):
            create_database(old, KEY, "queue")
            opened = Database.open(old, KEY, "queue")
            for name, width in (("submission", 12), ("recipient", 9), ("chunk", 3)):
                marks = ", ".join("?" * width)
                opened.writer.executemany(
                    f"INSERT INTO {name} VALUES ({marks})", [row[:width] for row in tables[name]]
                )
            opened.close()
        self.path = old
        self.open()
        for name, rows in new.items():
            self.assertEqual(self.mailbox(name).rows([1, 2], EVERYTHING), rows)
        self.assertEqual(self.mailbox().state.uidnext, 3)
        self.submit()
        self.assertEqual(list(self.mailbox().state.uids), [1, 2, 3])

    def test_damaged(self) -> None:
        """A message that cannot be read keeps nobody from starting, and is there."""
        self.submit()
        self.submit(octets=LETTER.replace(b"Some", b"Other"))
        writer = self.queue._database.writer
        writer.execute("UPDATE submission SET facts = NULL; DELETE FROM chunk WHERE id < 2 << 16")
        self.reopen()
        mailbox = self.mailbox()
        self.assertEqual(len(mailbox.rows([1, 2], EVERYTHING)), 2)
        self.assertEqual(self.successResultOf(mailbox.search(SearchTerm("text", "text"), [1, 2])), {2})
        self.assertEqual([uid for uid, _ in mailbox.bodies([1, 2], 10**6)], [2])
        self.assertEqual(self.successResultOf(mailbox.expunge(None, only_deleted=False)), (1, 2))
