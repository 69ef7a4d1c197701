"""Organisational domains (RFC 7489 section 3.2), by the public suffix list that comes with the library ``publicsuffixlist``.

::

    organizational_domain("mail.example.co.uk")    # "example.co.uk"
    public_suffix("mail.example.co.uk")            # "co.uk"

Names are A-labels in lower case without the last dot. A top-level domain that the list does not have is a public suffix.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

from publicsuffixlist import PSLFILE, PublicSuffixList

__all__ = ["organizational_domain", "public_suffix"]


@cache
def _suffixes(international: bool) -> PublicSuffixList:
    # Read when it is first needed, and in two parts: the library turns each of 10,000 rules into A-labels, which takes three quarters
    # of the time, and a rule with U-labels says nothing of a name without A-labels.
    octets = Path(PSLFILE).read_bytes()
    lines = [line for line in octets.split(b"\n") if line and not line.startswith(b"//")]
    if international:
        return PublicSuffixList(lines)
    return PublicSuffixList([line for line in lines if line.isascii()], accept_encoded_idn=False)


def _suffixes_for(domain: str) -> PublicSuffixList:
    return _suffixes("xn--" in domain or not domain.isascii())


@lru_cache(4096)
def organizational_domain(domain: str) -> str:
    """The part of a name that somebody registered; of a public suffix, itself."""
    return _suffixes_for(domain).privatesuffix(domain) or domain


@lru_cache(1024)
def public_suffix(domain: str) -> str:
    """What of a name is a public suffix; all of it, if it is one."""
    return _suffixes_for(domain).publicsuffix(domain) or domain
