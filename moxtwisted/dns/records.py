"""What records say, for the types that mail needs; the fields have the names of their RFCs.

::

    MX(preference=10, exchange="mail.example.org")
    TLSA(usage=3, selector=1, matching_type=1, data=bytes(32))

A, AAAA, CNAME, NS and PTR are ``str``, TXT is ``bytes``; a type that nobody knows is an ``Opaque`` (RFC 3597). Names are in the form of
``names.normalise``: without the last dot, the root (the exchange of a null MX, RFC 7505) being ``"."``.
"""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import frozen

__all__ = [
    "CAA",
    "DNSKEY",
    "DS",
    "MX",
    "NAMES",
    "NSEC",
    "NSEC3",
    "RRSIG",
    "SOA",
    "SRV",
    "TLSA",
    "TYPES",
    "Opaque",
    "type_code",
    "type_name",
]

#: The types whose records are taken apart, by name (IANA, DNS parameters).
TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DNAME": 39, "OPT": 41, "DS": 43,
    "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3": 50, "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53, "SPF": 99, "CAA": 257,
}  # fmt: skip
NAMES = {code: name for name, code in TYPES.items()}

_NUMBERED = re.compile(r"TYPE[0-9]{1,5}\Z")

# RFC 6895 section 3.1: these ask for something else than a type of records.
_QUESTION_ONLY = frozenset((0, 41, *range(128, 256)))


@lru_cache(256)
def type_code(rrtype: str) -> int:
    """The number of a type that can be asked for; also of ``TYPE1234`` (RFC 3597 section 5).

    :raises ValueError: when it is none.
    """
    upper = rrtype.upper()
    code = TYPES.get(upper)
    if code is None and _NUMBERED.match(upper):
        code = int(upper[4:])
    if code is None or code in _QUESTION_ONLY or not 0 < code < 65536:
        raise ValueError(f"no type of records: {rrtype}")
    return code


def type_name(code: int) -> str:
    """The name of a type, ``TYPE1234`` for one without."""
    return NAMES.get(code) or f"TYPE{code}"


@frozen(order=True)
class MX:
    """RFC 1035 section 3.3.9: who takes mail; the lowest preference first."""

    preference: int
    exchange: str


@frozen
class SOA:
    """RFC 1035 section 3.3.13; times in seconds. ``minimum`` is the TTL of what is not there (RFC 2308 section 4)."""

    mname: str
    rname: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


@frozen(order=True)
class SRV:
    """RFC 2782: where a service is."""

    priority: int
    weight: int
    port: int
    target: str


@frozen
class TLSA:
    """RFC 6698 section 2.1: what the certificate of a server must be."""

    usage: int
    selector: int
    matching_type: int
    data: bytes


@frozen
class CAA:
    """RFC 8659 section 4.1: who may issue certificates."""

    flags: int
    tag: str
    value: bytes


@frozen
class DS:
    """RFC 4034 section 5.1: the digest of a key of the child zone."""

    key_tag: int
    algorithm: int
    digest_type: int
    digest: bytes


@frozen
class DNSKEY:
    """RFC 4034 section 2.1: a key of a zone."""

    flags: int
    protocol: int
    algorithm: int
    key: bytes


@frozen
class RRSIG:
    """RFC 4034 section 3.1: a signature over an RRset; times in seconds since 1970, modulo 2**32."""

    type_covered: int
    algorithm: int
    labels: int
    original_ttl: int
    expiration: int
    inception: int
    key_tag: int
    signer: str
    signature: bytes


@frozen
class NSEC:
    """RFC 4034 section 4.1: the next name of the zone, and the types at this one."""

    next_name: str
    types: frozenset[int]


@frozen
class NSEC3:
    """RFC 5155 section 3.1: the next hash of the zone, and the types at the name with this one. ``flags`` 1 is opt-out."""

    hash_algorithm: int
    flags: int
    iterations: int
    salt: bytes
    next_hash: bytes
    types: frozenset[int]


@frozen
class Opaque:
    """RFC 3597 section 3: the data of a type that is not known here, as they stand."""

    data: bytes
