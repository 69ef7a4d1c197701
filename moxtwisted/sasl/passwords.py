"""The mechanisms that send the password itself: PLAIN (RFC 4616) and LOGIN; only for use inside TLS.

PLAIN is one message, LOGIN asks twice::

    C: AUTH PLAIN AG1qbEBleGFtcGxlLm9yZwBzZWNyZXQ=        NUL mjl@example.org NUL secret
    C: AUTH LOGIN
    S: 334 VXNlcm5hbWU6      Username:
    S: 334 UGFzc3dvcmQ6      Password:
"""

from __future__ import annotations

from moxtwisted.sasl.exchange import MalformedError, ServerContext, ServerExchange, decode_text
from moxtwisted.sasl.outcome import Challenge, ServerStep

__all__ = ["LoginServer", "PlainServer"]


class PlainServer(ServerExchange):
    """PLAIN, server side."""

    def __init__(self, context: ServerContext) -> None:
        super().__init__("PLAIN", context)

    async def _step(self, data: bytes | None) -> ServerStep:
        if data is None:
            return Challenge(b"")
        # RFC 4616 section 2: [authzid] NUL authcid NUL passwd, no NUL within, the last two not empty.
        parts = data.split(b"\0")
        if len(parts) != 3:
            raise MalformedError("PLAIN message does not have three parts")
        authzid = decode_text(parts[0], "authorization identity")
        self.username = decode_text(parts[1], "user name")
        if not parts[1] or not parts[2]:
            raise MalformedError("empty user name or password")
        return await self._check_password(authzid, decode_text(parts[2], "password"))


class LoginServer(ServerExchange):
    """LOGIN, server side: never standardised, described by draft-murchison-sasl-login; old clients need it."""

    def __init__(self, context: ServerContext) -> None:
        super().__init__("LOGIN", context)
        self._asked = False

    async def _step(self, data: bytes | None) -> ServerStep:
        # The draft has the server speak first, but some clients send the name as initial response; both work.
        if data is None:
            return Challenge(b"Username:")
        if not self._asked:
            self._asked = True
            self.username = decode_text(data, "user name")
            if not data:
                raise MalformedError("empty user name")
            return Challenge(b"Password:")
        if not data:
            raise MalformedError("empty password")
        return await self._check_password("", decode_text(data, "password"))
