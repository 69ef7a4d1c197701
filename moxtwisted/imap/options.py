"""Which capability an option, a data item or a search key belongs to.

Whole commands are in ``moxtwisted.imap.states``. When the operator takes a capability away, from a listener or from an account, what it
added to other commands goes as well::

    missing(Fetch(b"a", numbers, (Preview(),)), offered)        # "PREVIEW", when that is not among the offered

The command is walked over, so that an extension only adds its classes, enum members and fields to the tables here. It costs nothing where
nothing was taken away.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from enum import Enum
from typing import Any, Final

import attrs

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import fetchattributes as f
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.returnoptions import Partial, SearchReturn, Update
from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = ["FIELDS", "KINDS", "MEMBERS", "SORTING", "missing"]

KINDS: Final[dict[type[Any], str]] = {
    c.QResync: "QRESYNC",
    f.ModSeq: "CONDSTORE",
    f.Preview: "PREVIEW",
    f.SaveDate: "SAVEDATE",
    f.EmailId: "OBJECTID",
    f.ThreadId: "OBJECTID",
    f.BinarySection: "BINARY",
    f.BinarySize: "BINARY",
    k.ModSeqAtLeast: "CONDSTORE",
    k.Younger: "WITHIN",
    k.Older: "WITHIN",
    k.SavedDate: "SAVEDATE",
    k.SaveDateSupported: "SAVEDATE",
    k.EmailIdIs: "OBJECTID",
    k.ThreadIdIs: "OBJECTID",
    k.Filter: "FILTERS",
    k.Fuzzy: "SEARCH=FUZZY",
    k.UidAfter: "UIDONLY",
    k.UidBefore: "UIDONLY",
    Update: "CONTEXT=SEARCH",
}
"""Values of these classes. For ``Partial`` see ``_windows``."""

MEMBERS: Final[dict[Enum, str]] = {
    c.StatusItem.SIZE: "STATUS=SIZE",
    c.StatusItem.HIGHESTMODSEQ: "CONDSTORE",
    c.StatusItem.MAILBOXID: "OBJECTID",
    c.StatusItem.APPENDLIMIT: "APPENDLIMIT",
    c.StatusItem.DELETED_STORAGE: "QUOTA=RES-STORAGE",
    c.ListSelection.SUBSCRIBED: "LIST-EXTENDED",
    c.ListSelection.REMOTE: "LIST-EXTENDED",
    c.ListSelection.RECURSIVEMATCH: "LIST-EXTENDED",
    c.ListReturn.SUBSCRIBED: "LIST-EXTENDED",
    c.ListReturn.CHILDREN: "LIST-EXTENDED",
    c.ListSelection.SPECIAL_USE: "SPECIAL-USE",
    c.ListReturn.SPECIAL_USE: "SPECIAL-USE",
    c.ListReturn.MYRIGHTS: "LIST-MYRIGHTS",
    SearchReturn.SAVE: "SEARCHRES",
    SearchReturn.CONTEXT: "CONTEXT=SEARCH",
    SearchReturn.UPDATE: "CONTEXT=SEARCH",
    SearchReturn.RELEVANCY: "SEARCH=FUZZY",
}
"""These options."""

SORTING: Final[dict[Enum | type[Any], str]] = {
    SearchReturn.CONTEXT: "CONTEXT=SORT",
    SearchReturn.UPDATE: "CONTEXT=SORT",
    Update: "CONTEXT=SORT",
}
"""What else these need in SORT."""

FIELDS: Final[dict[tuple[type[Any], str], str]] = {
    (c.Authenticate, "initial_response"): "SASL-IR",
    (c.Select, "condstore"): "CONDSTORE",
    (c.Create, "use"): "CREATE-SPECIAL-USE",
    (c.List, "extended"): "LIST-EXTENDED",
    (c.List, "status"): "LIST-STATUS",
    (c.List, "metadata"): "LIST-METADATA",
    (c.Search, "returns"): "ESEARCH",
    (c.Sort, "returns"): "ESORT",
    (c.Fetch, "changed_since"): "CONDSTORE",
    (c.Fetch, "vanished"): "QRESYNC",
    (c.Fetch, "partial"): "PARTIAL",
    (c.Store, "unchanged_since"): "CONDSTORE",
    (SequenceSet, "saved"): "SEARCHRES",
    (Update, "attributes"): "NOTIFY",
}
"""Fields of a class, when they have a value."""

# Where the walk ends: numbers, and what has no options in it.
_LEAVES: Final = (str, bytes, int, float)


def missing(command: Any, offered: Container[str]) -> str | None:
    """The first capability that the command makes use of and that is not on offer, or None.

    :param command: as read from the wire; its nesting and length are bounded by the reader.
    """
    return next((names[0] for names in _needed(command) if all(name not in offered for name in names)), None)


def _needed(value: Any) -> Iterator[tuple[str, ...]]:
    """Names of which one has to be on offer, again and again. Depth first, without recursion: a search may be nested deeply."""
    sorting = isinstance(value, c.Sort)
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value is None or isinstance(value, _LEAVES):
            continue
        if isinstance(value, Enum):
            if value in MEMBERS:
                yield (MEMBERS[value],)
            if sorting and value in SORTING:
                yield (SORTING[value],)
        elif isinstance(value, tuple | list | frozenset):
            waiting.extend(value)
        elif attrs.has(type(value)):
            kind = type(value)
            if kind in KINDS:
                yield (KINDS[kind],)
            if sorting and kind in SORTING:
                yield (SORTING[kind],)
            if kind is Partial:
                yield _windows(value, sorting=sorting)
            waiting.extend(_fields(value))
            for name in _conditions(kind):
                if _given(getattr(value, name)):
                    yield (FIELDS[kind, name],)


def _windows(asked: Partial, *, sorting: bool) -> tuple[str, ...]:
    """RFC 5267 section 4.4 has windows on results, too, but none from the end; RFC 9394 section 3.1 has both."""
    contexts = "CONTEXT=SORT" if sorting else "CONTEXT=SEARCH"
    return ("PARTIAL",) if asked.first < 0 else ("PARTIAL", contexts)


def _fields(value: Any) -> Iterable[Any]:
    if isinstance(value, SequenceSet):
        # Its ranges are numbers, perhaps many.
        return ()
    return [getattr(value, field.name) for field in attrs.fields(type(value))]


def _given(value: Any) -> bool:
    # The number 0 is a value, as in UNCHANGEDSINCE 0, though it equals False.
    return not (value is None or value is False or value in ((), frozenset()))


def _conditions(kind: type[Any]) -> list[str]:
    return [name for of, name in FIELDS if of is kind]
