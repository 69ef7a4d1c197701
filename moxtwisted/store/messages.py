"""What the writer does to messages: add, change flags, copy, move, expunge.

Each function is a job's work: it runs inside the writer's transaction, raises a ``MailError`` only before it changed
anything, and tells the ``Ledger`` what happened. Many UIDs are handled by few statements that take them as an array
(``carray``), so that changing 10,000 messages is no loop over SQL.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Literal

import apsw
from attrs import frozen

from moxtwisted.errors import ConsistencyError, MessageMissingError, OverQuotaError
from moxtwisted.message.flags import DELETED, SEEN, MessageFlags
from moxtwisted.message.products import Relatives
from moxtwisted.store.bodies import CHUNK_BITS, CHUNK_OCTETS
from moxtwisted.store.facts import Facts, pack
from moxtwisted.store.interfaces import Added, Copied, FlagsStored
from moxtwisted.store.judgements import note, note_alike, note_rows, settle, verdict
from moxtwisted.store.ledger import Delta, Ledger, MailboxRecord, RawFlags
from moxtwisted.store.mailboxes import canonical_name, make_mailbox
from moxtwisted.store.reputation import wrote

__all__ = ["Prepared", "add", "copy", "expunge", "move", "replace", "store_flags", "sweep"]


@frozen
class Prepared:
    """A message whose rows are ready but for their numbers.

    :ivar targets: mailboxes by id or name, with flags; all share the body.
    :ivar chunks: makes (codec, data) of its chunks; called in the writer's thread.
    :ivar relatives: what says which thread it belongs to.
    :ivar sent_to: whom the owner of the account wrote it to: (local part, domain, organizational domain).
    """

    targets: Sequence[tuple[int | str, RawFlags]]
    size: int
    prefix_size: int
    header_size: int
    facts: Facts
    internaldate: int
    chunks: Callable[[], Iterable[tuple[int, bytes]]]
    relatives: Relatives
    sent_to: Sequence[tuple[str, str, str]] = ()


def add(ledger: Ledger, messages: Sequence[Prepared], check_quota: bool) -> list[list[Added]]:
    """Add messages; for each, what came of its targets.

    :raises OverQuotaError: , MailboxMissingError.
    """
    total = count = 0
    for message in messages:
        count += len(message.targets)
        total += (message.size + message.prefix_size) * len(message.targets)
        for target, _ in message.targets:
            if isinstance(target, int):
                ledger.mailbox(target)
            else:
                canonical_name(target)
    if check_quota:
        _check_quota(ledger, total, count)
    modseq = ledger.next_modseq()
    now = int(ledger.seconds())
    return [_add_one(ledger, message, modseq, now) for message in messages]


def _check_quota(ledger: Ledger, octets: int, messages: int) -> None:
    if ledger.quota is not None and ledger.size + octets > ledger.quota:
        raise OverQuotaError(f"{ledger.size} + {octets} of {ledger.quota} octets")
    if ledger.message_quota is not None and ledger.messages + messages > ledger.message_quota:
        raise OverQuotaError(f"{ledger.messages} + {messages} of {ledger.message_quota} messages")


def _add_one(ledger: Ledger, message: Prepared, modseq: int, now: int) -> list[Added]:
    body = ledger.next_body()
    thread = ledger.threads.assign(body, message.relatives, message.internaldate)
    ledger.insert_body(
        (
            body,
            len(message.targets),
            message.size,
            message.prefix_size,
            message.header_size,
            thread,
            pack(message.facts),
        )
    )
    first = count = body << CHUNK_BITS
    for codec, data in message.chunks():
        ledger.insert_chunk(count, codec, data)
        count += 1
    if count - first != -(-message.size // CHUNK_OCTETS):
        raise ConsistencyError(f"a message of {message.size} octets with {count - first} chunks")
    size = message.size + message.prefix_size
    added = []
    if message.sent_to:
        wrote(ledger, message.sent_to, min(message.internaldate, now))
    rules = ledger.junk_flags
    for target, wanted in message.targets:
        record = _target(ledger, target, modseq)
        flags = (
            wanted
            if rules is None
            else rules.delivered(record.place, wanted, judged=bool(message.facts.sender))
        )
        uid = ledger.take_uids(record, 1)
        ledger.insert_message(
            (record.id, uid, modseq, modseq, flags[0], flags[1], size, message.internaldate, now, body)
        )
        ledger.count(record, flags[0], size, 1)
        ledger.touch(record, modseq)
        ledger.added(record, uid, modseq, flags)
        if (flags[0] or flags[1]) and verdict(*flags) is not None:
            note(ledger, [body])
        added.append(Added(record.id, record.uidvalidity, uid, modseq, body, thread))
    return added


def _target(ledger: Ledger, target: int | str, modseq: int) -> MailboxRecord:
    if isinstance(target, int):
        return ledger.mailbox(target)
    name = canonical_name(target)
    record = ledger.by_name.get(name)
    return record if record is not None else make_mailbox(ledger, name, modseq)


# -- flags -----------------------------------------------------------------------------------------------------------


def store_flags(
    ledger: Ledger,
    mailbox: int,
    uids: Sequence[int],
    mode: Literal["add", "remove", "replace"],
    flags: MessageFlags,
    unchanged_since: int | None,
) -> FlagsStored:
    """Change the flags of those of these messages that exist."""
    record = ledger.mailbox(mailbox)
    if not uids:
        return FlagsStored((), (), 0)
    if len(uids) >= _DENSE_UIDS:
        stored = _store_dense(
            ledger, record, uids, partial(_changed, mode=mode, flags=flags), unchanged_since
        )
        if stored is not None:
            return stored
    refused: list[int] = []
    known: dict[RawFlags, RawFlags] = {}
    groups: dict[RawFlags, list[int]] = {}
    changed: list[int] = []
    bodies: list[int] = []
    unseen = deleted = deleted_size = 0
    for uid, modseq, bits, keywords, size, body in _found(ledger, _FLAGS, mailbox, uids):
        if unchanged_since is not None and modseq > unchanged_since:
            refused.append(uid)
            continue
        old = (bits, keywords)
        new = known.get(old)
        if new is None:
            new = known[old] = _changed(old, mode, flags)
        if new == old:
            continue
        groups.setdefault(new, []).append(uid)
        changed.append(uid)
        bodies.append(body)
        unseen += (bits & 1) - (new[0] & 1)
        if (bits ^ new[0]) & DELETED:
            sign = 1 if new[0] & DELETED else -1
            deleted += sign
            deleted_size += sign * size
    if not changed:
        return FlagsStored((), tuple(refused), 0)
    modseq = ledger.next_modseq()
    if any(verdict(*old) is not verdict(*new) for old, new in known.items()):
        note(ledger, bodies)
    for (bits, keywords), group in groups.items():
        if len(group) == 1:
            ledger.set_flags(mailbox, group[0], modseq, (bits, keywords))
            continue
        where, which = _these(group)
        ledger.connection.execute(
            f"UPDATE message SET flags = ?, keywords = ?, modseq = ? WHERE mailbox = ? AND uid {where}",
            (bits, keywords, modseq, mailbox, which),
        )
    record.unseen += unseen
    record.deleted += deleted
    record.deleted_size += deleted_size
    ledger.touch(record, modseq)
    ledger.tell(Delta("messages", mailbox, record.name, modseq, flagged=list(groups.items())))
    return FlagsStored(tuple(changed), tuple(refused), modseq)


_FLAGS: Final = "m.uid, m.modseq, m.flags, m.keywords, m.size, m.body"


def _these(numbers: Sequence[int]) -> tuple[str, Any]:
    """What follows a column's name in a condition, and its value: one number needs no array, whose opening costs more than the row."""
    if len(numbers) == 1:
        return "= ?", numbers[0]
    return "IN (SELECT value FROM carray(?))", apsw.carray(array("q", numbers))


