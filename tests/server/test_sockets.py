"""Listening sockets."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
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


class Pieces(Protocol):
    """Writes these, notes when they were gone from memory, and ends."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.waiting: list[bool] = []

    def connectionMade(self) -> None:
        """Write all of them."""
        transport: Any = self.transport
        for piece in self.pieces:
            transport.write(piece)
            self.waiting.append(bool(transport.dataBuffer or transport._tempDataBuffer))
        transport.loseConnection()


class Pushed(Pieces):
    """A producer that pushes until it is told to wait."""

    def connectionMade(self) -> None:
        """Be one."""
        self.going, self.paused = False, 0
        self.left = iter(self.pieces)
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Wait."""
        self.going = False
        self.paused += 1

    def stopProducing(self) -> None:
        """The connection is gone."""
        self.going = False

    def resumeProducing(self) -> None:
        """Push."""
        self.going = True
        transport: Any = self.transport
        while self.going:
            piece = next(self.left, None)
            if piece is None:
                transport.unregisterProducer()
                transport.loseConnection()
                return
            transport.write(piece)
            self.waiting.append(bool(transport.dataBuffer or transport._tempDataBuffer))


class Pulled(Protocol):
    """A producer that is asked for each piece."""

    def connectionMade(self) -> None:
        """Ask to be asked."""
        transport: Any = self.transport
        self.left = 5
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """One piece."""
        transport: Any = self.transport
        self.left -= 1
        transport.write(b"piece")
        if self.left == 0:
            transport.unregisterProducer()
            transport.loseConnection()


class PromptTests(TestCase):
    async def heard(self, protocol: Protocol) -> bytes:
        """What a client gets from this protocol."""
        port: Any = listen_tcp(reactor, "127.0.0.1", 0, Factory.forProtocol(lambda: protocol))  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        done: Deferred[bytes] = Deferred()
        factory = Factory.forProtocol(lambda: Reader(done))  # type: ignore[arg-type]
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(factory)
        return await done

    async def test_at_once(self) -> None:
        """What is written has left when the call returns."""
        protocol = Pieces([b"one", b"", b"two"])
        self.assertEqual(await self.heard(protocol), b"onetwo")
        self.assertEqual(protocol.waiting, [False, False, False])

    async def test_more_than_the_socket_takes(self) -> None:
        """What the socket does not take waits, and what comes later stays behind it."""
        pieces = [bytes([n]) * 60_000 for n in range(200)] + [b"x" * 3_000_000, b"the end"]
        protocol = Pieces(pieces)
        self.assertEqual(await self.heard(protocol), b"".join(pieces))
        self.assertFalse(protocol.waiting[0])
        self.assertTrue(protocol.waiting[-1])

    async def test_push_producer(self) -> None:
        """What a producer pushes goes out at once until the socket is full; then it waits and is told to go on."""
        pieces = [bytes([n]) * 60_000 for n in range(200)]
        protocol = Pushed(pieces)
        self.assertEqual(await self.heard(protocol), b"".join(pieces))
        self.assertFalse(protocol.waiting[0])
        self.assertGreater(protocol.paused, 0)

    async def test_pull_producer(self) -> None:
        """A producer that is asked for each piece is asked again, though each would go out at once."""
        self.assertEqual(await self.heard(Pulled()), b"piece" * 5)

    async def test_client_is_gone(self) -> None:
        """Writing to a connection that broke ends it, without an error in the writer."""
        lost: Deferred[None] = Deferred()

        class Patient(Protocol):
            def connectionLost(self, reason: Any = None) -> None:
                """Tell."""
                lost.callback(None)

        made: list[Patient] = []

        def build() -> Patient:
            made.append(Patient())
            return made[-1]

        port: Any = listen_tcp(reactor, "127.0.0.1", 0, Factory.forProtocol(build))  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            while not made:
                await deferLater(reactor, 0.005)
            transport: Any = made[0].transport
            transport.stopReading()
            # RST instead of FIN
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for _ in range(3):
            transport.write(b"anybody?")
        await lost

    async def test_acknowledged(self) -> None:
        """What gets no answer is acknowledged at once, so that the client may send the next small piece; what is at work is not."""
        events: list[str] = []

        class Worker(Protocol):
            at_work = False

            def dataReceived(self, data: bytes) -> None:
                """Note it."""
                events.append(data.decode())
                self.at_work = data == b"all of it"

        port: Any = listen_tcp(reactor, "127.0.0.1", 0, Factory.forProtocol(Worker))
        self.addCleanup(port.stopListening)
        real = socket.socket.setsockopt

        def note(self: socket.socket, *arguments: Any) -> None:
            if arguments == (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1):
                events.append("acknowledged")
            real(self, *arguments)

        with (
            patch.object(socket.socket, "setsockopt", note),
            socket.create_connection(("127.0.0.1", port.getHost().port)) as client,
        ):
            for said in (b"all of it", b"a piece"):
                client.sendall(said)
                while said.decode() not in events:
                    await deferLater(reactor, 0.005)
        self.assertEqual(events, ["all of it", "a piece", "acknowledged"])
