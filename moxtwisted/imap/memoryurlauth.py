"""URLAUTH over mail in memory."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from zope.interface import implementer

from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.urlauth import IURLAuthority

__all__ = ["URLAuthority"]


@implementer(IURLAuthority)
class URLAuthority:
    """Mixed into an authenticator: the users are those of ``_users``, by their names.

    :ivar submitters: who may read URLs for submission.
    """

    submitters: frozenset[str] = frozenset()
    _users: dict[str, tuple[str, MemoryMail]]
    _entropy: Callable[[int], bytes]

    @property
    def _keys(self) -> dict[tuple[str, str], bytes]:
        keys: dict[tuple[str, str], bytes] = self.__dict__.setdefault("_url_keys", {})
        return keys

    def account_of(self, user: str) -> str | None:
        """See ``IURLAuthority``."""
        return user if user in self._users else None

    def may_submit(self, account: str) -> bool:
        """See ``IURLAuthority``."""
        return account in self.submitters

    async def mailbox_key(self, account: str, mailbox: str, *, make: bool = True) -> bytes:
        """See ``IURLAuthority``."""
        made = hmac.digest(self._entropy(32), mailbox.encode(), "sha256")
        return (
            self._keys.setdefault((account, mailbox), made)
            if make
            else self._keys.get((account, mailbox), made)
        )

    async def reset_mailbox_key(self, account: str, mailbox: str | None) -> None:
        """See ``IURLAuthority``."""
        for key in [k for k in self._keys if k[0] == account and mailbox in (None, k[1])]:
            del self._keys[key]
