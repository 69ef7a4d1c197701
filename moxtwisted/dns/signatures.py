"""Signatures of record sets, checked (RFC 4035 section 5.3). The arithmetic is dnspython's; here is what may be tried, and how often.

::

    budget = Budget()
    signature = verify(signed_set(message.data, message.answer, "example", 15), zone_keys, now=clock.seconds(), budget=budget)

One who sends many keys with one tag and many signatures can make a validator compute for hours (CVE-2023-50387): so the work of a
lookup is limited, and running out of it is a failure of that answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import error as StructError  # noqa: N812  # its own name is error
from typing import Any, Final

from attrs import define, frozen

from moxtwisted.dns.message import Message, MessageError, Record, decode
from moxtwisted.dns.names import labels
from moxtwisted.dns.records import DS, RRSIG

__all__ = [
    "ALGORITHMS",
    "Budget",
    "BudgetError",
    "SignedSet",
    "ZoneKeys",
    "matching_keys",
    "read_keys",
    "seconds_left",
    "signed_set",
    "verify",
]

#: RFC 8624 section 3.1: RSA with SHA-256 and SHA-512, ECDSA P-256 and P-384, Ed25519, Ed448. A zone signed with others only is as
#: if it were not signed.
ALGORITHMS: Final = frozenset((8, 10, 13, 14, 15, 16))
#: SHA-256 and SHA-384. We do not take SHA-1 (1), which is broken for collisions.
DIGESTS: Final = frozenset((2, 4))

_RRSIG, _DNSKEY = 46, 48
_MAX_SIGNATURES: Final = 8
_MAX_KEYS: Final = 32
_MAX_SAME_TAG: Final = 4
_ZONE_KEY, _REVOKED = 0x0100, 0x0080


class BudgetError(Exception):
    """An answer wants more work than any honest one."""


@define
class Budget:
    """What one lookup may cost: a chain of five zones with a roll-over in each takes less than 30 signatures."""

    signatures: int = 60
    fetches: int = 80

    def spend_signature(self) -> None:
        """One more.

        :raises BudgetError: that was too many.
        """
        self.signatures -= 1
        if self.signatures < 0:
            raise BudgetError("too many signatures to check")

    def spend_fetch(self) -> None:
        """One more question.

        :raises BudgetError: that was too many.
        """
        self.fetches -= 1
        if self.fetches < 0:
            raise BudgetError("too many questions for one chain of trust")


@frozen
class SignedSet:
    """Records of a type at a name, and the signatures that cover them, as they stand in a message."""

    data: bytes
    name: str
    code: int
    records: tuple[Record, ...]
    signatures: tuple[tuple[Record, RRSIG], ...]

    @property
    def signers(self) -> list[str]:
        """Who signed, each once, in order."""
        return list(dict.fromkeys(signature.signer for _, signature in self.signatures))


@frozen
class ZoneKeys:
    """The keys of a zone, proved."""

    zone: str
    keys: tuple[Any, ...]


def signed_set(message: Message, section: Iterable[Record], name: str, code: int) -> SignedSet:
    """Gather a set and its signatures, at most eight.

    :raises MessageError: when a signature cannot be read.
    """
    records: list[Record] = []
    signatures: list[tuple[Record, RRSIG]] = []
    for record in section:
        if record.name != name:
            continue
        if record.code == code:
            records.append(record)
        elif record.code == _RRSIG and len(signatures) < _MAX_SIGNATURES:
            signature: RRSIG = decode(message.data, record)
            if signature.type_covered == code:
                signatures.append((record, signature))
    return SignedSet(message.data, name, code, tuple(records), tuple(signatures))


def _rdata(data: bytes, record: Record) -> Any:
    """The record as dnspython has it."""
    import dns.exception
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype

    try:
        code = dns.rdatatype.RdataType.make(record.code)
        return dns.rdata.from_wire(dns.rdataclass.IN, code, data, record.start, record.length)
    except (dns.exception.DNSException, ValueError, IndexError, StructError) as e:
        raise MessageError(f"bad data of type {record.code}: {e}") from e


def _name(name: str) -> Any:
    import dns.name

    return dns.name.Name([*labels(name), b""])


def read_keys(found: SignedSet) -> tuple[Any, ...]:
    """The keys of a DNSKEY set, in dnspython's form.

    :raises BudgetError: when there are more than 32.
    """
    if len(found.records) > _MAX_KEYS:
        raise BudgetError("too many keys")
    return tuple(_rdata(found.data, record) for record in found.records)


def matching_keys(zone: str, keys: Sequence[Any], digests: Sequence[DS]) -> tuple[Any, ...]:
    """The keys that the parent's digests are of (RFC 4035 section 5.2)."""
    import dns.dnssec
    from dns.dnssectypes import DSDigest

    found = []
    for key in keys:
        for digest in digests[:_MAX_KEYS]:
            if (
                digest.algorithm == key.algorithm
                and digest.digest_type in DIGESTS
                and digest.key_tag == dns.dnssec.key_id(key)
                and not key.flags & _REVOKED
            ):
                made = dns.dnssec.make_ds(
                    _name(zone),
                    key,
                    DSDigest.make(digest.digest_type),
                    policy=dns.dnssec.allow_all_policy,
                )
                if made.digest == digest.digest:
                    found.append(key)
                    break
    return tuple(found)


