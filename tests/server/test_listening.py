"""Ports are bound early and served late."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from moxtwisted.server.listening import ListeningService, TCPAddress, UnixAddress


class Greeter(Protocol):
    def connectionMade(self) -> None:
        """Greet and go."""
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Reader(Protocol):
    def __init__(self, done: Deferred[bytes]) -> None:
        self.done = done
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        """Collect."""
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        """Tell."""
        self.done.callback(self.data)


class ListeningTests(TestCase):
    def service(self, address: TCPAddress | UnixAddress) -> ListeningService:
        """A service that is stopped after the test."""
        service = ListeningService(reactor, address, Factory.forProtocol(Greeter))
        self.addCleanup(service.stopService)
        return service

    async def test_serves_after_both_starts(self) -> None:
        """A port bound in the privileged start takes connections after the start."""
        service = self.service(TCPAddress("127.0.0.1", 0))
        service.privilegedStartService()
        self.assertIsNone(service.port)
        service.startService()
        assert service.port is not None
        done: Deferred[bytes] = Deferred()
        factory = Factory.forProtocol(lambda: Reader(done))
        await TCP4ClientEndpoint(reactor, "127.0.0.1", service.port.getHost().port).connect(factory)  # type: ignore[attr-defined]
        self.assertEqual(await done, b"hello")

    def test_taken(self) -> None:
        """A port that somebody has fails the privileged start with the reason."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            service = self.service(TCPAddress("127.0.0.1", other.getsockname()[1]))
            error = self.assertRaises(CannotListenError, service.privilegedStartService)
            self.assertIn("another program", str(error))

    def test_not_ours(self) -> None:
        """An address that the machine does not have is told as such."""
        error = self.assertRaises(
            CannotListenError, self.service(TCPAddress("192.0.2.1", 0)).privilegedStartService
        )
        self.assertIn("does not have", str(error))

    def test_both_families(self) -> None:
        """The same port can be had on all of IPv4 and on all of IPv6."""
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("this machine has no IPv6")
        first = self.service(TCPAddress("0.0.0.0", 0))
        first.startService()
        assert first.port is not None
        second = self.service(TCPAddress("::", first.port.getHost().port))  # type: ignore[attr-defined]
        second.startService()
        self.assertIsNotNone(second.port)

    def test_stopped_between(self) -> None:
        """A start that failed elsewhere gives the port back."""
        service = self.service(TCPAddress("127.0.0.1", 0))
        service.privilegedStartService()
        service.stopService()
        self.assertIsNone(service._bound)

    def test_unix(self) -> None:
        """A left-over unix socket is replaced; the mode is as asked."""
        path = Path(self.mktemp())
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        service = self.service(UnixAddress(path, 0o666))
        service.startService()
        self.assertEqual(path.stat().st_mode & 0o777, 0o666)
