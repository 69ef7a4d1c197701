"""What belongs into the DNS, and the addresses for reports that commands add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.dnsrecords import dns_records
from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.config.load import load, parse_static
from moxtwisted.config.schema import DMARCReports, Domain, TLSReports
from moxtwisted.errors import MailError
from moxtwisted.mailauth.dmarc.record import parse_record
from moxtwisted.mailauth.spf.record import parse_record as parse_spf

STATIC = """hostname = "mail.example.org"
[postmaster]
account = "alice"
[listeners.x]
ips = ["127.0.0.1", "10.0.0.1", "8.8.8.8", "2a00::1"]
[listeners.x.smtp]
"""
DOMAINS = """# mine
[domains."example.org"]
[accounts.alice]
domain = "example.org"
[accounts.bob]
domain = "example.org"
"""


class Records(SynchronousTestCase):
    """The records of a domain."""

    def lines(
        self, domain: str = "example.org", more: str = "", keys: Any = (), **settings: Any
    ) -> list[str]:
        """For a zone file."""
        static = parse_static((STATIC + more).encode())
        return [record.line() for record in dns_records(static, domain, Domain(**settings), keys)]

    def test_without_reports(self) -> None:
        """MX, the keys, SPF with addresses that the world can see, DMARC without an address; and SPF of the host."""
        self.assertEqual(
            self.lines(keys=[("2026a", "v=DKIM1;p=" + "A" * 300)]),
            [
                "example.org. IN MX 10 mail.example.org.",
                f'2026a._domainkey.example.org. IN TXT "v=DKIM1;p={"A" * 245}" "{"A" * 55}"',
                'example.org. IN TXT "v=spf1 ip4:8.8.8.8 ip6:2a00::1 mx ~all"',
                '_dmarc.example.org. IN TXT "v=DMARC1;p=reject"',
                'mail.example.org. IN TXT "v=spf1 a -all"',
            ],
        )

    def test_reports(self) -> None:
        """Addresses for reports are told, those of the host too; another organisation has to agree."""
        told = self.lines(
            "münchen.example",
            '[host_tls_reports]\naccount = "alice"\n',
            dmarc_reports=DMARCReports(address='"a!b,c"@example.org', account="alice"),
            tls_reports=TLSReports(address="tls@münchen.example", account="alice"),
        )
        self.assertEqual(
            told[2:5],
            [
                '_dmarc.xn--mnchen-3ya.example. IN TXT "v=DMARC1;p=reject;rua=mailto:a%21b%2Cc@example.org!10m"',
                'xn--mnchen-3ya.example._report._dmarc.example.org. IN TXT "v=DMARC1"',
                '_smtp._tls.xn--mnchen-3ya.example. IN TXT "v=TLSRPTv1;rua=mailto:tls@xn--mnchen-3ya.example"',
            ],
        )
        self.assertEqual(
            told[-1],
            '_smtp._tls.mail.example.org. IN TXT "v=TLSRPTv1;rua=mailto:tlsreports@mail.example.org"',
        )
        (uri,) = parse_record(told[2].split('"')[1]).aggregate
        self.assertEqual((uri.address, uri.max_octets), ("a!b,c@example.org", 10 * 1024 * 1024))
        parse_spf(told[1].split('"')[1])

    def test_reports_only(self) -> None:
        """A domain that only reports come for has its mail elsewhere."""
        reports = DMARCReports(address="dmarc@example.org", account="alice")
        told = self.lines("sub.example.org", reports_only=True, dmarc_reports=reports)
        self.assertEqual(
            told, ['_dmarc.sub.example.org. IN TXT "v=DMARC1;p=reject;rua=mailto:dmarc@example.org!10m"']
        )

    def test_host_is_the_domain(self) -> None:
        """A domain with the name of the host has one SPF record."""
        told = self.lines("mail.example.org")
        self.assertEqual(sum("v=spf1" in line for line in told), 1)


class Edits(SynchronousTestCase):
    """Addresses for reports are added by a command."""

    def setUp(self) -> None:
        """Two files."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "mox.conf").write_text(STATIC)
        (self.folder / "domains.conf").write_text(DOMAINS)
        self.editor = ConfigurationEditor(self.folder / "mox.conf")

    def do(self, coroutine: Any) -> Any:
        """The result of an operation."""
        return self.successResultOf(ensureDeferred(coroutine))

    def test_added(self) -> None:
        """They go to the postmaster's account or another, what is there stays, and they are among the records then."""
        notes = self.do(self.editor.domain_reports("Example.ORG", ""))
        self.assertEqual(notes[0], "dmarc_reports: dmarcreports@example.org, for account alice")
        domain = load(self.folder / "mox.conf").domains.domains["example.org"]
        self.assertEqual(domain.tls_reports, TLSReports(address="tlsreports@example.org", account="alice"))
        self.assertIn("# mine", (self.folder / "domains.conf").read_text())
        rows = self.do(self.editor.domain_records("example.org"))
        self.assertIn(
            "dmarcreports@example.org", next(r["value"] for r in rows if r["name"][:7] == "_dmarc.")
        )
        failure = self.failureResultOf(
            ensureDeferred(self.editor.domain_reports("example.org", "bob")), MailError
        )
        self.assertIn("already: dmarcreports@example.org (account alice) and tlsreports@", str(failure.value))

    def test_refused(self) -> None:
        """An account that is not there gets none."""
        self.failureResultOf(ensureDeferred(self.editor.domain_reports("example.org", "carol")), MailError)
        self.failureResultOf(ensureDeferred(self.editor.domain_records("else.example")), MailError)
        self.assertEqual((self.folder / "domains.conf").read_text(), DOMAINS)
        self.do(self.editor.domain_reports("example.org", "bob"))
        self.assertIn('account = "bob"', (self.folder / "domains.conf").read_text())

    def test_account_stays(self) -> None:
        """An account that gets reports cannot go before they go to another."""
        self.do(self.editor.domain_reports("example.org", "bob"))
        with self.assertRaises(MailError) as raised:
            self.editor.remove_account("bob")
        self.assertIn("dmarc_reports", str(raised.exception))
