"""Reading bodies: one message in pieces, or many small ones in one go."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw
from attrs import define, field
from zope.interface import implementer

from moxtwisted.errors import ConsistencyError
from moxtwisted.store.bodies import CHUNK_BITS, CHUNK_OCTETS, decode
from moxtwisted.store.facts import prefix_of
from moxtwisted.store.interfaces import IBodyReader

__all__ = ["BodyReader", "read_many"]


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
    found: list[tuple[int, bytes]] = []
    if not uids:
        return found
    left = limit_octets
    parts: list[bytes] = []
    missing = 0
    if len(uids) == 1:
        # To open an array costs more than to find the message.
        rows = connection.execute(_ONE, (mailbox, uids[0]))
    else:
        rows = connection.execute(_MANY, (apsw.carray(array("q", uids)), mailbox))
    for uid, total, size, kept, codec, data in rows:
        if not missing:
            left -= total
            if left < 0:
                break
            parts, missing = [prefix_of(kept)] if kept else [], size
        if data is not None:
            octets = decode(codec, data)
            missing -= len(octets)
            parts.append(octets)
        if not missing:
            found.append((uid, parts[0] if len(parts) == 1 else b"".join(parts)))
    return found


_COLUMNS: Final = "m.uid, m.size, b.size, iif(b.prefix_size, b.facts, NULL), c.codec, c.data"
_OCTETS: Final = f"""
CROSS JOIN body b ON b.id = m.body
LEFT JOIN chunk c ON c.id BETWEEN b.id << {CHUNK_BITS} AND (b.id << {CHUNK_BITS}) + 65535
"""
_ONE: Final = f"SELECT {_COLUMNS} FROM message m {_OCTETS} WHERE m.mailbox = ? AND m.uid = ?"
_MANY: Final = (
    f"SELECT {_COLUMNS} FROM carray(?) k CROSS JOIN message m ON m.mailbox = ? AND m.uid = k.value {_OCTETS}"
)
