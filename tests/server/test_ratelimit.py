"""Limits by network: classes, sliding windows, forgiveness, bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.basic import LineOnlyReceiver
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.imap.settings import ServerSettings as IMAPSettings
from moxtwisted.server.imapd.service import IMAPService, Mail
from moxtwisted.server.inbound.handler import Inbound, InboundFactory, InboundSettings
from moxtwisted.server.inbound.room import Room
from moxtwisted.server.intake import Trouble
from moxtwisted.server.ratelimit import (
    AuthenticationLimits,
    ConnectionLimiter,
    ConnectionLimits,
    DeliveryLimiter,
    DeliveryLimits,
    SlidingWindowLimiter,
    Window,
    classes,
)
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.settings import ServerSettings
from tests.server.house import HOST, House

NOWHERE = ((0, 0), (0, 0), (0, 0))
MINUTE = Window(60, (3, 5, 8))


class ClassTests(SynchronousTestCase):
    """Which network an address is in."""

    def test_ipv4(self) -> None:
        """IPv4 addresses share a class within /26 and /21."""
        own, middle, wide = classes("192.0.2.1") or NOWHERE
        self.assertEqual(classes("192.0.2.63"), ((1, 0xC000023F), middle, wide))
        self.assertEqual((classes("192.0.2.64") or NOWHERE)[2], wide)
        self.assertNotEqual((classes("192.0.2.64") or NOWHERE)[1], middle)
        self.assertNotEqual((classes("192.0.8.0") or NOWHERE)[2], wide)
        self.assertNotEqual(own, middle)

    def test_ipv6(self) -> None:
        """IPv6 addresses share a class within /64, /48 and /32; a zone does not matter."""
        first = classes("2001:db8:1:1::1")
        self.assertEqual(classes("2001:db8:1:1:ffff::%eth0"), first)
        self.assertEqual((classes("2001:db8:1:2::1") or NOWHERE)[1:], (first or NOWHERE)[1:])
        self.assertEqual((classes("2001:db8:2:2::1") or NOWHERE)[2:], (first or NOWHERE)[2:])
        self.assertNotEqual((classes("2001:db9::1") or NOWHERE)[2:], (first or NOWHERE)[2:])

    def test_mapped_and_none(self) -> None:
        """An IPv4-mapped address counts as IPv4; what is no address has no class."""
        self.assertEqual(classes("::ffff:192.0.2.1"), classes("192.0.2.1"))
        for text in ("", "localhost", "1.2.3", "1.2.3.4.5", ":::", "\0", "1.2.3.4\0"):
            self.assertIsNone(classes(text))


class LimiterTests(SynchronousTestCase):
    """Events within a window."""

    def setUp(self) -> None:
        """A limiter of one minute."""
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.limiter = SlidingWindowLimiter([MINUTE], self.clock)

    def test_each_class(self) -> None:
        """Each class has its own limit."""
        self.assertEqual([self.limiter.take("192.0.2.1") for _ in range(4)], [True, True, True, False])
        self.assertEqual([self.limiter.take("192.0.2.2") for _ in range(3)], [True, True, False])
        self.assertEqual([self.limiter.take("192.0.3.1") for _ in range(4)], [True, True, True, False])
        self.assertTrue(self.limiter.take("192.0.8.1"))

    def test_slides(self) -> None:
        """Old events count less and less, and not at all after two windows."""
        for _ in range(3):
            self.limiter.add("192.0.2.1")
        self.assertFalse(self.limiter.allows("192.0.2.1"))
        self.clock.advance(60)
        self.assertFalse(self.limiter.allows("192.0.2.1"))
        self.clock.advance(20)
        self.assertTrue(self.limiter.allows("192.0.2.1"))
        self.assertFalse(self.limiter.allows("192.0.2.1", 2))
        self.clock.advance(40)
        self.assertTrue(self.limiter.allows("192.0.2.1", 3))

    def test_long_silence(self) -> None:
        """After a long silence nothing counts any more."""
        self.limiter.add("192.0.2.1", 3)
        self.clock.advance(100_000)
        self.assertTrue(self.limiter.allows("192.0.2.1", 3))

    def test_two_windows(self) -> None:
        """All windows must allow an event."""
        limiter = SlidingWindowLimiter(AuthenticationLimits(per_day=(12, 90, 90)).windows(), self.clock)
        for _ in range(10):
            self.assertTrue(limiter.take("192.0.2.1"))
        self.assertFalse(limiter.take("192.0.2.1"))
        self.clock.advance(120)
        self.assertEqual([limiter.take("192.0.2.1") for _ in range(3)], [True, True, False])

    def test_forgive(self) -> None:
        """A success takes off what the address did, and leaves what its neighbours did."""
        self.limiter.add("192.0.2.1", 2)
        self.limiter.add("192.0.2.2", 3)
        self.assertFalse(self.limiter.allows("192.0.2.3"))
        self.limiter.forgive("192.0.2.1")
        self.assertTrue(self.limiter.allows("192.0.2.3", 2))
        self.assertFalse(self.limiter.allows("192.0.2.3", 3))
        self.assertFalse(self.limiter.allows("192.0.2.2"))
        self.limiter.forgive("192.0.2.9")
        self.limiter.forgive("nobody")

    def test_forgive_in_the_next_window(self) -> None:
        """Forgiveness works over the border of two windows."""
        self.limiter.add("192.0.2.1", 2)
        self.clock.advance(60)
        self.limiter.add("192.0.2.2", 1)
        self.limiter.forgive("192.0.2.1")
        self.assertTrue(self.limiter.allows("192.0.2.3", 3))

    def test_no_address(self) -> None:
        """What has no address is not limited."""
        self.assertTrue(all(self.limiter.take("") for _ in range(100)))
        self.limiter.add("")
        self.assertEqual(len(self.limiter), 0)

    def test_bounded(self) -> None:
        """However many addresses come, memory is bounded, and those seen last are remembered."""
        limiter = SlidingWindowLimiter([MINUTE], self.clock, max_networks=300)
        for number in range(2000):
            limiter.add(f"10.{number % 256}.{number // 256}.1", 3)
        self.assertEqual(len(limiter), 300)
        self.assertFalse(limiter.allows("10.207.7.1"))
        self.assertTrue(limiter.allows("10.0.0.1"))
        self.assertRaises(ValueError, SlidingWindowLimiter, [MINUTE], self.clock, max_networks=2)

    @settings(max_examples=100)
    @given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
    def test_against_exact_count(self, steps: list[tuple[float, bool]]) -> None:
        """Never more than twice the limit passes in any minute, and a quiet peer is never refused."""
        limiter = SlidingWindowLimiter([MINUTE], self.clock)
        taken: list[float] = []
        for pause, busy in steps:
            self.clock.advance(pause)
            now = self.clock.seconds()
            for _ in range(4 if busy else 1):
                recent = [at for at in taken if at > now - 60]
                older = [at for at in taken if at > now - 120]
                got = limiter.take("192.0.2.1")
                if len(older) + 1 <= 3:
                    self.assertTrue(got)
                if got:
                    self.assertLess(len(recent), 6)
                    taken.append(now)

    def test_settings(self) -> None:
        """Limits are three whole numbers from one on."""
        for bad in ((1, 2), (0, 1, 2), (1, 2, 3.5), (1, 2, 3, 4)):
            self.assertRaises(ValueError, ConnectionLimits, per_minute=bad)
            self.assertRaises(ValueError, AuthenticationLimits, per_day=bad)
        self.assertRaises(ValueError, Window, 0, (1, 1, 1))


class ConnectionTests(SynchronousTestCase):
    """Connections."""

    def setUp(self) -> None:
        """A clock."""
        self.clock = Clock()

    def test_simultaneous(self) -> None:
        """So many at once and no more; who leaves makes room."""
        limiter = ConnectionLimiter(ConnectionLimits(simultaneous=(2, 3, 4)), self.clock)
        self.assertIsNone(limiter.admit("192.0.2.1"))
        self.assertIsNone(limiter.admit("192.0.2.1"))
        refusal = limiter.admit("192.0.2.1")
        self.assertEqual(refusal and refusal.kind, "simultaneous")
        self.assertIsNone(limiter.admit("192.0.2.2"))
        self.assertIsNotNone(limiter.admit("192.0.2.3"))
        self.assertEqual(limiter.open_connections("192.0.2.1"), (2, 3, 3))
        limiter.release("192.0.2.1")
        self.assertIsNone(limiter.admit("192.0.2.3"))
        for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            limiter.release(ip)
        self.assertEqual(limiter._open, {})
        limiter.release("192.0.2.1")
        self.assertEqual(limiter.open_connections("192.0.2.1"), (0, 0, 0))

    def test_rate(self) -> None:
        """So many in a minute and no more, however short they are."""
        limiter = ConnectionLimiter(ConnectionLimits(per_minute=(2, 9, 9)), self.clock)
        for want in (None, None, "rate"):
            refusal = limiter.admit("192.0.2.1")
            self.assertEqual(refusal and refusal.kind, want)
            if refusal is None:
                limiter.release("192.0.2.1")
        self.clock.advance(120)
        self.assertIsNone(limiter.admit("192.0.2.1"))

    def test_exempt(self) -> None:
        """The machine itself is not limited, in any spelling, unless it is said so."""
        one = (1, 1, 1)
        limiter = ConnectionLimiter(ConnectionLimits(per_minute=one, simultaneous=one), self.clock)
        for ip in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", "unix"):
            self.assertEqual([limiter.admit(ip) for _ in range(3)], [None] * 3, ip)
            limiter.release(ip)
        self.assertEqual(limiter.open_connections("127.0.0.1"), (0, 0, 0))
        self.assertEqual(limiter.open_connections(""), (0, 0, 0))
        strict = ConnectionLimiter(ConnectionLimits(simultaneous=one, exempt=()), self.clock)
        self.assertIsNone(strict.admit("127.0.0.1"))
        self.assertIsNotNone(strict.admit("127.0.0.1"))
        self.assertRaises(ValueError, ConnectionLimiter, ConnectionLimits(exempt=("x",)), self.clock)


class _Client(LineOnlyReceiver):
    """Keeps what the server says.

    @ivar greeting: fires with the first line.
    @ivar gone: fires with all lines, when the connection is closed.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.greeting: Deferred[bytes] = Deferred()
        self.gone: Deferred[list[bytes]] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        """Keep it."""
        self.lines.append(line)
        if len(self.lines) == 1:
            self.greeting.callback(line)

    def connectionLost(self, reason: Any = None) -> None:
        """See L{LineOnlyReceiver}."""
        self.gone.callback(self.lines)


