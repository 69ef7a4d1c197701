r"""The result of a search that the server keeps up to date (CONTEXT=SEARCH, CONTEXT=SORT; RFC 5267)::

    found = await client.search(k.HasFlag("\\Flagged"), returns=[SearchReturn.ALL, SearchReturn.UPDATE])
    kept = KeptResult(found)

    def heard(notice: Notice) -> None:                 # as given to ``connect``
        if kept.take(notice):
            print(kept.numbers)

``kept.updated`` says whether the server tells of changes at all; it may refuse, and it may stop.
"""

from __future__ import annotations

from typing import Final

from moxtwisted.imap.client.notices import ContextChanged, Expunged, Notice, UpdatesRefused, Vanished
from moxtwisted.imap.client.results import ResultError, SearchResult, members
from moxtwisted.imap.wire import responsedata as r

__all__ = ["KeptResult"]

MAX_KEPT: Final = 1_000_000
"""The most messages in a result."""


class KeptResult:
    """What a search finds, now.

    :param found: of a search with ALL and UPDATE among what it returns.
    :ivar numbers: UIDs, or sequence numbers with ``uid=False``; in the order of the mailbox, or that of SORT.
    :ivar updated: whether the server tells of changes.
    :raise ResultError: there are more than a million.
    """

    def __init__(self, found: SearchResult, *, uid: bool = True) -> None:
        self.numbers: list[int] = list(members(found.numbers, MAX_KEPT))
        self.tag = found.tag
        self.updated = found.updated
        self._uid = uid
        for change in found.changes:
            self._apply(change)

    def take(self, notice: Notice) -> bool:
        """Learn from a notice.

        :return: whether it was about this result.
        :raise ResultError: the server says what does not fit to what it said before; or, of a result of sequence numbers, with QRESYNC
            that messages went: search again.
        """
        match notice:
            case ContextChanged(tag, changes) if tag == self.tag:
                for change in changes:
                    self._apply(change)
                return True
            case UpdatesRefused(tag) if tag == self.tag:
                self.updated = False
                return True
            case Expunged(number) if not self._uid:
                # RFC 5267 section 4.3.4: REMOVEFROM comes before the EXPUNGE, while the numbers still hold.
                moved = [one - (one > number) for one in self.numbers if one != number]
                told, self.numbers = moved != self.numbers, moved
                return told
            case Vanished(earlier=False) if not self._uid:
                raise ResultError("messages went whose sequence numbers are not known")
        return False

    def _apply(self, change: r.ContextChange) -> None:
        """RFC 5267 sections 4.3.3 and 4.3.4: one pair, in the order in which they came."""
        numbers = list(members(change.numbers, MAX_KEPT))
        at = change.position - 1
        if change.added:
            if len(self.numbers) + len(numbers) > MAX_KEPT or at > len(self.numbers):
                raise ResultError("a result that is kept up to date has no such place")
            if at < 0:
                # A position of 0: the order is that of the mailbox.
                self.numbers = sorted({*self.numbers, *numbers})
            else:
                self.numbers[at:at] = numbers
        elif at < 0:
            gone = set(numbers)
            self.numbers = [one for one in self.numbers if one not in gone]
        elif self.numbers[at : at + len(numbers)] != numbers:
            raise ResultError("a result that is kept up to date has others in this place")
        else:
            del self.numbers[at : at + len(numbers)]
