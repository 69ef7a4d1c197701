"""What can be asked for where an account is: see ``IPlaces.ask``.

::

    operations = Operations(store, delivery, effects.judge, effects.rejects)
    await operations.run("full", ("alice", 4000, True))            # None, or the refusal

    octets, descriptors = write(("full", "alice", 4000, True))     # where it is asked
    answer = await operations.answer(octets, descriptors)          # where the account is
    understand(answer)                                             # where it was asked: None, the refusal, or the error is raised

The account is in this process while an operation runs, or it raises ``StoreUnavailableError``. What is kept for the whole server (how much
was delivered, what is under way) stays with the owner, which says what is to be known of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import define
from twisted.logger import Logger

from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.server.lending.crossing import read, write
from moxtwisted.store.interfaces import IStagedMessage, Usage

if TYPE_CHECKING:
    # What an operation needs is there when somebody asks for it.
    from moxtwisted.server.delivery import Copy, LocalDelivery
    from moxtwisted.server.inbound.rejects import Rejects
    from moxtwisted.server.judgement.interfaces import Decision, Incoming, Recipient
    from moxtwisted.server.judgement.judge import Judge
    from moxtwisted.smtp.replies import Reply
    from moxtwisted.store.store import Store

__all__ = ["Operations", "understand"]

_log = Logger()


@define(eq=False)
class Operations:
    """Those of one process. Each gets the account's name first; what it raises is a ``MailError``."""

    _store: Store
    _delivery: LocalDelivery
    _judge: Callable[[], Judge]
    _rejects: Callable[[], Rejects]

    async def run(self, operation: str, values: Sequence[Any]) -> Any:
        """Do one of these.

        :param values: the account's name, and what else the operation wants.
        :raises MailError: what it raises, or there is none of that name.
        """
        wanted = _OPERATIONS.get(operation)
        if wanted is None:
            raise StoreUnavailableError(f"nothing is called {operation}")
        return await wanted(self, *values)

    async def answer(self, octets: bytes, descriptors: Sequence[int]) -> bytes:
        """Do what was written down: ``(operation, account, ...)``.

        :param descriptors: not the caller's any more.
        :returns: for ``understand``.
        """
        operation = ""
        try:
            (operation, *values), messages = read(octets, descriptors)
            try:
                return write((True, await self.run(operation, values)))[0]
            finally:
                for message in messages:
                    message.close()
        except MailError as e:
            return _refusal(e)
        except Exception:  # noqa: BLE001  a boundary: who asked is told
            _log.failure("{operation} failed, which another process asked for", operation=operation)
            return write((False, StoreUnavailableError(f"{operation} failed")))[0]

    # -- mail that comes in --------------------------------------------------------------------------------------

    async def judge(
        self, account: str, incoming: Incoming, recipient: Recipient, within_rates: bool
    ) -> Decision:
        """See ``Judge.judge_told``."""
        return await self._judge().judge_told(incoming, recipient, within_rates)

    async def deliver(
        self, account: str, copies: Sequence[Copy], staged: IStagedMessage, internaldate: int
    ) -> MailError | None:
        """See ``LocalDelivery.add``."""
        return await self._delivery.add(account, copies, staged, internaldate)

    async def notes(self, account: str) -> list[tuple[int, bytes]]:
        """See ``LocalDelivery.notes``."""
        return self._delivery.notes(account)

    async def write_notes(self, account: str, notes: Sequence[tuple[int, bytes]]) -> MailError | None:
        """See ``LocalDelivery.write_notes``."""
        return await self._delivery.write_notes(account, notes)

    async def full(self, account: str, octets: int, judged: bool) -> Reply | None:
        """See ``fullness``.

        :param judged: whether somebody will judge the message: what is among the account's rejects takes no room then.
        """
        from moxtwisted.server.inbound.room import fullness

        return fullness(self._store.account(account), octets, self._rejects() if judged else None)

    async def keep_reject(self, account: str, staged: IStagedMessage, prefix: bytes, sender: Any) -> None:
        """See ``Rejects.keep_here``; the message is needed until this returns."""
        await self._rejects().keep_here(account, staged, prefix, sender)

    async def accepted(self, account: str, known_by: bytes) -> None:
        """See ``Rejects.accepted_here``."""
        await self._rejects().accepted_here(account, known_by)

    # -- users ---------------------------------------------------------------------------------------------------

    async def wrote(self, account: str, addresses: Sequence[tuple[str, str]], now: int) -> None:
        """See ``IAccount.wrote``."""
        await self._store.account(account).wrote(addresses, now)

    async def secret(self, account: str, name: str) -> bytes | None:
        """See ``IAccount.secret``."""
        return self._store.account(account).secret(name)

    # -- upkeep --------------------------------------------------------------------------------------------------

    async def retire(self, account: str, older: int, now: int) -> None:
        """See ``moxtwisted.store.maintenance.retire``."""
        from moxtwisted.store.maintenance import retire

        await retire(self._store.account(account), older, now)

    async def usage(self, account: str) -> Usage:
        """What it uses, and may."""
        return Usage.of(self._store.account(account))

    async def url_key(self, account: str, mailbox: str) -> bytes | None:
        """See ``moxtwisted.server.imapd.urlkeys.url_key``."""
        from moxtwisted.server.imapd.urlkeys import url_key

        return url_key(self._store.account(account), mailbox)


_OPERATIONS: Final[Mapping[str, Callable[..., Awaitable[Any]]]] = {
    "judge": Operations.judge,
    "deliver": Operations.deliver,
    "notes": Operations.notes,
    "write_notes": Operations.write_notes,
    "full": Operations.full,
    "keep_reject": Operations.keep_reject,
    "accepted": Operations.accepted,
    "wrote": Operations.wrote,
    "secret": Operations.secret,
    "retire": Operations.retire,
    "usage": Operations.usage,
    "url_key": Operations.url_key,
}


def _refusal(error: MailError) -> bytes:
    try:
        return write((False, error))[0]
    except Exception:  # noqa: BLE001  something in it cannot cross, and who asked waits
        return write((False, StoreUnavailableError(error.explanation)))[0]


def understand(answer: bytes) -> Any:
    """What ``Operations.answer`` found out. :raises MailError: what the operation raised."""
    (done, value), _ = read(answer, ())
    if not done:
        raise value
    return value
