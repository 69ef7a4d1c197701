"""Teaches rspamd what people decide: messages that they call junk or not, by flags or by moving them.

::

    teacher = Teacher(store, rspamd.learn, message_octets=1_000_000)
    store.decided = teacher.put

One message at a time, behind everything else. What cannot be taught now is not kept: the next message teaches as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from moxtwisted.errors import MailError
from moxtwisted.store.interfaces import IStore

__all__ = ["Teacher"]

_log = Logger()

#: Messages that wait; what comes when there are more is not taught.
_WAITING: Final = 1000


@define(eq=False)
class Teacher:
    """Hands messages on.

    :ivar learn: takes the octets and what they are.
    :ivar teaches: whether what an account decides is taught.
    :ivar message_octets: larger messages are not taught.
    """

    store: IStore
    learn: Callable[[bytes, Literal["spam", "ham"]], Awaitable[None]]
    teaches: Callable[[str], bool] = field(default=lambda _: True)
    message_octets: int = 1_000_000
    _waiting: deque[tuple[str, int, bool]] = field(factory=deque, init=False)
    _working: bool = field(default=False, init=False)
    _stopped: bool = field(default=False, init=False)

    def put(self, account: str, messages: Sequence[tuple[int, bool]]) -> None:
        """See ``moxtwisted.store.learner.Decided``."""
        if not self.teaches(account):
            return
        room = _WAITING - len(self._waiting)
        self._waiting.extend((account, body, junk) for body, junk in messages[:room])
        if not self._working and not self._stopped:
            self._working = True
            Deferred.fromCoroutine(self._work()).addErrback(
                lambda failure: _log.failure("rspamd cannot be taught", failure)
            )

    def stop(self) -> None:
        """No more of it; what waits is forgotten."""
        self._stopped = True
        self._waiting.clear()

    async def _work(self) -> None:
        try:
            while self._waiting:
                account, body, junk = self._waiting.popleft()
                try:
                    octets = self._octets(account, body)
                    if octets is not None:
                        await self.learn(octets, "spam" if junk else "ham")
                except MailError as e:
                    _log.warn(
                        "rspamd did not learn a message of {account}: {why}",
                        account=account,
                        why=e.detail or e.public_text,
                    )
        finally:
            self._working = False

    def _octets(self, account: str, body: int) -> bytes | None:
        """None when it is gone, or too large."""
        reader = self.store.account(account).open_by_id(body)
        if reader is None:
            return None
        try:
            return reader.read(0, reader.size) if reader.size <= self.message_octets else None
        finally:
            reader.close()
