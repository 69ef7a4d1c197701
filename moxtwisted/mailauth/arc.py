"""Authenticated Received Chain: what forwarders found out about a message before they changed it (RFC 8617).

::

    chain = await validate(hashed, resolver)
    chain.status, chain.reason              # ChainStatus.PASS, None
    chain.sets[-1].seal.domain              # who sealed last
    sealed = trusted_results(chain, {"lists.example.org"})
    sealed is not None and sealed.results.of("dmarc")       # what a sealer that we trust found

    fields = seal(hashed, chain, results, key, now=clock.seconds())      # b"ARC-Seal: ...", to be put in front

A chain that passes says nothing of the message but who touched it; it is worth what its sealers are worth.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Collection
from enum import Enum
from typing import Final

from attrs import evolve, frozen

from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError
from moxtwisted.mailauth.arcset import (
    MAX_SETS,
    ArcMessageSignature,
    ArcSeal,
    ArcSet,
    ArcSyntaxError,
    parse_sets,
)
from moxtwisted.mailauth.authres import AuthenticationResults, MethodResult, Property, parse_results
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization, relaxed_field
from moxtwisted.mailauth.dkim.fields import SignedFields
from moxtwisted.mailauth.dkim.keys import KeyDataError, SigningKey
from moxtwisted.mailauth.dkim.record import parse_key_record
from moxtwisted.mailauth.dkim.sign import FieldWriter, Unsigned
from moxtwisted.mailauth.dkim.signature import without_signature
from moxtwisted.mailauth.dkim.tags import TagListError
from moxtwisted.mailauth.dkim.verify import finish_lookups, start_lookups
from moxtwisted.mailauth.inflow import HashedMessage

__all__ = [
    "SEALED_HEADERS",
    "Chain",
    "ChainReason",
    "ChainStatus",
    "SealRules",
    "SealedResults",
    "seal",
    "trusted_results",
    "validate",
]

#: RFC 8617 section 4.1.2 wants what DKIM should cover, and the DKIM signatures themselves.
SEALED_HEADERS: Final = (
    b"from", b"to", b"cc", b"reply-to", b"references", b"in-reply-to", b"subject", b"date", b"message-id",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"list-id", b"dkim-signature",
)  # fmt: skip
_BODY: Final = BodyForm(Canonicalization.RELAXED)
_MINIMUM_RSA_BITS: Final = 1024
_MAXIMUM_RSA_BITS: Final = 8192
#: Signed octets, and 256 a field, that are looked at to find out how far down nothing was changed: a chain of twenty has a tenth.
_OLDEST_OCTETS: Final = 1024 * 1024


class ChainStatus(Enum):
    """RFC 8617 section 4.4, and that it cannot be told now."""

    NONE = "none"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    #: A key could not be asked for. RFC 8617 section 5.2.1 makes that a failure for good. We tell it apart, and do not seal then: what is
    #: our own trouble must not end a chain.
    TEMPERROR = "temperror"


class ChainReason(Enum):
    """Why a chain did not pass."""

    STRUCTURE = "chain is not complete, or cannot be read"
    CHAIN_STATUS = "a sealer says that the chain had failed, or contradicts its place in it"
    BODY = "body was changed after the last seal"
    PARTIAL_BODY = "l= leaves a part of the body unsigned"
    MESSAGE_SIGNATURE = "message was changed after the last seal"
    SEAL = "a seal is not that of its key"
    KEY = "a key is missing or cannot be used"
    DNS = "no answer from the DNS"


@frozen
class Chain:
    """What became of a chain.

    :ivar reason: None when it passed, or there is none.
    :ivar instance: of the set where it failed; 0 when it is the whole.
    :ivar sets: from instance 1 up; empty when they could not be read.
    :ivar oldest_pass: the lowest instance whose message signature is still right, with all above it (RFC 8617 section 5.2): the message
        was not changed since; 0 when the first is, which needs no such number; -1 when none was checked.
    """

    status: ChainStatus
    reason: ChainReason | None = None
    instance: int = 0
    detail: str = ""
    sets: tuple[ArcSet, ...] = ()
    oldest_pass: int = -1

    @property
    def highest(self) -> int:
        """The instance of the last set."""
        return self.sets[-1].instance if self.sets else 0

    def method_result(self) -> MethodResult:
        """What Authentication-Results says of it (RFC 8617 section 10.2)."""
        properties = (
            (Property("header", "oldest-pass", str(self.oldest_pass)),) if self.oldest_pass >= 0 else ()
        )
        comment = f"i={self.highest} {self.sets[-1].seal.domain}" if self.sets else ""
        reason = self.reason.value if self.reason is not None else ""
        return MethodResult("arc", self.status.value, reason, properties, comment)


def _query(part: ArcMessageSignature | ArcSeal) -> str:
    return f"{part.selector}._domainkey.{part.domain}"


def _failed(sets: tuple[ArcSet, ...], reason: ChainReason, instance: int = 0, detail: str = "") -> Chain:
    return Chain(ChainStatus.FAIL, reason, instance, detail, sets)


def _right(
    part: ArcMessageSignature | ArcSeal, octets: bytes, answer: Answer | NoAnswerError
) -> Chain | bool:
    """Whether a value is the key's; a failed chain without its sets when there is no key to tell."""
    if isinstance(answer, NoAnswerError):
        return Chain(ChainStatus.TEMPERROR, ChainReason.DNS, detail=answer.detail)
    problem = f"no record at {_query(part)}"
    for text in answer.records[:3]:
        try:
            record = parse_key_record(text)
            if record.revoked or record.kind != part.algorithm.partition("-")[0] or not record.for_sha256:
                raise KeyDataError("revoked, or of another kind")
            key = record.key()
            if key.kind == "rsa" and not _MINIMUM_RSA_BITS <= key.bits <= _MAXIMUM_RSA_BITS:
                # RFC 8301 section 3.2 holds here too (RFC 8617 section 4.1.2 takes DKIM's algorithms).
                raise KeyDataError(f"{key.bits} bits")
        except (TagListError, KeyDataError) as e:
            problem = e.detail
            continue
        return key.verify(octets, part.value)
    return _failed((), ChainReason.KEY, detail=problem)


