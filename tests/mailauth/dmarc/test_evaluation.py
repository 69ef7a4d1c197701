"""Whose record holds, who is aligned, what is to be done."""

from __future__ import annotations

from typing import Any

from moxtwisted.dns.answers import NoAnswerError, Security
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dmarc.destinations import Destination, check_destinations
from moxtwisted.mailauth.dmarc.discovery import Discovery
from moxtwisted.mailauth.dmarc.evaluation import Authenticated, DMARCResult, Evaluator, Verdict
from moxtwisted.mailauth.dmarc.record import Policy, parse_record
from tests.mailauth.asking import AskingTestCase

NOBODY = Authenticated()


def number(value: int) -> Any:
    """Entropy that is always this number."""
    return value.to_bytes


class DMARCTestCase(AskingTestCase):
    def zone(self, records: dict[str, str | list[str] | Exception], **more: Any) -> ZoneResolver:
        """A resolver for DMARC records by domain."""
        found: dict[tuple[str, str], Any] = {}
        for name, value in records.items():
            texts = [value] if isinstance(value, str) else value
            found[f"_dmarc.{name}", "TXT"] = (
                texts if isinstance(texts, Exception) else [text.encode() for text in texts]
            )
        self.resolver = ZoneResolver(found, **more)
        return self.resolver

    def judge(
        self, domain: str, found: Authenticated = NOBODY, entropy: int = 0, **discovery: Any
    ) -> DMARCResult:
        """The result with the resolver made last."""
        evaluator = Evaluator(self.resolver, number(entropy), Discovery(self.resolver, **discovery))
        return self.ended(evaluator.evaluate(domain, found))


class DiscoveryTests(DMARCTestCase):
    def test_own_then_organizational(self) -> None:
        """The domain's own record holds, else that of its organisational domain; nothing between is asked."""
        self.zone(
            {"example.co.uk": "v=DMARC1; p=reject; sp=quarantine", "own.example.co.uk": "v=DMARC1; p=none"}
        )
        self.assertEqual(self.judge("own.example.co.uk").record_domain, "own.example.co.uk")
        result = self.judge("a.b.example.co.uk")
        self.assertEqual((result.record_domain, result.requested), ("example.co.uk", Policy.QUARANTINE))
        self.assertEqual(
            self.resolver.asked[1:], [("_dmarc.a.b.example.co.uk", "TXT"), ("_dmarc.example.co.uk", "TXT")]
        )

    def test_no_record(self) -> None:
        """Without a record, and with other texts, the verdict is none and nothing is to be done."""
        self.zone({"example.com": ["v=spf1 -all", "something"]})
        result = self.judge("a.example.com")
        self.assertEqual(
            (result.verdict, result.disposition, result.requested), (Verdict.NONE, Policy.NONE, None)
        )

    def test_several_records(self) -> None:
        """Two records are as good as none, and the organisational domain is not asked instead."""
        self.zone(
            {"a.example.com": ["v=DMARC1; p=reject", "v=DMARC1; p=none"], "example.com": "v=DMARC1; p=reject"}
        )
        result = self.judge("a.example.com")
        self.assertEqual((result.verdict, result.disposition), (Verdict.PERMERROR, Policy.NONE))
        self.assertIn("2 DMARC records", result.why)

    def test_wrong_record(self) -> None:
        """A record with an error is not applied, and the error is told."""
        self.zone({"example.com": "v=DMARC1; p=rejekt"})
        result = self.judge("example.com")
        self.assertEqual((result.verdict, result.why), (Verdict.PERMERROR, "example.com: no valid policy"))

    def test_no_answer(self) -> None:
        """While the DNS does not answer no policy is applied."""
        self.zone({"example.com": NoAnswerError("_dmarc.example.com", "TXT", "time-out")})
        result = self.judge("a.example.com")
        self.assertEqual((result.verdict, result.disposition), (Verdict.TEMPERROR, Policy.NONE))

    def test_public_suffix_domains(self) -> None:
        """A public suffix is asked only when the operator names it."""
        self.zone({"co.uk": "v=DMARC1; p=none; np=reject"})
        self.assertIs(self.judge("nothing.example.co.uk").verdict, Verdict.NONE)
        result = self.judge("nothing.example.co.uk", public_suffix_domains=frozenset({"co.uk"}))
        self.assertEqual((result.record_domain, result.requested), ("co.uk", Policy.REJECT))

    def test_security(self) -> None:
        """The result says whether all answers on the way to the record were proved."""
        self.zone({"example.com": "v=DMARC1; p=none"}, security=Security.SECURE)
        self.assertIs(self.judge("a.example.com").security, Security.SECURE)
        self.zone(
            {"example.com": "v=DMARC1; p=none"}, security=Security.SECURE, insecure=["_dmarc.a.example.com"]
        )
        self.assertIs(self.judge("a.example.com").security, Security.INSECURE)


