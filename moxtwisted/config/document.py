"""A ``domains.conf`` that is changed in place: tables are found and altered in tomlkit's document, which keeps comments, order and blanks.

::

    class Edits(DomainsFile):
        def rename(self) -> None:
            self.edit(lambda document, loaded: set_key(account_table(document, "alice"), "full_name", "Alice"))

What comes out is read as the server would, and replaces the file only when nothing is wrong with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moxtwisted.address import Address, canonical_localpart
from moxtwisted.config.atomic import replace_file
from moxtwisted.config.load import LoadedConfig, load, parse_domains, read_octets
from moxtwisted.config.schema import Domain, DomainsConfig
from moxtwisted.errors import ConfigurationError, MailError, no_account
from moxtwisted.identifiers import Domain as DomainName

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = [
    "AlreadyThereError",
    "DomainsFile",
    "NotThereError",
    "account_table",
    "alias_key",
    "alias_table",
    "canonical",
    "domain_key",
    "domain_of",
    "domain_table",
    "forget_key",
    "index_of",
    "inline_table",
    "leave_aliases",
    "plain_table",
    "set_key",
    "subtable",
    "users_of",
]


class NotThereError(MailError):
    """What should be changed is not in the configuration."""

    reply_code = 550
    enhanced_code = "5.1.1"


class AlreadyThereError(MailError):
    """What should be added is in the configuration."""

    reply_code = 550
    enhanced_code = "5.3.5"


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class DomainsFile:
    """The files beside a ``mox.conf``.

    :param changed: called after the files were replaced, so that the server takes them at once.
    :param in_thread: calls a function that takes long where it holds nobody up, as ``deferToThread``.
    """

    def __init__(
        self,
        static_path: Path,
        changed: Callable[[], None] = lambda: None,
        in_thread: Callable[..., Awaitable[Any]] = _at_once,
    ) -> None:
        self._static_path = static_path
        self._changed = changed
        self._in_thread = in_thread

    # -- reading and replacing ------------------------------------------------------------------------------

    def load(self) -> LoadedConfig:
        """Both files as they are now.

        :raises ConfigurationError: when the operator left them invalid; then we do not touch them.
        """
        return load(self._static_path)

    def edit(self, change: Callable[[TOMLDocument, LoadedConfig], None]) -> None:
        """Apply a change to ``domains.conf``."""
        import tomlkit  # 25 ms that no other command needs

        loaded = self.load()
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


def plain_table(value: dict[str, Any]) -> Any:
    """A table with its own header line; tables in it stand on one line each."""
    import tomlkit

    table = tomlkit.table()
    for key, inner in value.items():
        if isinstance(inner, dict):
            nested = tomlkit.table()
            for k, v in inner.items():
                nested[k] = inline_table(v)
            nested.add(tomlkit.nl())
            table[key] = nested
        else:
            table[key] = inner
    if not any(isinstance(inner, dict) for inner in value.values()):
        table.add(tomlkit.nl())
    return table


def inline_table(value: dict[str, Any]) -> Any:
    """A table on one line."""
    import tomlkit

    table = tomlkit.inline_table()
    table.update(value)
    return table


def subtable(container: Any, name: str) -> Any:
    """A table within another, made if it is not there."""
    import tomlkit

    if name not in container:
        set_key(container, name, tomlkit.table(is_super_table=name in ("accounts", "domains")))
    return container[name]


def set_key(table: Any, key: str, value: Any) -> None:
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


def forget_key(table: Any, key: str) -> None:
    """Remove a key, if it is there."""
    if key in table:
        del table[key]


def account_table(document: TOMLDocument, name: str) -> Any:
    """The table of an account. :raises NotThereError:"""
    accounts: Any = document.get("accounts", {})
    if name not in accounts:
        raise NotThereError(no_account(name))
    return accounts[name]


def domain_key(domains: DomainsConfig, name: str) -> str:
    """The spelling of a domain in the file."""
    wanted = DomainName.parse(name)
    for key in domains.domains:
        if DomainName.parse(key) == wanted:
            return key
    raise NotThereError(f"there is no domain {name}")


def users_of(domains: DomainsConfig, name: str) -> list[str]:
    """The accounts that belong to a domain or have addresses there."""
    wanted = DomainName.parse(name)
    return [
        account_name
        for account_name, account in sorted(domains.accounts.items())
        if any(
            DomainName.parse(used) == wanted for used in (account.domain, *map(domain_of, account.addresses))
        )
    ]


def domain_table(document: TOMLDocument, loaded: LoadedConfig, name: str) -> Any:
    """The table of a domain, in whatever spelling. :raises NotThereError:"""
    return document["domains"][domain_key(loaded.domains, name)]


def domain_of(address: str) -> str:
    """What stands behind the last @."""
    _, at, domain = address.rpartition("@")
    if not at or not domain:
        raise ConfigurationError((f'"{address[:80]}" found, an address expected',))
    return domain


def canonical(domains: DomainsConfig, address: str) -> tuple[str, str]:
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


def alias_key(domains: DomainsConfig, address: str) -> tuple[str, str]:
    """Domain and local part of an alias as the file spells them."""
    name = domain_key(domains, domain_of(address))
    wanted = canonical(domains, address)
    for localpart in domains.domains[name].aliases:
        if canonical(domains, f"{localpart}@{name}") == wanted:
            return name, localpart
    raise NotThereError(f"there is no alias {address}")


def alias_table(document: TOMLDocument, loaded: LoadedConfig, address: str) -> Any:
    """The table of an alias. :raises NotThereError:"""
    name, localpart = alias_key(loaded.domains, address)
    return document["domains"][name]["aliases"][localpart]


def index_of(domains: DomainsConfig, addresses: Sequence[str], wanted: str) -> int | None:
    """Where an address stands in a list, in whatever spelling."""
    key = canonical(domains, wanted)
    return next((i for i, text in enumerate(addresses) if canonical(domains, text) == key), None)


def leave_aliases(document: TOMLDocument, domains: DomainsConfig, address: str) -> Iterator[str]:
    """Take an address out of all aliases; an alias without members goes. Says what it did."""
    for name, settings in domains.domains.items():
        for localpart in settings.aliases:
            aliases: Any = document["domains"][name]["aliases"]
            if localpart not in aliases:
                continue
            addresses = aliases[localpart]["addresses"]
            at = index_of(domains, addresses, address)
            if at is None:
                continue
            del addresses[at]
            yield f"{address} was removed from the alias {localpart}@{name}"
            if not addresses:
                del aliases[localpart]
                yield f"the alias {localpart}@{name} had no other member and was removed"
