"""What happened to names of mailboxes, worked out from happenings, and from what mail in memory was and is."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.memorynotify import MOST_NAMES, MemoryFeed
from moxtwisted.imap.namechanges import Belief, NameChanges, Renames
from moxtwisted.imap.notification import Happening
from moxtwisted.imap.testing import Driver, split_responses
from moxtwisted.imap.wire.events import Event


def renamed(old: str, new: str) -> Happening:
    """A rename."""
    return Happening("renamed", new, old_name=old)


class NameChangesTests(SynchronousTestCase):
    def changes(self, *happened: Happening, own: tuple[tuple[str, str], ...] = ()) -> NameChanges:
        """From these; C{own} are kinds and names."""
        return NameChanges.of(happened, lambda kind, name: (kind, name) in own)

    def test_outcome(self) -> None:
        """Of renames one after the other the outcome counts; what was made or went meanwhile was not renamed."""
        self.assertEqual(self.changes(renamed("A", "B"), renamed("B", "C")).moves(), {"C": "A"})
        self.assertEqual(self.changes(renamed("A", "B"), renamed("B", "A")).moves(), {})
        self.assertEqual(self.changes(Happening("created", "A"), renamed("A", "B")).moves(), {})
        self.assertEqual(self.changes(renamed("A", "B"), Happening("removed", "B")).moves(), {})

    def test_own(self) -> None:
        """What the client did itself it knows, unless somebody else had renamed the mailbox before."""
        own = (("renamed", "C"), ("renamed from", "B"))
        mine = self.changes(renamed("B", "C"), renamed("B/x", "C/x"), own=own)
        self.assertEqual((mine.moves(), mine.renamed), ({}, {}))
        self.assertEqual(self.changes(renamed("A", "B"), renamed("B", "C"), own=own).moves(), {"C": "A"})
        self.assertEqual(self.changes(renamed("A", "C"), own=own).moves(), {"C": "A"})

    def test_belief(self) -> None:
        """Who is told of a rename moves what he knows of, and nothing else."""
        changes = self.changes(Happening("removed", "A/x"), renamed("A", "B"), renamed("A/y", "B/y"))
        belief = changes.belief()
        self.assertEqual(belief, {"A/x": True, "A": True, "B": False, "A/y": True, "B/y": False})
        belief.move("A", "B")
        there = {name for name, exists in belief.items() if exists}
        self.assertEqual(there, {"B", "B/x", "B/y"})

    def test_move(self) -> None:
        """What lies below is all that goes along, also to a name below, and to where there is something already."""
        belief = Belief({"A": True, "A/x": True, "A-": True, "A0": True, "B/x": True, "A/gone": False})
        belief.move("A", "B")
        belief.move("B", "B/x")
        there = sorted(name for name, exists in belief.items() if exists)
        self.assertEqual(there, ["A-", "A0", "B/x", "B/x/x"])

    def test_thousands_of_own_renames(self) -> None:
        """A client that renames thousands of mailboxes, one command behind the other, keeps others waiting for a moment."""
        happened = [renamed(f"A{n}", f"B{n}") for n in range(10_000)]
        began = time.process_time()
        changes = NameChanges.of(happened, lambda _kind, _name: True)
        told = changes.told(lambda _: frozenset({Event.MAILBOX_NAME}), lambda name: name.startswith("B"))
        self.assertLess(time.process_time() - began, 5)
        self.assertEqual((told.moves, told.plain), ({}, []))

    def test_carried(self) -> None:
        """What lies below a mailbox goes with it."""
        renames = Renames()
        self.assertFalse(renames.carry("A/x", "B/x"))
        renames.add("A", "B")
        for rest in ("/x", "/x/y", "/B"):
            self.assertTrue(renames.carry("A" + rest, "B" + rest))
        for old, new in (
            ("A/y", "B/x"),
            ("A", "B"),
            ("Ax", "Bx"),
            ("C/x", "B/x"),
            ("A/x", "C/x"),
            ("x", "B/x"),
            ("/x", "B/x"),
        ):
            self.assertFalse(renames.carry(old, new), (old, new))


class MemoryTests(SynchronousTestCase):
    def test_order(self) -> None:
        """Mail in memory tells what happened to names in the order in which it did."""
        mail = MemoryMail()
        for name in ("A", "B/x", "C", "D"):
            mail.make(name)
        feed = MemoryFeed(mail, 100, lambda: None)
        for old, new in (("B", "E"), ("A", "B"), ("C", "Z"), ("D", "C"), ("Z", "D")):
            mail.rename(old, new)
        told = [(h.kind, h.old_name, h.name) for h in feed.take()[0] if h.kind != "messages"]
        self.assertEqual(
            told,
            [
                ("renamed", "B", "E"),
                ("renamed", "B/x", "E/x"),
                ("renamed", "A", "B"),
                ("renamed", "C", "Z"),
                ("renamed", "D", "C"),
                ("renamed", "Z", "D"),
                # To a name that was taken for a moment.
                ("subscribed", "", "Z"),
            ],
        )
        self.assertEqual(feed.take(), ([], False))

    def test_too_many(self) -> None:
        """Who does not look for so long that not all is kept is told that something was lost; others see all."""
        mail = MemoryMail()
        late, soon = (MemoryFeed(mail, 3 * MOST_NAMES, lambda: None) for _ in range(2))
        mail.make("A")
        self.assertEqual([h.kind for h in soon.take()[0]], ["created"])
        for n in range(MOST_NAMES):
            mail.watch.name("renamed", f"A{n + 1}", f"A{n}")
        told, lost = soon.take()
        self.assertEqual((len(told), lost), (MOST_NAMES, False))
        self.assertTrue(late.take()[1])
        self.assertEqual((late.take(), soon.take()), (([], False), ([], False)))

    def test_away_and_back(self) -> None:
        """A mailbox that was moved away with the one above it and back is where it was for a client that is told OLDNAME."""
        mail = MemoryMail()
        mail.make("A/b")
        first, second = Driver.of(mail), Driver.of(mail)
        first.login()
        second.login()
        first.command("NOTIFY SET (personal (MailboxName))")
        second.command("RENAME A C")
        second.command("RENAME C/b A/b")
        first.received()
        first.flush()
        told = split_responses(first.received())
        self.assertIn(b'* LIST (\\Subscribed \\HasNoChildren) "/" A/b', told)
        self.assertIn(b'* LIST (\\NonExistent \\HasNoChildren) "/" C/b', told)

    def test_renamed_by_both(self) -> None:
        """Who renames what somebody else has just renamed is told what it was called before."""
        mail = MemoryMail()
        mail.make("One")
        first, second = Driver.of(mail), Driver.of(mail)
        first.login()
        second.login()
        first.command("NOTIFY SET (personal (MailboxName))")
        second.command("RENAME One Two")
        told = first.command("RENAME Two Three")
        self.assertIn(b'* LIST (\\Subscribed \\HasNoChildren) "/" Three ("OLDNAME" (One))', told)
