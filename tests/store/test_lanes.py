"""Jobs that the reactor's thread writes: who is told when, in what order, and what goes to the thread."""

from __future__ import annotations

import errno
import gc
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from unittest import mock

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from moxtwisted.errors import OverQuotaError, StoreUnavailableError
from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.store import lanes, writer
from moxtwisted.store.database import connect
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store
from moxtwisted.store.syncing import Syncs
from moxtwisted.store.writeaheadlog import WriteAheadLog
from tests.store import test_writer


@define
class HeldSyncs:
    """Keeps what is to be synced until the test says so."""

    held: list[Callable[[OSError | None], None]] = field(factory=list)

    def start(self, handle: int, done: Callable[[OSError | None], None]) -> None:
        """Keep it."""
        self.held.append(done)

    def end(self, error: OSError | None = None) -> None:
        """The oldest has ended."""
        self.held.pop(0)(error)

    def stop(self) -> None:
        """End all."""
        while self.held:
            self.end()


class FakeLog:
    """A log in a file of its own."""

    def __init__(self, handle: int) -> None:
        self.path = Path("fake.db")
        self.prompt = True
        self.handle = handle
        self.full = False
        self.expected = 0

    def expect(self) -> None:
        """A commit comes."""
        self.expected += 1

    def grown(self) -> bool:
        """Whether there is something to tidy."""
        return self.full


