"""Conditions of rule sets, and what of a message is proved."""

from __future__ import annotations

import re

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.patterns import compile_pattern
from moxtwisted.mailauth.dkim.verify import Status
from moxtwisted.mailauth.spf.evaluation import Identity, Verdict
from moxtwisted.message.headers import Header
from moxtwisted.server.judgement.author import Author, find_author
from moxtwisted.server.judgement.rules import Ruleset
from moxtwisted.server.judgement.rulesets import VerifiedDomains, find_ruleset, path_text
from tests.server.judgement.samples import GOOD, HEADER, dkim, incoming, path, spf

MARY = Author("mary", "a.example")


class Authors(SynchronousTestCase):
    """The address in From."""

    def test_one(self) -> None:
        """It is one address, in lower case; of several only the domain is taken, and nothing of what names several."""
        for field, expected in (
            (b"Mary <MARY@A.example>", Author("mary", "a.example")),
            (b'"Mary, A." <"ma ry"@a.example>', Author("ma ry", "a.example")),
            (b"a@a.example, b@a.example", Author("", "a.example")),
            ("grüße@a.example".encode(), Author("grüße", "a.example")),
        ):
            header = Header.parse(b"From: " + field + b"\r\n\r\n")
            self.assertEqual(find_author(header, "a.example"), expected)
        self.assertEqual(find_author(Header.parse(b"From: a@a.example, b@b.example\r\n\r\n"), ""), Author())

    @settings(max_examples=100)
    @given(st.binary(max_size=80))
    def test_anything(self, value: bytes) -> None:
        """Whatever From has, it is an author."""
        found = find_author(Header.parse(b"From: " + value + b"\r\n\r\n"), "a.example")
        self.assertEqual(found.domain, "a.example")
        found.address.encode()


class Proved(SynchronousTestCase):
    """Domains that have provably something to do with a message."""

    def test_what_passed(self) -> None:
        """Only what passed counts, each once."""
        verified = evolve(
            GOOD,
            dkim=(dkim("a.example"), dkim("a.example"), dkim("b.example", Status.FAIL), dkim("c.example")),
        )
        found = VerifiedDomains.of(verified, path("Bounce@a.example"))
        self.assertEqual(
            found, VerifiedDomains(("a.example", "c.example"), "a.example", "bounce", "mx.a.example")
        )

    def test_null_sender(self) -> None:
        """Of a null sender SPF proves the name in EHLO only."""
        verified = evolve(GOOD, dkim=(), spf=spf(Verdict.PASS, "mx.b.example", Identity.HELO), helo_spf=None)
        self.assertEqual(VerifiedDomains.of(verified, path("")), VerifiedDomains(helo="mx.b.example"))

    def test_below(self) -> None:
        """A domain stands for those below it, and for no other that ends like it."""
        found = VerifiedDomains(dkim=("x.a.example",))
        self.assertTrue(found.below("a.example"))
        self.assertFalse(found.below("b.example"))
        self.assertFalse(VerifiedDomains(dkim=("ba.example",)).below("a.example"))


class Conditions(SynchronousTestCase):
    """Which rule set is for a message."""

    def matches(self, ruleset: Ruleset, header: bytes = HEADER, sender: str = "mary@a.example") -> bool:
        """Whether it is for this one."""
        message = incoming(header=header, reverse_path=path(sender))
        domains = VerifiedDomains.of(message.verified, message.reverse_path)
        return find_ruleset([ruleset], message, MARY, domains) is ruleset

    def test_each(self) -> None:
        """Each condition by itself, met and not met."""
        rows = (
            (Ruleset(smtp_mail_from=compile_pattern("^mary@A.example$")), True),
            (Ruleset(smtp_mail_from=compile_pattern("^mary$")), False),
            (Ruleset(message_from=compile_pattern("@a\\.example$")), True),
            (Ruleset(message_from=compile_pattern("bob")), False),
            (Ruleset(verified_domain="a.example"), True),
            (Ruleset(verified_domain="mx.a.example"), True),
            (Ruleset(verified_domain="b.example"), False),
            (Ruleset(headers=((compile_pattern("^list-id$"), compile_pattern("<fans")),)), True),
            (Ruleset(headers=((compile_pattern("^list-id$"), compile_pattern("^<fans.a.example>$")),)), True),
            (Ruleset(headers=((compile_pattern("^x-none$"), compile_pattern("")),)), False),
        )
        for ruleset, expected in rows:
            self.assertIs(self.matches(ruleset), expected, ruleset)

    def test_none(self) -> None:
        """Without conditions nothing matches."""
        self.assertFalse(self.matches(Ruleset(mailbox="Everything")))

    def test_all(self) -> None:
        """All conditions have to be met."""
        both = Ruleset(message_from=re.compile("mary"), verified_domain="b.example")
        self.assertFalse(self.matches(both))
        headers = tuple((re.compile(name), re.compile("")) for name in ("^subject$", "^list-id$"))
        self.assertTrue(self.matches(Ruleset(headers=headers)))
        self.assertFalse(self.matches(Ruleset(headers=(*headers, (re.compile("^x$"), re.compile(""))))))

    def test_first(self) -> None:
        """The first that matches counts."""
        first, second = Ruleset(verified_domain="a.example"), Ruleset(message_from=re.compile("mary"))
        message = incoming()
        domains = VerifiedDomains.of(message.verified, message.reverse_path)
        self.assertIs(find_ruleset([Ruleset(), first, second], message, MARY, domains), first)

    def test_encoded(self) -> None:
        """Values are decoded before they are looked at."""
        header = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n"
        ruleset = Ruleset(headers=((compile_pattern("^subject$"), compile_pattern("^grüße$")),))
        self.assertTrue(self.matches(ruleset, header))

    def test_paths(self) -> None:
        """Patterns see addresses without quotes, in lower case, with A-labels."""
        self.assertEqual(path_text(path("Mary@Münster.example")), "mary@xn--mnster-3ya.example")
        self.assertEqual(path_text(path('"a b"@x.example')), "a b@x.example")
        self.assertEqual(path_text(path("")), "")

    def test_bounded(self) -> None:
        """A thousand fields, and one of a megabyte, are looked at as far as the limits go."""
        ruleset = Ruleset(headers=((compile_pattern("^x$"), compile_pattern("needle")),))
        self.assertFalse(self.matches(ruleset, b"X: hay\r\n" * 1000 + b"X: needle\r\n\r\n"))
        self.assertFalse(self.matches(ruleset, b"X: " + b"hay " * 250_000 + b"needle\r\n\r\n"))
        self.assertTrue(self.matches(ruleset, b"X: hay\r\n" * 100 + b"X: needle\r\n\r\n"))
