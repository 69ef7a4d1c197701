"""Frames and descriptors between two processes."""

from __future__ import annotations

import os
import socket
from enum import IntEnum
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.server.processes.link import Link
from moxtwisted.server.sockets import adopt_link


class Word(IntEnum):
    """Those of the processes here."""

    CONNECTION = 2
    READY = 20
    TAKE = 21
    GONE = 22


class Other(IntEnum):
    """Those of others."""

    LENT = 1
    TAKE = 2


class Recorder:
    """One end, and what it heard.

    :ivar said: (word, values).
    """

    def __init__(self) -> None:
        self.said: list[tuple[Word, list[Any]]] = []
        self.lost = 0
        self.link = Link(Word, lambda word, values: self.said.append((word, values)), self._gone)

    def _gone(self) -> None:
        self.lost += 1


class FrameTests(SynchronousTestCase):
    """Octets."""

    def _octets(self, *frames: tuple[Any, ...]) -> bytes:
        end = Recorder()
        transport = StringTransport()
        end.link.makeConnection(transport)
        for frame in frames:
            end.link.say(*frame)
        return transport.value()

    @given(st.lists(st.integers(1, 60), max_size=30))
    def test_cut_anywhere(self, cuts: list[int]) -> None:
        """Frames arrive whole and in order, however their octets are cut."""
        octets = self._octets((Word.GONE, 17), (Word.TAKE, 1, b"x" * 300, [1, None, "ü"]), (Word.READY,))
        end = Recorder()
        end.link.makeConnection(StringTransport())
        for cut in cuts:
            end.link.dataReceived(octets[:cut])
            octets = octets[cut:]
        end.link.dataReceived(octets)
        self.assertEqual(
            end.said,
            [(Word.GONE, [17]), (Word.TAKE, [1, b"x" * 300, [1, None, "ü"]]), (Word.READY, [])],
        )

    def test_nonsense(self) -> None:
        """Who says what cannot be is not listened to any more."""
        for octets in (
            b"\xff\xff\xff\xff",
            (1 << 30).to_bytes(4, "big"),
            b"\0\0\0\x01\xc1",
            b"\0\0\0\x01\x90",
            b"\0\0\0\x01\x07",
            b"\0\0\0\x02\x91\x63",
            self._octets((Word.TAKE,))[:4] + b"\x91\xcc",
        ):
            end = Recorder()
            transport = StringTransport()
            end.link.makeConnection(transport)
            end.link.dataReceived(octets)
            end.link.dataReceived(self._octets((Word.READY,)))
            self.assertTrue(transport.disconnecting, octets)
            self.assertEqual(end.said, [], octets)
            self.assertEqual(len(self.flushLoggedErrors()), 1, octets)

    def test_gone(self) -> None:
        """Nothing is said to who is gone, and a descriptor for him is closed."""
        end = Recorder()
        end.link.makeConnection(StringTransport())
        end.link.connectionLost()
        end.link.say(Word.READY)
        reading, writing = os.pipe()
        os.close(writing)
        end.link.say_with(reading, Word.CONNECTION, 1)
        self.assertRaises(OSError, os.fstat, reading)
        self.assertEqual(end.lost, 1)

    def test_no_descriptor(self) -> None:
        """A frame whose descriptor did not come is an error."""
        end = Recorder()
        self.assertRaises(ValueError, end.link.descriptor)
        end.link.fileDescriptorReceived(os.dup(0))
        for count in (2, -1):
            self.assertRaises(ValueError, end.link.descriptors, count)
        self.assertEqual(end.link.descriptors(0), [])
        [descriptor] = end.link.descriptors(1)
        os.close(descriptor)

    def test_too_many_descriptors(self) -> None:
        """Descriptors of a frame that cannot be sent are closed."""
        end = Recorder()
        transport = StringTransport()
        end.link.makeConnection(transport)
        for error, values in ((ValueError, ()), (TypeError, (object(),))):
            mine = [os.dup(0) for _ in range(3)]
            self.assertRaises(error, end.link.say_with, mine, Word.READY, *values)
            for descriptor in mine:
                self.assertRaises(OSError, os.fstat, descriptor)
        self.assertEqual(transport.value(), b"")

    def test_words(self) -> None:
        """Each kind of process has words of its own, and hears no others."""
        heard: list[tuple[Other, list[Any]]] = []
        link = Link(Other, lambda word, values: heard.append((word, values)), lambda: None)
        transport = StringTransport()
        link.makeConnection(transport)
        link.say(Other.LENT, "alice")
        link.dataReceived(transport.value())
        link.dataReceived(self._octets((Word.CONNECTION, 1)))
        self.assertEqual(heard, [(Other.LENT, ["alice"]), (Other.TAKE, [1])])
        self.assertIs(type(heard[0][0]), Other)
        link.dataReceived(self._octets((Word.GONE, 1)))
        self.assertTrue(transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class DescriptorTests(TestCase):
    """Between real sockets."""

    timeout = 20

    def test_with_descriptors(self) -> None:
        """Descriptors come in their order, are the other end's, and are closed here."""
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            other.setblocking(False)
            done: Deferred[None] = Deferred()
            heard: list[bytes] = []
            sender = Recorder()

            def hear(word: Word, values: list[Any]) -> None:
                descriptor = taker.descriptor()
                self.assertFalse(os.get_inheritable(descriptor))
                heard.append(os.read(descriptor, 10))
                os.close(descriptor)
                if len(heard) == 200:
                    done.callback(None)

            taker = Link(Word, hear, lambda: None)
            adopt_link(reactor, one.fileno(), sender.link)
            adopt_link(reactor, other.fileno(), taker)
        mine = []
        for number in range(200):
            reading, writing = os.pipe()
            os.write(writing, b"%d" % number)
            os.close(writing)
            mine.append(os.fstat(reading).st_ino)
            sender.link.say_with(reading, Word.CONNECTION, number, "x" * 5000)
        self.addCleanup(self._end, sender, taker)

        def check(_: object) -> None:
            self.assertEqual(heard, [b"%d" % number for number in range(200)])
            left = {path.stat().st_ino for path in Path("/proc/self/fd").iterdir() if path.exists()}
            self.assertEqual(left & set(mine), set())

        done.addCallback(check)
        return done  # type: ignore[return-value]

    async def test_several(self) -> None:
        """Frames with several descriptors, with one and with none come with theirs, in order, also when the socket is full."""
        done: Deferred[None] = Deferred()
        heard: list[list[bytes]] = []
        counts = [number % 5 for number in range(200)]

        def hear(word: Word, values: list[Any]) -> None:
            found = []
            for descriptor in taker.descriptors(values[0]):
                found.append(os.read(descriptor, 10))
                os.close(descriptor)
            heard.append(found)
            if len(heard) == len(counts):
                done.callback(None)

        sender, taker = Recorder(), Link(Word, hear, lambda: None)
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            other.setblocking(False)
            adopt_link(reactor, one.fileno(), sender.link)
            adopt_link(reactor, other.fileno(), taker)
        self.addCleanup(self._end, sender, taker)
        mine, expected = [], []
        for number, count in enumerate(counts):
            given = []
            for nth in range(count):
                reading, writing = os.pipe()
                os.write(writing, b"%d-%d" % (number, nth))
                os.close(writing)
                given.append(reading)
            mine += [os.fstat(descriptor).st_ino for descriptor in given]
            expected.append([b"%d-%d" % (number, nth) for nth in range(count)])
            sender.link.say_with(given, Word.TAKE, count, b"x" * (number % 3 * 5000))
        self.assertGreater(sender.link.waiting, 0)
        await done
        self.assertEqual(heard, expected)
        left = {path.stat().st_ino for path in Path("/proc/self/fd").iterdir() if path.exists()}
        self.assertEqual(left & set(mine), set())

    def _end(self, sender: Recorder, taker: Link[Word]) -> Deferred[None]:
        ended: Deferred[None] = Deferred()
        sender.link._lost = lambda: None
        taker._lost = lambda: ended.callback(None)
        sender.link.abort()
        return ended
