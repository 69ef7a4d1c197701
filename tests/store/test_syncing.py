"""Files that are synced beside the reactor: by the kernel and by threads."""

from __future__ import annotations

import errno
import gc
import os
import select
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.store import syncing
from moxtwisted.store.syncing import Syncs
from tests.store.test_writer import FakeReactor


def sync(syncs: Syncs, handle: int) -> Deferred[OSError | None]:
    """What is said of it."""
    done: Deferred[OSError | None] = Deferred()
    syncs.start(handle, done.callback)
    return done


class SyncsTests(TestCase):
    """With the real reactor and a real file."""

    def setUp(self) -> None:
        """A file, and a pipe, which cannot be synced."""
        file = self.enterContext(tempfile.TemporaryFile())
        self.file = file.fileno()
        os.write(self.file, bytes(5000))
        ends = os.pipe()
        for end in ends:
            self.addCleanup(os.close, end)
        self.pipe = ends[1]

    def _syncs(self, *ways: str) -> Syncs:
        syncs = Syncs(reactor, ways=ways, waiting=False)
        self.addCleanup(syncs.stop)
        syncs.warm_up()
        return syncs

    async def _check(self, syncs: Syncs) -> None:
        for count in (1, 3 * syncing._REQUESTS):
            said = await gatherResults([sync(syncs, self.file) for _ in range(count)])
            self.assertEqual(said, [None] * count)
        error = await sync(syncs, self.pipe)
        self.assertIsInstance(error, OSError)
        self.assertIsNone(await sync(syncs, self.file))
        self.assertEqual(syncs._requests, set())
        self.assertEqual([kernel._running for kernel in syncs._kernels if kernel._running], [])

    async def test_kernel(self) -> None:
        """The kernel says of each file whether it is on disk; more than it takes at a time, and what it refuses, is the threads'.

        Where it has none of a way, all is.
        """
        for way in syncing.WAYS:
            await self._check(self._syncs(way))

    async def test_kernel_alone(self) -> None:
        """What the kernel takes needs no thread."""
        for way in syncing.WAYS:
            syncs = self._syncs(way)
            await gatherResults([sync(syncs, self.file) for _ in range(syncing._REQUESTS)])
            self.assertEqual(syncs._threads is None, bool(syncs._kernels))

    def test_ways(self) -> None:
        """Every way that there is can be taken, the best first."""
        has = [way for way in syncing.WAYS if self._syncs(way)._kernels]
        kernels = self._syncs("no_such_module", *syncing.WAYS)._kernels
        self.assertEqual([kernel.way for kernel in kernels], has)

    async def test_threads(self) -> None:
        """So do threads."""
        syncs = self._syncs()
        self.assertEqual(syncs._kernels, [])
        await self._check(syncs)

    def test_stop(self) -> None:
        """At the end all have ended, those too that were begun by who heard of another; none is told twice."""
        for ways in (*zip(syncing.WAYS), ()):
            syncs = self._syncs(*ways)
            said: list[OSError | None] = []

            def again(error: OSError | None, syncs: Syncs = syncs, said: list[OSError | None] = said) -> None:
                said.append(error)
                if len(said) < 5:
                    syncs.start(self.file, again)

            syncs.start(self.file, again)
            syncs.stop()
            self.assertEqual(said, [None] * 5)

    def test_stop_when_told(self) -> None:
        """Who is told of one may stop all; the others that ended with it are told of too."""
        for way in syncing.WAYS:
            syncs = self._syncs(way)
            said: list[OSError | None] = []

            def told(error: OSError | None, syncs: Syncs = syncs, said: list[OSError | None] = said) -> None:
                said.append(error)
                if len(said) == 1:
                    syncs.stop()

            for _ in range(10):
                syncs.start(self.file, told)
            # Most have ended together by then.
            time.sleep(0.1)
            for kernel in tuple(syncs._kernels):
                kernel.doRead()
            syncs.stop()
            self.assertEqual((said, syncs._requests), ([None] * 10, set()))

    async def test_one_of_two_lost(self) -> None:
        """When the reactor hears no more of one way, all that was begun is told once, and the other way goes on."""
        for place in range(len(self._syncs(*syncing.WAYS)._kernels)):
            syncs = self._syncs(*syncing.WAYS)
            syncs._took.extend([1.0] * syncing._LOOKED_AT)
            said: list[OSError | None] = []
            for _ in range(10):
                syncs.start(self.file, said.append)
            lost: Any = syncs._kernels[place]
            others = [kernel for kernel in syncs._kernels if kernel is not lost]
            watching: Any = reactor
            watching.removeReader(lost)
            lost.connectionLost(None)
            lost.connectionLost(None)
            self.assertEqual(syncs._kernels, others)
            self.assertIsNone(await sync(syncs, self.file))
            syncs.stop()
            self.assertEqual((said, syncs._requests), ([None] * 10, set()))

    async def test_descriptors(self) -> None:
        """Who stops while something is on its way leaves no descriptor open."""
        open_files = Path("/proc/self/fd")

        def work() -> int:
            syncs = Syncs(reactor, waiting=False)
            syncs._took.extend([1.0] * syncing._LOOKED_AT)
            for _ in range(20):
                syncs.start(self.file, lambda error: None)
            syncs.stop()
            del syncs
            gc.collect()
            return len(list(open_files.iterdir())) if open_files.is_dir() else 0

        first = work()
        for _ in range(5):
            self.assertLessEqual(work(), first)

    async def test_kernel_lost(self) -> None:
        """When the reactor hears no more of the kernel, all that was on its way is told, and threads sync what comes."""
        for way in syncing.WAYS:
            syncs = self._syncs(way)
            done = [sync(syncs, self.file) for _ in range(3)]
            kernel: Any
            for kernel in tuple(syncs._kernels):
                watching: Any = reactor
                watching.removeReader(kernel)
                kernel.connectionLost(None)
            self.assertEqual(await gatherResults([*done, sync(syncs, self.file)]), [None] * 4)
            self.assertEqual(syncs._kernels, [])


