"""How the keys about addresses for reports must fit together; see ``moxtwisted.config.checks``."""

from __future__ import annotations

from typing import Protocol

from moxtwisted.address import Address, AddressError
from moxtwisted.config.reading import Path, Problems, quoted
from moxtwisted.config.schema import Domain, DomainsConfig, StaticConfig
from moxtwisted.identifiers import Domain as DomainName
from moxtwisted.identifiers import IdentifierError, parse_mailbox_name

__all__ = ["check_host_reports", "check_reports"]

_KEYS = ("dmarc_reports", "tls_reports")


class _Addresses(Protocol):
    """Who has which address.

    :ivar by_name: domains by their ASCII names.
    :ivar owners: key path by (canonical local part, domain).
    """

    by_name: dict[str, Domain]
    owners: dict[tuple[str, str], Path]

    def canonical(self, address: Address) -> tuple[str, str]:
        """The key under which an address is looked up."""

    def claim(self, key: tuple[str, str], path: Path, problems: Problems) -> None:
        """Note who has an address; it can be nobody else's."""


def check_reports(config: DomainsConfig, addresses: _Addresses, problems: Problems) -> None:
    """Of all domains. An address may take reports of both kinds and of several domains, when they go to one mailbox."""
    places: dict[tuple[str, str], tuple[str, str, str]] = {}
    for name, domain in config.domains.items():
        for key in _KEYS:
            reports = getattr(domain, key)
            path: Path = ("domains", name, key)
            if reports is None:
                continue
            _check_place(reports.account, reports.mailbox, config, path, problems)
            address = _address(reports.address, addresses, (*path, "address"), problems)
            if address is None:
                continue
            place = (reports.account, reports.mailbox, reports.address)
            if address not in places:
                places[address] = place
                addresses.claim(address, (*path, "address"), problems)
            elif places[address] != place:
                problems.add(
                    (*path, "address"),
                    f"{quoted(reports.address)} found, which has another mailbox or spelling elsewhere in this file",
                )
    _check_reports_only(config, addresses, problems)


def _check_place(account: str, mailbox: str, config: DomainsConfig, path: Path, problems: Problems) -> None:
    if account not in config.accounts and not problems.spoiled(("accounts",)):
        problems.add((*path, "account"), f"{quoted(account)} found, an account of domains.conf expected")
    try:
        parse_mailbox_name(mailbox)
    except IdentifierError as e:
        problems.add((*path, "mailbox"), f"{quoted(mailbox)} found, a mailbox expected: {e.detail}")


def _address(text: str, addresses: _Addresses, path: Path, problems: Problems) -> tuple[str, str] | None:
    """The key of an address at one of the domains, or None after a complaint."""
    try:
        address = Address.parse(text)
    except AddressError as e:
        problems.add(path, f"{quoted(text)} found, an address expected: {e.detail}")
        return None
    domain = addresses.by_name.get(address.domain.ascii)
    if domain is None:
        if not problems.spoiled(("domains",)):
            problems.add(
                path, f"an address at {address.domain.ascii} found, at a domain of this file expected"
            )
        return None
    if any(separator in address.localpart[1:] for separator in domain.localpart_separators if separator):
        problems.add(path, f"{quoted(text)} found, an address without a suffix expected")
    return addresses.canonical(address)


def _check_reports_only(config: DomainsConfig, addresses: _Addresses, problems: Problems) -> None:
    """Where only reports are taken, an address is none."""
    only = {name for name, domain in addresses.by_name.items() if domain.reports_only}
    if not only:
        return
    for (_, name), path in list(addresses.owners.items()):
        if name in only and path[0] == "accounts" and path[2:3] == ("addresses",):
            problems.add(path, "found at a domain with reports_only, where no such mail is taken")
    for name, domain in config.domains.items():
        if domain.reports_only and domain.aliases:
            problems.add(
                ("domains", name, "aliases"), "found, and reports_only as well, one of them expected"
            )


def check_host_reports(static: StaticConfig, domains: DomainsConfig, problems: Problems) -> None:
    """Of ``mox.conf``, with the accounts of ``domains.conf``."""
    reports = static.host_tls_reports
    if reports is None:
        return
    path: Path = ("host_tls_reports",)
    _check_place(reports.account, reports.mailbox, domains, path, problems)
    name = _ascii(static.hostname)
    if not name:
        return  # which is a problem of the host name, and told as such
    try:
        Address.parse(f"{reports.localpart}@{name}")
    except AddressError:
        problems.add(
            (*path, "localpart"), f"{quoted(reports.localpart)} found, what stands before the @ expected"
        )
        return
    if any(_ascii(known) == name for known in domains.domains):
        problems.add(
            path, f"found, and {name} is a domain of domains.conf: tls_reports expected there instead"
        )


def _ascii(name: str) -> str:
    try:
        return DomainName.parse(name).ascii
    except IdentifierError:
        return ""
