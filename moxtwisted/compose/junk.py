"""The junk filter: from the store to those who learn and judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from moxtwisted.store.store import Store

if TYPE_CHECKING:
    from moxtwisted.server.junk.contentfilter import ContentFilter

__all__ = ["filter_content", "learn_junk"]


def learn_junk(store: Store) -> None:
    """Have the accounts that are opened from now on learn what is junk."""
    from moxtwisted.server.junk.learning import LEARNER

    store.learner = LEARNER


def filter_content(store: Store, clock: IReactorTime) -> Callable[[], ContentFilter]:
    """What gives the accounts' filter; made when it is asked for first."""
    made: list[ContentFilter] = []

    def give() -> ContentFilter:
        if not made:
            from moxtwisted.server.junk.contentfilter import ContentFilter

            made.append(ContentFilter(store.account, clock))
        return made[0]

    return give