def _signature_octets(fields: SignedFields, signature: ArcMessageSignature) -> bytes:
    octets = fields.octets(signature.signed_headers, signature.header_form, without=signature.position)
    return octets + fields.itself(signature.position, signature.header_form, without_signature)


def _seal_octets(fields: SignedFields, sets: tuple[ArcSet, ...]) -> bytes:
    """What the seal of the last of these covers: RFC 8617 section 5.1.1, all sets from the first, relaxed, in this order of fields."""
    pieces: list[bytes] = []
    for found in sets:
        pieces += (fields.relaxed(found.results_position), fields.relaxed(found.signature.position))
        if found is not sets[-1]:
            pieces.append(fields.relaxed(found.seal.position))
    last = fields.itself(sets[-1].seal.position, Canonicalization.RELAXED, without_signature)
    return b"".join([*pieces, last])


def _statuses(sets: tuple[ArcSet, ...]) -> Chain | None:
    # RFC 8617 section 5.2, step 2: a chain that was sealed as failed has failed.
    if sets[-1].seal.chain_status == "fail":
        return _failed(sets, ChainReason.CHAIN_STATUS, sets[-1].instance, "cv=fail")
    for found in sets:
        # RFC 8617 section 5.2, step 3: the first says none, all others pass.
        if found.seal.chain_status != ("none" if found.instance == 1 else "pass"):
            return _failed(sets, ChainReason.CHAIN_STATUS, found.instance, f"cv={found.seal.chain_status}")
    return None


def _body(hashed: HashedMessage, found: ArcSet) -> ChainReason | None:
    form = found.signature.body_form
    digest = hashed.bodies.digest(form)
    if digest is None or not hmac.compare_digest(digest, found.signature.body_hash):
        return ChainReason.BODY
    if form.length is not None and form.length != hashed.bodies.size(form.canonicalization):
        # RFC 6376 section 8.2: anybody may append.
        return ChainReason.PARTIAL_BODY
    return None


