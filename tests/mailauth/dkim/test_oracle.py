"""Verdicts equal dkimpy's over generated messages, signed by us or by it, whole or changed; differences are explained by the RFC."""

from __future__ import annotations

import base64
import os
import re
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.canonical import BodyForm, BodyHasher, Canonicalization
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, Unsigned, sign
from moxtwisted.mailauth.dkim.verify import Reason, Status, Verification, VerifyRules, verify
from moxtwisted.mailauth.inflow import MessageHasher

try:
    import dkim
except ImportError:
    dkim = None

#: How many times the usual number of examples; 12 makes 10,000.
TIMES = int(os.environ.get("MOXTWISTED_EXAMPLES", "1"))
NOW = 1_700_000_000
PEM = {"rsa": new_private_key("rsa"), "ed25519": new_private_key("ed25519")}
KEYS = {kind: SigningKey.from_pem("example.org", kind, pem) for kind, pem in PEM.items()}
RECORDS = {key.name: key.record_text().encode() for key in KEYS.values()}
#: dkimpy's way of judging is that of the standard alone.
LENIENT = VerifyRules(partial_body=True, required_headers=frozenset(), slack_seconds=36000)

_SPACES = st.sampled_from([b" ", b"  ", b"\t", b" \t ", b"\r\n ", b" \r\n\t"])
_WORDS = st.lists(
    st.binary(min_size=1, max_size=6).map(lambda b: re.sub(rb"[^!-9;-~]", b"x", b)), min_size=1, max_size=4
)


@st.composite
def values(draw: Any) -> bytes:
    """A field's value with odd white space and folds."""
    pieces = [draw(_SPACES).replace(b"\r\n", b""), *[word + draw(_SPACES) for word in draw(_WORDS)]]
    return b"".join(pieces).rstrip(b" \t\r\n") + draw(st.sampled_from([b"", b" ", b"\t"]))


@st.composite
def headers(draw: Any) -> bytes:
    """A header with From; some names come several times."""
    names = draw(
        st.lists(st.sampled_from([b"To", b"Subject", b"subject", b"X-A", b"Date", b"Received"]), max_size=6)
    )
    names.insert(draw(st.integers(0, len(names))), b"From")
    return b"".join(name + b":" + draw(values()) + b"\r\n" for name in names)


BODIES = st.lists(
    st.sampled_from([b"a", b"line", b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b".", b" \r\n", b"\xc3\xa9"]),
    max_size=20,
).map(b"".join)


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
    except (dkim.DKIMException, ValueError):
        # The second is PyNaCl's, for signatures of another length.
        return False
    return verdict


def explanation(message: bytes, verification: Verification, accepted: bool) -> str:
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
        "RFC 6376 section 3.4.4: white space at the end of the last line goes, also where there is no line end": message.endswith(
            (b" ", b"\t")
        ),
    }
    return next((section for section, differs in differences.items() if differs), "")


_TAGS = {
    b"t": [b"1699999999", b"1700000001", b"1700099999", b"x", b""],
    b"x": [b"1700000001", b"1699900000", b"1699999990", b"99999999999", b""],
    b"l": [b"0", b"3", b"5", b"7", b"700", b"-1", b"x"],
    b"q": [b"dns/txt", b"dns/txt:other", b"other", b"DNS/TXT"],
    b"i": [
        b"@example.org",
        b"a@example.org",
        b"a@sub.example.org",
        b"a@other.example",
        b"a@xexample.org",
        b"x",
        b"=41@example.org",
    ],
    b"v": [b"1", b"2", b"01"],
    b"a": [b"rsa-sha256", b"ed25519-sha256", b"rsa-sha1", b"RSA-SHA256", b"x"],
    b"c": [b"relaxed/relaxed", b"simple/simple", b"relaxed", b"simple", b"x/relaxed", b"Relaxed/relaxed"],
    b"h": [b"from", b"From : subject", b"from:from:subject:subject:none", b"subject", b"from:dkim-signature"],
    b"d": [b"example.org", b"EXAMPLE.org", b"other.example", b"org"],
    b"z": [b"Subject:b=3Dx|From:x", b"x"],
    b"other": [b"", b"1"],
}
_RECORDS = {
    b"v": [b"DKIM1", b"DKIM2", b""],
    b"k": [b"rsa", b"ed25519", b"x"],
    b"h": [b"sha256", b"sha1", b"sha1:sha256", b"x"],
    b"s": [b"*", b"email", b"other", b"other:email"],
    b"t": [b"y", b"s", b"y:s", b"x"],
    b"n": [b"a note", b"=3D"],
    b"x": [b"1"],
}


def varied(tags: dict[bytes, list[bytes]], *, chance: int) -> Any:
    """Some of the tags, each with one of its values."""
    return st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in tags.items()}
    ).map(lambda chosen: dict(list(chosen.items())[:chance]))


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


