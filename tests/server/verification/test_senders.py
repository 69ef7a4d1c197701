"""Senders that cannot be written to, and messages to several."""

from __future__ import annotations

from ipaddress import IPv4Address

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.records import MX
from moxtwisted.server.verification.interfaces import SenderTrouble
from moxtwisted.server.verification.senders import SenderRules
from tests.server.verification.world import HELLO, IP, SlowResolver, World, path


class ReachableTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Zones."""
        self.world = World()

    def trouble(self, address: str) -> SenderTrouble | None:
        """What is wrong with a sender."""
        rules = SenderRules(self.world.resolver, self.world.clock)
        found: SenderTrouble | None = self.successResultOf(
            Deferred.fromCoroutine(rules.can_receive(path(address)))
        )
        return found

    def test_reachable(self) -> None:
        """A domain with an MX, or with an address of either kind, takes mail."""
        self.world.zones.set("six.example", "AAAA", ["2001:db8::1"])
        for address in ("a@sender.example", "a@out.sender.example", "a@six.example", "", "a@[192.0.2.1]"):
            self.assertIsNone(self.trouble(address), address)

    def test_unreachable(self) -> None:
        """One that does not exist, has neither, or says that it takes none, does not."""
        self.world.zones.set("null.example", "MX", [MX(0, ".")])
        self.world.zones.set("text.example", "TXT", [b"hello"])
        for domain in ("nowhere.example", "null.example", "text.example"):
            self.assertIs(self.trouble(f"a@{domain}"), SenderTrouble.NO_MAIL, domain)
        self.assertEqual(self.world.zones.asked.count(("nowhere.example", "A")), 0)

    def test_broken(self) -> None:
        """A DNS that does not answer is a temporary trouble."""
        self.world.zones.set("sender.example", "MX", NoAnswerError("sender.example", "MX", "SERVFAIL"))
        self.assertIs(self.trouble("a@sender.example"), SenderTrouble.UNKNOWN)

    def test_silent(self) -> None:
        """One that says nothing is so after the time."""
        rules = SenderRules(SlowResolver(self.world.zones, "sender.example"), self.world.clock)
        work = Deferred.fromCoroutine(rules.can_receive(path("a@sender.example")))
        self.world.clock.advance(19)
        self.assertNoResult(work)
        self.world.clock.advance(2)
        self.assertIs(self.successResultOf(work), SenderTrouble.UNKNOWN)


class SeveralTests(SynchronousTestCase):
    def may(self, ip: IPv4Address | None = IP, **settings: bool) -> bool:
        """Whether a message of the good sender may have several recipients."""
        world = World()
        begun = world.verifier().begin(ip, HELLO, path("a@sender.example"))
        rules = SenderRules(world.resolver, world.clock, **settings)  # type: ignore[arg-type]
        found: bool = self.successResultOf(Deferred.fromCoroutine(rules.may_have_recipients(begun)))
        return found

    def test_pass(self) -> None:
        """Only who passes SPF, where that is asked at all."""
        self.assertTrue(self.may())
        self.assertFalse(self.may(IP + 256))
        self.assertTrue(self.may(IP + 256, spf_for_several=False))
        self.assertTrue(self.may(None))
