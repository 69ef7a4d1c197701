"""Verdicts equal dkimpy's over generated messages, signed by us or by it, whole or changed; differences are explained by the RFC."""

from __future__ import annotations

import base64
import os
import re
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.dkim.verify import Status
from moxtwisted.mailauth.inflow import MessageHasher
from tests.mailauth.dkim.beside import KEYS, NOW, PEM, dkim, explanation, handmade, ours, theirs

#: How many times the usual number of examples; 12 makes 10,000.
TIMES = int(os.environ.get("MOXTWISTED_EXAMPLES", "1"))
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
                explanation(message, verification, accepted, records),
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
        @settings(max_examples=150 * TIMES, derandomize=True)
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
        @settings(max_examples=300 * TIMES, derandomize=True)
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
        @settings(max_examples=200 * TIMES, derandomize=True)
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