class WaitingTests(TestCase):
    """A reactor that has nothing else to do waits itself."""

    def setUp(self) -> None:
        """What the reactor does is done before each step."""
        self.file = self.enterContext(tempfile.TemporaryFile()).fileno()
        self.syncs = Syncs(reactor)
        self.addCleanup(self.syncs.stop)
        self.said: list[OSError | None] = []
        leisure = self.syncs._leisure
        # What other tests have left in the reactor is not this test's.
        self.assertIsNotNone(leisure._look, "Twisted's epoll reactor keeps its epoll object elsewhere")
        self.ready: list[Any] = []
        leisure._look = lambda timeout, most: self.ready

    def test_alone(self) -> None:
        """It is told at once, of failures too."""
        # However long this machine's disk takes.
        self.patch(syncing, "_SHORT", 3600.0)
        self.syncs.start(self.file, self.said.append)
        self.assertEqual(self.said, [None])
        ends = os.pipe()
        for end in ends:
            self.addCleanup(os.close, end)
        self.syncs.start(ends[1], self.said.append)
        self.assertIsInstance(self.said[1], OSError)
        self.assertEqual(self.syncs._requests, set())

    async def test_something_ready(self) -> None:
        """When somebody waits for the reactor it does not wait for the disk."""
        self.ready = [(1, 1)]
        done = sync(self.syncs, self.file)
        self.assertFalse(done.called)
        self.assertIsNone(await done)

    async def test_pressed(self) -> None:
        """Nor while others are about to say something all the time; afterwards it does again."""
        self.patch(syncing, "_SHORT", 3600.0)
        others = [True]
        self.syncs.leave_alone_while(lambda: bool(others))
        done = sync(self.syncs, self.file)
        self.assertFalse(done.called)
        self.assertIsNone(await done)
        others.clear()
        self.assertTrue(sync(self.syncs, self.file).called)

    async def test_others(self) -> None:
        """Nor when other syncs are on their way."""
        self.ready = [(1, 1)]
        first = sync(self.syncs, self.file)
        self.ready = []
        second = sync(self.syncs, self.file)
        self.assertFalse(second.called)
        self.assertEqual(await gatherResults([first, second]), [None, None])

    async def test_in_turn(self) -> None:
        """Who is told and goes on at once is not called deeper and deeper."""
        ended: Deferred[None] = Deferred()

        def again(error: OSError | None) -> None:
            self.said.append(error)
            if len(self.said) == 1000:
                ended.callback(None)
            elif len(self.said) < 1000:
                self.syncs.start(self.file, again)

        self.syncs.start(self.file, again)
        self.assertEqual(self.said, [None])
        await ended
        self.assertEqual(self.said, [None] * 1000)

    async def test_slow_disk(self) -> None:
        """After a sync that took its time it waits for none for a while."""
        now = [100.0]

        def slow(handle: int) -> None:
            now[0] += 2 * syncing._SHORT

        with mock.patch("time.monotonic", side_effect=lambda: now[0]):
            with mock.patch("os.fdatasync", side_effect=slow):
                self.assertTrue(sync(self.syncs, self.file).called)
            second = sync(self.syncs, self.file)
            self.assertFalse(second.called)
            self.assertIsNone(await second)
            now[0] += 2 * syncing._SHORT * syncing._RESPITE
            self.assertTrue(sync(self.syncs, self.file).called)

    async def test_reactor_looked_at(self) -> None:
        """What is ready is still told of by the reactor afterwards."""
        leisure = syncing._Leisure(reactor)
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        heard: Deferred[bytes] = Deferred()
        connection: Any = mock.Mock(fileno=lambda: reading, logPrefix=lambda: "test")
        connection.doRead = lambda: heard.callback(os.read(reading, 10))
        watching: Any = reactor
        watching.addReader(connection)
        self.addCleanup(os.close, reading)
        self.addCleanup(watching.removeReader, connection)
        os.write(writing, b"x")
        self.assertFalse(leisure.there())
        self.assertFalse(leisure.there())
        self.assertEqual(await heard, b"x")

    def test_other_reactors(self) -> None:
        """A reactor that cannot be asked never waits, nor does one that has closed what it would be asked by."""
        self.assertFalse(syncing._Leisure(FakeReactor()).there())
        ended = mock.Mock(_poller=select.epoll())
        leisure = syncing._Leisure(ended)
        self.assertTrue(leisure.there())
        ended._poller.close()
        self.assertFalse(leisure.there())


