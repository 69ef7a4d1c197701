"""The items of FETCH that are made of a message's octets: sections, header fields, decoded parts.

Small messages come from the backend many at a time; large ones are read and sent in pieces, so that neither is ever
whole in memory twice, and a message of 100 MB not even once. A piece without octets only means that others may have their turn:
to say how long a part is that is encoded, all of it has to be decoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import define, frozen

from moxtwisted.imap import backend as b
from moxtwisted.imap.backend import ISelectedMailbox
from moxtwisted.imap.commands.fetchplan import Batch, BodyItem, Plan
from moxtwisted.imap.connection import RefusalError
from moxtwisted.imap.readahead import IReadingAhead
from moxtwisted.imap.settings import Limits
from moxtwisted.message.partindex import PartIndex
from moxtwisted.message.structure import select_fields
from moxtwisted.message.transferencoding import ENCODINGS, decoded

__all__ = ["BrokenLiteralError", "write_bodies"]

_READ_OCTETS: Final = 131072
# A header is chosen from in memory; what is beyond is not looked at.
_MAX_HEADER_OCTETS: Final = 1024 * 1024
# Up to here a message is cheaper to read whole, with its neighbours, than to open.
_SMALL_OCTETS: Final = 32768
_BODIES_A_CALL: Final = 128
# Calls that are announced before they are made, to a backend that can read ahead.
_GROUPS_AHEAD: Final = 2
# An item is so much work that no more of them than this allows go into a piece, however few octets they have.
_ITEM_OCTETS: Final = 512
# Larger octets are not worth another copy to go out with what is before and behind.
_UNCOPIED_OCTETS: Final = 65536
# Items of one message that are found before others have their turn.
_ITEMS_A_TURN: Final = 16


class BrokenLiteralError(Exception):
    """The octets of a literal ended early: nothing can be said on this connection any more."""


@define(eq=False)
class _Memory:
    """Octets at hand, read like a message body."""

    octets: bytes
    size: int

    def read(self, offset: int, length: int) -> bytes:
        return self.octets[offset : offset + length]

    def close(self) -> None:
        """Nothing is held."""


@frozen
class _Message:
    """What is known of a message besides its octets."""

    size: int
    prefix: int
    header: int
    parts: bytes


class _Sources:
    """Opens messages in order, small ones in groups."""

    def __init__(self, mailbox: ISelectedMailbox, batch: Batch, plan: Plan, limit: int) -> None:
        self._mailbox = mailbox
        self._limit = limit
        self._sizes = batch.columns[b.SIZE]
        self._uids = batch.uids
        self._ready: dict[int, bytes] = {}
        self._reader: IReadingAhead | None = IReadingAhead(mailbox, None)
        self._announced: deque[Sequence[int]] = deque()
        # The first place that is neither read nor announced.
        self._next = 0
        self._small = limit if any(item.needs_all for item in plan.bodies) else _SMALL_OCTETS

    def whole(self, at: int) -> bytes | None:
        """All octets of the message at this place of the batch, or None if it is large or gone."""
        uid = self._uids[at]
        octets = self._ready.pop(uid, None)
        if octets is None and self._sizes[at] <= self._small:
            self._ready = dict(self._mailbox.bodies(self._begin(at), self._limit))
            octets = self._ready.pop(uid, None)
        return octets

    def open(self, at: int) -> Any | None:
        """The message at this place of the batch, or None if it is gone."""
        octets = self.whole(at)
        if octets is not None:
            return _Memory(octets, len(octets))
        return self._mailbox.open_body(self._uids[at])

    def close(self) -> None:
        """Nothing more is wanted."""
        self._ready = {}
        if self._announced and self._reader is not None:
            self._announced.clear()
            self._reader.read_ahead((), 0)

    def _begin(self, at: int) -> Sequence[int]:
        """The UIDs to be read now, after those were announced that come next."""
        if self._reader is None:
            return self._group(at)
        if self._announced and self._announced[0][0] == self._uids[at]:
            group = self._announced.popleft()
        else:
            # The first time; or messages are not where they were expected.
            self.close()
            group = self._group(at)
            self._next = at + len(group)
        while len(self._announced) < _GROUPS_AHEAD:
            while self._next < len(self._uids) and self._sizes[self._next] > self._small:
                self._next += 1
            more = self._group(self._next)
            if not more:
                break
            self._next += len(more)
            self._announced.append(more)
            self._reader.read_ahead(more, self._limit)
        return group

    def _group(self, at: int) -> Sequence[int]:
        group: list[int] = []
        total = 0
        for i in range(at, min(len(self._uids), at + _BODIES_A_CALL)):
            size = self._sizes[i]
            total += size
            if size > self._small or (group and total > self._limit):
                break
            group.append(self._uids[i])
        return group


def write_bodies(mailbox: ISelectedMailbox, plan: Plan, batch: Batch, limits: Limits) -> Iterator[bytes]:
    """FETCH responses for a batch.

    :raise RefusalError: when an encoding is unknown; responses before it are whole.
    :raise BrokenLiteralError: when octets are missing in the middle of a literal.
    """
    rows = zip(batch.numbers, *[of(batch) for of in plan.values], strict=True)
    sources = _Sources(mailbox, batch, plan, limits.body_batch_octets)
    try:
        if len(plan.bodies) == 1 and plan.bodies[0].is_whole:
            yield from _write_whole(sources, plan, rows, limits)
        else:
            yield from _write_parts(sources, plan, batch, rows, limits)
    finally:
        sources.close()


def _write_parts(
    sources: _Sources, plan: Plan, batch: Batch, rows: Iterable[tuple[Any, ...]], limits: Limits
) -> Iterator[bytes]:
    """Some octets of each message."""
    sizes, headers, prefixes = (batch.columns[c] for c in (b.SIZE, b.HEADER_SIZE, b.PREFIX_SIZE))
    parts = batch.columns.get(b.PARTS)
    template = plan.template + b" " if plan.values else plan.template
    out: list[bytes] = []
    octets = 0
    for at, row in enumerate(rows):
        source = sources.open(at)
        if source is None:
            continue
        message = _Message(sizes[at], prefixes[at], headers[at], parts[at] if parts is not None else b"")
        try:
            items = yield from _resolve_all(plan.bodies, message, source)
            out.append(template % row)
            separator = b""
            octets += _ITEM_OCTETS * len(items)
            for item, found in zip(plan.bodies, items, strict=True):
                out.append(separator + item.label)
                separator = b" "
                if isinstance(found, bytes):
                    out.append(found)
                    octets += len(found)
                elif found.length <= _READ_OCTETS:
                    data = source.read(found.offset, found.length)
                    out.append(b" {%d}\r\n" % len(data))
                    out.append(data)
                    octets += len(data)
                else:
                    out.append(b" %b{%d}\r\n" % (found.mark, found.length))
                    yield b"".join(out)
                    out.clear()
                    octets = 0
                    yield from _unbroken(found.stream(source))
            out.append(b")\r\n")
        finally:
            source.close()
        if octets >= limits.output_piece_octets:
            yield b"".join(out)
            out.clear()
            octets = 0
    yield b"".join(out)


def _write_whole(
    sources: _Sources, plan: Plan, rows: Iterable[tuple[Any, ...]], limits: Limits
) -> Iterator[bytes]:
    """What most clients fetch: all octets of messages that are not large."""
    template = (
        plan.template
        + (b" " if plan.values else b"")
        + plan.bodies[0].label.replace(b"%", b"%%")
        + b" {%d}\r\n"
    )
    out: list[bytes] = []
    octets = 0
    for at, row in enumerate(rows):
        data = sources.whole(at)
        if data is not None:
            if len(data) > _UNCOPIED_OCTETS:
                out.append(template % (*row, len(data)))
                yield b"".join(out)
                yield data
                out = [b")\r\n"]
                octets = 0
                continue
            out += (template % (*row, len(data)), data, b")\r\n")
            octets += len(data)
            if octets >= limits.output_piece_octets:
                yield b"".join(out)
                out.clear()
                octets = 0
            continue
        source = sources.open(at)
        if source is None:
            continue
        try:
            out.append(template % (*row, source.size))
            yield b"".join(out)
            out.clear()
            octets = 0
            yield from _unbroken(_Range(0, source.size).stream(source))
            out.append(b")\r\n")
        finally:
            source.close()
    yield b"".join(out)


def _unbroken(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces; whatever goes wrong is a broken literal."""
    try:
        yield from pieces
    except BrokenLiteralError:
        raise
    except Exception as e:
        raise BrokenLiteralError from e


