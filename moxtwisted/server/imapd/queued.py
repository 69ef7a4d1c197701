r"""The mailbox Queue: what waits of a user's own messages, over IMAP.

``QueueSession`` stands around the session of a user and answers for this one mailbox; all else goes to the session as it is::

    session = QueueSession(inner, lambda: queue.mailbox("alice", clock), clock)
    session.mailbox("Queue").rights                 # l, r, t and e: to be read, and to be taken out

Who takes a message out (\Deleted with EXPUNGE, or MOVE) cancels it. COPY reads: what comes of it is a message of its own. A mailbox of
that name that the user has already stays what it is, and hides this one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, cast

from attrs import evolve
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementedBy, implementer, providedBy
from zope.interface.declarations import Declaration

from moxtwisted.errors import LimitError, MailboxExistsError, MailError
from moxtwisted.imap import backend as b
from moxtwisted.imap.fuzzy import IFuzzyMailbox
from moxtwisted.imap.notification import IHappening, IHappeningFeed
from moxtwisted.imap.rights import Modification, Rights
from moxtwisted.imap.sharing import NotPermittedError
from moxtwisted.message.flags import DELETED, SEEN, MessageFlags
from moxtwisted.server.imapd.mail import mailbox_info
from moxtwisted.store.interfaces import Column, SearchTerm
from moxtwisted.store.queueledger import NAME
from moxtwisted.store.queuemailbox import QueueMailbox

__all__ = ["RIGHTS", "QueueSession", "QueuedMailbox"]

_log = Logger()

RIGHTS: Final[Rights] = frozenset("lrte")
"""RFC 4314 section 2.1: look it up, read it, mark as deleted, expunge."""

_BELOW: Final = NAME + "/"
_COPIED_FLAGS: Final = MessageFlags.of(SEEN, ())
#: Messages of one COPY.
_MOST_COPIED: Final = 1000
_PIECE_OCTETS: Final = 262_144
#: How long copying holds the reactor, seconds.
_SLICE_SECONDS: Final = 0.01


class _CannotError(MailError):
    """What is asked for makes no sense with waiting messages."""

    reply_code = 550
    enhanced_code = "5.2.0"
    # RFC 5530 section 3: it can never succeed.
    imap_code = "CANNOT"


def _not_permitted(what: str) -> NotPermittedError:
    return NotPermittedError(
        what, public_text="Queue has what waits to be sent: it can be read and cancelled"
    )


@implementer(b.ISelectedMailbox, IFuzzyMailbox)
class QueuedMailbox:
    """It, selected.

    :ivar rights: what the user may do in it.
    """

    rights = RIGHTS

    def __init__(self, waiting: QueueMailbox, session: QueueSession, clock: Any) -> None:
        self._waiting = waiting
        self._session = session
        self._clock = clock
        self.view: Any = waiting.state
        self.objectid = _objectid(waiting)

    # -- reading -----------------------------------------------------------------------------------------------
    def rows(self, uids: Sequence[int], columns: int) -> list[tuple[Any, ...]]:
        """See ``ISelectedMailbox``; the numbers of the columns are the store's own."""
        return self._waiting.rows(uids, Column(columns))

    def bodies(self, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        """See ``ISelectedMailbox``."""
        return self._waiting.bodies(uids, limit_octets)

    def open_body(self, uid: int) -> b.IMessageBody | None:
        """See ``ISelectedMailbox``."""
        return cast("b.IMessageBody | None", self._waiting.open_body(uid))

    def search_text(self, term: b.MessageText, uids: Sequence[int]) -> Awaitable[set[int]]:
        """See ``ISelectedMailbox``."""
        return self._waiting.search(SearchTerm(term.field, term.needle), uids)

    def search_fuzzy(self, term: b.MessageText, uids: Sequence[int]) -> Awaitable[Mapping[int, int]]:
        """See ``IFuzzyMailbox``."""
        return self._waiting.search_fuzzy(SearchTerm(term.field, term.needle), uids)

    def expunged_since(self, modseq: int) -> tuple[Sequence[int], bool]:
        """See ``ISelectedMailbox``."""
        return self._waiting.expunged_since(modseq)

    def close(self) -> None:
        """Nothing is held but the shared state."""

    # -- changing ----------------------------------------------------------------------------------------------
    async def store(
        self,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None,
    ) -> b.Stored:
        r"""See ``ISelectedMailbox``. RFC 4314 section 4: flags other than \Deleted stay as they are; NO only when nothing is left to do."""
        if mode != "replace" and flags.names and not flags.system & DELETED:
            raise _not_permitted(f"STORE of {' '.join(flags.names)}")
        done = await self._waiting.store_flags(uids, mode, flags, unchanged_since)
        return b.Stored(done.changed, done.refused, done.modseq)

    async def expunge(self, uids: Sequence[int] | None) -> tuple[int, ...]:
        """See ``ISelectedMailbox``: cancels."""
        gone = await self._waiting.expunge(uids)
        self._cancelled(len(gone))
        return gone

    def _cancelled(self, count: int) -> None:
        if count:
            account = self._waiting.account
            _log.info("{account} cancelled {count} messages in the queue", account=account, count=count)

    async def copy(self, uids: Sequence[int], target: str) -> b.Appended:
        """See ``ISelectedMailbox``: as APPEND does, wherever the target is."""
        return (await self._copy(uids, target))[0]

    async def move(self, uids: Sequence[int], target: str) -> b.Appended:
        """See ``ISelectedMailbox``: a copy, and then it is cancelled. What stops between leaves a copy of what is still to be sent."""
        done, copied = await self._copy(uids, target)
        if copied:
            # By what they are: one of them may have got another UID meanwhile.
            self._cancelled(await self._waiting.cancel(copied))
        return done

    async def _copy(self, uids: Sequence[int], target: str) -> tuple[b.Appended, Sequence[int]]:
        """Where they are now, and what was copied as ``QueueMailbox.identify`` says it."""
        rows = self.rows(uids[: _MOST_COPIED + 1], b.SIZE | b.INTERNALDATE)
        _check_size([size for _, size, _ in rows], self._session.append_limit)
        copied: list[int] = []
        identities: list[int] = []
        messages: list[b.Incoming] = []
        until = self._clock.seconds() + _SLICE_SECONDS
        try:
            for uid, size, date in rows:
                identity, body = self._waiting.identify((uid,)), self.open_body(uid)
                if body is None:
                    continue
                try:
                    sink = self._session.append_sink(target, size)
                    messages.append(b.Incoming(sink, _COPIED_FLAGS, date))
                    for offset in range(0, body.size, _PIECE_OCTETS):
                        sink.write(body.read(offset, _PIECE_OCTETS))
                        if self._clock.seconds() > until:
                            await deferLater(self._clock, 0)
                            until = self._clock.seconds() + _SLICE_SECONDS
                finally:
                    body.close()
                copied.append(uid)
                identities += identity
            if not messages:
                return b.Appended(0, ()), ()
            done = await self._session.append(target, messages)
        except BaseException:
            for message in messages:
                message.sink.abort()
            raise
        return b.Appended(done.uidvalidity, done.uids, tuple(copied)), identities


def _check_size(sizes: Sequence[int], limit_octets: int) -> None:
    """They wait together for the last of them."""
    if len(sizes) > _MOST_COPIED or (len(sizes) > 1 and sum(sizes) > limit_octets):
        error = LimitError(
            f"COPY of {sum(sizes)} octets", public_text="too much at once, copy fewer messages"
        )
        error.imap_code = "LIMIT"
        raise error


@implementer(IHappeningFeed)
class _Feeds:
    """What happened in the other mailboxes, then in this one."""

    def __init__(self, feeds: Sequence[Any]) -> None:
        self._feeds = feeds

    def take(self) -> tuple[Sequence[IHappening], bool]:
        """See ``IHappeningFeed``."""
        found: list[IHappening] = []
        lost = False
        for feed in self._feeds:
            happened, some = feed.take()
            found += happened
            lost = lost or some
        return found, lost

    def close(self) -> None:
        """See ``IHappeningFeed``."""
        for feed in self._feeds:
            feed.close()


def _objectid(waiting: QueueMailbox) -> str:
    # RFC 8474 section 4: no other mailbox of the user has it.
    return f"Q{waiting.state.uidvalidity}"


@lru_cache(maxsize=64)
def _provided(inner: Declaration) -> Declaration:
    made: Declaration = Declaration(implementedBy(QueueSession), inner)  # type: ignore[no-untyped-call] # zope's
    return made


@implementer(b.ISession)
class QueueSession:
    """See ``ISession``; whatever other interfaces the session inside provides, this one provides too.

    :param inner: the user's session.
    :param waiting: gives the mailbox; asked when somebody looks at it first.
    :param clock: has callLater and seconds.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_get",
        "_inner",
        "_shown",
        "_taken",
        "account",
        "logout",
        "subscribe",
        "subscriptions",
        "unsubscribe",
    )

    def __init__(self, inner: b.ISession, waiting: Callable[[], QueueMailbox], clock: Any) -> None:
        # Any: for what not every session provides.
        self._inner: Any = inner
        self._get = waiting
        self._clock = clock
        self._taken: QueueMailbox | None = None
        self._shown: tuple[Any, b.MailboxInfo] | None = None
        self.account: str = inner.account
        # The very methods, so that nothing costs more than without this mailbox.
        for name in ("logout", "subscribe", "subscriptions", "unsubscribe"):
            setattr(self, name, getattr(inner, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def __providedBy__(self) -> Declaration:
        return _provided(providedBy(self._inner))

    @property
    def _waiting(self) -> QueueMailbox:
        if self._taken is None:
            self._taken = self._get()
        return self._taken

    def _is_here(self, name: str) -> bool:
        return name == NAME and self._inner.mailbox(NAME) is None

    def _is_below(self, name: str) -> bool:
        return name.startswith(_BELOW) and self._inner.mailbox(NAME) is None

    def _info(self) -> b.MailboxInfo:
        mailbox = self._waiting.snapshot()
        if self._shown is None or self._shown[0] is not mailbox:
            info = mailbox_info(mailbox)
            self._shown = (mailbox, evolve(info, objectid=_objectid(self._waiting), rights=RIGHTS))
        return self._shown[1]

    # -- ISession ----------------------------------------------------------------------------------------------
    def mailboxes(self) -> Sequence[b.MailboxInfo]:
        """See ``ISession``."""
        others: Sequence[b.MailboxInfo] = self._inner.mailboxes()
        return [*others, self._info()] if self._is_here(NAME) else others

    def own_mailboxes(self) -> Sequence[b.MailboxInfo]:
        """See ``INotifyingSharedSession``, where the session inside provides that."""
        others: Sequence[b.MailboxInfo] = self._inner.own_mailboxes()
        return [*others, self._info()] if self._is_here(NAME) else others

    def mailbox(self, name: str) -> b.MailboxInfo | None:
        """See ``ISession``."""
        found: b.MailboxInfo | None = self._inner.mailbox(name)
        return self._info() if found is None and name == NAME else found

    def select(self, name: str, *, read_only: bool) -> b.ISelectedMailbox | Awaitable[b.ISelectedMailbox]:
        """See ``ISession``."""
        if self._is_here(name):
            return QueuedMailbox(self._waiting, self, self._clock)
        inner: b.ISelectedMailbox | Awaitable[b.ISelectedMailbox] = self._inner.select(
            name, read_only=read_only
        )
        return inner

    async def create(self, name: str, special_use: Sequence[str]) -> b.MailboxInfo:
        """See ``ISession``."""
        if self._is_here(name):
            raise MailboxExistsError(name)
        if self._is_below(name):
            raise _not_permitted(f"CREATE {name}")
        made: b.MailboxInfo = await self._inner.create(name, special_use)
        return made

    async def delete(self, name: str) -> None:
        """See ``ISession``."""
        if self._is_here(name):
            raise _not_permitted("DELETE")
        await self._inner.delete(name)

    async def rename(self, old: str, new: str) -> None:
        """See ``ISession``."""
        if self._is_here(old) or self._is_below(new):
            raise _not_permitted(f"RENAME {old} to {new}")
        if self._is_here(new):
            raise MailboxExistsError(new)
        await self._inner.rename(old, new)

    def append_sink(self, mailbox: str, size_octets: int) -> b.IAppendSink:
        """See ``ISession``."""
        if self._is_here(mailbox):
            raise _not_permitted("APPEND")
        sink: b.IAppendSink = self._inner.append_sink(mailbox, size_octets)
        return sink

    async def append(self, mailbox: str, messages: Sequence[b.Incoming]) -> b.Appended:
        """See ``ISession``."""
        if self._is_here(mailbox):
            raise _not_permitted("APPEND")
        done: b.Appended = await self._inner.append(mailbox, messages)
        return done

    # -- IReplacingSession -------------------------------------------------------------------------------------
    def _check_replacing(self, selected: b.ISelectedMailbox, mailbox: str) -> None:
        if isinstance(selected, QueuedMailbox):
            raise _CannotError(
                "REPLACE", public_text="what waits to be sent cannot be replaced, but cancelled"
            )
        if self._is_here(mailbox):
            raise _not_permitted("REPLACE")

    def replacement_sink(
        self, selected: b.ISelectedMailbox, uid: int, mailbox: str, size_octets: int
    ) -> b.IAppendSink:
        """See ``IReplacingSession``."""
        self._check_replacing(selected, mailbox)
        sink: b.IAppendSink = self._inner.replacement_sink(selected, uid, mailbox, size_octets)
        return sink

    async def replace(
        self, selected: b.ISelectedMailbox, uid: int, mailbox: str, message: b.Incoming
    ) -> b.Appended:
        """See ``IReplacingSession``."""
        self._check_replacing(selected, mailbox)
        done: b.Appended = await self._inner.replace(selected, uid, mailbox, message)
        return done

    # -- IAnnotatedSession, IQuotaSession, INotifyingSession -----------------------------------------------------
    def annotations(self, mailbox: str) -> Mapping[str, bytes]:
        """See ``IAnnotatedSession``: none."""
        if self._is_here(mailbox):
            return {}
        values: Mapping[str, bytes] = self._inner.annotations(mailbox)
        return values

    async def annotate(
        self, mailbox: str, values: Mapping[str, bytes | None], special_use: Sequence[str] | None
    ) -> None:
        """See ``IAnnotatedSession``."""
        if self._is_here(mailbox):
            raise _CannotError("SETMETADATA", public_text="nothing can be noted about Queue")
        await self._inner.annotate(mailbox, values, special_use)

    def quota_root(self, mailbox: str) -> str | None:
        """See ``IQuotaSession``: what waits takes no room of the account's."""
        root: str | None = None if self._is_here(mailbox) else self._inner.quota_root(mailbox)
        return root

    def watch(self, limit: int, wake: Callable[[], None]) -> IHappeningFeed:
        """See ``INotifyingSession``."""
        others: IHappeningFeed = self._inner.watch(limit, wake)
        return _Feeds((others, self._waiting.watch(limit, wake))) if self._is_here(NAME) else others

    # -- ISharedSession ----------------------------------------------------------------------------------------
    def rights(self, mailbox: str) -> Rights:
        """See ``ISharedSession``."""
        rights: Rights = RIGHTS if self._is_here(mailbox) else self._inner.rights(mailbox)
        return rights

    def _check_sharing(self, mailbox: str) -> None:
        if self._is_here(mailbox):
            raise _not_permitted("access control list")

    def acl(self, mailbox: str) -> Sequence[tuple[str, Rights]]:
        """See ``ISharedSession``."""
        self._check_sharing(mailbox)
        entries: Sequence[tuple[str, Rights]] = self._inner.acl(mailbox)
        return entries

    async def set_acl(self, mailbox: str, identifier: str, modification: Modification) -> None:
        """See ``ISharedSession``."""
        self._check_sharing(mailbox)
        await self._inner.set_acl(mailbox, identifier, modification)

    async def delete_acl(self, mailbox: str, identifier: str) -> None:
        """See ``ISharedSession``."""
        self._check_sharing(mailbox)
        await self._inner.delete_acl(mailbox, identifier)

    def list_rights(self, mailbox: str, identifier: str) -> tuple[Rights, Sequence[Rights]]:
        """See ``ISharedSession``."""
        self._check_sharing(mailbox)
        listed: tuple[Rights, Sequence[Rights]] = self._inner.list_rights(mailbox, identifier)
        return listed