class TreeWalkTests(DMARCTestCase):
    def walk(self, domain: str) -> DMARCResult:
        """The result with the tree walk."""
        return self.judge(domain, tree_walk=True)

    def test_highest_record(self) -> None:
        """Without psd the uppermost record makes the organisational domain; the domain's own record is applied."""
        self.zone(
            {
                "a.b.example.com": "v=DMARC1; p=none",
                "b.example.com": "v=DMARC1; p=quarantine",
                "example.com": "v=DMARC1; p=reject",
            }
        )
        result = self.walk("a.b.example.com")
        self.assertEqual(
            (result.organizational_domain, result.record_domain), ("example.com", "a.b.example.com")
        )
        result = self.walk("x.b.example.com")
        self.assertEqual((result.record_domain, result.requested), ("example.com", Policy.REJECT))

    def test_psd(self) -> None:
        """psd=n ends the walk at the organisational domain, psd=y one label below the public suffix."""
        self.zone({"b.example.com": "v=DMARC1; p=none; psd=n", "example.com": "v=DMARC1; p=reject"})
        self.assertEqual(self.walk("a.b.example.com").organizational_domain, "b.example.com")
        self.assertNotIn(("_dmarc.com", "TXT"), self.resolver.asked)
        self.zone({"example": "v=DMARC1; p=reject; psd=y"})
        result = self.walk("a.b.example")
        self.assertEqual((result.organizational_domain, result.record_domain), ("b.example", "example"))
        self.zone({"b.example": "v=DMARC1; p=reject; psd=y"})
        self.assertEqual(self.walk("b.example").organizational_domain, "b.example")

    def test_long_names(self) -> None:
        """For a name of a hundred labels eight questions are asked."""
        self.zone({})
        name = ".".join(["a"] * 100 + ["example", "com"])
        self.assertIs(self.walk(name).verdict, Verdict.NONE)
        self.assertEqual(
            [asked.count(".") for asked, _ in self.resolver.asked], [name.count(".") + 1, 7, 6, 5, 4, 3, 2, 1]
        )

    def test_testing(self) -> None:
        """A policy that is being tried out is one step milder, whatever pct says."""
        self.zone({"example.com": "v=DMARC1; p=reject; t=y; pct=0"})
        result = self.walk("example.com")
        self.assertEqual((result.disposition, result.sampled_out), (Policy.QUARANTINE, True))
        self.zone({"example.com": "v=DMARC1; p=reject; pct=0"})
        self.assertIs(self.walk("example.com").disposition, Policy.REJECT)

    def test_alignment(self) -> None:
        """Two domains are aligned when the walks from both end at the same."""
        self.zone({"example.com": "v=DMARC1; p=reject", "b.example.com": "v=DMARC1; p=none; psd=n"})
        evaluator = Evaluator(self.resolver, number(0), Discovery(self.resolver, tree_walk=True))
        for domain, verdict in (("a.example.com", Verdict.PASS), ("x.b.example.com", Verdict.FAIL)):
            result = self.ended(evaluator.evaluate("example.com", Authenticated(dkim_domains=(domain,))))
            self.assertIs(result.verdict, verdict)


