"""Reports about TLS."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.reports.errors import ReportError
from moxtwisted.mailauth.reports.tls import MAX_TLS_OCTETS, TLSFailure, read_tls_report, reading_tls
from tests.mailauth.reports.samples import tls, tls_json


def dated(dates: dict[str, str]) -> bytes:
    """A report about another time."""
    return json.dumps({**tls(), "date-range": dates}).encode()


class Values(SynchronousTestCase):
    """What a report says."""

    def refused(self, octets: bytes, why: str) -> None:
        """It is no report."""
        error = self.assertRaises(ReportError, read_tls_report, octets)
        self.assertIn(why, error.detail)

    def test_whole(self) -> None:
        """All values of RFC 8460 section 4.4 arrive."""
        report = read_tls_report(tls_json())
        self.assertEqual((report.organization, report.contact), ("Reporter", "tls@reporter.example"))
        self.assertEqual((report.begin, report.end), (1_799_884_800, 1_799_971_199))
        self.assertEqual((report.sessions, report.failed, report.report_id[:4]), (13, 3, "2027"))
        (policy,) = report.policies
        self.assertEqual(
            (policy.type, policy.domain, policy.hosts), ("sts", "example.org", ("mx.example.org",))
        )
        self.assertEqual(policy.strings[1], "mode: enforce")
        self.assertEqual(
            policy.failures,
            (
                TLSFailure(
                    result="certificate-expired",
                    sessions=3,
                    sending_ip="192.0.2.1",
                    receiving_host="mx.example.org",
                    receiving_ip="198.51.100.1",
                ),
            ),
        )

    def test_sloppy(self) -> None:
        """Numbers in quotes, a host that is no list, null for nothing, a mark of order and members nobody knows are taken."""
        found: Any = tls()
        policy = found["policies"][0]
        policy["policy"] |= {
            "mx-host": "mx.example.org",
            "policy-string": None,
            "policy-domain": "Example.ORG.",
            "x": 1,
        }
        policy["summary"] = {"total-successful-session-count": "10", "total-failure-session-count": 3.0}
        policy["failure-details"] = None
        found["date-range"]["start-datetime"] = "2027-01-14T00:00:00"
        found["organization-name"] = None
        report = read_tls_report(b"\xef\xbb\xbf" + json.dumps(found).encode())
        self.assertEqual((report.sessions, report.begin), (13, 1_799_884_800))
        self.assertEqual(report.organization, "tls@reporter.example")
        (read,) = report.policies
        self.assertEqual((read.domain, read.hosts, read.strings), ("example.org", ("mx.example.org",), ()))

    def test_missing(self) -> None:
        """Without an id, times or policies it is no report."""
        for name in ("report-id", "date-range", "policies"):
            found = tls()
            del found[name]
            self.refused(json.dumps(found).encode(), name)
        self.refused(tls_json(**{"report-id": ""}), "report-id")

    def test_impossible(self) -> None:
        """Values that cannot be are refused."""
        dates = {"start-datetime": "2027-01-14T00:00:00Z", "end-datetime": "2027-01-13T00:00:00Z"}
        self.refused(dated(dates), "before it begins")
        self.refused(dated({**dates, "end-datetime": "soon"}), "a time expected")
        self.refused(dated({**dates, "end-datetime": "9999-12-31T23:59:59-23:00"}), "a time expected")
        self.refused(dated({**dates, "start-datetime": "0001-01-01T00:00:00+23:00"}), "a time expected")
        self.refused(tls_json(policies=[{}] * 2), "policy")
        for count in (-1, 1e300, "nan", "inf", "many", 10**30):
            found = tls()
            found["policies"][0]["summary"]["total-failure-session-count"] = count
            self.refused(json.dumps(found).encode(), "a number expected" if count != 10**30 else "")

    def test_bounds(self) -> None:
        """Size, depth and numbers of policies have their bounds."""
        self.refused(b" " * (MAX_TLS_OCTETS + 1), "octets")
        self.refused(b'{"report-id":' + b"[" * 200_000, "not the JSON")
        self.refused(tls_json(policies=tls()["policies"] * 1001), "policies")
        policy = {"policy": {"policy-domain": "example.org"}, "failure-details": [{}] * 10_001}
        self.refused(tls_json(policies=[policy]), "failures")

    def test_steps(self) -> None:
        """Many failures are read in many steps."""
        policy = {"policy": {"policy-domain": "example.org"}, "failure-details": [{}] * 2000}
        self.assertEqual(len(list(reading_tls(tls_json(policies=[policy])))), 4)
        self.assertEqual(len(list(reading_tls(tls_json(policies=tls()["policies"] * 100)))), 5)
        self.assertEqual(list(reading_tls(tls_json())), [])

    @settings(max_examples=100)
    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """Whatever happens to a report, it is read or refused."""
        octets = bytearray(tls_json())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(octets) - 1))
            octets[at : at + data.draw(st.integers(0, 20))] = data.draw(
                st.binary(max_size=8)
                | st.sampled_from([b"null", b"[]", b"{}", b"-1", b"1e999", b'"', b"9" * 400])
            )
        try:
            report = read_tls_report(bytes(octets))
        except ReportError:
            return
        self.assertGreaterEqual(report.sessions, report.failed)
