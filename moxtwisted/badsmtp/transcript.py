"""What was said on a connection, bounded, without what nobody else may know.

::

    transcript = Transcript(clock.seconds)
    transcript.heard(b"AUTH PLAIN AGEAYg==")      # kept as "AUTH [redacted]"
    transcript.said(b"235 Authentication successful\\r\\n")
    transcript.lines

The first lines and the last are kept; of a dialogue that is longer, a line says how many are missing.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

from moxtwisted.badsmtp.interfaces import Direction, TranscriptLine

__all__ = ["REDACTED", "Transcript", "printable", "redact"]

FIRST_LINES = 200
LAST_LINES = 200
LINE_CHARACTERS = 500

#: What stands in the place of a secret.
REDACTED = "[redacted]"

# Who forgets the blank behind it says a secret, too.
_AUTH = re.compile(rb"\W*AUTH", re.IGNORECASE)


def printable(octets: bytes) -> str:
    """Octets as one line of text: UTF-8, and ``\\\\xNN`` for what is none or cannot be seen. Cut when it is very long."""
    text = octets[: LINE_CHARACTERS * 4].decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join([c if c.isprintable() else f"\\x{ord(c):02x}" for c in text])
    return text if len(text) <= LINE_CHARACTERS else text[:LINE_CHARACTERS] + "…"


def redact(line: bytes) -> str | None:
    """What is shown of a command line with AUTH; None for all other lines."""
    match = _AUTH.match(line)
    return f"{printable(match[0].strip())} {REDACTED}" if match is not None else None


class Transcript:
    """One dialogue: ``Transcript(seconds)``, the function being that of a clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began = seconds()
        self._first: list[TranscriptLine] = []
        self._last: deque[TranscriptLine] = deque(maxlen=LAST_LINES)
        self._missing = 0

    @property
    def lines(self) -> tuple[TranscriptLine, ...]:
        """What there is."""
        if not self._missing:
            return (*self._first, *self._last)
        at = self._first[-1].at_seconds
        gap = TranscriptLine(at, Direction.EVENT, f"({self._missing} lines left out)")
        return (*self._first, gap, *self._last)

    def heard(self, line: bytes, *, secret: bool = False) -> None:
        """A line of the client, without its end.

        :param secret: whether all of it is to be left out.
        """
        self._add(Direction.CLIENT, REDACTED if secret else redact(line) or printable(line))

    def said(self, octets: bytes) -> None:
        """Octets of ours: one line or several."""
        lines = octets.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for line in lines[: FIRST_LINES + LAST_LINES]:
            self._add(Direction.SERVER, printable(line.removesuffix(b"\r")))

    def event(self, text: str) -> None:
        """Something that nobody said."""
        self._add(Direction.EVENT, text)

    def _add(self, direction: Direction, text: str) -> None:
        line = TranscriptLine(round(self._seconds() - self._began, 6), direction, text)
        if len(self._first) < FIRST_LINES:
            self._first.append(line)
            return
        self._missing += len(self._last) == LAST_LINES
        self._last.append(line)
