"""What is stored of a password, how names and passwords are prepared, decoys."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import ConsistencyError
from moxtwisted.sasl import prep
from moxtwisted.sasl.credentials import (
    DEFAULT_COSTS,
    Costs,
    PasswordVerifiers,
    derive,
    needs_rehash,
    scram_keys,
    verify_password,
)
from moxtwisted.sasl.decoys import Decoys
from tests.sasl.backends import CHEAP, CountingEntropy


class VerifierTests(SynchronousTestCase):
    """Stored verifiers."""

    def test_round_trip(self) -> None:
        """What was stored is read again."""
        for cram in (False, True):
            verifiers = derive("pässword", os.urandom, cram_md5=cram, costs=CHEAP)
            self.assertEqual(PasswordVerifiers.from_bytes(verifiers.to_bytes()), verifiers)
            self.assertEqual(verifiers.cram_md5 is not None, cram)

    def test_no_password_inside(self) -> None:
        """The stored octets and the representation do not hold the password."""
        verifiers = derive("correct horse", os.urandom, costs=CHEAP)
        self.assertNotIn(b"correct", verifiers.to_bytes())
        self.assertEqual(repr(verifiers), "<PasswordVerifiers>")
        self.assertNotIn("key", repr(scram_keys(b"x", b"salt", 1, "SHA-1")).lower().replace("scramkeys", ""))

    def test_salts_differ(self) -> None:
        """The same password twice gives other salts and other hashes."""
        one, two = (derive("correct horse", os.urandom, costs=CHEAP) for _ in range(2))
        salts = {v.salt for x in (one, two) for v in (x.scram_sha_256, x.scram_sha_1) if v is not None}
        self.assertEqual(len(salts), 4)
        self.assertNotEqual(one.argon2id, two.argon2id)

    def test_verify(self) -> None:
        """The right password verifies in any of its spellings, another one does not, also one that cannot be."""
        hashed = derive("caf\u00e9", CountingEntropy(), costs=CHEAP).argon2id
        self.assertTrue(verify_password(hashed, "cafe\u0301"))
        for wrong in ("cafe", "Café", "", "\0", "x" * 5000, "\ud800"):
            self.assertFalse(verify_password(hashed, wrong), repr(wrong))

    def test_damaged(self) -> None:
        """Damaged octets and hashes are refused without being quoted."""
        good = derive("secret password", CountingEntropy(), costs=CHEAP, cram_md5=True).to_bytes()
        for data in (b"", b"{}", b"[]", good[:-1], good.replace(b'"inner":"', b'"inner":"A'), b" " * 9000):
            error: ConsistencyError = self.assertRaises(ConsistencyError, PasswordVerifiers.from_bytes, data)
            self.assertNotIn("argon2id$", str(error))
            self.assertIsNone(error.__cause__)
        for hashed in ("", "$argon2id$", "\u20ac"):
            self.assertRaises(ConsistencyError, verify_password, hashed, "x")

    def test_needs_rehash(self) -> None:
        """Verifiers of other costs are to be renewed, those of the same are not."""
        verifiers = derive("secret password", CountingEntropy(), costs=CHEAP)
        self.assertFalse(needs_rehash(verifiers, costs=CHEAP))
        self.assertTrue(needs_rehash(verifiers))
        self.assertTrue(needs_rehash(PasswordVerifiers(verifiers.argon2id), costs=CHEAP))

    def test_costs(self) -> None:
        """The default costs keep to the RFCs' minimum, and lower ones are refused."""
        self.assertGreaterEqual(DEFAULT_COSTS.sha256_iterations, 4096)
        self.assertRaises(ValueError, Costs, sha1_iterations=4095)

    @settings(max_examples=100)
    @given(st.binary(max_size=200))
    def test_any_octets(self, data: bytes) -> None:
        """Any octets are read or refused as damaged."""
        self.assertRaises(ConsistencyError, PasswordVerifiers.from_bytes, data)


class PreparationTests(SynchronousTestCase):
    """PRECIS (RFC 8265)."""

    def test_passwords(self) -> None:
        """RFC 8265 section 4.3: spaces are mapped, text composed, case kept; controls and nothing are refused."""
        for typed, want in (
            ("correct horse battery staple", "correct horse battery staple"),
            ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
            ("\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5"),
            ("Jack of \u2666s", "Jack of \u2666s"),
            ("foo\u1680bar", "foo bar"),
            ("e\u0301", "\u00e9"),
        ):
            self.assertEqual(prep.password(typed), want)
        for typed in ("", "my cat is a \u0009by", "\0", "é\n", "x" * 1025):
            self.assertRaises(prep.PreparationError, prep.password, typed)

    def test_user_names(self) -> None:
        """RFC 8265 section 3.5: case and width are mapped, spaces and symbols refused."""
        for typed, want in (
            ("juliet@example.com", "juliet@example.com"),
            ("fussball", "fussball"),
            ("fu\u00dfball", "fu\u00dfball"),
            ("\u03c0", "\u03c0"),
            ("\u03a3", "\u03c3"),
            ("MJL@Example", "mjl@example"),
            ("\uff2dJL", "mjl"),
        ):
            self.assertEqual(prep.username_case_mapped(typed), want)
        for typed in ("foo bar", "", "henry\u2163", "\u265a", "a\u0007", "x" * 1025):
            self.assertRaises(prep.PreparationError, prep.username_case_mapped, typed)
            self.assertRaises(prep.PreparationError, prep.username_case_preserved, typed)
        self.assertEqual(prep.username_case_preserved("\uff2djL"), "MjL")

    def test_no_input_in_errors(self) -> None:
        """The exception of a refused password does not hold it, nor does what it was raised from."""
        error: prep.PreparationError = self.assertRaises(
            prep.PreparationError, prep.password, "hunter\u0378\u0002"
        )
        cause: BaseException | None = error
        while cause is not None:
            self.assertNotIn("hunter", repr(cause) + str(vars(cause)))
            cause = cause.__context__

    @settings(max_examples=150)
    @given(st.text(max_size=30))
    def test_twice(self, text: str) -> None:
        """What was prepared stays the same when it is prepared again, and nothing but refusal is raised."""
        for function in (prep.password, prep.username_case_mapped, prep.username_case_preserved):
            try:
                once = function(text)
            except prep.PreparationError:
                continue
            self.assertEqual(function(once), once)


class DecoyTests(SynchronousTestCase):
    """Verifiers for users who do not exist."""

    def test_like_real_ones(self) -> None:
        """Decoys have the lengths and counts of real verifiers, for any name."""
        real = derive("x", CountingEntropy(), costs=CHEAP)
        for user in ("nobody", "no body", "\ud800"):
            for algorithm in ("SHA-256", "SHA-1"):
                decoy = Decoys(b"s" * 16, CHEAP).scram(user, algorithm)
                other = real.scram(algorithm)
                if other is None:
                    raise self.failureException("no verifier")
                self.assertEqual(
                    (len(decoy.salt), decoy.iterations, len(decoy.stored_key), len(decoy.server_key)),
                    (len(other.salt), other.iterations, len(other.stored_key), len(other.server_key)),
                )

    def test_secret(self) -> None:
        """A short secret is refused."""
        self.assertRaises(ValueError, Decoys, b"short")
