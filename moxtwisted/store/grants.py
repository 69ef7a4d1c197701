"""Who shares with whom, server-wide: an index of the access control lists of all accounts.

The lists themselves are in the owners' databases (``moxtwisted.store.acl``); the index only says in whose to look, so that somebody
to whom nobody shares anything costs nothing, and an account that shares nothing is never opened for others::

    store.grants.owners("bob")                      # frozenset({"alice"})
    await store.grants.change(account, mailbox, "bob", "add", frozenset("lr"))

It is never short of what the lists have: an owner is entered, on disk, before a list names somebody, and taken out after
the last one does not any more. When the process dies between, somebody is looked for in vain; that is put right when the owner's
account is opened next. Lost (``grants.db`` is not among the files that were restored, say), it is made again from all accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import MailError, StoreFullError, StoreUnavailableError
from moxtwisted.store.acl import Mode, Rights
from moxtwisted.store.database import Database, create_database
from moxtwisted.store.interfaces import IGrants
from moxtwisted.store.lanes import Lane, SingleConnection
from moxtwisted.store.writer import WriterPool

__all__ = ["ANYONE", "Grants"]

log = Logger()

ANYONE: Final = "anyone"
_NOBODY: Final[frozenset[str]] = frozenset()


@implementer(IGrants)
class Grants:
    """The index. Its file is made when somebody shares something for the first time."""

    def __init__(self, path: Path, key: bytes | None, pool: WriterPool) -> None:
        self._path = path
        self._key = key
        self._pool = pool
        self._database: Database | None = None
        self._lane: Lane | None = None
        self._lock = DeferredLock()
        self._named: dict[str, frozenset[str]] = {}  # by owner
        self._owners: dict[str, frozenset[str]] = {}  # by who is named
        self._listeners: list[tuple[str, Callable[[str], None]]] = []
        #: Called with who is named, or ceased to be, and the owner of the list.
        self.changed: Callable[[frozenset[str], str], None] = lambda identifiers, owner: None

    def open(self, found: Callable[[], Mapping[str, Iterable[str]]]) -> None:
        """Read the file, or make it again.

        :param found: for the latter: reads the lists of all accounts; who is named in them, by owner. When there are no accounts
            it gives nothing, and no file is made.
        :raises KeyRefusedError: when it was written with another key.
        """
        if self._path.exists():
            self._attach()
            return
        lists = found()
        for owner, identifiers in lists.items():
            self._remember(owner, frozenset(identifiers))
        if lists:
            try:
                self._attach()
            except StoreFullError:
                log.warn("no room for the index of shared mailboxes: it is made again at the next start")

    def _attach(self) -> Lane | None:
        """The way to the file, which is made if it is not there."""
        if self._lane is None:
            made = not self._path.exists()
            if made:
                create_database(self._path, self._key, "grants", room=self._pool.room)
            database = self._database = Database.open(self._path, self._key, "grants", self._pool.room)
            self._lane = self._pool.lane(SingleConnection(database.writer), database.tidy, database.make_room)
            for identifier, owner in database.reader.execute("SELECT identifier, owner FROM grants"):
                self._remember(owner, self.named(owner) | {identifier})
            if made:
                for owner, identifiers in self._named.items():
                    self._write(owner, identifiers)
        return self._lane

    # -- asking --------------------------------------------------------------------------------------------------

    def owners(self, account: str) -> frozenset[str]:
        """Accounts whose lists name this one, or anyone; itself may be among them."""
        if not self._owners:
            return _NOBODY
        return self._owners.get(account, _NOBODY) | self._owners.get(ANYONE, _NOBODY)

    def naming(self, identifier: str) -> frozenset[str]:
        """Accounts whose lists name just this one."""
        return self._owners.get(identifier, _NOBODY)

    def named(self, owner: str) -> frozenset[str]:
        """Whom the lists of an account name."""
        return self._named.get(owner, _NOBODY)

    def listen(self, account: str, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call it with an owner whose lists began to name this account or anyone, or ceased to; it only takes note.

        :return: stops that.
        """
        # One that is nobody else's: who listens twice stops each by itself.
        one = (account, partial(changed))
        self._listeners.append(one)
        return partial(self._listeners.remove, one)

    # -- changing ------------------------------------------------------------------------------------------------

    async def change(self, account: Any, mailbox: int, identifier: str, mode: Mode, rights: Rights) -> None:
        """Change an entry of a mailbox's list, and the index around it; one change at a time.

        :param account: an open ``Account``.
        :raises MailError: as ``AccessLists.change``.
        """
        name = identifier.removeprefix("-")
        await self._lock.acquire()
        try:
            if rights and mode != "remove" and name not in self.named(account.name):
                await self.put(account.name, self.named(account.name) | {name})
            try:
                await account.access.change(mailbox, identifier, mode, rights)
            finally:
                if not account.closed:
                    await self.settle(account)
        finally:
            self._lock.release()

    def settle(self, account: Any) -> Deferred[None]:
        """Have the index say exactly what the account's lists say."""
        return self.put(account.name, account.access.identifiers())

    def opened(self, account: Any) -> None:
        """An account was opened: what was left by a process that died, or came with a restored file, is put right."""
        if account.access.identifiers() != self.named(account.name):
            self.settle(account).addErrback(
                lambda failure: log.failure("the index of shared mailboxes was not written", failure)
            )

    def forget(self, owner: str) -> Deferred[None]:
        """An account is gone."""
        return self.put(owner, _NOBODY)

    async def withdraw(self, identifier: str, opened: Callable[[str], Any]) -> None:
        """Take an account's name off all lists: it is gone, and another one of that name shall not inherit.

        :param opened: gives an account by its name.
        """
        await self._lock.acquire()
        try:
            for owner in sorted(self.naming(identifier)):
                try:
                    account = opened(owner)
                    await account.access.withdraw(identifier)
                    await self.settle(account)
                except MailError:
                    log.failure("{identifier} stays in lists of {owner}", identifier=identifier, owner=owner)
        finally:
            self._lock.release()

    def put(self, owner: str, identifiers: frozenset[str]) -> Deferred[None]:
        """Enter whom the lists of an account name: in memory now; fires when it is on disk."""
        before = self.named(owner)
        if identifiers == before:
            return succeed(None)
        try:
            self._attach()
        except MailError as e:
            return fail(e)
        self._remember(owner, identifiers)

        def failed(failure: Any) -> Any:
            self._remember(owner, before)
            return failure

        return self._write(owner, identifiers).addErrback(failed)

    def _write(self, owner: str, identifiers: frozenset[str]) -> Deferred[None]:
        lane, database = self._lane, self._database
        if lane is None or database is None:
            return fail(StoreUnavailableError(f"{self._path} is not open"))
        execute = database.writer.execute

        def write() -> None:
            execute("DELETE FROM grants WHERE owner = ?", (owner,))
            for identifier in identifiers:
                execute("INSERT INTO grants VALUES (?, ?)", (identifier, owner))

        return lane.submit(write)

    def _remember(self, owner: str, identifiers: frozenset[str]) -> None:
        different = self.named(owner) ^ identifiers
        for identifier in self.named(owner) - identifiers:
            left = self._owners[identifier] - {owner}
            if left:
                self._owners[identifier] = left
            else:
                del self._owners[identifier]
        for identifier in identifiers - self.named(owner):
            self._owners[identifier] = self.naming(identifier) | {owner}
        if identifiers:
            self._named[owner] = identifiers
        else:
            self._named.pop(owner, None)
        for account, changed in tuple(self._listeners):
            if account in different or ANYONE in different:
                changed(owner)
        if different:
            self.changed(different, owner)

    def close(self) -> Deferred[Any]:
        """Finish pending commits, close the file."""
        if self._lane is None or self._database is None:
            return succeed(None)
        lane = self._lane
        done = lane.close(self._database.close)
        self._pool.release(lane)
        return done