class DividedTests(SynchronousTestCase):
    """Which way has how many of those that are begun together, and what is told of them."""

    def _two(self, *took: float) -> tuple[Syncs, list[Any], list[Any]]:
        """Two ways with a module each, after syncs that took so long."""
        self.patch(syncing, "_PATIENCE", 0.0)
        modules = [mock.Mock() for _ in syncing.WAYS]
        for module in modules:
            module.Context.return_value.submit.return_value = 1
            module.Operation.fdsync.side_effect = lambda handle: mock.Mock(handle=handle)
        names = [f"caio.{way}" for way in syncing.WAYS]
        syncs = Syncs(mock.Mock(), ways=())
        with mock.patch.dict("sys.modules", dict(zip(names, modules, strict=True))):
            syncs._kernels = [syncing._Kernel(mock.Mock(), mock.Mock(), way) for way in syncing.WAYS]
        for kernel in syncs._kernels:
            kernel._lost = syncs._kernel_lost
        syncs._took.extend(took)
        return syncs, list(syncs._kernels), modules

    @staticmethod
    def _end(module: Any, *errors: Exception | None) -> None:
        """The first syncs of a way have ended so, which nobody has heard of."""
        submitted = [call.args[0] for call in module.Context.return_value.submit.call_args_list]
        for operation, error in zip(submitted, errors, strict=False):
            operation.get_value.side_effect = error
            operation.set_callback.call_args.args[0](0)

    def test_failure_that_nobody_heard_of(self) -> None:
        """What failed in one way is told so when the other is lost, and of what the lost one had nobody knows that it is on disk."""
        syncs, (first, second), (_, module) = self._two(*[1.0] * 16)
        said: dict[str, Any] = {}
        with tempfile.TemporaryFile() as file:
            syncs.start(file.fileno(), partial(said.__setitem__, "first"))
            syncs.start(file.fileno(), partial(said.__setitem__, "second"))
            self._end(module, OSError(errno.EIO, "bad"))
            first.connectionLost(None)
            self.assertEqual(list(said), ["first"])
            second.doRead()
        self.assertIsInstance(said["first"], OSError)
        self.assertEqual(said["second"].strerror, "bad")

    def test_stopped_before_a_failure_was_heard_of(self) -> None:
        """At the end, too: no second sync is believed."""
        syncs, _, (module, _) = self._two()
        said: list[Any] = []
        with tempfile.TemporaryFile() as file:
            syncs.start(file.fileno(), said.append)
            syncs.start(file.fileno(), said.append)
            self._end(module, OSError(errno.EIO, "bad"))
            syncs.stop()
        self.assertEqual([type(error) for error in said], [OSError, OSError])

    def test_stopped_while_a_thread_fails(self) -> None:
        """What a thread comes to is waited for, and believed."""
        fake = FakeReactor()
        syncs, said, results = Syncs(fake), list[Any](), [None, OSError(errno.EIO, "bad")]
        begun = threading.Event()

        def sync(handle: int) -> None:
            begun.set()
            time.sleep(0.05)
            error = results.pop()
            if error is not None:
                raise error

        with tempfile.TemporaryFile() as file, mock.patch("os.fdatasync", side_effect=sync):
            syncs.start(file.fileno(), said.append)
            self.assertTrue(begun.wait(10))
            syncs.stop()
            fake.turn()
        self.assertEqual([error.strerror for error in said], ["bad"])
        self.assertEqual(results, [None], "it was not synced once more")

    def test_who_is_told_fails(self) -> None:
        """What others came to is told all the same."""
        syncs, (kernel, _), (module, _) = self._two()
        said: list[Any] = []

        def fail(error: OSError | None) -> None:
            raise ValueError("odd")

        with tempfile.TemporaryFile() as file:
            syncs.start(file.fileno(), fail)
            syncs.start(file.fileno(), said.append)
            self._end(module, None, OSError(errno.EIO, "bad"))
            kernel.doRead()
        self.assertEqual(said[0].strerror, "bad")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(kernel._running, 0)

    def test_how_long_they_take(self) -> None:
        """From beginning to end; what failed at once says nothing about the disk."""
        syncs, (kernel, _), (module, _) = self._two()
        now = [100.0]
        self.patch(time, "monotonic", lambda: now[0])
        with tempfile.TemporaryFile() as file:
            for seconds, error, slow in (
                (0.002, None, True),
                (0.0, OSError("bad"), True),
                (0.0001, None, False),
            ):
                module.Context.return_value.submit.reset_mock()
                syncs.start(file.fileno(), lambda error: None)
                now[0] += seconds
                self._end(module, error)
                kernel.doRead()
                self.assertEqual(syncs._slow, slow)

    def _running(self, took: list[float], count: int) -> list[int]:
        """How many each way has, after others that took so long."""
        syncs, _, _ = self._two(*took)
        with tempfile.TemporaryFile() as file:
            for _ in range(count):
                syncs.start(file.fileno(), lambda error: None)
            running = [kernel._running for kernel in syncs._kernels]
            syncs.stop()
        self.assertEqual(sum(running), count)
        return running

    def test_quick_disk(self) -> None:
        """As long as the disk is known to be quick, or not known, io_uring has all that it takes."""
        most = syncing._REQUESTS
        self.assertEqual(self._running([0.9 * syncing._QUICK, *[1.0] * 15], most + 2), [most, 2])
        self.assertEqual(self._running([], 20), [20, 0])

    def test_disk_that_is_not_quick(self) -> None:
        """When it takes longer, io_uring, which may do one after the other, has one at a time; what is long ago does not matter."""
        self.assertEqual(self._running([syncing._QUICK] * 16, 20), [1, 19])
        self.assertEqual(self._running([0.0, *[syncing._QUICK] * 16], 20), [1, 19])


