"""The MTA's side of a milter: what it says, what it understands, what it refuses."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.milter.client import Decision, MilterClient, MilterMessage, MilterVerdict
from moxtwisted.milter.packets import Action, MilterProtocolError, PacketReader, Step, encode

CONTINUE = encode(b"c")


def options(steps: int = 0, actions: int = 0, version: int = 6) -> bytes:
    """A filter's answer to the negotiation."""
    return encode(b"O", struct.pack("!III", version, actions, steps))


def message(**changed: Any) -> MilterMessage:
    """A message with two recipients."""
    values: dict[str, Any] = {
        "hostname": "client.example",
        "ip": ip_address("192.0.2.1"),
        "port": 4321,
        "hello": "client.example",
        "reverse_path": b"<a@client.example>",
        "recipients": (b"<b@here.example>", b"<c@here.example>"),
        "fields": ((b"Subject", b" folded\r\n line"), (b"To", b" b@here.example")),
        "body": (b"hello\r\n", b"x" * 70_000),
        "macros": {b"j": b"mx.here.example", b"i": b"abc"},
    }
    return MilterMessage(**(values | changed))


def change(number: int, name: bytes, value: bytes = b"") -> bytes:
    """A filter wants a field changed, or removed."""
    return encode(b"m", number.to_bytes(4) + name + b"\0" + value + b"\0")


class Filter:
    """Talks to a machine: says yes to all, or what it is told to say at a command."""

    def __init__(self, answers: dict[bytes, bytes] | None = None, steps: int = 0) -> None:
        self.answers = answers or {}
        self.steps = Step(steps)
        self.heard: list[tuple[bytes, bytes]] = []

    def run(self, given_message: MilterMessage) -> MilterVerdict:
        """The whole conversation; its verdict."""
        machine = MilterClient(given_message)
        reader = PacketReader(1 << 20)
        pending = reader.feed(machine.start())
        said = options(self.steps)
        self.heard += pending
        for _ in range(20_000):
            pending = []
            for octets in machine.receive(said):
                pending += reader.feed(octets)
            self.heard += pending
            if machine.verdict is not None:
                return machine.verdict
            said = b"".join(
                [self.answers.get(command, CONTINUE) for command, _ in pending if command != b"D"]
            )
        raise AssertionError(self.heard)

    def commands(self) -> bytes:
        """The commands that it heard, in a row."""
        return b"".join([command for command, _ in self.heard])


class ConversationTests(SynchronousTestCase):
    """What is said, in order."""

    def test_the_whole_message(self) -> None:
        """Connection, EHLO, envelope, each field and the body in pieces are told, with macros before them."""
        peer = Filter()
        verdict = peer.run(message())
        self.assertEqual(verdict, MilterVerdict(Decision.ACCEPT))
        self.assertEqual(peer.commands(), b"ODCHDMRRTLLDNBBBEQ")
        heard = dict(peer.heard)
        self.assertEqual(heard[b"C"], b"client.example\x004" + struct.pack("!H", 4321) + b"192.0.2.1\0")
        self.assertEqual(heard[b"M"], b"<a@client.example>\0")
        self.assertEqual(peer.heard[1], (b"D", b"Cj\0mx.here.example\0"))
        fields = [data for command, data in peer.heard if command == b"L"]
        self.assertEqual(fields, [b"Subject\0folded\n line\0", b"To\0b@here.example\0"])
        pieces = [len(data) for command, data in peer.heard if command == b"B"]
        self.assertEqual(pieces, [7, 65535, 4465])

    def test_a_field_that_no_filter_takes(self) -> None:
        """Of a field that is longer than a packet to a filter may be the beginning is shown."""
        peer = Filter()
        peer.run(message(fields=((b"X-Long", b" " + b"x" * 100_000), (b"Y" * 70_000, b"z"))))
        shown = [data for command, data in peer.heard if command == b"L"]
        self.assertEqual([data[:9] for data in shown], [b"X-Long\0xx", b"YYYYYYYYY"])
        self.assertTrue(all(len(data) <= 65535 for data in shown))

    def test_an_ipv6_client_and_a_local_one(self) -> None:
        """IPv6 addresses are marked; a client on this machine is of the family L."""
        peer = Filter()
        peer.run(message(ip=ip_address("2001:db8::1")))
        self.assertIn(b"IPv6:2001:db8::1\0", dict(peer.heard)[b"C"])
        peer = Filter()
        peer.run(message(ip=None))
        self.assertEqual(dict(peer.heard)[b"C"], b"client.example\0L\0\0local\0")

    def test_what_a_filter_does_without_is_not_said(self) -> None:
        """A filter that wants nothing but the end hears nothing else."""
        steps = (
            Step.NO_CONNECT | Step.NO_HELLO | Step.NO_MAIL | Step.NO_RECIPIENT | Step.NO_DATA
            | Step.NO_HEADERS | Step.NO_END_OF_HEADER | Step.NO_BODY
        )  # fmt: skip
        peer = Filter(steps=steps)
        peer.run(message())
        self.assertEqual(peer.commands(), b"OEQ")

    def test_an_old_filter_is_not_told_of_data(self) -> None:
        """Version 2 has no command for DATA."""
        machine = MilterClient(message())
        heard = b"".join(b"".join(machine.receive(data)) for data in [options(version=2), *[CONTINUE] * 20])
        self.assertNotIn(encode(b"T"), heard)

    def test_what_is_not_answered_is_not_waited_for(self) -> None:
        """Steps that the filter is silent at are said in a row."""
        machine = MilterClient(message())
        steps = Step.SILENT_CONNECT | Step.SILENT_HELLO | Step.SILENT_MAIL | Step.SILENT_RECIPIENT
        machine.start()
        said = b"".join(machine.receive(options(steps)))
        self.assertEqual(
            [c for c, _ in PacketReader(1 << 20).feed(said)], [b"D", b"C", b"H", b"D", b"M", b"R", b"R", b"T"]
        )

    def test_a_filter_may_skip_the_rest_of_the_body(self) -> None:
        """After "skip" the end follows."""
        peer = Filter({b"B": encode(b"s")})
        peer.run(message())
        self.assertEqual(peer.commands().count(b"B"), 1)

    def test_progress_is_patience(self) -> None:
        """A filter that says that it is still at work is waited for."""
        peer = Filter({b"E": encode(b"p") + encode(b"p") + CONTINUE})
        self.assertIs(peer.run(message()).decision, Decision.ACCEPT)


