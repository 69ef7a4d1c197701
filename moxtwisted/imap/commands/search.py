r"""SEARCH and UID SEARCH, with their results as SEARCH or ESEARCH, kept as ``$`` if wanted.

::

    C: a1 UID SEARCH RETURN (MIN COUNT) UNSEEN
    S: * ESEARCH (TAG "a1") UID MIN 7 COUNT 12
    S: a1 OK SEARCH completed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from moxtwisted.imap.commands.contexts import check_update, keep_updated
from moxtwisted.imap.commands.matching import Matching, has_text, is_fuzzy, matches, wants_modseq, weight
from moxtwisted.imap.commands.messagelimit import Cut, concluded, cut_search
from moxtwisted.imap.commands.results import Results, answer, check_returns
from moxtwisted.imap.connection import Answer, Connection, Handled, RefusalError
from moxtwisted.imap.wire.commands import Search, Sort, Thread
from moxtwisted.imap.wire.fetchattributes import ModSeq
from moxtwisted.imap.wire.returnoptions import ReturnOptions, SearchReturn, update_of
from moxtwisted.imap.wire.searchkeys import SearchKey

__all__ = ["forget_saved", "matches", "prepare", "search"]

# Up to so many messages a search that has no text condition is done in one go.
_AT_ONCE = 20_000
# The same times the keys of the program.
_STEPS_AT_ONCE = 60_000


class _Searching(Protocol):
    """What SEARCH and its relatives have in common."""

    @property
    def tag(self) -> bytes:
        """Of the command."""

    @property
    def key(self) -> SearchKey:
        """The program."""

    @property
    def charset(self) -> str | None:
        """Of its strings."""


def prepare(connection: Connection, command: _Searching, returns: ReturnOptions | None) -> bool:
    """What every searching command begins with.

    :return: whether its answer has a MODSEQ.
    :raise RefusalError: when it may not be said so.
    """
    _check_charset(connection, command)
    check_returns(connection, returns)
    check_update(connection, command.tag, returns)
    if is_fuzzy(command.key):
        if "SEARCH=FUZZY" not in connection.offered:
            raise RefusalError("FUZZY is not available now", kind="BAD")
    elif returns is not None and SearchReturn.RELEVANCY in returns:
        # RFC 6203 section 4: only with a FUZZY key.
        raise RefusalError("RELEVANCY without a FUZZY key", kind="BAD")
    modseq = wants_modseq(command.key)
    if modseq or ModSeq() in (update_of(returns) or ()):
        # RFC 7162 section 3.1: a SEARCH with MODSEQ enables CONDSTORE.
        connection.enable("CONDSTORE")
    return modseq


def _check_charset(connection: Connection, command: _Searching) -> None:
    """After UTF8=ACCEPT there is one charset.

    :raise RefusalError: BAD.
    """
    if command.charset is None or "UTF8=ACCEPT" not in connection.enabled:
        return
    if not isinstance(command, Sort | Thread):
        # RFC 9755 section 3: UTF-8 goes without saying, and CHARSET must not be said.
        raise RefusalError("no CHARSET after UTF8=ACCEPT", kind="BAD")
    if command.charset != "UTF-8":
        # RFC 9755 section 3: where a charset has to be said, it is UTF-8.
        raise RefusalError("no charset but UTF-8 after UTF8=ACCEPT", kind="BAD")


def search(connection: Connection, command: Search) -> Handled:
    """SEARCH: at once from memory and columns, or waiting for text conditions."""
    modseq = prepare(connection, command, command.returns)
    matching = Matching(connection)
    cut = cut_search(connection, matching, command.key)
    updated = update_of(command.returns) is not None
    count = len(matching.everything)
    long = count > _AT_ONCE or count * weight(command.key) > _STEPS_AT_ONCE
    if updated or long or has_text(command.key):
        return _waiting(connection, command, matching, cut, modseq=modseq)
    evaluation = matching.narrow(command.key, matching.everything)
    try:
        while True:
            next(evaluation)
    except StopIteration as end:
        answer(connection, _results(command, matching, end.value, modseq=modseq))
    return concluded(connection, cut, None, "SEARCH")


async def _waiting(
    connection: Connection, command: Search, matching: Matching, cut: Cut | None, *, modseq: bool
) -> Answer:
    try:
        found = await matches(connection, matching, command.key)
    except BaseException:
        forget_saved(connection, command.returns)
        raise
    await connection.give_way(len(found))
    results = _results(command, matching, found, modseq=modseq)
    answer(connection, results)
    await keep_updated(connection, results, command.key)
    return concluded(connection, cut, None, "SEARCH")


def _results(command: Search, matching: Matching, found: Sequence[int], *, modseq: bool) -> Results:
    return Results(command.tag, found, matching, command.uid, command.returns, modseq=modseq)


def forget_saved(connection: Connection, returns: ReturnOptions | None) -> None:
    """A command that should have saved its result failed."""
    if returns and SearchReturn.SAVE in returns:
        # RFC 9051 section 6.4.4.1: a search that fails with NO empties the saved result.
        connection.saved = ()
