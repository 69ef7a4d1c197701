"""An import: look at every mailbox of the other server, then fetch what is not here, over several connections.

::

    report = await Import(reactor, store, account, Source.parse(url), password, options).run(progress)
    report["messages"], report["unreadable"]

A message and the note that it was fetched are one commit (``moxtwisted.store.foreign``), so an import that was killed goes on
where it was, and one that is done fetches what is new. A connection that is lost is made again; a message that the other
server cannot give is listed, and the others are fetched.
"""

from __future__ import annotations

import operator
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from moxtwisted.errors import MailError
from moxtwisted.imap.agent import IMAPClient
from moxtwisted.imap.client.results import Message, ResultError, members
from moxtwisted.imap.client.session import (
    CommandRefusedError,
    ConnectionFailedError,
    NotUnderstoodError,
    Selected,
)
from moxtwisted.imap.wire.responsedata import MessageLimit
from moxtwisted.imap.wire.sequence import SequenceSet
from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.importing import folders
from moxtwisted.server.importing.bodies import Batch, readable_flags
from moxtwisted.server.importing.folders import Folder, Plan
from moxtwisted.server.importing.itself import is_itself
from moxtwisted.server.importing.remote import Options, Source
from moxtwisted.store import foreign
from moxtwisted.store.accounts import Account
from moxtwisted.store.foreign import Fetched, Origin
from moxtwisted.store.interfaces import IStore, Mailbox

__all__ = ["Import"]

Progress = Callable[[int, int, str], None]

#: Messages asked for by one FETCH: few, so that all connections have work; many, since some servers look through the whole
#: mailbox for each command.
_CHUNK_LEAST: Final = 100
_CHUNK_MOST: Final = 2000
#: Changes of flags in one commit.
_FLAGS: Final = 1000
#: How often a connection is made again for the same work, and the pause before the first, seconds; it doubles.
_TRIES: Final = 5
_PAUSE: Final = 1.0
#: More messages in one mailbox are not believed.
_MAX_MESSAGES: Final = 5_000_000
#: A command is not said more often for what its server leaves out: those that follow RFC 9738 take 1000 messages or more at a time.
_MAX_ROUNDS: Final = 100_000
#: More lines of a report are summed up.
_MAX_LISTED: Final = 1000


@define(eq=False)
class _Box:
    """A mailbox of the other server, while it is fetched."""

    folder: Folder
    uidvalidity: int = 0
    origin: Origin | None = None
    there: int = 0
    new: int = 0
    flags: int = 0
    gone: int = 0
    problem: str = ""


_Task = Callable[[IMAPClient], Awaitable[None]]


@define(eq=False)
class _Job:
    """Work for one connection, and the mailbox it is about."""

    box: _Box
    run: _Task


@define(eq=False)
class _Remaining:
    """What a command is still to be said of: a server may take the newest messages only (RFC 9738), and then it is said again.

    :ivar last: the highest UID that is left; 0 for none.
    :ivar rounds: how often it may be cut short.
    """

    last: int = 2**32 - 1
    rounds: int = _MAX_ROUNDS

    def cut(self, limited: MessageLimit | None) -> None:
        """The command was said.

        :param limited: how far it came.
        :raise ResultError: it does not come nearer the end.
        """
        if limited is None:
            self.last = 0
            return
        self.rounds -= 1
        if limited.lowest is None or limited.lowest > self.last or self.rounds < 0:
            raise ResultError(f"it takes {limited.most} messages at a time, and comes to no end")
        self.last = limited.lowest - 1

    def among(self, uids: Sequence[int]) -> int:
        """How many of these, ascending, are left; from now on the highest of them is the last, which the next round has to get below: so
        no server has us say it more often than there are messages."""
        count = bisect_right(uids, self.last)
        self.last = uids[count - 1] if count else 0
        return count