class VerdictTests(SynchronousTestCase):
    """What comes of it."""

    def test_refusals(self) -> None:
        """Reject, tempfail, discard and shutdown end the conversation, wherever they come."""
        for said, decision in (
            (b"r", Decision.REJECT),
            (b"t", Decision.TEMPFAIL),
            (b"d", Decision.DISCARD),
            (b"4", Decision.TEMPFAIL),
            (b"a", Decision.ACCEPT),
        ):
            for where in (b"C", b"M", b"L", b"B", b"E"):
                with self.subTest(said=said, where=where):
                    self.assertIs(Filter({where: encode(said)}).run(message()).decision, decision)

    def test_a_reply_of_its_own(self) -> None:
        """Code, enhanced code and text are the filter's; a 4yz code is a temporary refusal."""
        verdict = Filter({b"E": encode(b"y", b"550 5.7.9 no such\x07 thing\0")}).run(message())
        self.assertEqual(
            (verdict.decision, verdict.reply), (Decision.REJECT, (550, "5.7.9", "no such thing"))
        )
        verdict = Filter({b"E": encode(b"y", b"451-4.7.1 wait\r\n451 4.7.1 a bit\0")}).run(message())
        self.assertEqual((verdict.decision, verdict.reply), (Decision.TEMPFAIL, (451, "4.7.1", "wait a bit")))

    def test_fields_and_quarantine(self) -> None:
        """At the end a filter may add fields, at the top or anywhere, and ask for quarantine."""
        end = (
            encode(b"h", b"X-One\0first\0")
            + encode(b"i", b"\0\0\0\x01X-Two\0second\0")
            + encode(b"q", b"looks odd\0")
            + CONTINUE
        )
        verdict = Filter({b"E": end}).run(message())
        self.assertEqual(verdict.fields, ((b"X-Two", b"second"), (b"X-One", b"first")))
        self.assertEqual((verdict.decision, verdict.why), (Decision.QUARANTINE, "looks odd"))

    def changed(self, *said: bytes, fields: tuple[bytes, ...] = (b"A", b"B", b"a", b"A")) -> MilterVerdict:
        """What comes of a message with these fields."""
        given_message = message(fields=tuple((name, b" old") for name in fields))
        return Filter({b"E": b"".join(said) + CONTINUE}).run(given_message)

    def test_changes(self) -> None:
        """Fields are changed and removed by their number among those of a name, and removed ones keep theirs."""
        verdict = self.changed(
            change(1, b"a"), change(3, b"A", b"new"), change(0, b"B", b"0"), change(1, b"C")
        )
        self.assertEqual(verdict.changes, ((0, None), (1, b"0"), (3, b"new")))
        self.assertEqual(verdict.fields, ())

    def test_changes_of_what_was_added(self) -> None:
        """What a filter inserted is counted before the message's fields, what it added behind them; one that is not there is added."""
        verdict = self.changed(
            encode(b"h", b"A\0last\0"),
            encode(b"i", b"\0\0\0\0A\0first\0"),
            change(1, b"A", b"top"),
            change(2, b"A", b"mine"),
            change(5, b"A"),
            change(9, b"D", b"more"),
        )
        self.assertEqual(verdict.changes, ((0, b"mine"),))
        self.assertEqual(verdict.fields, ((b"A", b"top"), (b"D", b"more")))

    def test_order_of_what_is_inserted(self) -> None:
        """What is inserted higher stands higher, and above what is added."""
        inserted = [
            encode(b"i", number.to_bytes(4) + b"X\0%d\0" % i) for i, number in enumerate((0, 0, 1, 90))
        ]
        verdict = self.changed(encode(b"h", b"Y\0y\0"), *inserted)
        self.assertEqual([value for _, value in verdict.fields], [b"1", b"2", b"0", b"3", b"y"])

    def test_many_removals(self) -> None:
        """However many fields a sender writes, all can be told and removed."""
        removals = [change(number + 1, b"A") for number in range(9000)]
        verdict = self.changed(*removals, fields=(b"A",) * 9000)
        self.assertEqual(len(verdict.changes), 9000)

    def test_long_changes(self) -> None:
        """However long the fields are that a sender writes, all can be changed."""
        fields = tuple((b"Subject", b"x" * 40_000) for _ in range(5))
        said = [change(number + 1, b"Subject", b"[odd] " + b"x" * 40_000) for number in range(5)]
        verdict = Filter({b"E": b"".join(said) + CONTINUE}).run(message(fields=fields))
        self.assertEqual(len(verdict.changes), 5)

    def test_one_recipient_refused(self) -> None:
        """A message that others may have is taken, and who was refused is known; when all are, it is refused."""

        class Picky(Filter):
            pass

        peer = Picky()
        machine = MilterClient(message())
        reader = PacketReader(1 << 20)
        said = options()
        while machine.verdict is None:
            pending = [packet for octets in machine.receive(said) for packet in reader.feed(octets)]
            said = b"".join(
                encode(b"r") if packet == (b"R", b"<b@here.example>\0") else CONTINUE
                for packet in pending
                if packet[0] != b"D"
            )
        self.assertEqual(machine.verdict.refused, (b"<b@here.example>",))
        self.assertIs(machine.verdict.decision, Decision.ACCEPT)
        peer.answers = {b"R": encode(b"y", b"550 5.1.1 none\0")}
        self.assertEqual(peer.run(message()).reply, (550, "5.1.1", "none"))


