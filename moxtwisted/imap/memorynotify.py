"""NOTIFY over mail in memory: what the sessions of ``moxtwisted.imap.memory`` provide of ``INotifyingSession``.

A feed compares the mail with what it was at the last look, so it keeps nothing for a client that does not read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from attrs import define, field
from zope.interface import implementer

from moxtwisted.imap.notification import Happening, IHappeningFeed, INotifyingSession

__all__ = ["MemoryFeed", "MemoryWatch", "NotifyingSession", "telling"]

_T = TypeVar("_T", bound=type)

_CHANGING: Final = ("create", "delete", "rename", "subscribe", "unsubscribe")


@define(eq=False)
class MemoryWatch:
    """Who wants to hear of changes of one user's mail."""

    wakes: list[Callable[[], None]] = field(factory=list)

    def told(self, modseq: int) -> int:
        """Something happens now, with this modseq, which is given back."""
        for wake in tuple(self.wakes):
            wake()
        return modseq


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
    name: str
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
        mail.watch.wakes.append(wake)
        mail.annotations.listeners.append(self._annotated)

    def _look(self) -> dict[int, _Seen]:
        boxes = (self._mail.find(info.name) for info in self._mail.infos())
        return {
            id(box): _Seen(box, box.name, box.version, box.uidnext, box.uids, box.highestmodseq)
            for box in boxes
        }

    def _annotated(self, mailbox: str, entries: Sequence[str]) -> None:
        box = self._mail.find(mailbox) if mailbox else None
        self._entries.append((box, tuple(entries)))
        self._wake()

    def take(self) -> tuple[Sequence[Happening], bool]:
        """See ``IHappeningFeed``."""
        before, now = self._seen, self._look()
        subscribed = frozenset(self._mail.subscribed())
        happened = [Happening("removed", old.name) for key, old in before.items() if key not in now]
        pairs = [(new, before.get(key)) for key, new in now.items()]
        # Names as they are now are those after all changes of names.
        happened += _renames({k.name: new.name for new, k in pairs if k is not None and k.name != new.name})
        happened += [Happening("created", new.name) for new, known in pairs if known is None]
        for new, known in pairs:
            happened += self._messages(new, known)
        made = {h.name for h in happened if h.kind in {"created", "renamed"}}
        happened += [Happening("subscribed", n) for n in sorted(subscribed - self._subscribed - made)]
        happened += [Happening("unsubscribed", n) for n in sorted(self._subscribed - subscribed)]
        for box, entries in self._entries:
            if box is None or box.exists:
                happened.append(Happening("annotated", box.name if box is not None else "", entries=entries))
        self._seen, self._subscribed, self._entries = now, subscribed, []
        return happened[: self._limit], len(happened) > self._limit

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
        return (Happening("messages", new.name, added, lost, tuple(f for f in flagged if f < uidnext)),)

    def close(self) -> None:
        """See ``IHappeningFeed``."""
        if self._wake in self._mail.watch.wakes:
            self._mail.watch.wakes.remove(self._wake)
        if self._annotated in self._mail.annotations.listeners:
            self._mail.annotations.listeners.remove(self._annotated)


def _renames(moved: dict[str, str]) -> Iterator[Happening]:
    """Renames, by the old names, in an order in which they can have happened; those above come before those below."""
    left = dict(sorted(moved.items(), key=lambda names: len(names[1])))
    made = []
    while left:
        free = [old for old, new in left.items() if new not in left]
        if not free:
            # They changed places, by way of names that nobody knows any more.
            old = next(iter(left))
            made.append(Happening("created", left.pop(old)))
            yield Happening("removed", old)
        for old in free:
            yield Happening("renamed", left.pop(old), old_name=old)
    yield from made


@implementer(INotifyingSession)
class NotifyingSession:
    """The part of a session in memory that is about what happens."""

    __slots__ = ()
    _mail: Any

    def watch(self, limit: int, wake: Callable[[], None]) -> MemoryFeed:
        """See ``INotifyingSession``."""
        return MemoryFeed(self._mail, limit, wake)
