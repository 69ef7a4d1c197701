"""Upkeep: rendering again, counting again, forgetting, checking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.flags import DELETED, SEEN, MessageFlags
from moxtwisted.store import maintenance
from moxtwisted.store.accounts import Account
from moxtwisted.store.facts import pack, unpack
from moxtwisted.store.interfaces import Addition, Column, NewMessage
from moxtwisted.store.ledger import Ledger
from moxtwisted.store.store import Store

DAY = 86400
NOW = 1_700_000_000
RENDERED = (
    Column.ENVELOPE
    | Column.BODYSTRUCTURE
    | Column.FIELDS
    | Column.PREVIEW
    | Column.PARTS
    | Column.HEADER_SIZE
)


class MaintenanceCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Store.open(None, Path(self.mktemp()), None, threads=0)
        self.clock: Any = self.store._clock
        self.addCleanup(lambda: self.successResultOf(self.store.close()))
        self.account: Account = self.successResultOf(self.store.create_account("me"))

    def add(self, octets: bytes, flags: int = 0, prefix: bytes = b"Return-Path: <a@x>\r\n") -> int:
        staging = self.store.stage()
        staging.write(octets)
        staged = staging.finish()
        message = NewMessage(staged, prefix, NOW, MessageFlags.of(flags))
        (added,) = self.successResultOf(self.account.add([Addition("INBOX", message)]))
        staged.close()
        return added.uid

    def do(self, work: Any) -> Any:
        done = Deferred.fromCoroutine(work)
        for _ in range(1000):
            if done.called and not done.paused:
                break
            self.clock.advance(0)
        return self.successResultOf(done)

    def run_sql(self, statement: str, *values: Any) -> None:
        def job(ledger: Ledger) -> None:
            ledger.connection.execute(statement, values).fetchall()

        self.successResultOf(self.account.submit(job))

    def rows(self) -> list[Any]:
        return self.account.rows(1, self.account.state(1).uids, RENDERED)

    def verified(self) -> None:
        self.assertEqual(self.do(maintenance.verify(self.account)), [])


class ReparseTests(MaintenanceCase):
    def test_as_at_delivery(self) -> None:
        """Rendering again gives what delivery gave, whatever stood there; octets and numbers stay."""
        self.add(
            b"Subject: one\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x--\r\n"
        )
        self.add(b"Subject: =?utf-8?q?zw=C3=B6lf?=\r\n\r\n" + b"x\r\n" * 200_000, prefix=b"")
        self.add(b"")
        self.successResultOf(self.account.copy(1, [1], 1))
        before, bodies = self.rows(), self.account.bodies(1, [1, 3], 10_000)
        facts = self.account.reader.execute("SELECT id, facts FROM body").fetchall()
        for body, kept in facts:
            old = unpack(kept)
            self.run_sql(
                "UPDATE body SET facts = ?, header_size = 1 WHERE id = ?",
                pack(old._replace(envelope=b"old", preview="old")),
                body,
            )
        self.account.kept_rows.forget()
        self.assertNotEqual(self.rows(), before)
        seen: list[tuple[int, int, str]] = []
        self.assertEqual(self.do(maintenance.reparse(self.account, self.clock, lambda *p: seen.append(p))), 3)
        self.assertEqual(self.rows(), before)
        self.assertEqual(self.account.bodies(1, [1, 3], 10_000), bodies)
        self.assertEqual(seen[-1], (3, 3, "messages"))
        self.verified()

    def test_in_batches(self) -> None:
        """More messages than fit into a transaction are all rendered, also when some go meanwhile."""
        for number in range(120):
            self.add(b"Subject: %d\r\n\r\n" % number)
        working = Deferred.fromCoroutine(maintenance.reparse(self.account, self.clock, lambda *_: None))
        self.successResultOf(self.account.expunge(1, [119, 120], only_deleted=False))
        for _ in range(500):
            self.clock.advance(0)
        self.assertGreaterEqual(self.successResultOf(working), 118)
        self.verified()


class RecountTests(MaintenanceCase):
    def test_wrong_counts(self) -> None:
        """Wrong counts and references are repaired, in the database and in what sessions see; right ones are left alone."""
        self.add(b"Subject: one\r\n\r\n", SEEN)
        self.add(b"Subject: two\r\n\r\n", DELETED)
        self.assertEqual(self.do(maintenance.recount(self.account)), (1, 0))
        good = self.account.mailbox("INBOX")
        path = self.store._directory
        self.run_sql("UPDATE mailbox SET messages = 9, unseen = 8, deleted = 7, size = 6, deleted_size = 5")
        self.run_sql("UPDATE body SET refs = 4 WHERE id = 1")
        self.successResultOf(self.store.close())
        self.store = Store.open(None, path, None, threads=0)
        self.clock = self.store._clock
        self.account = self.store.account("me")
        self.assertEqual(self.account.usage()[0], 6)
        self.assertEqual(self.do(maintenance.recount(self.account)), (1, 1))
        self.assertEqual(self.account.mailbox("INBOX"), good)
        self.verified()
        self.assertEqual(self.do(maintenance.recount(self.account)), (1, 0))


class RetireTests(MaintenanceCase):
    def expunge(self, *uids: int) -> None:
        self.successResultOf(self.account.expunge(1, uids, only_deleted=False))

    def retire(self, now: int, days: int = 30) -> int:
        gone: int = self.do(maintenance.retire(self.account, days * DAY, now))
        return gone

    def test_rule(self) -> None:
        """What was expunged longer ago than the rule says is forgotten, the rest is kept, to a day."""
        for number in range(4):
            self.add(b"Subject: %d\r\n\r\n" % number)
        start = self.account.state(1).highestmodseq
        self.expunge(1)
        first = self.account.state(1).highestmodseq
        self.assertEqual(self.retire(NOW), 0)
        self.expunge(2)
        for day in range(1, 30):
            self.assertEqual(self.retire(NOW + day * DAY), 0)
        self.assertEqual(self.account.expunged_since(1, start), ([1, 2], True))
        self.assertEqual(self.retire(NOW + 30 * DAY), 1)
        # a client that knows only the beginning has to compare all; one that saw the first expunge need not
        self.assertEqual(self.account.expunged_since(1, start), ([2], False))
        self.assertEqual(self.account.expunged_since(1, first), ([2], True))
        self.assertEqual(self.retire(NOW + 31 * DAY), 1)
        self.assertEqual(self.retire(NOW + 32 * DAY), 0)
        self.verified()

    def test_never(self) -> None:
        """With no rule nothing is forgotten."""
        self.add(b"Subject: x\r\n\r\n")
        self.expunge(1)
        for day in range(100):
            self.assertEqual(self.retire(NOW + day * DAY, 0), 0)
        self.assertEqual(self.account.expunged_since(1, 0), ([1], True))

    def test_first_run_forgets_nothing(self) -> None:
        """Without notes of earlier days nothing is old enough, whenever the first run is."""
        self.add(b"Subject: x\r\n\r\n")
        self.expunge(1)
        self.assertEqual(self.retire(NOW + 1000 * DAY), 0)

    def test_notes_are_bounded(self) -> None:
        """Years of daily runs leave one note for each day of the rule."""
        for day in range(100):
            self.retire(NOW + day * DAY, 10)
        self.assertLessEqual(self.account.reader.execute("SELECT count(*) FROM modseq_note").get, 12)

    def test_clock_going_back(self) -> None:
        """A clock that is wrong for a while makes nothing be forgotten early, and what is forgotten stays so."""
        self.add(b"Subject: x\r\n\r\n")
        self.add(b"Subject: y\r\n\r\n")
        self.retire(NOW)
        self.expunge(1)
        self.retire(NOW + DAY)
        self.expunge(2)
        self.assertEqual(self.retire(NOW - 10_000 * DAY), 0)
        self.assertEqual(self.retire(NOW + 2 * DAY), 0)
        self.assertEqual(self.account.expunged_since(1, 1)[0], [1, 2])
        self.assertEqual(self.retire(NOW + 31 * DAY), 1)
        self.assertEqual(self.retire(NOW + 32 * DAY), 1)
