"""Reading ahead: messages are read and unpacked by a thread while the reactor reads and sends those before them.

::

    reader = ReadAhead(reactor)                      # one for the whole store
    line = reader.line(open_reader)                  # one for each account; opens its connection when it is needed
    ahead = line.ahead(mailbox)                      # one for each session that has selected the mailbox
    ahead.expect([1, 2, 3], 786432)
    ahead.expect([4, 5], 786432)
    ahead.take([1, 2, 3], 786432, read)              # the octets, or None: read them yourself
    ahead.drop()
    line.close()                                     # before the account's database is closed

Reading costs more than sending, so the reactor does not wait for the thread: what that has not begun with when it is asked for is read by
the reactor; and while the thread still has the batch that is asked for, the reactor reads the one after it. Nothing here fails: what could
not be read ahead is read by whoever asks for it, and that tells him what is wrong. Each batch is a read transaction of its own, so
nothing keeps the log from being written back.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeAlias

import apsw
from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.store.interfaces import IAhead
from moxtwisted.store.manybodies import read_together

__all__ = ["AHEAD_CACHE_KIB", "Ahead", "Line", "ReadAhead"]

#: Octets of batches that were announced and not taken yet, in the whole store.
AHEAD_OCTETS: Final = 16 << 20
#: Batches of one session: one that is being taken and two after it.
BATCHES: Final = 3
#: Connections for reading ahead that are open at once.
CONNECTIONS: Final = 8
#: Page cache of such a connection, KiB: what is read ahead is read once.
AHEAD_CACHE_KIB: Final = 2048
#: How long a connection stays open that nobody reads with, seconds.
UNUSED_SECONDS: Final = 15.0
#: A connection that was used later than this ago is not closed for another account's, seconds.
_IN_USE_SECONDS: Final = 1.0
#: The thread does not get on, on a busy machine or a slow disk: who has waited so long reads it himself, seconds. A batch takes 2 ms.
PATIENCE_SECONDS: Final = 0.01

Found: TypeAlias = list[tuple[int, bytes]]
Read: TypeAlias = Callable[[Sequence[int], int], Found]


@define(eq=False)
class _Batch:
    uids: array[int]
    limit_octets: int
    reading: Future[Found | None]
    #: What the reactor read itself.
    found: Found | None = None

    def holds(self, uids: Sequence[int], limit_octets: int) -> bool:
        return limit_octets == self.limit_octets and array("I", uids) == self.uids

    @property
    def ready(self) -> bool:
        return self.found is not None or self.reading.done()

    def result(self) -> Found | None:
        """After waiting for the thread, but not for one that has other things to do."""
        if self.found is not None or self.reading.cancel():
            return self.found
        with suppress(TimeoutError):
            return self.reading.result(PATIENCE_SECONDS)
        return None


@implementer(IAhead)
@define(eq=False)
class Ahead:
    """What one session wants next of a mailbox; for the reactor's thread."""

    _mailbox: int
    _line: Line
    _owner: ReadAhead
    _batches: deque[_Batch] = field(factory=deque, init=False)

    def expect(self, uids: Sequence[int], limit_octets: int) -> None:
        """``take`` will be asked for these, after those that it expects already."""
        if not uids or len(self._batches) >= BATCHES:
            return
        wanted = array("I", uids)
        reading = self._owner.begin(self._line, self._mailbox, wanted, limit_octets)
        if reading is not None:
            self._batches.append(_Batch(wanted, limit_octets, reading))

    def take(self, uids: Sequence[int], limit_octets: int, read: Read) -> Found | None:
        """What was read ahead, or None: nothing was.

        :param read: reads in the caller's thread.
        """
        batch = next((batch for batch in self._batches if batch.holds(uids, limit_octets)), None)
        if batch is None:
            return None
        while self._batches[0] is not batch:
            self._let_go(self._batches.popleft())
        for later in tuple(self._batches)[1:]:
            if batch.ready:
                break
            if later.found is None and later.reading.cancel():
                # What is wrong with these is said when they are asked for.
                with suppress(MailError, apsw.Error):
                    later.found = read(later.uids, later.limit_octets)
        try:
            return batch.result()
        finally:
            self._let_go(self._batches.popleft())

    def drop(self) -> None:
        """Nothing is wanted any more."""
        while self._batches:
            self._let_go(self._batches.popleft())

    def _let_go(self, batch: _Batch) -> None:
        batch.reading.cancel()
        self._owner.forget(batch.limit_octets)


