"""COPY, MOVE, EXPUNGE and their UID forms (RFC 9051 sections 6.4.3, 6.4.7, 6.4.8; RFC 4315, RFC 6851).

::

    C: a1 UID MOVE 42:44 Archive
    S: * OK [COPYUID 1511554416 42:44 1:3] moved
    S: * 5 EXPUNGE
    S: a1 OK MOVE completed
"""

from __future__ import annotations

from collections.abc import Sequence

from moxtwisted.errors import MailboxMissingError, MailError
from moxtwisted.identifiers import IdentifierError, parse_mailbox_name
from moxtwisted.imap.backend import Appended
from moxtwisted.imap.commands.messagelimit import concluded, newest, newest_of
from moxtwisted.imap.connection import Answer, Connection, RefusalError, refused
from moxtwisted.imap.wire.commands import Copy, Expunge, Move, UIDExpunge
from moxtwisted.imap.wire.sequence import PART, compact_ascending, compact_in_parts

__all__ = ["copy", "expunge", "move", "tell_gone", "uid_expunge", "with_modseq"]


def _target(name: str) -> str:
    try:
        return parse_mailbox_name(name)
    except IdentifierError:
        # Cannot exist nor be created, so no TRYCREATE.
        raise RefusalError("no such mailbox", "CANNOT") from None


def _refused(connection: Connection, error: MailError, target: str) -> RefusalError:
    """Why it cannot be done."""
    if isinstance(error, MailboxMissingError):
        try:
            connection.existing(target, "i")
        except RefusalError as e:
            if e.code == "NOPERM":
                # There is such a mailbox, which takes nothing from others.
                return e
    # It may be the selected mailbox that somebody deleted.
    return refused(error, trycreate=connection.box.view.live.exists)


async def _copyuid(connection: Connection, done: Appended) -> bytes:
    # RFC 4315 section 3: pairs in order; ascending on both sides, as we assign UIDs in the order of the source.
    source, target = await _compact(connection, done.source_uids), await _compact(connection, done.uids)
    return b"COPYUID %d %b %b" % (done.uidvalidity, source, target)


async def _compact(connection: Connection, uids: Sequence[int]) -> bytes:
    """The set of these UIDs, which ascend."""
    if len(uids) <= PART or uids[-1] - uids[0] == len(uids) - 1:
        return compact_ascending(uids)
    parts = []
    for part in compact_in_parts(lambda start, stop: uids[start:stop], len(uids)):
        parts.append(part)
        await connection.give_way(len(uids))
    return b"".join(parts)


async def copy(connection: Connection, command: Copy) -> Answer:
    """COPY: all or none."""
    box = connection.box
    ranges, cut = newest(connection, connection.ranges(command.numbers, uid=command.uid))
    if cut is not None:
        # RFC 9738 section 3.1: what is all or nothing is nothing then.
        return b"NO [%b] too many messages, copy fewer at a time" % cut.code
    uids = connection.uids(ranges)
    target = _target(command.mailbox)
    if not uids:
        # RFC 9051 section 6.4.9: a UID set without messages is no error.
        return b"OK nothing to copy"
    try:
        done = await box.mailbox.copy(uids, target)
    except MailError as e:
        raise _refused(connection, e, target) from e
    if not done.source_uids:
        return b"NO [EXPUNGEISSUED] the messages are gone"
    connection.caused(target, done.uids)
    await connection.give_way(len(done.uids))
    if not connection.tells_uids(target):
        return b"OK copied"
    return b"OK [%b] copied" % await _copyuid(connection, done)


async def move(connection: Connection, command: Move) -> Answer:
    """MOVE: the messages leave with untagged EXPUNGE, after the COPYUID."""
    box = connection.writable()
    ranges, cut = newest(connection, connection.ranges(command.numbers, uid=command.uid))
    uids = connection.uids(ranges)
    target = _target(command.mailbox)
    if not uids:
        return b"OK nothing to move"
    try:
        done = await box.mailbox.move(uids, target)
    except MailError as e:
        raise _refused(connection, e, target) from e
    if not done.source_uids:
        return b"NO [EXPUNGEISSUED] the messages are gone"
    connection.caused(target, done.uids)
    await connection.give_way(len(done.uids))
    if connection.tells_uids(target):
        # RFC 6851 section 4.3: COPYUID in an untagged OK, before the EXPUNGE responses.
        connection.out.append(b"* OK [%b] moved\r\n" % await _copyuid(connection, done))
    await tell_gone(connection, len(done.uids))
    return concluded(connection, cut, with_modseq(connection, b"MOVE completed"), "MOVE")


async def expunge(connection: Connection, command: Expunge) -> Answer:
    r"""EXPUNGE: all messages with \Deleted that the client knows."""
    box = connection.writable()
    # Messages that came meanwhile were never shown to the client, so they are not in the set.
    uids = connection.deleted(box.view.uids)
    if uids:
        await box.mailbox.expunge(uids)
    await tell_gone(connection, len(uids))
    return with_modseq(connection, b"EXPUNGE completed")


async def uid_expunge(connection: Connection, command: UIDExpunge) -> Answer:
    r"""UID EXPUNGE: those of the set with \Deleted."""
    box = connection.writable()
    deleted = connection.deleted(connection.uids(connection.ranges(command.numbers, uid=True)))
    # RFC 9738 section 3.1: for EXPUNGE, which has no numbers, there is no limit.
    uids, cut = newest_of(connection, deleted)
    if uids:
        await box.mailbox.expunge(uids)
    await tell_gone(connection, len(uids))
    return concluded(connection, cut, with_modseq(connection, b"UID EXPUNGE completed"), "UID EXPUNGE")


async def tell_gone(connection: Connection, count: int) -> None:
    """The client is told what is gone, so many messages by this command."""
    await connection.give_way(count)
    await connection.foresee()
    connection.sync(allow_expunge=True)


def with_modseq(connection: Connection, text: bytes) -> bytes:
    """The tagged OK of a command that expunged."""
    view = connection.box.view
    if connection.qresync:
        # RFC 7162 section 3.2.7: HIGHESTMODSEQ tells the client that the expunge itself is included. It stands for all changes, so
        # it is a lower one where NOTIFY spares the client some of them.
        return b"OK [HIGHESTMODSEQ %d] %b" % (
            view.complete if view.live.exists else view.live.highestmodseq,
            text,
        )
    return b"OK " + text
