"""What the signatures of a message are worth (RFC 6376 section 6).

::

    for verification in await verify(hashed, resolver, now=clock.seconds()):
        verification.status             # Status.PASS
        verification.reason             # None; Reason.BODY when the body was changed, …
        verification.signature.domain   # "example.org"
        verification.authenticates      # whether the domain may be credited with the message

The steps by themselves, for callers with another way to keys: ``examine`` says what can be said without a key, ``conclude`` the rest::

    pending = examine(hashed, hashed.found[0], rules, now)
    verification = conclude(hashed, pending, await resolver.lookup(pending.signature.query_name, "TXT"), rules)
"""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from attrs import frozen

from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError, Security
from moxtwisted.mailauth.authres import MethodResult, Property
from moxtwisted.mailauth.dkim.keys import KeyDataError
from moxtwisted.mailauth.dkim.record import KeyRecord, parse_key_record
from moxtwisted.mailauth.dkim.signature import (
    OUTDATED,
    Signature,
    UnsupportedSignatureError,
    without_signature,
)
from moxtwisted.mailauth.dkim.tags import TagListError
from moxtwisted.mailauth.inflow import FoundSignature, HashedMessage

__all__ = [
    "Pending",
    "Reason",
    "Risk",
    "Status",
    "Verification",
    "VerifyRules",
    "conclude",
    "examine",
    "verify",
]

#: Of a signature, in header.b: twelve characters.
_TOLD_APART_OCTETS: Final = 9
#: What is written about signers with identities up to this length is remembered.
_REMEMBERED_CHARACTERS: Final = 256
#: RFC 6376 section 6.1.2: of several records any may be tried.
_MAX_RECORDS: Final = 3


