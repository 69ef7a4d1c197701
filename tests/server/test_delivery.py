"""Messages that some accounts took and others did not: no loss, no second copy, whatever is sent again."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, fail

from moxtwisted.errors import StoreFullError
from moxtwisted.server.delivery import Attempt, Copy, LocalDelivery
from moxtwisted.store.accounts import Account
from moxtwisted.store.queue import Queue
from moxtwisted.store.store import Store
from tests.server.house import HouseCase

ALARM = b"Subject: disk alarm\r\n\r\n/var is full\r\n"
OWN = b"From: alice@example.org\r\nSubject: no identifier\r\n\r\nhello\r\n"
BOTH = ("alice@example.org", "bob@example.org")


class PartlyCase(HouseCase):
    def setUp(self) -> None:
        super().setUp()
        self.fill("bob")

    def fill(self, account: str, octets: int | None = 10) -> None:
        """Give an account so little room."""
        if octets is None:
            del self.house.quotas[account]
        else:
            self.house.quotas[account] = octets
        self.house.store.refresh_quotas()

    def send(self, *recipients: str, sender: str = "a@client.example", message: bytes = ALARM) -> str:
        line = self.house.inbound()
        line.begin(sender, *(recipients or BOTH))
        answer = line.send(message)
        line.drop()
        return answer[:9]

    def count(self) -> tuple[int, int]:
        return len(self.house.messages("alice")), len(self.house.messages("bob"))

    def half(self, **more: Any) -> None:
        """One attempt that only alice takes; at RCPT, bob had room yet."""
        before = self.count()
        with patch("moxtwisted.server.inbound.room.Room._full", return_value=None):
            self.assertEqual(self.send(**more), "452 4.2.2")
        self.assertEqual(self.count(), (before[0] + 1, before[1]))


class NamesTests(HouseCase):
    def test_never_for_good(self) -> None:
        """What is wrong with a mailbox of ours is no reason to refuse mail for good."""
        copy = Copy("alice", "a//b" * 1000, b"")
        outcome = self.successResultOf(
            Deferred.fromCoroutine(self.house.delivery.deliver(self.staged(), [copy], 1))
        )
        error = outcome["alice"]
        assert error is not None
        self.assertEqual(error.reply_code, 451)

    def staged(self) -> Any:
        """A message."""
        staging = self.house.store.stage()
        staging.write(ALARM)
        return staging.finish()


class AnotherMessageTests(PartlyCase):
    def test_other_recipients(self) -> None:
        """The same octets for alice alone are another message."""
        self.half()
        self.assertEqual(self.send("alice@example.org"), "250 2.6.0")
        self.assertEqual(self.count(), (2, 0))

    def test_other_sender(self) -> None:
        """The same octets from another sender are another message, whoever takes it."""
        self.half()
        self.half(sender="b@client.example")
        self.fill("bob", None)
        self.assertEqual(self.send(sender="c@client.example"), "250 2.6.0")
        self.assertEqual(self.count(), (3, 1))

    def test_other_octets(self) -> None:
        """Another message is another message."""
        self.half()
        self.half(message=ALARM + b"again\r\n")

    def test_after_all_have_it(self) -> None:
        """Once all have it the same attempt is another message."""
        self.half()
        self.fill("bob", None)
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.count(), (1, 1))
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.count(), (2, 2))

    def test_much_later(self) -> None:
        """After the days in which senders try again it is another message."""
        self.half()
        self.fill("bob", None)
        self.house.clock.advance(6 * 86_400 + 1)
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.count(), (2, 1))

    def test_an_alias_and_its_members(self) -> None:
        """Addresses count, not the accounts behind them."""
        self.half()
        self.fill("bob", None)
        self.assertEqual(self.send("team@example.org"), "250 2.6.0")
        self.assertEqual(self.count(), (2, 1))


class RestartTests(PartlyCase):
    def test_restart(self) -> None:
        """What was noted is on disk: a new process knows it."""
        self.half()
        self.successResultOf(Deferred.fromCoroutine(self.house.close()))
        house = self.house
        house.store = house.taking = Store.open(
            None, house.path, None, threads=0, seconds=house.clock.seconds
        )
        house.queue = Queue.open(house.path / "queue.db", None, house.store.pool)
        house.delivery = LocalDelivery(house.store, house.clock.seconds)
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.count(), (1, 1))


class SameMessageTests(PartlyCase):
    def again(self) -> str:
        with patch("moxtwisted.server.inbound.room.Room._full", return_value=None):
            return self.send()

    def test_until_all_have_it(self) -> None:
        """However often it is tried, each has one copy, and no note stays."""
        self.half()
        for _ in range(3):
            self.assertEqual(self.again(), "452 4.2.2")
            self.assertEqual(self.count(), (1, 0))
        self.fill("bob", None)
        self.assertEqual(self.again(), "250 2.6.0")
        self.assertEqual(self.count(), (1, 1))
        self.assertIsNone(self.house.store.account("alice").secret("partly-delivered"))

    def test_at_once(self) -> None:
        """Of equal attempts at one time each note leaves out one copy; nothing fails, nothing is lost."""
        self.half()
        self.fill("bob", None)
        lines = [self.house.inbound() for _ in range(4)]
        for line in lines:
            line.begin("a@client.example", *BOTH)
        held: list[Deferred[None]] = []
        real = Account.set_secret

        def set_secret(account: Account, name: str, value: bytes | None) -> Any:
            gate: Deferred[None] = Deferred()
            held.append(gate)
            return gate.addCallback(lambda _: real(account, name, value))

        with patch.object(Account, "set_secret", set_secret):
            answers = [line.send(ALARM) for line in lines]
            self.assertEqual(answers, [""] * 4)
            while held:
                held.pop().callback(None)
        self.assertEqual([line.heard()[:9] for line in lines], ["250 2.6.0"] * 4)
        self.assertEqual(self.count(), (4, 4))

    def test_noted_twice(self) -> None:
        """Two equal messages that alice alone took are two notes."""
        lines = [self.house.inbound() for _ in range(2)]
        for line in lines:
            line.say("MAIL FROM:<a@client.example>")
            with patch("moxtwisted.server.inbound.room.Room._full", return_value=None):
                line.say(*(f"RCPT TO:<{address}>" for address in BOTH))
        gates: list[Deferred[None]] = []
        real = Account.add

        def add(account: Account, *arguments: Any, **more: Any) -> Any:
            gate: Deferred[None] = Deferred()
            gates.append(gate)
            return gate.addCallback(lambda _: real(account, *arguments, **more))

        with patch.object(Account, "add", add):
            for line in lines:
                line.send(ALARM)
            for gate in gates:
                gate.callback(None)
        self.assertEqual([line.heard()[:9] for line in lines], ["452 4.2.2"] * 2)
        self.assertEqual(self.count(), (2, 0))
        self.fill("bob", None)
        self.assertEqual([self.send(), self.send()], ["250 2.6.0"] * 2)
        self.assertEqual(self.count(), (2, 2))


class TroubleTests(PartlyCase):
    def test_note_not_written(self) -> None:
        """A note that cannot be written makes a second copy, no loss."""
        with patch.object(Account, "set_secret", return_value=fail(StoreFullError("disk"))):
            self.half()
        self.assertEqual(len(self.flushLoggedErrors(StoreFullError)), 1)
        self.fill("bob", None)
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.count(), (2, 1))

    def test_note_not_removed(self) -> None:
        """While a note cannot be removed the message is not acknowledged, and nobody gets it twice."""
        self.half()
        self.fill("bob", None)
        with patch.object(Account, "set_secret", return_value=fail(StoreFullError("disk"))):
            self.assertEqual(self.send(), "452 4.3.1")
        self.assertEqual(len(self.flushLoggedErrors(StoreFullError)), 2)
        self.assertEqual(self.count(), (1, 1))

    def test_broken_notes(self) -> None:
        """Notes that cannot be read are none."""
        self.half()
        self.fill("bob", None)
        self.house.store.account("alice").set_secret("partly-delivered", b"x" * 41)
        self.assertEqual(self.send(), "250 2.6.0")
        self.assertEqual(self.count(), (2, 1))

    def test_bounded(self) -> None:
        """The notes of an account are few; the oldest go."""
        with patch("moxtwisted.server.delivery._NOTES", 3):
            for n in range(5):
                self.half(message=ALARM + b"%d\r\n" % n)
        notes = self.house.store.account("alice").secret("partly-delivered")
        self.assertEqual(len(notes or b""), 3 * 40)

    def test_one_account_has_no_notes(self) -> None:
        """A message for one account is one commit, and nothing is looked up for it."""
        self.half()
        with patch.object(Account, "secret") as secret:
            self.assertEqual(self.send("alice@example.org", "alice+x@example.org"), "250 2.6.0")
        secret.assert_not_called()

    def test_key(self) -> None:
        """Where one part ends and the next begins is a part of the key."""
        keys = {
            Attempt(b"a", frozenset((b"bc",)), bytes(32)).key(None),  # type: ignore[arg-type]
            Attempt(b"ab", frozenset((b"c",)), bytes(32)).key(None),  # type: ignore[arg-type]
            Attempt(b"a", frozenset((b"b", b"c")), bytes(32)).key(None),  # type: ignore[arg-type]
        }
        self.assertEqual(len(keys), 3)


class SubmittedTests(PartlyCase):
    def test_random_identifier(self) -> None:
        """A submitted message without Message-ID gets another each time, and still each has one copy."""
        self.house.give_passwords()
        self.fill("bob")
        for room, want in ((10, "452 4.2.2"), (10, "452 4.2.2"), (None, "250 2.6.0")):
            self.fill("bob", room)
            line = self.house.submission()
            line.begin("alice@example.org", "bob@example.org", "who@all.example")
            self.assertEqual(line.send(OWN)[:9], want)
            self.assertEqual(len(self.house.messages("carol")), 1)
            line.drop()
        self.assertEqual(len(self.house.messages("bob")), 1)
