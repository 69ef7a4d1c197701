"""Who wrote a message, by an address field that every program reads alike.

::

    authors(b'"Boss, the" <alice@example.org> (at work)')     # [HeaderAddress(b'Boss, the', b'alice', b'example.org')]
    authors(b'(") boss@client.example (") <alice@example.org>')   # None

Programs differ in what they make of unbalanced comments and strings, of quotes in comments and of a second address in front of
the brackets. Whoever may send as himself only could let others see another author so: a field that is not plain is None.
One pass over the octets for each way of reading.
"""

from __future__ import annotations

import re
from typing import Final

from moxtwisted.message.addresslist import HeaderAddress, mailboxes
from moxtwisted.message.headers import unfold

__all__ = ["authors", "without_comments"]

#: Comments within comments; mail has none.
_COMMENT_DEPTH: Final = 10
# Possessive: what is taken is not given back, so one pass is linear. A string left open does not match as a string.
_PIECE: Final = re.compile(
    rb'(?P<string>"(?:[^"\\]++|\\.)*+")|(?P<plain>[^"()\[\]\\@]++)|(?P<pair>\\.)|(?P<other>.)', re.DOTALL
)
_IN_COMMENT: Final = re.compile(rb'[^"()\\]++|\\.|.', re.DOTALL)
# RFC 5322 section 2.2: header fields have no controls but the tab, once they are unfolded.
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def authors(value: bytes) -> list[HeaderAddress] | None:
    """The addresses of an address field, groups dissolved; None when programs may differ about them.

    :param value: as it stands behind the colon; the caller bounds it.
    """
    value = unfold(value)
    if _CONTROL.search(value):
        return None
    read = without_comments(value)
    # RFC 5322 section 3.2.2: a quote within a comment is a character like any other; some programs see a string begin there.
    if read is None or read != without_comments(value, strings_in_comments=True):
        return None
    plain, ats = read
    found = mailboxes(plain)
    # RFC 5322 section 3.2.5: a display name has no @, so there are as many as addresses.
    return found if ats == len(found) or not found else None


def without_comments(value: bytes, *, strings_in_comments: bool = False) -> tuple[bytes, int] | None:
    """A structured value with a space for each comment, and how many @ stand outside of quoted strings in it.

    :param value: unfolded.
    :param strings_in_comments: take a quote within a comment for the beginning of a quoted string.
    :returns: None when a string or a comment is not closed, comments are nested too deep, a backslash or closing parenthesis
        stands where it means nothing, or strings or comments stand beside square brackets, within which they may not count.
    """
    out: list[bytes] = []
    ats = 0
    bracketed = hiding = False
    position, end = 0, len(value)
    while position < end:
        piece = _PIECE.match(value, position)
        if piece is None:
            return None
        position = piece.end()
        text = piece[0]
        if piece["plain"] is not None or piece["string"] is not None:
            out.append(text)
            hiding = hiding or piece["string"] is not None
        elif text in b"@[]":
            ats += text == b"@"
            bracketed = bracketed or text != b"@"
            out.append(text)
        elif text == b"(":
            behind = _behind_comment(value, position, strings=strings_in_comments)
            if behind is None:
                return None
            position = behind
            hiding = True
            out.append(b" ")
        else:
            return None
    return None if bracketed and hiding else (b"".join(out), ats)


def _behind_comment(value: bytes, position: int, *, strings: bool) -> int | None:
    """Where a comment ends whose opening parenthesis was read."""
    depth, end = 1, len(value)
    while position < end:
        piece = (_PIECE if strings and value[position : position + 1] == b'"' else _IN_COMMENT).match(
            value, position
        )
        if piece is None:
            return None
        position = piece.end()
        text = piece[0]
        if text == b"(":
            depth += 1
            if depth > _COMMENT_DEPTH:
                return None
        elif text == b")":
            depth -= 1
            if depth == 0:
                return position
        elif text == b'"' and strings:
            return None  # left open
    return None
