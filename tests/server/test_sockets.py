"""Listening sockets."""

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

from moxtwisted.server.sockets import listen_tcp, listen_unix


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
    def listen(self, ip: str, number: int) -> int:
        """Listen there until the test ends; the port's number."""
        port: Any = listen_tcp(reactor, ip, number, Factory.forProtocol(Greeter))
        self.addCleanup(port.stopListening)
        chosen: int = port.getHost().port
        return chosen

    async def test_serves(self) -> None:
        """Connections reach the factory."""
        number = self.listen("127.0.0.1", 0)
        done: Deferred[bytes] = Deferred()
        factory = Factory.forProtocol(lambda: Reader(done))  # type: ignore[arg-type]
        await TCP4ClientEndpoint(reactor, "127.0.0.1", number).connect(factory)
        self.assertEqual(await done, b"hello")

    def test_taken(self) -> None:
        """A port that somebody has is refused with the reason."""
        number = self.listen("127.0.0.1", 0)
        error = self.assertRaises(CannotListenError, self.listen, "127.0.0.1", number)
        self.assertIn("another program", str(error))

    def test_not_ours(self) -> None:
        """An address that the machine does not have is told as such."""
        error = self.assertRaises(CannotListenError, self.listen, "192.0.2.1", 0)
        self.assertIn("does not have", str(error))

    def test_both_families(self) -> None:
        """The same port can be had on all of IPv4 and on all of IPv6."""
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("this machine has no IPv6")
        number = self.listen("0.0.0.0", 0)
        self.assertEqual(self.listen("::", number), number)

    def test_unix(self) -> None:
        """A left-over unix socket is replaced; the mode is as asked."""
        path = Path(self.mktemp())
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        port: Any = listen_unix(reactor, path, Factory.forProtocol(Greeter), 0o666)
        self.addCleanup(port.stopListening)
        self.assertEqual(path.stat().st_mode & 0o777, 0o666)
