"""A message that several are not done with: its octets are given back after the last.

::

    lease = Lease(staged)          # the first has it
    lease.keep()                   # another one
    lease.release()                # twice: now it is closed
"""

from __future__ import annotations

from attrs import define, field

from moxtwisted.store.interfaces import IStagedMessage

__all__ = ["Lease"]


@define(eq=False)
class Lease:
    """Who still needs a staged message."""

    staged: IStagedMessage
    _holders: int = field(default=1, init=False)

    def keep(self) -> None:
        """One more needs it, until its own ``release``."""
        self._holders += 1

    def release(self) -> None:
        """One is done; the last closes it."""
        self._holders -= 1
        if self._holders == 0:
            self.staged.close()
