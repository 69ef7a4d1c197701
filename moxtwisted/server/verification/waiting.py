"""Work that is under way and has so much time: its result is always a value.

::

    spf = Pending(evaluator.check_mail_from(ip, sender, helo), 20.0, clock, lambda why: SPFResult(Verdict.TEMPERROR, ...))
    spf.known                     # the result at once, when all answers were in the cache; else None
    await spf.result()            # as often as wanted; within 20 seconds

What does not wait for anything, since all answers are kept, costs neither a timer nor a turn of the reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as OutOfTime
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["Pending"]

T = TypeVar("T")

_log = Logger()


def _rest(
    work: Coroutine[Deferred[Any], Any, T], waits_for: Deferred[Any]
) -> Generator[Deferred[Any], Any, T]:
    """The rest of a coroutine that was begun and waits for something."""
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it is passed on
            step = partial(work.throw, error)
        else:
            step = partial(work.send, sent)
        try:
            waits_for = step()
        except StopIteration as e:
            result: T = e.value
            return result


class Pending(Generic[T]):
    """One piece of work. It begins at once.

    :param work: what is done.
    :param seconds: the time it has.
    :param otherwise: makes the result of why there is none: the time was up, or something is wrong with us.
    :ivar known: the result; None as long as there is none.
    """

    __slots__ = ("_otherwise", "_waiting", "_work", "known")

    def __init__(
        self,
        work: Coroutine[Deferred[Any], Any, T],
        seconds: float,
        clock: IReactorTime,
        otherwise: Callable[[str], T],
    ) -> None:
        self.known: T | None = None
        self._otherwise = otherwise
        self._waiting: list[Deferred[T]] = []
        self._work: Deferred[Any] | None = None
        try:
            first = work.send(None)
        except StopIteration as e:
            self.known = e.value
        except Exception:  # noqa: BLE001 - a boundary, as below
            self._failed(Failure(), seconds)
        else:
            self._work = Deferred.fromCoroutine(_rest(work, first))
            self._work.addTimeout(max(0.0, seconds), clock)
            self._work.addCallbacks(self._arrived, self._failed, errbackArgs=(seconds,))

    @classmethod
    def of(cls, result: T) -> Pending[T]:
        """Work that was done before."""
        pending: Pending[T] = cls.__new__(cls)
        pending.known, pending._work = result, None
        return pending

    def _arrived(self, result: T) -> None:
        self.known = result
        self._work = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(result)

    def _failed(self, failure: Failure, seconds: float) -> None:
        if failure.check(OutOfTime, CancelledError):
            why = f"no result within {seconds:g} seconds"
        else:
            _log.failure("a check of where a message came from failed", failure)
            why = "internal error"
        self._arrived(self._otherwise(why))

    async def result(self) -> T:
        """The result."""
        if self.known is not None:
            return self.known
        waiter: Deferred[T] = Deferred()
        self._waiting.append(waiter)
        return await waiter

    def cancel(self) -> None:
        """Ask no more: nobody wants it."""
        if self._work is not None:
            self._work.cancel()
