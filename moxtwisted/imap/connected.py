"""What a protocol of IMAP has to do with its transport: compression, back-pressure, time-outs, the end.

Nothing here knows Twisted; ``moxtwisted.imap.protocol`` derives from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moxtwisted.imap.compression import CompressionLayer, DecompressionError
from moxtwisted.imap.server import Server
from moxtwisted.transport.deadline import Deadline

__all__ = ["Connected"]


class Connected:
    """The transport, what may stand between it and the machine, and the time-outs."""

    transport: Any
    factory: Any

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self._clock = factory.clock
        self.server: Server | None = None
        self._layer: CompressionLayer | None = None
        self._deadline = Deadline(self._clock, self._expired)
        self._pieces: Iterator[bytes] | None = None  # of an answer that is being sent
        self._waiting = False  # a coroutine runs, or a handshake
        self._blocked = False  # the client does not read
        self._reading = True
        self._ended = False
        self._quit = False  # it was the client who ended it
        self._silent = False  # the client will say no more, and may still read

    @property
    def _transport(self) -> Any:
        return self.transport

    @property
    def machine(self) -> Server:
        """The machine of this connection."""
        if self.server is None:
            raise RuntimeError("not connected")
        return self.server

    @property
    def _pending_octets(self) -> int:
        """Octets that came and were not looked at."""
        layer = self._layer
        return self.machine.pending_octets + (0 if layer is None else layer.pending_octets)

    def _more(self) -> bool:
        """Decompress some more for the machine, which has seen all that it had; whether there was some."""
        if self._layer is None or self.machine.busy:
            return False
        try:
            piece = self._layer.read()
        except DecompressionError as e:
            self._nonsense(e)
            return False
        self.machine.receive(piece)
        return bool(piece) or self._layer.pending_octets > 0

    def _nonsense(self, error: DecompressionError) -> None:
        """What came is not compressed."""
        self._abort()

    def _write(self, octets: bytes) -> None:
        """To the client."""
        self._transport.write(octets if self._layer is None or not octets else self._layer.compress(octets))

    def _read(self, wanted: bool) -> None:
        if wanted is not self._reading and not (self._ended or self._silent):
            self._reading = wanted
            if wanted:
                self._transport.resumeProducing()
            else:
                self._transport.pauseProducing()

    def _end(self) -> None:
        """Close, once what was written is out."""
        self._ended = True
        self._pieces = None
        self._deadline.set(self.factory.settings.timeouts.write)
        if self.server is not None and not self._waiting:
            # Nothing is under way. However long the client takes to go, the mail is let go of now.
            self.server.lost()
            self.server.forget()
        transport = self._transport
        transport.unregisterProducer()
        if not (self._reading or self._silent):
            self._reading = True
            transport.resumeProducing()
        if (
            self._quit
            or self._silent
            or getattr(transport, "TLS", False)
            or not hasattr(transport, "loseWriteConnection")
        ):
            transport.loseConnection()
        else:
            # Octets that we did not read would make the kernel send a reset, which can overtake our last words.
            transport.loseWriteConnection()
        if not (self._quit or self._silent):
            self._deadline.set(self.factory.settings.timeouts.linger)

    def _abort(self) -> None:
        if self._transport is None:
            return
        self._ended = True
        self._transport.abortConnection()

    def _expired(self) -> None:
        if self._ended or self._blocked or self.server is None or self._waiting:
            # It does not read, or does not finish the handshake: nothing can be said.
            self._abort()
            return
        self.server.timed_out()
        self._write(self.server.take_output())
        self._end()
