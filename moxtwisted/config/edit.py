"""Changes of the configuration files by the commands, which leave the operator's comments alone.

Each operation reads ``domains.conf``, changes it with tomlkit (which keeps comments, order and blanks), reads
the result as the server would, and only when that finds nothing wrong replaces the file atomically::

    editor = ConfigurationEditor(static_path, changed=watcher.check)
    await editor.alias_add("team@example.org", ["alice@example.org"], True, False)

A change that would be invalid raises `ConfigurationError` with every reason, and the file stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from moxtwisted.address import Address, canonical_localpart
from moxtwisted.config.atomic import replace_file
from moxtwisted.config.load import LoadedConfig, load, parse_domains, parse_static, read_octets
from moxtwisted.config.schema import Domain, DomainsConfig
from moxtwisted.errors import ConfigurationError, MailError
from moxtwisted.identifiers import Domain as DomainName
from moxtwisted.server.control.interfaces import IConfigurationEditor, Report

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = ["ConfigurationEditor", "NotThereError"]


class NotThereError(MailError):
    """What should be changed is not in the configuration."""

    reply_code = 550
    enhanced_code = "5.1.1"


class AlreadyThereError(MailError):
    """What should be added is in the configuration."""

    reply_code = 550
    enhanced_code = "5.3.5"


@implementer(IConfigurationEditor)
class ConfigurationEditor:
    """Edits the files beside a ``mox.conf``.

    :param changed: called after the files were replaced, so that the server takes them at once.
    """

    def __init__(self, static_path: Path, changed: Callable[[], None] = lambda: None) -> None:
        self._static_path = static_path
        self._changed = changed

    # -- reading and replacing ------------------------------------------------------------------------------

    def _load(self) -> LoadedConfig:
        """Both files as they are now.

        :raises ConfigurationError: when the operator left them invalid; then we do not touch them.
        """
        return load(self._static_path)

    def _edit(self, change: Callable[[TOMLDocument, LoadedConfig], None]) -> None:
        """Apply a change to ``domains.conf``."""
        import tomlkit  # 25 ms that no other command needs

        loaded = self._load()
        text = read_octets(loaded.domains_path).decode("utf-8-sig")
        try:
            document = tomlkit.parse(text)
            change(document, loaded)
            data = tomlkit.dumps(document).encode("utf-8")
        except MailError:
            raise
        except (tomlkit.exceptions.TOMLKitError, ValueError) as e:
            # Dotted keys and tables on one line can be written so that nothing may be added to them.
            where = loaded.domains_path
            raise ConfigurationError(
                (f"{where}: cannot be edited as it is written, please do it by hand: {e}",)
            ) from e
        parse_domains(data, loaded.static, loaded.domains_path.name)
        replace_file(loaded.domains_path, data)
        self._changed()

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
            for name, account in sorted(self._load().domains.accounts.items())
        ]

    def add_account(self, name: str, address: str, full_name: str) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            if name in loaded.domains.accounts:
                raise AlreadyThereError(f"account {name} is there already")
            account: dict[str, Any] = {"domain": _domain_of(address)}
            if full_name:
                account["full_name"] = full_name
            account["addresses"] = {address: {}}
            _subtable(document, "accounts")[name] = _plain(account)

        self._edit(change)

    def remove_account(self, name: str) -> list[str]:
        """See `IConfigurationEditor`."""
        notes: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            _account(document, name)
            if name == loaded.static.postmaster.account:
                raise MailError(
                    f"{name} is the postmaster's account and cannot go: name another in "
                    f"{loaded.static_path.name} (postmaster.account), and restart the server if it runs"
                )
            for address in loaded.domains.accounts[name].addresses:
                if not address.startswith("@"):
                    notes.extend(_leave_aliases(document, loaded.domains, address))
            del document["accounts"][name]

        self._edit(change)
        return notes

    async def account_disable(self, name: str, message: str) -> None:
        """See `IConfigurationEditor`."""
        text = message or "this account is disabled"
        self._edit(lambda document, _: _set(_account(document, name), "disabled", text))

    async def account_enable(self, name: str) -> None:
        """See `IConfigurationEditor`."""
        self._edit(lambda document, _: _forget(_account(document, name), "disabled"))

    # -- addresses ------------------------------------------------------------------------------------------

    async def address_list(self) -> Report:
        """See `IConfigurationEditor`."""
        return [
            {"address": address, "account": name, "mailbox": destination.mailbox}
            for name, account in sorted(self._load().domains.accounts.items())
            for address, destination in account.addresses.items()
        ]

    async def address_add(self, address: str, account: str, mailbox: str) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            table = _subtable(_account(document, account), "addresses")
            if address in table:
                raise AlreadyThereError(f"account {account} has {address} already")
            _set(table, address, _inline({} if mailbox in ("", "INBOX", "Inbox") else {"mailbox": mailbox}))

        self._edit(change)

    async def address_remove(self, address: str) -> list[str]:
        """See `IConfigurationEditor`."""
        notes: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            wanted = _canonical(loaded.domains, address)
            for name, account in loaded.domains.accounts.items():
                for text in account.addresses:
                    if _canonical(loaded.domains, text) == wanted:
                        notes.extend(_leave_aliases(document, loaded.domains, text))
                        del _account(document, name)["addresses"][text]
                        return
            raise NotThereError(f"no account has the address {address}")

        self._edit(change)
        return notes

    # -- keys of TLS clients --------------------------------------------------------------------------------

    async def tls_key_list(self, account: str) -> Report:
        """See `IConfigurationEditor`."""
        accounts = self._load().domains.accounts
        if account and account not in accounts:
            raise NotThereError(f"there is no account {account}")
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
            wanted = _canonical(loaded.domains, login)
            owner = next(
                (
                    account
                    for account, settings in accounts.items()
                    if any(_canonical(loaded.domains, a) == wanted for a in settings.addresses)
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
            _set(_subtable(_account(document, owner), "tls_public_keys"), fingerprint, _inline(key))

        self._edit(change)

    async def tls_key_remove(self, fingerprint: str) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            for name, account in loaded.domains.accounts.items():
                if fingerprint in account.tls_public_keys:
                    del _account(document, name)["tls_public_keys"][fingerprint]
                    return
            raise NotThereError(f"no account has the key {fingerprint}")

        self._edit(change)

    # -- domains --------------------------------------------------------------------------------------------

    async def domain_list(self) -> Report:
        """See `IConfigurationEditor`."""
        domains = self._load().domains
        counts: dict[str, int] = {}
        for account in domains.accounts.values():
            for address in account.addresses:
                name = DomainName.parse(_domain_of(address)).ascii
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
            _subtable(document, "domains")[name] = _plain(domain)

        self._edit(change)

    async def domain_remove(self, name: str) -> list[str]:
        """See `IConfigurationEditor`."""
        notes: list[str] = []

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            key = _domain_key(loaded.domains, name)
            if users := _users(loaded.domains, key):
                listed = ", ".join(users[:10]) + (f" and {len(users) - 10} more" if len(users) > 10 else "")
                raise MailError(
                    f"domain {key} is in use by {listed}: remove these accounts (moxmail account rm), or take "
                    "their addresses there away (moxmail address rm) and give them another domain in domains.conf"
                )
            for localpart, alias in loaded.domains.domains[key].aliases.items():
                notes.append(f"the alias {localpart}@{key} was removed with it: {', '.join(alias.addresses)}")
            del document["domains"][key]

        self._edit(change)
        return notes

    async def domain_disable(self, name: str) -> None:
        """See `IConfigurationEditor`."""
        self._edit(lambda document, loaded: _set(_domain(document, loaded, name), "disabled", value=True))

    async def domain_enable(self, name: str) -> None:
        """See `IConfigurationEditor`."""
        self._edit(lambda document, loaded: _forget(_domain(document, loaded, name), "disabled"))

    # -- aliases --------------------------------------------------------------------------------------------

    async def alias_list(self, domain: str) -> Report:
        """See `IConfigurationEditor`."""
        domains = self._load().domains
        wanted = _domain_key(domains, domain) if domain else ""
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
            aliases = _subtable(_domain(document, loaded, name), "aliases")
            if localpart in aliases:
                raise AlreadyThereError(f"alias {address} is there already")
            alias: dict[str, Any] = {"addresses": list(members)}
            if not post_public:
                alias["post_public"] = False
            if allow_message_from:
                alias["allow_message_from"] = True
            _set(aliases, localpart, _inline(alias))

        self._edit(change)

    async def alias_update(
        self, address: str, post_public: bool | None, allow_message_from: bool | None
    ) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            alias = _alias(document, loaded, address)
            if post_public is not None:
                _set(alias, "post_public", post_public)
            if allow_message_from is not None:
                _set(alias, "allow_message_from", allow_message_from)

        self._edit(change)

    async def alias_remove(self, address: str) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            name, localpart = _alias_key(loaded.domains, address)
            del document["domains"][name]["aliases"][localpart]

        self._edit(change)

    async def alias_add_members(self, address: str, members: Sequence[str]) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            addresses = _alias(document, loaded, address)["addresses"]
            there = {_canonical(loaded.domains, member) for member in addresses}
            for member in members:
                if (key := _canonical(loaded.domains, member)) not in there:
                    there.add(key)
                    addresses.append(member)

        self._edit(change)

    async def alias_remove_members(self, address: str, members: Sequence[str]) -> None:
        """See `IConfigurationEditor`."""

        def change(document: TOMLDocument, loaded: LoadedConfig) -> None:
            addresses = _alias(document, loaded, address)["addresses"]
            for member in members:
                at = _index(loaded.domains, addresses, member)
                if at is None:
                    raise NotThereError(f"{member} is no member of {address}")
                del addresses[at]

        self._edit(change)

    # -- the store's key ------------------------------------------------------------------------------------

    def set_encryption(self, encryption: bool) -> None:
        """Note in ``mox.conf`` whether the store is encrypted."""
        import tomlkit

        document = tomlkit.parse(read_octets(self._static_path).decode("utf-8-sig"))
        _set(_subtable(document, "store"), "encryption", encryption)
        data = tomlkit.dumps(document).encode("utf-8")
        parse_static(data, self._static_path.name)
        replace_file(self._static_path, data)


# -- finding things in the document ------------------------------------------------------------------------


def _plain(value: dict[str, Any]) -> Any:
    """A table with its own header line; tables in it stand on one line each."""
    import tomlkit

    table = tomlkit.table()
    for key, inner in value.items():
        if isinstance(inner, dict):
            nested = tomlkit.table()
            for k, v in inner.items():
                nested[k] = _inline(v)
            nested.add(tomlkit.nl())
            table[key] = nested
        else:
            table[key] = inner
    if not any(isinstance(inner, dict) for inner in value.values()):
        table.add(tomlkit.nl())
    return table


def _inline(value: dict[str, Any]) -> Any:
    import tomlkit

    table = tomlkit.inline_table()
    table.update(value)
    return table


def _subtable(container: Any, name: str) -> Any:
    """A table within another, made if it is not there."""
    import tomlkit

    if name not in container:
        _set(container, name, tomlkit.table(is_super_table=name in ("accounts", "domains")))
    return container[name]


def _set(table: Any, key: str, value: Any) -> None:
    """Set a key; a new one stands below the others, and above comments that belong to what follows the table."""
    from tomlkit.items import Table

    if key in table or not isinstance(table, Table):
        table[key] = value
        return
    body = table.value.body
    trailing: list[Any] = []
    while body and body[-1][0] is None:
        trailing.append(body.pop())
    table[key] = value
    body.extend(reversed(trailing))


def _forget(table: Any, key: str) -> None:
    if key in table:
        del table[key]


def _account(document: TOMLDocument, name: str) -> Any:
    accounts: Any = document.get("accounts", {})
    if name not in accounts:
        raise NotThereError(f"there is no account {name}")
    return accounts[name]


def _domain_key(domains: DomainsConfig, name: str) -> str:
    """The spelling of a domain in the file."""
    wanted = DomainName.parse(name)
    for key in domains.domains:
        if DomainName.parse(key) == wanted:
            return key
    raise NotThereError(f"there is no domain {name}")


def _users(domains: DomainsConfig, name: str) -> list[str]:
    """The accounts that belong to a domain or have addresses there."""
    wanted = DomainName.parse(name)
    return [
        account_name
        for account_name, account in sorted(domains.accounts.items())
        if any(
            DomainName.parse(used) == wanted for used in (account.domain, *map(_domain_of, account.addresses))
        )
    ]


def _domain(document: TOMLDocument, loaded: LoadedConfig, name: str) -> Any:
    return document["domains"][_domain_key(loaded.domains, name)]


def _domain_of(address: str) -> str:
    """What stands behind the last @."""
    _, at, domain = address.rpartition("@")
    if not at or not domain:
        raise ConfigurationError((f'"{address[:80]}" found, an address expected',))
    return domain


def _canonical(domains: DomainsConfig, address: str) -> tuple[str, str]:
    """How an address is compared: local part as looked up, and domain."""
    if address.startswith("@"):
        return "", DomainName.parse(address[1:]).ascii
    parsed = Address.parse(address)
    name = parsed.domain.ascii
    settings = next(
        (d for key, d in domains.domains.items() if DomainName.parse(key).ascii == name), Domain()
    )
    separators, case = settings.localpart_separators, settings.case_sensitive
    return canonical_localpart(parsed.localpart, separators, case_sensitive=case), name


def _alias_key(domains: DomainsConfig, address: str) -> tuple[str, str]:
    """Domain and local part of an alias as the file spells them."""
    name = _domain_key(domains, _domain_of(address))
    wanted = _canonical(domains, address)
    for localpart in domains.domains[name].aliases:
        if _canonical(domains, f"{localpart}@{name}") == wanted:
            return name, localpart
    raise NotThereError(f"there is no alias {address}")


def _alias(document: TOMLDocument, loaded: LoadedConfig, address: str) -> Any:
    name, localpart = _alias_key(loaded.domains, address)
    return document["domains"][name]["aliases"][localpart]


def _index(domains: DomainsConfig, addresses: Sequence[str], wanted: str) -> int | None:
    key = _canonical(domains, wanted)
    return next((i for i, text in enumerate(addresses) if _canonical(domains, text) == key), None)


def _leave_aliases(document: TOMLDocument, domains: DomainsConfig, address: str) -> Iterator[str]:
    """Take an address out of all aliases; an alias without members goes. Says what it did."""
    for name, settings in domains.domains.items():
        for localpart in settings.aliases:
            aliases: Any = document["domains"][name]["aliases"]
            if localpart not in aliases:
                continue
            addresses = aliases[localpart]["addresses"]
            at = _index(domains, addresses, address)
            if at is None:
                continue
            del addresses[at]
            yield f"{address} was removed from the alias {localpart}@{name}"
            if not addresses:
                del aliases[localpart]
                yield f"the alias {localpart}@{name} had no other member and was removed"
