"""Fuzz the reading of reports: messages, and the XML and JSON in them.

The first octet says what the rest is: ``m`` a message, ``x`` XML, ``j`` JSON, ``z`` something packed. What is read is written as JSON,
and is the same however it came.
"""

from __future__ import annotations

import base64
import json

from moxtwisted.mailauth.reports.aggregate import AggregateReading, AggregateReport
from moxtwisted.mailauth.reports.errors import ReportError
from moxtwisted.mailauth.reports.message import as_json, encoded, report_of
from moxtwisted.mailauth.reports.tls import TLSReport, read_tls_report
from tests.fuzz.run import alone
from tests.fuzz.watching import within

_HEADER = b"Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n"


def aggregate(octets: bytes, size: int) -> AggregateReport | str:
    """Read XML in pieces."""
    reading = AggregateReading()
    try:
        for begin in range(0, len(octets), size):
            reading.feed(octets[begin : begin + size])
        return reading.finish()
    except ReportError as e:
        return e.detail.partition(":")[0]


def read(data: bytes) -> AggregateReport | TLSReport | None:
    """As the first octet says."""
    kind, octets = data[:1], data[1:]
    if kind == b"x":
        found = aggregate(octets, 4096)
        if found != aggregate(octets, 5):
            raise RuntimeError("it depends on the cuts")
        return found if isinstance(found, AggregateReport) else None
    if kind == b"z":
        octets = _HEADER + base64.b64encode(octets)
    try:
        return read_tls_report(octets) if kind == b"j" else report_of(octets)
    except ReportError:
        return None


def check(data: bytes) -> None:
    """Both forms of JSON have the same."""
    report = read(data)
    if report is not None and json.loads(b"".join(encoded(report))) != json.loads(
        json.dumps(as_json(report))
    ):
        raise RuntimeError("two forms of JSON differ")


def one(data: bytes) -> None:
    """Try one input."""
    # A packed input may have megabytes, which the fuzzer's own limits of time and memory are for.
    if data[:1] in (b"m", b"z"):
        check(data)
    else:
        within(20_000 + 1000 * len(data), data, lambda: check(data))


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
