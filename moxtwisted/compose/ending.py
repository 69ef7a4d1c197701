"""How a process ends that runs the reactor: at the first signal, once.

::

    ending = Ending(reactor)
    reactor.callWhenRunning(ending.take_signals)
    reactor.run()
    ending.signal                   # which signal it was, or None

Often two come: Ctrl-C goes to all that run in the terminal, and ``make`` tells its child with SIGTERM once more. Twisted stops the
reactor at each of them, and the second time fails, since it is stopping. A terminal that is closed (SIGHUP) ends what runs in it in the
same way, unless somebody has another use for that signal, or ``nohup`` has it ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from twisted.internet.error import ReactorNotRunning

__all__ = ["Ending", "stop"]


def stop(reactor: Any) -> None:
    """Stop the reactor, if it is not stopping already."""
    with suppress(ReactorNotRunning):
        reactor.stop()


class Ending:
    """Lets the first signal end the process as Twisted does it; those that come later change nothing, nor do they hurry.

    :ivar signal: the one that ended the process, SIGINT, SIGTERM or SIGHUP; None as long as there is none.
    """

    def __init__(self, reactor: Any) -> None:
        self.signal: int | None = None
        self._reactor = reactor
        self._begun = False
        reactor.addSystemEventTrigger("before", "shutdown", self._begin)

    def take_signals(self) -> None:
        """Stand before Twisted's handlers, which are there once the reactor runs. Only for a process's main program."""
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                signal.signal(number, self._before(handler))
                if number == signal.SIGTERM and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
                    signal.signal(signal.SIGHUP, self._before(handler))

    def stop(self) -> None:
        """Stop the reactor without a signal, unless it is stopping or a signal will stop it."""
        if not self._begun:
            self._begun = True
            stop(self._reactor)

    def _begin(self) -> None:
        self._begun = True

    def _before(
        self, handler: Callable[[int, FrameType | None], Any]
    ) -> Callable[[int, FrameType | None], None]:
        def received(number: int, frame: FrameType | None) -> None:
            if self._begun:
                return
            self._begun = True
            self.signal = number
            handler(number, frame)

        return received
