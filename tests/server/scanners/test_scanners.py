"""Programs that look at messages: what their answers mean, and what happens when they do not answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.message.headers import Header
from moxtwisted.milter.client import Decision, MilterVerdict
from moxtwisted.milter.packets import encode
from moxtwisted.server.fuse import Fuse
from moxtwisted.server.judgement.interfaces import Incoming, Opinion
from moxtwisted.server.scanners.asking import NotExaminedError, Scanner, ScannerUnavailableError, safe_field
from moxtwisted.server.scanners.clamd import Clamd, judge_answer
from moxtwisted.server.scanners.milters import Milter, opinion_of
from moxtwisted.server.scanners.rspamd import Verdict
from moxtwisted.server.scanners.rspamd import opinion_of as rspamd_opinion
from moxtwisted.server.scanners.teaching import Teacher
from tests.server.scanners.samples import incoming

NO_HEADER = Header.parse(b"")


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connects to nobody, or not at all."""

    def __init__(self, failure: Exception | None = None, *, hangs: bool = False) -> None:
        self.failure = failure
        self.hangs = hangs
        self.transport = StringTransportWithDisconnection()
        self.protocol: Any = None

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """See IStreamClientEndpoint."""
        if self.failure is not None:
            failed: Deferred[Any] = Deferred()
            failed.errback(Failure(self.failure))
            return failed
        if self.hangs:
            return Deferred()
        self.protocol = protocolFactory.buildProtocol(None)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)


class ScannerTestCase(SynchronousTestCase):
    """Looks at one message."""

    def setUp(self) -> None:
        """A clock, and a message."""
        self.clock = Clock()
        self.message = incoming(Path(self.mktemp()).parent)

    def scanner(self, examine: Any, when: Any = "accept") -> Scanner:
        """One that asks this."""
        return Scanner("it", examine, self.clock, when)

    def look(self, scanner: Scanner) -> list[Any]:
        """What it thinks, once that is known."""
        opinions: list[Any] = []
        Deferred.fromCoroutine(scanner.look(self.message)).addBoth(opinions.append)
        return opinions

    def reply_code(self, opinions: list[Any]) -> int | None:
        """Of the one opinion."""
        (opinion,) = opinions
        self.assertIsInstance(opinion, Opinion)
        return opinion.reply.code if opinion.reply is not None else None


