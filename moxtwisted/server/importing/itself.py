"""Whether the account on the other server is the very one that is imported into, whose mail would be doubled.

::

    if await is_itself(client, account):
        raise MailError(…)

That happens when the name of the old server leads here since the move. What a server says of a mailbox does not tell. UIDVALIDITY, and
MAILBOXID (RFC 8474) where there is one, are the same in a copy of the account on another machine, and to fetch what has come to one of
the two since is a good reason to import; with servers like ours they are the same even in two accounts that were made in the same
second. What tells is a change that is made here and seen there: for a moment the account is subscribed to a name that nobody can know.
That is no message, no flag and no mailbox, and every server can be asked for it (RFC 9051 section 6.3.9.1, RFC 3501 section 6.3.9).

When no server runs, none can be this one, since its data are ours alone then; what is asked is the same.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from moxtwisted.imap.agent import IMAPClient
from moxtwisted.imap.client.results import ResultError
from moxtwisted.imap.client.session import CommandRefusedError, NotUnderstoodError
from moxtwisted.store.accounts import Account

__all__ = ["is_itself"]

#: Of the names that the account is subscribed to for a moment.
_PREFIX: Final = "moxmail-import-"
_NAME: Final = re.compile(re.escape(_PREFIX) + "[0-9a-f]{32}")


async def is_itself(client: IMAPClient, account: Account) -> bool:
    """Whether the client is logged in to this account. It may have hung up after that.

    :raise ConnectionFailedError: the connection is lost meanwhile.
    :raise MailError: the store refuses the subscription.
    """
    inbox = account.mailbox("INBOX")
    try:
        there = await client.status("INBOX", ["UIDVALIDITY"])
        # RFC 9051 section 2.3.1.1: a mailbox has one UIDVALIDITY at a time, so another one is another mailbox. This spares most the rest.
        if inbox is None or there.uidvalidity != inbox.uidvalidity:
            return False
        return await _shows_a_change(client, account)
    except (CommandRefusedError, NotUnderstoodError, ResultError):
        # We would neither refuse this nor answer nonsense.
        return False


async def _shows_a_change(client: IMAPClient, account: Account) -> bool:
    name = _PREFIX + secrets.token_hex(16)
    try:
        await account.subscribe(name)
        return any(one.name == name for one in await client.subscribed(name))
    finally:
        # Also what a process left that was killed at this point; no mailbox of the user that is called nearly so.
        for left in {name, *filter(_NAME.fullmatch, account.subscriptions())}:
            await account.unsubscribe(left)
