"""Refused mail that can be looked at: a mailbox of the account with copies of what did not get in.

::

    rejects = Rejects(store, time.time, policy=lambda account: RejectsPolicy("Rejects"))
    rejects.keep(Refusal("alice", lease, prefix))       # at once; the copy is made behind the answer
    rejects.accepted("alice", lease)                    # the same message got in after all: its copy goes

The mailbox is bounded: each message once (by its Message-ID, or a digest of its beginning where it has none), 1,000 of them, 256 MB, none
older than 14 days; it takes no room that mail may need, since copies are made only while a tenth of the quota is free, and go when
the room is wanted (``make_room``). What goes wrong here changes no answer.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from zope.interface import Interface, implementer

from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.message.headers import message_ids
from moxtwisted.server.inbound.lease import Lease
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.store.interfaces import (
    Addition,
    Column,
    IAccount,
    IStagedMessage,
    IStore,
    Mailbox,
    NewMessage,
)

__all__ = ["IRejects", "NoRejects", "Refusal", "Rejects", "RejectsPolicy", "identity"]

_log = Logger()

#: Messages in the mailbox; the oldest go.
MOST: Final = 1000
SECONDS: Final = 14 * 86400
#: Octets of them; a message of more than a quarter is not copied. Accounts without a quota would hold 1,000 of the largest else.
MOST_OCTETS: Final = 256 * 1024 * 1024
#: Copies that are being made at once, of all accounts; beyond, none are.
_AT_ONCE: Final = 100
#: Accounts whose mailbox is known by heart.
_INDEXES: Final = 200
#: What a message without a Message-ID is known by.
_DIGESTED_OCTETS: Final = 256 * 1024
#: Messages without a Message-ID whose beginning is read when a mailbox is learned.
_READ: Final = 100
#: How many of the oldest are looked at for their age when one is added.
_LOOKED_AT: Final = 50
_DAY: Final = 86400.0
_SEEN: Final = MessageFlags.of(SEEN)
_MESSAGE_ID: Final = re.compile(rb"^message-id[ \t]*:((?:[^\n]|\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


@frozen
class RejectsPolicy:
    """What an account wants.

    :ivar mailbox: its name; empty: no copies.
    :ivar keep: whether nothing is ever removed from there.
    """

    mailbox: str = "Rejects"
    keep: bool = False


@frozen
class Refusal:
    """A message that was refused.

    :ivar lease: its octets.
    :ivar prefix: fields to stand above it.
    :ivar sender: what is remembered of the sender.
    """

    account: str
    lease: Lease
    prefix: bytes
    sender: Any = None


class IRejects(Interface):
    """Where refused mail goes. None of these raises, or waits."""

    def keep(refusal: Refusal) -> None:
        """Make a copy."""

    def accepted(account: str, lease: Lease) -> None:
        """The message got in: a copy of it goes."""

    def room(account: IAccount) -> tuple[int, int]:
        """Octets and messages that ``make_room`` would set free."""

    def make_room(account: str, octets: int) -> Any:
        """Remove the oldest copies until so many octets, and one message, are free; an awaitable of whether there were any."""


@implementer(IRejects)
class NoRejects:
    """Nothing is kept."""

    def keep(self, refusal: Refusal) -> None:
        """No."""

    def accepted(self, account: str, lease: Lease) -> None:
        """Nothing to remove."""

    def room(self, account: IAccount) -> tuple[int, int]:
        """Nothing."""
        return 0, 0

    async def make_room(self, account: str, octets: int) -> bool:
        """Nothing to remove."""
        return False


@define(eq=False)
class _Index:
    """What is in one mailbox, by what its messages are known by.

    :ivar uidnext: the mailbox's, when this is all that is in it: its reader or another process may have put more there.
    """

    uidvalidity: int
    uidnext: int
    uids: dict[bytes, int]


@implementer(IRejects)
@define(eq=False)
class Rejects:
    """The mailboxes of all accounts.

    :ivar counts: what happened: ``kept``, ``known`` (it was there), ``full`` (no room), ``removed`` (got in after all), ``busy``.
    """

    _store: IStore
    _seconds: Callable[[], float]
    _policy: Callable[[str], RejectsPolicy]
    _most: int = MOST
    _most_octets: int = MOST_OCTETS
    _places: IPlaces = field(factory=AllHere)
    counts: Counter[str] = field(factory=Counter, init=False)
    _indexes: OrderedDict[str, _Index] = field(factory=OrderedDict, init=False)
    _under_way: set[Deferred[None]] = field(factory=set, init=False)
    _being_kept: set[tuple[str, bytes]] = field(factory=set, init=False)
    # When all of an account's are looked at next, though none is added; seconds.
    _due: dict[str, float] = field(factory=dict, init=False)

    # -- IRejects ------------------------------------------------------------------------------------------------

    def keep(self, refusal: Refusal) -> None:
        """See ``IRejects``."""
        if self._policy(refusal.account).mailbox:
            self._behind(self._keep(refusal), refusal.account, refusal.lease)

    def accepted(self, account: str, lease: Lease) -> None:
        """See ``IRejects``."""
        policy = self._policy(account)
        if not policy.mailbox or policy.keep:
            return
        if self._places.is_away(account):
            self._behind(self._accepted_away(account, lease.staged), account, lease)
        elif self._has_any(account, policy):
            self._behind(self._remove(account, lease.staged), account, lease)

    def room(self, account: IAccount) -> tuple[int, int]:
        """See ``IRejects``."""
        policy = self._policy(account.name)
        mailbox = account.mailbox(policy.mailbox) if policy.mailbox and not policy.keep else None
        return (mailbox.size, mailbox.messages) if mailbox is not None else (0, 0)

    async def make_room(self, account: str, octets: int) -> bool:
        """See ``IRejects``."""
        try:
            mine = self._store.account(account)
            policy = self._policy(account)
            mailbox = mine.mailbox(policy.mailbox) if policy.mailbox and not policy.keep else None
            if mailbox is None or not mailbox.messages:
                return False
            uids, freed = [], 0
            for uid, size in mine.rows(
                mailbox.id, list(mine.state(mailbox.id).uids[: self._most]), Column.SIZE
            ):
                uids.append(uid)
                freed += size
                if freed >= octets:
                    break
            gone = await mine.expunge(mailbox.id, uids, only_deleted=False)
            _log.info("{count} rejects of {account} went for want of room", count=len(gone), account=account)
            return bool(gone)
        except Exception:  # noqa: BLE001  a boundary: the mail that wants the room is answered by itself
            _log.failure("rejects of {account} could not be removed", account=account)
            return False

    def close(self) -> Deferred[Any]:
        """Fires when what is under way is done."""
        return DeferredList(list(self._under_way))

    # -- in the process that has the account ---------------------------------------------------------------------

    async def keep_here(self, account: str, staged: IStagedMessage, prefix: bytes, sender: Any) -> None:
        """Make a copy in an account that is here; it is made when this returns."""
        if self._policy(account).mailbox:
            await self._copy(account, staged, prefix, sender)

    async def accepted_here(self, account: str, known_by: bytes) -> None:
        """A message got into an account that is here: a copy of it goes.

        :param known_by: its ``identity``.
        """
        policy = self._policy(account)
        if policy.mailbox and not policy.keep and self._has_any(account, policy):
            await self._remove_known(account, known_by)

    def _has_any(self, account: str, policy: RejectsPolicy) -> bool:
        try:
            mailbox = self._store.account(account).mailbox(policy.mailbox)
        except MailError:
            return False
        return mailbox is not None and mailbox.messages > 0

    # -- behind the answer ---------------------------------------------------------------------------------------

    def _behind(self, work: Coroutine[Deferred[Any], Any, None], account: str, lease: Lease) -> None:
        if len(self._under_way) >= _AT_ONCE:
            self._count("busy", account)
            work.close()
            return
        lease.keep()
        done = Deferred.fromCoroutine(work)
        self._under_way.add(done)

        def over(result: Any) -> None:
            lease.release()
            self._under_way.discard(done)
            if result is not None and result.check(StoreUnavailableError):
                _log.warn(
                    "rejects of {account} could not be changed: {problem}",
                    account=account,
                    problem=result.value.explanation,
                )
            elif result is not None:
                _log.failure("rejects of {account} could not be changed", result, account=account)

        done.addBoth(over)

    async def _keep(self, refusal: Refusal) -> None:
        account, staged = refusal.account, refusal.lease.staged
        if self._places.is_away(account):
            await self._places.ask(account, "keep_reject", staged, refusal.prefix, refusal.sender)
        else:
            await self._copy(account, staged, refusal.prefix, refusal.sender)

    async def _accepted_away(self, account: str, staged: IStagedMessage) -> None:
        await self._places.ask(account, "accepted", identity(staged))

    async def _copy(self, account: str, staged: IStagedMessage, prefix: bytes, sender: Any) -> None:
        known_by = identity(staged)
        if (account, known_by) in self._being_kept:
            return
        self._being_kept.add((account, known_by))
        try:
            mine, policy = self._store.account(account), self._policy(account)
            mailbox = mine.mailbox(policy.mailbox)
            if mailbox is not None and self._find(mine, mailbox, known_by) is not None:
                self._count("known", account)
                return
            too_large = not policy.keep and 4 * staged.size > self._most_octets
            if too_large or not _fits(mine, staged.size + len(prefix)):
                self._count("full", account)
                return
            message = NewMessage(staged, prefix, int(self._seconds()), _SEEN, sender)
            (added,) = await mine.add([Addition(policy.mailbox, message)])
            self._count("kept", account)
            index = self._indexes.get(account)
            if index is not None and (index.uidvalidity, index.uidnext) == (added.uidvalidity, added.uid):
                index.uids[known_by] = added.uid
                index.uidnext = added.uid + 1
            if not policy.keep:
                await self._tidy(mine, policy, _LOOKED_AT)
        finally:
            self._being_kept.discard((account, known_by))

    async def _remove(self, account: str, staged: IStagedMessage) -> None:
        await self._remove_known(account, identity(staged))

    async def _remove_known(self, account: str, known_by: bytes) -> None:
        mine = self._store.account(account)
        mailbox = mine.mailbox(self._policy(account).mailbox)
        uid = self._find(mine, mailbox, known_by) if mailbox is not None else None
        if mailbox is not None and uid is not None:
            await mine.expunge(mailbox.id, [uid], only_deleted=False)
            self._count("removed", account)
        now = self._seconds()
        if now >= self._due.get(account, 0.0):
            self._due[account] = now + _DAY
            await self._tidy(mine, self._policy(account), self._most)

    def _count(self, what: str, account: str) -> None:
        self.counts[what] += 1
        _log.info("rejects of {account}: {what}", account=account, effect="rejects", what=what)

    async def _tidy(self, account: IAccount, policy: RejectsPolicy, looked_at: int) -> None:
        """Remove those that are too many, and of the oldest so many those that are too old."""
        mailbox = account.mailbox(policy.mailbox)
        if mailbox is None:
            return
        uids = account.state(mailbox.id).uids
        extra = max(0, len(uids) - self._most)
        old = list(uids[:extra])
        # Those that came first have the lowest UIDs.
        oldest = self._seconds() - SECONDS
        rest = list(uids[extra : extra + looked_at])
        old += [uid for uid, date in account.rows(mailbox.id, rest, Column.INTERNALDATE) if date < oldest]
        excess = mailbox.size - self._most_octets
        if excess > 0:
            for uid, size in account.rows(mailbox.id, list(uids[: self._most]), Column.SIZE):
                old.append(uid)
                excess -= size
                if excess <= 0:
                    break
        if old:
            await account.expunge(mailbox.id, sorted(set(old)), only_deleted=False)

    # -- what is there -------------------------------------------------------------------------------------------

    def _find(self, account: IAccount, mailbox: Mailbox, known_by: bytes) -> int | None:
        """The UID of a copy of the message."""
        index = self._indexes.get(account.name)
        known = (mailbox.uidvalidity, mailbox.uidnext)
        if index is None or (index.uidvalidity, index.uidnext) != known:
            index = self._indexes[account.name] = _Index(*known, self._learn(account, mailbox))
            while len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(account.name)
        uid = index.uids.get(known_by)
        if uid is None:
            return None
        if not account.rows(mailbox.id, [uid], Column(0)):
            del index.uids[known_by]  # its reader removed it
            return None
        return uid

    def _learn(self, account: IAccount, mailbox: Mailbox) -> dict[bytes, int]:
        uids = list(account.state(mailbox.id).uids[-2 * self._most :])
        found: dict[bytes, int] = {}
        nameless = []
        for start in range(0, len(uids), 500):
            columns = Column.FIELDS | Column.PREFIX_SIZE
            for uid, fields, prefix in account.rows(mailbox.id, uids[start : start + 500], columns):
                match = _MESSAGE_ID.search(fields)
                ids = message_ids(match[1]) if match is not None else []
                if ids:
                    found[ids[0].encode()] = uid
                else:
                    nameless.append((uid, prefix))
        for uid, prefix in nameless[-_READ:]:
            found[_digest_of(account, mailbox, uid, prefix)] = uid
        return found


def identity(staged: IStagedMessage) -> bytes:
    """What a message is known by, whenever it comes again: its Message-ID, or a digest of its beginning and size."""
    ids = message_ids(staged.scanned.header.get(b"message-id") or b"")
    if ids:
        return ids[0].encode()
    return _digest(staged.size, staged.read(0, _DIGESTED_OCTETS))


def _digest(size: int, beginning: bytes) -> bytes:
    return hashlib.sha256(b"%d\n" % size + beginning).digest()


def _digest_of(account: IAccount, mailbox: Mailbox, uid: int, prefix: int) -> bytes:
    reader = account.open_body(mailbox.id, uid)
    if reader is None:
        return b""
    try:
        return _digest(reader.size - prefix, reader.read(prefix, _DIGESTED_OCTETS))
    finally:
        reader.close()


def _fits(account: IAccount, octets: int) -> bool:
    """Whether a tenth of what the account may have stays free."""
    used, messages, quota = account.usage()
    limits: Sequence[tuple[int, int | None]] = ((used + octets, quota), (messages + 1, account.message_quota))
    return all(limit is None or 10 * wanted <= 9 * limit for wanted, limit in limits)
