"""Names that lead back to their address, or do not."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from moxtwisted.dns.answers import NoAnswerError, Security
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.iprev import IPRevResult, Verdict, check_iprev
from tests.mailauth.asking import AskingTestCase

REVERSE = "1.2.0.192.in-addr.arpa"


class IPRevTests(AskingTestCase):
    def check(self, zone: dict[tuple[str, str], Any], ip: str = "192.0.2.1", **more: Any) -> IPRevResult:
        self.resolver = ZoneResolver(zone, **more)
        return self.ended(check_iprev(self.resolver, ip_address(ip)))

    def test_pass(self) -> None:
        """One name that leads back is enough, whatever the others do."""
        zone = {
            (REVERSE, "PTR"): ["a.example", "b.example", "c.example"],
            ("a.example", "A"): NoAnswerError("a.example", "A", "time-out"),
            ("b.example", "A"): ["198.51.100.1", "192.0.2.1"],
        }
        result = self.check(zone)
        self.assertEqual((result.verdict, result.name, result.problem), (Verdict.PASS, "b.example", ""))
        self.assertIs(self.check(zone, security=Security.SECURE).security, Security.SECURE)

    def test_ipv6(self) -> None:
        """An IPv6 address is looked for among AAAA records, in any spelling; a mapped one is that of IPv4."""
        reverse = ip_address("2001:db8::1").reverse_pointer
        zone = {
            (reverse, "PTR"): ["a.example"],
            ("a.example", "AAAA"): ["2001:0db8:0::1"],
            ("a.example", "A"): ["192.0.2.1"],
        }
        self.assertIs(self.check(zone, "2001:db8::1").verdict, Verdict.PASS)
        zone = {(REVERSE, "PTR"): ["a.example"], ("a.example", "A"): ["192.0.2.1"]}
        self.assertIs(self.check(zone, "::ffff:192.0.2.1").verdict, Verdict.PASS)

    def test_fail(self) -> None:
        """Names that lead elsewhere, or nowhere, fail."""
        result = self.check(
            {(REVERSE, "PTR"): ["a.example", "b.example"], ("a.example", "A"): ["198.51.100.1"]}
        )
        self.assertEqual((result.verdict, result.names), (Verdict.FAIL, ("a.example", "b.example")))

    def test_no_name(self) -> None:
        """An address without a name is a permanent error (RFC 8601 section 3)."""
        self.assertIs(self.check({}).verdict, Verdict.PERMERROR)

    def test_no_answer(self) -> None:
        """While the DNS does not answer, the result is temporary."""
        self.assertIs(
            self.check({(REVERSE, "PTR"): NoAnswerError(REVERSE, "PTR", "x")}).verdict, Verdict.TEMPERROR
        )
        zone = {(REVERSE, "PTR"): ["a.example"], ("a.example", "A"): NoAnswerError("a.example", "A", "x")}
        self.assertIs(self.check(zone).verdict, Verdict.TEMPERROR)

    def test_many_names(self) -> None:
        """Of a thousand names ten are looked at."""
        self.check({(REVERSE, "PTR"): [f"n{n}.example" for n in range(1000)]})
        self.assertEqual(self.resolver.lookups, 11)
