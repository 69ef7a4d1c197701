"""Certificates that nobody but ourselves vouches for: for tests, ``localserve``, and until a real one is there.

::

    certificate_pem, key_pem = self_signed(("localhost", "127.0.0.1"), now=time.time())
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["self_signed"]


def _name(text: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def self_signed(
    hostnames: Sequence[str], *, now: float, key_type: str = "ecdsa", days: float = 3650.0
) -> tuple[bytes, bytes]:
    """Make a key and a certificate for it.

    :param hostnames: DNS names in ASCII and IP addresses, at least one; the first is also the subject.
    :param now: seconds since 1970; validity begins an hour before, for clocks that are late.
    :param key_type: ``"ecdsa"`` (P-256) or ``"rsa"`` (2048 bits, about 0.1 s of work).
    :param days: how long it is valid.
    :return: certificate and key in PEM, the key not encrypted: give its file mode 0600.
    :raise ValueError: for no name, a name beyond ASCII or another type of key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if not hostnames:
        raise ValueError("a certificate needs a name")
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if key_type == "ecdsa":
        key = ec.generate_private_key(ec.SECP256R1())
    elif key_type == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    else:
        raise ValueError(f"no such type of key: {key_type}")
    start = dt.datetime.fromtimestamp(now, dt.UTC).replace(microsecond=0)
    # RFC 5280 appendix A.1: a common name has at most 64 characters
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostnames[0][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - dt.timedelta(hours=1))
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_name(text) for text in hostnames]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
