"""Base64 as SMTP AUTH and IMAP AUTHENTICATE carry SASL messages.

::

    decode_response(b"AG1qbABzZWNyZXQ=")     # b'\\0mjl\\0secret'
    decode_response(b"=", initial=True)      # b'', an empty initial response (RFC 4954 section 4)
    decode_response(b"*")                    # None: the peer cancels
    encode_challenge(b"")                    # b''
"""

from __future__ import annotations

import binascii

from moxtwisted.errors import MailError
from moxtwisted.sasl.exchange import MAX_MESSAGE_OCTETS

__all__ = ["MAX_LINE_OCTETS", "WireError", "decode_response", "encode_challenge", "encode_initial"]

MAX_LINE_OCTETS = (MAX_MESSAGE_OCTETS + 2) // 3 * 4
"""Longest base64 text that can hold an allowed message; the line limit of a protocol may be larger."""


class WireError(MailError):
    """A response that is not base64, or overlong; the exchange is to be aborted."""

    reply_code = 501
    enhanced_code = "5.5.2"
    public_text = "invalid base64"


def decode_response(line: bytes, *, initial: bool = False) -> bytes | None:
    """Decode a response line (without its line end).

    :param initial: whether it stood in the command itself, where ``=`` means an empty response and ``*`` has no
        meaning.
    :return: the octets; ``None`` when the peer cancels.
    :raise WireError: when it is not base64.
    """
    if line == b"*" and not initial:
        return None
    if line == b"=" and initial:
        return b""
    if len(line) > MAX_LINE_OCTETS:
        raise WireError("response too long")
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        # not chained: the exception of binascii is harmless, but the line may hold a password
        raise WireError("response is not base64") from None


def encode_challenge(data: bytes) -> bytes:
    """Base64 without line end."""
    return binascii.b2a_base64(data, newline=False)


def encode_initial(data: bytes | None) -> bytes:
    """A client's initial response as it stands after the mechanism name: ``b""`` for none, ``b"="`` for an empty one."""
    if data is None:
        return b""
    return encode_challenge(data) or b"="
