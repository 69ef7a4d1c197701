"""What an operator sees of reports that came in: ``moxmail reports``.

The administration of the server derives from ``ReportOperations``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from twisted.internet.task import deferLater

from moxtwisted.errors import MailError
from moxtwisted.server.control.interfaces import Report
from moxtwisted.store.reports import ReportRecords

__all__ = ["ReportOperations"]

_KINDS: Final = ("dmarc", "tls")
_MOST: Final = 20_000
#: Of all details in one answer; those of the rest are left out.
_DETAIL_OCTETS: Final = 16 * 1024 * 1024


class ReportOperations:
    """Lists reports."""

    @property
    def _reports(self) -> ReportRecords:
        """Where they are kept."""
        raise NotImplementedError

    @property
    def _clock(self) -> Any:
        """The reactor."""
        raise NotImplementedError

    async def reports_list(self, kind: str, domain: str, limit: int, details: bool) -> Report:
        """See ``IAdministration``."""
        if kind not in _KINDS:
            raise MailError(f"there are reports of the kinds {', '.join(_KINDS)}")
        rows: Report = []
        octets = 0
        for row in self._reports.newest(kind, domain.lower().rstrip("."), min(max(limit, 1), _MOST)):
            found = {
                "received": _text(row.received),
                "organization": row.organization,
                "domain": row.domain,
                "begin": _text(row.begin),
                "end": _text(row.end),
                "total": row.total,
                "failed": row.failed,
                "sender": row.sender,
                "report_id": row.report_id,
            }
            if details:
                octets += row.octets
                fits = octets <= _DETAIL_OCTETS
                # As a text: nobody here takes it apart to put it together again.
                found["detail"] = self._reports.detail(row.id).decode("utf-8") if fits else ""
                await deferLater(self._clock, 0)
            rows.append(found)
        return rows


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
