"""Results that are kept up to date: what a program makes of the changes is what a new search finds."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.client.kept import KeptResult
from moxtwisted.imap.client.notices import (
    ContextChanged,
    Expunged,
    NewCount,
    Notice,
    UpdatesRefused,
    Vanished,
)
from moxtwisted.imap.client.results import ResultError, SearchResult, members
from moxtwisted.imap.testing import run_now
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.commands import StoreMode
from moxtwisted.imap.wire.returnoptions import SearchReturn
from moxtwisted.imap.wire.sequence import SequenceSet
from moxtwisted.message.flags import MessageFlags
from tests.imap.client.test_commands import Scripted
from tests.imap.test_agent import ServerCase

WANTED = (SearchReturn.ALL, SearchReturn.UPDATE)
FLAGGED = k.HasFlag("\\Flagged")


def changed(added: bool, position: int, numbers: bytes) -> ContextChanged:
    return ContextChanged(b"A1", (r.ContextChange(added, position, SequenceSet.parse(numbers)),))


def kept(*numbers: int, uid: bool = True) -> KeptResult:
    return KeptResult(SearchResult(numbers, tag=b"A1", updated=True), uid=uid)


class OurServerTests(ServerCase):
    def test_any_changes(self) -> None:
        """RFC 5267 section 4.3: searches and sorts, by UIDs and by numbers, while two sessions change the mailbox."""
        dice = random.Random(7)
        for _ in range(8):
            self.mail.add("INBOX", b"Subject: %d\r\n\r\n" % dice.randrange(100))
        mine = self.open()
        other = self.open()
        for client in (mine, other):
            self.wait(client.select("INBOX"))
        results: list[KeptResult] = []
        mine._heard = lambda notice: [one.take(notice) for one in results]  # type: ignore[assignment,func-returns-value]
        asks = [
            (lambda uid=uid: mine.search(FLAGGED, uid=uid, returns=WANTED), uid) for uid in (True, False)
        ] + [
            (lambda uid=uid: mine.sort("SUBJECT", FLAGGED, uid=uid, returns=WANTED), uid)
            for uid in (True, False)
        ]
        results += [KeptResult(self.wait(ask()), uid=uid) for ask, uid in asks]
        self.assertTrue(all(one.updated for one in results))
        for _ in range(60):
            uids = list(members(self.wait(other.search()).numbers))
            some = dice.sample(uids, min(len(uids), 3))
            match dice.randrange(4):
                case 0:
                    self.mail.add(
                        "INBOX",
                        b"Subject: %d\r\n\r\n" % dice.randrange(100),
                        MessageFlags.parse(["\\Flagged"]),
                    )
                case 1 if len(uids) > 4:
                    self.wait(other.store(sorted(some[:1]), StoreMode.ADD, ["\\Deleted"]))
                    self.wait(other.expunge())
                case 2:
                    self.wait(other.store(sorted(some), StoreMode.ADD, ["\\Flagged"]))
                case _:
                    self.wait(other.store(sorted(some), StoreMode.REMOVE, ["\\Flagged"]))
            self.wait(mine.noop())
            for one, (ask, _uid) in zip(results, asks, strict=True):
                fresh = self.wait(ask())
                self.assertEqual(one.numbers, list(members(fresh.numbers)))
                self.wait(mine.cancel_updates(fresh.tag))


class KeptTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """RFC 5267 section 4.3.3: three ways to say the same."""
        for changes in (
            (changed(True, 1, b"2733"), changed(True, 1, b"2732"), changed(True, 1, b"2731")),
            (changed(True, 1, b"2733"), changed(True, 1, b"2731:2732")),
            (changed(True, 1, b"2731:2733"),),
        ):
            one = kept(2734, 2735)
            self.assertTrue(all(one.take(change) for change in changes))
            self.assertEqual(one.numbers, [2731, 2732, 2733, 2734, 2735])

    def test_removed(self) -> None:
        """Results go from their place, or wherever they are; and come in the mailbox's order without a place."""
        one = kept(5, 9, 7)
        one.take(changed(False, 2, b"9,7"))
        self.assertEqual(one.numbers, [5])
        one.take(changed(True, 0, b"3:4"))
        one.take(changed(False, 0, b"4:5,99"))
        self.assertEqual(one.numbers, [3])

    def test_news_of_others(self) -> None:
        """What is about other searches, or no search, is left alone; the server may stop to tell."""
        one = kept(5)
        others: tuple[Notice, ...] = (
            *(ContextChanged(b"A2", changed(True, 1, b"4").changes), UpdatesRefused(b"A2", "")),
            *(NewCount(5), Expunged(3)),
        )
        self.assertFalse(any(one.take(notice) for notice in others))
        self.assertTrue(one.updated)
        self.assertTrue(one.take(UpdatesRefused(b"A1", "")))
        self.assertEqual((one.numbers, one.updated), ([5], False))

    def test_sequence_numbers(self) -> None:
        """Sequence numbers move up when a message before them goes."""
        one = kept(2, 5, uid=False)
        self.assertTrue(one.take(Expunged(3)))
        self.assertFalse(one.take(Expunged(9)))
        self.assertEqual(one.numbers, [2, 4])

    def test_vanished(self) -> None:
        """With QRESYNC messages go by UID: sequence numbers cannot be kept then, UIDs can."""
        gone = SequenceSet.parse(b"3")
        self.assertRaises(ResultError, kept(2, 5, uid=False).take, Vanished(gone))
        self.assertFalse(kept(2, 5, uid=False).take(Vanished(gone, earlier=True)))
        self.assertFalse(kept(2, 5).take(Vanished(gone)))

    def test_out_of_step(self) -> None:
        """What does not fit is an error, not a wrong result; nor can a server fill the memory."""
        for change in (
            changed(True, 3, b"7"),
            changed(False, 1, b"7"),
            changed(False, 1, b"5:6"),
            changed(True, 1, b"1:1000000"),
            changed(True, 0, b"1:4294967295"),
            changed(True, 0, b"5:*"),
        ):
            self.assertRaises(ResultError, kept(5).take, change)

    def test_refused(self) -> None:
        """RFC 5267 section 4.3.1: a search whose result is not kept up to date says so; a change that came with it counts."""
        session = Scripted(
            b'* ESEARCH (TAG "A1") UID COUNT 74\n* NO [NOUPDATE "A1"] Too many contexts\nOK will not notify',
            b'* ESEARCH (TAG "A2") UID ALL 5\n* ESEARCH (TAG "A2") UID ADDTO (0 7)\n* ESEARCH (TAG "A1") UID ADDTO (0 8)\nOK',
        )
        found = run_now(session.search(returns=["COUNT", "UPDATE"]))
        self.assertEqual((found.count, found.updated, session.notices), (74, False, []))
        found = run_now(session.search(returns=WANTED))
        self.assertTrue(found.updated)
        self.assertEqual(KeptResult(found).numbers, [5, 7])
        self.assertEqual(len(session.notices), 1)
