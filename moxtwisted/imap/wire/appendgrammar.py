r"""What stands between the literals of APPEND and REPLACE: RFC 9051, MULTIAPPEND (RFC 3502), CATENATE (RFC 4469).

The text up to the announcement of a literal, or to the end of the command, becomes steps and what the literal is::

    " Drafts (\Seen) CATENATE (URL /Drafts/;UID=20/;SECTION=HEADER TEXT "      followed by a literal
      -> AppendText("Drafts", (CatenateBegin((\Seen,), None), CatenateURL("/Drafts/;UID=20/;SECTION=HEADER")),
                    is_part=True, catenating=True)
    " URL /Drafts/;UID=20/;SECTION=1)"                                         followed by the end
      -> AppendText(None, (CatenateURL(…), CatenateEnd()))
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import define, field, frozen

from moxtwisted.imap.wire.lexer import CommandError, Cursor

__all__ = ["AppendText", "CatenateBegin", "CatenateEnd", "CatenateStep", "CatenateURL", "append_text"]

MAX_FLAGS: Final = 1000
MAX_STEPS: Final = 1000


@frozen
class CatenateBegin:
    """A message that is put together begins.

    :ivar flags: as in ``AppendMessage``.
    :ivar received: likewise.
    """

    flags: tuple[str, ...] = ()
    received: datetime | None = None


@frozen
class CatenateURL:
    """The octets that a URL stands for come next."""

    url: str


@frozen
class CatenateEnd:
    """The message is complete."""


CatenateStep = CatenateBegin | CatenateURL | CatenateEnd


@define
class AppendText:
    """What was read.

    :ivar mailbox: with the first text of the command.
    :ivar steps: what comes before the literal.
    :ivar flags: of the message that the literal is.
    :ivar received: likewise.
    :ivar utf8: whether it is wrapped in ``UTF8 (…)``.
    :ivar is_part: whether the literal is a part of a message that is put together.
    :ivar catenating: whether such a message is open behind the text.
    """

    mailbox: str | None = None
    steps: list[CatenateStep] = field(factory=list)
    flags: tuple[str, ...] = ()
    received: datetime | None = None
    utf8: bool = False
    is_part: bool = False
    catenating: bool = False


def append_text(cursor: Cursor, *, first: bool, catenating: bool, literal: bool) -> AppendText | None:
    """Read the text at the cursor, to its end.

    :param first: whether it begins with the mailbox.
    :param catenating: whether a message that is put together is open.
    :param literal: whether the announcement of a literal follows, or the end of the command.
    :return: ``None`` when the literal is an argument: the mailbox's name, or a URL.
    """
    found = AppendText(catenating=catenating)
    if first:
        cursor.space()
        if literal and cursor.at_end():
            return None
        found.mailbox = cursor.mailbox()
    if catenating and not _parts(cursor, found, literal=literal, begun=True):
        return None
    while not (found.is_part or (cursor.at_end() and not literal)):
        cursor.space()
        if not _prefix(cursor, found):
            if not literal:
                raise CommandError("expected a message as a literal")
            break
        if not _parts(cursor, found, literal=literal, begun=False):
            return None
    if first and not literal and not found.steps:
        raise CommandError("expected a message as a literal")
    cursor.end()
    return found


def _prefix(cursor: Cursor, found: AppendText) -> bool:
    """Flags and date of a message; whether it is put together of parts, which follow."""
    found.flags, found.received = (), None
    if cursor.looking_at(b"("):
        found.flags = cursor.flag_list()
        if len(found.flags) > MAX_FLAGS:
            raise CommandError("too many flags")
        cursor.space()
    if cursor.looking_at(b'"'):
        found.received = cursor.date_time()
        cursor.space()
    if cursor.at_end():
        return False
    word = cursor.keyword("a literal")
    if word == b"CATENATE":
        cursor.expect(b" (", "parts in parentheses")
        found.steps.append(CatenateBegin(found.flags, found.received))
        found.catenating = True
        return True
    # RFC 9755 section 4: append-data =/ "UTF8" SP "(" literal8 ")", only after UTF8=ACCEPT was enabled.
    if not cursor.utf8 or word != b"UTF8":
        raise CommandError("expected a literal")
    cursor.expect(b" (", "a literal in parentheses")
    found.utf8 = True
    return False


def _parts(cursor: Cursor, found: AppendText, *, literal: bool, begun: bool) -> bool:
    """Parts up to a literal or the closing parenthesis; false when the literal is a URL.

    :param begun: whether a part stands before the cursor.
    """
    while True:
        if begun and cursor.skip(b")"):
            found.steps.append(CatenateEnd())
            found.catenating = False
            return True
        if begun:
            cursor.space()
        begun = True
        word = cursor.keyword("TEXT or URL")
        cursor.space()
        if word == b"TEXT":
            if not (literal and cursor.at_end()):
                raise CommandError("expected a literal")
            found.is_part = True
            return True
        if word == b"UTF8" and cursor.utf8 and literal and cursor.skip(b"(") and cursor.at_end():
            # RFC 9755 section 4: cat-part =/ utf8-literal
            found.is_part = found.utf8 = True
            return True
        if word != b"URL":
            raise CommandError("expected TEXT or URL")
        if literal and cursor.at_end():
            return False
        found.steps.append(CatenateURL(cursor.text_astring("URL")))
        if len(found.steps) > MAX_STEPS:
            raise CommandError("too many parts", "TOOBIG")
