"""INPROGRESS (RFC 9585): commands that take long."""

from inspect import isawaitable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from moxtwisted.imap.settings import Timeouts
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


class ExampleTests(ProtocolTestCase):
    """The examples of RFC 9585 section 4, second by second. What is counted is said to the command, which does all its work at the end."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(1, 4001):
            text = "this will be slow" if number in (447, 735) else "text"
            self.mail.add("INBOX", b"Subject: %d\r\n\r\n%b\r\n" % (number, text.encode()))
        self.mail.make("Meeting-Minutes")
        self.waiting: Deferred[None] = Deferred()
        self.connection: Any = None
        for kind in (c.Search, c.Copy):
            self.handlers[kind] = self.slow(self.handlers[kind])
        self.protocol, self.transport = self.selected()

    def slow(self, handler: Any) -> Any:
        async def held(connection: Any, command: Any) -> Any:
            self.connection = connection
            await self.waiting
            answer = handler(connection, command)
            return await answer if isawaitable(answer) else answer

        return held

    def times(self, first: float, then: float) -> None:
        """When our notifications come; the RFC's are not all equally far apart."""
        timeouts = Timeouts(progress_first=first, progress=then)
        self.factory.settings = evolve(self.factory.settings, timeouts=timeouts)

    def said_after(self, seconds: float, progress: tuple[int, int] | None = None) -> bytes:
        """What the client hears, when so much is done by then, or all, and nothing before."""
        self.clock.advance(seconds - 0.01)
        self.assertEqual(self.transport.read(), b"")
        self.connection.progress = progress
        if progress is None:
            self.waiting.callback(None)
        self.clock.advance(0.01)
        return self.transport.read()

    def test_search(self) -> None:
        """A search that is slow; 454 of 1000, and 999 of 1000."""
        self.times(13, 14)
        self.protocol.dataReceived(b'A001 search text "this will be slow"\r\n')
        self.assertEqual(
            self.said_after(13, (454, 1000)), b'* OK [INPROGRESS ("A001" 454 1000)] still at work\r\n'
        )
        self.assertEqual(
            self.said_after(14, (999, 1000)), b'* OK [INPROGRESS ("A001" 999 1000)] still at work\r\n'
        )
        self.assertEqual(self.said_after(5), b"* SEARCH 447 735\r\nA001 OK SEARCH completed\r\n")
        self.lose(self.protocol)

    def test_copy(self) -> None:
        """COPY of 2001 messages; the third notification comes after 13 seconds in the RFC."""
        self.times(12, 14)
        self.protocol.dataReceived(b"A003 COPY 2000:4000 Meeting-Minutes\r\n")
        for seconds, done in ((12, 175), (14, 440), (14, 987), (14, 1388), (14, 1876)):
            self.assertEqual(
                self.said_after(seconds, (done, 2001)),
                b'* OK [INPROGRESS ("A003" %d 2001)] still at work\r\n' % done,
            )
        self.assertEqual(self.said_after(9), b"A003 OK [COPYUID 2 2000:4000 1:2001] copied\r\n")
        self.lose(self.protocol)
