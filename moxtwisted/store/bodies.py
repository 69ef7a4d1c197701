"""Message bodies: how their octets are cut, compressed and read back.

A body is a row of ``body`` and chunks of ``CHUNK_OCTETS`` (the last one shorter), each compressed by itself so that any
part of a large message can be read without the rest. The chunk's codec says how to get its octets back::

    codec, data = encode(octets)
    decode(codec, data) == octets
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import zstandard

from moxtwisted.errors import ConsistencyError

__all__ = ["CHUNK_BITS", "CHUNK_OCTETS", "decode", "encode"]

#: Octets of a chunk before compression; the number is part of the format.
CHUNK_OCTETS: Final = 262_144
#: A chunk's id is its body's id shifted by so many bits, plus its number.
CHUNK_BITS: Final = 16
#: More than is ever rendered from one message: the scanner keeps 4 MiB of header blocks, and each can be told a few times.
VALUE_OCTETS: Final = 64 * 1024 * 1024

PLAIN: Final = 0
ZSTD: Final = 1
ZSTD_DICTIONARY: Final = 2

_LEVEL: Final = 3
#: For small chunks. Between other work, with cold caches, levels 1, 2, 3, 6 take 53, 70, 125, 170 us for a message of
#: 4 KB and 48, 40, 50, 90 for its facts; the benchmark's mail then takes 4.36, 4.21, 4.20, 3.89 KB each, index included.
_SMALL_LEVEL: Final = 2
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
        shipped = dictionary()
        self.small: Callable[[bytes], bytes] | None = None
        self.decompress_small: Callable[..., bytes] | None = None
        if shipped is not None:
            self.small = zstandard.ZstdCompressor(level=_SMALL_LEVEL, dict_data=shipped).compress
            self.decompress_small = zstandard.ZstdDecompressor(dict_data=shipped).decompress


_LOADED: list[zstandard.ZstdCompressionDict | None] = []


def dictionary() -> zstandard.ZstdCompressionDict | None:
    """The dictionary shipped with the program; chunks written with it need it for ever."""
    if not _LOADED:
        found = None
        if _DICTIONARY_FILE.exists():
            found = zstandard.ZstdCompressionDict(_DICTIONARY_FILE.read_bytes())
            found.precompute_compress(level=_SMALL_LEVEL)
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
    return _decode(codec, data, CHUNK_OCTETS)


def decode_all(codec: int, data: bytes) -> bytes:
    """The octets of a value that may be larger than a chunk, up to ``VALUE_OCTETS``.

    :raises ConsistencyError: when the data is damaged or the codec is not known.
    """
    return _decode(codec, data, VALUE_OCTETS)


def _decode(codec: int, data: bytes, most: int) -> bytes:
    if codec == PLAIN:
        return data
    try:
        # What a frame says of its size is believed even against max_output_size, and room for it is made at once.
        if (size := zstandard.frame_content_size(data)) > most:
            raise ConsistencyError(f"packed octets claim to be {size}, more than {most}")
        if codec == ZSTD:
            return _codecs.decompress(data, max_output_size=most)
        if codec == ZSTD_DICTIONARY and _codecs.decompress_small is not None:
            return _codecs.decompress_small(data, max_output_size=most)
    except zstandard.ZstdError as e:
        raise ConsistencyError(f"packed octets cannot be decoded: {e}") from e
    raise ConsistencyError(f"packed octets have the unknown codec {codec}")


def iterate(read: Callable[[int, int], bytes], size: int) -> Iterator[bytes]:
    """Octets of something that can be read from the middle, a chunk at a time."""
    for offset in range(0, size, CHUNK_OCTETS):
        yield read(offset, CHUNK_OCTETS)
