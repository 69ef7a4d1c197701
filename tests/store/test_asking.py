"""Short questions: which connection answers them, and that SQLite compiles nothing twice for them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import apsw
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from moxtwisted.message.flags import FLAGGED, MessageFlags
from moxtwisted.store.interfaces import Addition, Column, NewMessage
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store
from tests.store.mail import StoreTestCase
from tests.store.test_lanes import HeldSyncs

_FLAGGED = MessageFlags(FLAGGED, ())


class AskingTests(TestCase):
    """The writer's connection answers while nobody writes by it."""

    timeout = 60

    async def make(self) -> Any:
        """An account with a message."""
        self.store = Store.open(reactor, Path(self.mktemp()), MasterKey(bytes(32)))
        self.addCleanup(self.store.close)
        account: Any = await self.store.create_account("u")
        self.inbox = account.mailbox("INBOX").id
        await self.settled(account)
        await self.add(account)
        await self.settled(account)
        return account

    async def settled(self, account: Any) -> None:
        """The writer's thread has nothing to do and has let go of the account, however busy the machine is."""
        lane, free = account._lane, 0
        while free < 2:
            await deferLater(reactor, 0.005)
            free += 1
            if lane._thread._idle or lane._handed or lane.working or lane.lock.locked():
                free = 0

    def add(self, account: Any) -> Any:
        """The Deferred of one more message's addition."""
        sink = self.store.stage()
        sink.write(b"Subject: hello\r\n\r\nworld\r\n")
        return account.add([Addition(self.inbox, NewMessage(sink.finish(), b"", 1))])

    def uids(self, connection: Any) -> list[int]:
        """What a connection sees."""
        rows = connection.execute("SELECT uid FROM message WHERE mailbox = ? ORDER BY uid", (self.inbox,))
        return [uid for (uid,) in rows]

    def asked(self, account: Any) -> tuple[bool, list[int]]:
        """Whether the writer's connection answers, and what it sees."""
        found: tuple[bool, list[int]] = account.ask(
            lambda connection: (connection is account._database.writer, self.uids(connection))
        )
        return found

    async def test_nobody_writes(self) -> None:
        """Then it is the writer's, which is free again afterwards, also when the question failed."""
        account = await self.make()
        self.assertEqual(self.asked(account), (True, [1]))
        with self.assertRaises(ZeroDivisionError):
            account.ask(lambda connection: 1 // 0)
        self.assertEqual(self.asked(account), (True, [1]))
        await self.add(account)
        self.assertEqual(self.asked(account), (True, [1, 2]))

    async def test_told(self) -> None:
        """Who is told of a commit asks the writer's, in the middle of being told as well as later; others' jobs wait meanwhile."""
        account = await self.make()
        seen: list[tuple[bool, list[int]]] = []
        done = self.add(account)
        done.addCallback(lambda _: seen.append(self.asked(account)))
        lane = account._lane
        more = [self.add(account) for _ in range(3)]
        await done
        self.assertEqual(seen[0][0], True)
        self.assertIn(2, seen[0][1])
        for one in more:
            await one
        self.assertFalse(lane._writing)

    async def test_thread_writes(self) -> None:
        """In the middle of a thread's transaction it is the reader's, which sees nothing of it and waits for nobody."""
        account = await self.make()
        begun, go_on = threading.Event(), threading.Event()

        def work(ledger: Any) -> None:
            ledger.connection.execute("DELETE FROM message")
            begun.set()
            go_on.wait(30)
            raise KeyError

        done = account.submit(work)
        self.addCleanup(go_on.set)
        self.assertTrue(begun.wait(30))
        self.assertEqual(self.asked(account), (False, [1]))
        self.assertEqual(account.rows(self.inbox, [1], Column.SIZE), [(1, 25)])
        go_on.set()
        with self.assertRaises(KeyError):
            await done
        self.assertEqual(account.bodies(self.inbox, [1], 1000), [(1, b"Subject: hello\r\n\r\nworld\r\n")])

    async def test_being_synced(self) -> None:
        """While what the reactor's thread wrote is on its way to the disk it is the writer's."""
        account = await self.make()
        lane = account._lane
        real, lane._syncs = lane._syncs, HeldSyncs()
        done = self.add(account)
        self.assertEqual(len(lane._syncs.held), 1)
        self.assertEqual(self.asked(account), (True, [1, 2]))
        self.assertTrue(lane.lock.locked())
        lane._syncs.end()
        lane._syncs = real
        await done
        self.assertFalse(lane.lock.locked())
        self.assertEqual(self.asked(account), (True, [1, 2]))


class CompilingTests(StoreTestCase):
    """Each statement is compiled when it is used first."""

    def act(self, uid: int) -> None:
        """What clients do with a message all day."""
        self.successResultOf(self.account.store_flags(self.inbox, [uid], "add", _FLAGGED))
        self.assertEqual(len(self.account.bodies(self.inbox, [uid], 1000)), 1)
        for columns in (Column.SIZE, Column.SIZE | Column.ENVELOPE):
            self.assertEqual(len(self.account.rows(self.inbox, [uid], columns)), 1)
        self.octets(uid)
        self.successResultOf(self.account.expunge(self.inbox, [uid]))
        self.successResultOf(self.add(b"Subject: more\r\n\r\n"))

    def test_once(self) -> None:
        """Other values do not have it compiled again."""
        for number in range(8):
            self.successResultOf(self.add(b"Subject: %d\r\n\r\n" % number))
        self.account.state(self.inbox)
        compiled: set[int] = set()

        def seen(action: int, *_: object) -> int:
            compiled.add(action)
            return int(apsw.SQLITE_OK)

        database = self.account._database
        for connection in (database.reader, database.writer):
            connection.authorizer = seen
        # All statements are void now.
        for uid in (1, 2, 3):
            self.act(uid)
        self.assertIn(apsw.SQLITE_SELECT, compiled)
        compiled.clear()
        for uid in (4, 5, 6):
            self.act(uid)
        # apsw does not keep pragmas.
        self.assertLessEqual(compiled, {apsw.SQLITE_PRAGMA})