def _found(
    ledger: Ledger, columns: str, mailbox: int, uids: Sequence[int], where: str = ""
) -> list[tuple[Any, ...]]:
    """These columns of those of these messages that exist, in the order of the UIDs."""
    if len(uids) == 1:
        statement = f"SELECT {columns} FROM message m WHERE m.mailbox = ? AND m.uid = ? {where}"
        row = ledger.reading(mailbox, uids[0]).execute(statement, (mailbox, uids[0])).fetchone()
        return [] if row is None else [row]
    statement = (
        f"SELECT {columns} FROM carray(?) k CROSS JOIN message m ON m.mailbox = ? AND m.uid = k.value {where}"
    )
    found: list[tuple[Any, ...]] = ledger.connection.execute(
        statement, (apsw.carray(array("q", uids)), mailbox)
    ).fetchall()
    return found


#: From so many UIDs on it is worth to look whether they are all there are between the first and the last; and so many
#: combinations of flags are then changed one after the other.
_DENSE_UIDS: Final = 32
_DENSE_GROUPS: Final = 8
_DENSE: Final = "mailbox = ? AND uid BETWEEN ? AND ?"
_SET_FLAGS: Final = "UPDATE message SET flags = ?, keywords = ?, modseq = ?"
_ALIKE: Final = f"{_DENSE} AND flags = ? AND keywords = ?"


