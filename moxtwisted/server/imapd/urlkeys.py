"""The keys of URLs (RFC 4467), kept with the account's other secrets in its database, which is encrypted as the mail is.

An account has one key, and each mailbox a number of its own that is mixed into it as soon as the mailbox was given a new key::

    mailbox key = HMAC(account key, object identifier of the mailbox + its own octets)

So a new account key revokes everything, and a mailbox that is gone leaves nothing behind that would matter.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.identifiers import IdentifierError, parse_mailbox_name
from moxtwisted.imap.backend import ISession
from moxtwisted.imap.urlauth import IDistantOwners, IURLAuthority
from moxtwisted.server.directory import AccountEntry
from moxtwisted.server.imapd.mail import mailbox_info
from moxtwisted.store.interfaces import IAccount

__all__ = ["URLKeys", "url_key"]

_log = Logger()

#: Names of secrets in the account's database.
ACCOUNT_KEY: Final = "urlauth"
MAILBOX_KEY: Final = "urlauth:"
_KEY_OCTETS: Final = 32


def _mixed(account: IAccount, key: bytes, mailbox: str) -> bytes:
    own = account.secret(MAILBOX_KEY + mailbox) or b""
    return hmac.digest(key, mailbox.encode("ascii") + b"\0" + own, "sha256")


def url_key(account: IAccount, mailbox: str) -> bytes | None:
    """The key of a mailbox by its name in a URL; None when there is no such mailbox, or none of its URLs was ever authorised."""
    key = account.secret(ACCOUNT_KEY)
    try:
        found = account.mailbox(parse_mailbox_name(mailbox))
    except (MailError, IdentifierError):
        return None
    return None if key is None or found is None else _mixed(account, key, mailbox_info(found).objectid)


@implementer(IURLAuthority, IDistantOwners)
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

    def mail_here(self, account: str) -> ISession:
        """See ``IDistantOwners``."""
        mail: ISession = self._mail.session(self._mail.entry(account))
        return mail

    async def bring(self, account: str, mailbox: str, is_genuine: Callable[[bytes], bool]) -> None:
        """See ``IDistantOwners``."""
        places = self._mail.places
        if not places.is_away(account):
            return
        try:
            # Its user is disconnected when it comes, for a URL that he authorised himself; RESETKEY (RFC 4467 section 7) ends that.
            key = await places.ask(account, "url_key", mailbox)
            if key is not None and is_genuine(key):
                _log.info("account {account} is wanted for a URL", account=account)
                await places.home(account)
        except MailError:
            _log.failure("account {account} could not be asked for a URL", account=account)

    async def mailbox_key(self, account: str, mailbox: str, *, make: bool = True) -> bytes:
        """See ``IURLAuthority``."""
        try:
            kept = self._mail.store.account(account)
        except StoreUnavailableError:
            if make:
                raise
            # It is elsewhere; that there is such an account is not told.
            nothing: bytes = self._mail.entropy(_KEY_OCTETS)
            return nothing
        key: bytes | None = kept.secret(ACCOUNT_KEY)
        if key is None and not make:
            # Whoever asks must not cause a commit, which would tell that there is such an account.
            key = self._mail.entropy(_KEY_OCTETS)
        if key is None:
            lock = self._mail.url_keys
            await lock.acquire()
            try:
                # Somebody else may have made it while we waited.
                key = kept.secret(ACCOUNT_KEY)
                if key is None:
                    key = self._mail.entropy(_KEY_OCTETS)
                    await kept.set_secret(ACCOUNT_KEY, key)
            finally:
                lock.release()
        return _mixed(kept, key, mailbox)

    async def reset_mailbox_key(self, account: str, mailbox: str | None) -> None:
        """See ``IURLAuthority``."""
        kept = self._mail.store.account(account)
        name = ACCOUNT_KEY if mailbox is None else MAILBOX_KEY + mailbox
        await kept.set_secret(name, self._mail.entropy(_KEY_OCTETS))
