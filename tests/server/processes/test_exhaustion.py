"""Descriptors that there is no room for, and connections that cannot be handed on."""

from __future__ import annotations

import os
import resource
import socket
from enum import IntEnum
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from moxtwisted.server.processes.link import Link
from moxtwisted.server.sockets import adopt_link, divert, listen_tcp


class Word(IntEnum):
    """That is said here."""

    CONNECTION = 2


class _Greeting(Protocol):
    def connectionMade(self) -> None:
        """Say so."""
        transport = self.transport
        if transport is not None:
            transport.write(b"here")
            transport.loseConnection()


class ExhaustionTests(TestCase):
    timeout = 20

    async def test_port(self) -> None:
        """A connection that whoever takes them fails on is closed; the port lives, and serves the next."""
        port: Any = listen_tcp(reactor, "127.0.0.1", 0, Factory.forProtocol(_Greeting))
        self.addCleanup(port.stopListening)
        failures = [RuntimeError(), MemoryError()]

        def take(taken: socket.socket) -> bool:
            if failures:
                raise failures.pop()
            return False

        divert(port, take)

        def come() -> bytes:
            with socket.create_connection(("127.0.0.1", port.getHost().port), 10) as client:
                return client.recv(10)

        self.assertEqual([await deferToThread(come) for _ in range(3)], [b"", b"", b"here"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError, MemoryError)), 2)

    async def test_lost(self) -> None:
        """A descriptor that there was no room for ends the link: the next one is not taken for it."""
        heard: list[bytes] = []
        ended: Deferred[None] = Deferred()

        def hear(word: Word, values: list[object]) -> None:
            descriptor = taker.descriptor()
            heard.append(os.read(descriptor, 10))
            os.close(descriptor)

        sender = Link(Word, lambda *_: None, lambda: None)
        taker = Link(Word, hear, lambda: ended.callback(None))
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            other.setblocking(False)
            adopt_link(reactor, one.fileno(), sender)
            adopt_link(reactor, other.fileno(), taker)
        self.addCleanup(sender.abort)
        for number in (1, 2):
            reading, writing = os.pipe()
            os.write(writing, b"%d" % number)
            os.close(writing)
            sender.say_with(reading, Word.CONNECTION, number)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            # The reactor is not asked: it has things to open itself.
            transport: Any = taker.transport
            lost = transport.doRead()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if lost is not None:
            transport.connectionLost(Failure(lost))
        await ended
        self.assertEqual(heard, [])