class LiveConnectionTests(TestCase):
    """The limits over real sockets, with nobody exempt."""

    timeout = 20

    def setUp(self) -> None:
        """A house on ports of the loopback address, where three connections may be open."""
        self.house = House(Path(self.mktemp()))
        self.limiter = ConnectionLimiter(ConnectionLimits(simultaneous=(3, 9, 9), exempt=()), Clock())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.house.close()))

    def _smtp(self) -> SMTPServerFactory:
        house = self.house
        shared = Inbound(
            settings=InboundSettings(hostname=HOST),
            stage=house.store.stage,
            room=Room(house.store, Trouble(house.clock.seconds)),
            directory=house.holder,
            delivery=house.delivery,
            clock=house.clock,
            connections=self.limiter,
            provocation=house.provocation,
            seconds=house.clock.seconds,
        )
        return SMTPServerFactory(ServerSettings(hostname=HOST), InboundFactory(shared), reactor)

    def _imap(self) -> IMAPService:
        shared = Mail(
            store=self.house.store,
            directory=self.house.holder,
            authenticator=self.house.authenticator,
            connections=self.limiter,
            mechanisms=("PLAIN",),
            append_limit=1000,
            seconds=self.house.clock.seconds,
        )
        return IMAPService(IMAPSettings(hostname=HOST), shared, reactor, None)

    def _listen(self, factory: Factory) -> int:
        """Listen; the port's number."""
        listen: Any = getattr(reactor, "listenTCP")  # noqa: B009  the reactor's types do not say that it has it
        port = listen(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def _connect(self, port: int) -> _Client:
        client: _Client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), _Client())
        self.addCleanup(self._leave, client)
        await client.greeting
        return client

    async def _leave(self, client: _Client) -> None:
        if client.transport is not None and not client.gone.called:
            client.transport.loseConnection()
        if not client.gone.called:
            await client.gone

    async def _until_open(self, number: int) -> None:
        """Wait until the server has so many connections; the test's own time limit bounds this."""
        while self.limiter.open_connections("127.0.0.1")[0] != number:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.005, turn.callback, None)  # type: ignore[attr-defined]
            await turn

    async def _limited(self, port: int, refused: bytes, welcome: bytes) -> None:
        clients = [await self._connect(port) for _ in range(3)]
        for client in clients:
            self.assertEqual(client.lines[0][: len(welcome)], welcome)
        for _ in range(2):
            fourth = await self._connect(port)
            lines = await fourth.gone
            self.assertEqual(len(lines), 1)
            self.assertEqual(lines[0][: len(refused)], refused)
            self.assertIn(b"too many open connections", lines[0])
        # those who were refused gave nothing back that they had not taken
        self.assertEqual(self.limiter.open_connections("127.0.0.1")[0], 3)
        clients[0].transport.abortConnection()  # type: ignore[union-attr]
        clients[1].transport.loseConnection()  # type: ignore[union-attr]
        await self._until_open(1)
        for _ in range(2):
            client = await self._connect(port)
            self.assertEqual(client.lines[0][: len(welcome)], welcome)
        lines = await (await self._connect(port)).gone
        self.assertEqual(lines[0][: len(refused)], refused)

    async def test_smtp(self) -> None:
        """A fourth SMTP connection is answered 421 and closed, until one of the others is gone, however it went."""
        await self._limited(self._listen(self._smtp()), b"421 ", b"220 ")

    async def test_imap(self) -> None:
        """A fourth IMAP connection gets BYE, until one of the others is gone, however it went."""
        await self._limited(self._listen(self._imap()), b"* BYE ", b"* OK ")

    async def test_shared(self) -> None:
        """Connections of all protocols count together, and all of them are given back."""
        smtp, imap = self._listen(self._smtp()), self._listen(self._imap())
        clients = [await self._connect(port) for port in (smtp, imap, smtp)]
        for port, refused in ((imap, b"* BYE "), (smtp, b"421 ")):
            client = await self._connect(port)
            self.assertEqual(client.lines[0][: len(refused)], refused)
        for client in clients:
            await self._leave(client)
        await self._until_open(0)
        self.assertEqual(self.limiter._open, {})