@define(eq=False)
class Import:
    """One run.

    :ivar reactor: connects and tells time.
    :ivar added: messages that are in the account by this run.
    """

    reactor: Any
    store: IStore
    account: Account
    source: Source
    password: str = field(repr=False)
    options: Options
    _progress: Progress = field(default=lambda *_: None, init=False)
    _boxes: list[_Box] = field(factory=list, init=False)
    _unreadable: list[str] = field(factory=list, init=False)
    _unreadable_count: int = field(default=0, init=False)
    added: int = field(default=0, init=False)
    _known: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _clients: list[IMAPClient] = field(factory=list, init=False)
    _idle: list[IMAPClient] = field(factory=list, init=False)

    async def run(self, progress: Progress) -> dict[str, Any]:
        """Do it; what was done.

        :raise MailError: the server cannot be reached, its account is ours, or nothing more can be added; what was added before stays.
        """
        self._progress = progress
        try:
            client = await self._connect()
            if await is_itself(client, self.account):
                raise MailError(
                    f"{self.source.name} is the account {self.account.name} of this server itself: all its mail would be there twice. "
                    "If that was the name of the old server, it leads here now: give the old server's address instead"
                )
            if not client.alive:
                client = await self._connect()
            plan = await self._plan(client)
            self._idle.append(client)
            self._boxes = [_Box(folder) for folder in plan.folders]
            bodies: deque[_Job] = deque()
            progress(0, len(self._boxes), "mailboxes")
            await self._work(deque(_Job(box, self._scan(box, bodies)) for box in self._boxes))
            self._total = sum(box.new for box in self._boxes)
            if not self.options.dry_run:
                progress(0, self._total, "messages")
                await self._work(bodies)
                progress(self._total, self._total, "messages")
            for client in self._idle:
                with suppress(MailError):
                    await client.close()
        finally:
            for client in self._clients:
                client.abort("the import has ended")
        return self._report(plan)

    def _report(self, plan: Plan) -> dict[str, Any]:
        return {
            "messages": self.added,
            "known": self._known,
            "flags": sum(box.flags for box in self._boxes),
            "removed": sum(box.gone for box in self._boxes) if self.options.delete else 0,
            "unreadable": self._unreadable,
            "skipped": self._unreadable_count,
            "failed": [f"{box.folder.remote}: {box.problem}" for box in self._boxes if box.problem],
            "left_out": [list(pair) for pair in plan.left_out],
            "mailboxes": [
                {
                    "there": box.folder.remote,
                    "here": box.folder.local,
                    "use": box.folder.use,
                    "messages": box.there,
                    "new": box.new,
                    "flags": box.flags,
                    "gone": box.gone,
                }
                for box in self._boxes
            ],
        }

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _connect(self) -> IMAPClient:
        client = await self.source.connect(self.reactor, self.password, self.options)
        self._clients = [one for one in self._clients if one.alive]
        self._clients.append(client)
        return client

    async def _work(self, jobs: deque[_Job]) -> None:
        """Have all jobs done, by as many connections as are wanted and can be had."""
        count = min(self.options.connections, len(jobs))
        failed: list[MailError] = []
        workers = [Deferred.fromCoroutine(self._worker(jobs, failed, number)) for number in range(count)]
        broken: Failure | None = None
        try:
            await gatherResults(workers, consumeErrors=True)
        except FirstError as e:
            broken = e.subFailure
        if broken is not None:
            for worker in workers:
                worker.cancel()
            broken.raiseException()
        if jobs:  # handed back by a connection that could not be made again, when the others had gone
            await self._worker(jobs, failed, 0)

    async def _worker(self, jobs: deque[_Job], failed: list[MailError], number: int) -> None:
        client = self._idle.pop() if self._idle else None
        while jobs:
            job = jobs.popleft()
            for attempt in range(_TRIES):
                try:
                    if client is not None and not client.alive:
                        client = None
                    if client is None:
                        client = await self._connect()
                    await job.run(client)
                except (ConnectionFailedError, CommandRefusedError) as e:
                    if client is not None and client.alive:
                        job.box.problem = e.explanation  # refused: the next one may be better
                        break
                    misunderstood = client is not None and isinstance(e, NotUnderstoodError)
                    if misunderstood and attempt == _TRIES - 1:
                        # So often it was not the network, and it is about this mailbox.
                        job.box.problem = f"{e.explanation}. {self.source.name} has to be repaired for it; --skip leaves it out"
                        break
                    client = None
                    if number and attempt and not misunderstood:
                        # Perhaps the server wants fewer connections than we: the others do it.
                        jobs.appendleft(job)
                        failed.append(e)
                        return
                    if attempt == _TRIES - 1:
                        raise
                    await deferLater(self.reactor, _PAUSE * 2**attempt)
                except ResultError as e:
                    job.box.problem = e.explanation
                    break
                else:
                    break
        if client is not None:
            self._idle.append(client)

    # -- what there is -------------------------------------------------------------------------------------------------

    async def _plan(self, client: IMAPClient) -> Plan:
        own: list[str] = []
        foreign_prefixes: list[str] = []
        if client.offers("NAMESPACE", "IMAP4REV2"):
            names = await client.namespace()
            own = [prefix for prefix, _ in names.personal]
            foreign_prefixes = [prefix for prefix, _ in (*names.other, *names.shared) if prefix]
        returns = ("SPECIAL-USE",) if client.offers("SPECIAL-USE") and client.offers("LIST-EXTENDED") else ()
        listed = await client.mailboxes(returns=returns)
        subscribed = {one.name for one in await client.subscribed()}
        ours = {mailbox.name: mailbox.special_use for mailbox in self.account.mailboxes()}
        return folders.plan(
            listed,
            subscribed,
            prefixes=(own, foreign_prefixes),
            ours=ours,
            wanted=(self.options.only, self.options.skip),
        )

    async def _home(self, box: _Box, known: Origin | None) -> Mailbox:
        """Our mailbox: where it went before, if that is still there."""
        before = self.account.mailbox_by_id(known.mailbox) if known is not None else None
        if before is not None:
            return before
        folder = box.folder
        found = self.account.mailbox(folder.local)
        if found is None:
            found = await self.account.create_mailbox(folder.local, [folder.use] if folder.use else [])
            if not folder.subscribed:
                await self.account.unsubscribe(found.name)
        if folder.subscribed and found.name not in self.account.subscriptions():
            await self.account.subscribe(found.name)
        return found

    def _scan(self, box: _Box, bodies: deque[_Job]) -> _Task:
        """Find out what is new in a mailbox, and take over flags."""

        async def scan(client: IMAPClient) -> None:
            selected = await client.select(
                box.folder.remote, examine=True, condstore=client.offers("CONDSTORE", "QRESYNC")
            )
            if not selected.uids_stick or not selected.uidvalidity:
                raise ResultError("its UIDs do not last")
            there = await self._uids(client, selected)
            known = foreign.find_origin(self.account, self.source.name, box.folder.remote)
            if not self.options.dry_run:
                home = await self._home(box, known)
                known = await foreign.open_origin(
                    self.account,
                    self.source.name,
                    box.folder.remote,
                    uidvalidity=selected.uidvalidity,
                    mailbox=home.id,
                )
            elif known is not None and known.uidvalidity != selected.uidvalidity:
                known = None
            box.origin, box.uidvalidity, box.there = known, selected.uidvalidity, len(there)
            new = there
            if known is not None:
                new = await self._compare(client, box, known, there)
            box.new = len(new)
            size = min(max(len(new) // (4 * self.options.connections), _CHUNK_LEAST), _CHUNK_MOST)
            for at in range(0, len(new), size):
                bodies.append(_Job(box, self._fetch(box, new[at : at + size])))
            self._progress(
                sum(1 for one in self._boxes if one.origin or one.there), len(self._boxes), "mailboxes"
            )

        return scan

    async def _uids(self, client: IMAPClient, selected: Selected) -> array[int]:
        before = selected.exists
        if not selected.counted:
            # With `delete`, all would be removed here.
            raise ResultError("it does not say how many messages it has")
        if not before:
            return array("I")
        returns = ("ALL",) if client.offers("ESEARCH", "IMAP4REV2") else None
        # Arrays, not sets: a hostile server may claim millions.
        uids = array("I")
        # A round has one message at least, and some come meanwhile.
        remaining, key = _Remaining(rounds=min(before + _CHUNK_LEAST, _MAX_ROUNDS)), "ALL"
        while remaining.last:
            found = await client.search(key, returns=returns)
            uids.extend(members(found.numbers, _MAX_MESSAGES))
            if len(uids) > _MAX_MESSAGES:
                raise ResultError(f"it has more than {_MAX_MESSAGES} messages")
            remaining.cut(found.limited)
            key = f"UID 1:{remaining.last}"
        if any(map(operator.ge, uids, islice(uids, 1, None))):
            uids = array("I", sorted(set(uids)))
        # Messages may come and go meanwhile. With `delete`, those that are missing would be removed here.
        if len(uids) < min(before, selected.exists):
            raise ResultError(f"it has {before} messages, and UIDs for {len(uids)}")
        return uids

    async def _compare(self, client: IMAPClient, box: _Box, origin: Origin, there: array[int]) -> array[int]:
        """Take over what changed; UIDs that are new."""
        known = foreign.seen(self.account, origin)
        if not known.uids:
            await self._note_modseq(client, origin)
            return there
        have = set(known.uids)
        gone = [uid for uid in known.uids if not _has(there, uid)]
        box.gone = len(gone)
        if self.options.delete and not self.options.dry_run:
            for at in range(0, len(gone), _FLAGS):
                await foreign.remove(self.account, origin, gone[at : at + _FLAGS])
        if len(gone) < len(known.uids):
            await self._flags(client, box, origin, known)
        return array("I", [uid for uid in there if uid not in have])

    async def _note_modseq(self, client: IMAPClient, origin: Origin) -> None:
        modseq = client.selected.highestmodseq if client.selected is not None else None
        if modseq and not self.options.dry_run:
            await foreign.update(self.account, origin, {}, modseq)

    async def _flags(self, client: IMAPClient, box: _Box, origin: Origin, known: foreign.Seen) -> None:
        """Take over changes of flags."""
        selected = client.selected
        modseq = (selected.highestmodseq if selected is not None else None) or 0
        if modseq and modseq == origin.modseq:
            return
        changed: dict[int, MessageFlags] = {}

        async def save(last: int = 0) -> None:
            batch = dict(changed)
            changed.clear()
            box.flags += len(batch)
            if not self.options.dry_run and (batch or last):
                await foreign.update(self.account, origin, batch, last)

        def each(message: Message) -> Awaitable[None] | None:
            if message.uid is None or message.flags is None:
                return None
            at = bisect_left(known.uids, message.uid)
            if at == len(known.uids) or known.uids[at] != message.uid:
                return None
            now = readable_flags(message.flags)
            if now is known.flags[at]:
                return None
            changed[message.uid] = now
            return save() if len(changed) >= _FLAGS else None

        # Where it has gone back, the server has lost what it knew, and counts anew.
        since = origin.modseq if modseq > origin.modseq and client.offers("CONDSTORE", "QRESYNC") else 0
        modifiers = f"CHANGEDSINCE {since}" if since else ""
        first, remaining = known.uids[0], _Remaining(known.uids[-1])
        while remaining.last >= first:
            span = SequenceSet(((first, remaining.last),))
            remaining.cut(await client.fetch_each(span, ["UID", "FLAGS"], each, modifiers=modifiers))
            remaining.among(known.uids)
        await save(modseq)

    # -- fetching ------------------------------------------------------------------------------------------------------

    def _fetch(self, box: _Box, uids: Sequence[int]) -> _Task:
        """Fetch messages; again only those that were not added yet."""
        wanted = set(uids)
        batch = Batch(self.store, self._adder(box, wanted), self._noter(box, wanted))

        async def fetch(client: IMAPClient) -> None:
            if not wanted:
                return
            try:
                await self._open(client, box)
                # One message may be the reason for a refusal: those that did not come are asked for one by one.
                with suppress(CommandRefusedError):
                    await self._ask(client, batch, sorted(wanted))
                await batch.flush()
                for uid in sorted(wanted - batch.arrived):
                    await self._ask_alone(client, box, batch, uid)
                await batch.flush()
            except ConnectionFailedError:
                if batch.refused is not None:
                    raise batch.refused from None
                raise
            finally:
                batch.drop()

        return fetch

    async def _ask(self, client: IMAPClient, batch: Batch, uids: Sequence[int]) -> None:
        """Ask for messages, in ascending order."""
        items = ["UID", "FLAGS", "INTERNALDATE", "BODY.PEEK[]"]
        remaining = _Remaining()
        while uids := uids[: remaining.among(uids)]:
            remaining.cut(await client.fetch_each(uids, items, batch.take, sinks=batch.sink))

    async def _ask_alone(self, client: IMAPClient, box: _Box, batch: Batch, uid: int) -> None:
        try:
            await self._ask(client, batch, [uid])
            if uid in batch.arrived:
                return
            # Some servers say OK of a message that they cannot read.
            found = await client.search(f"UID {uid}")
        except CommandRefusedError as e:
            batch.unreadable(uid, e.explanation)
            return
        if uid in members(found.numbers, _MAX_MESSAGES):
            batch.unreadable(uid, "the server says OK and gives nothing of it")
        else:
            self._settled(1)  # gone meanwhile

    async def _open(self, client: IMAPClient, box: _Box) -> None:
        if client.selected is None or client.selected.mailbox != box.folder.remote:
            await client.select(box.folder.remote, examine=True)
        if client.selected is not None and client.selected.uidvalidity != box.uidvalidity:
            raise ResultError("it was replaced while it was read: begin again")

    def _adder(self, box: _Box, wanted: set[int]) -> Callable[[list[Fetched]], Coroutine[Any, Any, None]]:
        async def add(fetched: list[Fetched]) -> None:
            if box.origin is None:
                return
            taken = await foreign.add(self.account, box.origin, fetched)
            self.added += taken.added
            self._known += taken.known
            wanted.difference_update(one.uid for one in fetched)
            self._settled(len(fetched))

        return add

    def _noter(self, box: _Box, wanted: set[int]) -> Callable[[int, str], None]:
        def note(uid: int, why: str) -> None:
            wanted.discard(uid)
            self._unreadable_count += 1
            if len(self._unreadable) < _MAX_LISTED:
                self._unreadable.append(f"{box.folder.remote}, UID {uid}: {why}")
            self._settled(1)

        return note

    def _settled(self, count: int) -> None:
        self._done += count
        self._progress(self._done, max(self._total, self._done), "messages")


def _has(ascending: array[int], number: int) -> bool:
    at = bisect_left(ascending, number)
    return at < len(ascending) and ascending[at] == number
