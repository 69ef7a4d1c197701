"""Reading SORT and THREAD (RFC 5256 section 5, with result options of RFC 5267 section 3)."""

from __future__ import annotations

from moxtwisted.imap.wire.commands import Sort, Thread
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.returngrammar import return_options
from moxtwisted.imap.wire.returnoptions import ReturnOptions, saves
from moxtwisted.imap.wire.searchgrammar import SearchProgram, search_charset
from moxtwisted.imap.wire.searchkeys import SearchKey
from moxtwisted.imap.wire.sortcriteria import SortCriterion, SortKey, ThreadAlgorithm

__all__ = ["MAX_CRITERIA", "sort_arguments", "thread_arguments"]

MAX_CRITERIA = 20
"""The most sort criteria (our choice; there are nine keys)."""

_KEYS = {key.value.encode("ascii"): key for key in SortKey}
_ALGORITHMS = {algorithm.value.encode("ascii"): algorithm for algorithm in ThreadAlgorithm}


def _criterion(cursor: Cursor) -> SortCriterion:
    word = cursor.keyword("a sort criterion")
    reverse = word == b"REVERSE"
    if reverse:
        cursor.space()
        word = cursor.keyword("a sort key")
    key = _KEYS.get(word)
    if key is None:
        raise CommandError("unknown sort key")
    return SortCriterion(key, reverse)


def _criteria(cursor: Cursor) -> tuple[SortCriterion, ...]:
    cursor.expect(b"(", "sort criteria in parentheses")
    found = [_criterion(cursor)]
    while cursor.skip(b" "):
        found.append(_criterion(cursor))
        if len(found) > MAX_CRITERIA:
            raise CommandError("too many sort criteria", "LIMIT", "NO")
    cursor.expect(b")", "a closing parenthesis")
    return tuple(found)


def _criteria_of_search(cursor: Cursor) -> tuple[str, SearchKey]:
    """``SP charset 1*(SP search-key)``: unlike in SEARCH, the charset must be said."""
    cursor.space()
    charset = search_charset(cursor)
    cursor.space()
    key = SearchProgram(cursor, charset).keys()
    cursor.end()
    return charset, key


def sort_arguments(tag: bytes, cursor: Cursor, *, uid: bool = False) -> Sort:
    """What follows SORT or UID SORT."""
    cursor.space()
    returns: ReturnOptions | None = None
    if cursor.text[cursor.position : cursor.position + 7].upper() == b"RETURN ":
        cursor.position += 7
        returns = return_options(cursor)
        cursor.space()
    try:
        criteria = _criteria(cursor)
        charset, key = _criteria_of_search(cursor)
    except CommandError as error:
        error.saving = saves(returns)
        raise
    return Sort(tag, criteria, key, returns, charset, uid)


def thread_arguments(tag: bytes, cursor: Cursor, *, uid: bool = False) -> Thread:
    """What follows THREAD or UID THREAD."""
    cursor.space()
    algorithm = _ALGORITHMS.get(cursor.keyword("a threading algorithm"))
    if algorithm is None:
        raise CommandError("unknown threading algorithm")
    charset, key = _criteria_of_search(cursor)
    return Thread(tag, algorithm, key, charset, uid)