class UnavailableTests(ScannerTestCase):
    """Nobody answers."""

    def test_stated_behaviour(self) -> None:
        """Mail is taken or refused for now, as the configuration says, for any kind of failure."""
        for failure in (ScannerUnavailableError("down"), ValueError("a mistake of ours")):

            async def examine(_: Incoming, failure: Exception = failure) -> Opinion | None:
                raise failure

            self.assertIsNone(self.reply_code(self.look(self.scanner(examine))))
            self.assertEqual(self.reply_code(self.look(self.scanner(examine, "defer"))), 451)
            self.flushLoggedErrors(ValueError)

    def test_fuse(self) -> None:
        """After three failures in a row it is asked no more for half a minute; an answer makes it whole."""
        fuse = Fuse(self.clock)
        self.assertEqual([fuse.failed(), fuse.failed(), fuse.failed()], [False, False, True])
        self.assertTrue(fuse.blown)
        self.clock.advance(30)
        self.assertFalse(fuse.blown)
        self.assertTrue(fuse.failed())
        self.clock.advance(30)
        fuse.worked()
        self.assertFalse(fuse.failed())

    def test_odd_messages(self) -> None:
        """However many messages it makes nothing of, it is asked about the next; only when it does not answer it is left alone."""
        failures: list[Exception] = [NotExaminedError("too large")] * 9 + [
            ScannerUnavailableError("down")
        ] * 3
        asked = []

        async def examine(_: Incoming) -> Opinion | None:
            asked.append(failures[0])
            raise failures.pop(0)

        scanner = self.scanner(examine)
        for _ in range(20):
            self.look(scanner)
        self.assertEqual((len(asked), failures), (12, []))

    def test_asked_again(self) -> None:
        """Clamd that wants no large messages, and a milter that breaks off, are asked about the next one."""
        for said in (b"stream: INSTREAM size limit exceeded. ERROR\0", None):
            endpoint = Endpoint()
            milter = Milter("m", endpoint, self.clock, "mx.here.example")
            for scanner in (
                self.scanner(Clamd(endpoint, self.clock).examine),
                self.scanner(milter.examine),
            ):
                for _ in range(5):
                    endpoint.transport = StringTransportWithDisconnection()
                    self.look(scanner)
                    self.assertTrue(endpoint.transport.value())
                    if said is None:
                        endpoint.transport.loseConnection()
                    else:
                        endpoint.protocol.dataReceived(said)

    def test_time_limits(self) -> None:
        """Clamd and a milter that do not connect, or connect and stay silent, are given up after their time."""
        for endpoint in (Endpoint(hangs=True), Endpoint()):
            for scanner in (
                self.scanner(Clamd(endpoint, self.clock, 60.0).examine, "defer"),
                self.scanner(Milter("m", endpoint, self.clock, "mx.here.example", 60.0).examine, "defer"),
            ):
                endpoint.transport = StringTransportWithDisconnection()
                opinions = self.look(scanner)
                self.clock.advance(59)
                self.assertEqual(opinions, [])
                self.clock.advance(1)
                self.assertEqual(self.reply_code(opinions), 451)
                self.assertIn("within 60 s", opinions[0].explanation)
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """A cancel is one, closes the connection, and tells nothing of the program: it is asked about the next message."""
        for endpoint in (Endpoint(hangs=True), Endpoint()):
            for scanner in (
                self.scanner(Clamd(endpoint, self.clock).examine),
                self.scanner(Milter("m", endpoint, self.clock, "mx.here.example").examine),
            ):
                for _ in range(5):
                    endpoint.transport = StringTransportWithDisconnection()
                    looking = Deferred.fromCoroutine(scanner.look(self.message))
                    looking.cancel()
                    self.failureResultOf(looking, CancelledError)
                    self.assertEqual(endpoint.transport.connected, endpoint.hangs)
                self.assertNoResult(Deferred.fromCoroutine(scanner.look(self.message)))
                self.assertEqual(len(self.clock.getDelayedCalls()), 1)
                self.clock.advance(3600)

    def test_refused_connections(self) -> None:
        """Where nothing listens the failure comes at once."""
        endpoint = Endpoint(Refused())
        for examine in (
            Clamd(endpoint, self.clock).examine,
            Milter("m", endpoint, self.clock, "mx.here.example").examine,
        ):
            self.assertEqual(self.reply_code(self.look(self.scanner(examine, "defer"))), 451)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connections_that_end(self) -> None:
        """A connection that is closed before the verdict is a failure, and so are answers without end or sense."""
        for said in (None, b"x" * 5000, b"stream: INSTREAM size limit exceeded. ERROR\0", b"\0"):
            endpoint = Endpoint()
            opinions = self.look(self.scanner(Clamd(endpoint, self.clock).examine, "defer"))
            if said is None:
                endpoint.transport.loseConnection()
            else:
                endpoint.protocol.dataReceived(said)
            self.assertEqual(self.reply_code(opinions), 451, said)
        for said in (None, encode(b"c"), b"\xff\xff\xff\xff"):
            endpoint = Endpoint()
            milter = Milter("m", endpoint, self.clock, "mx.here.example")
            opinions = self.look(self.scanner(milter.examine, "defer"))
            if said is None:
                endpoint.transport.loseConnection()
            else:
                endpoint.protocol.dataReceived(said)
            self.assertEqual(self.reply_code(opinions), 451, said)


