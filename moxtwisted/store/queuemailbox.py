r"""What waits in the queue of an account's own messages, as a mailbox.

::

    waiting = queue.mailbox("alice", clock)
    waiting.state.uids                                  # IMailboxState, as of any mailbox
    await waiting.store_flags([4], "add", MessageFlags.parse(["\\Deleted"]), None)
    await waiting.expunge(None)                         # cancels: its recipients are taken out of the queue

A message begins with a block of fields, one for each recipient who did not get it yet (of very many, the first, and how many more)::

    X-Moxtwisted-Queue: bob@example.com; queued Sun, 22 Nov 2026 11:16:31 +0000; next attempt Sun, 22 Nov 2026 11:20:00 +0000;
     attempts so far 1; connection refused

What is under a UID never changes. When something about its recipients does, the message leaves, and comes with another UID. It has
``\Seen``, and ``\Deleted`` when somebody marked it so; nothing can be put here.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Literal

import apsw
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from moxtwisted.errors import ConsistencyError, StoreUnavailableError
from moxtwisted.message.compose import encode_words, field
from moxtwisted.message.dates import render_date
from moxtwisted.message.flags import DELETED, MessageFlags
from moxtwisted.message.fuzzy import Needle
from moxtwisted.message.headers import Header
from moxtwisted.message.mime import Scanner
from moxtwisted.message.products import Rendered, render
from moxtwisted.message.structure import LIST_FIELDS
from moxtwisted.message.text import body_text, header_text
from moxtwisted.store.bodies import CHUNK_BITS, decode
from moxtwisted.store.changes import ChangeQueue, FlagTable, MailboxState, published
from moxtwisted.store.facts import Facts, pack, picker, unpack
from moxtwisted.store.fieldtexts import folded
from moxtwisted.store.interfaces import Column, FlagsStored, Mailbox, SearchTerm
from moxtwisted.store.lanes import Lane
from moxtwisted.store.ledger import Delta
from moxtwisted.store.queueledger import MAILBOX, NAME, QueueLedger, raw_flags
from moxtwisted.store.reading import BodyReader
from moxtwisted.store.search import in_field, in_slices, occurs, scan, storable

__all__ = ["FIELD", "QueueMailbox", "render_missing", "sweep"]

_log = Logger()

FIELD: Final = "X-Moxtwisted-Queue"
"""The name of the fields that say for whom a message waits, and why."""

_KEPT_FIELDS: Final = frozenset(name.lower() for name in LIST_FIELDS)
#: Messages that are looked up at a time.
_ROWS: Final = 100
#: Characters that are shown of a reason.
_WHY: Final = 500
_FACTS: Final = int(Column.ENVELOPE | Column.BODYSTRUCTURE | Column.FIELDS | Column.PREVIEW | Column.PARTS)
# Ids of contents and threads in accounts are small; those of waiting messages are out of their way.
_ID_OFFSET: Final = 1 << 47
_WORDS: Final = re.compile(r"\w+")

_SUBMISSIONS: Final = """
SELECT s.uid, s.id, s.size, s.queued, s.prefix, s.header_size, s.facts
FROM carray(?) k CROSS JOIN submission s ON s.account = ? AND s.uid = k.value
"""
#: Recipients of one message that are told: what does it for all must not take long.
_TOLD: Final = 50
_RECIPIENTS: Final = f"""
SELECT address, attempts, next_attempt, why FROM recipient WHERE submission = ? ORDER BY id LIMIT {_TOLD + 1}
"""


@frozen
class _Waiting:
    """A message as it is kept.

    :ivar id: of the submission.
    :ivar size: octets, ``head`` included.
    :ivar head: what stands before the message.
    :ivar facts: packed.
    """

    uid: int
    id: int
    size: int
    queued: int
    head: bytes
    header_size: int
    facts: bytes


class QueueMailbox:
    """The mailbox of one account; what it does is as in ``IAccount``, without the mailbox's id.

    :ivar state: an ``IMailboxState``, which is kept up to date.
    """

    def __init__(self, account: str, ledger: QueueLedger, lane: Lane, reader: Any, clock: Any) -> None:
        self.account = account
        self._ledger = ledger
        self._lane = lane
        self._reader = reader
        self._clock = clock
        self._queues: list[ChangeQueue] = []
        self._sizes: dict[int, int] = {}
        self._snapshot: tuple[int, Mailbox] | None = None
        self.state = self._load()

    # -- what it has -------------------------------------------------------------------------------------------

    def _load(self) -> MailboxState:
        with self._reading() as execute:
            uidvalidity = execute("SELECT value FROM setting WHERE key = 'uidvalidity'").get
            owner = execute("SELECT uidnext, modseq FROM owner WHERE account = ?", (self.account,)).fetchall()
            rows = execute(
                "SELECT uid, modseq, deleted FROM submission WHERE account = ? ORDER BY uid", (self.account,)
            ).fetchall()
        uidnext, modseq = owner[0] if owner else (1, 1)
        table = FlagTable()
        return MailboxState(
            id=MAILBOX,
            name=NAME,
            uidvalidity=uidvalidity,
            uidnext=uidnext,
            highestmodseq=modseq,
            uids=array("I", [row[0] for row in rows]),
            modseqs=array("Q", [row[1] for row in rows]),
            flags=[table[raw_flags(row[2])] for row in rows],
            unseen=0,
            table=table,
        )

    def apply(self, delta: Delta) -> None:
        """Something happened, and is on disk."""
        fresh = self.state.apply(delta)
        for uid in delta.expunged:
            self._sizes.pop(uid, None)
        if self._queues:
            change = published(delta)
            for queue in tuple(self._queues):
                queue.put((change,))
        if fresh:
            self.state.tell()

    def snapshot(self) -> Mailbox:
        """As it is now: the same object until it changes."""
        state = self.state
        if self._snapshot is None or self._snapshot[0] != state.version:
            sizes = self._all_sizes()
            gone = [uid for uid, flags in zip(state.uids, state.flags, strict=True) if flags.system & DELETED]
            mailbox = Mailbox(
                id=MAILBOX,
                name=NAME,
                uidvalidity=state.uidvalidity,
                uidnext=state.uidnext,
                special_use=(),
                highestmodseq=state.highestmodseq,
                messages=len(state.uids),
                unseen=0,
                deleted=len(gone),
                size=sum(sizes.values()),
                deleted_size=sum(sizes.get(uid, 0) for uid in gone),
            )
            self._snapshot = (state.version, mailbox)
        return self._snapshot[1]

    def _all_sizes(self) -> Mapping[int, int]:
        unknown = [uid for uid in self.state.uids if uid not in self._sizes]
        for start in range(0, len(unknown), _ROWS):
            self._sizes.update((m.uid, m.size) for m in self._waiting(unknown[start : start + _ROWS]))
        return self._sizes

    def watch(self, limit: int, changed: Callable[[], None] | None = None) -> ChangeQueue:
        """All changes from now on; see ``IAccount``."""
        queue = ChangeQueue(limit, self._unwatch, changed)
        self._queues.append(queue)
        return queue

    def _unwatch(self, queue: ChangeQueue) -> None:
        if queue in self._queues:
            self._queues.remove(queue)

    # -- reading -----------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """One state of the database for several questions."""
        if self._lane.closed:
            raise StoreUnavailableError("the queue is closed")
        self._reader.execute("BEGIN")
        try:
            yield self._reader.execute
        finally:
            self._reader.execute("COMMIT")

    def _waiting(self, uids: Sequence[int]) -> list[_Waiting]:
        """Those of these (ascending) that are there."""
        if not uids:
            return []
        with self._reading() as execute:
            rows = execute(_SUBMISSIONS, (apsw.carray(array("q", uids)), self.account)).fetchall()
            if not rows:
                return []
            found = []
            for uid, submission, size, queued, prefix, header_size, facts in rows:
                head = _fields(execute, submission, queued) + prefix
                found.append(_Waiting(uid, submission, len(head) + size, queued, head, header_size, facts))
        return found

    def rows(self, uids: Sequence[int], columns: Column) -> list[tuple[Any, ...]]:
        """(uid, column, …)."""
        wanted = [pick for column, pick in _COLUMNS if column & columns]
        facts = picker(columns) if columns & _FACTS else None
        before = (columns & (Column.ENVELOPE - 1)).bit_count()
        found = []
        for message in self._waiting(uids):
            values = [pick(message) for pick in wanted]
            if facts is not None:
                values[before:before] = facts(message.facts)
            found.append((message.uid, *values))
        return found

    def bodies(self, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        """(uid, octets) of the first that fit."""
        left = limit_octets
        found: list[tuple[int, bytes]] = []
        for start in range(0, len(uids), _ROWS):
            for message in self._waiting(uids[start : start + _ROWS]):
                left -= message.size
                if left < 0:
                    return found
                octets = self._octets(message)
                if octets is not None:
                    found.append((message.uid, octets))
        return found

    def _octets(self, message: _Waiting) -> bytes | None:
        """None when it went meanwhile."""
        first = message.id << CHUNK_BITS
        chunks = self._reader.execute(
            "SELECT codec, data FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id",
            (first, first + (1 << CHUNK_BITS) - 1),
        ).fetchall()
        octets = b"".join((message.head, *(decode(codec, data) for codec, data in chunks)))
        return octets if len(octets) == message.size else None

    def open_body(self, uid: int) -> BodyReader | None:
        """One message's octets; they stay readable until it is closed, though the message left."""
        for message in self._waiting((uid,)):
            if self._ledger.pins.pin(message.id, lambda: bool(self._waiting((uid,)))):
                return BodyReader(message.size, self._reader, message.id, message.head, self._unpin)
        return None

    def _unpin(self, submission: int) -> None:
        if self._ledger.pins.unpin(submission):
            sweep(self._lane, self._ledger, (submission,))

    def expunged_since(self, modseq: int) -> tuple[Sequence[int], bool]:
        """No history is kept: whatever is not there is gone."""
        return (), modseq >= self.state.highestmodseq

    # -- changing ----------------------------------------------------------------------------------------------

    def store_flags(
        self,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None = None,
    ) -> Deferred[FlagsStored]:
        r"""Change \Deleted; all other flags stay as they are."""
        named = bool(flags.system & DELETED)
        if mode != "replace" and not named:
            uids = ()
        deleted = named and mode != "remove"
        return self._lane.submit(
            partial(self._ledger.store_deleted, self.account, tuple(uids), deleted, unchanged_since)
        )

    def expunge(self, uids: Sequence[int] | None, *, only_deleted: bool = True) -> Deferred[tuple[int, ...]]:
        """Cancel: those who did not get these messages yet never will. The UIDs that went."""
        chosen = None if uids is None else tuple(uids)
        return self._lane.submit(partial(self._ledger.cancel, self.account, chosen, only_deleted))

    def identify(self, uids: Sequence[int]) -> tuple[int, ...]:
        """What these (ascending) are, whatever UIDs they get."""
        return tuple([message.id for message in self._waiting(uids)])

    def cancel(self, submissions: Sequence[int]) -> Deferred[int]:
        """As ``expunge``, by what ``identify`` said; how many there were."""
        return self._lane.submit(partial(self._ledger.cancel_identified, self.account, tuple(submissions)))

    # -- searching ---------------------------------------------------------------------------------------------

    def search(self, term: SearchTerm, uids: Sequence[int]) -> Deferred[set[int]]:
        """Those whose text matches."""
        name, needle = term.field.lower(), folded(storable(term.needle))

        def matches(message: _Waiting, reader: BodyReader) -> Generator[None, None, int]:
            return (yield from occurs(reader, name, needle))

        def in_kept(message: _Waiting) -> int:
            header = Header.parse(unpack(message.facts).fields + b"\r\n")
            return in_field(header, name.encode(), needle)

        kept = in_kept if name.encode("utf-8", "replace") in _KEPT_FIELDS else None
        return Deferred.fromCoroutine(self._search(uids, matches, kept)).addCallback(set)

    def search_fuzzy(self, term: SearchTerm, uids: Sequence[int]) -> Deferred[dict[int, int]]:
        """Those whose text has words like those of the needle, with their relevancy."""
        name = term.field.lower()
        needle = Needle(_WORDS.findall(folded(storable(term.needle))))
        if not needle.words:
            return self.search(term, uids).addCallback(lambda found: dict.fromkeys(found, 100))

        def rate(message: _Waiting, reader: BodyReader) -> Generator[None, None, int]:
            scanned = yield from scan(reader)
            if name not in {"text", "header", "body"}:
                texts = [header_text(scanned.header, frozenset((name.encode("utf-8", "replace"),)))]
            else:
                texts = [] if name == "body" else [header_text(scanned.header)]
                if name != "header":
                    for piece in body_text(scanned, reader.read):
                        texts.append(piece)
                        yield
            return needle.rate(set(_WORDS.findall(folded(storable("\n".join(texts))))))

        return Deferred.fromCoroutine(self._search(uids, rate, None))

    async def _search(
        self,
        uids: Sequence[int],
        judge: Callable[[_Waiting, BodyReader], Generator[None, None, int]],
        quick: Callable[[_Waiting], int] | None,
    ) -> dict[int, int]:
        """What is made of each message, if it is not 0."""
        found: dict[int, int] = await in_slices(
            self._judged(uids, judge, quick), self._clock, time.perf_counter, lambda: self._lane.closed
        )
        return found

    def _judged(
        self,
        uids: Sequence[int],
        judge: Callable[[_Waiting, BodyReader], Generator[None, None, int]],
        quick: Callable[[_Waiting], int] | None,
    ) -> Generator[None, None, dict[int, int]]:
        found = {}
        for start in range(0, len(uids), _ROWS):
            for message in self._waiting(uids[start : start + _ROWS]):
                value = quick(message) if quick is not None else 0
                reader = self.open_body(message.uid) if quick is None else None
                if reader is not None:
                    try:
                        value = yield from judge(message, reader)
                    except ConsistencyError:
                        # One damaged message must not make all searches fail.
                        value = 0
                    finally:
                        reader.close()
                if value:
                    found[message.uid] = int(value)
                yield
        return found


