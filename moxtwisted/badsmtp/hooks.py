"""Hooks to begin with: a rate limiter that counts, and an observer to subclass.

::

    Hooks(rate_limiter=SimpleRateLimiter(reactor.seconds, connections_per_minute=5))

    class Printer(Observer):
        def message(self, session, message):
            print(message.reverse_path, len(message.content))

    Hooks(observers=[Printer()])

The interfaces are in ``moxtwisted.badsmtp.interfaces``; ``examples/badsmtp_hooks_server.py`` has one of each.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from moxtwisted.badsmtp.interfaces import CapturedMessage, IRateLimiter, ISessionObserver
from moxtwisted.smtp.replies import Reply

__all__ = ["Observer", "SimpleRateLimiter"]

_WINDOW_SECONDS = 60.0

#: How many clients are remembered; of more, those that were not seen for longest are forgotten.
_CLIENTS = 10_000


class _Counter:
    """So many in any minute, for each client."""

    def __init__(self, seconds: Callable[[], float], most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def allow(self, client_ip: str) -> bool:
        """Count one more, if it is allowed."""
        now = self._seconds()
        times = self._seen.setdefault(client_ip, deque())
        self._seen.move_to_end(client_ip)
        while len(self._seen) > _CLIENTS:
            self._seen.popitem(last=False)
        while times and times[0] <= now - _WINDOW_SECONDS:
            times.popleft()
        if len(times) >= self._most:
            return False
        times.append(now)
        return True


@implementer(IRateLimiter)
class SimpleRateLimiter:
    """Counts what each address did within the last minute.

    :ivar open_connections: by address, those that were allowed and are there.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        connections_per_minute: int = 60,
        messages_per_minute: int = 120,
    ) -> None:
        """:param seconds: a clock's."""
        self._connections = _Counter(seconds, connections_per_minute)
        self._messages = _Counter(seconds, messages_per_minute)
        self.open_connections: dict[str, int] = {}

    def allow_connection(self, client_ip: str) -> bool:
        """See ``IRateLimiter.allow_connection``."""
        allowed = self._connections.allow(client_ip)
        if allowed:
            self.open_connections[client_ip] = self.open_connections.get(client_ip, 0) + 1
        return allowed

    def allow_message(self, client_ip: str, username: str) -> bool:
        """See ``IRateLimiter.allow_message``; the user does not matter here."""
        return self._messages.allow(client_ip)

    def connection_closed(self, client_ip: str) -> None:
        """See ``IRateLimiter.connection_closed``."""
        left = self.open_connections.get(client_ip, 0) - 1
        if left > 0:
            self.open_connections[client_ip] = left
        else:
            self.open_connections.pop(client_ip, None)


@implementer(ISessionObserver)
class Observer:
    """Sees everything and does nothing: override what you want to know."""

    def connected(self, session: Any) -> None:
        """See ``ISessionObserver.connected``."""

    def authenticated(self, session: Any, mechanism: str, username: str, success: bool) -> None:
        """See ``ISessionObserver.authenticated``."""

    def message(self, session: Any, message: CapturedMessage) -> None:
        """See ``ISessionObserver.message``."""

    def error(self, session: Any, verb: str, reply: Reply) -> None:
        """See ``ISessionObserver.error``."""

    def disconnected(self, session: Any, reason: str) -> None:
        """See ``ISessionObserver.disconnected``."""
