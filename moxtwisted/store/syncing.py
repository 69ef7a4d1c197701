"""Files that are synced beside the reactor.

A commit has two parts: its pages are written into the log, which is copying, and the log is synced, which is waiting for the
disk. The first takes less than to hand a job to a thread that has to win the interpreter from a busy reactor. The second is for
somebody else::

    syncs = Syncs(reactor)
    syncs.start(handle, done)   # in the reactor's thread, done(None): what was written before is on disk; done(OSError): it is not
    syncs.stop()                # all have ended

Linux does it by itself and says by an eventfd when it has, asked by the library caio: by io_uring, whose workers are threads that the
system puts on a processor that is free, or where that is switched off, as in many containers, by ``io_submit``, whose workers stay on the
processor of who asks. Some kernels' io_uring does one after the other, though. Where a flush takes a millisecond that is most of what
the disk could do, for many at a time are one flush there: so on all but quick disks io_uring has one at a time, and ``io_submit`` what
comes meanwhile. Where the kernel does neither, threads do, which costs about what it had cost to commit in a thread.

A reactor that has nothing else to do would only sleep until the sync has ended. Then it waits for the disk itself, which spares the
way to somebody else and back: a client alone has its answer a tenth sooner. It does not when anything else is to be done, and a
disk that takes its time has a hundredth of the reactor's at most.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, Final

from attrs import define
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

__all__ = ["WAYS", "Syncs"]

log = Logger()

Done = Callable[[OSError | None], None]

#: Syncs that the kernel has at a time; the threads get what is beyond.
_REQUESTS: Final = 64
_THREADS: Final = 16
#: The ways to have the kernel do it, modules of caio, the best first.
WAYS: Final = ("linux_uring", "linux_aio")
#: The way that may do one after the other.
_IN_TURN: Final = "linux_uring"

#: A disk is quick if the shortest of so many syncs, the last ones, took less than so many seconds: most also wait for each other and for
#: the reactor, which hears of 2,000 a second at best.
_LOOKED_AT: Final = 16
_QUICK: Final = 0.0004

#: So many seconds is the kernel waited for at the end.
_PATIENCE: Final = 30.0

#: After a sync that took longer than so many seconds the reactor waits for none for so many times as long.
_SHORT: Final = 0.001
_RESPITE: Final = 100


class _NotBegunError(OSError):
    """The kernel did not do it: nothing is known of the disk."""


@implementer(IReadDescriptor)
class _Kernel:
    """Syncs by the kernel's asynchronous I/O.

    :param lost: called with it when the reactor hears no more of it.
    :param way: caio's module.
    :raises ImportError: , OSError, SystemError: when there is none.
    """

    def __init__(self, reactor: Any, lost: Callable[[_Kernel], None], way: str) -> None:
        # Not everywhere: https://github.com/mosquito/caio builds it on Linux only.
        module = import_module(f"caio.{way}")
        self._operation = module.Operation
        self._context = module.Context(_REQUESTS)
        #: What was handed in goes to the kernel with this; None: at once.
        self._flush: Callable[[], object] | None = getattr(self._context, "flush", None)
        self.way = way
        self._reactor = reactor
        self._lost = lost
        self._running = 0
        #: What has ended and nobody was told of; the eventfd says that there is something.
        self._over: deque[tuple[Any, Done]] = deque()
        reactor.addReader(self)

    def start(self, handle: int, done: Done, most: int = _REQUESTS) -> bool:
        """Begin a sync, if it has fewer than that many; False: it was not begun."""
        if self._running >= most:
            return False
        operation = self._operation.fdsync(handle)
        # io_uring tells of others while it takes one in. They hear of it in a turn of their own, or calls would stand in calls.
        operation.set_callback(lambda _: self._over.append((operation, done)))
        try:
            begun = self._context.submit(operation)
            # Before it is on its way: it may end at once, or with the next ones that are flushed.
            self._running += begun
            if self._flush is not None:
                self._flush()
        except Exception as e:  # noqa: BLE001 - caio has many for what the kernel says; the threads do it then
            log.debug("the kernel did not take a sync: {error}", error=e)
            return False
        return bool(begun)

    def _ended(self, operation: Any, done: Done) -> None:
        self._running -= 1
        error: OSError | None = None
        try:
            operation.get_value()
        except OSError as e:
            error = e
        except Exception as e:  # noqa: BLE001 - as above: whatever it is, nobody said that it is on disk
            # io_uring has to make a thread for its first one; where there can be no more of them it says so in this way.
            begun = getattr(operation, "error", 0) != errno.ECANCELED
            error = OSError(repr(e)) if begun else _NotBegunError(errno.ECANCELED, repr(e))
        done(error)

    def wait(self, seconds: float) -> bool:
        """Wait for something to end, so long at most, and tell of it; False: it cannot be waited for."""
        try:
            if not self._over:
                looking = select.poll()
                looking.register(self.fileno(), select.POLLIN)
                looking.poll(1000 * seconds)
            self.doRead()
        except Exception:  # noqa: BLE001 - caio has many
            log.failure("waiting for syncs failed")
            return False
        return True

    def stop(self) -> None:
        """Hear no more of what is on its way."""
        self._reactor.removeReader(self)

    # -- IReadDescriptor -------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The eventfd."""
        return int(self._context.fileno)

    def doRead(self) -> None:
        """Something has ended."""
        with suppress(BlockingIOError):
            self._context.poll()
        self._context.process_events()
        for _ in range(len(self._over)):
            # Who is told may wait for the others, at the end, and tells of them then.
            if not self._over:
                break
            operation, done = self._over.popleft()
            try:
                self._ended(operation, done)
            except Exception:  # noqa: BLE001 - what the others came to is told once, and here
                log.failure("telling of a sync failed")

    def connectionLost(self, reason: Any) -> None:
        """The reactor ends, or something went wrong in ``doRead``."""
        self._lost(self)

    def logPrefix(self) -> str:
        """For the reactor's messages."""
        return "store"


