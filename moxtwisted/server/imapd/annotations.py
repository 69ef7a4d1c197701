"""Annotations of an account's mailboxes for IMAP: the part of a session that ``moxtwisted.imap.metadata`` asks for.

What is set for the server is the account's own: nobody else sees it, be it private or shared. What everybody shall see comes
from the configuration (the administrator).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from zope.interface import implementer

from moxtwisted.errors import MailboxMissingError
from moxtwisted.imap.metadata import SPECIAL_USE, IAnnotatedSession
from moxtwisted.store.interfaces import IAccount

__all__ = ["AnnotatedAccount"]

# Changes of one commit that are looked at; there are no more than annotations of one SETMETADATA, and mailboxes.
_CHANGES = 100_000


@implementer(IAnnotatedSession)
class AnnotatedAccount:
    """A mixin for the session of an account.

    :ivar administrator: see ``IAnnotatedSession``.
    """

    __slots__ = ()
    _account: Any
    administrator: str

    def _mailbox_id(self, name: str) -> int:
        if not name:
            return 0
        found = self._account.mailbox(name)
        if found is None:
            raise MailboxMissingError(name)
        return int(found.id)

    def annotations(self, mailbox: str) -> Mapping[str, bytes]:
        """See ``IAnnotatedSession``."""
        account: IAccount = self._account
        return account.annotations(self._mailbox_id(mailbox))

    def annotate(
        self, mailbox: str, values: Mapping[str, bytes | None], special_use: Sequence[str] | None
    ) -> Awaitable[None]:
        """See ``IAnnotatedSession``."""
        account: IAccount = self._account
        return account.annotate(self._mailbox_id(mailbox), dict(values), special_use)

    def watch_annotations(self, changed: Callable[[str, Sequence[str]], None]) -> Callable[[], None]:
        """See ``IAnnotatedSession``."""
        account: IAccount = self._account

        def committed() -> None:
            changes, _ = queue.take()
            for change in changes:
                if change.kind == "annotated":
                    changed(change.name, change.entries)
                elif change.kind == "special_use":
                    changed(change.name, (SPECIAL_USE,))

        queue = account.watch(_CHANGES, committed)
        return queue.close
