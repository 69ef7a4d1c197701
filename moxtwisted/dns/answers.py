"""What a question to the DNS comes to, and who can be asked.

::

    answer = await resolver.lookup("example.org", "MX")
    answer.exists                               # False: there is no such name
    [(mx.preference, mx.exchange) for mx in answer.records]
    answer.security is Security.SECURE          # proved by DNSSEC

An answer without records is an answer: that a name or a type is not there is told by ``exists`` and an empty tuple. When no answer can be
had, or one that is wrong, ``NoAnswerError`` is raised; it is always temporary, because the next try may go better.
"""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum
from typing import Any

from attrs import frozen
from zope.interface import Interface

from moxtwisted.errors import MailError

__all__ = ["Answer", "BogusError", "IResolver", "NoAnswerError", "Security"]


class Security(Enum):
    """RFC 4035 section 4.3: what DNSSEC says of an answer (bogus ones are errors)."""

    SECURE = "secure"
    INSECURE = "insecure"
    INDETERMINATE = "indeterminate"


@frozen
class Answer:
    """Records, or that there are none.

    :ivar name: what was asked for, as a name in presentation form without the last dot, in lower case, IDNA A-labels.
    :ivar rrtype: the type asked for, as ``"MX"``.
    :ivar records: by type: ``str`` for A, AAAA (address), CNAME, NS, PTR (name without the last dot); ``bytes`` for TXT (the
        strings of one record joined); for others an object with the fields of the RFC (``MX``: preference, exchange; ``TLSA``:
        usage, selector, matching_type, data; …). Not in any order.
    :ivar canonical_name: where the chain of CNAME records ended; the name itself without one.
    :ivar exists: False when the name does not exist (NXDOMAIN).
    :ivar security: SECURE only if every record of the chain, or its absence, was proved.
    :ivar ttl_seconds: how long it may be kept.
    """

    name: str
    rrtype: str
    records: tuple[Any, ...]
    canonical_name: str
    exists: bool
    security: Security
    ttl_seconds: int


class NoAnswerError(MailError):
    """No server gave a usable answer: time-out, SERVFAIL, REFUSED, nonsense, a loop.

    :ivar name: what was asked for.
    :ivar rrtype: its type.
    :ivar reason: what went wrong, without these.
    """

    reply_code = 451
    enhanced_code = "4.4.3"

    def __init__(self, name: str, rrtype: str, detail: str) -> None:
        self.name, self.rrtype, self.reason = name, rrtype, detail
        super().__init__(f"DNS: {rrtype} {name}: {detail}", public_text="DNS lookup failed, try again later")


class BogusError(NoAnswerError):
    """The answer should be signed and is not, or wrongly (RFC 4035 section 4.3)."""


class IResolver(Interface):
    """Somebody who can be asked."""

    def lookup(name: str, rrtype: str) -> Awaitable[Answer]:
        """The records of a type at a name; CNAMEs are followed.

        :param name: presentation form, A-labels or UTF-8, with or without the last dot; for PTR use ``reverse_name``.
        :param rrtype: ``"A"``, ``"TXT"``, …
        :raises NoAnswerError: (BogusError when DNSSEC refutes it.)
        """