class _Leisure:
    """Whether the reactor would sleep if it were not kept.

    Twisted has nobody to ask that. Its epoll reactor keeps the epoll object in ``_poller``, all of whose descriptors are told of as long as
    they are ready, so that looking at it takes nothing away. With any other reactor the answer is no.
    """

    def __init__(self, reactor: Any) -> None:
        poller = getattr(reactor, "_poller", None)
        epoll: Any = getattr(select, "epoll", None)
        #: Whether others have something to say to the reactor all the time.
        self.pressed: Callable[[], bool] = lambda: False
        self._look: Callable[[float, int], object] | None = None
        if epoll is not None and isinstance(poller, epoll):
            self._look = poller.poll
        self._from = 0.0

    def there(self) -> bool:
        """Nothing is ready, and the disk is quick."""
        if self._look is None or self.pressed() or time.monotonic() < self._from:
            return False
        try:
            return not self._look(0, 1)
        except (OSError, ValueError):
            # Closed, say.
            return False

    def spent(self, seconds: float) -> None:
        """A sync took so long."""
        if seconds > _SHORT:
            self._from = time.monotonic() + _RESPITE * seconds


@define(eq=False)
class _Request:
    handle: int
    done: Done
    begun: float
    #: Who has it, if the kernel has, or a thread.
    kernel: _Kernel | None = None
    future: Future[None] | None = None