class DeliveryTests(SynchronousTestCase):
    """How much mail an account gets from one network."""

    def setUp(self) -> None:
        """Small limits."""
        self.clock = Clock()
        self.clock.advance(86400 * 20000)
        limits = DeliveryLimits((3, 5, 8), (10, 20, 30), (1000, 2000, 3000), (4000, 5000, 6000))
        self.limiter = DeliveryLimiter(limits, self.clock)

    def take(self, account: str, ip: str, octets: int = 1) -> bool:
        if not self.limiter.allows(account, ip, octets):
            return False
        self.limiter.add(account, ip, octets)
        return True

    def test_messages(self) -> None:
        """Messages count per account and network, by the minute and by the day."""
        self.assertEqual([self.take("alice", "192.0.2.1") for _ in range(4)], [True, True, True, False])
        self.assertTrue(self.take("bob", "192.0.2.1"))
        self.assertEqual([self.take("alice", "192.0.2.2") for _ in range(3)], [True, True, False])
        self.assertTrue(self.take("alice", "198.51.100.1"))
        taken = 3
        for _ in range(6):
            self.clock.advance(120)
            taken += sum(self.take("alice", "192.0.2.1") for _ in range(3))
        self.assertEqual(taken, 10)

    def test_octets(self) -> None:
        """So do their octets; a message above a limit goes to who got nothing else."""
        self.assertEqual([self.take("alice", "192.0.2.1", 400) for _ in range(3)], [True, True, False])
        self.assertTrue(self.take("bob", "192.0.2.1", 10_000))
        self.assertFalse(self.take("bob", "192.0.2.1", 1))

    def test_no_address(self) -> None:
        """Who comes by a unix socket is not limited."""
        self.assertTrue(all(self.take("alice", "") for _ in range(50)))

    def test_bounded(self) -> None:
        """Many networks do not take more room than allowed."""
        limiter = DeliveryLimiter(DeliveryLimits(), self.clock, max_networks=500)
        for number in range(5000):
            limiter.add("alice", f"10.{number >> 8}.{number & 255}.1", 1)
        self.assertEqual(len(limiter), 2000)
