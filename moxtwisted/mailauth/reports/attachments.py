"""Where in a message a report may be, and its octets, unpacked.

::

    for part in candidates(scanned.root):
        for piece in unpacked(part, read): ...        # at most 16 KiB each, at most MAX_OCTETS together

Senders label reports as they like (``application/octet-stream`` is frequent), so a part counts that has a fitting media type or file
name, and how it is packed is told by its first octets. Nothing is held but the piece: a bomb is noticed when the limit is passed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from attrs import define

from moxtwisted.mailauth.reports.errors import ReportError
from moxtwisted.message.mime import Part
from moxtwisted.message.transferencoding import ENCODINGS, decoded

__all__ = ["MAX_OCTETS", "MAX_PACKED_OCTETS", "PIECE_OCTETS", "Read", "candidates", "unpacked"]

#: Octets of the message: (offset, length); fewer at the end.
Read = Callable[[int, int], bytes]

#: Of a report, unpacked: 20,000 rows. RFC 7489 section 7.2.1.1 knows receivers that take ten megabytes.
MAX_OCTETS: Final = 16 * 1024 * 1024
#: Of the part, as it stands in the message.
MAX_PACKED_OCTETS: Final = 16 * 1024 * 1024
#: Of one piece.
PIECE_OCTETS: Final = 16 * 1024
_MAX_PARTS: Final = 100
_MAX_CANDIDATES: Final = 5
_MAX_MEMBERS: Final = 100
#: RFC 7489 section 7.2.1.1 and RFC 8460 section 5.3, and what is seen beside them.
_TYPES: Final = frozenset(
    (
        "application/tlsrpt+gzip", "application/tlsrpt+json", "application/json", "text/json", "application/gzip",
        "application/x-gzip", "application/gzip-compressed", "application/x-gzip-compressed", "application/zip",
        "application/x-zip", "application/x-zip-compressed", "application/xml", "text/xml",
    )
)  # fmt: skip
_SUFFIXES: Final = (".xml", ".json", ".gz", ".gzip", ".zip")
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
#: Octets of a local file header before the name of the file.
_ZIP_HEADER: Final = 30
_STORED, _DEFLATED = 0, 8


def candidates(root: Part) -> list[Part]:
    """Parts that may be a report, the likelier first. A message within the message is somebody else's."""
    found: list[Part] = []
    left = [root]
    for _ in range(_MAX_PARTS):
        if not left:
            break
        part = left.pop()
        if part.is_multipart:
            left.extend(reversed(part.children[:_MAX_PARTS]))
        elif not part.is_message and not part.opaque and part.encoding in ENCODINGS and _may_be(part):
            found.append(part)
    found.sort(key=lambda part: not _type(part).startswith("application/tlsrpt"))
    return found[:_MAX_CANDIDATES]


def _type(part: Part) -> str:
    return f"{part.content_type.type}/{part.content_type.subtype}"


def _may_be(part: Part) -> bool:
    return _type(part) in _TYPES or part.filename.lower().endswith(_SUFFIXES)


def unpacked(part: Part, read: Read) -> Iterator[bytes]:
    """The octets of a part, without transfer encoding and compression, in pieces; many may be empty, where nothing came of what was read.

    :raises ReportError: when it is broken, or larger than is read.
    """
    if part.size > MAX_PACKED_OCTETS:
        raise ReportError(f"a part of {part.size} octets")
    plain = decoded(_pieces(part, read), part.encoding)
    first = b""
    for piece in plain:
        first += piece
        if len(first) >= len(_ZIP):
            break
        yield b""
    if first.startswith(_GZIP):
        inner = _gunzipped(first, plain)
    elif first.startswith(_ZIP):
        inner = _unzipped(first, plain)
    else:
        inner = _all(first, plain)
    total = 0
    for piece in inner:
        total += len(piece)
        if total > MAX_OCTETS:
            raise ReportError(f"more than {MAX_OCTETS} octets when unpacked")
        yield piece


def _pieces(part: Part, read: Read) -> Iterator[bytes]:
    position = part.body_start
    while position < part.body_end:
        piece = read(position, min(PIECE_OCTETS, part.body_end - position))
        if not piece:
            return
        position += len(piece)
        yield piece


def _all(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


@define
class _Inflating:
    """One stream of deflate.

    :ivar unused: what came behind its end.
    """

    _wbits: int
    unused: bytes = b""

    def pieces(self, source: Iterator[bytes]) -> Iterator[bytes]:
        """What it holds. :raises ReportError: when it is damaged or its end is missing."""
        engine = zlib.decompressobj(self._wbits)
        for packed in source:
            waiting = packed
            while waiting and not engine.eof:
                try:
                    piece = engine.decompress(waiting, PIECE_OCTETS)
                except zlib.error as e:
                    raise ReportError(f"damaged when unpacked: {e}") from None
                waiting = engine.unconsumed_tail
                yield piece
            if engine.eof:
                self.unused = engine.unused_data
                return
            yield b""
        raise ReportError("the end of what is compressed is missing")


def _gunzipped(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """One member of gzip after the other; what follows the last is nobody's."""
    for _ in range(_MAX_MEMBERS):
        inflating = _Inflating(16 + zlib.MAX_WBITS)
        yield from inflating.pieces(_all(first, rest))
        first = inflating.unused
        while len(first) < len(_GZIP) and (piece := next(rest, None)) is not None:
            first += piece
            yield b""
        if not first.startswith(_GZIP):
            return
    raise ReportError(f"more than {_MAX_MEMBERS} members of gzip")


def _unzipped(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The first file of a zip, whose header stands before it. The library's module wants the whole archive, and makes an object of
    each entry of its directory before one can say how many those may be."""
    while len(first) < _ZIP_HEADER:
        first += _more(rest)
        yield b""
    flags, method = int.from_bytes(first[6:8], "little"), int.from_bytes(first[8:10], "little")
    size = int.from_bytes(first[18:22], "little")
    begin = _ZIP_HEADER + int.from_bytes(first[26:28], "little") + int.from_bytes(first[28:30], "little")
    while len(first) < begin:
        first += _more(rest)
        yield b""
    if flags & 1:
        raise ReportError("the file in the zip is encrypted")
    source = _all(first[begin:], rest)
    if method == _DEFLATED:
        yield from _Inflating(-zlib.MAX_WBITS).pieces(source)
    elif method == _STORED and not flags & 8:
        yield from _some(source, size)
    else:
        raise ReportError(f"a zip with a way of packing that is not known ({method})")


def _more(rest: Iterator[bytes]) -> bytes:
    piece = next(rest, None)
    if piece is None:
        raise ReportError("the zip ends in its header")
    return piece


def _some(source: Iterator[bytes], size: int) -> Iterator[bytes]:
    for piece in source:
        yield piece[:size]
        size -= len(piece)
        if size <= 0:
            return
    raise ReportError("the end of the file in the zip is missing")
