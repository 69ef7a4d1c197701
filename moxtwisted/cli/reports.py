"""Reports of other servers: ``reports dmarc``, ``reports tls`` list what came in, ``dmarc parsereportmsg`` and ``tlsrpt parsereportmsg``
read messages.

::

    $ moxmail dmarc parsereportmsg report.eml
    report 4711 of Reporter about example.org, 2027-01-14 00:00 to 2027-01-15 00:00 UTC: 2 of 3 messages failed
      1  192.0.2.1  pass (dkim pass, spf fail), none, from example.org
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.cli.output import complain, counted, print_report
from moxtwisted.cli.session import call
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moxtwisted.mailauth.reports.aggregate import AggregateReport, AggregateRow
    from moxtwisted.mailauth.reports.message import Report
    from moxtwisted.mailauth.reports.tls import TLSReport

__all__ = ["parse_dmarc", "parse_tls", "reports_dmarc", "reports_tls"]

#: A message is read at once.
_MAX_MESSAGE_OCTETS: Final = 100 * 1024 * 1024


def reports_dmarc(arguments: argparse.Namespace) -> int:
    """``reports dmarc``."""
    return _list(arguments, "dmarc")


def reports_tls(arguments: argparse.Namespace) -> int:
    """``reports tls``."""
    return _list(arguments, "tls")


def _list(arguments: argparse.Namespace, kind: str) -> int:
    rows = call(
        arguments,
        lambda administration, _: administration.reports_list(
            kind, arguments.domain, arguments.limit, arguments.json
        ),
    )
    if arguments.json:
        left_out = 0
        for row in rows:
            detail = row.pop("detail")
            row["report"] = json.loads(detail) if detail else None
            left_out += not detail
        if left_out:
            complain(f"{counted(left_out, 'report')} too much for one answer: --limit")
    print_report(rows, as_json=arguments.json, empty="no reports")
    return 0


def parse_dmarc(arguments: argparse.Namespace) -> int:
    """``dmarc parsereportmsg``."""
    return _parse(arguments, "dmarc")


def parse_tls(arguments: argparse.Namespace) -> int:
    """``tlsrpt parsereportmsg``."""
    return _parse(arguments, "tls")


def _parse(arguments: argparse.Namespace, kind: str) -> int:
    from moxtwisted.mailauth.reports.message import Kind, as_json, report_of

    status = 0
    found: list[dict[str, Any]] = []
    for name in arguments.file or ["-"]:
        try:
            report = report_of(_read(name), frozenset({Kind(kind)}))
        except MailError as e:
            complain(f"{name}: {e.explanation}")
            status = 1
            continue
        if arguments.json:
            found.append({"file": name, **as_json(report)})
            continue
        for line in _lines(report):
            print("".join(c if c.isprintable() else "?" for c in line))
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return status


def _read(name: str) -> bytes:
    try:
        if name == "-":
            octets = sys.stdin.buffer.read(_MAX_MESSAGE_OCTETS + 1)
        else:
            with Path(name).open("rb") as file:
                octets = file.read(_MAX_MESSAGE_OCTETS + 1)
    except OSError as e:
        raise MailError(f"cannot be read: {e.strerror}") from e
    if len(octets) > _MAX_MESSAGE_OCTETS:
        raise MailError(f"more than {_MAX_MESSAGE_OCTETS} octets")
    return octets


def _lines(report: Report) -> Iterator[str]:
    """For people."""
    from moxtwisted.mailauth.reports.aggregate import AggregateReport

    about = " and ".join(report.domains) or "no domain"
    head = f"report {report.report_id} of {report.organization} about {about}, {_span(report)}: "
    if isinstance(report, AggregateReport):
        yield f"{head}{report.failed:,} of {counted(report.messages, 'message')} failed"
        for row in report.rows:
            yield _row(row)
    else:
        yield f"{head}{report.failed:,} of {counted(report.sessions, 'session')} failed"
        yield from _policies(report)


def _row(row: AggregateRow) -> str:
    verdict = "pass" if row.passed else "fail"
    why = "".join(f", {reason.type} {reason.comment}".rstrip() for reason in row.reasons)
    return (
        f"  {row.count:,}  {row.source_ip}  {verdict} (dkim {row.dkim or '-'}, spf {row.spf or '-'}), {row.disposition or '-'}, "
        f"from {row.header_from or '-'}{why}"
    )


def _policies(report: TLSReport) -> Iterator[str]:
    for policy in report.policies:
        yield f"  {policy.domain}, {policy.type or '-'}: {policy.failed:,} of {policy.successful + policy.failed:,} failed"
        for one in policy.failures:
            hosts = f"{one.sending_ip or '-'} to {one.receiving_host or '-'} {one.receiving_ip}".rstrip()
            yield f"    {one.sessions:,}  {one.result or '-'}  {hosts}  {one.reason}".rstrip()


def _span(report: AggregateReport | TLSReport) -> str:
    begin, end = (
        datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%d %H:%M") for s in (report.begin, report.end)
    )
    return f"{begin} to {end} UTC"
