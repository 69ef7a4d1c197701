"""Bodies to be deleted, on their way from the reactor's thread to the writer's pauses.

A commit that takes the last name from a body says so, and later, when the writer has nothing better to do, the body goes with others::

    if sweeping.put([body]):                      # in the reactor's thread
        lane.idle(partial(sweeping.slice, ledger))

They go many in one transaction, however many commits let go of them: who deletes messages one by one would have each of them deleted with
a commit of its own, which costs as much as the expunge did.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from moxtwisted.store.ledger import Ledger
from moxtwisted.store.messages import sweep

__all__ = ["Sweeping"]


class Sweeping:
    """The bodies of one account that nobody names and nobody reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[int] = []
        self._begun = False
        #: The writer's own.
        self._taken: list[int] = []

    def put(self, bodies: Iterable[int]) -> bool:
        """Have these deleted; whether somebody has to see that ``slice`` is called."""
        with self._lock:
            self._waiting.extend(bodies)
            begun, self._begun = self._begun, True
        return not begun

    def slice(self, ledger: Ledger) -> bool:
        """In the writer, in a transaction: delete some; whether to call it again."""
        with self._lock:
            self._taken.extend(self._waiting)
            self._waiting.clear()
        try:
            more = sweep(ledger, self._taken)
        except BaseException:
            # What was not done is done with the next ones.
            with self._lock:
                self._begun = False
            raise
        with self._lock:
            self._begun = more or bool(self._waiting)
            return self._begun
