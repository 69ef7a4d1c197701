"""What the published suite does not ask: results besides the verdict, limits, hostile records, internationalised mail."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.task import Clock

from moxtwisted.dns.answers import NoAnswerError, Security
from moxtwisted.dns.records import MX
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.spf.evaluation import Evaluator, Identity, Limits, SPFResult, Step, Verdict
from moxtwisted.mailauth.spf.trace import received_spf
from tests.mailauth.asking import AskingTestCase, SlowResolver

CLIENT = ip_address("192.0.2.1")
CLIENT_NAME = "1.2.0.192.in-addr.arpa"


class EvaluationTestCase(AskingTestCase):
    def check(
        self, zone: dict[tuple[str, str], Any], sender: str = "joe@a.example", **changes: Any
    ) -> SPFResult:
        """The result for a sender; the resolver is in ``self.resolver``."""
        self.resolver = changes.pop("resolver", None) or ZoneResolver(
            zone, security=changes.pop("security", Security.INSECURE)
        )
        ip = ip_address(changes.pop("ip", str(CLIENT)))
        helo = changes.pop("helo", "client.example")
        evaluator = Evaluator(self.resolver, changes.pop("clock", Clock()), **changes)
        return self.ended(evaluator.check_mail_from(ip, sender, helo))


class ResultTests(EvaluationTestCase):
    def test_chain(self) -> None:
        """The result has each record on the way to the one that decided, and the term that led on."""
        result = self.check(
            {
                ("a.example", "TXT"): [b"v=spf1 include:no.example redirect=b.example"],
                ("no.example", "TXT"): [b"v=spf1 -all"],
                ("b.example", "TXT"): [b"v=spf1 mx include:c.example -all"],
                ("c.example", "TXT"): [b"v=spf1 ip4:192.0.2.0/28 ~all"],
                ("b.example", "MX"): [MX(10, "m.b.example")],
                ("m.b.example", "A"): ["192.0.2.99"],
            }
        )
        self.assertIs(result.verdict, Verdict.PASS)
        self.assertEqual(
            result.chain,
            (
                Step("a.example", "v=spf1 include:no.example redirect=b.example", "redirect=b.example"),
                Step("b.example", "v=spf1 mx include:c.example -all", "include:c.example"),
                Step("c.example", "v=spf1 ip4:192.0.2.0/28 ~all", "ip4:192.0.2.0/28"),
            ),
        )
        self.assertEqual((result.mechanism, result.terms, result.problem), ("include:c.example", 4, ""))

    def test_nothing_matches(self) -> None:
        """Without a match the verdict is neutral and the mechanism ``default``."""
        result = self.check({("a.example", "TXT"): [b"v=spf1 ip4:198.51.100.1"]})
        self.assertEqual((result.verdict, result.mechanism), (Verdict.NEUTRAL, "default"))
        self.assertEqual(result.chain[0].term, "")

    def test_no_record(self) -> None:
        """Without a record there is neither a mechanism nor a chain."""
        result = self.check({("a.example", "TXT"): [b"something else"]})
        self.assertEqual((result.verdict, result.mechanism, result.chain), (Verdict.NONE, "", ()))

    def test_errors_say_where(self) -> None:
        """A permanent error names the record and the term, a temporary one the question."""
        result = self.check(
            {("a.example", "TXT"): [b"v=spf1 include:b.example"], ("b.example", "TXT"): [b"v=spf1 a:%{x}"]}
        )
        self.assertIs(result.verdict, Verdict.PERMERROR)
        self.assertIn("b.example", result.problem)
        self.assertEqual([step.term for step in result.chain], ["include:b.example", "a:%{x}"])
        result = self.check(
            {
                ("a.example", "TXT"): [b"v=spf1 a -all"],
                ("a.example", "A"): NoAnswerError("a.example", "A", "time-out"),
            }
        )
        self.assertIs(result.verdict, Verdict.TEMPERROR)
        self.assertIn("A a.example", result.problem)

    def test_security(self) -> None:
        """The result is secure only if all answers were."""
        zone = {("a.example", "TXT"): [b"v=spf1 a -all"], ("a.example", "A"): ["192.0.2.1"]}
        self.assertIs(self.check(zone, security=Security.SECURE).security, Security.SECURE)
        self.assertIs(self.check(zone).security, Security.INSECURE)

    def test_helo(self) -> None:
        """HELO can be checked by itself; names that cannot have a record are not asked for."""
        resolver = ZoneResolver(
            {("client.example", "TXT"): [b"v=spf1 a -all"], ("client.example", "A"): ["192.0.2.1"]}
        )
        evaluator = Evaluator(resolver, Clock())
        result = self.ended(evaluator.check_helo(CLIENT, "client.example"))
        self.assertEqual(
            (result.verdict, result.identity, result.sender),
            (Verdict.PASS, Identity.HELO, "postmaster@client.example"),
        )
        resolver.asked.clear()
        for helo in (
            "localhost",
            "[192.0.2.1]",
            "",
            "a..example",
            "x" * 64 + ".example",
            "a." * 130 + "example",
        ):
            self.assertIs(self.ended(evaluator.check_helo(CLIENT, helo)).verdict, Verdict.NONE)
        self.assertEqual(resolver.asked, [])

    def test_null_sender(self) -> None:
        """For the null reverse-path, postmaster at the HELO name is checked."""
        result = self.check({("client.example", "TXT"): [b"v=spf1 +all"]}, "")
        self.assertEqual(
            (result.verdict, result.domain, result.identity),
            (Verdict.PASS, "client.example", Identity.MAIL_FROM),
        )

    def test_mapped_address(self) -> None:
        """An IPv4 address that comes as IPv6 is the IPv4 address."""
        result = self.check({("a.example", "TXT"): [b"v=spf1 ip4:192.0.2.1 -all"]}, ip="::ffff:192.0.2.1")
        self.assertEqual((result.verdict, str(result.ip)), (Verdict.PASS, "192.0.2.1"))


class ExplanationTests(EvaluationTestCase):
    def explain(self, *texts: bytes, record: bytes = b"v=spf1 -all exp=why.%{d}") -> str:
        """The explanation, when these are the records of the explanation's name."""
        return self.check({("a.example", "TXT"): [record], ("why.a.example", "TXT"): texts}).explanation

    def test_text(self) -> None:
        """A failure is explained in the words of the domain's owner."""
        self.assertEqual(
            self.explain(b"%{i} may not send as %{s}%_%{c}"),
            "192.0.2.1 may not send as joe@a.example 192.0.2.1",
        )

    def test_what_is_wrong_is_no_explanation(self) -> None:
        """Texts with errors, several, none, and such that would reach a terminal are left out."""
        for texts in ((b"%{z}",), (b"one", b"two"), (), (b"\xc3\xa4",), (b"a\r\nb",), (b"\x1b[2J",)):
            self.assertEqual(self.explain(*texts), "")

    def test_length(self) -> None:
        """An explanation is cut to 500 characters, whatever its macros make of it."""
        self.assertEqual(len(self.explain(b"%{s}" * 1000)), 500)

    def test_only_of_the_record_that_decides(self) -> None:
        """The explanation of a record that is included is not used, that of one redirected to is."""
        zone = {
            ("b.example", "TXT"): [b"v=spf1 -all exp=why.b.example"],
            ("why.b.example", "TXT"): [b"because"],
        }
        first = {("a.example", "TXT"): [b"v=spf1 include:b.example -all"], **zone}
        self.assertEqual(self.check(first).explanation, "")
        second = {("a.example", "TXT"): [b"v=spf1 redirect=b.example exp=x.a.example"], **zone}
        self.assertEqual(self.check(second).explanation, "because")


