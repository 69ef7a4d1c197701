"""What waits to be written: with few steps or many, the database is the same."""

from __future__ import annotations

import random
from functools import partial
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from moxtwisted.errors import MailboxMissingError, OverQuotaError, StoreFullError
from moxtwisted.message.flags import DELETED, FLAGGED, SEEN, MessageFlags
from moxtwisted.store import messages
from moxtwisted.store.accounts import prepare
from moxtwisted.store.interfaces import Addition, Column
from moxtwisted.store.lanes import Job
from moxtwisted.store.pending import Pending
from tests.store.mail import StoreTestCase

TABLES = ("setting", "mailbox", "message", "expunged", "body", "chunk", "unjudged")


def letter(number: int, octets: int = 0) -> bytes:
    """A message."""
    return b"Message-ID: <%d@x>\r\nSubject: number %d\r\n\r\n%b\r\n" % (
        number,
        number,
        b"a b " * (octets // 4),
    )


def noise(octets: int) -> bytes:
    """A message without Message-ID that cannot be packed well."""
    return b"Subject: noise\r\n\r\n" + random.Random(octets).randbytes(octets // 2).hex().encode() + b"\r\n"


class PendingTestCase(StoreTestCase):
    """With what the writer's connection is told."""

    def watch(self) -> list[str]:
        """The statements that it runs from now on, by their first word."""
        said: list[str] = []

        def note(cursor: Any, statement: str, bindings: Any) -> bool:
            said.append(statement.split(None, 1)[0])
            return True

        self.account._ledger._connection.exec_trace = note
        return said

    def together(self, *jobs: Any) -> list[Any]:
        """Run these jobs in one transaction, as if they had come while the writer was busy; their results."""
        lane = self.account._lane
        results: list[Any] = []
        batch = []
        for job in jobs:
            one = Job(lane, partial(job, self.account._ledger), self._answer(results))
            batch.append(one)
        lane._thread.work(batch)
        lane._thread._reports.deliver()
        return results

    def _answer(self, results: list[Any]) -> Any:
        return Deferred().addBoth(results.append)

    def adding(self, octets: bytes, *targets: int | str, quota: bool = False) -> Any:
        """A job that adds a message."""
        prepared = prepare(
            self.account, self.new(octets), [(target, (0, "")) for target in targets or (self.inbox,)]
        )
        return lambda ledger: messages.add(ledger, [prepared], quota)

    def storing(self, uid: int, flags: int, mode: Any = "add", mailbox: int = 0) -> Any:
        """A job that changes flags."""
        return lambda ledger: messages.store_flags(
            ledger, mailbox or self.inbox, [uid], mode, MessageFlags(flags, ()), None
        )

    def tables(self) -> dict[str, list[Any]]:
        """All that is in them."""
        return {
            name: sorted(self.account.reader.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in TABLES
        }


class StepsTests(PendingTestCase):
    """How many statements small transactions are."""

    def setUp(self) -> None:
        """With some messages, and the views that the first change of each sort makes."""
        super().setUp()
        for number in range(4):
            self.successResultOf(self.add(letter(number)))
        self.successResultOf(self.account.store_flags(self.inbox, [4], "add", MessageFlags(SEEN, ())))
        self.successResultOf(self.account.expunge(self.inbox, [4], only_deleted=False))

    def test_delivery(self) -> None:
        """A delivery asks for its thread and is one statement then."""
        said = self.watch()
        self.successResultOf(self.add(letter(4)))
        self.assertEqual(said, ["SELECT", "INSERT"])
        self.assertEqual(self.octets(5), letter(4))

    def test_flags(self) -> None:
        """A change of flags reads them and is one statement."""
        said = self.watch()
        self.successResultOf(self.account.store_flags(self.inbox, [1], "add", MessageFlags(SEEN, ())))
        self.assertEqual(said, ["SELECT", "INSERT"])

    def test_nothing(self) -> None:
        """What changes nothing writes nothing."""
        said = self.watch()
        self.successResultOf(self.account.store_flags(self.inbox, [1], "remove", MessageFlags(SEEN, ())))
        self.successResultOf(self.account.expunge(self.inbox, [1]))
        self.assertEqual(said, ["SELECT", "SELECT"])

    def test_expunge(self) -> None:
        """An expunge reads what goes and is one statement; the body goes later."""
        said = self.watch()
        self.successResultOf(self.account.expunge(self.inbox, [2], only_deleted=False))
        self.assertEqual(said[:3], ["SELECT", "INSERT", "BEGIN"])
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM body").get, 2)

    def test_others(self) -> None:
        """Other changes are transactions of some statements: a message for two mailboxes, one that is moved."""
        said = self.watch()
        sent = self.account.mailbox("Sent").id
        self.successResultOf(self.account.move(self.inbox, [1], sent))
        self.assertEqual((said[:2], said[-1]), (["SELECT", "BEGIN"], "COMMIT"))
        said.clear()
        new = self.new(letter(4))
        self.successResultOf(self.account.add([Addition(self.inbox, new), Addition("Sent", new)]))
        self.assertEqual((said[:2], said[-1]), (["SELECT", "BEGIN"], "COMMIT"))

    def test_several(self) -> None:
        """What came together is written at the end; what somebody asks for is written before."""
        said = self.watch()
        self.together(
            self.adding(letter(4)), self.adding(letter(5)), self.storing(1, SEEN), self.storing(2, SEEN)
        )
        inserts = ["INSERT", "INSERT", "INSERT"]
        self.assertEqual(said, ["SELECT"] * 4 + ["BEGIN", *inserts, "UPDATE", "UPDATE", "UPDATE", "COMMIT"])
        said.clear()
        self.together(self.storing(1, FLAGGED), self.storing(1, DELETED), self.storing(5, SEEN))
        self.assertEqual(
            said, ["SELECT", "BEGIN", "UPDATE", "SELECT", "SELECT", "UPDATE", "UPDATE", "UPDATE", "COMMIT"]
        )
        rows = self.account.reader.execute(
            "SELECT flags FROM message WHERE mailbox = ?", (self.inbox,)
        ).fetchall()
        self.assertEqual(rows, [(SEEN | FLAGGED | DELETED,), (SEEN,), (0,), (SEEN,), (0,)])

    def test_large(self) -> None:
        """A large message, and much at once, are transactions as others."""
        said = self.watch()
        self.successResultOf(self.add(noise(900_000)))
        self.assertEqual([said[0], said[-1]], ["BEGIN", "COMMIT"])
        said.clear()
        self.together(*[self.adding(letter(number)) for number in range(10, 30)])
        self.assertEqual(said.count("COMMIT"), 1)
        self.assertLess(len(said), 20 + 15)


class RefusalTests(PendingTestCase):
    """What goes wrong in a transaction whose rows wait."""

    def test_refusal(self) -> None:
        """Who refuses gets only its own answer; the others are one transaction."""
        self.successResultOf(self.add(letter(1)))
        self.account._ledger.quota = self.account._ledger.size + 2 * len(letter(1))
        said = self.watch()
        results = self.together(
            self.adding(letter(2), quota=True),
            self.adding(letter(3, 1000), quota=True),
            self.adding(letter(4), quota=True),
            self.storing(1, SEEN, mailbox=99),
        )
        self.assertEqual((results[0][0][0].uid, results[2][0][0].uid), (2, 3))
        results[1].trap(OverQuotaError)
        results[3].trap(MailboxMissingError)
        self.assertEqual((said.count("BEGIN"), said.count("COMMIT")), (1, 1))
        self.assertNotIn("ROLLBACK", said)

    def test_refusal_after_reading(self) -> None:
        """Who makes others' rows be written by reading has changed nothing by that."""
        self.successResultOf(self.add(letter(1)))
        said = self.watch()

        def refuse(ledger: Any) -> None:
            ledger.connection.execute("SELECT 1").fetchall()
            raise OverQuotaError("no")

        results = self.together(self.adding(letter(2)), refuse, self.adding(letter(3)))
        results[1].trap(OverQuotaError)
        self.assertNotIn("ROLLBACK", said)
        self.assertEqual(said.count("COMMIT"), 1)
        self.assertEqual(self.octets(3), letter(3))

    def test_failure_half_way(self) -> None:
        """Who fails after a change is taken back, with all that waited, and the others are done again without it."""
        self.successResultOf(self.add(letter(1)))

        def spoil(ledger: Any) -> None:
            self.storing(1, SEEN)(ledger)
            raise OverQuotaError("after all")

        results = self.together(self.adding(letter(2)), spoil, self.adding(letter(3)))
        results[1].trap(OverQuotaError)
        self.assertEqual((results[0][0][0].uid, results[2][0][0].uid), (2, 3))
        self.assertEqual(self.account.rows(self.inbox, [1, 2, 3, 4], Column.SIZE)[-1][0], 3)
        record = self.account._ledger.mailbox(self.inbox)
        self.assertEqual((record.messages, record.unseen), (3, 3))

    def test_full(self) -> None:
        """Without room the one statement leaves nothing, the ledger is as before, and with room it goes on."""
        self.successResultOf(self.add(letter(1)))
        connection = self.account._ledger._connection
        limit = connection.pragma("max_page_count")
        connection.pragma("max_page_count", connection.pragma("page_count"))
        results: list[Any] = [[]]
        while isinstance(results[-1], list):
            before = self.tables()
            self.add(noise(8000)).addBoth(results.append)
        results[-1].trap(StoreFullError)
        self.assertEqual(self.tables(), before)
        connection.pragma("max_page_count", limit)
        uidnext = self.account._ledger.mailbox(self.inbox).uidnext
        (added,) = self.successResultOf(self.add(letter(99)))
        self.assertEqual(added.uid, uidnext)


OPERATIONS = st.tuples(
    st.sampled_from(
        ["add", "twice", "seen", "junk", "flags", "copy", "move", "expunge", "expunge all", "replace"]
    ),
    st.integers(1, 8),
    st.integers(1, 8),
)


class EqualityTests(PendingTestCase):
    """However rows are written, the same is written."""

    def job(self, operation: tuple[str, int, int], number: int) -> Any:
        """One of the operations."""
        kind, uid, other = operation
        sent = self.account.mailbox("Sent").id
        seen, junk = MessageFlags(SEEN, ()), MessageFlags(0, ("$Junk",))
        uids = sorted({uid, other})
        if kind == "replace":
            prepared = prepare(self.account, self.new(letter(number)), [(self.inbox, (0, ""))])
            return lambda ledger: messages.replace(ledger, self.inbox, uid, prepared, False)
        return {
            "add": self.adding(letter(number)),
            "twice": self.adding(letter(number), self.inbox, "Sent"),
            "seen": self.storing(uid, SEEN | DELETED * (other & 1), "add" if other & 2 else "remove"),
            "junk": lambda ledger: messages.store_flags(ledger, self.inbox, [uid], "add", junk, None),
            "flags": lambda ledger: messages.store_flags(ledger, self.inbox, uids, "add", seen, None),
            "copy": lambda ledger: messages.copy(ledger, self.inbox, [uid], sent),
            "move": lambda ledger: messages.move(ledger, self.inbox, uids[: other & 1 or None], sent),
            "expunge": lambda ledger: messages.expunge(ledger, self.inbox, [uid], False),
            "expunge all": lambda ledger: messages.expunge(ledger, self.inbox, uids, True),
        }[kind]

    def run_in(self, name: str, batches: list[list[tuple[str, int, int]]]) -> tuple[Any, Any]:
        """What is in the tables of a new account, and in its ledger, after these transactions."""
        self.account = self.successResultOf(self.store.create_account(name, [("Sent", "\\Sent")]))
        self.account._sweep = lambda bodies: None
        self.inbox = self.account.mailbox("INBOX").id
        number = 0
        for batch in [[("add", 1, 1)] * 4, *batches]:
            jobs = []
            for operation in batch:
                number += 1
                jobs.append(self.job(operation, number))
            self.together(*jobs)
        tables = self.tables()
        records = [record.snapshot() for record in self.account._ledger.mailboxes.values()]
        self.successResultOf(self.store.remove_account(name))
        (self.directory / "uidvalidity").unlink()
        return tables, records

    @given(st.lists(st.lists(OPERATIONS, min_size=1, max_size=5), max_size=5))
    @settings(max_examples=40)
    def test_equal(self, batches: list[list[tuple[str, int, int]]]) -> None:
        """In one statement, in a transaction of many, and each row as soon as it comes."""
        account, inbox = self.account, self.inbox
        few = self.run_in("few", batches)
        with patch.object(Pending, "write_alone", return_value=False):
            many = self.run_in("few", batches)
            with patch.object(Pending, "full", True):
                each = self.run_in("few", batches)
        self.account, self.inbox = account, inbox
        self.assertEqual(few, many)
        self.assertEqual(few, each)
