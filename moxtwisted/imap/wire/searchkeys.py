r"""The search program as a tree of small values (RFC 9051 section 6.4.4 and the extensions).

What the wire spells in a dozen ways is one class here: ``SEEN``, ``UNSEEN``, ``KEYWORD x`` and ``UNKEYWORD x``
are all ``HasFlag``, ``FROM``, ``SUBJECT`` and ``HEADER x`` are all ``HeaderContains``::

    OR UNSEEN FROM "smith" SINCE 1-Feb-2020
      -> And((Or(HasFlag("\Seen", False), HeaderContains("From", "smith")),
              InternalDate(Comparison.SINCE, date(2020, 2, 1))))

An evaluator walks the tree; its depth and number of keys were bounded by the parser.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from datetime import date
from enum import Enum
from typing import Final

from attrs import frozen

from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "And",
    "BodyContains",
    "Comparison",
    "EmailIdIs",
    "Everything",
    "Filter",
    "Fuzzy",
    "HasFlag",
    "HeaderContains",
    "InternalDate",
    "Larger",
    "ModSeqAtLeast",
    "Not",
    "NumberIn",
    "Older",
    "Or",
    "SaveDateSupported",
    "SavedDate",
    "SearchKey",
    "SentDate",
    "Smaller",
    "TextContains",
    "ThreadIdIs",
    "UidAfter",
    "UidBefore",
    "UidIn",
    "Younger",
    "is_filter_name",
    "names_numbers",
    "subkeys",
]

# RFC 5466 section 4: atom characters but "/".
_FILTER_NAME: Final = re.compile(r'[^\x00-\x20(){%*"\\\]/\x7f-\U0010ffff]+')


class Comparison(Enum):
    """How a date is compared, disregarding time and zone; the value is the wire's word."""

    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


@frozen
class SearchKey:
    """Base of all search keys."""


@frozen
class Everything(SearchKey):
    """ALL."""


@frozen
class And(SearchKey):
    """All of two or more keys: a list in the program or in parentheses.

    :ivar keys: in the client's order.
    """

    keys: tuple[SearchKey, ...]


@frozen
class Or(SearchKey):
    """OR: either key."""

    left: SearchKey
    right: SearchKey


@frozen
class Filter(SearchKey):
    """FILTER (RFC 5466): a program that the server keeps. It is replaced by that before anything is searched.

    :ivar name: an atom without ``/`` and ``]``.
    """

    name: str


@frozen
class Not(SearchKey):
    """NOT."""

    key: SearchKey


@frozen
class Fuzzy(SearchKey):
    """FUZZY (RFC 6203 section 3): the key may match what is nearly meant."""

    key: SearchKey


@frozen
class HasFlag(SearchKey):
    r"""ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, RECENT, KEYWORD and their opposites (NEW and OLD are put
    together).

    :ivar flag: a system flag as ``"\Seen"``, or a keyword as the client spelled it (case does not matter).
    :ivar present: whether the flag must be there or must not.
    """

    flag: str
    present: bool = True


@frozen
class HeaderContains(SearchKey):
    """BCC, CC, FROM, SUBJECT, TO, HEADER: a field of that name has the text in its (decoded) value.

    :ivar field: the field's name; case does not matter.
    :ivar text: case does not matter; empty matches every message that has the field.
    """

    field: str
    text: str


@frozen
class BodyContains(SearchKey):
    """BODY: the text is in the body."""

    text: str


@frozen
class TextContains(SearchKey):
    """TEXT: the text is in the header or in the body."""

    text: str


@frozen
class InternalDate(SearchKey):
    """BEFORE, ON, SINCE: by INTERNALDATE."""

    comparison: Comparison
    day: date


@frozen
class SentDate(SearchKey):
    """SENTBEFORE, SENTON, SENTSINCE: by the Date field."""

    comparison: Comparison
    day: date


@frozen
class SavedDate(SearchKey):
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514 section 4.3): by the time the message came into this mailbox."""

    comparison: Comparison
    day: date


@frozen
class SaveDateSupported(SearchKey):
    """SAVEDATESUPPORTED (RFC 8514 section 4.3): all messages if the mailbox keeps save dates, otherwise none."""


@frozen
class Younger(SearchKey):
    """YOUNGER (RFC 5032): INTERNALDATE is within the last ``seconds`` (at least 1)."""

    seconds: int


@frozen
class Older(SearchKey):
    """OLDER (RFC 5032): INTERNALDATE is ``seconds`` (at least 1) or more in the past."""

    seconds: int


@frozen
class Larger(SearchKey):
    """LARGER: RFC822.SIZE is above this number of octets."""

    octets: int


@frozen
class Smaller(SearchKey):
    """SMALLER: RFC822.SIZE is below this number of octets."""

    octets: int


@frozen
class UidIn(SearchKey):
    """UID: the UID is in the set (which may be ``$``)."""

    uids: SequenceSet


@frozen
class UidAfter(SearchKey):
    """UIDAFTER (RFC 9738 section 3.2): the UID is above this one."""

    uid: int


@frozen
class UidBefore(SearchKey):
    """UIDBEFORE (RFC 9738 section 3.2): the UID is below this one."""

    uid: int


@frozen
class NumberIn(SearchKey):
    """The sequence number is in the set (which may be ``$``); sequence numbers also in UID SEARCH."""

    numbers: SequenceSet


@frozen
class ModSeqAtLeast(SearchKey):
    r"""MODSEQ (RFC 7162 section 3.1.5): the mod-sequence is ``modseq`` or above.

    :ivar modseq: 0 to 2**63 - 1.
    :ivar entry: the metadata item named by the client (``"/flags/\\Draft"``) or empty; one mod-sequence per
        message
        is what we keep, which section 3.1.5 allows, so it is of no effect.
    :ivar entry_type: ``"all"``, ``"priv"``, ``"shared"`` or empty.
    """

    modseq: int
    entry: str = ""
    entry_type: str = ""


@frozen
class EmailIdIs(SearchKey):
    """EMAILID (RFC 8474 section 6)."""

    object_id: str


@frozen
class ThreadIdIs(SearchKey):
    """THREADID (RFC 8474 section 6)."""

    object_id: str


def subkeys(key: SearchKey) -> Generator[SearchKey, None, None]:
    """The key and all below it."""
    todo = [key]
    while todo:
        key = todo.pop()
        yield key
        match key:
            case And(keys):
                todo += keys
            case Or(left, right):
                todo += (left, right)
            case Not(inner) | Fuzzy(inner):
                todo.append(inner)


def names_numbers(key: SearchKey) -> bool:
    """Whether the program has sequence numbers in it."""
    return any(isinstance(sub, NumberIn) and not sub.numbers.saved for sub in subkeys(key))


def is_filter_name(name: str) -> bool:
    """Whether a filter may have this name; case does not matter in it."""
    return _FILTER_NAME.fullmatch(name) is not None
