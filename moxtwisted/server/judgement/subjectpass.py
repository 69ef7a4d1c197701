"""A pass for senders whose mail was taken for junk: with it in the subject, the next try gets through.

::

    token = make_pass(key, "bob@example.com", "alice@example.org", now)
    f"(pass:{token})"                                                        # what the sender is told to put into the subject
    has_pass("Re: hello (pass:…)", key, "bob@example.com", "alice@example.org", now, 43200.0)     # True

A pass is for one address in From and one address of ours, and good for some hours. It is a number for the time, in units of 256
seconds, and 12 octets of HMAC-SHA256 over all that, so nothing of it is kept here. It is only told where DMARC passed: then the sender is
who reads the refusal.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from itertools import islice
from typing import Final

__all__ = ["INSTRUCTION", "KEY_OCTETS", "has_pass", "make_pass", "might_have_pass"]

KEY_OCTETS: Final = 32
_MAC_OCTETS: Final = 12
_TIME_OCTETS: Final = 4
_UNIT_SECONDS: Final = 256
_PASS: Final = re.compile(r"\(pass:([A-Za-z0-9_-]{22})\)")
#: A subject that has more of them is not looked at further.
_MAX_PASSES: Final = 5

INSTRUCTION: Final = "your message looks like junk; if it is not, send it again with this text added to its subject: (pass:{token})"


def _mac(key: bytes, stamp: bytes, author: str, recipient: str) -> bytes:
    said = b"\0".join((b"subjectpass", author.lower().encode(), recipient.lower().encode()))
    return hmac.digest(key, stamp + said, "sha256")[:_MAC_OCTETS]


def make_pass(key: bytes, author: str, recipient: str, now: float) -> str:
    """A pass that begins now.

    :param key: secret.
    :param author: the address in From.
    :param recipient: an address of ours.
    """
    stamp = (int(now) // _UNIT_SECONDS).to_bytes(_TIME_OCTETS)
    octets = stamp + _mac(key, stamp, author, recipient)
    return base64.urlsafe_b64encode(octets).decode("ascii").rstrip("=")


def might_have_pass(subject: str) -> bool:
    """Whether the subject has something of that form."""
    return _PASS.search(subject) is not None


def has_pass(
    subject: str,
    key: bytes,
    author: str,
    recipient: str,
    now: float,
    period_seconds: float,
) -> bool:
    """Whether the subject has a pass of ours for these two that is still good."""
    return any(
        _good(m[1], key, author, recipient, now, period_seconds)
        for m in islice(_PASS.finditer(subject), _MAX_PASSES)
    )


def _good(token: str, key: bytes, author: str, recipient: str, now: float, period_seconds: float) -> bool:
    try:
        octets = base64.urlsafe_b64decode(token + "==")
    except binascii.Error:
        return False
    stamp, mac = octets[:_TIME_OCTETS], octets[_TIME_OCTETS:]
    if not hmac.compare_digest(mac, _mac(key, stamp, author, recipient)):
        return False
    age = now - int.from_bytes(stamp) * _UNIT_SECONDS
    return -_UNIT_SECONDS <= age <= period_seconds + _UNIT_SECONDS
