"""The Twisted protocol: writes, timers, back-pressure, failures, the end."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.imap import memory, memorymailbox
from moxtwisted.imap.commands import HANDLERS
from moxtwisted.imap.commands.fetchbodies import BrokenLiteralError
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory, IMAPServerProtocol
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import counted_entropy
from moxtwisted.imap.wire import commands as c


class Transport(StringTransport):
    """Counts writes, and says stop when more than C{room} octets were not read."""

    def __init__(self, room: int = 1 << 40) -> None:
        super().__init__()
        self.room = room
        self.writes: list[bytes] = []
        self.aborted = False
        self.stopped = False

    def write(self, data: bytes) -> None:
        super().write(data)
        self.writes.append(data)
        if len(self.value()) > self.room and self.producer is not None and not self.stopped:
            self.stopped = True
            self.producer.pauseProducing()

    def read(self) -> bytes:
        """The client reads everything."""
        data = self.value()
        self.clear()
        self.writes.clear()
        if self.stopped:
            self.stopped = False
            if self.producer is not None:
                self.producer.resumeProducing()
        return data

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class ProtocolTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.mail = MemoryMail(self.clock.seconds)
        self.handlers = dict(HANDLERS)
        self.limits = Limits()
        self.factory: IMAPServerFactory = self.make(IMAPServerFactory)

    def make(self, kind: Callable[..., IMAPServerFactory]) -> IMAPServerFactory:
        factory = kind(
            ServerSettings(
                hostname="mail.example.org",
                allow_plain_without_tls=True,
                limits=self.limits,
                timeouts=Timeouts(),
            ),
            MemoryAuthenticator({"alice": ("secret", self.mail)}, counted_entropy()),
            self.clock,
        )
        factory.surroundings = evolve(factory.surroundings, entropy=counted_entropy(), handlers=self.handlers)
        return factory

    def connect(self, room: int = 1 << 40) -> tuple[IMAPServerProtocol, Transport]:
        protocol = self.factory.buildProtocol(None)
        transport = Transport(room)
        protocol.makeConnection(transport)
        return protocol, transport

    def selected(self, room: int = 1 << 40) -> tuple[IMAPServerProtocol, Transport]:
        protocol, transport = self.connect()
        protocol.dataReceived(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n")
        transport.read()
        transport.room = room
        return protocol, transport

    def held_check(self) -> Deferred[None]:
        """CHECK is under way until this fires."""
        waiting: Deferred[None] = Deferred()

        async def check(connection: Any, command: c.Check) -> None:
            await waiting

        self.handlers[c.Check] = check
        return waiting

    def lose(self, protocol: IMAPServerProtocol) -> None:
        protocol.connectionLost(Failure(ConnectionDone()))

    def fill(self, count: int, octets: int = 100) -> None:
        for _ in range(count):
            self.mail.add("INBOX", b"Subject: x\r\n\r\n" + b"y" * octets)


class WritingTests(ProtocolTestCase):
    def test_pipelined_commands_are_one_write(self) -> None:
        """Commands that come together are carried out in order and answered in one write."""
        protocol, transport = self.connect()
        transport.read()
        protocol.dataReceived(b"a NOOP\r\nb CAPABILITY\r\nc NOOP\r\n")
        self.assertEqual(len(transport.writes), 1)
        lines = transport.value().splitlines()
        self.assertEqual([line.split()[0] for line in lines], [b"a", b"*", b"b", b"c"])

    def test_short_answers_go_with_their_end(self) -> None:
        """An answer that is not long is one write with its tagged response."""
        self.fill(50)
        protocol, transport = self.selected()
        protocol.dataReceived(b"a FETCH 1:* (FLAGS)\r\n")
        self.assertEqual(len(transport.writes), 1)
        self.assertTrue(transport.value().endswith(b"a OK FETCH completed\r\n"))

    def test_a_waiting_command_holds_the_next(self) -> None:
        """While a command waits the next is not begun; both are answered in order."""
        waiting = self.held_check()
        protocol, transport = self.selected()
        protocol.dataReceived(b"a CHECK\r\nb NOOP\r\n")
        self.assertEqual(transport.value(), b"")
        waiting.callback(None)
        self.assertEqual(transport.value(), b"a OK CHECK completed\r\nb OK NOOP completed\r\n")

    def test_a_slow_reader_is_waited_for(self) -> None:
        """A long answer is pulled as the client reads: what waits in memory stays near one piece."""
        self.fill(400, 10_000)
        protocol, transport = self.selected(room=65536)
        protocol.dataReceived(b"a FETCH 1:* (BODY.PEEK[])\r\nb NOOP\r\n")
        received = b""
        turns = 0
        while b"b OK" not in received:
            self.assertLess(len(transport.value()), 600_000)
            received += transport.read()
            turns += 1
        self.assertGreater(turns, 10)
        self.assertEqual(received.count(b" FETCH (BODY[] {10014}"), 400)
        self.assertIn(b"a OK FETCH completed\r\nb OK NOOP completed\r\n", received)

    def test_a_large_message_is_sent_in_pieces(self) -> None:
        """A message that is larger than a piece comes through whole, a piece at a time."""
        self.fill(1, 3_000_000)
        protocol, transport = self.selected(room=65536)
        protocol.dataReceived(b"a FETCH 1 (BODY.PEEK[] FLAGS)\r\n")
        received = b""
        while b"a OK" not in received[-100:]:
            self.assertLess(len(transport.value()), 400_000)
            received += transport.read()
        self.assertIn(b"y" * 3_000_000 + b")\r\na OK FETCH completed\r\n", received)

    def test_turns(self) -> None:
        """A client that sends commands without end leaves others their turn."""
        protocol, transport = self.selected()
        steps = iter(range(10**9))
        self.clock.seconds = lambda: self.clock.rightNow + 0.01 * next(steps)  # type: ignore[method-assign]
        protocol.dataReceived(b"".join(b"%d NOOP\r\n" % n for n in range(100)))
        first = transport.value().count(b" OK NOOP")
        self.assertLess(first, 20)
        for _ in range(100):
            self.clock.advance(0)
        self.assertEqual(transport.value().count(b" OK NOOP"), 100)


class ReadingTests(ProtocolTestCase):
    def test_reading_stops_while_much_is_pending(self) -> None:
        """What a client sends while its command waits is kept up to a limit; then nothing is read until it is done."""
        waiting = self.held_check()
        protocol, transport = self.selected()
        protocol.dataReceived(b"a CHECK\r\n")
        self.assertEqual(transport.producerState, "producing")
        protocol.dataReceived(b"b NOOP\r\n" * 10_000)
        self.assertEqual(transport.producerState, "paused")
        waiting.callback(None)
        for _ in range(20):
            transport.read()
            self.clock.advance(0)
        self.assertEqual(transport.producerState, "producing")

    def test_at_work(self) -> None:
        """A command that is under way needs no acknowledgement but its answer; a piece of the next one, or of a literal, does."""
        waiting = self.held_check()
        protocol, _ = self.selected()
        protocol.dataReceived(b"a APPEND INBOX {10+}\r\nSubject: x")
        self.assertFalse(protocol.at_work)
        protocol.dataReceived(b"\r\nb CHECK\r\n")
        self.assertTrue(protocol.at_work)
        protocol.dataReceived(b"c NO")
        self.assertFalse(protocol.at_work)
        waiting.callback(None)
        self.assertFalse(protocol.at_work)

    def test_nothing_is_read_while_the_client_does_not(self) -> None:
        """A client that does not read its answers is not read from either."""
        self.fill(100, 10_000)
        protocol, transport = self.selected(room=65536)
        protocol.dataReceived(b"a FETCH 1:* (BODY.PEEK[])\r\n")
        self.assertEqual(transport.producerState, "paused")
        while transport.stopped:
            transport.read()
        self.assertEqual(transport.producerState, "producing")


class IdleTests(ProtocolTestCase):
    def test_changes_of_one_turn_are_one_write(self) -> None:
        """What happens in one turn of the reactor an idling client is told in one write, in that turn."""
        self.fill(2)
        protocol, transport = self.selected()
        protocol.dataReceived(b"a IDLE\r\n")
        transport.read()
        self.mail.add("INBOX", b"Subject: 1\r\n\r\n")
        self.mail.add("INBOX", b"Subject: 2\r\n\r\n")
        self.assertEqual(transport.writes, [])
        self.clock.advance(0)
        self.assertEqual(transport.writes, [b"* 4 EXISTS\r\n"])
        protocol.dataReceived(b"DONE\r\n")
        self.assertEqual(transport.writes[1:], [b"a OK IDLE completed\r\n"])
        self.mail.add("INBOX", b"Subject: 3\r\n\r\n")
        self.clock.advance(0)
        self.assertEqual(len(transport.writes), 2)

    def test_a_client_that_does_not_read_gets_no_more(self) -> None:
        """Changes for an idling client that reads nothing wait, as one, until it does."""
        self.fill(1)
        protocol, transport = self.selected(room=9)
        protocol.dataReceived(b"a IDLE\r\n")
        self.assertTrue(transport.stopped)
        for _ in range(5):
            self.mail.add("INBOX", b"Subject: 1\r\n\r\n")
            self.clock.advance(0)
        self.assertEqual(transport.read(), b"+ idling\r\n")
        self.assertEqual(transport.read(), b"* 6 EXISTS\r\n")


class TimerTests(ProtocolTestCase):
    def test_login(self) -> None:
        """Who does not log in within 30 seconds is sent away."""
        _, transport = self.connect()
        self.clock.advance(29.9)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(transport.disconnecting)
        self.assertIn(b"* BYE autologout", transport.value())

    def test_login_by_drops(self) -> None:
        """Octets that are no command do not give more time to log in; commands do, but only so many of them."""
        protocol, transport = self.connect()
        for _ in range(6):
            self.clock.advance(5.5)
            protocol.dataReceived(b"a")
        self.assertTrue(transport.disconnecting)
        protocol, transport = self.connect()
        for _ in range(50):
            self.clock.advance(20)
            protocol.dataReceived(b"a NOOP\r\n")
            self.assertFalse(transport.disconnecting)
        protocol.dataReceived(b"a NOOP\r\n")
        self.assertTrue(transport.disconnecting)

    def test_idle(self) -> None:
        """Who says nothing for 30 minutes after login is sent away; each command begins the time anew."""
        protocol, transport = self.selected()
        for _ in range(3):
            self.clock.advance(1799)
            protocol.dataReceived(b"a NOOP\r\n")
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1801)
        self.assertTrue(transport.value().endswith(b"* BYE autologout, you were idle for too long\r\n"))
        self.assertTrue(transport.disconnecting)

    def test_message_that_stops(self) -> None:
        """Who announces a message and does not send it is sent away after five minutes."""
        protocol, transport = self.selected()
        protocol.dataReceived(b"a APPEND INBOX {10}\r\n")
        self.clock.advance(299)
        protocol.dataReceived(b"Su")
        self.clock.advance(299)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(2)
        self.assertTrue(transport.disconnecting)

    def test_write_stall(self) -> None:
        """Who reads nothing for five minutes is dropped."""
        self.fill(100, 10_000)
        protocol, transport = self.selected(room=65536)
        protocol.dataReceived(b"a FETCH 1:* (BODY.PEEK[])\r\n")
        self.clock.advance(299)
        transport.read()
        self.clock.advance(299)
        self.assertFalse(transport.aborted)
        self.clock.advance(2)
        self.assertTrue(transport.aborted)

    def test_failed_logins_take_longer_each_time(self) -> None:
        """A failed login is answered after a second, the next after two, and the fifth is the last."""
        protocol, transport = self.connect()
        transport.read()
        for seconds in (1, 2, 4, 8, 16):
            protocol.dataReceived(b"a LOGIN alice wrong\r\n")
            self.clock.advance(seconds - 0.1)
            self.assertEqual(transport.value(), b"")
            self.clock.advance(0.2)
            self.assertTrue(transport.value().startswith(b"a NO [AUTHENTICATIONFAILED]"))
            self.assertEqual(transport.disconnecting, seconds == 16)
            transport.read()

    def test_no_timer_is_left(self) -> None:
        """When a connection is gone nothing of it waits on the clock."""
        protocol, _ = self.selected()
        self.lose(protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FailureTests(ProtocolTestCase):
    def broken(self, connection: Any, command: c.Check) -> None:
        raise ZeroDivisionError

    def test_ends_that_session_alone(self) -> None:
        """An exception in a command is logged and ends that session with BYE; others go on."""
        self.handlers[c.Check] = self.broken
        one, first = self.selected()
        other, second = self.selected()
        one.dataReceived(b"a CHECK\r\nb NOOP\r\n")
        self.assertEqual(first.value(), b"* BYE [SERVERBUG] internal error, sorry\r\n")
        self.assertTrue(first.disconnecting)
        other.dataReceived(b"a NOOP\r\n")
        self.assertEqual(second.value(), b"a OK NOOP completed\r\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_in_a_coroutine(self) -> None:
        """The same for a command that waited."""
        waiting = self.held_check()
        protocol, transport = self.selected()
        protocol.dataReceived(b"a CHECK\r\n")
        waiting.errback(ZeroDivisionError())
        self.assertEqual(transport.value(), b"* BYE [SERVERBUG] internal error, sorry\r\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_in_a_long_answer(self) -> None:
        """The same in the middle of a long answer."""

        def check(connection: Any, command: c.Check) -> Any:
            yield b"* 1 EXISTS\r\n" * 50_000
            yield b"* 1 EXISTS\r\n" * 50_000
            raise ZeroDivisionError

        self.handlers[c.Check] = check
        protocol, transport = self.selected()
        protocol.dataReceived(b"a CHECK\r\n")
        self.assertTrue(transport.value().endswith(b"* BYE [SERVERBUG] internal error, sorry\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_in_the_middle_of_a_literal(self) -> None:
        """When octets of a literal cannot be read the connection is cut: BYE would be taken for the message."""
        for failure in (lambda: b"", lambda: 1 // 0):
            self.fill(1, 1_000_000)
            read = memorymailbox.MemoryBody.read

            def broken(
                body: Any, offset: int, length: int, failure: Any = failure, read: Any = read
            ) -> bytes:
                return read(body, offset, length) if offset < 500_000 else failure()

            self.patch(memorymailbox.MemoryBody, "read", broken)
            protocol, transport = self.selected()
            protocol.dataReceived(b"a FETCH 1 BODY.PEEK[]\r\n")
            self.assertTrue(transport.aborted)
            self.assertTrue(transport.value().endswith(b"yyy"))
            self.assertEqual(len(self.flushLoggedErrors(BrokenLiteralError)), 1)

    def test_not_imap(self) -> None:
        """A client whose first words are no IMAP command is sent away at once."""
        protocol, transport = self.connect()
        transport.read()
        protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
        self.assertEqual(transport.value(), b"GET BAD expected a command\r\n* BYE this is an IMAP server\r\n")
        self.assertTrue(transport.disconnecting)

    def test_gone_while_waiting(self) -> None:
        """A client that goes while its command waits leaves nothing behind when it is done."""
        waiting = self.held_check()
        protocol, transport = self.selected()
        self.assertEqual(self.mail.sessions, 1)
        protocol.dataReceived(b"a CHECK\r\n")
        self.lose(protocol)
        waiting.callback(None)
        self.assertEqual(self.mail.sessions, 0)
        self.assertEqual(transport.value(), b"")

    def test_gone_while_selecting(self) -> None:
        """A client that goes while a mailbox is opened for it leaves neither the mailbox nor the session open."""
        waiting: Deferred[None] = Deferred()
        select = memory._Session.select
        closed: list[Any] = []

        async def late(session: Any, name: str, *, read_only: bool) -> Any:
            await waiting
            return select(session, name, read_only=read_only)

        self.patch(memory._Session, "select", late)

        def close(selected: Any) -> None:
            closed.append(selected)

        self.patch(memory._Selected, "close", close)
        protocol, _ = self.connect()
        protocol.dataReceived(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n")
        self.lose(protocol)
        waiting.callback(None)
        self.assertEqual(self.mail.sessions, 0)
        self.assertEqual(len(closed), 1)

    def test_gone_while_logging_in(self) -> None:
        """A client that goes while it is logged in does not leave a session open."""
        waiting: Deferred[str] = Deferred()

        async def login(username: str, password: str, peer: Any) -> str:
            return await waiting

        self.factory.authenticator.login = login  # type: ignore[method-assign]
        protocol, _ = self.connect()
        protocol.dataReceived(b"a LOGIN alice secret\r\n")
        self.lose(protocol)
        waiting.callback("alice")
        self.assertEqual(self.mail.sessions, 0)

    def test_refused_connection(self) -> None:
        """A host can refuse a client: it reads why, and is gone."""

        class Refusing(IMAPServerFactory):
            def authenticator_for(self, transport: Any) -> Any:
                raise MailError("busy", public_text="too many connections")

        self.factory = self.make(Refusing)
        protocol, transport = self.connect()
        self.assertEqual(transport.value(), b"* BYE [UNAVAILABLE] too many connections\r\n")
        self.assertTrue(transport.disconnecting)
        protocol.dataReceived(b"a NOOP\r\n")
        self.lose(protocol)


class ShutdownTests(ProtocolTestCase):
    def test_all_get_bye(self) -> None:
        """At shutdown each client gets BYE, in IDLE and before login too, and no new one comes in."""
        _, first = self.connect()
        protocol, second = self.selected()
        protocol.dataReceived(b"a IDLE\r\n")
        done = self.factory.shutdown()
        for transport in (first, second):
            self.assertTrue(transport.value().endswith(b"* BYE server is shutting down\r\n"))
            self.assertTrue(transport.disconnecting)
        self.assertNoResult(done)
        self.assertIsNone(self.factory.buildProtocol(None))
        for connection in list(self.factory.connections):
            self.lose(connection)
        self.assertIsNone(self.successResultOf(done))

    def test_client_that_hears(self) -> None:
        """A client that closes when it read BYE is not waited for any longer; one that does not is, for a while."""
        with patch.object(Transport, "loseWriteConnection", create=True):  # as TCP has it
            for closes in (True, False):
                protocol, transport = self.selected()
                protocol.shutdown()
                self.assertFalse(transport.disconnecting)
                if closes:
                    protocol.readConnectionLost()
                else:
                    self.clock.advance(30)
                self.assertEqual((transport.disconnecting, transport.aborted), (True, not closes))
                self.lose(protocol)

    def test_a_command_is_finished(self) -> None:
        """A command that is under way is finished and answered before BYE."""
        waiting = self.held_check()
        protocol, transport = self.selected()
        protocol.dataReceived(b"a CHECK\r\nb NOOP\r\n")
        self.factory.shutdown()
        self.assertFalse(transport.disconnecting)
        waiting.callback(None)
        self.assertEqual(transport.value(), b"a OK CHECK completed\r\n* BYE server is shutting down\r\n")
        self.assertTrue(transport.disconnecting)
        self.lose(protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_for_ever(self) -> None:
        """A command that does not end is cut off after some seconds."""

        async def check(connection: Any, command: c.Check) -> None:
            await Deferred()

        self.handlers[c.Check] = check
        protocol, transport = self.selected()
        protocol.dataReceived(b"a CHECK\r\n")
        self.factory.shutdown()
        self.clock.advance(10)
        self.assertTrue(transport.aborted)


class CostTests(ProtocolTestCase):
    def test_an_idle_session_is_small(self) -> None:
        """A session that idles in a mailbox of 1,000 messages holds less than 20 KB."""
        self.fill(1000, 10)
        self.selected()
        transports = [StringTransport() for _ in range(200)]
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        connections = []
        for transport in transports:
            protocol = self.factory.buildProtocol(None)
            protocol.makeConnection(transport)
            protocol.dataReceived(b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
            transport.clear()
            connections.append(protocol)
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(transports)
        self.assertLess(each, 20_000)
