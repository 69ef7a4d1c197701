"""The Twisted server protocol: writes, back-pressure, time, slow mode, PROXY headers, errors of the host, shutdown."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxtwisted.errors import OverQuotaError
from moxtwisted.smtp.events import BodyEnd
from moxtwisted.smtp.handlers import MemorySink
from moxtwisted.smtp.interfaces import ISMTPCommandHandler, ISMTPInterceptor
from moxtwisted.smtp.protocol import SMTPServerFactory, SMTPServerProtocol
from moxtwisted.smtp.replies import RawReply, Reply
from moxtwisted.smtp.settings import Limits, Mode, ServerSettings
from moxtwisted.smtp.testing import MemoryHandler, MemoryHandlers

HELLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n"


class Transport(StringTransport):
    """A transport that writes down its writes and how it ended."""

    def __init__(self, peer: str = "192.0.2.7") -> None:
        super().__init__(
            hostAddress=IPv4Address("TCP", "198.51.100.1", 25), peerAddress=IPv4Address("TCP", peer, 40000)
        )
        self.writes: list[bytes] = []
        self.half_closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.aborted = True

    def taken(self) -> bytes:
        octets = self.value()
        self.clear()
        self.writes.clear()
        return octets


class ProtocolTestCase(SynchronousTestCase):
    """A protocol on a Clock and a transport in memory."""

    def setUp(self) -> None:
        self.clock = Clock()

    def serve(self, handlers: Any = None, peer: str = "192.0.2.7", **settings: Any) -> SMTPServerProtocol:
        self.handlers = handlers if handlers is not None else MemoryHandlers()
        self.factory = SMTPServerFactory(
            ServerSettings(hostname="mx.example", **settings), self.handlers, self.clock
        )
        return self.connection(peer)

    def connection(self, peer: str = "192.0.2.7") -> SMTPServerProtocol:
        protocol = self.factory.buildProtocol(None)
        self.transport = Transport(peer)
        protocol.makeConnection(self.transport)
        return protocol

    def say(self, protocol: SMTPServerProtocol, octets: bytes) -> bytes:
        protocol.dataReceived(octets)
        return self.transport.taken()


class WriteTests(ProtocolTestCase):
    """How replies go out."""

    def test_pipelined_commands_in_one_write(self) -> None:
        """Commands that arrive together are answered in one write."""
        protocol = self.serve()
        self.transport.taken()
        protocol.dataReceived(HELLO + ENVELOPE + b"DATA\r\n")
        self.assertEqual(len(self.transport.writes), 1)
        self.assertTrue(self.transport.value().endswith(b"354 end the message with <CRLF>.<CRLF>\r\n"))

    def test_others_have_their_turn(self) -> None:
        """A read with thousands of commands is answered in slices, in order, and reading waits meanwhile."""
        protocol = self.serve()
        self.transport.taken()
        protocol.dataReceived(b"NOOP\r\n" * 1000 + b"QUIT\r\n")
        self.assertEqual(self.transport.value().count(b"\r\n"), 200)
        self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual(self.handlers.messages, [])
        for _ in range(5):
            self.clock.advance(0)
        self.assertEqual(self.transport.taken(), b"250 2.0.0 ok\r\n" * 1000 + b"221 2.0.0 goodbye\r\n")
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answers_while_the_peer_does_not_read(self) -> None:
        """A full write buffer stops reading and answering, and room for more starts them again."""
        protocol = self.serve()
        self.transport.taken()
        protocol.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual(self.say(protocol, HELLO), b"")
        protocol.resumeProducing()
        self.assertTrue(self.transport.taken().startswith(b"250-mx.example"))
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_peer_that_never_reads_is_dropped(self) -> None:
        """After the write time-out the connection is aborted."""
        protocol = self.serve()
        protocol.pauseProducing()
        self.clock.advance(301)
        self.assertTrue(self.transport.aborted)

    def test_raw_replies(self) -> None:
        """An interceptor can put any octets in the place of a reply."""

        @implementer(ISMTPInterceptor)
        class Bad(MemoryHandler):
            def intercept(self, event: Any, reply: Reply) -> Reply | None:
                return RawReply(250, octets=b"250-never\n") if event.verb == "NOOP" else None

        handlers = MemoryHandlers()
        handlers.make = Bad
        protocol = self.serve(handlers)
        self.transport.taken()
        self.assertEqual(self.say(protocol, b"NOOP\r\nRSET\r\n"), b"250-never\n250 2.0.0 ok\r\n")

    def test_many_replies_are_intercepted(self) -> None:
        """In LMTP each of a thousand replies passes the interceptor, some of them late."""
        late: Deferred[Reply] = Deferred()

        @implementer(ISMTPInterceptor)
        class Late(MemoryHandler):
            def intercept(self, event: Any, reply: Reply) -> Any:
                if isinstance(event, BodyEnd):
                    self.count = getattr(self, "count", 0) + 1
                    return late if self.count == 500 else None
                return None

        handlers = MemoryHandlers(data_done=lambda sink: [None] * len(sink.transaction.recipients))
        handlers.make = Late
        protocol = self.serve(handlers, mode=Mode.LMTP)
        protocol.dataReceived(b"LHLO client.example\r\nMAIL FROM:<a@example.org>\r\n")
        protocol.dataReceived(b"RCPT TO:<b@example.net>\r\n" * 1000 + b"DATA\r\n")
        for _ in range(6):
            self.clock.advance(0)
        self.transport.taken()
        self.assertEqual(self.say(protocol, b"x\r\n.\r\n"), b"")
        late.callback(Reply(450, "4.2.1", "late"))
        lines = self.transport.taken().split(b"\r\n")
        self.assertEqual([i for i, line in enumerate(lines) if line.startswith(b"450")], [499])
        self.assertEqual(len(lines), 1001)

    def test_own_commands(self) -> None:
        """A handler that provides ISMTPCommandHandler answers VRFY and its like itself."""

        @implementer(ISMTPCommandHandler)
        class Knows(MemoryHandler):
            def command(self, verb: str, argument: str) -> Reply:
                return Reply(250, "2.1.5", f"<{argument}@mx.example>")

        handlers = MemoryHandlers()
        handlers.make = Knows
        protocol = self.serve(handlers)
        self.transport.taken()
        self.assertEqual(self.say(protocol, b"VRFY bob\r\n"), b"250 2.1.5 <bob@mx.example>\r\n")


class WaitingTests(ProtocolTestCase):
    """Handlers that take their time."""

    def test_nothing_is_read_while_the_host_thinks(self) -> None:
        """Reading pauses until the answer is there; what was pipelined goes on then."""
        answer: Deferred[Reply | None] = Deferred()
        protocol = self.serve(MemoryHandlers(rcpt=lambda *_: answer))
        self.transport.taken()
        said = self.say(protocol, HELLO + ENVELOPE + b"NOOP\r\n")
        self.assertTrue(said.endswith(b"250 2.1.0 sender ok\r\n"))
        self.assertEqual(self.transport.producerState, "paused")
        protocol.dataReceived(b"RSET\r\n")  # what the kernel had read already
        answer.callback(Reply(550, "5.1.1", "no such user"))
        self.assertEqual(
            self.transport.taken(), b"550 5.1.1 no such user\r\n250 2.0.0 ok\r\n250 2.0.0 ok\r\n"
        )
        self.assertEqual(self.transport.producerState, "producing")

    def test_leaving_is_noticed(self) -> None:
        """While a complete message waits for its answer a client is heard leaving; of what it says instead, one read is kept."""
        answer: Deferred[Reply | None] = Deferred()
        for pipelined in (b"", b"NOOP\r\n"):
            answer = Deferred()
            protocol = self.serve(MemoryHandlers(data_done=lambda _, answer=answer: answer))
            self.say(protocol, HELLO + ENVELOPE + b"DATA\r\n")
            self.say(protocol, b"x\r\n.\r\n" + pipelined)
            self.assertEqual(self.transport.producerState, "paused" if pipelined else "producing")
            protocol.dataReceived(b"RSET\r\n")
            self.assertEqual(self.transport.producerState, "paused")
            answer.callback(None)
            self.assertEqual(self.transport.producerState, "producing")
            self.assertEqual(self.transport.taken().count(b"250 2.0.0 ok\r\n"), 2 if pipelined else 1)
            self.assertIn("disconnected", self.leave(protocol))

    def leave(self, protocol: SMTPServerProtocol) -> list[str]:
        protocol.connectionLost()
        return [call[0] for call in self.handlers.handlers[-1].calls]

    def test_coroutines(self) -> None:
        """Coroutines are awaited, and one that is done at once costs no pause."""

        async def mail(path: Any, parameters: Any) -> Reply:
            return Reply(250, "2.1.0", "from a coroutine")

        protocol = self.serve(MemoryHandlers(mail=mail))
        said = self.say(protocol, HELLO + ENVELOPE)
        self.assertIn(b"250 2.1.0 from a coroutine\r\n250 2.1.5 recipient ok\r\n", said)
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_host_that_never_answers(self) -> None:
        """After the handler time-out: 451 and close, and the awaitable is cancelled."""
        cancelled: list[Any] = []
        protocol = self.serve(MemoryHandlers(mail=lambda *_: Deferred(cancelled.append)))
        self.say(protocol, HELLO + ENVELOPE)
        self.clock.advance(541)
        self.assertEqual(self.transport.taken(), b"451 4.3.0 error in processing\r\n")
        self.assertEqual(len(cancelled), 1)
        self.assertTrue(self.transport.half_closed)

    def test_lost_while_the_host_thinks(self) -> None:
        """When the client goes away, a check is cancelled; the keeping of a complete message is not."""
        for method, octets, count in (("rcpt", b"", 1), ("data_done", b"DATA\r\nx\r\n.\r\n", 0)):
            cancelled: list[Any] = []
            protocol = self.serve(MemoryHandlers(**{method: lambda *_, c=cancelled: Deferred(c.append)}))
            self.say(protocol, HELLO + ENVELOPE + octets)
            protocol.connectionLost()
            self.assertEqual(len(cancelled), count, method)
            self.assertEqual(self.handlers.handlers[0].calls[-1], ("disconnected", "lost"))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sink_that_waits(self) -> None:
        """A sink may ask for time; the blocks come in order."""
        gate: Deferred[None] = Deferred()
        blocks: list[bytes] = []

        class Slow(MemorySink):
            def write(self, octets: bytes) -> Any:
                blocks.append(octets)
                return gate

        protocol = self.serve(MemoryHandlers(data_started=Slow, data_done=Reply(250, "2.0.0", "kept")))
        self.say(protocol, HELLO + ENVELOPE + b"DATA\r\n")
        protocol.dataReceived(b"one\r\n")
        protocol.dataReceived(b"two\r\n.\r\n")
        self.assertEqual(blocks, [b"one"])
        self.assertEqual(self.transport.producerState, "paused")
        gate.callback(None)
        self.assertEqual(b"".join(blocks), b"one\r\ntwo\r\n")
        self.assertEqual(self.transport.taken(), b"250 2.0.0 kept\r\n")


class HostErrorTests(ProtocolTestCase):
    """Exceptions of the host."""

    def test_mail_errors_become_their_reply(self) -> None:
        """A MailError is answered with its codes and public text."""

        def rcpt(*_: Any) -> None:
            raise OverQuotaError("account bob has 3 GB")

        protocol = self.serve(MemoryHandlers(rcpt=rcpt))
        self.assertTrue(
            self.say(protocol, HELLO + ENVELOPE).endswith(b"452 4.2.2 mailbox is over its quota\r\n")
        )

    def test_other_errors_are_logged(self) -> None:
        """Any other exception is logged and is 451 to the client; the session goes on."""

        def mail(*_: Any) -> None:
            raise ZeroDivisionError

        async def rcpt(*_: Any) -> None:
            raise ZeroDivisionError

        handlers = MemoryHandlers(mail=mail)
        protocol = self.serve(handlers)
        self.transport.taken()
        self.assertTrue(
            self.say(protocol, HELLO + ENVELOPE).endswith(b"503 5.5.1 bad sequence of commands\r\n")
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        handlers.answers = {"rcpt": rcpt}
        self.assertTrue(self.say(protocol, ENVELOPE).endswith(b"451 4.3.0 error in processing\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.say(protocol, b"NOOP\r\n"), b"250 2.0.0 ok\r\n")

    def test_sink_that_fails(self) -> None:
        """The rest of the message is thrown away, the error is the reply, the sink is aborted once."""
        sinks = []

        class Full(MemorySink):
            def write(self, octets: bytes) -> None:
                sinks.append(self)
                raise OverQuotaError

        protocol = self.serve(MemoryHandlers(data_started=Full))
        self.say(protocol, HELLO + ENVELOPE + b"DATA\r\n")
        self.assertEqual(self.say(protocol, b"one\r\n"), b"")
        self.assertEqual(self.say(protocol, b"two\r\n"), b"")
        self.assertEqual(
            self.say(protocol, b".\r\nNOOP\r\n"), b"452 4.2.2 mailbox is over its quota\r\n250 2.0.0 ok\r\n"
        )
        self.assertEqual([s.aborted for s in sinks], [True])

    def test_refused_connection(self) -> None:
        """A reply of the factory stands in the place of the greeting, and the connection ends."""
        self.serve(MemoryHandlers(connected=lambda peer: Reply(421, "4.7.0", f"not you, {peer.ip}")))
        self.assertEqual(self.transport.taken(), b"421 4.7.0 not you, 192.0.2.7\r\n")
        self.assertTrue(self.transport.half_closed)


class TimeTests(ProtocolTestCase):
    """Time-outs and slow mode, on a Clock."""

    def test_command_timeout(self) -> None:
        """A client that says nothing for five minutes gets 421 and is gone."""
        protocol = self.serve()
        self.say(protocol, HELLO)
        self.clock.advance(299)
        self.assertEqual(self.transport.value(), b"")
        self.clock.advance(2)
        self.assertEqual(self.transport.taken(), b"421 4.4.2 time-out\r\n")
        self.assertTrue(self.transport.half_closed)
        self.clock.advance(3)
        self.assertTrue(self.transport.aborted)

    def test_a_dribbled_command_gains_no_time(self) -> None:
        """Octets that complete no command do not extend the time for it."""
        protocol = self.serve()
        self.transport.taken()
        for octet in b"NOO":
            protocol.dataReceived(bytes((octet,)))
            self.clock.advance(99)
        self.clock.advance(4)
        self.assertEqual(self.transport.taken(), b"421 4.4.2 time-out\r\n")

    def test_message_timeouts(self) -> None:
        """Octets of a message have three minutes for the next ones and thirty for all."""
        protocol = self.serve()
        self.say(protocol, HELLO + ENVELOPE + b"DATA\r\n")
        for _ in range(17):
            protocol.dataReceived(b"x\r\n")
            self.clock.advance(100)
        self.assertEqual(self.transport.value(), b"")
        protocol.dataReceived(b"x\r\n")
        self.clock.advance(101)
        self.assertEqual(self.transport.taken(), b"421 4.4.2 time-out\r\n")
        calls = self.handlers.handlers[0].calls
        self.assertEqual(self.handlers.messages, [])
        protocol.connectionLost()
        self.assertEqual(calls[-1], ("disconnected", "timeout"))

    def test_slow_mode(self) -> None:
        """After a reply with C{slow}, replies come an octet a second and reading waits a second."""
        protocol = self.serve(MemoryHandlers(mail=Reply(550, "5.7.1", "go", slow=True)))
        self.say(protocol, HELLO)
        self.transport.taken()
        protocol.dataReceived(b"MAIL FROM:<a@example.org>\r\n")
        self.assertEqual(self.transport.value(), b"5")
        self.clock.pump([1, 1, 1])
        self.assertEqual(self.transport.value(), b"550 ")
        self.clock.pump([1] * 20)
        self.assertEqual(self.transport.taken(), b"550 5.7.1 go\r\n")
        protocol.dataReceived(b"NOOP\r\n")
        self.assertEqual(self.transport.producerState, "paused")
        self.clock.advance(1)
        self.assertEqual(self.transport.value(), b"2")
        protocol.dataReceived(b"QUIT\r\n")
        self.clock.pump([1] * 60)
        self.assertEqual(self.transport.taken(), b"250 2.0.0 ok\r\n221 2.0.0 goodbye\r\n")
        self.assertTrue(self.transport.disconnecting)

    def test_slow_mode_ends(self) -> None:
        """What is not written after thirty seconds goes out at once."""
        protocol = self.serve(MemoryHandlers(mail=Reply(550, "5.7.1", "x" * 300, slow=True)))
        self.say(protocol, HELLO)
        protocol.dataReceived(b"MAIL FROM:<a@example.org>\r\n")
        self.clock.pump([1] * 29)
        self.assertEqual(len(self.transport.value()), 30)
        self.clock.pump([1])
        self.assertEqual(len(self.transport.value()), 312)


class LimitTests(ProtocolTestCase):
    """Limits on lines, recipients and failures."""

    def test_long_lines(self) -> None:
        """A command line has 2048 octets, complete or not; a line of AUTH 12288."""
        for octets in (b"NOOP " + b"x" * 2042 + b"\r\n", b"NOOP " + b"x" * 3000):
            protocol = self.serve()
            self.transport.taken()
            self.assertEqual(self.say(protocol, octets), b"500 5.5.2 line too long\r\n")
        protocol = self.serve()
        self.transport.taken()
        self.assertEqual(self.say(protocol, b"NOOP " + b"x" * 2041 + b"\r\n"), b"250 2.0.0 ok\r\n")
        protocol = self.serve(mode=Mode.SUBMISSION, mechanisms=("PLAIN",), auth_without_tls=True)
        self.say(protocol, HELLO)
        self.assertTrue(self.say(protocol, b"AUTH PLAIN " + b"A" * 12000 + b"\r\n").startswith(b"535"))
        self.assertTrue(self.say(protocol, b"AUTH PLAIN " + b"A" * 12300).startswith(b"500 5.5.6"))

    def test_recipients(self) -> None:
        """A recipient too many is 452 4.5.3; those before it stay."""
        protocol = self.serve(limits=Limits(recipients=2))
        said = self.say(protocol, HELLO + ENVELOPE + b"RCPT TO:<c@example.net>\r\n" * 2)
        self.assertTrue(said.endswith(b"transaction\r\n"))
        self.assertIn(b"452 4.5.3", said)
        self.assertIn(b"LIMITS RCPTMAX=2", said)

    def test_bad_transactions(self) -> None:
        """After more than ten transactions that came to nothing the next MAIL is 550 and the end; a good one forgives."""
        protocol = self.serve()
        self.say(protocol, HELLO)
        for _ in range(10):
            self.say(protocol, b"MAIL FROM:<a@example.org>\r\nRSET\r\n")
        self.say(protocol, ENVELOPE + b"DATA\r\n.\r\n")
        for _ in range(11):
            self.assertTrue(self.say(protocol, b"MAIL FROM:<a@example.org>\r\nRSET\r\n").startswith(b"250"))
        self.assertTrue(self.say(protocol, b"MAIL FROM:<a@example.org>\r\n").startswith(b"550 5.7.0"))
        self.assertTrue(self.transport.half_closed)

    def test_bad_commands(self) -> None:
        """So many syntax errors are borne, then it is 421."""
        protocol = self.serve()
        self.say(protocol, HELLO)
        for _ in range(21):
            self.assertTrue(self.say(protocol, b"FOO\r\n").startswith(b"500"))
        self.assertEqual(self.say(protocol, b"FOO\r\n"), b"421 4.7.0 too many errors\r\n")

    def test_auth_failures(self) -> None:
        """Failures slow the connection down more and more, and end it."""
        protocol = self.serve(mode=Mode.SUBMISSION, mechanisms=("PLAIN",), auth_without_tls=True)
        self.say(protocol, HELLO)
        for _ in range(3):
            self.assertTrue(self.say(protocol, b"AUTH PLAIN AGEAYg==\r\n").startswith(b"535"))
        before = self.clock.seconds()
        protocol.dataReceived(b"AUTH PLAIN AGEAYg==\r\n")
        while b"535" not in self.transport.value():
            self.clock.advance(0.5)
        self.assertGreaterEqual(self.clock.seconds() - before, 1)
        for _ in range(7):
            self.clock.pump([1] * 90)
            protocol.dataReceived(b"AUTH PLAIN AGEAYg==\r\n")
        self.transport.taken()
        self.clock.pump([1] * 90)
        protocol.dataReceived(b"AUTH PLAIN AGEAYg==\r\n")
        self.clock.pump([1] * 90)
        self.assertIn(b"421 4.7.0 too many failed authentications", self.transport.value())

    def test_small_in_memory(self) -> None:
        """What a connection keeps besides its transport is below 8 KB (tracemalloc)."""
        import gc
        import tracemalloc

        self.serve()
        transports = [Transport() for _ in range(100)]
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            protocols = [self.factory.buildProtocol(None) for _ in transports]
            for protocol, transport in zip(protocols, transports, strict=True):
                protocol.makeConnection(transport)
                protocol.dataReceived(HELLO)
                transport.clear()
                transport.writes.clear()
            gc.collect()
            each = (tracemalloc.get_traced_memory()[0] - before) / len(protocols)
        finally:
            tracemalloc.stop()
        self.assertLess(each, 8192)


class ProxyTests(ProtocolTestCase):
    """The PROXY protocol."""

    V2 = (
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 9, 198, 51, 100, 2]) + b"\x12\x34\x00\x19"
    )

    def peers(self) -> MemoryHandlers:
        self.seen: list[Any] = []
        return MemoryHandlers(connected=self.seen.append)

    def test_headers(self) -> None:
        """Version 1 and 2, in any cuts, with commands behind them, replace the peer's address."""
        v1 = b"PROXY TCP4 203.0.113.9 198.51.100.2 4660 25\r\n"
        v6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 4660 25\r\n"
        for header, ip in (
            (v1, "203.0.113.9"),
            (self.V2, "203.0.113.9"),
            (v6, "2001:db8::1"),
            (b"PROXY UNKNOWN\r\n", "192.0.2.7"),
        ):
            for size in (1, 1000):
                protocol = self.serve(self.peers(), proxy_networks=(ip_network("192.0.2.0/24"),))
                self.assertEqual(self.transport.value(), b"")
                octets = header + b"NOOP\r\n"
                for i in range(0, len(octets), size):
                    protocol.dataReceived(octets[i : i + size])
                self.assertTrue(self.transport.value().endswith(b"\r\n250 2.0.0 ok\r\n"), header)
                self.assertEqual(self.seen[0].ip, ip_address(ip))
                self.assertEqual(
                    self.seen[0].proxy_ip, None if ip == "192.0.2.7" else ip_address("192.0.2.7")
                )

    def test_only_from_configured_networks(self) -> None:
        """From others it is a command that is none."""
        protocol = self.serve(self.peers(), peer="192.0.3.1", proxy_networks=(ip_network("192.0.2.0/24"),))
        self.transport.taken()
        self.assertTrue(
            self.say(protocol, b"PROXY TCP4 203.0.113.9 198.51.100.2 4660 25\r\n").startswith(b"500")
        )

    def test_bad_headers(self) -> None:
        """Whatever is no header drops the connection at once, without a word."""
        for octets in (
            HELLO,
            b"PROXY TCP4 203.0.113.9 198.51.100.2 4660\r\n",
            b"PROXY TCP6 203.0.113.9 198.51.100.2 4660 25\r\n",
            b"PROXY TCP4 203.0.113.9 198.51.100.2 4660 99999\r\n",
            b"PROXY " + b"x" * 200,
            self.V2[:12] + b"\x31" + self.V2[13:],
            self.V2[:14] + b"\xff\xff",
            self.V2[:14] + b"\x00\x02ab",
        ):
            protocol = self.serve(self.peers(), proxy_networks=(ip_network("192.0.2.0/24"),))
            protocol.dataReceived(octets)
            self.assertTrue(self.transport.aborted, octets)
            self.assertEqual(self.transport.value(), b"")
            self.assertEqual(self.seen, [])

    def test_header_time(self) -> None:
        """The header has five seconds."""
        protocol = self.serve(self.peers(), proxy_networks=(ip_network("192.0.2.0/24"),))
        protocol.dataReceived(b"PROXY TCP4 ")
        self.clock.advance(6)
        self.assertTrue(self.transport.aborted)


