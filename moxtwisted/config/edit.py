"""Changes of the configuration files by the commands, which leave the operator's comments alone.

Each operation reads ``domains.conf``, changes it with tomlkit (which keeps comments, order and blanks), reads
the result as the server would, and only when that finds nothing wrong replaces the file atomically::

    editor = ConfigurationEditor(static_path, changed=watcher.check)
    await editor.alias_add("team@example.org", ["alice@example.org"], True, False)

A change that would be invalid raises `ConfigurationError` with every reason, and the file stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from moxtwisted.config.atomic import replace_file
from moxtwisted.config.document import (
    AlreadyThereError,
    NotThereError,
    account_table,
    alias_key,
    alias_table,
    canonical,
    domain_key,
    domain_of,
    domain_table,
    forget_key,
    index_of,
    inline_table,
    leave_aliases,
    plain_table,
    set_key,
    subtable,
    users_of,
)
from moxtwisted.config.editreports import ReportEdits
from moxtwisted.config.load import LoadedConfig, parse_static, read_octets
from moxtwisted.errors import MailError, no_account
from moxtwisted.identifiers import Domain as DomainName
from moxtwisted.server.control.interfaces import IConfigurationEditor, Report

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = ["ConfigurationEditor", "NotThereError"]


@implementer(IConfigurationEditor)
class ConfigurationEditor(ReportEdits):
    """Edits the files beside a ``mox.conf``.

    :param changed: called after the files were replaced, so that the server takes them at once.
    """

    # -- accounts -------------------------------------------------------------------------------------------

    def accounts(self) -> Report:
        """See `IConfigurationEditor`."""
        return [
            {
                "name": name,
                "domain": account.domain,
                "full_name": account.full_name,
                "disabled": account.disabled,
                "addresses": list(account.addresses),
                "quota_octets": account.quota_octets,
            }
            for name, account in sorted(self.load().domains.accounts.items())
        ]

    def add_account(self, name: str, address: str, full_name: str) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            if name in loaded.domains.accounts:
                raise AlreadyThereError(f"account {name} is there already")
            account: dict[str, Any] = {"domain": domain_of(address)}
            if full_name:
                account["full_name"] = full_name
            account["addresses"] = {address: {}}
            subtable(document, "accounts")[name] = plain_table(account)

        self.edit(change)

    def remove_account(self, name: str) -> list[str]:
        """See `IConfigurationEditor`."""
        notes: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            account_table(document, name)
            if name == loaded.static.postmaster.account:
                raise MailError(
                    f"{name} is the postmaster's account and cannot go: name another in "
                    f"{loaded.static_path.name} (postmaster.account), and restart the server if it runs"
                )
            for address in loaded.domains.accounts[name].addresses:
                if not address.startswith("@"):
                    notes.extend(leave_aliases(document, loaded.domains, address))
            del document["accounts"][name]

        self.edit(change)
        return notes

    async def account_disable(self, name: str, message: str) -> None:
        """See `IConfigurationEditor`."""
        text = message or "this account is disabled"
        self.edit(lambda document, _: set_key(account_table(document, name), "disabled", text))

    async def account_enable(self, name: str) -> None:
        """See `IConfigurationEditor`."""
        self.edit(lambda document, _: forget_key(account_table(document, name), "disabled"))

    # -- addresses ------------------------------------------------------------------------------------------

    async def address_list(self) -> Report:
        """See `IConfigurationEditor`."""
        return [
            {"address": address, "account": name, "mailbox": destination.mailbox}
            for name, account in sorted(self.load().domains.accounts.items())
            for address, destination in account.addresses.items()
        ]

    async def address_add(self, address: str, account: str, mailbox: str) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            table = subtable(account_table(document, account), "addresses")
            if address in table:
                raise AlreadyThereError(f"account {account} has {address} already")
            set_key(
                table,
                address,
                inline_table({} if mailbox in ("", "INBOX", "Inbox") else {"mailbox": mailbox}),
            )

        self.edit(change)

    async def address_remove(self, address: str) -> list[str]:
        """See `IConfigurationEditor`."""
        notes: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            wanted = canonical(loaded.domains, address)
            for name, account in loaded.domains.accounts.items():
                for text in account.addresses:
                    if canonical(loaded.domains, text) == wanted:
                        notes.extend(leave_aliases(document, loaded.domains, text))
                        del account_table(document, name)["addresses"][text]
                        return
            raise NotThereError(f"no account has the address {address}")

        self.edit(change)
        return notes

    # -- keys of TLS clients --------------------------------------------------------------------------------

    async def tls_key_list(self, account: str) -> Report:
        """See `IConfigurationEditor`."""
        accounts = self.load().domains.accounts
        if account and account not in accounts:
            raise NotThereError(no_account(account))
        return [
            {
                "account": name,
                "fingerprint": fingerprint,
                "name": key.name,
                "login": key.login or next((a for a in settings.addresses if not a.startswith("@")), name),
                "imap_preauth": key.imap_preauth,
            }
            for name, settings in sorted(accounts.items())
            if account in ("", name)
            for fingerprint, key in settings.tls_public_keys.items()
        ]

    async def tls_key_add(self, login: str, fingerprint: str, name: str, imap_preauth: bool) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            accounts = loaded.domains.accounts
            wanted = canonical(loaded.domains, login)
            owner = next(
                (
                    account
                    for account, settings in accounts.items()
                    if any(canonical(loaded.domains, a) == wanted for a in settings.addresses)
                ),
                None,
            )
            if owner is None or login.startswith("@"):
                raise NotThereError(f"no account has the address {login}")
            if any(fingerprint in settings.tls_public_keys for settings in accounts.values()):
                raise AlreadyThereError("the key is there already, see moxmail config tlspubkey list")
            key: dict[str, Any] = {"login": login}
            if name:
                key["name"] = name
            if not imap_preauth:
                key["imap_preauth"] = False
            set_key(
                subtable(account_table(document, owner), "tls_public_keys"), fingerprint, inline_table(key)
            )

        self.edit(change)

    async def tls_key_remove(self, fingerprint: str) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            for name, account in loaded.domains.accounts.items():
                if fingerprint in account.tls_public_keys:
                    del account_table(document, name)["tls_public_keys"][fingerprint]
                    return
            raise NotThereError(f"no account has the key {fingerprint}")

        self.edit(change)

    # -- domains --------------------------------------------------------------------------------------------

    async def domain_list(self) -> Report:
        """See `IConfigurationEditor`."""
        domains = self.load().domains
        counts: dict[str, int] = {}
        for account in domains.accounts.values():
            for address in account.addresses:
                name = DomainName.parse(domain_of(address)).ascii
                counts[name] = counts.get(name, 0) + 1
        return [
            {
                "name": name,
                "disabled": domain.disabled,
                "description": domain.description,
                "addresses": counts.get(DomainName.parse(name).ascii, 0),
                "aliases": len(domain.aliases),
            }
            for name, domain in sorted(domains.domains.items())
        ]

    async def domain_add(self, name: str, description: str, disabled: bool) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            if name in loaded.domains.domains:
                raise AlreadyThereError(f"domain {name} is there already")
            domain: dict[str, Any] = {}
            if disabled:
                domain["disabled"] = True
            if description:
                domain["description"] = description
            subtable(document, "domains")[name] = plain_table(domain)

        self.edit(change)

    async def domain_remove(self, name: str) -> list[str]:
        """See `IConfigurationEditor`."""
        notes: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            key = domain_key(loaded.domains, name)
            if users := users_of(loaded.domains, key):
                listed = ", ".join(users[:10]) + (f" and {len(users) - 10} more" if len(users) > 10 else "")
                raise MailError(
                    f"domain {key} is in use by {listed}: remove these accounts (moxmail account rm), or take "
                    "their addresses there away (moxmail address rm) and give them another domain in domains.conf"
                )
            for localpart, alias in loaded.domains.domains[key].aliases.items():
                notes.append(f"the alias {localpart}@{key} was removed with it: {', '.join(alias.addresses)}")
            del document["domains"][key]

        self.edit(change)
        return notes

    async def domain_disable(self, name: str) -> None:
        """See `IConfigurationEditor`."""
        self.edit(
            lambda document, loaded: set_key(domain_table(document, loaded, name), "disabled", value=True)
        )

    async def domain_enable(self, name: str) -> None:
        """See `IConfigurationEditor`."""
        self.edit(lambda document, loaded: forget_key(domain_table(document, loaded, name), "disabled"))

    # -- aliases --------------------------------------------------------------------------------------------

    async def alias_list(self, domain: str) -> Report:
        """See `IConfigurationEditor`."""
        domains = self.load().domains
        wanted = domain_key(domains, domain) if domain else ""
        return [
            {
                "address": f"{localpart}@{name}",
                "members": list(alias.addresses),
                "post_public": alias.post_public,
                "allow_message_from": alias.allow_message_from,
            }
            for name, settings in sorted(domains.domains.items())
            if not wanted or name == wanted
            for localpart, alias in sorted(settings.aliases.items())
        ]

    async def alias_add(
        self, address: str, members: Sequence[str], post_public: bool, allow_message_from: bool
    ) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            localpart, _, name = address.rpartition("@")
            aliases = subtable(domain_table(document, loaded, name), "aliases")
            if localpart in aliases:
                raise AlreadyThereError(f"alias {address} is there already")
            alias: dict[str, Any] = {"addresses": list(members)}
            if not post_public:
                alias["post_public"] = False
            if allow_message_from:
                alias["allow_message_from"] = True
            set_key(aliases, localpart, inline_table(alias))

        self.edit(change)

    async def alias_update(
        self, address: str, post_public: bool | None, allow_message_from: bool | None
    ) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            alias = alias_table(document, loaded, address)
            if post_public is not None:
                set_key(alias, "post_public", post_public)
            if allow_message_from is not None:
                set_key(alias, "allow_message_from", allow_message_from)

        self.edit(change)

    async def alias_remove(self, address: str) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            name, localpart = alias_key(loaded.domains, address)
            del document["domains"][name]["aliases"][localpart]

        self.edit(change)

    async def alias_add_members(self, address: str, members: Sequence[str]) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            addresses = alias_table(document, loaded, address)["addresses"]
            there = {canonical(loaded.domains, member) for member in addresses}
            for member in members:
                if (key := canonical(loaded.domains, member)) not in there:
                    there.add(key)
                    addresses.append(member)

        self.edit(change)

    async def alias_remove_members(self, address: str, members: Sequence[str]) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            addresses = alias_table(document, loaded, address)["addresses"]
            for member in members:
                at = index_of(loaded.domains, addresses, member)
                if at is None:
                    raise NotThereError(f"{member} is no member of {address}")
                del addresses[at]

        self.edit(change)

    # -- the store's key ------------------------------------------------------------------------------------

    def set_encryption(self, encryption: bool) -> None:
        """Note in ``mox.conf`` whether the store is encrypted."""
        import tomlkit

        document = tomlkit.parse(read_octets(self._static_path).decode("utf-8-sig"))
        set_key(subtable(document, "store"), "encryption", encryption)
        data = tomlkit.dumps(document).encode("utf-8")
        parse_static(data, self._static_path.name)
        replace_file(self._static_path, data)
