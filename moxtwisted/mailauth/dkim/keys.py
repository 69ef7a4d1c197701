"""Keys: read, made, used to sign and to verify (RFC 6376 section 3.3, RFC 8301, RFC 8463).

::

    key = SigningKey.from_pem("example.org", "2026a", pem)
    signature = key.sign_octets(octets)             # RSA: half a millisecond; a pure function, may run in a thread
    public = public_key("rsa", spki)
    public.verify(octets, signature)                # True

RSA of 1024 to 8192 bits is verified, 2048 to 4096 is what one signs with; Ed25519 has one size.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import Any, Final, Self

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from moxtwisted.errors import MailError
from moxtwisted.identifiers import Domain

__all__ = ["KeyDataError", "PublicKey", "SigningKey", "new_private_key", "public_key"]

#: An RSA key of 8192 bits has 1053 octets; more is not decoded.
MAX_KEY_OCTETS: Final = 1536
#: Every key in use has 65537; a long one makes verifying as dear as signing.
MAX_EXPONENT_BITS: Final = 64

_PKCS1V15: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()
# RFC 6376 section 3.1: sub-domains with dots between.
_SELECTOR: Final = re.compile(
    r"(?=.{1,200}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\Z"
)


class KeyDataError(MailError):
    """These octets are no key that can be used."""

    reply_code = 550
    enhanced_code = "5.7.20"
    public_text = "key cannot be used"


@frozen
class PublicKey:
    """A key that verifies.

    :ivar kind: ``"rsa"`` or ``"ed25519"``, as in ``k=``.
    :ivar bits: its size.
    """

    kind: str
    bits: int
    _key: Any = field(repr=False)

    def verify(self, octets: bytes, signature: bytes) -> bool:
        """Whether the signature is right.

        :param octets: what is signed.
        """
        try:
            if self.kind == "ed25519":
                # RFC 8463 section 3: it signs the SHA-256 in their place.
                self._key.verify(signature, hashlib.sha256(octets).digest())
            else:
                self._key.verify(signature, octets, _PKCS1V15, _SHA256)
        except InvalidSignature:
            return False
        except ValueError:
            # A signature of another length than the key's.
            return False
        return True


def _load(kind: str, octets: bytes) -> PublicKey:
    if len(octets) > MAX_KEY_OCTETS:
        raise KeyDataError(f"public key of {len(octets)} octets")
    try:
        if kind == "ed25519":
            # RFC 8463 section 4.2: the 32 octets as they are.
            return PublicKey(kind, 256, ed25519.Ed25519PublicKey.from_public_bytes(octets))
        # RFC 6376 section 3.6.1 names RSAPublicKey; everybody publishes SubjectPublicKeyInfo. Both are read.
        key = serialization.load_der_public_key(octets)
        if not isinstance(key, rsa.RSAPublicKey):
            raise KeyDataError("not an RSA key")
        if key.public_numbers().e.bit_length() > MAX_EXPONENT_BITS:
            raise KeyDataError("RSA key with a long exponent")
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise KeyDataError(f"no {kind} key: {e}") from e
    return PublicKey(kind, key.key_size, key)


_load_cached = lru_cache(maxsize=512)(_load)


def public_key(kind: str, octets: bytes) -> PublicKey:
    """Read a key from the octets of ``p=``; the last 512 are remembered.

    :param kind: ``"rsa"`` or ``"ed25519"``.
    :raises KeyDataError: when it is none, or too large.
    """
    return _load_cached(kind, octets) if len(octets) <= MAX_KEY_OCTETS else _load(kind, octets)


@frozen
class SigningKey:
    """A domain's private key and where its public half is published.

    :ivar domain: ``d=``, A-labels.
    :ivar selector: ``s=``.
    """

    domain: str
    selector: str
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_pem(cls, domain: str, selector: str, pem: bytes, *, primes_checked: bool = True) -> Self:
        """Read a private key: PKCS #8 or PKCS #1, without a password.

        :param primes_checked: whether the numbers of an RSA key are looked at, which takes 30 ms; not for a key of our own, of
            which ``works`` says enough in half a millisecond.
        :raises KeyDataError: when it is none, or RSA of a size that must not be used to sign.
        :raises DomainError: when the domain is none.
        """
        try:
            key = serialization.load_pem_private_key(
                pem, None, unsafe_skip_rsa_key_validation=not primes_checked
            )
        except (ValueError, TypeError, UnsupportedAlgorithm) as e:
            raise KeyDataError(f"no private key in PEM: {e}") from e
        if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise KeyDataError("only RSA and Ed25519 keys can sign")
        # RFC 8301 section 3.2: signers use at least 1024 bits and should use 2048; verifiers know up to 4096 for sure.
        if isinstance(key, rsa.RSAPrivateKey) and not 1024 <= key.key_size <= 4096:
            raise KeyDataError(f"RSA key of {key.key_size} bits; 2048 to 4096 are of use")
        if _SELECTOR.match(selector.lower()) is None:
            raise KeyDataError(f"{selector[:100]!r} is no selector")
        return cls(Domain.parse(domain).ascii, selector.lower(), key)

    @property
    def kind(self) -> str:
        """``"rsa"`` or ``"ed25519"``."""
        return "rsa" if isinstance(self.private, rsa.RSAPrivateKey) else "ed25519"

    @property
    def bits(self) -> int:
        """The size of the key."""
        return self.private.key_size if isinstance(self.private, rsa.RSAPrivateKey) else 256

    @property
    def algorithm(self) -> str:
        """What ``a=`` says."""
        return f"{self.kind}-sha256"

    @property
    def name(self) -> str:
        """Where the record is published."""
        return f"{self.selector}._domainkey.{self.domain}"

    def sign_octets(self, octets: bytes) -> bytes:
        """Sign what ``PendingSignature.octets`` is. It touches nothing else, and OpenSSL lets other threads run meanwhile."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(octets, _PKCS1V15, _SHA256)
        # RFC 8463 section 3: PureEdDSA over the SHA-256 of it.
        digest = hashes.Hash(_SHA256)
        digest.update(octets)
        return self.private.sign(digest.finalize())

    def works(self) -> bool:
        """Whether it signs so that its own public half verifies it."""
        octets = b"moxtwisted"
        try:
            signature = self.sign_octets(octets)
        except ValueError:
            return False
        public = public_key(self.kind, self.public_octets())
        return public.verify(octets, signature)

    def public_octets(self) -> bytes:
        """What is published in ``p=``, before base64."""
        public = self.private.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def record_text(self) -> str:
        """The TXT record that belongs to the key (RFC 6376 section 3.6.1)."""
        return f"v=DKIM1;h=sha256;k={self.kind};p={base64.b64encode(self.public_octets()).decode('ascii')}"


def new_private_key(kind: str, *, bits: int = 2048) -> bytes:
    """Make a key: PKCS #8 in PEM, not encrypted.

    :param kind: ``"rsa"`` or ``"ed25519"``.
    :param bits: 2048 to 4096, for RSA.
    """
    if kind == "ed25519":
        key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey = ed25519.Ed25519PrivateKey.generate()
    elif kind == "rsa" and 2048 <= bits <= 4096:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    else:
        raise KeyDataError(f"no {kind} key of {bits} bits can be made")
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
