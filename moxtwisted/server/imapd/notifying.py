"""NOTIFY over an account of the store: its queue of changes, as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from zope.interface import implementer

from moxtwisted.imap.notification import IHappeningFeed, INotifyingSession
from moxtwisted.store.interfaces import IAccount

__all__ = ["WatchedAccount"]


@implementer(INotifyingSession)
class WatchedAccount:
    """What ``AccountSession`` provides of ``INotifyingSession``."""

    __slots__ = ()
    _account: IAccount

    def watch(self, limit: int, wake: Callable[[], None]) -> IHappeningFeed:
        """See ``INotifyingSession``; ``MailboxChange`` has all that ``IHappening`` wants."""
        return cast("IHappeningFeed", self._account.watch(limit, wake))
