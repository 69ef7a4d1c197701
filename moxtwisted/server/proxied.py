"""Connections that come through a load balancer, for protocols that do not read the PROXY protocol themselves.

From the configured networks every connection begins with a PROXY header (version 1 or 2), which Twisted's parser reads and
bounds; the protocol behind it sees the client's address. From elsewhere connections are taken as they are, and a
header there is just a command that makes no sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

__all__ = ["ProxiedFactory"]


class ProxiedFactory(Factory):
    """Puts the header's parser before the protocols of another factory, for peers of some networks.

    :param inner: has ``shutdown()``.
    :param networks: as ``192.0.2.0/24``.
    """

    noisy = False

    def __init__(self, inner: Any, networks: Sequence[str]) -> None:
        self._inner = inner
        self._networks = [ip_network(network, strict=False) for network in networks]
        self._wrapping = HAProxyWrappingFactory(inner)

    def buildProtocol(self, addr: Any) -> Any:
        """A protocol, with the parser before it where it is due."""
        try:
            ip = ip_address(addr.host.partition("%")[0])
        except (AttributeError, ValueError):
            return self._inner.buildProtocol(addr)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if any(ip in network for network in self._networks):
            return self._wrapping.buildProtocol(addr)
        return self._inner.buildProtocol(addr)

    def shutdown(self) -> Any:
        """End the connections."""
        return self._inner.shutdown()
