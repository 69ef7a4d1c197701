"""The Twisted client, against our server in memory and against scripted servers."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.test import iosim
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxtwisted.imap.agent import ClientSettings, IMAPClient, connect
from moxtwisted.imap.client.accountcommands import NotifyGroup
from moxtwisted.imap.client.machine import BodyStarted
from moxtwisted.imap.client.messagecommands import NewMail
from moxtwisted.imap.client.notices import Alert, Expunged, MessageChanged, NewCount, Notice
from moxtwisted.imap.client.protocol import ClientTLS
from moxtwisted.imap.client.results import Message, members
from moxtwisted.imap.client.session import (
    CommandRefusedError,
    ConnectionFailedError,
    NotOfferedError,
    NotUnderstoodError,
)
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import ServerSettings, Timeouts
from moxtwisted.imap.wire.commands import StoreMode
from moxtwisted.imap.wire.responsedata import Streamed
from moxtwisted.sasl.client import Credentials

ALICE = Credentials("alice", "secret")


@implementer(IStreamClientEndpoint)
class Given:
    """An endpoint that hands its protocol to a function."""

    def __init__(self, made: Callable[[Any], Any]) -> None:
        self._made = made

    def connect(self, factory: Any) -> Deferred[Any]:
        """See the interface."""
        protocol = factory.buildProtocol(None)
        self._made(protocol)
        return succeed(protocol)


class Sink:
    """Gathers octets; with ``slow``, each piece waits to be let go of."""

    def __init__(self, *, slow: bool = False) -> None:
        self.pieces: list[bytes] = []
        self.ended: bool | None = None
        self.waiting: list[Deferred[None]] = []
        self.slow = slow

    def write(self, octets: bytes) -> Awaitable[None] | None:
        self.pieces.append(octets)
        if not self.slow:
            return None
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def close(self, *, complete: bool) -> None:
        self.ended = complete


class Source:
    """Octets for APPEND."""

    def __init__(self, octets: bytes, announced: int | None = None) -> None:
        self.octets = octets
        self.size_octets = len(octets) if announced is None else announced
        self.asked: list[int] = []

    def read(self, octets: int) -> bytes:
        self.asked.append(octets)
        piece, self.octets = self.octets[:octets], self.octets[octets:]
        return piece


class ServerCase(SynchronousTestCase):
    """A client connected to our server in memory."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.mail = MemoryMail(self.clock.seconds)
        self.notices: list[Notice] = []
        authenticator = MemoryAuthenticator({"alice": ("secret", self.mail)}, os.urandom)
        settings = ServerSettings(
            hostname="x.example", allow_plain_without_tls=True, timeouts=Timeouts(login_failure_pause=0.0)
        )
        self.factory = IMAPServerFactory(settings, authenticator, self.clock)
        self.pumps: list[Any] = []

    def connected(self, protocol: Any) -> None:
        server = self.factory.buildProtocol(None)
        self.pumps.append(
            iosim.connect(
                server,
                iosim.FakeTransport(server, isServer=True),
                protocol,
                iosim.FakeTransport(protocol, False),
            )
        )

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it, both sides talking as long as they like."""
        done = Deferred.fromCoroutine(coroutine)
        for _ in range(2000):
            if done.called and not getattr(done, "_chainedTo", None):
                break
            for pump in self.pumps:
                pump.flush()
            self.clock.advance(0)
        return self.successResultOf(done)

    def open(self, **named: Any) -> IMAPClient:
        settings = ClientSettings(credentials=ALICE, allow_clear_password=True, **named)
        client: IMAPClient = self.wait(
            connect(self.clock, Given(self.connected), settings, self.notices.append)
        )
        return client


class MailTests(ServerCase):
    def test_reads_and_writes(self) -> None:
        """Log in, append, search, read with types, change flags, copy, expunge, log out."""
        client = self.open()
        letter = b"From: Bob <bob@x.example>\r\nSubject: hello\r\n\r\ntext\r\n"
        added = self.wait(client.append("INBOX", NewMail(letter, ("\\Seen",))))
        self.assertEqual(list(members(added.target)), [1])
        selected = self.wait(client.select("INBOX", condstore=True))
        self.assertEqual((selected.exists, selected.uidnext, selected.read_only), (1, 2, False))
        found = self.wait(client.search("SUBJECT hello"))
        self.assertEqual(list(members(found.numbers)), [1])
        items = ["FLAGS", "ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]", "MODSEQ", "RFC822.SIZE", "INTERNALDATE"]
        (message,) = self.wait(client.fetch([1], items))
        self.assertEqual(message.section(), letter)
        self.assertEqual(message.envelope.from_[0].address, "bob@x.example")
        self.assertEqual((message.structure.media_type, message.structure.section), ("text/plain", "1"))
        self.assertEqual((message.size_octets, message.flags), (len(letter), {"\\Seen"}))
        stored = self.wait(client.store([1], StoreMode.ADD, ["\\Deleted", "work"]))
        self.assertIn("work", stored.messages[0].flags)
        self.wait(client.create("Archive"))
        copied = self.wait(client.copy([1], "Archive"))
        self.assertEqual(list(members(copied.target)), [1])
        self.assertEqual(self.wait(client.status("Archive", ["MESSAGES"])), {"MESSAGES": 1})
        self.wait(client.expunge([1]))
        self.assertIn(Expunged(1), self.notices)
        self.assertEqual(client.selected.exists if client.selected else None, 0)
        self.assertEqual({one.name for one in self.wait(client.mailboxes())}, {"INBOX", "Archive"})
        self.wait(client.close())
        self.assertFalse(client.alive)

    def test_modseq_after_expunge(self) -> None:
        """RFC 7162 section 3.2.7: what the tagged OK of EXPUNGE says is where the mailbox stands."""
        client = self.open()
        self.wait(client.enable("QRESYNC"))
        self.wait(client.append("INBOX", NewMail(b"a: b\r\n\r\n1\r\n")))
        self.wait(client.append("INBOX", NewMail(b"a: b\r\n\r\n2\r\n")))
        selected = self.wait(client.select("INBOX"))
        self.wait(client.store([1], StoreMode.ADD, ["\\Deleted"]))
        self.wait(client.expunge())
        self.assertEqual(
            self.wait(client.status("INBOX", ["HIGHESTMODSEQ"])), {"HIGHESTMODSEQ": selected.highestmodseq}
        )

    def test_large_messages_pass_through(self) -> None:
        """A source is read piece by piece, a sink gets the same octets piece by piece."""
        client = self.open()
        letter = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 40_000
        source = Source(letter)
        self.wait(client.append("INBOX", NewMail(source)))
        self.assertLessEqual(max(source.asked), 65536)
        self.wait(client.select("INBOX"))
        sink = Sink()
        started: list[BodyStarted] = []
        messages: list[Message] = []

        def sinks(body: BodyStarted) -> Sink:
            started.append(body)
            return sink

        self.wait(client.fetch_each([1], ["UID", "BODY.PEEK[]"], messages.append, sinks=sinks))
        self.assertEqual(b"".join(sink.pieces), letter)
        self.assertTrue(sink.ended)
        self.assertEqual(
            (started[0].label, started[0].size_octets, started[0].uid), ("BODY[]", len(letter), 1)
        )
        self.assertEqual(messages[0].sections, {"BODY[]": Streamed(len(letter))})

    def test_idle(self) -> None:
        """What happens is told while IDLE lasts."""
        client = self.open()
        self.wait(client.select("INBOX"))
        idle = self.wait(client.idle())
        self.mail.add("INBOX", b"Subject: x\r\n\r\n")
        self.wait(idle.done())
        self.assertIn(NewCount(1), self.notices)
        self.assertTrue(client.alive)

    def test_news_with_a_refusal(self) -> None:
        """What a server tells together with a refusal is not lost."""
        client = self.open()
        self.mail.add("INBOX", b"Subject: x\r\n\r\n")
        self.wait(client.select("INBOX"))
        self.mail.add("INBOX", b"Subject: y\r\n\r\n")
        waiting = Deferred.fromCoroutine(client.copy([1], "Nowhere"))
        for pump in self.pumps:
            pump.flush()
        self.failureResultOf(waiting, CommandRefusedError)
        self.assertIn(NewCount(2), self.notices)
        self.assertEqual(client.selected.exists if client.selected else None, 2)

    def test_compression(self) -> None:
        """With COMPRESS everything is as before."""
        client = self.open(compress=True)
        if not client.machine.compressed:
            self.skipTest("the server does not compress yet")
        letter = b"Subject: x\r\n\r\n" + b"text\r\n" * 50_000
        self.wait(client.append("INBOX", NewMail(letter)))
        self.wait(client.select("INBOX"))
        (message,) = self.wait(client.fetch([1], ["BODY.PEEK[]"]))
        self.assertEqual(message.section(), letter)

    def test_extensions(self) -> None:
        """What our server offers, the client can use: orders, annotations, quotas, rights, parts, NOTIFY, UIDs alone."""
        client = self.open()
        wait, offers = self.wait, client.offers
        for subject in (b"b", b"a", b"c"):
            self.mail.add("INBOX", b"Subject: %b\r\n\r\n" % subject)
        wait(client.select("INBOX"))
        if offers("SORT"):
            found = wait(client.sort("SUBJECT"))
            self.assertEqual(list(members(found.numbers)), [2, 1, 3])
        if offers("THREAD=REFERENCES"):
            self.assertEqual(len(wait(client.thread())), 3)
        if offers("PARTIAL"):
            found = wait(client.search("ALL", returns=("PARTIAL 1:2",)))
            self.assertEqual(list(members(found.partial[1])), [1, 2])
        if offers("METADATA"):
            wait(client.set_metadata("INBOX", {"/private/comment": b"mine"}))
            self.assertEqual(
                wait(client.get_metadata("INBOX", ["/private/comment"])), {"/private/comment": b"mine"}
            )
        if offers("QUOTA"):
            wait(client.quota_roots("INBOX"))
        if offers("ACL"):
            self.assertIn("r", wait(client.my_rights("INBOX")))
        if offers("REPLACE"):
            done = wait(client.replace(3, "INBOX", NewMail(b"Subject: new\r\n\r\n")))
            self.assertEqual(list(members(done.target)), [4])
        if offers("MULTISEARCH"):
            (one,) = wait(client.search_everywhere("personal", 'SUBJECT "a"'))
            self.assertEqual((one.mailbox, list(members(one.numbers))), ("INBOX", [2]))
        if offers("UTF8=ACCEPT"):
            wait(client.enable("UTF8=ACCEPT"))
            letter = "Subject: \u00fc\r\n\r\n".encode()
            wait(client.append("INBOX", NewMail(Source(letter), utf8=True), NewMail(letter)))
            for message in wait(client.fetch([5, 6], ["BODY.PEEK[]"])):
                self.assertEqual(message.section(), letter)
        if offers("NOTIFY"):
            wait(client.notify([NotifyGroup("selected", ("MessageNew (UID)", "MessageExpunge"))]))
        if offers("UIDONLY"):
            wait(client.enable("UIDONLY"))
            (message,) = wait(client.fetch([2], ["FLAGS"]))
            self.assertEqual((message.number, message.uid), (0, 2))
        if offers("UNAUTHENTICATE"):
            wait(client.unauthenticate())
            wait(client.login(ALICE))
        wait(client.close())

    def test_hard_work_elsewhere(self) -> None:
        """The rounds of SCRAM's hash can be done in a thread; meanwhile nothing is read."""
        waiting: list[Deferred[bytes]] = []

        def in_thread(work: Callable[..., bytes], *arguments: Any) -> Deferred[bytes]:
            done: Deferred[bytes] = Deferred()
            done.addCallback(lambda _: work(*arguments))
            waiting.append(done)
            return done

        settings = ClientSettings(credentials=ALICE, allow_clear_password=True, in_thread=in_thread)
        opening = Deferred.fromCoroutine(connect(self.clock, Given(self.connected), settings))
        for _ in range(20):
            self.pumps[0].flush()
            self.clock.advance(0)
            for done in waiting[:1]:
                waiting.remove(done)
                done.callback(b"")
        self.assertTrue(self.successResultOf(opening).alive)

    def test_refusals(self) -> None:
        """NO is an error with the server's words; what is not offered is not tried; wrong passwords are told."""
        client = self.open()
        failure = self.failureResultOf(Deferred.fromCoroutine(self._refused(client)))
        self.assertTrue(failure.check(CommandRefusedError))
        self.assertEqual(failure.value.imap_code, "NONEXISTENT")
        wrong = ClientSettings(credentials=Credentials("alice", "wrong"), allow_clear_password=True)
        done = Deferred.fromCoroutine(connect(self.clock, Given(self.connected), wrong))
        for _ in range(10):
            self.pumps[-1].flush()
            self.clock.advance(0)
        self.failureResultOf(done, CommandRefusedError)

    async def _refused(self, client: IMAPClient) -> None:
        done = Deferred.fromCoroutine(client.select("Nowhere"))
        self.pumps[-1].flush()
        await done


