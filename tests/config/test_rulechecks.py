"""Keys about judging mail that do not fit together."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.load import parse_domains, parse_static
from moxtwisted.config.patterns import PatternError, compile_pattern
from moxtwisted.errors import ConfigurationError

STATIC = """hostname = "mx.example.org"
listeners.public.ips = ["127.0.0.1"]
listeners.public.smtp.port = 0
postmaster.account = "alice"
"""
HEAD = '[domains."example.org"]\n[accounts.alice]\ndomain = "example.org"\n'
ADDRESS = '[accounts.alice.addresses."alice@example.org"]\n'
AT = 'domains.conf: accounts.alice.addresses."alice@example.org".rulesets[0]'


def problems(text: str) -> list[str]:
    """What is said of a domains.conf."""
    try:
        parse_domains(text.encode())
    except ConfigurationError as e:
        return list(e.problems)
    return []


def of_ruleset(ruleset: str) -> list[str]:
    """What is said of one rule set."""
    return problems(HEAD + ADDRESS + f"rulesets = [{{{ruleset}}}]\n")


class Rulesets(SynchronousTestCase):
    """Rule sets."""

    def test_good(self) -> None:
        """One of everything is fine."""
        self.assertEqual(
            of_ruleset(
                'smtp_mail_from_regexp = "@x", verified_domain = "münster.example", is_forward = true, mailbox = "Lists", '
                'headers_regexp = {"^list-id$" = "<fans\\\\.example>"}, accept_rejects_to_mailbox = "Refused", comment = "x"'
            ),
            [],
        )

    def test_all_mistakes(self) -> None:
        """Each mistake is told with the path of its key."""
        found = of_ruleset(
            'smtp_mail_from_regexp = "(", headers_regexp = {"[" = "(?=x)"}, verified_domain = "-", mailbox = "a//b"'
        )
        self.assertEqual(
            found,
            [
                f'{AT}.smtp_mail_from_regexp: "(" found, a regular expression expected: missing ): (',
                f'{AT}.headers_regexp."[": "[" found, a regular expression as name expected: missing ]: [',
                f'{AT}.headers_regexp."[": "(?=x)" found, a regular expression expected: invalid perl operator: (?=',
                f'{AT}.verified_domain: "-" found, a domain name expected: domain name has a character or a hyphen where none may be',
                f'{AT}.mailbox: "a//b" found, a mailbox expected: mailbox name has an empty element',
            ],
        )

    def test_conditions(self) -> None:
        """A rule set without a condition would match nothing; forwarding needs two."""
        self.assertIn("no condition found", of_ruleset('mailbox = "Lists"')[0])
        self.assertIn("is_forward", of_ruleset('verified_domain = "x.example", is_forward = true')[0])

    def test_inbox(self) -> None:
        """What would be refused is not to be taken into INBOX."""
        (found,) = of_ruleset('verified_domain = "x.example", accept_rejects_to_mailbox = "inbox"')
        self.assertIn("another mailbox than INBOX expected", found)


class Accounts(SynchronousTestCase):
    """Mailboxes of accounts."""

    def test_mailboxes(self) -> None:
        """Rejects and the box for introductions are two mailboxes beside INBOX."""
        self.assertEqual(problems(HEAD + 'introbox = "Introbox"\nrejects_mailbox = ""\n'), [])
        (found,) = problems(HEAD + 'introbox = "Rejects"\n')
        self.assertEqual(
            found, 'domains.conf: accounts.alice.introbox: "Rejects" found, which is rejects_mailbox already'
        )
        self.assertIn("another mailbox than INBOX", problems(HEAD + 'rejects_mailbox = "INBOX"\n')[0])

    def test_smtp_error(self) -> None:
        """An error of an address begins with one of two codes."""
        self.assertEqual(problems(HEAD + ADDRESS + 'smtp_error = "550 gone"\n'), [])
        self.assertEqual(len(problems(HEAD + ADDRESS + 'smtp_error = "450 gone"\n')), 1)


class Patterns(SynchronousTestCase):
    """Regular expressions."""

    def test_search(self) -> None:
        """They are searched for without regard to case."""
        self.assertTrue(compile_pattern("^MARY@").search("mary@a.example"))
        self.assertFalse(compile_pattern("^ary").search("mary@a.example"))
        self.assertTrue(compile_pattern("grüße").search("viele grüße"))

    def test_linear(self) -> None:
        """A pattern that others choke on ends."""
        self.assertFalse(compile_pattern("^(a+)+$").search("a" * 4000 + "b"))

    def test_bounded(self) -> None:
        """What would be large when compiled is refused."""
        for text in ("(x{500}){500}", "\ud800"):
            with self.assertRaises(PatternError):
                compile_pattern(text)


class Manual(SynchronousTestCase):
    """What the manual shows."""

    def test_examples(self) -> None:
        """Each piece of a configuration on the page about refused mail is one."""
        page = (Path(__file__).parents[2] / "docs" / "howto" / "refused.rst").read_text()
        pieces = re.findall(r"code-block:: toml\n\n((?: +\S.*\n|\n)+)", page)
        self.assertEqual(len(pieces), 4)
        for piece in pieces:
            text = dedent(piece)
            if "[judgement]" in text:
                parse_static(f"{STATIC}{text}".encode())
            elif "[accounts.alice]" in text:
                self.assertEqual(problems(text + 'domain = "example.org"\n'), [])
            else:
                self.assertEqual(problems(HEAD + text), [])
