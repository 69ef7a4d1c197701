r"""Results of searches that are kept up to date: UPDATE and CANCELUPDATE (CONTEXT=SEARCH, CONTEXT=SORT, RFC 5267).

A search with UPDATE leaves a ``Context`` behind, which looks over the shoulder of the session's view: what the client is told of a
change, it is told of what that means for its results as well::

    C: B01 UID SEARCH RETURN (UPDATE COUNT) DELETED KEYWORD $Junk
    S: * ESEARCH (TAG "B01") UID COUNT 74
    S: B01 OK SEARCH completed
    S: * 23762 FETCH (UID 32768 FLAGS (\Deleted $Junk))
    S: * ESEARCH (TAG "B01") UID ADDTO (0 32768)
    C: B04 CANCELUPDATE "B01"

What can be told from the arrays is told at once. Programs with text conditions, and results in an order, have to ask the backend: their
changes are noted, and ``evaluate`` finds them out before the next tagged response, or while the client idles. So it is with all that new
messages mean when the client wants data items of those that match (``UPDATE (FLAGS)``, RFC 5465 section 7): the items come first. Where the
results are long, ``foresee`` takes messages that are gone out of them before it is told that they are gone, one result after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Final

from attrs import define, evolve, field

from moxtwisted.errors import MailError
from moxtwisted.imap.commands.matching import Matching, has_text, matches, weight
from moxtwisted.imap.commands.ordering import load_keys, take_turns
from moxtwisted.imap.commands.results import Results, origin_of
from moxtwisted.imap.connection import Answer, Connection, RefusalError
from moxtwisted.imap.view import Findings, SessionView
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.commands import CancelUpdate
from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.returnoptions import ReturnOptions, update_of
from moxtwisted.imap.wire.sequence import SequenceSet, compact
from moxtwisted.imap.wire.sortcriteria import SortCriterion, SortKey
from moxtwisted.message.stepsort import sort_in_steps

__all__ = ["Contexts", "cancel_update", "check_update", "keep_updated", "without_numbers"]

# So many changed messages are looked at in one go.
_AT_ONCE: Final = 1000
# So many results of all searches are looked through in one go.
_RESULTS_AT_ONCE: Final = 20_000
# Programs with more keys than this wait for ``evaluate``, which lets others have their turns.
_MOST_KEYS: Final = 10
# New messages whose data items are still to be told, of one search; and what this connection made itself.
_MOST_NEW: Final = 10_000
_MOST_OWN: Final = 20_000
# Of results in an order the values that they are sorted by are kept; longer ones are not kept up to date.
_MOST_SORTED: Final = 20_000


@define(eq=False)
class Context:
    """One search.

    :ivar origin: tells what stands behind the tag in responses now: others may rename the mailbox.
    :ivar key: with all numbers replaced by UIDs, as they were when the command came (RFC 5267 section 4.3).
    :ivar uids: of the results.
    :ivar order: the same in the order of ``criteria``; empty without them.
    :ivar values: by UID, what it is sorted by.
    :ivar attributes: what is told of new messages.
    :ivar pending: UIDs that may be in the results now, or no longer.
    :ivar fresh: those of them that are new messages, with ``attributes``.
    :ivar star: whether it matters which message is the last.
    """

    tag: bytes
    origin: Callable[[], bytes]
    uid: bool
    key: k.SearchKey
    uids: set[int]
    criteria: tuple[SortCriterion, ...] = ()
    order: list[int] = field(factory=list)
    values: dict[int, tuple[Any, ...]] = field(factory=dict)
    attributes: tuple[FetchAttribute, ...] = ()
    pending: set[int] = field(factory=set)
    fresh: set[int] = field(factory=set)
    waits: bool = False
    star: bool = False

    def line(
        self, view: SessionView, parts: Sequence[tuple[bytes, Iterable[tuple[int, Sequence[int]]]]]
    ) -> bytes:
        """An ESEARCH response with (word, pairs of position and UIDs)."""
        words = [b'* ESEARCH (TAG "%b"%b)' % (self.tag, self.origin())]
        if self.uid:
            words.append(b"UID")
        for word, pairs in parts:
            told = b" ".join([b"%d %b" % (at, compact(self._numbers(view, uids))) for at, uids in pairs])
            words.append(b"%b (%b)" % (word, told))
        return b" ".join(words) + b"\r\n"

    def _numbers(self, view: SessionView, uids: Sequence[int]) -> Sequence[int]:
        if self.uid:
            return uids
        return [at + 1 for uid in uids if (at := view.position(uid)) is not None]

    def removed(self, view: SessionView, gone: set[int]) -> list[bytes]:
        """Take UIDs out of the results."""
        gone &= self.uids
        if not gone:
            return []
        self.uids -= gone
        if not self.criteria:
            # RFC 5267 section 4.3.4: position 0 is wherever they are.
            return [self.line(view, [(b"REMOVEFROM", [(0, sorted(gone))])])]
        runs = _runs(self.order, gone)
        self.order = [uid for uid in self.order if uid not in gone]
        for uid in gone:
            del self.values[uid]
        # From the end, so that no position moves before its turn.
        return [self.line(view, [(b"REMOVEFROM", reversed(runs))])]

    def added(self, view: SessionView, new: set[int], order: Sequence[int]) -> list[bytes]:
        """Put UIDs among the results.

        :param order: these and the other results, in order; some of them may have gone since. Nothing without ``criteria``.
        """
        new -= self.uids
        if not new:
            return []
        self.uids |= new
        if not self.criteria:
            return [self.line(view, [(b"ADDTO", [(0, sorted(new))])])]
        self.order = [uid for uid in order if uid in self.uids]
        return [self.line(view, [(b"ADDTO", _runs(self.order, new))])]

    def sorting(self, uids: set[int]) -> Generator[None, None, list[int]]:
        """UIDs in order, in steps; their ``values`` are there."""
        # Between the steps some may be taken away.
        values = {uid: self.values[uid] for uid in uids}
        order = sorted(uids)
        for at, criterion in reversed(list(enumerate(self.criteria))):
            if len(order) > _AT_ONCE:
                yield
            column = {uid: row[at] for uid, row in values.items()}
            order = yield from sort_in_steps(order, column.__getitem__, reverse=criterion.reverse)
        return order


def _runs(order: Sequence[int], wanted: set[int]) -> list[tuple[int, list[int]]]:
    """Where wanted ones stand in the order, from 1: each run of them with its first position."""
    runs: list[tuple[int, list[int]]] = []
    last = -1
    for at, uid in enumerate(order, 1):
        if uid in wanted:
            if last == at - 1:
                runs[-1][1].append(uid)
            else:
                runs.append((at, [uid]))
            last = at
    return runs


@define(eq=False)
class _Found:
    """What was found out about some results.

    :ivar touched: messages that were looked at.
    :ivar fresh: those of them that are new, and of which data items are wanted.
    :ivar matching: those that belong to the results.
    :ivar order: these and the other results, if they have an order and some are added.
    """

    context: Context
    touched: set[int]
    fresh: set[int]
    matching: set[int]
    order: Sequence[int] = ()


@define(eq=False)
class Contexts:
    """The searches of the selected mailbox that are kept up to date.

    :ivar by_tag: by the tag of their command.
    """

    _connection: Connection
    by_tag: dict[bytes, Context] = field(factory=dict)
    _own: set[int] = field(factory=set)
    _evaluating: bool = False
    _last: int = 0

    @property
    def pending(self) -> bool:
        """Whether ``evaluate`` has something to do."""
        return any(context.pending for context in self.by_tag.values())

    @property
    def long(self) -> bool:
        """Whether looking through all results takes so long that others should have their turn meanwhile."""
        return sum([len(context.uids) for context in self.by_tag.values()]) > _RESULTS_AT_ONCE

    # -- for the view ------------------------------------------------------------------------------------------
    def going(self, view: SessionView, uids: Iterable[int]) -> list[bytes]:
        """Responses before messages are told to be gone; their numbers are still valid."""
        responses: list[bytes] = []
        gone = set(uids)
        for context in self.by_tag.values():
            context.pending -= gone
            context.fresh -= gone
            responses += context.removed(view, gone.copy())
        return responses

    def caused(self, uids: Iterable[int]) -> None:
        """The client made these messages itself."""
        if len(self._own) < _MOST_OWN:
            self._own.update(uids)

    def changed(self, view: SessionView, flagged: Iterable[int], new: Sequence[int]) -> list[bytes]:
        """Responses after messages are told to be there, or to have other flags."""
        responses: list[bytes] = []
        touched = {*flagged, *new}
        # RFC 5465 section 7: data items come before changes of any results.
        held = self._evaluating or (len(new) > 0 and any(c.attributes for c in self.by_tag.values()))
        # RFC 5465 section 5.2: none of what this connection made itself.
        fresh = {uid for uid in new if uid not in self._own} if held else set()
        self._own.clear()
        changed, ends = touched, self.ends(view)
        matching: Matching | None = None
        for context in list(self.by_tag.values()):
            touched = changed | ends if context.star else changed
            if context.attributes and len(context.fresh) + len(fresh) > _MOST_NEW:
                responses.append(self.give_up(context, "too much happened"))
            elif held or context.waits or context.pending or len(touched) > _AT_ONCE:
                context.pending |= touched
                context.fresh |= fresh if context.attributes else set()
            else:
                matching = matching or Matching(self._connection)
                evaluation = matching.narrow(context.key, _positions(view, touched))
                try:
                    while True:
                        next(evaluation)
                except StopIteration as end:
                    responses += self._outcome(context, touched, {matching.uids[at] for at in end.value})
        return responses

    def ends(self, view: SessionView) -> set[int]:
        """The message that is the last one now, and the one that was; nothing if they are the same, or gone."""
        last, self._last = self._last, view.uids[-1] if view.uids else 0
        if last == self._last:
            return set()
        there = view.live.uids
        return {there[at] for at in view.live_positions(sorted({last, self._last}))}

    def give_up(self, context: Context, why: str) -> bytes:
        """RFC 5267 section 4.3.1: these results are not kept up to date any more."""
        self.by_tag.pop(context.tag, None)
        return b'* NO [NOUPDATE "%b"] %b\r\n' % (context.tag, why.encode("ascii"))

    def _outcome(
        self, context: Context, touched: set[int], found: set[int], order: Sequence[int] = ()
    ) -> list[bytes]:
        view = self._connection.box.view
        return context.removed(view, touched - found) + context.added(view, found, order)

    # -- what takes its time -----------------------------------------------------------------------------------
    async def foresee(self) -> None:
        """Take messages out of the results that are gone, before the client is told that they are; ``going`` does the rest."""
        connection = self._connection
        gone: set[int] | None = None
        for context in list(self.by_tag.values()):
            if connection.pause is not None:
                await connection.pause(0)
            if not self._watching():
                return
            view = connection.box.view
            if gone is None:
                gone = view.leaving()
            # RFC 5267 section 4.3.4: REMOVEFROM comes before EXPUNGE; section 4.3.2: it may come at any time.
            connection.out += context.removed(view, gone & context.uids)
        if connection.pause is not None:
            # Telling that they are gone takes long as well.
            await connection.pause(0)

    def _watching(self) -> bool:
        """Whether these are still searches of the selected mailbox."""
        box = self._connection.selected
        return box is not None and box.view.observer is self

    async def evaluate(self) -> Findings:
        """Find out what the changes mean that were only noted.

        It is told at once where no data items have to come before it.
        """
        connection = self._connection
        later = any(context.fresh for context in self.by_tag.values())
        found: list[_Found] = []
        self._evaluating = True
        try:
            for context in list(self.by_tag.values()):
                touched, context.pending = context.pending, set()
                fresh, context.fresh = context.fresh, set()
                if not touched:
                    continue
                one: _Found | None = None
                try:
                    one = _Found(context, touched, fresh, await self._matching(context, touched))
                except MailError:
                    # Nobody knows the results any more.
                    connection.out.append(self.give_up(context, "the search failed"))
                if one is not None and self._watching():
                    await self._put_in_order(one)
                if not self._watching():
                    return Findings()
                if one is None:
                    continue
                if later := later or bool(fresh):
                    found.append(one)
                    continue
                connection.out += self._findings([one]).lines
                if len(context.uids) > _AT_ONCE and connection.pause is not None:
                    await connection.pause(0)
                    if not self._watching():
                        return Findings()
        finally:
            self._evaluating = False
        return self._findings(found)

    async def _put_in_order(self, found: _Found) -> None:
        context = found.context
        there = self._there(found.matching)
        if context.criteria and not there <= context.uids:
            uids = (context.uids - found.touched) | there
            found.order = await take_turns(self._connection, context.sorting(uids))

    def _findings(self, found: Iterable[_Found]) -> Findings:
        """What it means."""
        lines: list[bytes] = []
        wanted: dict[int, tuple[tuple[FetchAttribute, ...], ...]] = {}
        for one in found:
            context = one.context
            if self.by_tag.get(context.tag) is not context:
                continue
            there = self._there(one.matching)
            # RFC 5465 section 7: nothing of what comes in because its flags changed.
            for uid in one.fresh & there - context.uids:
                wanted[uid] = (*wanted.get(uid, ()), context.attributes)
            lines += self._outcome(context, one.touched, there, one.order)
        return Findings(lines, wanted)

    def _there(self, uids: set[int]) -> set[int]:
        """Without those that were told to be gone meanwhile."""
        view = self._connection.box.view
        return {uid for uid in uids if view.position(uid) is not None}

    async def _matching(self, context: Context, touched: set[int]) -> set[int]:
        """Those of these UIDs that match."""
        connection = self._connection
        matching = Matching(connection)
        matching.everything = _positions(connection.box.view, touched)
        found = await matches(connection, matching, context.key)
        uids = {matching.uids[at] for at in found}
        if context.criteria:
            await load_values(connection, matching, found, context)
            uids &= context.values.keys()
        return uids


def _positions(view: SessionView, uids: Iterable[int]) -> list[int]:
    return [at for uid in sorted(uids) if (at := view.position(uid)) is not None]


async def load_values(
    connection: Connection, matching: Matching, positions: Sequence[int], context: Context
) -> None:
    """Have the values that the results are sorted by."""
    wanted = [at for at in positions if matching.uids[at] not in context.values]
    keys: list[SortKey] = list(dict.fromkeys(criterion.key for criterion in context.criteria))
    there, values = await load_keys(connection, matching, wanted, keys)
    columns = [values[criterion.key] for criterion in context.criteria]
    for at, *row in zip(there, *columns, strict=True):
        context.values[matching.uids[at]] = tuple(row)


# -- commands --------------------------------------------------------------------------------------------------------


def _contexts(connection: Connection) -> Contexts | None:
    observer = connection.selected.view.observer if connection.selected is not None else None
    return observer if isinstance(observer, Contexts) else None


def check_update(connection: Connection, tag: bytes, returns: ReturnOptions | None) -> None:
    """Refuse a search whose results cannot be told apart from those of another one.

    :raise RefusalError: BAD.
    """
    attributes = update_of(returns)
    if attributes is None:
        return
    if attributes and "NOTIFY" not in connection.offered:
        # RFC 5465 section 7: they come with NOTIFY.
        raise RefusalError("UPDATE with data items is not available now", kind="BAD")
    if connection.selected is None:
        # RFC 7377 section 2.2
        raise RefusalError("UPDATE needs a selected mailbox", kind="BAD")
    contexts = _contexts(connection)
    if contexts is not None and tag in contexts.by_tag:
        # RFC 5267 section 4.3
        raise RefusalError("this tag belongs to a search that is kept up to date", kind="BAD")


async def keep_updated(
    connection: Connection, results: Results, key: k.SearchKey, criteria: Sequence[SortCriterion] = ()
) -> None:
    """Keep these results of the selected mailbox up to date, if that was asked for; or say that it cannot be."""
    attributes = update_of(results.returns)
    if attributes is None:
        return
    view, matching = connection.box.view, results.matching
    contexts = _contexts(connection) or Contexts(connection)
    full = len(contexts.by_tag) >= connection.settings.limits.contexts
    if full or (criteria and len(results.order) > _MOST_SORTED):
        # RFC 5267 section 4.3.1: the rest of the command is carried out.
        connection.out.append(b'* NO [NOUPDATE "%b"] too much to be kept up to date\r\n' % results.tag)
        return
    uids = {matching.uids[at] for at in results.order}
    origin = partial(origin_of, connection, connection.box) if results.origin else bytes
    context = Context(results.tag, origin, results.uid, frozen(matching, key), uids, tuple(criteria))
    context.attributes = attributes
    context.waits = bool(criteria) or has_text(key) or weight(context.key) > _MOST_KEYS
    if criteria:
        # The backend is asked in the order of the mailbox, not in that of the results.
        await load_values(connection, matching, sorted(results.order), context)
        context.uids &= context.values.keys()
        found = [matching.uids[at] for at in results.order]
        context.order = [uid for uid in found if uid in context.uids]
    # RFC 5267 section 4.3: results are those of a new search, for which another message can be the last.
    context.star = any(isinstance(sub, k.UidIn) and sub.uids.has_star() for sub in k.subkeys(context.key))
    contexts.ends(view)
    contexts.by_tag[results.tag] = context
    view.observer = contexts


def frozen(matching: Matching, key: k.SearchKey) -> k.SearchKey:
    """The program with numbers, and the saved result, as the UIDs that they are now."""
    match key:
        case k.And(keys):
            return k.And(tuple(frozen(matching, sub) for sub in keys))
        case k.Or(left, right):
            return k.Or(frozen(matching, left), frozen(matching, right))
        case k.Not(inner) | k.Fuzzy(inner):
            return evolve(key, key=frozen(matching, inner))
        case k.NumberIn() | k.UidIn(SequenceSet(saved=True)):
            # RFC 5267 section 4.3: evaluated when the command comes.
            return k.UidIn(
                SequenceSet.of(matching.uids[at] for at in matching.named(key, matching.everything))
            )
        case _:
            return key


def cancel_update(connection: Connection, command: CancelUpdate) -> Answer:
    """CANCELUPDATE. Tags that are none of a context change nothing."""
    contexts = _contexts(connection)
    if contexts is not None:
        for tag in command.tags:
            contexts.by_tag.pop(tag, None)
        if not contexts.by_tag:
            connection.box.view.observer = None
    return b"OK no further updates"


def without_numbers(connection: Connection) -> list[bytes]:
    """UIDONLY was enabled: results that are told by sequence numbers are not kept up to date any more."""
    contexts = _contexts(connection)
    if contexts is None:
        return []
    numbered = [context for context in contexts.by_tag.values() if not context.uid]
    # RFC 5267 section 4.3.1 lets us give them up at any time.
    responses = [
        contexts.give_up(context, "no sequence numbers after ENABLE UIDONLY") for context in numbered
    ]
    if not contexts.by_tag:
        connection.box.view.observer = None
    return responses
