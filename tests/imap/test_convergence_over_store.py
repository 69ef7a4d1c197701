"""Several sessions on one mailbox of the real store: what each client was told adds up to what is on disk."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from moxtwisted.imap.backend import IAuthenticator
from moxtwisted.imap.memory import MemoryAuthenticator
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.server.imapd.mail import AccountSession
from moxtwisted.store.bodies import decode
from moxtwisted.store.consistency import check
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.store import Store
from tests.imap.test_convergence import Convergence, Place

SEEDS = int(os.environ.get("MOXTWISTED_CONVERGENCE_SEEDS", "12"))


@implementer(IAuthenticator)
class StoreAuthenticator(MemoryAuthenticator):
    """Alice, whose mail is in the store."""

    def __init__(self, store: Store, account: Any) -> None:
        super().__init__({"alice": ("secret", None)}, counted_entropy())  # type: ignore[dict-item]  # no mail in memory
        self._store, self._account = store, account

    def session(self, identity: str, peer: Any) -> Any:
        return AccountSession(
            self._store, self._account, frozenset(), 1 << 20, lambda: None, lambda: 1_700_000_000.0
        )


class StoreConvergenceTests(Convergence):
    def place(self, dice: random.Random) -> Place:
        clock = Clock()
        clock.advance(1_700_000_000)
        store = Store.open(clock, Path(self.mktemp()), None, threads=0, seconds=clock.seconds)
        account: Any = self.successResultOf(store.create_account("alice", [("Other", "")]))
        inbox = account.mailbox("INBOX").id

        def connect() -> Driver:
            return Driver.of(authenticator=StoreAuthenticator(store, account))

        def deliver(octets: bytes) -> None:
            sink = store.stage()
            sink.write(octets)
            staged = sink.finish()
            self.successResultOf(account.add([Addition(inbox, NewMessage(staged, b"", 1))]))
            staged.close()

        def end() -> None:
            self.assertEqual(check(account.reader, deep=True, decode=decode), [])
            self.successResultOf(store.close())

        self.addCleanup(end)
        return Place(connect, deliver, account.state(inbox))

    def test_all_views_equal_the_store(self) -> None:
        """After random commands in two to four sessions each client's list is the mailbox, and the checker finds nothing."""
        for seed in range(SEEDS):
            self.one(seed)
