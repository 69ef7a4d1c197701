"""pyspf on the answers that ours was given."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.records import MX
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.spf import secondopinion
from moxtwisted.mailauth.spf.evaluation import Evaluator, SPFResult, Verdict
from moxtwisted.mailauth.spf.secondopinion import Recorder, second_opinion
from tests.mailauth.asking import AskingTestCase


class SecondOpinionTests(AskingTestCase):
    def check(
        self, zone: dict[tuple[str, str], Any], sender: str = "joe@a.example", helo: str = "c.example"
    ) -> SPFResult:
        self.resolver = ZoneResolver(zone)
        self.recorder = Recorder(self.resolver)
        evaluator = Evaluator(self.recorder, Clock())
        return self.ended(evaluator.check_mail_from(ip_address("192.0.2.1"), sender, helo))

    def opinion(self, result: SPFResult) -> Verdict | None:
        return self.ended(second_opinion(result, self.recorder))

    def test_agreement(self) -> None:
        """The verdict is confirmed from the answers that are there, without another question."""
        zone = {
            ("a.example", "TXT"): [b"v=spf1 include:b.example mx a:%{d} -all"],
            ("b.example", "TXT"): [b"v=spf1 ip4:198.51.100.0/24 ?all"],
            ("a.example", "MX"): [MX(10, "m.a.example")],
            ("m.a.example", "A"): ["198.51.100.7"],
            ("a.example", "A"): ["198.51.100.8"],
        }
        result = self.check(zone)
        asked = self.resolver.lookups
        self.assertEqual((result.verdict, self.opinion(result)), (Verdict.FAIL, Verdict.FAIL))
        self.assertEqual(self.resolver.lookups, asked)

    def test_too_much(self) -> None:
        """Records that take too long to go through again and again have no second opinion."""
        terms = b"ip4:198.51.100.1 " * 1500 + b" ".join(b"a:%d.a.example" % n for n in range(9))
        zone: dict[tuple[str, str], Any] = {("a.example", "TXT"): [b"v=spf1 " + terms + b" -all"]}
        zone |= {(f"{n}.a.example", "A"): ["198.51.100.7"] for n in range(9)}
        result = self.check(zone)
        self.assertIsNone(self.opinion(evolve(result, verdict=Verdict.FAIL)))

    def test_our_mistake(self) -> None:
        """When ours were wrong it would be seen."""
        result = self.check({("a.example", "TXT"): [b"v=spf1 ip4:192.0.2.1 -all"]})
        self.assertIs(self.opinion(evolve(result, verdict=Verdict.FAIL)), Verdict.PASS)

    def test_other_questions(self) -> None:
        """What pyspf asks besides is looked up: it wants the hosts of an mx behind the one that matches."""
        zone = {
            ("a.example", "TXT"): [b"v=spf1 -mx +all"],
            ("a.example", "MX"): [MX(10, "m.a.example"), MX(20, "n.a.example")],
            ("m.a.example", "A"): ["192.0.2.1"],
        }
        result = self.check(zone)
        self.assertNotIn(("n.a.example", "A"), self.resolver.asked)
        self.assertEqual((result.verdict, self.opinion(result)), (Verdict.FAIL, Verdict.FAIL))
        self.assertIn(("n.a.example", "A"), self.resolver.asked)

    def test_no_answer(self) -> None:
        """A question without an answer is a temporary error for both."""
        zone = {
            ("a.example", "TXT"): [b"v=spf1 a -all"],
            ("a.example", "A"): NoAnswerError("a.example", "A", "time-out"),
        }
        result = self.check(zone)
        self.assertEqual((result.verdict, self.opinion(result)), (Verdict.TEMPERROR, Verdict.TEMPERROR))

    def test_empty_answers(self) -> None:
        """Empty answers are counted by ours alone."""
        zone = {
            ("a.example", "TXT"): [b"v=spf1 ptr -all"],
            ("1.2.0.192.in-addr.arpa", "PTR"): [f"n{n}.example" for n in range(9)],
        }
        result = self.check(zone)
        self.assertEqual((result.verdict, self.opinion(result)), (Verdict.FAIL, Verdict.FAIL))

    def test_null_sender(self) -> None:
        """The null reverse-path is postmaster at the HELO name for both."""
        result = self.check({("c.example", "TXT"): [b"v=spf1 exists:%{l}.c.example -all"]}, "")
        self.assertEqual((result.verdict, self.opinion(result)), (Verdict.FAIL, Verdict.FAIL))

    def test_its_failures(self) -> None:
        """When pyspf falls over there is no opinion."""
        result = self.check({("a.example", "TXT"): [b"v=spf1 -all"]})
        nonsense: Any = "nonsense"
        self.assertIsNone(self.opinion(evolve(result, ip=nonsense)))

    def test_endless_questions(self) -> None:
        """When it asks for ever more there is no opinion."""
        self.patch(secondopinion, "_MAX_ROUNDS", 2)
        zone = {
            ("a.example", "TXT"): [b"v=spf1 -mx +all"],
            ("a.example", "MX"): [MX(n, f"m{n}.example") for n in range(9)],
        }
        result = self.check({**zone, ("m0.example", "A"): ["192.0.2.1"]})
        self.assertEqual((result.verdict, self.opinion(result)), (Verdict.FAIL, None))
