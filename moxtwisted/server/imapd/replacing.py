"""REPLACE over an account of the store: the new message and the removal of the old one are one commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from zope.interface import implementer

from moxtwisted.errors import LimitError, MailboxMissingError, OverQuotaError
from moxtwisted.imap.backend import Appended, IAppendSink, Incoming
from moxtwisted.imap.replacement import IReplacingSession
from moxtwisted.store.interfaces import Addition, Column, IAccount, IStore, NewMessage

__all__ = ["ReplacingSession"]


@implementer(IReplacingSession)
class ReplacingSession:
    """What ``AccountSession`` provides of ``IReplacingSession``."""

    __slots__ = ()
    _store: IStore
    _account: IAccount
    _seconds: Callable[[], float]
    append_limit: int

    def replacement_sink(self, selected: Any, uid: int, mailbox: str, size_octets: int) -> IAppendSink:
        """See ``IReplacingSession``."""
        self._target(mailbox)
        if size_octets > self.append_limit:
            error = LimitError(f"REPLACE with {size_octets} octets", public_text="message is too large")
            error.imap_code = "TOOBIG"  # RFC 7889 section 4
            raise error
        used, _, quota = self._account.usage()
        if quota is not None and used + size_octets > quota:
            gone = sum(size for _, size in selected.rows([uid], Column.SIZE))
            if used + size_octets - gone > quota:
                raise OverQuotaError(f"REPLACE with {size_octets} octets")
        return cast("IAppendSink", self._store.stage(size_octets))

    def _target(self, mailbox: str) -> int:
        found = self._account.mailbox(mailbox)
        if found is None:
            raise MailboxMissingError(mailbox)
        return found.id

    async def replace(self, selected: Any, uid: int, mailbox: str, message: Incoming) -> Appended:
        """See ``IReplacingSession``."""
        target = self._target(mailbox)
        staged = message.sink.finish()
        try:
            now = int(self._seconds())
            date = now if message.internaldate is None else message.internaldate
            added = await self._account.replace(
                selected.id, uid, Addition(target, NewMessage(staged, b"", date, message.flags))
            )
        finally:
            staged.close()
        return Appended(added.uidvalidity, (added.uid,))
