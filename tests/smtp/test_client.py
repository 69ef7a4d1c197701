"""The client machine and the order of a transaction: against our server machine, and against servers that misbehave."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.address import parse_path
from moxtwisted.smtp.client import ClientMachine, Replied, ServerRefused, Unsolicited
from moxtwisted.smtp.clientcommands import auth, auth_response, hello, mail, plain, rcpt
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Recipient
from moxtwisted.smtp.extensions import Offers, standard_extensions
from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.server import ServerMachine
from moxtwisted.smtp.settings import Mode, ServerSettings
from moxtwisted.smtp.testing import MemoryHandlers, MemoryLink
from moxtwisted.smtp.transfer import MisuseError
from moxtwisted.smtp.transmission import Envelope, Transmission

TLS = TLSInfo(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")


def path(octets: bytes) -> Any:
    return parse_path(octets, smtputf8=True)


def envelope(*recipients: bytes, sender: bytes = b"<a@example.org>", **parameters: Any) -> Envelope:
    """From octets."""
    return Envelope(
        path(sender),
        [Recipient(path(r)) for r in recipients or (b"<b@example.net>",)],
        MailParameters(**parameters),
    )


class Without(Offers):
    """Our offers but for some keywords."""

    def __init__(self, settings: ServerSettings, *keywords: str) -> None:
        super().__init__([e for e in standard_extensions(settings) if e.keyword not in keywords])


class Pair:
    """Both machines, joined in memory, octets in pieces of any size."""

    def __init__(
        self,
        *without: str,
        handlers: MemoryHandlers | None = None,
        mode: Mode = Mode.MX,
        tls: bool = False,
        size: int = 4096,
        prdr: bool = False,
    ) -> None:
        settings = ServerSettings(hostname="mx.example", mode=mode, prdr=prdr)
        machine = ServerMachine(
            settings, utc_now=lambda: datetime(2026, 1, 1, tzinfo=UTC), offers=Without(settings, *without)
        )
        self.handlers = handlers or MemoryHandlers()
        self.link = MemoryLink(settings, self.handlers, machine)
        if tls:
            machine.tls_started(TLS)
        self.client = ClientMachine()
        self.size = size
        self.lmtp = mode is Mode.LMTP
        self.tls = tls
        self.said: list[bytes] = []
        self.say(b"")
        self.say(self.client.send(hello("LHLO" if self.lmtp else "EHLO", "client.example")))

    def say(self, octets: bytes) -> list[Replied]:
        """The replies to these octets."""
        self.said.append(octets)
        back = self.link.say_each(
            [octets[i : i + self.size] for i in range(0, len(octets), self.size)] or [b""]
        )
        events = []
        for i in range(0, len(back), self.size):
            self.client.receive(back[i : i + self.size])
            while (event := self.client.next_event()) is not None:
                assert isinstance(event, Replied)
                events.append(event)
        return events

    def carry(self, what: Envelope, message: bytes = b"", chunks: int = 100, **options: Any) -> Transmission:
        """A whole transaction."""
        job = Transmission(self.client, what, tls=self.tls, lmtp=self.lmtp, **options)
        waiting = self.say(job.start())
        for _ in range(1000):
            if job.done:
                return job
            if job.body_due and not waiting:
                waiting = self.body(job, message, chunks)
                continue
            event = waiting.pop(0)
            waiting += self.say(job.replied(event))
        raise AssertionError("the transaction does not end")

    def body(self, job: Transmission, message: bytes, chunks: int) -> list[Replied]:
        blocks = [message[i : i + chunks] for i in range(0, len(message), chunks)] or [b""]
        if not job.chunked:
            return self.say(b"".join(map(job.encode, blocks)) + job.finish())
        events: list[Replied] = []
        for block in blocks[:-1]:
            events += self.say(job.chunk(block, last=False))
        return events + self.say(job.chunk(blocks[-1], last=True))


class TransmissionTests(SynchronousTestCase):
    """A transaction between our machines."""

    def show(self, job: Transmission) -> list[tuple[int, str]]:
        return [(r.reply.code, r.stage) for r in job.results]

    def test_pipelined_or_not(self) -> None:
        """With PIPELINING the envelope goes out in one piece, without it line by line; the results are the same."""

        def refuse(p: Any, _: Any) -> Reply | None:
            return Reply(550, "5.1.1", "no") if str(p).startswith("no") else None

        for without, first in (((), 4), (("PIPELINING",), 1)):
            pair = Pair(*without, handlers=MemoryHandlers(rcpt=refuse))
            job = pair.carry(envelope(b"<b@example.net>", b"<no@example.net>"), b"x\r\n")
            self.assertEqual(self.show(job), [(250, "."), (550, "RCPT")])
            self.assertEqual(pair.said[2].count(b"\r\n"), first)
            self.assertEqual([m.octets for m in pair.handlers.messages], [b"x\r\n"])

    def test_nobody_accepted(self) -> None:
        """When no recipient is accepted no message is sent, and the next transaction is not disturbed."""
        for without in ((), ("PIPELINING",)):
            handlers = MemoryHandlers(rcpt=Reply(450, "4.2.1", "later"))
            pair = Pair(*without, handlers=handlers)
            self.assertEqual(self.show(pair.carry(envelope(), b"x")), [(450, "RCPT")])
            handlers.answers.clear()
            self.assertEqual(self.show(pair.carry(envelope(), b"x")), [(250, ".")])
            self.assertEqual(len(handlers.messages), 1)

    def test_refused_sender(self) -> None:
        """A refusal of MAIL is the result of every recipient."""
        for without in ((), ("PIPELINING",)):
            pair = Pair(*without, handlers=MemoryHandlers(mail=Reply(550, "5.7.1", "not you")))
            job = pair.carry(envelope(b"<b@example.net>", b"<c@example.net>"), b"x")
            self.assertEqual(self.show(job), [(550, "MAIL"), (550, "MAIL")])

    def test_refused_data_and_message(self) -> None:
        """Refusals of DATA and of the message reach those who were accepted."""
        for method, stage in (("data_started", "DATA"), ("data_done", ".")):
            pair = Pair(handlers=MemoryHandlers(**{method: Reply(451, "4.3.0", "not now")}))
            self.assertEqual(self.show(pair.carry(envelope(), b"x")), [(451, stage)])
            pair.handlers.answers.clear()
            self.assertEqual(self.show(pair.carry(envelope(), b"x")), [(250, ".")])

    def test_lmtp(self) -> None:
        """Each accepted recipient has its own result, in order, by DATA and by BDAT."""

        def done(sink: Any) -> list[Reply | None]:
            return [
                Reply(452, "4.2.2", str(r.path)) if str(r.path) > "b" else None
                for r in sink.transaction.recipients
            ]

        def refuse(p: Any, _: Any) -> Reply | None:
            return Reply(550, "5.1.1", "no") if str(p).startswith("no") else None

        for chunking, stage in ((False, "."), (True, "BDAT")):
            pair = Pair(handlers=MemoryHandlers(data_done=done, rcpt=refuse), mode=Mode.LMTP)
            what = envelope(b"<a@x.example>", b"<no@x.example>", b"<b@x.example>", b"<aa@x.example>")
            job = pair.carry(what, b"x" * 250, prefer_chunking=chunking)
            self.assertEqual(self.show(job), [(250, stage), (550, "RCPT"), (452, stage), (250, stage)])

    def test_refused_chunk(self) -> None:
        """A chunk that is refused ends the transaction; chunks already in the pipeline do no harm."""

        class Full:
            pass

        def too_big(sink: Any) -> None:
            raise AssertionError("not reached")

        pair = Pair(handlers=MemoryHandlers(data_started=Reply(452, "4.3.1", "full"), data_done=too_big))
        job = Transmission(pair.client, envelope(), tls=False, prefer_chunking=True)
        for event in pair.say(job.start()):
            job.replied(event)
        self.assertTrue(job.body_due)
        for event in pair.say(job.chunk(b"abc", last=False)):
            job.replied(event)
        self.assertTrue(job.failed)
        self.assertEqual(self.show(job), [(452, "BDAT")])

    def test_what_the_server_cannot_carry(self) -> None:
        """Such a message is not begun; the reply is the one that the RFCs name."""
        for without, what, enhanced in (
            (("SMTPUTF8",), envelope("<jürgen@example.net>".encode(), smtputf8=True), "5.6.7"),
            (("SMTPUTF8",), envelope(b"<b@example.net>", sender="<ö@example.org>".encode()), "5.6.7"),
            (("8BITMIME",), envelope(body="8BITMIME"), "5.6.3"),
            (("CHUNKING",), envelope(body="BINARYMIME"), "5.6.3"),
            ((), envelope(size=100 * 1024 * 1024 + 1), "5.3.4"),
            ((), envelope(hold_for_seconds=10), "5.5.4"),
            ((), envelope(require_tls=True), "5.7.10"),
        ):
            pair = Pair(*without)
            job = pair.carry(what, b"x")
            self.assertEqual([r.reply.enhanced for r in job.results], [enhanced])
            self.assertEqual(pair.said[-1], b"")
            self.assertEqual(job.results[0].stage, "LOCAL")

    def test_requiretls(self) -> None:
        """It goes out where it is offered, is refused where not, and is dropped for a report (RFC 8689 section 5)."""
        pair = Pair(tls=True)
        self.assertTrue(pair.carry(envelope(require_tls=True), b"x").results[0].delivered)
        self.assertTrue(pair.handlers.messages[0].transaction.parameters.require_tls)
        pair = Pair("REQUIRETLS", tls=True)
        self.assertEqual(pair.carry(envelope(require_tls=True), b"x").results[0].reply.enhanced, "5.7.30")
        self.assertTrue(pair.carry(envelope(sender=b"<>", require_tls=True), b"x").results[0].delivered)

    def test_parameters_arrive(self) -> None:
        """What the envelope says is what the server understands, DSN and UTF-8 included."""
        p = RcptParameters(notify=frozenset({"FAILURE", "DELAY"}), orcpt=("utf-8", "jürgen+x@example.net"))
        m = MailParameters(size=3, body="8BITMIME", smtputf8=True, ret="HDRS", envid="a+b=c d", auth=None)
        what = Envelope(path("<é@example.org>".encode()), [Recipient(path(b"<b@example.net>"), p)], m)
        pair = Pair()
        job = pair.carry(what, b"x\r\n")
        self.assertTrue(job.results[0].dsn)
        transaction = pair.handlers.messages[0].transaction
        self.assertEqual(transaction.parameters, m)
        self.assertEqual(transaction.recipients[0].parameters, p)
        self.assertEqual(transaction.reverse_path, what.reverse_path)
        pair = Pair("DSN")
        self.assertFalse(pair.carry(what, b"x").results[0].dsn)

    @settings(max_examples=100)
    @given(st.binary(max_size=300), st.integers(1, 50), st.booleans(), st.integers(1, 40))
    def test_any_message(self, message: bytes, size: int, chunking: bool, chunks: int) -> None:
        """Any octets arrive: binary ones unchanged, by DATA with their line ends put right."""
        pair = Pair(size=size)
        body = "BINARYMIME" if chunking else "8BITMIME"
        job = pair.carry(envelope(body=body), message, chunks)
        self.assertEqual(self.show(job), [(250, "BDAT" if chunking else ".")])
        got = pair.handlers.messages[0].octets
        if chunking:
            self.assertEqual(got, message)
        else:
            self.assertEqual(
                got.splitlines(),
                b"\n".join(message.replace(b"\r\n", b"\n").replace(b"\r", b" ").split(b"\n")).splitlines(),
            )
            self.assertNotIn(b"\n", got.replace(b"\r\n", b""))


class ClientMachineTests(SynchronousTestCase):
    """Replies, and what is none."""

    def machine(self, *octets: bytes) -> ClientMachine:
        machine = ClientMachine()
        machine.receive(b"220 mx.example\r\n" + b"".join(octets))
        machine.next_event()
        return machine

    def test_extensions(self) -> None:
        """The lines of EHLO are learnt in any case, junk among them is not; HELO and TLS forget them."""
        machine = self.machine()
        machine.send(hello("EHLO", "c.example"))
        machine.receive(
            b"250-mx\r\n250-size 100\r\n250-!!\r\n250-\r\n250-Pipelining \r\n250 LIMITS MAILMAX=3 RCPTMAX=20\r\n"
        )
        machine.next_event()
        self.assertEqual(
            machine.extensions, {"SIZE": "100", "PIPELINING": "", "LIMITS": "MAILMAX=3 RCPTMAX=20"}
        )
        self.assertEqual(machine.rcpt_max, 20)
        machine.tls_started()
        self.assertEqual(machine.extensions, {})

    def test_enhanced_codes(self) -> None:
        """They are taken off the text where their class fits the code."""
        for wire, enhanced, text in (
            (b"250 2.1.0 fine\r\n", "2.1.0", "fine"),
            (b"550-5.7.1 a\r\n550 5.7.1 b\r\n", "5.7.1", "a b"),
            (b"250 5.1.0 odd\r\n", "", "5.1.0 odd"),
            (b"250 2.1 odd\r\n", "", "2.1 odd"),
            (b"250\r\n", "", ""),
            (b"250 2.0.0\n", "2.0.0", ""),
        ):
            machine = self.machine(wire)
            machine.send(plain("NOOP"))
            event = machine.next_event()
            assert isinstance(event, Replied)
            self.assertEqual((event.reply.enhanced, event.reply.text), (enhanced, text))

    def test_nonsense(self) -> None:
        """What is no reply raises, and never something else."""
        for wire in (
            b"hello\r\n", b"\r\n", b"25 x\r\n", b"2500 x\r\n", b"150 x\r\n", b"650 x\r\n", b"250_x\r\n",
            b"250-a\r\n251 b\r\n", b"x" * 5000, b"250-" + b"x" * 5000 + b"\r\n", b"250-a\r\n" * 200, b"\xff\r\n",
        ):  # fmt: skip
            machine = self.machine(wire)
            machine.send(plain("NOOP"))
            self.assertRaises(ServerRefused, machine.next_event)

    def test_replies_to_nothing(self) -> None:
        """A refusal may come unasked, anything else may not."""
        machine = self.machine(b"421 4.3.2 bye\r\n")
        self.assertIsInstance(machine.next_event(), Unsolicited)
        self.assertRaises(ServerRefused, self.machine(b"250 2.0.0 gift\r\n").next_event)

    def test_order_of_commands(self) -> None:
        """Without PIPELINING one at a time; with it nothing behind DATA, QUIT, EHLO."""
        machine = self.machine()
        machine.send(plain("RSET"))
        self.assertRaises(MisuseError, machine.send, plain("RSET"))
        machine = self.machine()
        machine.extensions = {"PIPELINING": ""}
        machine.send(plain("RSET"), plain("DATA"))
        self.assertRaises(MisuseError, machine.send, plain("RSET"))

    def test_clear_text_behind_starttls(self) -> None:
        """What is said in clear behind the reply to STARTTLS is not taken for something said under TLS."""
        machine = self.machine(b"220 go\r\n250 injected\r\n")
        machine.send(plain("STARTTLS"))
        machine.next_event()
        self.assertTrue(machine.buffered)
        self.assertRaises(ServerRefused, machine.tls_started)

    def test_auth_commands(self) -> None:
        """Initial responses: none, empty, some; cancelling."""
        self.assertEqual(auth("LOGIN", None).octets, b"AUTH LOGIN\r\n")
        self.assertEqual(auth("EXTERNAL", b"").octets, b"AUTH EXTERNAL =\r\n")
        self.assertEqual(auth("PLAIN", b"\0a\0b").octets, b"AUTH PLAIN AGEAYg==\r\n")
        self.assertEqual(auth_response(None).octets, b"*\r\n")
        self.assertEqual(auth_response(b"").octets, b"\r\n")
        self.assertNotIn("AGEAYg", repr(auth("PLAIN", b"\0a\0b")))

    def test_parameters_only_where_offered(self) -> None:
        """A server that offers nothing gets no parameters."""
        everything = MailParameters(
            size=1,
            body="8BITMIME",
            auth="<>",
            ret="FULL",
            envid="x",
            hold_until=datetime(2026, 1, 1, tzinfo=UTC),
        )
        self.assertEqual(mail(path(b"<>"), everything, {}).octets, b"MAIL FROM:<>\r\n")
        offered = {"SIZE", "8BITMIME", "AUTH", "DSN", "FUTURERELEASE"}
        self.assertEqual(
            mail(path(b"<>"), everything, offered).octets,
            b"MAIL FROM:<> SIZE=1 BODY=8BITMIME RET=FULL ENVID=x AUTH=<> HOLDUNTIL=2026-01-01T00:00:00Z\r\n",
        )
        p = RcptParameters(notify=frozenset({"NEVER"}), orcpt=("utf-8", "é@x.example"))
        self.assertEqual(
            rcpt(path(b"<b@x.example>"), p, {"DSN"}, smtputf8=False).octets,
            b"RCPT TO:<b@x.example> NOTIFY=NEVER ORCPT=utf-8;\\x{E9}@x.example\r\n",
        )

    @settings(max_examples=100)
    @given(st.binary(max_size=200))
    def test_any_octets(self, octets: bytes) -> None:
        """Octets give replies or ServerRefused, nothing else."""
        machine = ClientMachine()
        machine.receive(octets)
        try:
            while machine.next_event() is not None:
                pass
        except ServerRefused:
            pass
