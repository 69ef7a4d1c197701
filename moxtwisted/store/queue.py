"""The queue: mail on its way out, safe on disk before it is acknowledged.

::

    queue = Queue.open(path, key, pool)
    await queue.submit(outgoing, everyone, limits, now)    # LimitError: the account sent too much today
    for entry in queue.entries():
        print(entry.recipient, entry.why)

Nothing sends messages yet: delivery comes with the outbound service, which will find them here. The operator can remove
what shall not wait for that (``moxmail queue remove``), and users see what they sent, and cancel it, in a mailbox
(``moxtwisted.store.queuemailbox``)::

    queue.mailbox("alice", clock).expunge(None)

Whoever changes a row of ``recipient`` calls ``QueueLedger.renumber``, and ``withdraw`` when it was the last one of a message. A message
may be withdrawn at any time, while it is being sent, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from moxtwisted.errors import LimitError, MailError
from moxtwisted.message.headers import select_fields
from moxtwisted.message.structure import LIST_FIELDS
from moxtwisted.store.bodies import encode
from moxtwisted.store.database import Database, create_database
from moxtwisted.store.facts import Facts, pack
from moxtwisted.store.interfaces import IStagedMessage
from moxtwisted.store.lanes import Lane
from moxtwisted.store.queueledger import QueueLedger, QueueReport, added
from moxtwisted.store.queuemailbox import QueueMailbox, render_missing, sweep
from moxtwisted.store.writer import WriterPool

__all__ = ["Outgoing", "Queue", "QueueEntry", "QueuedRecipient", "SendingLimits"]

_DAY_SECONDS: Final = 86400
WAITS_FOR_DELIVERY: Final = "delivery to other servers is not part of this version; kept until it is"


@frozen
class QueuedRecipient:
    """A recipient elsewhere.

    :ivar address: as on the wire, UTF-8, without angle brackets.
    :ivar notify: RFC 3461 NOTIFY, words separated by commas, or empty.
    :ivar orcpt_type: ``rfc822`` or ``utf-8`` with ``orcpt``, decoded; both empty when not given.
    """

    address: str
    notify: str = ""
    orcpt_type: str = ""
    orcpt: str = ""


@frozen(kw_only=True)
class Outgoing:
    """A message to be sent.

    :ivar sender: reverse-path without angle brackets; empty for ``<>``.
    :ivar prefix: header fields to stand before the staged octets.
    :ivar not_before: seconds since 1970; RFC 4865 hold.
    """

    account: str
    sender: str
    recipients: Sequence[QueuedRecipient]
    staged: IStagedMessage
    prefix: bytes
    message_id: str = ""
    body: str = "7BIT"
    smtputf8: bool = False
    require_tls: bool = False
    ret: str = ""
    envid: str = ""
    not_before: int = 0


@frozen(kw_only=True)
class SendingLimits:
    """What one account may send in 24 hours."""

    messages: int = 1000
    new_recipients: int = 200


@frozen
class QueueEntry:
    """A recipient that waits; times in seconds since 1970."""

    id: int
    account: str
    sender: str
    recipient: str
    size: int
    queued: int
    next_attempt: int
    attempts: int
    message_id: str
    why: str


@define(eq=False)
class Queue:
    """All outgoing mail of the server."""

    _database: Database
    _pool: WriterPool
    _ledger: QueueLedger = field(init=False)
    _lane: Lane = field(init=False)
    _mailboxes: WeakValueDictionary[str, QueueMailbox] = field(factory=WeakValueDictionary, init=False)

    def __attrs_post_init__(self) -> None:
        database = self._database
        self._ledger = QueueLedger(database.writer, self._told)
        self._lane = self._pool.lane(self._ledger, database.tidy, database.make_room)

    @classmethod
    def open(cls, path: Path, key: bytes | None, pool: WriterPool) -> Queue:
        """Open the file, or make it.

        :raises KeyRefusedError: when it was written with another key.
        """
        if not path.exists():
            create_database(path, key, "queue", room=pool.room)
        database = Database.open(path, key, "queue", pool.room)
        render_missing(database.writer)
        queue = cls(database, pool)
        left = [row[0] for row in database.reader.execute("SELECT submission FROM leftover").fetchall()]
        if left:
            sweep(queue._lane, queue._ledger, left)
        return queue

    def submit(
        self, outgoing: Outgoing, everyone: Sequence[str], limits: SendingLimits, now: int
    ) -> Deferred[int]:
        """Keep a message for its recipients elsewhere, and note that the account sent it.

        :param everyone: all recipients, those here too: they count against the limits.
        :param now: seconds since 1970.
        :returns: its id; 0 when nobody is elsewhere, and only the note was made.
        :raises LimitError: when the account sent too much in 24 hours.
        """
        addresses = sorted({address.lower() for address in everyone})
        return self._lane.submit(lambda: self._submit(outgoing, addresses, limits, now), grows=True)

    def withdraw(self, submission: int) -> Deferred[None]:
        """Remove a message that was not acknowledged after all. The account's counts stay."""
        return self._lane.submit(lambda: self._ledger.withdraw((submission,)))

    def remove(self, recipients: Sequence[int]) -> Deferred[list[QueueEntry]]:
        """Drop what waits for these recipients (ids of entries); all of them, or none.

        :returns: the entries that went.
        :raises MailError: when one of them does not wait.
        """
        return self._lane.submit(lambda: self._remove(frozenset(recipients)))

    def disown(self, account: str) -> Deferred[None]:
        """The account is gone for good: what waits of it is sent, and is nobody's."""
        return self._lane.submit(lambda: self._ledger.disown(account))

    def entries(self, account: str = "") -> list[QueueEntry]:
        """What waits, the next first; of one account or of all."""
        return _entries(self._database.reader, account)

    def mailbox(self, account: str, clock: Any) -> QueueMailbox:
        """What waits of an account's, as a mailbox; one for all who hold it.

        :param clock: has callLater.
        :raises StoreUnavailableError: when the queue was closed.
        """
        known = self._mailboxes.get(account)
        if known is None:
            known = QueueMailbox(account, self._ledger, self._lane, self._database.reader, clock)
            self._mailboxes[account] = known
        return known

    def _told(self, report: QueueReport) -> None:
        """A commit's report: bring the mailboxes that somebody holds up to date."""
        for account, delta in report.deltas:
            mailbox = self._mailboxes.get(account)
            if mailbox is not None:
                mailbox.apply(delta)
        free = self._ledger.pins.left(report.left)
        if free:
            sweep(self._lane, self._ledger, free)

    def close(self) -> Deferred[None]:
        """After what was handed in."""
        closed = self._lane.close(self._database.close)
        self._pool.release(self._lane)
        return closed

    # -- in the writer's thread ----------------------------------------------------------------------------------

    def _submit(
        self,
        outgoing: Outgoing,
        addresses: Sequence[str],
        limits: SendingLimits,
        now: int,
    ) -> int:
        connection = self._database.writer
        self._check_limits(outgoing.account, addresses, limits, now)
        connection.execute(
            "DELETE FROM sent WHERE account = ? AND at < ?", (outgoing.account, now - _DAY_SECONDS)
        )
        connection.execute("INSERT INTO sent VALUES (?, ?, ?)", (outgoing.account, now, len(addresses)))
        connection.executemany(
            "INSERT INTO correspondent VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(outgoing.account, address, now) for address in addresses],
        )
        return self._insert(outgoing, now) if outgoing.recipients else 0

    def _remove(self, recipients: frozenset[int]) -> list[QueueEntry]:
        connection = self._database.writer
        removed = [entry for entry in _entries(connection) if entry.id in recipients]
        if missing := recipients - {entry.id for entry in removed}:
            numbers = ", ".join(map(str, sorted(missing)))
            raise MailError(f"nothing of that number waits in the queue: {numbers}; nothing was removed")
        submissions = set()
        for entry in removed:
            submissions.add(
                connection.execute("SELECT submission FROM recipient WHERE id = ?", (entry.id,)).get
            )
            connection.execute("DELETE FROM recipient WHERE id = ?", (entry.id,))
        for submission in sorted(submissions):
            if connection.execute("SELECT count(*) FROM recipient WHERE submission = ?", (submission,)).get:
                self._ledger.renumber(submission)
            else:
                self._ledger.withdraw((submission,))
        return removed

    def _check_limits(self, account: str, addresses: Sequence[str], limits: SendingLimits, now: int) -> None:
        connection = self._database.writer
        since = now - _DAY_SECONDS
        sent = connection.execute(
            "SELECT count(*) FROM sent WHERE account = ? AND at >= ?", (account, since)
        ).get
        if sent >= limits.messages:
            raise _too_much(f"{account} sent {sent} messages in 24 hours", "too many messages in 24 hours")
        met = connection.execute(
            "SELECT count(*) FROM correspondent WHERE account = ? AND since >= ?", (account, since)
        ).get
        known = sum(
            connection.execute(
                "SELECT count(*) FROM correspondent WHERE account = ? AND address = ?", (account, address)
            ).get
            for address in addresses
        )
        if len(addresses) > known and met + len(addresses) - known > limits.new_recipients:
            raise _too_much(
                f"{account} wrote to {met} new addresses in 24 hours", "too many new recipients in 24 hours"
            )

    def _insert(self, outgoing: Outgoing, now: int) -> int:
        connection = self._database.writer
        uid, modseq = self._ledger.next_number(outgoing.account)
        connection.execute(
            "INSERT INTO submission (account, sender, queued, size, prefix, message_id, body, smtputf8, require_tls,"
            " ret, envid, uid, modseq, header_size, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                outgoing.account,
                outgoing.sender,
                now,
                outgoing.staged.size,
                outgoing.prefix,
                outgoing.message_id,
                outgoing.body,
                outgoing.smtputf8,
                outgoing.require_tls,
                outgoing.ret,
                outgoing.envid,
                uid,
                modseq,
                outgoing.staged.rendered.header_size,
                pack(_facts(outgoing)),
            ),
        )
        self._ledger.told(outgoing.account, added(uid, modseq))
        submission = int(connection.last_insert_rowid())
        connection.executemany(
            "INSERT INTO chunk VALUES (?, ?, ?)",
            (
                (submission * 65536 + n, codec, data)
                for n, (codec, data) in enumerate(map(encode, outgoing.staged.chunks()))
            ),
        )
        connection.executemany(
            "INSERT INTO recipient (submission, address, notify, orcpt_type, orcpt, next_attempt, why)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    submission,
                    r.address,
                    r.notify,
                    r.orcpt_type,
                    r.orcpt,
                    max(now, outgoing.not_before),
                    _why(now, outgoing.not_before),
                )
                for r in outgoing.recipients
            ],
        )
        return submission


