"""Reading what a searching command shall tell: the options behind RETURN (RFC 4466 section 2.6.1, RFC 9051 section 6.4.4).

::

    return_options(Cursor(b"(MIN COUNT PARTIAL -1:-100)"))
      -> frozenset({SearchReturn.MIN, SearchReturn.COUNT, Partial(-1, -100)})
    return_options(Cursor(b"(UPDATE (UID FLAGS))"))
      -> frozenset({Update((Uid(), Flags()))})
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moxtwisted.imap.wire.fetchgrammar import fetch_attributes
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.returnoptions import (
    Partial,
    ReturnOption,
    ReturnOptions,
    SearchReturn,
    Update,
    partial_range,
)

__all__ = ["OPTIONS", "OptionReader", "return_options"]

OptionReader = Callable[[Cursor], ReturnOption]


def _plain(option: SearchReturn) -> OptionReader:
    return lambda _cursor: option


def _update(cursor: Cursor) -> ReturnOption:
    """``[[SP] "(" fetch-att *(SP fetch-att) ")"]``."""
    # RFC 5465 section 8 has no space there, the example of section 7 has one.
    if cursor.looking_at(b" ("):
        cursor.space()
    return Update(fetch_attributes(cursor)) if cursor.looking_at(b"(") else SearchReturn.UPDATE


OPTIONS: Final[dict[bytes, OptionReader]] = {
    **{option.value.encode("ascii"): _plain(option) for option in SearchReturn},
    b"PARTIAL": partial_range,
    b"UPDATE": _update,
}
"""A reader for each option, called with the cursor behind its word."""


def return_options(cursor: Cursor) -> ReturnOptions:
    """``search-return-opts`` behind ``RETURN SP``: a list in parentheses, maybe empty."""
    cursor.expect(b"(", "result options in parentheses")
    found: set[ReturnOption] = set()
    if not cursor.skip(b")"):
        while True:
            reader = OPTIONS.get(cursor.keyword("a result option"))
            if reader is None:
                raise CommandError("unknown result option")
            found.add(reader(cursor))
            if cursor.skip(b")"):
                break
            cursor.space()
    # RFC 9394 section 3.1: one PARTIAL, or one ALL, or neither.
    if sum(isinstance(option, Partial) or option is SearchReturn.ALL for option in found) > 1:
        raise CommandError("only one of PARTIAL and ALL, and once")
    if sum(isinstance(option, Update) or option is SearchReturn.UPDATE for option in found) > 1:
        raise CommandError("only one UPDATE")
    # RFC 9051 section 6.4.4: an empty list means ALL.
    return frozenset(found) or frozenset({SearchReturn.ALL})
