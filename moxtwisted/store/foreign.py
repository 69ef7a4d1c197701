"""Mail of another server: what was fetched from it, written in the same commit as the messages themselves.

::

    origin = await open_origin(account, "alice@old.example:993", "INBOX", uidvalidity=17, mailbox=inbox.id)
    known = seen(account, origin)                    # their UIDs, and their flags when they were seen last
    await add(account, origin, [Fetched(4711, staged, date, flags, digest)])
    await update(account, origin, {4711: flags}, modseq=99)

When the process is killed, the messages of the last commit are there and known, all others are neither. Flags are merged: what has
changed there since it was seen last is changed here, what was changed here stays.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred

from moxtwisted.message.flags import MessageFlags
from moxtwisted.store import messages
from moxtwisted.store.accounts import Account, prepare
from moxtwisted.store.interfaces import IStagedMessage, NewMessage
from moxtwisted.store.ledger import Ledger, RawFlags

__all__ = [
    "Fetched",
    "Origin",
    "Seen",
    "Taken",
    "add",
    "find_origin",
    "open_origin",
    "remove",
    "seen",
    "update",
]

#: Rows read at a time.
_ROWS: Final = 10_000


@frozen
class Origin:
    """A mailbox of another server, and where its messages go.

    :ivar mailbox: ours, by id.
    :ivar modseq: up to which changes of flags were taken over; 0: none.
    """

    id: int
    mailbox: int
    uidvalidity: int
    modseq: int


@frozen
class Seen:
    """What is known of an origin: their UIDs, ascending, and beside them their flags when they were seen last."""

    uids: array[int]
    flags: list[MessageFlags]


@frozen
class Fetched:
    """A message that came.

    :ivar uid: theirs.
    :ivar date: seconds since 1970.
    :ivar digest: of its octets.
    """

    uid: int
    staged: IStagedMessage
    date: int
    flags: MessageFlags
    digest: bytes


@frozen
class Taken:
    """What became of messages.

    :ivar added: how many are new here.
    :ivar known: how many were here already, under an earlier UIDVALIDITY.
    """

    added: int
    known: int


def _raw(flags: MessageFlags) -> RawFlags:
    return flags.system, " ".join(flags.keywords)


def _flags(system: int, keywords: str) -> MessageFlags:
    return MessageFlags.of(system, keywords.split())


# -- reading -----------------------------------------------------------------------------------------------------------


def find_origin(account: Account, source: str, name: str) -> Origin | None:
    """The origin, if anything was ever fetched from it."""
    row = account.reader.execute(
        "SELECT id, mailbox, uidvalidity, modseq FROM foreign_mailbox WHERE source = ? AND name = ?",
        (source, name),
    ).fetchone()
    return None if row is None else Origin(*row)


def seen(account: Account, origin: Origin) -> Seen:
    """What was fetched from it, of its present UIDVALIDITY."""
    uids, flags = array("I"), []
    last = 0
    while True:
        rows = account.reader.execute(
            "SELECT uid, flags, keywords FROM foreign_message WHERE origin = ? AND uid > ? ORDER BY uid LIMIT ?",
            (origin.id, last, _ROWS),
        ).fetchall()
        for uid, system, keywords in rows:
            uids.append(uid)
            flags.append(_flags(system, keywords))
        if len(rows) < _ROWS:
            return Seen(uids, flags)
        last = uids[-1]


# -- writing -----------------------------------------------------------------------------------------------------------


def open_origin(
    account: Account, source: str, name: str, *, uidvalidity: int, mailbox: int
) -> Deferred[Origin]:
    """The origin, made if it is not there. Under another UIDVALIDITY nothing is known by its UID any more, but by its octets."""
    return account.submit(_open, source, name, uidvalidity, mailbox)


def _open(ledger: Ledger, source: str, name: str, uidvalidity: int, mailbox: int) -> Origin:
    ledger.mailbox(mailbox)
    execute = ledger.connection.execute
    row = execute(
        "SELECT id, mailbox, uidvalidity, modseq FROM foreign_mailbox WHERE source = ? AND name = ?",
        (source, name),
    ).fetchone()
    if row is None:
        execute(
            "INSERT INTO foreign_mailbox (source, name, uidvalidity, mailbox) VALUES (?, ?, ?, ?)",
            (source, name, uidvalidity, mailbox),
        )
        return Origin(ledger.connection.last_insert_rowid(), mailbox, uidvalidity, 0)
    origin = Origin(*row)
    if origin.uidvalidity == uidvalidity and origin.mailbox == mailbox:
        return origin
    modseq = origin.modseq
    if origin.uidvalidity != uidvalidity:
        modseq = 0
        lowest = execute(
            "SELECT coalesce(min(uid), 0) FROM foreign_message WHERE origin = ? AND uid < 0", (origin.id,)
        ).get
        execute("UPDATE foreign_message SET uid = ? - uid WHERE origin = ? AND uid > 0", (lowest, origin.id))
    execute(
        "UPDATE foreign_mailbox SET uidvalidity = ?, modseq = ?, mailbox = ? WHERE id = ?",
        (uidvalidity, modseq, mailbox, origin.id),
    )
    return Origin(origin.id, mailbox, uidvalidity, modseq)


def add(account: Account, origin: Origin, fetched: Sequence[Fetched]) -> Deferred[Taken]:
    """Add messages and remember them, in one commit, or none. What is known already is not added again.

    :raise OverQuotaError: , StoreFullError, MailboxMissingError.
    """
    ready = [
        (one, prepare(account, NewMessage(one.staged, b"", one.date), [(origin.mailbox, _raw(one.flags))]))
        for one in fetched
    ]
    return account.submit(_add, origin, ready, grows=True)


def _add(ledger: Ledger, origin: Origin, ready: Sequence[tuple[Fetched, messages.Prepared]]) -> Taken:
    execute = ledger.connection.execute
    fresh: list[tuple[Fetched, messages.Prepared]] = []
    again: list[tuple[Fetched, int]] = []
    taken: set[int] = set()
    for one, prepared in ready:
        if execute("SELECT 1 FROM foreign_message WHERE origin = ? AND uid = ?", (origin.id, one.uid)).get:
            continue
        earlier = execute(
            "SELECT uid FROM foreign_message WHERE origin = ? AND uid < 0 AND digest = ?",
            (origin.id, one.digest),
        ).fetchall()
        free = next((uid for (uid,) in earlier if uid not in taken), None)
        if free is None:
            fresh.append((one, prepared))
        else:
            taken.add(free)
            again.append((one, free))
    added = messages.add(ledger, [prepared for _, prepared in fresh], True) if fresh else []
    for (one, _), (where,) in zip(fresh, added, strict=True):
        execute(
            "INSERT INTO foreign_message VALUES (?, ?, ?, ?, ?, ?, ?)",
            (origin.id, one.uid, where.mailbox, where.uid, *_raw(one.flags), one.digest),
        )
    for one, earlier_uid in again:
        execute(
            "UPDATE foreign_message SET uid = ? WHERE origin = ? AND uid = ?",
            (one.uid, origin.id, earlier_uid),
        )
    _update(ledger, origin, {one.uid: one.flags for one, _ in again}, 0)
    return Taken(len(fresh), len(again))


def update(
    account: Account, origin: Origin, flags: Mapping[int, MessageFlags], modseq: int = 0
) -> Deferred[int]:
    """Take over their flags as they are now; how many messages changed here.

    :param modseq: theirs, if all changes up to it were taken over with this.
    """
    return account.submit(_update, origin, dict(flags), modseq)


def _update(ledger: Ledger, origin: Origin, flags: dict[int, MessageFlags], modseq: int) -> int:
    execute = ledger.connection.execute
    added: dict[tuple[int, MessageFlags], list[int]] = {}
    removed: dict[tuple[int, MessageFlags], list[int]] = {}
    for uid, now in flags.items():
        row = execute(
            "SELECT mailbox, local_uid, flags, keywords FROM foreign_message WHERE origin = ? AND uid = ?",
            (origin.id, uid),
        ).fetchone()
        if row is None or row[0] not in ledger.mailboxes:
            continue
        before = _flags(row[2], row[3])
        more, less = now.removing(before), before.removing(now)
        if more.system or more.keywords:
            added.setdefault((row[0], more), []).append(row[1])
        if less.system or less.keywords:
            removed.setdefault((row[0], less), []).append(row[1])
    changed = 0
    for (mailbox, which), uids in added.items():
        changed += len(messages.store_flags(ledger, mailbox, sorted(uids), "add", which, None).changed)
    for (mailbox, which), uids in removed.items():
        changed += len(messages.store_flags(ledger, mailbox, sorted(uids), "remove", which, None).changed)
    for uid, now in flags.items():
        execute(
            "UPDATE foreign_message SET flags = ?, keywords = ? WHERE origin = ? AND uid = ?",
            (*_raw(now), origin.id, uid),
        )
    if modseq:
        execute("UPDATE foreign_mailbox SET modseq = ? WHERE id = ?", (modseq, origin.id))
    return changed


def remove(account: Account, origin: Origin, uids: Sequence[int]) -> Deferred[int]:
    """These are gone there: expunge them here, where they were put; how many went."""
    return account.submit(_remove, origin, tuple(uids))


def _remove(ledger: Ledger, origin: Origin, uids: Sequence[int]) -> int:
    execute: Any = ledger.connection.execute
    places: dict[int, list[int]] = {}
    for uid in uids:
        row = execute(
            "SELECT mailbox, local_uid FROM foreign_message WHERE origin = ? AND uid = ?", (origin.id, uid)
        ).fetchone()
        if row is not None and row[0] in ledger.mailboxes:
            places.setdefault(row[0], []).append(row[1])
    gone = 0
    for mailbox, local in places.items():
        gone += len(messages.expunge(ledger, mailbox, sorted(local), False))
    for uid in uids:
        execute("DELETE FROM foreign_message WHERE origin = ? AND uid = ?", (origin.id, uid))
    return gone
