"""From the configuration to what the mailboxes of an account make of messages."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.compose.junkflags import junk_flags, remember_with
from moxtwisted.config.load import parse_domains, parse_static
from moxtwisted.config.schema import DomainsConfig
from moxtwisted.errors import ConfigurationError
from moxtwisted.store import junkflags
from moxtwisted.store.store import Store
from tests.config.test_load import DOMAINS, STATIC


def domains(line: str = "") -> DomainsConfig:
    """The configuration with this for alice."""
    alice = 'domain = "example.org"\n'
    return parse_domains(DOMAINS.replace(alice, alice + line, 1).encode(), parse_static(STATIC.encode()))


class JunkFlagsTests(SynchronousTestCase):
    def test_default(self) -> None:
        """Without configuration it is switched on, with the patterns of the store."""
        rules = junk_flags(domains(), "alice")
        assert rules is not None
        self.assertEqual((rules.junk, rules.neutral), (junkflags.DEFAULT_JUNK, junkflags.DEFAULT_NEUTRAL))
        self.assertEqual(rules.not_junk, "")
        self.assertIs(rules, junk_flags(domains(), "alice"))

    def test_switched_off(self) -> None:
        """It can be switched off for an account, and accounts that are not there have none."""
        self.assertIsNone(junk_flags(domains("automatic_junk_flags = { enabled = false }\n"), "alice"))
        self.assertIsNone(junk_flags(domains(), "nobody"))

    def test_own_patterns(self) -> None:
        """The patterns are the account's; where it keeps refused mail is neutral whatever the name."""
        line = 'automatic_junk_flags = { junk_mailboxes = "^bad" }\nrejects_mailbox = "Refused"\n'
        rules = junk_flags(domains(line), "alice")
        assert rules is not None
        self.assertEqual(rules.rule(("Bad/worse", "")), "junk")
        self.assertEqual(rules.rule(("Refused", "")), "neutral")

    def test_no_pattern(self) -> None:
        """What is no regular expression is a problem of the file, named with its key."""
        error = self.assertRaises(
            ConfigurationError, domains, 'automatic_junk_flags = { neutral_mailboxes = "a(" }\n'
        )
        [problem] = error.problems
        self.assertIn("automatic_junk_flags.neutral_mailboxes", str(problem))
        self.assertIn("a regular expression expected", str(problem))

    def test_store(self) -> None:
        """A store that is told has them in its accounts, and knows organizational domains."""
        store = Store.open(None, Path(self.mktemp()), None, threads=0)
        self.addCleanup(lambda: self.successResultOf(store.close()))
        account = self.successResultOf(store.create_account("alice"))
        self.assertIsNone(account.junk_flags)
        remember_with(store, domains())
        self.assertIsNotNone(account.junk_flags)
        self.assertEqual(store.organization("a.b.co.uk"), "b.co.uk")
        remember_with(store, domains("automatic_junk_flags = { enabled = false }\n"))
        self.assertIsNone(account.junk_flags)
