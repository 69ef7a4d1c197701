r"""What a searching command shall tell: the options behind RETURN (RFC 4466 section 2.6.1, RFC 9051 section 6.4.4).

::

    (MIN COUNT PARTIAL -1:-100)
      -> frozenset({SearchReturn.MIN, SearchReturn.COUNT, Partial(-1, -100)})

An option without an argument is a member of ``SearchReturn``; one with an argument is a class with a ``value`` of the same
kind, what the wire says. ``OPTIONS`` of ``moxtwisted.imap.wire.returngrammar`` has a reader for each word and ``CAPABILITIES`` what an
extension's option needs, so an extension adds to these, and to ``ITEMS`` of ``moxtwisted.imap.commands.results`` what it answers.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from enum import Enum
from typing import Final

from attrs import frozen

from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.lexer import Cursor
from moxtwisted.imap.wire.sequence import MAX_NUMBER

__all__ = [
    "CAPABILITIES",
    "Partial",
    "ReturnOption",
    "ReturnOptions",
    "SearchReturn",
    "Update",
    "partial_of",
    "partial_range",
    "saves",
    "unavailable",
    "update_of",
]


class SearchReturn(Enum):
    """Result options without an argument (RFC 9051 section 6.4.4 and extensions)."""

    MIN = "MIN"
    MAX = "MAX"
    ALL = "ALL"
    COUNT = "COUNT"
    SAVE = "SAVE"
    CONTEXT = "CONTEXT"
    """RFC 5267 section 4.2: a hint that more of the same will follow."""
    UPDATE = "UPDATE"
    """RFC 5267 section 4.3: tell how the results change."""
    RELEVANCY = "RELEVANCY"
    """RFC 6203 section 4: how relevant each result is."""


@frozen
class Partial:
    """PARTIAL (RFC 9394 section 3.1): a window on the results.

    :ivar first: 1 is the first result, -1 the last one; never 0.
    :ivar last: of the same sign; may be before ``first``, which means the same window.
    :raise ValueError: for anything else.
    """

    first: int
    last: int

    def __attrs_post_init__(self) -> None:
        if self.first * self.last <= 0 or max(abs(self.first), abs(self.last)) > MAX_NUMBER:
            raise ValueError("a window on results is from 1, or from -1")

    @property
    def range(self) -> str:
        """As on the wire, ``-1:-100``: responses repeat it as it was asked."""
        return f"{self.first}:{self.last}"

    @property
    def value(self) -> str:
        """The option as on the wire."""
        return f"PARTIAL {self.range}"

    def window(self, count: int) -> tuple[int, int]:
        """Which of ``count`` results these are, as a half-open range of indexes."""
        # RFC 9394 section 4: 500:400 is the same as 400:500.
        low, high = sorted((abs(self.first), abs(self.last)))
        if self.first < 0:
            low, high = count + 1 - high, count + 1 - low
        return min(max(low - 1, 0), count), min(max(high, 0), count)


@frozen
class Update:
    """UPDATE with data items (RFC 5465 section 7): tell how the results change, and these items of new messages among them.

    :ivar attributes: one or more; without any it is ``SearchReturn.UPDATE``.
    """

    attributes: tuple[FetchAttribute, ...]

    @property
    def value(self) -> str:
        """The option as on the wire."""
        return f"UPDATE ({b' '.join(item.request() for item in self.attributes).decode()})"


ReturnOption = SearchReturn | Partial | Update
ReturnOptions = frozenset[ReturnOption]


def partial_range(cursor: Cursor) -> Partial:
    """``SP partial-range`` (RFC 9394 section 4), at the space."""
    cursor.space()
    sign = -1 if cursor.skip(b"-") else 1
    first = cursor.number(least=1)
    cursor.expect(b":-" if sign < 0 else b":", "a range of results")
    return Partial(sign * first, sign * cursor.number(least=1))


CAPABILITIES: Final[dict[SearchReturn | type[Partial | Update], tuple[str, ...]]] = {
    # RFC 5267 section 4.4 has PARTIAL too, without the negative numbers.
    Partial: ("PARTIAL", "CONTEXT=SEARCH", "CONTEXT=SORT"),
    SearchReturn.RELEVANCY: ("SEARCH=FUZZY",),
    SearchReturn.CONTEXT: ("CONTEXT=SEARCH", "CONTEXT=SORT"),
    SearchReturn.UPDATE: ("CONTEXT=SEARCH", "CONTEXT=SORT"),
    # RFC 5465 section 7: and NOTIFY, which has to be there with one of the others.
    Update: ("CONTEXT=SEARCH", "CONTEXT=SORT"),
}
"""By option, or its class: capabilities of which one must be on offer. Those of ESEARCH itself need none."""


def partial_of(options: Collection[ReturnOption]) -> Partial | None:
    """The PARTIAL among them."""
    return next((option for option in options if isinstance(option, Partial)), None)


def update_of(options: Collection[ReturnOption] | None) -> tuple[FetchAttribute, ...] | None:
    """The data items of UPDATE, perhaps none; None when the results are not to be kept up to date."""
    for option in options or ():
        if isinstance(option, Update):
            return option.attributes
        if option is SearchReturn.UPDATE:
            return ()
    return None


def saves(options: Collection[ReturnOption] | None) -> bool:
    """Whether the result is to be kept as ``$`` (RFC 9051 section 6.4.4.1)."""
    return SearchReturn.SAVE in (options or ())


def unavailable(options: Collection[ReturnOption], capabilities: Container[str]) -> str | None:
    """An option, as the wire says it, whose capability is not among these; None when all may be used."""
    for option in options:
        needs = CAPABILITIES.get(option if isinstance(option, SearchReturn) else type(option))
        if needs and not any(name in capabilities for name in needs):
            return option.value
    return None