def verify(found: SignedSet, keys: ZoneKeys, *, now: float, budget: Budget) -> RRSIG | str:
    """Find a signature of the zone that is good.

    :param now: seconds since 1970.
    :returns: the signature, or why none is good.
    :raises BudgetError: when too much would have to be tried.
    """
    import dns.dnssec
    import dns.exception
    import dns.rdataset
    from cryptography.exceptions import UnsupportedAlgorithm

    detail = f"no signature by {keys.zone}"
    rdataset: Any = None
    for record, signature in found.signatures:
        if signature.signer != keys.zone or signature.algorithm not in ALGORITHMS:
            continue
        if (why := _out_of_date(signature, now)) or signature.labels > len(labels(found.name)):
            detail = why or "signature of a longer name"
            continue
        candidates = [
            key
            for key in keys.keys
            if key.algorithm == signature.algorithm and dns.dnssec.key_id(key) == signature.key_tag
        ]
        detail = f"no key {signature.key_tag}"
        for key in candidates[:_MAX_SAME_TAG]:
            budget.spend_signature()
            if rdataset is None:
                rdataset = dns.rdataset.from_rdata_list(0, [_rdata(found.data, one) for one in found.records])
            rrsig = _rdata(found.data, record)
            try:
                dns.dnssec.validate_rrsig(
                    (_name(found.name), rdataset),
                    rrsig,
                    {rrsig.signer: dns.rdataset.from_rdata_list(0, [key])},
                    now=rrsig.inception,
                    policy=dns.dnssec.allow_all_policy,
                )
            except (
                dns.exception.DNSException,
                UnsupportedAlgorithm,
                ValueError,
                IndexError,
                StructError,
            ) as e:
                detail = f"bad signature by key {signature.key_tag} ({type(e).__name__})"
                continue
            return signature
    return detail


def _out_of_date(signature: RRSIG, now: float) -> str:
    """RFC 4034 section 3.1.5: the times are compared by serial number arithmetic."""
    moment = int(now)
    if (signature.expiration - moment) % 2**32 >= 2**31:
        return "signature expired"
    if (moment - signature.inception) % 2**32 >= 2**31:
        return "signature not yet valid"
    return ""


def seconds_left(signature: RRSIG, now: float) -> int:
    """RFC 4035 section 5.3.3: how long a set may be kept because of its signature."""
    return min((signature.expiration - int(now)) % 2**32, signature.original_ttl)
