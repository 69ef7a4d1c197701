"""A time-out that is moved often and fires seldom.

::

    deadline = Deadline(clock, too_late)
    deadline.set(30.0)            # something must happen within this time
    deadline.suspend()            # nothing is expected now
    deadline.cancel()             # nor later: the clock forgets us
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Deadline"]


class Deadline:
    """The timer below is only touched when the moment comes earlier, and set again when it fires too early, so that ``set`` costs next
    to nothing.

    :param clock: has ``seconds()`` and ``callLater``, as Twisted's reactor or ``task.Clock``.
    :param reached: called when what was expected did not happen in time.
    """

    __slots__ = ("_at", "_clock", "_reached", "_timer")

    def __init__(self, clock: Any, reached: Callable[[], None]) -> None:
        self._clock = clock
        self._reached = reached
        self._at = 0.0
        self._timer: Any = None

    def set(self, seconds: float) -> None:
        """Something must happen within so many seconds from now; what was set before does not count any more."""
        at = self._at = self._clock.seconds() + seconds
        timer = self._timer
        if timer is None:
            self._timer = self._clock.callLater(seconds, self._tick)
        elif timer.getTime() > at:
            timer.reset(seconds)

    def suspend(self) -> None:
        """Nothing is expected. The timer stays, which is cheaper than ``cancel`` when there will be something soon."""
        self._at = 0.0

    def cancel(self) -> None:
        """Nothing is expected, and no timer is left behind."""
        self._at = 0.0
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        if not self._at:
            return
        left = self._at - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._tick)
        else:
            self._reached()
