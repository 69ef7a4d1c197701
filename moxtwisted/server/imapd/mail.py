"""An account of the store as the IMAP backend of one session.

Everything here translates; nothing decides. The store's mailbox state is handed to the IMAP session as it is
(its attributes are those of ``moxtwisted.imap.backend.IMailboxView``), so that a thousand sessions share one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, cast

from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import LimitError, MailboxMissingError, OverQuotaError
from moxtwisted.imap.backend import (
    Appended,
    IAppendSink,
    IMailboxView,
    IMessageBody,
    Incoming,
    ISelectedMailbox,
    ISession,
    MailboxInfo,
    MessageText,
    Stored,
)
from moxtwisted.imap.capabilities import OPTIONAL
from moxtwisted.imap.fuzzy import IFuzzyMailbox
from moxtwisted.imap.readahead import IReadingAhead
from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.imapd.annotations import AnnotatedAccount
from moxtwisted.server.imapd.notifying import WatchedAccount
from moxtwisted.server.imapd.quotas import LimitedAccount
from moxtwisted.server.imapd.replacing import ReplacingSession
from moxtwisted.store.interfaces import (
    Addition,
    Column,
    Copied,
    IAccount,
    IAhead,
    IGathering,
    IStagedMessage,
    IStore,
    Mailbox,
    NewMessage,
    SearchTerm,
)

__all__ = ["EXTENSIONS", "AccountSession", "SelectedMailbox", "mailbox_info"]

EXTENSIONS: Final[frozenset[str]] = frozenset(OPTIONAL)
"""Capabilities whose interfaces ``AccountSession`` provides: all that need one."""


def mailbox_info(mailbox: Mailbox) -> MailboxInfo:
    """A mailbox of the store as IMAP shows it."""
    return MailboxInfo(
        mailbox.name,
        mailbox.uidvalidity,
        mailbox.uidnext,
        mailbox.highestmodseq,
        mailbox.messages,
        mailbox.unseen,
        mailbox.deleted,
        mailbox.size,
        mailbox.deleted_size,
        mailbox.special_use,
        _objectid(mailbox),
    )


# What LIST tells of mailboxes, by the identity of a snapshot, which is held so that nothing else gets it.
_LISTED: Final[dict[int, tuple[Mailbox, MailboxInfo]]] = {}
_MOST_LISTED: Final = 4096


def _listed(mailbox: Mailbox) -> MailboxInfo:
    """The same as ``mailbox_info``, made once for all sessions and commands while nothing happens in the mailbox."""
    known = _LISTED.get(id(mailbox))
    if known is None:
        if len(_LISTED) >= _MOST_LISTED:
            _LISTED.clear()
        known = _LISTED[id(mailbox)] = (mailbox, mailbox_info(mailbox))
    return known[1]


def _objectid(mailbox: Mailbox) -> str:
    # RFC 8474 section 4: never used again for another mailbox, kept over a rename.
    return f"F{mailbox.id}-{mailbox.uidvalidity}"


def _appended(copied: Copied) -> Appended:
    return Appended(copied.uidvalidity, copied.uids, copied.source_uids)


@implementer(ISelectedMailbox, IFuzzyMailbox, IReadingAhead)
@define(eq=False)
class SelectedMailbox:
    """One mailbox of the account, selected."""

    _account: IAccount
    id: int
    view: IMailboxView
    objectid: str
    _ahead: IAhead | None = field(default=None, init=False)

    def rows(self, uids: Sequence[int], columns: int) -> list[tuple[Any, ...]]:
        """See ``ISelectedMailbox``; the numbers of the columns are the store's own."""
        return self._account.rows(self.id, uids, Column(columns))

    def bodies(self, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        """See ``ISelectedMailbox``."""
        if self._ahead is not None and not self._account.closed:
            found = self._ahead.take(uids, limit_octets, self._read)
            if found is not None:
                return found
        return self._account.bodies(self.id, uids, limit_octets)

    def _read(self, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        return self._account.bodies(self.id, uids, limit_octets)

    def read_ahead(self, uids: Sequence[int], limit_octets: int) -> None:
        """See ``IReadingAhead``."""
        if uids:
            if self._ahead is None:
                self._ahead = self._account.ahead(self.id)
            if self._ahead is not None:
                self._ahead.expect(uids, limit_octets)
        elif self._ahead is not None:
            self._ahead.drop()

    def open_body(self, uid: int) -> IMessageBody | None:
        """See ``ISelectedMailbox``."""
        return cast("IMessageBody | None", self._account.open_body(self.id, uid))

    def search_text(self, term: MessageText, uids: Sequence[int]) -> Awaitable[set[int]]:
        """See ``ISelectedMailbox``."""
        return self._account.search(self.id, SearchTerm(term.field, term.needle), uids)

    def search_fuzzy(self, term: MessageText, uids: Sequence[int]) -> Awaitable[Mapping[int, int]]:
        """See ``IFuzzyMailbox``."""
        return self._account.search_fuzzy(self.id, SearchTerm(term.field, term.needle), uids)

    async def store(
        self,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None,
    ) -> Stored:
        """See ``ISelectedMailbox``."""
        done = await self._account.store_flags(self.id, uids, mode, flags, unchanged_since)
        return Stored(done.changed, done.refused, done.modseq)

    def expunge(self, uids: Sequence[int] | None) -> Awaitable[tuple[int, ...]]:
        """See ``ISelectedMailbox``."""
        return self._account.expunge(self.id, uids)

    async def copy(self, uids: Sequence[int], target: str) -> Appended:
        """See ``ISelectedMailbox``."""
        return _appended(await self._account.copy(self.id, uids, _existing(self._account, target).id))

    async def move(self, uids: Sequence[int], target: str) -> Appended:
        """See ``ISelectedMailbox``."""
        return _appended(await self._account.move(self.id, uids, _existing(self._account, target).id))

    def expunged_since(self, modseq: int) -> tuple[Sequence[int], bool]:
        """See ``ISelectedMailbox``."""
        return self._account.expunged_since(self.id, modseq)

    def close(self) -> None:
        """Nothing is held but the shared state, and what was read ahead."""
        self.read_ahead((), 0)


@implementer(ISession)
@define(eq=False)
class AccountSession(WatchedAccount, ReplacingSession, AnnotatedAccount, LimitedAccount):
    """The mail of the account that logged in.

    :ivar append_limit: octets of one message.
    :ivar seconds: the clock, seconds since 1970.
    :ivar released: called when the session ends.
    :ivar administrator: a URI for reaching the administrator of the server, or empty.
    """

    _store: IStore
    _account: IAccount
    disabled_capabilities: frozenset[str]
    append_limit: int
    _released: Callable[[], None]
    _seconds: Callable[[], float] = time.time
    administrator: str = ""
    account: str = field(init=False)
    _gathering: IGathering | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.account = self._account.name

    def mailboxes(self) -> Sequence[MailboxInfo]:
        """See ``ISession``."""
        return [_listed(m) for m in self._account.mailboxes()]

    def mailbox(self, name: str) -> MailboxInfo | None:
        """See ``ISession``."""
        found = self._account.mailbox(name)
        return mailbox_info(found) if found else None

    def subscriptions(self) -> frozenset[str]:
        """See ``ISession``."""
        return self._account.subscriptions()

    def select(self, name: str, *, read_only: bool) -> SelectedMailbox:
        """See ``ISession``; reading only is the session's own affair."""
        mailbox = _existing(self._account, name)
        view = cast("IMailboxView", self._account.state(mailbox.id))
        return SelectedMailbox(self._account, mailbox.id, view, _objectid(mailbox))

    async def create(self, name: str, special_use: Sequence[str]) -> MailboxInfo:
        """See ``ISession``."""
        return mailbox_info(await self._account.create_mailbox(name, special_use))

    def delete(self, name: str) -> Awaitable[None]:
        """See ``ISession``."""
        return self._account.delete_mailbox(name)

    async def rename(self, old: str, new: str) -> None:
        """See ``ISession``."""
        await self._account.rename_mailbox(old, new)

    def subscribe(self, name: str) -> Awaitable[None]:
        """See ``ISession``."""
        return self._account.subscribe(name)

    def unsubscribe(self, name: str) -> Awaitable[None]:
        """See ``ISession``."""
        return self._account.unsubscribe(name)

    def append_sink(self, mailbox: str, size_octets: int) -> IAppendSink:
        """See ``ISession``."""
        _existing(self._account, mailbox)
        if size_octets > self.append_limit:
            error = LimitError(f"APPEND of {size_octets} octets", public_text="message is too large")
            error.imap_code = "TOOBIG"  # RFC 7889 section 4
            raise error
        used, messages, quota = self._account.usage()
        most = self._account.message_quota
        if (quota is not None and used + size_octets > quota) or (most is not None and messages >= most):
            raise OverQuotaError(f"APPEND of {size_octets} octets")
        if self._gathering is None:
            self._gathering = self._store.gathering()
        return cast("IAppendSink", self._gathering.stage(size_octets))

    async def append(self, mailbox: str, messages: Sequence[Incoming]) -> Appended:
        """See ``ISession``."""
        now = int(self._seconds())
        staged: list[IStagedMessage] = []
        try:
            target = _existing(self._account, mailbox).id
            for message in messages:
                # One by one: what was made before an error has to be closed.
                staged.append(message.sink.finish())  # noqa: PERF401
            added = await self._account.add(
                [
                    Addition(target, NewMessage(octets, b"", _date(message.internaldate, now), message.flags))
                    for octets, message in zip(staged, messages, strict=True)
                ]
            )
        finally:
            for octets in staged:
                octets.close()
            for message in messages[len(staged) :]:
                message.sink.abort()
        return Appended(added[0].uidvalidity, tuple(a.uid for a in added))

    def logout(self) -> None:
        """See ``ISession``."""
        self._released()


def _date(given: int | None, now: int) -> int:
    return now if given is None else given


def _existing(account: IAccount, name: str) -> Mailbox:
    found = account.mailbox(name)
    if found is None:
        raise MailboxMissingError(name)
    return found
