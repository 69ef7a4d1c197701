"""What words are worth, and what becomes of it: known answers."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.junk.scoring import Totals, weigh, worths
from moxtwisted.junk.tokens import digest
from tests.junk.messages import found_in, message

HUNDRED = Totals(ham=100, junk=100)


class WorthTests(SynchronousTestCase):
    def worth(self, ham: int, junk: int, learned: Totals = HUNDRED) -> float:
        """Of a word in so many messages without HTML."""
        return worths([(1, ham, junk, 0, 0)], learned, html=False).get(1, 0.0)

    def test_known(self) -> None:
        """(j - h) / (j + h), pulled towards 0 by n / (n + 0.4)."""
        self.assertAlmostEqual(self.worth(0, 1), 1 / 1.4)
        self.assertAlmostEqual(self.worth(0, 10), 10 / 10.4)
        self.assertAlmostEqual(self.worth(10, 0), -10 / 10.4)
        self.assertAlmostEqual(self.worth(10, 30), 0.5 * 40 / 40.4)
        self.assertAlmostEqual(self.worth(10, 10, Totals(ham=100, junk=300)), -0.5 * 20 / 20.4)

    def test_nothing(self) -> None:
        """What stands in both alike is worth nothing, and nothing is worth anything while one kind is not known."""
        self.assertEqual(self.worth(10, 11), 0.0)
        self.assertEqual(self.worth(10, 0, Totals(ham=10)), 0.0)
        self.assertEqual(self.worth(0, 0), 0.0)

    def test_form(self) -> None:
        """A word that all messages with HTML have says nothing in one of them."""
        learned = Totals(ham=1000, junk=1000, html_ham=100, html_junk=900)
        rows = [(1, 100, 900, 100, 900)]
        self.assertEqual(worths(rows, learned, html=True), {})
        self.assertGreater(worths(rows, Totals(ham=1000, junk=1000, html_junk=900), html=False)[1], 0.5)

    @settings(max_examples=200)
    @given(st.lists(st.integers(0, 50), min_size=8, max_size=8))
    def test_bounds(self, n: list[int]) -> None:
        """Whatever was learned, worth is between -1 and 1."""
        learned = Totals(n[0] + n[1] + n[4] + n[5], n[2] + n[3] + n[6] + n[7], n[1] + n[5], n[3] + n[7])
        rows = [(1, n[0] + n[1], n[2] + n[3], n[1], n[3])]
        for html in (False, True):
            for worth in worths(rows, learned, html=html).values():
                self.assertLess(abs(worth), 1.0)


class VerdictTests(SynchronousTestCase):
    learned = Totals(ham=100, junk=100)

    def test_sum(self) -> None:
        """The logarithms of the odds are added, what speaks for a message twice; the strongest are named first."""
        found = found_in(message("alpha beta gamma"))
        worth = {digest("alpha"): 0.5, digest("beta"): -0.8, digest("gamma"): 0.0}
        verdict = weigh(found, worth, self.learned)
        self.assertAlmostEqual(verdict.sum, math.log(3) - 2 * math.log(9))
        self.assertAlmostEqual(verdict.probability, 1 / (1 + math.exp(0.4 * (-4.9 - verdict.sum))))
        self.assertEqual([word.token for word in verdict.words], ["beta", "alpha"])
        self.assertAlmostEqual(verdict.words[0].probability, 0.1)
        self.assertTrue(verdict.significant)

    def test_strongest(self) -> None:
        """Of each view only the strongest count, and none without bound."""
        found = found_in(message(" ".join(f"word{chr(97 + n)}" for n in range(20))))
        verdict = weigh(found, dict.fromkeys(found.views[3], 0.9999), self.learned)
        self.assertEqual(verdict.sum, 4 * 3.0)

    def test_not_significant(self) -> None:
        """Who has learned little says so, who has learned one kind only says nothing."""
        found = found_in(message("alpha"))
        self.assertFalse(weigh(found, {digest("alpha"): 0.9}, Totals(ham=49, junk=900)).significant)
        self.assertFalse(weigh(found, {digest("alpha"): 0.9}, Totals(ham=900, junk=19)).significant)
        self.assertEqual(weigh(found, {digest("alpha"): 0.9}, Totals(junk=900)).probability, 0.5)

    def test_extremes(self) -> None:
        """Sums far out are 0 and 1, no overflow."""
        found = found_in(message(" ".join(f"word{chr(97 + n)}" for n in range(20)), "Subject: a b c d word"))
        for worth, expected in ((1 - 1e-12, 1.0), (-1 + 1e-12, 0.0)):
            verdict = weigh(found, dict.fromkeys(found.numbers(), worth), self.learned)
            self.assertAlmostEqual(verdict.probability, expected, places=6)