def _store_dense(
    ledger: Ledger,
    record: MailboxRecord,
    uids: Sequence[int],
    change: Callable[[RawFlags], RawFlags],
    unchanged_since: int | None,
) -> FlagsStored | None:
    """Change all the messages from the first to the last UID, each combination of flags by one statement that takes a quarter
    of a microsecond for a row; None: they are not all of them, or some are to be left alone."""
    execute = ledger.connection.execute
    span = (record.id, uids[0], uids[-1])
    there = _all_there(ledger, span, uids)
    if there is None:
        return None
    combinations: list[RawFlags] = execute(
        f"SELECT DISTINCT flags, keywords FROM message WHERE {_DENSE}", span
    ).fetchall()
    newest = f"SELECT max(modseq) FROM message WHERE {_DENSE}"
    if unchanged_since is not None and there and execute(newest, span).get > unchanged_since:
        return None
    wanted = [(old, new) for old in combinations if (new := change(old)) != old]
    if not wanted:
        return FlagsStored((), (), 0)
    if len(wanted) > _DENSE_GROUPS:
        return None
    alone = len(combinations) == 1
    groups: list[tuple[RawFlags, Sequence[int]]] = [
        (new, there if alone else _alike(ledger, span, old)) for old, new in wanted
    ]
    for (old, new), (_, group) in zip(wanted, groups, strict=True):
        record.unseen += len(group) * ((old[0] & SEEN) - (new[0] & SEEN))
        if (old[0] ^ new[0]) & DELETED:
            sign = 1 if new[0] & DELETED else -1
            record.deleted += sign * len(group)
            size = f"SELECT sum(size) FROM message WHERE {_ALIKE}"
            record.deleted_size += sign * execute(size, (*span, *old)).get
        if verdict(*old) is not verdict(*new):
            note_alike(ledger, span, old)
    modseq = ledger.next_modseq()
    for old, new in wanted:
        if alone:
            execute(f"{_SET_FLAGS} WHERE {_DENSE}", (*new, modseq, *span))
        else:
            # What another of these statements has changed has the new modseq already.
            execute(f"{_SET_FLAGS} WHERE {_ALIKE} AND modseq < ?", (*new, modseq, *span, *old, modseq))
    ledger.touch(record, modseq)
    told = ledger.tell(Delta("messages", record.id, record.name, modseq, flagged=groups))
    return FlagsStored(told.flagged_uids, (), modseq)


def _all_there(ledger: Ledger, span: tuple[int, int, int], uids: Sequence[int]) -> array[int] | None:
    """The UIDs that exist from the first to the last; None: there are others than these."""
    execute = ledger.connection.execute
    consecutive = uids[-1] - uids[0] < len(uids)
    if consecutive and execute(f"SELECT count(*) FROM message WHERE {_DENSE}", span).get == len(uids):
        return uids if isinstance(uids, array) else array("I", uids)
    rows = execute(f"SELECT uid FROM message WHERE {_DENSE} LIMIT ?", (*span, len(uids) + 1))
    there = array("I", [uid for (uid,) in rows])
    return there if consecutive or there == array("I", uids) else None


