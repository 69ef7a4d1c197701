"""Verdicts on thousands of generated signatures, whole and changed, are dkimpy's, or a section of RFC 6376 says why not."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxtwisted.mailauth.dkim.verify import Status
from tests.mailauth.corpus.messages import message
from tests.mailauth.corpus.size import numbers
from tests.mailauth.dkim.beside import dkim, explanation, ours, theirs


class MessageTests(SynchronousTestCase):
    def setUp(self) -> None:
        if dkim is None:
            raise SkipTest("needs dkimpy (in the extra [dev])")

    def test_corpus(self) -> None:
        """Every case is judged alike, or differs by a section of the RFC; most are judged alike, and many pass."""
        sections: Counter[str] = Counter()
        passed = 0
        for number in numbers():
            octets, records = message(number)
            verification, accepted = ours(octets, records=records), theirs(octets, records)
            passed += accepted
            section = ""
            if (verification.status is Status.PASS) is not accepted:
                section = explanation(octets, verification, accepted, records)
                self.assertNotEqual(
                    section,
                    "",
                    f"case {number}: {accepted} {verification.reason} {verification.detail} {octets!r} {records}",
                )
            sections[section] += 1
        self.assertGreater(sections[""], 0.9 * sections.total(), sections)
        self.assertGreater(passed, 0.4 * sections.total())

    def test_same_everywhere(self) -> None:
        """A number makes one case, whenever it is asked for."""
        for number in range(100):
            self.assertEqual(message(number), message(number))
