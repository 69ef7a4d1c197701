"""What a thread reads ahead is what would have been read."""

from __future__ import annotations

import contextlib
import random
import threading
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from moxtwisted.errors import ConsistencyError
from moxtwisted.store import readahead
from moxtwisted.store.bodies import CHUNK_OCTETS
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.manybodies import read_together
from moxtwisted.store.readahead import ReadAhead
from moxtwisted.store.reading import read_many
from moxtwisted.store.store import Store
from tests.store.mail import KEY, StoreTestCase

HEADER = b"From: a@example.org\r\nSubject: x\r\n\r\n"


class AheadCase(StoreTestCase):
    """A store whose only thread is the one that reads ahead."""

    def setUp(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.broken = False
        self.patch(readahead, "read_together", self.read_gated)
        super().setUp()
        for number in range(12):
            self.add(HEADER + b"%d words\r\n" % number * 100)
        self.addCleanup(self.gate.set)

    def open(self, key: Any = KEY) -> Any:
        store = super().open(key)
        store.read_ahead = self.reader = ReadAhead(self.clock)
        return store

    def read_gated(self, *args: Any) -> Any:
        """In the thread."""
        self.begun.set()
        self.gate.wait(10)
        if self.broken:
            raise ValueError("broken")
        return read_together(*args)

    def read(self, uids: Any, limit: int) -> Any:
        return self.account.bodies(self.inbox, uids, limit)

    def settle(self) -> None:
        """Until the thread has done all it was given."""
        self.reader._thread.submit(int).result(10)

    def line(self) -> Any:
        return self.account._database.ahead


class TogetherTests(AheadCase):
    def test_equal(self) -> None:
        """Messages of every kind, any of them and within any limit, are those that read_many gives."""
        dice = random.Random(1)
        for octets in (
            b"",
            b"\x00\xff\xfe" + dice.randbytes(5000),
            dice.randbytes(CHUNK_OCTETS + 77),
            b"A line.\r\n" * 40_000,
            HEADER + dice.randbytes(20_000),
        ):
            self.add(octets)
            new = NewMessage(self.new(octets).staged, b"Return-Path: <b@example.org>\r\n", 1)
            self.account.add([Addition(self.inbox, new)])
        self.successResultOf(self.account.expunge(self.inbox, [3, 7], only_deleted=False))
        for _ in range(200):
            uids = sorted(dice.sample(range(1, 30), dice.randrange(1, 29)))
            limit = dice.choice((0, 1000, 5000, 300_000, 10_000_000))
            expected = read_many(self.account.reader, self.inbox, uids, limit)
            self.assertEqual(read_together(self.account.reader, self.inbox, uids, limit), expected)


class TakeTests(AheadCase):
    def test_taken(self) -> None:
        """What was announced is taken, in order; what was not is not there; all of it counts until it is taken."""
        ahead = self.account.ahead(self.inbox)
        for uids in ([1, 2], [3], [4, 5]):
            ahead.expect(uids, 100_000)
        self.assertEqual(self.reader.octets, 300_000)
        self.settle()
        expected = self.read([1, 2], 100_000)
        self.assertEqual(ahead.take([1, 2], 100_000, self.fail), expected)
        self.assertIsNone(ahead.take([1, 2], 100_000, self.fail))
        self.assertIsNone(ahead.take([3], 99_999, self.fail))
        self.assertEqual(ahead.take([4, 5], 100_000, self.fail), self.read([4, 5], 100_000))
        self.assertEqual(self.reader.octets, 0)
        self.assertIsNone(ahead.take([3], 100_000, self.fail))

    def test_busy_elsewhere(self) -> None:
        """Who finds the thread at work for others does not wait for it."""
        self.gate.clear()
        other, ahead = self.account.ahead(self.inbox), self.account.ahead(self.inbox)
        other.expect([1], 1000)
        self.assertTrue(self.begun.wait(10))
        ahead.expect([2], 100_000)
        self.assertIsNone(ahead.take([2], 100_000, self.fail))
        self.gate.set()
        other.drop()
        self.assertEqual(self.reader.octets, 0)

    def test_shared_work(self) -> None:
        """While the thread reads a batch that is asked for, the asker reads the next ones."""
        self.gate.clear()
        asked: list[Any] = []

        def read(uids: Any, limit: int) -> Any:
            asked.append(list(uids))
            if len(asked) == 2:
                self.gate.set()
                self.settle()
            return self.read(uids, limit)

        ahead = self.account.ahead(self.inbox)
        for uids in ([1], [2], [3]):
            ahead.expect(uids, 100_000)
        self.assertTrue(self.begun.wait(10))
        self.assertEqual(ahead.take([1], 100_000, read), self.read([1], 100_000))
        self.assertEqual(asked, [[2], [3]])
        for uid in (2, 3):
            self.assertEqual(ahead.take([uid], 100_000, self.fail), self.read([uid], 100_000))

    def test_slow_thread(self) -> None:
        """A thread that does not get on is waited for only so long."""
        self.patch(readahead, "PATIENCE_SECONDS", 0.01)
        self.gate.clear()
        ahead = self.account.ahead(self.inbox)
        ahead.expect([1], 1000)
        self.assertTrue(self.begun.wait(10))
        self.assertIsNone(ahead.take([1], 1000, self.fail))
        self.assertEqual(self.reader.octets, 0)

    def test_failing_thread(self) -> None:
        """Whatever goes wrong in the thread, the messages are there for who reads them himself."""
        self.broken = True
        ahead = self.account.ahead(self.inbox)
        ahead.expect([1], 1000)
        self.settle()
        self.assertIsNone(ahead.take([1], 1000, self.fail))

    def test_damaged(self) -> None:
        """A damaged message is said to be so when it is asked for, not before, whoever reads it."""
        connection = self.account._database.writer
        (body,) = connection.execute(
            "SELECT body FROM message WHERE mailbox = ? AND uid = 2", (self.inbox,)
        ).fetchall()[0]
        ((octets,),) = connection.execute("SELECT data FROM chunk WHERE id = ?", (body << 16,)).fetchall()
        change = partial(connection.execute, "UPDATE chunk SET data = ? WHERE id = ?")
        change((b"nonsense", body << 16))
        self.gate.clear()
        ahead = self.account.ahead(self.inbox)
        for uid in (1, 2, 3):
            ahead.expect([uid], 100_000)
        self.assertTrue(self.begun.wait(10))

        def read(uids: Any, limit: int) -> Any:
            with contextlib.suppress(ConsistencyError):
                return self.read(uids, limit)
            self.gate.set()
            raise ConsistencyError("damaged")

        self.assertEqual(ahead.take([1], 100_000, read), self.read([1], 100_000))
        self.assertIsNone(ahead.take([2], 100_000, read))
        self.assertRaises(ConsistencyError, self.read, [2], 100_000)
        ahead.drop()
        ahead.expect([2], 100_000)
        self.settle()
        self.assertIsNone(ahead.take([2], 100_000, read))
        change((octets, body << 16))

    def test_gone(self) -> None:
        """Messages that are expunged, and mailboxes that are removed, do no harm, before and while they are read."""
        ahead = self.account.ahead(self.inbox)
        ahead.expect([1, 2], 100_000)
        self.settle()
        self.successResultOf(self.account.expunge(self.inbox, [1, 3], only_deleted=False))
        self.assertEqual([uid for uid, _ in ahead.take([1, 2], 100_000, self.fail)], [1, 2])
        ahead.expect([3, 4], 100_000)
        self.settle()
        self.assertEqual([uid for uid, _ in ahead.take([3, 4], 100_000, self.fail)], [4])
        sent = self.account.mailbox("Sent").id
        self.successResultOf(self.account.copy(self.inbox, [4, 5], sent))
        self.successResultOf(self.account.delete_mailbox("Sent"))
        gone = self.account.ahead(sent)
        gone.expect([1, 2], 100_000)
        self.settle()
        self.assertEqual(gone.take([1, 2], 100_000, self.fail), [])


class BoundsTests(AheadCase):
    def test_octets(self) -> None:
        """Sessions read ahead a few batches each, and together so many octets."""
        sessions = [self.account.ahead(self.inbox) for _ in range(20)]
        for ahead in sessions:
            for uid in range(1, 9):
                ahead.expect([uid], 1 << 20)
        self.assertEqual(self.reader.octets, readahead.AHEAD_OCTETS)
        self.assertEqual(len(sessions[0]._batches), readahead.BATCHES)
        for ahead in sessions:
            ahead.drop()
            ahead.drop()
        self.assertEqual(self.reader.octets, 0)
        sessions[-1].expect([1], readahead.AHEAD_OCTETS + 1)
        self.assertEqual(self.reader.octets, 0)

    def test_connections(self) -> None:
        """So many accounts have a connection; another gets one when one of them has had a rest."""
        others = [self.successResultOf(self.store.create_account(f"u{n}")) for n in range(9)]
        for account in others:
            account.ahead(1).expect([1], 10)
        self.settle()
        lines = [account._database.ahead for account in others]
        self.assertEqual([line.opened for line in lines], [True] * 8 + [False])
        self.clock.advance(2)
        others[8].ahead(1).expect([1], 10)
        self.settle()
        self.assertEqual([line.opened for line in lines], [False] + [True] * 8)

    def test_unused(self) -> None:
        """A connection that nobody used for a while is closed, and opened again."""
        ahead = self.account.ahead(self.inbox)
        for _ in range(2):
            self.assertFalse(self.line().opened)
            ahead.expect([1], 1000)
            self.settle()
            ahead.drop()
            self.assertTrue(self.line().opened)
            self.clock.advance(readahead.UNUSED_SECONDS)
            self.clock.advance(readahead.UNUSED_SECONDS)
            self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_log(self) -> None:
        """Between batches nothing keeps the log from being written back and emptied."""
        ahead = self.account.ahead(self.inbox)
        ahead.expect([1, 2, 3], 2000)
        self.settle()
        log = Path(f"{self.account._database.path}-wal")
        self.assertGreater(log.stat().st_size, 0)
        self.assertTrue(self.account._database._write_back())
        self.assertEqual(log.stat().st_size, 0)
        ahead.drop()


class ClosingTests(AheadCase):
    def test_closed(self) -> None:
        """Closing waits for the batch that is being read, closes the connection, and leaves no log behind."""
        ahead = self.account.ahead(self.inbox)
        self.gate.clear()
        ahead.expect([1], 1000)
        ahead.expect([2], 1000)
        self.assertTrue(self.begun.wait(10))
        line, path = self.line(), self.account._database.path
        threading.Timer(0.05, self.gate.set).start()
        self.successResultOf(self.store.close())
        self.assertFalse(line.opened)
        self.assertFalse(Path(f"{path}-wal").exists())
        ahead.take([1], 1000, self.fail)
        self.assertIsNone(ahead.take([2], 1000, self.fail))
        ahead.expect([3], 1000)
        self.assertEqual(self.reader.octets, 0)

    def test_removed(self) -> None:
        """An account can be removed while it is read ahead."""
        ahead = self.account.ahead(self.inbox)
        ahead.expect([1], 1000)
        line = self.line()
        self.successResultOf(self.store.remove_account("bob"))
        self.assertFalse(line.opened)
        ahead.drop()
        self.account = self.successResultOf(self.store.create_account("bob"))

    def test_without_threads(self) -> None:
        """A store without threads reads nothing ahead."""
        store = Store.open(None, Path(self.mktemp()), None, threads=0)
        account = self.successResultOf(store.create_account("me"))
        self.assertIsNone(account.ahead(1))
        self.successResultOf(store.close())


class ThreadsTests(TestCase):
    async def test_store(self) -> None:
        """A store with threads reads ahead, and nothing is left of it when it is closed."""
        store = Store.open(reactor, Path(self.mktemp()), KEY, threads=2)
        account = await store.create_account("me")
        additions = []
        for number in range(50):
            sink = store.stage()
            sink.write(HEADER + b"%d words\r\n" % number * 1000)
            additions.append(Addition("INBOX", NewMessage(sink.finish(), b"", 1)))
        await account.add(additions)
        inbox = account.mailbox("INBOX").id  # type: ignore[union-attr]
        ahead = account.ahead(inbox)
        self.assertIsNotNone(ahead)
        groups = [range(start, start + 5) for start in range(1, 50, 5)]
        for place, group in enumerate(groups):
            for later in groups[place : place + 3]:
                if place == 0 or later is groups[min(place + 2, 9)]:
                    ahead.expect(later, 1 << 20)  # type: ignore[union-attr]
            read = partial(account.bodies, inbox)
            found = ahead.take(group, 1 << 20, read) or read(group, 1 << 20)  # type: ignore[union-attr]
            self.assertEqual(found, read(group, 1 << 20))
        ahead.drop()  # type: ignore[union-attr]
        assert store.read_ahead is not None
        self.assertEqual(store.read_ahead.octets, 0)
        await store.close()
