"""Changes of the addresses for reports, and the records that a domain needs in the DNS.

::

    await editor.domain_reports("example.org", "")          # dmarcreports@ and tlsreports@, for the postmaster's account
    await editor.domain_records("example.org")              # rows with name, type, value, why
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import asdict

from moxtwisted.config.dnsrecords import dns_records
from moxtwisted.config.document import (
    AlreadyThereError,
    NotThereError,
    domain_key,
    domain_table,
    inline_table,
    set_key,
)
from moxtwisted.config.editsigning import SigningEdits
from moxtwisted.config.load import LoadedConfig
from moxtwisted.errors import MailError, no_account
from moxtwisted.identifiers import Domain as DomainName
from moxtwisted.server.control.interfaces import Report

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = ["REPORT_LOCALPARTS", "ReportEdits"]

#: What stands before the @ of new addresses, by key.
REPORT_LOCALPARTS: Final = {"dmarc_reports": "dmarcreports", "tls_reports": "tlsreports"}


class ReportEdits(SigningEdits):
    """A part of ``IConfigurationEditor``."""

    async def domain_reports(self, name: str, account: str) -> list[str]:
        """See ``IConfigurationOperations``."""
        notes: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            key = domain_key(loaded.domains, name)
            owner = account or loaded.static.postmaster.account
            if owner not in loaded.domains.accounts:
                raise NotThereError(no_account(owner))
            settings = loaded.domains.domains[key]
            table = domain_table(document, loaded, name)
            for what, localpart in REPORT_LOCALPARTS.items():
                if getattr(settings, what) is None:
                    address = f"{localpart}@{DomainName.parse(key).ascii}"
                    set_key(table, what, inline_table({"address": address, "account": owner}))
                    notes.append(f"{what}: {address}, for account {owner}")
            if not notes:
                there = (getattr(settings, what) for what in REPORT_LOCALPARTS)
                names = " and ".join(
                    dict.fromkeys(f"{one.address} (account {one.account})" for one in there if one)
                )
                raise AlreadyThereError(f"{key} has addresses for reports already: {names}")

        self.edit(change)
        return notes

    async def domain_records(self, name: str) -> Report:
        """See ``IConfigurationOperations``."""
        loaded = self.load()
        key = domain_key(loaded.domains, name)
        # What is retired is about to leave the DNS.
        keys = [row for row in await self.dkim_list(key) if row["state"] != "retired"]
        problems = [f"{row['selector']}: {row['problem']}" for row in keys if row["problem"]]
        if problems:
            raise MailError("; ".join(problems))
        texts = [(row["selector"], row["record"]) for row in keys]
        records = dns_records(loaded.static, key, loaded.domains.domains[key], texts)
        return [asdict(record) for record in records]
