r"""The writer's side of the queue: UIDs and modseqs of waiting messages, what happened to them, and their removal.

::

    uid, modseq = ledger.next_number("alice")         # for a message that comes in
    ledger.told("alice", added(uid, modseq))
    ledger.renumber(submission)                       # something about its recipients changed
    ledger.withdraw([submission])

All of it runs in the writer's thread, but ``QueueLedger.committed`` and ``Pins``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import apsw
from attrs import define, field, frozen

from moxtwisted.errors import LimitError
from moxtwisted.message.flags import DELETED, SEEN
from moxtwisted.store.bodies import CHUNK_BITS
from moxtwisted.store.holds import Holds
from moxtwisted.store.interfaces import FlagsStored
from moxtwisted.store.ledger import Arrivals, Delta, RawFlags

__all__ = [
    "MAILBOX",
    "NAME",
    "Pins",
    "QueueLedger",
    "QueueReport",
    "added",
    "expunged",
    "flagged",
    "raw_flags",
]

NAME: Final = "Queue"
"""What the mailbox is called."""
MAILBOX: Final = -1
"""Its id, which no mailbox of an account has."""

_MAX_NUMBER: Final = 0xFFFF_FFFF


def raw_flags(deleted: int) -> RawFlags:
    r"""A waiting message's flags: nobody has to be told that he did not read what he sent, so all have \Seen."""
    return (SEEN | DELETED if deleted else SEEN), ""


def added(uid: int, modseq: int, deleted: int = 0, before: Sequence[int] = ()) -> Delta:
    """A message came; instead of those ``before``."""
    return Delta(
        "messages",
        MAILBOX,
        NAME,
        modseq,
        added=Arrivals([uid], [modseq], [raw_flags(deleted)]),
        expunged=before,
    )


def expunged(uids: Sequence[int], modseq: int) -> Delta:
    """Messages, ascending, went."""
    return Delta("messages", MAILBOX, NAME, modseq, expunged=uids)


def flagged(uids: Sequence[int], modseq: int, deleted: int) -> Delta:
    """Messages, ascending, have these flags now."""
    return Delta("messages", MAILBOX, NAME, modseq, flagged=[(raw_flags(deleted), uids)])


@frozen
class QueueReport:
    """What one commit changed.

    :ivar deltas: by account, in the order in which it happened.
    :ivar left: submissions that are gone and whose chunks are still there.
    """

    deltas: Sequence[tuple[str, Delta]]
    left: Sequence[int]


@define(eq=False)
class Pins(Holds):
    """Messages that somebody reads: their octets stay until he has done with them, though they left the queue.

    The reactor's thread pins and the writer's removes, without waiting for each other: who pins looks whether the message is being
    removed and then whether it is still there; who removes says so, and then looks for pins.
    """

    #: What the transaction under way removes.
    removing: set[int] = field(factory=set)

    def pin(self, submission: int, there: Callable[[], bool]) -> bool:
        """Keep its octets; False: too late."""
        self.hold(submission)
        if submission not in self.removing and there():
            return True
        self.unpin(submission)
        return False