_COLUMNS: Final[tuple[tuple[Column, Callable[[_Waiting], int]], ...]] = (
    (Column.SIZE, lambda m: m.size),
    (Column.INTERNALDATE, lambda m: m.queued),
    (Column.SAVEDATE, lambda m: m.queued),
    (Column.BODY, lambda m: _ID_OFFSET + m.uid),
    (Column.THREAD, lambda m: _ID_OFFSET + m.uid),
    (Column.HEADER_SIZE, lambda m: m.header_size),
    (Column.PREFIX_SIZE, lambda m: len(m.head)),
)
"""The columns that are not among the facts."""


def _fields(execute: Any, submission: int, queued: int) -> bytes:
    """For whom it waits."""
    rows = execute(_RECIPIENTS, (submission,)).fetchall()
    fields = [_status(queued, *row) for row in rows[:_TOLD]]
    if len(rows) > _TOLD:
        count = execute("SELECT count(*) FROM recipient WHERE submission = ?", (submission,)).get
        fields.append(field(FIELD, f"and {count - _TOLD} more recipients"))
    return b"".join(fields)


def _status(queued: int, address: str, attempts: int, next_attempt: int, why: str) -> bytes:
    """The field about one recipient."""
    text = (
        f"{address}; queued {render_date(queued).decode()}; next attempt {render_date(next_attempt).decode()};"
        f" attempts so far {attempts}; {why[:_WHY]}"
    )
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return field(FIELD, encode_words(text))