def _alike(ledger: Ledger, span: tuple[int, int, int], flags: RawFlags) -> array[int]:
    """UIDs of those that have these flags."""
    rows = ledger.connection.execute(f"SELECT uid FROM message WHERE {_ALIKE}", (*span, *flags))
    return array("I", [uid for (uid,) in rows])


def _changed(old: RawFlags, mode: str, flags: MessageFlags) -> RawFlags:
    bits, names = old
    keywords = {name.lower(): name for name in names.split()}
    given = {name.lower(): name for name in flags.keywords}
    if mode == "add":
        bits |= flags.system
        keywords = given | keywords
    elif mode == "remove":
        bits &= ~flags.system
        keywords = {key: name for key, name in keywords.items() if key not in given}
    else:
        bits = flags.system
        keywords = {key: keywords.get(key, name) for key, name in given.items()}
    return bits, " ".join(keywords[key] for key in sorted(keywords))


# -- copy and move ---------------------------------------------------------------------------------------------------

_COLUMNS: Final = "m.uid, m.flags, m.keywords, m.size, m.internaldate, m.body"


def _rows(ledger: Ledger, mailbox: int, uids: Sequence[int] | None, where: str = "") -> list[tuple[Any, ...]]:
    """(uid, flags, keywords, size, internaldate, body) of these messages, or of all."""
    if uids is None:
        statement = f"SELECT {_COLUMNS} FROM message m WHERE m.mailbox = ? {where}"
        found: list[tuple[Any, ...]] = ledger.connection.execute(statement, (mailbox,)).fetchall()
        return found
    return _found(ledger, _COLUMNS, mailbox, uids, where) if uids else []


def _enter(
    ledger: Ledger,
    rows: Sequence[tuple[Any, ...]],
    source: MailboxRecord,
    record: MailboxRecord,
    modseq: int,
) -> range:
    """Put these rows (as ``_rows`` gives them, out of the source) into a mailbox; their UIDs there."""
    now = int(ledger.seconds())
    first = ledger.take_uids(record, len(rows))
    rules = ledger.junk_flags
    if rules is not None:
        rule = rules.rule_from(source.place, record.place)
        rows = [(row[0], *rules.applied(rule, (row[1], row[2])), *row[3:]) for row in rows]
    known: dict[RawFlags, RawFlags] = {}
    flags: list[RawFlags] = []
    for uid, (_, bits, keywords, size, internaldate, body) in enumerate(rows, first):
        ledger.insert_message((record.id, uid, modseq, modseq, bits, keywords, size, internaldate, now, body))
        ledger.count(record, bits, size, 1)
        raw = (bits, keywords)
        flags.append(known.setdefault(raw, raw))
    uids = range(first, first + len(rows))
    ledger.entered(record, uids, modseq, flags)
    note_rows(ledger, rows)
    ledger.touch(record, modseq)
    return uids


def copy(ledger: Ledger, mailbox: int, uids: Sequence[int], target: int) -> Copied:
    """Copy messages; bodies are shared. :raises OverQuotaError: , MailboxMissingError."""
    source = ledger.mailbox(mailbox)
    record = ledger.mailbox(target)
    rows = _rows(ledger, mailbox, uids)
    if not rows:
        return Copied(target, record.uidvalidity, (), (), 0)
    _check_quota(ledger, sum(row[3] for row in rows), len(rows))
    modseq = ledger.next_modseq()
    _refer(ledger, [row[5] for row in rows], 1)
    new = _enter(ledger, rows, source, record, modseq)
    return Copied(target, record.uidvalidity, tuple([row[0] for row in rows]), tuple(new), modseq)


