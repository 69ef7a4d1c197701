"""Connections that come through a load balancer, for protocols that do not read the PROXY protocol themselves.

From the configured networks every connection begins with a PROXY header (version 1 or 2), which is read here, within bounds;
the protocol behind it is made afterwards and sees the client's address. From elsewhere connections are taken as they
are, and a header there is just a command that makes no sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxtwisted.smtp.proxyheader import ProxyAddresses, ProxyHeaderError, parse_proxy_header

__all__ = ["ProxiedFactory"]

_log = Logger()

#: Octets of a header, and how long it may take, seconds.
HEADER_OCTETS: Final = 4096
HEADER_SECONDS: Final = 5.0


class ProxiedFactory(Factory):
    """Reads the header before the protocols of another factory, for peers of some networks.

    :param inner: has ``shutdown()``.
    :param networks: as ``192.0.2.0/24``.
    :param clock: for callLater.
    """

    noisy = False

    def __init__(self, inner: Any, networks: Sequence[str], clock: Any) -> None:
        self.inner = inner
        self.clock = clock
        self.waiting: set[_HeaderFirst] = set()
        self._networks = [ip_network(network) for network in networks]

    def buildProtocol(self, addr: Any) -> Any:
        """A protocol, with the header's reader before it where it is due."""
        try:
            ip = ip_address(addr.host.partition("%")[0])
        except (AttributeError, ValueError):
            return self.inner.buildProtocol(addr)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if any(ip in network for network in self._networks):
            return _HeaderFirst(self)
        return self.inner.buildProtocol(addr)

    def shutdown(self) -> Any:
        """End the connections."""
        for reader in list(self.waiting):
            reader.abort()
        return self.inner.shutdown()


class _HeaderFirst(Protocol):
    """Reads the header, then hands the transport over."""

    def __init__(self, factory: ProxiedFactory) -> None:
        self._factory = factory
        self._header = b""
        self._timer: Any = None

    def connectionMade(self) -> None:
        """The header is due."""
        self._factory.waiting.add(self)
        self._timer = self._factory.clock.callLater(HEADER_SECONDS, self.abort)

    def dataReceived(self, data: bytes) -> None:
        """Octets of the header, perhaps more."""
        self._header += data
        transport: Any = self.transport
        try:
            header = parse_proxy_header(self._header, HEADER_OCTETS)
        except ProxyHeaderError:
            _log.info("no PROXY header from {peer}", peer=str(transport.getPeer()))
            self.abort()
            return
        if header is not None:
            self._done()
            self._hand_over(transport, header)

    def _hand_over(self, transport: Any, header: ProxyAddresses) -> None:
        if header.source is not None:
            peer = _address(header.source, header.source_port)
            # Whoever asks the transport, also below TLS, hears of the client.
            transport.getPeer = lambda: peer
        inner = self._factory.inner.buildProtocol(transport.getPeer())
        if inner is None:
            transport.abortConnection()
            return
        transport.protocol = inner
        inner.makeConnection(transport)
        rest = self._header[header.octets :]
        if rest:
            # Not to `inner`: it may have begun TLS.
            transport.protocol.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Gone before the header was."""
        self._done()

    def abort(self) -> None:
        """There is nothing to be said to whoever does not know the protocol."""
        self._done()
        transport: Any = self.transport
        transport.abortConnection()

    def _done(self) -> None:
        self._factory.waiting.discard(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def _address(ip: Any, port: int) -> IPv4Address | IPv6Address:
    kind = IPv4Address if ip.version == 4 else IPv6Address
    return kind("TCP", str(ip), port)
