r"""Searches that are kept up to date (RFC 5267), as the model has them: results are what a new search would find, told as differences.

L{Kept} is one search; L{Keeping} is all those of a session::

    keeping.going([7], known)                # ["* ESEARCH (TAG \"t5\") UID REMOVEFROM (0 7)"]
    keeping.changed(there, known, new)       # ["* ESEARCH (TAG \"t5\") UID ADDTO (0 12)"]

What the server cannot know at once it finds out later: such searches are C{pending} until C{evaluated}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from tests.imap.told import compact, runs

#: Data items of a new message, by UID.
Items = dict[int, set[str]]


@define(eq=False)
class Kept:
    """One search.

    @ivar match: asked with the UIDs that the client knows, one of them, and the message.
    @ivar order: by what the results are sorted, and whether in reverse; each criterion is a function of the message.
    @ivar items: of new messages.
    @ivar slow: whether the server has to ask for what it needs: texts, or values to sort by.
    @ivar uids: of the results as the client was told, in their order.
    @ivar values: by UID, what results are sorted by; of those that are gone, too.
    @ivar fresh: new messages that are still to be looked at.
    """

    tag: str
    uid: bool
    match: Callable[[Sequence[int], int, Any], bool]
    order: Sequence[tuple[Callable[[Any], Any], bool]] = ()
    items: Sequence[str] = ()
    slow: bool = False
    uids: list[int] = field(factory=list)
    values: dict[int, Sequence[Any]] = field(factory=dict)
    pending: bool = False
    fresh: set[int] = field(factory=set)

    def find(self, there: Mapping[int, Any], known: Sequence[int]) -> list[int]:
        """Results in their order; those that are gone stay until the client hears of it."""
        found = [u for u in known if (self.match(known, u, there[u]) if u in there else u in self.uids)]
        self.values.update((u, [of(there[u]) for of, _ in self.order]) for u in found if u in there)
        for at, (_, reverse) in reversed([*enumerate(self.order)]):
            found.sort(key=lambda u: self.values[u][at], reverse=reverse)
        return found

    def remove(self, gone: Iterable[int], known: Sequence[int]) -> list[str]:
        """Results are taken out."""
        out = [u for u in self.uids if u in set(gone)]
        if not out:
            return []
        told = [(0, sorted(out))] if not self.order else [*reversed(runs(self.uids, out))]
        self.uids = [u for u in self.uids if u not in out]
        return [self._line("REMOVEFROM", told, known)]

    def update(self, there: Mapping[int, Any], known: Sequence[int]) -> list[str]:
        """The results are those of a new search."""
        found = self.find(there, known)
        lines = self.remove(set(self.uids) - set(found), known)
        new = [u for u in found if u not in self.uids]
        self.uids = found
        if new:
            lines.append(self._line("ADDTO", runs(found, new) if self.order else [(0, new)], known))
        return lines

    def _line(self, word: str, told: Sequence[tuple[int, Sequence[int]]], known: Sequence[int]) -> str:
        pairs = [
            f"{at} {compact(uids if self.uid else [known.index(u) + 1 for u in uids], ordered=bool(self.order))}"
            for at, uids in told
        ]
        return f'* ESEARCH (TAG "{self.tag}"){" UID" * self.uid} {word} ({" ".join(pairs)})'


@define(eq=False)
class Keeping:
    """Those of one session, in the order of their commands."""

    all: list[Kept] = field(factory=list)

    @property
    def pending(self) -> bool:
        """Whether the server has something to find out."""
        return any(kept.pending for kept in self.all)

    def going(self, gone: Iterable[int], known: Sequence[int]) -> list[str]:
        """RFC 5267 section 4.3.4: before the client is told that messages are gone."""
        return [line for kept in self.all for line in kept.remove(gone, known)]

    def changed(
        self, there: Mapping[int, Any], known: Sequence[int], new: Sequence[int], fresh: Iterable[int]
    ) -> list[str]:
        """After it was told what else happened.

        @param new: messages that it was told of.
        @param fresh: those of them that the session did not make itself.
        """
        # RFC 5465 section 7: data items come before changes of any results.
        held = bool(new) and any(kept.items for kept in self.all)
        lines = []
        for kept in self.all:
            if held or kept.slow or kept.pending:
                kept.pending = True
                kept.fresh.update(fresh if kept.items else ())
            else:
                lines += kept.update(there, known)
        return lines

    def evaluated(self, there: Mapping[int, Any], known: Sequence[int]) -> tuple[list[str], list[str], Items]:
        """What is found out later: what is said at once, what with the data items, and which those are."""
        later = any(kept.fresh for kept in self.all)
        lines: list[str] = []
        items: Items = {}
        for kept in self.all:
            if kept.pending:
                before = set(kept.uids)
                lines += kept.update(there, known)
                for uid in kept.fresh & (set(kept.uids) - before):
                    items.setdefault(uid, set()).update(kept.items)
            kept.pending = False
            kept.fresh.clear()
        return ([], lines, items) if later else (lines, [], {})

    def cancel(self, tags: Iterable[str]) -> None:
        """CANCELUPDATE."""
        self.all = [kept for kept in self.all if kept.tag not in set(tags)]

    def give_up_numbers(self) -> list[str]:
        """After ENABLE UIDONLY no numbers may be told (RFC 9586 section 3), and RFC 5267 section 4.3.1 lets what tells them end."""
        lines = [f'* NO [NOUPDATE "{kept.tag}"]' for kept in self.all if not kept.uid]
        self.all = [kept for kept in self.all if kept.uid]
        return lines