class QueueLedger:
    """A ``moxtwisted.store.writer.Unit`` of the queue's database.

    :param tell: called in the reactor's thread with what a commit changed.
    """

    def __init__(self, connection: Any, tell: Callable[[QueueReport], None]) -> None:
        self.connection = connection
        self.committed = tell
        self.pins = Pins()
        self._clear()

    def _clear(self) -> None:
        self._deltas: list[tuple[str, Delta]] = []
        self._left: list[int] = []

    # -- transaction -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start one."""
        self.connection.execute("BEGIN IMMEDIATE")

    def mark(self) -> int:
        """Grows with every change."""
        return int(self.connection.total_changes())

    def commit(self) -> QueueReport | None:
        """COMMIT."""
        self.connection.execute("COMMIT")
        self.pins.removing.clear()
        report = QueueReport(self._deltas, self._left) if self._deltas or self._left else None
        self._clear()
        return report

    def rollback(self) -> None:
        """Forget the transaction."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.pins.removing.clear()
        self._clear()

    # -- numbers -----------------------------------------------------------------------------------------------

    def next_number(self, account: str) -> tuple[int, int]:
        """(UID, modseq) for a message that comes into the account's mailbox."""
        uid, modseq = self.connection.execute(
            "INSERT INTO owner VALUES (?, 2, 2)"
            " ON CONFLICT DO UPDATE SET uidnext = uidnext + 1, modseq = modseq + 1 RETURNING uidnext - 1, modseq",
            (account,),
        ).fetchall()[0]
        # RFC 9051 section 2.3.1.1: UIDs are 32-bit and never used again.
        if uid > _MAX_NUMBER:
            raise LimitError(f"the queue of {account} is out of UIDs")
        return uid, modseq

    def next_modseq(self, account: str) -> int:
        """For another change; greater than all before."""
        return int(
            self.connection.execute(
                "INSERT INTO owner VALUES (?, 1, 2) ON CONFLICT DO UPDATE SET modseq = modseq + 1 RETURNING modseq",
                (account,),
            ).fetchall()[0][0]
        )

    def told(self, account: str, delta: Delta) -> None:
        """Something happened to the account's mailbox."""
        self._deltas.append((account, delta))

    # -- messages ----------------------------------------------------------------------------------------------

    def renumber(self, submission: int) -> None:
        """Something about its recipients changed: in the mailbox it is another message now."""
        account, uid, deleted = self.connection.execute(
            "SELECT account, uid, deleted FROM submission WHERE id = ?", (submission,)
        ).fetchall()[0]
        new, modseq = self.next_number(account)
        self.connection.execute(
            "UPDATE submission SET uid = ?, modseq = ? WHERE id = ?", (new, modseq, submission)
        )
        self.told(account, added(new, modseq, deleted, (uid,)))

    def withdraw(self, submissions: Iterable[int]) -> None:
        """Remove messages with all of their recipients; those that are not there are passed over."""
        gone: dict[str, list[int]] = {}
        execute = self.connection.execute
        for submission in submissions:
            row = execute("SELECT account, uid FROM submission WHERE id = ?", (submission,)).fetchall()
            if not row:
                continue
            gone.setdefault(row[0][0], []).append(row[0][1])
            self.pins.removing.add(submission)
            execute("DELETE FROM recipient WHERE submission = ?", (submission,))
            execute("DELETE FROM submission WHERE id = ?", (submission,))
            if submission in self.pins:
                execute("INSERT INTO leftover VALUES (?)", (submission,))
                self._left.append(submission)
            else:
                self.delete_chunks(submission)
        for account, uids in gone.items():
            self.told(account, expunged(sorted(uids), self.next_modseq(account)))

    def disown(self, account: str) -> None:
        """Its messages are nobody's any more, and are sent all the same: whoever has that name next did not write them."""
        rows = self.connection.execute(
            "SELECT id, uid, deleted FROM submission WHERE account = ? ORDER BY uid", (account,)
        ).fetchall()
        for submission, _, deleted in rows:
            uid, modseq = self.next_number("")
            self.connection.execute(
                "UPDATE submission SET account = '', uid = ?, modseq = ? WHERE id = ?",
                (uid, modseq, submission),
            )
            self.told("", added(uid, modseq, deleted))
        if rows:
            self.told(account, expunged([uid for _, uid, _ in rows], self.next_modseq(account)))

    def delete_chunks(self, submission: int) -> None:
        """The octets of a message."""
        first = submission << CHUNK_BITS
        self.connection.execute(
            "DELETE FROM chunk WHERE id BETWEEN ? AND ?", (first, first + (1 << CHUNK_BITS) - 1)
        )

    def sweep(self, submissions: Iterable[int]) -> None:
        """The octets of messages that are gone and that nobody reads any more."""
        for submission in submissions:
            self.delete_chunks(submission)
            self.connection.execute("DELETE FROM leftover WHERE submission = ?", (submission,))

    # -- jobs of the mailbox -----------------------------------------------------------------------------------

    def store_deleted(
        self, account: str, uids: Sequence[int], deleted: bool, unchanged_since: int | None
    ) -> FlagsStored:
        r"""Set or clear \Deleted."""
        changed, refused = [], []
        for uid, modseq, before in self.connection.execute(
            "SELECT uid, modseq, deleted FROM submission WHERE account = ? AND uid IN carray(?) ORDER BY uid",
            (account, _carray(uids)),
        ).fetchall():
            if unchanged_since is not None and modseq > unchanged_since:
                refused.append(uid)
            elif before != deleted:
                changed.append(uid)
        if not changed:
            return FlagsStored((), tuple(refused), 0)
        modseq = self.next_modseq(account)
        self.connection.execute(
            "UPDATE submission SET deleted = ?, modseq = ? WHERE account = ? AND uid IN carray(?)",
            (int(deleted), modseq, account, _carray(changed)),
        )
        self.told(account, flagged(changed, modseq, deleted))
        return FlagsStored(tuple(changed), tuple(refused), modseq)

    def cancel(self, account: str, uids: Sequence[int] | None, only_deleted: bool) -> tuple[int, ...]:
        r"""Take messages out of the queue, with all who did not get them yet; with ``only_deleted`` those that have \Deleted.

        :param uids: None: all.
        """
        which, arguments = ("", ()) if uids is None else (" AND uid IN carray(?)", (_carray(uids),))
        rows = self.connection.execute(
            f"SELECT id, uid FROM submission WHERE account = ?{which} AND deleted >= ? ORDER BY uid",
            (account, *arguments, int(only_deleted)),
        ).fetchall()
        self.withdraw([submission for submission, _ in rows])
        return tuple([uid for _, uid in rows])

    def cancel_identified(self, account: str, submissions: Sequence[int]) -> int:
        """The same by what messages are, whatever their UIDs are by now; how many there were."""
        rows = self.connection.execute(
            "SELECT id FROM submission WHERE account = ? AND id IN carray(?)", (account, _carray(submissions))
        ).fetchall()
        self.withdraw([row[0] for row in rows])
        return len(rows)


def _carray(values: Sequence[int]) -> Any:
    # SQLite takes no empty array; there is no UID 0.
    return apsw.carray(array("q", values or (0,)))
