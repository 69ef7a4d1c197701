"""Reports of other servers: where they are kept, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moxtwisted.config.load import LoadedConfig
from moxtwisted.server.directory import DirectoryHolder
from moxtwisted.store.reports import ReportRecords
from moxtwisted.store.store import Store

if TYPE_CHECKING:
    # Parsers that few messages need.
    from moxtwisted.mailauth.reports.message import Report
    from moxtwisted.server.judgement.interfaces import Incoming
    from moxtwisted.server.reports.register import ReportRegister

__all__ = ["Reports", "open_reports"]

#: In the data directory.
REPORTS_NAME: Final = "reports"


def open_reports(loaded: LoadedConfig, store: Store) -> ReportRecords:
    """What came in; the file is made when there is something."""
    path = loaded.data_directory / f"{REPORTS_NAME}.db"
    return ReportRecords(path, store.database_key(REPORTS_NAME), store.pool)


class Reports:
    """One of it in a process.

    :ivar records: for the administration.
    """

    def __init__(self, loaded: LoadedConfig, store: Store, reactor: Any, directory: DirectoryHolder) -> None:
        self.records = open_reports(loaded, store)
        self._reactor = reactor
        self._directory = directory
        self._register: ReportRegister | None = None

    def note(self, report: Report, incoming: Incoming) -> None:
        """A report was taken: keep it, when there is time."""
        if self._register is None:
            from moxtwisted.server.reports.register import ReportRegister

            self._register = ReportRegister(self.records, self._reactor, self._is_ours)
        self._register.note(report, incoming)

    def _is_ours(self, domain: str) -> bool:
        return self._directory.current.is_ours(domain)

    async def close(self) -> None:
        """What was noted is on disk."""
        if self._register is not None:
            await self._register.close()
        else:
            await self.records.close()
