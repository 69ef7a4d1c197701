"""Certificate and key files: read, checked against each other, and described.

::

    pair = load_pair(CertificateFiles("tls/mail.crt", "tls/mail.key"))
    pair.names       # ('mail.example.org', '*.example.net')
    pair.kind        # 'ecdsa'
    same = make_pair(pair.files, pair.certificate_pem(), pair.key_pem())    # without the files

A message of a ``ConfigurationError`` from here names the file and what is wrong with it, and never shows a key.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from moxtwisted.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

__all__ = ["CertificateFiles", "Pair", "Signature", "load_pair", "make_pair", "signature"]

MAX_FILE_OCTETS = 1 << 20

Signature = tuple[tuple[int, int, int], ...]
"""What tells that files changed: (mtime in ns, octets, inode) of each; empty for files that are not there."""


@frozen
class CertificateFiles:
    """A pair of PEM files.

    :ivar certificate: path of the certificate, followed by its chain, leaf first.
    :ivar key: path of its private key, not encrypted; may be the same file.
    """

    certificate: str
    key: str


@frozen
class Pair:
    """A certificate that fits its key.

    :ivar names: DNS names of the certificate in lower case, as ``mail.example.org`` or ``*.example.org``.
    :ivar kind: ``"rsa"``, ``"ecdsa"`` or ``"ed25519"``; a TLS context holds one pair of each.
    :ivar not_before: start of validity, seconds since 1970.
    :ivar not_after: its end.
    :ivar signature: of the files at the time; empty when they were not read here.
    """

    files: CertificateFiles
    names: tuple[str, ...]
    kind: str
    not_before: float
    not_after: float
    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    private_key: PrivateKeyTypes = field(repr=False)
    signature: Signature

    def certificate_pem(self) -> bytes:
        """The certificate and its chain, leaf first."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return b"".join(each.public_bytes(Encoding.PEM) for each in (self.leaf, *self.chain))

    def key_pem(self) -> bytes:
        """The private key, not encrypted: for a process of ours, and nowhere else."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def warning(self, now: float) -> str:
        """Why peers may not accept it, or empty."""
        if now >= self.not_after:
            return f"{self.files.certificate}: the certificate has expired"
        if now < self.not_before:
            return f"{self.files.certificate}: the certificate is not valid yet"
        return ""


def signature(files: CertificateFiles) -> Signature:
    """The present ``Signature`` of a pair of files; differs when one of them was replaced or changed."""
    found = []
    for path in (files.certificate, files.key):
        try:
            status = Path(path).stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def _read(path: str, what: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_OCTETS + 1)
    except OSError as e:
        raise ConfigurationError((f"{path}: {what} cannot be read: {e.strerror}",)) from None
    if len(data) > MAX_FILE_OCTETS:
        raise ConfigurationError((f"{path}: {what} is larger than {MAX_FILE_OCTETS} octets",))
    return data


def _certificates(data: bytes, path: str) -> list[x509.Certificate]:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ConfigurationError((f"{path}: no PEM certificate in the file, or a damaged one",)) from None
    return found


def _private_key(data: bytes, path: str) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(data, None)
    except TypeError:
        problem = "the private key is encrypted; the server needs it without passphrase"
    except UnsupportedAlgorithm:
        problem = "the private key is of a kind that is not supported"
    except ValueError:
        problem = "no PEM private key in the file, or a damaged one"
    raise ConfigurationError((f"{path}: {problem}",))


def _kind(key: PrivateKeyTypes, path: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < 2048:
            raise ConfigurationError((f"{path}: an RSA key of {key.key_size} bits; 2048 is the least",))
        return "rsa"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ecdsa"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ConfigurationError((f"{path}: the private key is neither RSA nor ECDSA nor Ed25519",))


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        # RFC 6125 section 6.4.4: the common name counts only when there is no other; clients ignore it by now, but
        # it still tells what the operator meant the certificate for.
        attributes = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        names = [str(attribute.value) for attribute in attributes]
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in names))


def load_pair(files: CertificateFiles) -> Pair:
    """Read a pair of files and check that they belong together.

    :raise ConfigurationError: when a file is missing, unreadable or damaged, or the two do not belong together.
    """
    taken = signature(files)
    certificate_pem = _read(files.certificate, "certificate file")
    return make_pair(files, certificate_pem, _read(files.key, "key file"), taken)


def make_pair(files: CertificateFiles, certificate_pem: bytes, key_pem: bytes, taken: Signature = ()) -> Pair:
    """A pair of what was in files.

    :param files: their names, for messages and descriptions; they are not looked at.
    :param certificate_pem: the certificate, followed by its chain.
    :param key_pem: its key, not encrypted.
    :param taken: the signature of the files.
    :raise ConfigurationError: when something is damaged, or the two do not belong together.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    leaf, *chain = _certificates(certificate_pem, files.certificate)
    key = _private_key(key_pem, files.key)
    kind = _kind(key, files.key)

    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*spki) != key.public_key().public_bytes(*spki):
        raise ConfigurationError(
            (f"{files.key}: the private key does not belong to the certificate in {files.certificate}",)
        )
    return Pair(
        files=files,
        names=_names(leaf),
        kind=kind,
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        leaf=leaf,
        chain=tuple(chain),
        private_key=key,
        signature=taken,
    )
