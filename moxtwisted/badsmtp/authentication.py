"""Log-ins whose outcome the user name decides: ``badauth`` in it fails, everything else succeeds, whatever the password.

::

    exchange = begin("PLAIN", Surroundings(decide, challenge))
    await exchange.respond(b"\\0goodauth\\0whatever")          # Success
    await exchange.respond(b"\\0badauth\\0whatever")           # Failure: 535

``decide(mechanism, username, secret)`` says who may come in; ``name_decides`` is the rule above. An exchange has the shape of
``moxtwisted.sasl.interfaces.IServerExchange``. Further mechanisms enter themselves in ``MECHANISMS``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen
from zope.interface import implementer

from moxtwisted.sasl.interfaces import IServerExchange
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, ServerStep, Success

__all__ = ["MECHANISMS", "AuthContext", "Exchange", "begin", "name_decides"]

_XOAUTH2_USER = re.compile(r"user=([^,\x01]+)")

#: Octets of one message of the client, decoded.
_MESSAGE_OCTETS = 8192


def name_decides(username: str) -> bool:
    """Whether this user may log in: ``badauth`` may not."""
    return "badauth" not in username.lower()


@frozen
class AuthContext:
    """What an exchange needs.

    :ivar decide: mechanism, user name and secret to whether it succeeds.
    :ivar challenge: makes what CRAM asks with, ``<1731862800.4711@badsmtp.test>``.
    :ivar tls: the ``TLSInfo`` of the connection, or None.
    """

    decide: Callable[[str, str, bytes], Awaitable[bool]]
    challenge: Callable[[], str]
    tls: Any = None


@implementer(IServerExchange)
class Exchange:
    """One log-in; a mechanism overrides ``step``."""

    def __init__(self, mechanism: str, context: AuthContext) -> None:
        self.mechanism = mechanism
        self.username = ""
        self.context = context
        self._over = False

    async def respond(self, data: bytes | None) -> ServerStep:
        """Take the client's next message."""
        if self._over or (data is not None and len(data) > _MESSAGE_OCTETS):
            return Failure(Reason.BAD_PROTOCOL)
        step = await self.step(data)
        self._over = not isinstance(step, Challenge)
        return step

    async def abort(self) -> Failure:
        """The client broke off."""
        self._over = True
        return Failure(Reason.ABORTED, self.username)

    async def step(self, data: bytes | None) -> ServerStep:
        """The next step of the mechanism."""
        raise NotImplementedError

    async def conclude(self, username: str, secret: bytes) -> ServerStep:
        """Whether this user comes in."""
        self.username = username
        if not username:
            return Failure(Reason.BAD_PROTOCOL)
        if await self.context.decide(self.mechanism, username, secret):
            return Success(username, username, "", self.mechanism)
        return Failure(Reason.BAD_CREDENTIALS, username)


def text(octets: bytes) -> str:
    """A name as it came, for people."""
    return octets.decode("utf-8", "replace")


class Plain(Exchange):
    """PLAIN (RFC 4616)."""

    async def step(self, data: bytes | None) -> ServerStep:
        """One message: authorization identity, user name, password."""
        if data is None:
            return Challenge(b"")
        parts = data.split(b"\0")
        if len(parts) != 3:
            return Failure(Reason.BAD_PROTOCOL)
        return await self.conclude(text(parts[1]), parts[2])


class Login(Exchange):
    """LOGIN, which no RFC has."""

    async def step(self, data: bytes | None) -> ServerStep:
        """Two questions."""
        if data is None:
            return Challenge(b"Username:")
        if not self.username:
            self.username = text(data)
            return Challenge(b"Password:") if data else Failure(Reason.BAD_PROTOCOL)
        return await self.conclude(self.username, data)


class Cram(Exchange):
    """CRAM-MD5 (RFC 2195), and the same with SHA-256."""

    async def step(self, data: bytes | None) -> ServerStep:
        """A challenge, then user name and digest; any digest is right."""
        if data is None:
            return Challenge(self.context.challenge().encode("ascii"))
        username, _, digest = data.rpartition(b" ")
        return await self.conclude(text(username), digest)


class XOAuth2(Exchange):
    """XOAUTH2 of Google."""

    async def step(self, data: bytes | None) -> ServerStep:
        """One message with ``user=``."""
        if data is None:
            return Challenge(b"")
        match = _XOAUTH2_USER.search(text(data))
        return Failure(Reason.BAD_PROTOCOL) if match is None else await self.conclude(match[1], data)


#: Mechanism to what makes its exchange.
MECHANISMS: dict[str, Callable[[str, AuthContext], Any]] = {
    "PLAIN": Plain,
    "LOGIN": Login,
    "CRAM-MD5": Cram,
    "CRAM-SHA256": Cram,
    "XOAUTH2": XOAuth2,
}


def begin(mechanism: str, context: AuthContext) -> Any:
    """A new exchange.

    :raise KeyError: nobody knows this mechanism.
    """
    return MECHANISMS[mechanism](mechanism, context)