class LimitTests(EvaluationTestCase):
    def test_a_tree_of_includes(self) -> None:
        """Records that include ten others each end after ten terms."""
        includes = b" ".join(b"include:d%d.example" % n for n in range(10))
        zone = {(f"d{n}.example", "TXT"): [b"v=spf1 " + includes] for n in range(10)}
        result = self.check(zone, "joe@d0.example")
        self.assertIs(result.verdict, Verdict.PERMERROR)
        self.assertLessEqual(self.resolver.lookups, 11)

    def test_loops(self) -> None:
        """Includes and redirections that go round end after ten terms."""
        for record in (
            b"v=spf1 include:a.example",
            b"v=spf1 redirect=a.example",
            b"v=spf1 include:%{d} ?all",
        ):
            result = self.check({("a.example", "TXT"): [record]})
            self.assertIs(result.verdict, Verdict.PERMERROR)
            self.assertLessEqual(self.resolver.lookups, 11)

    def test_names_that_grow(self) -> None:
        """A record whose macros make ever longer names ends, with names that fit."""
        zone = {("a.example", "TXT"): [b"v=spf1 " + b"exists:%{s}.%{d}.%{h}.%{d}.a.example " * 11]}
        result = self.check(
            zone, "x" * 60 + "." + "y" * 60 + "@a.example", helo="z" * 60 + "." + "w" * 60 + ".example"
        )
        self.assertIs(result.verdict, Verdict.PERMERROR)
        self.assertTrue(all(len(name) <= 253 for name, _ in self.resolver.asked))

    def test_empty_answers(self) -> None:
        """The third answer without records is a permanent error; the names of the client do not count."""
        zone: dict[tuple[str, str], Any] = {
            ("a.example", "TXT"): [b"v=spf1 a:x.a.example a:y.a.example exists:z.a.example +all"]
        }
        result = self.check(zone)
        self.assertEqual((result.verdict, result.void_lookups), (Verdict.PERMERROR, 3))
        zone = {
            ("a.example", "TXT"): [b"v=spf1 ptr -all"],
            (CLIENT_NAME, "PTR"): [f"n{n}.example" for n in range(9)],
        }
        self.assertIs(self.check(zone).verdict, Verdict.FAIL)

    def test_many_exchangers(self) -> None:
        """More than ten hosts of one mx are an error before any is asked for."""
        zone = {
            ("a.example", "TXT"): [b"v=spf1 mx -all"],
            ("a.example", "MX"): [MX(n, f"m{n}.example") for n in range(11)],
        }
        self.assertIs(self.check(zone).verdict, Verdict.PERMERROR)
        self.assertEqual(self.resolver.lookups, 2)

    def test_many_names_of_the_client(self) -> None:
        """Of a client with a thousand names ten are looked at."""
        zone = {
            ("a.example", "TXT"): [b"v=spf1 ptr -all"],
            (CLIENT_NAME, "PTR"): [f"n{n}.example" for n in range(1000)],
        }
        self.assertIs(self.check(zone).verdict, Verdict.FAIL)
        self.assertEqual(self.resolver.lookups, 12)

    def test_errors_on_the_way_to_names(self) -> None:
        """When the client's names cannot be had, ptr does not match, and the client's owner gains nothing."""
        zone = {
            ("a.example", "TXT"): [b"v=spf1 ptr -all"],
            (CLIENT_NAME, "PTR"): NoAnswerError(CLIENT_NAME, "PTR", "time-out"),
        }
        self.assertIs(self.check(zone).verdict, Verdict.FAIL)

    def test_time(self) -> None:
        """Slow answers end in a temporary error when the time for the whole is over."""
        clock = Clock()
        zone = ZoneResolver(
            {
                ("a.example", "TXT"): [b"v=spf1 mx -all"],
                ("a.example", "MX"): [MX(n, f"m{n}.example") for n in range(9)],
                **{(f"m{n}.example", "A"): ["198.51.100.1"] for n in range(9)},
            }
        )
        result = self.check({}, resolver=SlowResolver(zone, clock, 6.0), clock=clock)
        self.assertIs(result.verdict, Verdict.TEMPERROR)
        self.assertEqual(zone.lookups, 4)

    def test_own_limits(self) -> None:
        """The limits can be chosen."""
        zone = {("a.example", "TXT"): [b"v=spf1 a a -all"], ("a.example", "A"): ["198.51.100.1"]}
        self.assertIs(self.check(zone, limits=Limits(terms=1)).verdict, Verdict.PERMERROR)

    def test_null_exchanger(self) -> None:
        """A null MX has no host to ask for."""
        zone = {("a.example", "TXT"): [b"v=spf1 mx -all"], ("a.example", "MX"): [MX(0, ".")]}
        self.assertIs(self.check(zone).verdict, Verdict.FAIL)
        self.assertEqual(self.resolver.lookups, 2)