class ScriptCase(SynchronousTestCase):
    """A client whose server says what the test writes."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.transport = StringTransport()
        self.notices: list[Notice] = []

    def made(self, protocol: Any) -> None:
        self.protocol = protocol
        self.transport.abortConnection = self.transport.loseConnection  # type: ignore[method-assign]
        protocol.makeConnection(self.transport)

    def begin(self, greeting: bytes = b"* OK [CAPABILITY IMAP4rev1 UIDPLUS] hi\r\n", **named: Any) -> Any:
        done = Deferred.fromCoroutine(
            connect(self.clock, Given(self.made), ClientSettings(**named), self.notices.append)
        )
        self.protocol.dataReceived(greeting)
        return done

    def said(self) -> bytes:
        octets = self.transport.value()
        self.transport.clear()
        return octets


class HostileTests(ScriptCase):
    def test_no_password_in_clear(self) -> None:
        """Without TLS, PLAIN and LOGIN are not used."""
        done = self.begin(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", credentials=ALICE)
        self.failureResultOf(done, ConnectionFailedError)
        self.assertNotIn(b"LOGIN", self.said())

    def test_idle_that_did_not_begin(self) -> None:
        """Who waits for IDLE to begin hears that the server has ended it before that."""
        client = self.successResultOf(self.begin())
        idle = Deferred.fromCoroutine(client.idle())
        self.protocol.dataReceived(b"A1 OK idled\r\n")
        self.failureResultOf(idle, NotUnderstoodError)
        self.assertFalse(client.alive)

    def test_challenges_without_end(self) -> None:
        """A server that asks on after the exchange was cancelled is hung up on."""
        done = self.begin(b"* OK [CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256] hi\r\n", credentials=ALICE)
        self.protocol.dataReceived(b"+ \r\n")
        self.said()
        self.protocol.dataReceived(b"+ bm9uc2Vuc2U=\r\n")
        self.assertEqual(self.said(), b"*\r\n")
        self.protocol.dataReceived(b"+ bm9uc2Vuc2U=\r\n")
        self.failureResultOf(done, ConnectionFailedError)
        self.assertEqual(self.said(), b"")
        self.assertTrue(self.transport.disconnecting)

    def test_injection_before_tls(self) -> None:
        """Octets in clear behind the answer to STARTTLS end the connection."""
        tls = ClientTLS(None)
        done = self.begin(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", tls=tls)
        self.assertEqual(self.said(), b"A1 STARTTLS\r\n")
        self.protocol.dataReceived(b"A1 OK go\r\n* OK [ALERT] pay here\r\n")
        self.failureResultOf(done, ConnectionFailedError)
        self.assertEqual(self.notices, [])

    def test_no_tls_no_connection(self) -> None:
        """A server that does not offer TLS, or greets with PREAUTH so that there is none, is left."""
        for greeting in (
            b"* OK [CAPABILITY IMAP4rev1] hi\r\n",
            b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n",
        ):
            self.setUp()
            self.failureResultOf(self.begin(greeting, tls=ClientTLS(None)), ConnectionFailedError)

    def test_silence(self) -> None:
        """A server that does not answer is left after some time, and the command fails."""
        client = self.successResultOf(self.begin())
        done = Deferred.fromCoroutine(client.noop())
        self.clock.advance(599)
        self.assertNoResult(done)
        self.clock.advance(2)
        self.failureResultOf(done, ConnectionFailedError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """Who waits no longer is told so; the connection is closed, and others that wait fail."""
        client = self.successResultOf(self.begin())
        done = Deferred.fromCoroutine(client.noop())
        other = Deferred.fromCoroutine(client.check())
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.failureResultOf(other, ConnectionFailedError)
        self.assertFalse(client.alive)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def connecting(self) -> Any:
        """A connection that nobody takes."""
        self.reactor: Any = MemoryReactorClock()
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 143)
        return Deferred.fromCoroutine(connect(self.reactor, endpoint, ClientSettings()))

    def test_cancelled_before_it_is_open(self) -> None:
        """The same while it is made, for each of its steps."""
        done = self.begin(b"* OK [CAPABILITY IMAP4rev1] hi\r\n", credentials=ALICE, allow_clear_password=True)
        self.assertIn(b"LOGIN", self.said())
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.setUp()
        done = self.begin(b"")
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for error in (ConnectingCancelledError(None), DNSLookupError("no such host")):
            # As endpoints say it that are cancelled while they connect, and while they look for the host.
            looking: Deferred[Any] = Deferred(lambda waiting, error=error: waiting.errback(error))  # type: ignore[misc]
            endpoint = Mock(connect=lambda _, looking=looking: looking)
            done = Deferred.fromCoroutine(connect(self.clock, endpoint, ClientSettings()))
            done.cancel()
            self.failureResultOf(done, CancelledError)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        done = self.connecting()
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_nobody_there(self) -> None:
        """Who does not answer in time is given up."""
        done = self.connecting()
        self.reactor.advance(31)
        error = self.failureResultOf(done, ConnectionFailedError).value
        self.assertIn("in time", error.explanation)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_lost(self) -> None:
        """When the connection is lost, all commands fail and a sink is told."""
        client = self.successResultOf(self.begin())
        sink = Sink()
        done = Deferred.fromCoroutine(
            client.fetch_each([1], ["BODY[]"], lambda _: None, sinks=lambda _: sink)
        )
        self.protocol.dataReceived(b"* 1 FETCH (BODY[] {100000}\r\nabc")
        self.protocol.connectionLost()
        self.failureResultOf(done, ConnectionFailedError)
        self.assertEqual((sink.pieces, sink.ended), ([b"abc"], False))
        self.failureResultOf(Deferred.fromCoroutine(client.noop()), ConnectionFailedError)

    def test_slow_sink(self) -> None:
        """Nothing is read while a sink is busy."""
        client = self.successResultOf(self.begin())
        sink = Sink(slow=True)
        got: list[Message] = []
        done = Deferred.fromCoroutine(client.fetch_each([1], ["BODY[]"], got.append, sinks=lambda _: sink))
        self.protocol.dataReceived(b"* 1 FETCH (BODY[] {70000}\r\n" + b"x" * 100)
        self.assertEqual(self.transport.producerState, "paused")
        self.protocol.dataReceived(b"x" * 69_900 + b" UID 7)\r\nA1 OK done\r\n")
        self.assertEqual(len(sink.pieces), 1)
        sink.waiting[0].callback(None)
        sink.waiting[1].callback(None)
        self.assertEqual(self.transport.producerState, "producing")
        self.successResultOf(done)
        self.assertEqual(got[0].uid, 7)

    def test_short_source(self) -> None:
        """A source that has not what it announced costs the connection, since nothing else can be said."""
        client = self.successResultOf(self.begin())
        done = Deferred.fromCoroutine(client.append("INBOX", NewMail(Source(b"abc", 5))))
        self.protocol.dataReceived(b"+ go\r\n")
        self.failureResultOf(done, ConnectionFailedError)

    def test_alerts_and_events(self) -> None:
        """What is told between commands is a notice."""
        client = self.successResultOf(self.begin())
        self.protocol.dataReceived(b"* OK [ALERT] disk is full\r\n* 3 EXISTS\r\n")
        self.assertEqual(self.notices, [Alert("disk is full"), NewCount(3)])
        self.failureResultOf(Deferred.fromCoroutine(client.sort("DATE")), NotOfferedError)

    def test_alerts_of_commands(self) -> None:
        """RFC 9051 section 7.1: an alert is told also where it comes with a command's answer, whatever that is."""
        client = self.successResultOf(self.begin())
        done = Deferred.fromCoroutine(client.select("INBOX"))
        self.protocol.dataReceived(
            b"* 3 EXISTS\r\n* OK [ALERT] nearly full\r\nA1 OK [ALERT] down at noon\r\n"
        )
        self.assertEqual(self.successResultOf(done).exists, 3)
        done = Deferred.fromCoroutine(client.noop())
        self.protocol.dataReceived(b"A2 NO [ALERT] pay first\r\n")
        self.failureResultOf(done, CommandRefusedError)
        self.assertEqual(self.notices, [Alert("nearly full"), Alert("down at noon"), Alert("pay first")])

    def test_alert_in_the_greeting(self) -> None:
        """One that stands in the greeting, too."""
        done = self.begin(b"* OK [ALERT] closing down soon\r\n")
        self.protocol.dataReceived(b"* CAPABILITY IMAP4rev1\r\nA1 OK done\r\n")
        self.assertTrue(self.successResultOf(done).alive)
        self.assertIn(Alert("closing down soon"), self.notices)

    def test_compression_refused(self) -> None:
        """RFC 4978 section 3: a server that refuses to compress is talked to without."""
        done = self.begin(b"* PREAUTH [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hi\r\n", compress=True)
        self.assertEqual(self.said(), b"A1 COMPRESS DEFLATE\r\n")
        self.protocol.dataReceived(b"A1 NO [COMPRESSIONACTIVE] DEFLATE active via TLS\r\n")
        client = self.successResultOf(done)
        done = Deferred.fromCoroutine(client.noop())
        self.assertEqual(self.said(), b"A2 NOOP\r\n")
        self.protocol.dataReceived(b"A2 OK done\r\n")
        self.successResultOf(done)

    def test_changes_without_uid(self) -> None:
        """RFC 9051 section 6.4.9: a FETCH response without a UID is no answer to UID FETCH and UID STORE, but tells of a change."""
        client = self.successResultOf(self.begin())
        news = b"* 2 FETCH (FLAGS (\\Seen))\r\n"
        done = Deferred.fromCoroutine(client.fetch("5", ["FLAGS"]))
        self.protocol.dataReceived(news + b"* 1 FETCH (UID 5 FLAGS ())\r\nA1 OK done\r\n")
        self.assertEqual([one.uid for one in self.successResultOf(done)], [5])
        each: list[Message] = []
        done = Deferred.fromCoroutine(client.fetch_each("5", ["FLAGS"], each.append))
        self.protocol.dataReceived(b"* 1 FETCH (UID 5 FLAGS ())\r\n" + news + b"A2 OK done\r\n")
        self.assertEqual([one.uid for one in each], [5])
        done = Deferred.fromCoroutine(client.store("5", StoreMode.ADD, ["\\Deleted"]))
        self.protocol.dataReceived(news + b"A3 OK done\r\n")
        self.assertEqual(self.successResultOf(done).messages, ())
        self.assertEqual(self.notices, [MessageChanged(Message(2, flags=frozenset({"\\Seen"})))] * 3)
        done = Deferred.fromCoroutine(client.fetch("2", ["FLAGS"], uid=False))
        self.protocol.dataReceived(news + b"A4 OK done\r\n")
        self.assertEqual([one.number for one in self.successResultOf(done)], [2])
