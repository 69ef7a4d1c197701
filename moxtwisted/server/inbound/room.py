"""Whether a recipient may be taken: is there room, and may it come in this transaction?

::

    room = Room(store, trouble, outcome)
    room.refusal(Asked(accounts=("alice",), octets=4000, ...))       # None, or the answer to RCPT

Asked at RCPT for addresses that exist. Where the accounts are another process's (``moxtwisted.server.receivers``), the answer may
have to be waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen
from zope.interface import Interface, implementer

from moxtwisted.address import Path
from moxtwisted.errors import MailError
from moxtwisted.server.intake import Trouble
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.smtp.replies import Reply, reply_for_error
from moxtwisted.store.interfaces import IAccount, IStore

if TYPE_CHECKING:
    from moxtwisted.server.inbound.outcome import Outcome
    from moxtwisted.server.inbound.rejects import IRejects

__all__ = ["Asked", "IRoom", "Room", "fullness"]


@frozen(kw_only=True)
class Asked:
    """A recipient.

    :ivar accounts: where its mail goes; each once.
    :ivar octets: what the client says that the message has; 0 when it does not say.
    :ivar others: recipients that were accepted in this transaction.
    :ivar judged: whether somebody will judge the message: what is among an account's rejects takes no room then.
    :ivar together: whether all recipients of the transaction have one answer.
    :ivar seconds: now.
    """

    accounts: tuple[str, ...]
    octets: int
    reverse_path: Path
    forward_path: Path
    others: tuple[Path, ...]
    judged: bool
    together: bool
    seconds: float


class IRoom(Interface):
    """Who knows how full accounts are."""

    def refusal(asked: Asked) -> Reply | Awaitable[Reply | None] | None:
        """The answer to RCPT when the recipient may not be taken; None: it may."""


@implementer(IRoom)
@frozen
class Room:
    """That of the process that has the accounts, or knows which keeper has them: what one of these has to be asked for is waited for.

    :ivar outcome: gives what decides about messages; None: all are taken.
    """

    _store: IStore
    _trouble: Trouble
    _outcome: Callable[[], Outcome] | None = None
    _places: IPlaces = field(factory=AllHere)

    def refusal(self, asked: Asked) -> Reply | Awaitable[Reply | None] | None:
        """See ``IRoom``."""
        for account in asked.accounts:
            if self._places.is_away(account):
                return self._ask(asked)
        outcome = self._outcome() if asked.judged and self._outcome is not None else None
        full = [self._full(account, asked.octets, outcome) for account in asked.accounts]
        return _refusal(asked, full, outcome)

    async def _ask(self, asked: Asked) -> Reply | None:
        outcome = self._outcome() if asked.judged and self._outcome is not None else None
        full = []
        for account in asked.accounts:
            if self._places.is_away(account):
                full.append(await self._full_away(account, asked.octets, outcome is not None))
            else:
                full.append(self._full(account, asked.octets, outcome))
        return _refusal(asked, full, outcome)

    async def _full_away(self, account: str, octets: int, judged: bool) -> Reply | None:
        try:
            full: Reply | None = await self._places.ask(account, "full", octets, judged)
        except MailError as e:
            self._trouble.report(e)
            return reply_for_error(e)
        return full

    def _full(self, account: str, octets: int, outcome: Outcome | None) -> Reply | None:
        try:
            return fullness(self._store.account(account), octets, outcome.rejects if outcome else None)
        except MailError as e:
            self._trouble.report(e)
            return reply_for_error(e)


def _refusal(asked: Asked, full: Sequence[Reply | None], outcome: Outcome | None) -> Reply | None:
    # One full member must not keep an alias from the others; the commit asks again.
    if all(full):
        return full[0]
    if outcome is None or not asked.together:
        return None
    return outcome.apart(asked.reverse_path, asked.others, asked.forward_path, asked.seconds)


def fullness(account: IAccount, octets: int, rejects: IRejects | None) -> Reply | None:
    """The refusal of a message that an account has no room for; None: it has.

    :param rejects: whose copies take no room from what is taken; None: they do.
    :raises MailError: the account cannot be asked.
    """
    used, messages, quota = account.usage()
    if quota is None and account.message_quota is None:
        return None
    if rejects is not None:
        # What can be looked at after it was refused takes no room from what is taken.
        octets_there, copies_there = rejects.room(account)
        used, messages = used - octets_there, messages - copies_there
    full = account.message_quota is not None and messages >= account.message_quota
    if full or (quota is not None and used + max(octets, 1) > quota):
        # RFC 3463 section 3.3: X.2.2, mailbox full.
        return Reply(452, "4.2.2", "mailbox is over its quota")
    return None
