"""Keepers and accounts that do not come back, clients that come at the wrong moment, errors that nobody foresaw."""

from __future__ import annotations

import gc
import pickle
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.compose.keeping import Keeping
from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.server.lending.crossing import write
from moxtwisted.server.lending.keeper import Keeper, KeeperEvents
from moxtwisted.server.lending.lending import Lending
from moxtwisted.server.lending.operations import Operations, understand
from moxtwisted.server.lending.words import Word
from moxtwisted.store.store import Store

HOME_SECONDS = 30.0


class Said:
    """A link on which everything is noted.

    :ivar said: the words and what belongs to them.
    :ivar given: descriptors that are the next to be taken.
    """

    def __init__(self) -> None:
        self.up = True
        self.said: list[tuple[Any, ...]] = []
        self.given: list[int] = []

    def say(self, *words: Any) -> None:
        """See ``Link``."""
        self.said.append(words)

    def say_with(self, descriptor: int, *words: Any) -> None:
        """See ``Link``; the other end is closed at once."""
        socket.socket(fileno=descriptor).close()
        self.said.append(words)

    def descriptor(self) -> int:
        """See ``Link``."""
        return self.given.pop(0)

    def descriptors(self, count: int) -> list[int]:
        """See ``Link``."""
        return []


class KeepingCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A keeper that has alice's account, and was not told a configuration."""
        self.clock = Clock()
        self.keeping = Keeping(self.clock)
        self.link = Said()
        link: Any = self.link
        self.keeping.link = link
        self.held: list[Any] = []
        self.opened: list[str] = []
        self.trouble: Exception | None = None
        letting: Any = SimpleNamespace(let_go=self._let_go)
        self.keeping._store = letting
        accounts = {name: SimpleNamespace(name=name) for name in ("alice", "bob", "bob@example.org")}
        directory: Any = SimpleNamespace(current=SimpleNamespace(accounts=accounts))
        self.keeping._directory = directory
        # Of two that have one name: an address, which belongs to one, and an account, which is another.
        by_address = {"bob@example.org": accounts["bob"], **accounts}
        mail: Any = SimpleNamespace(session=self._session, entry=by_address.__getitem__)
        self.keeping._mail = mail
        self.keeping._lent("alice")

    async def _let_go(self, account: str) -> bool:
        return not self.held

    def _session(self, entry: Any) -> Any:
        self.opened.append(entry.name)
        raise self.trouble or OSError("served")

    def come(self, account: str) -> bytes:
        """What a client reads who is handed over, to its end."""
        ours, theirs = socket.socketpair()
        self.link.given.append(theirs.detach())
        with ours:
            self.keeping._connection(7, pickle.dumps((SimpleNamespace(account=account), None)))
            return ours.recv(1000)

    def words(self, word: Word) -> list[tuple[Any, ...]]:
        """What was said with this word."""
        return [said[1:] for said in self.link.said if said[0] is word]


