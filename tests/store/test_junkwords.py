"""What was learned of junk is counted exactly, whatever is learned and unlearned."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.flags import MessageFlags
from moxtwisted.store.database import connect
from moxtwisted.store.interfaces import Addition
from moxtwisted.store.junkwords import JunkWords, Learned, counts, recount
from tests.store.mail import StoreTestCase


class _Octets:
    """What stands for a message: numbers of words, and whether there is HTML."""

    def __init__(self, numbers: set[int], html: bool) -> None:
        self.numbers, self.html = numbers, html


WORDS = JunkWords(1, lambda octets: (octets.numbers, octets.html))  # type: ignore[attr-defined]


class CountTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make an empty table."""
        from moxtwisted.store.database import _migrations

        self.connection = connect(":memory:", None)  # type: ignore[arg-type]
        self.connection.execute(dict(_migrations("account"))[6])

    def learn(self, numbers: set[int], junk: bool = True, html: bool = False, sign: int = 1) -> None:
        """Learn."""
        WORDS.learn(self.connection, 1, _Octets(numbers, html), junk, sign)  # type: ignore[arg-type]

    def test_counts(self) -> None:
        """One question gives the totals and the words that were seen."""
        self.learn({1, 2, (1 << 63) - 1})
        self.learn({2, 3}, junk=False, html=True)
        learned, rows = counts(self.connection, [3, 2, 99])
        self.assertEqual(learned, Learned(1, 1, 1, 0, 2))
        self.assertEqual(rows, [(2, 1, 1, 1, 0), (3, 1, 0, 1, 0)])

    def test_nothing(self) -> None:
        """An account that has learned nothing says so."""
        self.assertEqual(counts(self.connection, [1]), (Learned(), []))
        self.learn(set(), sign=-1)
        self.assertEqual(counts(self.connection, [])[0].ham, 0)

    def test_forget(self) -> None:
        """Forgetting leaves nothing but that something changed."""
        self.learn({1})
        WORDS.forget(self.connection)
        self.assertEqual(counts(self.connection, [1]), (Learned(changes=2), []))

    def test_never_below_zero(self) -> None:
        """What was never learned can be unlearned without harm."""
        self.learn({1, 2})
        self.learn({1, 3}, sign=-1)
        self.learn({1, 3}, sign=-1)
        self.assertEqual(counts(self.connection, [1, 2, 3])[1], [(2, 0, 1, 0, 0)])

    @settings(max_examples=60)
    @given(
        st.lists(
            st.tuples(st.sets(st.integers(0, 12), max_size=8), st.booleans(), st.booleans(), st.booleans()),
            max_size=12,
        )
    )
    def test_exact(self, messages: list[tuple[set[int], bool, bool, bool]]) -> None:
        """After unlearning some messages the table is as if they had never been learned."""
        self.connection.execute("DELETE FROM junk_word")
        for numbers, junk, html, _ in messages:
            self.learn(numbers, junk, html)
        for numbers, junk, html, stays in reversed(messages):
            if not stays:
                self.learn(numbers, junk, html, -1)
        table = self.table()
        self.connection.execute("DELETE FROM junk_word")
        for numbers, junk, html, stays in messages:
            if stays:
                self.learn(numbers, junk, html)
        self.assertEqual(table, self.table())

    def table(self) -> list[Any]:
        """All that was learned."""
        rows: list[Any] = self.connection.execute(
            "SELECT * FROM junk_word WHERE id <> -2 ORDER BY id"
        ).fetchall()
        return rows


class AccountTests(StoreTestCase):
    """Through flags."""

    words = JunkWords(
        7, lambda octets: ({ord(c) for c in octets.read(0, 100).decode().split("\r\n\r\n")[1].strip()}, False)
    )

    def test_flags(self) -> None:
        """Keywords teach, other keywords unlearn, and a recount agrees all the time."""
        self.successResultOf(self.account.use_learner(self.words))
        uids = []
        for text in (b"ab", b"bc", b"cd"):
            octets = b"Subject: x\r\n\r\n" + text + b"\r\n"
            [added] = self.successResultOf(self.account.add([Addition("INBOX", self.new(octets))]))
            uids.append(added.uid)
        for uid, keyword in (
            (uids[0], "$Junk"),
            (uids[1], "$NotJunk"),
            (uids[2], "Junk"),
            (uids[0], "NonJunk"),
        ):
            self.flag(uid, [keyword])
            self.assertEqual(list(recount(self.account.reader, self.words)), [])
        learned, rows = counts(self.account.reader, [ord(c) for c in "abcd"])
        self.assertEqual((learned.ham, learned.junk), (2, 1))
        self.assertEqual([row[:3] for row in rows], [(97, 1, 0), (98, 2, 0), (99, 1, 1), (100, 0, 1)])
        for uid in uids:
            self.flag(uid, [])
        self.assertEqual(counts(self.account.reader, [97])[0].ham, 0)
        self.successResultOf(self.account.relearn())
        self.assertEqual(list(recount(self.account.reader, self.words)), [])

    def test_recount(self) -> None:
        """A recount finds words that are missing, too many, or counted wrongly."""
        self.successResultOf(self.account.use_learner(self.words))
        octets = b"Subject: x\r\n\r\nab\r\n"
        [added] = self.successResultOf(self.account.add([Addition("INBOX", self.new(octets))]))
        self.flag(added.uid, ["$Junk"])
        connection = self.account._ledger.connection
        connection.execute("UPDATE junk_word SET junk = 5 WHERE id = 97; DELETE FROM junk_word WHERE id = 98")
        connection.execute("INSERT INTO junk_word VALUES (55, 1, 0, 0, 0)")
        self.assertEqual(
            list(recount(self.account.reader, self.words)),
            [
                "junk word 55 has the counts [1, 0, 0, 0], a recount gives [0, 0, 0, 0]",
                "junk word 97 has the counts [0, 5, 0, 0], a recount gives [0, 1, 0, 0]",
                "junk word 98 is missing; a recount gives [0, 1, 0, 0]",
            ],
        )

    def flag(self, uid: int, keywords: list[str]) -> None:
        """Replace the keywords of a message."""
        flags = MessageFlags.of(0, keywords)
        self.successResultOf(self.account.store_flags(self.inbox, [uid], "replace", flags))
