"""What sessions see of an account: mailbox states in memory, and queues of changes.

A ``MailboxState`` is loaded by the first session that wants it and shared by all. After each commit the reactor applies
the ``Delta``s of the commit to it; a state that was loaded between the commit and its report knows that by the modseq,
and takes nothing twice. A session remembers the ``version`` that it has told its client::

    seen = state.version
    ...
    expunged, flagged = state.changes_since(seen)
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import define, field, frozen
from zope.interface import implementer

from moxtwisted.errors import ConsistencyError, MailboxMissingError
from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.message.places import pick, places_of, without
from moxtwisted.store.interfaces import IChangeQueue, IMailboxState, MailboxChange
from moxtwisted.store.ledger import Arrivals, Delta, RawFlags

__all__ = ["ChangeQueue", "FlagTable", "MailboxState"]

#: Entries, and UIDs in them, that a state's log keeps: a session that is further behind compares snapshots.
_LOG_ENTRIES: Final = 2_000
_LOG_UIDS: Final = 200_000
_MAX_FLAG_COMBINATIONS: Final = 10_000
#: To look for each of so many by itself is quicker than one loop.
_FEW_COMBINATIONS: Final = 10
#: UIDs in the changes that a queue keeps for its reader, who may not come for a long time; a single change may have more.
_QUEUED_UIDS: Final = 500_000


class FlagTable(dict[RawFlags, MessageFlags]):
    """From (bits, keywords) as the database has them to the one object for that combination."""

    def __missing__(self, raw: RawFlags) -> MessageFlags:
        """Make it."""
        if len(self) >= _MAX_FLAG_COMBINATIONS:
            self.clear()
        flags = self[raw] = MessageFlags.of(raw[0], raw[1].split())
        return flags


def _raw_flags(combination: str) -> RawFlags:
    """Of a text with the bits, and behind a space the keywords, if any."""
    bits, _, keywords = combination.partition(" ")
    return int(bits), keywords


class _Overview:
    """Which combinations of flags the messages of a mailbox have, and where the first unseen one is; kept with every change.

    :param flags: of all, in order.
    """

    def __init__(self, flags: Sequence[MessageFlags]) -> None:
        self.counts = Counter(flags)
        #: All messages before this place are seen.
        self._unseen_from = 0

    def added(self, flags: Iterable[MessageFlags]) -> None:
        """Messages with these came to the end."""
        self.counts.update(flags)

    def changed(self, old: Iterable[MessageFlags], new: MessageFlags, count: int, first: int) -> None:
        """So many messages, the first of them at this place, had these and have those now."""
        self.counts[new] += count
        self._discount(old)
        if not new.system & SEEN:
            self._unseen_from = min(self._unseen_from, first)

    def removed(self, old: Iterable[MessageFlags], places: Sequence[int]) -> None:
        """Messages with these, at these places, ascending, are gone."""
        self._discount(old)
        self._unseen_from -= bisect_left(places, self._unseen_from)

    def _discount(self, flags: Iterable[MessageFlags]) -> None:
        counts = self.counts
        for each, number in Counter(flags).items():
            if counts[each] > number:
                counts[each] -= number
            else:
                del counts[each]

    def first_unseen(self, flags: list[MessageFlags]) -> int:
        """The number of the first message without \\Seen, or 0."""
        end = len(flags)
        if self._unseen_from < end and not flags[self._unseen_from].system & SEEN:
            return self._unseen_from + 1
        combinations = [each for each in self.counts if not each.system & SEEN]
        if len(combinations) > _FEW_COMBINATIONS:
            end = next((n for n in range(self._unseen_from, end) if not flags[n].system & SEEN), end)
        else:
            for unseen in combinations:
                # Combinations are one object each, and index() compares by identity: ten times as fast as a loop.
                with suppress(ValueError):
                    end = flags.index(unseen, self._unseen_from, end)
        self._unseen_from = end
        return end + 1 if end < len(flags) else 0


def _seen(flags: Sequence[MessageFlags]) -> int:
    """How many of these have \\Seen."""
    combinations = set(flags)
    if len(combinations) > _FEW_COMBINATIONS:
        return sum([number for each, number in Counter(flags).items() if each.system & SEEN])
    # A combination is one object: count() compares by identity, ten times as fast as a loop.
    return sum([flags.count(each) for each in combinations if each.system & SEEN])


@frozen
class _Entry:
    """One change: the version it made, what it did, and the UIDNEXT before it."""

    version: int
    uidnext: int
    expunged: Sequence[int]
    flagged: Sequence[int]


def _together(changes: Sequence[Sequence[int]], uidnext: int) -> Sequence[int]:
    """The UIDs below this one, ascending, each once."""
    some = [uids for uids in changes if uids]
    uids: list[int] = []
    for one in some:
        uids += one
    # They are few ascending runs, which sort() only has to merge.
    uids.sort()
    if uids and uids[-1] >= uidnext:
        del uids[bisect_left(uids, uidnext) :]
    return uids if len(some) < 2 else list(dict.fromkeys(uids))


@implementer(IMailboxState)
@define(eq=False)
class MailboxState:
    """One mailbox in memory; see ``IMailboxState``."""

    id: int
    name: str
    uidvalidity: int
    uidnext: int
    highestmodseq: int
    uids: array[int]
    modseqs: array[int]
    flags: list[MessageFlags]
    unseen: int
    _table: FlagTable
    exists: bool = field(default=True, init=False)
    version: int = field(default=0, init=False)
    _log: deque[_Entry] = field(factory=deque, init=False)
    _log_uids: int = field(default=0, init=False)
    #: Changes since versions before this one are not in the log.
    _log_from: int = field(default=0, init=False)
    _listeners: list[Callable[[], None]] = field(factory=list, init=False)
    #: From when it is first asked for.
    _overview: _Overview | None = field(default=None, init=False)

    @classmethod
    def load(cls, connection: Any, mailbox: int, table: FlagTable) -> MailboxState:
        """Read it.

        :raises MailboxMissingError:
        :raises ConsistencyError: a keyword in the database is none.
        """
        connection.execute("BEGIN")
        try:
            row = connection.execute(
                "SELECT name, uidvalidity, uidnext, modseq, unseen FROM mailbox WHERE id = ?", (mailbox,)
            ).fetchall()
            if not row:
                raise MailboxMissingError(f"mailbox {mailbox}")
            # Three texts for all messages, in the order of the table's key: a row for each takes twice as long.
            uids, modseqs, combinations = connection.execute(
                "SELECT json_group_array(uid), json_group_array(modseq),"
                " group_concat(iif(keywords = '', flags, flags || ' ' || keywords), char(10)) FROM message WHERE mailbox = ?",
                (mailbox,),
            ).get
        finally:
            connection.execute("COMMIT")
        name, uidvalidity, uidnext, modseq, unseen = row[0]
        uids, modseqs = array("I", json.loads(uids)), array("Q", json.loads(modseqs))
        raw = combinations.split("\n") if combinations else []
        if len(raw) != len(uids):
            raise ConsistencyError(
                f"mailbox {mailbox}: {len(uids)} messages have {len(raw)} combinations of flags"
            )
        known = {one: table[_raw_flags(one)] for one in set(raw)}
        return cls(
            id=mailbox,
            name=name,
            uidvalidity=uidvalidity,
            uidnext=uidnext,
            highestmodseq=modseq,
            uids=uids,
            modseqs=modseqs,
            flags=list(map(known.__getitem__, raw)),
            unseen=unseen,
            table=table,
        )

    # -- applying ----------------------------------------------------------------------------------------------

    def apply(self, delta: Delta) -> bool:
        """Take in a committed change; False when it was known. Listeners are called by ``tell``."""
        if delta.modseq <= self.highestmodseq:
            return False
        before = self.uidnext
        self.highestmodseq = delta.modseq
        self.name = delta.name
        self.version += 1
        if delta.kind == "removed":
            self.exists = False
        if delta.added:
            self._add(delta.added)
        if delta.expunged:
            self._expunge(delta.expunged)
        if delta.flagged:
            self._flag(delta.flagged, delta.modseq)
        if not self.exists:
            # Nobody shall be told of messages that are gone.
            self.uids, self.modseqs, self.flags, self.unseen = array("I"), array("Q"), [], 0
            self._overview = None
        flagged = array("I", delta.flagged_uids)
        self._log.append(_Entry(self.version, before, delta.expunged, flagged))
        self._log_uids += len(delta.expunged) + len(flagged)
        while len(self._log) > _LOG_ENTRIES or (self._log_uids > _LOG_UIDS and len(self._log) > 1):
            oldest = self._log.popleft()
            self._log_from = oldest.version
            self._log_uids -= len(oldest.expunged) + len(oldest.flagged)
        return True

    def _add(self, added: Arrivals) -> None:
        # RFC 9051 section 2.3.1.1: UIDs ascend, so new ones belong to the end.
        self.uids = self.uids + array("I", added.uids)
        self.modseqs.extend(added.modseqs)
        new_flags = list(map(self._table.__getitem__, added.flags))
        self.flags.extend(new_flags)
        self.unseen += len(new_flags) - _seen(new_flags)
        if self._overview is not None:
            self._overview.added(new_flags)
        self.uidnext = added.uids[-1] + 1

    def _expunge(self, gone: Sequence[int]) -> None:
        places = places_of(self.uids, gone)
        if not places:
            return
        old = pick(self.flags, places)
        self.unseen -= len(places) - _seen(old)
        if self._overview is not None:
            self._overview.removed(old, places)
        # Sessions may hold the arrays that were: new ones take their place.
        self.uids, self.modseqs, self.flags = without(places, self.uids, self.modseqs, self.flags)

    def _flag(self, flagged: Sequence[tuple[RawFlags, Sequence[int]]], modseq: int) -> None:
        where: dict[int, int] | None = None
        if len(flagged) > 1:
            # Each has some of what lies between the first and the last.
            first = bisect_left(self.uids, min([uids[0] for _, uids in flagged]))
            end = bisect_right(self.uids, max([uids[-1] for _, uids in flagged]))
            if sum([len(uids) for _, uids in flagged]) > (end - first) // 4:
                where = dict(zip(self.uids[first:end], range(first, end), strict=True))
        for raw, uids in flagged:
            new = self._table[raw]
            if where is not None:
                places: Sequence[int] = [where[uid] for uid in uids if uid in where]
            else:
                places = places_of(self.uids, uids)
            old, count = pick(self.flags, places), len(places)
            if isinstance(places, range):
                # All of a run: no need to look for each.
                first = places.start
                self.flags[first : places.stop] = [new] * count
                self.modseqs[first : places.stop] = array("Q", (modseq,)) * count
            else:
                first = min(places, default=0)
                for place in places:
                    self.flags[place] = new
                    self.modseqs[place] = modseq
            self.unseen += _seen(old) - count * (new.system & SEEN)
            if self._overview is not None and count:
                self._overview.changed(old, new, count, first)

    # -- for sessions --------------------------------------------------------------------------------------------

    def changes_since(self, version: int) -> tuple[Sequence[int], Sequence[int]] | None:
        """(expunged UIDs, UIDs with other flags) of messages that were there at that version, or None."""
        if version < self._log_from:
            return None
        since: list[_Entry] = []
        for entry in reversed(self._log):
            if entry.version <= version:
                break
            since.append(entry)
        if not since:
            return (), ()
        uidnext = since[-1].uidnext
        expunged = _together([entry.expunged for entry in since], uidnext)
        flagged = _together([entry.flagged for entry in since], uidnext)
        if expunged and flagged:
            gone = frozenset(expunged)
            flagged = [uid for uid in flagged if uid not in gone]
        return expunged, flagged

    def overview(self) -> tuple[Iterable[MessageFlags], int]:
        """(combinations of flags, number of the first message without \\Seen or 0)."""
        if self._overview is None:
            self._overview = _Overview(self.flags)
        return self._overview.counts.keys(), self._overview.first_unseen(self.flags)

    def listen(self, callback: Callable[[], None]) -> None:
        """Call it after every change."""
        self._listeners.append(callback)

    def unlisten(self, callback: Callable[[], None]) -> None:
        """Stop calling it."""
        if callback in self._listeners:
            self._listeners.remove(callback)

    @property
    def listened(self) -> bool:
        """Whether a session uses it."""
        return bool(self._listeners)

    def tell(self) -> None:
        """Call the listeners."""
        for callback in tuple(self._listeners):
            callback()


@implementer(IChangeQueue)
@define(eq=False)
class ChangeQueue:
    """Changes of an account for one reader."""

    _limit: int
    _end: Callable[[ChangeQueue], None]
    _changed: Callable[[], None] | None = None
    _changes: list[MailboxChange] = field(factory=list, init=False)
    _dropped: bool = field(default=False, init=False)
    _uids: int = field(default=0, init=False)

    def put(self, changes: Iterable[MailboxChange]) -> None:
        """Keep them, or note that the queue is full."""
        for change in changes:
            uids = self._uids + len(change.added) + len(change.expunged) + len(change.flagged)
            if len(self._changes) >= self._limit or (self._changes and uids > _QUEUED_UIDS):
                self._dropped = True
                break
            self._changes.append(change)
            self._uids = uids
        if self._changed is not None:
            self._changed()

    def take(self) -> tuple[Sequence[MailboxChange], bool]:
        """All since the last take, and whether some were dropped."""
        changes, dropped = self._changes, self._dropped
        self._changes, self._dropped, self._uids = [], False, 0
        return changes, dropped

    def close(self) -> None:
        """End it; idempotent."""
        self._end(self)
        self._changes = []


def published(delta: Delta) -> MailboxChange:
    """A delta as the readers of change queues get it."""
    return MailboxChange(
        kind=delta.kind,
        mailbox=delta.mailbox,
        name=delta.name,
        modseq=delta.modseq,
        added=tuple(delta.added.uids),
        expunged=tuple(delta.expunged),
        flagged=delta.flagged_uids,
        old_name=delta.old_name,
        entries=delta.entries,
    )