@frozen
class _Range:
    """Octets of the message, to be streamed."""

    offset: int
    length: int
    mark: bytes = b""

    def stream(self, source: Any) -> Iterator[bytes]:
        """Exactly ``length`` octets.

        :raise BrokenLiteralError: when there are fewer.
        """
        offset, end = self.offset, self.offset + self.length
        while offset < end:
            data = source.read(offset, min(_READ_OCTETS, end - offset))
            if not data:
                raise BrokenLiteralError
            offset += len(data)
            yield data


@frozen
class _Decoded:
    """A part to be decoded while it is streamed; ``offset`` and ``length`` are of the decoded octets."""

    raw: _Range
    encoding: str
    offset: int
    length: int
    mark: bytes = b"~"

    def stream(self, source: Any) -> Iterator[bytes]:
        """Exactly ``length`` octets; before them pieces without any."""
        skip, left = self.offset, self.length
        for piece in decoded(self.raw.stream(source), self.encoding):
            data = piece[skip : skip + left]
            skip = max(0, skip - len(piece))
            left -= len(data)
            yield data
            if not left:
                return
        raise BrokenLiteralError


_Resolving = Generator[bytes, None, "bytes | _Range | _Decoded"]
"""Pieces without octets, and the value of an item with its leading space, or where its octets are."""


