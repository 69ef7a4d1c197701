"""Keeps what reports say, after their messages were taken.

::

    register = ReportRegister(records, reactor)
    register.note(report, incoming)              # returns at once
    await register.close()                       # what was noted is on disk

Nobody waits for it, and an answer does not depend on it: when the process dies between the answer and the writing, or the disk is full,
the report is only in the message, which has it whole (``moxmail dmarc parsereportmsg`` reads it out of there).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from moxtwisted.mailauth.reports.aggregate import AggregateReport
from moxtwisted.mailauth.reports.message import Report, encoded, kind_of
from moxtwisted.store.reports import ReportRecords, ReportRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxtwisted.server.judgement.interfaces import Incoming

__all__ = ["ReportRegister"]

_log = Logger()

#: Reports that wait to be written; more are let go.
_MOST_WAITING: Final = 100
_MAX_TEXT: Final = 255
#: What the file can hold.
_MAX_COUNT: Final = 2**63 - 1


@define(eq=False)
class ReportRegister:
    """Writes one after the other.

    :ivar is_ours: whether a domain, A-labels, is here.
    """

    _records: ReportRecords
    _clock: IReactorTime
    _is_ours: Callable[[str], bool]
    _waiting: deque[tuple[Report, ReportRow]] = field(factory=deque, init=False)
    _work: Deferred[None] | None = field(default=None, init=False)

    def note(self, report: Report, incoming: Incoming) -> None:
        """Keep it, when there is time."""
        if len(self._waiting) >= _MOST_WAITING:
            _log.warn(
                "too many reports at once: one of {organization} is not listed",
                organization=report.organization,
            )
            return
        domains = [domain for domain in report.domains if self._is_ours(domain)] or [""]
        row = ReportRow(
            kind=kind_of(report).value,
            domain=domains[0],
            organization=report.organization[:_MAX_TEXT],
            report_id=report.report_id[:_MAX_TEXT],
            sender=incoming.verified.author.domain,
            begin=report.begin,
            end=report.end,
            received=int(incoming.seconds),
            total=min(
                report.messages if isinstance(report, AggregateReport) else report.sessions, _MAX_COUNT
            ),
            failed=min(report.failed, _MAX_COUNT),
        )
        _log.info(
            "report of {organization} about {domain}: {failed} of {total} failed",
            organization=row.organization,
            domain=row.domain,
            failed=row.failed,
            total=row.total,
            session=incoming.session,
        )
        self._waiting.append((report, row))
        if self._work is None:
            self._work = Deferred.fromCoroutine(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._write(*self._waiting.popleft())
        finally:
            self._work = None

    async def _write(self, report: Report, row: ReportRow) -> None:
        try:
            pieces = []
            for piece in encoded(report):
                pieces.append(piece)
                await deferLater(self._clock, 0)
            await self._records.put(row, pieces)
        except Exception:  # noqa: BLE001  a boundary: the message has it all the same
            _log.failure("a report of {organization} cannot be kept", organization=row.organization)

    async def close(self) -> None:
        """After what was noted, close the file."""
        work = self._work
        if work is not None:
            await work
        await self._records.close()
