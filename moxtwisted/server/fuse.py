"""A program beside us that does not answer is left alone for a while.

::

    fuse = Fuse(clock)
    if fuse.blown: ...                   # do at once what is done when it does not answer
    fuse.failed() / fuse.worked()

Otherwise each message, or each log-in, would wait for the whole time limit while it is down.
"""

from __future__ import annotations

from typing import Protocol

from attrs import define, field

__all__ = ["Fuse"]


class _Clock(Protocol):
    def seconds(self) -> float: ...


@define(eq=False)
class Fuse:
    """Counts failures in a row.

    :ivar failures: so many blow it.
    :ivar pause_seconds: then it is whole again after this time; one more failure blows it anew.
    """

    clock: _Clock
    failures: int = 3
    pause_seconds: float = 30.0
    _failed: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)

    @property
    def blown(self) -> bool:
        """Whether it is not worth to ask."""
        return self.clock.seconds() < self._until

    def failed(self) -> bool:
        """It did not answer; whether that blew the fuse."""
        self._failed += 1
        if self._failed < self.failures:
            return False
        self._until = self.clock.seconds() + self.pause_seconds
        return True

    def worked(self) -> None:
        """It answered."""
        self._failed = 0
