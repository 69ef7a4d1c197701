"""Where nothing can be validated, mail still comes in."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.answers import Answer, BogusError, NoAnswerError
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.server.verification.tolerance import TolerantResolver

BOGUS = BogusError("example.org", "TXT", "no signatures")


class TolerantTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A resolver that finds something bogus, and one that does not look."""
        self.clock = Clock()
        self.strict = ZoneResolver({("example.org", "TXT"): BOGUS, (".", "NS"): ["a.root.example"]})
        self.plain = ZoneResolver({("example.org", "TXT"): [b"text"]})
        self.made = 0
        self.resolver = TolerantResolver(self.strict, self.make, self.clock)

    def make(self) -> ZoneResolver:
        """The plain one."""
        self.made += 1
        return self.plain

    def asked(self) -> Deferred[Answer]:
        """A question."""
        return Deferred.fromCoroutine(self.resolver.lookup("example.org", "TXT"))

    def test_one_name(self) -> None:
        """A name that is bogus under a good root is so."""
        self.failureResultOf(self.asked(), BogusError)
        self.assertEqual(self.made, 0)

    def test_nothing(self) -> None:
        """Where the root is bogus, questions are asked without signatures, for ten minutes, and with one line in the log."""
        self.strict.set(".", "NS", BogusError(".", "NS", "no signatures"))
        for _ in range(3):
            self.assertEqual(self.successResultOf(self.asked()).records, (b"text",))
        self.assertEqual((self.made, len(self.strict.asked)), (1, 2))
        self.clock.advance(601)
        self.strict.set("example.org", "TXT", [b"signed"])
        self.assertEqual(self.successResultOf(self.asked()).records, (b"signed",))

    def test_silence(self) -> None:
        """A root that does not answer proves nothing."""
        self.strict.set(".", "NS", NoAnswerError(".", "NS", "no answer in time"))
        self.failureResultOf(self.asked(), BogusError)

    def test_other_trouble(self) -> None:
        """Any other failure stays what it is."""
        self.strict.set("example.org", "TXT", NoAnswerError("example.org", "TXT", "SERVFAIL"))
        self.failureResultOf(self.asked(), NoAnswerError)
        self.assertEqual(len(self.strict.asked), 1)