class Syncs:
    """Has files synced.

    :param reactor: for callFromThread, and for addReader if it has that.
    :param ways: how to have the kernel do it, the best first; each that it has is made use of.
    :param waiting: whether a reactor that has nothing else to do waits itself.
    """

    def __init__(self, reactor: Any, *, ways: Sequence[str] = WAYS, waiting: bool = True) -> None:
        self._reactor = reactor
        self._leisure = _Leisure(reactor if waiting else None)
        self._telling = False
        self._requests: set[_Request] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._kernels: list[_Kernel] = []
        #: How long the last ones took, seconds.
        self._took: deque[float] = deque(maxlen=_LOOKED_AT)
        # Made by warm_up: importing caio takes a tenth of what a start of the server does.
        self._untried = tuple(ways) if IReactorFDSet.providedBy(reactor) else ()

    def leave_alone_while(self, pressed: Callable[[], bool]) -> None:
        """Do not let the reactor wait while this is so: other processes have something to say to it all the time."""
        self._leisure.pressed = pressed

    def start(self, handle: int, done: Done) -> None:
        """Have all that was written to this file brought to the disk; see the module. It may have ended before this returns."""
        request = _Request(handle, done, time.monotonic())
        self._requests.add(request)
        # Who is told and asks for the next sync is not told in turn from here, or there would be no end of calls in calls.
        if len(self._requests) == 1 and not self._telling and self._leisure.there():
            self._wait(request)
            return
        self.warm_up()
        ended = partial(self._kernel_ended, request)
        for kernel in self._kernels:
            if kernel.start(handle, ended, 1 if kernel.way == _IN_TURN and self._slow else _REQUESTS):
                request.kernel = kernel
                return
        self._start_thread(request)

    @property
    def _slow(self) -> bool:
        """Whether none of the last syncs was short; of a disk about which nothing is known: no."""
        return bool(self._took) and min(self._took) >= _QUICK

    def _kernel_ended(self, request: _Request, error: OSError | None) -> None:
        if not isinstance(error, _NotBegunError):
            self._ended(request, error)
        elif request in self._requests:
            self._start_thread(request)

    def _start_thread(self, request: _Request) -> None:
        request.kernel = None
        try:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, "store-sync")
            future = request.future = self._threads.submit(os.fdatasync, request.handle)
        except RuntimeError:
            # The system has no more threads for us. In a turn of its own, or there would be no end of calls in calls.
            self._reactor.callFromThread(self._here, request)
            return
        future.add_done_callback(lambda done: self._reactor.callFromThread(self._thread_ended, request, done))

    def warm_up(self) -> None:
        """Find out, once, how the kernel does it; the first sync would."""
        ways, self._untried = self._untried, ()
        for way in ways:
            try:
                self._kernels.append(_Kernel(self._reactor, self._kernel_lost, way))
            except (ImportError, OSError, SystemError) as e:
                log.info("the system does not sync files by {way} ({error})", way=way, error=e)

    def _kernel_lost(self, kernel: _Kernel) -> None:
        if kernel in self._kernels:
            self._kernels.remove(kernel)
        self._finish([kernel])

    def _finish(self, kernels: Sequence[_Kernel]) -> None:
        """Hear what came of all that these have.

        The system tells of an error once for each file: a second sync succeeds after one that failed and was not heard of.
        """
        until = time.monotonic() + _PATIENCE
        for kernel in kernels:
            while any(request.kernel is kernel for request in self._requests):
                left = until - time.monotonic()
                if left <= 0 or not kernel.wait(left):
                    break
        for request in tuple(self._requests):
            if request.kernel in kernels:
                self._ended(request, OSError(errno.EIO, "nobody knows whether it is on disk"))

    def _thread_ended(self, request: _Request, future: Future[None]) -> None:
        error = future.exception()
        self._ended(request, error if error is None or isinstance(error, OSError) else OSError(repr(error)))

    def _ended(self, request: _Request, error: OSError | None) -> None:
        if request in self._requests:
            self._requests.remove(request)
            if error is None:
                self._took.append(time.monotonic() - request.begun)
            request.done(error)

    def _wait(self, request: _Request) -> None:
        self._telling = True
        try:
            self._here(request)
        finally:
            self._telling = False

    def _here(self, request: _Request) -> None:
        if request not in self._requests:
            return
        begun = time.monotonic()
        error = None
        try:
            os.fdatasync(request.handle)
        except OSError as e:
            error = e
        self._leisure.spent(time.monotonic() - begun)
        self._ended(request, error)

    def stop(self) -> None:
        """Wait for all, also for those that are started by who is told of one."""
        while self._requests:
            self._finish(self._kernels)
            for request in tuple(self._requests):
                if request.future is not None:
                    self._thread_ended(request, request.future)
            if self._requests:
                self._here(next(iter(self._requests)))
        for kernel in self._kernels:
            kernel.stop()
        self._kernels = []
        if self._threads is not None:
            self._threads.shutdown()
