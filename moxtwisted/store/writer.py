"""Group commit: a few threads, each writing the databases that are pinned to it.

Whoever wants to change a database hands a job to its ``Lane`` and gets a Deferred::

    lane = pool.lane(ledger)
    added = await lane.submit(lambda: add(ledger, prepared))     # fires after COMMIT returned

A writer thread takes everything that queued up while it was committing, puts all jobs of one database into one
transaction, commits, and reports to the reactor; there is no artificial delay, so one job alone is one commit at once.
A job that refuses with a ``MailError`` before it changed anything only gets its own answer. When anything else goes
wrong the transaction is rolled back and its jobs run again, each in a transaction of its own, so that one cannot spoil
the others. Jobs must therefore be repeatable: what they change outside the database is the ledger's, which reloads.

When the disk is full, the log is written back and the transaction tried again; jobs that do not say that they grow the
database may then use the ballast (``moxtwisted.store.room``), and while that is gone, those that do are refused.

What is light is written without the thread (``moxtwisted.store.lanes``).

Jobs handed to ``Lane.idle`` run in small slices when nothing else waits; nobody is told of them, so they are not synced.

With ``threads=0`` everything happens in the caller at once: for tests and for tools without a reactor.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxtwisted.errors import StoreFullError
from moxtwisted.store.lanes import (
    Answers,
    Job,
    Lane,
    Log,
    Unit,
    Writer,
    nothing,
    rollback,
    transaction,
    translated,
)
from moxtwisted.store.room import Room, disk_is_full
from moxtwisted.store.syncing import Syncs

__all__ = ["WriterPool"]

log = Logger()

#: Jobs in one transaction at most: bounds its memory and how long the first one waits.
BATCH_JOBS: Final = 1000
#: A slice of idle work starts after this long without jobs, seconds: a busy account is indexed in its pauses.
QUIET_SECONDS: Final = 0.05
#: Idle work that waited this long gets a slice between two batches even when it never is quiet, seconds.
STARVED_SECONDS: Final = 2.0
#: How often a transaction that found no room is tried again: after writing the log back, and without the ballast.
_TRIES: Final = 2


class _Reports:
    """What all threads have done, on its way to the reactor: one call for whatever comes before the reactor takes it.

    :param reactor: for callFromThread; None: somebody calls ``deliver``.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._done: deque[tuple[Lane, Any, Answers, int]] = deque()
        self._called = False

    def put(self, lane: Lane, report: Any, answers: Answers, handed: int) -> None:
        """In any thread; so many of them were handed to the thread."""
        self._done.append((lane, report, answers, handed))
        if not self._called and self._reactor is not None:
            self._called = True
            self._reactor.callFromThread(self.deliver)

    def deliver(self) -> None:
        """In the reactor's thread: tell of the commits, then give the jobs their answers."""
        # Before taking: a report that comes after the last one was taken calls again.
        self._called = False
        while self._done:
            lane, report, answers, handed = self._done.popleft()
            lane.tell(report, answers, handed)


