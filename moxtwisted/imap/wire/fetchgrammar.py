"""Reading the data items and modifiers of FETCH (RFC 9051 section 9, ``fetch``; RFC 7162; RFC 3516).

Clients ask for the same few lists of items all day: what follows the sequence set is looked up in a cache of parsed
lists first. A new item without arguments is one line in ``SIMPLE``; one with arguments, one function in ``_SECTIONS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from moxtwisted.imap.wire.commands import Fetch
from moxtwisted.imap.wire.fetchattributes import (
    ALL,
    FAST,
    FULL,
    SIMPLE,
    BinarySection,
    BinarySize,
    BodySection,
    FetchAttribute,
    Preview,
    SectionText,
)
from moxtwisted.imap.wire.lexer import MAX_NUMBER64, CommandError, Cursor
from moxtwisted.imap.wire.returnoptions import Partial, partial_range
from moxtwisted.imap.wire.sequence import MAX_NUMBER

__all__ = ["MAX_ATTRIBUTES", "MAX_HEADER_FIELDS", "MAX_PART_DEPTH", "fetch_arguments", "fetch_attributes"]

MAX_ATTRIBUTES = 500
"""The most data items of one FETCH (our choice: a client that fetches parts one by one asks for a few dozen)."""

MAX_HEADER_FIELDS = 500
"""The most field names of one section."""

MAX_PART_DEPTH = 100
"""The most numbers of a part path; no message that we accept is nested as deep."""

_CACHED_OCTETS = 400

_NAME = re.compile(rb"[A-Za-z0-9.]+")
_PART = re.compile(rb"[1-9][0-9]{0,9}(?>(?:\.[1-9][0-9]{0,9})*)")
_TEXT = re.compile(rb"HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME", re.IGNORECASE)
# RFC 8970 section 6: modifiers of PREVIEW. Other parentheses may follow a PREVIEW that stands alone: those of FETCH itself.
_LAZY = re.compile(rb" \(LAZY(?>(?: LAZY)*)\)", re.IGNORECASE)
_PARTIAL = re.compile(rb"<([0-9]{1,19})\.([1-9][0-9]{0,18})>")
_MACROS = {b"ALL": ALL, b"FAST": FAST, b"FULL": FULL}

Modifiers = tuple[int | None, bool, Partial | None]
Requested = tuple[tuple[FetchAttribute, ...], Modifiers]

_NO_MODIFIERS: Modifiers = (None, False, None)


def _part(cursor: Cursor) -> tuple[int, ...]:
    match = _PART.match(cursor.text, cursor.position)
    if match is None:
        return ()
    cursor.position = match.end()
    numbers = match.group().split(b".")
    if len(numbers) > MAX_PART_DEPTH:
        raise CommandError("part number is too deep")
    part = tuple(map(int, numbers))
    if max(part) > MAX_NUMBER:
        raise CommandError("part number is out of range")
    return part


def _partial(cursor: Cursor) -> tuple[int, int] | None:
    if not cursor.looking_at(b"<"):
        return None
    match = _PARTIAL.match(cursor.text, cursor.position)
    if match is None:
        raise CommandError("expected <offset.count>")
    cursor.position = match.end()
    offset, count = int(match.group(1)), int(match.group(2))
    if offset > MAX_NUMBER64 or count > MAX_NUMBER64:
        raise CommandError("number is out of range")
    return offset, count


def _header_fields(cursor: Cursor) -> tuple[str, ...]:
    """``header-list``: field names in parentheses."""
    cursor.expect(b" (", "a list of header fields")
    fields: list[str] = []
    while True:
        name = cursor.astring("a header field name")
        # RFC 5322 section 2.2: printable US-ASCII without a colon, also in internationalised headers (RFC 6532 section 3).
        # Refused here so that it can be echoed in the response.
        if not name.isascii():
            raise CommandError("not a header field name")
        field = name.decode("ascii")
        if not field or not field.isprintable() or ":" in field:
            raise CommandError("not a header field name")
        fields.append(field)
        if len(fields) > MAX_HEADER_FIELDS:
            raise CommandError("too many header fields")
        if cursor.skip(b")"):
            return tuple(fields)
        cursor.space()


def _body_section(cursor: Cursor, *, peek: bool) -> BodySection:
    part = _part(cursor)
    text: SectionText | None = None
    fields: tuple[str, ...] = ()
    if not part or cursor.skip(b"."):
        match = _TEXT.match(cursor.text, cursor.position)
        if match is not None:
            cursor.position = match.end()
            text = SectionText(match.group().decode("ascii").upper())
            # RFC 9051 section 9, section-spec: MIME belongs to a part, there is none of the message itself.
            if text is SectionText.MIME and not part:
                raise CommandError("MIME needs a part number")
            if text in {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}:
                fields = _header_fields(cursor)
        elif part:
            raise CommandError("expected HEADER, TEXT or MIME")
    cursor.expect(b"]", "the end of the section")
    return BodySection(part, text, fields, _partial(cursor), peek)


def _binary_section(cursor: Cursor, *, peek: bool) -> BinarySection:
    part = _part(cursor)
    cursor.expect(b"]", "a part number and ]")
    return BinarySection(part, _partial(cursor), peek)


def _binary_size(cursor: Cursor) -> BinarySize:
    part = _part(cursor)
    cursor.expect(b"]", "a part number and ]")
    return BinarySize(part)


_SECTIONS: dict[bytes, Callable[[Cursor], FetchAttribute]] = {
    b"BODY": lambda cursor: _body_section(cursor, peek=False),
    b"BODY.PEEK": lambda cursor: _body_section(cursor, peek=True),
    b"BINARY": lambda cursor: _binary_section(cursor, peek=False),
    b"BINARY.PEEK": lambda cursor: _binary_section(cursor, peek=True),
    b"BINARY.SIZE": _binary_size,
}


def _name(cursor: Cursor) -> bytes:
    match = _NAME.match(cursor.text, cursor.position)
    if match is None:
        raise CommandError("expected a data item")
    cursor.position = match.end()
    return match.group().upper()


def _attribute(cursor: Cursor, name: bytes) -> FetchAttribute:
    """The data item of that name, its section at the cursor."""
    if cursor.skip(b"["):
        section = _SECTIONS.get(name)
        if section is not None:
            return section(cursor)
    else:
        simple = SIMPLE.get(name)
        if simple is not None:
            return simple
        if name == b"PREVIEW":
            lazy = _LAZY.match(cursor.text, cursor.position)
            if lazy is not None:
                cursor.position = lazy.end()
            return Preview(lazy is not None)
    raise CommandError("unknown data item")


def fetch_attributes(cursor: Cursor) -> tuple[FetchAttribute, ...]:
    """A macro, one item, or a list of them."""
    if not cursor.skip(b"("):
        name = _name(cursor)
        macro = _MACROS.get(name)
        return macro if macro is not None else (_attribute(cursor, name),)
    found: list[FetchAttribute] = []
    while True:
        found.append(_attribute(cursor, _name(cursor)))
        if len(found) > MAX_ATTRIBUTES:
            raise CommandError("too many data items")
        if cursor.skip(b")"):
            return tuple(found)
        cursor.space()


def _modifiers(cursor: Cursor) -> Modifiers:
    """RFC 4466 section 2.4: modifiers in parentheses; CHANGEDSINCE and VANISHED are RFC 7162's, PARTIAL is RFC 9394's."""
    changed_since, vanished, partial = _NO_MODIFIERS
    cursor.expect(b"(", "fetch modifiers in parentheses")
    while True:
        name = cursor.keyword("a fetch modifier")
        if name == b"CHANGEDSINCE" and changed_since is None:
            cursor.space()
            # RFC 7162 section 7: CHANGEDSINCE takes a mod-sequence of at least 1.
            changed_since = cursor.number64(least=1)
        elif name == b"VANISHED" and not vanished:
            vanished = True
        elif name == b"PARTIAL" and partial is None:
            partial = partial_range(cursor)
        else:
            raise CommandError("unknown or repeated fetch modifier")
        if cursor.skip(b")"):
            return changed_since, vanished, partial
        cursor.space()


def _requested(cursor: Cursor) -> Requested:
    attributes = fetch_attributes(cursor)
    modifiers = _NO_MODIFIERS
    if not cursor.at_end():
        cursor.space()
        modifiers = _modifiers(cursor)
    cursor.end()
    return attributes, modifiers


@lru_cache(maxsize=256)
def _requested_cached(text: bytes) -> Requested:
    """What follows the set when it has no literals and only ASCII."""
    return _requested(Cursor(text))


def fetch_arguments(tag: bytes, cursor: Cursor, *, uid: bool = False) -> Fetch:
    """What follows FETCH or UID FETCH."""
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    rest = cursor.text[cursor.position :]
    if len(rest) <= _CACHED_OCTETS and b"\n" not in rest and rest.isascii():
        attributes, modifiers = _requested_cached(rest)
    else:
        attributes, modifiers = _requested(cursor)
    changed_since, vanished, partial = modifiers
    # RFC 7162 section 3.2.6: VANISHED is only allowed together with CHANGEDSINCE, in UID FETCH.
    if vanished and (changed_since is None or not uid):
        raise CommandError("VANISHED needs UID FETCH and CHANGEDSINCE")
    if partial is not None and not uid:
        raise CommandError("PARTIAL needs UID FETCH")
    return Fetch(tag, numbers, attributes, changed_since, vanished, uid, partial)
