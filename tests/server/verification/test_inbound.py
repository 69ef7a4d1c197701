"""Messages from strangers, through SMTP into the store, with checks."""

from __future__ import annotations

from pathlib import Path

from moxtwisted.server.inbound.arrival import Arrival
from moxtwisted.server.intake import Intake, Trouble
from moxtwisted.store.staging import Staging
from tests.server.house import HouseCase
from tests.server.verification.world import LETTER, SlowResolver, World, hashed, signed

FORGED = b"Authentication-Results: mx.example.org; dkim=pass header.d=bank.example\r\n"


class CheckedCase(HouseCase):
    def setUp(self) -> None:
        """A house that checks."""
        super().setUp()
        self.world = World(self.house.clock)
        self.house.checks = self.world.checks

    def delivered(self, message: bytes, sender: str = "a@sender.example") -> bytes:
        """What alice has of a message."""
        before = len(self.house.messages("alice"))
        line = self.house.inbound()
        self.assertIn("250", line.begin(sender, "alice@example.org"))
        self.assertIn("250 2.", line.send(message))
        line.drop()
        return self.house.messages("alice")[before]


class TraceTests(CheckedCase):
    def test_order(self) -> None:
        """The fields stand between those of the delivery and Received."""
        names = [line.partition(b":")[0] for line in self.delivered(signed(LETTER)).split(b"\r\n")]
        wanted = [
            b"Return-Path", b"Delivered-To", b"Authentication-Results", b"Received-SPF", b"Received",
            b"DKIM-Signature",
        ]  # fmt: skip
        self.assertEqual([name for name in names if name in wanted], wanted)

    def test_verified(self) -> None:
        """A good message says so, and its octets are as they came."""
        message = signed(LETTER)
        found = self.delivered(message)
        self.assertIn(b"\tdmarc=pass (p=reject) header.from=sender.example policy.dmarc=none\r\n", found)
        self.assertTrue(found.endswith(message))

    def test_lmtp(self) -> None:
        """What another server hands over is not checked, and its results stay."""
        line = self.house.inbound(lmtp=True)
        line.begin("a@sender.example", "alice@example.org")
        line.send(FORGED + LETTER)
        found = self.house.messages("alice")[0]
        self.assertNotIn(b"Received-SPF", found)
        self.assertTrue(found.endswith(FORGED + LETTER))

    def test_slow_dns(self) -> None:
        """The answer to the message waits for the DNS, and no longer than it may."""
        self.world.resolver = SlowResolver(self.world.zones, "_dmarc.sender.example")
        line = self.house.inbound()
        line.begin("a@sender.example", "alice@example.org")
        self.assertNotIn("250 ", line.send(LETTER))
        self.house.clock.advance(20.1)
        self.assertIn("250 2.", line.heard())
        self.assertIn(b"dmarc=temperror", self.house.messages("alice")[0])


class ForgeryTests(CheckedCase):
    def test_removed(self) -> None:
        """Fields that claim to be ours are not in what is stored, those of others are."""
        others = b"Authentication-Results: mail.other.example; spf=pass\r\n"
        ours = b"x-MOXTWISTED-reason: all is\r\n\tgood\r\n"
        found = self.delivered(b"Subject: first\r\n" + FORGED + others + ours + LETTER)
        self.assertTrue(found.endswith(b"\r\nSubject: first\r\n" + others + LETTER), found)

    def test_header_alone(self) -> None:
        """They are removed also when nothing stands behind the header."""
        self.assertTrue(self.delivered(FORGED + b"Subject: x\r\n").endswith(b"\r\nSubject: x\r\n"))

    def test_verified_as_it_came(self) -> None:
        """A signature that covers a removed field was verified before."""
        message = LETTER.replace(b"Subject: ", b"X-Moxtwisted-Reason: good\r\nSubject: ")
        found = self.delivered(signed(message))
        self.assertIn(b"dkim=pass", found)
        self.assertNotIn(b"X-Moxtwisted", found)

    def test_hidden_lines(self) -> None:
        """What some programs take for the end of a line is not taken in a header; in a body it is, and so is a doubled one."""
        for header in (b"X: a\rFrom: b@bank.example\r\n", b"From\0: b@bank.example\r\n", b"X: a\r\r b\r\n"):
            line = self.house.inbound()
            line.begin("a@sender.example", "alice@example.org")
            self.assertIn("554 5.6.0", line.send(header + LETTER))
            line.drop()
        self.delivered(LETTER + b"a\rb\0c\r\n")
        self.delivered(b"X: a\r\r\n" + LETTER)

    def test_without_checks(self) -> None:
        """Our own fields are removed also where nothing is checked."""
        self.house.checks = None
        found = self.delivered(b"X-Moxtwisted-Reason: good\r\n" + FORGED + LETTER)
        self.assertTrue(found.endswith(b"\r\n" + FORGED + LETTER))
        self.assertNotIn(b"X-Moxtwisted", found)


