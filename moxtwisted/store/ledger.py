"""The writer's side of one account: its counters in memory, one transaction at a time.

All of it runs in the account's writer thread (but ``Ledger.committed``). Jobs are functions in ``messages`` and
``mailboxes`` that change the database and this ledger together::

    def job(ledger):
        record = ledger.mailbox(mailbox)           # MailboxMissingError
        modseq = ledger.next_modseq()
        ...SQL...
        record.messages += 1
        ledger.touch(record, modseq)
        ledger.expunged(record, modseq, uids)

What is changed waits until somebody takes the ``connection``, by which it is written, or the transaction ends; the transaction of the
database begins then, so that a small one is a single step (``moxtwisted.store.pending``). At the end the changed records are written once,
however many jobs changed them, and what happened goes to the reactor, a ``Delta`` each. After a rollback the ledger is read again from
the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from moxtwisted.errors import LimitError, MailboxMissingError
from moxtwisted.store.interfaces import ChangeKind, Mailbox
from moxtwisted.store.junkflags import JunkFlags, RawFlags
from moxtwisted.store.learner import Learner
from moxtwisted.store.pending import Pending, set_mailboxes
from moxtwisted.store.threads import Threads

__all__ = ["Arrivals", "Delta", "Ledger", "MailboxRecord", "RawFlags", "Report"]

_MAX_NUMBER: Final = 0xFFFF_FFFF


@define(eq=False)
class MailboxRecord:
    """A row of ``mailbox``, in the order of its columns."""

    id: int
    name: str
    uidvalidity: int
    uidnext: int
    special_use: str
    modseq: int
    createseq: int
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0
    deleted_size: int = 0

    @property
    def place(self) -> tuple[str, str]:
        """Its name and special uses, as ``moxtwisted.store.junkflags`` has them."""
        return self.name, self.special_use

    def counts(self) -> tuple[Any, ...]:
        """What changes with messages, and the id behind it."""
        return (
            self.uidnext,
            self.special_use,
            self.modseq,
            self.messages,
            self.unseen,
            self.deleted,
            self.size,
            self.deleted_size,
            self.id,
        )

    def snapshot(self) -> Mailbox:
        """For readers."""
        return Mailbox(
            id=self.id,
            name=self.name,
            uidvalidity=self.uidvalidity,
            uidnext=self.uidnext,
            special_use=tuple(self.special_use.split()),
            highestmodseq=self.modseq,
            messages=self.messages,
            unseen=self.unseen,
            deleted=self.deleted,
            size=self.size,
            deleted_size=self.deleted_size,
        )


@define(eq=False)
class Arrivals:
    """Messages that came into a mailbox, in columns: the reactor's thread has to take in very many at once.

    :ivar uids: ascending.
    """

    uids: list[int] = field(factory=list)
    modseqs: list[int] = field(factory=list)
    flags: list[RawFlags] = field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.uids)

    def append(self, uid: int, modseq: int, flags: RawFlags) -> None:
        """One more."""
        self.uids.append(uid)
        self.modseqs.append(modseq)
        self.flags.append(flags)

    def extend(self, uids: range, modseq: int, flags: Sequence[RawFlags]) -> None:
        """Some more, with the same modseq."""
        self.uids += uids
        self.modseqs += [modseq] * len(uids)
        self.flags += flags


@define(eq=False)
class Delta:
    """What happened to one mailbox; ``entries`` are annotations.

    :ivar flagged: (flags, UIDs that have them now, ascending) for each combination of flags.
    :ivar acl: the mailbox's access control list, if it may have changed: rights by identifier.
    """

    kind: ChangeKind
    mailbox: int
    name: str
    modseq: int
    added: Arrivals = field(factory=Arrivals)
    expunged: Sequence[int] = ()
    flagged: Sequence[tuple[RawFlags, Sequence[int]]] = ()
    old_name: str = ""
    entries: tuple[str, ...] = ()
    acl: dict[str, str] | None = None
    _flagged_uids: tuple[int, ...] | None = field(default=None, init=False)

    @property
    def flagged_uids(self) -> tuple[int, ...]:
        """All UIDs with other flags, ascending."""
        if self._flagged_uids is None:
            if len(self.flagged) == 1:
                self._flagged_uids = tuple(self.flagged[0][1])
            else:
                self._flagged_uids = tuple(sorted([uid for _, uids in self.flagged for uid in uids]))
        return self._flagged_uids


@frozen
class Report:
    """What one commit changed, for the reactor.

    :ivar mailboxes: those that changed or are new.
    :ivar removed: ids of those that are gone.
    :ivar released: bodies that no message names any more.
    :ivar judgements: whether anything is to be judged (``moxtwisted.store.judgements``).
    :ivar decided: (body, whether it is junk) of messages about which somebody changed his mind, or made it up.
    :ivar experience: whether what is known of senders or of junk may have changed.
    """

    deltas: Sequence[Delta]
    mailboxes: Sequence[Mailbox]
    removed: Sequence[int]
    subscriptions: frozenset[str] | None
    released: Sequence[int]
    new_bodies: bool
    judgements: bool = False
    decided: Sequence[tuple[int, bool]] = ()
    experience: bool = False


class Ledger:
    """Counters, pending rows and changes of an account; a ``moxtwisted.store.writer.Unit``.

    :ivar quota: octets, or None; set by the reactor's thread.
    :ivar message_quota: messages, or None; set by the reactor's thread.
    :ivar mailboxes: by id.
    :ivar threads: which messages belong together.
    :ivar junk_flags: what mailboxes make of messages that come into them; set by the reactor's thread.
    :ivar learner: learns from what is junk or not; None: nothing does.
    :ivar learned_by: version of the learner by which all was learned that was; 0: nothing was.
    :ivar judgements_due: whether this transaction notes something to be judged.
    :ivar decided: see L{Report}.
    :ivar experience: see L{Report}; set by who changes the history, the correspondents or the words.
    """

    def __init__(self, connection: Any, told: Callable[[Report], None], seconds: Callable[[], float]) -> None:
        self._connection = connection
        self._pending = Pending()
        self._open = False
        self.quota: int | None = None
        self.message_quota: int | None = None
        self.learner: Learner | None = None
        self.junk_flags: JunkFlags | None = None
        self.seconds = seconds
        self.committed = told
        self.threads = Threads(connection, lambda: self.connection)
        self.load()

    def load(self) -> None:
        """Read everything from the database."""
        execute = self._connection.execute
        settings = dict(
            execute(
                "SELECT key, value FROM setting WHERE key IN ('modseq', 'last_body', 'uidvalidity_next', 'learned_by')"
            ).fetchall()
        )
        self.uidvalidity_next: int = settings.get("uidvalidity_next", 1)
        self.learned_by: int = settings.get("learned_by", 0)
        self.mailboxes: dict[int, MailboxRecord] = {
            row[0]: MailboxRecord(*row)
            for row in execute(
                "SELECT id, name, uidvalidity, uidnext, special_use, modseq, createseq,"
                " messages, unseen, deleted, size, deleted_size FROM mailbox"
            )
        }
        self.by_name = {record.name: record for record in self.mailboxes.values()}
        self.subscriptions = {row[0] for row in execute("SELECT name FROM subscription")}
        # A delivery dirties few pages: its modseq is in the mailbox and its body's number in the body, so that the
        # settings need writing only when those go.
        self.modseq: int = max(
            [settings.get("modseq", 0), *(record.modseq for record in self.mailboxes.values())]
        )
        self.last_body: int = max(
            settings.get("last_body", 0), execute("SELECT coalesce(max(id), 0) FROM body").get
        )
        self.size = sum(record.size for record in self.mailboxes.values())
        self.messages = sum(record.messages for record in self.mailboxes.values())
        self.threads.load()
        self._clear()

    def _clear(self) -> None:
        self._deltas: list[Delta] = []
        self._adding: dict[int, Delta] = {}
        self._dirty: dict[int, MailboxRecord] = {}
        self._removed: list[int] = []
        self._released: list[int] = []
        self._saved_modseq = self.modseq
        self._saved_uidvalidity = self.uidvalidity_next
        self._first_body = self.last_body
        self._subscriptions_changed = False
        self._pending.clear()
        self._marks = 0
        self.judgements_due = self.experience = False
        self.decided: list[tuple[int, bool]] = []

    # -- transaction -------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Any:
        """For reading and writing, inside the transaction; what waits is written before."""
        connection = self._connection
        if self._open and not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        if self._pending:
            before = connection.total_changes()
            self._pending.write(connection)
            # They were counted when they came: who only reads has changed nothing.
            self._marks -= connection.total_changes() - before
        return connection

    def reading(self, mailbox: int, uid: int) -> Any:
        """For reading what is known of this message alone: begins no transaction without need."""
        return self.connection if self._pending.touches(mailbox, uid) else self._connection

    @property
    def waiting(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._pending)

    def begin(self) -> None:
        """Start one; the database's begins with the first statement that needs it."""
        self._open = True

    def mark(self) -> int:
        """Grows with every change."""
        changes: int = self._connection.total_changes()
        return self._marks + changes

    def commit(self) -> Report | None:
        """Write counters and pending rows, COMMIT."""
        if self.modseq > max([self._saved_modseq, *(record.modseq for record in self._dirty.values())]):
            self.set_setting("modseq", self.modseq)
        if self.uidvalidity_next != self._saved_uidvalidity:
            self.set_setting("uidvalidity_next", self.uidvalidity_next)
        if self.threads.due:
            self.threads.write(self.last_body)
        mailboxes = [record.counts() for record in self._dirty.values()]
        if self._connection.in_transaction or not self._pending.write_alone(self._connection, mailboxes):
            connection = self.connection
            set_mailboxes(connection, mailboxes)
            connection.execute("COMMIT")
        self._open = False
        report = None
        if (
            self._deltas
            or self._dirty
            or self._released
            or self.judgements_due
            or self.decided
            or self.experience
            or self.last_body != self._first_body
        ):
            report = Report(
                self._deltas,
                [record.snapshot() for record in self._dirty.values()],
                self._removed,
                frozenset(self.subscriptions) if self._subscriptions_changed else None,
                self._released,
                self.last_body != self._first_body,
                self.judgements_due,
                self.decided,
                self.experience,
            )
        self._clear()
        return report

    def rollback(self) -> None:
        """Forget the transaction."""
        self._open = False
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self.load()

    def settle(self) -> None:
        """Before the end: write what may wait, in a transaction of its own."""
        self.begin()
        self.threads.write(self.last_body)
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
        self._open = False

    # -- numbers -----------------------------------------------------------------------------------------------

    def set_setting(self, key: str, value: int | str | bytes) -> None:
        """Write a row of ``setting``."""
        self.connection.execute(
            "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def next_modseq(self) -> int:
        """A new one, greater than all before."""
        self.modseq += 1
        self._marks += 1
        return self.modseq

    def next_uidvalidity(self) -> int:
        """A new one, greater than all before."""
        value = self.uidvalidity_next
        if value >= _MAX_NUMBER:
            raise LimitError("out of UIDVALIDITY values")
        self.uidvalidity_next = value + 1
        return value

    def next_body(self) -> int:
        """The id of a new body."""
        self.last_body += 1
        return self.last_body

    def take_uids(self, record: MailboxRecord, count: int) -> int:
        """The first of this many new UIDs of a mailbox."""
        first = record.uidnext
        # RFC 9051 section 2.3.1.1: UIDs are 32-bit and never used again.
        if first + count > _MAX_NUMBER:
            raise LimitError(f"mailbox {record.id} is out of UIDs")
        record.uidnext = first + count
        return first

    # -- records and changes -----------------------------------------------------------------------------------

    def mailbox(self, mailbox: int) -> MailboxRecord:
        """The record. :raises MailboxMissingError:"""
        record = self.mailboxes.get(mailbox)
        if record is None:
            raise MailboxMissingError(f"mailbox {mailbox}")
        return record

    def touch(self, record: MailboxRecord, modseq: int) -> None:
        """The record changed, by a change with this modseq."""
        record.modseq = modseq
        self._dirty[record.id] = record

    def count(self, record: MailboxRecord, flags: int, size: int, sign: int) -> None:
        """A message with these flags came (sign 1) or went (-1)."""
        record.messages += sign
        record.size += sign * size
        self.size += sign * size
        self.messages += sign
        if not flags & 1:
            record.unseen += sign
        if flags & 8:
            record.deleted += sign
            record.deleted_size += sign * size

    def tell(self, delta: Delta) -> Delta:
        """Something happened."""
        self._adding.pop(delta.mailbox, None)
        self._deltas.append(delta)
        if delta.expunged:
            # A move within the mailbox adds to it: states tell changes apart by their modseq.
            self._adding[delta.mailbox] = delta
        return delta

    def added(self, record: MailboxRecord, uid: int, modseq: int, flags: RawFlags) -> None:
        """A message was added."""
        self._added(record, modseq).append(uid, modseq, flags)

    def entered(self, record: MailboxRecord, uids: range, modseq: int, flags: Sequence[RawFlags]) -> None:
        """Messages were added; the same flags are best the same object."""
        self._added(record, modseq).extend(uids, modseq, flags)

    def _added(self, record: MailboxRecord, modseq: int) -> Arrivals:
        delta = self._adding.get(record.id)
        if delta is None:
            delta = self.tell(Delta("messages", record.id, record.name, modseq))
            self._adding[record.id] = delta
        delta.modseq = modseq
        return delta.added

    def removed(self, record: MailboxRecord) -> None:
        """A mailbox was deleted."""
        del self.mailboxes[record.id]
        del self.by_name[record.name]
        self._dirty.pop(record.id, None)
        self._removed.append(record.id)

    def created(self, record: MailboxRecord) -> None:
        """A mailbox was made, and its row was written."""
        self.mailboxes[record.id] = record
        self.by_name[record.name] = record
        self._dirty[record.id] = record

    def subscribed(self) -> None:
        """The subscriptions changed."""
        self._subscriptions_changed = True
        self._marks += 1

    def released(self, bodies: Sequence[int]) -> None:
        """No message names these any more."""
        self._released.extend(bodies)

    # -- pending rows ------------------------------------------------------------------------------------------

    def insert_body(self, row: tuple[Any, ...]) -> None:
        """Have a row of ``body`` written."""
        self._pending.insert_body(row)
        self._waits()

    def insert_chunk(self, identifier: int, codec: int, data: bytes) -> None:
        """Have a row of ``chunk`` written."""
        self._pending.insert_chunk((identifier, codec, data))
        self._waits()

    def insert_message(self, row: tuple[Any, ...]) -> None:
        """Have a row of ``message`` written."""
        self._pending.insert_message(row)
        self._waits()

    def set_flags(self, mailbox: int, uid: int, modseq: int, flags: RawFlags) -> None:
        """Have the flags of one message changed."""
        self._pending.set_flags((*flags, modseq, mailbox, uid))
        self._waits()

    def expunge(self, mailbox: int, uid: int, modseq: int) -> None:
        """Have one message taken out of its mailbox."""
        self._pending.expunge(mailbox, modseq, uid)
        self._waits()

    def refer(self, body: int, count: int) -> None:
        """Have it noted that so many messages more, or fewer, name a body."""
        self._pending.refer(count, body)
        self._waits()

    def unjudge(self, body: int) -> None:
        """Have it noted that what a body is may have changed."""
        self._pending.unjudge(body)
        self._waits()

    def _waits(self) -> None:
        self._marks += 1
        if self._pending.full:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._pending:
            self.connection  # noqa: B018 - taking it writes