class Line:
    """Reads ahead from one account.

    :param open_reader: makes a connection; called in the thread.
    """

    def __init__(self, owner: ReadAhead, open_reader: Callable[[], Any]) -> None:
        self._owner = owner
        self._open_reader = open_reader
        # Held while the connection is used, by whichever thread.
        self._lock = threading.Lock()
        self._connection: Any = None
        self.closed = False
        self.used_seconds = 0.0

    def ahead(self, mailbox: int) -> Ahead:
        """For one session."""
        return Ahead(mailbox, self, self._owner)

    def read(self, mailbox: int, uids: Sequence[int], limit_octets: int) -> Found | None:
        """In the thread."""
        with self._lock:
            if self.closed:
                return None
            try:
                if self._connection is None:
                    self._connection = self._open_reader()
                    # The reactor may be waiting.
                    self._connection.set_busy_timeout(0)
                return read_together(self._connection, mailbox, uids, limit_octets)
            except Exception:  # noqa: BLE001  (whoever asks for it reads it himself, and is told)
                return None

    @property
    def opened(self) -> bool:
        """Whether it has a connection now."""
        return self._connection is not None

    def rest(self) -> None:
        """Close the connection until it is needed again; from any thread."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def close(self) -> None:
        """Read no more, from any thread; waits for a batch that is being read."""
        self.closed = True
        self.rest()


class ReadAhead:
    """Reads ahead for a whole store, in one thread.

    :param clock: for callLater and ``seconds()``.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "store-reader")
        # Those that may have a connection, the last used last.
        self._lines: OrderedDict[Line, None] = OrderedDict()
        self._sweeping: Any = None
        #: Of batches that were announced.
        self.octets = 0

    def line(self, open_reader: Callable[[], Any]) -> Line:
        """For one account."""
        return Line(self, open_reader)

    def begin(
        self, line: Line, mailbox: int, uids: Sequence[int], limit_octets: int
    ) -> Future[Found | None] | None:
        """Read something ahead, unless there is too much already."""
        if line.closed or self.octets + limit_octets > AHEAD_OCTETS or not self._admitted(line):
            return None
        try:
            reading = self._thread.submit(line.read, mailbox, uids, limit_octets)
        except RuntimeError:
            # The store is closed.
            return None
        self.octets += limit_octets
        if self._sweeping is None:
            self._sweeping = self._clock.callLater(UNUSED_SECONDS, self._sweep)
        return reading

    def forget(self, limit_octets: int) -> None:
        """A batch was taken, or is not wanted."""
        self.octets -= limit_octets

    def _admitted(self, line: Line) -> bool:
        """Whether it may have a connection."""
        now = line.used_seconds = self._clock.seconds()
        if line not in self._lines and len(self._lines) >= CONNECTIONS:
            oldest = next(iter(self._lines))
            if not oldest.closed and oldest.used_seconds + _IN_USE_SECONDS > now:
                return False
            self._rest(oldest)
        self._lines[line] = None
        self._lines.move_to_end(line)
        return True

    def _rest(self, line: Line) -> None:
        del self._lines[line]
        with suppress(RuntimeError):
            self._thread.submit(line.rest)

    def _sweep(self) -> None:
        """Close what nobody uses."""
        self._sweeping = None
        now = self._clock.seconds()
        for line in tuple(self._lines):
            if line.closed or line.used_seconds + UNUSED_SECONDS <= now:
                self._rest(line)
        if self._lines:
            self._sweeping = self._clock.callLater(UNUSED_SECONDS, self._sweep)

    def stop(self) -> None:
        """After all lines were closed; waits for the thread."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._thread.shutdown(cancel_futures=True)
