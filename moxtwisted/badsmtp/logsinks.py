"""Where log lines go, and the thread that takes them there.

A log that nobody reads (a full pipe, a log server that hangs) must not stop the server. So the reactor only puts lines into a bounded
queue, and a thread of its own writes them::

    writer = LineWriter(TCPSink("127.0.0.1", 5140), lost_line)
    writer.put(Level.INFO, b'{"message": …}')      # never waits, never raises
    writer.close(1.0)                              # waits so long for what is queued, and no longer

When the queue is full, lines are left out, and a line says how many as soon as there is room.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import syslog
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from moxtwisted.badsmtp.interfaces import Level

__all__ = ["LineWriter", "Sink", "StreamSink", "SyslogSink", "TCPSink", "UDPSink"]

#: A level and a line without its end.
Entry = tuple[Level, bytes]

_SEVERITIES: Final = {
    Level.DEBUG: syslog.LOG_DEBUG,
    Level.INFO: syslog.LOG_INFO,
    Level.WARN: syslog.LOG_WARNING,
    Level.ERROR: syslog.LOG_ERR,
}

_QUEUE_OCTETS: Final = 4 * 1024 * 1024
# A log server gets so long to take a connection, and to take a line.
_CONNECT_SECONDS: Final = 5.0
_SEND_SECONDS: Final = 10.0
# Between attempts, when lines could not be written.
_PAUSE_SECONDS: Final = 1.0


class Sink(Protocol):
    """Takes lines; may block."""

    def write(self, entries: Sequence[Entry]) -> None:
        """Write them all.

        :raises OSError: they, or some of them, could not be written.
        """

    def close(self) -> None:
        """Let go of what is open."""


class StreamSink:
    """Standard output or standard error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, entries: Sequence[Entry]) -> None:
        """Write them in one go, as far as the other end takes it."""
        rest = memoryview(b"".join(line + b"\n" for _, line in entries))
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """It is not ours."""


class SyslogSink:
    """The log of this machine.

    :param path: its socket.
    """

    def __init__(self, facility: str, path: str = "/dev/log") -> None:
        self._facility: int = getattr(syslog, f"LOG_{facility.upper()}")
        self._path = path
        self._socket: socket.socket | None = None
        self._end = b""

    def write(self, entries: Sequence[Entry]) -> None:
        """A datagram each."""
        if self._socket is None:
            self._open()
        try:
            for level, line in entries:
                priority = self._facility | _SEVERITIES[level]
                message = f"<{priority}>badsmtp[{os.getpid()}]: ".encode() + line + self._end
                if self._socket is not None:
                    self._socket.sendall(message)
        except OSError:
            self.close()
            raise

    def _open(self) -> None:
        # Some daemons listen for streams; a NUL ends a line there.
        kinds = ((socket.SOCK_DGRAM, b""), (socket.SOCK_STREAM, b"\0"))
        for kind, self._end in kinds:
            opened = socket.socket(socket.AF_UNIX, kind)
            opened.settimeout(_SEND_SECONDS)
            try:
                opened.connect(self._path)
            except OSError as e:
                opened.close()
                if e.errno != errno.EPROTOTYPE or kind == socket.SOCK_STREAM:
                    raise
            else:
                self._socket = opened
                return

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class TCPSink:
    """A log server that takes lines from a connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def write(self, entries: Sequence[Entry]) -> None:
        """Write them in one go; connects first when there is no connection."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, _CONNECT_SECONDS)
                self._socket.settimeout(_SEND_SECONDS)
            self._socket.sendall(b"".join(line + b"\n" for _, line in entries))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None


class UDPSink:
    """A log server that takes a line in each datagram. Whether anybody listens is not known."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._socket: socket.socket | None = None
        self._address: tuple[object, ...] = ()

    def write(self, entries: Sequence[Entry]) -> None:
        """A datagram each."""
        if self._socket is None:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, self._address = found[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.settimeout(_SEND_SECONDS)
        for _, line in entries:
            self._socket.sendto(line + b"\n", self._address)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _to_stderr(text: str) -> None:
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201  the log itself cannot say it


class LineWriter:
    """A bounded queue before a sink, and the thread that empties it. The thread begins with the first line.

    :param lost_line: a line that says how many are missing.
    :param complain: told once when the sink fails, and again only after it has worked; by default on standard error.
    """

    def __init__(
        self,
        sink: Sink,
        lost_line: Callable[[int], bytes],
        *,
        queue_octets: int = _QUEUE_OCTETS,
        pause_seconds: float = _PAUSE_SECONDS,
        complain: Callable[[str], None] = _to_stderr,
    ) -> None:
        self._sink = sink
        self._lost_line = lost_line
        self._limit = queue_octets
        self._pause = pause_seconds
        self._complain = complain
        self._entries: deque[Entry] = deque()
        self._octets = 0
        self._lost = 0
        self._closing = False
        self._failing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, level: Level, line: bytes) -> None:
        """Write a line soon. Returns at once; when too much is waiting, the line is left out."""
        with self._changed:
            if self._closing:
                return
            if self._octets + len(line) > self._limit:
                self._lost += 1
                return
            self._entries.append((level, line))
            self._octets += len(line)
            if self._thread is None:
                # A daemon: whoever does not read the log does not keep the process alive.
                self._thread = threading.Thread(target=self._run, name="badsmtp-log", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, seconds: float) -> None:
        """Write what is queued, but wait no longer than so many seconds for it. Later lines are left out."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._entries and not self._closing:
                    self._changed.wait()
                entries, lost = list(self._entries), self._lost
                self._entries.clear()
                self._octets = self._lost = 0
            if lost:
                entries.append((Level.WARN, self._lost_line(lost)))
            if entries and not self._written(entries):
                self._wait(lost + len(entries) - bool(lost))
            with self._changed:
                if self._closing and not self._entries:
                    break
        self._sink.close()

    def _written(self, entries: Sequence[Entry]) -> bool:
        try:
            self._sink.write(entries)
        except OSError as e:
            if not self._failing:
                self._complain(f"the log cannot be written, lines are lost: {e}")
            self._failing = True
            return False
        self._failing = False
        return True

    def _wait(self, lost: int) -> None:
        """After a failure: remember how many lines are missing, and do not try again at once."""
        with self._changed:
            self._lost += lost
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, self._pause)