class InternationalTests(EvaluationTestCase):
    def test_domains(self) -> None:
        """A domain in U-labels is looked up as A-labels."""
        result = self.check(
            {("xn--bcher-kva.example", "TXT"): [b"v=spf1 ip4:192.0.2.1 -all"]}, "joe@bücher.example"
        )
        self.assertEqual((result.verdict, result.domain), (Verdict.PASS, "xn--bcher-kva.example"))

    def test_local_parts(self) -> None:
        """A term with a local part that is not ASCII matches nothing."""
        zone = {
            ("a.example", "TXT"): [b"v=spf1 exists:%{l}.x.example include:%{s}.x.example ip4:192.0.2.1 -all"],
        }
        result = self.check(zone, "jörg@a.example")
        self.assertEqual((result.verdict, result.mechanism), (Verdict.PASS, "ip4:192.0.2.1"))
        self.assertIs(
            self.check({("a.example", "TXT"): [b"v=spf1 redirect=%{l}.x.example"]}, "jörg@a.example").verdict,
            Verdict.NEUTRAL,
        )

    def test_what_is_no_domain(self) -> None:
        """A domain that has no A-labels has no record."""
        for domain in ("☃" * 300 + ".example", "\ud800.example", "a\x00b.example"):
            self.assertIs(self.check({}, f"joe@{domain}").verdict, Verdict.NONE)


