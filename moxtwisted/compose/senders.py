"""The lists of senders to let in and keep out, from the configuration and the files that it names.

::

    lists = SenderLists(loaded, reactor)
    policy = lists.policy()
    lists.use(domains)                           # a new domains.conf is in force

In a process that cannot open the files, with what another one looks after::

    lists = SenderLists(loaded, reactor, handed=True)
    lists.hand(path, descriptor)                 # whenever the other one's ListWatch finds a change
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import DomainsConfig

if TYPE_CHECKING:
    from moxtwisted.server.inbound.senderlists import HandedListFile, SenderList, Together
    from moxtwisted.server.inbound.senderpolicy import AccountLists, SenderPolicy

__all__ = ["ListWatch", "SenderLists"]


class SenderLists:
    """One of it in a process.

    :param handed: the files are never opened here; see ``hand``.
    """

    def __init__(self, loaded: LoadedConfig, reactor: Any, *, handed: bool = False) -> None:
        self._loaded = loaded
        self._handed: dict[str, list[HandedListFile]] | None = {} if handed else None
        self._domains = loaded.domains
        self._reactor = reactor
        self._accounts: dict[str, AccountLists] | None = None

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self._domains = domains
        self._accounts = None

    def hand(self, path: str, descriptor: int | None) -> None:
        """Use what is in an open file from now on.

        :param descriptor: stays the caller's; None: there is no file.
        """
        for file in (self._handed or {}).get(path, ()):
            file.use(descriptor)

    def policy(self) -> SenderPolicy:
        """What they mean for a message."""
        from moxtwisted.server.inbound.senderlists import HandedListFile, ListFile, Together
        from moxtwisted.server.inbound.senderpolicy import AccountLists, SenderPolicy

        def one(name: str) -> ListFile:
            path = self._loaded.resolve(name)
            if self._handed is None:
                return ListFile(path, self._reactor.seconds)
            handed = HandedListFile(path, self._reactor.seconds)
            self._handed.setdefault(str(path), []).append(handed)
            return handed

        def together(names: tuple[str, ...]) -> Together:
            return Together(tuple(map(one, names)))

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


class ListWatch:
    """Looks after the files for processes that cannot open them.

    :ivar paths: of all files.
    """

    def __init__(self, loaded: LoadedConfig) -> None:
        senders = loaded.static.senders
        names = dict.fromkeys((*senders.allow_files, *senders.block_files))
        self.paths = [loaded.resolve(name) for name in names]
        self._states: dict[Path, tuple[int, int, int] | None] = {
            path: self._state(path) for path in self.paths
        }

    @staticmethod
    def _state(path: Path) -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def changed(self) -> list[Path]:
        """Those that are not what they were when this was asked last."""
        found = []
        for path in self.paths:
            state = self._state(path)
            if state != self._states[path]:
                self._states[path] = state
                found.append(path)
        return found

    @staticmethod
    def open(path: Path) -> int | None:
        """A descriptor of the file, for its reader alone; None: it is not there. :raises OSError:"""
        try:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None


def _sender_list(entries: tuple[str, ...], where: str) -> SenderList:
    from moxtwisted.server.inbound.senderlists import SenderList, parse_entry

    return SenderList([parse_entry(entry.split(), where) for entry in entries])
