"""Putting one message into the accounts that it is for: one commit per account, all at the same time.

::

    outcome = await LocalDelivery(store).deliver(staged, copies, prefix, now)
    outcome["alice"] is None            # safe on disk
    outcome["bob"].reply_code == 452    # a MailError: nothing of it is in bob's account

When some accounts took the message and others could not, the sender is told to try again, and must not cause
duplicates with those that have it: ``LocalDelivery`` remembers such messages for some days by their digest,
until all have it.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.store.interfaces import Addition, IStagedMessage, IStore, NewMessage

__all__ = ["Copy", "LocalDelivery"]

_log = Logger()

_MEMORY_MESSAGES: Final = 1000
# RFC 5321 section 4.5.4.1: senders give up after 4 to 5 days.
_MEMORY_SECONDS: Final = 6 * 86400.0

_Place = tuple[str, str]  # account, mailbox


@frozen
class Copy:
    """One copy of the message: into a mailbox of an account, with these header fields before it (each ends with CRLF)."""

    account: str
    mailbox: str
    prefix: bytes


@define(eq=False)
class LocalDelivery:
    """Delivers to accounts of the store."""

    _store: IStore
    _seconds: Callable[[], float] = time.time
    # digest of a message that only some accounts took -> when, and where it is
    _partial: OrderedDict[bytes, tuple[float, set[_Place]]] = field(factory=OrderedDict, init=False)

    async def deliver(
        self, staged: IStagedMessage, copies: Sequence[Copy], internaldate: int, *, one_answer: bool = True
    ) -> Mapping[str, MailError | None]:
        """Add the copies, one commit per account.

        :param internaldate: seconds since 1970, UTC.
        :param one_answer: the sender gets one answer for all and so tries again for all; in LMTP each has its own.
        :returns: by account, None or why it has nothing of it.
        """
        by_account: dict[str, list[Copy]] = {}
        there = self._already_there(staged) if one_answer else set()
        outcome: dict[str, MailError | None] = {}
        for copy in copies:
            if (copy.account, copy.mailbox) in there:
                outcome[copy.account] = None
            else:
                by_account.setdefault(copy.account, []).append(copy)
        pending = [
            (account, Deferred.fromCoroutine(self._add(account, mine, staged, internaldate)))
            for account, mine in by_account.items()
        ]
        for account, deferred in pending:
            outcome[account] = await deferred
        if one_answer:
            failed = any(error is not None for error in outcome.values())
            taken = {(c.account, c.mailbox) for c in copies if outcome[c.account] is None}
            if failed and taken:
                self._remember(staged, taken)
            elif there and not failed:
                del self._partial[_digest(staged)]
        return outcome

    async def _add(
        self, name: str, copies: Sequence[Copy], staged: IStagedMessage, internaldate: int
    ) -> MailError | None:
        try:
            account = self._store.account(name)
            await account.add(
                [Addition(c.mailbox, NewMessage(staged, c.prefix, internaldate)) for c in copies]
            )
        except MailError as e:
            _log.warn("delivery to {account} failed: {error}", account=name, error=e.detail or e.public_text)
            return e
        except Exception:  # noqa: BLE001  a boundary: one account's trouble must not take the others' answer away
            _log.failure("delivery to {account} failed", account=name)
            return StoreUnavailableError(f"delivery to {name} failed")
        return None

    def _already_there(self, staged: IStagedMessage) -> set[_Place]:
        oldest = self._seconds() - _MEMORY_SECONDS
        while self._partial and next(iter(self._partial.values()))[0] < oldest:
            self._partial.popitem(last=False)
        if not self._partial:
            return set()
        return set(self._partial.get(_digest(staged), (0.0, set()))[1])

    def _remember(self, staged: IStagedMessage, taken: set[_Place]) -> None:
        digest = _digest(staged)
        _, known = self._partial.pop(digest, (0.0, set()))
        self._partial[digest] = self._seconds(), known | taken
        while len(self._partial) > _MEMORY_MESSAGES:
            self._partial.popitem(last=False)


def _digest(staged: IStagedMessage) -> bytes:
    digest = hashlib.sha256()
    for chunk in staged.chunks():
        digest.update(chunk)
    return digest.digest()
