"""A key for a mail program to log in with, in the certificate that TLS wants around it.

::

    certificate_pem, key_pem = client_key(now=time.time())

Nobody looks at anything in the certificate but the key, so there is next to nothing else in it, and it does not run out.
"""

from __future__ import annotations

import datetime as dt

__all__ = ["client_key"]


def client_key(*, now: float) -> tuple[bytes, bytes]:
    """Make an Ed25519 key and a minimal certificate for it.

    :param now: seconds since 1970.
    :return: certificate and key in PEM, the key not encrypted: give its file mode 0600.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    start = dt.datetime.fromtimestamp(now, dt.UTC).replace(microsecond=0) - dt.timedelta(hours=1)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail client")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        # RFC 5280 section 4.1.2.5: the value for a certificate that has no good expiration date.
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
        .sign(key, None)
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
