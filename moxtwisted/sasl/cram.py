"""CRAM-MD5 (RFC 2195), server side: an HMAC over a challenge; no protection of the connection, no server proof.

::

    S: + PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+
    C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw              tim b913a602c7eda7a495b4e6e7334d3890

Only for accounts that have contexts (``moxtwisted.sasl.cramkeys``); on offer when the operator wants it.
"""

from __future__ import annotations

import hmac
import re

from moxtwisted.sasl.exchange import MalformedError, ServerContext, ServerExchange, decode_text
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, ServerStep

__all__ = ["CramMD5Server"]

_DIGEST = re.compile(rb"[0-9a-f]{32}\Z")


class CramMD5Server(ServerExchange):
    """CRAM-MD5, server side."""

    def __init__(self, context: ServerContext) -> None:
        super().__init__("CRAM-MD5", context)
        self._challenge = b""

    async def _step(self, data: bytes | None) -> ServerStep:
        if not self._challenge:
            # RFC 2195 section 2: the server speaks first; RFC 4954 section 4 wants an initial response refused.
            if data is not None:
                raise MalformedError("CRAM-MD5 has no initial response")
            token = self._context.entropy(16).hex()
            self._challenge = f"<{token}@{self._context.hostname}>".encode("ascii", "replace")
            return Challenge(self._challenge)
        if data is None:
            raise MalformedError("message out of turn")
        name, space, digest = data.rpartition(b" ")
        digest = digest.lower()
        if not space or not name or not _DIGEST.match(digest):
            raise MalformedError("CRAM-MD5 response is not a name and a digest")
        self.username = decode_text(name, "user name")
        verifiers = await self._context.backend.verifiers(self.username, self.mechanism)
        if isinstance(verifiers, Failure):
            self._told = True
            return verifiers
        contexts = verifiers.cram_md5 if verifiers is not None else None
        known = contexts is not None
        contexts = contexts or self._context.decoys.cram(self.username)
        right = hmac.compare_digest(contexts.hmac(self._challenge).hex().encode("ascii"), digest)
        refusal = None if right and known else Reason.BAD_CREDENTIALS
        return self._grant(await self._conclude(refusal), "")