class SenderTests(CheckedCase):
    def mail(self, sender: str, recipients: int = 1) -> str:
        """The last answer."""
        line = self.house.inbound()
        answer = line.begin(sender, "alice@example.org")
        if recipients > 1:
            answer = line.say("RCPT TO:<bob@example.org>")
        return answer

    def test_nobody(self) -> None:
        """Senders whose domain takes no mail are refused."""
        line = self.house.inbound()
        self.assertIn("550 5.7.27", line.say("MAIL FROM:<a@nowhere.example>"))
        self.assertIn("250", self.mail("a@sender.example"))
        self.assertIn("250", self.mail(""))

    def test_no_answer(self) -> None:
        """While that cannot be told they are asked to come again."""
        self.world.resolver = SlowResolver(self.world.zones, "slow.example")
        line = self.house.inbound()
        self.assertEqual(line.say("MAIL FROM:<a@slow.example>"), "")
        self.house.clock.advance(21)
        self.assertIn("451 4.4.3", line.heard())

    def test_no_more_questions(self) -> None:
        """Who drops a transaction, or the connection, leaves no questions behind."""
        self.world.resolver = slow = SlowResolver(self.world.zones, "sender.example")
        for end in ("RSET", ""):
            line = self.house.inbound()
            line.say("MAIL FROM:<a@sender.example>")
            of_spf, of_mx = slow.waiting.pop("sender.example")
            if end:
                of_mx.callback(None)
                self.assertIn("250", line.say(end))
            else:
                line.drop()
            self.assertTrue(of_spf.called, end)

    def test_local_program(self) -> None:
        """A program on this machine may send from any name, to several."""
        line = self.house.inbound("127.0.0.1")
        self.assertIn("250", line.begin("root@nowhere.example", "alice@example.org"))
        self.assertIn("250", line.say("RCPT TO:<bob@example.org>"))

    def test_several(self) -> None:
        """A second recipient is for those who pass SPF."""
        self.assertIn("250", self.mail("a@sender.example", 2))
        self.world.zones.set("sender.example", "TXT", [b"v=spf1 ?all"])
        self.assertIn("452 4.5.3", self.mail("a@sender.example", 2))

    def test_same_again(self) -> None:
        """The same recipient twice is one."""
        self.world.zones.set("sender.example", "TXT", [b"v=spf1 ?all"])
        line = self.house.inbound()
        line.begin("a@sender.example", "alice@example.org")
        self.assertIn("250", line.say("RCPT TO:<alice@example.org>"))


class ArrivalTests(CheckedCase):
    def arrive(self, message: bytes, step: int) -> Arrival:
        staging = Staging(Path(self.mktemp()), bytes)
        sink = Arrival(Intake(staging, Trouble(self.house.clock.seconds)), self.world.checks())
        for start in range(0, len(message), step):
            sink.write(message[start : start + step])
        self.staged = sink.finish()
        return sink

    def test_any_pieces(self) -> None:
        """However a message is cut, it is hashed and staged the same."""
        message = FORGED + signed(LETTER)
        for step in (1, 2, 3, 7, 100, len(message)):
            sink = self.arrive(message, step)
            assert sink.hashed is not None
            self.assertEqual(sink.hashed.bodies, hashed(message).bodies, step)
            self.assertEqual(self.staged.read(0, 10000), signed(LETTER), step)

    def test_line_feeds(self) -> None:
        """What stands behind the empty line never becomes a part of the header, also with lines that end with LF alone."""
        self.arrive(b"Subject: x\nX-Moxtwisted-Reason: y\r\n\r\n" + FORGED, 1000)
        self.assertEqual(self.staged.read(0, 1000), b"Subject: x\r\n\r\n" + FORGED)

    def test_shapes(self) -> None:
        """Messages without header, without body and without octets come through."""
        for message in (
            b"",
            b"\r\n",
            b"\r\nbody\r\n",
            b"Subject: x\r\n",
            b"Subject: x\r\n\r\n",
            b"\r\n\r\n\r\n",
        ):
            for step in (1, 1000):
                self.arrive(message, step)
                self.assertEqual(self.staged.read(0, 1000), message)

    def test_long_header(self) -> None:
        """A header that is too long to be looked at is refused, with fields or without."""
        for filler in (b"X-A: " + b"a" * 900 + b"\r\n", b"X: y\r\n"):
            line = self.house.inbound()
            line.begin("a@sender.example", "alice@example.org")
            many = filler * (1200 if len(filler) > 900 else 10000)
            self.assertIn("552 5.3.4", line.send(many + LETTER))
            line.drop()
        self.assertEqual(self.house.leaks(), [])
