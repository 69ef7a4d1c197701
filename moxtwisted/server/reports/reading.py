"""Reads the report in a message without holding up what else goes on.

::

    found = await reader.read(staged, frozenset({"dmarc"}))     # a report, or a text that says why there is none

One message at a time, in steps of a millisecond or two; between them the reactor does other things. A report of a thousand rows takes
60 ms of CPU in all.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.mailauth.reports.message import Kind, Report, ReportError, reading
from moxtwisted.server.judgement.interfaces import IReportReader
from moxtwisted.store.interfaces import IStagedMessage

__all__ = ["ReportReader"]

#: Messages that wait to be read; who comes then is asked to come again.
_MOST_WAITING: Final = 50


@implementer(IReportReader)
@define(eq=False)
class ReportReader:
    """Shared by all."""

    _clock: IReactorTime
    _one: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(1), init=False)

    async def read(self, message: IStagedMessage, kinds: frozenset[str]) -> Report | str:
        """The report in a message, or why it has none.

        :param kinds: what is wanted: ``dmarc``, ``tls``.
        :raises StoreUnavailableError: when too many wait already.
        """
        if len(self._one.waiting) >= _MOST_WAITING:
            raise StoreUnavailableError("too many reports at once")
        await self._one.acquire()
        try:
            return await self._read(message, frozenset(Kind(kind) for kind in kinds))
        finally:
            self._one.release()

    async def _read(self, message: IStagedMessage, kinds: frozenset[Kind]) -> Report | str:
        steps = reading(message.scanned.root, message.read, kinds)
        while True:
            try:
                next(steps)
            except StopIteration as e:
                report: Report = e.value
                return report
            except ReportError as e:
                return e.detail
            await deferLater(self._clock, 0)
