"""What follows the names of the commands in ``moxtwisted.imap.wire.mailboxcommands``.

::

    READERS[b"SETMETADATA"](b"a1", Cursor(b' "" (/private/comment NIL)'))
      -> SetMetadata(b"a1", "", (("/private/comment", None),))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from moxtwisted.imap.wire import mailboxcommands as m
from moxtwisted.imap.wire.commands import Command
from moxtwisted.imap.wire.lexer import CommandError, Cursor

__all__ = [
    "MAX_ENTRIES",
    "MAX_VALUE_OCTETS",
    "READERS",
    "bracketed_entries",
    "entry_list",
    "entry_name",
    "value_too_large",
]

MAX_ENTRIES = 1000
"""The most entries of one command (our choice)."""

MAX_ENTRY_OCTETS = 512
"""The longest name of an entry (our choice)."""

MAX_VALUE_OCTETS = 65536
"""The largest value that can be set (our choice; RFC 5464 section 4.1 wants 1024 at least)."""

MAX_RESOURCES = 100
MAX_LANGUAGES = 100

# RFC 5464 section 3.2: no "*", "%", nor octets up to 0x19 or above 0x7f (we leave out all controls), no empty component.
_ENTRY: Final = re.compile(rb"/(?:private|shared)(?:/[^\x00-\x1f*%/\x7f-\xff]+)*", re.IGNORECASE)
_RANGE: Final = re.compile(rb"\*|[A-Za-z]{1,8}(?:-(?:\*|[A-Za-z0-9]{1,8}))*")


def value_too_large() -> CommandError:
    """RFC 5464 section 4.3: the refusal of a value has the largest that would do."""
    return CommandError("value is too large", f"METADATA MAXSIZE {MAX_VALUE_OCTETS}", "NO")


def entry_name(cursor: Cursor, *, whole: bool = False) -> str:
    """The name of an entry, in lower case.

    :param whole: whether it must be one that can have a value, not just the beginning of such names.
    """
    octets = cursor.astring("an entry name")
    if _ENTRY.fullmatch(octets) is None or len(octets) > MAX_ENTRY_OCTETS:
        raise CommandError("not the name of an entry")
    name = octets.decode("ascii").lower()
    parts = name.split("/")[1:]
    # RFC 5464 section 3.2: two components at least, four below the vendors' prefix.
    if whole and (len(parts) < 2 or (parts[1] == "vendor" and len(parts) < 4)):
        raise CommandError("the name of an entry needs more components")
    return name


def entry_list(cursor: Cursor) -> tuple[str, ...]:
    """``entries``: one name, or several in parentheses."""
    if not cursor.skip(b"("):
        # RFC 5464 section 5 has one name here; its examples in section 4.4.1 have several, so clients may.
        found = {entry_name(cursor): None}
        while cursor.skip(b" "):
            found[entry_name(cursor)] = None
            _check_count(len(found))
        return tuple(found)
    return bracketed_entries(cursor)


def bracketed_entries(cursor: Cursor) -> tuple[str, ...]:
    """Names of entries behind their opening parenthesis."""
    found: dict[str, None] = {}
    while True:
        found[entry_name(cursor)] = None
        _check_count(len(found))
        if cursor.skip(b")"):
            return tuple(found)
        cursor.space()


def _check_count(count: int) -> None:
    if count > MAX_ENTRIES:
        raise CommandError("too many entries", "LIMIT", "NO")


# -- METADATA --------------------------------------------------------------------------------------------------------


def _options(cursor: Cursor, found: dict[bytes, int | m.Depth]) -> None:
    """``getmetadata-options`` behind their opening parenthesis."""
    while True:
        name = cursor.keyword("an option")
        if name in found:
            raise CommandError("repeated option")
        cursor.space()
        if name == b"MAXSIZE":
            found[name] = cursor.number()
        elif name == b"DEPTH":
            try:
                found[name] = m.Depth(cursor.atom("a depth").decode("ascii").lower())
            except ValueError:
                raise CommandError("depth is 0, 1 or infinity") from None
        else:
            raise CommandError("unknown option")
        if cursor.skip(b")"):
            return
        cursor.space()


def _get_metadata(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    options: dict[bytes, int | m.Depth] = {}
    if cursor.skip(b"("):
        _options(cursor, options)
        cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    # RFC 5464 section 5 has the options before the mailbox, its examples have them behind: both are taken.
    if not options and cursor.text[cursor.position : cursor.position + 1] == b"(":
        following = cursor.text[cursor.position + 1 : cursor.position + 2]
        if following.isalpha():
            cursor.position += 1
            _options(cursor, options)
            cursor.space()
    entries = entry_list(cursor)
    cursor.end()
    size, depth = options.get(b"MAXSIZE"), options.get(b"DEPTH")
    return m.GetMetadata(
        tag,
        mailbox,
        entries,
        size if isinstance(size, int) else None,
        depth if isinstance(depth, m.Depth) else m.Depth.ZERO,
    )


def _set_metadata(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.expect(b" (", "entries and values in parentheses")
    values: dict[str, bytes | None] = {}
    while True:
        name = entry_name(cursor, whole=True)
        cursor.space()
        if name in values:
            raise CommandError("repeated entry")
        value = values[name] = cursor.nstring8("a value or NIL")
        if value is not None and len(value) > MAX_VALUE_OCTETS:
            raise value_too_large()
        _check_count(len(values))
        if cursor.skip(b")"):
            break
        cursor.space()
    cursor.end()
    return m.SetMetadata(tag, mailbox, tuple(values.items()))


# -- QUOTA -----------------------------------------------------------------------------------------------------------


def _get_quota(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    root = cursor.text_astring("quota root")
    cursor.end()
    return m.GetQuota(tag, root)


def _get_quota_root(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.end()
    return m.GetQuotaRoot(tag, mailbox)


def _set_quota(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    root = cursor.text_astring("quota root")
    cursor.expect(b" (", "limits in parentheses")
    limits: list[tuple[str, int]] = []
    while not cursor.skip(b")"):
        if limits:
            cursor.space()
        name = cursor.keyword("a resource").decode("ascii")
        cursor.space()
        limits.append((name, cursor.number64()))
        if len(limits) > MAX_RESOURCES:
            raise CommandError("too many resources")
    cursor.end()
    return m.SetQuota(tag, root, tuple(limits))


# -- LANGUAGE --------------------------------------------------------------------------------------------------------


def _language(tag: bytes, cursor: Cursor) -> Command:
    ranges: list[str] = []
    while not cursor.at_end():
        cursor.space()
        octets = cursor.astring("a language range")
        # RFC 4647 section 2.2; "default" and "i-default" have the same form.
        if _RANGE.fullmatch(octets) is None:
            raise CommandError("not a language range")
        ranges.append(octets.decode("ascii").lower())
        if len(ranges) > MAX_LANGUAGES:
            raise CommandError("too many languages")
    return m.Language(tag, tuple(ranges))


READERS: Mapping[bytes, Callable[[bytes, Cursor], Command]] = {
    b"GETMETADATA": _get_metadata,
    b"SETMETADATA": _set_metadata,
    b"GETQUOTA": _get_quota,
    b"GETQUOTAROOT": _get_quota_root,
    b"SETQUOTA": _set_quota,
    b"LANGUAGE": _language,
}
"""By the commands' names."""
