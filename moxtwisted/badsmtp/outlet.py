"""What a twin says, in its order and each piece at its time.

::

    outlet = Outlet(clock, transport.write, pace=1.0)
    outlet.send(b"+OK ready\\r\\n")                 # at once, when nothing is before it
    outlet.play(spoil(reply, "drip", 10))         # over ten seconds; what is sent meanwhile waits
    outlet.when_dry(transport.loseConnection)

While it waits, whoever answers commands should do something else: ``waiting(True)`` and ``waiting(False)`` tell so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from moxtwisted.badsmtp.faults import Ending, Plan, Step

__all__ = ["Outlet"]


class Outlet:
    """Of one connection.

    :ivar busy: whether something takes its time.

    :param write: sends octets; ``end`` is called with how it ends when a plan ends the connection.
    :param pace: how long a second lasts.
    :param waiting: is told when something takes its time, and when all was said.
    """

    def __init__(
        self,
        clock: Any,
        write: Callable[[bytes], None],
        end: Callable[[Ending], None],
        pace: float = 1.0,
        waiting: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._write = write
        self._end = end
        self._pace = pace
        self._plans: deque[Plan] = deque()
        self._steps: Iterator[Step] | None = None
        self._ending = Ending.GO_ON
        self._step: Step | None = None
        self._call: Any = None
        self._dry: Callable[[], None] | None = None
        self._stopped = False
        self._waiting = waiting
        self.busy = False

    def send(self, octets: bytes) -> None:
        """Octets as they are."""
        self.play(Plan((Step(0, octets),)))

    def play(self, plan: Plan) -> None:
        """A reply that takes its time, or ends the connection."""
        if not self._stopped:
            self._plans.append(plan)
            self._go_on()

    def when_dry(self, call: Callable[[], None]) -> None:
        """Call this when everything was said."""
        self._dry = call
        self._go_on()

    def stop(self) -> None:
        """The connection is gone."""
        self._stopped = True
        self._plans.clear()
        self._steps = self._step = self._dry = None
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _go_on(self) -> None:
        while self._call is None and not self._stopped:
            if self._step is not None:
                step, self._step = self._step, None
                if step.octets:
                    self._write(step.octets)
            elif self._steps is not None:
                self._next_step(self._steps)
            elif self._plans:
                plan = self._plans.popleft()
                self._steps, self._ending = iter(plan.steps), plan.ending
            else:
                dry, self._dry = self._dry, None
                if dry is not None:
                    dry()
                if self.busy and not self._stopped:
                    self.busy = False
                    self._waiting(False)
                return
        if not (self.busy or self._stopped):
            self.busy = True
            self._waiting(True)

    def _next_step(self, steps: Iterator[Step]) -> None:
        self._step = next(steps, None)
        if self._step is None:
            self._steps = None
            if self._ending is not Ending.GO_ON:
                ending = self._ending
                self.stop()
                self._end(ending)
        elif self._step.pause_seconds:
            self._call = self._clock.callLater(self._step.pause_seconds * self._pace, self._waited)

    def _waited(self) -> None:
        self._call = None
        self._go_on()
