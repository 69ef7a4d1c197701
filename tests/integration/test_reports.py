"""Reports of other servers, in the whole server: taken, refused to be taken for one, listed."""

from __future__ import annotations

import gzip
import json
import time

from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.inflow import MessageHasher
from tests.integration.strangers import CLIENT, StrangersCase
from tests.integration.test_verification import KEY, ZONE
from tests.mailauth.reports.samples import BEGIN, END, dmarc_message, message, part, tls, tls_message, xml
from tests.test_compose import IP

POLICIES = {("_dmarc.other.example.", "TXT"): '"v=DMARC1; p=none"'}
DOMAINS = """
[domains."example.org"]
dmarc_reports = {address = "dmarc@example.org", account = "mox"}
tls_reports = {address = "tls@example.org", account = "mox"}

[domains."elsewhere.example"]
reports_only = true
dmarc_reports = {address = "dmarc@example.org", account = "mox"}
"""
HOST = """[host_tls_reports]
account = "mox"
mailbox = "Host"

[judgement]
"""


def recent() -> bytes:
    """A report about the last hour."""
    now = int(time.time())
    return xml(end=now - 60).replace(b"<begin>%d<" % BEGIN, b"<begin>%d<" % (now - 3600))


def recent_tls(domain: str) -> bytes:
    """A report about a day that is over."""
    found = tls(domain)
    found["date-range"] = {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59Z"}
    return json.dumps(found).encode()


def signed(octets: bytes) -> bytes:
    """A message with a signature of its sender's domain."""
    hasher = MessageHasher(also=[SigningRules().body_form])
    hasher.feed(octets)
    return sign(hasher.finish(), KEY, now=time.time()) + octets


class ReportsTests(StrangersCase):
    zone = ZONE | POLICIES

    def setUp(self) -> None:
        """A server with addresses for reports."""
        super().setUp()
        domains = self.home / "domains.conf"
        domains.write_text(domains.read_text() + DOMAINS)
        self.edit("[judgement]\n", HOST)
        self.edit('hostname = "localhost"', 'hostname = "mx.localhost"')
        self.child = self.start()

    def send(self, octets: bytes, recipient: str) -> str:
        """The answer to RCPT or to a message of a client whose SPF passes."""
        with self.connect(1025, self.child) as client:
            client.say(f"PROXY TCP4 {CLIENT} {IP} 4711 25")
            client.line()
            client.smtp("EHLO out.sender.example")
            client.smtp("MAIL FROM:<a@sender.example>")
            answer = client.smtp(f"RCPT TO:<{recipient}>")
            if answer[0] != "2":
                return answer
            client.smtp("DATA")
            return client.smtp(octets.decode() + ".")

    def listed(self, kind: str, *more: str) -> list[dict[str, object]]:
        """What the operator sees."""
        found: list[dict[str, object]] = json.loads(self.moxmail("reports", kind, "--json", *more))
        return found

    def test_dmarc(self) -> None:
        """A report whose mail passes DMARC is taken for one and listed with all it says; without, or broken, it is mail like other."""
        mine, others = "From: a@sender.example", "From: a@other.example"
        self.assertIn("250 2.", self.send(dmarc_message(recent(), top=mine), "dmarc@example.org"))
        reason = " ".join(self.reason("DMARC").split())
        self.assertIn("reporting; It is a report about a domain here", reason)
        self.assertIn("It is a report of Reporter about example.org", reason)
        self.until(lambda: self.listed("dmarc"), "not listed")
        (found,) = self.listed("dmarc", "--domain", "example.org")
        self.assertEqual(
            (found["organization"], found["sender"], found["total"], found["failed"]),
            ("Reporter", "sender.example", 3, 2),
        )
        report = found["report"]
        assert isinstance(report, dict)
        self.assertEqual(report["rows"][1]["source_ip"], "192.0.2.2")
        bomb = gzip.compress(b"<feedback>" + b" " * 30_000_000)
        for octets, why in (
            (dmarc_message(recent(), top=others), "DMARC did not pass for the domain in From"),
            (
                message(part(gzip.compress(recent())[:-9], "application/gzip"), top=mine),
                "the end of what is compressed",
            ),
            (message(part(bomb, "application/gzip"), top=mine), "more than 16777216 octets when unpacked"),
            (dmarc_message(xml(end=END + 10**9), top=mine), "it ends in the future"),
            (dmarc_message(xml("sender.example"), top=mine), "it is about sender.example, which is not here"),
        ):
            self.assertIn("250 2.", self.send(octets, "dmarc@example.org"))
            self.assertIn(f"It is taken for no report: {why}"[:60], self.log.read_text())
        self.assertEqual(len(self.listed("dmarc")), 1)
        self.assertEqual(self.send(b"", "bob@elsewhere.example")[:9], "550 5.1.2")
        self.assertNotIn("Traceback", self.log.read_text())

    def test_tls(self) -> None:
        """A signed report about TLS with a domain or the host is taken for one; it is listed when the server is down, too."""
        for domain, recipient in (
            ("example.org", "tls@example.org"),
            ("mx.localhost", "tlsreports@mx.localhost"),
        ):
            octets = tls_message(recent_tls(domain), top="From: a@sender.example")
            self.assertIn("250 2.", self.send(signed(octets), recipient))
        self.assertIn(
            "250 2.",
            self.send(
                tls_message(recent_tls("example.org"), top="From: a@sender.example"), "tls@example.org"
            ),
        )
        self.assertIn("no signature of the domain in From is good for reports", self.log.read_text())
        self.until(lambda: len(self.listed("tls")) == 2, "not listed")
        self.assertIn("reporting; ", self.reason("TLSRPT"))
        self.end(self.child)
        self.assertEqual({row["domain"] for row in self.listed("tls")}, {"example.org", "mx.localhost"})
        self.assertNotIn("Traceback", self.log.read_text())

    def test_without_tls(self) -> None:
        """Where mail without TLS is refused, reports about TLS are taken all the same."""
        self.end(self.child)
        self.edit("[listeners.local.smtp]\n", '[listeners.local.smtp]\nstarttls = "required"\n')
        self.child = self.start()
        self.assertEqual(self.send(b"", "dmarc@example.org"), "530 5.7.0 must issue a STARTTLS command first")
        octets = tls_message(recent_tls("example.org"), top="From: a@sender.example")
        self.assertIn("250 2.", self.send(signed(octets), "tls@example.org"))