class TraceTests(EvaluationTestCase):
    def test_field(self) -> None:
        """The field says what was found, with the keys of RFC 7208 section 9.1, in lines of 78 characters."""
        result = self.check({("a.example", "TXT"): [b"v=spf1 ip4:192.0.2.1 -all"]})
        self.assertEqual(
            received_spf(result, "mx.example.org"),
            b"Received-SPF: pass (mx.example.org: domain of joe@a.example designates\r\n"
            b" 192.0.2.1 as permitted sender) receiver=mx.example.org; identity=mailfrom;\r\n"
            b' client-ip=192.0.2.1; envelope-from="joe@a.example"; helo=client.example;\r\n'
            b' mechanism="ip4:192.0.2.1";\r\n',
        )

    def test_strangers_words(self) -> None:
        """What a sender chose stays in its quotes or parentheses, and is short."""
        result = self.check({}, '"a) x=y; \\"@a.example', helo="h\r\nX-Evil: 1; (" + "x" * 5000)
        field = received_spf(result, "mx.example.org")
        self.assertEqual(field.count(b"\r\n"), field.count(b"\r\n ") + 1)
        self.assertNotIn(b"\nX-Evil", field)
        self.assertIn(b'helo="h??X-Evil: 1; (', field)
        self.assertIn(b"\\)", field)
        self.assertTrue(all(len(line) < 998 for line in field.split(b"\r\n")))
        self.assertLess(len(field), 2000)

    def test_utf8(self) -> None:
        """UTF-8 is in the field only where the message may have it."""
        result = self.check({}, "jörg@a.example")
        self.assertIn("jörg".encode(), received_spf(result, "mx.example.org", smtputf8=True))
        self.assertTrue(received_spf(result, "mx.example.org").isascii())

    def test_problems(self) -> None:
        """An error is explained under the key problem."""
        result = self.check({("a.example", "TXT"): [b"v=spf1 moo"]})
        self.assertIn(
            b'problem="a.example: an unknown mechanism in moo"', received_spf(result, "mx.example.org")
        )
