"""Keys that domains here sign with: ``dkim gen``, ``list``, ``records``, ``rotate``, ``state``, ``rm``.

::

    $ moxmail dkim gen example.org
    2026a._domainkey.example.org. IN TXT "v=DKIM1;h=sha256;k=rsa;p=MIIBIjAN..." "..."
    2026b._domainkey.example.org. IN TXT "v=DKIM1;h=sha256;k=ed25519;p=MCow..."
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from moxtwisted.cli import lookup
from moxtwisted.cli.consent import agreed
from moxtwisted.cli.output import print_report
from moxtwisted.cli.session import administer, call
from moxtwisted.config.dnsrecords import txt_strings
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from moxtwisted.dns.answers import IResolver

__all__ = [
    "KINDS",
    "dkim_gen",
    "dkim_list",
    "dkim_records",
    "dkim_rm",
    "dkim_rotate",
    "dkim_state",
    "record_line",
]

#: What a domain signs with: RSA for everybody, Ed25519 for who knows it (RFC 8463 section 3).
KINDS = ("rsa", "ed25519")


def record_line(row: dict[str, Any]) -> str:
    """The line for a zone file."""
    return f"{row['name']}. IN TXT {txt_strings(row['record'])}"


def _print_records(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        if row["problem"]:
            raise MailError(row["problem"])
        print(record_line(row))


def dkim_gen(arguments: argparse.Namespace) -> int:
    """``dkim gen``."""
    kinds = arguments.algorithm or list(KINDS)
    state = "standby" if arguments.standby else "active" if arguments.active else ""
    rows = call(
        arguments, lambda administration, _: administration.dkim_generate(arguments.domain, kinds, state)
    )
    _print_records(rows)
    if any(row["state"] == "standby" for row in rows):
        print(f"; put these records into the DNS, then: moxmail dkim rotate {arguments.domain}")
    else:
        print("; they sign from now on: put these records into the DNS at once")
    return 0


def dkim_list(arguments: argparse.Namespace) -> int:
    """``dkim list``."""
    rows = call(arguments, lambda administration, _: administration.dkim_list(arguments.domain))
    if not arguments.json:
        rows = [
            {
                name: row[name]
                for name in ("domain", "selector", "state", "algorithm", "bits", "file", "problem")
            }
            for row in rows
        ]
    print_report(rows, as_json=arguments.json, empty="no keys")
    return 0


def dkim_records(arguments: argparse.Namespace) -> int:
    """``dkim records``."""
    rows = call(arguments, lambda administration, _: administration.dkim_list(arguments.domain))
    if not rows:
        raise MailError(f"{arguments.domain} has no keys: make some with moxmail dkim gen {arguments.domain}")
    for state in ("active", "standby", "retired"):
        found = [row for row in rows if row["state"] == state]
        if found:
            print(f"; {state}")
            _print_records(found)
    return 0


def dkim_state(arguments: argparse.Namespace) -> int:
    """``dkim state``."""
    return administer(
        arguments,
        lambda administration, _: administration.dkim_state(
            arguments.domain, arguments.selector, arguments.state
        ),
    )


def dkim_rm(arguments: argparse.Namespace) -> int:
    """``dkim rm``."""
    if not agreed(
        arguments, f"Take the key {arguments.selector} from {arguments.domain}?", arguments.selector
    ):
        return 1
    return administer(
        arguments,
        lambda administration, _: administration.dkim_remove(arguments.domain, arguments.selector),
    )


async def unpublished(resolver: IResolver, rows: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong in the DNS with the records of these keys, in sentences."""
    from moxtwisted.dns.answers import NoAnswerError
    from moxtwisted.mailauth.dkim.record import KeyRecord
    from moxtwisted.mailauth.dkim.tags import TagListError

    problems = []
    for row in rows:
        try:
            records = (await resolver.lookup(row["name"], "TXT")).records
        except NoAnswerError as e:
            problems.append(f"{row['name']}: no answer from the DNS: {e.reason}")
            continue
        wanted = KeyRecord.parse(row["record"].encode("ascii"))
        try:
            found = [KeyRecord.parse(text) for text in records]
        except TagListError as e:
            problems.append(f"{row['name']}: the record cannot be read: {e.detail}")
            continue
        if len(found) != 1:
            problems.append(f"{row['name']}: {len(found) or 'no'} records found, one expected")
        elif (found[0].kind, found[0].octets) != (wanted.kind, wanted.octets):
            problems.append(f"{row['name']}: the record is that of another key")
        elif not found[0].for_mail or not found[0].for_sha256:
            problems.append(f"{row['name']}: the record does not allow what is signed with the key")
    return problems


def dkim_rotate(arguments: argparse.Namespace) -> int:
    """``dkim rotate``: only when the records of the keys to come can be seen."""

    async def work(administration: Any, _: Any) -> Any:
        rows = await administration.dkim_list(arguments.domain)
        coming = [row for row in rows if row["state"] == "standby"]
        if coming and not arguments.unchecked:
            problems = [row["problem"] for row in coming if row["problem"]]
            problems += await unpublished(
                lookup.own_resolver(arguments), [row for row in coming if not row["problem"]]
            )
            if problems:
                raise MailError(
                    "; ".join([*problems, "nothing was changed (--unchecked does it all the same)"])
                )
        return await administration.dkim_rotate(arguments.domain)

    for note in call(arguments, work):
        print(note)
    return 0
