r"""STORE and UID STORE (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3).

::

    C: a1 UID STORE 5:9 (UNCHANGEDSINCE 12) +FLAGS (\Seen)
    S: * 3 FETCH (UID 5 FLAGS (\Seen) MODSEQ (13))
    S: a1 OK [MODIFIED 7] some messages were changed meanwhile
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Literal

from attrs import evolve

from moxtwisted.imap.backend import Stored
from moxtwisted.imap.commands.messagelimit import concluded, newest
from moxtwisted.imap.connection import Answer, Connection, RefusalError, Selected
from moxtwisted.imap.rights import Rights, kept_flags
from moxtwisted.imap.sharedmailbox import rights_of
from moxtwisted.imap.wire.commands import Store, StoreMode
from moxtwisted.imap.wire.sequence import compact
from moxtwisted.message.flags import MessageFlags

__all__ = ["check_keywords", "parse_flags", "store"]

_MODES: Final[dict[StoreMode, Literal["add", "remove", "replace"]]] = {
    StoreMode.ADD: "add",
    StoreMode.REMOVE: "remove",
    StoreMode.REPLACE: "replace",
}

_CHANGE: Final[dict[str, Callable[[MessageFlags, MessageFlags], MessageFlags]]] = {
    "add": MessageFlags.adding,
    "remove": MessageFlags.removing,
    "replace": lambda old, new: new,
}


def parse_flags(names: Sequence[str]) -> MessageFlags:
    r"""The flags that a client gave.

    :raise RefusalError: BAD for a system flag that does not exist or cannot be set.
    """
    return (_parsed_before if len(names) <= _REMEMBERED_NAMES else _parsed)(tuple(names))


def _parsed(names: tuple[str, ...]) -> MessageFlags:
    # RFC 3501 section 2.3.2: \Recent cannot be set; old clients send it back in APPEND and STORE, where it is without effect.
    kept = [name for name in names if name.lower() != "\\recent"]
    try:
        return MessageFlags.parse(kept)
    except ValueError:
        raise RefusalError("no such system flag", kind="BAD") from None


# The same few are set all the time. A line bounds their octets.
_REMEMBERED_NAMES: Final = 4
_parsed_before = lru_cache(64)(_parsed)


def check_keywords(connection: Connection, *outcomes: MessageFlags) -> None:
    """Refuse flags that would be too many for a message.

    :raise RefusalError: NO with LIMIT.
    """
    most = connection.settings.limits.keywords
    for flags in outcomes:
        if len(flags.keywords) > most:
            raise RefusalError(f"a message may have {most} keywords", "LIMIT")


async def store(connection: Connection, command: Store) -> Answer:
    """STORE: the changed flags are told unless SILENT; with CONDSTORE the new MODSEQ always is."""
    box = connection.writable()
    flags = parse_flags(command.flags)
    if command.silent and not _is_whole(command.mode, flags, rights_of(box.mailbox)):
        # RFC 4314 section 4: some of the flags stay as they are, where the client would believe that it has set them all.
        command = evolve(command, silent=False)
    if command.unchanged_since is not None:
        # RFC 7162 section 3.1: UNCHANGEDSINCE enables CONDSTORE.
        connection.enable("CONDSTORE")
    ranges, cut = newest(connection, connection.ranges(command.numbers, uid=command.uid))
    uids = connection.uids(ranges)
    if not uids:
        return None
    return concluded(connection, cut, await _store(connection, command, flags, uids), "STORE")


def _is_whole(mode: StoreMode, flags: MessageFlags, rights: Rights) -> bool:
    """Whether somebody with these rights can do all of a change."""
    return rights.issuperset("swt") or (
        mode is not StoreMode.REPLACE and kept_flags(flags, rights).names == flags.names
    )


async def _store(connection: Connection, command: Store, flags: MessageFlags, uids: Sequence[int]) -> Answer:
    box = connection.box
    version = box.view.believed()
    believed = _believed(box, uids) if command.silent else None
    mode = _MODES[command.mode]
    if flags.keywords and mode != "remove":
        all_flags = box.view.live.flags
        found = {all_flags[at] for at in box.view.live_positions(uids)}
        check_keywords(connection, *(_CHANGE[mode](old, flags) for old in found))
    done = await box.mailbox.store(uids, mode, flags, command.unchanged_since)
    await connection.give_way(len(uids))
    positions = box.view.live_positions(uids)
    _answer(connection, command, positions, done)
    gone = len(positions) < len(uids) and not command.uid
    if box.view.caught_up(version, done.modseq):
        pass
    elif believed is None:
        live = box.view.live
        refused_uids = frozenset(done.refused)
        box.view.known(
            [
                (live.uids[at], live.flags[at], live.modseqs[at])
                for at in positions
                if live.uids[at] not in refused_uids
            ]
        )
    elif not gone:
        before = believed()
        after = {old: _CHANGE[mode](old, flags) for old in set(before.values())}
        box.view.known((uid, after[before[uid]], done.modseq) for uid in done.changed if uid in before)
    if done.refused:
        refused: Sequence[int] = done.refused
        if not command.uid:
            refused = [at + 1 for uid in refused if (at := box.view.position(uid)) is not None]
        # RFC 7162 section 3.1.3: MODIFIED lists what was left alone, by number or by UID as the command did; it is a NO that has it
        # when other messages are gone, as in the example after RFC 2180 there.
        if gone:
            return b"NO [MODIFIED %b] some of the messages are gone" % compact(refused)
        return b"OK [MODIFIED %b] some messages were changed meanwhile" % compact(refused)
    if gone:
        # RFC 2180 section 4.2.1 and RFC 5530: the client does not know yet that they are gone.
        return b"NO [EXPUNGEISSUED] some of the messages are gone"
    return None


def _believed(box: Selected, uids: Sequence[int]) -> Callable[[], dict[int, MessageFlags]]:
    """The flags, as they are now, of those of these messages that the client knows the flags of.

    It will add its change to what it believes. Where that is out of date it is told the outcome instead.
    """
    untold = box.view.untold()
    known, flags = box.view.live.uids, list(box.view.live.flags)

    def believed() -> dict[int, MessageFlags]:
        of = dict(zip(known, flags, strict=True))
        return {uid: of[uid] for uid in uids if uid in of and uid not in untold}

    return believed


def _answer(connection: Connection, command: Store, positions: Sequence[int], done: Stored) -> None:
    """Untagged FETCH responses; ``positions`` are in the mailbox."""
    if command.silent and not connection.condstore:
        return
    view, live = connection.box.view, connection.box.view.live
    uids = live.uids
    if done.refused:
        refused = frozenset(done.refused)
        positions = [at for at in positions if uids[at] not in refused]
    if command.silent:
        # RFC 7162 section 3.1.3: even with SILENT the new MODSEQ of what changed is told; with UNCHANGEDSINCE the MODSEQ of all that
        # passed the test.
        if command.unchanged_since is None:
            positions = view.live_positions(done.changed)
        connection.tell(view.lines(positions, flags=False, modseq=True))
        return
    modseq = connection.condstore
    connection.tell(view.lines(positions, uid=command.uid or modseq, modseq=modseq))
