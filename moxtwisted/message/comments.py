"""Comments in structured fields (RFC 5322 section 3.2.2).

::

    without_comments(b"mx.example.org (our relay) ; none")      # b"mx.example.org   ; none"
    without_comments(b"a (b")                                   # None: it is not closed

Every pass is linear.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["without_comments"]

#: Comments within comments; mail has none.
_COMMENT_DEPTH: Final = 10
# Possessive: what is taken is not given back, so one pass is linear. A string left open does not match as a string.
_PIECE: Final = re.compile(
    rb'(?P<string>"(?>(?:[^"\\]++|\\.)*)")|(?P<plain>[^"()\\]++)|(?P<pair>\\.)|(?P<other>.)', re.DOTALL
)
_IN_COMMENT: Final = re.compile(rb'[^"()\\]++|\\.|.', re.DOTALL)


def without_comments(value: bytes, *, strings_in_comments: bool = False) -> bytes | None:
    """A structured value with a space for each comment.

    :param value: unfolded.
    :param strings_in_comments: take a quote within a comment for the beginning of a quoted string.
    :returns: None when a string or a comment is not closed, comments are nested too deep, or a backslash or closing parenthesis
        stands where it means nothing.
    """
    out: list[bytes] = []
    position, end = 0, len(value)
    while position < end:
        piece = _PIECE.match(value, position)
        if piece is None:
            return None
        position = piece.end()
        text = piece[0]
        if piece["plain"] is not None or piece["string"] is not None:
            out.append(text)
        elif text == b"(":
            behind = _behind_comment(value, position, strings=strings_in_comments)
            if behind is None:
                return None
            position = behind
            out.append(b" ")
        else:
            return None
    return b"".join(out)


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
