"""Where accounts are: in this process, or with a keeper.

An account is in one process at a time. The server's first process, the owner, has all of them to begin with. When a user logs in by
IMAP, it may lend the account to a keeper, which has it whole until it gives it back: its database, its sessions, what is decided
about mail for it, and the delivery::

    if places.is_away("alice"):
        decision = await places.ask("alice", "judge", incoming, recipient)
    else:
        account = store.account("alice")

    await places.home("alice")         # what no keeper does: the account comes back, whose sessions end
    account = store.account("alice")   # without waiting in between, or it may be gone again

While an account is lent, ``store.account`` raises ``StoreUnavailableError`` for it in the owner.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from zope.interface import Interface, implementer

__all__ = ["AllHere", "IPlaces"]


class IPlaces(Interface):
    """Where accounts are."""

    def is_away(account: str) -> bool:
        """Whether another process has it, or it is on its way."""

    def ask(account: str, operation: str, *values: Any) -> Awaitable[Any]:
        """Have something done where the account is, here or there: a method of ``moxtwisted.server.lending.operations.Operations``.

        :raises MailError: what it raises; ``StoreUnavailableError`` when the other process ends before it answers, which leaves open
            whether it was done.
        """

    def home(account: str) -> Awaitable[None]:
        """Have it here, unless it is; its sessions there end with BYE.

        :raises StoreUnavailableError: it does not come.
        """


@implementer(IPlaces)
class AllHere:
    """There is one process."""

    def is_away(self, account: str) -> bool:
        """See ``IPlaces``."""
        return False

    async def ask(self, account: str, operation: str, *values: Any) -> Any:
        """See ``IPlaces``: nobody has to ask."""
        raise RuntimeError(f"account {account} is here")

    async def home(self, account: str) -> None:
        """See ``IPlaces``."""
