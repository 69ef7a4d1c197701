r"""What one session believes the selected mailbox to be: its sequence numbers.

The mailbox itself changes whenever somebody delivers, flags or expunges. A session may be told of most changes at
any time, but of an expunge only when no command with sequence numbers is under way (RFC 9051 section 7.5.1), because
every number after it shifts. So a session keeps its own list of UIDs; as long as it is up to date that is the very
array of the mailbox, and costs nothing::

    view = SessionView(mailbox.view)
    view.uids[4]                                     # the UID of message 5, whatever happened meanwhile
    view.sync(allow_expunge=False, modseq=False, vanished=False)
        -> [b"* 12 EXISTS\r\n", b"* 3 FETCH (UID 7 FLAGS (\\Seen))\r\n"]
    view.sync(allow_expunge=True, modseq=False, vanished=False)
        -> [b"* 5 EXPUNGE\r\n"]

After ENABLE UIDONLY (RFC 9586) messages are told by UID: whoever writes an untagged FETCH takes ``lines``, or ``head`` and the
UID instead of the sequence number.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from moxtwisted.imap.backend import IMailboxView
from moxtwisted.imap.lines import MANY, Piece, Told, expunged_lines, in_pieces, message_lines, render_flags
from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.sequence import compact_ascending
from moxtwisted.message.flags import MessageFlags
from moxtwisted.message.places import pick, places_of

__all__ = ["Findings", "IViewObserver", "SessionView"]

# RFC 7162 section 3.2.10 lets a VANISHED response be cut into several; lines stay within what clients buffer.
_VANISHED_UIDS_A_LINE = 1000


@frozen
class Findings:
    """What an observer found out; sequence numbers are those of now, so it is to be said before the next ``SessionView.sync``.

    :ivar lines: responses.
    :ivar wanted: by UID of a message that is new, lists of the data items that are wanted of it.
    """

    lines: Sequence[bytes] = ()
    wanted: Mapping[int, tuple[tuple[FetchAttribute, ...], ...]] = field(factory=dict)


class IViewObserver(Protocol):
    """Adds responses to those of ``SessionView.sync``."""

    @property
    def long(self) -> bool:
        """Whether ``going`` takes long, so that ``foresee`` is to be awaited before ``sync`` where that is possible."""

    async def foresee(self) -> None:
        """Say now what ``going`` would say of the messages that are gone."""

    @property
    def pending(self) -> bool:
        """Whether there is more to say, which ``evaluate`` finds out."""

    async def evaluate(self) -> Findings:
        """Find it out."""

    def caused(self, uids: Iterable[int]) -> None:
        """This session itself made these messages."""

    def going(self, view: SessionView, uids: Iterable[int]) -> list[bytes]:
        """Before EXPUNGE or VANISHED; sequence numbers are still those of before."""

    def changed(self, view: SessionView, flagged: Iterable[int], new: Sequence[int]) -> list[bytes]:
        """After EXISTS and FETCH: messages that have other flags, and those that are new."""


class SessionView:
    """One session's sequence numbers for one mailbox.

    :ivar live: the mailbox as it is now.
    :ivar uids: UIDs by sequence number - 1; includes expunged messages that the client was not told of yet.
    :ivar uidonly: whether the client enabled UIDONLY: it is told no sequence numbers.
    :ivar observer: who has something to say of each change that is told.
    """

    __slots__ = (
        "_complete",
        "_lagging",
        "_modseq",
        "_spared",
        "_told",
        "_version",
        "live",
        "observer",
        "uidonly",
        "uids",
    )

    def __init__(self, live: IMailboxView, *, uidonly: bool = False) -> None:
        self.live = live
        self.uidonly = uidonly
        self.observer: IViewObserver | None = None
        self.uids: array[int] = live.uids
        self._version: int = live.version
        self._modseq: int = live.highestmodseq
        self._lagging = False
        #: Some changed flags were not told, and will not be.
        self._spared = False
        #: All changes up to this modseq were told; of those up to ``_modseq`` some may have been held back.
        self._complete: int = live.highestmodseq
        self._told: dict[int, tuple[MessageFlags, int]] | None = None

    @property
    def complete(self) -> int:
        """The modseq up to which the client was told all changes; see ``behind``."""
        return self._complete

    @property
    def behind(self) -> bool:
        """Whether there are changes after ``complete``, of which the client was told some at most.

        Who resynchronizes by the MODSEQs of those would never hear of the others (RFC 7162 section 3.2).
        """
        live = self.live
        held = self._lagging or self._spared or live.version != self._version
        return bool(held and live.exists and self._complete < live.highestmodseq)

    @property
    def withheld(self) -> bool:
        """Whether the client was told of changes after ``complete``, and not of all."""
        return self.live.exists and self._complete < self._modseq

    @property
    def current(self) -> bool:
        """Whether ``uids`` is the mailbox's own array, so that positions are the same in both."""
        return self.uids is self.live.uids

    def known(self, told: Iterable[tuple[int, MessageFlags, int]]) -> None:
        """The client believes these messages (uid, flags, modseq) to be so, because it was told or changed them itself:
        the next ``sync`` does not repeat what is so."""
        if self._told is None:
            self._told = {}
        self._told.update([(uid, (flags, modseq)) for uid, flags, modseq in told])

    def untold(self) -> set[int]:
        """UIDs whose flags changed since the last ``sync``, and are not ``known``."""
        live, since = self.live, self._modseq
        if live.version == self._version:
            return set()
        changes = live.changes_since(self._version)
        if changes is None:
            flagged: Sequence[int] = [
                uid for uid, at in zip(live.uids, live.modseqs, strict=True) if at > since
            ]
        else:
            flagged = changes[1]
        if self._told:
            # As long as NOTIFY lets nothing be told of the mailbox, the session's own changes come together here.
            flagged = [live.uids[at] for at in self._unknown(sorted(flagged))]
        return set(flagged)

    def leaving(self) -> set[int]:
        """UIDs of messages that are gone, and of which the client was not told so yet."""
        live = self.live
        if live.version == self._version and not self._lagging:
            return set()
        gone, _flagged = self._changes(self.uids, live.uids if live.exists else array("I"), 0)
        return {self.uids[at] for at in gone}

    def believed(self) -> int | None:
        """The version of the mailbox, when the client was told everything up to it; for ``caught_up``."""
        return self._version if self._version == self.live.version and not self._lagging else None

    def caught_up(self, believed: int | None, modseq: int) -> bool:
        """The client knows of the change with this modseq, all of it. If it is the only one since ``believed``, there is nothing
        left to be told, and what it was told need not be noted one by one."""
        live = self.live
        if (
            self.observer is not None
            or believed != self._version
            or live.version != self._version + 1
            or live.highestmodseq != modseq
        ):
            return False
        self._version, self._modseq = live.version, modseq
        if not self._spared:
            self._complete = modseq
        return True

    def position(self, uid: int) -> int | None:
        """Where ``uid`` stands in ``uids``, from 0, or None."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else None

    def live_positions(self, uids: Sequence[int]) -> Sequence[int]:
        """Positions in the mailbox's arrays of those of ``uids`` (ascending) that still exist."""
        return places_of(self.live.uids, uids)

    def sync(self, *, allow_expunge: bool, modseq: bool, vanished: bool, flags: bool = True) -> list[Piece]:
        """Catch up with the mailbox.

        :param allow_expunge: whether sequence numbers may shift now.
        :param modseq: whether FETCH responses carry MODSEQ (CONDSTORE was enabled).
        :param vanished: whether expunges are told by UID (QRESYNC was enabled); with UIDONLY they always are.
        :param flags: whether changed flags are told (RFC 5465 section 5.1 lets a client do without).
        :return: untagged responses: EXPUNGE or VANISHED, then EXISTS, then FETCH, as ``Connection.out`` takes them.
        """
        live = self.live
        if live.version == self._version and not (self._lagging and allow_expunge):
            return []
        # A mailbox that was removed has no messages, whatever its arrays still hold.
        old, now = self.uids, live.uids if live.exists else array("I")
        last = old[-1] if old else 0
        gone, flagged = self._changes(old, now, last)
        self._version, self._modseq = live.version, live.highestmodseq
        first_new = bisect_right(now, last)
        responses: list[Piece] = []
        if gone and not allow_expunge:
            self._lagging = True
            if first_new < len(now):
                self.uids = old + now[first_new:]
        else:
            if gone:
                if self.observer is not None:
                    responses += self.observer.going(self, pick(old, gone))
                responses += _vanished(pick(old, gone)) if vanished or self.uidonly else _expunged(gone)
            self._lagging = False
            self.uids = now
        if first_new < len(now):
            responses.append(b"* %d EXISTS\r\n" % len(self.uids))
        untold = self._unknown(flagged) if flagged else ()
        if untold and flags:
            # RFC 7162 section 3.2: once CONDSTORE is enabled, every untagged FETCH carries the MODSEQ.
            responses += self.lines(untold, modseq=modseq)
        self._spared = self._spared or bool(untold and not flags)
        if not (self._lagging or self._spared):
            self._complete = self._modseq
        self._told = None
        if self.observer is not None:
            responses += self.observer.changed(self, flagged, now[first_new:])
        return responses

    def _changes(self, old: array[int], now: array[int], last: int) -> tuple[Sequence[int], Sequence[int]]:
        """Positions in ``old`` of what is gone, and known UIDs with other flags."""
        live = self.live
        changes = live.changes_since(self._version)
        if changes is None:
            # The mailbox does not remember: every message with a later modseq may have other flags.
            since = self._modseq
            modseqs = live.modseqs if now else ()
            flagged: Sequence[int] = [
                uid for uid, at in zip(now, modseqs, strict=True) if at > since and uid <= last
            ]
        else:
            flagged = changes[1]
            if flagged and flagged[-1] > last:
                flagged = flagged[: bisect_right(flagged, last)]
        if changes is None or self._lagging or not live.exists:
            if not now:
                return range(len(old)), flagged
            there = set(now)
            return [at for at, uid in enumerate(old) if uid not in there], flagged
        return places_of(old, changes[0]), flagged

    def _unknown(self, flagged: Sequence[int]) -> Sequence[int]:
        """Positions in the mailbox's arrays of those whose flags the client does not know."""
        live, told = self.live, self._told
        positions = self.live_positions(flagged)
        if told:
            uids, flags, modseqs = live.uids, live.flags, live.modseqs
            positions = [at for at in positions if told.get(uids[at]) != (flags[at], modseqs[at])]
        return positions

    @property
    def head(self) -> bytes:
        """How an untagged FETCH begins, to be formatted with the sequence number or, with UIDONLY, the UID."""
        # RFC 9586 section 3.3: UIDFETCH has the same items behind the UID.
        return b"* %d UIDFETCH (" if self.uidonly else b"* %d FETCH ("

    def lines(
        self, positions: Sequence[int], *, uid: bool = True, flags: bool = True, modseq: bool = False
    ) -> list[Piece]:
        """Untagged FETCH responses about messages, without those that the client does not know of yet; when they are many,
        some hundred together.

        :param positions: in the mailbox's arrays, ascending.
        :param uid: tell the UID (with UIDONLY it stands in front anyway).
        """
        live = self.live
        if not positions:
            return []
        uids, own = pick(live.uids, positions), positions
        if not self.current:
            own = places_of(self.uids, uids)
            if len(own) < len(uids):
                known = set(pick(self.uids, own))
                positions = [at for at in positions if live.uids[at] in known]
                uids = pick(live.uids, positions)
        numbers = uids if self.uidonly else _after(own)
        if len(numbers) >= MANY:
            told = Told(
                uids if uid and not self.uidonly else None,
                pick(live.flags, positions) if flags else None,
                pick(live.modseqs, positions) if modseq else None,
            )
            return in_pieces(_told_lines, len(numbers), (self.head, numbers, told))
        columns: list[Sequence[object]] = [numbers]
        items = []
        if uid and not self.uidonly:
            items.append(b"UID %d")
            columns.append(uids)
        if flags:
            items.append(b"FLAGS %b")
            of_each = pick(live.flags, positions)
            rendered = {f: render_flags(f) for f in set(of_each)}
            columns.append([rendered[f] for f in of_each])
        if modseq:
            items.append(b"MODSEQ (%d)")
            columns.append(pick(live.modseqs, positions))
        template = self.head + b" ".join(items) + b")\r\n"
        return [template % row for row in zip(*columns, strict=True)]


