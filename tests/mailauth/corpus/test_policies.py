"""Verdicts on thousands of generated SPF policies are pyspf's, or a section of RFC 7208 says why not."""

from __future__ import annotations

from collections import Counter

from tests.mailauth.corpus.policies import policy
from tests.mailauth.corpus.size import numbers
from tests.mailauth.spf.beside import BesideCase


class PolicyTests(BesideCase):
    def test_corpus(self) -> None:
        """Every case is judged alike, or differs by a section of the RFC; nearly all are judged alike."""
        sections: Counter[str] = Counter()
        for number in numbers():
            case = policy(number)
            try:
                section = self.difference(*case[:2], case.void_lookups, case.sender)
            except self.failureException as e:
                raise self.failureException(f"case {number}: {e}") from e
            sections[section] += 1
        self.assertGreater(sections[""], 0.95 * sections.total(), sections)

    def test_same_everywhere(self) -> None:
        """A number makes one case, whenever it is asked for."""
        for number in range(100):
            self.assertEqual(str(policy(number)), str(policy(number)))
