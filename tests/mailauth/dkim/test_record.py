"""Key records and keys."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.dkim.keys import KeyDataError, SigningKey, new_private_key, public_key
from moxtwisted.mailauth.dkim.record import KeyRecord, parse_key_record
from moxtwisted.mailauth.dkim.tags import TagListError


class RecordTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """A record with nothing but a key is for RSA, any hash, any service."""
        record = KeyRecord.parse(b"p=Zm9v")
        self.assertEqual((record.kind, record.octets), ("rsa", b"foo"))
        self.assertTrue(record.for_mail and record.for_sha256)
        self.assertFalse(record.revoked or record.testing or record.strict)

    def test_everything(self) -> None:
        """All tags are read; what is unknown is passed over."""
        record = KeyRecord.parse(
            b"v=DKIM1; h=sha1:sha256; k=ed25519; n=a=20note; s=email; t=y:s:new; x=1; p="
        )
        self.assertEqual(
            (record.kind, record.hashes, record.services), ("ed25519", ("sha1", "sha256"), ("email",))
        )
        self.assertTrue(record.testing and record.strict and record.revoked)
        self.assertEqual(record.notes, "a note")

    def test_no_records(self) -> None:
        """What is none is told."""
        for text in (b"v=DKIM2; p=", b"p=Zm9v; v=DKIM1", b"v=DKIM1", b"p=%", b"k=; p=", b"v=spf1 -all", b""):
            with self.subTest(text):
                self.assertRaises(TagListError, parse_key_record, text)

    def test_round_trip(self) -> None:
        """The record that belongs to a key is read as that key."""
        for kind, bits in (("rsa", 2048), ("ed25519", 256)):
            key = SigningKey.from_pem("Example.org", "2026A", new_private_key(kind))
            self.assertEqual(key.name, "2026a._domainkey.example.org")
            record = parse_key_record(key.record_text().encode())
            self.assertEqual((record.kind, record.key().bits), (kind, bits))


class KeyTests(SynchronousTestCase):
    def test_both_forms_of_rsa(self) -> None:
        """SubjectPublicKeyInfo and the RSAPublicKey that the RFC names are the same key."""
        key = SigningKey.from_pem("example.org", "s", new_private_key("rsa"))
        public = key.private.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
        self.assertTrue(public_key("rsa", public).verify(b"x", key.sign_octets(b"x")))

    def test_no_keys(self) -> None:
        """Octets that are no key, or a huge one, are refused before anything is computed with them."""
        for kind, octets in (
            ("rsa", b"foo"), ("rsa", b""), ("rsa", b"\x30" * 100_000), ("ed25519", b"short"), ("x", b""),
        ):  # fmt: skip
            self.assertRaises(KeyDataError, public_key, kind, octets)

    def test_long_exponent(self) -> None:
        """A key whose exponent makes verifying dear is refused."""
        numbers = rsa.RSAPublicNumbers(2**65 + 1, (1 << 2047) + 1)
        octets = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertRaises(KeyDataError, public_key, "rsa", octets)

    def test_wrong_signatures(self) -> None:
        """A signature of any length that is not the key's is false, not an error."""
        for kind in ("rsa", "ed25519"):
            key = SigningKey.from_pem("example.org", "s", new_private_key(kind))
            public = public_key(kind, key.public_octets())
            for value in (b"", b"x", b"x" * 64, b"x" * 256, b"x" * 5000):
                self.assertFalse(public.verify(b"x", value))

    def test_what_cannot_sign(self) -> None:
        """Keys of other kinds and sizes, and names that are none, are refused."""
        small = rsa.generate_private_key(65537, 1024)  # noqa: S505 -- that is the point
        pem = small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        SigningKey.from_pem("example.org", "s", pem)
        for selector in ("", "a b", "-a", "a..b", "x" * 300):
            self.assertRaises(KeyDataError, SigningKey.from_pem, "example.org", selector, pem)
        self.assertRaises(KeyDataError, SigningKey.from_pem, "example.org", "s", b"nothing")
        self.assertRaises(KeyDataError, new_private_key, "rsa", bits=1024)
        self.assertRaises(KeyDataError, new_private_key, "dsa")

    def test_nothing_secret_is_shown(self) -> None:
        """The text of a key has nothing of it."""
        self.assertNotIn("private", repr(SigningKey.from_pem("example.org", "s", new_private_key("ed25519"))))

    def test_record_text(self) -> None:
        """The text is what mox writes, too."""
        key = SigningKey.from_pem("example.org", "s", new_private_key("ed25519"))
        public = base64.b64encode(key.public_octets()).decode()
        self.assertEqual(key.record_text(), f"v=DKIM1;h=sha256;k=ed25519;p={public}")