class _Writer:
    """One thread and its queue."""

    def __init__(self, reports: _Reports) -> None:
        self._reports = reports
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._idle: deque[tuple[Lane, Callable[[], bool]]] = deque()
        self._last_idle = 0.0
        #: Whose jobs the reactor's thread leaves to this one, so that its idle job has its turn.
        self._awaited: Lane | None = None
        self._last_work = 0.0
        self._thread: threading.Thread | None = None

    def start(self, name: str) -> None:
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what was handed in; waits for it."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        self._reports.deliver()

    def put(self, job: Job) -> None:
        self._jobs.put(job)

    def put_idle(self, lane: Lane, job: Callable[[], bool]) -> None:
        if not self._idle:
            self._last_idle = time.monotonic()
        self._idle.append((lane, job))
        self._jobs.put(_WAKE)

    def report(self, lane: Lane, report: Any, answers: Answers) -> None:
        self._reports.put(lane, report, answers, len(answers))

    def deliver(self) -> None:
        self._reports.deliver()

    def worked(self) -> None:
        self._last_work = time.monotonic()

    # -- in the thread -----------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            batch = [job]
            ended = False
            while len(batch) < BATCH_JOBS:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                batch.append(more)
            self.work(batch)
            if ended:
                return

    def _next(self) -> Job | None:
        """The next job; works on idle jobs meanwhile."""
        if not self._idle:
            return self._jobs.get()
        if self._starved():
            self._idle_slice()
        while self._idle:
            try:
                return self._jobs.get(timeout=QUIET_SECONDS)
            except queue.Empty:
                pass
            while self._idle and self._jobs.empty() and (self._quiet() or self._starved()):
                if not self._idle_slice():
                    break
        return self._jobs.get()

    def _quiet(self) -> bool:
        return time.monotonic() - self._last_work >= QUIET_SECONDS

    def _starved(self) -> bool:
        return time.monotonic() - self._last_idle > STARVED_SECONDS

    def _take_idle(self) -> tuple[Lane, Callable[[], bool]] | None:
        """The next idle job of a database that is free, whose lock is held then; None: none is.

        After some time the first of them shall be: the reactor's thread leaves its jobs to this one, and those of no other.
        """
        for _ in range(len(self._idle)):
            lane, job = self._idle.popleft()
            if lane.lock.acquire(blocking=False):
                if self._awaited is not None:
                    self._awaited.wanted = False
                    self._awaited = None
                return lane, job
            self._idle.append((lane, job))
        if self._awaited is None and self._idle and self._starved():
            self._awaited = self._idle[0][0]
            self._awaited.wanted = True
        return None

    def _idle_slice(self) -> bool:
        """Do the next idle job for a while; False: the reactor's thread is writing what it would write."""
        taken = self._take_idle()
        if taken is None:
            return False
        lane, job = taken
        more: list[bool] = []
        try:
            if not lane.closed:
                answer: Deferred[Any] = Deferred()
                answer.addErrback(lambda failure: log.failure("background work of the store failed", failure))
                self._transact(lane, [Job(lane, lambda: more.append(job()), answer, lasting=False)], 0)
                self._tidy(lane)
        finally:
            lane.lock.release()
        if more and more[-1]:
            self._idle.append((lane, job))
        self._last_idle = time.monotonic()
        return True

    def work(self, batch: list[Job]) -> None:
        """Do these jobs: a transaction for each lane."""
        lanes: dict[Lane, list[Job]] = {}
        for job in batch:
            if job.lane is not _WAKE.lane:
                lanes.setdefault(job.lane, []).append(job)
        for lane, jobs in lanes.items():
            with lane.lock:
                last = jobs.pop() if jobs[-1].alone else None
                if jobs:
                    lane.working = True
                    self._transact(lane, jobs, len(jobs))
                    self._tidy(lane)
                    lane.working = False
                if last is not None:
                    self._reports.put(lane, None, [(last.answer, self._alone(last))], 0)

    @staticmethod
    def _alone(job: Job) -> Any:
        try:
            return job.run()
        except Exception as e:  # noqa: BLE001 - a boundary: the caller gets it
            return Failure(translated(e))

    def _transact(self, lane: Lane, jobs: list[Job], handed: int, tries: int = 0) -> None:
        """Do jobs, of which so many were handed in (none, or all); the lock is held."""
        if lane.room is not None and lane.room.low and not lane.room.restore():
            jobs = self._without_growth(lane, jobs, handed)
            if not jobs:
                return
        if handed:
            handed = len(jobs)
        if lane.broken:
            self._reports.put(lane, None, lane.truly([(job.answer, None) for job in jobs]), handed)
            return
        try:
            report, answers, changed = transaction(lane.unit, jobs)
        except Exception as e:  # noqa: BLE001 - a boundary: each caller gets its own
            rollback(lane.unit)
            if disk_is_full(e) and tries < _TRIES and self._made_room(lane, jobs, tries):
                self._transact(lane, jobs, handed, tries + 1)
                return
            if len(jobs) > 1:
                for job in jobs:
                    self._transact(lane, [job], min(handed, 1), min(tries, 1))
                return
            report, answers, changed = None, [(jobs[0].answer, Failure(translated(e)))], False
        if changed:
            lane.sync()
        self._reports.put(lane, report, lane.truly(answers), handed)

    @staticmethod
    def _tidy(lane: Lane) -> None:
        if lane.after is not None:
            try:
                lane.after()
            except Exception:  # noqa: BLE001 - a full disk, say: tried again after the next one
                log.failure("tidying up after a commit failed")

    def _without_growth(self, lane: Lane, jobs: list[Job], handed: int) -> list[Job]:
        """Refuse those that grow; the others."""
        refused = [job for job in jobs if job.grows]
        if refused:
            error = StoreFullError("the disk is full, what is left is for deleting")
            self._reports.put(
                lane, None, [(job.answer, Failure(error)) for job in refused], min(handed, len(refused))
            )
        return [job for job in jobs if not job.grows]

    @staticmethod
    def _made_room(lane: Lane, jobs: list[Job], tries: int) -> bool:
        if lane.make_room is None:
            return False
        try:
            return lane.make_room(tries > 0 and not any(job.grows for job in jobs)) or (
                # The ballast is for one job alone that does not grow anything.
                tries == 0 and len(jobs) == 1 and not jobs[0].grows and lane.make_room(True)
            )
        except Exception:  # noqa: BLE001 - the thread must live
            log.failure("making room failed")
            return False


