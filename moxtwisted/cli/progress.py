"""A progress bar of one line, silent when nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

__all__ = ["LiveLine", "ProgressBar", "progress_line"]

_WIDTH = 30
#: Seconds between two drawings.
_INTERVAL_SECONDS = 0.1


class ProgressBar:
    """Draws ``[#####.....] 12,000 / 60,000 messages, 4,100/s, 12 s left`` again and again on one line.

    :param file: where to; nothing is drawn when it is no terminal.
    :param seconds: tells time.
    """

    def __init__(self, file: TextIO, seconds: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._seconds = seconds
        self._watched = file.isatty()
        self._started: float | None = None
        self._drawn_at = float("-inf")
        self._drawn = 0
        self._what = ""

    def __call__(self, done: int, total: int, what: str) -> None:
        """See ``moxtwisted.server.control.interfaces.Progress``."""
        if not self._watched:
            return
        now = self._seconds()
        if self._started is None or what != self._what:
            self._started, self._what = now, what
        if now - self._drawn_at < _INTERVAL_SECONDS and done != total:
            return
        self._drawn_at = now
        self._draw(progress_line(done, total, what, now - self._started))

    def _draw(self, line: str) -> None:
        self._file.write("\r" + line + " " * max(0, self._drawn - len(line)))
        self._file.flush()
        self._drawn = len(line)

    def finish(self) -> None:
        """Leave the line; idempotent."""
        if self._drawn:
            self._drawn = 0
            self._file.write("\n")
            self._file.flush()


def progress_line(done: int, total: int, what: str, elapsed_seconds: float) -> str:
    """The text of the bar."""
    rate = done / elapsed_seconds if elapsed_seconds > 0 else 0.0
    pace = f", {rate:,.0f}/s" if rate else ""
    if total <= 0:
        return f"{done:,} {what}{pace}"
    filled = min(_WIDTH, done * _WIDTH // total)
    left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
    return f"[{'#' * filled}{' ' * (_WIDTH - filled)}] {done:,} / {total:,} {what}{pace}{left}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class LiveLine:
    """Text that changes: drawn again and again on one line of a terminal; else a line now and then.

    :param file: where to.
    :param every_seconds: how often a line is written when that is no terminal; 0 = never.
    :param seconds: tells time.
    """

    def __init__(
        self, file: TextIO, every_seconds: float, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file
        self._every = every_seconds
        self._seconds = seconds
        self._watched = file.isatty()
        self._written_at = seconds()
        self._drawn = 0

    def show(self, text: str) -> None:
        """What is to be read now."""
        now = self._seconds()
        interval = _INTERVAL_SECONDS if self._watched else self._every
        if not interval or now - self._written_at < interval:
            return
        self._written_at = now
        if self._watched:
            self._file.write("\r" + text + " " * max(0, self._drawn - len(text)))
            self._drawn = len(text)
        else:
            self._file.write(text + "\n")
        self._file.flush()

    def finish(self) -> None:
        """Wipe the line: what is to stay is printed elsewhere."""
        if self._drawn:
            self._file.write("\r" + " " * self._drawn + "\r")
            self._file.flush()
            self._drawn = 0
