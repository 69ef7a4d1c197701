r"""SELECT, EXAMINE, CLOSE, UNSELECT, CHECK (RFC 9051 section 6.3.2), with CONDSTORE and QRESYNC (RFC 7162).

::

    C: a1 SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))
    S: * FLAGS (…)
    S: …
    S: * VANISHED (EARLIER) 41,43:116,118,120:211,214:540
    S: * 49 FETCH (UID 117 FLAGS (\Seen \Answered) MODSEQ (90060115194045001))
    S: a1 OK [READ-WRITE] SELECT completed
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import ISelectedMailbox
from moxtwisted.imap.commands.listing import named
from moxtwisted.imap.connection import Answer, Connection, RefusalError, Selected, refused
from moxtwisted.imap.lines import Piece
from moxtwisted.imap.rights import WRITING, Rights, flags_within
from moxtwisted.imap.sharedmailbox import rights_of
from moxtwisted.imap.states import State
from moxtwisted.imap.urlauth import MECHANISM
from moxtwisted.imap.view import SessionView
from moxtwisted.imap.wire.commands import Check, Close, QResync, Select, Unselect
from moxtwisted.imap.wire.sequence import SequenceSet, compact_ranges
from moxtwisted.message.flags import SEEN, MessageFlags

__all__ = ["check", "close", "select", "unselect"]

_SYSTEM: Final = "\\Answered \\Flagged \\Deleted \\Seen \\Draft"
# Clients show these whether or not a message has them yet (mox announces the same, but RFC 8457's $Important).
_COMMON_KEYWORDS: Final = ("$Forwarded", "$Important", "$Junk", "$MDNSent", "$NotJunk", "$Phishing")
_VANISHED_RANGES_A_LINE: Final = 1000
_URL_MECHANISMS: Final = f"* OK [URLMECH {MECHANISM}] mechanisms of URLs\r\n".encode("ascii")


async def select(connection: Connection, command: Select) -> Answer:
    """SELECT and EXAMINE. A SELECT that fails leaves no mailbox selected."""
    was_selected = connection.selected is not None
    if command.qresync is not None and not connection.qresync:
        # RFC 7162 section 3.2.5: QRESYNC must have been enabled before.
        raise RefusalError("ENABLE QRESYNC first", kind="BAD")
    connection.leave()
    if was_selected:
        # RFC 7162 section 3.2.11 and RFC 9051 section 7.1: after it all responses are about the new mailbox.
        connection.out.append(b"* OK [CLOSED] previous mailbox closed\r\n")
    if command.condstore:
        connection.enable("CONDSTORE")
    name = connection.existing(command.mailbox, "r").name
    try:
        mailbox = connection.mail.select(name, read_only=command.examine)
        if inspect.isawaitable(mailbox):
            mailbox = await mailbox
    except MailError as e:
        raise refused(e) from e
    # RFC 4314 section 5.2: READ-ONLY when the user's rights let him change nothing.
    read_only = command.examine or rights_of(mailbox).isdisjoint(WRITING)
    box = Selected(name, mailbox, SessionView(mailbox.view, uidonly=connection.uidonly), read_only)
    if not read_only and hasattr(mailbox, "rights"):
        box.news = _news_of_rights(box)
    connection.selected = box
    connection.state = State.SELECTED
    if connection.notifying is not None and connection.notifying.selected is not None:
        connection.attend()
    connection.out += _description(connection, box, command.mailbox)
    if command.qresync is not None:
        connection.tell(_resync(box, command.qresync))
    if command.examine:
        return b"OK [READ-ONLY] EXAMINE completed"
    return b"OK [READ-ONLY] SELECT completed" if box.read_only else b"OK [READ-WRITE] SELECT completed"


def _description(connection: Connection, box: Selected, supplied: str) -> Iterator[bytes]:
    view, live = box.view, box.view.live
    used, unseen = _overview(live)
    yield from _flags(box, used)
    yield b"* %d EXISTS\r\n" % len(view.uids)
    if not connection.rev2:
        # RFC 9051 appendix E: RECENT and UNSEEN are gone from IMAP4rev2; nothing is ever recent here, as in mox.
        yield b"* 0 RECENT\r\n"
        # RFC 9586 section 3: no sequence numbers in any response once UIDONLY is enabled.
        if unseen and not view.uidonly:
            yield b"* OK [UNSEEN %d] first unseen message\r\n" % unseen
    yield b"* OK [UIDVALIDITY %d] UIDs are valid\r\n" % live.uidvalidity
    yield b"* OK [UIDNEXT %d] predicted next UID\r\n" % live.uidnext
    if "CONDSTORE" in connection.offered:
        # RFC 7162 section 3.1.2.1: told with every SELECT, whatever is enabled.
        yield b"* OK [HIGHESTMODSEQ %d] highest modification sequence\r\n" % live.highestmodseq
    if box.mailbox.objectid and "OBJECTID" in connection.offered:
        # RFC 8474 section 4.2
        yield b"* OK [MAILBOXID (%b)] mailbox id\r\n" % box.mailbox.objectid.encode("ascii")
    if "URLAUTH" in connection.offered:
        # RFC 4467 section 8, URLMECH
        yield _URL_MECHANISMS
    if connection.rev2:
        # RFC 9051 section 6.3.2: IMAP4rev2 SELECT has a LIST response, whose attributes must be right, with OLDNAME if need be.
        yield named(connection, box.name, supplied)


def _flags(box: Selected, used: Iterable[MessageFlags]) -> Iterator[bytes]:
    names = {k.lower(): k for flags in used for k in flags.keywords}
    names.update({k.lower(): k for k in _COMMON_KEYWORDS})
    keywords = " ".join(names[k] for k in sorted(names))
    yield f"* FLAGS ({_SYSTEM} {keywords})\r\n".encode("ascii", "replace")
    permanent = "" if box.read_only else _permanent(rights_of(box.mailbox), keywords)
    yield f"* OK [PERMANENTFLAGS ({permanent})] flags that can be changed\r\n".encode("ascii", "replace")


def _news_of_rights(box: Selected) -> Callable[[], Sequence[bytes]]:
    """RFC 4314 section 5.1.1: when the user's rights change, the flags that he can change are told."""
    told = rights_of(box.mailbox)

    def news() -> Sequence[bytes]:
        nonlocal told
        now = rights_of(box.mailbox)
        if now is told:
            return ()
        before, told = told, now
        if flags_within(now) == flags_within(before):
            return ()
        used, _ = _overview(box.view.live)
        return list(_flags(box, used))

    return news


