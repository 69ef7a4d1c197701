"""Messages on their way in."""

from __future__ import annotations

import os
import random
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import ConsistencyError, StoreFullError, StoreUnavailableError
from moxtwisted.store.bodies import CHUNK_OCTETS, decode
from moxtwisted.store.gathering import Gathering
from moxtwisted.store.staging import (
    MEMORY_OCTETS,
    Handed,
    HandedOctets,
    SealedFile,
    Staged,
    Staging,
)

FULL = OSError(28, "No space left on device")


def letter(octets: int) -> bytes:
    """A message of that size, half of it compressible."""
    dice = random.Random(octets)
    head = b"Subject: large\r\n\r\n"
    lines = [b"%d %b\r\n" % (dice.randrange(10**12), b"x" * 40) for _ in range(octets // 44)]
    return (head + b"".join(lines) + b"y" * octets)[:octets]


class InlineTests(SynchronousTestCase):
    """Packed by the caller."""

    def setUp(self) -> None:
        """No packer."""
        self.packer: ThreadPoolExecutor | None = None
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def staging(self) -> Staging:
        """An empty one."""
        return Staging(self.directory, os.urandom, self.packer)

    def test_sizes(self) -> None:
        """What comes out is what went in, around every limit, in whatever pieces it came."""
        for size in (
            MEMORY_OCTETS,
            MEMORY_OCTETS + 1,
            MEMORY_OCTETS + CHUNK_OCTETS,
            7 * CHUNK_OCTETS - 1,
        ):
            octets = letter(size)
            for piece in (65_000, 400_000):
                sink = self.staging()
                for start in range(0, size, piece):
                    sink.write(octets[start : start + piece])
                staged = sink.finish()
                self.assertEqual(staged.size, size)
                self.assertEqual(b"".join(staged.chunks()), octets)
                for _ in range(2):
                    packed = list(staged.packed())
                    unpacked = [decode(codec, data) for codec, data in packed]
                    self.assertEqual(b"".join(unpacked), octets)
                    self.assertEqual({len(one) for one in unpacked[:-1]}, {CHUNK_OCTETS})
                for offset, length in (
                    (0, 10),
                    (CHUNK_OCTETS - 5, 10),
                    (100, 900_000),
                    (size - 3, 9),
                    (size, 9),
                ):
                    self.assertEqual(staged.read(offset, length), octets[offset : offset + length])
                staged.close()

    def test_abort(self) -> None:
        """One that is given up leaves nothing, whenever that is."""
        for size in (10, MEMORY_OCTETS + 10, 3 * MEMORY_OCTETS):
            sink = self.staging()
            sink.write(letter(size))
            sink.abort()
            sink.abort()
            self.assertRaises(StoreUnavailableError, sink.write, b"more")
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_closed(self) -> None:
        """What was closed before it was added is refused: no writer takes what is left of it for the message."""
        for size in (0, 10, CHUNK_OCTETS + 1, MEMORY_OCTETS + 1, 7 * CHUNK_OCTETS):
            sink = self.staging()
            sink.write(letter(size))
            staged = sink.finish()
            large = size > MEMORY_OCTETS
            packing = iter(staged.packed() if large else ())
            next(packing, None)
            staged.close()
            with self.assertRaises(StoreUnavailableError):
                list(staged.packed())
            if large:
                self.assertRaises(StoreUnavailableError, list, packing)
            else:
                self.assertRaises(StoreUnavailableError, staged.read, 0, 1)

    def test_disk_full(self) -> None:
        """A full disk is an error at the latest when the chunks are wanted."""
        sink = self.staging()
        with patch.object(SealedFile, "write", side_effect=FULL):
            try:
                for _ in range(20):
                    sink.write(letter(300_000))
                staged = sink.finish()
                list(staged.packed())
            except (StoreFullError, OSError):
                return
        self.fail("nobody noticed")


class GatheringTests(SynchronousTestCase):
    """Messages that are added together."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.gathering = Gathering(self.directory, os.urandom)

    def put(self, *messages: bytes) -> list[Staging]:
        """Write them one after the other."""
        sinks = []
        for octets in messages:
            sinks.append(self.gathering.stage())
            for start in range(0, len(octets), 100_000):
                sinks[-1].write(octets[start : start + 100_000])
        return sinks

    def test_same_octets(self) -> None:
        """What comes out is what went in, and so is what was found in it, small and large, in memory and put aside."""
        sizes = (
            10,
            300_000,
            MEMORY_OCTETS + 5,
            500_000,
            700_000,
            2 * CHUNK_OCTETS,
            3 * MEMORY_OCTETS,
            1,
            400_000,
        )
        messages = [letter(size) for size in sizes]
        # Their scans have no room, and are done again.
        messages[4:4] = [b"x: y\r\n" * 60_000 + b"Subject: %d\r\n\r\ntext" % n for n in range(10)]
        sinks = self.put(*messages)
        staged = [sink.finish() for sink in sinks]
        for octets, one in zip(messages, staged, strict=True):
            alone = Staging(self.directory, os.urandom)
            alone.write(octets)
            expected = alone.finish()
            self.assertEqual((one.size, b"".join(one.chunks())), (len(octets), octets))
            self.assertEqual(one.rendered, expected.rendered)
            self.assertEqual(one.scanned.header.octets, expected.scanned.header.octets)
            self.assertEqual(b"".join(decode(codec, data) for codec, data in one.packed()), octets)
            expected.close()
        for one in staged:
            one.close()
            one.close()
        self.assertIsNone(self.gathering._file)

    def test_memory(self) -> None:
        """Of a hundred megabytes in a thousand messages that wait, a few are in memory; all in one file."""
        opened = []
        make = SealedFile.make

        def count(directory: Path, entropy: Callable[[int], bytes]) -> SealedFile:
            opened.append(make(directory, entropy))
            return opened[-1]

        self.patch(SealedFile, "make", count)
        octets = b"x: y\r\n" * 1000 + b"\r\n" + b"text\r\n" * 15_000
        tracemalloc.start()
        try:
            sinks = self.put(*[octets + b"%d" % n for n in range(1000)])
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(used, 12 << 20)
        self.assertEqual(len(opened), 1)
        for sink in sinks[::2]:
            sink.abort()
            sink.abort()
        for number, sink in list(enumerate(sinks))[1::2]:
            staged = sink.finish()
            self.assertEqual(b"".join(staged.chunks()), octets + b"%d" % number)
            staged.close()
        self.assertTrue(opened[0]._file.closed)
        self.assertEqual((self.gathering._octets, self.gathering._scans), (0, 0))

    def test_memory_when_finished(self) -> None:
        """They are finished before the first of them is added: what was read for that is not kept."""
        letters = [b"Subject: %d\r\n\r\n" % n + b"text\r\n" * 30_000 for n in range(300)]
        # All of these is header.
        letters += [b"x: y\r\n" * 3000 + b"\r\n" for _ in range(50)]
        sinks = self.put(*letters)
        tracemalloc.start()
        try:
            staged = [sink.finish() for sink in sinks]
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(used, 6 << 20)
        for one in staged:
            one.close()

    def test_one_after_the_other(self) -> None:
        """Whoever has made place for the next one can write no more, and the room that was taken is there again."""
        for _ in range(3):
            first, second = self.put(letter(MEMORY_OCTETS), b"a: b\r\n\r\n")
            self.assertRaises(StoreUnavailableError, first.write, b"more")
            self.assertIsNone(self.gathering._file)
            second.abort()
            first.finish().close()
            self.assertRaises(StoreUnavailableError, first.finish)

    def test_disk_full(self) -> None:
        """A full disk is said when the next message begins; the one that had no room is gone, the others are not."""
        self.put(letter(MEMORY_OCTETS), letter(100_000))
        with patch.object(SealedFile, "write", side_effect=FULL):
            self.assertRaises(StoreFullError, self.gathering.stage)
        self.assertIsNone(self.gathering._file)


class HandedTests(SynchronousTestCase):
    """Messages that another process took in."""

    def setUp(self) -> None:
        """A directory for large ones."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def _staged(self, octets: bytes) -> Staged:
        staging = Staging(self.directory, os.urandom, None)
        staging.write(octets)
        staged = staging.finish()
        self.addCleanup(staged.close)
        return staged

    def _handed(self, octets: bytes) -> tuple[Staged, Handed]:
        """As it arrives there: with a descriptor of its own."""
        staged = self._staged(octets)
        handed = staged.hand_over()
        return staged, evolve(handed, descriptor=os.dup(handed.descriptor)) if handed.secret else handed

    def test_same_octets(self) -> None:
        """Octets, chunks and pieces from the middle are the same there, also when the first process is done."""
        for size in (1, 3000, CHUNK_OCTETS, CHUNK_OCTETS + 1, MEMORY_OCTETS, MEMORY_OCTETS + 1, 3_333_333):
            octets = letter(size)
            staged, handed = self._handed(octets)
            packed = list(staged.packed())
            there = HandedOctets(handed, size)
            staged.close()
            self.assertEqual(there.read(0, size + 10), octets)
            self.assertEqual(there.read(size // 2, 70_000), octets[size // 2 :][:70_000])
            self.assertEqual(there.read(size, 1), b"")
            self.assertEqual(list(there.packed()), packed)
            there.close()

    def test_not_believed(self) -> None:
        """Chunks that are not what they should be are refused before anything is stored."""
        _, small = self._handed(letter(3000))
        ((codec, data),) = small.chunks
        for chunks in (
            (),
            ((codec, data), (codec, data)),
            ((codec, data[:-1]),),
            ((codec, b""),),
            ((0, data),),
            ((7, data),),
            ((0, b"x" * 2999),),
        ):
            self.assertRaises(ConsistencyError, HandedOctets, Handed(chunks), 3000)

    def test_file_not_believed(self) -> None:
        """A file is looked at whenever it is read: it may be changed, or be none."""
        size = MEMORY_OCTETS + 5
        for spoil in (
            lambda h: evolve(h, places=tuple([(codec, 1 << 60, octets) for codec, _, octets in h.places])),
            lambda h: evolve(h, places=tuple([(codec, -1, octets) for codec, _, octets in h.places])),
            lambda h: evolve(h, places=tuple([(codec, at, 1 << 60) for codec, at, _ in h.places])),
            lambda h: evolve(h, secret=b"x" * len(h.secret)),
        ):
            _, handed = self._handed(letter(size))
            there = HandedOctets(spoil(handed), size)
            self.assertRaises(ConsistencyError, there.read, 0, 10)
            self.assertRaises(ConsistencyError, list, there.packed())
            there.close()

    def test_no_file(self) -> None:
        """A pipe, a device or a directory is no file, nor is one without its whole secret."""
        _, handed = self._handed(letter(MEMORY_OCTETS + 5))
        reading, writing = os.pipe()
        os.close(writing)
        for descriptor, secret in (
            (reading, handed.secret),
            (os.open("/dev/zero", os.O_RDONLY), handed.secret),
            (os.open(self.directory, os.O_RDONLY), handed.secret),
            (handed.descriptor, b"short"),
        ):
            spoilt = evolve(handed, descriptor=descriptor, secret=secret)
            self.assertRaises(ConsistencyError, HandedOctets, spoilt, MEMORY_OCTETS + 5)
            self.assertRaises(OSError, os.fstat, descriptor)

    def test_descriptor_is_closed(self) -> None:
        """Also that of a message that is refused."""
        _, handed = self._handed(letter(MEMORY_OCTETS + 5))
        self.assertRaises(ConsistencyError, HandedOctets, handed, 3000)
        self.assertRaises(OSError, os.fstat, handed.descriptor)


class PackerTests(InlineTests):
    """Packed by a thread."""

    def setUp(self) -> None:
        """One thread."""
        super().setUp()
        self.packer = ThreadPoolExecutor(1)
        self.addCleanup(self.packer.shutdown)

    def test_read_before_packed(self) -> None:
        """What the thread has not come to can be read."""
        assert self.packer is not None
        gate = threading.Event()
        self.packer.submit(gate.wait, 10)
        octets = letter(MEMORY_OCTETS + 1)
        sink = self.staging()
        sink.write(octets)
        staged = sink.finish()
        self.assertEqual(staged.read(CHUNK_OCTETS - 2, 4), octets[CHUNK_OCTETS - 2 : CHUNK_OCTETS + 2])
        gate.set()
        self.assertEqual(b"".join(decode(*one) for one in staged.packed()), octets)
        self.assertEqual(staged.read(5, 5), octets[5:10])
        staged.close()

    def test_busy_with_others(self) -> None:
        """Who sends more than the thread, busy with others' messages, can pack does not wait for them."""
        assert self.packer is not None
        gate = threading.Event()
        self.packer.submit(gate.wait, 30)
        octets = letter(MEMORY_OCTETS + 20 * CHUNK_OCTETS)
        sink = self.staging()
        for start in range(0, len(octets), 100_000):
            sink.write(octets[start : start + 100_000])
        self.assertFalse(gate.is_set())
        gate.set()
        staged = sink.finish()
        self.assertEqual(b"".join(decode(*one) for one in staged.packed()), octets)
        staged.close()

    def test_closed_before_packed(self) -> None:
        """Closing while chunks wait ends it; the thread goes on with others."""
        assert self.packer is not None
        gate = threading.Event()
        self.packer.submit(gate.wait, 10)
        sink = self.staging()
        sink.write(letter(MEMORY_OCTETS + 1))
        sink.finish().close()
        gate.set()
        self.test_sizes()

    def test_store_closed(self) -> None:
        """When the thread is gone, what comes in is refused."""
        assert self.packer is not None
        sink = self.staging()
        self.packer.shutdown()
        self.assertRaises(StoreUnavailableError, sink.write, letter(MEMORY_OCTETS + 1))
