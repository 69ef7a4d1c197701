"""Who is at the other end, and what TLS says about them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Any

from attrs import frozen

__all__ = ["Peer", "TLSInfo", "inspect_tls"]


@frozen(kw_only=True)
class Peer:
    """The ends of a connection.

    @ivar ip: the client's address; None for a unix socket. IPv4-mapped IPv6 addresses are given as IPv4.
    @ivar port: the client's port.
    @ivar local_ip: our address; None for a unix socket.
    @ivar local_port: our port.
    @ivar proxy_ip: the proxy that told us C{ip} by a PROXY protocol header; None without.
    """

    ip: IPv4Address | IPv6Address | None
    port: int = 0
    local_ip: IPv4Address | IPv6Address | None = None
    local_port: int = 0
    proxy_ip: IPv4Address | IPv6Address | None = None


@frozen(kw_only=True)
class TLSInfo:
    """What a finished TLS handshake tells.

    @ivar version: C{"TLSv1.3"}.
    @ivar cipher: the suite's name as OpenSSL writes it.
    @ivar server_name: the name the client asked for (SNI), or None.
    @ivar channel_bindings: by type: C{"tls-exporter"} (RFC 9266), C{"tls-unique"} (RFC 5929), each with the
        values that are right.
    @ivar client_key_sha256: SHA-256 of the client certificate's SubjectPublicKeyInfo (32 octets), or None.
    """

    version: str
    cipher: str
    server_name: str | None = None
    channel_bindings: Mapping[str, tuple[bytes, ...]] = MappingProxyType({})
    client_key_sha256: bytes | None = None


def inspect_tls(connection: Any) -> TLSInfo:
    """Facts of a finished handshake from a pyOpenSSL connection (C{transport.getHandle()} under Twisted)."""
    version = connection.get_protocol_version_name()
    certificate = connection.get_peer_certificate()
    key: bytes | None = None
    if certificate is not None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        spki = (
            certificate.to_cryptography()
            .public_key()
            .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
        key = sha256(spki).digest()
    name = connection.get_servername()
    return TLSInfo(
        version=version,
        cipher=connection.get_cipher_name() or "",
        server_name=name.decode("ascii", "replace") if name else None,
        channel_bindings=_channel_bindings(connection, version),
        client_key_sha256=key,
    )


def _channel_bindings(connection: Any, version: str) -> dict[str, tuple[bytes, ...]]:
    bindings: dict[str, tuple[bytes, ...]] = {}
    if version == "TLSv1.3":
        # RFC 9266 section 4.2: with TLS 1.2 the exporter binds only with the extended master secret, of which
        # OpenSSL tells nothing here; so we take it for TLS 1.3 alone.
        bindings["tls-exporter"] = (connection.export_keying_material(b"EXPORTER-Channel-Binding", 32),)
    elif version == "TLSv1.2":
        # RFC 5929 section 3: the first Finished message is the client's, after resumption the server's. Both belong to
        # this connection alone, so either will do.
        finished = (connection.get_peer_finished(), connection.get_finished())
        bindings["tls-unique"] = tuple(f for f in finished if f)
    return bindings
