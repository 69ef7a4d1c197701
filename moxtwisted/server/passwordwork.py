"""Where slow functions run: the hashes of passwords, a few at once, and not too many waiting.

::

    pool = HashPool(reactor)
    pool.start()
    right = await pool.run(verify_password, encoded, password)      # BusyError: too many are waiting
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import Interface, implementer

from moxtwisted.errors import MailError

__all__ = ["BusyError", "HashPool", "IPasswordWork"]

T = TypeVar("T")


class IPasswordWork(Interface):
    """A place for slow functions."""

    def run(function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        """Call it there.

        :raise BusyError: when too much is waiting already.
        """


class BusyError(MailError):
    """More password checks are waiting than the queue holds."""

    reply_code = 454
    enhanced_code = "4.7.0"
    imap_code = "UNAVAILABLE"
    public_text = "too many log-ins at once, try later"


@implementer(IPasswordWork)
class HashPool:
    """A few threads for password hashes; argon2 and hashlib let go of the interpreter lock.

    :param reactor: results come back on its thread.
    :param threads: checks at once; each takes the memory of one argon2id hash (19 MiB).
    :param max_pending: checks waiting or running; at 20 ms each, 64 on two threads are two thirds of a second.
    """

    def __init__(self, reactor: IReactorFromThreads, *, threads: int = 2, max_pending: int = 64) -> None:
        from twisted.python.threadpool import ThreadPool

        self._reactor = reactor
        self._pool = ThreadPool(0, threads, "passwords")
        self._max_pending = max_pending
        self._pending = 0
        self._running = False

    def start(self) -> None:
        """Allow work; threads are made when they are needed."""
        if not self._running:
            self._running = True
            self._pool.start()

    def stop(self) -> None:
        """Wait for the checks that run and end the threads."""
        if self._running:
            self._running = False
            self._pool.stop()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """See ``IPasswordWork``."""
        from twisted.internet.threads import deferToThreadPool

        if not self._running or self._pending >= self._max_pending:
            raise BusyError(f"{self._pending} password checks are waiting")
        self._pending += 1
        try:
            # the reactor's types in Twisted do not say that it can call from threads
            result: T = await deferToThreadPool(self._reactor, self._pool, function, *arguments)
        finally:
            self._pending -= 1
        return result
