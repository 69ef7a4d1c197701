"""Several sessions on the same mailboxes of the real store: each response is that of the model, and all views are what is on disk."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IDelayedCall
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
from tests.imap.test_convergence import SETTINGS, Convergence, Place, seeds


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


class HastyClock(Clock):
    """What shall be done in the next turn is done now: searches go on after each of their slices of time."""

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        call = super().callLater(delay, callable, *args, **kw)
        if not delay:
            call.cancel()
            callable(*args, **kw)
        return call


class StoreConvergenceTests(Convergence):
    """One store for all, an account for each seed."""

    def setUp(self) -> None:
        clock = HastyClock()
        clock.advance(1_700_000_000)
        self.store = Store.open(clock, Path(self.mktemp()), None, threads=0, seconds=clock.seconds)
        self.addCleanup(lambda: self.successResultOf(self.store.close()))
        self.accounts = 0
        self.account: Any = None

    def place(self, dice: random.Random) -> Place:
        self.accounts += 1
        account: Any = self.successResultOf(
            self.store.create_account(f"alice{self.accounts}", [("Other", "")])
        )
        self.account = account
        inbox = account.mailbox("INBOX").id

        def connect() -> Driver:
            return Driver.of(authenticator=StoreAuthenticator(self.store, account), settings=SETTINGS)

        def deliver(octets: bytes) -> None:
            sink = self.store.stage()
            sink.write(octets)
            staged = sink.finish()
            self.successResultOf(account.add([Addition(inbox, NewMessage(staged, b"", 1))]))
            staged.close()

        def real(name: str) -> Any:
            mailbox = account.mailbox(name)
            return None if mailbox is None else account.state(mailbox.id)

        return Place(connect, deliver, real, account.subscriptions)

    def leave(self) -> None:
        self.assertEqual(check(self.account.reader, deep=True, decode=decode), [])
        self.successResultOf(self.account.close())

    def test_all_views_equal_the_store(self) -> None:
        """Every response is the one of the model, all end with the same view, and the checker finds nothing."""
        for seed in seeds(range(850, 1000)):
            self.one(seed)
