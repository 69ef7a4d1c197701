"""What a searching command was answered with: its results, what changed in them meanwhile, and news that have nothing to do with it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from attrs import define, evolve, field

from moxtwisted.imap.client.machine import Completed
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.returnoptions import ReturnOption, update_of

__all__ = ["Answers", "answers_of", "asks_updates", "joined"]


def asks_updates(option: str | ReturnOption) -> bool:
    """Whether this is UPDATE, with data items or without."""
    return option.upper().startswith("UPDATE") if isinstance(option, str) else update_of([option]) is not None


def _refuses_updates(response: r.Response, tag: bytes) -> bool:
    """RFC 5267 section 4.3.1: the results of this search are not kept up to date."""
    code = response.code if isinstance(response, r.StatusResponse) else None
    return code is not None and code.value == r.NoUpdate(tag)


@define
class Answers:
    """What a searching command was answered with.

    :ivar found: results.
    :ivar told: ESEARCH responses with changes of these, and the changes.
    :ivar rest: news.
    :ivar updated: whether the results are kept up to date.
    """

    updated: bool
    found: list[Any] = field(factory=list)
    told: list[r.Response] = field(factory=list)
    changes: list[r.ContextChange] = field(factory=list)
    rest: list[r.Response] = field(factory=list)


def answers_of(
    done: Completed, wanted: tuple[type[r.Response], ...], returns: Sequence[str | ReturnOption] | None
) -> Answers:
    """Sort out what came while a searching command was under way.

    :param wanted: types of responses that are results.
    :param returns: what the command asked for.
    """
    answers = Answers(any(asks_updates(option) for option in returns or ()))
    for response in done.responses:
        if isinstance(response, r.EsearchData) and response.tag == done.tag and response.changes:
            answers.told.append(response)
            answers.changes += response.changes
        elif isinstance(response, r.EsearchData) and response.tag not in {None, done.tag}:
            answers.rest.append(response)
        elif isinstance(response, wanted):
            answers.found.append(response)
        elif _refuses_updates(response, done.tag):
            answers.updated = False
        else:
            answers.rest.append(response)
    return answers


def joined(found: Sequence[Any]) -> Any:
    """One answer to a search: some servers list the numbers in several SEARCH responses. ESEARCH is one (RFC 9051 section 6.4.4).

    :param found: one at least.
    """
    last = found[-1]
    if len(found) == 1 or isinstance(last, r.EsearchData):
        return last
    parts = [one for one in found if type(one) is type(last)]
    modseqs = [one.modseq for one in parts if one.modseq is not None]
    numbers = tuple(chain.from_iterable(one.numbers for one in parts))
    return evolve(last, numbers=numbers, modseq=max(modseqs, default=None))
