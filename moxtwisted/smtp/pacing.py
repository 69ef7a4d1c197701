"""The slow mode that bad clients get. It runs on a clock that is given.

The clock is what Twisted's reactor or ``task.Clock`` are: ``seconds()`` and ``callLater(seconds, function)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Drip"]


class Drip:
    """Writes an octet at a time, with pauses."""

    __slots__ = ("_clock", "_dry", "_octets", "_pause", "_timer", "_total", "_until", "_write")

    def __init__(
        self, clock: Any, write: Callable[[bytes], None], dry: Callable[[], None], pause: float, total: float
    ) -> None:
        """

        :param write: sends octets.
        :param dry: called each time that everything was written.
        :param pause: seconds between octets.
        :param total: seconds after which the rest goes out at once.
        """
        self._clock = clock
        self._write = write
        self._dry = dry
        self._pause = pause
        self._total = total
        self._octets = b""
        self._until = 0.0
        self._timer: Any = None

    @property
    def empty(self) -> bool:
        """Whether everything is written."""
        return not self._octets

    def add(self, octets: bytes) -> None:
        """Write these after what is there."""
        if not self._octets:
            self._until = self._clock.seconds() + self._total
        self._octets += octets
        if self._timer is None:
            self._step()

    def stop(self) -> None:
        """Write nothing any more."""
        self._octets = b""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _step(self) -> None:
        self._timer = None
        count = 1 if self._clock.seconds() < self._until else len(self._octets)
        octets, self._octets = self._octets[:count], self._octets[count:]
        self._write(octets)
        if self._octets:
            self._timer = self._clock.callLater(self._pause, self._step)
        else:
            self._dry()
