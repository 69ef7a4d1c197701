"""Transfer encodings undone piece by piece: for BINARY (RFC 3516, RFC 9051 section 6.4.5), and for what is attached to reports.

::

    b"".join(decoded(pieces_of_base64, "base64"))
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Final

from moxtwisted.message.text import decode_transfer

__all__ = ["ENCODINGS", "decoded"]

ENCODINGS: Final = frozenset(("7bit", "8bit", "binary", "quoted-printable", "base64"))
"""What can be undone; RFC 9051 section 6.4.5: for others a NO with UNKNOWN-CTE."""

_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]+")
# The longest line of quoted-printable that is held back to see its end (RFC 2045 section 6.7 allows 76).
_HELD_BACK: Final = 4096


def decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The octets without their encoding, as far as it is in order; pieces may be empty.

    :param encoding: one of ``ENCODINGS``.
    """
    if encoding == "base64":
        return _base64(pieces)
    if encoding == "quoted-printable":
        return _quoted_printable(pieces)
    return iter(pieces)


def _base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        data = rest + _NOT_BASE64.sub(b"", piece)
        whole = len(data) // 4 * 4
        rest = data[whole:]
        yield binascii.a2b_base64(data[:whole])
    if len(rest) > 1:
        yield binascii.a2b_base64(rest + b"=" * (-len(rest) % 4))


def _quoted_printable(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        data = rest + piece
        end = data.rfind(b"\n") + 1
        if not end and len(data) <= _HELD_BACK:
            rest = data
            continue
        if not end:
            # No line end for long: cut where no escape is torn apart.
            cut = data.rfind(b"=", len(data) - 3)
            end = len(data) if cut < 0 else cut
        rest = data[end:]
        yield decode_transfer(data[:end], "quoted-printable")
    if rest:
        yield decode_transfer(rest, "quoted-printable")
