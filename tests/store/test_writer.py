"""Group commit: what is together in a transaction, who gets which answer, and in what order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import apsw
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import OverQuotaError, StoreFullError, StoreUnavailableError
from moxtwisted.store.lanes import translated
from moxtwisted.store.writer import WriterPool


class FakeReactor:
    """Keeps what threads want to be called."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.called = threading.Semaphore(0)

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        """Keep it."""
        self.calls.append(lambda: function(*args))
        self.called.release()

    def turn(self) -> None:
        """Wait for a call and make it."""
        if not self.called.acquire(timeout=10):
            raise AssertionError("no thread reported")
        self.calls.pop(0)()


class Ledger:
    """A unit that takes note of everything."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.changes = 0
        self.kept: list[str] = []
        self._new: list[str] = []

    def begin(self) -> None:
        """Start."""
        self.log.append("begin")
        self._new = []

    def mark(self) -> int:
        """Changes so far."""
        return self.changes

    def commit(self) -> list[str]:
        """Keep them."""
        self.log.append("commit")
        self.kept += self._new
        return self._new

    def rollback(self) -> None:
        """Forget them."""
        self.log.append("rollback")

    def committed(self, report: list[str]) -> None:
        """In the reactor."""
        self.log.append("told " + ",".join(report))

    def put(self, name: str) -> str:
        """A job that changes something."""
        self.changes += 1
        self._new.append(name)
        return name.upper()

    def refuse(self) -> None:
        """A job that refuses before it changed anything."""
        raise OverQuotaError("no room")

    def spoil(self) -> None:
        """A job that fails half way."""
        self.put("half")
        raise OverQuotaError("no room after all")


class WriterTests(SynchronousTestCase):
    """With one thread, which the test holds back to have jobs come together."""

    def setUp(self) -> None:
        """A thread and a database."""
        self.reactor = FakeReactor()
        self.pool = WriterPool(self.reactor, 1)
        self.addCleanup(self.pool.stop)
        self.ledger = Ledger()
        self.lane = self.pool.lane(self.ledger)
        self.gate = threading.Event()
        self.results: list[Any] = []

    def hold(self) -> None:
        """Keep the thread busy until `go`."""
        started = threading.Event()

        def wait() -> None:
            started.set()
            self.gate.wait(10)

        other = self.pool.lane(Ledger())
        other.submit(wait)
        started.wait(10)

    def submit(self, job: Callable[[], Any]) -> Deferred[Any]:
        """Hand it in and keep its result."""
        return self.lane.submit(job).addBoth(self.results.append)

    def go(self, results: int) -> None:
        """Let the thread work and wait for so many results."""
        self.gate.set()
        while len(self.results) < results:
            self.reactor.turn()

    def test_alone(self) -> None:
        """A job alone is a transaction at once; its answer comes after the report."""
        self.submit(lambda: self.ledger.put("a"))
        self.assertEqual(self.results, [])
        self.go(1)
        self.assertEqual(self.results, ["A"])
        self.assertEqual(self.ledger.log, ["begin", "commit", "told a"])

    def test_together(self) -> None:
        """What queued up meanwhile is one transaction and one report, in order."""
        self.hold()
        for name in "abc":
            self.submit(lambda name=name: self.ledger.put(name))  # type: ignore[misc]
        self.go(3)
        self.assertEqual(self.results, ["A", "B", "C"])
        self.assertEqual(self.ledger.log, ["begin", "commit", "told a,b,c"])

    def test_refusal(self) -> None:
        """A job that refuses gets its own answer, the others are not disturbed."""
        self.hold()
        self.submit(lambda: self.ledger.put("a"))
        self.submit(self.ledger.refuse)
        self.submit(lambda: self.ledger.put("b"))
        self.go(3)
        self.assertEqual([self.results[0], self.results[2]], ["A", "B"])
        self.results[1].trap(OverQuotaError)
        self.assertEqual(self.ledger.log, ["begin", "commit", "told a,b"])

    def test_failure(self) -> None:
        """A job that fails half way is taken back, and the others are done without it."""
        self.hold()
        self.submit(lambda: self.ledger.put("a"))
        self.submit(self.ledger.spoil)
        self.submit(lambda: self.ledger.put("b"))
        self.go(3)
        self.assertEqual(self.ledger.kept, ["a", "b"])
        self.assertEqual([self.results[0], self.results[2]], ["A", "B"])
        self.results[1].trap(OverQuotaError)
        self.assertEqual(self.ledger.log.count("rollback"), 2)

    def test_several_databases(self) -> None:
        """Jobs of two databases that come together are two transactions."""
        other = Ledger()
        lane = self.pool.lane(other)
        self.hold()
        self.submit(lambda: self.ledger.put("a"))
        lane.submit(lambda: other.put("x")).addBoth(self.results.append)
        self.submit(lambda: self.ledger.put("b"))
        self.go(3)
        self.assertEqual((self.ledger.kept, other.kept), (["a", "b"], ["x"]))
        self.assertEqual((self.ledger.log.count("begin"), other.log.count("begin")), (1, 1))

    def test_idle(self) -> None:
        """Idle work is done when nothing else waits, in slices, each a transaction."""
        slices = iter((True, True, False))
        done = threading.Event()

        def work() -> bool:
            self.ledger.put("idle")
            more = next(slices)
            if not more:
                done.set()
            return more

        self.hold()
        self.lane.idle(work)
        self.submit(lambda: self.ledger.put("a"))
        self.go(1)
        self.assertEqual(self.ledger.kept[0], "a")
        self.assertTrue(done.wait(10))
        self.pool.stop()
        self.assertEqual(self.ledger.kept, ["a", "idle", "idle", "idle"])
        self.assertEqual(self.ledger.log.count("commit"), 4)

    def test_idle_failure(self) -> None:
        """Idle work that fails is logged and not done again."""
        failed = threading.Event()

        def work() -> bool:
            failed.set()
            raise ValueError("broken")

        self.lane.idle(work)
        self.assertTrue(failed.wait(10))
        self.submit(lambda: self.ledger.put("a"))
        self.go(1)
        self.pool.stop()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_close(self) -> None:
        """Closing comes after what was handed in; later jobs are refused."""
        self.hold()
        self.submit(lambda: self.ledger.put("a"))
        self.lane.close(lambda: self.ledger.log.append("closed")).addBoth(self.results.append)
        self.submit(lambda: self.ledger.put("b"))
        self.lane.idle(lambda: True)
        self.results[0].trap(StoreUnavailableError)
        self.go(3)
        self.assertEqual(self.ledger.log, ["begin", "commit", "closed", "told a"])
        self.lane.close(lambda: None).addBoth(self.results.append)
        self.results[3].trap(StoreUnavailableError)

    def test_stop(self) -> None:
        """Stopping does what was handed in and delivers its answers."""
        self.hold()
        self.submit(lambda: self.ledger.put("a"))
        self.gate.set()
        self.pool.stop()
        self.assertEqual(self.results, ["A"])

    def test_after(self) -> None:
        """What is to be done after a transaction is done after its report; its failure hurts nobody."""
        order: list[str] = []

        def after() -> None:
            order.append("after")
            raise OSError("no room")

        lane = self.pool.lane(self.ledger, after)
        lane.submit(lambda: order.append("job")).addBoth(self.results.append)
        lane.submit(lambda: order.append("job")).addBoth(self.results.append)
        self.go(2)
        self.pool.stop()
        self.assertEqual(order[:2], ["job", "after"] if order.count("after") > 1 else ["job", "job"])
        self.flushLoggedErrors(OSError)

    def test_pinned(self) -> None:
        """Databases are spread over the threads and stay with theirs."""
        pool = WriterPool(self.reactor, 2)
        self.addCleanup(pool.stop)
        lanes = [pool.lane(Ledger()) for _ in range(4)]
        self.assertEqual(len({id(lane._thread) for lane in lanes}), 2)
        self.assertIs(lanes[0]._thread, lanes[2]._thread)
        pool.release(lanes[1])
        self.assertIs(pool.lane(Ledger())._thread, lanes[1]._thread)

    def test_translated(self) -> None:
        """SQLite's errors become the store's."""
        full = translated(apsw.FullError("full"))
        self.assertIsInstance(full, StoreFullError)
        failed = apsw.IOError("disk")
        failed.extendedresult = apsw.SQLITE_IOERR_WRITE  # type: ignore[attr-defined]
        self.assertIsInstance(translated(failed), StoreFullError)
        self.assertIsInstance(translated(apsw.BusyError("x")), StoreUnavailableError)
        self.assertIsInstance(translated(OSError("x")), StoreUnavailableError)
        mine = ValueError("x")
        self.assertIs(translated(mine), mine)


class InlineTests(SynchronousTestCase):
    """Without threads."""

    def test_inline(self) -> None:
        """Everything is done when the call returns, idle work too."""
        pool = WriterPool(None, 0)
        ledger = Ledger()
        lane = pool.lane(ledger)
        self.assertEqual(self.successResultOf(lane.submit(lambda: ledger.put("a"))), "A")
        lane.idle(lambda: bool(ledger.put("idle")) and False)
        self.assertEqual(ledger.kept, ["a", "idle"])
        self.failureResultOf(lane.submit(ledger.refuse), OverQuotaError)

    def test_from_an_answer(self) -> None:
        """A job handed in by an answer waits for its turn."""
        pool = WriterPool(None, 0)
        ledger = Ledger()
        lane = pool.lane(ledger)
        results: list[Any] = []
        first = lane.submit(lambda: ledger.put("a"))
        self.assertNotIsInstance(first.result, Failure)
        lane.submit(lambda: ledger.put("b")).addCallback(
            lambda _: lane.submit(lambda: ledger.put("c")).addBoth(results.append)
        )
        self.assertEqual((ledger.kept, results), (["a", "b", "c"], ["C"]))
