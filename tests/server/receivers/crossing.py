"""Messages that cross from one process to another, and what is left of what was found of them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any, TypeVar

import msgspec
from attrs import evolve
from hypothesis import strategies as st

from moxtwisted.dns.answers import Security
from moxtwisted.mailauth.arc import Chain, ChainReason, ChainStatus, SealedResults
from moxtwisted.mailauth.arcset import ArcMessageSignature, ArcSeal, ArcSet
from moxtwisted.mailauth.authres import AuthenticationResults, MethodResult, Property
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.record import KeyRecord
from moxtwisted.mailauth.dkim.signature import Signature
from moxtwisted.mailauth.dkim.verify import Reason, Risk, Status, Verification
from moxtwisted.mailauth.dmarc.author import Author
from moxtwisted.mailauth.dmarc.evaluation import DMARCResult
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy, parse_record
from moxtwisted.mailauth.iprev import IPRevResult
from moxtwisted.mailauth.iprev import Verdict as IPRevVerdict
from moxtwisted.mailauth.spf.evaluation import Identity, SPFResult, Step
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.server.directory import Delivery, Recipients
from moxtwisted.server.inbound.lease import Lease
from moxtwisted.server.inbound.outcome import Complete
from moxtwisted.server.inbound.presence import Presence
from moxtwisted.server.judgement.interfaces import Incoming
from moxtwisted.server.receivers.packing import MOST
from moxtwisted.server.receivers.shapes import read_complete, write_complete
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.smtp.envelope import Recipient, Transaction
from moxtwisted.store.interfaces import IStagedMessage
from moxtwisted.store.staging import Staging
from tests.server.judgement.samples import GOOD, HEADER, NOW, path

__all__ = ["VERIFIED", "Elsewhere", "across", "complete", "crossed", "far", "remainder", "stage"]

_E = TypeVar("_E", bound=Enum)

ALICE = path("alice@example.org")


# -- messages ----------------------------------------------------------------------------------------------------------


def stage(octets: bytes) -> IStagedMessage:
    """Octets that came in."""
    staging = Staging(FilePath("/nonexistent"), bytes)
    staging.write(octets)
    return staging.finish()


def complete(
    verified: Verified = GOOD, octets: bytes = HEADER + b"hello\r\n", *, incoming: Any = None, **changes: Any
) -> Complete:
    """A message from mary@a.example to alice@example.org."""
    staged = stage(octets)
    sender = path("mary@a.example")
    told: dict[str, Any] = {
        "reverse_path": sender, "recipients": (ALICE,), "verified": verified, "header": staged.scanned.header,
        "staged": staged, "hello": "mx.a.example", "tls": True, "seconds": float(NOW), "session": "s1", **(incoming or {}),
    }  # fmt: skip
    given: dict[str, Any] = {
        "transaction": Transaction(sender, recipients=[Recipient(ALICE)]),
        "found": {ALICE: Recipients((Delivery("alice", "INBOX", "alice@example.org"),))},
        "incoming": Incoming(**told), "lease": Lease(staged), "received": b"Received: from there\r\n", **changes,
    }  # fmt: skip
    return Complete(**given)


class Elsewhere:
    """Octets that are somewhere else.

    :ivar asked: how often they were asked for.
    """

    def __init__(self, staged: IStagedMessage) -> None:
        self._staged = staged
        self.asked = 0
        self.closed = False

    def read(self, offset: int, length: int) -> bytes:
        """Of those."""
        self.asked += 1
        return self._staged.read(offset, length)

    def packed(self) -> Iterator[tuple[int, bytes]]:
        """Of those."""
        return iter(self._staged.packed())

    def close(self) -> None:
        """Take note."""
        self.closed = True


def across(plain: Any) -> Any:
    """Through octets."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(plain))


def far(message: Complete) -> tuple[Complete, Elsewhere]:
    """The same in another process."""
    staged = message.lease.staged
    octets = Elsewhere(staged)
    return read_complete(across(write_complete(message)), octets, staged.size, Presence()), octets


def crossed(verified: Verified) -> Verified:
    """What another process has of it."""
    return far(complete(verified))[0].incoming.verified


# -- findings ----------------------------------------------------------------------------------------------------------


def _one(kind: type[_E]) -> st.SearchStrategy[_E]:
    return st.sampled_from(list(kind))


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_TEXT = st.text(max_size=12)
_NAME = st.sampled_from(
    ("a.example", "b.example", "mx.a.example", "list.example", "xn--mnster-3ya.example", "")
)
_IP = st.sampled_from(
    ("192.0.2.1", "127.0.0.1", "37.1.2.3", "2001:db8::1", "::1", "fe80::1234%wlan0", "::ffff:192.0.2.1")
).map(ip_address)
_COUNT = st.integers(0, 10_000)
_NAMES = st.lists(_NAME, max_size=3).map(tuple)