def sweep(lane: Lane, ledger: QueueLedger, submissions: Sequence[int]) -> None:
    """Delete the octets of messages that are gone and that nobody reads; what that does not reach is done at the next start."""
    if not lane.closed:
        lane.submit(partial(ledger.sweep, submissions)).addErrback(
            lambda failure: _log.failure("octets of messages that left the queue are still there", failure)
        )


def render_missing(connection: Any) -> None:
    """Render what was queued before there was such a mailbox."""
    rows = connection.execute("SELECT id, size, prefix FROM submission WHERE facts IS NULL").fetchall()
    for submission, size, prefix in rows:
        reader = BodyReader(size, connection, submission, b"", lambda _: None)
        try:
            rendered = _rendered(reader)
        except ConsistencyError:
            # One damaged message must not keep the server from starting.
            rendered = render(Scanner().finish(), lambda offset, length: b"")
        header = Header.parse(prefix)
        fields = b"".join(raw for raw, name in header.fields if name in LIST_FIELDS) + rendered.fields
        facts = Facts(
            rendered.envelope, rendered.bodystructure, fields, rendered.preview, rendered.parts, b""
        )
        connection.execute(
            "UPDATE submission SET header_size = ?, facts = ? WHERE id = ?",
            (rendered.header_size, pack(facts), submission),
        )


def _rendered(reader: BodyReader) -> Rendered:
    work = scan(reader)
    try:
        while True:
            next(work)
    except StopIteration as e:
        return render(e.value, reader.read)
