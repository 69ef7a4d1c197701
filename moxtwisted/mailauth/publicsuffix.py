"""Organisational domains (RFC 7489 section 3.2), by the public suffix list that comes with the library ``publicsuffixlist``.

::

    organizational_domain("mail.example.co.uk")    # "example.co.uk"
    public_suffix("mail.example.co.uk")            # "co.uk"

Names are A-labels in lower case without the last dot. A top-level domain that the list does not have is a public suffix.
"""

from __future__ import annotations

from functools import cache, lru_cache

from publicsuffixlist import PublicSuffixList

__all__ = ["organizational_domain", "public_suffix"]


@cache
def _suffixes() -> PublicSuffixList:
    # Reading the list takes a tenth of a second, so it is not done on import.
    return PublicSuffixList()


@lru_cache(4096)
def organizational_domain(domain: str) -> str:
    """The part of a name that somebody registered; of a public suffix, itself."""
    return _suffixes().privatesuffix(domain) or domain


@lru_cache(1024)
def public_suffix(domain: str) -> str:
    """What of a name is a public suffix; all of it, if it is one."""
    return _suffixes().publicsuffix(domain) or domain
