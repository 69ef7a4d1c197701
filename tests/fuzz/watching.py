"""What targets watch besides their own results: how much work an input makes, and what is logged meanwhile.

Work is counted in calls instead of measured in time::

    with Work(data) as work:
        parse(data)
    work.at_most(2000 + 50 * len(data))

Calls into C count too, those of the fuzzer's own tracing do not, so that the count is the same with and without it. A traceback
in the log is a failure like any other::

    with nothing_failed():
        protocol.dataReceived(data)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

__all__ = ["Work", "nothing_failed"]

#: Counting makes everything slower, so it is done for one input of so many.
ONE_IN = 8


class Work:
    """Counts calls while it is entered, for some inputs.

    :ivar calls: how many there were.
    """

    def __init__(self, data: bytes) -> None:
        self.calls = 0
        self._counted = not (len(data) + sum(data[-8:])) % ONE_IN

    def __enter__(self) -> Self:
        if self._counted:
            sys.setprofile(self._count)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._counted:
            sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" or (
            event == "c_call" and not str(getattr(argument, "__module__", "")).startswith("atheris")
        ):
            self.calls += 1

    def at_most(self, calls: int) -> None:
        """Raises when there were more."""
        if self.calls > calls:
            raise AssertionError(f"{self.calls} calls where {calls} are enough")


@implementer(ILogObserver)
class _Tracebacks:
    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.found.append(event["log_failure"].getTraceback())


@contextmanager
def nothing_failed() -> Iterator[None]:
    """Raises when a traceback was logged within."""
    observer = _Tracebacks()
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)
    if observer.found:
        raise AssertionError(observer.found[0])
