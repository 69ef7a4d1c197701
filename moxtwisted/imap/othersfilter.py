"""Which other users the filters of NOTIFY can stand for, so that no other account is looked into.

::

    OthersWanted.of(connection, groups).owners()        # of (mailboxes "Other Users/alice/Box" MessageNew …): {"alice"}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import define

from moxtwisted.imap.notification import INotifyingSharedSession
from moxtwisted.imap.sharing import OTHER_USERS, OTHERS
from moxtwisted.imap.wire.events import EventGroup
from moxtwisted.imap.wire.mailboxfilter import FilterKind
from moxtwisted.imap.wire.mailboxname import canonical

if TYPE_CHECKING:
    from moxtwisted.imap.connection import Connection

__all__ = ["OthersWanted"]


@define(eq=False)
class OthersWanted:
    """Whose mailboxes a client wants to hear of.

    :ivar named: accounts, or None for all.
    :ivar subscribed: whether also those whose mailboxes the user has subscribed.
    """

    _connection: Connection
    named: frozenset[str] | None
    subscribed: bool
    _known: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())

    @classmethod
    def of(cls, connection: Connection, groups: Iterable[EventGroup]) -> OthersWanted | None:
        """None: nobody's, now and later; RFC 5465 sections 6.2 and 6.3: so it is with personal mailboxes and inboxes."""
        if not INotifyingSharedSession.providedBy(connection.mail):
            return None
        named: set[str] = set()
        everybody = subscribed = False
        for group in groups:
            if not group.events:
                continue
            subscribed = subscribed or group.mailboxes is FilterKind.SUBSCRIBED
            everybody = everybody or (group.mailboxes is FilterKind.SUBTREE and OTHER_USERS in group.names)
            named.update(_owners(group.names))
        if not (named or everybody or subscribed):
            return None
        return cls(connection, None if everybody else frozenset(named), subscribed)

    def owners(self) -> frozenset[str] | None:
        """Accounts, as it is now; None: all."""
        if self.named is None or not self.subscribed:
            return self.named
        subscriptions = self._connection.mail.subscriptions()
        if subscriptions is not self._known[0]:
            self._known = subscriptions, self.named.union(_owners(map(canonical, subscriptions)))
        return self._known[1]


def _owners(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name.startswith(OTHERS):
            yield name[len(OTHERS) :].partition("/")[0]
