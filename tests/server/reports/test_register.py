"""What reports say is kept, in the file and for the operator."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from moxtwisted.errors import MailError, StoreFullError
from moxtwisted.mailauth.reports.message import Report, as_json, report_of
from moxtwisted.server.control.reports import ReportOperations
from moxtwisted.server.reports import register
from moxtwisted.server.reports.register import ReportRegister
from moxtwisted.store import reports
from moxtwisted.store.database import databases
from moxtwisted.store.reports import KEPT_SECONDS, ReportRecords, ReportRow
from tests.mailauth.reports.samples import BEGIN, END, dmarc_message, tls_message, xml
from tests.server.house import HouseCase
from tests.server.judgement.samples import NOW, incoming

REPORT = report_of(dmarc_message())
TLS = report_of(tls_message())


def row(number: int, **changes: Any) -> ReportRow:
    """One to be kept."""
    values: dict[str, Any] = {
        "kind": "dmarc", "domain": "example.org", "organization": "Reporter", "report_id": str(number),
        "sender": "reporter.example", "begin": 1, "end": 2, "received": NOW + number, "total": 5, "failed": 2,
    }  # fmt: skip
    return ReportRow(**{**values, **changes})


class Operations(ReportOperations):
    """The administration's part."""

    def __init__(self, records: ReportRecords, clock: Clock) -> None:
        self.records = records
        self.clock = clock

    @property
    def _reports(self) -> ReportRecords:
        return self.records

    @property
    def _clock(self) -> Any:
        return self.clock


class RecordsCase(HouseCase):
    """A file in a store."""

    def setUp(self) -> None:
        """It is made with the first report."""
        super().setUp()
        self.path = self.house.path / "reports.db"
        self.clock = Clock()
        self.open()

    def open(self) -> None:
        """Open it, again."""
        self.records = ReportRecords(self.path, b"k" * 32, self.house.store.pool)

    def tear_down(self) -> None:
        """Close the file before the store."""
        self.successResultOf(self.records.close())
        super().tear_down()


class Records(RecordsCase):
    """The file."""

    def put(self, one: ReportRow, *detail: bytes) -> None:
        """Write one."""
        self.successResultOf(self.records.put(one, detail or (b"{}",)))

    def ids(self, kind: str = "dmarc", domain: str = "", limit: int = 1000) -> list[str]:
        """Which are there."""
        return [one.report_id for one in self.records.newest(kind, domain, limit)]

    def test_kept(self) -> None:
        """What was put is there after a restart, whole."""
        self.assertEqual(self.ids(), [])
        self.assertFalse(self.path.exists())
        self.put(row(1), b'{"a":', b'"b"}')
        self.successResultOf(self.records.close())
        self.open()
        (found,) = self.records.newest("dmarc", "", 10)
        self.assertEqual(found, evolve(row(1), octets=9, id=found.id))
        self.assertEqual(self.records.detail(found.id), b'{"a":"b"}')
        self.assertEqual(self.records.detail(4711), b"")

    def test_chosen(self) -> None:
        """The latest come first, by kind and domain."""
        for number in range(3):
            self.put(row(number))
        self.put(row(3, domain="else.example"))
        self.put(row(4, kind="tls"))
        self.assertEqual(self.ids(), ["3", "2", "1", "0"])
        self.assertEqual(self.ids(domain="example.org", limit=2), ["2", "1"])
        self.assertEqual(self.ids("tls"), ["4"])

    def test_again(self) -> None:
        """A report that comes again replaces what was there, unless somebody else sent it."""
        self.put(row(1))
        self.put(row(1, failed=3, received=NOW + 9))
        self.put(row(1, sender="else.example"))
        self.assertEqual([one.failed for one in self.records.newest("dmarc", "", 10)], [3, 2])

    def test_forgotten(self) -> None:
        """The old go, and of too many the oldest."""
        self.patch(reports, "_TIDY_EVERY", 2)
        self.patch(reports, "MOST", 3)
        for number in range(4):
            self.put(row(number))
        self.put(row(0, report_id="old", received=NOW - KEPT_SECONDS))
        self.assertEqual(self.ids(), ["3", "2", "1"])
        self.patch(reports, "MOST_OCTETS", 20)
        self.put(row(5))
        self.put(row(6))
        self.assertEqual(self.ids(), ["6", "5"])

    def test_known(self) -> None:
        """The file is one of those that are checked and written anew with another key."""
        self.put(row(1))
        self.assertIn((self.path, "reports"), databases(self.path.parent))