class OracleTests(SynchronousTestCase):
    """Two implementations that know nothing of each other."""

    def setUp(self) -> None:
        if dkim is None:
            raise SkipTest("dkimpy is not installed")

    def agree(self, message: bytes, *, records: dict[str, bytes] | None = None) -> None:
        """Both accept, both refuse, or the difference is explained."""
        verification, accepted = ours(message, records=records), theirs(message, records)
        if (verification.status is Status.PASS) is not accepted:
            self.assertNotEqual(
                explanation(message, verification, accepted),
                "",
                f"{accepted} {verification.reason} {verification.detail} {message!r}",
            )

    def test_signed_by_us(self) -> None:
        """What we sign, in all forms, both accept."""

        @given(
            headers(),
            BODIES,
            st.sampled_from(sorted(KEYS)),
            st.sampled_from(Canonicalization),
            st.sampled_from(Canonicalization),
            st.booleans(),
        )
        @settings(max_examples=150 * TIMES, deadline=None, derandomize=True)
        def check(
            header: bytes,
            body: bytes,
            kind: str,
            form: Canonicalization,
            body_form: Canonicalization,
            seal: bool,
        ) -> None:
            rules = SigningRules(
                headers=(b"from", b"subject", b"to", b"x-a"),
                seal=seal,
                header_form=form,
                body_form=BodyForm(body_form),
            )
            message = header + b"\r\n" + body
            hasher = MessageHasher(also=[rules.body_form])
            hasher.feed(message)
            signed = sign(hasher.finish(), KEYS[kind], rules, now=NOW) + message
            verification = ours(signed)
            self.assertIs(verification.status, Status.PASS, f"{verification} {signed!r}")
            self.agree(signed)

        check()

    def test_signed_by_dkimpy_and_changed(self) -> None:
        """What dkimpy signs both judge alike, whole, with an ``l=``, or with octets changed anywhere."""
        changes = st.lists(
            st.tuples(
                st.integers(0, 2000),
                st.integers(0, 3),
                st.sampled_from([b"", b" ", b"x", b"\r\n", b";", b"=", b"\r\n ", b"A"]),
            ),
            max_size=2,
        )

        @given(
            headers(),
            BODIES,
            st.sampled_from(sorted(KEYS)),
            st.sampled_from([b"simple", b"relaxed"]),
            st.sampled_from([b"simple", b"relaxed"]),
            st.booleans(),
            changes,
        )
        @settings(
            max_examples=200 * TIMES,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        def check(
            header: bytes,
            body: bytes,
            kind: str,
            form: bytes,
            body_form: bytes,
            length: bool,
            change: list[tuple[int, int, bytes]],
        ) -> None:
            message = header + b"\r\n" + body
            private = PEM["rsa"]
            if kind == "ed25519":
                from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

                raw = KEYS[kind].private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
                private = base64.b64encode(raw)
            with patch("time.time", lambda: NOW):
                signature = dkim.sign(
                    message,
                    kind.encode(),
                    b"example.org",
                    private,
                    canonicalize=(form, body_form),
                    length=length,
                    signature_algorithm=kind.encode() + b"-sha256",
                    include_headers=[b"from", b"subject", b"subject"],
                )
            signed = bytearray(signature + message)
            for place, gone, octets in change:
                at = place % (len(signed) + 1)
                signed[at : at + gone] = octets
            if not re.search(rb"(?im)^dkim-signature:", signed):
                return
            self.agree(bytes(signed))

        check()

    def test_tags(self) -> None:
        """Signatures whose arithmetic is right and whose tags are odd are judged alike."""

        @given(varied(_TAGS, chance=3))
        @settings(max_examples=300 * TIMES, deadline=None, derandomize=True)
        def check(chosen: dict[bytes, bytes]) -> None:
            tags = {
                b"v": b"1", b"a": b"rsa-sha256", b"c": b"relaxed/relaxed", b"d": b"example.org", b"h": b"from:subject",
                **chosen,
            }  # fmt: skip
            tags[b"s"] = b"ed25519" if tags[b"a"].startswith(b"ed") else b"rsa"
            self.agree(handmade(tags, b"From: a@example.org\r\nSubject: b\r\n\r\nbody\r\n"))

        check()

    def test_records(self) -> None:
        """Key records with odd tags are judged alike."""

        @given(varied(_RECORDS, chance=3), st.booleans())
        @settings(max_examples=200 * TIMES, deadline=None, derandomize=True)
        def check(chosen: dict[bytes, bytes], last: bool) -> None:
            public = base64.b64encode(KEYS["rsa"].public_octets())
            pairs = list(chosen.items())
            pairs.insert(len(pairs) if last else 0, (b"p", public))
            record = b"; ".join(name + b"=" + value for name, value in pairs)
            tags = {
                b"v": b"1",
                b"a": b"rsa-sha256",
                b"c": b"relaxed",
                b"d": b"example.org",
                b"h": b"from",
                b"s": b"rsa",
            }
            message = handmade(tags, b"From: a@example.org\r\nSubject: b\r\n\r\nbody\r\n")
            self.agree(message, records={"rsa._domainkey.example.org": record})

        check()
