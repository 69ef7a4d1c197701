"""Frames and descriptors between two processes."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from moxtwisted.server.receivers.link import Link, Word
from moxtwisted.server.sockets import adopt_link


class Recorder:
    """One end, and what it heard.

    :ivar said: (word, values).
    """

    def __init__(self) -> None:
        self.said: list[tuple[Word, list[Any]]] = []
        self.lost = 0
        self.link = Link(lambda word, values: self.said.append((word, values)), self._gone)

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

            taker = Link(hear, lambda: None)
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

    def _end(self, sender: Recorder, taker: Link) -> Deferred[None]:
        ended: Deferred[None] = Deferred()
        sender.link._lost = lambda: None
        taker._lost = lambda: ended.callback(None)
        sender.link.abort()
        return ended
