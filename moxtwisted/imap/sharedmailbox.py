r"""A selected mailbox where accounts share: somebody else's, as far as one's rights go, and one's own, from which others' can be reached.

Rights are looked at with every command (RFC 4314 section 5.1.1 leaves that to us). Who loses the right to read while the mailbox is
selected sees it become empty, as when it was removed; what another session may no longer see is told to nobody.

All flags are shared by those who read the mailbox, \Seen too: whoever has the right s marks a message as seen for all.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Literal, Protocol
from weakref import WeakMethod

from zope.interface import implementer

from moxtwisted.imap import backend as b
from moxtwisted.imap.fuzzy import IFuzzyMailbox
from moxtwisted.imap.readahead import IReadingAhead
from moxtwisted.imap.rights import ALL, Rights, flags_within, granted, kept_flags
from moxtwisted.imap.sharing import NotPermittedError, foreign_name
from moxtwisted.message.flags import SYSTEM_FLAGS, MessageFlags

__all__ = ["OwnMailbox", "RestrictedMailbox", "foreign_objectid", "rights_of"]

_EVERY_SYSTEM_FLAG: Final = sum(SYSTEM_FLAGS)
# Ids of contents and threads are small in every account; those of others are lifted out of each other's way.
_ID_BITS: Final = 48


@lru_cache(maxsize=1024)
def _mark(owner: str) -> bytes:
    return sha256(owner.encode("utf-8")).digest()[:6]


def foreign_objectid(objectid: str, owner: str) -> str:
    """A MAILBOXID of another account; RFC 8474 section 4: no two mailboxes that a user sees have the same."""
    return f"{objectid}-{_mark(owner).hex()}" if objectid else ""


class _Sender(Protocol):
    """What sends messages from one account to another: the session."""

    def is_foreign(self, target: str) -> bool:
        """Whether a mailbox belongs to somebody else."""

    async def send(
        self, source: b.ISelectedMailbox, owner: str, uids: Sequence[int], target: str
    ) -> b.Appended:
        """Copy."""

    async def send_away(
        self, source: b.ISelectedMailbox, owner: str, uids: Sequence[int], target: str
    ) -> b.Appended:
        """Move."""


@implementer(b.ISelectedMailbox)
class OwnMailbox:
    """A mailbox of the user's own; all but COPY and MOVE to others goes to the backend's as it is.

    :ivar inner: that of the backend.
    """

    __slots__ = (
        "_sender",
        "_user",
        "bodies",
        "expunge",
        "inner",
        "objectid",
        "open_body",
        "rows",
        "store",
        "view",
    )

    def __init__(self, inner: b.ISelectedMailbox, user: str, sender: _Sender) -> None:
        self.inner = inner
        self._user = user
        self._sender = sender
        # The very methods, so that nothing costs more than without sharing.
        for name in ("view", "objectid", "rows", "bodies", "open_body", "store", "expunge"):
            setattr(self, name, getattr(inner, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __conform__(self, interface: Any) -> Any:
        """Zope's adaptation: who may read ahead asks the backend's."""
        return IReadingAhead(self.inner, None) if interface is IReadingAhead else None

    def copy(self, uids: Sequence[int], target: str) -> Awaitable[b.Appended]:
        """See ``ISelectedMailbox``."""
        if self._sender.is_foreign(target):
            return self._sender.send(self.inner, self._user, uids, target)
        return self.inner.copy(uids, target)

    def move(self, uids: Sequence[int], target: str) -> Awaitable[b.Appended]:
        """See ``ISelectedMailbox``."""
        if self._sender.is_foreign(target):
            return self._sender.send_away(self.inner, self._user, uids, target)
        return self.inner.move(uids, target)


def _weakly(rights: Callable[[], Rights]) -> Callable[[], Rights]:
    """The same without holding what it is a method of: a view and its mailbox shall go at once, and the account with them."""
    method = WeakMethod(rights)

    def now() -> Rights:
        alive = method()
        return alive() if alive is not None else frozenset()

    return now


@implementer(b.IMailboxView)
class _RestrictedView:
    """The live state of somebody else's mailbox, as long as it may be read."""

    __slots__ = ("_known", "_live", "_owner", "_rights")

    def __init__(self, live: b.IMailboxView, owner: str, rights: Callable[[], Rights]) -> None:
        self._live = live
        self._owner = owner
        self._rights = rights
        self._known = (live.uidnext, live.highestmodseq)

    @property
    def name(self) -> str | None:
        """What the user calls it now, as far as its state can tell."""
        name = getattr(self._live, "name", None)
        return foreign_name(self._owner, name) if name else None

    @property
    def exists(self) -> bool:
        return bool(self._live.exists) and "r" in self._rights()

    @property
    def version(self) -> int:
        # Another one than any before, so that the session looks.
        return self._live.version if "r" in self._rights() else -1

    @property
    def uids(self) -> array[int]:
        return self._live.uids if "r" in self._rights() else array("I")

    @property
    def modseqs(self) -> array[int]:
        return self._live.modseqs if "r" in self._rights() else array("Q")

    @property
    def flags(self) -> list[MessageFlags]:
        return self._live.flags if "r" in self._rights() else []

    @property
    def uidvalidity(self) -> int:
        value: int = self._live.uidvalidity
        return value

    @property
    def uidnext(self) -> int:
        return self._numbers()[0]

    @property
    def highestmodseq(self) -> int:
        return self._numbers()[1]

    def _numbers(self) -> tuple[int, int]:
        """They tell that something happens: who may not read any more has those that he saw last."""
        if "r" in self._rights():
            self._known = (self._live.uidnext, self._live.highestmodseq)
        return self._known

    def changes_since(self, version: int) -> tuple[Sequence[int], Sequence[int]] | None:
        """See ``IMailboxView``."""
        if version < 0 or "r" not in self._rights():
            return None
        return self._live.changes_since(version)

    def listen(self, callback: Callable[[], None]) -> None:
        """See ``IMailboxView``."""
        self._live.listen(callback)

    def unlisten(self, callback: Callable[[], None]) -> None:
        """See ``IMailboxView``."""
        self._live.unlisten(callback)


