"""What local parts and EHLO names ask for, and what becomes of replies."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.badsmtp.faults import DESCRIPTIONS, STALL_SECONDS, Ending, spoil
from moxtwisted.badsmtp.grammar import FAULTS, SMTP_VERBS, TEXTS, UNKNOWN_TEXT, Wish, parse_local_part
from moxtwisted.badsmtp.tokens import (
    DEFAULT_MECHANISMS,
    MAXIMUM_DELAY_SECONDS,
    MAXIMUM_SIZE,
    MINIMUM_SIZE,
    Wishes,
    parse_hello_name,
)

#: As BadSMTP has them.
ENHANCED = re.compile(r"^([a-z]+)(\d{3})_(\d+)\.(\d+)\.(\d+)@", re.ASCII)
BASIC = re.compile(r"^([a-z]+)(\d{3})@", re.ASCII)
#: Verbs of BadSMTP; ``dend`` is ours.
VERBS = SMTP_VERBS - {"dend"}

LOCAL_PARTS = st.one_of(
    st.text(max_size=30),
    st.from_regex(
        r"[a-zA-Z]{1,9}[0-9]{2,4}(_[0-9]{1,2}\.[0-9]{1,3}\.[0-9]{1,3})?(\.[a-z]{1,9}[0-9]{0,5})?",
        fullmatch=True,
    ),
    st.builds(
        lambda verb, code, rest: f"{verb}{code}{rest}",
        st.sampled_from(sorted(SMTP_VERBS | {"dot", "send"})),
        st.sampled_from(["", "421", "550", "25"]),
        st.sampled_from(["", "_5.7.1", ".cut", ".drip10", "_5.7.1.stall", "_5.7", "."]),
    ),
)


class GrammarTests(SynchronousTestCase):
    """``parse_local_part``."""

    @given(LOCAL_PARTS)
    @example("mail550_5.7.509")
    @example("mail٥٥٠")
    @settings(max_examples=200, database=None)
    def test_it_is_that_of_badsmtp(self, text: str) -> None:
        """What the expressions of BadSMTP match in a lower-case address is read as they read it."""
        lower = text.lower()
        match = ENHANCED.match(lower + "@") or BASIC.match(lower + "@")
        wish = parse_local_part(text)
        if match is not None and match[1] in VERBS:
            groups = match.groups()
            self.assertEqual(wish, Wish(groups[0], int(groups[1]), ".".join(groups[2:])))
        elif wish is not None:
            self.assertTrue(wish.fault or wish.verb == "dend")

    @given(
        st.sampled_from(sorted(SMTP_VERBS)),
        st.integers(0, 999),
        st.sampled_from(["", "5.7.1", "4.22.333"]),
        st.sampled_from(["", *sorted(FAULTS)]),
        st.none() | st.integers(0, 99999),
    )
    @settings(max_examples=200, database=None)
    def test_all_that_there_is(
        self, verb: str, code: int, enhanced: str, fault: str, number: int | None
    ) -> None:
        """What is written by the grammar is read."""
        text = f"{verb}{code:03d}" + (f"_{enhanced}" if enhanced else "")
        wish = Wish(verb, code, enhanced, fault, number if fault else None)
        text += (f".{fault}" + ("" if number is None else str(number))) if fault else ""
        self.assertEqual(parse_local_part(text), wish)
        self.assertEqual(parse_local_part(text.upper()), wish)
        self.assertEqual(wish.text, TEXTS.get(code, UNKNOWN_TEXT))

    def test_nothing(self) -> None:
        """These ask for nothing."""
        for text in (
            "",
            "mail",
            "mail55",
            "mail5500",
            "mail550x",
            "mail550_5.7",
            "mail550_5.7.1.1",
            "send550",
            "mail.",
            "mail.nothing",
            "mail.cut-5",
            "mail.cut123456",
            " mail550",
            "mail550\n",
        ):
            with self.subTest(text):
                self.assertIsNone(parse_local_part(text))

    def test_other_verbs(self) -> None:
        """Other protocols have their own verbs and faults."""
        self.assertEqual(
            parse_local_part("fetch.slow7", {"fetch"}, {"slow"}), Wish("fetch", 0, "", "slow", 7)
        )
        self.assertIsNone(parse_local_part("mail550", {"fetch"}))
        self.assertIsNone(parse_local_part("fetch.cut", {"fetch"}, {"slow"}))

    def test_the_end_of_a_message(self) -> None:
        """It has two names."""
        self.assertEqual(parse_local_part("dot450"), parse_local_part("dend450"))


class TokenTests(SynchronousTestCase):
    """``parse_hello_name``."""

    def test_examples(self) -> None:
        """Tokens are found in the first label only, whatever their case, within each piece."""
        wishes = parse_hello_name("SIZE10000-No8Bit-authplain.nosize.example")
        self.assertEqual(wishes, Wishes(size=10000, left_out=frozenset({"8BITMIME"}), mechanisms=("PLAIN",)))
        self.assertEqual(parse_hello_name("xnosizex.example").left_out, {"SIZE"})
        self.assertEqual(parse_hello_name("any.example"), Wishes())
        self.assertEqual(parse_hello_name("[127.0.0.1]"), Wishes())
        self.assertEqual(parse_hello_name(""), Wishes())

    def test_size(self) -> None:
        """It is kept within bounds."""
        for text, octets in (("size1", 1000), ("size1000", 1000), ("size99999999", MAXIMUM_SIZE)):
            self.assertEqual(parse_hello_name(text).size, octets)
        self.assertIsNone(parse_hello_name("size").size)
        self.assertEqual(parse_hello_name("nosize-size5000").left_out, frozenset())

    def test_delay(self) -> None:
        """From one second to 605; anything else asks for nothing."""
        for text, seconds in (
            ("dlay1", 1),
            ("dlay605", 605),
            ("dlay606", 0),
            ("dlay0", 0),
            ("dlay-5", 0),
            ("dlayx", 0),
        ):
            with self.subTest(text):
                self.assertEqual(parse_hello_name(text).delay_seconds, seconds)

    def test_mechanisms(self) -> None:
        """The last wish for AUTH wins."""
        self.assertEqual(parse_hello_name("any").mechanisms, DEFAULT_MECHANISMS)
        self.assertEqual(parse_hello_name("authplain-authlogin").mechanisms, ("LOGIN",))
        self.assertEqual(parse_hello_name("authplain-noauth").mechanisms, ())
        self.assertEqual(parse_hello_name("noauth-authcram").mechanisms, ("CRAM-MD5", "CRAM-SHA256"))

    def test_codes(self) -> None:
        """A code is the whole first label, with something behind it."""
        self.assertEqual(parse_hello_name("helo500.example.com").hello_code, 500)
        self.assertEqual(parse_hello_name("EHLO421.x").hello_code, 421)
        for name in (
            "helo500",
            "xhelo500.example",
            "helo50.example",
            "helo5000.example",
            "helo500-x.example",
        ):
            self.assertEqual(parse_hello_name(name).hello_code, 0)

    def test_faults(self) -> None:
        """A verb with a code or a fault, for all of a connection."""
        wishes = parse_hello_name(
            "badquit421-badrcptdrip5-baddotcut-badehlo450-badnonsense-badmailnonsense.example"
        )
        self.assertEqual(
            dict(wishes.faults),
            {
                "quit": Wish("quit", 421),
                "rcpt": Wish("rcpt", 0, "", "drip", 5),
                "dend": Wish("dend", 0, "", "cut"),
                "ehlo": Wish("ehlo", 450),
            },
        )

    @given(
        st.text(max_size=300)
        | st.from_regex(r"(size|nosize|dlay|bad|auth|no|eod|helo|-|\.|[0-9]){1,12}", fullmatch=True)
    )
    @settings(max_examples=200, database=None)
    def test_anything(self, name: str) -> None:
        """Any name is read, and what it asks for is within bounds."""
        wishes = parse_hello_name(name)
        self.assertTrue(wishes.size is None or MINIMUM_SIZE <= wishes.size <= MAXIMUM_SIZE)
        self.assertTrue(0 <= wishes.delay_seconds <= MAXIMUM_DELAY_SECONDS)
        self.assertTrue(all(verb == wish.verb for verb, wish in wishes.faults.items()))


class FaultTests(SynchronousTestCase):
    """``spoil``."""

    def test_all_are_described(self) -> None:
        """What the grammar reads can be done, and is described."""
        self.assertEqual(set(DESCRIPTIONS), set(FAULTS))
        for fault in FAULTS:
            spoil(b"250 OK\r\n", fault)

    @given(
        st.sampled_from(sorted(FAULTS)),
        st.none() | st.integers(0, 99999),
        st.sampled_from([b"250 OK\r\n", b"250-a\r\n250 b\r\n", b""]),
    )
    @settings(max_examples=100, database=None)
    def test_bounds(self, fault: str, number: int | None, reply: bytes) -> None:
        """Whatever the number, waits and octets are bounded; with an ending there need be no octets."""
        plan = spoil(reply, fault, number)
        octets = steps = 0
        for step in plan.steps:
            steps += 1
            octets += len(step.octets)
            self.assertLessEqual(step.pause_seconds, 20_000)
        self.assertLessEqual(steps, STALL_SECONDS + 1)
        self.assertLessEqual(octets, 1_000_000)
        self.assertIsInstance(plan.ending, Ending)

    def test_time(self) -> None:
        """Those that take time take as much as was asked for."""
        for fault, number, seconds in (
            ("stall", 7, 7),
            ("stall", None, STALL_SECONDS),
            ("drip", 5, 5),
            ("drip", None, 10),
            ("split", None, 1),
            ("split", 9, 9),
        ):
            with self.subTest(fault, number=number):
                plan = spoil(b"250 OK\r\n", fault, number)
                self.assertAlmostEqual(sum(step.pause_seconds for step in plan.steps), seconds)
