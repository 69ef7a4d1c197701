"""The way of a job into a database: through its writer's thread, or written at once by the reactor's.

    lane = pool.lane(unit, log=database.sync_apart())       # ``moxtwisted.store.writer.WriterPool``
    added = await lane.submit(job, light=True)              # its result, when it is on disk

A job that is ``light`` does not go to the thread when there is nothing else to be done for its database: its transaction is written in
the reactor's thread, which takes less than to hand it over and back, and synced beside it (``moxtwisted.store.syncing``). What comes
before that sync has ended waits for it and is one transaction then. So a lane is free, or the thread has jobs of it (``_handed``), or
something that the reactor's thread wrote is on its way to the disk (``_written``). In each case answers and reports go out after the
sync, in the order of the transactions.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import apsw
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxtwisted.errors import MailError, StoreFullError, StoreUnavailableError
from moxtwisted.store.room import Room, disk_is_full
from moxtwisted.store.syncing import Syncs

__all__ = [
    "Answers",
    "Job",
    "Lane",
    "Log",
    "SingleConnection",
    "Unit",
    "Writer",
    "nothing",
    "rollback",
    "transaction",
    "translated",
]

_T = TypeVar("_T")
log = Logger()

#: So many light jobs of one database are done in one turn of the reactor; more are for the thread.
_PROMPT_JOBS: Final = 16

#: Of jobs, with their results or failures.
Answers = list[tuple[Deferred[Any], Any]]


class Unit(Protocol):
    """What a writer needs of one database; all but ``committed`` is called by who holds the lane's lock."""

    def begin(self) -> None:
        """Start a transaction."""

    def mark(self) -> int:
        """A number that grows with every change that a job makes."""

    def commit(self) -> Any:
        """COMMIT; returns what the reactor shall know."""

    def rollback(self) -> None:
        """Forget the transaction; back to what is on disk."""

    def committed(self, report: Any) -> None:
        """In the reactor's thread: what ``commit`` returned, before the jobs' answers."""


class Log(Protocol):
    """The log of a database whose COMMIT does not sync."""

    path: Path

    @property
    def prompt(self) -> bool:
        """Whether a commit now is only writing: nothing is synced and the log does not begin anew."""

    @property
    def handle(self) -> int:
        """The log's file."""

    def expect(self) -> None:
        """Before a commit in the reactor's thread."""

    def grown(self) -> bool:
        """After a commit in the reactor's thread: whether the lane's ``after`` has something to do."""


class Writer(Protocol):
    """The thread that a database is pinned to."""

    def put(self, job: Job) -> None:
        """Have it done."""

    def put_idle(self, lane: Lane, job: Callable[[], bool]) -> None:
        """Have it done when nothing else waits."""

    def worked(self) -> None:
        """The reactor's thread has written something: this is no time for idle work."""

    def report(self, lane: Lane, report: Any, answers: Answers) -> None:
        """Have a commit told in one of the reactor's next turns."""

    def deliver(self) -> None:
        """In the reactor's thread: tell of all that was done so far."""


@frozen
class SingleConnection:
    """A ``Unit`` of a database of which nothing is kept in memory that a commit or a rollback would change."""

    _connection: Any

    def begin(self) -> None:
        """Start a transaction."""
        self._connection.execute("BEGIN IMMEDIATE")

    def mark(self) -> int:
        """How many rows were changed."""
        return int(self._connection.total_changes())

    def commit(self) -> None:
        """COMMIT."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Forget the transaction."""
        if self._connection.intransaction:
            self._connection.execute("ROLLBACK")

    def committed(self, report: Any) -> None:
        """Nobody has to be told."""


def translated(error: BaseException) -> BaseException:
    """The error that a caller shall see for one that came out of SQLite."""
    if disk_is_full(error):
        return StoreFullError(str(error))
    if isinstance(error, (apsw.Error, OSError)):
        return StoreUnavailableError(f"{type(error).__name__}: {error}")
    return error


@define(eq=False)
class Job:
    """:ivar lasting: its answer says that it is on disk."""

    lane: Lane
    run: Callable[[], Any]
    answer: Deferred[Any]
    alone: bool = False
    grows: bool = False
    light: bool = False
    lasting: bool = True


def transaction(unit: Unit, jobs: list[Job]) -> tuple[Any, Answers, bool]:
    """Do the jobs in one transaction: what the unit reports, the answers, and whether there is anything to be synced.

    :raises Exception: anything but a job's refusal; the transaction may be open.
    """
    answers: Answers = []
    changed = False
    unit.begin()
    for job in jobs:
        mark = unit.mark()
        try:
            answers.append((job.answer, job.run()))
        except MailError as e:
            if unit.mark() != mark:
                raise
            answers.append((job.answer, Failure(e)))
        changed = changed or (job.lasting and unit.mark() != mark)
    return unit.commit(), answers, changed


