"""The queue before the log, and the places it is written to."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.badsmtp.interfaces import Level
from moxtwisted.badsmtp.logsinks import LineWriter, StreamSink, SyslogSink, TCPSink, UDPSink

# No test waits so long unless something is broken.
_PATIENCE = 60.0


class GatedSink:
    """Blocks until told otherwise, or fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.lines: list[bytes] = []
        self.failures = failures
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.closed = False

    def write(self, entries: Sequence[tuple[Level, bytes]]) -> None:
        self.entered.set()
        self.gate.wait(_PATIENCE)
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError("refused")
        self.lines += [line for _, line in entries]

    def close(self) -> None:
        self.closed = True


def _lost(count: int) -> bytes:
    return b"lost %d" % count


class LineWriterTests(SynchronousTestCase):
    """``LineWriter``."""

    def _writer(self, sink: GatedSink, queue_octets: int = 1000) -> LineWriter:
        self.complaints: list[str] = []
        return LineWriter(
            sink, _lost, queue_octets=queue_octets, pause_seconds=0, complain=self.complaints.append
        )

    def test_order(self) -> None:
        """Lines are written in their order, all of them before the sink is closed."""
        sink = GatedSink()
        sink.gate.set()
        writer = self._writer(sink, 100_000)
        lines = [b"%d" % i for i in range(1000)]
        for line in lines:
            writer.put(Level.INFO, line)
        writer.close(_PATIENCE)
        self.assertEqual(sink.lines, lines)
        self.assertTrue(sink.closed)

    def test_full(self) -> None:
        """While nobody reads, no more than the bound is kept, nobody waits, and afterwards it is said how many are missing."""
        sink = GatedSink()
        writer = self._writer(sink, 30)
        writer.put(Level.INFO, b"first")
        self.assertTrue(sink.entered.wait(_PATIENCE))
        for _ in range(10):
            writer.put(Level.INFO, b"0123456789")
        sink.gate.set()
        writer.close(_PATIENCE)
        self.assertEqual(sink.lines, [b"first", *[b"0123456789"] * 3, b"lost 7"])

    def test_failures(self) -> None:
        """A failure is told once, harms nothing, and what is lost is counted."""
        sink = GatedSink(failures=2)
        sink.gate.set()
        writer = self._writer(sink)
        for line in (b"a", b"b"):
            sink.entered.clear()
            writer.put(Level.INFO, line)
            self.assertTrue(sink.entered.wait(_PATIENCE))
        writer.put(Level.INFO, b"c")
        writer.close(_PATIENCE)
        self.assertEqual((sink.lines, len(self.complaints)), ([b"c", b"lost 2"], 1))

    def test_hanging(self) -> None:
        """Closing does not wait for somebody who never reads."""
        sink = GatedSink()
        writer = self._writer(sink)
        writer.put(Level.INFO, b"line")
        self.assertTrue(sink.entered.wait(_PATIENCE))
        writer.close(0)
        writer.put(Level.INFO, b"too late")
        sink.gate.set()
        writer.close(_PATIENCE)
        self.assertEqual(sink.lines, [b"line"])

    def test_unused(self) -> None:
        """Without a line there is no thread."""
        writer = self._writer(GatedSink())
        self.assertIsNone(writer._thread)
        writer.close(0)


class SinkTests(SynchronousTestCase):
    """The sinks, each with a real other end."""

    _ENTRIES = ((Level.INFO, b"one"), (Level.ERROR, b"two"))

    def test_stream(self) -> None:
        """Standard output gets a line each."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        StreamSink(writing).write(self._ENTRIES)
        os.close(writing)
        self.assertEqual(os.read(reading, 100), b"one\ntwo\n")
        self.assertRaises(OSError, StreamSink(writing).write, self._ENTRIES)

    def test_tcp(self) -> None:
        """A log server gets lines over one connection, and a new one after that broke."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(_PATIENCE)
            sink = TCPSink("127.0.0.1", listening.getsockname()[1])
            for _ in range(2):
                sink.write(self._ENTRIES)
                sink.write(self._ENTRIES)
                sink.close()
                connection, _ = listening.accept()
                with connection, connection.makefile("rb") as file:
                    self.assertEqual(file.read(), b"one\ntwo\n" * 2)
            port = listening.getsockname()[1]
        self.assertRaises(OSError, TCPSink("127.0.0.1", port).write, self._ENTRIES)

    def test_udp(self) -> None:
        """A datagram has one line."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
            listening.settimeout(_PATIENCE)
            listening.bind(("127.0.0.1", 0))
            sink = UDPSink("127.0.0.1", listening.getsockname()[1])
            sink.write(self._ENTRIES)
            sink.close()
            self.assertEqual([listening.recv(100) for _ in range(2)], [b"one\n", b"two\n"])

    def test_syslog(self) -> None:
        """The log of the machine gets facility and severity, the name and the process before the line."""
        path = str(Path(os.path.relpath(self.mktemp())))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.settimeout(_PATIENCE)
            listening.bind(path)
            sink = SyslogSink("local1", path)
            sink.write(self._ENTRIES)
            sink.close()
            pid = os.getpid()
            self.assertEqual(
                [listening.recv(100) for _ in range(2)],
                [
                    f"<{17 * 8 + 6}>badsmtp[{pid}]: one".encode(),
                    f"<{17 * 8 + 3}>badsmtp[{pid}]: two".encode(),
                ],
            )
        self.assertRaises(OSError, SyslogSink("mail", path).write, self._ENTRIES)

    def test_syslog_stream(self) -> None:
        """Where the log of the machine wants a stream, a NUL ends each line."""
        path = str(Path(os.path.relpath(self.mktemp())))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.settimeout(_PATIENCE)
            listening.bind(path)
            listening.listen()
            sink = SyslogSink("mail", path)
            sink.write(self._ENTRIES)
            sink.close()
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as file:
                self.assertEqual([line[-3:] for line in file.read().split(b"\0")], [b"one", b"two", b""])
