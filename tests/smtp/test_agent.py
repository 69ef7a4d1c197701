"""The Twisted client against scripted servers in memory: losses, time-outs, servers that break the rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.sasl.client import ClientExchange, Credentials, choose
from moxtwisted.smtp.agent import BytesSource, ClientSettings, FileSource, connect, send_mail
from moxtwisted.smtp.transmission import Outcome, RecipientResult
from tests.smtp.test_client import envelope

GREETING = b"220 mx.example ESMTP\r\n"
EHLO = b"250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n"


class Transport(StringTransport):
    """A transport that can be aborted."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Endpoint:
    """Connects to the test."""

    def connect(self, factory: Any) -> Deferred[Any]:
        self.transport = Transport()
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)


class AgentTests(SynchronousTestCase):
    """What the recipients get when things go wrong."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint()

    def send(
        self, *recipients: bytes, source: Any = None, **settings: Any
    ) -> Deferred[list[RecipientResult]]:
        return send_mail(
            self.clock,
            self.endpoint,  # type: ignore[arg-type]  # connect() is all that is used
            ClientSettings(hello_name="client.example", **settings),
            envelope(*recipients),
            source or BytesSource(b"Subject: x\r\n\r\n.\r\n"),
        )

    def server(self, *steps: bytes) -> None:
        """Say these, one after the other."""
        for octets in steps:
            self.endpoint.protocol.dataReceived(octets)

    def lose(self) -> None:
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.endpoint.protocol.connectionLost(Failure(ConnectionLost()))

    def show(self, sending: Deferred[list[RecipientResult]]) -> list[tuple[int, str, bool]]:
        return [(r.reply.code, r.stage, r.uncertain) for r in self.successResultOf(sending)]

    def wrote(self) -> bytes:
        octets: bytes = self.endpoint.transport.value()
        self.endpoint.transport.clear()
        return octets

    def test_the_ordinary_way(self) -> None:
        """Envelope in one write, the message with its dots stuffed, QUIT at the end."""
        sending = self.send(b"<b@example.net>", b"<c@example.net>")
        self.server(GREETING)
        self.assertEqual(self.wrote(), b"EHLO client.example\r\n")
        self.server(EHLO)
        self.assertEqual(
            self.wrote(),
            b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n",
        )
        self.server(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no\r\n354 go\r\n")
        self.assertEqual(self.wrote(), b"Subject: x\r\n\r\n..\r\n.\r\n")
        self.server(b"250 2.0.0 kept\r\n")
        self.assertEqual(self.wrote(), b"QUIT\r\n")
        self.server(b"221 2.0.0 bye\r\n")
        self.lose()
        self.assertEqual(self.show(sending), [(250, ".", False), (550, "RCPT", False)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_helo_for_old_servers(self) -> None:
        """EHLO that is not known is followed by HELO, and one command at a time."""
        sending = self.send()
        self.server(GREETING, b"502 what?\r\n")
        self.assertEqual(self.wrote(), b"EHLO client.example\r\nHELO client.example\r\n")
        self.server(b"250 mx\r\n")
        self.assertEqual(self.wrote(), b"MAIL FROM:<a@example.org>\r\n")
        self.server(b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n", b"221 bye\r\n")
        self.lose()
        self.assertEqual(self.show(sending), [(250, ".", False)])

    def test_losses(self) -> None:
        """A lost connection is temporary at the stage it came; only after the final dot it is uncertain."""
        replies = [GREETING, EHLO, b"250 ok\r\n250 ok\r\n354 go\r\n"]
        stages = [("", False), ("EHLO", False), ("MAIL", False), (".", True)]
        for count, (stage, uncertain) in enumerate(stages):
            sending = self.send()
            self.server(*replies[:count])
            self.lose()
            self.assertEqual(self.show(sending), [(451, stage, uncertain)])

    def test_421_at_every_stage(self) -> None:
        """421 in the place of any reply is the result, and the connection is dropped."""
        replies = [GREETING, EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
        for count, stage in enumerate(["", "EHLO", "MAIL", "RCPT", "DATA", "."]):
            sending = self.send()
            self.server(*replies[:count], b"421 4.3.2 going down\r\n")
            self.assertEqual(self.show(sending), [(421, stage, False)])
            self.assertTrue(self.endpoint.transport.aborted, stage)

    def test_time_outs(self) -> None:
        """A server that says nothing is left after the time of RFC 5321 section 4.5.3.2."""
        replies = [GREETING, EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
        for count, seconds in enumerate([300, 300, 300, 300, 120, 600]):
            sending = self.send()
            self.server(*replies[:count])
            self.clock.advance(seconds - 1)
            self.assertNoResult(sending)
            self.clock.advance(1)
            self.assertEqual([r[0] for r in self.show(sending)], [451])
            self.assertTrue(self.endpoint.transport.aborted)

    def test_no_smtp(self) -> None:
        """A server that says nonsense is left, temporarily."""
        for octets in (b"SSH-2.0-OpenSSH\r\n", b"250-a\r\n", b"\x16\x03\x01" * 2000):
            sending = self.send()
            self.server(octets, b"999 x\r\n")
            self.assertEqual([r[0] for r in self.show(sending)], [451])

    def test_refusing_greeting(self) -> None:
        """554 instead of a greeting is the result."""
        sending = self.send()
        self.server(b"554 5.7.1 go away\r\n")
        self.assertEqual(self.show(sending), [(554, "", False)])

    def test_refused_in_the_middle_of_the_message(self) -> None:
        """A server that refuses before the end of the message and closes: its words are the result."""
        gate: list[Deferred[bytes]] = []

        class Slow(FileSource):
            def read(self, octets: int) -> Any:
                gate.append(Deferred())
                return gate[-1]

        sending = self.send(source=Slow(None))
        self.server(GREETING, EHLO, b"250 ok\r\n250 ok\r\n354 go\r\n")
        gate[0].callback(b"x" * 10)
        gate[1].callback(b"y" * 10)
        self.server(b"552 5.3.4 enough\r\n")
        self.lose()
        gate[2].callback(b"z")
        self.assertEqual(self.show(sending), [(552, "DATA", False)])

    def test_a_source_that_fails(self) -> None:
        """Half a message never gets its dot: the connection is dropped, and the error is the caller's."""

        class Broken(BytesSource):
            def read(self, octets: int) -> bytes:
                if self._at:
                    raise OSError("disk")
                return super().read(3)

        sending = self.send(source=Broken(b"abcdef"))
        self.server(GREETING, EHLO, b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.failureResultOf(sending, OSError)
        self.assertTrue(self.endpoint.transport.aborted)
        self.assertNotIn(b"\r\n.\r\n", self.wrote())

    def test_backpressure(self) -> None:
        """While the transport is full no block is read."""
        reads: list[int] = []

        class Counted(BytesSource):
            def read(self, octets: int) -> bytes:
                reads.append(octets)
                return super().read(octets)

        sending = self.send(source=Counted(b"x" * 1000000))
        self.server(GREETING, EHLO)
        self.endpoint.protocol.pauseProducing()
        self.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertEqual(len(reads), 2)
        self.endpoint.protocol.resumeProducing()
        self.assertEqual(len(reads), 17)
        self.server(b"250 ok\r\n", b"221 bye\r\n")
        self.lose()
        self.assertEqual(self.show(sending), [(250, ".", False)])

    def login(self, preference: tuple[str, ...]) -> Callable[..., Any]:
        return lambda names, tls: choose(names, Credentials("mjl", "secret"), bytes, preference=preference)

    def test_auth(self) -> None:
        """PLAIN in one line, LOGIN in three; a refusal, a common mechanism that is missing and a bad challenge are results."""
        for preference, lines, replies, expected in (
            (("PLAIN",), b"AUTH PLAIN AG1qbABzZWNyZXQ=\r\n", (b"235 ok\r\n",), None),
            (
                ("LOGIN",),
                b"AUTH LOGIN\r\nbWps\r\nc2VjcmV0\r\n",
                (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 ok\r\n"),
                None,
            ),
            (("PLAIN",), b"AUTH PLAIN AG1qbABzZWNyZXQ=\r\n", (b"535 5.7.8 no\r\n",), (535, "AUTH", False)),
            (("CRAM-MD5",), b"", (), (451, "AUTH", False)),
            (("LOGIN",), b"AUTH LOGIN\r\n*\r\n", (b"334 !\r\n", b"501 ok\r\n"), (454, "AUTH", False)),
        ):
            sending = self.send(exchange=self.login(preference))
            self.server(GREETING)
            self.wrote()
            self.server(EHLO, *replies)
            wrote = self.wrote()
            self.assertTrue(wrote.startswith(lines), wrote)
            if expected is not None:
                self.assertEqual(self.show(sending), [expected])
            else:
                self.assertTrue(wrote.endswith(b"DATA\r\n"))
                self.lose()
                self.successResultOf(sending)

    def test_more_recipients_than_the_server_takes(self) -> None:
        """Those beyond RCPTMAX get 452 4.5.3 without a word to the server (RFC 9422)."""
        sending = self.send(b"<b@example.net>", b"<c@example.net>", b"<d@example.net>")
        self.server(
            GREETING, b"250-mx\r\n250 LIMITS RCPTMAX=2\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n"
        )
        self.server(b"354 go\r\n", b"250 ok\r\n", b"221 bye\r\n")
        self.lose()
        self.assertEqual(self.show(sending), [(250, ".", False), (250, ".", False), (452, "LOCAL", False)])

    def test_said_ahead(self) -> None:
        """Replies to commands that were not sent yet are no answers: the connection is dropped, and it is tried later."""
        sending = self.send()
        self.server(GREETING, b"250 mx\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
        self.assertEqual(self.show(sending), [(451, "RCPT", False)])
        self.assertTrue(self.endpoint.transport.aborted)
        self.assertNotIn(b"Subject", self.wrote())

    def test_a_chunk_that_failed(self) -> None:
        """What state the last BDAT leaves behind when it failed is not known, so RSET follows (RFC 3030 section 2)."""
        sending = self.send(prefer_chunking=True)
        self.server(GREETING, b"250-mx\r\n250 CHUNKING\r\n", b"250 ok\r\n", b"250 ok\r\n")
        self.wrote()
        self.server(b"552 5.3.4 too much\r\n")
        self.assertEqual(self.wrote(), b"RSET\r\n")
        self.server(b"250 ok\r\n", b"221 bye\r\n")
        self.lose()
        self.assertEqual(self.show(sending), [(552, "BDAT", False)])

    def test_refused_while_idle(self) -> None:
        """What a server says unasked between two messages refuses nobody, but ends the connection."""
        settings = ClientSettings(hello_name="client.example")
        opening = connect(self.clock, self.endpoint, settings)  # type: ignore[arg-type]  # connect() is all that is used
        self.server(GREETING, EHLO)
        session = self.successResultOf(opening)
        self.server(b"554 5.7.1 too idle\r\n")
        self.assertFalse(session.alive)
        results = self.successResultOf(
            Deferred.fromCoroutine(session.send(envelope(), BytesSource(b"Subject: x\r\n\r\n")))
        )
        self.assertEqual([r.outcome for r in results], [Outcome.LATER])

    def test_cancelled(self) -> None:
        """Who does not want to wait any longer leaves no connection behind, wherever it is."""
        replies = [GREETING, EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n", b"221 bye\r\n"]
        for count in range(len(replies) + 1):
            sending = self.send()
            self.server(*replies[:count])
            sending.cancel()
            self.failureResultOf(sending, CancelledError)
            self.assertTrue(self.endpoint.transport.aborted, count)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled_before_there_is_a_connection(self) -> None:
        """A cancel is none of the host's failures, whatever an endpoint makes of it while it connects or looks for the host."""
        settings = ClientSettings(hello_name="client.example")
        for error in (ConnectingCancelledError(None), DNSLookupError("no such host"), CancelledError()):
            for attempt in (connect, partial(send_mail, envelope=envelope(), source=BytesSource(b""))):
                looking: Deferred[Any] = Deferred(lambda waiting, error=error: waiting.errback(error))  # type: ignore[misc]
                endpoint = Mock(connect=lambda _, looking=looking: looking)
                done = attempt(self.clock, endpoint, settings)
                done.cancel()
                self.failureResultOf(done, CancelledError)
                self.assertTrue(looking.called)
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_there(self) -> None:
        """A host that does not answer in time, or not at all, is tried later."""
        for error, text in ((None, "in time"), (DNSLookupError("no such host"), "no such host")):
            looking: Deferred[Any] = Deferred()
            self.endpoint = Mock(connect=lambda _, looking=looking: looking)
            sending = self.send()
            if error is None:
                self.clock.advance(10_000)
            else:
                looking.errback(error)
            (result,) = self.successResultOf(sending)
            self.assertEqual(
                (result.stage, result.reply.code, result.reply.enhanced), ("CONNECT", 451, "4.4.1")
            )
            self.assertIn(text, result.reply.text)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asked_without_end(self) -> None:
        """A server that always has one more challenge is left, whatever the mechanism makes of it."""

        class Patient(ClientExchange):
            mechanism = "PLAIN"

            def _step(self, challenge: bytes) -> bytes:
                return b""

        sending = self.send(exchange=lambda names, tls: Patient())
        self.server(GREETING, EHLO, *[b"334 \r\n"] * 20)
        self.assertEqual(self.show(sending), [(454, "AUTH", False)])
        self.assertTrue(self.endpoint.transport.aborted)
