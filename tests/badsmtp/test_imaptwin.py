"""The IMAP twin: every row of its how-to, by our own client; and the octets of some."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.badsmtp.grammar import Wish, parse_local_part
from moxtwisted.badsmtp.imapfaults import (
    DESCRIPTIONS,
    IMAP_VERBS,
    Framer,
    ImapReply,
    spoil_imap,
    verb_of,
)
from moxtwisted.badsmtp.interfaces import CapturedMessage, Hooks
from moxtwisted.badsmtp.settings import IMAP_GREETING_FAULTS, Settings
from moxtwisted.badsmtp.visitors import parse_user
from moxtwisted.errors import MailError
from moxtwisted.imap.client.messagecommands import NewMail
from moxtwisted.imap.client.notices import Alert, Farewell, NewCount
from moxtwisted.imap.client.session import CommandRefusedError
from moxtwisted.imap.wire.commands import StoreMode
from tests.badsmtp.howto import SMTP, literals, table
from tests.badsmtp.imapclients import Twin

PAGE = SMTP.with_name("imap.rst")
REPLY = ImapReply((b"* 3 EXISTS\r\n", b"* 1 FETCH (BODY[] {5}\r\nhello)\r\n"), b"a1", b"OK done\r\n")


def spoilt(fault: str, number: int | None = None) -> bytes:
    """What becomes of an answer."""
    return b"".join(
        step.octets for step in spoil_imap(REPLY, Wish("fetch", fault=fault, number=number), 77).steps
    )


class HowToTests(SynchronousTestCase):
    """The table of the page, row by row."""

    def test_rows_come_true(self) -> None:
        """Our client is refused, loses the connection or goes on, as each row says, and never hangs."""
        for example, _, outcome in table("Faults", PAGE):
            [wish] = literals(example)
            with self.subTest(wish):
                self.assertEqual(Twin().outcome(wish), outcome)

    def test_rows_are_all_there(self) -> None:
        """Each fault has a row with its words, and no other has one."""
        rows = table("Faults", PAGE)
        self.assertEqual({literals(row[0])[0].partition(".")[2]: row[1] for row in rows}, dict(DESCRIPTIONS))

    def test_log_in_and_select_too(self) -> None:
        """Whatever happens at log-in or SELECT, our client ends with an answer or an error."""
        for fault in DESCRIPTIONS:
            for verb in ("login", "select", "any"):
                with self.subTest(f"{verb}.{fault}"):
                    self.assertIn(Twin().outcome(f"{verb}.{fault}"), {"refused", "lost", "goes on"})


class GreetingTests(SynchronousTestCase):
    """The other table of the page."""

    def test_rows_come_true(self) -> None:
        """Our client hangs up or goes on, and is told who said good-bye."""
        rows = [literals(row[1])[0] for row in table("Greetings", PAGE)]
        self.assertEqual(rows, list(IMAP_GREETING_FAULTS))
        outcomes = {}
        for row in rows:
            twin = Twin(greeting=parse_local_part(row, {"greeting"}, DESCRIPTIONS))
            try:
                twin.open("bob@x.example")
            except MailError as error:
                outcomes[row] = str(error)
            else:
                outcomes[row] = ""
        goes_on = {"split", "drip10", "barelf", "case", "long", "eightbit", "twice"}
        self.assertEqual({row.partition(".")[2] for row, why in outcomes.items() if not why}, goes_on)
        self.assertIn("somebody pulled the plug", outcomes["greeting.bye"])


class IdleTests(SynchronousTestCase):
    """Our client where a server does not answer IDLE."""

    def test_never_granted(self) -> None:
        """Who asks is told within the time for an answer."""
        twin = Twin()
        client = twin.open("bob+idle.stall@x.example")
        began = twin.clock.seconds()
        error = self.assertRaises(MailError, twin.wait, client.idle())
        self.assertIn("did not answer in time", str(error))
        self.assertLess(twin.clock.seconds() - began, 120)
        self.assertFalse(client.alive)

    def test_granted_for_long(self) -> None:
        """Once it is granted, silence is no fault."""
        twin = Twin()
        client = twin.open("bob@x.example")
        idle = twin.wait(client.idle())
        twin.clock.advance(1500)
        twin.wait(idle.done())
        self.assertTrue(client.alive)

    def test_given_up(self) -> None:
        """Who does not wait for the grant any longer has lost the connection, whose state nobody knows."""
        twin = Twin()
        client = twin.open("bob+idle.stall@x.example")
        waiting: Deferred[object] = Deferred.fromCoroutine(client.idle())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertFalse(client.alive)


class WishTests(SynchronousTestCase):
    def test_users(self) -> None:
        """Wishes are taken out of a user name; what is left is whose messages are seen."""
        for name, address, wishes in (
            ("bob+fetch.cut100@x.example", "bob@x.example", ["fetch"]),
            ("bob+work+select.no+idle.drop5@x.example", "bob+work@x.example", ["idle", "select"]),
            ("fetch.cut@x.example", "", ["fetch"]),
            ("fetch.cut", "", ["fetch"]),
            ("bob", "", []),
            ("bob+fetch.unheardof@x.example", "bob+fetch.unheardof@x.example", []),
            ("bob+fetch550@x.example", "bob+fetch550@x.example", []),
        ):
            visitor = parse_user(name, IMAP_VERBS, DESCRIPTIONS)
            self.assertEqual((visitor.address, sorted(visitor.wishes)), (address, wishes), name)

    def test_verbs(self) -> None:
        """Commands that do the same are the same verb."""
        words = ("AUTHENTICATE", "LOGIN", "UID FETCH", "FETCH", "EXAMINE", "UID EXPUNGE")
        self.assertEqual(
            [verb_of(w) for w in words], ["login", "login", "fetch", "fetch", "select", "expunge"]
        )

    def test_octets(self) -> None:
        """What some faults make of an answer."""
        for fault, number, octets in (
            ("wrongtag", None, REPLY.wire().replace(b"a1 ", b"Xa1X ")),
            ("notag", None, b"".join(REPLY.untagged)),
            ("late", None, b"a1 OK done\r\n" + b"".join(REPLY.untagged)),
            ("expunge", 2, REPLY.wire().replace(b"a1 ", b"* 2 EXPUNGE\r\na1 ")),
            ("shrink", None, REPLY.wire().replace(b"a1 ", b"* 0 EXISTS\r\na1 ")),
            ("literallong", 3, REPLY.wire().replace(b"{5}", b"{8}")),
            ("literalshort", 2, REPLY.wire().replace(b"{5}", b"{3}")),
            ("count", None, REPLY.wire().replace(b"* 3 EXISTS", b"* 10 EXISTS")),
            ("gone", None, REPLY.wire().replace(REPLY.untagged[1], b"")),
            ("case", None, b"* 3 eXiStS\r\n* 1 FeTcH (BODY[] {5}\r\nhello)\r\na1 Ok done\r\n"),
            ("badcode", None, REPLY.wire().replace(b"OK done", b"OK [READ-WRITE done")),
            ("notext", None, REPLY.wire().replace(b"OK done", b"OK")),
        ):
            self.assertEqual(spoilt(fault, number).lower(), octets.lower(), fault)

    def test_uidvalidity(self) -> None:
        """UIDVALIDITY is replaced in SELECT and STATUS, and nowhere else."""
        reply = evolve(
            REPLY,
            untagged=(
                b"* OK [UIDVALIDITY 1] x\r\n",
                b"* STATUS a (UIDVALIDITY 1 MESSAGES 2)\r\n",
                b"* 1 EXISTS\r\n",
            ),
        )
        plan = spoil_imap(reply, Wish("select", fault="uidvalidity"), 77)
        said = b"".join(step.octets for step in plan.steps)
        self.assertEqual(said.count(b"UIDVALIDITY 77"), 2)
        self.assertIn(b"* 1 EXISTS", said)

    @given(st.lists(st.binary(max_size=12), max_size=4), st.integers(1, 7))
    @settings(max_examples=60)
    def test_framing(self, literals_: list[bytes], size: int) -> None:
        """Answers are cut where they end, literals and all, however they come."""
        responses = [b"* 1 FETCH (A {%d}\r\n%b)\r\n" % (len(one), one) for one in literals_] + [
            b"a1 OK done\r\n"
        ]
        octets = b"".join(responses)
        framer, found = Framer(), []
        for at in range(0, len(octets), size):
            framer.feed(octets[at : at + size])
            while (response := framer.next()) is not None:
                found.append(response)
        self.assertEqual(found, responses)


class MailTests(SynchronousTestCase):
    """What is in the mailboxes."""

    def test_messages(self) -> None:
        """Who logs in as an address sees the messages to it, without regard to case; without an address all are seen."""
        for user, count in (
            ("bob@x.example", 3),
            ("CAROL@x.example", 1),
            ("dave@x.example", 0),
            ("anybody", 3),
        ):
            twin = Twin()
            client = twin.open(user)
            self.assertEqual(twin.wait(client.select("INBOX")).exists, count, user)

    def test_arrival(self) -> None:
        """What is captured while somebody is there shows up; with deaf, not in IDLE."""
        for wish, heard in (("", True), ("+idle.deaf", False)):
            twin = Twin()
            client = twin.open(f"bob{wish}@x.example")
            twin.wait(client.select("INBOX"))
            idle = twin.wait(client.idle())
            message = CapturedMessage(
                received=datetime(2024, 1, 1, tzinfo=UTC),
                reverse_path="",
                forward_paths=("bob@x.example",),
                content=b"Subject: new\r\n\r\n",
            )
            twin.surroundings.captured.keep(message)
            twin.clock.advance(1)
            twin.wait(idle.done())
            self.assertEqual(NewCount(4) in twin.notices, heard, wish)

    def test_follows(self) -> None:
        """INBOX has what is captured and no more, while somebody is there and afterwards; copies have room of their own."""
        twin = Twin()
        client = twin.open("bob@x.example")
        twin.wait(client.select("INBOX"))
        captured = twin.surroundings.captured
        mail = twin.rooms.mail_of("bob@x.example")
        captured.octets_limit = 300_000
        for _ in range(10):
            message = CapturedMessage(
                received=datetime(2024, 1, 1, tzinfo=UTC),
                reverse_path="",
                forward_paths=("bob@x.example",),
                content=b"x" * 100_000,
            )
            captured.keep(message)
        self.assertEqual(len(mail.find("INBOX").messages), len(captured))
        twin.wait(client.create("Copies"))
        newest = max(mail.find("INBOX").messages)

        def copy() -> None:
            for _ in range(40):
                twin.wait(client.copy([newest], "Copies"))

        error = self.assertRaises(CommandRefusedError, copy)
        self.assertEqual(error.imap_code, "OVERQUOTA")
        self.assertIn(len(mail.find("Copies").messages), range(20, 35))
        captured.clear()
        self.assertEqual(len(mail.find("INBOX").messages), 0)

    def test_one_after_the_other(self) -> None:
        """While an answer takes its time, others wait, and the machine is not asked for more."""
        twin = Twin()
        server: Any = twin.factory.buildProtocol(None)
        transport = StringTransport()
        server.makeConnection(transport)
        server.dataReceived(b"a LOGIN bob+noop.stall100@x.example x\r\nb NOOP\r\nc LOGOUT\r\n")
        server.pauseProducing()
        server.resumeProducing()
        server.dataReceived(b"d NOOP\r\n")
        twin.clock.advance(99)
        self.assertNotIn(b"\r\nb OK", transport.value())
        twin.clock.advance(1)
        self.assertIn(b"\r\nb OK", transport.value())
        self.assertIn(b"\r\nc OK", transport.value())

    def test_nothing_piles_up(self) -> None:
        """Of long answers there are no more than the client reads, however many commands came at once."""
        twin = Twin()
        server: Any = twin.factory.buildProtocol(None)
        transport = StringTransport()
        server.makeConnection(transport)
        write, transport.write = transport.write, lambda octets: (write(octets), server.pauseProducing())  # type: ignore[assignment]
        server.dataReceived(
            b"a LOGIN bob+noop.long@x.example x\r\n"
            + b"".join(b"b%d NOOP\r\n" % n for n in range(100))
            + b"c LOGOUT\r\n"
        )
        sizes = []
        while b"c OK" not in transport.value():
            transport.clear()
            server.resumeProducing()
            sizes.append(len(transport.value()))
        self.assertLess(max(sizes), 2_000_000)
        self.assertEqual(sum(size > 1_000_000 for size in sizes), 100)

    def test_as_it_comes(self) -> None:
        """An answer that nothing goes wrong with is not held back until it is whole."""
        twin = Twin()
        server: Any = twin.factory.buildProtocol(None)
        transport = StringTransport()
        server.makeConnection(transport)
        server.dataReceived(b"a LOGIN bob@x.example x\r\n")
        server.machine.due[b"b"] = "fetch"
        transport.clear()
        server._write(b"* 1 FETCH (UID 1)\r\n")
        self.assertEqual(transport.value(), b"* 1 FETCH (UID 1)\r\n")

    def test_numbers_are_bounded(self) -> None:
        """Who asks for a hundred megabytes gets four."""
        self.assertLess(len(spoilt("long", 99999)), 4_300_000)

    def test_flags_stay(self) -> None:
        """Flags and expunging last from one connection to the next; the captured messages stay."""
        twin = Twin()
        client = twin.open("bob@x.example")
        twin.wait(client.select("INBOX"))
        twin.wait(client.store([1], StoreMode.ADD, ["\\Flagged"]))
        twin.wait(client.store([2], StoreMode.ADD, ["\\Deleted"]))
        twin.wait(client.expunge())
        client.abort()
        client = twin.open("bob@x.example")
        self.assertEqual(twin.wait(client.select("INBOX")).exists, 2)
        messages = twin.wait(client.fetch([1, 3], ["FLAGS"]))
        self.assertEqual([sorted(m.flags) for m in messages], [["\\Flagged"], []])
        self.assertEqual(len(twin.surroundings.captured), 3)

    def test_refused_is_not_done(self) -> None:
        """A command that is refused was not carried out; one whose answer is lost was."""
        for fault, count in (("no", 3), ("lost", 3), ("bye", 3), ("close", 2)):
            twin = Twin()
            client = twin.open(f"bob+expunge.{fault}@x.example")
            twin.wait(client.select("INBOX"))
            twin.wait(client.store([2], StoreMode.ADD, ["\\Deleted"]))
            self.assertRaises(MailError, twin.wait, client.expunge())
            client.abort()
            client = twin.open("bob@x.example")
            self.assertEqual(twin.wait(client.select("INBOX")).exists, count, fault)

    def test_room(self) -> None:
        """There is an end to what clients may put in, whatever names they log in by; who is forgotten takes none of it any more."""
        twin = Twin()
        client = twin.open("bob@x.example")
        twin.wait(client.append("INBOX", NewMail(b"Subject: x\r\n\r\n" + b"x" * 600_000)))
        error = self.assertRaises(
            CommandRefusedError,
            twin.wait,
            client.append("INBOX", NewMail(b"Subject: x\r\n\r\n" + b"x" * 600_000)),
        )
        self.assertEqual(error.status.code.name, "OVERQUOTA")
        other = twin.open("alice@x.example")
        half = NewMail(b"Subject: x\r\n\r\n" + b"x" * 600_000)
        self.assertRaises(CommandRefusedError, twin.wait, other.append("INBOX", half))
        for number in range(64):
            twin.rooms.mail_of(f"{number}@x.example")
        twin.wait(twin.open("carol@x.example").append("INBOX", half))

    def test_farewell(self) -> None:
        """The reason that a server gives in BYE is in the error, and told."""
        twin = Twin()
        client = twin.open("noop.bye")
        error = self.assertRaises(MailError, twin.wait, client.noop())
        self.assertIn("somebody pulled the plug", str(error))
        self.assertIn(Farewell("somebody pulled the plug"), twin.notices)

    def test_badauth(self) -> None:
        """A user name with badauth in it fails."""
        self.assertRaises(CommandRefusedError, Twin().open, "my-BadAuth@x.example")

    def test_mechanisms(self) -> None:
        """The settings say what is on offer: with SCRAM a password other than secret fails."""
        twin = Twin(Settings(twin_mechanisms="scram-sha-256 ntlm unheard-of"))
        error = self.assertRaises(CommandRefusedError, twin.open, "bob@x.example")
        self.assertEqual(error.status.code.name, "AUTHENTICATIONFAILED")

    def test_authenticator(self) -> None:
        """An authenticator of the hooks is asked, and sees who it is."""
        asked = []

        class Authenticator:
            def authenticate(self, mechanism: str, username: str, secret: bytes, session: Any) -> bool:
                asked.append((mechanism, username, session.client_ip))
                session.write_response(b"* OK [ALERT] you are looked at\r\n")
                return username == "alice"

        twin = Twin(hooks=Hooks(authenticator=Authenticator()))
        twin.open("alice")
        self.assertRaises(CommandRefusedError, twin.open, "bob")
        self.assertIn(Alert("you are looked at"), twin.notices)
        self.assertEqual([one[1:] for one in asked], [("alice", "127.0.0.1"), ("bob", "127.0.0.1")])
        [first, *_] = twin.surroundings.journal.fields("IMAP authentication successful")
        self.assertEqual(first["username"], "alice")

    def test_journal_fails(self) -> None:
        """A journal that fails keeps nobody out."""

        class Journal:
            def write(self, level: Any, message: str, fields: Any, error: str = "") -> None:
                raise OSError

        twin = Twin()
        twin.surroundings.journal = Journal()
        twin.open("bob@x.example")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_journal(self) -> None:
        """A wish that comes true is in the log, without the password."""
        twin = Twin()
        client = twin.open("bob+noop.drip3@x.example")
        twin.wait(client.noop())
        [fields] = twin.surroundings.journal.fields("IMAP error simulation triggered")
        self.assertEqual(fields["trigger"], "noop.drip3")
        self.assertNotIn("any password", repr(twin.surroundings.journal.lines))
