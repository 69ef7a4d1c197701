"""Facts of bodies and chunks, whole and damaged."""

from __future__ import annotations

import struct

import zstandard
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import ConsistencyError
from moxtwisted.store.bodies import CHUNK_OCTETS, decode, encode
from moxtwisted.store.facts import Facts, pack, picker, prefix_of, unpack
from moxtwisted.store.interfaces import Column

FACTS = Facts(b"(envelope)", b"(structure)", b"Subject: x\r\n", "preview", b"parts", b"Return-Path: <>\r\n")

#: A frame of zstd that claims 2**48 octets and holds one.
HUGE = bytes.fromhex("28b52ffde0000000000000010001000078")


class FactsTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """What was packed comes out again, whole and in parts."""
        kept = pack(FACTS)
        self.assertEqual(unpack(kept), FACTS)
        self.assertEqual(prefix_of(kept), FACTS.prefix)
        self.assertEqual(picker(Column.ENVELOPE | Column.PREVIEW)(kept), (FACTS.envelope, FACTS.preview))

    def refused(self, kept: bytes) -> None:
        for read in (unpack, prefix_of, picker(Column.ENVELOPE)):
            self.assertRaises(ConsistencyError, read, kept)

    def test_nothing(self) -> None:
        """No octets at all are damage."""
        self.refused(b"")

    def test_too_short(self) -> None:
        """Octets that cannot hold the places of the parts are damage."""
        self.refused(b"\0abc")

    def test_out_of_order(self) -> None:
        """Parts that end before they begin are damage."""
        parts = b"ebfpax"
        self.assertEqual(unpack(b"\0" + struct.pack("<6I", 25, 26, 27, 28, 29, 30) + parts).prefix, b"x")
        self.refused(b"\0" + struct.pack("<6I", 26, 25, 27, 28, 29, 30) + parts)
        self.refused(b"\0" + struct.pack("<6I", 23, 26, 27, 28, 29, 30) + parts)

    def test_huge_claim(self) -> None:
        """A few octets that claim to be very many take no memory."""
        self.refused(b"\1" + HUGE)
        self.refused(b"\2" + HUGE)

    def test_unknown_codec(self) -> None:
        """Octets of an unknown codec are damage."""
        self.refused(b"\x09" + b"x" * 100)


class ChunkTests(SynchronousTestCase):
    def test_largest(self) -> None:
        """A whole chunk goes in and comes out, packed with and without the dictionary and not at all."""
        for octets in (b"mail " * 1000, b"x" * CHUNK_OCTETS, bytes(range(256))):
            self.assertEqual(decode(*encode(octets)), octets)

    def test_huge_claim(self) -> None:
        """A chunk that claims to be larger than chunks are is damaged, and takes no memory."""
        self.assertRaises(ConsistencyError, decode, 1, HUGE)
        self.assertRaises(ConsistencyError, decode, 2, HUGE)
        self.assertRaises(ConsistencyError, decode, 1, zstandard.compress(b"x" * (CHUNK_OCTETS + 1)))

    def test_not_packed(self) -> None:
        """Octets that are no frame are damage."""
        self.assertRaises(ConsistencyError, decode, 1, b"abc")
        self.assertRaises(ConsistencyError, decode, 2, b"")
