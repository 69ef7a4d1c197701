"""Bodies on their way from the other server into the store: staged as they come, added a batch at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Final

from attrs import define, field

from moxtwisted.errors import MailError
from moxtwisted.imap.client.machine import BodyStarted
from moxtwisted.imap.client.results import Message
from moxtwisted.imap.wire.responsedata import Streamed
from moxtwisted.message.dates import bounded_instant
from moxtwisted.message.flags import SYSTEM_FLAGS, MessageFlags
from moxtwisted.store.foreign import Fetched
from moxtwisted.store.interfaces import IStaging, IStore
from moxtwisted.store.toend import to_end

__all__ = ["Batch", "Body", "readable_flags"]

_BATCH_MESSAGES: Final = 100
_BATCH_OCTETS: Final = 16 * 2**20
#: A larger message is listed and left.
MAX_MESSAGE_OCTETS: Final = 2**30
_SYSTEM: Final = frozenset(name.lower() for name in SYSTEM_FLAGS.values())
_KEYWORD: Final = re.compile(r'[^\x00-\x20(){%*"\\\]\x7f-\U0010ffff]{1,100}')
_MAX_KEYWORDS: Final = 200


def readable_flags(names: frozenset[str] | None) -> MessageFlags:
    r"""Flags that can be kept: not ``\Recent``, nor others with a backslash that the standard does not know, nor keywords that clients
    could not read because they are no atoms (RFC 9051 section 9), which some servers have.
    """
    kept = [name for name in sorted(names or ()) if name.lower() in _SYSTEM or _KEYWORD.fullmatch(name)]
    return MessageFlags.parse(kept[:_MAX_KEYWORDS])


def _close(messages: Iterable[Fetched]) -> None:
    for one in messages:
        one.staged.close()


@define(eq=False)
class Body:
    """Takes the octets of one message; a ``BodySink``.

    :ivar problem: why it cannot be kept, or empty.
    """

    staging: IStaging
    problem: str = ""
    size: int = 0
    complete: bool = False
    _digest: hashlib._Hash = field(factory=hashlib.sha256)

    @classmethod
    def begin(cls, store: IStore, size: int) -> Body:
        """Begin one."""
        body = cls(store.stage(min(size, MAX_MESSAGE_OCTETS)))
        if size > MAX_MESSAGE_OCTETS:
            body.fail(f"larger than {MAX_MESSAGE_OCTETS} octets")
        elif not size:
            body.fail("empty")
        return body

    def fail(self, problem: str) -> None:
        """It cannot be kept; what still comes is thrown away."""
        if not self.problem:
            self.problem = problem
            self.staging.abort()

    def write(self, octets: bytes) -> Awaitable[None] | None:
        """See ``BodySink``."""
        if not self.problem:
            self.size += len(octets)
            self._digest.update(octets)
            try:
                self.staging.write(octets)
            except MailError as e:
                self.fail(e.explanation)
        return None

    def close(self, *, complete: bool) -> None:
        """See ``BodySink``."""
        self.complete = complete
        if not complete:
            self.fail("the connection was lost")

    @property
    def digest(self) -> bytes:
        """Of its octets, to know it again."""
        return self._digest.digest()[:16]


@define(eq=False)
class Batch:
    """Messages of one mailbox that came, to be added together.

    :ivar add: adds them to the store.
    :ivar unreadable: told of a message that cannot be kept: its UID, and why.
    :ivar arrived: UIDs that need not be asked for again.
    """

    store: IStore
    add: Callable[[list[Fetched]], Coroutine[Any, Any, None]]
    unreadable: Callable[[int, str], None]
    arrived: set[int] = field(factory=set)
    #: Set when the store refused: nothing more can be added, whatever the server sends.
    refused: MailError | None = None
    _body: Body | None = None
    _pending: list[Fetched] = field(factory=list)
    _octets: int = 0

    def sink(self, started: BodyStarted) -> Body | None:
        """A large body begins."""
        if started.label != "BODY[]":
            return None
        self._drop_body()
        self._body = Body.begin(self.store, started.size_octets)
        return self._body

    def take(self, message: Message) -> Awaitable[None] | None:
        """A message is there; what is returned must fire before the next one comes."""
        octets = message.sections.get("BODY[]", b"")
        uid = message.uid
        if uid is None or "BODY[]" not in message.sections or uid in self.arrived:
            self._drop_body()
            return None
        if isinstance(octets, Streamed):
            body, self._body = self._body, None
            if body is None:
                return None
        elif octets is None:
            self.arrived.add(uid)
            self.unreadable(uid, "the server has no octets of it")
            return None
        else:
            body = Body.begin(self.store, len(octets))
            body.write(octets)
        self.arrived.add(uid)
        if body.problem:
            self.unreadable(uid, body.problem)
            return None
        staged = body.staging.finish()
        date = int(message.internaldate.timestamp()) if message.internaldate else staged.scanned.date or 0
        self._pending.append(
            Fetched(uid, staged, bounded_instant(date), readable_flags(message.flags), body.digest)
        )
        self._octets += body.size
        if len(self._pending) >= _BATCH_MESSAGES or self._octets >= _BATCH_OCTETS:
            return self.flush()
        return None

    async def flush(self) -> None:
        """Add what is pending. When this is cancelled, the store keeps the messages until it has answered, and they are added."""
        pending, self._pending, self._octets = self._pending, [], 0
        if not pending:
            return
        try:
            await to_end(self.add(pending), partial(_close, pending))
        except MailError as e:
            self.refused = e
            raise

    def drop(self) -> None:
        """Let go of what is pending; it was not added."""
        pending, self._pending = self._pending, []
        self.arrived.difference_update(one.uid for one in pending)
        _close(pending)
        self._drop_body()

    def _drop_body(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.fail("not asked for")
