"""The POP3 twin: every row of its how-to, by Python's poplib; and the octets of some."""

from __future__ import annotations

import poplib
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.badsmtp.grammar import Wish, parse_local_part
from moxtwisted.badsmtp.pop3faults import DESCRIPTIONS, PopReply, spoil_pop3
from moxtwisted.badsmtp.poptwin import PopTwinFactory
from moxtwisted.badsmtp.settings import POP3_GREETING_FAULTS, Settings
from tests.badsmtp.howto import SMTP, literals, table
from tests.badsmtp.imapclients import make_surroundings

PAGE = SMTP.with_name("pop3.rst")
LISTING = PopReply(b"+OK 2 messages", b"1 120\r\n2 200\r\n")
MESSAGE = PopReply(b"+OK 20 octets", b"Subject: x\r\n\r\n..dot\r\n")
#: How long a second of a fault lasts here.
PACE = 1e-4


def spoilt(reply: PopReply, fault: str, number: int | None = None) -> bytes:
    """What becomes of a reply."""
    return b"".join(
        step.octets for step in spoil_pop3(reply, Wish("any", fault=fault, number=number), "fresh").steps
    )


class FaultTests(SynchronousTestCase):
    """What some faults make of a reply."""

    def test_octets(self) -> None:
        """Octet by octet."""
        stat, whole = PopReply(b"+OK 2 320"), LISTING.wire()
        for reply, fault, octets in (
            (stat, "count", b"+OK 5 320\r\n"),
            (stat, "size", b"+OK 2 1320\r\n"),
            (stat, "case", b"+ok 2 320\r\n"),
            (LISTING, "count", b"+OK 5 messages\r\n1 120\r\n.\r\n"),
            (LISTING, "size", b"+OK 2 messages\r\n1 1120\r\n2 1200\r\n.\r\n"),
            (LISTING, "nodot", whole.removesuffix(b".\r\n")),
            (MESSAGE, "size", MESSAGE.wire().replace(b"20", b"1020")),
            (MESSAGE, "dots", MESSAGE.wire().replace(b"..dot", b".dot")),
            (MESSAGE, "moredots", b"+OK 20 octets\r\n.Subject: x\r\n.\r\n...dot\r\n.\r\n"),
            (PopReply(b"+OK", b"1 a\r\n2 b\r\n"), "change", b"+OK\r\n1 fresh-1\r\n2 fresh-2\r\n.\r\n"),
            (
                PopReply(b"+OK", b"1 a\r\n2 b\r\n"),
                "double",
                b"+OK\r\n1 the-same-for-all\r\n2 the-same-for-all\r\n.\r\n",
            ),
            (PopReply(b"+OK 1 a"), "change", b"+OK 1 fresh-1\r\n"),
            (PopReply(b"+OK still here"), "count", b"+OK still here\r\n"),
        ):
            self.assertEqual(spoilt(reply, fault), octets, fault)


class OrderTests(SynchronousTestCase):
    """Without a port."""

    def test_one_after_the_other(self) -> None:
        """While a reply takes its time, others wait."""
        clock: Any = Clock()
        protocol: Any = PopTwinFactory(make_surroundings(clock)).buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"USER bob+noop.stall100@x.example\r\nPASS x\r\nNOOP\r\nDELE 1\r\nDELE 2\r\n")
        said = transport.value().count(b"\r\n")
        protocol.pauseProducing()
        protocol.resumeProducing()
        clock.advance(99)
        self.assertEqual(transport.value().count(b"\r\n"), said)
        clock.advance(1)
        self.assertEqual(transport.value().count(b"\r\n"), said + 3)
        protocol.connectionLost()


class Live(TestCase):
    """A POP3 port, and three messages to bob@x.example."""

    timeout = 300

    def setUp(self) -> None:
        self.surroundings = make_surroundings(reactor)
        self.surroundings.pace = PACE
        self.factory = PopTwinFactory(self.surroundings)
        twisted_reactor: Any = reactor
        self.port = twisted_reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.number = self.port.getHost().port

        self.addCleanup(self.stop)

    def stop(self) -> Deferred[Any]:
        """Nothing is left behind."""
        stopped: Deferred[Any] = self.port.stopListening()
        return stopped.addCallback(lambda _: self.factory.shutdown())

    def connect(self, user: str) -> poplib.POP3:
        """A client that is logged in."""
        client = poplib.POP3("127.0.0.1", self.number, timeout=60)
        try:
            client.user(user)
            client.pass_("any password")
        except BaseException:
            client.close()
            raise
        return client

    def outcome(self, wish: str) -> str:
        """What poplib makes of a fault."""
        try:
            client = self.connect(f"bob+{wish}@x.example")
            try:
                client.stat()
                client.list()
                client.uidl()
                client.retr(1)
                client.dele(2)
                client.rset()
                client.noop()
                client.quit()
            finally:
                client.close()
        except poplib.error_proto as error:
            return "refused" if str(error).startswith("b'-ERR") else "lost"
        except (OSError, EOFError, ValueError, IndexError):
            return "lost"
        return "goes on"


