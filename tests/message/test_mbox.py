"""mbox files."""

from __future__ import annotations

import io
import mailbox
import pathlib
import re
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.mbox import MboxWriter, Quoting, read_mbox

LINES = st.sampled_from(
    [
        b"",
        b"text",
        b"From ",
        b"From me to you",
        b"From a@b Fri Nov 21 09:55:06 1997",
        b">From x",
        b">>From x",
        b">",
        b"Subject: x",
    ]
)
CONTENTS = st.lists(LINES, min_size=1, max_size=8).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


def write(messages: list[bytes], quoting: Quoting = "mboxrd", piece: int = 7) -> bytes:
    out = io.BytesIO()
    writer = MboxWriter(out, quoting)
    for message in messages:
        writer.add(
            [message[i : i + piece] for i in range(0, len(message), piece)], sender="a@b", seconds=880127706
        )
    return out.getvalue()


def read(octets: bytes, quoting: Quoting = "mboxrd") -> list[bytes]:
    return [b"".join(entry.chunks) for entry in read_mbox(io.BytesIO(octets), quoting=quoting)]


class Trickle(io.RawIOBase):
    """A file that gives a few octets at a time."""

    def __init__(self, octets: bytes, piece: int) -> None:
        self._rest = octets
        self._piece = piece

    def read(self, size: int = -1, /) -> bytes:
        taken, self._rest = self._rest[: self._piece], self._rest[self._piece :]
        return taken


class MboxTests(SynchronousTestCase):
    """read_mbox and MboxWriter."""

    @settings(max_examples=100)
    @given(st.lists(CONTENTS, max_size=4), st.integers(1, 50))
    def test_mboxrd_loses_nothing(self, messages: list[bytes], piece: int) -> None:
        """What mboxrd was written with is read back, however the octets come."""
        octets = write(messages, piece=piece)
        self.assertEqual(read(octets), messages)
        trickled = [b"".join(entry.chunks) for entry in read_mbox(Trickle(octets, piece))]
        self.assertEqual(trickled, messages)

    def test_empty_messages(self) -> None:
        """A message without octets is read back as one, at the end of the file too."""
        for messages in ([b""], [b"", b""], [b"a\r\n", b""]):
            self.assertEqual(read(write(messages)), messages)

    @settings(max_examples=50)
    @given(st.lists(CONTENTS, max_size=4))
    def test_mboxo(self, messages: list[bytes]) -> None:
        """Format mboxo loses the difference between From and >From, as it must."""
        expected = [re.sub(rb"(?m)^>From ", b"From ", message) for message in messages]
        self.assertEqual(read(write(messages, "mboxo"), "mboxo"), expected)

    def test_the_library_reads_what_we_write(self) -> None:
        """The standard library finds the same messages."""
        path = pathlib.Path(self.mktemp())
        path.write_bytes(write([b"Subject: a\r\n\r\nFrom me\r\n", b"Subject: b\r\n\r\n\r\n"]))
        box = mailbox.mbox(path)
        self.addCleanup(box.close)
        self.assertEqual([message["subject"] for message in box], ["a", "b"])

    def test_from_line(self) -> None:
        """Sender and date come from the From line, in the forms that programs write."""
        for line, sender, seconds in (
            (b"From a@b Fri Nov 21 15:55:06 1997", b"a@b", 880127706),
            (b"From a@b  Fri Nov 21 09:55:06 1997 -0600", b"a@b", 880127706),
            (b"From a@b Fri Nov 21 09:55:06 CST 1997", b"a@b", 880127706),
            (b"From - Fri Nov 21 15:55:06 1997", b"-", 880127706),
            (b'From "a b"@c Fri Nov  7 15:55:06 1997', b'"a b"@c', 878918106),
            (b"From 1@xxx Fri Nov 21 15:55:06 +0000 1997", b"1@xxx", 880127706),
        ):
            entry = next(read_mbox(io.BytesIO(line + b"\r\nSubject: x\n\n")))
            self.assertEqual((entry.sender, entry.seconds), (sender, seconds), line)

    def test_what_is_no_separator(self) -> None:
        """A line From … separates only behind an empty line and with a date."""
        octets = b"From a@b Fri Nov 21 15:55:06 1997\nA: b\n\ntext\nFrom a@b Fri Nov 21 15:55:06 1997\n\nFrom here on\n"
        self.assertEqual(len(read(octets)), 1)

    def test_garbage_in_front(self) -> None:
        """Octets before the first From line are passed over; a file without one has no messages."""
        self.assertEqual(read(b"junk\n\n" + write([b"x\r\n"])), [b"x\r\n"])
        self.assertEqual(read(b"junk"), [])
        self.assertEqual(read(b""), [])

    def test_messages_may_be_skipped(self) -> None:
        """Chunks that nobody took are passed over."""
        octets = write([b"a\r\n" * 50_000, b"b\r\n", b"c\r\n"])
        self.assertEqual(len(list(read_mbox(io.BytesIO(octets)))), 3)

    def test_memory_is_bounded(self) -> None:
        """Long messages and long lines come in chunks of limited size."""

        class Endless(io.RawIOBase):
            def __init__(self, blocks: Iterator[bytes]) -> None:
                self._blocks = blocks

            def read(self, size: int = -1, /) -> bytes:
                return next(self._blocks, b"")

        def blocks() -> Iterator[bytes]:
            yield b"From a@b Fri Nov 21 15:55:06 1997\n"
            for _ in range(300):
                yield b"x" * 65536
            for _ in range(300):
                yield b"y\n" * 32768

        total = 0
        for entry in read_mbox(Endless(blocks())):
            for chunk in entry.chunks:
                self.assertLess(len(chunk), 2_500_000)
                total += len(chunk)
        self.assertEqual(total, 300 * 65536 + 300 * 98304)

    def test_writer_bounds(self) -> None:
        """A sender cannot forge lines, and an endless line is written in pieces."""
        out = io.BytesIO()
        MboxWriter(out).add([b"x" * 65536] * 64, sender="a b\nFrom c", seconds=0)
        self.assertEqual(
            out.getvalue(), b"From abFromc Thu Jan  1 00:00:00 1970\n" + b"x" * 65536 * 64 + b"\n\n"
        )
