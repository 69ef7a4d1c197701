"""Which keeper has which account: the owner's ``IPlaces``.

::

    lending = Lending(store=store, clock=reactor, operations=operations, may_go=lambda account: True)
    store.elsewhere = lending.is_away
    lending.keepers = [keeper]              # those that are ready
    keeper = await lending.lend("alice")    # None: the account stays here
    await lending.home("alice")
    lending.lost(keeper)                    # its process has ended

An account goes when its user logs in by IMAP, nobody uses it here, and nothing speaks for its staying (``may_go``). It comes home when
something is to be done with it that keepers do not do, when nobody was logged in for a while, or when its keeper ended.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.server.lending.interfaces import IPlaces
from moxtwisted.server.lending.keeper import Keeper
from moxtwisted.server.lending.operations import Operations
from moxtwisted.store.store import Store

__all__ = ["Lending"]

_log = Logger()

#: How long an account stays with its keeper when nobody is logged in, seconds.
_UNUSED_SECONDS: Final = 300.0
#: How long one may take to come home: commands of its sessions that are under way are finished.
_HOME_SECONDS: Final = 30.0
#: Somebody who uses an account here for a moment, to judge a message, say, is waited for: so often, and so long each time.
_TRIES: Final = 5
_TRY_SECONDS: Final = 0.01


class _State(Enum):
    GOING = "going"
    THERE = "there"
    RETURNING = "returning"


@define(eq=False)
class _Loan:
    """An account that a keeper has.

    :ivar since: when nobody was logged in any more; None: somebody is.
    :ivar settled: those who wait until it is there, or here again.
    """

    account: str
    keeper: Keeper
    state: _State = _State.GOING
    since: float | None = None
    _settled: list[Deferred[None]] = field(factory=list, init=False)

    def wait(self) -> Deferred[None]:
        """Fires when the state is another one."""
        waiting: Deferred[None] = Deferred()
        self._settled.append(waiting)
        return waiting

    def settle(self, failure: StoreUnavailableError | None = None) -> None:
        """It is where it was going."""
        settled, self._settled = self._settled, []
        for waiting in settled:
            if failure is None:
                waiting.callback(None)
            else:
                waiting.errback(failure)


@implementer(IPlaces)
@define(eq=False, kw_only=True)
class Lending:
    """See ``IPlaces``.

    :ivar operations: does here what is asked for about accounts that came home meanwhile.
    :ivar may_go: whether an account may be lent at all.
    :ivar keepers: that take accounts.
    """

    store: Store
    clock: Any
    operations: Operations
    may_go: Callable[[str], bool] = field(default=lambda account: True)
    keepers: list[Keeper] = field(factory=list)
    _loans: dict[str, _Loan] = field(factory=dict, init=False)

    def is_away(self, account: str) -> bool:
        """See ``IPlaces``."""
        return account in self._loans

    async def ask(self, account: str, operation: str, *values: Any) -> Any:
        """See ``IPlaces``."""
        while (loan := self._loans.get(account)) is not None:
            if loan.state is _State.THERE:
                return await loan.keeper.ask(operation, (account, *values))
            await loan.wait()
        return await self.operations.run(operation, (account, *values))

    # -- going -------------------------------------------------------------------------------------------------------

    def _stays(self, account: str) -> bool:
        grants = self.store.grants
        return bool(grants.named(account) or grants.owners(account)) or not self.may_go(account)

    async def lend(self, account: str) -> Keeper | None:
        """Who has the account from now on; None: it is here, and so be its session."""
        while (loan := self._loans.get(account)) is not None:
            if loan.state is _State.THERE:
                return loan.keeper
            going = loan.state is _State.GOING
            await loan.wait()
            if going and account not in self._loans:
                # It could not go. If each of those who wait tried again, the last would have to wait for all.
                return None
        if not self.keepers or self._stays(account):
            return None
        keeper = min(self.keepers, key=lambda one: (len(one.accounts), one.number))
        loan = self._loans[account] = _Loan(account, keeper)
        gone = False
        try:
            for attempt in range(_TRIES):
                if attempt:
                    await deferLater(self.clock, _TRY_SECONDS)
                if gone := await self.store.let_go(account):
                    break
            gone = gone and keeper in self.keepers and not self._stays(account)
        finally:
            if gone:
                keeper.lend(account)
                _log.debug("account {account} is lent", account=account, keeper=keeper.number)
                loan.state, loan.since = _State.THERE, self.clock.seconds()
            else:
                del self._loans[account]
            loan.settle()
        return keeper if gone else None

    def used(self, keeper: Keeper, account: str) -> None:
        """Somebody logged in to a lent account, or is gone."""
        loan = self._loans.get(account)
        if loan is not None and loan.keeper is keeper:
            loan.since = None if keeper.accounts.get(account) else self.clock.seconds()

    # -- coming home -------------------------------------------------------------------------------------------------

    async def home(self, account: str) -> None:
        """See ``IPlaces``."""
        while (loan := self._loans.get(account)) is not None:
            if loan.state is _State.THERE:
                self._recall(loan)
            await loan.wait()

    def _recall(self, loan: _Loan) -> None:
        loan.state = _State.RETURNING
        loan.keeper.recall(loan.account)
        self.clock.callLater(_HOME_SECONDS, self._waited, loan)

    def _waited(self, loan: _Loan) -> None:
        if self._loans.get(loan.account) is loan and loan.state is _State.RETURNING:
            _log.error("account {account} does not come back from its keeper", account=loan.account)
            loan.settle(StoreUnavailableError(f"account {loan.account} is still in use elsewhere"))
            # Who comes later does not wait for ever either.
            self.clock.callLater(_HOME_SECONDS, self._waited, loan)

    def returned(self, keeper: Keeper, account: str) -> None:
        """A keeper closed an account."""
        loan = self._loans.get(account)
        if loan is not None and loan.keeper is keeper and loan.state is _State.RETURNING:
            del self._loans[account]
            loan.settle()
            _log.debug("account {account} came home", account=account, keeper=keeper.number)

    def lost(self, keeper: Keeper) -> None:
        """The process of a keeper has ended, and holds no files any more."""
        if keeper in self.keepers:
            self.keepers.remove(keeper)
        for loan in [loan for loan in self._loans.values() if loan.keeper is keeper]:
            if loan.state is not _State.GOING:
                del self._loans[loan.account]
                loan.settle()

    def tidy(self) -> None:
        """Have those come home that nobody has been logged in to for a while."""
        latest = self.clock.seconds() - _UNUSED_SECONDS
        for loan in list(self._loans.values()):
            if loan.state is _State.THERE and loan.since is not None and loan.since < latest:
                self._recall(loan)

    def review(self) -> None:
        """Another configuration is in force: have those come home that shall not be away any more."""
        for account in list(self._loans):
            self._come(account)

    def share(self, identifiers: frozenset[str], owner: str) -> None:
        """Who is named in the lists of an account changed: who shares something is here."""
        for account in list(self._loans):
            if account == owner or account in identifiers or "anyone" in identifiers:
                self.clock.callLater(0, self._come, account)

    def _come(self, account: str) -> None:
        loan = self._loans.get(account)
        if loan is not None and loan.state is _State.THERE and self._stays(account):
            self._recall(loan)
