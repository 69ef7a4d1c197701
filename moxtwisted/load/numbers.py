"""Numbered messages, so that whoever receives them can tell which are missing and which came twice.

A message of a source says in its Message-ID to which run it belongs, which number it has and, if that is known, of how many::

    >>> message_id("1f2e3d4c", 17, 1000, "client.example")
    'load.1f2e3d4c.17.1000@client.example'
    >>> find_mark(b"Received: …\\r\\nMessage-ID: <load.1f2e3d4c.17.1000@client.example>\\r\\n\\r\\n")
    Mark(run='1f2e3d4c', number=17, total=1000)

Mail servers keep a Message-ID, so this works through any number of them.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import define, field, frozen

__all__ = ["Mark", "Numbers", "find_mark", "message_id"]

#: How much of a message is looked at: servers on the way put their trace fields in front.
HEADER_OCTETS: Final = 64 * 1024

_MARK = re.compile(
    rb"^Message-ID: *<load\.([0-9a-f]{1,32})\.([0-9]{1,12})\.([0-9]{1,12})@", re.IGNORECASE | re.MULTILINE
)
_MOST_RUNS: Final = 64
#: All bitmaps together; 32 MiB are 268 million messages.
_MOST_OCTETS: Final = 32 * 1024 * 1024


@frozen
class Mark:
    """Which message it is.

    :ivar run: of which run of a source.
    :ivar number: from 1.
    :ivar total: how many the run has; 0 when that was not known.
    """

    run: str
    number: int
    total: int


def message_id(run: str, number: int, total: int, host: str) -> str:
    """The Message-ID of a numbered message, without its angle brackets.

    :param run: 1 to 32 hexadecimal digits in lower case.
    :param total: 0 = not known.
    """
    return f"load.{run}.{number}.{total}@{host}"


def find_mark(message: bytes) -> Mark | None:
    """What the header of a message says; None when it is no numbered one.

    :param message: it, or its begin, with line ends CRLF; only the header is looked at.
    """
    end = message.find(b"\r\n\r\n", 0, HEADER_OCTETS)
    match = _MARK.search(message, 0, end + 2 if end >= 0 else HEADER_OCTETS)
    return None if match is None else Mark(match[1].decode(), int(match[2]), int(match[3]))


@define
class _Run:
    bitmap: bytearray = field(factory=bytearray)
    received: int = 0
    doubled: int = 0
    highest: int = 0
    total: int = 0


class Numbers:
    """Which numbers came, run by run: one bit for each message.

    :ivar untracked: numbered messages that were too many to be remembered.
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._octets = 0
        self.untracked = 0

    def seen(self, mark: Mark) -> bool:
        """A message came.

        :return: whether it is new; it is taken for new when it cannot be remembered.
        """
        run = self._runs.get(mark.run)
        if run is None:
            if len(self._runs) >= _MOST_RUNS:
                self.untracked += 1
                return True
            run = self._runs[mark.run] = _Run()
        at, bit = mark.number >> 3, 1 << (mark.number & 7)
        bitmap = run.bitmap
        if at >= len(bitmap) and not self._grow(bitmap, at):
            self.untracked += 1
            return True
        run.total = max(run.total, mark.total)
        run.highest = max(run.highest, mark.number)
        if bitmap[at] & bit:
            run.doubled += 1
            return False
        bitmap[at] |= bit
        run.received += 1
        return True

    def _grow(self, bitmap: bytearray, at: int) -> bool:
        more = at + 1 - len(bitmap)
        if self._octets + more > _MOST_OCTETS:
            return False
        more = min(max(more, 4096), _MOST_OCTETS - self._octets)
        bitmap.extend(bytes(more))
        self._octets += more
        return True

    @property
    def missing(self) -> int:
        """How many are missing in all runs."""
        return sum(max(run.total, run.highest) - run.received for run in self._runs.values())

    @property
    def doubled(self) -> int:
        """How many came once more than they should."""
        return sum(run.doubled for run in self._runs.values())

    def as_json(self) -> list[dict[str, Any]]:
        """Each run: how many different messages came, how many are missing (so far), how many came again."""
        return [
            {
                "run": name,
                "total": run.total or None,
                "received": run.received,
                "missing": max(run.total, run.highest) - run.received,
                "doubled": run.doubled,
                "first_missing": self._first_missing(run),
            }
            for name, run in self._runs.items()
        ]

    @staticmethod
    def _first_missing(run: _Run, most: int = 10) -> list[int]:
        """The lowest numbers that are missing."""
        found: list[int] = []
        last = max(run.total, run.highest)
        for at in range(len(run.bitmap)):
            octet = run.bitmap[at]
            if octet == 0xFF:
                continue
            numbers = range(max(1, at * 8), min(at * 8 + 8, last + 1))
            found += [number for number in numbers if not octet >> (number & 7) & 1]
            if len(found) >= most or at * 8 + 8 > last:
                return found[:most]
        return (found + list(range(max(1, len(run.bitmap) * 8), last + 1)[:most]))[:most]
