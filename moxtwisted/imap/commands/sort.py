r"""SORT and UID SORT (RFC 5256, RFC 5957), with their results as SORT or ESEARCH (RFC 5267 section 3).

::

    C: a1 UID SORT RETURN (PARTIAL 1:50) (REVERSE DATE) UTF-8 UNDELETED
    S: * ESEARCH (TAG "a1") UID PARTIAL (1:50 912,911,899,902)
    S: a1 OK SORT completed
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from moxtwisted.imap.commands.contexts import keep_updated
from moxtwisted.imap.commands.matching import Matching, is_fuzzy
from moxtwisted.imap.commands.messagelimit import concluded, cut_search
from moxtwisted.imap.commands.ordering import load_keys, take_turns
from moxtwisted.imap.commands.results import Results, answer
from moxtwisted.imap.commands.search import forget_saved, matches, prepare
from moxtwisted.imap.connection import Answer, Connection, RefusalError
from moxtwisted.imap.wire.commands import Sort
from moxtwisted.imap.wire.sortcriteria import SortCriterion, SortKey
from moxtwisted.message.stepsort import sort_in_steps

__all__ = ["ordered", "sort"]

_CAPABILITIES = {
    SortKey.DISPLAYFROM: "SORT=DISPLAY",
    SortKey.DISPLAYTO: "SORT=DISPLAY",
    SortKey.RELEVANCY: "SEARCH=FUZZY",
}


async def sort(connection: Connection, command: Sort) -> Answer:
    """SORT: search, then put in order what was found."""
    for criterion in command.criteria:
        if (needs := _CAPABILITIES.get(criterion.key)) and needs not in connection.offered:
            raise RefusalError(f"{criterion.key.value} is not available now", kind="BAD")
    if command.returns is not None and "ESORT" not in connection.offered:
        raise RefusalError("RETURN is not available with SORT now", kind="BAD")
    if any(criterion.key is SortKey.RELEVANCY for criterion in command.criteria) and not is_fuzzy(
        command.key
    ):
        # RFC 6203 section 6
        raise RefusalError("RELEVANCY without a FUZZY key", kind="BAD")
    modseq = prepare(connection, command, command.returns)
    matching = Matching(connection)
    cut = cut_search(connection, matching, command.key)
    try:
        found = await matches(connection, matching, command.key)
        order = await ordered(connection, matching, found, command.criteria)
    except BaseException:
        forget_saved(connection, command.returns)
        raise
    results = Results(command.tag, order, matching, command.uid, command.returns, b"SORT", modseq=modseq)
    answer(connection, results)
    await keep_updated(connection, results, command.key, command.criteria)
    return concluded(connection, cut, None, "SORT")


async def ordered(
    connection: Connection,
    matching: Matching,
    positions: Sequence[int],
    criteria: Sequence[SortCriterion],
) -> list[int]:
    """These positions (ascending) in the order of the criteria, without messages that went meanwhile."""
    keys = list(dict.fromkeys(criterion.key for criterion in criteria))
    there, values = await load_keys(connection, matching, positions, keys)
    order: list[int] = await take_turns(connection, _in_order(there, criteria, values))
    return order


def _in_order(
    positions: Sequence[int], criteria: Sequence[SortCriterion], values: dict[SortKey, list[Any]]
) -> Generator[None, None, list[int]]:
    """The positions in order. The last criterion is sorted by first: sorting is stable, also in reverse."""
    order = list(range(len(positions)))
    # RFC 5256 section 3: what is equal by all criteria stays in the order of the mailbox.
    for criterion in reversed(criteria):
        order = yield from sort_in_steps(order, values[criterion.key].__getitem__, reverse=criterion.reverse)
        yield
    found = [positions[at] for at in order]
    # The answer takes as long again.
    yield
    return found
