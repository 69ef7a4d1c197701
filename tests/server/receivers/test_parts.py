"""The structure of a message in a process that did not take it in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import asdict
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.junk.tokens import features
from moxtwisted.message.headers import Header
from moxtwisted.message.mime import DEFAULT_LIMITS, Part, ScannedMessage
from moxtwisted.server.receivers.packing import ShapeError, guarded
from moxtwisted.server.receivers.parts import FarScanned, read_tree, write_tree
from tests.message.test_corpus import CORPUS, scan

read = guarded(read_tree)

#: Of which messages are made that have parts in parts.
LINES = st.sampled_from(
    (
        b"--a\r\n", b"--a--\r\n", b"--b\n", b"--b--\r\n", b"\r\n", b"\n", b"text\r\n", b"Subject: x\r\n",
        b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: multipart/digest; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n", b"Content-Disposition: attachment; filename=x\r\n", b"--a", b"x\0\xff",
    )
)  # fmt: skip
MESSAGES = st.lists(LINES, max_size=40).map(
    lambda lines: b"Content-Type: multipart/mixed; boundary=a\r\n" + b"".join(lines)
)


def flat(scanned: ScannedMessage) -> Iterator[dict[str, Any]]:
    """All that is said of each part, in order."""
    waiting = [scanned.root]
    while waiting:
        part = waiting.pop()
        waiting += reversed(part.children)
        yield {
            **asdict(part, recurse=False),
            "children": len(part.children),
            "header": part.header and part.header.octets,
        }


def words(scanned: ScannedMessage) -> tuple[Any, ...]:
    """What is said of the whole."""
    return (
        scanned.size, scanned.header.octets, scanned.header_size, scanned.part_count, scanned.has_8bit, scanned.has_nul,
        scanned.over_limits, scanned.has_utf8_header, scanned.received_count, scanned.date,
    )  # fmt: skip


class Octets:
    """A message's.

    :ivar asked: how often they were read.
    """

    def __init__(self, octets: bytes) -> None:
        self.octets, self.asked = octets, 0

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle."""
        self.asked += 1
        return self.octets[offset : offset + length]


class Trees(SynchronousTestCase):
    """A tree that crosses."""

    def same(self, octets: bytes) -> None:
        """What crosses is what the scanner found."""
        scanned = scan(octets)
        there = read(write_tree(scanned), len(octets), scanned.header)
        self.assertEqual(list(flat(there)), list(flat(scanned)))
        self.assertEqual(words(there), words(scanned))

    def test_corpus(self) -> None:
        """All messages of the corpus are the same there."""
        found = sorted(CORPUS.glob("*.eml"))
        self.assertGreater(len(found), 20)
        for file in found:
            self.same(file.read_bytes())

    @given(MESSAGES)
    @settings(max_examples=300, deadline=None)
    def test_nested(self, octets: bytes) -> None:
        """And whatever is wrong with boundaries; so every tree of the scanner is one that is let in."""
        self.same(octets)

    def test_deepest(self) -> None:
        """A message in a message, as deep as the scanner looks, is no deeper for who writes and reads it."""
        self.same(b"Content-Type: message/rfc822\r\n\r\n" * 500)

    def test_most_parts(self) -> None:
        """As many parts as there may be cross."""
        octets = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\n\r\n" * (
            DEFAULT_LIMITS.parts + 9
        )
        self.same(octets)
        self.assertEqual(scan(octets).part_count, DEFAULT_LIMITS.parts)

    def changed(self, number: int, field: int, value: object) -> bytes:
        """A tree of a message with two parts, of which something is not as it was."""
        octets = write_tree(scan(TWO))
        tree = msgspec.msgpack.decode(octets)
        tree[3][number][field] = value
        return msgspec.msgpack.encode(tree)

    def test_nonsense(self) -> None:
        """What is no tree of such a message is not let in: nor parts that overlap, which would be read again and again."""
        header = scan(TWO).header
        self.assertEqual(len(read(self.changed(0, 0, 0), len(TWO), header).root.children), 2)
        for number, field, value in (
            (0, 0, 1), (1, 0, 0), (1, 0, 2), (2, 0, 3), (2, 0, -1), (2, 0, 101),  # depth
            (0, 2, False),  # no message
            (2, 1, 0), (2, 1, len(TWO) + 1), (1, 3, 0), (2, 4, len(TWO) + 1), (1, 4, len(TWO)),  # places
            (1, 6, ["text"]), (1, 9, "x"), (1, 15, "From: x"), (1, 16, None),  # types
        ):  # fmt: skip
            with self.assertRaises(ShapeError, msg=f"{number} {field} {value}"):
                read(self.changed(number, field, value), len(TWO), header)
        for octets in (b"", b"\x90", msgspec.msgpack.encode([False, False, False, []])):
            self.assertRaises(ShapeError, read, octets, 0, header)


TWO = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a\r\n\r\ntwo\r\n--a--\r\n"


class ScannedLater(SynchronousTestCase):
    """A small message."""

    def test_header(self) -> None:
        """Who asks for the header only does not have the message scanned."""
        octets = Octets(TWO)
        scanned = FarScanned(len(TWO), Header.parse_once(TWO[:45]), 45, octets)
        self.assertEqual((scanned.header_size, scanned.received_count, scanned.size), (45, 0, len(TWO)))
        self.assertIsNone(scanned.date)
        self.assertEqual(octets.asked, 0)

    def test_all(self) -> None:
        """Who asks for more gets what the scanner says, and it is scanned once."""
        for file in sorted(CORPUS.glob("*.eml")):
            octets = Octets(file.read_bytes())
            here = scan(octets.octets)
            there = FarScanned(len(octets.octets), here.header, here.header_size, octets)
            self.assertEqual(words(there), words(here))
            self.assertEqual(list(flat(there)), list(flat(here)))
            self.assertLessEqual(octets.asked, 1)

    def test_features(self) -> None:
        """The content filter finds the same in it."""
        for file in sorted(CORPUS.glob("*.eml"))[::4]:
            octets = Octets(file.read_bytes())
            here = scan(octets.octets)
            there = FarScanned(len(octets.octets), here.header, here.header_size, octets)
            found = features(here, octets.read)
            self.assertEqual(asdict(features(there, octets.read)), asdict(found))

    def test_types(self) -> None:
        """It is what a scan gives."""
        scanned = FarScanned(len(TWO), scan(TWO).header, 45, Octets(TWO))
        self.assertIsInstance(scanned, ScannedMessage)
        self.assertIsInstance(scanned.root, Part)
