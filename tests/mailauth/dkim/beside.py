"""Our verdict on a message's first signature beside dkimpy's, and the sections of the standards by which they differ."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.canonical import BodyForm, BodyHasher, Canonicalization
from moxtwisted.mailauth.dkim.keys import SigningKey
from moxtwisted.mailauth.dkim.sign import Unsigned
from moxtwisted.mailauth.dkim.verify import Reason, Risk, Status, Verification, VerifyRules, verify
from moxtwisted.mailauth.inflow import MessageHasher

try:
    import dkim
except ImportError:
    dkim = None

__all__ = ["KEYS", "LENIENT", "NOW", "PEM", "RECORDS", "dkim", "explanation", "handmade", "ours", "theirs"]

NOW = 1_700_000_000


def _pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def _rsa_key() -> bytes:
    """The same key of 2048 bits in every run, so that a case of the corpus is the same octets everywhere."""

    def prime(name: bytes, distance: int) -> int:
        return (int.from_bytes(hashlib.shake_256(name).digest(128), "big") | 3 << 1022 | 1) + distance

    p, q, e = prime(b"p", 816), prime(b"q", 114), 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q)
    )
    return _pem(numbers.private_key())


PEM = {
    "rsa": _rsa_key(),
    "ed25519": _pem(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"d").digest())),
}
KEYS = {kind: SigningKey.from_pem("example.org", kind, pem) for kind, pem in PEM.items()}
RECORDS = {key.name: key.record_text().encode() for key in KEYS.values()}
#: dkimpy's way of judging is that of the standard alone.
LENIENT = VerifyRules(partial_body=True, required_headers=frozenset(), slack_seconds=36000)


def ours(
    message: bytes, rules: VerifyRules = LENIENT, records: dict[str, bytes] | None = None
) -> Verification:
    """What we make of the first signature."""
    resolver = ZoneResolver({(name, "TXT"): [text] for name, text in (records or RECORDS).items()})
    hasher = MessageHasher()
    hasher.feed(message)
    found: list[Any] = []
    Deferred.fromCoroutine(verify(hasher.finish(), resolver, now=NOW, rules=rules)).addBoth(found.append)
    if not isinstance(found[0], tuple):
        found[0].raiseException()
    first: Verification = (
        found[0][0] if found[0] else Verification(Status.NEUTRAL, Reason.SYNTAX, "no signature")
    )
    return first


def theirs(message: bytes, records: dict[str, bytes] | None = None) -> bool:
    """What dkimpy makes of it."""

    def text(name: bytes, timeout: int = 5) -> bytes | None:
        return (records or RECORDS).get(name.decode().rstrip(".").lower())

    try:
        with patch("time.time", lambda: NOW):
            verdict: bool = dkim.DKIM(message, minkey=1024).verify(dnsfunc=text)
    except (dkim.DKIMException, ValueError, IndexError):
        # ValueError is PyNaCl's, for signatures of another length; IndexError dkimpy's, for a header that begins folded.
        return False
    return verdict


def explanation(
    message: bytes, verification: Verification, accepted: bool, records: dict[str, bytes] | None = None
) -> str:
    """The section of a standard by which we differ from dkimpy, or nothing."""
    reason, detail, signature = verification.reason, verification.detail, verification.signature
    differences = {
        "RFC 8301 section 3.1: rsa-sha1 must not be used to verify": accepted and reason is Reason.OUTDATED,
        "RFC 6376 section 3.5: l= must not be larger than the body": accepted and reason is Reason.LENGTH,
        "RFC 6376 section 6.1.1: a signature that does not cover From is none": accepted
        and detail.endswith("From is not signed"),
        "RFC 6376 section 3.6.1: v= must be the first tag": accepted and detail.endswith("not the first tag"),
        "RFC 6376 section 3.6.1: h= of the record lists the hashes that may be used": accepted
        and reason is Reason.KEY_MISMATCH
        and detail.startswith("h="),
        "RFC 6376 section 3.6.1: with t=s, i= must be in the domain of d= itself": accepted
        and reason is Reason.KEY_MISMATCH
        and detail.startswith("t=s"),
        "RFC 6376 section 3.5: q= is a list, and its words have no case": not accepted
        and re.search(rb"q=(dns/txt:|DNS)", message) is not None,
        "RFC 6376 section 3.6.1: s= is a list, of which one service must match": not accepted
        and verification.record is not None
        and len(verification.record.services) > 1,
        "RFC 6376 section 3.7: a signature does not cover itself, also if h= has its name": not accepted
        and signature is not None
        and b"dkim-signature" in signature.signed_headers,
        "RFC 6376 section 2.8: white space is space and tab; dkimpy takes CR and LF alone for it": re.search(
            rb"\r(?!\n)|(?<!\r)\n|[\x0b\x0c]", message
        )
        is not None,
        "RFC 6376 section 3.8: of a line in the header that is no field nothing is said; dkimpy gives up": not accepted
        and re.search(rb"(?m)^(?![!-9;-~]+[ \t]*:|[ \t]|\r?$)", message.partition(b"\r\n\r\n")[0])
        is not None,
        "RFC 5322 section 4.5: white space may stand before the colon; dkimpy takes that line for no field": not accepted
        and re.search(rb"(?m)^[!-9;-~]+[ \t]+:", message.partition(b"\r\n\r\n")[0]) is not None,
        # They then judge the message with that line end as we do the one without.
        "RFC 6376 section 3.4.4: white space at the end of the last line goes, also where there is no line end": message.endswith(
            (b" ", b"\t")
        )
        and theirs(message + b"\r\n", records) is not accepted,
        "RFC 6376 section 5.4.2: h= says how many fields of a name are signed; dkimpy takes one From more": not accepted
        and Risk.FROM_NOT_SEALED in verification.risks
        and len(re.findall(rb"(?im)^from[ \t]*:", message.partition(b"\r\n\r\n")[0])) > 1,
    }
    return next((section for section, differs in differences.items() if differs), "")


def handmade(tags: dict[bytes, bytes], message: bytes) -> bytes:
    """A signature with just these tags, right in its arithmetic whatever they say."""
    hasher = MessageHasher()
    hasher.feed(message)
    fields = hasher.finish().fields
    forms = (tags[b"c"].decode().lower() + "/simple").split("/")[:2]
    header_form, body_form = (
        Canonicalization.RELAXED if form == "relaxed" else Canonicalization.SIMPLE for form in forms
    )
    length = int(tags[b"l"]) if tags.get(b"l", b"x").isdigit() else None
    body = BodyHasher([BodyForm(body_form, length)])
    body.feed(message.partition(b"\r\n\r\n")[2])
    digest = body.finish().digest(BodyForm(body_form, length)) or b""
    every = {**tags, b"bh": base64.b64encode(digest)}
    start = (
        b"DKIM-Signature:" + b";".join(b" " + name + b"=" + value for name, value in every.items()) + b"; b="
    )
    names = [name.strip().lower() for name in tags[b"h"].split(b":")]
    octets = fields.octets(names, header_form) + Unsigned(start, b"").octets(header_form)
    key = KEYS["ed25519" if tags[b"a"].startswith(b"ed") else "rsa"]
    return Unsigned(start, b"").signed(key.sign_octets(octets)) + message
