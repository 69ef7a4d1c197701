"""What was rendered from a message, as the one small compressed value it is kept as.

ENVELOPE, BODYSTRUCTURE, the header fields of lists, the preview, the part index and the fields put before the message
repeat each other, and every message's are like the next one's: with the dictionary they take half their octets, and unpacking takes
2 µs. On disk that is the difference between an account that is larger than its mail and one that is smaller.

::

    kept = pack(Facts(envelope, bodystructure, fields, preview, parts, prefix))
    prefix_of(kept)
    pick = picker(Column.ENVELOPE | Column.BODYSTRUCTURE)
    pick(kept) == (envelope, bodystructure)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from moxtwisted.errors import ConsistencyError
from moxtwisted.store.bodies import decode_all, encode
from moxtwisted.store.interfaces import Column

__all__ = ["PACKED_COLUMNS", "Facts", "pack", "picker", "prefix_of", "unpack", "unpack_columns"]


class Facts(NamedTuple):
    """The parts, in the order in which they are kept; the preview is text, the sender as in ``moxtwisted.store.senders``."""

    envelope: bytes
    bodystructure: bytes
    fields: bytes
    preview: str
    parts: bytes
    prefix: bytes
    sender: bytes = b""


# Where each part but the last ends; they follow in this order.
_ENDS: Final = struct.Struct("<6I")
_PLACES: Final = {
    Column.ENVELOPE: 0,
    Column.BODYSTRUCTURE: 1,
    Column.FIELDS: 2,
    Column.PREVIEW: 3,
    Column.PARTS: 4,
}
_PREVIEW: Final = 3
_PREFIX: Final = 5

#: The columns that come out of the packed value.
PACKED_COLUMNS: Final = Column(sum(_PLACES))


def pack(facts: Facts) -> bytes:
    """The value to keep: an octet for the codec, then the packed parts."""
    pieces = [*facts]
    pieces[_PREVIEW] = facts.preview.encode("utf-8", "replace")
    ends, end = [], _ENDS.size
    for piece in pieces[:-1]:
        end += len(piece)
        ends.append(end)
    codec, data = encode(b"".join((_ENDS.pack(*ends), *pieces)))  # type: ignore[arg-type]
    return bytes((codec,)) + data


def _opened(kept: bytes) -> tuple[bytes, tuple[int, ...]]:
    octets = decode_all(kept[0], kept[1:]) if kept else b""
    if len(octets) >= _ENDS.size:
        envelope, structure, fields, preview, parts, prefix = ends = _ENDS.unpack_from(octets)
        if _ENDS.size <= envelope <= structure <= fields <= preview <= parts <= prefix <= len(octets):
            return octets, ends
    raise ConsistencyError("the facts of a body are damaged")


def unpack(kept: bytes) -> Facts:
    """All parts. :raises ConsistencyError: when the value is damaged."""
    octets, ends = _opened(kept)
    pieces: list[Any] = [
        octets[start:end] for start, end in zip((_ENDS.size, *ends), (*ends, len(octets)), strict=True)
    ]
    pieces[_PREVIEW] = pieces[_PREVIEW].decode("utf-8", "replace")
    return Facts(*pieces)


def unpack_columns(kept: bytes) -> tuple[bytes, bytes, bytes, str, bytes]:
    """The parts that are columns, in their order. :raises ConsistencyError: when the value is damaged."""
    octets, (envelope, structure, fields, preview, parts, _) = _opened(kept)
    return (
        octets[_ENDS.size : envelope],
        octets[envelope:structure],
        octets[structure:fields],
        octets[fields:preview].decode("utf-8", "replace"),
        octets[preview:parts],
    )


def prefix_of(kept: bytes) -> bytes:
    """The header fields before the message."""
    octets, ends = _opened(kept)
    return octets[ends[_PREFIX - 1] : ends[_PREFIX]]


def picker(columns: int) -> Callable[[bytes], tuple[Any, ...]]:
    """A function from the kept value to the wanted columns of it, in the order of their bits."""
    places = [place for column, place in _PLACES.items() if column & columns]
    if places == [0, 1]:
        return _envelope_and_structure
    if len(places) == 1 and places[0] != _PREVIEW:
        place = places[0]

        def one(kept: bytes) -> tuple[Any, ...]:
            octets, ends = _opened(kept)
            return (octets[ends[place - 1] if place else _ENDS.size : ends[place]],)

        return one

    def several(kept: bytes) -> tuple[Any, ...]:
        facts = unpack(kept)
        return tuple([facts[place] for place in places])

    return several


def _envelope_and_structure(kept: bytes) -> tuple[Any, ...]:
    # The usual question of a client that fills its lists.
    octets, ends = _opened(kept)
    return octets[_ENDS.size : ends[0]], octets[ends[0] : ends[1]]