class HowToTests(Live):
    """The table of the page."""

    def test_rows_come_true(self) -> Deferred[None]:
        """Python's poplib is refused, loses the connection or goes on, as each row says."""

        def run() -> None:
            for example, _, outcome in table("Faults", PAGE):
                [wish] = literals(example)
                self.assertEqual(self.outcome(wish), outcome, wish)

        return deferToThread(run)

    def test_rows_are_all_there(self) -> None:
        """Each fault has a row with its words, and no other has one."""
        rows = table("Faults", PAGE)
        self.assertEqual({literals(row[0])[0].partition(".")[2]: row[1] for row in rows}, dict(DESCRIPTIONS))

    def test_every_verb_with_every_fault(self) -> Deferred[None]:
        """Whatever is asked for, a client ends, and the next one is served."""

        def run() -> None:
            for fault in DESCRIPTIONS:
                if fault not in {"stall", "nodot"}:
                    for verb in ("user", "pass", "quit", "any"):
                        self.outcome(f"{verb}.{fault}")
            self.assertEqual(self.outcome("top.err"), "goes on")

        return deferToThread(run)


class GreetingTests(Live):
    """The other table of the page."""

    def test_rows_come_true(self) -> Deferred[None]:
        """What poplib makes of each greeting."""
        rows = [literals(row[1])[0] for row in table("Greetings", PAGE)]
        self.assertEqual(rows, list(POP3_GREETING_FAULTS))

        def run() -> None:
            goes_on = set()
            for row in rows:
                self.factory.greeting = parse_local_part(row, {"greeting"}, DESCRIPTIONS)
                if self.outcome("top.err") == "goes on":
                    goes_on.add(row.partition(".")[2])
            self.assertEqual(goes_on, {"split", "drip10", "barelf", "case", "eightbit"})

        return deferToThread(run)


class MaildropTests(Live):
    """What is in it."""

    def test_messages(self) -> Deferred[None]:
        """Who logs in as an address has the messages to it, octet for octet; without an address all."""

        def run() -> None:
            for user, count in (
                ("bob@x.example", 3),
                ("carol@x.example", 1),
                ("dave@x.example", 0),
                ("any", 3),
            ):
                client = self.connect(user)
                self.assertEqual(client.stat()[0], count, user)
                if count:
                    lines = client.retr(1)[1]
                    [message] = self.surroundings.captured.messages(recipient="carol@x.example")
                    expected = (
                        message.content if count == 1 else message.content.replace(b"hello 2", b"hello 0")
                    )
                    self.assertEqual(b"\r\n".join([*lines, b""]), expected)
                client.quit()
                client.close()

        return deferToThread(run)

    def test_deleting(self) -> Deferred[None]:
        """What is deleted is gone after QUIT; not when the connection is lost before."""

        def run() -> None:
            for wish, left in (("dele.lost", 3), ("dele.closeafter", 3), ("quit.lost", 3), ("quit.close", 2)):
                client = self.connect(f"bob+{wish}@x.example")
                try:
                    client.dele(1)
                    client.quit()
                except (poplib.error_proto, OSError):
                    pass
                client.close()
                after = self.connect("bob@x.example")
                self.assertEqual(after.stat()[0], left, wish)
                after.close()

        return deferToThread(run)

    def test_badauth(self) -> Deferred[None]:
        """A user name with badauth in it fails."""

        def run() -> None:
            error = self.assertRaises(poplib.error_proto, self.connect, "badauth@x.example")
            self.assertIn("[AUTH]", str(error))

        return deferToThread(run)

    def test_pipelining(self) -> Deferred[None]:
        """Commands that come together have their replies in order, spoilt ones among them."""

        def run() -> None:
            client = self.connect("bob+noop.drip5@x.example")
            client.sock.sendall(b"STAT\r\nNOOP\r\nLIST 1\r\nFOO\r\nQUIT\r\n")
            file: Any = client.file
            said = file.read()
            client.close()
            self.assertEqual(
                [line[:3] for line in said.splitlines()], [b"+OK", b"+OK", b"+OK", b"-ER", b"+OK"]
            )

        return deferToThread(run)


class MechanismTests(Live):
    """SASL."""

    def test_offer(self) -> Deferred[None]:
        """What the settings say is on offer."""
        self.factory._badsmtp.settings = Settings(twin_mechanisms="NTLM PLAIN")

        def run() -> None:
            client = poplib.POP3("127.0.0.1", self.number, timeout=60)
            self.assertEqual(client.capa()["SASL"], ["NTLM", "PLAIN"])
            error = self.assertRaises(poplib.error_proto, client._shortcmd, "AUTH NTLM TlRMTVNTUAABAAAA")  # type: ignore[attr-defined]
            self.assertIn("-ERR [AUTH]", str(error))
            client._shortcmd("AUTH PLAIN AGJvYkB4LmV4YW1wbGUAeA==")  # type: ignore[attr-defined]
            self.assertEqual(client.stat()[0], 3)
            client.close()

        return deferToThread(run)
