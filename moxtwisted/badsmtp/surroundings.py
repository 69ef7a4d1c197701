"""What the connections of one BadSMTP server share: settings, hooks, what was captured, and who is there.

A ``Listener`` says what one port does; ``Surroundings`` what all have.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.badsmtp.captured import Captured
from moxtwisted.badsmtp.grammar import Wish
from moxtwisted.badsmtp.interfaces import CapturedMessage, Hooks, IJournal, Level
from moxtwisted.badsmtp.machine import HOSTNAME
from moxtwisted.badsmtp.settings import Settings

__all__ = ["Listener", "SilentJournal", "Surroundings"]

_log = Logger()


@frozen(kw_only=True)
class Listener:
    """What one port does.

    :ivar name: in ``BadSMTPService.ports``.
    :ivar port: its number.
    :ivar lmtp: whether LMTP is spoken, with an outcome for each recipient.
    :ivar implicit_tls: whether TLS comes first.
    :ivar delay_seconds: before the greeting, or before hanging up.
    :ivar drop: whether it hangs up without a greeting.
    :ivar greeting: what goes wrong with the greeting, or None.
    """

    name: str
    port: int = 0
    lmtp: bool = False
    implicit_tls: bool = False
    delay_seconds: float = 0
    drop: bool = False
    greeting: Wish | None = None

    def at(self, port: int) -> Listener:
        """The same, at this port."""
        return evolve(self, port=port)


@implementer(IJournal)
class SilentJournal:
    """Writes nothing."""

    def write(self, level: Level, message: str, fields: Any, error: str = "") -> None:
        """Nothing is done."""


async def _no_name(address: IPv4Address | IPv6Address) -> str:
    return HOSTNAME


@define
class Surroundings:
    """Shared by all connections.

    :ivar clock: Twisted's, ``seconds()`` being the time since 1970.
    :ivar entropy: ``entropy(n)`` gives n unpredictable octets.
    :ivar name_of: gives the name of an address of ours for the greeting, a string or an awaitable.
    :ivar store: an ``IMessageStore``, or None: memory will do.
    :ivar pace: how long a second lasts where we wait on purpose.
    :ivar sessions: who is there.
    :ivar in_transfer: octets of the messages that are coming in.
    """

    settings: Settings
    hooks: Hooks
    clock: Any
    entropy: Callable[[int], bytes]
    captured: Captured
    journal: Any = field(factory=SilentJournal)
    store: Any = None
    name_of: Callable[[Any], Any] = _no_name
    pid: int = 0
    pace: float = 1.0
    sessions: set[Any] = field(factory=set)
    in_transfer: int = 0

    @property
    def storage_type(self) -> str:
        """What the log calls the store."""
        if self.store is None:
            return "memory"
        return str(getattr(self.store, "kind", type(self.store).__name__))

    def challenge(self) -> str:
        """What CRAM asks with."""
        return f"<{int(self.clock.seconds())}.{self.pid}@{HOSTNAME}>"

    def observe(self, method: str, *arguments: Any) -> None:
        """Tell all observers; what one of them raises is logged."""
        for observer in self.hooks.observers:
            try:
                getattr(observer, method)(*arguments)
            except Exception:  # noqa: BLE001  (somebody else's code ends here)
                _log.failure("an observer failed at {method}", method=method)

    async def keep(self, message: CapturedMessage) -> CapturedMessage:
        """Store a message, and keep it in memory.

        :raise StorageError: it was not stored.
        """
        if self.store is not None:
            stored = self.store.store(message)
            if hasattr(stored, "__await__"):
                await stored
        return self.captured.keep(message)

    def reserve(self, octets: int) -> bool:
        """Whether there is room for more octets of messages that are coming in: for four of the largest, or as much as is captured."""
        settings = self.settings
        if self.in_transfer + octets > max(settings.captured_octets, 4 * settings.message_octets):
            return False
        self.in_transfer += octets
        return True

    def arrived(self, session: Any) -> None:
        """A connection."""
        self.sessions.add(session)

    @property
    def crowded(self) -> bool:
        """Whether there are more connections than the settings have room for."""
        return len(self.sessions) > self.settings.connections

    def left(self, session: Any) -> None:
        """A connection is gone."""
        self.sessions.discard(session)
