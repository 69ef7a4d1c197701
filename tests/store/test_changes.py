"""Mailbox states: applying commits, the bounded log, and agreement with what a new one would load."""

from __future__ import annotations

import random
from array import array
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import ConsistencyError, StoreUnavailableError
from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.store import changes
from moxtwisted.store.changes import ChangeQueue, FlagTable, MailboxState
from moxtwisted.store.interfaces import Addition, MailboxChange
from moxtwisted.store.ledger import Arrivals, Delta
from moxtwisted.store.staging import Staged
from tests.store.mail import StoreTestCase


def small_message(number: int) -> bytes:
    """A message."""
    return f"Subject: {number}\r\n\r\n".encode()


class StateTests(StoreTestCase):
    """A state that lives through changes."""

    def same(self, state: MailboxState) -> None:
        """It is what a new one would be."""
        new = MailboxState.load(self.account.reader, state.id, FlagTable())
        for name in ("name", "uidvalidity", "uidnext", "highestmodseq", "uids", "modseqs", "flags", "unseen"):
            self.assertEqual(getattr(state, name), getattr(new, name), name)
        if state.version % 3:
            # Not after every change: it has to be right after several, too.
            used, first = state.overview()
            self.assertEqual(set(used), set(new.flags))
            unseen = [number for number, flags in enumerate(new.flags, 1) if not flags.system & SEEN]
            self.assertEqual(first, min(unseen, default=0))

    def test_random(self) -> None:
        """After any changes the states of all mailboxes are what is on disk, and a session can follow by the log."""
        dice = random.Random(5)
        sent = self.account.mailbox("Sent").id
        states = [self.account.state(self.inbox), self.account.state(sent)]
        views = {state.id: (state.version, list(state.uids)) for state in states}
        words = ["\\Seen", "\\Deleted", "\\Flagged", "a", "B"]
        for step in range(300):
            state = dice.choice(states)
            uids = sorted(dice.sample(list(state.uids), min(len(state.uids), dice.randrange(6))))
            flags = MessageFlags.parse(dice.sample(words, dice.randrange(4)))
            other = sent if state.id == self.inbox else self.inbox
            what = dice.choice(("add", "add", "flags", "flags", "copy", "move", "expunge"))
            if what == "add":
                self.successResultOf(self.add(small_message(step)))
            elif what == "flags":
                mode = dice.choice(("add", "remove", "replace"))
                self.successResultOf(self.account.store_flags(state.id, uids, mode, flags))
            elif what == "expunge":
                self.successResultOf(self.account.expunge(state.id, dice.choice((None, uids))))
            else:
                change = self.account.copy if what == "copy" else self.account.move
                self.successResultOf(change(state.id, uids, dice.choice((state.id, other))))
            for changed in states:
                self.same(changed)
            if step % 7 == 0:
                self.follow(states, views)

    def follow(self, states: list[MailboxState], views: dict[int, tuple[int, list[int]]]) -> None:
        """Bring the views of sessions up to date by the log alone."""
        for state in states:
            version, known = views[state.id]
            found = state.changes_since(version)
            assert found is not None
            expunged, flagged = found
            self.assertLessEqual(set(expunged), set(known))
            self.assertLessEqual(set(flagged), set(known) - set(expunged))
            last = known[-1] if known else 0
            left = [uid for uid in known if uid not in expunged]
            views[state.id] = (state.version, left + [uid for uid in state.uids if uid > last])
            self.assertEqual(
                [uid for uid in views[state.id][1] if uid <= last], [u for u in state.uids if u <= last]
            )

    def test_expunged_before_the_first_unseen(self) -> None:
        """The number of the first unseen message falls with each that is expunged before it."""
        for number in range(5):
            self.successResultOf(self.add(small_message(number)))
        state = self.account.state(self.inbox)
        seen = MessageFlags.parse(["\\Seen"])
        self.successResultOf(self.account.store_flags(self.inbox, list(state.uids)[:3], "add", seen))
        self.assertEqual(state.overview()[1], 4)
        self.successResultOf(
            self.account.expunge(self.inbox, [state.uids[0], state.uids[2]], only_deleted=False)
        )
        self.assertEqual(state.overview()[1], 2)
        self.successResultOf(self.account.store_flags(self.inbox, list(state.uids), "add", seen))
        self.assertEqual(state.overview()[1], 0)

    def test_many_combinations(self) -> None:
        """With keywords of their own for all messages, too."""
        for number in range(30):
            self.successResultOf(self.add(small_message(number)))
        state = self.account.state(self.inbox)
        for uid in reversed(state.uids):
            self.successResultOf(
                self.account.store_flags(self.inbox, [uid], "add", MessageFlags.parse([f"k{uid}"]))
            )
        self.assertEqual(state.overview()[1], 1)
        seen = MessageFlags.parse(["\\Seen"])
        self.successResultOf(self.account.store_flags(self.inbox, list(state.uids)[:20], "add", seen))
        used, first = state.overview()
        self.assertEqual((set(used), first), (set(state.flags), 21))

    def test_no_keyword(self) -> None:
        """A keyword in the database that is none does not give its flags to other messages: the mailbox is not read."""
        self.successResultOf(self.add(small_message(1)))
        self.account._database.writer.execute("UPDATE message SET keywords = ?", ("a\n5 b",))
        self.assertRaises(ConsistencyError, self.account.state, self.inbox)
        self.account._database.writer.execute("UPDATE message SET keywords = ''")

    def test_overview_of_what_is_gone(self) -> None:
        """A mailbox that was removed has no flags and nothing unseen."""
        box = self.successResultOf(self.account.create_mailbox("Box"))
        state = self.account.state(box.id)
        self.assertEqual((list(state.overview()[0]), state.overview()[1]), ([], 0))
        self.successResultOf(self.account.add([Addition(box.id, self.new(small_message(1)))]))
        self.assertEqual((list(state.overview()[0]), state.overview()[1]), ([MessageFlags.parse(())], 1))
        self.successResultOf(self.account.delete_mailbox("Box"))
        self.assertEqual((list(state.overview()[0]), state.overview()[1]), ([], 0))

    def test_loaded_before_the_report(self) -> None:
        """A state that was loaded between a commit and its report takes nothing twice."""
        pending: list[Any] = []
        told = self.account._ledger.committed
        self.account._ledger.committed = pending.append
        self.add(small_message(1))
        self.add(small_message(2))
        state = self.account.state(self.inbox)
        self.assertEqual(list(state.uids), [1, 2])
        for report in pending:
            told(report)
        self.same(state)
        self.assertEqual(state.version, 0)
        self.account._ledger.committed = told
        self.successResultOf(self.add(small_message(3)))
        self.same(state)

    def test_states_are_let_go(self) -> None:
        """States that no session holds are not kept for ever; one that is held stays the same."""
        held = self.account.state(self.inbox)
        for number in range(20):
            made = self.successResultOf(self.account.create_mailbox(f"m{number}"))
            self.account.state(made.id)
        self.assertLess(len(self.account._states), 12)
        self.assertIs(self.account.state(self.inbox), held)


