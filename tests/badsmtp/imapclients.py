"""Our IMAP client and the IMAP twin, connected in memory, on a clock that runs by itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.test import iosim
from zope.interface import implementer

from moxtwisted.badsmtp.captured import Captured
from moxtwisted.badsmtp.grammar import Wish
from moxtwisted.badsmtp.imaptwin import ImapTwinFactory
from moxtwisted.badsmtp.interfaces import CapturedMessage, Hooks
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.badsmtp.surroundings import Surroundings
from moxtwisted.badsmtp.twinmail import Mailrooms
from moxtwisted.errors import MailError
from moxtwisted.imap.agent import ClientSettings, ClientTimeouts, IMAPClient, connect
from moxtwisted.imap.client.notices import Notice
from moxtwisted.imap.client.session import CommandRefusedError
from moxtwisted.sasl.client import Credentials
from tests.badsmtp.inmemory import ListJournal

TIMEOUTS = ClientTimeouts(connect=30, greeting=30, answer=60, room=30)


def make_surroundings(
    clock: Any, settings: Settings | None = None, hooks: Hooks | None = None
) -> Surroundings:
    """A server's, with three messages to bob@x.example."""
    captured = Captured(100, 10_000_000)
    for n in range(3):
        message = f"Subject: hello {n}\r\n\r\n.dot\r\nworld\r\n".encode() + b"x" * 100 + b"\r\n"
        captured.keep(
            CapturedMessage(
                received=datetime(2024, 1, 1, tzinfo=UTC),
                reverse_path="a@x.example",
                forward_paths=("bob@x.example", "Carol@x.example") if n == 2 else ("bob@x.example",),
                content=message,
            )
        )
    return Surroundings(
        settings=settings or Settings(),
        hooks=hooks or Hooks(),
        clock=clock,
        entropy=lambda n: bytes(range(n)),
        captured=captured,
        journal=ListJournal(),
    )


@implementer(IStreamClientEndpoint)
class _Given:
    def __init__(self, made: Callable[[Any], Any]) -> None:
        self._made = made

    def connect(self, factory: Any) -> Deferred[Any]:
        protocol = factory.buildProtocol(None)
        self._made(protocol)
        return succeed(protocol)


class Twin:
    """A twin and those who are connected to it."""

    def __init__(
        self, settings: Settings | None = None, hooks: Hooks | None = None, greeting: Wish | None = None
    ) -> None:
        self.clock: Any = Clock()
        self.clock.advance(1_700_000_000)
        self.surroundings = make_surroundings(self.clock, settings, hooks)
        self.rooms = Mailrooms(self.surroundings.captured, self.clock, most_messages=100, octets=1_000_000)
        self.factory = ImapTwinFactory(self.surroundings, self.rooms, greeting=greeting)
        self.notices: list[Notice] = []
        self._pumps: list[Any] = []

    def _connected(self, protocol: Any) -> None:
        server = self.factory.buildProtocol(None)
        address = IPv4Address("TCP", "127.0.0.1", 25143)
        there = iosim.FakeTransport(server, isServer=True, hostAddress=address, peerAddress=address)
        self._pumps.append(iosim.connect(server, there, protocol, iosim.FakeTransport(protocol, False)))

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it, within an hour by the clock; else TimeoutError."""
        done: Deferred[Any] = Deferred.fromCoroutine(coroutine)
        result: list[Any] = []
        done.addBoth(result.append)
        for _ in range(4000):
            for pump in self._pumps:
                pump.flush()
            if result:
                break
            # To what comes next: a clock that jumps would have slow replies take longer than they do.
            due = min((call.getTime() for call in self.clock.getDelayedCalls()), default=0.0)
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        if not result:
            done.cancel()
            raise TimeoutError("nothing came of it")
        if hasattr(result[0], "raiseException"):
            result[0].raiseException()
        return result[0]

    def open(self, user: str) -> IMAPClient:
        """Our client, logged in. :raise MailError:"""
        settings = ClientSettings(
            credentials=Credentials(user, "any password"), allow_clear_password=True, timeouts=TIMEOUTS
        )
        client: IMAPClient = self.wait(
            connect(self.clock, _Given(self._connected), settings, self.notices.append)
        )
        return client

    async def idle(self, client: IMAPClient) -> str:
        """IDLE for five seconds."""
        idle = await client.idle()
        await deferLater(self.clock, 5)
        await idle.done()
        return "done"

    def outcome(self, wish: str) -> str:
        """What our client makes of a fault: ``refused``, ``lost`` or ``goes on``, in the command that it is about or right behind it."""
        verb = wish.partition(".")[0]
        try:
            client = self.open(f"bob+{wish}@x.example")
            try:
                self.wait(client.select("INBOX"))
                self.wait(client.fetch([1, 2, 3], ["FLAGS", "BODY.PEEK[]"]))
                if verb == "status":
                    self.wait(client.status("INBOX", ["MESSAGES"]))
                if verb == "idle":
                    self.wait(self.idle(client))
                self.wait(client.noop())
            finally:
                client.abort()
        except CommandRefusedError:
            return "refused"
        except MailError:
            return "lost"
        return "goes on"
