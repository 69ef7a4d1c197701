"""A client that keeps what it knows comes back, after whatever happened: QRESYNC gives it what a new client sees."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.testing import Driver
from moxtwisted.imap.wire.sequence import SequenceSet, compact
from moxtwisted.store import maintenance
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.store import Store
from tests.imap.test_convergence_over_store import StoreAuthenticator

SEEDS = int(os.environ.get("MOXTWISTED_CONVERGENCE_SEEDS", "120").rpartition(":")[2])
DAY = 86_400
NOW = 1_700_000_000

_FETCH = re.compile(rb"\* \d+ FETCH \((.*)\)", re.DOTALL)
_UID = re.compile(rb"\bUID (\d+)")
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")
_MODSEQ = re.compile(rb"\bMODSEQ \((\d+)\)")
_HIGHEST = re.compile(rb"\[HIGHESTMODSEQ (\d+)\]")
_UIDVALIDITY = re.compile(rb"\[UIDVALIDITY (\d+)\]")


@define
class Cache:
    """What a client keeps from one connection to the next (RFC 7162 section 6): flags by UID, and how current they are."""

    uidvalidity: int = 0
    highest: int = 0
    flags: dict[int, frozenset[bytes]] = field(factory=dict)

    def take(self, responses: list[bytes]) -> None:
        """Believe all of it, to the end of a command.

        Section 6: how current it is, HIGHESTMODSEQ says; where nothing does, the highest MODSEQ.
        """
        said, seen = 0, self.highest
        for response in responses:
            if found := _UIDVALIDITY.search(response):
                if int(found[1]) != self.uidvalidity:
                    self.flags.clear()
                self.uidvalidity = int(found[1])
            if found := _HIGHEST.search(response):
                said = int(found[1])
            if response.startswith(b"* VANISHED "):
                for low, high in SequenceSet.parse(response.split()[-1]).ranges:
                    for uid in [u for u in self.flags if low <= u <= high]:
                        del self.flags[uid]
            items = _FETCH.fullmatch(response)
            if items and (found := _MODSEQ.search(items[1])):
                seen = max(seen, int(found[1]))
            if items and (number := _UID.search(items[1])) and (flags := _FLAGS.search(items[1])):
                self.flags[int(number[1])] = frozenset(flags[1].split())
        self.highest = said or seen

    def select(self, dice: random.Random) -> str:
        """SELECT INBOX in one of the forms that QRESYNC has."""
        if not self.uidvalidity:
            return "SELECT INBOX"
        text = f"SELECT INBOX (QRESYNC ({self.uidvalidity} {self.highest}"
        uids = sorted(self.flags)
        if uids and dice.random() < 0.5:
            # What it knows, and perhaps some of the numbers that these had when it left.
            text += f" 1:{uids[-1]}" if dice.random() < 0.5 else f" {compact(uids).decode()}"
            if dice.random() < 0.5:
                numbers = sorted(dice.sample(range(len(uids)), min(3, len(uids))))
                pairs = [",".join(str(n + 1) for n in numbers), ",".join(str(uids[n]) for n in numbers)]
                text += f" ({' '.join(pairs)})"
        return text + "))"


class ResynchronisationTests(SynchronousTestCase):
    """Over the store, on disk."""

    account: Any

    def setUp(self) -> None:
        self.begin()
        self.addCleanup(lambda: self.successResultOf(self.store.close()))
        self.accounts = 0

    def begin(self) -> None:
        """A new store, in a time when UIDVALIDITY has room."""
        self.path = Path(self.mktemp())
        self.clock = Clock()
        self.clock.advance(NOW)
        self.open()

    def open(self) -> None:
        self.store = Store.open(self.clock, self.path, None, threads=0, seconds=self.clock.seconds)

    def connect(self) -> Driver:
        driver = Driver.of(authenticator=StoreAuthenticator(self.store, self.account))
        driver.login()
        return driver

    def deliver(self, count: int) -> None:
        for n in range(count):
            sink = self.store.stage()
            sink.write(b"Subject: %d\r\n\r\n" % n)
            staged = sink.finish()
            message = Addition(self.account.mailbox("INBOX").id, NewMessage(staged, b"", 1))
            self.successResultOf(self.account.add([message]))
            staged.close()

    def retire(self, days: int) -> None:
        done = Deferred.fromCoroutine(maintenance.retire(self.account, days * DAY, int(self.clock.seconds())))
        for _ in range(100):
            self.clock.advance(0)
        self.successResultOf(done)

    def restart(self) -> None:
        """Everybody goes, and the store is closed and opened again."""
        name = self.account.name
        self.successResultOf(self.store.close())
        self.open()
        self.account = self.store.account(name)

    def happen(self, other: Driver, dice: random.Random) -> None:
        """Something."""
        count = len(self.account.state(self.account.mailbox("INBOX").id).uids)
        which = f"{dice.randint(1, max(count, 1))}:{dice.randint(1, max(count, 1))}"
        flag = dice.choice(("\\Seen", "\\Deleted", "\\Deleted", "\\Flagged", "$Work"))
        line = dice.choice(
            (
                f"STORE {which} {dice.choice(('+', '-', ''))}FLAGS ({flag})",
                f"STORE {which} +FLAGS.SILENT ({flag})",
                "EXPUNGE",
                "EXPUNGE",
                "APPEND INBOX (\\Flagged) {4+}\r\na: b",
                f"MOVE {which} Other",
                f"COPY {which} INBOX",
                f"MOVE {which} INBOX",
                "REPLACE 1 INBOX {4+}\r\na: b",
                f"FETCH {which} BODY[]",
                "RENAME INBOX Old",
                "DELETE Old",
            )
        )
        if line.startswith("RENAME") and dice.random() < 0.8:
            line = "NOOP"
        other.command(line)

    def visit(self, cache: Cache, dice: random.Random, seed: int) -> None:
        """The client comes, is told what it missed, sees some things happen, and goes; what it knows is what there is."""
        driver, other = self.connect(), self.connect()
        driver.command("ENABLE QRESYNC")
        cache.take(driver.command(cache.select(dice)))
        # Of what it named as known it is told the changes; what is new it has to ask for.
        cache.take(driver.command(f"UID FETCH {max(cache.flags, default=0) + 1}:* (UID FLAGS)"))
        self.compare(cache, seed)
        other.command("SELECT INBOX")
        for _ in range(dice.randint(0, 6)):
            self.happen(other, dice)
            if dice.random() < 0.4:
                line = dice.choice(
                    (
                        "NOOP",
                        "EXPUNGE",
                        "UID STORE 1:* +FLAGS.SILENT (\\Seen)",
                        "UID FETCH 1:* FLAGS",
                        # While these are answered no message may vanish.
                        "FETCH 1 (UID FLAGS)",
                        "STORE 1 +FLAGS (\\Answered)",
                        "SEARCH ALL",
                    )
                )
                if "SILENT" in line:
                    # What it changes itself it knows; where it was wrong about the rest, it is told.
                    cache.flags = {uid: flags | {b"\\Seen"} for uid, flags in cache.flags.items()}
                self.hear(driver, cache, line)
        if dice.random() < 0.5:
            last = ("CLOSE", "UNSELECT", "LOGOUT", "EXPUNGE", "SEARCH ALL", "STORE 1 +FLAGS (\\Answered)")
            self.hear(driver, cache, dice.choice(last))
        for each in (driver, other):
            each.server.lost()

    def hear(self, driver: Driver, cache: Cache, line: str) -> None:
        """Say something, take in what is answered, and fetch the flags of new messages."""
        responses = driver.command(line)
        cache.take(responses)
        if any(response.endswith(b" EXISTS") for response in responses):
            cache.take(driver.command("UID FETCH 1:* (UID FLAGS)"))

    def compare(self, cache: Cache, seed: int) -> None:
        """It has what somebody sees who comes for the first time."""
        fresh = self.connect()
        new = Cache()
        new.take(fresh.command("SELECT INBOX"))
        new.take(fresh.command("UID FETCH 1:* (UID FLAGS)"))
        fresh.server.lost()
        self.assertEqual(cache, new, seed)

    def one(self, seed: int) -> None:
        dice = random.Random(seed)
        self.accounts += 1
        self.account = self.successResultOf(
            self.store.create_account(f"alice{self.accounts}", [("Other", "")])
        )
        self.deliver(dice.randint(0, 12))
        cache = Cache()
        for _ in range(4):
            self.visit(cache, dice, seed)
            other = self.connect()
            other.command("SELECT INBOX")
            for _ in range(dice.randint(0, 10)):
                self.happen(other, dice)
                if dice.random() < 0.1:
                    self.deliver(dice.randint(1, 4))
                if dice.random() < 0.2:
                    self.clock.advance(dice.randint(1, 20) * DAY)
                    self.retire(dice.randint(1, 30))
            other.server.lost()
            if dice.random() < 0.5:
                self.restart()
        self.visit(cache, dice, seed)

    def test_cache_becomes_the_mailbox(self) -> None:
        """After any changes, with a restart and a forgotten history in between, SELECT with QRESYNC gives the same as a first SELECT."""
        for seed in range(SEEDS):
            if seed % 100 == 99:
                self.successResultOf(self.store.close())
                self.begin()
            self.one(seed)
