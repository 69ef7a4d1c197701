"""Read a report about DMARC or TLS out of a message, and print who failed::

python examples/read_report.py report.eml
"""

from __future__ import annotations

import sys
from pathlib import Path

from moxtwisted.mailauth.reports.aggregate import AggregateReport
from moxtwisted.mailauth.reports.message import ReportError, report_of


def main(name):
    """Print the report in a file."""
    try:
        report = report_of(Path(name).read_bytes())
    except ReportError as e:
        return f"{name}: {e.explanation}"
    print(f"{report.organization} about {', '.join(report.domains)}: {report.failed} failed")
    if isinstance(report, AggregateReport):
        for row in report.rows:
            if not row.passed:
                print(f"{row.count} from {row.source_ip}, {row.disposition}")
    else:
        for policy in report.policies:
            for failure in policy.failures:
                print(f"{failure.sessions} by {failure.sending_ip}: {failure.result}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
