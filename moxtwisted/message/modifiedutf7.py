r"""Modified UTF-7: how names of mailboxes are written in US-ASCII, by IMAP4rev1 (RFC 3501 section 5.1.3) and by the folders of Maildir++.

Printable US-ASCII stands for itself, ``&`` is ``&-``, everything else is UTF-16 in a variant of BASE64 between ``&`` and ``-``::

    >>> encode("Entwürfe & Pläne")
    b'Entw&APw-rfe &- Pl&AOQ-ne'
    >>> decode(b"Entw&APw-rfe")
    'Entwürfe'

Each text has one encoding; ``decode`` takes no other.
"""

from __future__ import annotations

import binascii
import re

__all__ = ["ModifiedUTF7Error", "decode", "encode"]

_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_UNPRINTABLE = re.compile(r"(?:[^\x20-\x7e]+)|&")

_INVALID = "not valid modified UTF-7"
_NOT_CANONICAL = "not canonical modified UTF-7"


class ModifiedUTF7Error(ValueError):
    """The octets are no modified UTF-7, or not the one form that a text has; the argument says which."""


def _unshift(match: re.Match[bytes]) -> str:
    """The text of one ``&…-``."""
    code = match.group(1)
    if not code:
        return "&"
    try:
        octets = binascii.a2b_base64(code.replace(b",", b"/") + b"=" * (-len(code) % 4))
        text = octets.decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        raise ModifiedUTF7Error(_INVALID) from None
    # RFC 3501 section 5.1.3: BASE64 must not be used for what represents itself, so each name has one encoding;
    # comparing with our own encoding finds that, wrong padding bits and superfluous shifts inside one run.
    if encode(text) != match.group(0):
        raise ModifiedUTF7Error(_NOT_CANONICAL)
    return text


def decode(octets: bytes) -> str:
    """The text.

    :raise ModifiedUTF7Error: for octets outside US-ASCII, a shift that is not closed, or one that RFC 3501 section 5.1.3
        forbids.
    """
    if not octets.isascii():
        raise ModifiedUTF7Error(_INVALID)
    if b"&" not in octets:
        return octets.decode("ascii")
    parts: list[str] = []
    position = 0
    shifted_until = -1
    for match in _SHIFTED.finditer(octets):
        if match.start() == shifted_until and match.group(1):
            raise ModifiedUTF7Error(_NOT_CANONICAL)
        plain = octets[position : match.start()]
        if b"&" in plain:
            break
        parts.append(plain.decode("ascii"))
        parts.append(_unshift(match))
        position = match.end()
        shifted_until = position if match.group(1) else -1
    rest = octets[position:]
    if b"&" in rest:
        raise ModifiedUTF7Error(_INVALID)
    parts.append(rest.decode("ascii"))
    return "".join(parts)


def _shift(match: re.Match[str]) -> str:
    text = match.group()
    if text == "&":
        return "&-"
    code = binascii.b2a_base64(text.encode("utf-16-be"), newline=False).rstrip(b"=").replace(b"/", b",")
    return f"&{code.decode('ascii')}-"


def encode(text: str) -> bytes:
    """The octets; always printable US-ASCII."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text.encode("ascii")
    return _UNPRINTABLE.sub(_shift, text).encode("ascii")
