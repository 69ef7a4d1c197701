"""INPROGRESS (RFC 9585): commands that take long."""

from typing import Any

from twisted.internet.defer import Deferred

from moxtwisted.imap.wire import commands as c
from tests.imap.test_protocol import ProtocolTestCase, Transport


class ProgressTests(ProtocolTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.waiting: Deferred[None] = Deferred()
        self.connection: Any = None

        async def check(connection: Any, command: c.Check) -> None:
            self.connection = connection
            await self.waiting

        self.handlers[c.Check] = check

    def checking(self, tag: str = "a3") -> tuple[Any, Transport]:
        protocol, transport = self.selected()
        protocol.dataReceived(f"{tag} CHECK\r\n".encode())
        return protocol, transport

    def test_is_told(self) -> None:
        """After a second and then every ten seconds, with counts when the command has them."""
        protocol, transport = self.checking()
        self.clock.advance(0.9)
        self.assertEqual(transport.read(), b"")
        self.clock.advance(0.1)
        self.assertEqual(transport.read(), b'* OK [INPROGRESS ("a3" NIL NIL)] still at work\r\n')
        self.clock.advance(9.9)
        self.assertEqual(transport.read(), b"")
        self.connection.progress = (175, 1000)
        self.clock.advance(0.1)
        self.assertEqual(transport.read(), b'* OK [INPROGRESS ("a3" 175 1000)] still at work\r\n')
        # RFC 9585 section 4: not when it says that all is done.
        self.connection.progress = (1000, 1000)
        self.clock.advance(10)
        self.assertEqual(transport.read(), b'* OK [INPROGRESS ("a3" NIL NIL)] still at work\r\n')
        self.waiting.callback(None)
        self.assertEqual(transport.read(), b"a3 OK CHECK completed\r\n")
        self.clock.advance(30)
        self.assertEqual(transport.read(), b"")
        self.assertIsNone(self.connection.progress)
        self.lose(protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_taken_away(self) -> None:
        """Without the capability nothing is told."""
        self.mail.disabled_capabilities = frozenset({"INPROGRESS"})
        protocol, transport = self.checking()
        self.clock.advance(25)
        self.assertEqual(transport.read(), b"")
        self.lose(protocol)

    def test_each_command_has_its_second(self) -> None:
        """The time counts from the command that waits, not from the one before it."""
        protocol, transport = self.checking()
        self.clock.advance(0.7)
        first, self.waiting = self.waiting, Deferred()
        first.callback(None)
        protocol.dataReceived(b"a4 CHECK\r\n")
        transport.read()
        self.clock.advance(0.7)
        self.assertEqual(transport.read(), b"")
        self.clock.advance(0.3)
        self.assertIn(b'("a4" ', transport.read())
        self.lose(protocol)

    def test_a_tag_with_a_bracket(self) -> None:
        """Such a tag cannot be told."""
        protocol, transport = self.checking("a]3")
        self.clock.advance(1)
        self.assertEqual(transport.read(), b"* OK [INPROGRESS (NIL NIL NIL)] still at work\r\n")
        self.lose(protocol)

    def test_not_before_the_login(self) -> None:
        """Who is not logged in hears nothing of it, as a failed log-in takes its time on purpose."""
        protocol, transport = self.connect()
        transport.read()
        protocol.dataReceived(b"a1 LOGIN alice wrong\r\n")
        self.clock.advance(0.99)
        self.clock.advance(0.01)
        self.assertEqual(transport.read().split()[1], b"NO")
        self.lose(protocol)

    def test_not_to_a_client_that_does_not_read(self) -> None:
        """What would only be kept in memory is not said."""
        protocol, transport = self.checking()
        protocol.pauseProducing()
        self.clock.advance(25)
        self.assertEqual(transport.read(), b"")
        self.lose(protocol)

    def test_nothing_is_left(self) -> None:
        """No timer stays behind a connection that is lost meanwhile."""
        protocol, _ = self.checking()
        self.clock.advance(5)
        self.lose(protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])