class AlignmentTests(DMARCTestCase):
    def test_relaxed(self) -> None:
        """Domains of one organisation are aligned, others are not, public suffixes never."""
        self.zone({"example.co.uk": "v=DMARC1; p=reject"})
        for domain, aligned in (
            ("example.co.uk", True),
            ("Bounces.Example.co.uk", True),
            ("other.co.uk", False),
            ("co.uk", False),
            ("xexample.co.uk", False),
            ("example.co.uk.evil.example", False),
            ("", False),
            ("a..example.co.uk", False),
        ):
            with self.subTest(domain):
                by_spf = self.judge("news.example.co.uk", Authenticated(spf_domain=domain))
                by_dkim = self.judge("news.example.co.uk", Authenticated(dkim_domains=(domain,)))
                self.assertEqual((by_spf.spf_aligned, bool(by_dkim.dkim_aligned)), (aligned, aligned))
                self.assertIs(by_spf.verdict, Verdict.PASS if aligned else Verdict.FAIL)

    def test_strict(self) -> None:
        """Under strict alignment only the domain itself is."""
        self.zone({"example.com": "v=DMARC1; p=reject; adkim=s; aspf=s"})
        found = Authenticated("a.example.com", ("a.example.com", "b.example.com"))
        self.assertIs(self.judge("example.com", found).verdict, Verdict.FAIL)
        result = self.judge("a.example.com", found)
        self.assertEqual(
            (result.verdict, result.spf_aligned, result.dkim_aligned),
            (Verdict.PASS, True, ("a.example.com",)),
        )
        self.assertEqual(
            result.why, "DKIM passed for a.example.com and SPF passed for a.example.com, which are aligned"
        )

    def test_international(self) -> None:
        """U-labels and A-labels are the same domain."""
        self.zone({"xn--bcher-kva.example": "v=DMARC1; p=reject; adkim=s"})
        result = self.judge("bücher.example", Authenticated(dkim_domains=("Bücher.example",)))
        self.assertEqual((result.verdict, result.domain), (Verdict.PASS, "xn--bcher-kva.example"))
        self.assertIs(self.judge("a..example").verdict, Verdict.PERMERROR)


class PolicyTests(DMARCTestCase):
    def test_subdomains(self) -> None:
        """The tag sp is for domains below the record's, np for those of them that do not exist; both default to the one before."""
        self.zone({"example.com": "v=DMARC1; p=none; sp=quarantine; np=reject"})
        for name, rrtype, record in (
            ("m.example.com", "MX", "x"),
            ("a.example.com", "A", "192.0.2.1"),
            ("s.example.com", "AAAA", "::1"),
        ):
            self.resolver.set(name, rrtype, [record])
        self.resolver.set("t.example.com", "TXT", [b"x"])
        for domain, policy in (
            ("example.com", Policy.NONE),
            ("m.example.com", Policy.QUARANTINE),
            ("a.example.com", Policy.QUARANTINE),
            ("s.example.com", Policy.QUARANTINE),
            ("t.example.com", Policy.REJECT),
            ("x.example.com", Policy.REJECT),
        ):
            with self.subTest(domain):
                self.assertIs(self.judge(domain).requested, policy)
        self.zone({"example.com": "v=DMARC1; p=reject"})
        self.assertIs(self.judge("x.example.com").requested, Policy.REJECT)
        self.assertEqual(self.resolver.lookups, 2)

    def test_sample(self) -> None:
        """Messages outside of the percentage are treated one step milder (RFC 7489 section 6.6.4)."""
        for policy, milder in (
            ("reject", Policy.QUARANTINE),
            ("quarantine", Policy.NONE),
            ("none", Policy.NONE),
        ):
            self.zone({"example.com": f"v=DMARC1; p={policy}; pct=30"})
            for drawn, disposition in (
                (29, Policy(policy)),
                (129, Policy(policy)),
                (30, milder),
                (99, milder),
            ):
                result = self.judge("example.com", entropy=drawn)
                self.assertEqual((result.disposition, result.requested), (disposition, Policy(policy)))
                self.assertEqual(result.sampled_out, drawn in {30, 99})

    def test_not_now(self) -> None:
        """When SPF or DKIM could not be checked, a failure is temporary, and a pass is a pass."""
        self.zone({"example.com": "v=DMARC1; p=reject"})
        result = self.judge("example.com", Authenticated(temporary=True))
        self.assertEqual((result.verdict, result.disposition), (Verdict.TEMPERROR, Policy.NONE))
        self.assertIs(
            self.judge("example.com", Authenticated("example.com", temporary=True)).verdict, Verdict.PASS
        )

    def test_time(self) -> None:
        """A result holds as long as the answers that led to it, and not where a sample, other names or what is not known now had a part."""
        passed = Authenticated("example.com")
        for record, domain, found, seconds in (
            ("p=reject; pct=50", "example.com", passed, 300),
            ("p=reject", "example.com", NOBODY, 300),
            ("p=reject; pct=50", "example.com", NOBODY, 0),
            ("p=reject", "example.com", Authenticated(temporary=True), 0),
            ("p=reject", "a.example.com", passed, 300),
            ("p=none; np=reject", "a.example.com", passed, 0),
            ("p=none; np=reject", "example.com", passed, 300),
        ):
            self.zone({"example.com": f"v=DMARC1; {record}"})
            self.assertEqual(self.judge(domain, found).ttl_seconds, seconds)
        self.assertEqual(self.judge("example.com", passed, tree_walk=True).ttl_seconds, 0)
        self.zone({"example.com": NoAnswerError("example.com", "TXT", "x")})
        self.assertEqual(self.judge("example.com").ttl_seconds, 0)
        self.zone({}, ttl_seconds=7)
        self.assertEqual(self.judge("example.com").ttl_seconds, 7)

    def test_reasons(self) -> None:
        """A failure is explained with what passed, and whose policy it is."""
        self.zone({"example.com": "v=DMARC1; p=reject"})
        self.assertEqual(
            self.judge("example.com").why, "neither SPF nor DKIM passed; the policy of example.com is reject"
        )
        self.assertEqual(
            self.judge("a.example.com", Authenticated("list.example.net")).why,
            "list.example.net passed and is not aligned with a.example.com; the policy of example.com is reject",
        )

    def test_many_signatures(self) -> None:
        """Of a thousand signatures fifty are looked at."""
        self.zone({"example.com": "v=DMARC1; p=reject"})
        domains = (*(f"x{n}.example.net" for n in range(1000)), "example.com")
        self.assertIs(self.judge("example.com", Authenticated(dkim_domains=domains)).verdict, Verdict.FAIL)


