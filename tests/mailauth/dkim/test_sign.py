"""Signatures that we make."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.keys import KeyDataError, SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SIGNED_HEADERS, SigningRules, prepare, sign
from moxtwisted.mailauth.dkim.signature import Signature
from moxtwisted.mailauth.dkim.verify import Status, verify
from moxtwisted.mailauth.inflow import HashedMessage, MessageHasher

NOW = 1_700_000_000
MESSAGE = b"From: a@example.org\r\nTo: b@example.net\r\nTo: c@example.net\r\nSubject: x\r\n\r\nHello\r\n"
KEY = SigningKey.from_pem("example.org", "s", new_private_key("ed25519"))
RULES = SigningRules()


def hashed(message: bytes, rules: SigningRules = RULES) -> HashedMessage:
    """A message that is to be signed."""
    hasher = MessageHasher(also=[rules.body_form])
    hasher.feed(message)
    return hasher.finish()


class SignTests(SynchronousTestCase):
    def test_sealed(self) -> None:
        """Each name stands in h= once more than there are such fields; absent ones once."""
        signature = Signature.parse(sign(hashed(MESSAGE), KEY, now=NOW))
        counts = {name: signature.signed_headers.count(name) for name in SIGNED_HEADERS}
        self.assertEqual((counts[b"from"], counts[b"to"], counts[b"subject"], counts[b"cc"]), (2, 3, 2, 1))

    def test_not_sealed(self) -> None:
        """Without sealing, only what is there is signed; From always."""
        rules = SigningRules(headers=(b"to", b"cc"), seal=False)
        signature = Signature.parse(sign(hashed(MESSAGE), KEY, rules, now=NOW))
        self.assertEqual(signature.signed_headers, (b"from", b"to", b"to"))

    def test_tags(self) -> None:
        """Time, expiry and identity are written as they are read."""
        rules = SigningRules(lifetime_seconds=72 * 3600)
        signature = Signature.parse(sign(hashed(MESSAGE), KEY, rules, now=NOW, identity="jörg;x@example.org"))
        self.assertEqual((signature.signed_at, signature.expires_at), (NOW, NOW + 72 * 3600))
        self.assertEqual(signature.identity, "jörg;x@example.org")
        self.assertEqual(signature.algorithm, "ed25519-sha256")

    def test_elsewhere(self) -> None:
        """The arithmetic can be done apart; what comes is the same."""
        pending = prepare(hashed(MESSAGE), KEY, now=NOW)
        self.assertEqual(
            pending.complete(KEY.sign_octets(pending.octets)), sign(hashed(MESSAGE), KEY, now=NOW)
        )

    def test_lines(self) -> None:
        """No line is longer than 78 characters, whatever is signed."""
        key = SigningKey.from_pem(
            "a-rather-long-name-of-a-domain.example.org", "selector", new_private_key("rsa")
        )
        message = b"".join(b"To: %d\r\n" % i for i in range(80)) + MESSAGE
        field = sign(hashed(message), key, now=NOW)
        self.assertLessEqual(max(map(len, field.split(b"\r\n"))), 78)
        self.assertIsNone(re.search(rb"\r\n(?![ \t]|\Z)", field))

    def test_cannot(self) -> None:
        """Without From, or with a body that was not hashed so, nothing is signed."""
        self.assertRaises(KeyDataError, sign, hashed(b"To: x\r\n\r\n"), KEY, now=NOW)
        hasher = MessageHasher()
        hasher.feed(MESSAGE)
        self.assertRaises(KeyDataError, sign, hasher.finish(), KEY, now=NOW)

    def test_verifies(self) -> None:
        """Whatever the message, what we sign we verify, in all forms."""
        resolver = ZoneResolver({(KEY.name, "TXT"): [KEY.record_text().encode()]})
        form = st.sampled_from(Canonicalization)

        @given(
            st.lists(st.text(alphabet="ab \tü:;=\r\n", max_size=20), max_size=5),
            st.binary(max_size=50),
            form,
            form,
        )
        @settings(max_examples=100)
        def check(
            fields: list[str], body: bytes, header_form: Canonicalization, body_form: Canonicalization
        ) -> None:
            header = b"".join(
                b"Subject: " + f.encode().replace(b"\r", b"").replace(b"\n", b"\r\n ") + b"\r\n"
                for f in fields
            )
            message = b"From: a@example.org\r\n" + header + b"\r\n" + body
            rules = SigningRules(header_form=header_form, body_form=BodyForm(body_form))
            again = hashed(sign(hashed(message, rules), KEY, rules, now=NOW) + message)
            found = self.successResultOf(Deferred.fromCoroutine(verify(again, resolver, now=NOW)))
            self.assertEqual([v.status for v in found], [Status.PASS])

        check()
