"""The lists of senders to let in and keep out, from the configuration and the files that it names.

::

    lists = SenderLists(loaded, reactor)
    policy = lists.policy()
    lists.use(domains)                           # a new domains.conf is in force
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import DomainsConfig

if TYPE_CHECKING:
    from moxtwisted.server.inbound.senderlists import SenderList, Together
    from moxtwisted.server.inbound.senderpolicy import AccountLists, SenderPolicy

__all__ = ["SenderLists"]


class SenderLists:
    """One of it in a process."""

    def __init__(self, loaded: LoadedConfig, reactor: Any) -> None:
        self._loaded = loaded
        self._domains = loaded.domains
        self._reactor = reactor
        self._accounts: dict[str, AccountLists] | None = None

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self._domains = domains
        self._accounts = None

    def policy(self) -> SenderPolicy:
        """What they mean for a message."""
        from moxtwisted.server.inbound.senderlists import ListFile, Together
        from moxtwisted.server.inbound.senderpolicy import AccountLists, SenderPolicy

        def together(names: tuple[str, ...]) -> Together:
            return Together(
                tuple(ListFile(self._loaded.resolve(name), self._reactor.seconds) for name in names)
            )

        nobody = AccountLists()
        senders = self._loaded.static.senders
        return SenderPolicy(
            together(senders.allow_files),
            together(senders.block_files),
            lambda name: self._account_lists().get(name, nobody),
        )

    def _account_lists(self) -> dict[str, AccountLists]:
        if self._accounts is None:
            from moxtwisted.server.inbound.senderpolicy import AccountLists

            self._accounts = {
                name: AccountLists(
                    _sender_list(account.allow_senders, "allow_senders"),
                    _sender_list(account.block_senders, "block_senders"),
                )
                for name, account in self._domains.accounts.items()
                if account.allow_senders or account.block_senders
            }
        return self._accounts


def _sender_list(entries: tuple[str, ...], where: str) -> SenderList:
    from moxtwisted.server.inbound.senderlists import SenderList, parse_entry

    return SenderList([parse_entry(entry.split(), where) for entry in entries])
