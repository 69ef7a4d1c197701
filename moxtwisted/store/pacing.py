"""When the search index of an account works, and when it lets others go first.

Deliveries and changes want the account's writer and the reactor, too. So an index waits until nothing was changed in its account for a
second. Where there is no such second it begins after ten, and rests between its batches: all accounts that are in this state
together have a tenth of the time. What is missing in the index meanwhile is compared by each search, message by message::

    pace = Pace(clock)
    pace.share(crowd)            # the store's, for all accounts
    pace.disturb()               # something was changed
    await pace.rest(seconds)     # after a batch that took so long
"""

from __future__ import annotations

from typing import Final

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

__all__ = ["IMPATIENT_SECONDS", "QUIET_SECONDS", "Crowd", "Pace"]

#: The index waits so long after the last change of anything in the account, seconds, and at most so long in all.
QUIET_SECONDS: Final = 1.0
IMPATIENT_SECONDS: Final = 10.0
#: When it has waited so long in vain, nothing is indexed for so many times as long as a batch took, for each account that does so.
REST_FACTOR: Final = 9.0
MAX_REST_SECONDS: Final = 1.0


@define(eq=False)
class Crowd:
    """The accounts that have no quiet second.

    :ivar accounts: how many have their index made nevertheless, or soon will.
    """

    accounts: int = 0


@define(eq=False)
class Pace:
    """Of one account's index.

    :ivar disturbed_at: when something was changed in the account last; see the clock.
    """

    _clock: IReactorTime
    _crowd: Crowd = field(factory=Crowd, init=False)
    disturbed_at: float = field(default=0.0, init=False)
    _disturbed: bool = field(default=False, init=False)
    #: Since when there was no pause between disturbances.
    _busy_since: float | None = field(default=None, init=False)
    _resting: Deferred[None] | None = field(default=None, init=False)

    def share(self, crowd: Crowd) -> None:
        """Be one of these, before it works for the first time."""
        self._crowd = crowd

    def disturb(self) -> None:
        """Somebody has changed something, and may go on."""
        self._disturbed = True
        self.disturbed_at = self._clock.seconds()

    def begin_batch(self) -> None:
        """From now on it counts whether it is disturbed."""
        self._disturbed = False

    def over(self) -> None:
        """Everything is in the index, or nothing more can be done."""
        self._busy(None)

    def hurry(self) -> None:
        """Rest no longer, if it rests now."""
        if self._resting is not None:
            self._resting.cancel()

    def _busy(self, since: float | None) -> None:
        self._crowd.accounts += (since is not None) - (self._busy_since is not None)
        self._busy_since = since

    async def rest(self, worked_seconds: float) -> None:
        """After a batch: if somebody disturbed it, let him end, or have most of the time if he does not."""
        if not self._disturbed:
            return
        now = self._clock.seconds()
        since = self._busy_since
        if since is None:
            since = now
            self._busy(now)
        until = since + IMPATIENT_SECONDS
        quiet = self.disturbed_at + QUIET_SECONDS
        while now < quiet:
            impatient = now >= until
            seconds = min(quiet, until) - now
            if impatient:
                seconds = min(REST_FACTOR * worked_seconds, MAX_REST_SECONDS) * self._crowd.accounts
            self._resting = deferLater(self._clock, seconds)
            try:
                await self._resting
            except CancelledError:
                return
            finally:
                self._resting = None
            if impatient:
                return
            now, quiet = self._clock.seconds(), self.disturbed_at + QUIET_SECONDS
        self._busy(None)
