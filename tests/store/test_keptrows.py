"""Rows that are kept are the rows of the database."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import ConsistencyError
from moxtwisted.store import keptrows
from moxtwisted.store.interfaces import Addition, Column, NewMessage
from moxtwisted.store.keptrows import KeptRows
from moxtwisted.store.remembered import Remembered
from moxtwisted.store.rows import read_rows
from moxtwisted.store.store import Store

_ALL = Column(sum(Column))


class KeptRowsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(keptrows, "_BLOCK_BITS", 2)
        self.store = Store.open(None, Path(self.mktemp()), None, threads=0)
        self.addCleanup(lambda: self.successResultOf(self.store.close()))
        self.account: Any = self.successResultOf(self.store.create_account("me"))
        self.inbox: int = self.account.mailboxes()[0].id
        for number in range(20):
            self.add(number)

    def add(self, number: int) -> None:
        staging = self.store.stage()
        staging.write(
            b"From: a@example.org\r\nSubject: %d gr\xc3\xbc\xc3\x9fe\r\n\r\n%d words\r\n" % (number, number)
        )
        new = NewMessage(staging.finish(), b"Return-Path: <b@example.org>\r\n", number)
        self.successResultOf(self.account.add([Addition("INBOX", new)]))

    def asked(self, kept: KeptRows, uids: Any, columns: Column = _ALL) -> list[tuple[Any, ...]]:
        state = self.account.state(self.inbox)
        return kept.rows(self.account.reader, state, self.inbox, uids, columns)

    def test_equal(self) -> None:
        """Whatever columns of whatever messages are asked for, in whatever order and memory, they are those of the database."""
        self.successResultOf(self.account.expunge(self.inbox, [3, 9, 10], only_deleted=False))
        for room in (0, 6_000, 1_000_000):
            kept = KeptRows(Remembered(room))
            dice = random.Random(room)
            for _ in range(100):
                uids = sorted(dice.sample(range(1, 25), dice.randrange(1, 25)))
                wanted = Column(sum(dice.sample(list(Column), dice.randrange(1, 6))))
                expected = read_rows(self.account.reader, self.inbox, uids, wanted)
                self.assertEqual(self.asked(kept, uids, wanted), expected)
            self.assertLessEqual(kept._memory.octets, room)

    def test_gone(self) -> None:
        """An expunged message has no row any more, and a new one has."""
        kept = KeptRows(Remembered(1_000_000))
        self.assertEqual(len(self.asked(kept, range(1, 21))), 20)
        self.successResultOf(self.account.expunge(self.inbox, [5], only_deleted=False))
        self.add(99)
        self.assertEqual([row[0] for row in self.asked(kept, range(4, 22))], [4, *range(6, 22)])

    def test_reads_once(self) -> None:
        """What was read is not read again, until it is forgotten."""
        kept = KeptRows(Remembered(1_000_000))
        self.asked(kept, range(1, 21))
        with_envelopes = self.asked(kept, range(2, 19), Column.ENVELOPE)
        self.account.submit(_spoil)
        self.assertEqual(self.asked(kept, range(2, 19), Column.ENVELOPE), with_envelopes)
        kept.forget()
        self.assertRaises(ConsistencyError, self.asked, kept, range(2, 19), Column.ENVELOPE)


def _spoil(ledger: Any) -> None:
    ledger.connection.execute("UPDATE body SET facts = x'00'")
