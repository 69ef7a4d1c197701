"""Reports in messages."""

from __future__ import annotations

import gzip
import json
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.reports.aggregate import AggregateReport
from moxtwisted.mailauth.reports.attachments import MAX_OCTETS
from moxtwisted.mailauth.reports.errors import ReportError
from moxtwisted.mailauth.reports.message import Kind, as_json, encoded, reading, report_of
from moxtwisted.mailauth.reports.tls import TLSReport
from moxtwisted.message.mime import Scanner
from tests.mailauth.reports.samples import dmarc_message, message, part, tls_json, tls_message, xml, zipped


def steps(octets: bytes) -> int:
    """How many steps the reading takes."""
    scanner = Scanner()
    scanner.feed(octets)
    count = 0
    try:
        for _ in reading(scanner.finish().root, lambda offset, length: octets[offset : offset + length]):
            count += 1
    except ReportError:
        pass
    return count


class Messages(SynchronousTestCase):
    """How reports are packed."""

    def found(self, octets: bytes) -> str:
        """The kind of report in a message."""
        report = report_of(octets)
        self.assertEqual(report.organization, "Reporter")
        return {AggregateReport: "dmarc", TLSReport: "tls"}[type(report)]

    def refused(self, octets: bytes, why: str, kinds: frozenset[Kind] = frozenset(Kind)) -> None:
        """It has no report."""
        error = self.assertRaises(ReportError, report_of, octets, kinds)
        self.assertIn(why, error.detail)

    def test_as_standardised(self) -> None:
        """The messages of the standards are read."""
        self.assertEqual(self.found(dmarc_message()), "dmarc")
        self.assertEqual(self.found(tls_message()), "tls")

    def test_as_seen(self) -> None:
        """Gzip, zip and plain files are read whatever their label, when type or name fits."""
        for octets in (gzip.compress(xml()), zipped(xml()), zipped(xml(), method=zipfile.ZIP_STORED), xml()):
            for label, name in (
                ("application/octet-stream", "reporter.example!example.org!1!2.XML.GZ"),
                ("application/octet-stream", "r.zip"),
                ("application/zip", ""),
                ("application/x-gzip", "r"),
                ("text/xml", "r.xml"),
            ):
                attached = part(octets, label, name)
                self.assertEqual(self.found(message(attached)), "dmarc")
                self.assertEqual(self.found(b"From: a@b.example\r\n" + attached), "dmarc")
        self.assertEqual(self.found(message(part(tls_json(), "application/octet-stream", "r.json"))), "tls")
        plain = b"From: a@b.example\r\nContent-Type: text/xml\r\n\r\n" + xml().replace(b"\n", b"\r\n")
        self.assertEqual(self.found(plain), "dmarc")

    def test_members(self) -> None:
        """Several members of gzip are one file; what follows them is passed over."""
        octets = gzip.compress(xml()[:100]) + gzip.compress(xml()[100:]) + b"\0\0\0"
        self.assertEqual(self.found(message(part(octets, "application/gzip"))), "dmarc")

    def test_second_part(self) -> None:
        """A part that only looks like it does not hide the report."""
        wrong = part(b"hello", "application/octet-stream", "notes.xml") + b"\r\n--b\r\n"
        self.assertEqual(self.found(message(wrong + part(xml(), "text/xml"))), "dmarc")

    def test_none(self) -> None:
        """Ordinary mail, and reports within other messages, are no reports."""
        self.refused(message(b"Content-Type: text/html\r\n\r\n<feedback>"), "no part")
        self.refused(b"Subject: x\r\n\r\n<feedback>", "no part")
        self.refused(message(b"Content-Type: message/rfc822\r\n\r\n" + dmarc_message()), "no part")
        self.refused(message(part(b"hello", "application/gzip")), "neither XML nor JSON")
        self.refused(message(part(b"", "application/gzip")), "neither XML nor JSON")
        self.refused(b"", "no part")

    def test_kinds(self) -> None:
        """Only what is wanted is read."""
        self.refused(dmarc_message(), "about TLS", frozenset({Kind.TLS}))
        self.refused(tls_message(), "about DMARC", frozenset({Kind.DMARC}))

    def test_broken(self) -> None:
        """Damaged and cut files are told apart from reports."""
        octets = gzip.compress(xml())
        self.refused(message(part(octets[:-20], "application/gzip")), "missing")
        self.refused(message(part(octets[:12] + b"\xff" * 50 + octets[40:], "application/gzip")), "damaged")
        self.refused(message(part(zipped(xml())[:50], "application/zip")), "missing")
        self.refused(message(part(zipped(xml())[:20], "application/zip")), "header")
        encrypted = bytearray(zipped(xml()))
        encrypted[6] |= 1
        self.refused(message(part(bytes(encrypted), "application/zip")), "encrypted")
        unknown = bytearray(zipped(xml()))
        unknown[8] = 99
        self.refused(message(part(bytes(unknown), "application/zip")), "not known")

    def test_bombs(self) -> None:
        """What grows beyond bounds is dropped when it passes them, in many short steps."""
        blanks = b" " * (MAX_OCTETS + 100_000)
        for octets in (gzip.compress(b"<feedback>" + blanks), zipped(b"<feedback>" + blanks)):
            bomb = message(part(octets, "application/gzip", "r.gz"))
            self.refused(bomb, "when unpacked")
            self.assertGreater(steps(bomb), 1000)
        self.refused(message(part(gzip.compress(blanks), "application/gzip")), "white space")
        self.refused(message(part(gzip.compress(b"{" + blanks), "application/gzip")), "JSON of more")
        self.refused(message(part(gzip.compress(b"\0" * len(blanks)), "application/gzip")), "neither")
        self.refused(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
            + b"--b\r\nContent-Type: text/xml\r\n\r\n\r\n" * 500,
            "neither",
        )

    def test_nothing_comes(self) -> None:
        """Much that unpacks to nothing is read in short steps, too, and members of gzip are counted."""
        garbage = (
            b"Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"!" * 1_000_000
        )
        self.refused(garbage, "neither XML nor JSON")
        self.assertGreater(steps(garbage), 50)
        empty = gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * 100_000
        self.refused(message(part(empty, "application/gzip")), "missing")
        self.assertGreater(steps(message(part(empty, "application/gzip"))), 30)
        self.refused(message(part(gzip.compress(b"") * 200, "application/gzip")), "members")

    def test_as_json(self) -> None:
        """JSON for programs has what the classes have, also when it is made piece by piece."""
        for octets in (dmarc_message(), tls_message()):
            report = report_of(octets)
            self.assertEqual(json.loads(b"".join(encoded(report))), json.loads(json.dumps(as_json(report))))
        self.assertEqual(as_json(report_of(dmarc_message()))["rows"][0]["source_ip"], "192.0.2.1")
        many = dmarc_message(
            xml(rows="<record><row><source_ip>::1</source_ip><count>1</count></row></record>" * 1001)
        )
        self.assertEqual(len(json.loads(b"".join(encoded(report_of(many))))["rows"]), 1001)

    @settings(max_examples=100)
    @given(st.sampled_from([dmarc_message(), tls_message()]), st.data())
    def test_damaged(self, octets: bytes, data: st.DataObject) -> None:
        """Whatever happens to the message, it is read or refused."""
        changed = bytearray(octets)
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(changed) - 1))
            changed[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        try:
            report_of(bytes(changed))
        except ReportError:
            return
