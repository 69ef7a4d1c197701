"""SMTP replies: a code, an enhanced status code and text.

A reply on the wire (RFC 5321 section 4.2, RFC 2034 for the enhanced code)::

    >>> Reply(250, "2.1.5", "recipient ok").wire()
    b'250 2.1.5 recipient ok\\r\\n'
    >>> Reply(250, "", ("mx.example", "PIPELINING")).wire()
    b'250-mx.example\\r\\n250 PIPELINING\\r\\n'

Whoever wants other octets on the wire (a test server, for one) subclasses L{Reply} and overrides L{Reply.wire};
the machine looks only at C{code} and C{close}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, field, frozen

from moxtwisted.errors import MailError

__all__ = ["RawReply", "Reply", "reply_for_error"]

#: RFC 5321 section 4.5.3.1.5: a reply line has at most 512 octets with code and CRLF. Longer text is folded into more lines.
REPLY_LINE_OCTETS = 512


def _text_lines(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


_to_lines: Callable[[Any], tuple[str, ...]] = _text_lines


@frozen
class Reply:
    """One reply.

    @ivar code: 200 to 599 (RFC 5321 section 4.2.1).
    @ivar enhanced: C{"2.1.5"} (RFC 3463), or empty: replies to EHLO/HELO, 220, 221 at greeting, 334, 354 have none (RFC 2034 section 4).
    @ivar lines: the text, a string or a sequence of lines, without CR, LF; non-ASCII text goes out as UTF-8 and is
        allowed only in a transaction with SMTPUTF8 (RFC 6531 section 3.6); see L{ascii}.
    @ivar close: whether the connection ends after this reply. 421 and 221 always close.
    """

    code: int
    enhanced: str = ""
    lines: tuple[str, ...] = field(default=("",), converter=_to_lines)
    close: bool = field(default=False, kw_only=True)
    _wire: bytes | None = field(default=None, init=False, eq=False, repr=False)

    @property
    def text(self) -> str:
        """The lines as one string."""
        return " ".join(self.lines)

    @property
    def positive(self) -> bool:
        """Whether this accepts: 2yz or 3yz."""
        return self.code < 400

    @property
    def temporary(self) -> bool:
        """Whether this is 4yz: the same command may succeed later."""
        return 400 <= self.code < 500

    def closing(self) -> Reply:
        """The same reply, after which the connection ends."""
        return evolve(self, close=True)

    def wire(self) -> bytes:
        """The octets to send, CRLF included. Computed once: constant replies cost nothing afterwards."""
        octets = self._wire
        if octets is None:
            octets = _encode(self)
            object.__setattr__(self, "_wire", octets)
        return octets


@frozen
class RawReply(Reply):
    """A reply whose octets are given literally: for servers that misbehave on purpose.

    @ivar octets: what goes out instead of an encoded reply; may be empty, malformed, or without line end.
    """

    octets: bytes = field(default=b"", kw_only=True)

    def wire(self) -> bytes:
        """The octets, untouched."""
        return self.octets


def _fold(line: str, room: int) -> list[bytes]:
    octets = line.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
    if len(octets) <= room:
        return [octets]
    pieces = []
    while octets:
        cut = len(octets) if len(octets) <= room else (octets.rfind(b" ", 1, room) + 1 or room)
        while cut < len(octets) and octets[cut] & 0xC0 == 0x80:  # never inside a UTF-8 character
            cut -= 1
        pieces.append(octets[:cut].rstrip(b" "))
        octets = octets[cut:]
    return pieces


def _encode(reply: Reply) -> bytes:
    enhanced = reply.enhanced.encode("ascii") + b" " if reply.enhanced else b""
    room = REPLY_LINE_OCTETS - 6 - len(enhanced)
    texts = [piece for line in reply.lines for piece in _fold(line, room)] or [b""]
    code = b"%03d" % reply.code
    # RFC 2034 section 4: the enhanced code is repeated on every line of a multi-line reply.
    out = [code + b"-" + enhanced + text for text in texts[:-1]]
    out.append(code + b" " + enhanced + texts[-1])
    return b"\r\n".join(out) + b"\r\n"


def reply_for_error(error: MailError) -> Reply:
    """The reply that a host's L{MailError} stands for; its C{detail} stays inside."""
    return Reply(error.reply_code, error.enhanced_code, error.public_text, close=error.reply_code == 421)
