"""NOTIFY over mail in memory: what the sessions of ``moxtwisted.imap.memory`` provide of ``INotifyingSession``.

A feed compares messages with what they were at the last look, so it keeps nothing of them for a client that does not read. What
happened to names is kept in its order, once for all who watch, and no more of it than ``MOST_NAMES``: a mailbox that was moved away
with the one above it, and came back, looks as if nothing had happened.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from attrs import define, field
from zope.interface import implementer

from moxtwisted.imap.notification import Happening, IHappeningFeed, INotifyingSession

__all__ = ["MOST_NAMES", "MemoryFeed", "MemoryWatch", "NotifyingSession", "telling"]

_T = TypeVar("_T", bound=type)

#: Happenings to names that are kept for those who do not look; who is further behind is told that something was lost.
MOST_NAMES: Final = 10_000
_CHANGING: Final = ("create", "delete", "rename", "subscribe", "unsubscribe")


@define(eq=False)
class MemoryWatch:
    """Who wants to hear of changes of one user's mail.

    :ivar named: how many happenings to names there were.
    """

    wakes: list[Callable[[], None]] = field(factory=list)
    named: int = 0
    _names: deque[Happening] = field(factory=lambda: deque(maxlen=MOST_NAMES))

    def told(self, modseq: int) -> int:
        """Something happens now, with this modseq, which is given back."""
        for wake in tuple(self.wakes):
            wake()
        return modseq

    def name(self, kind: str, name: str, old_name: str = "") -> None:
        """A mailbox was created, removed or renamed."""
        if self.wakes:
            self.named += 1
            self._names.append(Happening(kind, name, old_name=old_name))

    def names(self, since: int) -> tuple[Sequence[Happening], bool]:
        """What happened to names since there were so many happenings, and whether some of it is not kept any more."""
        first = self.named - len(self._names)
        return tuple(islice(self._names, max(0, since - first), None)), since < first


def telling(session: _T) -> _T:
    """A class decorator: methods of a session in memory that change mailboxes tell of it."""

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def tell(self: Any, *args: Any) -> Any:
            done = await method(self, *args)
            self._mail.watch.told(0)
            return done

        return tell

    for name in _CHANGING:
        setattr(session, name, wrapped(getattr(session, name)))
    return session


@define
class _Seen:
    """A mailbox at the last look."""

    box: Any
    version: int
    uidnext: int
    uids: Sequence[int]
    modseq: int


@implementer(IHappeningFeed)
class MemoryFeed:
    """See ``IHappeningFeed``."""

    def __init__(self, mail: Any, limit: int, wake: Callable[[], None]) -> None:
        self._mail, self._limit, self._wake = mail, limit, wake
        self._seen = self._look()
        self._subscribed = frozenset(mail.subscribed())
        self._entries: list[tuple[Any, Sequence[str]]] = []
        self._named = mail.watch.named
        mail.watch.wakes.append(wake)
        mail.annotations.listeners.append(self._annotated)

    def _look(self) -> dict[int, _Seen]:
        boxes = (self._mail.find(info.name) for info in self._mail.infos())
        return {id(box): _Seen(box, box.version, box.uidnext, box.uids, box.highestmodseq) for box in boxes}

    def _annotated(self, mailbox: str, entries: Sequence[str]) -> None:
        box = self._mail.find(mailbox) if mailbox else None
        self._entries.append((box, tuple(entries)))
        self._wake()

    def take(self) -> tuple[Sequence[Happening], bool]:
        """See ``IHappeningFeed``."""
        before, now = self._seen, self._look()
        subscribed = frozenset(self._mail.subscribed())
        names, lost = self._mail.watch.names(self._named)
        self._named = self._mail.watch.named
        happened = [*names]
        for key, new in now.items():
            happened += self._messages(new, before.get(key))
        # Of these the subscription is told with them.
        made = {h.name for h in names if h.kind != "removed"}.intersection(
            seen.box.name for seen in now.values()
        )
        happened += [Happening("subscribed", n) for n in sorted(subscribed - self._subscribed - made)]
        happened += [Happening("unsubscribed", n) for n in sorted(self._subscribed - subscribed)]
        for box, entries in self._entries:
            if box is None or box.exists:
                happened.append(Happening("annotated", box.name if box is not None else "", entries=entries))
        self._seen, self._subscribed, self._entries = now, subscribed, []
        return happened[: self._limit], lost or len(happened) > self._limit

    def _messages(self, new: _Seen, known: _Seen | None) -> Sequence[Happening]:
        version, uidnext = (known.version, known.uidnext) if known is not None else (0, 1)
        if (version, uidnext) == (new.version, new.uidnext):
            return ()
        box = new.box
        changes = box.changes_since(version)
        if changes is None:
            # It does not remember.
            before, modseq = (known.uids, known.modseq) if known is not None else ((), 0)
            there = set(box.uids)
            gone = [uid for uid in before if uid not in there]
            flagged = [uid for uid, at in zip(box.uids, box.modseqs, strict=True) if at > modseq]
        else:
            gone, flagged = changes
        added = tuple(uid for uid in box.uids if uid >= uidnext)
        lost = tuple(uid for uid in gone if uid < uidnext)
        return (Happening("messages", box.name, added, lost, tuple(f for f in flagged if f < uidnext)),)

    def close(self) -> None:
        """See ``IHappeningFeed``."""
        if self._wake in self._mail.watch.wakes:
            self._mail.watch.wakes.remove(self._wake)
        if self._annotated in self._mail.annotations.listeners:
            self._mail.annotations.listeners.remove(self._annotated)


@implementer(INotifyingSession)
class NotifyingSession:
    """The part of a session in memory that is about what happens."""

    __slots__ = ()
    _mail: Any

    def watch(self, limit: int, wake: Callable[[], None]) -> MemoryFeed:
        """See ``INotifyingSession``."""
        return MemoryFeed(self._mail, limit, wake)
