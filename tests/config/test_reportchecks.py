"""The keys about addresses for reports."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.load import load, parse_domains, parse_static
from moxtwisted.config.schema import DMARCReports, DomainsConfig, TLSReports
from moxtwisted.errors import ConfigurationError

STATIC = """hostname = "mail.example.org"
[postmaster]
account = "alice"
[listeners.x]
ips = ["::1"]
[listeners.x.smtp]
"""
DOMAINS = """[domains."example.org"]
{more}
[domains."example.com"]
{other}
[accounts.alice]
domain = "example.org"
[accounts.alice.addresses]
"alice@example.org" = {{}}
[accounts.bob]
domain = "example.org"
"""
DMARC = 'dmarc_reports = {address = "dmarc@example.org", account = "alice"}'


class Checks(SynchronousTestCase):
    """What fits together."""

    def load(self, more: str = "", other: str = "", static: str = "") -> DomainsConfig:
        """Read both files."""
        octets = DOMAINS.format(more=more, other=other).encode()
        return parse_domains(octets, parse_static((STATIC + static).encode()))

    def refused(self, expected: str, more: str = "", other: str = "", static: str = "") -> None:
        """One problem is found."""
        error = self.assertRaises(ConfigurationError, self.load, more, other, static)
        self.assertEqual(len(error.problems), 1, error.problems)
        self.assertIn(expected, error.problems[0])

    def test_taken(self) -> None:
        """Addresses have mailboxes of their own, unless it is said otherwise; nobody has them without being told."""
        domain = self.load(DMARC + '\ntls_reports = {address = "t@example.org", account = "bob"}').domains[
            "example.org"
        ]
        self.assertEqual(
            domain.dmarc_reports, DMARCReports(address="dmarc@example.org", account="alice", mailbox="DMARC")
        )
        self.assertEqual(
            domain.tls_reports, TLSReports(address="t@example.org", account="bob", mailbox="TLSRPT")
        )
        nothing = self.load().domains["example.org"]
        self.assertEqual(
            (nothing.dmarc_reports, nothing.tls_reports, nothing.reports_only), (None, None, False)
        )

    def test_shared(self) -> None:
        """One address may be that of several domains and kinds, when all goes to one mailbox."""
        both = DMARC + '\ntls_reports = {address = "dmarc@example.org", account = "alice", mailbox = "DMARC"}'
        self.load(both, DMARC + "\nreports_only = true")
        self.refused("another mailbox or spelling", DMARC, DMARC.replace("alice", "bob"))
        self.refused("another mailbox or spelling", DMARC, DMARC.replace("dmarc@", "DMARC@"))
        self.refused("another mailbox or spelling", both.replace(', mailbox = "DMARC"', ""))

    def test_wrong(self) -> None:
        """Accounts, mailboxes, domains and addresses that are none are found."""
        self.refused("an account of domains.conf", DMARC.replace("alice", "carol"))
        self.refused("a mailbox expected", DMARC.replace("}", ', mailbox = "a//b"}'))
        self.refused("at a domain of this file", DMARC.replace("@example.org", "@example.net"))
        self.refused("an address expected", DMARC.replace("@example.org", ""))
        self.refused("without a suffix", DMARC.replace("dmarc@", "dmarc+x@"))

    def test_taken_already(self) -> None:
        """What somebody has, as address, alias or trap, is nobody else's."""
        self.refused("the same address", DMARC.replace("dmarc@", "alice@"))
        self.refused("the same address", DMARC + '\naliases = {dmarc = {addresses = ["alice@example.org"]}}')
        self.refused("address that nobody has", DMARC + '\nspam_traps = ["dmarc"]')

    def test_reports_only(self) -> None:
        """At a domain with reports alone nobody has another address."""
        self.refused("reports_only", "reports_only = true")
        self.refused(
            "one of them", "", 'reports_only = true\naliases = {team = {addresses = ["alice@example.org"]}}'
        )

    def test_host(self) -> None:
        """The host's address needs an account, and no domain of the same name."""
        section = '[host_tls_reports]\naccount = "alice"\n'
        self.load(static=section)
        self.refused("an account of domains.conf", static=section.replace("alice", "carol"))
        self.refused("before the @", static=section + 'localpart = "a b"\n')
        host = section.replace("[host", "[host", 1)
        error = self.assertRaises(
            ConfigurationError,
            parse_domains,
            DOMAINS.format(more="", other="").replace("example.com", "mail.example.org").encode(),
            parse_static((STATIC + host).encode()),
        )
        self.assertIn("instead", error.problems[0])

    def test_host_without_name(self) -> None:
        """Where the host has no name that is the only problem, not its address as well."""
        path = Path(self.mktemp())
        path.mkdir()
        section = '[host_tls_reports]\naccount = "alice"\n'
        (path / "mox.conf").write_text(STATIC.replace("hostname", "hostnme") + section)
        (path / "domains.conf").write_text(DOMAINS.format(more="", other=""))
        error = self.assertRaises(ConfigurationError, load, path / "mox.conf")
        self.assertEqual([problem for problem in error.problems if "reports" in problem], [])
        self.assertIn("hostname", error.problems[0])
