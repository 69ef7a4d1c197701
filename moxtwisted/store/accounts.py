"""One open account: its database, its writer's ledger, and what its sessions share in memory.

Changes become jobs of the account's writer (``moxtwisted.store.messages``, ``moxtwisted.store.mailboxes``); all that
can be made ready before is made ready here. Reading is done in the reactor's thread, by the reader connection or, if the question is
short, by the writer's (``moxtwisted.store.asking``).
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any, Final, Literal, TypeVar, cast

import apsw
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from moxtwisted.errors import MailboxMissingError, MailError, StoreFullError, StoreUnavailableError
from moxtwisted.message.flags import MessageFlags
from moxtwisted.message.headers import select_fields
from moxtwisted.message.structure import LIST_FIELDS
from moxtwisted.store import hierarchy, mailboxes, messages
from moxtwisted.store.accountjudgement import AccountJudgement
from moxtwisted.store.accountsettings import AccountSettings
from moxtwisted.store.acl import AccessLists
from moxtwisted.store.asking import Asking
from moxtwisted.store.changes import ChangeQueue, FlagTable, MailboxState, published
from moxtwisted.store.database import Database
from moxtwisted.store.facts import Facts, prefix_of
from moxtwisted.store.holds import Holds
from moxtwisted.store.interfaces import (
    Added,
    Addition,
    Column,
    Copied,
    FlagsStored,
    IAccount,
    Mailbox,
    NewMessage,
    SearchTerm,
    Sender,
)
from moxtwisted.store.keptrows import ROWS_OCTETS, KeptRows
from moxtwisted.store.lanes import Lane
from moxtwisted.store.ledger import Ledger, RawFlags, Report
from moxtwisted.store.mailboxes import canonical_name
from moxtwisted.store.messages import Prepared
from moxtwisted.store.readahead import Ahead
from moxtwisted.store.reading import BodyReader, read_many
from moxtwisted.store.remembered import Remembered
from moxtwisted.store.search import SearchIndex
from moxtwisted.store.staging import MEMORY_OCTETS
from moxtwisted.store.sweeping import Sweeping
from moxtwisted.store.writer import WriterPool

__all__ = ["Account"]

_T = TypeVar("_T")

#: To be asked for so many messages is a short question.
_FEW: Final = 8
#: Mailbox states that stay in memory though no session holds them.
_KEPT_STATES: Final = 8


def prepare(
    account: AccountJudgement, message: NewMessage, targets: Sequence[tuple[int | str, RawFlags]]
) -> Prepared:
    """Make the rows of a message ready that goes into this account."""
    rendered = message.staged.rendered
    fields = rendered.fields
    if message.prefix:
        # The blank line that select_fields puts at the end goes.
        fields = select_fields(message.prefix, LIST_FIELDS)[:-2] + fields
    return Prepared(
        targets=targets,
        size=message.staged.size,
        prefix_size=len(message.prefix),
        header_size=rendered.header_size,
        facts=Facts(
            rendered.envelope,
            rendered.bodystructure,
            fields,
            rendered.preview,
            rendered.parts,
            message.prefix,
            account.packed_sender(message.sender),
        ),
        internaldate=message.internaldate,
        chunks=message.staged.packed,
        relatives=rendered.relatives,
        sent_to=account.sent_to([target for target, _ in targets], rendered.fields),
    )


#: A message of so many octets at most, or so many messages or correspondents, are light work.
_LIGHT_OCTETS: Final = 1 << 15
_LIGHT_MESSAGES: Final = 16


def _is_light(message: Prepared) -> bool:
    return message.size <= _LIGHT_OCTETS and len(message.sent_to) <= _LIGHT_MESSAGES


def _raw(flags: MessageFlags) -> RawFlags:
    return flags.system, " ".join(flags.keywords)


@implementer(IAccount)
class Account(AccountSettings, AccountJudgement, Asking):
    """See ``IAccount``. Made by the store.

    :param clock: for callLater.
    :param seconds: the time of day.
    :param closed: set when its files are closed.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        pool: WriterPool,
        clock: Any,
        seconds: Callable[[], float],
        closed: threading.Event,
    ) -> None:
        self.name = name
        self._database = database
        self._reader = database.reader
        # The ledger must not keep the account alive: who lets go of an account lets it close.
        told = weakref.WeakMethod(self._told)

        def tell(report: Report) -> None:
            method = told()
            if method is not None:
                method(report)

        self._ledger = Ledger(database.writer, tell, seconds)
        self._lane: Lane = pool.lane(self._ledger, database.tidy, database.make_room, database.sync_apart())
        self.give_way = self._lane.give_way  #: For who waits until it is closed.
        self._room = pool.room
        self._flags = FlagTable()
        self._mailboxes = {record.id: record.snapshot() for record in self._ledger.mailboxes.values()}
        self._index_names()
        self._subscriptions = frozenset(self._ledger.subscriptions)
        self._states: weakref.WeakValueDictionary[int, MailboxState] = weakref.WeakValueDictionary()
        self._kept: OrderedDict[int, MailboxState] = OrderedDict()
        self._pins = Holds()
        self._sweeping = Sweeping()
        self._begin_to_judge()
        self._queues: list[ChangeQueue] = []
        #: Who else may do what to its mailboxes.
        self.access = AccessLists(self._reader, self._writing())
        self._index = self._make_index(clock)
        self.kept_rows = KeptRows(Remembered(ROWS_OCTETS))
        self._finalizer = weakref.finalize(self, _finish, self._lane, self._ledger, database, pool, closed)
        self._sweep(messages.unused_bodies(self._reader))
        if self._reader.execute("SELECT 1 FROM unjudged LIMIT 1").get is not None:
            self._judge()

    def _writing(self) -> Callable[[Callable[[Ledger], None]], Deferred[None]]:
        """What runs a job in the writer, without holding the account."""
        lane, ledger = self._lane, self._ledger
        return lambda job: lane.submit(partial(job, ledger))

    def _make_index(self, clock: Any) -> SearchIndex:
        weakly, lane, ledger = weakref.ref(self), self._lane, self._ledger

        def open_by_id(body: int) -> BodyReader | None:
            account = weakly()
            return None if account is None else account.open_by_id(body)

        def submit(job: Callable[[Any], None]) -> Deferred[None]:
            # What is not in the index is put there again.
            return lane.submit(lambda: job(ledger.connection), grows=True, lasting=False)

        index = SearchIndex(self._reader, open_by_id, submit, clock)
        if index.indexed() < self._ledger.last_body:
            index.wake()
        return index

    # -- after commits -------------------------------------------------------------------------------------------

    def _told(self, report: Report) -> None:
        """A commit's report: bring memory up to date, tell listeners and queues."""
        for mailbox in report.mailboxes:
            self._mailboxes[mailbox.id] = mailbox
        for identifier in report.removed:
            self._mailboxes.pop(identifier, None)
            self._kept.pop(identifier, None)
        if report.removed or any(delta.kind in {"created", "renamed"} for delta in report.deltas):
            self._index_names()
        else:
            for mailbox in report.mailboxes:
                self._by_name[mailbox.name] = mailbox
        if report.subscriptions is not None:
            self._subscriptions = report.subscriptions
        self.access.told(report)
        changed: list[MailboxState] = []
        for delta in report.deltas:
            state = self._states.get(delta.mailbox)
            if state is not None and state.apply(delta) and state not in changed:
                changed.append(state)
        if self._queues:
            # One description for all who read it.
            changes = [published(delta) for delta in report.deltas]
            for queue in tuple(self._queues):
                queue.put(changes)
        for state in changed:
            state.tell()
        if report.new_bodies:
            self._index.wake()
        elif report.deltas:
            self._index.disturb()
        if report.released:
            self._sweep(report.released)
        self._told_of_judgements(report)

    def _index_names(self) -> None:
        ordered = sorted(self._mailboxes.values(), key=attrgetter("name"))
        self._by_name = {mailbox.name: mailbox for mailbox in ordered}

    def _sweep(self, bodies: Iterable[int]) -> None:
        """Have bodies deleted that nobody reads; the others when they are let go."""
        free = self._pins.left(bodies)
        if free and self._sweeping.put(free):
            self._lane.idle(partial(self._sweeping.slice, self._ledger))

    def _unpin(self, body: int) -> None:
        if self._pins.unpin(body):
            self._sweep([body])

    def _light(
        self, uids: Sequence[int] | None, work: Callable[..., _T], *args: Any, grows: bool = False
    ) -> Deferred[_T]:
        """A job that is light if these messages are few."""
        light = uids is not None and len(uids) <= _LIGHT_MESSAGES
        return self._lane.submit(partial(work, self._ledger, *args), grows=grows, light=light)

    def submit(self, work: Callable[..., _T], *args: Any, grows: bool = False) -> Deferred[_T]:
        """Run ``work(ledger, *args)`` in the writer's thread, inside a transaction: for upkeep of the account. See ``Lane.submit``."""
        return self._lane.submit(partial(work, self._ledger, *args), grows=grows)

    @property
    def reader(self) -> Any:
        """The connection for reading: for upkeep of the account."""
        return self._open()

    def _open(self) -> Any:
        """The reader connection."""
        if self._lane.closed:
            raise StoreUnavailableError(f"account {self.name} is closed")
        return self._reader

    # -- mailboxes -----------------------------------------------------------------------------------------------

    def mailboxes(self) -> Sequence[Mailbox]:
        """All, by name."""
        return list(self._by_name.values())

    def mailbox(self, name: str) -> Mailbox | None:
        """The one with that name."""
        try:
            return self._by_name.get(name if name in self._by_name else canonical_name(name))
        except MailError:
            return None

    def mailbox_by_id(self, id: int) -> Mailbox | None:  # noqa: A002
        """The one with that id."""
        return self._mailboxes.get(id)

    def subscriptions(self) -> frozenset[str]:
        """Names."""
        return self._subscriptions

    def _mailbox_after(self, done: Deferred[Mailbox]) -> Deferred[Mailbox]:
        # Another client may have removed it in the same commit.
        return done.addCallback(lambda made: self._mailboxes.get(made.id, made))

    def create_mailbox(self, name: str, special_use: Sequence[str] = ()) -> Deferred[Mailbox]:
        """Make it."""
        return self._mailbox_after(self.submit(_create, name, tuple(special_use), grows=True))

    def rename_mailbox(self, old: str, new: str) -> Deferred[Mailbox]:
        """With all below it."""
        return self._mailbox_after(self.submit(_rename, old, new))

    def delete_mailbox(self, name: str) -> Deferred[None]:
        """With its messages."""
        return self.submit(hierarchy.delete, name)

    def subscribe(self, name: str) -> Deferred[None]:
        """Subscribe a name."""
        return self.submit(mailboxes.subscribe, name)

    def unsubscribe(self, name: str) -> Deferred[None]:
        """Unsubscribe it."""
        return self.submit(mailboxes.unsubscribe, name)

    def set_special_use(self, name: str, special_use: Sequence[str]) -> Deferred[None]:
        """Replace."""
        return self.submit(mailboxes.set_special_use, name, tuple(special_use))

    def annotations(self, mailbox: int) -> dict[str, bytes]:
        """By key."""
        rows = self._open().execute(
            "SELECT key, value FROM annotation WHERE mailbox = ? ORDER BY key", (mailbox,)
        )
        return dict(rows.fetchall())

    def annotate(
        self, mailbox: int, values: dict[str, bytes | None], special_use: Sequence[str] | None = None
    ) -> Deferred[None]:
        """Set or remove."""
        return self.submit(mailboxes.annotate, mailbox, dict(values), special_use, grows=True)

    # -- messages ------------------------------------------------------------------------------------------------

    def add(self, additions: Sequence[Addition], *, check_quota: bool = True) -> Deferred[Sequence[Added]]:
        """All of them in one commit, or none."""
        largest = max((addition.message.staged.size for addition in additions), default=0)
        if not self._fits(largest):
            return fail(StoreFullError(f"no room for {largest} octets"))
        if len(additions) == 1:
            addition = additions[0]
            message = addition.message
            one = prepare(self, message, ((addition.mailbox, _raw(message.flags)),))
            work = partial(messages.add, self._ledger, [one], check_quota)
            return self._lane.submit(work, grows=True, light=_is_light(one)).addCallback(_first)
        # The same octets with the same prefix are one body, however many mailboxes they are for.
        places: dict[tuple[int, bytes, int, Sender | None], list[int]] = {}
        for place, addition in enumerate(additions):
            message = addition.message
            same = id(message.staged), message.prefix, message.internaldate, message.sender
            places.setdefault(same, []).append(place)
        prepared = [
            prepare(
                self,
                additions[group[0]].message,
                [(additions[place].mailbox, _raw(additions[place].message.flags)) for place in group],
            )
            for group in places.values()
        ]

        def in_order(answers: list[list[Added]]) -> Sequence[Added]:
            ordered: list[Added | None] = [None] * len(additions)
            for group, added in zip(places.values(), answers, strict=True):
                for place, one in zip(group, added, strict=True):
                    ordered[place] = one
            return cast("list[Added]", ordered)

        return self.submit(messages.add, prepared, check_quota, grows=True).addCallback(in_order)

    def replace(
        self, mailbox: int, uid: int, addition: Addition, *, check_quota: bool = True
    ) -> Deferred[Added]:
        """Remove a message and add another, in one commit."""
        message = addition.message
        if not self._fits(message.staged.size):
            return fail(StoreFullError(f"no room for {message.staged.size} octets"))
        prepared = prepare(self, message, ((addition.mailbox, _raw(message.flags)),))
        work = partial(messages.replace, self._ledger, mailbox, uid, prepared, check_quota)
        return self._lane.submit(work, grows=True, light=_is_light(prepared))

    def _fits(self, octets: int) -> bool:
        """Whether there is room for a message twice.

        It goes into the log, and from there into the file: a log that cannot be written back is in the way.
        """
        return octets <= MEMORY_OCTETS or self._room is None or self._room.allows(2 * octets)

    def store_flags(
        self,
        mailbox: int,
        uids: Sequence[int],
        mode: Literal["add", "remove", "replace"],
        flags: MessageFlags,
        unchanged_since: int | None = None,
    ) -> Deferred[FlagsStored]:
        """Change flags."""
        return self._light(uids, messages.store_flags, mailbox, uids, mode, flags, unchanged_since)

    def copy(self, mailbox: int, uids: Sequence[int], target: int) -> Deferred[Copied]:
        """Copy."""
        return self._light(uids, messages.copy, mailbox, uids, target, grows=True)

    def move(self, mailbox: int, uids: Sequence[int], target: int) -> Deferred[Copied]:
        """Move, atomically."""
        return self._light(uids, messages.move, mailbox, uids, target)

    def expunge(
        self, mailbox: int, uids: Sequence[int] | None, *, only_deleted: bool = True
    ) -> Deferred[tuple[int, ...]]:
        """Remove."""
        return self._light(uids, messages.expunge, mailbox, uids, only_deleted)

    # -- reading -------------------------------------------------------------------------------------------------

    def state(self, mailbox: int) -> MailboxState:
        """The shared state."""
        state = self._states.get(mailbox)
        if state is None:
            if mailbox not in self._mailboxes:
                raise MailboxMissingError(f"mailbox {mailbox}")
            state = MailboxState.load(self._open(), mailbox, self._flags)
            # Whoever sees a UID must find it again after a power failure.
            self._lane.flush()
            self._states[mailbox] = state
        self._kept[mailbox] = state
        self._kept.move_to_end(mailbox)
        if len(self._kept) > _KEPT_STATES:
            self._kept.popitem(last=False)
        return state

    def rows(self, mailbox: int, uids: Sequence[int], columns: Column) -> list[tuple[Any, ...]]:
        """(uid, column, …)."""
        state = self._states.get(mailbox)
        if len(uids) <= _FEW:
            return self.ask(self.kept_rows.rows, state, mailbox, uids, columns)
        return self.kept_rows.rows(self._open(), state, mailbox, uids, columns)

    def open_body(self, mailbox: int, uid: int) -> BodyReader | None:
        """One message's octets."""
        connection = self._open()
        found = connection.execute(
            "SELECT m.size, b.id, b.facts FROM message m JOIN body b ON b.id = m.body WHERE m.mailbox = ? AND m.uid = ?",
            (mailbox, uid),
        ).fetchall()
        if not found:
            return None
        size, body, kept = found[0]
        self._pins.hold(body)
        return BodyReader(size, connection, body, prefix_of(kept), self._unpin)

    def open_by_id(self, body: int) -> BodyReader | None:
        """A body by its own id, with its prefix."""
        connection = self._open()
        found = connection.execute(
            "SELECT size + prefix_size, facts FROM body WHERE id = ? AND refs > 0", (body,)
        ).fetchall()
        if not found:
            return None
        self._pins.hold(body)
        return BodyReader(found[0][0], connection, body, prefix_of(found[0][1]), self._unpin)

    def bodies(self, mailbox: int, uids: Sequence[int], limit_octets: int) -> list[tuple[int, bytes]]:
        """(uid, octets) of the first that fit."""
        if len(uids) <= _FEW:
            return self.ask(read_many, mailbox, uids, limit_octets)
        return read_many(self._open(), mailbox, uids, limit_octets)

    def ahead(self, mailbox: int) -> Ahead | None:
        """What reads ahead for one session."""
        line = self._database.ahead
        return None if line is None else line.ahead(mailbox)

    def expunged_since(self, mailbox: int, modseq: int) -> tuple[Sequence[int], bool]:
        """UIDs, and whether the history reaches back so far."""
        connection = self._open()
        uids = [
            row[0]
            for row in connection.execute(
                "SELECT uid FROM expunged WHERE mailbox = ? AND modseq > ? ORDER BY uid", (mailbox, modseq)
            ).fetchall()
        ]
        retired = connection.execute("SELECT value FROM setting WHERE key = 'retired_modseq'").get
        self._lane.flush()
        return uids, modseq >= (retired or 0)

    def search(self, mailbox: int, term: SearchTerm, uids: Sequence[int]) -> Deferred[set[int]]:
        """Those of uids whose text matches."""
        return Deferred.fromCoroutine(self._index.search(mailbox, term, uids))

    def search_fuzzy(self, mailbox: int, term: SearchTerm, uids: Sequence[int]) -> Deferred[dict[int, int]]:
        """Those of uids whose text has such words, with their relevancy."""
        return Deferred.fromCoroutine(self._index.search_fuzzy(mailbox, term, uids))

    @property
    def index(self) -> SearchIndex:
        """Its text index."""
        return self._index

    # -- the account ---------------------------------------------------------------------------------------------

    def watch(self, limit: int = 1000, changed: Callable[[], None] | None = None) -> ChangeQueue:
        """All changes from now on."""
        queue = ChangeQueue(limit, self._unwatch, changed)
        self._queues.append(queue)
        return queue

    def _unwatch(self, queue: ChangeQueue) -> None:
        if queue in self._queues:
            self._queues.remove(queue)

    def close(self) -> Deferred[None]:
        """After pending commits; the account cannot be used from now on."""
        return self._index.stop().addCallback(lambda _: self._finalizer() or succeed(None))

    @property
    def closed(self) -> bool:
        """Whether it cannot be used any more: it was removed, or the store was closed."""
        return self._lane.closed

    @property
    def busy(self) -> bool:
        """Whether it has work of its own to do and should not be let go of yet."""
        return self._index.busy or self._judging.busy


def _finish(
    lane: Lane, ledger: Ledger, database: Database, pool: WriterPool, closed: threading.Event
) -> Deferred[None]:
    """Close an account's files in its writer's thread, after what is pending."""

    def work() -> None:
        try:
            # On a full disk, say, it is made again when the account is opened.
            with suppress(apsw.Error):
                ledger.settle()
            database.close()
        finally:
            closed.set()

    done = lane.close(work)
    pool.release(lane)
    return done


def _first(answers: list[list[Added]]) -> Sequence[Added]:
    return answers[0]


def _create(ledger: Ledger, name: str, special_use: Sequence[str]) -> Mailbox:
    return mailboxes.create(ledger, name, special_use).snapshot()


def _rename(ledger: Ledger, old: str, new: str) -> Mailbox:
    return hierarchy.rename(ledger, old, new).snapshot()
