"""Limits of an account for IMAP: the part of a session that ``moxtwisted.imap.quota`` asks for."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from moxtwisted.imap.quota import IQuotaSession, Quota
from moxtwisted.store.interfaces import IAccount

__all__ = ["LimitedAccount"]


@implementer(IQuotaSession)
class LimitedAccount:
    """A mixin for the session of an account, which is one quota root without a name (as in mox)."""

    __slots__ = ()
    _account: Any

    def quota_root(self, mailbox: str) -> str:
        """See ``IQuotaSession``."""
        return ""

    def quota(self, root: str) -> Quota | None:
        """See ``IQuotaSession``."""
        if root:
            return None
        account: IAccount = self._account
        octets, messages, limit = account.usage()
        return Quota(octets, limit, messages, account.message_quota)
