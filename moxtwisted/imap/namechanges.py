r"""What happened to names of mailboxes since NOTIFY told of them last, and what a client makes of what it is told.

A client that is told ``* LIST () "/" New ("OLDNAME" (Old))`` moves ``Old`` with all below it (RFC 5465 section 5.4). Of two renames
one after the other it is told the outcome, and then what it would believe wrongly::

    changes = NameChanges.of(happened, is_own=lambda kind, name: False)   # A renamed to B, B to C
    changes.moves()                                                       # {"C": "A"}
    belief = changes.belief()                                             # {"A": True, "B": False, "C": False}
    belief.move("A", "C")                                                 # {"A": False, "B": False, "C": True}
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from moxtwisted.imap.sharing import OTHERS
from moxtwisted.imap.wire.events import Event
from moxtwisted.imap.wire.mailboxname import canonical

__all__ = ["Belief", "NameChanges", "Renames", "ToldNames"]

_NAMED: Final = frozenset({Event.MAILBOX_NAME})
_SUBSCRIBED: Final = frozenset({Event.SUBSCRIPTION_CHANGE})
# Renames that are told with OLDNAME in one go; of more it is told what is there now.
_MOST_MOVES: Final = 100
_KINDS: Final = frozenset({"created", "removed", "renamed", "subscribed", "unsubscribed"})


class Belief(dict[str, bool]):
    """Which names exist, for a client; a rename takes no longer because there are thousands of others.

    :param names: those that were heard of.
    """

    def __init__(self, names: Mapping[str, bool]) -> None:
        super().__init__(names)
        #: Those that exist, in order: what lies below a mailbox is a run of them.
        self._there = sorted(name for name, exists in names.items() if exists)

    def __setitem__(self, name: str, exists: bool) -> None:
        if exists and not self.get(name):
            insort(self._there, name)
        elif not exists and self.get(name):
            del self._there[bisect_left(self._there, name)]
        super().__setitem__(name, exists)

    def move(self, old: str, new: str) -> None:
        """What a client makes of a rename: the mailbox and all below it have other names."""
        # What follows the slash among characters is the 0.
        start, stop = (bisect_left(self._there, old + behind) for behind in "/0")
        below = self._there[start:stop]
        del self._there[start:stop]
        self.update(dict.fromkeys(below, False))
        self[old] = False
        for name in below:
            self[new + name[len(old) :]] = True
        self[new] = True


@define(eq=False)
class Renames:
    """Some renames, with which go the mailboxes that lie below."""

    _renames: set[tuple[str, str]] = field(factory=set)
    # Of the new names: a name of two hundred levels has two hundred above it, and few of them can be among these.
    _lengths: set[int] = field(factory=set)

    def add(self, old: str, new: str) -> None:
        """One more."""
        self._renames.add((old, new))
        self._lengths.add(len(new))

    def carry(self, old: str, new: str) -> bool:
        """Whether this rename goes without saying, because one above it is among these."""
        most = len(new)
        return any(
            length < most
            and new[length] == "/"
            and old.endswith(new[length:])
            and (old[: length - most], new[:length]) in self._renames
            for length in self._lengths
        )


@frozen
class ToldNames:
    """What a client is to be told of names.

    :ivar moves: with OLDNAME: by their names now, what mailboxes were called.
    :ivar plain: other names, after these.
    :ivar unknown: names that mailboxes have now of which the client cannot know that it is they, as it is told of no rename.
    """

    moves: Mapping[str, str]
    plain: Sequence[str]
    unknown: Sequence[str]


@define(eq=False)
class NameChanges:
    """What happened to names; all are canonical.

    :ivar events: by name, what concerns it: MailboxName, SubscriptionChange or both. Renamed ones are in ``renamed`` only.
    :ivar renamed: old and new names.
    """

    events: dict[str, frozenset[Event]] = field(factory=dict)
    renamed: dict[str, None] = field(factory=dict)
    _before: dict[str, bool] = field(factory=dict)
    # By what a mailbox is called now: what it was called before, or nothing if it is new.
    _origins: dict[str, str] = field(factory=dict)
    _own: list[Any] = field(factory=list)

    @classmethod
    def of(cls, happened: Sequence[Any], is_own: Callable[[str, str], bool]) -> NameChanges:
        """From happenings in their order.

        :param is_own: asked with a kind and a name, of renames also with ``renamed from`` and the old one: whether the client did
            this itself.
        """
        changes = cls()
        named = [one for one in happened if one.kind in _KINDS]
        # The push comes right behind the command: what others did in the same way was before that.
        last = {(one.kind, canonical(one.name)): one for one in named}
        own_renames = Renames()
        for one in named:
            name = canonical(one.name)
            own = is_own(one.kind, name) and last[one.kind, name] is one
            if one.kind == "renamed":
                own = own and is_own("renamed from", canonical(one.old_name))
                if own_renames.carry(one.old_name, one.name):
                    changes._take(one, name, own=True)
                    continue
                if own:
                    own_renames.add(one.old_name, one.name)
            if own:
                changes._own.append(one)
            changes._take(one, name, own=own)
        return changes

    def _take(self, one: Any, name: str, *, own: bool) -> None:
        match one.kind:
            case "renamed":
                self._renamed(name, canonical(one.old_name), own=own)
            case "created":
                self._before.setdefault(name, False)
                self._origins.pop(name, None)
                if not own:
                    self._origins[name] = ""
            case "removed":
                self._before.setdefault(name, True)
                origin = self._origins.pop(name, name)
                if origin not in {"", name} and not own:
                    # Nobody will be told that it was called otherwise for a while.
                    self._concern(origin, _NAMED | _SUBSCRIBED)
        if own or one.kind == "renamed":
            return
        if one.kind in {"subscribed", "unsubscribed"}:
            self._concern(name, _SUBSCRIBED)
            return
        # RFC 5465 section 5.5: new mailboxes are subscribed, and what is removed may be so no longer.
        self._concern(name, _NAMED if name.startswith(OTHERS) else _NAMED | _SUBSCRIBED)
        parent = name.rpartition("/")[0]
        if parent:
            # Section 5.4: what was made or deleted concerns the mailbox above, too.
            self._concern(parent, _NAMED)

    def _concern(self, name: str, events: frozenset[Event]) -> None:
        self.events[name] = self.events.get(name, frozenset()) | events

    def _renamed(self, name: str, old: str, *, own: bool) -> None:
        self._before.setdefault(old, True)
        self._before.setdefault(name, False)
        origin = self._origins.pop(old, old)
        self._origins.pop(name, None)
        if not (own and origin == old):
            self._origins[name] = origin
            self.renamed[old] = self.renamed[name] = None
        if not origin:
            # New under this name, as far as anybody was told.
            self._concern(name, _NAMED | _SUBSCRIBED)

    def moves(self) -> dict[str, str]:
        """By their names now, what mailboxes were called before; those above come before those below."""
        moved = {now: old for now, old in self._origins.items() if old and old != now}
        return {now: moved[now] for now in sorted(moved, key=len)}

    def belief(self) -> Belief:
        """Which names exist, for a client that knows of what was before and of what it did itself."""
        belief = Belief(self._before)
        for one in self._own:
            if one.kind == "renamed":
                belief.move(canonical(one.old_name), canonical(one.name))
            elif one.kind in {"created", "removed"}:
                belief[canonical(one.name)] = one.kind == "created"
        return belief

    def told(self, wanted: Callable[[str], frozenset[Event]], there: Callable[[str], bool]) -> ToldNames:
        """What is to be told.

        :param wanted: the events that are wanted of a mailbox.
        :param there: whether there is one with this name, now, that the user may list.
        """
        outcome = self.moves()
        moves: dict[str, str] = {}
        renames = Renames()
        rest: dict[str, str] = {}
        for now, old in outcome.items():
            # RFC 5465 section 5.4: of what lies below a mailbox that was renamed nothing is told; unless it is not told of that either.
            if renames.carry(old, now):
                continue
            if Event.MAILBOX_NAME in wanted(now) | wanted(old) and there(now):
                moves[now] = old
                renames.add(old, now)
                if len(moves) > _MOST_MOVES:
                    moves, rest = {}, outcome
                    break
            else:
                rest[now] = old
        names = self._plain(rest, moves, wanted, there)
        if not moves.keys().isdisjoint(names):
            # The client would take one rename for another. Without OLDNAME it knows what is there, and by UIDVALIDITY that it is new.
            moves, rest = {}, outcome
            names = self._plain(rest, moves, wanted, there)
        return ToldNames(moves, names, list(rest))

    def _plain(
        self,
        rest: Mapping[str, str],
        moves: Mapping[str, str],
        wanted: Callable[[str], frozenset[Event]],
        there: Callable[[str], bool],
    ) -> list[str]:
        """The names that are told without OLDNAME, after ``moves``: what is concerned, and what a client would believe wrongly.

        :param rest: renames that it is not told of by ``moves``, old names by new ones.
        """
        belief = self.belief()
        for now, old in moves.items():
            belief.move(old, now)
        unconcerned = [name for name in belief if name not in self.events]
        events = {**self.events, **dict.fromkeys(unconcerned, frozenset[Event]())}
        for now, old in rest.items():
            # RFC 5465 section 5.5: the subscription goes with the mailbox.
            events[old] = events.get(old, frozenset()) | _SUBSCRIBED
            events[now] = _NAMED | _SUBSCRIBED
        found = []
        for name, concerning in events.items():
            of_name = wanted(name)
            if not of_name & (_NAMED | _SUBSCRIBED):
                continue
            exists = there(name)
            believed = belief.get(name, exists)
            wrong = Event.MAILBOX_NAME in of_name and believed != exists
            concerned = Event.MAILBOX_NAME in concerning & of_name and (exists or believed)
            if wrong or ((concerned or _SUBSCRIBED & concerning & of_name) and name not in moves):
                found.append(name)
        return found
