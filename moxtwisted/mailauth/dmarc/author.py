"""Whose domain a message uses in From (RFC 7489 section 6.6.1).

::

    author = find_author(Header.parse(octets))
    author.domain, author.problem      # ("example.com", "")

Exactly one From field, whose addresses have one domain: everything else has a ``problem``, and a receiver does well to refuse it, since
any program may show any of the names.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from attrs import frozen

from moxtwisted.dns.names import BadNameError, normalise
from moxtwisted.message.addresslist import mailboxes
from moxtwisted.message.headers import Header, unfold

__all__ = ["MAX_OCTETS", "Author", "find_author"]

#: Of From: a longer one takes too long to look at, again for each recipient; nobody has so many authors.
MAX_OCTETS: Final = 16 * 1024
_REMEMBERED_OCTETS: Final = 256


@frozen
class Author:
    """The domain of From.

    :ivar domain: as A-labels; empty with a problem.
    :ivar problem: why there is none.
    """

    domain: str
    problem: str = ""


def find_author(header: Header) -> Author:
    """Look at the From field."""
    fields = header.values.get(b"from", [])
    if len(fields) != 1:
        return Author("", f"the message has {len(fields) or 'no'} From fields")
    value = fields[0]
    if len(value) <= _REMEMBERED_OCTETS:
        return _remembered(value)
    return _read(value) if len(value) <= MAX_OCTETS else Author("", "From is too long")


def _read(value: bytes) -> Author:
    found = mailboxes(unfold(value))
    if not found:
        return Author("", "From has no address")
    try:
        if len(found) == 1 and found[0].domain:
            return Author(normalise(found[0].domain.decode("utf-8")))
        domains = {normalise(address.domain.decode("utf-8")) for address in found if address.domain}
    except (BadNameError, UnicodeDecodeError):
        return Author("", "From has a domain that cannot be one")
    if len(domains) != 1 or not all(address.domain for address in found):
        # RFC 7489 section 6.6.1: several domains cannot be judged as one.
        return Author("", "From has addresses of several domains, or without one")
    return Author(domains.pop())


# The same authors write again and again.
_remembered = lru_cache(maxsize=1024)(_read)