class _Inline(_Writer):
    """Works in the caller's thread, each job at once."""

    def __init__(self) -> None:
        super().__init__(_Reports(None))
        self._busy = False

    def start(self, name: str) -> None:
        pass

    def put(self, job: Job) -> None:
        super().put(job)
        self._run()

    def put_idle(self, lane: Lane, job: Callable[[], bool]) -> None:
        self._idle.append((lane, job))
        self._run()

    def stop(self) -> None:
        self._run()

    def _run(self) -> None:
        # A job handed in by an answer waits for its turn, as with threads.
        if self._busy:
            return
        self._busy = True
        try:
            while not self._jobs.empty() or self._idle:
                if not self._jobs.empty():
                    job = self._jobs.get()
                    if job is not None:
                        self.work([job])
                else:
                    self._idle_slice()
                self._reports.deliver()
        finally:
            self._busy = False


class _Nothing:
    """The unit of no database."""

    def begin(self) -> None: ...

    def mark(self) -> int:
        return 0

    def commit(self) -> Any: ...

    def rollback(self) -> None: ...

    def committed(self, report: Any) -> None: ...


_WAKE: Final = Job(Lane(_Nothing(), _Writer(_Reports(None))), nothing, Deferred())


class WriterPool:
    """A few writer threads; each new lane goes to the one with the fewest.

    :param reactor: for callFromThread.
    :param threads: 0: no threads, jobs run in the caller.
    :param room: of the file system that the databases lie on.
    """

    def __init__(self, reactor: Any, threads: int = 3, room: Room | None = None) -> None:
        self.room = room
        self._syncs = Syncs(reactor) if threads else None
        reports = _Reports(reactor)
        self._writers: list[_Writer] = [_Writer(reports) for _ in range(threads)] or [_Inline()]
        self._lanes: dict[Writer, int] = dict.fromkeys(self._writers, 0)
        for number, writer in enumerate(self._writers):
            writer.start(f"store-writer-{number}")

    def leave_reactor_alone_while(self, pressed: Callable[[], bool]) -> None:
        """See ``Syncs.leave_alone_while``."""
        if self._syncs is not None:
            self._syncs.leave_alone_while(pressed)

    def lane(
        self,
        unit: Unit,
        after: Callable[[], None] | None = None,
        make_room: Callable[[bool], bool] | None = None,
        log: Log | None = None,
    ) -> Lane:
        """Pin a database to a writer.

        :param after: called in the writer's thread after each transaction's answers went out.
        :param make_room: see L{Lane}.
        :param log: see L{Lane}; the unit's COMMIT must not sync then.
        """
        writer = min(self._writers, key=lambda one: self._lanes[one])
        self._lanes[writer] += 1
        lane = Lane(unit, writer, after, make_room, self.room, log, self._syncs)
        if self.room is not None:
            self.room.register(lane)
        return lane

    def release(self, lane: Lane) -> None:
        """A closed lane counts no longer."""
        self._lanes[lane._thread] -= 1  # noqa: SLF001

    def stop(self) -> None:
        """End the threads after all that was handed in; what they report is delivered before this returns."""
        if self._syncs is not None:
            self._syncs.stop()
        for writer in self._writers:
            writer.stop()
