"""Open accounts: what is said of mailboxes that others remove at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store


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