def move(ledger: Ledger, mailbox: int, uids: Sequence[int] | None, target: int) -> Copied:
    """Move messages (None: all). :raises MailboxMissingError:"""
    source = ledger.mailbox(mailbox)
    record = ledger.mailbox(target)
    rows = _rows(ledger, mailbox, uids)
    if not rows:
        return Copied(target, record.uidvalidity, (), (), 0)
    modseq = ledger.next_modseq()
    _leave(ledger, rows, source, modseq)
    new = _enter(ledger, rows, source, record, modseq)
    return Copied(target, record.uidvalidity, tuple([row[0] for row in rows]), tuple(new), modseq)


def _leave(ledger: Ledger, rows: Sequence[tuple[Any, ...]], record: MailboxRecord, modseq: int) -> None:
    """Take these rows out of a mailbox, and keep that they were there."""
    gone = [row[0] for row in rows]
    if len(gone) == 1:
        ledger.expunge(record.id, gone[0], modseq)
    else:
        execute, uids = ledger.connection.execute, apsw.carray(array("q", gone))
        execute(
            "DELETE FROM message WHERE mailbox = ? AND uid IN (SELECT value FROM carray(?))",
            (record.id, uids),
        )
        execute(
            "INSERT INTO expunged (mailbox, modseq, uid) SELECT ?, ?, value FROM carray(?)",
            (record.id, modseq, uids),
        )
    for _, bits, _, size, _, _ in rows:
        ledger.count(record, bits, size, -1)
    note_rows(ledger, rows)
    ledger.touch(record, modseq)
    ledger.tell(Delta("messages", record.id, record.name, modseq, expunged=gone))


def _refer(ledger: Ledger, bodies: Sequence[int], sign: int) -> None:
    """So many messages more, or fewer, name these bodies."""
    if sign > 0 and len(bodies) == 1:
        ledger.refer(bodies[0], 1)
        return
    times: dict[int, list[int]] = {}
    for body, count in Counter(bodies).items():
        times.setdefault(count, []).append(body)
    for count, group in times.items():
        where, which = _these(group)
        rows = ledger.connection.execute(
            f"UPDATE body SET refs = refs + ? WHERE id {where} RETURNING id, refs", (sign * count, which)
        ).fetchall()
        if sign < 0:
            ledger.released([body for body, refs in rows if refs <= 0])


def replace(ledger: Ledger, mailbox: int, uid: int, message: Prepared, check_quota: bool) -> Added:
    """Remove a message and add another, with one modseq.

    :raises MessageMissingError: , OverQuotaError, MailboxMissingError.
    """
    source = ledger.mailbox(mailbox)
    target = message.targets[0][0]
    if isinstance(target, int):
        ledger.mailbox(target)
    else:
        canonical_name(target)
    rows = _rows(ledger, mailbox, [uid])
    if not rows:
        raise MessageMissingError(f"UID {uid} of mailbox {mailbox}")
    if check_quota:
        # RFC 8508 section 3.4: what counts is how much more it is afterwards.
        _check_quota(ledger, message.size + message.prefix_size - rows[0][3], 0)
    modseq = ledger.next_modseq()
    _leave(ledger, rows, source, modseq)
    _refer(ledger, [row[5] for row in rows], -1)
    return _add_one(ledger, message, modseq, int(ledger.seconds()))[0]


# -- expunge ---------------------------------------------------------------------------------------------------------


def expunge(ledger: Ledger, mailbox: int, uids: Sequence[int] | None, only_deleted: bool) -> tuple[int, ...]:
    """Remove messages; their UIDs. :raises MailboxMissingError:"""
    record = ledger.mailbox(mailbox)
    where = f"AND m.flags & {DELETED}" if only_deleted else ""
    if uids is not None and len(uids) == 1 and not ledger.waiting:
        return _expunge_one(ledger, record, uids[0], where)
    rows = _rows(ledger, mailbox, uids, where)
    if not rows:
        return ()
    _leave(ledger, rows, record, ledger.next_modseq())
    _refer(ledger, [row[5] for row in rows], -1)
    return tuple([row[0] for row in rows])