async def validate(hashed: HashedMessage, resolver: IResolver) -> Chain:
    """Validate a chain as the receiver of a message (RFC 8617 section 5.2).

    :param hashed: by ``MessageHasher``, which sees to the forms that the chain wants.
    :param resolver: is asked for at most two keys a set.
    """
    try:
        sets = parse_sets(hashed.fields)
    except ArcSyntaxError as e:
        return _failed((), ChainReason.STRUCTURE, e.instance, e.detail)
    if not sets:
        return Chain(ChainStatus.NONE)
    contradiction = _statuses(sets)
    if contradiction is not None:
        return contradiction
    # RFC 8617 section 5.2, step 4: the last message signature must be right; what was before may be changed by those after it.
    broken = _body(hashed, sets[-1])
    if broken is not None:
        return _failed(sets, broken, sets[-1].instance)
    parts = [part for found in sets for part in (found.signature, found.seal)]
    answers = await finish_lookups(start_lookups(resolver, [_query(part) for part in parts]))
    return _judge(hashed, sets, answers)


def _judge(
    hashed: HashedMessage, sets: tuple[ArcSet, ...], answers: dict[str, Answer | NoAnswerError]
) -> Chain:
    fields = hashed.fields
    last = sets[-1].signature
    right = _right(last, _signature_octets(fields, last), answers[_query(last)])
    if right is not True:
        return _ended(right, sets, ChainReason.MESSAGE_SIGNATURE, sets[-1].instance)
    # RFC 8617 section 5.2, step 6: every seal, from the last down.
    for i in range(len(sets), 0, -1):
        part = sets[i - 1].seal
        right = _right(part, _seal_octets(fields, sets[:i]), answers[_query(part)])
        if right is not True:
            return _ended(right, sets, ChainReason.SEAL, i)
    return Chain(ChainStatus.PASS, sets=sets, oldest_pass=_oldest_pass(hashed, sets, answers))


def _ended(right: Chain | bool, sets: tuple[ArcSet, ...], reason: ChainReason, instance: int) -> Chain:
    if isinstance(right, Chain):
        return evolve(right, sets=sets, instance=instance)
    return _failed(sets, reason, instance)


def _oldest_pass(
    hashed: HashedMessage, sets: tuple[ArcSet, ...], answers: dict[str, Answer | NoAnswerError]
) -> int:
    """RFC 8617 section 5.2, step 5, which is left to us: how far down nothing was changed."""
    oldest, left = sets[-1].instance, _OLDEST_OCTETS
    for found in reversed(sets[:-1]):
        part = found.signature
        if _body(hashed, found) is not None:
            return oldest
        octets = _signature_octets(hashed.fields, part)
        left -= len(octets) + 256 * len(part.signed_headers)
        if left < 0 or _right(part, octets, answers[_query(part)]) is not True:
            return oldest
        oldest = found.instance
    return 0


# -- whom to believe ----------------------------------------------------------------------------------------------


@frozen
class SealedResults:
    """What a trusted sealer found out when a message reached it.

    :ivar instance: of its set.
    :ivar sealer: the domain of its seal.
    :ivar results: what it wrote into ARC-Authentication-Results.
    """

    instance: int
    sealer: str
    results: AuthenticationResults

    @property
    def dmarc_pass(self) -> bool:
        """Whether the message had passed DMARC there."""
        found = self.results.of("dmarc")
        return bool(found) and all(result.result == "pass" for result in found)


def trusted_results(chain: Chain, trusted: Collection[str]) -> SealedResults | None:
    """The oldest results that only trusted sealers stand behind; None when there are none.

    RFC 8617 section 7.2.1 lets receivers override a DMARC failure for chains of sealers they trust. Whoever sealed later may have changed
    the message or invented the sets below its own (section 9.4), so every sealer from the last down has to be trusted; the lowest of these
    is the one that saw the message first.

    :param trusted: domains as in ``d=`` of seals, A-labels in lower case; a domain does not stand for those below it.
    """
    if chain.status is not ChainStatus.PASS:
        return None
    oldest: SealedResults | None = None
    for found in reversed(chain.sets):
        if found.seal.domain not in trusted:
            break
        results = parse_results(found.results)
        if results is None:
            break
        oldest = SealedResults(found.instance, found.seal.domain, results)
    return oldest


# -- sealing ------------------------------------------------------------------------------------------------------


