"""A time-out that is moved often and fires seldom.

::

    deadline = Deadline(clock, too_late)
    deadline.expect(30.0)         # something must happen within this time
    deadline.suspend()            # nothing is expected now
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Deadline"]


class Deadline:
    """The timer is only moved when it fires, so that ``expect`` costs next to nothing.

    :param clock: has ``seconds()`` and ``callLater``.
    :param expired: called when what was expected did not happen.
    """

    __slots__ = ("_clock", "_due", "_expired", "_timer")

    def __init__(self, clock: Any, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._due = 0.0
        self._timer: Any = None

    def expect(self, seconds: float) -> None:
        """Something must happen within this time, whatever was expected before."""
        due = self._due = self._clock.seconds() + seconds
        timer = self._timer
        if timer is None or not timer.active():
            self._timer = self._clock.callLater(seconds, self._fired)
        elif timer.getTime() > due:
            timer.reset(seconds)

    def suspend(self) -> None:
        """Nothing is expected."""
        self._due = 0.0

    def cancel(self) -> None:
        """Nothing will be expected any more."""
        self._due = 0.0
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _fired(self) -> None:
        self._timer = None
        if not self._due:
            return
        left = self._due - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._fired)
        else:
            self._expired()