class Register(RecordsCase):
    """Reports are noted after their messages."""

    def setUp(self) -> None:
        """A register."""
        super().setUp()
        self.register = ReportRegister(self.records, self.clock, lambda domain: domain == "example.org")

    def note(self, report: Report = REPORT) -> None:
        """A report came."""
        self.register.note(report, incoming())

    def finish(self) -> None:
        """Let it work."""
        self.clock.advance(0)

    def test_noted(self) -> None:
        """Both kinds are written behind the answer, with what they say."""
        self.note()
        self.note(TLS)
        self.assertEqual(self.records.newest("dmarc", "", 10), [])
        self.finish()
        (found,) = self.records.newest("dmarc", "example.org", 10)
        self.assertEqual(
            (
                found.organization,
                found.report_id,
                found.sender,
                found.begin,
                found.end,
                found.total,
                found.failed,
            ),
            ("Reporter", "4711", "a.example", BEGIN, END, 3, 2),
        )
        self.assertEqual(json.loads(self.records.detail(found.id)), json.loads(json.dumps(as_json(REPORT))))
        (found,) = self.records.newest("tls", "", 10)
        self.assertEqual((found.total, found.failed, found.received), (13, 3, NOW))

    def test_numbers(self) -> None:
        """Counts beyond what the file holds are the most that it does."""
        huge = report_of(
            dmarc_message(
                xml(
                    rows="<record><row><source_ip>::1</source_ip><count>999999999999999</count></row></record>"
                    * 10_000
                )
            )
        )
        self.note(huge)
        self.finish()
        self.assertEqual(self.records.newest("dmarc", "", 1)[0].failed, 2**63 - 1)

    def test_trouble(self) -> None:
        """When it cannot be written, that is logged, and the next is tried."""
        with patch.object(ReportRecords, "put", return_value=fail(StoreFullError("no space"))):
            self.note()
            self.finish()
        self.assertEqual(len(self.flushLoggedErrors(StoreFullError)), 1)
        self.note()
        self.finish()
        self.assertEqual(len(self.records.newest("dmarc", "", 10)), 1)

    def test_too_many(self) -> None:
        """What waits is bounded."""
        self.patch(register, "_MOST_WAITING", 2)
        for number in range(9):
            self.note(evolve(REPORT, report_id=str(number)))
        self.finish()
        self.assertEqual([one.report_id for one in self.records.newest("dmarc", "", 10)], ["2", "1", "0"])

    def test_close(self) -> None:
        """Closing waits for what was noted."""
        self.note()
        closed = Deferred.fromCoroutine(self.register.close())
        self.assertNoResult(closed)
        self.finish()
        self.successResultOf(closed)
        self.open()
        self.assertEqual(len(self.records.newest("dmarc", "", 10)), 1)

    def test_listed(self) -> None:
        """The operator sees them, with details for programs as far as they fit."""
        operations = Operations(self.records, self.clock)

        def listed(*arguments: Any) -> Any:
            done = Deferred.fromCoroutine(operations.reports_list(*arguments))
            self.clock.advance(0)
            return self.successResultOf(done)

        self.assertEqual(listed("tls", "", 100, False), [])
        self.note()
        self.note(evolve(REPORT, report_id="2"))
        self.finish()
        rows = listed("dmarc", "Example.ORG.", 100, False)
        self.assertEqual(
            (rows[1]["organization"], rows[1]["total"], rows[1]["begin"]),
            ("Reporter", 3, "2027-01-14T04:13:20Z"),
        )
        self.assertNotIn("detail", rows[0])
        self.patch(__import__("moxtwisted.server.control.reports", fromlist=["x"]), "_DETAIL_OCTETS", 1500)
        first, second = listed("dmarc", "", 100, True)
        self.assertEqual(json.loads(first["detail"])["report_id"], "2")
        self.assertEqual(second["detail"], "")
        self.assertEqual(len(listed("dmarc", "", 1, True)), 1)
        failed = Deferred.fromCoroutine(operations.reports_list("other", "", 1, False))
        self.failureResultOf(failed, MailError)
