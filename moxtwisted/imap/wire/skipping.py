r"""Reading over the rest of a command that was refused.

The danger is a literal that the client sends without waiting (RFC 7888): its octets must not be taken for commands. So
whatever ends with ``{n+}`` is followed for n octets and another line, up to a limit::

    a FOO {11+}\r\nb LOGOUT\r\n (x)\r\n        all of it belongs to the command a
"""

from __future__ import annotations

import re

__all__ = ["Skipper"]

_UNASKED = re.compile(rb"~?\{([0-9]{1,20})\+\}$")
_TAIL_OCTETS = 32
"""More than any announcement of a literal has that is within a limit."""


class Skipper:
    """Follows one refused command to its end.

    :param limit_octets: how much is read over.
    :param literal_octets: how much of a literal comes first, or ``None`` when it starts inside a line.
    :ivar done: whether the command has ended.
    :ivar exceeded: whether it is longer than the limit; the connection is lost.
    """

    __slots__ = ("_limit", "_remaining", "_skipped", "_tail", "done", "exceeded")

    def __init__(self, limit_octets: int, literal_octets: int | None = None) -> None:
        self._limit = limit_octets
        self._skipped = 0
        self._remaining = literal_octets or 0
        self._tail = b""
        self.done = False
        self.exceeded = self._remaining > limit_octets

    def skip(self, buffer: bytes, position: int) -> int:
        """Read over what there is of the command.

        :return: the new position in the buffer.
        """
        while not self.done and not self.exceeded and position < len(buffer):
            if self._remaining:
                taken = min(self._remaining, len(buffer) - position)
                self._remaining -= taken
                self._skipped += taken
                position += taken
            else:
                position = self._line(buffer, position)
        return position

    def _line(self, buffer: bytes, start: int) -> int:
        end = buffer.find(b"\n", start)
        stop = len(buffer) if end < 0 else end
        self._skipped += stop - start
        self._tail = (self._tail + buffer[max(start, stop - _TAIL_OCTETS) : stop])[-_TAIL_OCTETS:]
        if end >= 0:
            mark = _UNASKED.search(self._tail.removesuffix(b"\r"))
            self._tail = b""
            if mark is None:
                self.done = True
            else:
                self._remaining = int(mark.group(1))
        self.exceeded = self._skipped + self._remaining > self._limit
        return stop if end < 0 else end + 1
