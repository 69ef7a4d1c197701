"""mbox files, read and written as streams (RFC 4155; quoting as mboxrd or mboxo).

::

    for entry in read_mbox(file):
        for chunk in entry.chunks:        # CRLF line ends, quoting undone
            ...
    writer = MboxWriter(out)
    writer.add(chunks, sender="anna@example.org", seconds=880127706)

Memory stays at a few blocks, whatever the file holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from attrs import define, frozen

from moxtwisted.message.dates import parse_date, render_from_line_date

__all__ = ["MboxEntry", "MboxWriter", "Quoting", "read_mbox"]

Quoting = Literal["mboxrd", "mboxo"]

_BLOCK_OCTETS = 64 * 1024
# A longer line is passed on in pieces; its beginning alone decides what it is.
_MAX_LINE_OCTETS = 1024 * 1024

_FROM = re.compile(rb"^From ", re.MULTILINE)
# Sender, then a date with a time of day and a year; senders with spaces exist.
_FROM_LINE = re.compile(
    rb"From (.{0,500}?)[ \t]+((?:[A-Za-z]{3},?[ \t]+)?[A-Za-z0-9]{1,3}[ \t].{0,40}\d\d?:\d\d.{0,60})\r?\n?\Z"
)
_QUOTED_RD = re.compile(rb"^>(>*From )", re.MULTILINE)
_QUOTED_O = re.compile(rb"^>(From )", re.MULTILINE)
_TO_QUOTE_RD = re.compile(rb"^(>*From )", re.MULTILINE)
_TO_QUOTE_O = re.compile(rb"^(From )", re.MULTILINE)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


@frozen(eq=False)
class MboxEntry:
    """A message in an mbox file.

    :ivar sender: from its From line, as it stands.
    :ivar seconds: the date of that line since the epoch (UTC, when it has no zone); None when unreadable.
    :ivar chunks: the raw message; to be taken before the next entry, else it is passed over.
    """

    sender: bytes
    seconds: int | None
    chunks: Iterator[bytes]


def read_mbox(file: _Readable, *, quoting: Quoting = "mboxrd") -> Iterator[MboxEntry]:
    """Give the messages of a file one after the other.

    A line "From …" with a date, at the beginning or behind an empty line, begins a message; octets before the first
    are passed over.

    :param file: opened for octets.
    :param quoting: mboxrd takes one ``>`` from every line of them before ``From``; mboxo only a single one.
    """
    reader = _Reader(file, _QUOTED_RD if quoting == "mboxrd" else _QUOTED_O)
    for _ in reader.chunks():
        pass
    while (line := reader.next_from()) is not None:
        found = _FROM_LINE.match(line)
        sender, date = found.groups() if found is not None else (b"", b"")
        chunks = reader.chunks()
        yield MboxEntry(sender, parse_date(date), chunks)
        for _ in chunks:
            pass


@define
class _Reader:
    """The file as messages; the buffer begins at a line, or within one that was too long."""

    _file: _Readable
    _quoted: re.Pattern[bytes]
    _buffer: bytes = b""
    _from_line: bytes | None = None
    _ended: bool = False
    _after_blank: bool = True  # whether the line before the buffer is empty or none
    _at_line: bool = True

    def next_from(self) -> bytes | None:
        """The From line that ended the last message, once."""
        line, self._from_line = self._from_line, None
        return line

    def chunks(self) -> Iterator[bytes]:
        """The octets up to the next From line. The empty line before it is not part of the message."""
        held = b""  # a line end that belongs to the message only if it is not the empty line at its end
        line_ended = True  # the From line did
        while True:
            block, separator = self._block()
            if block:
                block = held + block
                cut = len(block) - (block.endswith(b"\n") + block.endswith(b"\r\n"))
                block, held = block[:cut], block[cut:]
                if block:
                    line_ended = block.endswith(b"\n")
                    yield block.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            if separator is not None:
                self._from_line = separator
                return
            if self._ended and not self._buffer:
                break
        if held and not line_ended:
            yield b"\r\n"

    def _block(self) -> tuple[bytes, bytes | None]:
        """The next lines of a message, unquoted, and the From line behind them if one ends them."""
        self._fill()
        buffer = self._buffer
        end = len(buffer) if self._ended else buffer.rfind(b"\n") + 1
        if end == 0 and len(buffer) > _MAX_LINE_OCTETS:
            end = len(buffer) - buffer.endswith(b"\r")
        position = 0
        while (found := _FROM.search(buffer, position, end)) is not None:
            start = found.start()
            line_end = buffer.find(b"\n", start, end) + 1 or end
            if (
                (start > 0 or self._at_line)
                and self._is_blank_before(start)
                and _FROM_LINE.match(buffer[start:line_end])
            ):
                self._buffer = buffer[line_end:]
                self._after_blank, self._at_line = False, True
                return self._unquote(buffer[:start]), buffer[start:line_end]
            position = line_end
        taken = buffer[:end]
        self._buffer = buffer[end:]
        content = self._unquote(taken)
        if taken:
            self._after_blank = taken.endswith((b"\n\n", b"\n\r\n")) or (
                taken in (b"\n", b"\r\n") and self._at_line
            )
            self._at_line = taken.endswith(b"\n")
        return content, None

    def _is_blank_before(self, start: int) -> bool:
        if start == 0:
            return self._after_blank
        before = self._buffer[max(0, start - 3) : start]
        return before.endswith((b"\n\n", b"\n\r\n")) or (
            len(before) == start and before in (b"\n", b"\r\n") and self._at_line
        )

    def _unquote(self, lines: bytes) -> bytes:
        if b">From " not in lines:
            return lines
        if not self._at_line:
            first = lines.find(b"\n") + 1 or len(lines)
            return lines[:first] + self._quoted.sub(rb"\1", lines[first:])
        return self._quoted.sub(rb"\1", lines)

    def _fill(self) -> None:
        """Read on until there is a whole line, or more than a line may have, or the end."""
        while not self._ended and b"\n" not in self._buffer:
            more = self._file.read(_BLOCK_OCTETS)
            if not more:
                self._ended = True
            self._buffer += more
            if len(self._buffer) > _MAX_LINE_OCTETS:
                return


@define
class MboxWriter:
    """Writes messages to an mbox file.

    :ivar quoting: mboxrd can be read back without loss, mboxo is what older programs expect.
    """

    _file: _Writable
    quoting: Quoting = "mboxrd"

    def add(self, chunks: Iterable[bytes], *, sender: str, seconds: int) -> None:
        """Write a message.

        :param chunks: its octets, CRLF or LF line ends.
        :param sender: for the From line; the empty string becomes MAILER-DAEMON.
        :param seconds: when it came, since the epoch.
        """
        name = re.sub(r"[\s\x00-\x1f]", "", sender) or "MAILER-DAEMON"
        self._file.write(b"From %b %b\n" % (name.encode("utf-8", "replace"), render_from_line_date(seconds)))
        pattern = _TO_QUOTE_RD if self.quoting == "mboxrd" else _TO_QUOTE_O
        rest = b""
        at_line = True
        for chunk in chunks:
            data = rest + chunk
            # Lines are written whole, but for those that are too long to wait for their end.
            end = data.rfind(b"\n") + 1
            if end == 0 and len(data) <= _MAX_LINE_OCTETS:
                rest = data
                continue
            end = end or len(data) - data.endswith(b"\r")
            self._write(data[:end], pattern, at_line)
            at_line = data[end - 1] == 0x0A
            rest = data[end:]
        if rest:
            self._write(rest, pattern, at_line)
            at_line = rest.endswith(b"\n")
        self._file.write(b"\n" if at_line else b"\n\n")

    def _write(self, lines: bytes, pattern: re.Pattern[bytes], at_line: bool) -> None:
        lines = lines.replace(b"\r\n", b"\n")
        start = 0 if at_line else lines.find(b"\n") + 1 or len(lines)
        self._file.write(lines[:start] + pattern.sub(rb">\1", lines[start:]))
