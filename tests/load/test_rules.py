"""Rules of refusals and delays."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.load.rules import Drawn, Fate, Rules, RulesError
from tests.load.wire import dice


class RuleTests(SynchronousTestCase):
    """What is drawn."""

    def test_always_and_never(self) -> None:
        """A command without a percentage always has its fate, one that is not named none."""
        rules = Rules()
        self.assertFalse(rules)
        rules.refuse(Fate.HARD, "mail, RCPT:0 .")
        self.assertTrue(rules)
        self.assertEqual(rules.draw("MAIL", random.random), Drawn(Fate.HARD))
        self.assertEqual(rules.draw("RCPT", random.random), Drawn(None))
        self.assertEqual(rules.draw(".", random.random), Drawn(Fate.HARD))
        self.assertIsNone(rules.draw("DATA", random.random))

    def test_percentages(self) -> None:
        """Fates of one command share the hundred."""
        rules = Rules()
        rules.refuse(Fate.SOFT, "RCPT:10%")
        rules.refuse(Fate.HARD, "RCPT:20")
        drawn = [rules.draw("RCPT", dice(at / 100 + 0.001)) for at in range(100)]
        fates = [each.fate for each in drawn if each is not None]
        self.assertEqual([fates.count(fate) for fate in (Fate.SOFT, Fate.HARD, None)], [10, 20, 70])

    def test_delays(self) -> None:
        """A delay is that long, with odds as many times as the dice was too low."""
        rules = Rules()
        rules.delay("DATA:1.5")
        rules.delay(".:2:50")
        self.assertEqual(rules.draw("DATA", random.random), Drawn(None, 1.5))
        self.assertEqual(rules.draw(".", dice(0.9)), Drawn(None, 2.0))
        self.assertEqual(rules.draw(".", dice(0.1, 0.49, 0.5)), Drawn(None, 6.0))
        self.assertEqual(rules.draw(".", dice(0.0)), Drawn(None, 200.0))

    def test_what_cannot_be_read(self) -> None:
        """Unknown commands, numbers that are none, and more than a hundred percent are errors that say so."""
        for text in ("BDAT", "RCPT:x", "RCPT:101", "RCPT:-1", "RCPT:60,RCPT:60", "MAIL:nan", ""):
            with self.assertRaises(RulesError):
                Rules().refuse(Fate.SOFT, text)
        for text in ("DATA", "DATA:", "DATA:1:100", "XX:1", "DATA:1e9"):
            with self.assertRaises(RulesError):
                Rules().delay(text)