def _facts(outgoing: Outgoing) -> Facts:
    """What lists show of it; the prefix is kept by itself."""
    rendered = outgoing.staged.rendered
    # The blank line that select_fields puts at the end goes.
    fields = select_fields(outgoing.prefix, LIST_FIELDS)[:-2] + rendered.fields
    return Facts(
        rendered.envelope, rendered.bodystructure, fields, rendered.preview, rendered.parts, prefix=b""
    )


def _entries(connection: Any, account: str = "") -> list[QueueEntry]:
    """Of one account or of all, the next first."""
    rows = connection.execute(
        "SELECT r.id, s.account, s.sender, r.address, s.size + length(s.prefix), s.queued, r.next_attempt, r.attempts,"
        " s.message_id, r.why FROM recipient r JOIN submission s ON s.id = r.submission"
        " WHERE ?1 = '' OR s.account = ?1 ORDER BY r.next_attempt, r.id",
        (account,),
    )
    return [QueueEntry(*row) for row in rows]


def _why(now: int, not_before: int) -> str:
    if not_before <= now:
        return WAITS_FOR_DELIVERY
    until = datetime.fromtimestamp(not_before, UTC).isoformat().replace("+00:00", "Z")
    return f"held until {until} as its sender asked; then: {WAITS_FOR_DELIVERY}"


def _too_much(detail: str, text: str) -> LimitError:
    # RFC 3463 section 3.8: X.7.1, not authorised by policy; temporary, because tomorrow it is.
    error = LimitError(detail, public_text=text)
    error.reply_code, error.enhanced_code = 451, "4.7.1"
    return error
