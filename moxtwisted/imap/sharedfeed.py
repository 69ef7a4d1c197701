"""What happens to mailboxes of other users, for NOTIFY (RFC 5465): the part of a sharing session that watches their accounts.

::

    feed = session.watch_others(10_000, wake, {"alice"})      # None: all who share something with the user
    happenings, lost = feed.take()      # of "Other Users/alice/Projects", as long as the user may list it
    feed.close()

An account is watched, and so stays open, from when it is wanted and shares something until the feed is closed or it shares nothing
any more. What the user may list was looked up at the last take; when a mailbox was made, renamed or removed, or rights changed, that
mailbox is looked up again, and the difference is what is told: names that may not be listed are in neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.imap import backend as b
from moxtwisted.imap.notification import (
    Happening,
    IHappening,
    IHappeningFeed,
    INotifyingSharedSession,
    IOthersFeed,
)
from moxtwisted.imap.sharing import IShares, foreign_name
from moxtwisted.imap.wire.mailboxname import ancestry

__all__ = ["MOST_WATCHED", "NotifyingOthers", "OthersFeed"]

#: Accounts of others that one session watches.
MOST_WATCHED: Final = 64
#: What part of the limit is kept of one account.
_PART: Final = 8
#: After these, what the user may list may be something else.
_OF_NAMES: Final = frozenset({"created", "removed", "renamed", "acl"})

Listed = Mapping[str, bool]
"""By name what may be listed, and whether it may be read."""

Listing = Callable[[str, Collection[str] | None], Iterable[b.MailboxInfo]]
"""Gives what the user may list of an account, by the names that he sees; if names in that account are given, of these only."""


class _TooManyError(MailError):
    """More accounts than one session may watch."""

    reply_code = 550
    enhanced_code = "5.7.0"
    # RFC 5465 section 3.1: a notification that is too expensive may be refused.
    imap_code = "NOTIFICATIONOVERFLOW"
    public_text = "too many other users"


def _concerned(shares: IShares, wanted: Collection[str] | None) -> list[str]:
    """Who of them shares something with the user. :raises MailError: when they are too many."""
    if wanted is not None and not wanted:
        return []
    owners = sorted(owner for owner in shares.owners() if wanted is None or owner in wanted)
    if len(owners) > MOST_WATCHED:
        raise _TooManyError(f"{len(owners)} accounts")
    return owners


@define(eq=False)
class _Watched:
    """An account of somebody else, and what the user may list of it."""

    feed: IHappeningFeed
    known: dict[str, bool]


@implementer(IOthersFeed)
@define(eq=False)
class OthersFeed:
    """See ``IOthersFeed``."""

    _shares: IShares
    _listed: Listing
    _limit: int
    _wake: Callable[[], None]
    _wanted: Collection[str] | None = field(factory=frozenset, init=False)
    _watched: dict[str, _Watched] = field(factory=dict, init=False)
    # Dictionaries for their order.
    _dirty: dict[str, None] = field(factory=dict, init=False)
    _doubtful: dict[str, None] = field(factory=dict, init=False)
    _stale: bool = field(default=False, init=False)
    _stop: Callable[[], None] | None = field(default=None, init=False)

    def begin(self, owners: Collection[str] | None) -> None:
        """Watch them. :raises MailError: when they are too many."""
        self._wanted = owners
        for owner in _concerned(self._shares, owners):
            self._watch(owner)
        self._stop = self._shares.listen(self._shared)

    def want(self, owners: Collection[str] | None) -> None:
        """See ``IOthersFeed``."""
        if owners != self._wanted:
            self._wanted, self._stale = owners, True

    def mailboxes(self) -> Sequence[b.MailboxInfo]:
        """See ``IOthersFeed``."""
        return [info for owner in self._watched for info in self._listed(owner, None)]

    def names(self) -> Iterator[str]:
        """See ``IOthersFeed``."""
        for watched in self._watched.values():
            yield from watched.known

    def close(self) -> None:
        """See ``IHappeningFeed``."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()
        for watched in self._watched.values():
            watched.feed.close()
        self._watched.clear()

    # -- who is watched ----------------------------------------------------------------------------------------
    def _shared(self, owner: str) -> None:
        if self._wanted is None or owner in self._wanted:
            # It may have gone, and another one have come with its name.
            self._doubtful[owner] = None
            self._stale = True
            self._wake()

    def _happened(self, owner: str) -> None:
        self._dirty[owner] = None
        self._wake()

    def _look(self, owner: str, names: Collection[str] | None = None) -> dict[str, bool]:
        listed = self._listed(owner, names)
        return {info.name: info.rights is None or "r" in info.rights for info in listed}

    def _watch(self, owner: str) -> Listed:
        """Begin, and what may be listed."""
        feed = self._shares.watch(owner, max(self._limit // _PART, 1), partial(self._happened, owner))
        if feed is None:
            return {}
        known = self._look(owner)
        self._watched[owner] = _Watched(feed, known)
        return known

    def _unwatch(self, owner: str) -> Listed:
        """End, and what could be listed."""
        watched = self._watched.pop(owner, None)
        if watched is None:
            return {}
        watched.feed.close()
        return watched.known

    def _rewatch(self, owners: Collection[str]) -> Iterator[Happening]:
        """RFC 5465 section 5.9: who shares nothing any more is not watched, who begins to is; who is not wanted goes in silence, and
        so comes who only was not wanted before."""
        for owner in [owner for owner in self._watched if owner not in owners]:
            yield from _difference(self._unwatch(owner), {})
        for owner in owners:
            if owner in self._doubtful:
                before = self._unwatch(owner)
                yield from _difference(before, self._watch(owner))
            elif owner not in self._watched:
                self._watch(owner)
        self._doubtful.clear()

    # -- what happened -----------------------------------------------------------------------------------------
    def take(self) -> tuple[Sequence[IHappening], bool]:
        """See ``IHappeningFeed``."""
        told: list[Any] = []
        dirty, self._dirty = self._dirty, {}
        for owner in dirty:
            watched = self._watched.get(owner)
            if watched is None:
                continue
            happened, lost = watched.feed.take()
            if lost:
                return (), True
            told += self._seen(owner, watched, happened)
        if self._stale:
            self._stale = False
            try:
                owners = _concerned(self._shares, self._wanted)
            except _TooManyError:
                return (), True
            told += self._rewatch(owners)
        return told, False

    def _seen(self, owner: str, watched: _Watched, happened: Iterable[Any]) -> Iterator[Happening]:
        """As the user sees it."""
        shown = partial(foreign_name, owner)
        ofnames = [one for one in happened if one.kind in _OF_NAMES]
        if ofnames:
            yield from _difference(*self._look_again(owner, watched, ofnames), shown, ofnames)
        for one in happened:
            # RFC 5465 section 5: every event wants l and r.
            if one.kind not in {"messages", "annotated"} or not watched.known.get(shown(one.name)):
                continue
            if one.kind == "messages":
                yield Happening("messages", shown(one.name), one.added, one.expunged, one.flagged)
            # What the owner notes in private is not for others.
            elif entries := tuple(entry for entry in one.entries if entry.startswith("/shared/")):
                yield Happening("annotated", shown(one.name), entries=entries)

    def _look_again(self, owner: str, watched: _Watched, happened: Iterable[Any]) -> tuple[Listed, Listed]:
        """What could be listed of the mailboxes that something happened to, and what can be now. The others are not looked at: an
        account may have ten thousand, and be watched by everybody."""
        names = {one.name: None for one in happened}
        if "" in names:
            before, watched.known = watched.known, self._look(owner)
            return before, watched.known
        names.update((one.old_name, None) for one in happened if one.kind == "renamed")
        now = self._look(owner, names)
        shown = [foreign_name(owner, name) for name in names]
        before = {name: watched.known.pop(name) for name in shown if name in watched.known}
        watched.known.update(now)
        return before, now


def _difference(
    before: Listed, now: Listed, shown: Callable[[str], str] = str, happened: Iterable[Any] = ()
) -> Iterator[Happening]:
    """What became of the names that may be listed.

    :param happened: in the account, in its order; its names are ``shown`` as others call them.
    """
    renamed: dict[str, str] = {}
    made: set[str] = set()
    for one in happened:
        name = shown(one.name)
        if one.kind == "renamed":
            old = shown(one.old_name)
            renamed[name] = renamed.pop(old, old)
        elif one.kind == "created":
            made.add(name)
    made.update(new for new, old in renamed.items() if new != old)
    stayed = {new for new, old in renamed.items() if new == old and new in before and new in now}
    renamed = {new: old for new, old in renamed.items() if new in now and old in before and new != old}
    left = frozenset(renamed.values())
    # Where one mailbox left and another one came to, the latter is told last, as one that was made: a client goes through it in order.
    told = {new: old for new, old in renamed.items() if left.isdisjoint(ancestry(new))}
    olds = frozenset(told.values())
    # What came back from below one that moved is where it was: a client that is told of that one alone takes it to be there.
    returned = {name for name in stayed if not olds.isdisjoint(ancestry(name))}
    made |= returned
    for name in before:
        if (name not in now and name not in olds) or name in returned:
            yield Happening("removed", name)
    for new, old in sorted(told.items(), key=_deepest_first):
        yield Happening("renamed", new, old_name=old)
    # RFC 5465 section 5.4: of an INBOX that was renamed a new one is assumed.
    made |= left - {shown("INBOX")}
    for name, readable in now.items():
        known = told.get(name, name)
        if known not in before or (name in made and name not in told):
            yield Happening("created", name)
        elif before[known] != readable:
            yield Happening("readable" if readable else "unreadable", name)


def _deepest_first(renamed: tuple[str, str]) -> tuple[int, str]:
    """RFC 5465 section 5.4: with a mailbox goes what lies below it, so that what went elsewhere has to be told before."""
    return -renamed[1].count("/"), renamed[0]


@implementer(INotifyingSharedSession)
class NotifyingOthers:
    """What ``SharingSession`` provides of ``INotifyingSharedSession``."""

    __slots__ = ()
    _own: b.ISession
    _shares: IShares
    _listed: Listing

    def own_mailboxes(self) -> Sequence[b.MailboxInfo]:
        """See ``INotifyingSharedSession``."""
        return self._own.mailboxes()

    def mailboxes_of(self, owner: str) -> Sequence[b.MailboxInfo]:
        """See ``INotifyingSharedSession``."""
        # Nobody's account is opened who shares nothing with the user.
        return list(self._listed(owner, None)) if owner in self._shares.owners() else ()

    def prepare_others(self, owners: Collection[str] | None) -> Awaitable[None] | None:
        """See ``INotifyingSharedSession``."""
        concerned = _concerned(self._shares, owners)
        return self._shares.prepare(concerned) if concerned else None

    def watch_others(
        self, limit: int, wake: Callable[[], None], owners: Collection[str] | None
    ) -> IOthersFeed:
        """See ``INotifyingSharedSession``."""
        feed = OthersFeed(self._shares, self._listed, limit, wake)
        feed.begin(owners)
        return feed
