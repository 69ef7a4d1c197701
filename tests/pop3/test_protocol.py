"""The Twisted protocol of POP3: time-outs, back-pressure, the end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.pop3.memory import MemoryAuthenticator, MemoryMaildrop
from moxtwisted.pop3.protocol import POP3ServerFactory, POP3ServerProtocol
from moxtwisted.pop3.settings import Limits, ServerSettings, Timeouts
from tests.pop3.sessions import MESSAGES, entropy

SETTINGS = ServerSettings(
    hostname="pop.example",
    allow_plain_without_tls=True,
    limits=Limits(piece_octets=1000, pending_octets=100, bad_commands=1000),
)


class _Transport(StringTransport):
    """Says when its protocol has written too much, as a real one does."""

    full_octets = 1 << 60
    aborted = False

    def write(self, data: bytes) -> None:
        """Octets for the client."""
        super().write(data)
        producer: Any = self.producer
        if producer is not None and len(self.value()) > self.full_octets:
            producer.pauseProducing()

    def abortConnection(self) -> None:
        """A reset."""
        self.aborted = True


class ProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.maildrop = MemoryMaildrop([*MESSAGES, b"Subject: big\r\n\r\n" + b"0123456789abcde\r\n" * 1000])
        authenticator = MemoryAuthenticator({"alice": ("secret", self.maildrop)}, entropy)
        self.factory = POP3ServerFactory(SETTINGS, authenticator, self.clock, entropy=entropy)
        self.transport = _Transport()
        self.protocol: POP3ServerProtocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def say(self, *lines: str) -> bytes:
        """What the server says to the last of these lines."""
        for line in lines:
            self.transport.clear()
            self.protocol.dataReceived(line.encode() + b"\r\n")
        said: bytes = self.transport.value()
        return said

    def leave(self) -> None:
        """The client is gone."""
        self.protocol.connectionLost(Failure(ConnectionLost()))

    def test_session(self) -> None:
        """Greeting, log-in, a message, good-bye; then nothing is left."""
        self.assertTrue(self.transport.value().startswith(b"+OK pop.example"))
        self.assertEqual(self.say("USER alice", "PASS secret"), b"+OK 4 messages\r\n")
        self.assertIn(b"..dot", self.say("RETR 1"))
        self.assertEqual(self.say("QUIT"), b"+OK goodbye\r\n")
        self.assertTrue(self.transport.disconnecting)
        self.leave()
        self.assertEqual((self.clock.getDelayedCalls(), self.factory.connections), ([], set()))

    def test_time_outs(self) -> None:
        """RFC 1939 section 3: who says nothing for ten minutes is hung up on, without a word, and nothing is removed."""
        self.say("USER alice", "PASS secret", "DELE 1")
        self.transport.clear()
        self.clock.pump([300, 299])
        self.assertFalse(self.transport.disconnecting)
        self.say("NOOP")
        self.transport.clear()
        self.clock.pump([599, 1])
        self.assertEqual((self.transport.disconnecting, self.transport.value()), (True, b""))
        self.leave()
        self.assertEqual((len(self.maildrop.kept), self.maildrop.locked), (4, False))

    def test_log_in_in_time(self) -> None:
        """Who does not log in has a minute between commands."""
        self.clock.advance(60)
        self.assertTrue(self.transport.disconnecting)

    def test_guessing_costs_time(self) -> None:
        """A wrong password is answered after a second, the next after two."""
        for seconds in (1, 2, 4):
            self.assertEqual(self.say("USER alice", "PASS wrong"), b"")
            self.clock.advance(seconds - 0.1)
            self.assertEqual(self.transport.value(), b"")
            self.clock.advance(0.2)
            self.assertTrue(self.transport.value().startswith(b"-ERR [AUTH]"))

    def test_lost_while_waiting(self) -> None:
        """Who hangs up while the answer is awaited leaves nothing behind."""
        self.say("USER alice", "PASS wrong")
        self.leave()
        self.clock.advance(5)
        self.assertEqual(self.factory.connections, set())

    def test_back_pressure(self) -> None:
        """A message goes out as fast as the client reads; who does not read at all is dropped."""
        self.say("USER alice", "PASS secret")
        self.transport.full_octets = 5000
        self.assertLess(
            len(
                self.say(
                    "RETR 4",
                )
            ),
            8000,
        )
        self.protocol.dataReceived(b"NOOP\r\n")
        said = self.transport.value()
        for _ in range(10):
            self.transport.clear()
            self.protocol.resumeProducing()
            said += self.transport.value()
        self.assertTrue(said.endswith(b"0123456789abcde\r\n.\r\n+OK still here\r\n"))
        self.say("RETR 4")
        self.clock.advance(300)
        self.assertTrue(self.transport.aborted)

    def test_pipelining_is_bounded(self) -> None:
        """While a command waits, no more is read than the limit says."""
        self.say("USER alice", "PASS wrong")
        self.protocol.dataReceived(b"NOOP\r\n" * 50)
        self.assertEqual(self.transport.producerState, "paused")
        self.clock.advance(1)
        self.assertEqual(self.transport.producerState, "producing")

    def test_many_at_once(self) -> None:
        """Who sends very many commands lets others have their turn, and gets all answers; some may leave before."""
        self.say("USER alice", "PASS secret")
        self.transport.clear()
        self.protocol.dataReceived(b"NOOP\r\n" * 1200)
        answered = self.transport.value().count(b"\r\n")
        self.assertLess(answered, 1200)
        self.clock.pump([0, 0, 0])
        self.assertEqual(self.transport.value().count(b"\r\n"), 1200)
        self.protocol.dataReceived(b"NOOP\r\n" * 1200)
        self.leave()
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_broken_message(self) -> None:
        """A message that cannot be read to its end is not ended: the connection is."""
        self.say("USER alice", "PASS secret")
        machine: Any = self.protocol.machine
        maildrop = machine.maildrop

        class Body:
            size = 5000

            def read(self, offset: int, length: int) -> bytes:
                if offset:
                    raise OSError("disk")
                return b"x" * 100

            def close(self) -> None:
                """Nothing."""

        maildrop.body = lambda number: Body()
        said = self.say("RETR 1")
        self.assertTrue(self.transport.aborted)
        self.assertFalse(said.endswith(b".\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_broken_backend(self) -> None:
        """What a host raises that is no MailError ends the session, and is logged."""
        machine: Any = self.protocol.machine

        async def login(username: str, password: str, peer: object) -> None:
            raise ZeroDivisionError

        machine.authenticator.login = login
        self.assertEqual(self.say("USER alice", "PASS secret"), b"-ERR [SYS/TEMP] internal error, sorry\r\n")
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_shutdown(self) -> None:
        """Sessions between commands end at once; nobody new is let in; it is over when all are gone."""
        self.say("USER alice", "PASS secret")
        self.transport.clear()
        done: Deferred[None] = self.factory.shutdown()
        self.assertIn(b"shutting down", self.transport.value())
        self.assertIsNone(self.factory.buildProtocol(None))
        self.assertNoResult(done)
        self.leave()
        self.successResultOf(done)

    def test_shutdown_while_waiting(self) -> None:
        """A command that is under way has some seconds."""
        self.say("USER alice", "PASS wrong")
        self.factory.shutdown()
        self.clock.advance(Timeouts().shutdown)
        self.assertTrue(self.transport.disconnecting or self.transport.aborted)
