"""Open accounts: which stay open, and what is said of mailboxes that others remove at the same time."""

from __future__ import annotations

import threading
from pathlib import Path
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.store import store as stores
from moxtwisted.store.accounts import Account
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store


class KeptOpenTests(SynchronousTestCase):
    """Accounts that nobody uses."""

    def setUp(self) -> None:
        """A store that keeps two open."""
        self.clock = Clock()
        self.store = Store.open(None, Path(self.mktemp()), None, threads=0, seconds=self.clock.seconds)
        self.addCleanup(self.store.close)
        self.patch(stores, "KEPT_OPEN", 2)
        for number in range(6):
            self.clock.advance(2)
            self.successResultOf(self.store.create_account(f"a{number}"))

    def _kept(self) -> list[str]:
        return list(self.store._kept)

    def test_newest(self) -> None:
        """Those that were asked for last stay open."""
        self.assertEqual(self._kept(), ["a4", "a5"])

    def test_busy(self) -> None:
        """One that has work of its own stays open, and keeps no others open."""
        busy = property(lambda account: account.name == "a4")
        with mock.patch.object(Account, "busy", busy):
            for number in (0, 1, 2, 3, 0, 1):
                self.clock.advance(2)
                self.store.account(f"a{number}")
                self.assertIn("a4", self._kept())
                self.assertEqual(len(self._kept()), 2)
        self.clock.advance(2)
        self.store.account("a2")
        self.store.account("a3")
        self.assertEqual(self._kept(), ["a2", "a3"])

    def test_all_busy(self) -> None:
        """When all are busy, all stay open."""
        with mock.patch.object(Account, "busy", True):
            for number in range(6):
                self.clock.advance(2)
                self.store.account(f"a{number}")
        self.assertEqual(sorted(self._kept()), [f"a{number}" for number in range(6)])


class RemovedMailboxTests(TestCase):
    """What one client makes and another removes."""

    timeout = 60

    async def test_in_one_commit(self) -> None:
        """Who made a mailbox, or renamed it, has it described though it was removed in the same commit."""
        store = Store.open(reactor, Path(self.mktemp()), MasterKey(bytes(32)))
        self.addCleanup(store.close)
        account = await store.create_account("u")
        begun, go_on = threading.Event(), threading.Event()

        def wait(_: object) -> None:
            begun.set()
            go_on.wait(30)

        waiting = account.submit(wait)
        begun.wait(30)
        # All of these are in the transaction after that.
        made = account.create_mailbox("A")
        renamed = account.rename_mailbox("A", "B")
        removed = account.delete_mailbox("B")
        go_on.set()
        await gatherResults([waiting, removed])
        self.assertIsNone(account.mailbox("B"))
        self.assertEqual([(await made).name, (await renamed).name], ["A", "B"])