class ShutdownTests(ProtocolTestCase):
    """The end of the service."""

    def test_idle_connections_get_421(self) -> None:
        """Between messages: 421 at once; the Deferred fires when the last is gone."""
        protocol = self.serve()
        self.say(protocol, HELLO + ENVELOPE)
        done = self.factory.shutdown()
        self.assertEqual(self.transport.taken(), b"421 4.3.2 service is shutting down\r\n")
        self.assertNoResult(done)
        protocol.connectionLost()
        self.successResultOf(done)
        self.assertIsNone(self.factory.buildProtocol(None))
        self.assertEqual(self.handlers.handlers[0].calls[-1], ("disconnected", "shutdown"))

    def test_a_message_in_transfer_is_finished(self) -> None:
        """DATA goes on to its end and its 250, then comes 421."""
        protocol = self.serve()
        self.say(protocol, HELLO + ENVELOPE + b"DATA\r\none\r\n")
        self.factory.shutdown()
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(
            self.say(protocol, b"two\r\n.\r\n"),
            b"250 2.6.0 message accepted\r\n421 4.3.2 service is shutting down\r\n",
        )
        self.assertEqual([m.octets for m in self.handlers.messages], [b"one\r\ntwo\r\n"])

    def test_before_the_greeting(self) -> None:
        """Who still waits for a greeting gets 421 instead."""
        self.serve(MemoryHandlers(connected=lambda _: Deferred()))
        self.factory.shutdown()
        self.assertEqual(self.transport.taken(), b"421 4.3.2 service is shutting down\r\n")

    def test_a_message_being_kept_is_finished(self) -> None:
        """The answer to a complete message is waited for."""
        kept: Deferred[None] = Deferred()
        protocol = self.serve(MemoryHandlers(data_done=lambda _: kept))
        self.say(protocol, HELLO + ENVELOPE + b"DATA\r\none\r\n.\r\n")
        self.factory.shutdown()
        self.assertEqual(self.transport.value(), b"")
        kept.callback(None)
        self.assertEqual(
            self.transport.taken(), b"250 2.6.0 message accepted\r\n421 4.3.2 service is shutting down\r\n"
        )

    def test_a_message_that_does_not_end(self) -> None:
        """Half a minute, then it is 421 all the same."""
        protocol = self.serve()
        self.say(protocol, HELLO + ENVELOPE + b"DATA\r\none\r\n")
        self.factory.shutdown()
        self.clock.advance(31)
        self.assertEqual(self.transport.taken(), b"421 4.3.2 service is shutting down\r\n")
        self.assertEqual(self.handlers.messages, [])

    def test_nobody_there(self) -> None:
        """Without connections it is over at once."""
        protocol = self.serve()
        protocol.connectionLost()
        self.successResultOf(self.factory.shutdown())
