"""Which keeper has which account, whatever happens in whatever order; keepers and the store are make-believe."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.server.lending.interfaces import IPlaces
from moxtwisted.server.lending.lending import Lending


class Keeper:
    """Says what it was told."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.accounts: dict[str, int] = {}
        self.recalled: list[str] = []
        self.asked: list[Deferred[Any]] = []

    def lend(self, account: str) -> None:
        """See the real one."""
        self.accounts[account] = 0

    def recall(self, account: str) -> None:
        """See the real one."""
        self.recalled.append(account)

    async def ask(self, operation: str, values: Any) -> Any:
        """Answered by the test."""
        waiting: Deferred[Any] = Deferred()
        self.asked.append(waiting)
        return await waiting


class Grants:
    """Who shares."""

    def __init__(self) -> None:
        self.sharing: set[str] = set()

    def named(self, account: str) -> set[str]:
        """See the real one."""
        return self.sharing & {account}

    def owners(self, account: str) -> set[str]:
        """See the real one."""
        return set()


class Store:
    """Lets go of an account when the test says so.

    :ivar going: those that are being closed.
    """

    def __init__(self) -> None:
        self.grants = Grants()
        self.going: list[Deferred[bool]] = []
        self.slow = False
        self.free = True

    async def let_go(self, name: str) -> bool:
        """See the real one."""
        if self.slow:
            going: Deferred[bool] = Deferred()
            self.going.append(going)
            return await going
        return self.free


class Operations:
    async def run(self, operation: str, values: Any) -> Any:
        """Done here."""
        return ("here", operation, values)


class LendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two keepers."""
        self.clock, self.store = Clock(), Store()
        store: Any = self.store
        operations: Any = Operations()
        self.staying: set[str] = set()
        self.lending = Lending(
            store=store, clock=self.clock, operations=operations, may_go=lambda name: name not in self.staying
        )
        self.one, self.two = Keeper(1), Keeper(2)
        keepers: Any = [self.one, self.two]
        self.lending.keepers = keepers

    def run_(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Begin it."""
        return Deferred.fromCoroutine(coroutine)

    def lend(self, account: str = "alice") -> Any:
        """Who has it now."""
        return self.successResultOf(self.run_(self.lending.lend(account)))

    def back(self, keeper: Any, account: str = "alice") -> None:
        """The keeper closed it."""
        keeper.accounts.pop(account, None)
        self.lending.returned(keeper, account)

    def test_spread(self) -> None:
        """Each goes to who has the fewest; who is there stays there; it comes home once, however many want it."""
        verifyObject(IPlaces, self.lending)
        self.assertIs(self.lend("alice"), self.one)
        self.assertIs(self.lend("bob"), self.two)
        self.assertIs(self.lend("alice"), self.one)
        waiting = [self.run_(self.lending.home("alice")) for _ in range(3)]
        self.assertEqual(self.one.recalled, ["alice"])
        self.assertTrue(self.lending.is_away("alice"))
        waiting[0].addErrback(lambda _: None).cancel()
        self.back(self.one)
        for one in waiting[1:]:
            self.successResultOf(one)
        self.assertFalse(self.lending.is_away("alice"))
        self.successResultOf(self.run_(self.lending.home("alice")))
        self.assertEqual(self.one.recalled, ["alice"])

    def test_in_use(self) -> None:
        """Who is used here for a moment is waited for, and stays if that lasts; so do those that may not go, and all without keepers."""
        self.store.free = False
        lent = self.run_(self.lending.lend("alice"))
        self.assertTrue(self.lending.is_away("alice"))
        self.store.free = True
        self.clock.advance(0.01)
        self.assertIs(self.successResultOf(lent), self.one)
        self.store.free = False
        lent = self.run_(self.lending.lend("bob"))
        self.clock.pump([0.01] * 5)
        self.assertIsNone(self.successResultOf(lent))
        self.assertFalse(self.lending.is_away("bob"))
        self.store.free = True
        self.staying, self.store.grants.sharing = {"carol"}, {"dave"}
        self.lending.keepers.remove(self.one)  # type: ignore[arg-type]
        self.assertEqual([self.lend(name) for name in ("carol", "dave")], [None, None])
        self.lending.keepers.clear()
        self.assertIsNone(self.lend("erin"))

    def test_while_going(self) -> None:
        """Who wants it home, or asks, or lends it, while it goes, waits until it is there."""
        self.store.slow = True
        first, second = self.run_(self.lending.lend("alice")), self.run_(self.lending.lend("alice"))
        asked, home = self.run_(self.lending.ask("alice", "usage")), self.run_(self.lending.home("alice"))
        self.assertEqual(self.one.accounts, {})
        for one in (first, second, asked, home):
            self.assertNoResult(one)
        self.assertEqual(len(self.store.going), 1)
        self.store.going.pop().callback(True)
        self.assertIs(self.successResultOf(first), self.one)
        self.assertIs(self.successResultOf(second), self.one)
        self.one.asked.pop().callback("there")
        self.assertEqual(self.successResultOf(asked), "there")
        self.assertEqual(self.one.recalled, ["alice"])
        self.back(self.one)
        self.successResultOf(home)

    def test_lost(self) -> None:
        """When a keeper ends, its accounts are here; the one that was going stays; what is asked then is done here."""
        self.store.slow = True
        going = self.run_(self.lending.lend("alice"))
        self.lending.lost(self.one)  # type: ignore[arg-type]
        self.assertTrue(self.lending.is_away("alice"))
        self.store.going.pop().callback(True)
        self.assertIsNone(self.successResultOf(going))
        self.assertFalse(self.lending.is_away("alice"))
        self.store.slow = False
        self.assertIs(self.lend("alice"), self.two)
        self.assertIs(self.lend("bob"), self.two)
        home, asked = self.run_(self.lending.home("bob")), self.run_(self.lending.ask("bob", "usage", 1))
        lent = self.run_(self.lending.lend("bob"))
        self.lending.lost(self.two)  # type: ignore[arg-type]
        self.successResultOf(home)
        self.assertEqual(self.successResultOf(asked), ("here", "usage", ("bob", 1)))
        self.assertIsNone(self.successResultOf(lent))
        self.assertEqual(
            self.successResultOf(self.run_(self.lending.ask("alice", "full"))), ("here", "full", ("alice",))
        )
        # What it says late is not heard.
        self.lending.returned(self.two, "alice")  # type: ignore[arg-type]

    def test_late(self) -> None:
        """One that does not come in time is refused to those who wait, and to those who wait later; and comes all the same."""
        self.lend()
        home = self.run_(self.lending.home("alice"))
        self.clock.advance(30)
        self.failureResultOf(home, StoreUnavailableError)
        self.assertTrue(self.lending.is_away("alice"))
        again = self.run_(self.lending.home("alice"))
        self.assertEqual(self.one.recalled, ["alice"])
        self.clock.advance(29)
        self.assertNoResult(again)
        self.clock.advance(1)
        self.failureResultOf(again, StoreUnavailableError)
        again = self.run_(self.lending.home("alice"))
        self.back(self.one)
        self.successResultOf(again)
        self.assertIs(self.lend(), self.one)

    def test_unused(self) -> None:
        """After five minutes without a client it comes home; not with one."""
        self.lend("alice")
        self.lend("bob")
        self.one.accounts["alice"] = 1
        self.lending.used(self.one, "alice")  # type: ignore[arg-type]
        self.clock.advance(301)
        self.lending.tidy()
        self.assertEqual((self.one.recalled, self.two.recalled), ([], ["bob"]))
        self.one.accounts["alice"] = 0
        self.lending.used(self.one, "alice")  # type: ignore[arg-type]
        self.lending.tidy()
        self.clock.advance(301)
        self.lending.tidy()
        self.assertEqual(self.one.recalled, ["alice"])

    def test_sharing(self) -> None:
        """Who begins to share comes home in the next turn, and who is named; another configuration brings those that may not go."""
        for name in ("alice", "bob", "carol"):
            self.lend(name)
        self.store.grants.sharing = {"alice"}
        self.lending.share(frozenset({"bob"}), "alice")
        self.assertEqual(self.one.recalled, [])
        self.clock.advance(0)
        self.assertEqual((self.one.recalled, self.two.recalled), (["alice"], []))
        self.staying = {"bob"}
        self.lending.review()
        self.assertEqual((self.one.recalled, self.two.recalled), (["alice"], ["bob"]))

    def test_share_while_going(self) -> None:
        """Who begins to share while it goes stays."""
        self.store.slow = True
        lent = self.run_(self.lending.lend("alice"))
        self.store.grants.sharing = {"alice"}
        self.lending.share(frozenset({"bob"}), "alice")
        self.store.going.pop().callback(True)
        self.assertIsNone(self.successResultOf(lent))
        self.clock.advance(0)
        self.assertFalse(self.lending.is_away("alice"))
