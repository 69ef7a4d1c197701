r"""What a server says: status lines with response codes, and lines until a dot.

::

    >>> negative("nobody of that name", "AUTH")
    b'-ERR [AUTH] nobody of that name\r\n'
    >>> b"".join(stuffed(BytesBody(b".\r\nx")))
    b'..\r\nx\r\n.\r\n'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from moxtwisted.errors import MailError

__all__ = ["END", "lines", "negative", "positive", "response_code", "stuffed", "top"]

END: Final = b".\r\n"
#: RFC 2449 section 4: the first line of a reply with its line end.
_LINE_OCTETS: Final = 512
_LINES_AT_ONCE: Final = 1000


def _status(status: bytes, text: str) -> bytes:
    words = text.replace("\r", " ").replace("\n", " ").encode("ascii", "replace")
    return status + b" " + words[: _LINE_OCTETS - len(status) - 3] + b"\r\n"


def positive(text: str) -> bytes:
    """``+OK`` and a line."""
    return _status(b"+OK", text)


def negative(text: str, code: str = "") -> bytes:
    """``-ERR`` and a line.

    :param code: a response code without brackets, or empty.
    """
    # RFC 2449 section 6.4: only a response code begins with a bracket.
    return _status(b"-ERR", f"[{code}] {text}" if code else text.lstrip("["))


def response_code(error: MailError) -> str:
    """The response code for what a host raised: ``pop3_code`` when it has one."""
    code = getattr(error, "pop3_code", None)
    if code is not None:
        return str(code)
    # RFC 2449 section 8.1.2; RFC 3206 has the others: whether trying again later helps.
    if error.imap_code == "INUSE":
        return "IN-USE"
    return "SYS/TEMP" if error.temporary else "SYS/PERM"


def lines(rows: Iterable[str]) -> Iterator[bytes]:
    """A list until a dot, in pieces; no row begins with a dot."""
    block: list[str] = []
    for row in rows:
        block.append(row)
        if len(block) >= _LINES_AT_ONCE:
            yield "\r\n".join([*block, ""]).encode("ascii")
            block.clear()
    yield "\r\n".join([*block, ""]).encode("ascii") + END if block else END


def _stuff(piece: bytes, *, fresh: bool) -> bytes:
    # RFC 1939 section 3. A dot behind a lone LF is stuffed, too: some clients see the end of the message there.
    piece = piece.replace(b"\n.", b"\n..")
    return b"." + piece if fresh and piece.startswith(b".") else piece


def _end(tail: bytes) -> bytes:
    """The final dot, on a line of its own also behind a lone LF."""
    return END if tail == b"\r\n" else b"\r\n" + END


def stuffed(body: Any, piece_octets: int = 65536) -> Iterator[bytes]:
    """A message with its dots stuffed, and the final dot, in pieces.

    :param body: an ``IMessageBody``; it is closed at the end.
    :raise EOFError: it is shorter than it said.
    """
    fresh = True
    offset, tail = 0, b"\r\n"
    try:
        while offset < body.size:
            piece = body.read(offset, piece_octets)
            if not piece:
                raise EOFError("a message is shorter than it was")
            offset += len(piece)
            yield _stuff(piece, fresh=fresh)
            fresh = piece.endswith(b"\n")
            tail = (tail + piece[-2:])[-2:]
        yield _end(tail)
    finally:
        body.close()


def top(body: Any, count: int, piece_octets: int = 65536) -> Iterator[bytes]:
    """The header of a message, the empty line, and so many lines of its body; see ``stuffed``."""
    left = -1  # lines of the body that may still come; -1: we are in the header
    fresh, rest, offset = True, b"", 0  # whether rest, or what comes next, begins a line
    tail = b"\r\n"
    try:
        while left and offset < body.size:
            piece = body.read(offset, piece_octets)
            if not piece:
                raise EOFError("a message is shorter than it was")
            offset += len(piece)
            begins = fresh
            found = (rest + piece).split(b"\n")
            rest = found.pop()
            taken = []
            for line in found:
                if not left:
                    break
                taken.append(line + b"\n")
                if left > 0:
                    left -= 1
                elif fresh and line in {b"", b"\r"}:
                    left = count
                fresh = True
            if left and len(rest) > piece_octets:
                # A line without end goes out as it comes.
                taken.append(rest)
                rest, fresh = b"", False
            octets = b"".join(taken)
            tail = (tail + octets[-2:])[-2:]
            yield _stuff(octets, fresh=begins)
        if left and rest:
            tail = (tail + rest[-2:])[-2:]
            yield _stuff(rest, fresh=fresh)
        yield _end(tail)
    finally:
        body.close()
