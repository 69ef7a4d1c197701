"""Mechanisms beyond those of BadSMTP: SCRAM, OAUTHBEARER, and NTLM that is offered and always refused.

::

    exchange = begin("SCRAM-SHA-256", AuthContext(decide, challenge, tls))

SCRAM proves that both sides know the password, so there has to be one: it is ``secret`` for everybody. ``badauth`` in the user name
fails here as everywhere. OAUTHBEARER takes any token; a failure is told in JSON (RFC 7628 section 3.2.2), and the reply with the
code comes when the client has said that it read this.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
from zope.interface import implementer

from moxtwisted.badsmtp.authentication import MECHANISMS, AuthContext, Exchange, text
from moxtwisted.sasl.credentials import PasswordVerifiers, scram_verifier
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.exchange import ServerContext
from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.outcome import Accepted, Challenge, Failure, Outcome, Reason, ServerStep
from moxtwisted.sasl.scram import ScramServer

__all__ = ["ALL_MECHANISMS", "PASSWORD", "begin"]

#: Everybody's password, where there has to be one.
PASSWORD: Final = "secret"  # noqa: S105  (it is none)

_ITERATIONS: Final = 4096
_NTLM_NEGOTIATE: Final = b"NTLMSSP\0\x01\0\0\0"
# RFC 7628 section 3.1: a GS2 header, then pairs between octets of the value 1.
_BEARER: Final = re.compile(
    rb"(?s)[nyp][^,\x01]{0,200},(?:a=(?P<user>[^,\x01]*))?,\x01(?P<pairs>(?:[^\x01]*\x01)*)\x01"
)


@cache
def _verifiers() -> PasswordVerifiers:
    """What a server keeps of the password; one salt for everybody and for as long as the program runs."""
    salt, password = os.urandom(16), PASSWORD.encode("ascii")
    return PasswordVerifiers(
        argon2id="",
        scram_sha_256=scram_verifier(password, salt, _ITERATIONS, "SHA-256"),
        scram_sha_1=scram_verifier(password, salt, _ITERATIONS, "SHA-1"),
    )


@implementer(ISASLBackend)
class _EverybodyKnown:
    """All users have the same password; who may come in is asked when it was proved."""

    def __init__(self, decide: Callable[[str, str, bytes], Any]) -> None:
        self._decide = decide

    async def verifiers(self, username: str, mechanism: str) -> PasswordVerifiers:
        return _verifiers()

    async def conclude(self, username: str, mechanism: str, refusal: Reason | None) -> Outcome:
        if refusal is not None:
            return Failure(refusal, username)
        if await self._decide(mechanism, username, b""):
            return Accepted(username, username)
        return Failure(Reason.BAD_CREDENTIALS, username)

    async def check_password(self, username: str, password: str, mechanism: str) -> Outcome:
        return Failure(Reason.BAD_PROTOCOL, username)

    async def external(self, username: str) -> Outcome:
        return Failure(Reason.BAD_PROTOCOL, username)


class Scram(Exchange):
    """SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677), by our own server side of them."""

    def __init__(self, mechanism: str, context: AuthContext) -> None:
        super().__init__(mechanism, context)
        surroundings = ServerContext(_EverybodyKnown(context.decide), os.urandom, Decoys(os.urandom(32)))
        self._inner = ScramServer(mechanism, surroundings)

    async def step(self, data: bytes | None) -> ServerStep:
        """As the standard has it."""
        step = await self._inner.respond(data)
        self.username = self._inner.username
        return step


class OAuthBearer(Exchange):
    """OAUTHBEARER (RFC 7628)."""

    _failed: Failure | None = None

    async def step(self, data: bytes | None) -> ServerStep:
        """One message, and another when the first one failed."""
        if self._failed is not None:
            # RFC 7628 section 3.2.3: whatever the client answers (a lone octet 1), it fails now.
            return self._failed
        if data is None:
            return Challenge(b"")
        match = _BEARER.fullmatch(data)
        token = _token(match["pairs"]) if match is not None else None
        if match is None or token is None:
            return Failure(Reason.BAD_PROTOCOL)
        # Who does not say for whom the token is, is known by it alone: nothing of it is shown.
        username = text(match["user"] or b"").replace("=2C", ",").replace("=3D", "=")
        step = await self.conclude(username or ("badauth" if b"badauth" in token else "bearer"), token)
        if not isinstance(step, Failure):
            return step
        self._failed = step
        return Challenge(
            msgspec.json.encode({"status": "invalid_token", "schemes": "bearer", "scope": "mail"})
        )


def _token(pairs: bytes) -> bytes | None:
    for pair in pairs.split(b"\x01"):
        name, _, value = pair.partition(b"=")
        scheme, _, token = value.partition(b" ")
        if name.lower() == b"auth" and scheme.lower() == b"bearer" and token:
            return token
    return None


class NTLM(Exchange):
    """NTLM of Microsoft, which this server speaks as far as to say no."""

    async def step(self, data: bytes | None) -> ServerStep:
        """The first message of the client is refused: 535 when it is one, else 501."""
        if data is None:
            return Challenge(b"")
        return Failure(Reason.BAD_CREDENTIALS if data.startswith(_NTLM_NEGOTIATE) else Reason.BAD_PROTOCOL)


#: Mechanism to what makes its exchange: those of BadSMTP, and ours.
ALL_MECHANISMS: Final[dict[str, Callable[[str, AuthContext], Any]]] = {
    **MECHANISMS,
    "SCRAM-SHA-256": Scram,
    "SCRAM-SHA-1": Scram,
    "OAUTHBEARER": OAuthBearer,
    "NTLM": NTLM,
}


def begin(mechanism: str, context: AuthContext) -> Any:
    """A new exchange.

    :param mechanism: in upper case.
    :raise KeyError: nobody knows this mechanism.
    """
    return ALL_MECHANISMS[mechanism](mechanism, context)
