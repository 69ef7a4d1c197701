"""What verification found, on its way to another process.

::

    octets = write_verified(verified)
    verified = read_verified(octets)

Each result is octets of its own: those of the next message of a sender are mostly the same, and what was built of them then is built.

What does not cross, since nobody reads it who judges or stores:

* of a signature ``value``, ``body_hash``, ``signed_headers`` and its times; of its key record the key (an octet stands for it, none for a
  revoked one) and the notes;
* of SPF the chain of records, of DMARC the record;
* of ARC sets all but the instance, the domains and ``cv=``;
* of sealed results the comments;
* how long results hold (``ttl_seconds``).

Whoever comes to need one of them adds it here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final, TypeVar

from msgspec import Meta
from msgspec.msgpack import Decoder

from moxtwisted.dns.answers import Security
from moxtwisted.mailauth.arc import Chain, ChainReason, ChainStatus, SealedResults
from moxtwisted.mailauth.arcset import MAX_SETS, ArcMessageSignature, ArcSeal, ArcSet
from moxtwisted.mailauth.authres import MAX_RESULTS, AuthenticationResults, MethodResult, Property
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.record import KeyRecord
from moxtwisted.mailauth.dkim.signature import Signature
from moxtwisted.mailauth.dkim.verify import Reason, Risk, Status, Verification
from moxtwisted.mailauth.dmarc.author import Author
from moxtwisted.mailauth.dmarc.evaluation import DMARCResult
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.iprev import IPRevResult
from moxtwisted.mailauth.iprev import Verdict as IPRevVerdict
from moxtwisted.mailauth.spf.evaluation import Identity, SPFResult
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.server.receivers.packing import MOST, Shape, guarded, pack
from moxtwisted.server.verification.interfaces import Verified

__all__ = ["read_verified", "write_verified"]

_T = TypeVar("_T")
_Count = Annotated[int, Meta(ge=0)]
_IP = IPv4Address | IPv6Address

#: Octets of a result that is remembered, and how many are, of each kind.
_REMEMBERED_OCTETS: Final = 1024
_REMEMBERED: Final = 1024
#: Signatures of a message; the verifier looks at far fewer.
_MOST_SIGNATURES: Final = 1000
_IPV4_OCTETS: Final = 4
_IPV6_OCTETS: Final = 16


class _Verified(Shape):
    ip: bytes | None
    iprev: bytes | None
    spf: bytes | None
    helo_spf: bytes | None
    dkim: Annotated[list[bytes], Meta(max_length=_MOST_SIGNATURES)]
    arc: bytes | None
    author: tuple[str, str]
    dmarc: bytes | None
    sealed: bytes | None
    unconfirmed: list[str]
    organizational_domain: str
    from_validated: bool
    trace: bytes


_read_all: Final = Decoder(_Verified).decode


def write_verified(v: Verified) -> bytes:
    """Write what was found."""
    author = v.author
    plain = (
        None if v.ip is None else _ip_octets(v.ip),
        None if v.iprev is None else _iprev(v.iprev),
        None if v.spf is None else _spf(v.spf),
        None if v.helo_spf is None else _spf(v.helo_spf),
        [_dkim(one) for one in v.dkim],
        None if v.arc is None else _arc(v.arc),
        (author.domain, author.problem),
        None if v.dmarc is None else _dmarc(v.dmarc),
        None if v.sealed is None else _sealed(v.sealed),
        tuple(v.unconfirmed),
        v.organizational_domain,
        v.from_validated,
        v.trace,
    )
    return pack(plain)


@guarded
def read_verified(octets: bytes) -> Verified:
    """Read what ``write_verified`` wrote. :raises ShapeError:"""
    s = _read_all(octets)
    return Verified(
        ip=None if s.ip is None else _build_ip(s.ip),
        iprev=None if s.iprev is None else _build_iprev(s.iprev),
        spf=None if s.spf is None else _build_spf(s.spf),
        helo_spf=None if s.helo_spf is None else _build_spf(s.helo_spf),
        dkim=tuple([_build_dkim(one) for one in s.dkim]) if s.dkim else (),
        arc=None if s.arc is None else _build_arc(s.arc),
        author=Author(*s.author),
        dmarc=None if s.dmarc is None else _build_dmarc(s.dmarc),
        sealed=None if s.sealed is None else _build_sealed(s.sealed),
        unconfirmed=frozenset(s.unconfirmed),
        organizational_domain=s.organizational_domain,
        from_validated=s.from_validated,
        trace=s.trace,
    )


def _remembering(build: Callable[[bytes], _T]) -> Callable[[bytes], _T]:
    """The same object for the same octets. Nobody changes what is built here."""
    known = lru_cache(_REMEMBERED)(build)

    def built(octets: bytes) -> _T:
        return known(octets) if len(octets) <= _REMEMBERED_OCTETS else build(octets)

    return built


# -- addresses ---------------------------------------------------------------------------------------------------------


def _ip_octets(ip: _IP) -> bytes:
    octets = ip.packed
    if len(octets) == _IPV6_OCTETS and isinstance(ip, IPv6Address) and ip.scope_id:
        octets += ip.scope_id.encode()
    return octets


@_remembering
def _build_ip(octets: bytes) -> _IP:
    if len(octets) in (_IPV4_OCTETS, _IPV6_OCTETS):
        return ip_address(octets)
    return IPv6Address(f"{IPv6Address(octets[:_IPV6_OCTETS])}%{octets[_IPV6_OCTETS:].decode()}")


class _IPRev(Shape):
    verdict: IPRevVerdict
    ip: bytes
    name: str
    names: list[str]
    problem: str
    security: Security


_read_iprev: Final = Decoder(_IPRev).decode


def _iprev(r: IPRevResult) -> bytes:
    return pack((r.verdict, _ip_octets(r.ip), r.name, r.names, r.problem, r.security))


@_remembering
def _build_iprev(octets: bytes) -> IPRevResult:
    s = _read_iprev(octets)
    return IPRevResult(s.verdict, _build_ip(s.ip), s.name, tuple(s.names), s.problem, s.security)


# -- SPF ---------------------------------------------------------------------------------------------------------------


class _SPF(Shape):
    verdict: SPFVerdict
    identity: Identity
    domain: str
    sender: str
    ip: bytes
    helo: str
    mechanism: str
    explanation: str
    problem: str
    terms: _Count
    void_lookups: _Count
    security: Security


_read_spf: Final = Decoder(_SPF).decode


def _spf(r: SPFResult) -> bytes:
    return pack(
        (
            r.verdict, r.identity, r.domain, r.sender, _ip_octets(r.ip), r.helo, r.mechanism, r.explanation, r.problem,
            r.terms, r.void_lookups, r.security,
        )
    )  # fmt: skip


@_remembering
def _build_spf(octets: bytes) -> SPFResult:
    s = _read_spf(octets)
    return SPFResult(
        s.verdict, s.identity, s.domain, s.sender, _build_ip(s.ip), s.helo, s.mechanism, s.explanation, s.problem,
        terms=s.terms, void_lookups=s.void_lookups, security=s.security,
    )  # fmt: skip


# -- DKIM --------------------------------------------------------------------------------------------------------------


class _Signature(Shape):
    algorithm: str
    domain: str
    selector: str
    identity: str
    header_form: Canonicalization
    body_form: Canonicalization
    length: _Count | None


class _KeyRecord(Shape):
    kind: str
    hashes: list[str]
    services: list[str]
    flags: list[str]
    revoked: bool


class _DKIM(Shape):
    status: Status
    reason: Reason | None
    detail: str
    signature: _Signature | None
    record: _KeyRecord | None
    key_bits: _Count
    security: Security
    unsigned_octets: int
    risks: list[Risk]


_read_dkim: Final = Decoder(_DKIM).decode


def _dkim(v: Verification) -> bytes:
    signature, record = v.signature, v.record
    signed = None
    if signature is not None:
        form, length = signature.body_form
        if length is not None and length > MOST:
            # RFC 6376 section 3.5: l= may have 76 digits. Larger than any body it is in any case.
            length = MOST
        signed = (
            signature.algorithm, signature.domain, signature.selector, signature.identity, signature.header_form, form, length,
        )  # fmt: skip
    key = None
    if record is not None:
        key = (record.kind, record.hashes, record.services, tuple(record.flags), record.revoked)
    return pack(
        (
            v.status, v.reason, v.detail, signed, key, v.key_bits, v.security, v.unsigned_octets,
            tuple(v.risks) if v.risks else (),
        )
    )  # fmt: skip


@_remembering
def _build_dkim(octets: bytes) -> Verification:
    s = _read_dkim(octets)
    found, signature = s.signature, None
    if found is not None:
        signature = Signature(
            algorithm=found.algorithm,
            domain=found.domain,
            selector=found.selector,
            signed_headers=(),
            body_hash=b"",
            value=b"",
            header_form=found.header_form,
            body_form=BodyForm(found.body_form, found.length),
            identity=found.identity,
        )
    key, record = s.record, None
    if key is not None:
        # The key stays where it was used. A record without one says that it was revoked.
        no_key = b"" if key.revoked else b"\0"
        record = KeyRecord(key.kind, no_key, tuple(key.hashes), tuple(key.services), frozenset(key.flags))
    return Verification(
        s.status, s.reason, s.detail, signature, record, s.key_bits, s.security, s.unsigned_octets, frozenset(s.risks)
    )  # fmt: skip


# -- DMARC -------------------------------------------------------------------------------------------------------------


class _DMARC(Shape):
    verdict: DMARCVerdict
    disposition: Policy
    requested: Policy | None
    why: str
    domain: str
    organizational_domain: str
    record_domain: str
    spf_aligned: bool
    dkim_aligned: list[str]
    sampled_out: bool
    security: Security


_read_dmarc: Final = Decoder(_DMARC).decode


def _dmarc(r: DMARCResult) -> bytes:
    return pack(
        (
            r.verdict, r.disposition, r.requested, r.why, r.domain, r.organizational_domain, r.record_domain,
            r.spf_aligned, r.dkim_aligned, r.sampled_out, r.security,
        )
    )  # fmt: skip


@_remembering
def _build_dmarc(octets: bytes) -> DMARCResult:
    s = _read_dmarc(octets)
    return DMARCResult(
        s.verdict, s.disposition, s.requested, s.why, s.domain, s.organizational_domain, s.record_domain,
        spf_aligned=s.spf_aligned, dkim_aligned=tuple(s.dkim_aligned), sampled_out=s.sampled_out, security=s.security,
    )  # fmt: skip


# -- ARC ---------------------------------------------------------------------------------------------------------------


class _ArcSet(Shape):
    instance: int
    signer: str
    sealer: str
    chain_status: str


class _Chain(Shape):
    status: ChainStatus
    reason: ChainReason | None
    instance: int
    detail: str
    sets: Annotated[list[_ArcSet], Meta(max_length=MAX_SETS)]
    oldest_pass: int


_read_chain: Final = Decoder(_Chain).decode
_RELAXED: Final = Canonicalization.RELAXED


def _arc(c: Chain) -> bytes:
    sets = [(s.instance, s.signature.domain, s.seal.domain, s.seal.chain_status) for s in c.sets]
    return pack((c.status, c.reason, c.instance, c.detail, sets, c.oldest_pass))


@_remembering
def _build_arc(octets: bytes) -> Chain:
    s = _read_chain(octets)
    return Chain(s.status, s.reason, s.instance, s.detail, tuple(map(_arc_set, s.sets)), s.oldest_pass)


def _arc_set(s: _ArcSet) -> ArcSet:
    signature = ArcMessageSignature(
        0, "", s.signer, "", (), b"", b"", _RELAXED, BodyForm(_RELAXED), signed_at=None
    )
    return ArcSet(s.instance, 0, b"", signature, ArcSeal(0, "", s.sealer, "", b"", s.chain_status, None))


class _Result(Shape):
    method: str
    result: str
    reason: str
    properties: list[tuple[str, str, str]]
    version: int


class _Sealed(Shape):
    instance: int
    sealer: str
    authserv_id: str
    results: Annotated[list[_Result], Meta(max_length=MAX_RESULTS)]
    version: int


_read_sealed: Final = Decoder(_Sealed).decode


def _sealed(s: SealedResults) -> bytes:
    results = [
        (
            r.method,
            r.result,
            r.reason,
            [(p.kind, p.name, p.value) for p in r.properties],
            min(r.version, MOST),
        )
        for r in s.results.results
    ]
    found = s.results
    return pack((s.instance, s.sealer, found.authserv_id, results, min(found.version, MOST)))


def _build_sealed(octets: bytes) -> SealedResults:
    s = _read_sealed(octets)
    results = tuple(
        [
            MethodResult(r.method, r.result, r.reason, tuple([Property(*p) for p in r.properties]), "", r.version)
            for r in s.results
        ]
    )  # fmt: skip
    return SealedResults(s.instance, s.sealer, AuthenticationResults(s.authserv_id, results, s.version))
