"""REPLACE over mail in memory: what the sessions of ``moxtwisted.imap.memory`` provide of ``IReplacingSession``."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from moxtwisted.errors import MessageMissingError
from moxtwisted.imap.backend import Appended, Incoming
from moxtwisted.imap.replacement import IReplacingSession

__all__ = ["ReplacingSession"]


@implementer(IReplacingSession)
class ReplacingSession:
    """Replaces messages of ``_mail``."""

    __slots__ = ()

    def replacement_sink(self, selected: Any, uid: int, mailbox: str, size_octets: int) -> Any:
        """See ``IReplacingSession``; there must be room for what is more than before."""
        sink = self._sink(mailbox, size_octets)  # type: ignore[attr-defined]
        replaced = selected.view.messages.get(uid)
        before = len(replaced.octets) if replaced is not None else 0
        self._mail.check_room(size_octets - before, 0)  # type: ignore[attr-defined]
        return sink

    async def replace(self, selected: Any, uid: int, mailbox: str, message: Incoming) -> Appended:
        """See ``IReplacingSession``."""
        mail: Any = self._mail  # type: ignore[attr-defined]
        if uid not in selected.view.messages:
            raise MessageMissingError(f"UID {uid}")
        done: Appended = mail.append(mailbox, [message])
        selected.view.remove([uid], mail.next_modseq())
        return done