@frozen
class SealRules:
    """How to seal.

    :ivar headers: lower-case names for ``h=``; those that the message has, as often as it has them, and From once more.
    :ivar exactly: take ``headers`` for ``h=`` as they are.
    """

    headers: tuple[bytes, ...] = SEALED_HEADERS
    exactly: bool = False


_DEFAULT_RULES: Final = SealRules()


def _names(fields: SignedFields, rules: SealRules) -> tuple[bytes, ...]:
    if rules.exactly:
        return rules.headers
    names: list[bytes] = []
    for name in rules.headers:
        names += [name] * min(fields.count(name) + (name == b"from"), 100)
    return tuple(names)


def _unsigned(name: bytes, tags: dict[bytes, bytes | tuple[bytes, ...]]) -> Unsigned:
    writer = FieldWriter(name)
    for tag, value in tags.items():
        if isinstance(value, tuple):
            writer.names(tag, value)
        else:
            writer.tag(tag, value)
        if tag == b"a":
            writer.value()
    return writer.finish()


def seal(
    hashed: HashedMessage,
    chain: Chain,
    results: bytes,
    key: SigningKey,
    rules: SealRules = _DEFAULT_RULES,
    *,
    now: float,
) -> bytes:
    """The three fields of the next set, with CRLF, to stand above the header (RFC 8617 section 5.1).

    :param hashed: the message as it leaves, by ``MessageHasher(also=[BodyForm(Canonicalization.RELAXED)])``.
    :param chain: what ``validate`` made of it as it came.
    :param results: what we found out, as ``AuthenticationResults.payload``.
    :param key: as for DKIM.
    :returns: empty when nothing may be added: the chain failed before, is full, was changed since, or its state is not known.
    :raises KeyDataError: when the body was not hashed.
    """
    if chain.status is ChainStatus.TEMPERROR or chain.highest >= MAX_SETS:
        return b""
    if chain.status is ChainStatus.FAIL and (not chain.sets or chain.sets[-1].seal.chain_status == "fail"):
        # RFC 8617 section 5.1: nothing is added to a chain that was sealed as failed; one that cannot be read has no next instance.
        return b""
    body_hash = hashed.bodies.digest(_BODY)
    if body_hash is None:
        raise KeyDataError("the body was not hashed in relaxed form")
    fields = hashed.fields
    try:
        # Fields may have been added since the chain was judged, so the sets stand elsewhere.
        sets = parse_sets(fields)
    except ArcSyntaxError:
        return b""
    if len(sets) != chain.highest:
        return b""
    instance = b"%d" % (chain.highest + 1)
    our_results = b"ARC-Authentication-Results: i=" + instance + b"; " + results + b"\r\n"
    algorithm, domain = key.algorithm.encode("ascii"), key.domain.encode("ascii")
    selector, stamp = key.selector.encode("ascii"), b"%d" % int(now)
    names = _names(fields, rules)
    unsigned = _unsigned(
        b"ARC-Message-Signature",
        {
            b"a": algorithm, b"bh": base64.b64encode(body_hash), b"c": b"relaxed/relaxed", b"d": domain, b"h": names,
            b"i": instance, b"s": selector, b"t": stamp,
        },
    )  # fmt: skip
    octets = fields.octets(names, Canonicalization.RELAXED) + unsigned.octets(Canonicalization.RELAXED)
    signature = unsigned.signed(key.sign_octets(octets))
    status = {ChainStatus.NONE: b"none", ChainStatus.PASS: b"pass"}.get(chain.status, b"fail")
    tags = {b"a": algorithm, b"cv": status, b"d": domain, b"i": instance, b"s": selector, b"t": stamp}
    unsigned = _unsigned(b"ARC-Seal", {**tags})
    # RFC 8617 section 5.1.2: a seal that says fail covers its own set only.
    before = b"" if chain.status is ChainStatus.FAIL else _sets_octets(fields, sets)
    octets = before + relaxed_field(our_results) + relaxed_field(signature)
    octets += unsigned.octets(Canonicalization.RELAXED)
    return unsigned.signed(key.sign_octets(octets)) + signature + our_results


def _sets_octets(fields: SignedFields, sets: tuple[ArcSet, ...]) -> bytes:
    return b"".join(
        fields.relaxed(position)
        for found in sets
        for position in (found.results_position, found.signature.position, found.seal.position)
    )
