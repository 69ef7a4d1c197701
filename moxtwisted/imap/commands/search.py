r"""SEARCH and UID SEARCH, with their results as SEARCH or ESEARCH, kept as ``$`` if wanted.

::

    C: a1 UID SEARCH RETURN (MIN COUNT) UNSEEN
    S: * ESEARCH (TAG "a1") UID MIN 7 COUNT 12
    S: a1 OK SEARCH completed
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from moxtwisted.imap.commands.matching import Matching, has_text, wants_modseq
from moxtwisted.imap.connection import Answer, Connection, Handled, RefusalError
from moxtwisted.imap.wire.commands import Search, SearchReturn
from moxtwisted.imap.wire.sequence import compact

__all__ = ["search"]

# Up to so many messages a search that has no text condition is done in one go.
_AT_ONCE = 20_000


def search(connection: Connection, command: Search) -> Handled:
    """SEARCH: at once from memory and columns, or waiting for text conditions."""
    if command.charset is not None and "UTF8=ACCEPT" in connection.enabled:
        # RFC 9755 section 3: UTF-8 goes without saying, and CHARSET must not be said.
        raise RefusalError("no CHARSET after UTF8=ACCEPT", kind="BAD")
    modseq = wants_modseq(command.key)
    if modseq:
        # RFC 7162 section 3.1: a SEARCH with MODSEQ enables CONDSTORE.
        connection.enable("CONDSTORE")
    if has_text(command.key):
        return _waiting(connection, command)
    matching = Matching(connection)
    if len(matching.uids) > _AT_ONCE:
        return _waiting(connection, command)
    evaluation = matching.narrow(command.key, matching.everything)
    try:
        while True:
            next(evaluation)
    except StopIteration as end:
        found: Sequence[int] = end.value
        _answer(connection, command, matching, found)
    return None


async def _waiting(connection: Connection, command: Search) -> Answer:
    matching = Matching(connection)
    mailbox = connection.box.mailbox
    evaluation = matching.narrow(command.key, matching.everything)
    nothing: set[int] = set()
    try:
        question = next(evaluation)
        while True:
            if question is not None:
                found = await mailbox.search_text(question.term, question.uids)
            else:
                found = nothing
                if connection.pause is not None:
                    await connection.pause(0)
            question = evaluation.send(found)
    except StopIteration as end:
        _answer(connection, command, matching, end.value)
    except BaseException:
        if command.returns and SearchReturn.SAVE in command.returns:
            # RFC 9051 section 6.4.4.1: a search that fails with NO empties the saved result.
            connection.saved = ()
        raise
    return None


def _answer(connection: Connection, command: Search, matching: Matching, found: Sequence[int]) -> None:
    uids = matching.uids
    numbers = [uids[i] for i in found] if command.uid else [i + 1 for i in found]
    returns = command.returns
    highest = 0
    if wants_modseq(command.key) and found:
        highest = _highest(matching.modseqs, found, returns)
    if returns is not None and SearchReturn.SAVE in returns:
        connection.saved = _saved(array("I", [uids[i] for i in found]), returns)
    if returns is None and not connection.rev2:
        connection.out.append(_search(numbers, highest))
    elif returns != frozenset({SearchReturn.SAVE}):
        # RFC 9051 section 6.4.4: IMAP4rev2 answers a SEARCH without RETURN as if it were RETURN (ALL).
        wanted = frozenset({SearchReturn.ALL}) if returns is None else returns
        connection.out.append(_esearch(command, wanted, numbers, highest))


def _highest(modseqs: Sequence[int], found: Sequence[int], returns: frozenset[SearchReturn] | None) -> int:
    # RFC 7162 section 3.1.10: with MIN or MAX alone the MODSEQ is that of the messages told.
    only = {SearchReturn.MIN, SearchReturn.MAX}
    if returns and not returns - only - {SearchReturn.SAVE}:
        told = []
        if SearchReturn.MIN in returns:
            told.append(found[0])
        if SearchReturn.MAX in returns:
            told.append(found[-1])
        found = told or found
    return max(modseqs[i] for i in found)


def _saved(uids: Sequence[int], returns: frozenset[SearchReturn]) -> Sequence[int]:
    # RFC 9051 section 6.4.4.4: with MIN or MAX and neither ALL nor COUNT only these are saved.
    if not uids or returns & {SearchReturn.ALL, SearchReturn.COUNT} or returns == {SearchReturn.SAVE}:
        return uids
    kept = set()
    if SearchReturn.MIN in returns:
        kept.add(uids[0])
    if SearchReturn.MAX in returns:
        kept.add(uids[-1])
    return sorted(kept)


def _search(numbers: Sequence[int], highest: int) -> bytes:
    tail = b" (MODSEQ %d)" % highest if highest else b""
    return b"* SEARCH%b%b\r\n" % ("".join(map(" {}".format, numbers)).encode("ascii"), tail)


def _esearch(command: Search, wanted: frozenset[SearchReturn], numbers: Sequence[int], highest: int) -> bytes:
    parts = [b'* ESEARCH (TAG "%b")' % command.tag]
    if command.uid:
        parts.append(b"UID")
    if numbers:
        if SearchReturn.MIN in wanted:
            parts.append(b"MIN %d" % numbers[0])
        if SearchReturn.MAX in wanted:
            parts.append(b"MAX %d" % numbers[-1])
        if SearchReturn.ALL in wanted:
            parts.append(b"ALL " + compact(numbers))
    if SearchReturn.COUNT in wanted:
        parts.append(b"COUNT %d" % len(numbers))
    if highest:
        parts.append(b"MODSEQ %d" % highest)
    return b" ".join(parts) + b"\r\n"
