"""Connections to a BadSMTP server without sockets, on a clock that tests turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from moxtwisted.badsmtp.captured import Captured
from moxtwisted.badsmtp.interfaces import Hooks, IJournal, Level
from moxtwisted.badsmtp.ownnames import OwnNames
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.badsmtp.smtpfactory import BadSMTPFactory
from moxtwisted.badsmtp.surroundings import Listener, Surroundings

NOBODY = Hooks()


@implementer(IJournal)
@define
class ListJournal:
    """Keeps the lines."""

    lines: list[tuple[Level, str, Mapping[str, Any], str]] = field(factory=list)

    def write(self, level: Level, message: str, fields: Mapping[str, Any], error: str = "") -> None:
        """See ``IJournal.write``."""
        self.lines.append((level, message, fields, error))

    def fields(self, message: str) -> list[Mapping[str, Any]]:
        """The fields of all lines with this sentence."""
        return [fields for _, sentence, fields, _ in self.lines if sentence == message]


class Abortable(StringTransport):
    """Remembers that it was reset."""

    aborted = False

    def abortConnection(self) -> None:
        """A reset."""
        self.aborted = True
        self.disconnecting = True


class Server:
    """One port of a server: ``Server(Listener(name="smtp"))``, with a ``Clock``."""

    def __init__(
        self, listener: Listener | None = None, hooks: Hooks = NOBODY, settings: Settings | None = None
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.journal = ListJournal()
        self.captured = Captured(100, 10_000_000)
        self.surroundings = Surroundings(
            settings=settings or Settings(),
            hooks=hooks,
            clock=self.clock,
            entropy=bytes,
            captured=self.captured,
            journal=self.journal,
            store=hooks.store,
            name_of=OwnNames(self.clock),
            pid=4711,
        )
        self.factory = BadSMTPFactory(self.surroundings, listener or Listener(name="smtp"))

    def connect(self) -> Client:
        """A client."""
        return Client(self)


class Client:
    """Who is connected to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport = Abortable(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 2525),
            peerAddress=IPv4Address("TCP", "127.0.0.1", 40000),
        )
        self.protocol = server.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def heard(self) -> bytes:
        """What the server said since the last time."""
        octets: bytes = self.transport.value()
        self.transport.clear()
        return octets

    def say(self, *lines: str) -> bytes:
        """What the server answers to these lines, said one after the other; without what it said before."""
        self.heard()
        for line in lines:
            self.protocol.dataReceived(line.encode() + b"\r\n")
        return self.heard()

    def send(self, octets: bytes) -> bytes:
        """What the server answers to these octets."""
        self.heard()
        self.protocol.dataReceived(octets)
        return self.heard()

    @property
    def closed(self) -> bool:
        """Whether the server wants to be rid of us."""
        return self.transport.disconnecting or self.transport.aborted

    def leave(self) -> None:
        """The connection is lost."""
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.protocol.connectionLost(Failure(ConnectionLost()))
