"""Whether the client that waits for an answer is still there, and how those wait whose message is not to be taken at once.

::

    presence = Presence()                      # of one connection; presence.leave() when it is lost
    room = WaitingRoom(clock, places=200)
    if not await room.wait(15.0, presence):
        ...                                     # gone: nothing was promised, so nothing is done

A client that gives up before it was answered sends the message again. What was not delivered yet by then is better left alone: the
client gets its answer at the next attempt, and the recipient one copy (RFC 5321 section 4.5.3.2.6 has clients wait ten minutes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["Presence", "WaitingRoom"]

_log = Logger()

#: So many messages wait at once: their octets are held meanwhile.
PLACES: Final = 200


@define(eq=False)
class Presence:
    """One client.

    :ivar here: whether its connection stands, as far as we know.
    """

    here: bool = field(default=True, init=False)
    _told: list[Callable[[], None]] = field(factory=list, init=False)

    def leave(self) -> None:
        """It is gone."""
        self.here = False
        told, self._told = self._told, []
        for tell in told:
            tell()

    def tell(self, leaving: Callable[[], None]) -> None:
        """Call it when the client leaves."""
        self._told.append(leaving)

    def forget(self, leaving: Callable[[], None]) -> None:
        """Do not call it any more."""
        if leaving in self._told:
            self._told.remove(leaving)


@define(eq=False)
class WaitingRoom:
    """Where messages wait.

    :ivar waiting: how many.
    """

    _clock: IReactorTime
    _places: int = PLACES
    waiting: int = field(default=0, init=False)

    async def turn(self) -> None:
        """Let everybody else go on first."""
        over: Deferred[None] = Deferred()
        self._clock.callLater(0, over.callback, None)
        await over

    async def wait(self, seconds: float, presence: Presence) -> bool:
        """Whether the client is still there after so many seconds. When all places are taken, it does not wait."""
        if not presence.here or seconds <= 0:
            return presence.here
        if self.waiting >= self._places:
            _log.info(
                "{count} messages wait already: this one is taken at once",
                count=self.waiting,
                effect="delay",
                what="no-place",
            )
            return True
        over: Deferred[None] = Deferred()

        def end() -> None:
            if not over.called:
                over.callback(None)

        call = self._clock.callLater(seconds, end)
        presence.tell(end)
        self.waiting += 1
        try:
            await over
        finally:
            self.waiting -= 1
            presence.forget(end)
            if call.active():
                call.cancel()
        what = "waited" if presence.here else "left"
        _log.debug("a client that had to wait {what}", effect="delay", what=what)
        return presence.here
