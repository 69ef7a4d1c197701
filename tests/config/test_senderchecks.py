"""Keys about lists of senders and spam traps that do not fit together."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.load import examine, parse_domains, parse_static
from moxtwisted.errors import ConfigurationError
from tests.config.test_load import DOMAINS, STATIC
from tests.config.test_rulechecks import HEAD, problems


class SenderTests(SynchronousTestCase):
    def test_lists(self) -> None:
        """Entries that are none are named."""
        good = 'allow_senders = ["a@b.example", ".b.example", "192.0.2.0/24", "bank.example dmarc"]\n'
        self.assertEqual(problems(HEAD + good), [])
        found = problems(HEAD + 'block_senders = ["good.example", "not one", ""]\n')
        self.assertEqual(len(found), 2)
        self.assertIn('accounts.alice.block_senders[1]: "not one" found', found[0])
        self.assertIn("all below it .b.example", problems(HEAD + 'allow_senders = ["*@b.example"]\n')[0])

    def test_files(self) -> None:
        """The server starts without a file, and without a line that is no entry; the operator is told of both."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "domains.conf").write_text(DOMAINS)
        (directory / "block.txt").write_text("bad.example\n192.0.2.0/99\n*.worse.example\n")
        path = directory / "mox.conf"
        path.write_text(f'{STATIC}[senders]\nallow_files = ["allow.txt"]\nblock_files = ["block.txt"]\n')
        notes = [note for note in examine(path).notes if "senders" in note]
        self.assertEqual(len(notes), 3)
        self.assertIn("senders.allow_files[0]", notes[0])
        self.assertIn("block.txt:2: left out", notes[1])
        self.assertIn("block.txt:3: left out: for a whole domain write worse.example", notes[2])

    def test_scanners_off(self) -> None:
        """Who does without a scanner names one that can be there; milters that are there."""
        static = parse_static((STATIC + '[scanners.milters.dkim]\naddress = "127.0.0.1:8891"\n').encode())
        head = '[domains."example.org"]\nscanners_off = [%s]\n[accounts.alice]\ndomain = "example.org"\n'
        account = parse_domains((head % '"rspamd", "clamd", "milters.dkim"').encode(), static).accounts[
            "alice"
        ]
        self.assertIsNone(account.scanners_off)
        for name in ("milters.dkmi", "milter", "virus"):
            error = self.assertRaises(
                ConfigurationError, parse_domains, (head % f'"rspamd", "{name}"').encode(), static
            )
            (problem,) = error.problems
            self.assertIn(f'scanners_off[1]: "{name}" found', problem)

    def test_traps(self) -> None:
        """A trap is a local part, without a suffix."""
        head = '[domains."example.org"]\nspam_traps = [%s]\n'
        self.assertEqual(problems(head % '"trap", "info.2019"'), [])
        for trap in ('"trap@example.org"', '""', '"a+b"', '"two words"', '"Postmaster"'):
            self.assertEqual(len(problems(head % trap)), 1, trap)

    def test_traps_of_nobody(self) -> None:
        """An address that somebody has, or that is an alias, is no trap, in whatever spelling."""
        head = '[domains."example.org"]\nspam_traps = ["trap", "Alice", "team"]\n'
        alias = '[domains."example.org".aliases.team]\naddresses = ["alice@example.org"]\n'
        account = '[accounts.alice]\ndomain = "example.org"\n[accounts.alice.addresses."alice@example.org"]\n'
        found = problems(head + alias + account)
        self.assertEqual(len(found), 2)
        self.assertIn(
            'spam_traps[1]: "Alice" found, an address that nobody has expected: accounts.alice.addresses.',
            found[0],
        )
        self.assertIn(
            'spam_traps[2]: "team" found, an address that nobody has expected: domains."example.org".aliases.team',
            found[1],
        )
