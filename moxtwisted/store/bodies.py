"""Message bodies: how their octets are cut, compressed, kept and read.

A body is a row of `body` and chunks of L{CHUNK_OCTETS} (the last one shorter), each compressed by itself so that any
part of a large message can be read without the rest. The chunk's codec says how to get its octets back::

    codec, data = encode(octets)
    decode(codec, data) == octets
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import zstandard
from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import ConsistencyError
from moxtwisted.store.interfaces import IBodyReader

__all__ = ["CHUNK_BITS", "CHUNK_OCTETS", "BodyReader", "decode", "encode"]

#: Octets of a chunk before compression; the number is part of the format.
CHUNK_OCTETS: Final = 262_144
#: A chunk's id is its body's id shifted by so many bits, plus its number.
CHUNK_BITS: Final = 16

PLAIN: Final = 0
ZSTD: Final = 1
ZSTD_DICTIONARY: Final = 2

_LEVEL: Final = 3
#: Compressed octets must be below this share of the original: otherwise the time to unpack is spent for nothing.
_WORTH: Final = 0.95
#: Larger chunks gain nothing from a dictionary.
_DICTIONARY_OCTETS: Final = 32_768
_DICTIONARY_FILE: Final = Path(__file__).parent / "mail-1.zdict"


class _Codecs(threading.local):
    """Compressors of one thread; they must not be shared."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress
        dictionary = _dictionary()
        self.small: Callable[[bytes], bytes] | None = None
        self.decompress_small: Callable[..., bytes] | None = None
        if dictionary is not None:
            self.small = zstandard.ZstdCompressor(level=_LEVEL, dict_data=dictionary).compress
            self.decompress_small = zstandard.ZstdDecompressor(dict_data=dictionary).decompress


_LOADED: list[zstandard.ZstdCompressionDict | None] = []


def _dictionary() -> zstandard.ZstdCompressionDict | None:
    """The dictionary shipped with the program; chunks written with it need it for ever."""
    if not _LOADED:
        found = None
        if _DICTIONARY_FILE.exists():
            found = zstandard.ZstdCompressionDict(_DICTIONARY_FILE.read_bytes())
            found.precompute_compress(level=_LEVEL)
        _LOADED.append(found)
    return _LOADED[0]


_codecs = _Codecs()


def encode(data: bytes) -> tuple[int, bytes]:
    """(codec, data) of a chunk's octets; releases the GIL while it works."""
    if len(data) <= _DICTIONARY_OCTETS and _codecs.small is not None:
        packed, codec = _codecs.small(data), ZSTD_DICTIONARY
    else:
        packed, codec = _codecs.compress(data), ZSTD
    if len(packed) > len(data) * _WORTH:
        return PLAIN, data
    return codec, packed


def decode(codec: int, data: bytes) -> bytes:
    """A chunk's octets.

    :raises ConsistencyError: when the data is damaged or the codec is not known.
    """
    try:
        if codec == ZSTD:
            return _codecs.decompress(data, max_output_size=CHUNK_OCTETS)
        if codec == ZSTD_DICTIONARY and _codecs.decompress_small is not None:
            return _codecs.decompress_small(data, max_output_size=CHUNK_OCTETS)
    except zstandard.ZstdError as e:
        raise ConsistencyError(f"chunk cannot be decoded: {e}") from e
    if codec == PLAIN:
        return data
    raise ConsistencyError(f"chunk has unknown codec {codec}")


def chunk_ids(body: int) -> tuple[int, int]:
    """The first and the last id that a body's chunks can have."""
    return body << CHUNK_BITS, ((body + 1) << CHUNK_BITS) - 1


@implementer(IBodyReader)
@define(eq=False)
class BodyReader:
    """Reads one body chunk by chunk; holds one decoded chunk.

    :ivar size: octets, prefix included.
    """

    size: int
    _connection: Any
    _body: int
    _prefix: bytes
    _release: Callable[[int], None]
    _number: int = field(default=-1, init=False)
    _chunk: bytes = field(default=b"", init=False)
    _closed: bool = field(default=False, init=False)

    @property
    def prefix_size(self) -> int:
        """Octets of the header fields that were put before the message."""
        return len(self._prefix)

    def read(self, offset: int, length: int) -> bytes:
        """Octets; fewer at the end."""
        end = min(offset + length, self.size)
        if offset < 0 or offset >= end:
            return b""
        prefix = len(self._prefix)
        pieces = [self._prefix[offset:end]] if offset < prefix else []
        start, end = max(offset - prefix, 0), end - prefix
        while start < end:
            number, inside = divmod(start, CHUNK_OCTETS)
            piece = self._load(number)[inside : inside + end - start]
            if not piece:
                raise ConsistencyError(f"body {self._body}: chunk {number} is too short")
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _load(self, number: int) -> bytes:
        if number != self._number:
            row = self._connection.execute(
                "SELECT codec, data FROM chunk WHERE id = ?", ((self._body << CHUNK_BITS) + number,)
            ).fetchall()
            if not row:
                raise ConsistencyError(f"body {self._body}: chunk {number} is missing")
            self._chunk, self._number = decode(*row[0]), number
        return self._chunk

    def close(self) -> None:
        """Let go of the body; idempotent."""
        if not self._closed:
            self._closed = True
            self._chunk, self._number = b"", -1
            self._release(self._body)


def read_many(
    connection: Any, mailbox: int, uids: Sequence[int], limit_octets: int
) -> list[tuple[int, bytes]]:
    """(uid, octets) of the first of these messages that fit the limit together."""
    from array import array

    import apsw

    found: list[tuple[int, bytes]] = []
    if not uids:
        return found
    left = limit_octets
    parts: list[bytes] = []
    missing = 0
    for uid, total, size, prefix, codec, data in connection.execute(
        _MANY, (apsw.carray(array("q", uids)), mailbox)
    ):
        if not missing:
            left -= total
            if left < 0:
                break
            parts, missing = [prefix], size
        if data is not None:
            octets = decode(codec, data)
            missing -= len(octets)
            parts.append(octets)
        if not missing:
            found.append((uid, b"".join(parts)))
    return found


_MANY: Final = f"""
SELECT m.uid, m.size, b.size, b.prefix, c.codec, c.data
FROM carray(?) k CROSS JOIN message m ON m.mailbox = ? AND m.uid = k.value CROSS JOIN body b ON b.id = m.body
LEFT JOIN chunk c ON c.id BETWEEN b.id << {CHUNK_BITS} AND (b.id << {CHUNK_BITS}) + 65535
"""


def iterate(read: Callable[[int, int], bytes], size: int) -> Iterator[bytes]:
    """Octets of something that can be read from the middle, a chunk at a time."""
    for offset in range(0, size, CHUNK_OCTETS):
        yield read(offset, CHUNK_OCTETS)
