"""What this machine is called in the greeting: the name of the address that the client came to, as its reverse DNS has it.

::

    names = OwnNames(reactor, hostname="")
    names(IPv4Address("127.0.0.1"))        # "localhost", at once
    await names(IPv4Address("192.0.2.1"))  # asked once, in a thread, for two seconds at most
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.threads import deferToThreadPool

from moxtwisted.badsmtp.machine import HOSTNAME

__all__ = ["OwnNames"]

_PATIENCE_SECONDS = 2.0
_REMEMBERED = 256


def _look_up(address: str) -> str:
    try:
        return socket.gethostbyaddr(address)[0].rstrip(".")
    except OSError:
        return ""


class OwnNames:
    """Names of our addresses.

    :param hostname: what we are called everywhere; empty: as DNS says.
    """

    def __init__(self, reactor: Any, hostname: str = "") -> None:
        self._reactor = reactor
        self._hostname = hostname
        self._known: dict[str, str] = {}

    def __call__(self, address: IPv4Address | IPv6Address | None) -> Any:
        """The name, a string, or an awaitable of it."""
        if self._hostname or address is None:
            return self._hostname or HOSTNAME
        if address.is_loopback:
            return "localhost"
        known = self._known.get(str(address))
        return self._ask(str(address)) if known is None else known

    async def _ask(self, address: str) -> str:
        reactor = self._reactor
        asked: Deferred[str] = deferToThreadPool(reactor, reactor.getThreadPool(), _look_up, address)
        asked.addTimeout(_PATIENCE_SECONDS, reactor)
        try:
            name = await asked
        except TimedOut:
            name = ""
        # An address literal is a name, too (RFC 5321 section 4.1.3).
        name = name or (f"[IPv6:{address}]" if ":" in address else f"[{address}]")
        if len(self._known) < _REMEMBERED:
            self._known[address] = name
        return name
