"""The file of what other servers reported about domains here: ``reports.db`` in the data directory, encrypted as the others.

::

    records = ReportRecords(path, key, pool)
    await records.put(ReportRow(kind="dmarc", domain="example.org", ...), [b'{"kind": ...}'])
    for row in records.newest("dmarc", "example.org", 100): ...
    records.detail(row.id)                       # all of it, JSON

A report that comes again replaces what was there. Kept are 400 days, at most ``MOST`` reports and ``MOST_OCTETS`` of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail

from moxtwisted.errors import MailError
from moxtwisted.store.sidefile import SideFile

__all__ = ["KEPT_SECONDS", "MOST", "MOST_OCTETS", "ReportRecords", "ReportRow"]

#: 400 days: a year can be compared with the one before.
KEPT_SECONDS: Final = 400 * 86400
MOST: Final = 20_000
#: Of details, packed.
MOST_OCTETS: Final = 256 * 1024 * 1024
#: Writes between two looks for what is to go.
_TIDY_EVERY: Final = 20
_COLUMNS: Final = "kind, domain, organization, report_id, sender, begin, end, received, total, failed, octets"


@frozen(kw_only=True)
class ReportRow:
    """What lists show of a report.

    :ivar kind: ``dmarc`` or ``tls``.
    :ivar sender: the domain in From of its message.
    :ivar begin: of what it is about, seconds since 1970; ``end`` and ``received`` likewise.
    :ivar total: messages (dmarc), sessions (tls).
    :ivar failed: of these.
    :ivar octets: of the whole, as JSON.
    :ivar id: in the file; 0 for one that is not there yet.
    """

    kind: str
    domain: str
    organization: str
    report_id: str
    sender: str
    begin: int
    end: int
    received: int
    total: int
    failed: int
    octets: int = 0
    id: int = 0


@define(eq=False)
class ReportRecords(SideFile):
    """The file; it is made when the first report comes."""

    schema = "reports"

    _writes: int = field(default=0, init=False)

    def put(self, row: ReportRow, detail: Sequence[bytes]) -> Deferred[None]:
        """Write one; fires when it is on disk.

        :param detail: all of it as JSON, in pieces.
        """
        try:
            database, lane = self._attach()
        except MailError as e:
            return fail(e)
        execute = database.writer.execute
        self._writes += 1
        tidy = self._writes % _TIDY_EVERY == 1
        size = sum(map(len, detail))

        def write() -> None:
            packer = zlib.compressobj(6)
            packed = b"".join([*map(packer.compress, detail), packer.flush()])
            values = (
                row.kind, row.domain, row.organization, row.report_id, row.sender, row.begin, row.end, row.received,
                row.total, row.failed, size, packed,
            )  # fmt: skip
            execute(
                f"INSERT OR REPLACE INTO report ({_COLUMNS}, detail) VALUES ({', '.join('?' * len(values))})",
                values,
            )
            if tidy:
                _forget(execute, row.received)

        return lane.submit(write, grows=True)

    def newest(self, kind: str, domain: str, limit: int) -> list[ReportRow]:
        """Those that came last, the latest first; of one domain, or of all when it is empty.

        :raises MailError: the file cannot be read.
        """
        if self._database is None and not self._path.exists():
            return []
        database, _ = self._attach()
        where, values = "kind = ?", [kind]
        if domain:
            where, values = "kind = ? AND domain = ?", [kind, domain]
        rows = database.reader.execute(
            f"SELECT {_COLUMNS}, id FROM report WHERE {where} ORDER BY received DESC, id DESC LIMIT ?",
            (*values, limit),
        ).fetchall()
        names = (*_COLUMNS.split(", "), "id")
        return [ReportRow(**dict(zip(names, row, strict=True))) for row in rows]

    def detail(self, number: int) -> bytes:
        """All of a report, JSON; empty when it is gone. :raises MailError:"""
        database, _ = self._attach()
        row = database.reader.execute("SELECT detail FROM report WHERE id = ?", (number,)).fetchone()
        return zlib.decompress(row[0]) if row is not None else b""


def _forget(execute: Callable[..., Any], now: int) -> None:
    """What is too old goes, and the oldest of what is too much."""
    execute("DELETE FROM report WHERE received < ?", (now - KEPT_SECONDS,))
    # Windows over 20,000 short rows: some ten milliseconds, in the thread that writes.
    execute(
        "DELETE FROM report WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER latest AS place, "
        "sum(length(detail)) OVER latest AS octets FROM report WINDOW latest AS (ORDER BY received DESC, id DESC)) "
        "WHERE place > ? OR octets > ?)",
        (MOST, MOST_OCTETS),
    )
