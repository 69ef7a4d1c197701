"""Who is at the other end, and what TLS says about them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from moxtwisted.sasl.agent import channel_bindings, client_key_sha256

__all__ = ["Peer", "TLSInfo", "client_address", "inspect_tls"]


def client_address(host: str) -> IPv4Address | IPv6Address | None:
    """A peer's address as a socket says it, IPv4 out of its IPv6 clothing, without a zone; None when it is none."""
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


@frozen(kw_only=True)
class Peer:
    """The ends of a connection.

    :ivar ip: the client's address; None for a unix socket. IPv4-mapped IPv6 addresses are given as IPv4.
    :ivar port: the client's port.
    :ivar local_ip: our address; None for a unix socket.
    :ivar local_port: our port.
    :ivar proxy_ip: the proxy that told us ``ip`` by a PROXY protocol header; None without.
    :ivar ip_text: the client's address as text, ``None`` for a unix socket.
    :ivar local: whether the client is on this machine.
    """

    ip: IPv4Address | IPv6Address | None
    port: int = 0
    local_ip: IPv4Address | IPv6Address | None = None
    local_port: int = 0
    proxy_ip: IPv4Address | IPv6Address | None = None

    ip_text: str = field(init=False, eq=False, repr=False)
    local: bool = field(init=False, eq=False, repr=False)

    @ip_text.default
    def _write_ip(self) -> str:
        return str(self.ip)

    @local.default
    def _is_local(self) -> bool:
        return self.ip is None or self.ip.is_loopback


@frozen(kw_only=True)
class TLSInfo:
    """What a finished TLS handshake tells.

    :ivar version: ``"TLSv1.3"``.
    :ivar cipher: the suite's name as OpenSSL writes it.
    :ivar server_name: the name the client asked for (SNI), or None.
    :ivar channel_bindings: by type: ``"tls-exporter"`` (RFC 9266), ``"tls-unique"``,
        ``"tls-server-end-point"`` (RFC 5929), each with the
        values that are right; a client uses the first.
    :ivar client_key_sha256: SHA-256 of the client certificate's SubjectPublicKeyInfo (32 octets), or None.
    """

    version: str
    cipher: str
    server_name: str | None = None
    channel_bindings: Mapping[str, tuple[bytes, ...]] = MappingProxyType({})
    client_key_sha256: bytes | None = None


def inspect_tls(connection: Any, *, server: bool = True) -> TLSInfo:
    """Facts of a finished handshake from a pyOpenSSL connection (``transport.getHandle()`` under Twisted).

    :param server: whether we are the server of it. For a client ``client_key_sha256`` is the server's key.
    """
    name = connection.get_servername()
    return TLSInfo(
        version=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name() or "",
        server_name=name.decode("ascii", "replace") if name else None,
        channel_bindings=channel_bindings(connection, server=server),
        client_key_sha256=client_key_sha256(connection),
    )
