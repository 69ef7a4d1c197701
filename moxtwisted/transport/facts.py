"""What a server's machine is told of the transport; it looks at none itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

__all__ = ["Transport"]


@frozen
class Transport:
    """What is known of the transport.

    :ivar peer: whatever the host uses for the client's address; given to the authenticator.
    :ivar tls: whether it is encrypted.
    :ivar client_key: whether the client showed a certificate.
    :ivar channel_bindings: by type, as ``tls-exporter``, for SCRAM with -PLUS.
    """

    peer: Any = None
    tls: bool = False
    client_key: bool = False
    channel_bindings: Mapping[str, Sequence[bytes]] = field(factory=dict)