class FallingBackTests(SynchronousTestCase):
    """Where the kernel cannot, or will not."""

    def test_reactor_without_descriptors(self) -> None:
        """A reactor that watches no descriptors has threads."""
        fake = FakeReactor()
        syncs = Syncs(fake)
        said: list[OSError | None] = []
        with tempfile.TemporaryFile() as file:
            syncs.start(file.fileno(), said.append)
            fake.turn()
            syncs.stop()
        self.assertEqual(said, [None])

    def test_refused(self) -> None:
        """When the kernel has no more of it, as in some containers, threads do it."""
        refusing = mock.Mock()
        refusing.Context.side_effect = SystemError(errno.ENOSYS)
        with mock.patch.dict("sys.modules", dict.fromkeys([f"caio.{way}" for way in syncing.WAYS], refusing)):
            syncs = Syncs(reactor)
            syncs.warm_up()
        self.assertEqual(syncs._kernels, [])

    def _kernel(self, module: Any) -> syncing._Kernel:
        with mock.patch.dict("sys.modules", {"caio.odd": module}):
            return syncing._Kernel(mock.Mock(), mock.Mock(), "odd")

    @staticmethod
    def _callback(module: Any) -> Callable[[int], Any]:
        """What caio was told to call."""
        callback: Callable[[int], Any] = module.Operation.fdsync.return_value.set_callback.call_args.args[0]
        return callback

    def _end(self, module: Any, kernel: syncing._Kernel) -> None:
        """The last sync ends."""
        self._callback(module)(0)
        kernel.doRead()

    def test_odd_error(self) -> None:
        """Whatever the kernel's answer raises is taken for a failure, never for success."""
        module = mock.Mock()
        module.Context.return_value.submit.return_value = 1
        module.Operation.fdsync.return_value.get_value.side_effect = AssertionError("odd")
        kernel = self._kernel(module)
        said: list[OSError | None] = []
        self.assertTrue(kernel.start(1, said.append))
        self._end(module, kernel)
        self.assertIsInstance(said[0], OSError)

    def test_canceled(self) -> None:
        """What the kernel gave up, for want of a thread say, is a thread's: nobody knows that the disk is bad."""
        module = mock.Mock()
        module.Context.return_value.submit.return_value = 1
        operation = module.Operation.fdsync.return_value
        operation.get_value.side_effect = SystemError("Operation canceled")
        operation.error = errno.ECANCELED
        fake = FakeReactor()
        syncs = Syncs(fake)
        self.addCleanup(syncs.stop)
        kernel = self._kernel(module)
        syncs._kernels = [kernel]
        said: list[OSError | None] = []
        with tempfile.TemporaryFile() as file:
            syncs.start(file.fileno(), said.append)
            self._end(module, kernel)
            self.assertEqual(said, [])
            fake.turn()
        self.assertEqual((said, syncs._requests), ([None], set()))

    def test_not_flushed(self) -> None:
        """What could not be flushed may go with the next that is: it is not counted twice."""
        module = mock.Mock()
        module.Context.return_value.submit.return_value = 1
        module.Context.return_value.flush.side_effect = SystemError("busy")
        kernel = self._kernel(module)
        said: list[OSError | None] = []
        self.assertFalse(kernel.start(1, said.append))
        self._end(module, kernel)
        self.assertEqual(kernel._running, 0)

    def test_told_of_while_another_begins(self) -> None:
        """What has ended when another begins, or that itself, is told in a turn of its own."""
        module = mock.Mock()
        module.Context.return_value.submit.return_value = 1
        flush = module.Context.return_value.flush
        flush.side_effect = lambda: self._callback(module)(0)
        kernel = self._kernel(module)
        said: list[OSError | None] = []

        def again(error: OSError | None) -> None:
            said.append(error)
            if len(said) < 3:
                kernel.start(1, again)

        self.assertTrue(kernel.start(1, again))
        for turn in range(4):
            self.assertEqual(len(said), turn)
            if turn < 3:
                kernel.doRead()
        self.assertEqual(kernel._running, 0)

    def test_no_thread(self) -> None:
        """When the system gives no thread, the reactor syncs the file, in a turn of its own: nobody is called deeper and deeper."""
        fake = FakeReactor()
        syncs = Syncs(fake)
        said: list[OSError | None] = []

        def again(error: OSError | None) -> None:
            said.append(error)
            if len(said) < 3:
                syncs.start(file.fileno(), again)

        with (
            tempfile.TemporaryFile() as file,
            mock.patch.object(syncing, "ThreadPoolExecutor", side_effect=RuntimeError("can't start")),
        ):
            syncs.start(file.fileno(), again)
            for turn in range(4):
                self.assertEqual(len(said), turn)
                if turn < 3:
                    fake.turn()
        self.assertEqual(said, [None] * 3)
        syncs.stop()
