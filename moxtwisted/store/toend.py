"""Work of the store that is done to its end, also when nobody waits for it any more.

A command that hangs up cancels what it waits for. The store reads staged messages in another thread meanwhile, so that they
must not be closed before it has answered::

    await to_end(account.add(additions), partial(close, messages))
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["to_end"]

T = TypeVar("T")


async def to_end(work: Coroutine[Any, Any, T], release: Callable[[], object]) -> T:
    """Await it.

    :param release: called once when it has ended, be that well, with an error, or after this was cancelled.
    """
    answered: Deferred[T] = Deferred()

    def settle(result: T | Failure) -> None:
        release()
        if not answered.called:
            answered.callback(result)

    Deferred.fromCoroutine(work).addBoth(settle)
    return await answered