class LightJobsTests(test_writer.WriterTests):
    """All that is true of jobs for the thread is true where light ones are, too; and more."""

    def setUp(self) -> None:
        """A lane that syncs apart."""
        super().setUp()
        self.syncs = HeldSyncs()
        pool: Any = self.pool
        pool._syncs = self.syncs
        file = self.enterContext(tempfile.TemporaryFile())
        self.log = FakeLog(file.fileno())
        self.tidied = threading.Event()
        self.lane = self.pool.lane(self.ledger, self.tidied.set, None, self.log)

    def light(self, name: str) -> None:
        """Hand in a light job that puts this."""
        self.lane.submit(lambda: self.ledger.put(name), light=True).addBoth(self.results.append)

    def test_nobody_is_told_before(self) -> None:
        """What is written is told and answered when it is on disk, and not before."""
        self.light("a")
        self.assertEqual(self.ledger.log, ["begin", "commit"])
        self.assertEqual(self.results, [])
        self.syncs.end()
        self.assertEqual(self.ledger.log, ["begin", "commit", "told a"])
        self.assertEqual(self.results, ["A"])

    def test_where(self) -> None:
        """A light job runs in the caller's thread, another one does not."""
        ran: list[int] = []

        def job() -> None:
            ran.append(threading.get_ident())
            self.ledger.put("x")

        self.lane.submit(job, light=True).addBoth(self.results.append)
        self.syncs.end()
        self.lane.submit(job).addBoth(self.results.append)
        self.go(2)
        self.assertEqual(ran[0], threading.get_ident())
        self.assertNotEqual(ran[1], threading.get_ident())

    def test_meanwhile(self) -> None:
        """What comes during a sync is one transaction after it."""
        for name in "abc":
            self.light(name)
        self.assertEqual(self.ledger.log, ["begin", "commit"])
        self.syncs.end()
        self.assertEqual(self.ledger.log, ["begin", "commit", "told a", "begin", "commit"])
        self.syncs.end()
        self.assertEqual(self.ledger.log[5:], ["told b,c"])
        self.assertEqual(self.results, ["A", "B", "C"])

    def test_behind_the_thread(self) -> None:
        """A light job does not overtake one that the thread has, nor one whose answer is on its way."""
        self.hold()
        self.submit(lambda: self.ledger.put("a"))
        self.light("b")
        self.assertEqual(self.ledger.log, [])
        self.go(2)
        self.assertEqual(self.results, ["A", "B"])
        self.light("c")
        self.assertEqual(len(self.syncs.held), 1)
        self.syncs.end()
        self.assertEqual(self.results, ["A", "B", "C"])

    def test_in_order(self) -> None:
        """A heavy job waits for the sync before it, and the light one behind it for both."""
        self.light("a")
        self.submit(lambda: self.ledger.put("b"))
        self.light("c")
        self.syncs.end()
        self.go(3)
        self.assertEqual(self.results, ["A", "B", "C"])
        self.assertEqual(self.ledger.kept, ["a", "b", "c"])

    def test_from_an_answer(self) -> None:
        """What an answer hands in comes behind what waited already."""
        self.lane.submit(lambda: self.ledger.put("a"), light=True).addCallback(lambda _: self.light("c"))
        self.light("b")
        self.syncs.end()
        self.syncs.end()
        self.assertEqual(self.ledger.kept, ["a", "b", "c"])
        self.assertEqual(self.results, ["B", "C"])

    def test_many(self) -> None:
        """More than a few that waited are the thread's."""
        self.light("a")
        for number in range(lanes._PROMPT_JOBS + 1):
            self.light(str(number))
        self.syncs.end()
        self.assertEqual(self.syncs.held, [])
        self.go(lanes._PROMPT_JOBS + 2)
        self.assertEqual(len(self.ledger.kept), lanes._PROMPT_JOBS + 2)

    def test_refused_job(self) -> None:
        """A job that changed nothing is answered without a sync, in a turn of its own."""
        self.lane.submit(self.ledger.refuse, light=True).addBoth(self.results.append)
        self.assertEqual((self.syncs.held, self.results), ([], []))
        self.go(1)
        self.results[0].trap(OverQuotaError)
        self.light("a")
        self.syncs.end()
        self.assertEqual(self.results[1:], ["A"])

    def test_spoilt(self) -> None:
        """A job that fails half way is taken back, and the thread tries each alone."""
        self.light("a")
        self.lane.submit(self.ledger.spoil, light=True).addBoth(self.results.append)
        self.light("b")
        self.syncs.end()
        self.assertIn("rollback", self.ledger.log)
        self.go(3)
        self.results[1].trap(OverQuotaError)
        self.assertEqual([self.results[0], self.results[2]], ["A", "B"])
        self.assertNotIn("half", self.ledger.kept[:1] + self.ledger.kept[-1:])

    def test_not_synced(self) -> None:
        """What could not be synced is answered with a failure, and nothing is written any more, in no thread."""
        self.light("a")
        self.light("b")
        self.submit(lambda: self.ledger.put("c"))
        self.syncs.end(OSError(errno.EIO, "the disk is bad"))
        self.go(3)
        for result in self.results:
            self.assertIsInstance(result, Failure)
            result.trap(StoreUnavailableError)
        self.light("d")
        self.go(4)
        self.results[3].trap(StoreUnavailableError)
        self.assertEqual(self.ledger.kept, ["a"])
        self.assertEqual(self.ledger.log, ["begin", "commit", "told a"])

    def test_not_synced_by_the_thread(self) -> None:
        """So it is when the thread could not."""
        with mock.patch.object(os, "fdatasync", side_effect=OSError(errno.EIO, "the disk is bad")):
            self.submit(lambda: self.ledger.put("a"))
            self.go(1)
        self.results[0].trap(StoreUnavailableError)
        self.light("b")
        self.go(2)
        self.results[1].trap(StoreUnavailableError)
        self.assertEqual(self.ledger.kept, ["a"])

    def test_flush(self) -> None:
        """Who is going to show what readers see has it synced; when that fails the answer that waits is a failure."""
        with mock.patch.object(os, "fdatasync") as synced:
            self.lane.flush()
            self.assertEqual(synced.call_count, 0)
            self.light("a")
            self.lane.flush()
            self.assertEqual(synced.call_count, 1)
            synced.side_effect = OSError(errno.EIO, "the disk is bad")
            self.assertRaises(StoreUnavailableError, self.lane.flush)
        self.assertEqual(self.results, [])
        self.syncs.end()
        self.results[0].trap(StoreUnavailableError)

    def test_fresh_log(self) -> None:
        """When the log begins anew, which syncs, the thread writes; when it is full, the thread tidies up."""
        self.log.prompt = False
        self.light("a")
        self.assertEqual((self.syncs.held, self.log.expected), ([], 0))
        self.go(1)
        self.assertTrue(self.tidied.wait(10))
        self.tidied.clear()
        self.log.prompt = self.log.full = True
        # The thread holds the lane until it has tidied up.
        self.lane.lock.acquire()
        self.lane.lock.release()
        self.light("b")
        self.assertEqual(self.log.expected, 1)
        self.syncs.end()
        self.assertTrue(self.tidied.wait(10))
        self.assertEqual(self.results, ["A", "B"])

    def test_log_that_cannot_be_asked(self) -> None:
        """When the log's length cannot be found out the lane is free all the same, and the thread tidies up."""
        self.light("a")
        with mock.patch.object(self.log, "grown", side_effect=OSError(errno.EIO, "the disk is bad")):
            self.syncs.end()
        self.assertTrue(self.tidied.wait(10))
        self.submit(lambda: self.ledger.put("b"))
        self.go(2)
        self.assertEqual(self.results, ["A", "B"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_idle_meanwhile(self) -> None:
        """Idle work waits until what was written is on disk, so that reports keep their order."""
        done = threading.Event()
        self.light("a")

        def work() -> bool:
            done.set()
            return False

        self.lane.idle(work)
        self.assertFalse(done.wait(0.2))
        self.syncs.end()
        self.assertTrue(done.wait(10))

    def other_lane(self) -> lanes.Lane:
        """Another database of the same thread."""
        return self.pool.lane(test_writer.Ledger(), None, None, self.log)

    def test_idle_of_the_free(self) -> None:
        """A database that is being synced is passed over: the idle work of the next one is done."""
        done: list[str] = []
        ready = {"busy": threading.Event(), "free": threading.Event()}
        other = self.other_lane()

        def work(name: str) -> bool:
            done.append(name)
            ready[name].set()
            return False

        self.light("a")
        self.lane.idle(lambda: work("busy"))
        other.idle(lambda: work("free"))
        self.assertTrue(ready["free"].wait(10))
        self.assertEqual(done, ["free"])
        self.syncs.end()
        self.assertTrue(ready["busy"].wait(10))

    def test_starved(self) -> None:
        """Of databases that are never free one leaves its jobs to the thread, which has its turn so; the others do not."""
        self.patch(writer, "STARVED_SECONDS", -1.0)
        other = self.other_lane()
        done = threading.Event()

        def work() -> bool:
            done.set()
            return False

        self.assertTrue(self.lane.lock.acquire(timeout=10))
        self.assertTrue(other.lock.acquire(timeout=10))
        self.lane.idle(work)
        other.idle(lambda: False)
        for _ in range(1000):
            if self.lane.wanted:
                break
            done.wait(0.01)
        self.assertEqual((self.lane._may_write(), other._may_write()), (False, True))
        self.light("a")
        self.lane.lock.release()
        self.assertTrue(done.wait(10))
        self.go(1)
        other.lock.release()
        self.pool.stop()
        self.assertEqual(self.results, ["A"])
        self.assertEqual((self.lane.wanted, other.wanted), (False, False))

    def test_closed_meanwhile(self) -> None:
        """The last job comes after what is being synced and what waits for that."""
        self.light("a")
        self.light("b")
        self.lane.close(lambda: list(self.ledger.kept)).addBoth(self.results.append)
        self.light("c")
        self.syncs.end()
        self.syncs.end()
        self.go(4)
        self.assertEqual(self.results[1:], ["A", "B", ["a", "b"]])
        self.results[0].trap(StoreUnavailableError)

    def test_closed_while_writing(self) -> None:
        """So it does when somebody lets go of the database in the middle of a transaction: the thread waits for nobody's lock."""
        pool: Any = self.pool
        other = pool.lane(test_writer.Ledger())
        other._thread = self.lane._thread

        def write() -> str:
            self.lane.close(lambda: list(self.ledger.kept)).addBoth(self.results.append)
            return self.ledger.put("a")

        self.lane.submit(write, light=True).addBoth(self.results.append)
        other.submit(lambda: "other").addBoth(self.results.append)
        self.go(1)
        self.assertEqual(self.results, ["other"])
        self.syncs.end()
        self.go(3)
        self.assertEqual(self.results, ["other", "A", ["a"]])

    def test_stopped_meanwhile(self) -> None:
        """Who stops the writers has all answers."""
        self.light("a")
        self.light("b")
        self.submit(lambda: self.ledger.put("c"))
        self.pool.stop()
        self.assertEqual(self.results, ["A", "B", "C"])

    def test_give_way(self) -> None:
        """Who waits for the thread to close has it all done without the sync that is under way, in the same order."""
        self.light("a")
        self.light("b")
        self.lane.close(lambda: self.results.append("closed"))
        self.lane.give_way()
        self.lane.give_way()
        with self.lane.lock:
            pass
        self.go(2)
        self.assertEqual([one for one in self.results if one != "closed"], ["A", "B"])
        self.assertLess(self.ledger.log.index("told a"), self.ledger.log.index("told b"))
        self.syncs.end()
        self.assertEqual(self.ledger.kept, ["a", "b"])

    def test_failure_after_giving_way(self) -> None:
        """A sync that fails is believed, though another one of the same file succeeded since: the system tells each error once."""
        self.light("a")
        self.lane.give_way()
        self.syncs.end(OSError(errno.EIO, "the disk is bad"))
        self.assertTrue(self.lane.broken)
        self.submit(lambda: self.ledger.put("b"))
        self.go(2)
        self.assertEqual(self.results.count("B"), 0)

    def test_give_way_while_telling(self) -> None:
        """So it is when he was told himself just now."""
        done = threading.Event()

        def wait(_: object) -> None:
            self.lane.close(done.set)
            self.lane.give_way()
            self.assertTrue(done.wait(10))

        self.lane.submit(lambda: self.ledger.put("a"), light=True).addCallback(wait).addErrback(
            self.results.append
        )
        self.light("b")
        self.syncs.end()
        self.go(1)
        self.assertEqual(self.results, ["B"])

    def test_flush_while_the_thread_writes(self) -> None:
        """What the thread has committed is synced too for who is going to show it."""
        begun, end = threading.Event(), threading.Event()
        synced: list[int] = []

        def sync(handle: int) -> None:
            synced.append(threading.get_ident())
            if len(synced) == 1:
                begun.set()
                end.wait(10)

        with mock.patch.object(os, "fdatasync", sync):
            self.submit(lambda: self.ledger.put("a"))
            self.assertTrue(begun.wait(10))
            self.lane.flush()
            self.assertEqual(synced[-1], threading.get_ident())
            end.set()
            self.go(1)

    def test_flush_is_told_of_the_error(self) -> None:
        """When two sync at the same time, and the system tells the reactor's thread alone that it failed, nobody has a good answer."""
        begun, told, answered = threading.Event(), threading.Event(), threading.Event()
        writer: Any = self.lane._thread
        put = writer._reports.put

        def report(*args: Any) -> None:
            put(*args)
            answered.set()

        def sync(handle: int) -> None:
            if threading.current_thread() is threading.main_thread():
                told.set()
                answered.wait(10)
                raise OSError(errno.EIO, "the disk is bad")
            begun.set()
            told.wait(10)

        with mock.patch.object(os, "fdatasync", sync), mock.patch.object(writer._reports, "put", report):
            self.submit(lambda: self.ledger.put("a"))
            self.assertTrue(begun.wait(10))
            self.assertRaises(StoreUnavailableError, self.lane.flush)
            self.go(1)
        self.results[0].trap(StoreUnavailableError)


class OpeningTests(TestCase):
    """An account that is asked for while it is being closed, and its files."""

    timeout = 60

    async def opened(self) -> Store:
        """A store with an account of which the next small message is written by the reactor."""
        store = Store.open(reactor, Path(self.mktemp()), MasterKey(bytes(32)))
        self.addCleanup(store.close)
        account = await store.create_account("u")
        for _ in range(3):
            await account.add([self.addition(store)])
        # It would wait for syncs that are held.
        await account.index.stop()
        # Whoever gave us the account holds it until we have returned to the reactor.
        await deferLater(reactor, 0)
        return store

    def addition(self, store: Store) -> Addition:
        """A small message."""
        staging = store.stage()
        staging.write(b"Subject: x\r\n\r\nx")
        return Addition("INBOX", NewMessage(staging.finish(), b"", 1_700_000_000))

    def let_go(self, store: Store) -> None:
        """Nobody uses the account any more."""
        store._kept.clear()
        gc.collect()
        self.assertFalse(store.opened("u"))

    async def test_let_go_while_syncing(self) -> None:
        """An account that was let go of while something is being synced opens again at once, and has it."""
        store = await self.opened()
        syncs = HeldSyncs()
        self.addCleanup(syncs.stop)
        store.account("u")._lane._syncs = cast("Any", syncs)
        while not syncs.held:
            # The thread may have had idle work, and got the one before; answers come while the lane is not free.
            await deferLater(reactor, 0)
            added = store.account("u").add([self.addition(store)])
            if not syncs.held:
                await added
        self.let_go(store)
        with mock.patch("moxtwisted.store.store._CLOSING_SECONDS", 10.0):
            account = store.account("u")
        (one,) = await added
        self.assertEqual(list(account.state(1).uids), list(range(1, one.uid + 1)))

    async def test_being_removed(self) -> None:
        """An account that is being removed is not opened again: its files are going to be deleted."""
        store = await self.opened()
        removed = store.remove_account("u")
        self.assertRaises(StoreUnavailableError, store.account, "u")
        await removed
        account = await store.create_account("u")
        await account.add([self.addition(store)])
        self.assertTrue((store._directory / "accounts" / "u.db").exists())

    async def test_not_removed(self) -> None:
        """One that could not be removed is there still."""
        store = await self.opened()
        with mock.patch("moxtwisted.store.store.remove_database", side_effect=OSError(errno.EIO, "no")):
            await self.assertFailure(store.remove_account("u"), OSError)
        self.assertEqual(list(store.account("u").state(1).uids), [1, 2, 3])

    async def test_no_more_files(self) -> None:
        """When there are too many files open an account is not opened; one that is can always be synced."""
        store = await self.opened()
        self.let_go(store)
        with mock.patch.object(WriteAheadLog, "handle", side_effect=OSError(errno.EMFILE, "too many")):
            self.assertRaises(StoreUnavailableError, store.account, "u")
            self.assertRaises(StoreUnavailableError, store.account, "u")
        with mock.patch("moxtwisted.store.writeaheadlog.os.open", side_effect=OSError(errno.EMFILE, "no")):
            self.assertRaises(StoreUnavailableError, store.account, "u")
        account = store.account("u")
        with mock.patch("moxtwisted.store.writeaheadlog.os.open", side_effect=OSError(errno.EMFILE, "no")):
            self.assertEqual([one.uid for one in await account.add([self.addition(store)])], [4])


class Snapshots(Syncs):
    """Copies all files as they are when a sync of one begins: no more than that would be there after a power failure.

    :ivar copied: the last copy.
    """

    data: Path
    copies: Path
    number = 0

    def start(self, handle: int, done: Callable[[OSError | None], None]) -> None:
        """Copy, then sync; told is who waits after the copy has become the last one."""
        self.number += 1
        copy = self.copies / str(self.number)
        shutil.copytree(self.data / "accounts", copy, ignore=shutil.ignore_patterns("*-shm"))

        def ended(error: OSError | None) -> None:
            self.copied = copy
            done(error)

        super().start(handle, ended)


class PowerFailureTests(TestCase):
    """What is acknowledged was written before a sync that has ended."""

    async def test_acknowledged(self) -> None:
        """Each message and each flag is in the files as they were when the sync before its acknowledgement began."""
        directory = Path(self.mktemp())
        store = Store.open(reactor, directory / "data", MasterKey(bytes(32)))
        self.addCleanup(store.close)
        snapshots = Snapshots(reactor)
        snapshots.data, snapshots.copies = directory / "data", directory / "copies"
        if store.pool._syncs is not None:
            store.pool._syncs.stop()
        store.pool._syncs = snapshots
        self.account = account = await store.create_account("u")
        key = store.database_key("accounts/u")
        dice = random.Random(1)
        checked = 0
        for number in range(25):
            staging = store.stage()
            staging.write(
                b"Subject: %d\r\n\r\n" % number + dice.randbytes(dice.randrange(9000)).hex().encode()
            )
            message = NewMessage(staging.finish(), b"", 1_700_000_000)
            (added,) = await account.add([Addition("INBOX", message)])
            before = snapshots.number
            await account.store_flags(added.mailbox, [added.uid], "add", MessageFlags(SEEN))
            if snapshots.number == before:
                continue
            checked += 1
            connection = connect(snapshots.copied / "u.db", key)
            rows = connection.execute("SELECT uid, flags FROM message ORDER BY uid").fetchall()
            connection.close()
            self.assertEqual(rows, [(uid, SEEN) for uid in range(1, added.uid + 1)])
        # The first commits of a log are the thread's, and those behind the search index.
        self.assertGreater(checked, 5)