def _resolve_all(
    items: Sequence[BodyItem], message: _Message, source: Any
) -> Generator[bytes, None, list[bytes | _Range | _Decoded]]:
    sizes: dict[_Range, int] = {}
    found: list[bytes | _Range | _Decoded] = []
    for at, item in enumerate(items, 1):
        found.append((yield from _resolve(item, message, source, sizes)))
        if not at % _ITEMS_A_TURN:
            yield b""
    return found


def _resolve(item: BodyItem, message: _Message, source: Any, sizes: dict[_Range, int]) -> _Resolving:
    """:param sizes: of parts of this message that were decoded."""
    encoding = "binary"
    match item.section:
        case "":
            offset, length = 0, source.size
        case "HEADER":
            offset, length = 0, message.prefix + message.header
        case "TEXT":
            offset = message.prefix + message.header
            length = max(0, source.size - offset)
        case section:
            found = PartIndex.decode(message.parts).lookup(section)
            if found is None:
                # RFC 9051 section 7.5.2: a part that is not there is NIL; its size is 0.
                return b" 0" if item.size_only else b" NIL"
            offset, length = found.offset + message.prefix, found.length
            encoding = found.encoding
    if item.binary:
        return (yield from _binary(item, _Range(offset, length), encoding, source, sizes))
    if item.names is not None:
        header = source.read(offset, min(length, _MAX_HEADER_OCTETS))
        chosen = _part_of(select_fields(header, item.names, exclude=item.exclude), item.partial)
        # RFC 9051 section 9, msg-att-static: only BINARY may be a literal8.
        return b" {%d}\r\n%b" % (len(chosen), chosen)
    if item.partial is not None:
        start, count = item.partial
        # RFC 9051 section 6.4.5: beyond the end there is the empty string.
        offset, length = offset + min(start, length), max(0, min(count, length - start))
    return _Range(offset, length)


def _binary(item: BodyItem, raw: _Range, encoding: str, source: Any, sizes: dict[_Range, int]) -> _Resolving:
    if encoding not in ENCODINGS:
        # RFC 3516 section 4.3
        raise RefusalError("unknown content transfer encoding", "UNKNOWN-CTE")
    if raw.length <= _READ_OCTETS:
        data = b"".join(decoded([source.read(raw.offset, raw.length)], encoding))
        if item.size_only:
            return b" %d" % len(data)
        return _literal(_part_of(data, item.partial))
    size = raw.length
    if encoding not in {"7bit", "8bit", "binary"}:
        if raw not in sizes:
            size = 0
            for piece in decoded(raw.stream(source), encoding):
                size += len(piece)
                yield b""
            sizes[raw] = size
        size = sizes[raw]
    if item.size_only:
        return b" %d" % size
    start, count = item.partial or (0, size)
    offset, length = min(start, size), max(0, min(count, size - start))
    if length > _READ_OCTETS:
        return _Decoded(raw, encoding, offset, length)
    few: list[bytes] = []
    for piece in _Decoded(raw, encoding, offset, length).stream(source) if length else ():
        few.append(piece)
        yield b""
    return _literal(b"".join(few))


def _part_of(data: bytes, partial: tuple[int, int] | None) -> bytes:
    return data if partial is None else data[partial[0] : partial[0] + partial[1]]


def _literal(data: bytes) -> bytes:
    # RFC 3516 section 4.2: what has a NUL is a literal8.
    mark = b"~" if b"\0" in data else b""
    return b" %b{%d}\r\n%b" % (mark, len(data), data)
