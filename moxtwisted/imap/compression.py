r"""COMPRESS=DEFLATE (RFC 4978): the layer between the octets of the wire and those of the protocol.

::

    pool = CompressionPool()                     # one for all connections of a program
    layer = CompressionLayer(pool)
    wire = layer.compress(b"a2 OK done\r\n")     # complete: the peer can read all of it
    layer.feed(octets_of_the_wire)
    while piece := layer.read():                 # at most PIECE_OCTETS at a time, whatever the wire claims
        server.receive(piece)
    layer.close()

Memory
------
A warm compressor has 268 KB, a warm decompressor 40 KB, which a thousand idle clients should not have. Both can be put to sleep:

- What a compressor says after a flush refers to nothing before it unless it wants to, so a new one may go on at any time; all that is lost
  is the text that it could have pointed back to.
- A decompressor must know the last 32 KiB of what it gave out (its *window*), nothing else, as long as it stands between two blocks, at
  the end of an octet: there every flush of the peer leaves it. A new one with that window as its dictionary goes on in its place.

The pool keeps a bounded number awake, those that were used last. Who sleeps costs its window: what the client said, up to 32 KiB.

What an attacker could learn
----------------------------
Compression before encryption shows by its length whether a text occurs twice (CRIME, BREACH). So it begins after login only and ends with
UNAUTHENTICATE: passwords and SASL exchanges never pass through it. Mail does: somebody who can put many messages of his choice into
a mailbox, watches the encrypted connection of its owner, and knows when a message with a secret is fetched together with his,
could guess at the secret. The text of different messages is not kept apart. Who minds takes COMPRESS=DEFLATE off the account's
capabilities.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import Any, Final

from moxtwisted.errors import MailError

__all__ = ["PIECE_OCTETS", "CompressionLayer", "CompressionPool", "DecompressionError"]

PIECE_OCTETS: Final = 16384
"""How much is decompressed at once: as with plain input, it is looked at before more is."""

_WINDOW_OCTETS: Final = 32768
# RFC 4978 section 4: raw deflate. Level 2 costs a third of level 6 for a tenth more octets.
_WBITS: Final = -15
_LEVEL: Final = 2
_MEMORY: Final = 8
# The end of a flush, and a last block without content.
_FLUSHED: Final = b"\x00\x00\xff\xff"
_LAST_BLOCK: Final = b"\x03\x00"
# Flushes without content that are read before others may have their turn.
_FLUSHES_AT_ONCE: Final = 500


class DecompressionError(MailError):
    """The client's octets are not what a compressor writes."""


class CompressionPool:
    """Who is awake.

    :param awake: how many connections may have a compressor and a decompressor; about 310 KB each.
    """

    def __init__(self, awake: int = 64) -> None:
        self._limit = awake
        self._awake: OrderedDict[CompressionLayer, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._awake)

    def used(self, layer: CompressionLayer) -> None:
        """This one is in use now; who was not for the longest time goes to sleep."""
        awake = self._awake
        awake[layer] = None
        awake.move_to_end(layer)
        if len(awake) > self._limit:
            awake.popitem(last=False)[0].sleep()

    def forget(self, layer: CompressionLayer) -> None:
        """The connection is gone."""
        self._awake.pop(layer, None)


class CompressionLayer:
    """Both directions of one connection.

    :param pool: shared with other connections.
    """

    __slots__ = ("_compressor", "_decompressor", "_full", "_pending", "_pool", "_tail", "_window")

    def __init__(self, pool: CompressionPool) -> None:
        self._pool = pool
        self._compressor: Any = None
        self._decompressor: Any = None
        self._pending = b""  # of the wire, not decompressed
        self._tail = _FLUSHED  # the last octets that were decompressed
        self._full = False  # the decompressor may have more to give without more input
        self._window = b""

    # -- to the client -----------------------------------------------------------------------------------------
    def compress(self, data: bytes) -> bytes:
        """Octets for the wire; flushed, so that the client can read all of it."""
        if self._compressor is None:
            self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WBITS, _MEMORY)
        self._pool.used(self)
        compressor = self._compressor
        octets: bytes = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return octets

    # -- from the client ---------------------------------------------------------------------------------------
    @property
    def pending_octets(self) -> int:
        """Octets of the wire that were not looked at yet."""
        return len(self._pending)

    def feed(self, data: bytes) -> None:
        """Octets of the wire."""
        self._pending = self._pending + data if self._pending else data

    def read(self) -> bytes:
        """The next octets of the protocol, at most ``PIECE_OCTETS``; none when the wire has to bring more, or (then ``pending_octets``
        are left) when very many flushes had nothing in them.

        A piece ends at each flush of the client: what is behind one need not be compressed any more, see ``close``.

        :raise DecompressionError: when they make no sense.
        """
        for _ in range(_FLUSHES_AT_ONCE):
            if not (self._pending or self._full):
                break
            end = self._pending.find(_FLUSHED)
            piece = self._decompress(self._pending[: end + len(_FLUSHED)] if end >= 0 else self._pending)
            if piece:
                return piece
        return b""

    def _decompress(self, given: bytes) -> bytes:
        decompressor = self._decompressor
        if decompressor is None:
            decompressor = self._decompressor = zlib.decompressobj(_WBITS, zdict=self._window)
        if decompressor.eof:
            raise DecompressionError("octets after the end of the compressed stream")
        self._pool.used(self)
        try:
            piece: bytes = decompressor.decompress(given, PIECE_OCTETS)
        except zlib.error as e:
            raise DecompressionError(str(e)) from e
        # It may have taken all of the input and still have output to give.
        self._full = len(piece) == PIECE_OCTETS
        taken = len(given) - len(decompressor.unconsumed_tail) - len(decompressor.unused_data)
        self._tail = (self._tail + given[:taken])[-len(_FLUSHED) :]
        self._pending = self._pending[taken:]
        if piece:
            self._window = (self._window + piece)[-_WINDOW_OCTETS:]
        return piece

    # -- rest and end ------------------------------------------------------------------------------------------
    def sleep(self) -> None:
        """Give the memory back, as far as it can be done now; goes on by itself when there is something to do."""
        self._compressor = None
        decompressor = self._decompressor
        if decompressor is None or self._full or decompressor.eof or self._tail != _FLUSHED:
            return
        # The octets of a flush can stand anywhere by accident. Only between two blocks is this the end of the stream.
        probe = decompressor.copy()
        try:
            between = probe.decompress(_LAST_BLOCK, 1) == b"" and probe.eof and not probe.unused_data
        except zlib.error:
            between = False
        if between:
            self._decompressor = None

    def close(self) -> bytes:
        """Compression ends, with the connection or before it.

        :return: what came behind the last piece: not compressed, if the client knew that this would be the end.
        """
        self._pool.forget(self)
        decompressor, self._decompressor = self._decompressor, None
        self._compressor = None
        rest, self._pending, self._full = self._pending, b"", False
        if decompressor is not None and not decompressor.eof and rest.startswith(_LAST_BLOCK):
            # A client may say that its stream is over, with a last block.
            rest = rest[len(_LAST_BLOCK) :]
        return rest
