r"""FETCH and UID FETCH (RFC 9051 section 6.4.5, RFC 7162 sections 3.1.4 and 3.2.6).

::

    C: a1 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)
    S: * VANISHED (EARLIER) 300:310,405,411
    S: * 1 FETCH (UID 404 FLAGS (\Seen) MODSEQ (65402))
    S: a1 OK FETCH completed
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final

from moxtwisted.errors import MailError
from moxtwisted.imap.commands.fetchbodies import write_bodies
from moxtwisted.imap.commands.fetchplan import Batch, Plan, compile_plan
from moxtwisted.imap.commands.messagelimit import Cut, concluding, newest, refuse_more
from moxtwisted.imap.commands.results import check_returns
from moxtwisted.imap.connection import Answer, Connection, Handled, RefusalError, Selected, refused
from moxtwisted.imap.lines import MANY, Told, message_lines
from moxtwisted.imap.sharedmailbox import rights_of
from moxtwisted.imap.wire.commands import Fetch
from moxtwisted.imap.wire.fetchattributes import FetchAttribute, ModSeq
from moxtwisted.imap.wire.returnoptions import Partial
from moxtwisted.imap.wire.sequence import SequenceSet, compact_ranges
from moxtwisted.message.flags import SEEN, MessageFlags

__all__ = ["fetch", "fetched"]

#: What is in memory is told of so many messages at once: the client has something to do soon, and up to 64 KiB go out at once.
_FLAGS_A_PIECE: Final = 1024
_ROWS_A_CALL: Final = 1000
_VANISHED_RANGES_A_LINE: Final = 1000

_Ranges = Sequence[tuple[int, int]]


def fetch(connection: Connection, command: Fetch) -> Handled:
    """FETCH: from memory and columns, or with octets of the messages."""
    box = connection.box
    modseq = command.changed_since is not None or any(isinstance(a, ModSeq) for a in command.attributes)
    if modseq:
        # RFC 7162 section 3.1: both enable CONDSTORE.
        connection.enable("CONDSTORE")
    ranges: _Ranges = connection.ranges(command.numbers, uid=command.uid)
    if command.vanished:
        if not connection.qresync:
            # RFC 7162 section 3.2.6
            raise RefusalError("ENABLE QRESYNC first", kind="BAD")
        connection.out += _vanished(box, command)
    if command.partial is not None:
        check_returns(connection, frozenset({command.partial}))
        # RFC 9738 section 3.1: a window that is too large is not made smaller.
        refuse_more(connection, abs(command.partial.last - command.partial.first) + 1)
        # RFC 9394 section 3.4: the window first, then what changed within it.
        ranges = _windowed(ranges, command.partial)
    if command.changed_since is not None:
        ranges = _changed(box, ranges, command.changed_since)
    ranges, cut = newest(connection, ranges)
    # RFC 4314 section 4: without the right s it just does not.
    if any(a.sets_seen for a in command.attributes) and not box.read_only and "s" in rights_of(box.mailbox):
        return _seeing(connection, command, ranges, cut, modseq=modseq)
    # RFC 9586 section 3.3: with UIDONLY the UID stands in front, and is an item only if it was asked for.
    uid = (command.uid or modseq) and not box.view.uidonly
    plan = compile_plan(command.attributes, uid=uid, modseq=modseq, head=box.view.head)
    return concluding(connection, cut, _pieces(connection, plan, ranges, command), "FETCH")


async def _seeing(
    connection: Connection, command: Fetch, ranges: _Ranges, cut: Cut | None, *, modseq: bool
) -> Handled:
    r"""A FETCH that sets \Seen where it is not set yet."""
    box = connection.box
    live = box.view.live
    uids = connection.uids(ranges)
    unseen = {
        live.uids[at]: live.flags[at]
        for at in box.view.live_positions(uids)
        if not live.flags[at].system & SEEN
    }
    changed: tuple[int, ...] = ()
    told: list[tuple[int, MessageFlags, int]] = []
    if unseen:
        seen = MessageFlags.of(SEEN)
        # We show a message whose flags cannot be kept (a full disk) all the same; it is not seen then, as without the right s.
        with suppress(MailError):
            done = await box.mailbox.store(list(unseen), "add", seen, None)
            changed = done.changed
            told = [(uid, unseen[uid].adding(seen), done.modseq) for uid in changed if uid in unseen]
    # RFC 7162 section 3.2.4: such a response has the UID and the MODSEQ.
    modseq = modseq or (bool(changed) and connection.condstore)
    plan = compile_plan(
        command.attributes,
        uid=(command.uid or modseq) and not box.view.uidonly,
        modseq=modseq,
        flags=bool(changed),
        head=box.view.head,
    )
    pieces = _and_known(box, _pieces(connection, plan, ranges, command), told)
    return concluding(connection, cut, pieces, "FETCH")


def _and_known(
    box: Selected, pieces: Generator[bytes, None, Answer], told: Sequence[tuple[int, MessageFlags, int]]
) -> Generator[bytes, None, Answer]:
    """RFC 9051 section 6.4.5: flags that change by a FETCH are told with its responses, and once; unless it fails."""
    answer = yield from pieces
    box.view.known(told)
    return answer


def _vanished(box: Selected, command: Fetch) -> Iterator[bytes]:
    """RFC 7162 section 3.2.6: UIDs of the set that were expunged since."""
    view = box.view
    gone, complete = box.mailbox.expunged_since(command.changed_since or 0)
    last = view.live.uidnext - 1
    if not last:
        # There has never been a message.
        return
    # "*" is the last UID that there has been: the messages in question are not there any more.
    wanted = command.numbers.up_to(last)
    if not complete:
        # The history does not reach back: everything that is not there may have been.
        found: Sequence[tuple[int, int]] = _missing(wanted, view.uids, last)
    else:
        # Section 3.2.10: what the client still has among its sequence numbers is told without EARLIER.
        members = wanted.members(gone) if gone else ()
        found = compact_ranges(members if view.current else (u for u in members if view.position(u) is None))
    for start in range(0, len(found), _VANISHED_RANGES_A_LINE):
        part = SequenceSet(tuple(found[start : start + _VANISHED_RANGES_A_LINE]))
        yield b"* VANISHED (EARLIER) %b\r\n" % part.render()


def _missing(wanted: SequenceSet, there: Sequence[int], last: int) -> list[tuple[int, int]]:
    """Inclusive ranges of wanted numbers up to ``last`` that are not there."""
    found = []
    for low, high in sorted(wanted.ranges):
        end = min(high, last)
        next_ = low
        for start, stop in SequenceSet(((next_, end),)).index_ranges(there) if next_ <= end else ():
            for uid in there[start:stop]:
                if uid > next_:
                    found.append((next_, uid - 1))
                next_ = uid + 1
        if next_ <= end:
            found.append((next_, end))
    return found


def _windowed(ranges: _Ranges, partial: Partial) -> _Ranges:
    """RFC 9394 section 3.3: only so many of the messages, counted from the first or the last one."""
    first, last = partial.window(sum(stop - start for start, stop in ranges))
    found: list[tuple[int, int]] = []
    before = 0
    for start, stop in ranges:
        low, high = max(start, start + first - before), min(stop, start + last - before)
        if low < high:
            found.append((low, high))
        before += stop - start
    return found


def _changed(box: Selected, ranges: _Ranges, since: int) -> _Ranges:
    """Positions of messages whose modseq is above ``since``."""
    view, live = box.view, box.view.live
    modseqs: Sequence[int] = live.modseqs
    if not view.current:
        known = dict(zip(live.uids, live.modseqs, strict=True))
        modseqs = [known.get(uid, 0) for uid in view.uids]
    found: list[tuple[int, int]] = []
    for start, stop in ranges:
        for at in range(start, stop):
            if modseqs[at] > since:
                if found and found[-1][1] == at:
                    found[-1] = (found[-1][0], at + 1)
                else:
                    found.append((at, at + 1))
    return found


@lru_cache(maxsize=64)
def _plan(attributes: tuple[FetchAttribute, ...], uid: bool, modseq: bool, head: bytes) -> Plan:
    """All who watch a mailbox want the same few items."""
    return compile_plan(attributes, uid=uid, modseq=modseq, head=head)


def fetched(
    connection: Connection, attributes: tuple[FetchAttribute, ...], ranges: _Ranges
) -> Iterator[bytes]:
    """FETCH responses that nobody asked for by a command, about messages at these positions; sets no flags.

    What cannot be told is an untagged NO.
    """
    view = connection.box.view
    # RFC 9051 section 7.5.2: such a response should have the UID.
    plan = _plan(attributes, not view.uidonly, connection.condstore, view.head)
    command = Fetch(b"", SequenceSet(()), attributes, uid=True)
    parts: Iterable[_Ranges] = [ranges]
    if any(item.binary for item in plan.bodies):
        # One by one: an encoding that nobody knows is the fault of one message.
        parts = ([(at, at + 1)] for start, stop in ranges for at in range(start, stop))
    for part in parts:
        try:
            yield from _pieces(connection, plan, part, command)
        except RefusalError as e:
            yield b"* %b\r\n" % e.answer()
        except MailError as e:
            yield b"* %b\r\n" % refused(e).answer()
            return


def _pieces(
    connection: Connection, plan: Plan, ranges: _Ranges, command: Fetch
) -> Generator[bytes, None, Answer]:
    box, limits = connection.box, connection.settings.limits
    size = min(limits.fetch_batch, _ROWS_A_CALL) if plan.columns else _FLAGS_A_PIECE
    template = plan.template + b")\r\n"
    gone = False
    for positions in _cut(ranges, size):
        batch = _batch(box, positions, plan)
        if plan.columns:
            _add_columns(box, batch, plan.columns)
        gone = gone or len(batch.uids) < len(positions)
        if not batch.uids:
            continue
        if box.view.uidonly:
            batch.numbers = batch.uids
        if plan.bodies:
            yield from write_bodies(box.mailbox, plan, batch, limits)
        elif not plan.columns and len(batch.uids) >= MANY:
            yield message_lines(plan.head, batch.numbers, _told(plan, batch))
        else:
            values = [of(batch) for of in plan.values]
            yield b"".join([template % row for row in zip(batch.numbers, *values, strict=True)])
    if gone and not command.uid:
        # RFC 2180 section 4.1.2, RFC 5530 section 3: others expunged them, which the client may not be told yet.
        return b"NO [EXPUNGEISSUED] some of the messages are gone"
    return None


def _told(plan: Plan, batch: Batch) -> Told:
    return Told(
        batch.uids if plan.needs_uid else None,
        batch.flags if plan.needs_flags else None,
        batch.modseqs if plan.needs_modseq else None,
    )


def _cut(ranges: _Ranges, size: int) -> Iterator[Sequence[int]]:
    """The positions, ``size`` at a time."""
    waiting: list[int] = []
    for start, stop in ranges:
        if stop - start >= size and not waiting:
            whole = start + (stop - start) // size * size
            for at in range(start, whole, size):
                yield range(at, at + size)
            start = whole  # noqa: PLW2901 - the rest of the range
        waiting.extend(range(start, stop))
        while len(waiting) >= size:
            yield waiting[:size]
            del waiting[:size]
    if waiting:
        yield waiting


def _batch(box: Selected, positions: Sequence[int], plan: Plan) -> Batch:
    """Numbers, UIDs, flags and modseqs of those that still exist."""
    view, live = box.view, box.view.live
    first, last = positions[0], positions[-1] + 1
    if not view.current:
        return _batch_of_lagging(box, positions)
    if last - first == len(positions):
        return Batch(
            range(first + 1, last + 1),
            live.uids[first:last],
            live.flags[first:last] if plan.needs_flags else (),
            live.modseqs[first:last] if plan.needs_modseq else (),
        )
    return Batch(
        [at + 1 for at in positions],
        array("I", [live.uids[at] for at in positions]),
        [live.flags[at] for at in positions] if plan.needs_flags else (),
        [live.modseqs[at] for at in positions] if plan.needs_modseq else (),
    )


def _batch_of_lagging(box: Selected, positions: Sequence[int]) -> Batch:
    view, live = box.view, box.view.live
    numbers = {view.uids[at]: at + 1 for at in positions}
    found = view.live_positions(array("I", numbers))
    uids = array("I", [live.uids[at] for at in found])
    return Batch(
        [numbers[uid] for uid in uids],
        uids,
        [live.flags[at] for at in found],
        [live.modseqs[at] for at in found],
    )


def _add_columns(box: Selected, batch: Batch, columns: int) -> None:
    """Have the backend's columns; messages that went meanwhile leave the batch."""
    rows = box.mailbox.rows(batch.uids, columns)
    if len(rows) < len(batch.uids):
        there = {row[0] for row in rows}
        kept = [i for i, uid in enumerate(batch.uids) if uid in there]
        batch.numbers = [batch.numbers[i] for i in kept]
        batch.uids = array("I", [batch.uids[i] for i in kept])
        batch.flags = [batch.flags[i] for i in kept] if batch.flags else ()
        batch.modseqs = [batch.modseqs[i] for i in kept] if batch.modseqs else ()
    transposed = list(zip(*rows, strict=True))
    bits = [1 << n for n in range(columns.bit_length()) if columns & 1 << n]
    batch.columns = dict(zip(bits, transposed[1:], strict=False))
