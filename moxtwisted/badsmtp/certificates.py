"""Certificates as they should be, and as they should not be, all of one throw-away authority.

::

    authority = Authority(reactor.seconds)
    authority.root_pem                                        # what a client is given to trust
    chain = authority.chain(Defect.EXPIRED, "mail.example.org")
    chain.certificates                                        # the leaf first, as the server sends them

But for what a ``Defect`` says, every chain is good: a client that refuses it refuses it for that reason. Keys are ECDSA P-256 and made
once for each authority. A leaf is valid for 24 hours; what is above it for as long as any server runs.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["FALLBACK_NAME", "Authority", "Chain", "Defect", "certificate_name"]

#: For which name a certificate is when the client asked for none.
FALLBACK_NAME: Final = "badsmtp.test"

_WRONG_NAME: Final = "wrong.host.badsmtp.test"
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


class Defect(Enum):
    """What is wrong with a chain."""

    NONE = "none"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    WRONG_NAME = "for another name"
    SELF_SIGNED = "signed by itself"
    UNKNOWN_AUTHORITY = "of an authority that nobody knows"
    MISSING_INTERMEDIATE = "without the certificate in the middle"
    NOT_AN_AUTHORITY = "signed by a certificate that may not sign"
    WRONG_USAGE = "for clients, not for servers"
    NO_ALTERNATIVE_NAME = "with its name in the subject only"
    WEAK_KEY = "RSA with 1024 bits"
    WEAK_SIGNATURE = "signed with SHA-1"


@frozen
class Chain:
    """A private key and the certificates to send with it, the leaf first."""

    key: Any
    certificates: tuple[x509.Certificate, ...]


def certificate_name(*candidates: str) -> str:
    """The first candidate that is a host name, in lower case, else ``FALLBACK_NAME``."""
    for name in candidates:
        # RFC 1034 section 3.1: a name has at most 255 octets, of which two are not seen
        if len(name) <= 253 and _HOST.fullmatch(name) and not name.replace(".", "").isdigit():
            return name.rstrip(".").lower()
    return FALLBACK_NAME


def _subject(name: str) -> x509.Name:
    from cryptography import x509

    # RFC 5280 appendix A.1: a common name has at most 64 characters
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])


@frozen
class _Issuer:
    certificate: x509.Certificate
    key: Any


@frozen(kw_only=True)
class _Leaf:
    name: str
    addresses: tuple[str, ...]
    start: dt.datetime
    end: dt.datetime
    key: Any
    usage: str = "server"
    alternative: bool = True


class Authority:
    """Two roots (one of them is shown to nobody), what is between them and the leaves, and leaves on demand.

    :param seconds: the clock, seconds since 1970.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.seconds = seconds
        self._new_key: Callable[[], Any] = lambda: ec.generate_private_key(ec.SECP256R1())
        self._key = self._new_key()
        self._weak_key: Any = None
        root_key = self._new_key()
        root = self._authority("BadSMTP throw-away root", root_key, None)
        self._root = _Issuer(root, root_key)
        hidden_key = self._new_key()
        self._hidden = _Issuer(self._authority("BadSMTP root unknown to all", hidden_key, None), hidden_key)
        self._intermediate = self._signed("BadSMTP throw-away intermediate", self._root, signs=True)
        self._not_authority = self._signed("BadSMTP certificate that may not sign", self._root, signs=False)
        self._hidden_intermediate = self._signed(
            "BadSMTP intermediate unknown to all", self._hidden, signs=True
        )
        self.root_pem = root.public_bytes(serialization.Encoding.PEM)

    @property
    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.seconds(), dt.UTC).replace(microsecond=0)

    def chain(self, defect: Defect, name: str, addresses: Sequence[str] = ()) -> Chain:
        """A chain for a name, with its defect.

        :param name: a host name in ASCII, see ``certificate_name``.
        :param addresses: IP addresses that it is for as well.
        """
        hour, day = dt.timedelta(hours=1), dt.timedelta(days=1)
        now = self._now
        start, end = now - hour, now + day - hour
        if defect is Defect.EXPIRED:
            start, end = now - 2 * day, now - day
        elif defect is Defect.NOT_YET_VALID:
            start, end = now + 300 * day, now + 301 * day
        wrong = defect is Defect.WRONG_NAME
        leaf = _Leaf(
            name=_WRONG_NAME if wrong else name,
            addresses=() if wrong else tuple(addresses),
            start=start,
            end=end,
            key=self._leaf_key(defect),
            usage="client" if defect is Defect.WRONG_USAGE else "server",
            alternative=defect is not Defect.NO_ALTERNATIVE_NAME,
        )
        if defect is Defect.SELF_SIGNED:
            return Chain(leaf.key, (self._leaf(leaf, None),))
        if defect is Defect.UNKNOWN_AUTHORITY:
            issuer = self._hidden_intermediate
        elif defect is Defect.NOT_AN_AUTHORITY:
            issuer = self._not_authority
        else:
            issuer = self._intermediate
        certificate = self._leaf(leaf, issuer)
        if defect is Defect.WEAK_SIGNATURE:
            certificate = _signed_with_sha1(certificate, issuer.key)
        if defect is Defect.MISSING_INTERMEDIATE:
            return Chain(leaf.key, (certificate,))
        return Chain(leaf.key, (certificate, issuer.certificate))

    def _leaf_key(self, defect: Defect) -> Any:
        if defect is not Defect.WEAK_KEY:
            return self._key
        if self._weak_key is None:
            from cryptography.hazmat.primitives.asymmetric import rsa

            self._weak_key = rsa.generate_private_key(65537, 1024)  # noqa: S505  (that is what is wrong with it)
        return self._weak_key

    def _builder(self, subject: x509.Name, issuer: x509.Name, key: Any) -> x509.CertificateBuilder:
        from cryptography import x509

        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
        )

    def _authority(
        self, name: str, key: Any, issuer: _Issuer | None, *, signs: bool = True
    ) -> x509.Certificate:
        """The certificate of a root, or of one in the middle; without ``signs`` that is not its right."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        above = issuer.certificate.subject if issuer is not None else _subject(name)
        signer = issuer.key if issuer is not None else key
        hour, years = dt.timedelta(hours=1), dt.timedelta(days=3650)
        usage = x509.KeyUsage(True, False, False, False, False, signs, signs, False, False)
        builder = (
            self._builder(_subject(name), above, key)
            .not_valid_before(self._now - hour)
            .not_valid_after(self._now + years)
            .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if issuer is not None:
            builder = builder.add_extension(_issued_by(issuer), critical=False)
        certificate: x509.Certificate = builder.sign(signer, hashes.SHA256())
        return certificate

    def _signed(self, name: str, issuer: _Issuer, *, signs: bool) -> _Issuer:
        key = self._new_key()
        return _Issuer(self._authority(name, key, issuer, signs=signs), key)

    def _leaf(self, leaf: _Leaf, issuer: _Issuer | None) -> x509.Certificate:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import ExtendedKeyUsageOID

        subject = _subject(leaf.name)
        above = issuer.certificate.subject if issuer is not None else subject
        purpose = (
            ExtendedKeyUsageOID.CLIENT_AUTH if leaf.usage == "client" else ExtendedKeyUsageOID.SERVER_AUTH
        )
        builder = (
            self._builder(subject, above, leaf.key)
            .not_valid_before(leaf.start)
            .not_valid_after(leaf.end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf.key.public_key()), critical=False)
        )
        if leaf.alternative:
            names: list[x509.GeneralName] = [x509.DNSName(leaf.name)]
            names += [x509.IPAddress(ipaddress.ip_address(one)) for one in leaf.addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if issuer is not None:
            builder = builder.add_extension(_issued_by(issuer), critical=False)
        certificate: x509.Certificate = builder.sign(
            issuer.key if issuer is not None else leaf.key, hashes.SHA256()
        )
        return certificate


def _issued_by(issuer: _Issuer) -> x509.AuthorityKeyIdentifier:
    from cryptography import x509

    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


# ecdsa-with-SHA256 (1.2.840.10045.4.3.2) and ecdsa-with-SHA1 (1.2.840.10045.4.1), as DER writes an AlgorithmIdentifier
_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_ECDSA_SHA1: Final = bytes.fromhex("300906072a8648ce3d0401")


def _sequence(octets: bytes) -> bytes:
    """A DER SEQUENCE of these octets."""
    size = len(octets)
    if size < 0x80:
        return bytes((0x30, size)) + octets
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((0x30, 0x80 | len(length))) + length + octets


def _signed_with_sha1(certificate: x509.Certificate, key: Any) -> x509.Certificate:
    """The same certificate, signed with SHA-1; the library, rightly, does not do it: the algorithm is put in by hand."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    outer = certificate.tbs_certificate_bytes
    content = outer[2 + (outer[1] & 0x7F if outer[1] & 0x80 else 0) :]
    body = _sequence(content.replace(_ECDSA_SHA256, _ECDSA_SHA1, 1))
    signature = key.sign(body, ec.ECDSA(hashes.SHA1()))  # noqa: S303  (that is what is wrong with it)
    size = len(signature) + 1
    bits = bytes((0x03, size)) + b"\0" + signature
    return x509.load_der_x509_certificate(_sequence(body + _ECDSA_SHA1 + bits))