class DestinationTests(DMARCTestCase):
    def check(self, rua: str, answers: dict[str, Any], **kind: bool) -> tuple[Destination, ...]:
        """The destinations of a record at example.com."""
        resolver = ZoneResolver(
            {(f"example.com._report._dmarc.{host}", "TXT"): found for host, found in answers.items()}
        )
        uris = parse_record(f"v=DMARC1; p=none; rua={rua}").aggregate
        return self.ended(check_destinations(resolver, "example.com", uris, **kind))

    def test_own(self) -> None:
        """Addresses of the same organisation need no permission."""
        (one,) = self.check("mailto:a@reports.example.com", {})
        self.assertEqual((one.allowed, one.uris), (True, (one.wanted,)))

    def test_strangers(self) -> None:
        """Another's address needs a record there."""
        rua = "mailto:a@x.example,mailto:a@y.example,mailto:a@z.example,mailto:a@w.example"
        answers = {
            "x.example": [b"v=DMARC1"],
            "y.example": [b"v=spf1"],
            "w.example": NoAnswerError("", "", "time-out"),
        }
        found = self.check(rua, answers)
        self.assertEqual(
            [(one.allowed, one.temporary) for one in found],
            [(True, False), (False, False), (False, False), (False, True)],
        )
        self.assertEqual([one.host for one in found], ["x.example", "y.example", "z.example", "w.example"])

    def test_instead(self) -> None:
        """The host may name other addresses at itself; naming one elsewhere makes all void."""
        (one,) = self.check("mailto:a@x.example", {"x.example": [b"v=DMARC1; rua=mailto:b@x.example!1k"]})
        self.assertEqual([uri.address for uri in one.uris], ["b@x.example"])
        (one,) = self.check("mailto:a@x.example", {"x.example": [b"v=DMARC1; rua=mailto:b@victim.example"]})
        self.assertEqual((one.allowed, one.uris), (False, ()))
        (one,) = self.check(
            "mailto:a@x.example", {"x.example": [b"v=DMARC1; rua=mailto:b@x.example"]}, failure=True
        )
        self.assertEqual([uri.address for uri in one.uris], ["a@x.example"])

    def test_no_mail(self) -> None:
        """Addresses that are none for mail are not used."""
        for one in self.check("https://x.example/,mailto:a@x..example,mailto:nobody", {}):
            self.assertEqual((one.allowed, one.host), (False, ""))