class LogTests(SynchronousTestCase):
    """The log of a state."""

    def setUp(self) -> None:
        """A state of three messages."""
        self.state = MailboxState(1, "INBOX", 1, 1, 0, array("I"), array("Q"), [], 0, FlagTable())
        self.state.apply(Delta("messages", 1, "INBOX", 1, added=Arrivals([1, 2, 3], [1] * 3, [(0, "")] * 3)))

    def test_bounded(self) -> None:
        """The log forgets its oldest entries, and says so."""
        self.patch(changes, "_LOG_ENTRIES", 10)
        start = self.state.version
        for number in range(10):
            self.state.apply(Delta("messages", 1, "INBOX", number + 2, flagged=[((number % 2, ""), [1])]))
        self.assertEqual(self.state.changes_since(start), ([], [1]))
        self.state.apply(Delta("messages", 1, "INBOX", 99, expunged=[2]))
        self.assertIsNone(self.state.changes_since(start))
        self.assertEqual(self.state.changes_since(start + 1), ([2], [1]))

    def test_bounded_uids(self) -> None:
        """A log of few but large entries is bounded as well."""
        self.patch(changes, "_LOG_UIDS", 100)
        start = self.state.version
        for number in range(5):
            flagged = [((number % 2, ""), range(1, 60))]
            self.state.apply(Delta("messages", 1, "INBOX", number + 2, flagged=flagged))
        self.assertIsNone(self.state.changes_since(start))
        self.assertLess(len(self.state._log), 3)

    def test_known_changes(self) -> None:
        """A change that is known already is not taken again."""
        delta = Delta("messages", 1, "INBOX", 2, expunged=[2])
        self.assertTrue(self.state.apply(delta))
        self.assertFalse(self.state.apply(delta))
        self.assertEqual(list(self.state.uids), [1, 3])

    def test_uids_are_snapshots(self) -> None:
        """An array of UIDs that a session keeps never changes."""
        before = self.state.uids
        self.state.apply(Delta("messages", 1, "INBOX", 2, expunged=[1]))
        self.state.apply(Delta("messages", 1, "INBOX", 3, added=Arrivals([4], [3], [(1, "x")])))
        self.assertEqual((list(before), list(self.state.uids)), ([1, 2, 3], [2, 3, 4]))
        self.assertIs(self.state.flags[2], MessageFlags.of(1, ["x"]))


class QueueTests(SynchronousTestCase):
    """What waits for a reader who may never come."""

    def test_bounded_uids(self) -> None:
        """Besides the changes the UIDs in them are counted; a single change is kept however many it has."""
        self.patch(changes, "_QUEUED_UIDS", 10)
        queue = ChangeQueue(100, lambda _: None)
        many = MailboxChange("messages", 1, "INBOX", 2, flagged=tuple(range(1, 21)))
        few = MailboxChange("messages", 1, "INBOX", 3, added=(21,), expunged=(1, 2), flagged=(3, 4))
        for put, kept in (
            ([many], [many]),
            ([many, few], [many]),
            ([few, many], [few]),
            ([few, few], [few, few]),
            ([few, few, few], [few, few]),
        ):
            for change in put:
                queue.put([change])
            self.assertEqual(queue.take(), (kept, put != kept))
        self.assertEqual(queue.take(), ([], False))


class WholeTests(StoreTestCase):
    """A message is kept with all of its octets, or not at all."""

    def test_closed_too_early(self) -> None:
        """What was closed before it was added is refused."""
        message = self.new(b"Subject: closed\r\n\r\n")
        message.staged.close()
        self.failureResultOf(self.account.add([Addition(self.inbox, message)]), StoreUnavailableError)
        self.successResultOf(self.add(b"Subject: next\r\n\r\n"))
        self.assertEqual(self.octets(1), b"Subject: next\r\n\r\n")

    def test_chunk_missing(self) -> None:
        """So is what has too few chunks for its size."""
        with mock.patch.object(Staged, "packed", return_value=()):
            self.failureResultOf(self.add(b"Subject: none\r\n\r\n"), ConsistencyError)
        self.assertEqual(len(self.account.state(self.inbox).uids), 0)
