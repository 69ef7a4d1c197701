"""What remains of a connection whose protocol is in another process, when its octets must pass through here: under TLS, say.

::

    pump = Pump(transport, deadline, write_seconds)
    descriptor = carrier.pair(pump)            # for the other process; ``pump.pipe`` is our end
    protocol.dataReceived = pump.pipe.write    # what the client says; what it is told goes from the pipe to the transport

The pump is the protocol of the pipe, and neither end is asked anything twice: each chunk is one call. Who does not read has the other side
paused, so that what is kept is what the two transports keep. Half closes have no place under TLS, where Twisted knows only ends: the
one that is passed on is ours, ``end``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moxtwisted.transport.deadline import Deadline

__all__ = ["Pump"]


class Pump:
    """Between a client and one end of a pair of sockets.

    :ivar pipe: the transport of that end; None when it is gone.
    :ivar dataReceived: takes what the pipe says.
    :param transport: the client's; without a producer.
    :param deadline: aborts the client's transport.
    :param seconds: that a client has to read something, or to close.
    """

    dataReceived: Callable[[bytes], Any]

    def __init__(self, transport: Any, deadline: Deadline, seconds: float) -> None:
        self.pipe: Any = None
        self._transport = transport
        self._deadline = deadline
        self._seconds = seconds

    # -- the pipe's protocol -------------------------------------------------------------------------------------
    def makeConnection(self, pipe: Any) -> None:
        """The pipe is there."""
        transport = self._transport
        self.pipe = pipe
        self.dataReceived = transport.write
        pipe.registerProducer(transport, True)
        transport.registerProducer(self, True)
        transport.resumeProducing()

    def connectionLost(self, reason: Any) -> None:
        """The other process ended it: what it said last is written, then the client's connection ends."""
        if self.pipe is None:
            return
        self.pipe = None
        transport = self._transport
        self._deadline.set(self._seconds)
        transport.unregisterProducer()
        # A client's part in the end of TLS wants to be read.
        transport.resumeProducing()
        transport.loseConnection()

    # -- the client ----------------------------------------------------------------------------------------------
    def client_gone(self) -> None:
        """The client's connection is gone; nothing is left for anybody to read."""
        pipe, self.pipe = self.pipe, None
        self._deadline.cancel()
        if pipe is not None:
            pipe.unregisterProducer()
            pipe.abortConnection()

    def end(self) -> None:
        """The other process shall end it: it reads that the client says no more. What the client says now is not read."""
        pipe = self.pipe
        if pipe is not None:
            pipe.unregisterProducer()
            pipe.loseWriteConnection()
            # A pipe that still has something to say keeps whatever it is given, and nobody would pause the client any more.
            self._transport.pauseProducing()

    # -- back-pressure, as the producer of what the client is told -------------------------------------------------
    def pauseProducing(self) -> None:
        """The client does not read."""
        if self.pipe is not None:
            self.pipe.pauseProducing()
            self._deadline.set(self._seconds)

    def resumeProducing(self) -> None:
        """The client reads again."""
        if self.pipe is not None:
            self._deadline.suspend()
            self.pipe.resumeProducing()

    def stopProducing(self) -> None:
        """The client's connection is going away; ``client_gone`` follows."""
