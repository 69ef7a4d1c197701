"""A self-signed certificate for tests, made once per process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.ssl import Certificate, KeyPair, PrivateCertificate, optionsForClientTLS


@cache
def certificate(*, named: bool = True) -> PrivateCertificate:
    """For mx.example, ECDSA P-256; or with the name in its subject only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.example")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if named:
        names = x509.SubjectAlternativeName([x509.DNSName("mx.example")])
        builder = builder.add_extension(names, critical=False)
    made = builder.sign(key, hashes.SHA256())
    private: Any = key  # the type stubs know RSA and DSA only
    pair = KeyPair(crypto.PKey.from_cryptography_key(private))
    return PrivateCertificate.fromCertificateAndKeyPair(
        Certificate(crypto.X509.from_cryptography(made)), pair
    )


def server_context() -> Any:
    """What a server gives to startTLS; it asks for a client certificate and takes any."""
    options = certificate().options()
    context = options.getContext()
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    context.set_session_id(b"tests")
    return options


def client_creator(name: str = "mx.example", *, trust: bool = True, key: bool = False) -> Any:
    """What a client gives to startTLS."""
    root = Certificate(certificate().original) if trust else None
    return optionsForClientTLS(name, trustRoot=root, clientCertificate=certificate() if key else None)
