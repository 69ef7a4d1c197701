"""Facts of a TLS connection that authentication needs: channel-binding data and the client's key.

They are read from a pyOpenSSL connection once the handshake is over (``transport.getHandle()`` under Twisted)::

    bindings = channel_bindings(connection)        # {'tls-exporter': (b'...',), 'tls-server-end-point': (b'...',)}
    key = client_key_sha256(connection)            # for EXTERNAL
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["channel_bindings", "client_key_sha256", "end_point_binding", "nameless", "public_key_sha256"]

_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"


def channel_bindings(connection: Any, *, server: bool = True) -> dict[str, tuple[bytes, ...]]:
    """Channel-binding data by type name.

    TLS 1.3 has ``tls-exporter`` (RFC 9266), TLS 1.2 ``tls-unique`` (RFC 5929 section 3), both ``tls-server-end-point``.

    :param connection: an OpenSSL connection after its handshake.
    :param server: whether we are the server of the connection.
    """
    found: dict[str, tuple[bytes, ...]] = {}
    if connection.get_protocol_version_name() == "TLSv1.3":
        # RFC 9266 section 2: 32 octets for this label and an empty context.
        found["tls-exporter"] = (connection.export_keying_material(_EXPORTER_LABEL, 32, b""),)
    else:
        unique = _unique(connection, server=server)
        if unique:
            found["tls-unique"] = (unique,)
    end_points = tuple(
        data for data in map(end_point_binding, _server_certificates(connection, server=server)) if data
    )
    if end_points:
        found["tls-server-end-point"] = end_points
    return found


def nameless(connection: Any) -> bool:
    """Whether the server's certificate was to be verified, and names no host: no password may be sent to such a server.

    :param connection: an OpenSSL connection after its handshake, in which we were the client.
    """
    # RFC 6125 section 6.4.4: a name in the subject alone may be left aside, and service_identity does so. What it raises for such a
    # certificate is no VerificationError, so that ClientTLSOptions of Twisted 26.10 logs it and takes the certificate for anybody's.
    from service_identity.exceptions import CertificateError
    from service_identity.pyopenssl import extract_patterns

    if not connection.get_verify_mode():
        return False
    try:
        return not extract_patterns(connection.get_peer_certificate())
    except CertificateError:
        return True


def _resumed(connection: Any) -> bool | None:
    """Whether the session was resumed; ``None`` when this pyOpenSSL cannot tell."""
    from OpenSSL import SSL

    # pyOpenSSL binds the function, but has no method for it yet
    library: Any = vars(SSL).get("_lib")
    try:
        return bool(library.SSL_session_reused(connection._ssl) == 1)  # noqa: SLF001
    except AttributeError:
        return None


def _server_certificates(connection: Any, *, server: bool) -> Sequence[x509.Certificate]:
    if server:
        every = connection.get_context().get_app_data()
        if every and len(every) > 1 and _resumed(connection) is not False:
            # The client knows the certificate of the first handshake; OpenSSL has forgotten which one it was. All are
            # ours, so a match with any of them means that nobody sits between us.
            return tuple(every)
        certificate = connection.get_certificate(as_cryptography=True)
    else:
        certificate = connection.get_peer_certificate(as_cryptography=True)
    return () if certificate is None else (certificate,)


def _unique(connection: Any, *, server: bool) -> bytes:
    """The first Finished message of the handshake, or nothing when it would not be safe."""
    from OpenSSL import SSL

    resumed = _resumed(connection)
    library: Any = vars(SSL).get("_lib")
    extended = getattr(library, "SSL_get_extms_support", lambda _: 0)
    if resumed is None or extended(connection._ssl) != 1:  # noqa: SLF001
        # RFC 7627: without the extended master secret, somebody between us can make two connections look alike.
        return b""
    # RFC 5929 section 3.1: the client's Finished is the first one in a full handshake, the server's when resuming.
    first = connection.get_peer_finished() if server != resumed else connection.get_finished()
    return first or b""


def end_point_binding(certificate: x509.Certificate) -> bytes:
    """``tls-server-end-point`` data of a server's certificate; empty when the type is not defined for it.

    RFC 5929 section 4.1: the certificate hashed by the hash of its signature, but SHA-256 in place of MD5 and SHA-1; a
    signature without a hash of its own (Ed25519) has none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return b""
    if algorithm is None:
        return b""
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, certificate.public_bytes(Encoding.DER)).digest()


def public_key_sha256(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo, 32 octets: the same for every certificate of a key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def client_key_sha256(connection: Any) -> bytes | None:
    """``public_key_sha256`` of the client's certificate; None when it showed none.

    TLS has made the client prove that it holds the key; nothing else in the certificate was looked at.
    """
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return None
    try:
        return public_key_sha256(certificate)
    except ValueError:
        # a key that cryptography cannot read; UnsupportedAlgorithm is no ValueError, but needs a key type that
        # OpenSSL verified and cryptography does not know
        return None
