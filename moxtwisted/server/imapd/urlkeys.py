"""The keys of URLs (RFC 4467), kept with the account's other secrets in its database, which is encrypted as the mail is.

An account has one key, and each mailbox a number of its own that is mixed into it as soon as the mailbox was given a new key::

    mailbox key = HMAC(account key, object identifier of the mailbox + its own octets)

So a new account key revokes everything, and a mailbox that is gone leaves nothing behind that would matter.
"""

from __future__ import annotations

import hmac
from typing import Any, Final

from zope.interface import implementer

from moxtwisted.imap.urlauth import IURLAuthority
from moxtwisted.server.directory import AccountEntry

__all__ = ["URLKeys"]

#: Names of secrets in the account's database.
ACCOUNT_KEY: Final = "urlauth"
MAILBOX_KEY: Final = "urlauth:"
_KEY_OCTETS: Final = 32


@implementer(IURLAuthority)
class URLKeys:
    """Mixed into the authenticator of a connection."""

    __slots__ = ()

    _mail: Any

    def account_of(self, user: str) -> str | None:
        """See ``IURLAuthority``: a login name, or the name of an account."""
        directory = self._mail.directory.current
        entry: AccountEntry | None = directory.account_of_login(user) or directory.accounts.get(user)
        return None if entry is None or entry.disabled else entry.name

    def may_submit(self, account: str) -> bool:
        """See ``IURLAuthority``: submission here is part of this program and needs no IMAP."""
        return False

    async def mailbox_key(self, account: str, mailbox: str, *, make: bool = True) -> bytes:
        """See ``IURLAuthority``."""
        kept = self._mail.store.account(account)
        key: bytes | None = kept.secret(ACCOUNT_KEY)
        if key is None and not make:
            # Whoever asks must not cause a commit, which would tell that there is such an account.
            key = self._mail.authenticator.entropy(_KEY_OCTETS)
        if key is None:
            lock = self._mail.url_keys
            await lock.acquire()
            try:
                # Somebody else may have made it while we waited.
                key = kept.secret(ACCOUNT_KEY)
                if key is None:
                    key = self._mail.authenticator.entropy(_KEY_OCTETS)
                    await kept.set_secret(ACCOUNT_KEY, key)
            finally:
                lock.release()
        own: bytes = kept.secret(MAILBOX_KEY + mailbox) or b""
        return hmac.digest(key, mailbox.encode("ascii") + b"\0" + own, "sha256")

    async def reset_mailbox_key(self, account: str, mailbox: str | None) -> None:
        """See ``IURLAuthority``."""
        kept = self._mail.store.account(account)
        name = ACCOUNT_KEY if mailbox is None else MAILBOX_KEY + mailbox
        await kept.set_secret(name, self._mail.authenticator.entropy(_KEY_OCTETS))
