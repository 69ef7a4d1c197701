r"""Searches that are kept under a name (RFC 5466): how the entry that holds one is called, and what stands in it.

::

    filter_entry("boss")                          # "/private/filters/values/boss"
    parse_filter(b'FROM "boss@example.com" UNSEEN')
      -> And((HeaderContains("From", "boss@example.com"), HasFlag("\\Seen", False)))
    render_filter(Younger(86400))                 # b"(YOUNGER 86400)"
"""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve

from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.request import RequestWriter, write_key
from moxtwisted.imap.wire.searchgrammar import SearchProgram
from moxtwisted.imap.wire.searchkeys import is_filter_name

__all__ = ["filter_entry", "filter_of", "is_filter_name", "parse_filter", "render_filter"]

_LITERAL: Final = re.compile(rb"~?\{([0-9]{1,10})\+?\}\r\n")
_ENTRY: Final = re.compile(r"/(?:private|shared)/filters/values/(.*)", re.DOTALL)


def filter_entry(name: str, *, shared: bool = False, description: bool = False) -> str:
    """The entry of the server's metadata that holds a filter, or what people shall read of it (RFC 5466 section 3.2).

    :param name: empty for the entry above all of them.
    """
    owner = "shared" if shared else "private"
    kind = "descriptions" if description else "values"
    return f"/{owner}/filters/{kind}{'/' if name else ''}{name.lower()}"


def filter_of(entry: str) -> str | None:
    """The filter that this entry holds the program of, or ``None``. No filter may have some of the names."""
    match = _ENTRY.fullmatch(entry)
    return match[1] if match is not None else None


def parse_filter(value: bytes) -> k.SearchKey:
    """The program that an entry holds.

    :raise CommandError: when it is none.
    """
    text: list[bytes] = []
    literals: list[bytes] = []
    at = 0
    while (match := _LITERAL.search(value, at)) is not None:
        size = int(match[1])
        text.append(value[at : match.end()])
        literals.append(value[match.end() : match.end() + size])
        at = match.end() + size
        if at > len(value):
            raise CommandError("literal is cut short")
    text.append(value[at:])
    # RFC 5466 section 3.2: strings are in UTF-8.
    cursor = Cursor(b"".join(text), 0, iter(literals), utf8=True)
    key = SearchProgram(cursor).keys()
    cursor.end()
    return key


_PLAIN: Final = (
    *(k.Everything, k.And, k.Or, k.Not, k.HasFlag, k.HeaderContains, k.BodyContains, k.TextContains),
    *(k.InternalDate, k.SentDate, k.Larger, k.Smaller, k.UidIn, k.NumberIn),
)
"""The keys of RFC 3501 section 6.4.4."""


def _marked(key: k.SearchKey) -> k.SearchKey:
    """RFC 5466 section 3.2: keys of extensions stand in parentheses, so that a client that does not know them can skip them."""
    match key:
        case k.And(keys):
            return k.And(tuple(map(_marked, keys)))
        case k.Or(left, right):
            return k.Or(_marked(left), _marked(right))
        case k.Not(inner):
            return k.Not(_marked(inner))
        case k.Fuzzy(inner):
            return k.And((evolve(key, key=_marked(inner)),))
    return key if isinstance(key, _PLAIN) else k.And((key,))


def render_filter(key: k.SearchKey) -> bytes:
    """What an entry holds; ``parse_filter`` makes the same program of it."""
    writer = RequestWriter(utf8=True)
    marked = _marked(key)
    for index, one in enumerate(
        marked.keys if isinstance(marked, k.And) and isinstance(key, k.And) else (marked,)
    ):
        writer.write(b" " if index else b"")
        write_key(writer, one)
    return b"".join(writer.finish()).removesuffix(b"\r\n")
