"""Waiting for another machine, for so long and no longer.

::

    try:
        with SoleFactory(protocol) as factory:
            await in_time(clock, endpoint.connect(factory), 30.0)
    except CancelledError:
        raise                      # nobody wants the connection any more
    except Exception as error:     # there is none
        ...
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, Protocol

__all__ = ["SoleFactory", "hang_up", "in_time"]

_T = TypeVar("_T")


class SoleFactory(Factory):
    """For one connection with this protocol, of which there is none after the ``with``: an endpoint may go on when cancelled."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._sole: Protocol | None = protocol

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._sole = None

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """The protocol; None, with which Twisted closes the connection, when nobody waits any more."""
        return self._sole


async def in_time(clock: IReactorTime, asked: Deferred[_T], seconds: float) -> _T:
    """Wait for a connection, or for what somebody at the other end of one says.

    :param asked: what ``connect`` of the endpoint returned, say; it is cancelled with whoever waits.
    :raise CancelledError: who waits was cancelled.
    :raise TimeoutError: there is nothing in time; it is that of ``twisted.internet.defer`` and says so.
    :raise Exception: whatever it failed with.
    """

    def cancel(waiting: Deferred[_T]) -> None:
        # Before its own error for it, which may be that there is no host of this name.
        waiting.errback(CancelledError())
        asked.cancel()

    waiting: Deferred[_T] = Deferred(cancel)
    asked.addBoth(lambda result: None if waiting.called else waiting.callback(result))
    try:
        return await waiting.addTimeout(seconds, clock)
    except TookTooLong:
        raise TookTooLong("the server did not answer in time") from None


def hang_up(transport: Any) -> None:
    """Close a connection at once. The transport of a ``ProcessEndpoint`` can only close it when what was written is sent."""
    getattr(transport, "abortConnection", transport.loseConnection)()