class Status(Enum):
    """RFC 8601 section 2.7.1; a message without signatures has no verification, which is ``none``."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Reason(Enum):
    """Why a signature did not pass."""

    SYNTAX = "signature cannot be read"
    UNSUPPORTED = "signature in a way that is not known"
    OUTDATED = "rsa-sha1 proves nothing"
    BODY = "body was changed"
    SIGNATURE = "signature is not that of the key"
    LENGTH = "l= is longer than the body"
    PARTIAL_BODY = "l= leaves a part of the body unsigned"
    FIELD_UNSIGNED = "a field that must be signed is not"
    EXPIRED = "signature expired"
    FUTURE = "signature is from the future"
    PUBLIC_SUFFIX = "domain is a public suffix"
    KEY_MISSING = "no key record"
    KEY_SYNTAX = "key record cannot be read"
    KEY_REVOKED = "key was revoked"
    KEY_MISMATCH = "key is not for this use"
    KEY_FOR_REPORTS = "key is for reports about TLS alone"
    KEY_SIZE = "key is too small or too large"
    DNS = "no answer from the DNS"


class Risk(Enum):
    """What a signature that passed leaves open."""

    #: ``l=`` is there: what is appended later would not be noticed, here nothing is (or the rules allow it).
    LENGTH = "l= is used"
    #: RSA of less than 2048 bits.
    SMALL_KEY = "small key"
    #: A second From could have been added in transit.
    FROM_NOT_SEALED = "From can be added to"


@frozen
class VerifyRules:
    """What is asked of signatures beyond the standard.

    :ivar partial_body: let ``l=`` leave a part of the body unsigned.
    :ivar required_headers: lower-case names that must be signed when the message has such a field.
    :ivar minimum_rsa_bits: smaller keys prove nothing (RFC 8301 section 3.2).
    :ivar maximum_rsa_bits: larger keys cost too much.
    :ivar slack_seconds: how far clocks may be apart.
    :ivar is_public_suffix: says whether nobody can be the owner of a domain, as ``"co.uk"``.
    """

    partial_body: bool = False
    required_headers: frozenset[bytes] = frozenset((b"subject",))
    minimum_rsa_bits: int = 1024
    maximum_rsa_bits: int = 8192
    slack_seconds: int = 3600
    is_public_suffix: Callable[[str], bool] | None = None


_DEFAULT_RULES: Final = VerifyRules()


@frozen
class Verification:
    """What became of one signature.

    :ivar reason: None when it passed.
    :ivar detail: more about it, for the log.
    :ivar signature: None when it could not be read.
    :ivar record: the key record, when one was found and could be read.
    :ivar key_bits: 0 when there was no key.
    :ivar security: what DNSSEC says of the record.
    :ivar unsigned_octets: of the canonical body, by ``l=``.
    :ivar risks: what is to be borne in mind although it passed.
    """

    status: Status
    reason: Reason | None = None
    detail: str = ""
    signature: Signature | None = None
    record: KeyRecord | None = None
    key_bits: int = 0
    security: Security = Security.INDETERMINATE
    unsigned_octets: int = 0
    risks: frozenset[Risk] = frozenset()

    @property
    def testing(self) -> bool:
        """Whether the domain only tries signing out (``t=y``)."""
        return self.record is not None and self.record.testing

    @property
    def authenticates(self) -> bool:
        """Whether the domain answers for the message.

        RFC 6376 section 3.6.1: mail with a key in test is treated as mail without a signature.
        """
        return self.status is Status.PASS and (self.record is None or not self.record.testing)

    def method_result(self) -> MethodResult:
        """What Authentication-Results says of it (RFC 8601 section 2.7.1)."""
        notes: tuple[str, ...] = (f"{self.key_bits}-bit key",) if self.key_bits else ()
        notes += ("with DNSSEC",) if self.security is Security.SECURE else ()
        notes += ("testing",) if self.testing else ()
        reason = self.reason._value_ if self.reason is not None else ""
        signature = self.signature
        if signature is None:
            return MethodResult("dkim", self.status._value_, reason, (), ", ".join(notes))
        place = (signature.domain, signature.selector, signature.identity, signature.algorithm)
        tell = _told if len(signature.identity) <= _REMEMBERED_CHARACTERS else _tell
        told = tell(self.status._value_, reason, place, notes)
        # RFC 6008 section 4: the beginning of b= tells several signatures of a domain apart.
        value = binascii.b2a_base64(signature.value[:_TOLD_APART_OCTETS], newline=False).decode("ascii")
        return told.with_property(Property("header", "b", value))


def _tell(result: str, reason: str, place: tuple[str, str, str, str], notes: tuple[str, ...]) -> MethodResult:
    """What is the same for all messages of a signer.

    :param place: domain, selector, identity and algorithm.
    """
    domain, selector, identity, algorithm = place
    properties = [Property("header", "d", domain), Property("header", "s", selector)]
    if not identity.startswith("@"):
        properties.append(Property("header", "i", identity))
    properties.append(Property("header", "a", algorithm))
    return MethodResult("dkim", result, reason, tuple(properties), ", ".join(notes))


_told = lru_cache(512)(_tell)


@frozen
class Pending:
    """A signature to which nothing but the key is missing."""

    position: int
    signature: Signature
    unsigned_octets: int


def _field_not_signed(hashed: HashedMessage, signature: Signature, rules: VerifyRules) -> bytes:
    for name in rules.required_headers:
        if name not in signature.signed_headers and hashed.fields.count(name):
            return name
    return b""


def _timely(signature: Signature, rules: VerifyRules, now: float) -> Verification | None:
    # RFC 6376 section 3.5: a signature may be taken for invalid past x=, and be ignored when t= lies ahead.
    if signature.expires_at is not None and now > signature.expires_at + rules.slack_seconds:
        return Verification(Status.FAIL, Reason.EXPIRED, f"x={signature.expires_at}", signature)
    if signature.signed_at is not None and now < signature.signed_at - rules.slack_seconds:
        return Verification(Status.POLICY, Reason.FUTURE, f"t={signature.signed_at}", signature)
    return None


def _judge_body(hashed: HashedMessage, signature: Signature, rules: VerifyRules) -> Verification | int:
    """Octets of the body that are not signed, or why it does not pass."""
    form = signature.body_form
    size = hashed.bodies.size(form.canonicalization)
    unsigned = 0 if form.length is None else size - form.length
    # RFC 6376 section 3.5: l= must not be larger than the body.
    if unsigned < 0:
        return Verification(Status.PERMERROR, Reason.LENGTH, f"l={form.length} of {size}", signature)
    digest = hashed.bodies.digest(form)
    if digest is None or not hmac.compare_digest(digest, signature.body_hash):
        return Verification(Status.FAIL, Reason.BODY, "", signature, unsigned_octets=unsigned)
    # RFC 6376 section 8.2: with an l= that leaves octets out, anybody may append, and MIME may hide what was signed.
    if unsigned and not rules.partial_body:
        detail = f"{unsigned} octets"
        return Verification(Status.POLICY, Reason.PARTIAL_BODY, detail, signature, unsigned_octets=unsigned)
    return unsigned


def examine(
    hashed: HashedMessage, found: FoundSignature, rules: VerifyRules, now: float
) -> Verification | Pending:
    """Say of a signature what can be said without its key, the body's hash included.

    :param now: seconds since 1970.
    """
    signature = found.signature
    if isinstance(signature, TagListError):
        # RFC 8601 section 2.7.1: neutral is for syntax errors and for what cannot be processed, permerror for what is missing.
        reason = Reason.UNSUPPORTED if isinstance(signature, UnsupportedSignatureError) else Reason.SYNTAX
        missing = signature.problem in {"missing", "From is not signed"}
        return Verification(Status.PERMERROR if missing else Status.NEUTRAL, reason, signature.detail)
    if signature.algorithm in OUTDATED:
        # RFC 8301 section 3.1: rsa-sha1 must not be used to verify.
        return Verification(Status.POLICY, Reason.OUTDATED, signature.algorithm, signature)
    if rules.is_public_suffix is not None and rules.is_public_suffix(signature.domain):
        # RFC 6376 section 8.13 leaves it to us what a signer is believed; nobody speaks for all below a public suffix.
        return Verification(Status.POLICY, Reason.PUBLIC_SUFFIX, signature.domain, signature)
    untimely = _timely(signature, rules, now)
    if untimely is not None:
        return untimely
    name = _field_not_signed(hashed, signature, rules)
    if name:
        return Verification(Status.POLICY, Reason.FIELD_UNSIGNED, name.decode("latin-1"), signature)
    unsigned = _judge_body(hashed, signature, rules)
    if isinstance(unsigned, Verification):
        return unsigned
    return Pending(found.position, signature, unsigned)


def _key_problem(record: KeyRecord, signature: Signature) -> tuple[Reason, str] | None:
    """RFC 6376 section 6.1.2: what makes a record one that is not for this signature."""
    if record.revoked:
        return Reason.KEY_REVOKED, ""
    if record.kind != signature.kind:
        return Reason.KEY_MISMATCH, f"k={record.kind}"
    if not record.for_sha256:
        return Reason.KEY_MISMATCH, f"h={':'.join(record.hashes)}"
    if not record.for_mail and not record.for_reports:
        return Reason.KEY_MISMATCH, f"s={':'.join(record.services)}"
    if record.strict and signature.identity_domain != signature.domain:
        return Reason.KEY_MISMATCH, "t=s, and i= names another domain"
    return None


def header_octets(hashed: HashedMessage, pending: Pending) -> bytes:
    """What the signature signs: the fields of ``h=``, then itself without its value (RFC 6376 section 3.7)."""
    signature, fields = pending.signature, hashed.fields
    octets = fields.octets(signature.signed_headers, signature.header_form, without=pending.position)
    return octets + fields.itself(pending.position, signature.header_form, without_signature)


def _try_record(
    hashed: HashedMessage, pending: Pending, text: bytes, answer: Answer, rules: VerifyRules
) -> Verification:
    signature = pending.signature
    try:
        record = parse_key_record(text)
    except TagListError as e:
        return Verification(
            Status.PERMERROR, Reason.KEY_SYNTAX, e.detail, signature, security=answer.security
        )

    def ended(status: Status, reason: Reason | None, detail: str = "", bits: int = 0) -> Verification:
        return Verification(
            status, reason, detail, signature, record, bits, answer.security, pending.unsigned_octets
        )

    problem = _key_problem(record, signature)
    if problem is not None:
        return ended(Status.PERMERROR, *problem)
    try:
        key = record.key()
    except KeyDataError as e:
        return ended(Status.PERMERROR, Reason.KEY_SYNTAX, e.detail)
    if key.kind == "rsa" and not rules.minimum_rsa_bits <= key.bits <= rules.maximum_rsa_bits:
        # RFC 8301 section 3.2: signatures with keys below 1024 bits must not be taken for valid.
        return ended(Status.POLICY, Reason.KEY_SIZE, f"{key.bits} bits", key.bits)
    octets = header_octets(hashed, pending)
    if not key.verify(octets, signature.value):
        return ended(Status.FAIL, Reason.SIGNATURE, "", key.bits)
    if not record.for_mail:
        # RFC 8460 section 3: "tlsrpt" is what such reports are signed for; other mail it says nothing about.
        return ended(Status.POLICY, Reason.KEY_FOR_REPORTS, f"s={':'.join(record.services)}", key.bits)
    risks = set()
    if signature.body_form.length is not None:
        risks.add(Risk.LENGTH)
    if key.kind == "rsa" and key.bits < 2048:
        risks.add(Risk.SMALL_KEY)
    if signature.signed_headers.count(b"from") <= hashed.fields.count(b"from"):
        risks.add(Risk.FROM_NOT_SEALED)
    return Verification(
        Status.PASS, None, "", signature, record, key.bits, answer.security, pending.unsigned_octets,
        frozenset(risks),
    )  # fmt: skip


def conclude(
    hashed: HashedMessage, pending: Pending, answer: Answer | NoAnswerError, rules: VerifyRules
) -> Verification:
    """Say the rest, with what the DNS said."""
    signature = pending.signature
    if isinstance(answer, NoAnswerError):
        # RFC 6376 section 6.1.2, step 2: no answer now may be one later.
        return Verification(Status.TEMPERROR, Reason.DNS, answer.detail, signature)
    if not answer.records:
        return Verification(
            Status.PERMERROR, Reason.KEY_MISSING, signature.query_name, signature, security=answer.security
        )
    first: Verification | None = None
    for text in answer.records[:_MAX_RECORDS]:
        verification = _try_record(hashed, pending, text, answer, rules)
        if verification.status is Status.PASS:
            return verification
        if first is None or (first.record is None and verification.record is not None):
            first = verification
    if first is None:
        raise ValueError("an answer with records has none")
    return first


def start_lookups(resolver: IResolver, names: list[str]) -> dict[str, Awaitable[Answer]]:
    """Ask for key records; what the resolver returns may run at once (a Deferred) or when awaited."""
    return {name: resolver.lookup(name, "TXT") for name in dict.fromkeys(names)}


async def finish_lookups(lookups: dict[str, Awaitable[Answer]]) -> dict[str, Answer | NoAnswerError]:
    """Wait for all of them."""
    answers: dict[str, Answer | NoAnswerError] = {}
    for name, lookup in lookups.items():
        try:
            answers[name] = await lookup
        except NoAnswerError as e:
            answers[name] = e
    return answers


async def verify(
    hashed: HashedMessage, resolver: IResolver, *, now: float, rules: VerifyRules = _DEFAULT_RULES
) -> tuple[Verification, ...]:
    """Verify all signatures that were looked at, in the order of the header.

    :param resolver: is asked for the keys of those signatures to which nothing else is missing. It bounds the time.
    :param now: seconds since 1970.
    """
    examined: list[Any] = []
    lookups: dict[str, Awaitable[Answer]] = {}
    for found in hashed.found:
        pending = examine(hashed, found, rules, now)
        examined.append(pending)
        if type(pending) is Pending:
            name = pending.signature.query_name
            if name not in lookups:
                # What the resolver returns may run at once (a Deferred) or when awaited.
                lookups[name] = resolver.lookup(name, "TXT")
    answers = await finish_lookups(lookups)
    for i, pending in enumerate(examined):
        if type(pending) is Pending:
            examined[i] = conclude(hashed, pending, answers[pending.signature.query_name], rules)
    return tuple(examined)
