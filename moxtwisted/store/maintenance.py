"""Upkeep of one account: rendering again, counting again, forgetting what was expunged long ago.

Each function is a coroutine over an open account, works in small transactions between the deliveries, and can be
stopped at any moment: what it has done stays done, the rest is done by the next run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Final

import apsw
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from moxtwisted.errors import MailError
from moxtwisted.message.headers import select_fields
from moxtwisted.message.mime import Scanner
from moxtwisted.message.products import Rendered, render
from moxtwisted.message.structure import LIST_FIELDS
from moxtwisted.store.accounts import Account
from moxtwisted.store.bodies import decode
from moxtwisted.store.consistency import check
from moxtwisted.store.facts import Facts, pack, unpack
from moxtwisted.store.junkwords import JunkWords
from moxtwisted.store.junkwords import recount as recount_words
from moxtwisted.store.ledger import Ledger

__all__ = ["Progress", "recount", "reparse", "retire", "verify", "verify_opened"]

Progress = Callable[[int, int, str], None]

#: Messages that are written in one transaction.
_BATCH: Final = 50
_READ_OCTETS: Final = 262_144
#: Of what was learned of junk, as many are told.
_MOST_PROBLEMS: Final = 100
#: Whom the account wrote to is forgotten after four years: nobody asks for more than three.
_CORRESPONDENT_SECONDS: Final = 4 * 366 * 86400


async def verify_opened(opening: Awaitable[Account]) -> list[str]:
    """All problems of one account, also that it cannot be opened or read at all."""
    try:
        return await verify(await opening)
    except (MailError, apsw.Error) as e:
        return [f"cannot be read: {getattr(e, 'detail', '') or e}"]


async def verify(account: Account) -> list[str]:
    """All problems the checker finds, every octet read; it runs in the account's writer thread, after what is pending."""
    return await account.submit(_verify)


def _verify(ledger: Ledger) -> list[str]:
    ledger.flush()
    problems = check(ledger.connection, deep=True, decode=decode)
    learner = ledger.learner
    if isinstance(learner, JunkWords) and ledger.learned_by == learner.version:
        problems += islice(recount_words(ledger.connection, learner), _MOST_PROBLEMS)
    return problems


# -- rendering again ---------------------------------------------------------------------------------------------------


async def reparse(account: Account, clock: IReactorTime, progress: Progress) -> int:
    """Render all messages again, as a newer program would at delivery; how many."""
    connection = account.reader
    total = connection.execute("SELECT count(*) FROM body").get
    done, last = 0, 0
    while True:
        bodies = [
            row[0]
            for row in connection.execute(
                "SELECT id FROM body WHERE id > ? ORDER BY id LIMIT ?", (last, _BATCH)
            )
        ]
        if not bodies:
            account.index.forget()
            account.kept_rows.forget()
            return done
        rendered: list[tuple[int, Rendered]] = []
        for body in bodies:
            product = _render(account, body)
            if product is not None:
                rendered.append((body, product))
            await deferLater(clock, 0)
        await account.submit(_store_rendered, rendered)
        last = bodies[-1]
        done += len(rendered)
        progress(done, total, "messages")


def _render(account: Account, body: int) -> Rendered | None:
    reader = account.open_by_id(body)
    if reader is None:
        return None
    try:
        start = reader.prefix_size
        scanner = Scanner()
        for offset in range(start, reader.size, _READ_OCTETS):
            scanner.feed(reader.read(offset, _READ_OCTETS))
        return render(scanner.finish(), lambda offset, length: reader.read(start + offset, length))
    finally:
        reader.close()


def _store_rendered(ledger: Ledger, rendered: Sequence[tuple[int, Rendered]]) -> None:
    for body, product in rendered:
        kept = ledger.connection.execute("SELECT facts FROM body WHERE id = ?", (body,)).get
        if kept is None:
            continue  # swept meanwhile
        before = unpack(kept)
        prefix = before.prefix
        fields = (select_fields(prefix, LIST_FIELDS)[:-2] if prefix else b"") + product.fields
        facts = Facts(
            product.envelope,
            product.bodystructure,
            fields,
            product.preview,
            product.parts,
            prefix,
            before.sender,
        )
        ledger.connection.execute(
            "UPDATE body SET facts = ?, header_size = ? WHERE id = ?",
            (pack(facts), product.header_size, body),
        )


# -- counting again ----------------------------------------------------------------------------------------------------


async def recount(account: Account) -> tuple[int, int]:
    """Count messages and octets again; (mailboxes, how many of them had wrong counts)."""
    return await account.submit(_recount)


def _recount(ledger: Ledger) -> tuple[int, int]:
    ledger.flush()
    changed = 0
    counted = {
        row[0]: tuple(row[1:])
        for row in ledger.connection.execute(
            "SELECT mailbox, count(*), sum(flags & 1 = 0), sum(flags & 8 <> 0), sum(size), sum(iif(flags & 8, size, 0))"
            " FROM message GROUP BY mailbox"
        )
    }
    for record in ledger.mailboxes.values():
        new = counted.get(record.id, (0, 0, 0, 0, 0))
        old = (record.messages, record.unseen, record.deleted, record.size, record.deleted_size)
        if new != old:
            changed += 1
            record.messages, record.unseen, record.deleted, record.size, record.deleted_size = new
            ledger.touch(record, record.modseq)
    ledger.connection.execute(
        "UPDATE body SET refs = (SELECT count(*) FROM message WHERE body = id)"
        " WHERE refs <> (SELECT count(*) FROM message WHERE body = id)"
    )
    ledger.size = sum(record.size for record in ledger.mailboxes.values())
    return len(ledger.mailboxes), changed


# -- forgetting --------------------------------------------------------------------------------------------------------


async def retire(account: Account, older_than_seconds: float, now: int) -> int:
    """Forget messages that were expunged longer ago than this; how many. Also whom the account wrote to years ago.

    When a message was expunged is not written for each: every run notes the time and the account's modseq, and what has a
    modseq up to the newest note that is old enough goes. So a run a day is right to a day. A client that comes back later
    than that compares all UIDs (RFC 7162 section 3.2.5.2).

    :param older_than_seconds: 0: forget nothing.
    """
    if older_than_seconds <= 0:
        return 0
    return await account.submit(_retire, int(now - older_than_seconds), now)


def _retire(ledger: Ledger, before: int, now: int) -> int:
    connection = ledger.connection
    connection.execute("DELETE FROM correspondent WHERE at < ?", (now - _CORRESPONDENT_SECONDS,))
    ledger.experience = True
    # No note when the clock went back: it would date changes of today to then.
    connection.execute(
        "INSERT INTO modseq_note (at, modseq) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM modseq_note WHERE at >= ?1)",
        (now, ledger.modseq),
    )
    modseq = connection.execute("SELECT max(modseq) FROM modseq_note WHERE at <= ?", (before,)).get
    if modseq is None:
        return 0
    connection.execute("DELETE FROM expunged WHERE modseq <= ?", (modseq,))
    gone = int(connection.changes())
    connection.execute(
        "DELETE FROM modseq_note WHERE at < (SELECT max(at) FROM modseq_note WHERE at <= ?)", (before,)
    )
    ledger.set_setting("retired_modseq", _greatest(connection, modseq))
    return gone


def _greatest(connection: Any, modseq: int) -> int:
    known = connection.execute("SELECT value FROM setting WHERE key = 'retired_modseq'").get
    return max(int(known or 0), modseq)