def _permanent(rights: Rights, keywords: str) -> str:
    """RFC 4314 section 5.1.1: PERMANENTFLAGS has what the user's rights let him change."""
    if rights >= WRITING:
        return f"{_SYSTEM} {keywords} \\*"
    system, others = flags_within(rights)
    return " ".join((*MessageFlags.of(system).names, *((keywords, "\\*") if others else ())))


def _overview(live: Any) -> tuple[Iterable[MessageFlags], int]:
    """Of a mailbox: the combinations of flags, and the number of the first message without \\Seen, or 0."""
    if hasattr(live, "overview"):
        known: tuple[Iterable[MessageFlags], int] = live.overview()
        return known
    used = frozenset(live.flags)
    return used, min((live.flags.index(flags) + 1 for flags in used if not flags.system & SEEN), default=0)


def _resync(box: Selected, known: QResync) -> Iterator[Piece]:
    """RFC 7162 section 3.2.5: what vanished and what changed since the client's last visit."""
    mailbox, live = box.mailbox, box.mailbox.view
    if known.uidvalidity != live.uidvalidity:
        # Section 3.2.5: another UIDVALIDITY, so the client's cache is void and the parameters are ignored.
        return
    uids = live.uids
    vanished = _vanished(mailbox, known)
    for start in range(0, len(vanished), _VANISHED_RANGES_A_LINE):
        part = SequenceSet(tuple(vanished[start : start + _VANISHED_RANGES_A_LINE]))
        yield b"* VANISHED (EARLIER) %b\r\n" % part.render()
    wanted: Sequence[tuple[int, int]] = [(0, len(uids))]
    if known.known_uids is not None:
        wanted = known.known_uids.index_ranges(uids)
    modseqs = live.modseqs
    changed = [at for start, stop in wanted for at in range(start, stop) if modseqs[at] > known.modseq]
    yield from box.view.lines(changed, modseq=True)


def _vanished(mailbox: ISelectedMailbox, known: QResync) -> Sequence[tuple[int, int]]:
    """Ranges of UIDs that the client may know and that are gone."""
    live = mailbox.view
    gone, complete = mailbox.expunged_since(known.modseq)
    if complete:
        found = gone if known.known_uids is None else known.known_uids.members(gone)
        return compact_ranges(found)
    # Section 3.2.5.2: the history does not reach back, so everything counts that could once have been there and is not.
    # The highest pair of number and UID that still fits tells up to where the client is in step.
    gaps = _gaps(live.uids, _in_step(known, live.uids) + 1, live.uidnext)
    if known.known_uids is None:
        return gaps
    return _intersection(gaps, sorted(known.known_uids.ranges))


def _gaps(uids: Sequence[int], low: int, end: int) -> list[tuple[int, int]]:
    """Inclusive ranges of what lies between the UIDs, from ``low`` to below ``end``."""
    gaps = []
    for uid in uids:
        if uid > low:
            gaps.append((low, uid - 1))
        low = max(low, uid + 1)
    if low < end:
        gaps.append((low, end - 1))
    return gaps


def _intersection(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What lies in both; each ascending, inclusive."""
    found = []
    i = j = 0
    while i < len(one) and j < len(other):
        low, high = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if low <= high:
            found.append((low, high))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found


def _in_step(known: QResync, uids: Sequence[int]) -> int:
    if known.match is None:
        return 0
    numbers = known.match[0].members(range(1, len(uids) + 1))
    expected = _expand(known.match[1].ranges, len(numbers))
    step = 0
    for number, uid in zip(numbers, expected, strict=False):
        if uids[number - 1] != uid:
            break
        step = uid
    return step


def _expand(ranges: Sequence[tuple[int, int]], most: int) -> Iterator[int]:
    for low, high in ranges:
        for uid in range(low, high + 1):
            if most <= 0:
                return
            most -= 1
            yield uid


def check(connection: Connection, command: Check) -> Answer:
    """CHECK: everything acknowledged is on disk already."""
    return None


async def close(connection: Connection, command: Close) -> Answer:
    r"""CLOSE: removes messages with \Deleted silently, unless the mailbox is read-only, and leaves it."""
    box = connection.box
    # RFC 4314 section 4: without the right e nothing is expunged, and that is no error.
    keep = box.read_only or "e" not in rights_of(box.mailbox)
    uids = [] if keep else connection.deleted(box.view.uids)
    if uids:
        await box.mailbox.expunge(uids)
    # RFC 7162 section 3.2.8: without HIGHESTMODSEQ, for nothing was told of what others did meanwhile.
    connection.leave()
    return None


def unselect(connection: Connection, command: Unselect) -> Answer:
    """UNSELECT: leaves the mailbox as it is."""
    connection.leave()
    return None