@implementer(b.ISelectedMailbox, IFuzzyMailbox, IReadingAhead)
class RestrictedMailbox:
    """Somebody else's mailbox, selected; what it does not let through cannot be asked of it.

    :ivar inner: the mailbox as its owner would have it.
    :param acl: gives its access control list now; None when it is gone.
    """

    def __init__(
        self,
        inner: b.ISelectedMailbox,
        owner: str,
        user: str,
        acl: Callable[[], Mapping[str, Rights] | None],
        sender: _Sender,
    ) -> None:
        self.inner = inner
        self.owner = owner
        self._user = user
        self._acl = acl
        self._sender = sender
        self._seen: tuple[Mapping[str, Rights] | None, Rights] = ({}, frozenset())
        self.objectid = foreign_objectid(inner.objectid, owner)
        self.view = _RestrictedView(inner.view, owner, _weakly(self._rights))

    def _rights(self) -> Rights:
        acl = self._acl()
        # A change makes a new list.
        if acl is not self._seen[0]:
            self._seen = (acl, granted(acl, self._user) if acl is not None else frozenset())
        return self._seen[1]

    @property
    def rights(self) -> Rights:
        """What the user may do here now."""
        return self._rights()

    def need(self, letters: str) -> Rights:
        """The user's rights, which have these. :raises NotPermittedError:"""
        rights = self._rights()
        if not rights.issuperset(letters):
            raise NotPermittedError(f"{letters} on a mailbox of {self.owner}")
        return rights

    # -- reading -----------------------------------------------------------------------------------------------
    def rows(self, uids: Sequence[int], columns: int) -> list[tuple[Any, ...]]:
        """See ``ISelectedMailbox``."""
        if "r" not in self._rights():
            return []
        rows = self.inner.rows(uids, columns)
        lifted = [
            1 + (columns & (column - 1)).bit_count() for column in (b.EMAIL, b.THREAD) if columns & column
        ]
        if lifted and rows:
            more = 1 + int.from_bytes(_mark(self.owner), "big") << _ID_BITS
            changed = [list(row) for row in rows]
            for row in changed:
                for place in lifted:
                    row[place] += more
            rows = list(map(tuple, changed))
        return rows

    def bodies(self, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        """See ``ISelectedMailbox``."""
        return self.inner.bodies(uids, limit_octets) if "r" in self._rights() else []

    def read_ahead(self, uids: Sequence[int], limit_octets: int) -> None:
        """See `IReadingAhead <moxtwisted.imap.readahead.IReadingAhead>`."""
        ahead = IReadingAhead(self.inner, None)
        if ahead is not None and (not uids or "r" in self._rights()):
            ahead.read_ahead(uids, limit_octets)

    def open_body(self, uid: int) -> b.IMessageBody | None:
        """See ``ISelectedMailbox``."""
        return self.inner.open_body(uid) if "r" in self._rights() else None

    async def search_text(self, term: b.MessageText, uids: Sequence[int]) -> set[int]:
        """See ``ISelectedMailbox``."""
        return await self.inner.search_text(term, uids) if "r" in self._rights() else set()

    async def search_fuzzy(self, term: b.MessageText, uids: Sequence[int]) -> Mapping[int, int]:
        """See `IFuzzyMailbox <moxtwisted.imap.fuzzy.IFuzzyMailbox>`."""
        return await self.inner.search_fuzzy(term, uids) if "r" in self._rights() else {}  # type: ignore[attr-defined]

    def expunged_since(self, modseq: int) -> tuple[Sequence[int], bool]:
        """See ``ISelectedMailbox``."""
        return self.inner.expunged_since(modseq) if "r" in self._rights() else ((), False)

    # -- changing ----------------------------------------------------------------------------------------------
    async def store(
        self,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None,
    ) -> b.Stored:
        """RFC 4314 section 4: flags that the rights do not allow stay as they are; NO only when nothing is left to do."""
        rights = self.need("r")
        kept = kept_flags(flags, rights)
        system, keywords = flags_within(rights)
        if mode == "replace":
            if not system:
                raise NotPermittedError("STORE FLAGS without w, s and t")
            if system == _EVERY_SYSTEM_FLAG:
                return await self.inner.store(uids, "replace", flags, unchanged_since)
            return await self._replace(uids, kept, (system, keywords), unchanged_since)
        if not kept.names and flags.names:
            raise NotPermittedError(f"STORE of {' '.join(flags.names)}")
        return await self.inner.store(uids, mode, kept, unchanged_since)

    async def _replace(
        self,
        uids: Sequence[int],
        kept: MessageFlags,
        within: tuple[int, bool],
        unchanged_since: int | None,
    ) -> b.Stored:
        """Replace some flags and leave the others: what goes is removed, then what stays is added."""
        system, keywords = within
        gone: set[str] = set()
        if keywords:
            gone = {k.lower() for flags in set(self.inner.view.flags) for k in flags.keywords}
            gone -= {k.lower() for k in kept.keywords}
        removed = await self.inner.store(
            uids, "remove", MessageFlags.of(system & ~kept.system, gone), unchanged_since
        )
        refused = frozenset(removed.refused)
        added = await self.inner.store([uid for uid in uids if uid not in refused], "add", kept, None)
        changed = sorted({*removed.changed, *added.changed})
        return b.Stored(tuple(changed), removed.refused, max(removed.modseq, added.modseq))

    def expunge(self, uids: Sequence[int] | None) -> Awaitable[tuple[int, ...]]:
        """See ``ISelectedMailbox``."""
        self.need("re")
        return self.inner.expunge(uids)

    async def copy(self, uids: Sequence[int], target: str) -> b.Appended:
        """See ``ISelectedMailbox``."""
        self.need("r")
        return await self._sender.send(self.inner, self.owner, uids, target)

    async def move(self, uids: Sequence[int], target: str) -> b.Appended:
        """See ``ISelectedMailbox``."""
        # RFC 6851 section 4.2: the rights of STORE (\Deleted), COPY and EXPUNGE together.
        self.need("rte")
        return await self._sender.send_away(self.inner, self.owner, uids, target)

    def close(self) -> None:
        """See ``ISelectedMailbox``."""
        self.inner.close()


def rights_of(mailbox: Any) -> Rights:
    """What the user may do in a selected mailbox; all, where nobody shares."""
    rights: Rights = getattr(mailbox, "rights", ALL)
    return rights
