"""``import imap``: the move from an old server."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from moxtwisted.cli.output import counted, print_report
from moxtwisted.cli.passwords import given_password
from moxtwisted.cli.session import call
from moxtwisted.errors import MailError

__all__ = ["PASSWORD_VARIABLE", "import_imap"]

PASSWORD_VARIABLE = "MOXMAIL_IMPORT_PASSWORD"  # noqa: S105  its name
#: Somebody writes faster into the old mailbox than we read: enough.
_MAX_PASSES = 50


def import_imap(arguments: argparse.Namespace) -> int:
    """``import imap``."""
    options = {
        "connections": arguments.connections,
        "delete": arguments.delete,
        "dry_run": arguments.dry_run,
        "only": arguments.only or [],
        "skip": arguments.skip or [],
        "verify": not arguments.insecure_no_verify,
        "tls": not arguments.insecure_no_tls,
        "trust": _text_of(arguments.trust) if arguments.trust else "",
    }
    password = given_password(arguments.password_file, PASSWORD_VARIABLE, f"Password at {arguments.url}: ")

    async def work(administration: Any, show: Any) -> list[dict[str, Any]]:
        reports: list[dict[str, Any]] = []
        while True:
            report = await administration.import_imap(
                arguments.account, arguments.url, password, options, show
            )
            reports.append(report)
            left = report["messages"] + report["known"] + report["flags"] + report["removed"]
            if not arguments.again or arguments.dry_run or not left or len(reports) == _MAX_PASSES:
                return reports

    reports: list[dict[str, Any]] = call(arguments, work)
    if arguments.json:
        print(json.dumps(reports[-1] | _sums(reports), indent=2, ensure_ascii=False))
    else:
        _print(reports, dry_run=arguments.dry_run)
    last = reports[-1]
    return 1 if last["skipped"] or last["failed"] else 0


def _sums(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """What all passes did together."""
    names = ("messages", "known", "flags", "removed")
    return {"passes": len(reports)} | {name: sum(report[name] for report in reports) for name in names}


def _print(reports: list[dict[str, Any]], *, dry_run: bool) -> None:
    last, sums = reports[-1], _sums(reports)
    if dry_run:
        print_report(last["mailboxes"], as_json=False, empty="the other server has no mailboxes")
    else:
        print(
            f"{counted(sums['messages'], 'message')} fetched, flags of {sums['flags']:,} changed"
            + (f", {sums['known']:,} known again" if sums["known"] else "")
            + (f", {sums['removed']:,} removed" if sums["removed"] else "")
            + f", {counted(len(last['mailboxes']), 'mailbox')}".replace("mailboxs", "mailboxes")
        )
    for name, why in last["left_out"]:
        print(f"left out: {name} ({why})")
    for line in (*last["failed"], *last["unreadable"]):
        print(f"not fetched: {line}", file=sys.stderr)
    more = last["skipped"] - len(last["unreadable"])
    if more > 0:
        print(f"not fetched: {more:,} more", file=sys.stderr)


def _text_of(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(1_000_000)
    except OSError as e:
        raise MailError(f"{path}: cannot be read: {e.strerror}") from e
    except UnicodeDecodeError:
        raise MailError(f"{path}: certificates in PEM expected") from None
