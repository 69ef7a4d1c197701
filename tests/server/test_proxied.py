"""Connections through a load balancer, before protocols that know nothing of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.server.proxied import ProxiedFactory
from tests.server.house import HouseCase, Transport

V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 143\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes([203, 0, 113, 9, 192, 0, 2, 1]) + b"\x12\x67\x00\x8f"
V6 = b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 143\r\n"


class Inner(Protocol):
    """Notes what it sees."""

    def __init__(self) -> None:
        self.seen: Any = None
        self.octets = b""
        self.lost = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.seen = transport.getPeer()

    def dataReceived(self, data: bytes) -> None:
        self.octets += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


class InnerFactory(Factory):
    """Makes them."""

    def __init__(self) -> None:
        self.made: list[Inner] = []

    def buildProtocol(self, addr: Any) -> Inner:
        self.made.append(Inner())
        return self.made[-1]

    def shutdown(self) -> Any:
        return succeed(None)


class ProxiedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.inner = InnerFactory()
        self.factory = ProxiedFactory(self.inner, ["192.0.2.0/24"], self.clock)

    def connect(self, ip: str = "192.0.2.77") -> Transport:
        peer = IPv4Address("TCP", ip, 5000)
        transport: Any = Transport(peerAddress=peer)
        transport.protocol = self.factory.buildProtocol(peer)
        transport.protocol.makeConnection(transport)
        return transport

    def test_client_is_seen(self) -> None:
        """The protocol is made when the header is whole, in any pieces, and sees the client's address and what follows."""
        for header, host in ((V1, "203.0.113.9"), (V2, "203.0.113.9"), (V6, "2001:db8::9")):
            for size in (1, 7, 1000):
                transport: Any = self.connect()
                octets = header + b"hello"
                for start in range(0, len(octets), size):
                    transport.protocol.dataReceived(octets[start : start + size])
                inner = self.inner.made[-1]
                self.assertEqual((inner.seen.host, inner.seen.port), (host, 4711))
                self.assertEqual(inner.octets, b"hello")
                transport.loseConnection()
                self.assertTrue(inner.lost)
        self.assertEqual(self.factory.waiting, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_balancer_itself(self) -> None:
        """A header of the balancer for itself leaves its own address."""
        transport: Any = self.connect()
        transport.protocol.dataReceived(b"PROXY UNKNOWN\r\n")
        self.assertEqual(self.inner.made[-1].seen.host, "192.0.2.77")

    def test_strangers(self) -> None:
        """From elsewhere no header is read; whoever sends one is not believed."""
        transport: Any = self.connect("198.51.100.1")
        transport.protocol.dataReceived(V1)
        self.assertEqual(self.inner.made[-1].seen.host, "198.51.100.1")
        self.assertEqual(self.inner.made[-1].octets, V1)

    def test_no_header(self) -> None:
        """What does not begin with a header, or does not end it, is dropped without a word."""
        for octets in (b"a1 CAPABILITY\r\n", b"PROXY TCP4 x\r\n", b"PROXY TCP4 " + b"1" * 200):
            transport: Any = self.connect()
            transport.protocol.dataReceived(octets)
            self.assertFalse(transport.connected)
            self.assertEqual(transport.value(), b"")
        self.assertEqual(self.inner.made, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_slow(self) -> None:
        """Who sends nothing for five seconds is dropped."""
        transport: Any = self.connect()
        transport.protocol.dataReceived(V1[:10])
        self.clock.advance(5)
        self.assertFalse(transport.connected)

    def test_shutdown(self) -> None:
        """Stopping drops those that did not finish their header."""
        transport: Any = self.connect()
        self.factory.shutdown()
        self.assertFalse(transport.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class IMAPTests(HouseCase):
    def test_limits_are_the_clients(self) -> None:
        """An IMAP connection through a balancer counts for the client, and is given back when it ends."""
        direct = self.house.imap("203.0.113.1")
        direct.drop()
        factory = ProxiedFactory(self.house.imap_factory, ["192.0.2.0/24"], self.house.clock)
        peer = IPv4Address("TCP", "192.0.2.77", 5000)
        transport: Any = Transport(peerAddress=peer)
        transport.protocol = factory.buildProtocol(peer)
        transport.protocol.makeConnection(transport)
        self.assertEqual(transport.value(), b"")
        transport.protocol.dataReceived(V1)
        self.assertIn(b"* OK", transport.value())
        self.assertEqual(self.house.connections.open_connections("203.0.113.9")[0], 1)
        transport.loseConnection()
        self.assertEqual(self.house.leaks(), [])