def _expunge_one(ledger: Ledger, record: MailboxRecord, uid: int, where: str) -> tuple[int, ...]:
    """One message, while nothing waits that could be about its body."""
    row = (
        ledger.reading(record.id, uid)
        .execute(
            f"SELECT {_COLUMNS}, b.refs FROM message m JOIN body b ON b.id = m.body WHERE m.mailbox = ? AND m.uid = ? {where}",
            (record.id, uid),
        )
        .fetchone()
    )
    if row is None:
        return ()
    *known, refs = row
    _leave(ledger, [tuple(known)], record, ledger.next_modseq())
    ledger.refer(known[-1], -1)
    if refs <= 1:
        ledger.released([known[-1]])
    return (uid,)


def remove_all(ledger: Ledger, record: MailboxRecord) -> None:
    """Remove all messages of a mailbox that goes away itself, and its history."""
    rows = _rows(ledger, record.id, None)
    ledger.connection.execute("DELETE FROM message WHERE mailbox = ?", (record.id,))
    ledger.connection.execute("DELETE FROM expunged WHERE mailbox = ?", (record.id,))
    for _, bits, _, size, _, _ in rows:
        ledger.count(record, bits, size, -1)
    note_rows(ledger, rows)
    _refer(ledger, [row[5] for row in rows], -1)


#: Chunks that one slice of L{sweep} deletes: 4 MB of them at most.
_SWEEP_CHUNKS: Final = 16
_SWEEP_BODIES: Final = 50
#: Something may have to be unlearned from each. But one is done in any case.
_SWEEP_SECONDS: Final = 0.02


def sweep(ledger: Ledger, bodies: list[int]) -> bool:
    """Delete some of these bodies, which no message names and nobody reads; takes what is done off the list.

    :returns: whether there is more to do.
    """
    return _delete_bodies(ledger, bodies) or _shrink(ledger)


def _delete_bodies(ledger: Ledger, bodies: list[int]) -> bool:
    if not bodies:
        return False
    ledger.flush()
    newest = ledger.connection.execute("SELECT coalesce(max(id), 0) FROM body").get
    if max(bodies[-_SWEEP_BODIES:]) >= newest:
        # Its number must not be given again, and what links to it is in memory alone.
        ledger.set_setting("last_body", ledger.last_body)
        ledger.threads.write(ledger.last_body)
    indexed = ledger.connection.execute("SELECT value FROM setting WHERE key = 'indexed_body'").get or 0
    ends = time.perf_counter() + _SWEEP_SECONDS
    for _ in range(min(_SWEEP_BODIES, len(bodies))):
        if time.perf_counter() > ends:
            return True
        body = bodies[-1]
        if not settle(ledger, body):
            # It stays until the account is opened by a program that can unlearn it.
            bodies.pop()
            continue
        first, last = body << CHUNK_BITS, ((body + 1) << CHUNK_BITS) - 1
        ledger.connection.execute(
            "DELETE FROM chunk WHERE id IN (SELECT id FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT ?)",
            (first, last, _SWEEP_CHUNKS),
        )
        if ledger.connection.changes() == _SWEEP_CHUNKS:
            return True
        if body <= indexed:
            ledger.connection.execute("DELETE FROM words WHERE rowid = ?", (body,))
        ledger.connection.execute("DELETE FROM body WHERE id = ? AND refs = 0", (body,))
        bodies.pop()
    return bool(bodies)


#: Room that deleted messages leave is used again; it is given back to the file system when there are so many pages of
#: it and it is more than this share of the file. And so many pages go in one transaction.
_SPARE_PAGES: Final = 512
_SPARE_SHARE: Final = 0.2
_VACUUM_PAGES: Final = 128


def _shrink(ledger: Ledger) -> bool:
    """Make the file a little shorter when much of it is empty; whether there is more to do."""
    free, pages = ledger.connection.pragma("freelist_count"), ledger.connection.pragma("page_count")
    if free < _SPARE_PAGES or free < pages * _SPARE_SHARE:
        return False
    ledger.connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
    return True


def unused_bodies(connection: Any) -> Iterator[int]:
    """Bodies that no message names, left over from before."""
    for (body,) in connection.execute("SELECT id FROM body WHERE refs = 0"):
        yield body
