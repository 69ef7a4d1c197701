"""Many times, of which hardly any is ever up, for one call of the reactor.

::

    timers = Timers(reactor)
    timers.begin(query, 2.0, give_up)     # what it is about; it may be any hashable thing
    timers.end(query)                     # the answer came; when nothing is left, no call of the reactor is either

A call of the reactor that is cancelled costs more than all else that is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

__all__ = ["Timers"]

#: Times that are so close are up together.
_TICK_SECONDS: Final = 0.001


class Timers:
    """Times that are under way.

    :param reactor: has ``seconds`` and ``callLater``.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._due: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._call: Any = None

    def begin(self, what: Hashable, seconds: float, action: Callable[[], None]) -> None:
        """Do something about it after so many seconds."""
        at = self._reactor.seconds() + seconds
        self._due[what] = at, action
        if self._call is None:
            self._call = self._reactor.callLater(seconds, self._ring)
        elif at < self._call.getTime():
            self._call.reset(seconds)

    def end(self, what: Hashable) -> None:
        """It is over."""
        self._due.pop(what, None)
        if not self._due and self._call is not None:
            self._call.cancel()
            self._call = None

    def _ring(self) -> None:
        self._call = None
        now = self._reactor.seconds() + _TICK_SECONDS
        for what, due in [(what, due) for what, due in self._due.items() if due[0] <= now]:
            # One may end another, and begin it anew.
            if self._due.get(what) is due:
                del self._due[what]
                due[1]()
        if self._due and self._call is None:
            wait = min([at for at, _ in self._due.values()]) - self._reactor.seconds()
            self._call = self._reactor.callLater(max(0.0, wait), self._ring)
