"""Accounts of the store that share mailboxes, as the IMAP session of one of them sees it: ``IShares``.

Others' accounts are opened when they are wanted and let go of when the session ends. Which accounts those can be is in the store's
index; an account that is not in the directory any more shares nothing, one that is only switched off (its log-in is refused) still does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from attrs import define, field
from twisted.internet.task import deferLater
from zope.interface import implementer

from moxtwisted.errors import MailboxMissingError, StoreUnavailableError
from moxtwisted.imap.backend import Appended, ISession
from moxtwisted.imap.notification import IHappeningFeed
from moxtwisted.imap.rights import Modification, Rights, flags_within
from moxtwisted.imap.sharing import IShares, Transfer
from moxtwisted.server.directory import DirectoryHolder
from moxtwisted.server.imapd.mail import SelectedMailbox
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.store.accounts import Account
from moxtwisted.store.interfaces import Copied
from moxtwisted.store.store import Store
from moxtwisted.store.transplant import Destination, copy_within, transplant

__all__ = ["StoreShares"]

#: Accounts of others that one session holds.
_MOST_HELD: Final = 64
#: How long opening them holds the reactor, seconds.
_SLICE_SECONDS: Final = 0.01


@implementer(IShares)
@define(eq=False)
class StoreShares:
    """See ``IShares``; one for each session."""

    user: str
    _store: Store
    _directory: DirectoryHolder
    #: Makes a session of an account, as its owner would have it.
    _session: Callable[[Account], ISession]
    _places: IPlaces = field(factory=AllHere)
    _held: OrderedDict[str, tuple[Account, ISession]] = field(factory=OrderedDict, init=False)

    def owners(self) -> Collection[str]:
        """See ``IShares``."""
        owners = self._store.grants.owners(self.user)
        if not owners:
            return owners
        accounts = self._directory.current.accounts
        return [owner for owner in owners if owner != self.user and owner in accounts]

    def _account(self, owner: str) -> Account | None:
        if owner == self.user or owner in self._directory.current.accounts:
            try:
                return self._store.account(owner)
            except StoreUnavailableError:
                pass
        self._held.pop(owner, None)
        return None

    def mail(self, owner: str) -> ISession | None:
        """See ``IShares``."""
        account = self._account(owner)
        if account is None:
            return None
        held = self._held.get(owner)
        if held is None or held[0] is not account:
            held = self._held[owner] = (account, self._session(account))
            if len(self._held) > _MOST_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(owner)
        return held[1]

    def prepare(self, owners: Collection[str] | None = None) -> Any:
        """See ``IShares``."""
        wanted = self.owners() if owners is None else owners
        closed = [owner for owner in wanted if not self._store.opened(owner)]
        # Whoever shares something is here, or on his way.
        coming = any(map(self._places.is_away, closed))
        return self._open(closed) if len(closed) > 1 or coming else None

    def listen(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """See ``IShares``."""
        return self._store.grants.listen(self.user, changed)

    def watch(self, owner: str, limit: int, wake: Callable[[], None]) -> IHappeningFeed | None:
        """See ``IShares``; as long as somebody watches, the account stays open."""
        account = self._account(owner)
        return cast("IHappeningFeed", account.watch(limit, wake)) if account is not None else None

    async def _open(self, owners: Sequence[str]) -> None:
        clock = self._store.workplace.clock
        began = clock.seconds()
        for owner in owners:
            if self._places.is_away(owner):
                with suppress(StoreUnavailableError):
                    await self._places.home(owner)
            self.mail(owner)
            if clock.seconds() - began > _SLICE_SECONDS:
                await deferLater(clock, 0)
                began = clock.seconds()

    # -- lists -------------------------------------------------------------------------------------------------
    def acls(self, owner: str) -> Mapping[str, Mapping[str, Rights]]:
        """See ``IShares``."""
        account = self._account(owner)
        if account is None:
            return {}
        named = ((account.mailbox_by_id(key), entries) for key, entries in account.access.all().items())
        return {mailbox.name: entries for mailbox, entries in named if mailbox is not None}

    def acl(self, owner: str, mailbox: str) -> Mapping[str, Rights] | None:
        """See ``IShares``."""
        account = self._account(owner)
        found = account.mailbox(mailbox) if account is not None else None
        return account.access.of(found.id) if account is not None and found is not None else None

    def follow(self, owner: str, mailbox: str) -> Callable[[], Mapping[str, Rights] | None]:
        """See ``IShares``."""
        account, key = self._existing(owner, mailbox)
        state = account.state(key)
        directory = self._directory

        def now() -> Mapping[str, Rights] | None:
            if account.closed or not state.exists or owner not in directory.current.accounts:
                return None
            return account.access.of(key)

        return now

    def _existing(self, owner: str, mailbox: str) -> tuple[Account, int]:
        account = self._account(owner)
        found = account.mailbox(mailbox) if account is not None else None
        if account is None or found is None:
            raise MailboxMissingError(mailbox)
        return account, found.id

    def identify(self, identifier: str) -> str | None:
        """See ``IShares``."""
        directory = self._directory.current
        entry = directory.accounts.get(identifier) or directory.account_of_login(identifier)
        return entry.name if entry is not None else None

    async def set_acl(self, owner: str, mailbox: str, identifier: str, modification: Modification) -> None:
        """See ``IShares``."""
        account, key = self._existing(owner, mailbox)
        await self._store.grants.change(account, key, identifier, modification.mode, modification.rights)

    # -- messages ----------------------------------------------------------------------------------------------
    async def transfer(self, transfer: Transfer) -> Appended:
        """See ``IShares``."""
        account, key = self._existing(transfer.target_owner, transfer.target)
        selected = cast("SelectedMailbox", transfer.source)
        kept = flags_within(transfer.rights)
        source = self._account(transfer.source_owner)
        if source is None:
            raise MailboxMissingError(transfer.source_owner)
        if source is account:
            copied: Copied = await account.submit(
                copy_within, selected.id, transfer.uids, key, kept, transfer.move
            )
        else:
            to = Destination(account, key, kept)
            copied = await transplant(source, selected.id, transfer.uids, to, self._store.workplace)
            if transfer.move and copied.source_uids:
                # Only now: what happens before leaves two copies at worst.
                await source.expunge(selected.id, copied.source_uids, only_deleted=False)
        return Appended(copied.uidvalidity, copied.uids, copied.source_uids)

    def release(self) -> None:
        """See ``IShares``."""
        self._held.clear()
