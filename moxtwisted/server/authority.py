"""Log-ins that somebody else decides, or decides as well: an external authority.

::

    elsewhere = Elsewhere(authority, "instead", when_unavailable="refuse")
    authenticator.elsewhere = elsewhere

Two ways:

``instead``
    The authority alone says whether a password is right; the account must be here all the same.
``also``
    The password must be right here, and then the authority must agree. It is told of passwords that were wrong here.

When the authority does not answer, ``when_unavailable`` says what happens: ``local`` goes by what is known here alone (for
``instead``: the local password), ``refuse`` tells the client to come again later. Its no is a wrong password for the client and for
all limits (``moxtwisted.server.loginlimits``), which hold before it is asked.

An authority is asked with the password: so mechanisms that do not show it, SCRAM and CRAM-MD5, cannot be offered with one.
TLS client keys (EXTERNAL) stay ours.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface

from moxtwisted.sasl.outcome import Accepted, Failure, Outcome, Reason

if TYPE_CHECKING:
    from moxtwisted.server.authentication import LoginRecord, Origin

__all__ = ["PASSING", "Answer", "Elsewhere", "ILoginAuthority", "LoginAttempt", "Verdict"]

_log = Logger()

#: Mechanisms that work with an authority: those that show the password, and the one that needs none.
PASSING: Final = frozenset({"PLAIN", "LOGIN", "EXTERNAL"})
#: Failures that it is being told of at the same time; more are not told.
_MAX_TELLING: Final = 32


class Verdict(enum.Enum):
    """What an authority says."""

    ALLOW = "allow"
    DENY = "deny"
    UNSURE = "unsure"
    """It did not answer, or nothing that can be understood."""


@frozen(kw_only=True)
class LoginAttempt:
    """Somebody shows a password.

    :ivar username: as it was typed.
    :ivar mechanism: in upper case.
    :ivar number: which attempt it is in this connection, from 1.
    """

    username: str
    password: str = field(repr=False)
    mechanism: str
    origin: Origin
    number: int = 1


@frozen
class Answer:
    """What an authority thinks of an attempt.

    :ivar login: the name that it has for the user; empty: as typed.
    :ivar detail: for the log.
    """

    verdict: Verdict
    login: str = ""
    detail: str = ""


class ILoginAuthority(Interface):
    """Decides on log-ins."""

    def decide(attempt: LoginAttempt) -> Awaitable[Answer]:
        """What it says, within its own time limit. Its trouble is ``Verdict.UNSURE``, no exception."""

    def told(attempt: LoginAttempt) -> Awaitable[None]:
        """A password was wrong here: so that it counts."""


@define(eq=False)
class Elsewhere:
    """What the answers of an authority mean for us.

    :ivar mode: see the module.
    :ivar when_unavailable: see the module.
    """

    authority: ILoginAuthority
    mode: Literal["instead", "also"] = "instead"
    when_unavailable: Literal["local", "refuse"] = "refuse"
    _telling: int = field(default=0, init=False)

    async def check(
        self,
        attempt: LoginAttempt,
        verify: Callable[[], Awaitable[Outcome]],
        find: Callable[[str], Awaitable[LoginRecord | None]],
    ) -> Outcome:
        """Whether a password is right.

        :param verify: looks at it here.
        :param find: the record of a login name as somebody may type it.
        :raise MailError: when an account cannot be looked up.
        """
        if self.mode == "also":
            return await self._also(attempt, await verify())
        answer = await self.authority.decide(attempt)
        if answer.verdict is Verdict.UNSURE:
            return await verify() if self.when_unavailable == "local" else _unavailable(answer)
        if answer.verdict is Verdict.DENY:
            return _denied(answer)
        record = await find(attempt.username)
        if record is None and answer.login:
            record = await find(answer.login)
        if record is None:
            return Failure(
                Reason.BAD_CREDENTIALS, detail="the authority knows a user who has no account here"
            )
        if record.disabled:
            return Failure(Reason.DISABLED, text=record.disabled)
        return Accepted(record.login, record.account)

    async def _also(self, attempt: LoginAttempt, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Failure):
            if outcome.reason is Reason.BAD_CREDENTIALS:
                self._tell(attempt)
            return outcome
        answer = await self.authority.decide(attempt)
        if answer.verdict is Verdict.DENY:
            return _denied(answer)
        if answer.verdict is Verdict.UNSURE and self.when_unavailable == "refuse":
            return _unavailable(answer)
        return outcome

    def _tell(self, attempt: LoginAttempt) -> None:
        """The client does not wait for it."""
        if self._telling >= _MAX_TELLING:
            return
        self._telling += 1

        def told(_: object) -> None:
            self._telling -= 1

        telling = Deferred.fromCoroutine(_awaited(self.authority.told(attempt)))
        telling.addErrback(lambda failure: _log.failure("the authority could not be told", failure))
        telling.addBoth(told)


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable


def _denied(answer: Answer) -> Failure:
    return Failure(Reason.BAD_CREDENTIALS, detail=f"refused by the authority: {answer.detail}".rstrip(": "))


def _unavailable(answer: Answer) -> Failure:
    return Failure(Reason.UNAVAILABLE, detail=answer.detail)