class BadFilterTests(SynchronousTestCase):
    """Filters that break the protocol."""

    def refused(self, *said: bytes) -> str:
        """What is wrong with it."""
        machine = MilterClient(message())
        with self.assertRaises(MilterProtocolError) as caught:
            for octets in said:
                for _ in machine.receive(octets):
                    pass
        return caught.exception.detail

    def test_no_negotiation(self) -> None:
        """Anything but options first is refused, and options of another version or that were not offered."""
        self.assertIn("negotiation", self.refused(CONTINUE))
        self.assertIn("version 9", self.refused(options(version=9)))
        self.assertIn("CHANGE_BODY", self.refused(options(actions=int(Action.CHANGE_BODY))))

    def test_changes_before_the_end(self) -> None:
        """Fields may be added at the end alone."""
        self.assertIn("may not say now", self.refused(options(), encode(b"h", b"X\0y\0")))

    def test_too_much(self) -> None:
        """Packets, fields and chatter are bounded."""
        self.assertIn("a packet of", self.refused(b"\xff\xff\xff\xff"))
        self.assertIn("a packet of 0", self.refused(b"\0\0\0\0"))
        self.assertIn("without end", self.refused(options(), encode(b"p") * 30_000))
        steps = Step(sum(Step)) & ~Step.SILENT_BODY
        quiet = options(int(steps) & 0xFFFFF & ~int(Step.SKIP))
        self.assertIn("too many", self.refused(quiet, encode(b"h", b"X\0y\0") * 51))
        self.assertIn("too many", self.refused(quiet, change(1, b"To", b"x" * 1000) * 70))

    def test_a_reply_that_is_none(self) -> None:
        """A code that is no refusal is the filter's mistake."""
        self.assertIn("none", self.refused(options(), encode(b"y", b"250 fine\0")))

    @given(st.lists(st.binary(max_size=200), max_size=10))
    @settings(max_examples=150)
    def test_any_octets(self, pieces: list[bytes]) -> None:
        """Whatever a filter sends, it is understood or refused as what it is."""
        machine = MilterClient(message())
        try:
            for octets in (options(), *pieces):
                for said in machine.receive(octets):
                    self.assertIsInstance(said, bytes)
        except MailError as e:
            self.assertIsInstance(e, MilterProtocolError)
