"""Keys about lists of senders and spam traps that do not fit together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.test_rulechecks import HEAD, problems


class SenderTests(SynchronousTestCase):
    def test_lists(self) -> None:
        """Entries that are none are named."""
        good = 'allow_senders = ["a@b.example", ".b.example", "192.0.2.0/24", "bank.example dmarc"]\n'
        self.assertEqual(problems(HEAD + good), [])
        found = problems(HEAD + 'block_senders = ["good.example", "not one", ""]\n')
        self.assertEqual(len(found), 2)
        self.assertIn('accounts.alice.block_senders[1]: "not one" found', found[0])

    def test_traps(self) -> None:
        """A trap is a local part, without a suffix."""
        head = '[domains."example.org"]\nspam_traps = [%s]\n'
        self.assertEqual(problems(head % '"trap", "info.2019"'), [])
        for trap in ('"trap@example.org"', '""', '"a+b"', '"two words"'):
            self.assertEqual(len(problems(head % trap)), 1, trap)
