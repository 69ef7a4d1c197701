"""DMARC records: what they say, what is passed over, what is refused."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.dmarc.author import find_author
from moxtwisted.mailauth.dmarc.record import (
    Alignment,
    DMARCRecord,
    DMARCSyntaxError,
    Policy,
    ReportURI,
    is_dmarc,
    parse_record,
)
from moxtwisted.message.headers import Header


class RecordTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """A record of version and policy has the defaults of RFC 7489 section 6.3."""
        record = parse_record("v=DMARC1;p=reject")
        self.assertEqual(
            (record.policy, record.subdomain_policy, record.nonexistent_policy), (Policy.REJECT, None, None)
        )
        self.assertEqual(
            (record.dkim_alignment, record.spf_alignment), (Alignment.RELAXED, Alignment.RELAXED)
        )
        self.assertEqual((record.percent, record.interval_seconds), (100, 86400))
        self.assertEqual(record.failure_options, {"0"})
        self.assertEqual((record.aggregate, record.failure, record.ignored), ((), (), ()))

    def test_all_tags(self) -> None:
        """Each tag has its place; unknown ones are passed over."""
        record = parse_record(
            "v=DMARC1 ; P = Quarantine; sp=none; np=reject; adkim=S;aspf=r; pct=20; fo=1:d : s; rf=afrf; ri=3600; unknown=x; "
            "rua=mailto:a@x.example!10m, mailto:b%21@y.example!5 ,https://z.example/r; ruf=mailto:c@x.example; psd=n; t=y;"
        )
        self.assertEqual(
            (record.policy, record.subdomain_policy, record.nonexistent_policy),
            (Policy.QUARANTINE, Policy.NONE, Policy.REJECT),
        )
        self.assertEqual((record.dkim_alignment, record.spf_alignment), (Alignment.STRICT, Alignment.RELAXED))
        self.assertEqual((record.percent, record.interval_seconds), (20, 3600))
        self.assertEqual(record.failure_options, {"1", "d", "s"})
        self.assertEqual(
            record.aggregate,
            (
                ReportURI("mailto:a@x.example", 10 << 20),
                ReportURI("mailto:b%21@y.example", 5),
                ReportURI("https://z.example/r"),
            ),
        )
        self.assertEqual([uri.address for uri in record.aggregate], ["a@x.example", "b!@y.example", ""])
        self.assertEqual((record.psd, record.testing, record.ignored), ("n", True, ()))

    def test_wrong_values_are_passed_over(self) -> None:
        """A tag with a value that it cannot have counts as if it were not there."""
        text = (
            "v=DMARC1; p=none; adkim=x; pct=101; ri=-1; fo=2; rua=nonsense, mailto:a@x.example; psd=yy; np=maybe; t=1; word; =x; "
            "ruf=mailto:ä@x.example"
        )
        record = parse_record(text)
        aggregate = (ReportURI("mailto:a@x.example"),)
        self.assertEqual(record, DMARCRecord(text, Policy.NONE, aggregate=aggregate, ignored=record.ignored))
        passed_over = {"adkim", "pct", "ri", "fo", "rua", "psd", "np", "t", "word", "", "ruf"}
        self.assertEqual(set(record.ignored), passed_over)

    def test_without_policy(self) -> None:
        """Without valid policies a record asks for reports only, or is none."""
        for text in ("v=DMARC1; rua=mailto:a@x.example", "v=DMARC1; p=nothing; rua=mailto:a@x.example"):
            self.assertIs(parse_record(text).policy, Policy.NONE)
        record = parse_record("v=DMARC1; p=reject; sp=nothing; rua=mailto:a@x.example")
        self.assertEqual((record.policy, record.subdomain_policy), (Policy.NONE, None))
        for text in ("v=DMARC1", "v=DMARC1; p=nothing", "v=DMARC1; p=reject; sp=x", "v=DMARC1; rua=nonsense"):
            self.assertRaises(DMARCSyntaxError, parse_record, text)
        self.assertIsNone(parse_record("v=DMARC1", for_reports=True).policy)

    def test_refused(self) -> None:
        """Other versions, broken lists, tags that stand there twice and endless records are refused."""
        for text in (
            "", "v=DMARC2; p=none", "v=dmarc1; p=none", "p=none; v=DMARC1", "v=DMARC1 p=none", "v=DMARC1; p",
            "v=DMARC1; p=none; p=reject", "v=DMARC1; p=none;" + " " * 9000,
        ):  # fmt: skip
            with self.subTest(text[:40]):
                self.assertRaises(DMARCSyntaxError, parse_record, text)
        error = self.assertRaises(DMARCSyntaxError, parse_record, "v=DMARC1; p=none; P=none")
        self.assertEqual(error.tag, "p")

    def test_which_are_records(self) -> None:
        """A record begins with its version."""
        for text in (b"v=DMARC1", b"v = DMARC1 ; p=none", b"v=DMARC1;"):
            self.assertTrue(is_dmarc(text))
        for text in (b"v=DMARC1x", b"v=dmarc1;", b" v=DMARC1;", b"", b"v=spf1 -all", b"\xff"):
            self.assertFalse(is_dmarc(text))

    def test_many_addresses(self) -> None:
        """Of the addresses for reports twenty are kept."""
        record = parse_record(
            "v=DMARC1; p=none; rua=" + ",".join(f"mailto:a{n}@x.example" for n in range(100))
        )
        self.assertEqual(len(record.aggregate), 20)

    @settings(max_examples=200, derandomize=True, database=None)
    @given(st.text(alphabet="v=DMARC1;p none,rua:mailto@x!10k sp\tñ", max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever stands there is read or refused."""
        with contextlib.suppress(DMARCSyntaxError):
            parse_record("v=DMARC1;" + text)


class AuthorTests(SynchronousTestCase):
    def author(self, *fields: str) -> tuple[str, bool]:
        """The domain for From fields, and whether there is a problem."""
        octets = "".join(f"From: {field}\r\n" for field in fields).encode() + b"Subject: x\r\n\r\n"
        found = find_author(Header.parse(octets))
        return found.domain, bool(found.problem)

    def test_one_domain(self) -> None:
        """The domain of From is found behind names, in groups, and as U-labels."""
        for field in (
            "joe@News.Example.com",
            '"a@b.example" <joe@news.example.com>',
            "x <joe@news.example.com>, y <z@news.example.com>",
        ):
            self.assertEqual(self.author(field), ("news.example.com", False))
        self.assertEqual(self.author("joe@bücher.example"), ("xn--bcher-kva.example", False))

    def test_endless(self) -> None:
        """A From that takes long to look at has nobody in it."""
        self.assertEqual(self.author("(" * 20_000 + " joe@news.example.com"), ("", True))
        self.assertEqual(self.author("(x) " * 3000 + " joe@news.example.com"), ("news.example.com", False))

    def test_no_domain(self) -> None:
        """Several fields, several domains, none at all: each is a problem."""
        for fields in (
            (),
            ("a@x.example", "b@x.example"),
            ("a@x.example, b@y.example",),
            ("joe",),
            ("",),
            ("a@x..example",),
            ("a@x.example, joe",),
        ):
            self.assertEqual(self.author(*fields), ("", True))