class AnswerTests(SynchronousTestCase):
    """What answers mean."""

    def test_clamd(self) -> None:
        """What is found is refused by name; a clean message is nothing to speak of."""
        found = judge_answer("stream: Eicar-Test FOUND")
        assert found is not None and found.reply is not None
        self.assertIn("Eicar-Test", found.reply.text)
        self.assertIsNone(judge_answer("stream: OK"))
        self.assertRaises(ScannerUnavailableError, judge_answer, "UNKNOWN COMMAND")

    def test_clamd_names(self) -> None:
        """The name of malware comes from outside: nothing of it can end the line of a reply."""
        found = judge_answer("stream: a\r\n250 ok\x1b FOUND")
        assert found is not None and found.reply is not None
        self.assertNotIn(b"\r\n2", found.reply.wire())

    def test_rspamd(self) -> None:
        """Each action of rspamd has its meaning."""
        expected = {
            "no action": (None, False),
            "greylist": (None, False),
            "add header": (None, True),
            "rewrite subject": (None, True),
            "quarantine": (None, True),
            "soft reject": (451, False),
            "reject": (550, False),
            "discard": (550, False),
        }
        for action, (code, junk) in expected.items():
            opinion = rspamd_opinion(Verdict(action=action, score=1), greylist=False)
            assert opinion is not None
            self.assertEqual((opinion.reply and opinion.reply.code, opinion.junk), (code, junk), action)
        greylisted = rspamd_opinion(Verdict(action="greylist"), greylist=True)
        assert greylisted is not None and greylisted.reply is not None
        self.assertEqual(greylisted.reply.code, 451)
        self.assertIsNone(rspamd_opinion(Verdict(action="no action", is_skipped=True), greylist=False))

    def test_rspamd_fields(self) -> None:
        """Fields that it wants are added, in both shapes, and what is no field is not."""
        answer = {
            "action": "no action",
            "messages": [],
            "milter": {
                "add_headers": {
                    "X-One": "a\nBcc: evil@x.example",
                    "X-Two": {"value": "b", "order": 1},
                    "X-Three": [{"value": "c"}, "d"],
                    "X Bad": "no",
                    "X-Number": 5,
                }
            },
        }
        verdict = msgspec.convert(answer, Verdict)
        opinion = rspamd_opinion(verdict, greylist=False)
        assert opinion is not None
        names = [name for _, name in Header.parse(opinion.fields).fields]
        self.assertEqual(names, [b"x-rspamd-score", b"x-one", b"x-two", b"x-three", b"x-three"])

    def test_milter(self) -> None:
        """A discarded message is refused, a quarantined one is junk, fields are taken."""
        for decision, code in (
            (Decision.REJECT, 550),
            (Decision.DISCARD, 550),
            (Decision.TEMPFAIL, 451),
        ):
            opinion = opinion_of("m", MilterVerdict(decision), NO_HEADER)
            assert opinion is not None and opinion.reply is not None
            self.assertEqual(opinion.reply.code, code)
        self.assertIsNone(opinion_of("m", MilterVerdict(Decision.ACCEPT), NO_HEADER))
        quarantined = opinion_of("m", MilterVerdict(Decision.QUARANTINE, why="odd"), NO_HEADER)
        assert quarantined is not None
        self.assertTrue(quarantined.junk)
        added = opinion_of("m", MilterVerdict(Decision.ACCEPT, fields=((b"X-A", b"one\n two"),)), NO_HEADER)
        assert added is not None
        self.assertEqual(added.fields, b"X-A: one\r\n\ttwo\r\n")

    def test_milter_changes(self) -> None:
        """What it changes has the name that it had, and is a field; what it removes is nothing."""
        header = Header.parse(b"SUBJECT: x\r\nTo: y\r\nX: z\r\n")
        verdict = MilterVerdict(Decision.ACCEPT, changes=((0, b"[odd]\n x"), (2, None)))
        opinion = opinion_of("m", verdict, header)
        assert opinion is not None
        self.assertEqual(opinion.changes, {0: b"SUBJECT: [odd]\r\n\tx\r\n", 2: b""})

    def test_milter_changes_what_is_long(self) -> None:
        """Of a long field nothing is cut off when it is changed."""
        long = b"a@here.example, " * 2000
        header = Header.parse(b"To: " + long + b"\r\n")
        opinion = opinion_of("m", MilterVerdict(Decision.ACCEPT, changes=((0, long + b"b"),)), header)
        assert opinion is not None
        self.assertEqual(opinion.changes, {0: b"To: " + long + b"b\r\n"})

    @given(st.binary(max_size=50), st.binary(max_size=300))
    @settings(max_examples=200)
    def test_a_field_is_one_field(self, name: bytes, value: bytes) -> None:
        """Whatever another program gives as name and value, at most one field comes of it."""
        octets = safe_field(name, value)
        self.assertLessEqual(len(Header.parse(octets).fields), 1)
        if octets:
            self.assertTrue(octets.endswith(b"\r\n"))
            self.assertNotIn(b"\n\r\n", octets)
            for line in octets[:-2].split(b"\r\n")[1:]:
                self.assertTrue(line.startswith(b"\t") and line.strip(), octets)


