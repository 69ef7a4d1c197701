r"""The answers of searching commands: SEARCH, SORT or ESEARCH responses, and what is kept as ``$``.

A command that found messages gives their positions in the order that it was asked for::

    answer(connection, Results(command.tag, positions, matching, uid=command.uid, returns=command.returns))

An ESEARCH response is put together by ``ITEMS``: for each result option a function that says what stands for it. An
extension adds its option there.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

from attrs import frozen

from moxtwisted.imap.commands.matching import Matching
from moxtwisted.imap.connection import Connection, RefusalError, Selected
from moxtwisted.imap.lines import Piece, in_pieces
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.decimals import decimals
from moxtwisted.imap.wire.mailboxname import canonical
from moxtwisted.imap.wire.returnoptions import (
    Partial,
    ReturnOption,
    ReturnOptions,
    SearchReturn,
    partial_of,
    unavailable,
)
from moxtwisted.imap.wire.sequence import PART, compact, compact_in_parts

__all__ = ["ITEMS", "Results", "answer", "check_returns", "esearch", "origin_of"]

_ALL: Final = frozenset({SearchReturn.ALL})


@frozen(eq=False)
class Results:
    """What a searching command found.

    :ivar tag: of the command.
    :ivar order: positions in the session's view, in the requested order; that of the mailbox for SEARCH.
    :ivar matching: the state of the mailbox that they belong to.
    :ivar uid: whether UIDs are told.
    :ivar returns: the result options; None without RETURN.
    :ivar word: of the response that is no ESEARCH.
    :ivar modseq: whether the answer has the highest mod-sequence (RFC 7162 section 3.1.5).
    :ivar origin: what stands behind the tag in the search correlator, with a space before it.
    """

    tag: bytes
    order: Sequence[int]
    matching: Matching
    uid: bool
    returns: ReturnOptions | None = None
    word: bytes = b"SEARCH"
    modseq: bool = False
    origin: bytes = b""

    def numbers(self, order: Sequence[int]) -> Sequence[int]:
        """These positions as the client is told of them."""
        if isinstance(order, range) and order.step == 1:
            # All of a range.
            first, end = order.start, order.stop
            return self.matching.uids[first:end] if self.uid else range(first + 1, end + 1)
        if self.uid:
            uids = self.matching.uids
            return [uids[i] for i in order]
        return [i + 1 for i in order]


def origin_of(connection: Connection, box: Selected) -> bytes:
    """The search correlators of a mailbox, behind the tag (RFC 7377 section 2.1)."""
    name = render.mailbox(canonical(box.name), utf8=connection.utf8)
    return b" MAILBOX %b UIDVALIDITY %d" % (name, box.mailbox.view.uidvalidity)


def check_returns(connection: Connection, returns: ReturnOptions | None) -> None:
    """Refuse options whose capability is not on offer."""
    option = unavailable(returns, connection.offered) if returns else None
    if option is not None:
        raise RefusalError(f"{option} is not available now", kind="BAD")


def answer(connection: Connection, results: Results) -> None:
    """Put the answer out, and keep ``$`` if that is wanted."""
    returns = results.returns
    if returns is not None and SearchReturn.SAVE in returns:
        uids = results.matching.uids
        connection.saved = array("I", sorted(uids[i] for i in _saved(results.order, returns)))
    if returns is None and not (connection.rev2 and results.word == b"SEARCH"):
        connection.tell(_plain(results))
    elif returns != frozenset({SearchReturn.SAVE}):
        # RFC 9051 section 6.4.4: IMAP4rev2 answers a SEARCH without RETURN as if it were RETURN (ALL).
        connection.tell(esearch(results))


def _plain(results: Results) -> list[Piece]:
    highest = _highest(results)
    tail = b" (MODSEQ %d)\r\n" % highest if highest else b"\r\n"
    return [b"* " + results.word, *in_pieces(_decimals, len(results.order), results, PART), tail]


def _decimals(results: Results, start: int, stop: int) -> bytes:
    found = results.numbers(results.order[start:stop])
    texts = decimals(found) if results.word == b"SEARCH" else map(str, found)
    return " ".join(["", *texts]).encode("ascii")


def esearch(results: Results) -> list[Piece]:
    """The ESEARCH response (RFC 9051 section 7.3.4)."""
    wanted = _ALL if results.returns is None else results.returns
    parts: list[Piece] = [b'* ESEARCH (TAG "%b"%b)' % (results.tag, results.origin)]
    if results.uid:
        parts.append(b" UID")
    for option, item in ITEMS.items():
        given = _given(option, wanted)
        if given is not None and (text := item(results, given)):
            parts += (b" ", text)
    highest = _highest(results)
    parts.append(b" MODSEQ %d\r\n" % highest if highest else b"\r\n")
    return parts


def _given(option: SearchReturn | type[Partial], wanted: ReturnOptions) -> ReturnOption | None:
    if isinstance(option, SearchReturn):
        return option if option in wanted else None
    return partial_of(wanted)


# -- items of ESEARCH ------------------------------------------------------------------------------------------------


def _min(results: Results, _option: ReturnOption) -> bytes:
    # RFC 9051 section 6.4.4: MIN, MAX and ALL are left out when nothing was found.
    return b"MIN %d" % results.numbers(results.order[:1])[0] if results.order else b""


def _max(results: Results, _option: ReturnOption) -> bytes:
    return b"MAX %d" % results.numbers(results.order[-1:])[0] if results.order else b""


def _all(results: Results, _option: ReturnOption) -> Piece:
    order = results.order
    if len(order) <= PART or (isinstance(order, range) and not results.uid):
        return b"ALL " + compact(results.numbers(order)) if order else b""
    return chain((b"ALL ",), compact_in_parts(lambda a, b: results.numbers(order[a:b]), len(order)))


def _partial(results: Results, option: ReturnOption) -> bytes:
    if not isinstance(option, Partial):
        return b""
    start, stop = option.window(len(results.order))
    # RFC 9394 section 3.1: the range as it was asked for, and NIL when nothing is in it.
    numbers = compact(results.numbers(results.order[start:stop])) or b"NIL"
    return b"PARTIAL (%b %b)" % (option.range.encode("ascii"), numbers)


def _count(results: Results, _option: ReturnOption) -> bytes:
    return b"COUNT %d" % len(results.order)


def _relevancy(results: Results, _option: ReturnOption) -> bytes:
    """RFC 6203 section 4: in the order of the results that are told."""
    order, partial = results.order, partial_of(results.returns or ())
    if partial is not None:
        start, stop = partial.window(len(order))
        order = order[start:stop]
    return b"RELEVANCY (%b)" % " ".join(map(str, results.matching.relevancy(order))).encode("ascii")


ITEMS: Final[dict[SearchReturn | type[Partial], Callable[[Results, ReturnOption], Piece]]] = {
    SearchReturn.MIN: _min,
    SearchReturn.MAX: _max,
    SearchReturn.ALL: _all,
    Partial: _partial,
    SearchReturn.COUNT: _count,
    SearchReturn.RELEVANCY: _relevancy,
}
"""By result option, in the order of the response: what stands for it, or nothing. SAVE has no item."""


# -- which messages count --------------------------------------------------------------------------------------------


def _told(order: Sequence[int], returns: ReturnOptions) -> list[int]:
    """The positions that MIN, MAX and PARTIAL tell, without repetitions."""
    told: dict[int, None] = {}
    if SearchReturn.MIN in returns:
        told.update(dict.fromkeys(order[:1]))
    if SearchReturn.MAX in returns:
        told.update(dict.fromkeys(order[-1:]))
    partial = partial_of(returns)
    if partial is not None:
        start, stop = partial.window(len(order))
        told.update(dict.fromkeys(order[start:stop]))
    return list(told)


def _selective(returns: ReturnOptions) -> bool:
    """Whether the options tell some messages only, and nothing of all."""
    if returns & {SearchReturn.ALL, SearchReturn.COUNT}:
        return False
    return bool(returns & {SearchReturn.MIN, SearchReturn.MAX}) or partial_of(returns) is not None


def _saved(order: Sequence[int], returns: ReturnOptions) -> Sequence[int]:
    # RFC 9051 section 6.4.4.4 and RFC 9394 section 3.2: with MIN, MAX or PARTIAL and neither ALL nor COUNT only
    # the messages told are saved.
    return _told(order, returns) if _selective(returns) else order


def _highest(results: Results) -> int:
    """The highest mod-sequence that the answer has, or 0."""
    if not results.modseq:
        return 0
    order, returns = results.order, results.returns
    if returns and _selective(returns):
        # RFC 7162 section 3.1.10: with MIN or MAX alone it is that of the messages told; so we do with PARTIAL.
        order = _told(order, returns)
    modseqs = results.matching.modseqs
    return max((modseqs[i] for i in order), default=0)
