"""What targets watch besides their own results: how much work an input makes, and what is logged meanwhile.

Work is counted in calls instead of measured in time::

    within(2000 + 50 * len(data), data, lambda: parse(data))

Calls into C count too, those of the fuzzer's own tracing do not, so that the count is the same with and without it. A traceback
in the log is a failure like any other::

    with nothing_failed():
        protocol.dataReceived(data)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

__all__ = ["nothing_failed", "within"]

T = TypeVar("T")

#: Counting makes everything slower, so it is done for one input of so many.
ONE_IN = 8


def within(limit: int, data: bytes, attempt: Callable[[], T]) -> T:
    """What an attempt gives, which may be made more than once.

    :param limit: how many calls are enough.
    :param data: the input; it decides whether calls are counted.
    :raise AssertionError: when there were more calls.
    """
    if (len(data) + sum(data[-8:])) % ONE_IN:
        return attempt()
    calls, result = _counted(attempt)
    if calls > limit:
        # What is loaded or derived when it is first needed is none of the input's work.
        calls, result = _counted(attempt)
        if calls > limit:
            raise AssertionError(f"{calls} calls where {limit} are enough")
    return result


def _counted(attempt: Callable[[], T]) -> tuple[int, T]:
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        if event == "call" or (
            event == "c_call" and not str(getattr(argument, "__module__", "")).startswith("atheris")
        ):
            calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = attempt()
    finally:
        sys.setprofile(before)
    return calls, result


@implementer(ILogObserver)
class _Tracebacks:
    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        # The second is what twisted.python.log.err leaves, which libraries still use.
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            self.found.append(failure.getTraceback())


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
