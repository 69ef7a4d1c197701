"""The connections of one listener: made, counted, and ended with it.

::

    class EchoFactory(ListenerFactory[EchoProtocol]):
        def make_protocol(self) -> EchoProtocol:
            return EchoProtocol(self)

The protocol puts itself into ``connections`` when it is connected, has a ``shutdown``, and says ``connection_lost`` at its end.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory

__all__ = ["ListenerFactory", "Stoppable"]


class Stoppable(Protocol):
    """A protocol that can be told to end."""

    def shutdown(self) -> None:
        """The server stops: come to an end, at once or with what is under way."""


P = TypeVar("P", bound=Stoppable)


class ListenerFactory(Factory, Generic[P]):
    """Makes the protocols of one listener, and ends them.

    :ivar connections: the connections that are open.
    :ivar closing: whether no more are made.
    """

    noisy = False

    def __init__(self) -> None:
        self.connections: set[P] = set()
        self.closing = False
        self._empty: list[Deferred[None]] = []

    def make_protocol(self) -> P:
        """The protocol of a new connection."""
        raise NotImplementedError

    def buildProtocol(self, addr: object) -> Any:
        """A protocol, or None (the connection is dropped) after ``shutdown``."""
        if self.closing:
            return None
        protocol: Any = self.make_protocol()
        protocol.factory = self
        return protocol

    def shutdown(self) -> Deferred[None]:
        """End all connections: what is under way is finished, within a time; all others are told that the server stops.

        :return: fires when the last is gone. The caller has stopped listening before.
        """
        self.closing = True
        for connection in list(self.connections):
            connection.shutdown()
        if not self.connections:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._empty.append(done)
        return done

    def connection_lost(self, connection: P) -> None:
        """A protocol says that its connection is gone."""
        self._forget(connection)

    def departed(self, connection: P) -> None:
        """A protocol says that its connection goes on in another process, and is none of ours any more. It did not end, so that
        ``connection_lost`` is not told."""
        self._forget(connection)

    def _forget(self, connection: P) -> None:
        self.connections.discard(connection)
        if not self.connections:
            waiting, self._empty = self._empty, []
            for done in waiting:
                done.callback(None)
