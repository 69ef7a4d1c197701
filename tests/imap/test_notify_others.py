"""NOTIFY of mailboxes of other users over the memory backend: what a client believes is what LIST and STATUS say, whatever happens."""

from __future__ import annotations

import random
import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.imap.notification import Happening, IHappening
from tests.imap.test_sharing import House

STEPS = 80
NAMES = ("Box", "Box/Leaf", "Box/Leaf/Deep", "Crate", "Crate/Leaf", "INBOX")
RIGHTS = ("lr", "l", "r", '""', "lrs", "-l", "-r", "+l", "+r")


def command(dice: random.Random) -> str:
    """What alice does."""
    one, other = dice.sample(NAMES, 2)
    rights = dice.choice(RIGHTS)
    return dice.choice(
        (
            f"CREATE {one}",
            f"DELETE {one}",
            f"RENAME {one} {other}",
            f"RENAME {one} {other}",
            f"SETACL {one} bob {rights}",
            f"SETACL {one} anyone {rights}",
            f"DELETEACL {one} bob",
            f"APPEND {one} {{2+}}\r\nhi",
        )
    )


class Believing:
    """Bob's client, which only hears."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.messages: dict[str, int] = {}

    def hear(self, octets: bytes) -> None:
        for line in octets.decode().split("\r\n"):
            if match := re.fullmatch(r'\* STATUS "?([^"]*)"? \(MESSAGES (\d+) .*', line):
                self.messages[match[1]] = int(match[2])
            elif match := re.fullmatch(
                r'\* LIST \(([^)]*)\) "/" "([^"]*)"(?: \("OLDNAME" \("([^"]*)"\)\))?', line
            ):
                self.listed(*match.groups())

    def listed(self, attributes: str, name: str, old: str | None) -> None:
        for known in list(self.names) if old is not None else ():
            if known == old or known.startswith(f"{old}/"):
                # With a mailbox goes what lies below it.
                self.names.discard(known)
                self.names.add(name + known[len(old or "") :])
                if known in self.messages:
                    self.messages[name + known[len(old or "") :]] = self.messages.pop(known)
        if "\\NonExistent" in attributes:
            self.names.discard(name)
        else:
            self.names.add(name)
        if "\\NonExistent" in attributes or "\\NoAccess" in attributes:
            self.messages.pop(name, None)

    def check(self, case: SynchronousTestCase, session: Any, why: str) -> None:
        """What is believed is what there is."""
        now = {info.name: info for info in session.mailboxes() if info.rights is not None}
        # Levels without a mailbox are told, too.
        case.assertEqual({name for name in self.names if name.count("/") > 1}, set(now), why)
        readable = {name: info.messages for name, info in now.items() if "r" in (info.rights or "")}
        case.assertEqual(self.messages, readable, why)


class BelievingTests(SynchronousTestCase):
    def test_happening(self) -> None:
        """What is told has all that it must have."""
        verifyObject(IHappening, Happening("created", "INBOX"))

    def test_believes_the_truth(self) -> None:
        """After any changes, however many between two looks, names and numbers of messages are those that LIST and STATUS tell."""
        for seed in range(60):
            self.run_with(random.Random(seed), seed)

    def test_away_and_back(self) -> None:
        """What was moved away with the mailbox above it, and back, before anybody was told is where it was."""
        house = House("lr")
        alice, driver, bob = house.clients["alice"], house.clients["bob"], Believing()
        driver.command('NOTIFY SET (subtree "Other Users" (MailboxName))')
        bob.names = {"Other Users/alice/Box", "Other Users/alice/Box/Leaf"}
        alice.command("RENAME Box Crate")
        alice.command("RENAME Crate/Leaf Box/Leaf")
        driver.received()
        driver.flush()
        bob.hear(driver.received())
        self.assertEqual(bob.names, {"Other Users/alice/Crate", "Other Users/alice/Box/Leaf"})

    def run_with(self, dice: random.Random, seed: int) -> None:
        house = House("lr")
        alice, driver, bob = house.clients["alice"], house.clients["bob"], Believing()
        driver.command('NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge MailboxName))')
        bob.names = {"Other Users/alice/Box", "Other Users/alice/Box/Leaf"}
        bob.messages = dict.fromkeys(bob.names, 0)
        for _ in range(STEPS):
            alice.command(command(dice))
            if dice.random() < 0.3:
                continue
            driver.flush()
            bob.hear(driver.received())
            bob.check(self, driver.server.connection.mail, f"seed {seed}")
        driver.server.lost()
        self.assertEqual(house.alice.watch.wakes, [])
