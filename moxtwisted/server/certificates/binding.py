"""Facts of a Twisted transport's TLS, for listeners: see ``moxtwisted.sasl.agent`` for those of a connection.

::

    bindings = channel_bindings(self.transport)        # {'tls-exporter': (b'...',), 'tls-server-end-point': (b'...',)}
    fingerprint = client_key_fingerprint(self.transport)

They want the handshake to be over, as it is when the first octet of a command came in. Without TLS the answers are empty.
"""

from __future__ import annotations

from typing import Any

from moxtwisted.sasl import agent

__all__ = ["channel_bindings", "client_key_fingerprint", "tls_connection", "tls_description"]


def tls_connection(transport: Any) -> Any:
    """The OpenSSL connection of a Twisted transport after startTLS or under a TLSMemoryBIOFactory; else ``None``."""
    get_handle = getattr(transport, "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    return handle if hasattr(handle, "export_keying_material") else None


def channel_bindings(transport: Any, *, server: bool = True) -> dict[str, tuple[bytes, ...]]:
    """Channel-binding data by type name; see ``agent.channel_bindings``."""
    connection = tls_connection(transport)
    return {} if connection is None else agent.channel_bindings(connection, server=server)


def client_key_fingerprint(transport: Any) -> str:
    """SHA-256 of the client's key, 64 hexadecimal digits; empty when it showed none."""
    connection = tls_connection(transport)
    key = agent.client_key_sha256(connection) if connection is not None else None
    return key.hex() if key is not None else ""


def tls_description(transport: Any) -> str:
    """Version and cipher suite for ``Received`` fields and logs, as ``TLSv1.3 TLS_AES_256_GCM_SHA384``; empty = no TLS."""
    connection = tls_connection(transport)
    if connection is None or connection.get_cipher_name() is None:
        return ""
    return f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"
