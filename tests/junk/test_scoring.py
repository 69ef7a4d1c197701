"""What words weigh, and what becomes of it: known answers."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.junk.scoring import Totals, weigh, weights
from moxtwisted.junk.tokens import VIEWS, digest
from tests.junk.messages import found_in, message

HUNDRED = Totals(ham=100, junk=100)


class WeightTests(SynchronousTestCase):
    def weight(self, ham: int, junk: int, learned: Totals = HUNDRED) -> float:
        """Of a word in so many messages without HTML."""
        return weights([(1, ham, junk, 0, 0)], learned, html=False).get(1, 0.0)

    def test_known(self) -> None:
        """The logarithm of the odds, as if 0.6 messages more had been seen, half of them junk; for the message it counts 1.3 times."""
        self.assertAlmostEqual(self.weight(0, 1), math.log(1.3 / 0.3))
        self.assertAlmostEqual(self.weight(0, 10), math.log(10.3 / 0.3))
        self.assertAlmostEqual(self.weight(10, 0), -1.3 * math.log(10.3 / 0.3))
        self.assertAlmostEqual(self.weight(10, 30), math.log((30 * 80 + 0.6 * 40) / (10 * 80 + 0.6 * 40)))
        self.assertAlmostEqual(
            self.weight(10, 10, Totals(ham=100, junk=300)), -1.3 * math.log((40 + 0.8) / (40 / 3 + 0.8))
        )

    def test_strongest(self) -> None:
        """No word weighs more than odds of 150 to 1."""
        many = Totals(ham=10_000, junk=10_000)
        self.assertEqual(self.weight(0, 9_000, many), 5.0)
        self.assertEqual(self.weight(9_000, 0, many), -6.5)

    def test_nothing(self) -> None:
        """What stands in both alike weighs nothing, and nothing weighs anything while one kind is not known."""
        self.assertEqual(self.weight(10, 11), 0.0)
        self.assertEqual(self.weight(10, 0, Totals(ham=10)), 0.0)
        self.assertEqual(self.weight(0, 0), 0.0)

    def test_damaged(self) -> None:
        """Counts that cannot be weigh nothing."""
        self.assertEqual(weights([(1, 0, 3, 5, 0), (2, 0, 0, 0, 5)], HUNDRED, html=False), {})

    def test_form(self) -> None:
        """A word that all messages with HTML have says nothing in one of them."""
        learned = Totals(ham=1000, junk=1000, html_ham=100, html_junk=900)
        rows = [(1, 100, 900, 100, 900)]
        self.assertEqual(weights(rows, learned, html=True), {})
        self.assertGreater(weights(rows, Totals(ham=1000, junk=1000, html_junk=900), html=False)[1], 1.0)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(0, 50), min_size=8, max_size=8))
    def test_bounds(self, n: list[int]) -> None:
        """Whatever was learned, no weight is out of bounds."""
        learned = Totals(n[0] + n[1] + n[4] + n[5], n[2] + n[3] + n[6] + n[7], n[1] + n[5], n[3] + n[7])
        rows = [(1, n[0] + n[1], n[2] + n[3], n[1], n[3])]
        for html in (False, True):
            for weight in weights(rows, learned, html=html).values():
                self.assertTrue(-6.5 <= weight <= 5.0)


class VerdictTests(SynchronousTestCase):
    learned = Totals(ham=100, junk=100)

    def test_sum(self) -> None:
        """The weights are added; the strongest are named first."""
        found = found_in(message("alpha beta gamma"))
        weight = {digest("alpha"): 1.0, digest("beta"): -1.3 * math.log(9), digest("gamma"): 0.0}
        verdict = weigh(found, weight, self.learned)
        self.assertAlmostEqual(verdict.sum, 1.0 - 1.3 * math.log(9))
        self.assertAlmostEqual(verdict.probability, 1 / (1 + math.exp(0.21 * (5.0 - verdict.sum))))
        self.assertEqual([word.token for word in verdict.words], ["beta", "alpha"])
        self.assertAlmostEqual(verdict.words[0].probability, 0.1)
        self.assertTrue(verdict.significant)

    def test_strongest(self) -> None:
        """Of each view only the strongest count, on either side, and as many are named as are wanted."""
        found = found_in(message(" ".join(f"word{chr(97 + n)}" for n in range(26))))
        words = sorted(found.views[VIEWS.index("word")])
        weight = dict.fromkeys(words, 3.0)
        self.assertEqual(weigh(found, weight, self.learned).sum, 12 * 3.0)
        weight |= {number: -2.0 - place / 10 for place, number in enumerate(words[:3])}
        verdict = weigh(found, weight, self.learned, explain=20)
        self.assertAlmostEqual(verdict.sum, 12 * 3.0 - 2.0 - 2.1 - 2.2)
        self.assertEqual([round(word.weight, 1) for word in verdict.words], 12 * [3.0] + [-2.2, -2.1, -2.0])
        self.assertEqual(len({word.token for word in verdict.words}), 15)
        self.assertEqual(weigh(found, weight, self.learned, explain=0).words, ())

    def test_not_significant(self) -> None:
        """Who has learned little says so, who has learned one kind only says nothing."""
        found = found_in(message("alpha"))
        self.assertFalse(weigh(found, {digest("alpha"): 2.0}, Totals(ham=49, junk=900)).significant)
        self.assertFalse(weigh(found, {digest("alpha"): 2.0}, Totals(ham=900, junk=19)).significant)
        self.assertEqual(weigh(found, {digest("alpha"): 2.0}, Totals(junk=900)).probability, 0.5)

    def test_extremes(self) -> None:
        """Sums far out are 0 and 1, no overflow."""
        found = found_in(message(" ".join(f"word{chr(97 + n)}" for n in range(20)), "Subject: a b c d word"))
        for weight, expected in ((5.0, 1.0), (-6.5, 0.0)):
            verdict = weigh(found, dict.fromkeys(found.numbers(), weight), self.learned)
            self.assertAlmostEqual(verdict.probability, expected, places=5)
