"""The resolver over a dictionary."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError, Security
from moxtwisted.dns.records import MX
from moxtwisted.dns.testing import ZoneResolver


class ZoneResolverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.resolver = ZoneResolver(
            {
                ("example.org", "MX"): [MX(10, "mail.example.org")],
                ("a.b.example.org", "A"): ["192.0.2.1"],
                ("www.example.org", "CNAME"): ["a.b.example.org"],
                ("loop.example.org", "CNAME"): ["loop.example.org"],
                ("broken.example.org", "TXT"): NoAnswerError("broken.example.org", "TXT", "SERVFAIL"),
            }
        )

    def ask(self, name: str, rrtype: str) -> Answer:
        return self.successResultOf(Deferred.fromCoroutine(self.resolver.lookup(name, rrtype)))

    def test_interface(self) -> None:
        """It is a resolver."""
        verifyObject(IResolver, self.resolver)

    def test_links(self) -> None:
        """CNAMEs are followed, to the name where they end."""
        answer = self.ask("WWW.Example.org.", "A")
        self.assertEqual((answer.records, answer.canonical_name), (("192.0.2.1",), "a.b.example.org"))
        self.assertEqual(self.resolver.asked, [("www.example.org", "A")])

    def test_absence(self) -> None:
        """A name with others below it exists, one without does not, and neither has records."""
        self.assertTrue(self.ask("b.example.org", "A").exists)
        self.assertFalse(self.ask("c.example.org", "A").exists)
        self.resolver.remove("a.b.example.org", "A")
        self.assertFalse(self.ask("b.example.org", "A").exists)

    def test_failures(self) -> None:
        """An exception in the dictionary is raised, and so is one for a loop."""
        for name, rrtype in (("broken.example.org", "TXT"), ("loop.example.org", "A")):
            self.failureResultOf(Deferred.fromCoroutine(self.resolver.lookup(name, rrtype)), NoAnswerError)

    def test_security(self) -> None:
        """The state is what the test says, and less where a name on the way is insecure."""
        self.resolver.security = Security.SECURE
        self.assertIs(self.ask("www.example.org", "A").security, Security.SECURE)
        self.resolver.insecure.add("a.b.example.org")
        self.assertIs(self.ask("www.example.org", "A").security, Security.INSECURE)
