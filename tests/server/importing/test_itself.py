"""An account is not fetched from itself, and a copy of it is no reason to refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.test import iosim

from moxtwisted.errors import MailError
from moxtwisted.imap.agent import ClientSettings, IMAPClient, connect
from moxtwisted.sasl.client import Credentials
from moxtwisted.server.importing.remote import Options
from moxtwisted.server.importing.work import Import
from moxtwisted.store.accounts import Account
from tests.imap.test_agent import Given
from tests.server.house import SECRET, House
from tests.server.test_imapd import ALICE, IMAPCase


class Server:
    """A server like ours as the other one, by IMAP over its real store.

    :ivar said: all that it said.
    :ivar tamper: may change that.
    """

    name = "alice@old.example:993"

    def __init__(self, house: House, user: str) -> None:
        self.house = house
        self.user = user
        self.pumps: list[Any] = []
        self.said = b""
        self.tamper: Callable[[bytes], bytes] = lambda octets: octets
        house.imap().drop()

    async def connect(self, reactor: Any, password: str, options: Options) -> IMAPClient:
        """As ``Source``."""
        settings = ClientSettings(credentials=Credentials(self.user, SECRET), allow_clear_password=True)
        return await connect(self.house.clock, Given(self.connected), settings)

    def connected(self, protocol: Any) -> None:
        address = IPv4Address("TCP", "198.51.100.9", 40000)
        server = self.house.imap_factory.buildProtocol(address)
        there = iosim.FakeTransport(server, isServer=True, peerAddress=address)
        pump = iosim.connect(server, there, protocol, iosim.FakeTransport(protocol, isServer=False))
        original = there.getOutBuffer

        def altered() -> bytes:
            octets: bytes = self.tamper(original() or b"")
            self.said += octets
            return octets

        there.getOutBuffer = altered  # type: ignore[method-assign]
        self.pumps.append(pump)


class ItselfTests(IMAPCase):
    def setUp(self) -> None:
        """An account with mail, and a server that leads to it."""
        super().setUp()
        self.add()
        self.account = self.house.store.account("alice")
        self.before = self.account.subscriptions()
        self.server = Server(self.house, ALICE)

    def fetch(self, **options: Any) -> Deferred[Any]:
        server: Any = self.server
        work = Import(self.house.clock, self.house.store, self.account, server, SECRET, Options.of(options))
        done = Deferred.fromCoroutine(work.run(lambda *_: None))
        self.turn(done)
        return done

    def turn(self, done: Deferred[Any]) -> None:
        for _ in range(2000):
            if done.called and not done.paused:
                return
            for pump in self.server.pumps:
                pump.flush()
            self.house.clock.advance(0)

    def refused(self, **options: Any) -> None:
        error = self.failureResultOf(self.fetch(**options), MailError).value
        self.assertIn("alice@old.example:993 is the account alice of this server itself", error.explanation)
        self.assertEqual(len(self.house.messages("alice")), 1)
        self.assertEqual(self.account.subscriptions(), self.before)

    def other(self) -> House:
        """A copy of this server, on another machine: whatever it says of its mailboxes is the same."""
        copy = House(Path(self.mktemp()))
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(copy.close())))
        copy.give_passwords()
        self.house, mine = copy, self.house
        self.add()
        self.house = mine
        return copy

    def test_refused(self) -> None:
        """The account itself is refused, with what is to be done; nothing of it is changed, nor is anything by a dry run."""
        self.refused()
        self.refused(dry_run=True)
        self.refused(only=["INBOX"], connections=1)

    def test_before_other_standards(self) -> None:
        """So it is with a server that knows IMAP4rev1 alone."""
        self.server.tamper = lambda octets: (
            octets.replace(b"LIST-EXTENDED ", b"").replace(b"IMAP4rev2 ", b"").replace(b"OBJECTID ", b"")
        )
        self.refused()
        self.assertIn(b"* LSUB ", self.server.said)

    def test_killed_meanwhile(self) -> None:
        """What a process left that was killed while it asked goes away with the next one, and nothing that the user called nearly so."""
        for name in ("moxmail-import-2026", f"moxmail-import-{'a' * 32}/old"):
            self.successResultOf(self.account.subscribe(name))
        self.before = self.account.subscriptions()
        self.successResultOf(self.account.subscribe("moxmail-import-" + "01" * 16))
        self.refused()

    def test_cancelled(self) -> None:
        """Nothing is left when it is stopped while it asks."""
        self.server.tamper = lambda octets: b"" if b"moxmail-import-" in octets else octets
        done = self.fetch()
        self.assertNotEqual(self.account.subscriptions(), self.before)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.account.subscriptions(), self.before)

    def test_copy(self) -> None:
        """A copy of the account on another server, or another account of this one, is fetched from, whatever ids there are."""
        for server in (Server(self.other(), ALICE), Server(self.house, "bob@example.org")):
            self.server = server
            inbox = server.house.store.account("alice").mailbox("INBOX")
            mine = self.account.mailbox("INBOX")
            assert inbox is not None and mine is not None
            self.assertEqual((inbox.id, inbox.uidvalidity), (mine.id, mine.uidvalidity))
            report = self.successResultOf(self.fetch())
            self.assertEqual(report["failed"], [])
            self.assertEqual(self.account.subscriptions(), self.before)
        self.assertEqual(len(self.house.messages("alice")), 2)

    def test_other_mailbox(self) -> None:
        """Another UIDVALIDITY is another mailbox: nothing is changed here to find out more."""
        self.server = Server(self.other(), ALICE)
        self.server.tamper = lambda octets: octets.replace(b"UIDVALIDITY 17", b"UIDVALIDITY 16")
        with patch.object(Account, "subscribe") as subscribe:
            self.successResultOf(self.fetch(dry_run=True))
        subscribe.assert_not_called()

    def test_odd_answers(self) -> None:
        """A server that refuses to say it, says something else, or nothing that can be understood, is not ours."""
        self.server = Server(self.other(), ALICE)
        number = b"(UIDVALIDITY 1700000000)"
        for before, after in (
            (b"* STATUS INBOX " + number + b"\r\n", b""),
            (number, b"(MESSAGES 1)"),
            (number, b"(UIDVALIDITY 17000000000)"),
            (b"OK STATUS", b"NO STATUS"),
        ):
            tampered: list[bool] = []

            def tamper(
                octets: bytes, before: bytes = before, after: bytes = after, tampered: list[bool] = tampered
            ) -> bytes:
                tampered.append(before in octets)
                return octets.replace(before, after)

            self.server.tamper = tamper
            with patch.object(Account, "subscribe") as subscribe:
                self.assertEqual(self.successResultOf(self.fetch(dry_run=True))["failed"], [])
            subscribe.assert_not_called()
            self.assertIn(True, tampered)
