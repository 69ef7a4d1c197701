"""EXTERNAL (RFC 4422 appendix A): the layer below has authenticated the peer already, here by a TLS client key.

The one message is the authorization identity, mostly empty::

    C: AUTH EXTERNAL =
    S: 235 2.7.0 authenticated
"""

from __future__ import annotations

from moxtwisted.sasl.exchange import ServerContext, ServerExchange, decode_text
from moxtwisted.sasl.outcome import Challenge, ServerStep

__all__ = ["ExternalServer"]


class ExternalServer(ServerExchange):
    """EXTERNAL, server side."""

    def __init__(self, context: ServerContext) -> None:
        super().__init__("EXTERNAL", context)

    async def _step(self, data: bytes | None) -> ServerStep:
        if data is None:
            return Challenge(b"")
        self.username = decode_text(data, "authorization identity")
        self._told = True
        return self._grant(await self._context.backend.external(self.username), self.username)