_IPREV = st.builds(
    IPRevResult, verdict=_one(IPRevVerdict), ip=_IP, name=_NAME, names=_NAMES, problem=_TEXT, security=_one(Security),
    ttl_seconds=_COUNT,
)  # fmt: skip
_SPF = st.builds(
    SPFResult, verdict=_one(SPFVerdict), identity=_one(Identity), domain=_NAME, sender=_TEXT, ip=_IP, helo=_TEXT,
    mechanism=_TEXT, explanation=_TEXT, problem=_TEXT, chain=st.just((Step("a.example", "v=spf1 -all", "-all"),)),
    terms=_COUNT, void_lookups=_COUNT, security=_one(Security), ttl_seconds=_COUNT,
)  # fmt: skip
_FORM = st.builds(BodyForm, _one(Canonicalization), _maybe(st.integers(0, 100)))
_SIGNATURE = st.builds(
    Signature, algorithm=st.sampled_from(("rsa-sha256", "ed25519-sha256")), domain=_NAME, selector=_NAME,
    signed_headers=st.just((b"from",)), body_hash=st.binary(max_size=3), value=st.binary(max_size=3),
    header_form=_one(Canonicalization), body_form=_FORM, identity=_TEXT, signed_at=_maybe(_COUNT), expires_at=_maybe(_COUNT),
)  # fmt: skip
_RECORD = st.builds(
    KeyRecord, kind=st.sampled_from(("rsa", "ed25519", "x")), octets=st.sampled_from((b"", b"key")),
    hashes=st.sampled_from(((), ("sha256",), ("sha1", "sha256"))),
    services=st.sampled_from((("*",), ("tlsrpt",), ("email", "tlsrpt"), ("email",), ())),
    flags=st.frozensets(st.sampled_from(("y", "s", "z"))), notes=_TEXT,
)  # fmt: skip
_DKIM = st.builds(
    Verification, status=_one(Status), reason=_maybe(_one(Reason)), detail=_TEXT, signature=_maybe(_SIGNATURE),
    record=_maybe(_RECORD), key_bits=_COUNT, security=_one(Security), unsigned_octets=_COUNT, risks=st.frozensets(_one(Risk)),
)  # fmt: skip
_SET = st.builds(
    lambda instance, signer, sealer, status: ArcSet(
        instance, 3, b"mx; dmarc=pass",
        ArcMessageSignature(1, "rsa-sha256", signer, "s", (b"from",), b"h", b"v", Canonicalization.SIMPLE,
                            BodyForm(Canonicalization.SIMPLE), 7),
        ArcSeal(2, "rsa-sha256", sealer, "s", b"v", status, 7),
    ),
    st.integers(1, 50), _NAME, _NAME, st.sampled_from(("none", "pass", "fail")),
)  # fmt: skip
_CHAIN = st.builds(
    Chain, status=_one(ChainStatus), reason=_maybe(_one(ChainReason)), instance=st.integers(0, 50), detail=_TEXT,
    sets=st.lists(_SET, max_size=3).map(tuple), oldest_pass=st.integers(-1, 50),
)  # fmt: skip
_DMARC = st.builds(
    DMARCResult, verdict=_one(DMARCVerdict), disposition=_one(Policy), requested=_maybe(_one(Policy)), why=_TEXT,
    domain=_NAME, organizational_domain=_NAME, record_domain=_NAME,
    record=_maybe(st.just(parse_record("v=DMARC1; p=reject"))), spf_aligned=st.booleans(), dkim_aligned=_NAMES,
    sampled_out=st.booleans(), security=_one(Security), ttl_seconds=_COUNT,
)  # fmt: skip
_METHOD = st.builds(
    MethodResult, method=st.sampled_from(("dmarc", "spf", "dkim")), result=st.sampled_from(("pass", "fail", "none")), reason=_TEXT,
    properties=st.lists(st.builds(Property, _TEXT, _TEXT, _TEXT), max_size=2).map(tuple), comment=_TEXT,
)  # fmt: skip
_SEALED = st.builds(
    SealedResults, instance=st.integers(1, 50), sealer=_NAME,
    results=st.builds(AuthenticationResults, authserv_id=_NAME, results=st.lists(_METHOD, max_size=3).map(tuple)),
)  # fmt: skip

#: Whatever a verifier may find, and more.
VERIFIED = st.builds(
    Verified, ip=_maybe(_IP), iprev=_maybe(_IPREV), spf=_maybe(_SPF), helo_spf=_maybe(_SPF),
    dkim=st.lists(_DKIM, max_size=3).map(tuple), arc=_maybe(_CHAIN), author=st.builds(Author, _NAME, _TEXT),
    dmarc=_maybe(_DMARC), sealed=_maybe(_SEALED), unconfirmed=st.frozensets(st.sampled_from(("dkim", "spf"))),
    organizational_domain=_NAME, from_validated=st.booleans(), trace=st.binary(max_size=20),
)  # fmt: skip


def remainder(v: Verified) -> Verified:
    """The same without what does not cross, as the documentation of ``findings`` has it."""
    return evolve(
        v,
        spf=None if v.spf is None else evolve(v.spf, chain=()),
        helo_spf=None if v.helo_spf is None else evolve(v.helo_spf, chain=()),
        dkim=tuple(_without_key(one) for one in v.dkim),
        arc=None if v.arc is None else evolve(v.arc, sets=tuple(_outline(one) for one in v.arc.sets)),
        dmarc=None if v.dmarc is None else evolve(v.dmarc, record=None),
        sealed=None if v.sealed is None else _without_comments(v.sealed),
    )


def _without_key(v: Verification) -> Verification:
    signature, record = v.signature, v.record
    if signature is not None:
        form = signature.body_form
        length = None if form.length is None else min(form.length, MOST)
        signature = evolve(
            signature, signed_headers=(), body_hash=b"", value=b"", signed_at=None, expires_at=None,
            body_form=form._replace(length=length),
        )  # fmt: skip
    if record is not None:
        record = evolve(record, octets=record.octets and b"\0", notes="")
    return evolve(v, signature=signature, record=record)


def _outline(s: ArcSet) -> ArcSet:
    relaxed = Canonicalization.RELAXED
    return ArcSet(
        s.instance,
        0,
        b"",
        ArcMessageSignature(0, "", s.signature.domain, "", (), b"", b"", relaxed, BodyForm(relaxed), None),
        ArcSeal(0, "", s.seal.domain, "", b"", s.seal.chain_status, None),
    )


def _without_comments(s: SealedResults) -> SealedResults:
    results = tuple(evolve(one, comment="") for one in s.results.results)
    return evolve(s, results=evolve(s.results, results=results))
