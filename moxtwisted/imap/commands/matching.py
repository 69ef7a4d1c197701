r"""Which messages match a search program.

The tree is evaluated on whole arrays: a key gets the positions that are still in question and returns those that match,
so that a conjunction narrows step by step, what is cheap first. Text conditions are the backend's; the evaluation is a
generator that hands them out and is sent the UIDs that match::

    search = Matching(connection)
    evaluation = search.narrow(key, search.everything)
    question = next(evaluation)                    # TextQuestion(MessageText("subject", "zebra"), [3, 5, 8])
    evaluation.send({5})                           # StopIteration with the positions
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import date
from itertools import chain, compress, starmap
from typing import Any, Final

from attrs import frozen

from moxtwisted.imap.backend import EMAIL, ENVELOPE, INTERNALDATE, SAVEDATE, SIZE, THREAD, MessageText
from moxtwisted.imap.connection import Connection, Selected
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.sequence import SequenceSet
from moxtwisted.message.flags import SYSTEM_FLAGS, MessageFlags
from moxtwisted.message.places import places_of

__all__ = ["Matching", "TextQuestion", "has_text", "is_fuzzy", "matches", "wants_modseq", "weight"]

_Positions = Sequence[int]
_DAY: Final = 86400
_EPOCH: Final = date(1970, 1, 1).toordinal()
_ROWS_A_CALL: Final = 1000
# Messages times keys that are looked at before others have their turn, and how long that may take altogether.
_STEPS_A_TURN: Final = 20_000
_TURN_SECONDS: Final = 0.01
_SYSTEM_BITS: Final = {name.lower(): bit for bit, name in SYSTEM_FLAGS.items()}

# The date as ENVELOPE has it: quoted or as a literal, the zone as the sender wrote it (RFC 9051 section 6.4.4, SENTON:
# time and zone are disregarded).
_SENT: Final = re.compile(
    rb'\((?:"|\{\d+\}\r\n)\s*(?:[A-Za-z]+\s*,)?\s*(\d{1,2})[\s-]+'
    rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[\s-]+(\d{2,4})",
    re.IGNORECASE,
)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}


@frozen
class TextQuestion:
    """A condition for ``ISelectedMailbox.search_text<moxtwisted.imap.backend.ISelectedMailbox.search_text>``."""

    term: MessageText
    uids: Sequence[int]
    fuzzy: bool = False


_Question = TextQuestion | None
"""None: nothing is asked, others may have their turn; to be answered with any set."""

_Found = set[int] | Mapping[int, int]
"""UIDs that match; with their relevancy, of a fuzzy question."""

_Evaluation = Generator[_Question, _Found, _Positions]


def is_fuzzy(key: k.SearchKey) -> bool:
    """Whether anything in the program is to be matched nearly."""
    return any(isinstance(sub, k.Fuzzy) for sub in k.subkeys(key))


def _term(key: k.HeaderContains | k.BodyContains | k.TextContains) -> MessageText:
    match key:
        case k.HeaderContains(name, text):
            return MessageText(name.lower(), text)
        case k.BodyContains(text):
            return MessageText("body", text)
        case k.TextContains(text):
            return MessageText("text", text)


def has_text(key: k.SearchKey) -> bool:
    """Whether the program has a text condition, so that it must wait for the backend."""
    return any(isinstance(sub, k.HeaderContains | k.BodyContains | k.TextContains) for sub in k.subkeys(key))


def weight(key: k.SearchKey) -> int:
    """How much work it is to look whether one message matches, in simple keys."""
    steps = 0
    for sub in k.subkeys(key):
        match sub:
            case k.UidIn(numbers) | k.NumberIn(numbers):
                steps += 1 + len(numbers.ranges) // 100
            case _:
                steps += 1
    return steps


def wants_modseq(key: k.SearchKey) -> bool:
    """Whether the program has MODSEQ in it, so that the answer has one too (RFC 7162 section 3.1.5)."""
    return any(isinstance(sub, k.ModSeqAtLeast) for sub in k.subkeys(key))


def _cost(key: k.SearchKey) -> int:
    match key:
        case k.Not(inner) | k.Fuzzy(inner):
            return _cost(inner)
        case k.And(keys):
            return max(map(_cost, keys))
        case k.Or(left, right):
            return max(_cost(left), _cost(right))
        case k.HeaderContains() | k.BodyContains() | k.TextContains():
            return 3
        case k.SentDate():
            return 2
        case k.InternalDate() | k.SavedDate() | k.Younger() | k.Older() | k.Larger() | k.Smaller():
            return 1
        case k.EmailIdIs() | k.ThreadIdIs():
            return 1
        case _:
            return 0


class Matching:
    """One search in a mailbox, as it is when this is made.

    :param box: another one than the selected mailbox.
    :ivar mailbox: where the text conditions are asked.
    :ivar everything: the positions of all messages that exist.
    :ivar uids, flags, modseqs: by position in the session's view.
    """

    def __init__(self, connection: Connection, box: Selected | None = None) -> None:
        self._connection = connection
        self._box = box or connection.box
        self.mailbox = self._box.mailbox
        self._now = int(connection.clock.seconds())
        view = self._box.view
        live = view.live
        self.uids: array[int] = view.uids
        self.everything: _Positions = range(len(view.uids))
        self._columns: dict[int, dict[int, Any]] = {}
        self._scores: dict[int, list[int]] = {}
        self._kinds: set[MessageFlags] | None = None
        self._steps = 0
        if view.current:
            self.flags: Sequence[MessageFlags] = live.flags
            self.modseqs: Sequence[int] = live.modseqs
        else:
            self._align()

    def _align(self) -> None:
        """Bring the mailbox's arrays in line with a view that has messages which are gone already."""
        live = self._box.view.live
        where = {uid: at for at, uid in enumerate(live.uids)}
        self.everything = [at for at, uid in enumerate(self.uids) if uid in where]
        gone = MessageFlags.of(0)
        self.flags = [live.flags[where[uid]] if uid in where else gone for uid in self.uids]
        self.modseqs = [live.modseqs[where[uid]] if uid in where else 0 for uid in self.uids]

    def keep_newest(self, key: k.SearchKey, most: int) -> int | None:
        """Look at the newest messages only, if there are more than ``most`` of those that the program names by sets.

        :return: the lowest UID that is looked at; None when nothing is left out.
        """
        at = self.everything
        for sub in key.keys if isinstance(key, k.And) else (key,):
            if len(at) <= most:
                return None
            at = self.named(sub, at)
        if len(at) <= most:
            return None
        self.everything = at[-most:]
        return self.uids[self.everything[0]]

    def named(self, key: k.SearchKey, at: _Positions) -> _Positions:
        """Those of the positions that a key names by numbers; all for any other key."""
        match key:
            case k.UidIn(SequenceSet(saved=True)) | k.NumberIn(SequenceSet(saved=True)):
                return self._saved(at)
            case k.UidIn(wanted):
                return _within(self._uid_ranges(wanted), at)
            case k.NumberIn(wanted):
                return _within(self._number_ranges(wanted), at)
            case k.UidAfter(uid):
                return _within([(bisect_right(self.uids, uid), len(self.uids))], at)
            case k.UidBefore(uid):
                return _within([(0, bisect_left(self.uids, uid))], at)
            case _:
                return at

    def narrow(self, key: k.SearchKey, at: _Positions) -> _Evaluation:
        """Those of the positions ``at`` (ascending) whose messages match."""
        if not at:
            return at
        self._steps += len(at)
        if self._steps > _STEPS_A_TURN:
            self._steps = 0
            yield None
        match key:
            case k.And(keys):
                for sub in sorted(keys, key=_cost):
                    at = yield from self.narrow(sub, at)
                return at
            case k.Or(left, right):
                if _cost(right) < _cost(left):
                    left, right = right, left
                found = set((yield from self.narrow(left, at)))
                rest = [i for i in at if i not in found]
                found.update((yield from self.narrow(right, rest)))
                return [i for i in at if i in found]
            case k.Not(inner):
                found = set((yield from self.narrow(inner, at)))
                return [i for i in at if i not in found]
            case k.Fuzzy(inner):
                return (yield from self._nearly(inner, at))
            case k.HeaderContains() | k.BodyContains() | k.TextContains():
                return (yield from self._text(_term(key), at))
            case _:
                return (yield from self._simple(key, at))

    def _text(self, term: MessageText, at: _Positions, *, fuzzy: bool = False) -> _Evaluation:
        uids = self.uids
        matching = yield TextQuestion(term, [uids[i] for i in at], fuzzy)
        if isinstance(matching, Mapping):
            for uid, score in matching.items():
                self._scores.setdefault(uid, []).append(score)
        return [i for i in at if uids[i] in matching]

    def _nearly(self, key: k.SearchKey, at: _Positions) -> _Evaluation:
        """RFC 6203: text is matched nearly, everything else, and what is denied, as ever (section 5 leaves that to us)."""
        if not at:
            return at
        match key:
            case k.And(keys):
                for sub in sorted(keys, key=_cost):
                    at = yield from self._nearly(sub, at)
                return at
            case k.Or(left, right):
                # Both: a message may be more relevant for the one.
                found = set((yield from self._nearly(left, at)))
                found.update((yield from self._nearly(right, at)))
                return [i for i in at if i in found]
            case k.Fuzzy(inner):
                return (yield from self._nearly(inner, at))
            case k.HeaderContains() | k.BodyContains() | k.TextContains():
                return (yield from self._text(_term(key), at, fuzzy=True))
            case _:
                return (yield from self.narrow(key, at))

    def relevancy(self, positions: _Positions) -> list[int]:
        """How relevant messages are that matched: 1 to 100. The average of what was matched nearly, 100 without that."""
        scores, uids = self._scores, self.uids
        return [sum(s) // len(s) if (s := scores.get(uids[i])) else 100 for i in positions]

    def _simple(self, key: k.SearchKey, at: _Positions) -> _Evaluation:
        """A key that is answered from the arrays or from columns."""
        match key:
            case k.HasFlag(flag, present):
                return self._with_flag(flag, present, at)
            case k.UidIn() | k.NumberIn() | k.UidAfter() | k.UidBefore():
                return self.named(key, at)
            case k.ModSeqAtLeast(modseq):
                return [i for i in at if self.modseqs[i] >= modseq]
            case k.Everything() | k.SaveDateSupported():
                return at
            case _:
                column, matches = self._test(key)
                values = yield from self._column(column, at)
                uids = self.uids
                # A message that went meanwhile has no value and matches nothing.
                return [i for i in at if (value := values.get(uids[i])) is not None and matches(value)]

    def _number_ranges(self, wanted: SequenceSet) -> list[tuple[int, int]]:
        # We ask for less than RFC 9051 section 9, seq-number, would let us: a search for a message that is not there finds
        # nothing, which is what clients mean that look into an empty mailbox.
        return wanted.number_ranges(len(self.uids))

    def _uid_ranges(self, wanted: SequenceSet) -> list[tuple[int, int]]:
        self._steps += len(wanted.ranges)
        return wanted.index_ranges(self.uids)

    def _saved(self, at: _Positions) -> _Positions:
        """Those of ``$``."""
        if self._box is not self._connection.selected:
            # RFC 5182 section 2.1: it is of the selected mailbox.
            return []
        places = places_of(self.uids, self._connection.saved)
        if isinstance(at, range) and len(at) == len(self.uids):
            return places
        saved = set(places)
        return [i for i in at if i in saved]

    def _with_flag(self, flag: str, present: bool, at: _Positions) -> _Positions:
        flags = self.flags
        if len(at) < len(flags) // 4:
            kinds = {flags[i] for i in at}
        else:
            kinds = self._kinds = set(flags) if self._kinds is None else self._kinds
        bit = _SYSTEM_BITS.get(flag.lower(), 0)
        name = flag.lower()
        verdict = {
            f: (bool(f.system & bit) if name[:1] == "\\" else any(w.lower() == name for w in f.keywords))
            is present
            for f in kinds
        }
        verdicts = set(verdict.values())
        if len(verdicts) == 1:
            return at if True in verdicts else ()
        if len(at) == len(flags):
            return list(compress(at, map(verdict.__getitem__, flags)))
        return [i for i in at if verdict[flags[i]]]

    def _test(self, key: k.SearchKey) -> tuple[int, Callable[[Any], bool]]:
        """Which column decides, and how."""
        now = self._now
        match key:
            case k.Larger(octets):
                return SIZE, lambda size: size > octets
            case k.Smaller(octets):
                return SIZE, lambda size: size < octets
            case k.InternalDate(comparison, day):
                return INTERNALDATE, _by_day(comparison, day)
            case k.SavedDate(comparison, day):
                return SAVEDATE, _by_day(comparison, day)
            case k.SentDate(comparison, day):
                return ENVELOPE, _by_sent(comparison, day)
            case k.Younger(seconds):
                # RFC 5032 section 3: "within" the interval.
                return INTERNALDATE, lambda at: at >= now - seconds
            case k.Older(seconds):
                return INTERNALDATE, lambda at: at <= now - seconds
            case k.EmailIdIs(object_id):
                return EMAIL, lambda number: f"M{number}" == object_id
            case k.ThreadIdIs(object_id):
                return THREAD, lambda number: f"T{number}" == object_id
            case _:
                raise NotImplementedError(type(key).__name__)

    def _column(self, column: int, at: _Positions) -> Generator[_Question, _Found, dict[int, Any]]:
        """A column by UID, for these positions at least."""
        values = self._columns.setdefault(column, {})
        uids = self.uids
        missing = [uids[i] for i in at if uids[i] not in values]
        for start in range(0, len(missing), _ROWS_A_CALL):
            if start:
                yield None
            values.update(self.mailbox.rows(missing[start : start + _ROWS_A_CALL], column))
        return values


async def matches(connection: Connection, matching: Matching, key: k.SearchKey) -> Sequence[int]:
    """The positions that match, ascending; others have their turns meanwhile."""
    mailbox = matching.mailbox
    evaluation = matching.narrow(key, matching.everything)
    nothing: set[int] = set()
    seconds, pause = connection.clock.seconds, connection.pause
    began = seconds()
    try:
        question = next(evaluation)
        while True:
            if question is not None:
                search = mailbox.search_fuzzy if question.fuzzy else mailbox.search_text  # type: ignore[attr-defined]
                found: _Found = await search(question.term, question.uids)
            else:
                found = nothing
            # The backend may have known at once, and the next question is another piece of work.
            if pause is not None and (question is None or seconds() - began > _TURN_SECONDS):
                await pause(0)
                began = seconds()
            question = evaluation.send(found)
    except StopIteration as end:
        positions: Sequence[int] = end.value
        return positions


def _within(ranges: Sequence[tuple[int, int]], at: _Positions) -> _Positions:
    """Those of ``at`` that lie in the ranges."""
    if isinstance(at, range) and ranges and at.start <= ranges[0][0] and ranges[-1][1] <= at.stop:
        # All that the ranges have, which ascend.
        return range(*ranges[0]) if len(ranges) == 1 else list(chain.from_iterable(starmap(range, ranges)))
    found: list[int] = []
    for start, stop in ranges:
        found += at[bisect_left(at, start) : bisect_left(at, stop)]
    return found


def _compare(comparison: k.Comparison, day: int) -> Callable[[int], bool]:
    match comparison:
        case k.Comparison.BEFORE:
            return lambda value: value < day
        case k.Comparison.ON:
            return lambda value: value == day
        case _:
            return lambda value: value >= day


def _by_day(comparison: k.Comparison, day: date) -> Callable[[Any], bool]:
    # We tell internal dates in UTC, so days are days of UTC.
    compare = _compare(comparison, day.toordinal() - _EPOCH)
    return lambda seconds: compare(seconds // _DAY)


def _by_sent(comparison: k.Comparison, day: date) -> Callable[[Any], bool]:
    compare = _compare(comparison, day.toordinal())

    def matches(envelope: bytes) -> bool:
        found = _SENT.match(envelope)
        if found is None:
            return False
        year = int(found[3])
        if len(found[3]) < 4:
            # RFC 5322 section 4.3: two digits below 50 are 20nn, other short years count from 1900.
            year += 2000 if len(found[3]) == 2 and year < 50 else 1900
        try:
            sent = date(year, _MONTHS[found[2].lower()], int(found[1])).toordinal()
        except ValueError:
            return False
        return compare(sent)

    return matches
