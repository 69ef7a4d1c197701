"""Lists in the DNS: questions, answers, and which lists are asked."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.task import Clock

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dnsbl import Health, Listing, Lists, check_health, check_name, check_zone, query_name
from tests.mailauth.asking import AskingTestCase, SlowResolver

CLIENT = ip_address("192.0.2.99")
SIX = ip_address("2001:db8:1:2:3:4:567:89ab")
MAPPED = ".".join("2000") + "." + ".".join("00f7") + "." + ".".join("ffff") + ".0" * 20


def entries(zone: str, *names: str) -> dict[tuple[str, str], Any]:
    """Entries of a list that is well."""
    return {(f"{name}.{zone}", "A"): ["127.0.0.2"] for name in ("2.0.0.127", *names)}


class QuestionTests(AskingTestCase):
    def test_names(self) -> None:
        """The octets of IPv4 and the digits of IPv6 are asked for backwards, as in RFC 5782 sections 2.1 and 2.4."""
        self.assertEqual(query_name("bad.example.com", CLIENT), "99.2.0.192.bad.example.com")
        self.assertEqual(
            query_name("ugly.example.com", SIX),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ugly.example.com",
        )
        self.assertEqual(query_name("z", ip_address("::ffff:7f00:2")), MAPPED + ".z")

    def test_listed(self) -> None:
        """An entry has its codes and its text; an address mapped to IPv6 is that of IPv4."""
        zone: dict[tuple[str, str], Any] = {
            ("99.2.0.192.bl.example", "A"): ["127.0.0.4", "127.0.0.2"],
            ("99.2.0.192.bl.example", "TXT"): [b"see\r\nhttp://x.example/"],
        }
        for ip in (CLIENT, ip_address("::ffff:192.0.2.99")):
            self.assertEqual(
                self.ended(check_zone(ZoneResolver(zone), "bl.example", ip)),
                Listing("bl.example", ("127.0.0.2", "127.0.0.4"), "see??http://x.example/"),
            )
        zone["99.2.0.192.bl.example", "TXT"] = NoAnswerError("", "", "time-out")
        found = self.ended(check_zone(ZoneResolver(zone), "bl.example", CLIENT))
        self.assertEqual(found and found.text, "")

    def test_not_listed(self) -> None:
        """Without an entry the client is not listed."""
        self.assertIsNone(self.ended(check_zone(ZoneResolver(), "bl.example", CLIENT)))

    def test_what_is_no_entry(self) -> None:
        """An answer outside of 127.0.0.0/8, or one that says that the list does not serve us, is no entry."""
        for code in ("192.0.2.7", "127.255.255.254"):
            resolver = ZoneResolver({("99.2.0.192.bl.example", "A"): ["127.0.0.2", code]})
            with self.assertRaises(NoAnswerError):
                self.ended(check_zone(resolver, "bl.example", CLIENT))

    def test_domains(self) -> None:
        """Lists of domains are asked for the name."""
        found = self.ended(
            check_name(
                ZoneResolver({("bad.example.dbl.example", "A"): ["127.0.1.2"]}), "dbl.example", "bad.example"
            )
        )
        self.assertEqual(found, Listing("dbl.example", ("127.0.1.2",)))


class HealthTests(AskingTestCase):
    def health(self, zone: dict[tuple[str, str], Any]) -> Health:
        return self.ended(check_health(ZoneResolver(zone), "bl.example"))

    def test_well(self) -> None:
        """A list with the test entries is well, for IPv4, for IPv6, or both."""
        four, six = entries("bl.example"), {(f"{MAPPED}.bl.example", "A"): ["127.0.0.2"]}
        self.assertEqual(self.health(four), Health("bl.example", usable=True))
        self.assertEqual(self.health(six), Health("bl.example", usable=True, ipv6=True))
        self.assertEqual(self.health({**four, **six}), Health("bl.example", usable=True, ipv6=True))
        six = {(f"{MAPPED}.bl.example", "A"): NoAnswerError("", "", "time-out")}  # type: ignore[dict-item]
        self.assertEqual(self.health({**four, **six}), Health("bl.example", usable=True))
        self.assertTrue(self.health(six).temporary)

    def test_lists_the_world(self) -> None:
        """A list that has what no list has cannot be used."""
        self.assertFalse(self.health(entries("bl.example", "1.0.0.127")).usable)
        everything = {**entries("bl.example"), (f"{MAPPED}.bl.example", "A"): ["127.0.0.2"]}
        everything[f"1{MAPPED[1:]}.bl.example", "A"] = ["127.0.0.2"]
        self.assertFalse(self.health(everything).usable)

    def test_lists_nothing(self) -> None:
        """A list without the test entry cannot be used, and one that does not answer cannot for now."""
        health = self.health({})
        self.assertEqual((health.usable, health.temporary), (False, False))
        health = self.health({("1.0.0.127.bl.example", "A"): NoAnswerError("", "", "time-out")})
        self.assertEqual((health.usable, health.temporary), (False, True))


class ListsTests(AskingTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.resolver = ZoneResolver(
            {
                **entries("one.example"),
                **entries("two.example", "99.2.0.192"),
                **entries("three.example", "99.2.0.192"),
            }
        )
        self.zones = ("dead.example", "one.example", "two.example", "three.example")
        self.lists = Lists(self.resolver, self.clock, self.zones)

    def test_order(self) -> None:
        """Lists are asked in order, those that are not well are passed over, and the first that has the client ends it."""
        outcome = self.ended(self.lists.check(CLIENT))
        self.assertEqual(outcome.listed, Listing("two.example", ("127.0.0.2",)))
        self.assertEqual(outcome.asked, ("one.example", "two.example"))
        self.assertEqual([zone for zone, _ in outcome.skipped], ["dead.example"])
        self.assertFalse(any("three" in name for name, _ in self.resolver.asked))

    def test_health_is_remembered(self) -> None:
        """The health of a list is looked at once in four hours."""
        self.ended(self.lists.check(CLIENT))
        before = self.resolver.lookups
        self.clock.advance(4 * 3600 - 1)
        self.ended(self.lists.check(CLIENT))
        self.assertEqual(self.resolver.lookups, before + 3)
        self.clock.advance(2)
        self.resolver.set("2.0.0.127.dead.example", "A", ["127.0.0.2"])
        self.assertTrue(self.ended(self.lists.health("dead.example")).usable)

    def test_no_answer_is_remembered_shortly(self) -> None:
        """A list that did not answer is looked at again after five minutes."""
        self.resolver.set("1.0.0.127.dead.example", "A", NoAnswerError("", "", "time-out"))
        self.assertFalse(self.ended(self.lists.health("dead.example")).usable)
        self.resolver.set("1.0.0.127.dead.example", "A", [])
        self.resolver.set("2.0.0.127.dead.example", "A", ["127.0.0.2"])
        self.assertFalse(self.ended(self.lists.health("dead.example")).usable)
        self.clock.advance(301)
        self.assertTrue(self.ended(self.lists.health("dead.example")).usable)

    def test_no_answer(self) -> None:
        """A list that does not answer for a client is passed over."""
        self.resolver.set("99.2.0.192.two.example", "A", NoAnswerError("", "", "time-out"))
        outcome = self.ended(self.lists.check(CLIENT))
        self.assertEqual(outcome.listed and outcome.listed.zone, "three.example")
        self.assertEqual([zone for zone, _ in outcome.skipped], ["dead.example", "two.example"])

    def test_time(self) -> None:
        """Lists that are left when the time is over are passed over."""
        lists = Lists(SlowResolver(self.resolver, self.clock, 20.0), self.clock, self.zones)
        outcome = self.ended(lists.check(CLIENT))
        self.assertIsNone(outcome.listed)
        self.assertEqual([zone for zone, _ in outcome.skipped], list(self.zones))