def rollback(unit: Unit) -> None:
    """Forget a transaction that failed."""
    try:
        unit.rollback()
    except Exception:  # noqa: BLE001 - whoever writes must go on
        log.failure("rolling back failed")


@define(eq=False)
class Lane:
    """The way into one database's writer; jobs are done in the order of their coming.

    :ivar log: what is to be synced after COMMIT; None: COMMIT syncs.
    :ivar lock: held from the beginning of a transaction until what follows it is done: by the thread until ``after`` has returned, by the
        reactor's thread until the sync has ended.
    """

    unit: Unit
    _thread: Writer
    #: Called in the writer's thread after a transaction's answers went out.
    after: Callable[[], None] | None = None
    #: Called in the writer's thread when there was no room for a transaction, with whether the ballast may be used;
    #: whether it is worth to try again.
    make_room: Callable[[bool], bool] | None = None
    room: Room | None = None
    log: Log | None = None
    _syncs: Syncs | None = None
    closed: bool = field(default=False, init=False)
    #: Something that was written could not be synced.
    broken: bool = field(default=False, init=False)
    #: The thread has a transaction of it, or what follows one.
    working: bool = field(default=False, init=False)
    #: The thread has waited long enough for the lock: the next job is for it.
    wanted: bool = field(default=False, init=False)
    lock: threading.Lock = field(factory=threading.Lock, init=False)
    #: Jobs that the thread has, or whose answers are on their way from it. Only the reactor's thread counts.
    _handed: int = field(default=0, init=False)
    #: Answers to what the reactor's thread has written, while that is being synced; none while it is written and while they are told.
    _written: Answers | None = field(default=None, init=False)
    #: The reactor's thread is in the middle of a transaction.
    _writing: bool = field(default=False, init=False)
    #: What the unit reported with them.
    _report: Any = field(default=None, init=False)
    _waiting: list[Job] = field(factory=list, init=False)
    _last: deque[Job] = field(factory=deque, init=False)

    def submit(
        self, job: Callable[[], _T], *, grows: bool = False, light: bool = False, lasting: bool = True
    ) -> Deferred[_T]:
        """Run it inside a transaction; fires with its result when that is on disk, or fails with a MailError.

        :param grows: it only makes the database larger, and is refused while the last room is kept for other things.
        :param light: it takes some hundred microseconds at most and may run in the reactor's thread.
        :param lasting: False: its result may come before it is on disk.
        """
        answer: Deferred[_T] = Deferred()
        if self.closed:
            answer.errback(StoreUnavailableError("closed"))
            return answer
        made = Job(self, job, answer, grows=grows, light=light, lasting=lasting)
        if self._written is not None:
            self._waiting.append(made)
        elif light and self._may_write() and self.lock.acquire(blocking=False):
            self._write([made])
        else:
            self._hand([made])
        return answer

    def idle(self, job: Callable[[], bool]) -> None:
        """Run it in a transaction of its own when nothing else waits, again as long as it returns True."""
        if not self.closed:
            self._thread.put_idle(self, job)

    def close(self, job: Callable[[], _T]) -> Deferred[_T]:
        """Run a last job, outside any transaction, after all that were handed in; no more are taken."""
        answer: Deferred[_T] = Deferred()
        if self.closed:
            answer.errback(StoreUnavailableError("closed"))
            return answer
        self.closed = True
        self._last.append(Job(self, job, answer, alone=True))
        if self._written is None:
            self._hand_last()
        return answer

    def borrow(self) -> bool:
        """In the reactor's thread: whether the writer's connection may be used for reading now; if so, the thread waits for
        ``give_back``, before which nothing else is to be done.
        """
        if self._written is not None:
            # While what it wrote is synced and told of, the reactor's thread has the lock already.
            return not self._writing
        return self.lock.acquire(blocking=False)

    def give_back(self) -> None:
        """See ``borrow``."""
        if self._written is None:
            self.lock.release()

    def flush(self) -> None:
        """In the reactor's thread: have all on disk that was read so far, for who is going to show it.

        :raises StoreUnavailableError: it is not.
        """
        if (self._written or self.working) and self.log is not None:
            try:
                # Who waits for the sync that is on its way is told when that has ended.
                os.fdatasync(self.log.handle)
            except OSError as e:
                # The system tells of an error once.
                self._break(e)
                raise StoreUnavailableError(f"not on disk: {e}") from e

    def give_way(self) -> None:
        """In the reactor's thread, which is going to wait for the thread to do the last job: let it have the lane.

        What was written is synced here; who waits for that is told in one of the next turns.
        """
        written = self._written
        if written is None:
            return
        if written:
            if self.log is not None and not self.broken:
                try:
                    os.fdatasync(self.log.handle)
                except OSError as e:
                    self._break(e)
            self._handed += len(written)
            self._thread.report(self, self._report, self.truly(written))
        self._report = None
        self._free([])

    # -- writing in the reactor's thread -----------------------------------------------------------------------

    def _may_write(self) -> bool:
        return (
            self.log is not None
            and self._syncs is not None
            and not self._handed
            and not self.broken
            and not self.wanted
            and (self.room is None or not self.room.low)
            and self.log.prompt
        )

    def _hand(self, jobs: list[Job]) -> None:
        self._handed += len(jobs)
        for job in jobs:
            self._thread.put(job)

    def _free(self, jobs: list[Job]) -> None:
        """Let the thread have the lane, and do these, then all that waits."""
        waiting, self._waiting = self._waiting, []
        self.lock.release()
        self._hand([*jobs, *waiting])
        # Only now: who closes it in another thread does not come before them.
        self._written = None
        self._hand_last()

    def _hand_last(self) -> None:
        # It may be any thread that lets go of a database.
        with suppress(IndexError):
            self._thread.put(self._last.popleft())

    def _write(self, jobs: list[Job]) -> None:
        """Make a transaction and begin to sync it; the lock is held."""
        if self.log is None or self._syncs is None:
            raise RuntimeError("nothing syncs this lane")
        # Whoever lets go of the database meanwhile, by collecting garbage say, must not have the thread wait for the lock.
        self._written = []
        self._writing = True
        try:
            self.log.expect()
            handle = self.log.handle
            report, answers, changed = transaction(self.unit, jobs)
        except Exception:  # noqa: BLE001 - the thread tries again, and knows what to do when it does not succeed either
            rollback(self.unit)
            self._free(jobs)
            return
        finally:
            self._writing = False
        if changed:
            self._thread.worked()
            self._written, self._report = answers, report
            self._syncs.start(handle, partial(self._synced, report, answers))
            return
        self._handed += len(answers)
        self._thread.report(self, report, answers)
        self._free([])

    def _synced(self, report: Any, answers: Answers, error: OSError | None) -> None:
        """What was written is on disk, or is not going to be."""
        if error is not None:
            # The system tells each error once: who gave way and synced it himself may have heard nothing of it.
            self._break(error)
        if self._written is not answers:
            # It gave way.
            return
        # While they are told the lane is not free: what they hand in waits behind what came before.
        telling: Answers = []
        self._written, self._report = telling, None
        self._thread.deliver()
        self.tell(report, self.truly(answers))
        if self._written is not telling:
            return
        jobs, self._waiting = self._waiting, []
        if self._grown():
            jobs.append(Job(self, nothing, Deferred()))
        if jobs and len(jobs) <= _PROMPT_JOBS and all(job.light for job in jobs) and self._may_write():
            self._write(jobs)
            return
        self._free(jobs)

    def _grown(self) -> bool:
        try:
            return self.log is not None and self.log.grown()
        except Exception:  # noqa: BLE001 - the lock must be let go of; the thread will see for itself
            log.failure("asking for the length of a log failed")
            return True

    def tell(self, report: Any, answers: Answers, handed: int = 0) -> None:
        """In the reactor's thread: tell of a commit, then give the jobs their answers, of which so many come from the thread."""
        self._handed -= handed
        if report is not None:
            try:
                self.unit.committed(report)
            except Exception:  # noqa: BLE001 - the answers must go out
                log.failure("telling of a commit failed")
        if handed and self.broken:
            # The thread's sync knows nothing of an error that one beside it was told of.
            answers = self.truly(answers)
        for answer, result in answers:
            answer.callback(result)

    def sync(self) -> None:
        """In the writer's thread: bring to disk what was written."""
        if self.log is not None:
            try:
                os.fdatasync(self.log.handle)
            except OSError as e:
                self._break(e)

    def _break(self, error: OSError) -> None:
        """What was written could not be synced.

        Nobody knows what of the log is on disk then, and a next sync might succeed without it: nothing is written until
        the file was opened anew.
        """
        if not self.broken:
            log.critical(
                "what was written to {path} could not be brought to the disk: {error}. Nothing more is taken for it;"
                " see what is wrong with the disk, then start the server anew",
                path=None if self.log is None else self.log.path,
                error=error,
            )
        self.broken = True

    def truly(self, answers: Answers) -> Answers:
        """What may be answered to what was written: failures, if it is not on disk."""
        if not self.broken:
            return answers
        failure = Failure(StoreUnavailableError("what was written could not be brought to the disk"))
        return [(answer, failure) for answer, _ in answers]


def nothing() -> None:
    """A job that only has the thread tidy up."""
