"""Aggregate reports of DMARC."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.reports import aggregate
from moxtwisted.mailauth.reports.aggregate import (
    AggregateReading,
    AggregateReport,
    DKIMOutcome,
    Override,
    SPFOutcome,
)
from moxtwisted.mailauth.reports.errors import ReportError
from tests.mailauth.reports.samples import BEGIN, END, ROW, xml


def read(octets: bytes, size: int = 0) -> AggregateReport:
    """Read it, in pieces of a size."""
    reading = AggregateReading()
    for begin in range(0, len(octets), size or len(octets)):
        reading.feed(octets[begin : begin + (size or len(octets))])
    return reading.finish()


class Values(SynchronousTestCase):
    """What a report says."""

    def refused(self, octets: bytes, why: str) -> None:
        """It is no report."""
        error = self.assertRaises(ReportError, read, octets)
        self.assertIn(why, error.detail)

    def test_whole(self) -> None:
        """All values of appendix C arrive."""
        report = read(xml())
        self.assertEqual(
            (report.organization, report.email, report.report_id, report.begin, report.end, report.version),
            ("Reporter", "dmarc@reporter.example", "4711", BEGIN, END, "1.0"),
        )
        policy = report.policy
        self.assertEqual(
            (
                policy.domain,
                policy.dkim_alignment,
                policy.spf_alignment,
                policy.policy,
                policy.subdomain_policy,
            ),
            ("example.org", "r", "s", "reject", "none"),
        )
        self.assertEqual((policy.percent, report.messages, report.failed), (100, 3, 2))
        row = report.rows[0]
        self.assertEqual(
            (str(row.source_ip), row.count, row.disposition, row.passed), ("192.0.2.1", 1, "none", True)
        )
        self.assertEqual(row.reasons, (Override("forwarded", "looks so"),))
        self.assertEqual(
            row.dkim_results,
            (DKIMOutcome("example.org", "2026a", "pass"), DKIMOutcome("other.example", "", "fail")),
        )
        self.assertEqual(row.spf_results, (SPFOutcome("example.org", "mfrom", "fail"),))
        self.assertEqual(
            (row.header_from, row.envelope_from, row.envelope_to), ("example.org", "example.org", "")
        )

    def test_any_cuts(self) -> None:
        """It does not matter how the octets come."""
        self.assertEqual(read(xml(), 7), read(xml()))

    def test_namespaces(self) -> None:
        """Namespaces, with a prefix or without, and elements that nobody knows do no harm."""
        more = '<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0"><extra><domain>x</domain><row/></extra>'
        self.assertEqual(read(xml(root=more)), read(xml()))
        octets = xml().replace(b"<", b"<d:").replace(b"<d:/", b"</d:").replace(b"<d:?xml", b"<?xml")
        octets = octets.replace(b"<d:feedback>", b'<d:feedback xmlns:d="urn:x">')
        self.assertEqual(read(octets), read(xml()))

    def test_sloppy(self) -> None:
        """Times and counts with decimal points, no version, no organisation and empty elements are taken."""
        octets = (
            xml().replace(b"<version>1.0</version>", b"").replace(f"{BEGIN}".encode(), f"{BEGIN}.75".encode())
        )
        octets = octets.replace(b"<count>2<", b"<count> 2.0 <").replace(
            b"<org_name>Reporter<", b"<org_name><"
        )
        octets = octets.replace(b"<pct>100</pct>", b"<pct></pct><np/>").replace(
            b"example.org<", b"Example.ORG.<", 1
        )
        report = read(octets)
        self.assertEqual(
            (report.begin, report.messages, report.organization), (BEGIN, 3, "dmarc@reporter.example")
        )
        self.assertEqual((report.policy.percent, report.policy.domain), (None, "example.org"))

    def test_unknown_words(self) -> None:
        """A word that the standard does not have is none."""
        octets = (
            xml()
            .replace(b"<disposition>none<", b"<disposition>perhaps<")
            .replace(b"<result>FAIL<", b"<result>unknown<")
        )
        row = read(octets).rows[0]
        self.assertEqual((row.disposition, row.spf_results[0].result), ("", "temperror"))

    def test_missing(self) -> None:
        """Without an id, times, a domain, an address or a count it is no report."""
        for part, why in (
            (b"<report_id>4711</report_id>", "report_id"),
            (f"<begin>{BEGIN}</begin>".encode(), "begin"),
            (b"<domain>example.org</domain>", "a domain expected"),
            (b"<source_ip>192.0.2.1</source_ip>", "source_ip"),
            (b"<count>1</count>", "count"),
        ):
            self.assertIn(part, xml())
            self.refused(xml().replace(part, b"", 1), why)

    def test_impossible(self) -> None:
        """Values that cannot be are refused."""
        self.refused(xml(end=BEGIN - 1), "earlier")
        self.refused(xml(end=10**15), "too much")
        self.refused(xml().replace(b"<count>1<", b"<count>-1<"), "a number expected")
        self.refused(xml().replace(b"192.0.2.1", b"192.0.2.256"), "IP address")
        self.refused(xml("not a domain"), "a domain expected")
        self.refused(xml("").replace(b"<pct>100<", b"<pct>101<"), "a domain expected")

    def test_entities(self) -> None:
        """A document type is refused before anything is declared in it."""
        for doctype in (
            b'<!DOCTYPE feedback [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
            b'<!DOCTYPE feedback SYSTEM "file:///etc/passwd">',
            b"<!DOCTYPE feedback>",
        ):
            self.refused(xml().replace(b"<feedback>", doctype + b"<feedback>"), "document type")

    def test_not_feedback(self) -> None:
        """Other XML, half of it and none are no report."""
        self.refused(b"<html></html>", "not about feedback")
        self.refused(xml()[:-5], "not XML")
        self.refused(b"hello", "not XML")
        self.refused(xml().replace(b"UTF-8", b"klingon"), "not XML")

    def test_bounds(self) -> None:
        """Depth, tokens, rows and elements have their bounds."""
        self.refused(b"<feedback>" + b"<a>" * 100, "levels")
        reading = AggregateReading()
        reading.feed(b"<feedback><!--")
        with self.assertRaises(ReportError):
            for _ in range(10):
                reading.feed(b"x" * 16384)
        self.patch(aggregate, "MAX_ROWS", 1)
        self.refused(xml(), "more than 1 rows")
        self.patch(aggregate, "_MAX_ELEMENTS", 10)
        self.refused(xml(), "more than 10 elements")
        self.patch(aggregate, "_MAX_ELEMENTS", 10_000)
        row = ROW.format(n=1, dkim="pass").replace("looks so", "x" * 5000)
        reason = "<reason><type>other</type></reason>" * 200
        report = read(xml(rows=row.replace("<reason>", reason + "<reason>", 1)))
        self.assertEqual(len(report.rows[0].reasons), 100)
        self.assertEqual(len(read(xml(rows=row)).rows[0].reasons[0].comment), 1000)

    @settings(max_examples=100)
    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """Whatever happens to a report, it is read or refused, and the same in pieces."""
        octets = bytearray(xml())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(octets) - 1))
            octets[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=8) | st.sampled_from(
                [b"<record>", b"</row>", b"&#0;", b"&amp;", b"<![CDATA[x]]>", b"-->", b"1e9", b"\xff"]
            ))  # fmt: skip
        outcomes: list[AggregateReport | str] = []
        for size in (0, 13):
            try:
                outcomes.append(read(bytes(octets), size))
            except ReportError as e:
                outcomes.append(e.detail.partition(":")[0])
        self.assertEqual(outcomes[0], outcomes[1])
