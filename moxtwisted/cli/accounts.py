"""Commands on accounts, addresses, domains and aliases."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from moxtwisted.cli.consent import agreed
from moxtwisted.cli.output import print_report
from moxtwisted.cli.passwords import ask_password, generate_password, read_password
from moxtwisted.cli.session import administer, call
from moxtwisted.cli.signingkeys import KINDS
from moxtwisted.config.dnsrecords import DNSRecord


def account_add(arguments: argparse.Namespace) -> int:
    """``account add``."""
    generated = "" if arguments.password_stdin else generate_password()
    password = generated or read_password(sys.stdin)
    notes = call(
        arguments,
        lambda administration, _: administration.account_add(
            arguments.account, arguments.address, arguments.full_name, password
        ),
    )
    print(f"added account {arguments.account} with address {arguments.address}")
    if generated:
        print(f"password: {generated}")
    for note in notes or ():
        print(note)
    return 0


def account_list(arguments: argparse.Namespace) -> int:
    """``account list``."""
    rows = call(arguments, lambda administration, _: administration.account_list())
    print_report(rows, as_json=arguments.json, empty="no accounts")
    return 0


def account_rm(arguments: argparse.Namespace) -> int:
    """``account rm``."""
    what = "its addresses, and keep its mail" if arguments.keep_mail else "its addresses and all its mail"
    if not agreed(arguments, f"Remove account {arguments.account}, {what}?", arguments.account):
        return 1
    return administer(
        arguments,
        lambda administration, _: administration.account_remove(arguments.account, arguments.keep_mail),
    )


def account_disable(arguments: argparse.Namespace) -> int:
    """``account disable``."""
    return administer(
        arguments,
        lambda administration, _: administration.account_disable(arguments.account, arguments.message),
    )


def account_enable(arguments: argparse.Namespace) -> int:
    """``account enable``."""
    return administer(arguments, lambda administration, _: administration.account_enable(arguments.account))


def setpassword(arguments: argparse.Namespace) -> int:
    """``setpassword``."""
    password = ask_password(arguments.account)
    return administer(
        arguments, lambda administration, _: administration.set_password(arguments.account, password)
    )


def address_list(arguments: argparse.Namespace) -> int:
    """``address list``."""
    rows = call(arguments, lambda administration, _: administration.address_list())
    print_report(rows, as_json=arguments.json, empty="no addresses")
    return 0


def address_add(arguments: argparse.Namespace) -> int:
    """``address add``."""
    return administer(
        arguments,
        lambda administration, _: administration.address_add(
            arguments.address, arguments.account, arguments.mailbox
        ),
    )


def address_rm(arguments: argparse.Namespace) -> int:
    """``address rm``."""
    return administer(arguments, lambda administration, _: administration.address_remove(arguments.address))


def domain_add(arguments: argparse.Namespace) -> int:
    """``domain add``: with keys to sign its mail, addresses for reports, and the records to be published."""

    async def work(administration: Any, _: Any) -> Any:
        await administration.domain_add(arguments.domain, arguments.description, arguments.disabled)
        if not arguments.no_dkim:
            await administration.dkim_generate(arguments.domain, list(KINDS), "active")
        if not arguments.no_reports:
            await administration.domain_reports(arguments.domain, "")
        return await administration.domain_records(arguments.domain)

    rows = call(arguments, work)
    if not arguments.no_dkim:
        print("Its mail is signed from now on.")
    print("Put these records into the DNS:")
    print_records(rows)
    return 0


def domain_records(arguments: argparse.Namespace) -> int:
    """``domain records``."""
    rows = call(arguments, lambda administration, _: administration.domain_records(arguments.domain))
    if arguments.json:
        print_report(rows, as_json=True)
    else:
        print_records(rows)
    return 0


def domain_reports(arguments: argparse.Namespace) -> int:
    """``domain reports``."""

    async def work(administration: Any, _: Any) -> Any:
        notes = await administration.domain_reports(arguments.domain, arguments.account)
        return notes, await administration.domain_records(arguments.domain)

    notes, rows = call(arguments, work)
    for note in notes:
        print(note)
    print("Put these records into the DNS:")
    dmarc = next(row["name"] for row in rows if row["name"].startswith("_dmarc."))
    wanted = (dmarc, dmarc.replace("_dmarc", "_smtp._tls", 1))
    print_records([row for row in rows if row["name"] in wanted or "._report._dmarc." in row["name"]])
    return 0


def print_records(rows: Sequence[Mapping[str, Any]]) -> None:
    """For a zone file, each with a note above it."""
    said = ""
    for row in rows:
        if row["why"] != said:
            said = row["why"]
            print(f"; {said}")
        print(DNSRecord(**row).line())


def domain_list(arguments: argparse.Namespace) -> int:
    """``domain list``."""
    rows = call(arguments, lambda administration, _: administration.domain_list())
    print_report(rows, as_json=arguments.json, empty="no domains")
    return 0


def domain_rm(arguments: argparse.Namespace) -> int:
    """``domain rm``."""
    return administer(arguments, lambda administration, _: administration.domain_remove(arguments.domain))


def domain_disable(arguments: argparse.Namespace) -> int:
    """``domain disable``."""
    return administer(arguments, lambda administration, _: administration.domain_disable(arguments.domain))


def domain_enable(arguments: argparse.Namespace) -> int:
    """``domain enable``."""
    return administer(arguments, lambda administration, _: administration.domain_enable(arguments.domain))


def alias_list(arguments: argparse.Namespace) -> int:
    """``alias list``."""
    rows = call(arguments, lambda administration, _: administration.alias_list(arguments.domain))
    print_report(rows, as_json=arguments.json, empty="no aliases")
    return 0


def alias_add(arguments: argparse.Namespace) -> int:
    """``alias add``."""
    return administer(
        arguments,
        lambda administration, _: administration.alias_add(
            arguments.alias, arguments.member, not arguments.members_only, arguments.allow_message_from
        ),
    )


def alias_update(arguments: argparse.Namespace) -> int:
    """``alias update``."""
    choice = {"yes": True, "no": False, None: None}
    return administer(
        arguments,
        lambda administration, _: administration.alias_update(
            arguments.alias, choice[arguments.post_public], choice[arguments.allow_message_from]
        ),
    )


def alias_rm(arguments: argparse.Namespace) -> int:
    """``alias rm``."""
    return administer(arguments, lambda administration, _: administration.alias_remove(arguments.alias))


def alias_addaddr(arguments: argparse.Namespace) -> int:
    """``alias addaddr``."""
    return administer(
        arguments,
        lambda administration, _: administration.alias_add_members(arguments.alias, arguments.member),
    )


def alias_rmaddr(arguments: argparse.Namespace) -> int:
    """``alias rmaddr``."""
    return administer(
        arguments,
        lambda administration, _: administration.alias_remove_members(arguments.alias, arguments.member),
    )
