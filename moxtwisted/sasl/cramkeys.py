"""The two MD5 states that CRAM-MD5 needs in place of a password.

HMAC-MD5 begins with one block made of the key and ``ipad``, and one made of the key and ``opad`` (RFC 2104
section 4). Who keeps the two chaining values after these blocks can compute any HMAC under the key without
keeping the key::

    contexts = cram_contexts(b"tanstaaftanstaaf")
    contexts.hmac(b"<1896.697170952@postoffice.reston.mci.net>").hex()
    # 'b913a602c7eda7a495b4e6e7334d3890'

They are worth as much as the password to somebody who wants to log in by CRAM-MD5, but not elsewhere.
``hashlib`` cannot continue from a chaining value, so the compression function of RFC 1321 is written out
here; a call costs about 0.1 ms, which is only paid by CRAM-MD5 logins.
"""

from __future__ import annotations

import hashlib
import math
import struct

import msgspec

__all__ = ["CramContexts", "cram_contexts"]

_INITIAL = struct.pack("<4I", 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_SINES = tuple(int(abs(math.sin(i + 1)) * 2**32) & 0xFFFFFFFF for i in range(64))
_SHIFTS = (7, 12, 17, 22) * 4 + (5, 9, 14, 20) * 4 + (4, 11, 16, 23) * 4 + (6, 10, 15, 21) * 4
_BLOCK = 64
_MAX_TEXT = 4096


def _compress(state: bytes, block: bytes) -> bytes:
    """One step of MD5 (RFC 1321 section 3.4): 16 octets of state and 64 octets of text to the next state."""
    a0, b0, c0, d0 = a, b, c, d = struct.unpack("<4I", state)
    words = struct.unpack("<16I", block)
    for i in range(64):
        if i < 16:
            f, g = (b & c) | (~b & d), i
        elif i < 32:
            f, g = (d & b) | (~d & c), (5 * i + 1) % 16
        elif i < 48:
            f, g = b ^ c ^ d, (3 * i + 5) % 16
        else:
            f, g = c ^ (b | (~d & 0xFFFFFFFF)), (7 * i) % 16
        f = (f + a + _SINES[i] + words[g]) & 0xFFFFFFFF
        a, d, c = d, c, b
        shift = _SHIFTS[i]
        b = (b + ((f << shift) | (f >> (32 - shift)))) & 0xFFFFFFFF
    mask = 0xFFFFFFFF
    return struct.pack("<4I", (a0 + a) & mask, (b0 + b) & mask, (c0 + c) & mask, (d0 + d) & mask)


def _finish(state: bytes, text: bytes) -> bytes:
    """The digest of one block (already in ``state``) followed by ``text``."""
    bits = (_BLOCK + len(text)) * 8
    padded = text + b"\x80" + bytes(-(len(text) + 9) % _BLOCK) + struct.pack("<Q", bits)
    for start in range(0, len(padded), _BLOCK):
        state = _compress(state, padded[start : start + _BLOCK])
    return state


class CramContexts(msgspec.Struct, frozen=True):
    """The MD5 chaining values after the ipad block and after the opad block, 16 octets each."""

    inner: bytes
    outer: bytes

    def __post_init__(self) -> None:
        if len(self.inner) != 16 or len(self.outer) != 16:
            raise ValueError("a CRAM-MD5 context has 16 octets")

    def hmac(self, text: bytes) -> bytes:
        """HMAC-MD5 of ``text`` under the password, 16 octets.

        :raise ValueError: when ``text`` is longer than 4096 octets; a challenge never is.
        """
        if len(text) > _MAX_TEXT:
            raise ValueError("text too long")
        return _finish(self.outer, _finish(self.inner, text))


def cram_contexts(key: bytes) -> CramContexts:
    """The contexts for a password.

    :param key: the prepared password in UTF-8.
    """
    if len(key) > _BLOCK:
        key = hashlib.md5(key, usedforsecurity=False).digest()
    key = key.ljust(_BLOCK, b"\0")
    return CramContexts(
        inner=_compress(_INITIAL, bytes(octet ^ 0x36 for octet in key)),
        outer=_compress(_INITIAL, bytes(octet ^ 0x5C for octet in key)),
    )
