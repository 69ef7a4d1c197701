"""REPLACE and UID REPLACE (RFC 8508 section 5): APPEND with a message's number in front.

What stands before the mailbox is read here, the rest as with APPEND::

    a1 REPLACE 4 Drafts (\\Seen \\Draft) {312}        replaced -> 4
    a2 UID REPLACE * Drafts {350}                    replaced -> STAR
"""

from __future__ import annotations

import re

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire.appendgrammar import CatenateBegin, append_text
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.sequence import STAR

__all__ = [
    "announces_replacement",
    "replace_without_message",
    "replaced",
    "uid_replace_without_message",
]

_COMMAND = re.compile(rb"[^ ]++ (?:UID )?REPLACE ", re.IGNORECASE)
_UID_REPLACE = re.compile(rb" REPLACE(?= )", re.IGNORECASE)


def announces_replacement(line: bytes) -> bool:
    """Whether a command's first line is of REPLACE or UID REPLACE."""
    return _COMMAND.match(line) is not None


def replaced(cursor: Cursor, *, uid: bool) -> int:
    """The number of the message that goes; the cursor is behind REPLACE, with ``uid`` behind UID."""
    if uid:
        cursor.scan(_UID_REPLACE, "REPLACE")
    cursor.space()
    if cursor.skip(b"*"):
        return STAR
    return cursor.number(least=1)


def replace_without_message(tag: bytes, cursor: Cursor) -> c.Command:
    """Reached only when the command ended before its message."""
    return _of_urls(tag, cursor, uid=False)


def _of_urls(tag: bytes, cursor: Cursor, *, uid: bool) -> c.Command:
    """All of the message is put together of URLs."""
    if uid:
        cursor.space()
        number = STAR if cursor.skip(b"*") else cursor.number(least=1)
    else:
        number = replaced(cursor, uid=False)
    found = append_text(cursor, first=True, catenating=False, literal=False)
    if found is None or found.mailbox is None:
        raise CommandError("expected a message as a literal")
    if sum(isinstance(step, CatenateBegin) for step in found.steps) > 1:
        raise CommandError("one message only")
    return c.Replace(tag, number, found.mailbox, None, uid, tuple(found.steps))


def uid_replace_without_message(tag: bytes, cursor: Cursor) -> c.Command:
    """As ``replace_without_message``, behind UID REPLACE."""
    return _of_urls(tag, cursor, uid=True)
