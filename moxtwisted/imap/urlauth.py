"""URLs of messages that others may read (RFC 4467): who says whose they are, and how they are proved genuine.

A backend whose authenticator provides ``IURLAuthority`` has URLAUTH. It keeps a secret key for each mailbox of each user; the rest
is done here::

    token = make_token(key, url.rump)               # "01" and an HMAC in hexadecimal
    right = is_token(key, url.rump, url.authorization.token)

The token begins with the number of the algorithm, so that another can come without invalidating what is out there (RFC 4467 section 2.4.1).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from zope.interface import Interface

from moxtwisted.imap.backend import ISession

__all__ = ["MECHANISM", "IDistantOwners", "IURLAuthority", "is_token", "make_token"]

MECHANISM: Final = "INTERNAL"
"""The one mechanism there is (RFC 4467 section 2.4.1)."""

_ALGORITHM: Final = "01"


class IURLAuthority(Interface):
    """Provided by an ``IAuthenticator`` (`moxtwisted.imap.backend`); its ``session`` gives the mail of an owner."""

    def account_of(user: str) -> str | None:
        """The account of a user as a URL names him, to be compared with ``ISession.account`` and given to ``session``;
        None when there is none that could log in."""

    def may_submit(account: str) -> bool:
        """Whether the account is a message submission entity: it alone reads URLs with ``submit+``."""

    def mailbox_key(account: str, mailbox: str, *, make: bool = True) -> Awaitable[bytes]:
        """The access key of one mailbox of one user, 16 octets or more; made if there is none.

        :param mailbox: the ``objectid`` of its ``MailboxInfo``, or what is none: the same work is done.
        :param make: when False, nothing is written; instead of a key that is not there come random octets.
        """

    def reset_mailbox_key(account: str, mailbox: str | None) -> Awaitable[None]:
        """Forget the key of a mailbox, or all of the account's."""


class IDistantOwners(Interface):
    """An ``IURLAuthority`` that also provides this may have the mail of an owner elsewhere, where ``session`` does not reach it."""

    def mail_here(account: str) -> ISession:
        """The mail of an account that is here, without sending it anywhere. :raises MailError: it is not."""

    def bring(account: str, mailbox: str, is_genuine: Callable[[bytes], bool]) -> Awaitable[None]:
        """Have it here, if it is not, so that ``session`` can be called at once. Called for URLs that are good for who reads them; whether
        they are genuine is not known yet, and nothing may be disturbed for those that are not.

        :param account: of the owner.
        :param mailbox: the name in the URL, which may be of none.
        :param is_genuine: says it of an access key of that mailbox.
        """


def make_token(key: bytes, rump: str) -> str:
    """The token for a URL that ends with the access identifier."""
    return _ALGORITHM + hmac.digest(key, rump.encode("ascii"), "sha256").hex()


def is_token(key: bytes, rump: str, token: str) -> bool:
    """Whether the token is that of the URL; takes the same time whatever it is."""
    return hmac.compare_digest(
        make_token(key, rump).encode("ascii"), token.lower().encode("ascii", "replace")
    )