class TeacherTests(ScannerTestCase):
    """What people decide is handed on, one message after the other."""

    def setUp(self) -> None:
        """A store of two messages, and somebody who learns when he is told to."""
        super().setUp()
        self.learned: list[tuple[bytes, str]] = []
        self.answers: list[Deferred[None]] = []
        store: Any = self
        self.teacher = Teacher(store, self.learn, message_octets=100)

    def account(self, name: str) -> Any:
        """See IStore."""
        if name == "gone":
            raise StoreUnavailableError("gone")
        return self

    def open_by_id(self, body: int) -> Any:
        """See IAccount: the octets are the number; the body 3 is large, 4 is gone."""
        return None if body == 4 else _Reader(b"x" * 101 if body == 3 else b"%d" % body)

    async def learn(self, octets: bytes, kind: str) -> None:
        """Take a message."""
        self.learned.append((octets, kind))
        answer: Deferred[None] = Deferred()
        self.answers.append(answer)
        await answer

    def test_one_by_one(self) -> None:
        """The next is taught when one was taken, or was not; what is gone or large is left out."""
        self.teacher.put("u", [(1, True), (3, True), (4, False)])
        self.teacher.put("gone", [(9, True)])
        self.teacher.put("u", [(2, False), (5, True)])
        self.assertEqual(self.learned, [(b"1", "spam")])
        self.answers[0].errback(ScannerUnavailableError("down"))
        self.assertEqual(self.learned[1:], [(b"2", "ham")])
        self.answers[1].callback(None)
        self.answers[2].callback(None)
        self.assertEqual(self.learned[2:], [(b"5", "spam")])
        self.teacher.put("u", [(6, True)])
        self.assertEqual(self.learned[3:], [(b"6", "spam")])

    def test_not_from_everybody(self) -> None:
        """An account that does without it teaches it nothing."""
        self.teacher.teaches = lambda account: account != "quiet"
        self.teacher.put("quiet", [(1, True)])
        self.teacher.put("u", [(2, True)])
        self.assertEqual(self.learned, [(b"2", "spam")])

    def test_bounded(self) -> None:
        """More than a thousand do not wait, and after the end none."""
        self.teacher.put("u", [(1, True)] * 5000)
        for answer in self.answers:
            answer.callback(None)
        self.assertEqual(len(self.learned), 1000)
        self.teacher.put("u", [(1, True)] * 3)
        self.teacher.stop()
        self.answers[-1].callback(None)
        self.assertEqual(len(self.learned), 1001)


class _Reader:
    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.size = len(octets)

    def read(self, offset: int, length: int) -> bytes:
        """See IBodyReader."""
        return self.octets[offset : offset + length]

    def close(self) -> None:
        """See IBodyReader."""