class ComingTests(KeepingCase):
    def test_after_recall(self) -> None:
        """Who comes while something is being done for an account that is wanted back is not served: nobody would end that session.

        It is nobody's fault, and no failure for the log.
        """
        self.keeping._at_work["alice"] = 1
        self.keeping._recall("alice")
        self.assertTrue(self.come("alice").startswith(b"* BYE"))
        self.assertEqual((self.opened, self.words(Word.CLOSED)), ([], [(7, False)]))
        self.keeping._at_work["alice"] = 0
        self.clock.advance(1)
        self.assertEqual(self.words(Word.RETURNED), [("alice",)])
        # It is lent once more.
        self.keeping._lent("alice")
        self.come("alice")
        self.assertEqual(self.opened, ["alice"])
        self.flushLoggedErrors(OSError)

    def test_damaged(self) -> None:
        """An account that cannot be opened ends its own client's connection, not the keeper."""
        self.trouble = RuntimeError("database disk image is malformed")
        self.assertTrue(self.come("alice").startswith(b"* BYE"))
        self.assertEqual(self.words(Word.CLOSED), [(7, False)])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_name_like_an_address(self) -> None:
        """An account whose name is somebody else's address is that account, not the other's."""
        for name in ("bob", "bob@example.org"):
            self.keeping._lent(name)
        self.come("bob@example.org")
        self.assertEqual(self.opened, ["bob@example.org"])
        self.flushLoggedErrors(OSError)

    def test_circle(self) -> None:
        """What only the collector ends keeps no account."""
        self.held.append(self)
        with patch.object(gc, "collect", self.held.clear):
            self.keeping._recall("alice")
            self.clock.pump([0.01] * 200)
        self.assertEqual(self.words(Word.RETURNED), [("alice",)])

    def test_unanswered(self) -> None:
        """An operation that ends as none should keeps no account here."""

        async def answer(octets: bytes, descriptors: Any) -> bytes:
            raise RuntimeError("cannot cross")

        operations: Any = SimpleNamespace(answer=answer)
        self.keeping._operations = operations
        self.keeping._do(3, "alice", b"", 0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.keeping._recall("alice")
        self.assertEqual(self.words(Word.RETURNED), [("alice",)])


class OddError(MailError):
    """One that carries what no pickle takes."""

    def __init__(self) -> None:
        super().__init__("odd")
        self.why = lambda: None


class RefusalTests(SynchronousTestCase):
    def test_cannot_cross(self) -> None:
        """Who asked hears of an error that cannot cross."""

        class Odd(Operations):
            async def run(self, operation: str, values: Any) -> Any:
                raise OddError

        nothing: Any = None
        octets, _ = write(("usage", "alice"))
        answer = self.successResultOf(
            Deferred.fromCoroutine(Odd(nothing, nothing, nothing, nothing).answer(octets, ()))
        )
        self.assertEqual(str(self.assertRaises(StoreUnavailableError, understand, answer)), "odd")


class LendingCase(SynchronousTestCase):
    def setUp(self) -> None:
        """One keeper, and a store whose accounts are held."""
        self.clock = Clock()
        self.held = False
        self.asked = 0
        nobody: frozenset[str] = frozenset()
        grants = SimpleNamespace(named=lambda name: nobody, owners=lambda name: nobody)
        store: Any = SimpleNamespace(let_go=self._let_go, grants=grants)
        nothing: Any = None
        self.lending = Lending(store=store, clock=self.clock, operations=nothing)
        self.closed: list[str] = []
        events = KeeperEvents(
            began=lambda keeper: None,
            lost=lambda: None,
            closed=self._closed,
            returned=self.lending.returned,
            shares=lambda account, identifiers: succeed(None),
            republish=lambda event, number: None,
        )
        self.keeper = Keeper(events, 1)
        self.link = Said()
        link: Any = self.link
        self.keeper.link = link
        self.lending.keepers = [self.keeper]

    async def _let_go(self, account: str) -> bool:
        self.asked += 1
        return not self.held

    def _closed(self, keeper: Keeper, connection: Any, errors: bool) -> None:
        self.closed.append(connection.client_ip)
        self.lending.used(keeper, connection.account)

    def lend(self) -> Deferred[Any]:
        """Somebody logs in."""
        return Deferred.fromCoroutine(self.lending.lend("alice"))

    def home(self) -> Deferred[None]:
        """Somebody wants it here."""
        return Deferred.fromCoroutine(self.lending.home("alice"))

    def give(self, ip: str) -> None:
        """A client is handed over."""
        ours, theirs = socket.socketpair()
        ours.close()
        self.keeper.give("alice", b"", theirs.detach(), ip)
        self.lending.used(self.keeper, "alice")


class StubbornTests(LendingCase):
    def test_everybody_hears(self) -> None:
        """Nobody waits for ever for an account that does not come, whenever he asked; one that comes late is here."""
        self.successResultOf(self.lend())
        first = self.home()
        self.clock.advance(HOME_SECONDS - 1)
        second = Deferred.fromCoroutine(self.lending.ask("alice", "usage"))
        self.clock.advance(1)
        self.failureResultOf(first, StoreUnavailableError)
        self.failureResultOf(second, StoreUnavailableError)
        third, fourth = self.home(), self.lend()
        self.clock.advance(HOME_SECONDS)
        self.failureResultOf(third, StoreUnavailableError)
        self.failureResultOf(fourth, StoreUnavailableError)
        fifth = self.home()
        self.keeper._returned("alice")
        self.successResultOf(fifth)
        self.assertFalse(self.lending.is_away("alice"))
        self.clock.advance(10 * HOME_SECONDS)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_storm(self) -> None:
        """Many log in at once to an account that is in use here: none of them waits for the attempts of the others."""
        self.held = True
        waiting = [self.lend() for _ in range(100)]
        self.clock.pump([0.01] * 6)
        self.assertEqual([self.successResultOf(one) for one in waiting], [None] * 100)
        self.assertEqual(self.asked, 5)

    def test_late_client(self) -> None:
        """A client who departs after the account went back is not counted for it, also when it is lent again before he is gone."""
        self.successResultOf(self.lend())
        home = self.home()
        self.keeper._returned("alice")
        self.successResultOf(home)
        self.give("192.0.2.1")
        self.successResultOf(self.lend())
        self.give("192.0.2.2")
        self.keeper._closed(1, False)
        self.assertEqual((self.keeper.accounts, self.closed), ({"alice": 1}, ["192.0.2.1"]))
        self.keeper._closed(2, False)
        self.assertEqual(self.keeper.accounts, {"alice": 0})
        self.clock.advance(301)
        self.lending.tidy()
        self.assertIn((Word.RECALL, "alice"), self.link.said[-1:])

    def test_early_client(self) -> None:
        """One who has read BYE and closes late is not counted off when the account was lent again meanwhile: who is logged in now stays."""
        self.successResultOf(self.lend())
        self.give("192.0.2.1")
        home = self.home()
        self.keeper._returned("alice")
        self.successResultOf(home)
        self.successResultOf(self.lend())
        self.give("192.0.2.2")
        self.keeper._closed(1, False)
        self.assertEqual((self.keeper.accounts, self.closed), ({"alice": 1}, ["192.0.2.1"]))
        self.clock.advance(301)
        self.lending.tidy()
        self.assertNotIn((Word.RECALL, "alice"), self.link.said[-1:])

    def test_crowd(self) -> None:
        """A keeper has only so many clients: who comes beyond reads BYE, and is not counted any more."""
        self.successResultOf(self.lend())
        self.keeper.most_connections = 1
        self.give("192.0.2.1")
        ours, theirs = socket.socketpair()
        with ours:
            self.keeper.give("alice", b"", theirs.detach(), "192.0.2.2")
            self.assertTrue(ours.recv(1000).startswith(b"* BYE [UNAVAILABLE]"))
        self.assertEqual((self.closed, self.keeper.accounts), (["192.0.2.2"], {"alice": 1}))
        self.keeper._closed(1, False)
        self.keeper._closed(1, False)
        self.assertEqual(self.keeper.accounts, {"alice": 0})


class RemovedTests(SynchronousTestCase):
    def test_being_removed(self) -> None:
        """An account whose files are about to go is not let go of, so that nobody else opens them."""
        clock = Clock()
        store = Store.open(clock, Path(self.mktemp()), None, threads=0)
        self.successResultOf(store.create_account("alice"))
        store._kept.clear()
        store._removing.add("alice")
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(store.let_go("alice"))))
        store._removing.clear()
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(store.let_go("alice"))))
        self.successResultOf(store.close())
