"""Fuzz the facts of bodies and the chunks as they are kept: damaged octets are a ``ConsistencyError`` and nothing else.

Some inputs are damaged in what zstd packed, the others inside, where only our own layout is left to be checked. A value may not
claim to be larger than it can be: a few damaged octets must not take a machine's memory.
"""

from __future__ import annotations

import zstandard

from moxtwisted.errors import ConsistencyError
from moxtwisted.store.bodies import CHUNK_OCTETS, decode, encode
from moxtwisted.store.facts import PACKED_COLUMNS, Facts, pack, picker, prefix_of, unpack
from moxtwisted.store.interfaces import Column
from tests.fuzz.run import alone

_PICKERS = [
    picker(columns)
    for columns in (PACKED_COLUMNS, Column.ENVELOPE, Column.PREVIEW, Column.ENVELOPE | Column.BODYSTRUCTURE)
]
_FACTS = pack(
    Facts(
        b"(NIL)" * 9,
        b"(TEXT)" * 9,
        b"Subject: x\r\n" * 9,
        "h\u00e9llo" * 9,
        b"0123456789",
        b"Return-Path: <>\r\n",
    )
)


def damaged(kept: bytes, changes: bytes) -> bytes:
    """Octets changed, three of ``changes`` for each: where, how, and by what."""
    octets = bytearray(kept)
    for i in range(0, len(changes) - 2, 3):
        at = (changes[i] + 256 * (changes[i + 1] >> 3)) % (len(octets) + 1)
        kind = changes[i + 1] % 8
        if kind < 4 and at < len(octets):
            octets[at] ^= changes[i + 2] or 1
        elif kind < 6:
            del octets[at : at + changes[i + 2]]
        else:
            octets[at:at] = changes[i + 2 : i + 3]
    return bytes(octets)


def opened(kept: bytes) -> None:
    """Everything that reads the facts."""
    try:
        facts = unpack(kept)
    except ConsistencyError:
        facts = None
    for read in (prefix_of, *_PICKERS):
        try:
            found = read(kept)
        except ConsistencyError:
            if facts is not None:
                raise
        else:
            if read is prefix_of and facts is not None and found != facts.prefix:
                raise AssertionError(kept)
    if facts is not None and unpack(pack(facts)) != facts:
        raise AssertionError(facts)


def one(data: bytes) -> None:
    """Try one input: an octet for what it is, and the rest."""
    if not data:
        return
    choice, octets = data[0] % 5, data[1:]
    if choice == 0:
        opened(octets)
    elif choice == 1:
        opened(damaged(_FACTS, octets))
    elif choice == 2:
        opened(b"\0" + octets)
    elif choice == 3:
        opened(b"\1" + zstandard.compress(octets))
    else:
        codec, packed = encode(octets * 20)
        if decode(codec, packed) != octets * 20:
            raise AssertionError(octets)
        for damage in (octets, damaged(packed, octets)):
            for other in range(4):
                try:
                    decoded = decode(other, damage)
                except ConsistencyError:
                    continue
                if len(decoded) > max(CHUNK_OCTETS, len(damage)):
                    raise AssertionError(damage)


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
