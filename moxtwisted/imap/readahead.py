"""Reading ahead, of backends that can: what ``ISelectedMailbox`` provides besides.

A long FETCH of messages' octets says what it will want while it sends what it has::

    ahead = IReadingAhead(mailbox, None)       # None: the backend has nothing of the kind
    ahead.read_ahead([7, 8, 9], 786432)
    ahead.read_ahead([10, 11], 786432)
    mailbox.bodies([7, 8, 9], 786432)          # was being read meanwhile
    ahead.read_ahead((), 0)                    # whatever else was announced is not wanted any more
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import Interface

__all__ = ["IReadingAhead"]


class IReadingAhead(Interface):
    """A selected mailbox that can begin to read what will be asked for. ``bodies`` answers the same with and without it; its octets may
    be of messages that went meanwhile."""

    def read_ahead(uids: Sequence[int], limit_octets: int) -> None:
        """``bodies`` will be called with these arguments, after those that were announced before: the backend may begin, and need not.
        Without UIDs: forget all that was announced. Closing the mailbox does so too."""