def _told_lines(what: tuple[bytes, Sequence[int], Told], start: int, stop: int) -> bytes:
    """Untagged FETCH responses of some: how each begins, all numbers, and what is told."""
    head, numbers, told = what
    return message_lines(head, numbers[start:stop], told.part(start, stop))


def _after(positions: Sequence[int]) -> Sequence[int]:
    """The sequence numbers of these positions."""
    if isinstance(positions, range) and positions.step == 1:
        return range(positions.start + 1, positions.stop + 1)
    return [at + 1 for at in positions]


def _expunged(gone: Sequence[int]) -> Sequence[Piece]:
    # RFC 9051 section 7.5.1: each EXPUNGE shifts the numbers above it at once; told from the highest down, none does.
    if len(gone) < MANY:
        return [b"* %d EXPUNGE\r\n" % (at + 1) for at in reversed(gone)]
    return in_pieces(_expunged_lines, len(gone), gone)


def _expunged_lines(gone: Sequence[int], start: int, stop: int) -> bytes:
    """Of some, counted from the end."""
    count = len(gone)
    return expunged_lines(_after(gone[count - stop : count - start]))


def _vanished(gone: Sequence[int]) -> Sequence[Piece]:
    """:param gone: UIDs."""
    return in_pieces(_vanished_line, len(gone), gone, _VANISHED_UIDS_A_LINE)


def _vanished_line(gone: Sequence[int], start: int, stop: int) -> bytes:
    return b"* VANISHED %b\r\n" % compact_ascending(gone[start:stop])
