"""SCRAM, server side: SCRAM-SHA-256 and SCRAM-SHA-1 with and without -PLUS (RFC 5802, RFC 7677).

Neither side sends the password; the client proves that it knows it, the server proves that it holds the
keys made from it, and with -PLUS both prove that they sit at the two ends of the same TLS connection::

    C: p=tls-exporter,,n=user,r=...        S: r=...,s=...,i=15000
    C: c=...,r=...,p=...                   S: v=...
    C: (empty)                             S: success

The ``v=`` message is a challenge with ``final=True``; in SMTP and IMAP the client answers it with an empty
response (RFC 4422 section 3.6: no data goes with success there).
"""

from __future__ import annotations

import hashlib
import hmac

from moxtwisted.sasl.credentials import ScramVerifier
from moxtwisted.sasl.exchange import MalformedError, ServerContext, ServerExchange
from moxtwisted.sasl.outcome import Challenge, Failure, Reason, ServerStep, Success
from moxtwisted.sasl.scrammessages import (
    ClientFinal,
    ClientFirst,
    encode_base64,
    parse_client_final,
    parse_client_first,
)

__all__ = ["SCRAM_MECHANISMS", "ScramServer", "hash_name"]

SCRAM_MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1")

_NONCE_OCTETS = 18


def hash_name(mechanism: str) -> tuple[str, str]:
    """The hash of a SCRAM mechanism, as SCRAM writes it and as hashlib does: ``("SHA-256", "sha256")``."""
    return ("SHA-256", "sha256") if mechanism.startswith("SCRAM-SHA-256") else ("SHA-1", "sha1")


class ScramServer(ServerExchange):
    """SCRAM, server side.

    :param mechanism: one of ``SCRAM_MECHANISMS``.
    """

    def __init__(self, mechanism: str, context: ServerContext) -> None:
        if mechanism not in SCRAM_MECHANISMS:
            raise ValueError(f"not a SCRAM mechanism: {mechanism}")
        super().__init__(mechanism, context)
        self._plus = mechanism.endswith("-PLUS")
        self._algorithm, self._hash = hash_name(mechanism)
        self._first: ClientFirst | None = None
        self._server_first = b""
        self._nonce = b""
        self._verifier: ScramVerifier | None = None
        self._known = False
        self._success: Success | None = None

    async def _step(self, data: bytes | None) -> ServerStep:
        if data is None:
            return Challenge(b"")
        if self._success is not None:
            if data:
                raise MalformedError("SCRAM: data where an empty response belongs")
            return self._success
        if self._first is None:
            return await self._answer_first(data)
        return await self._answer_final(self._first, data)

    async def _answer_first(self, data: bytes) -> Challenge | Failure:
        first = parse_client_first(data)
        self.username = first.username
        self._check_binding_flag(first)
        verifiers = await self._context.backend.verifiers(first.username, self.mechanism)
        if isinstance(verifiers, Failure):
            self._told = True
            return verifiers
        verifier = verifiers.scram(self._algorithm) if verifiers is not None else None
        self._known = verifier is not None
        # An unknown user gets a stable salt and an exchange that fails at its end, like a wrong password.
        decoy = self._context.decoys.scram(first.username, self._algorithm)
        self._verifier = verifier or decoy
        self._first = first
        self._nonce = first.nonce + encode_base64(self._context.entropy(_NONCE_OCTETS))
        salt = encode_base64(self._verifier.salt)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, self._verifier.iterations)
        return Challenge(self._server_first)

    def _check_binding_flag(self, first: ClientFirst) -> None:
        if first.binding_flag == "p":
            # RFC 5802 section 5.1: p= goes with the -PLUS name and with nothing else.
            if not self._plus:
                raise _bad_binding(
                    "p= with a mechanism that is not -PLUS", "server-does-support-channel-binding"
                )
            if first.binding_name not in self._context.bindings:
                raise _bad_binding("channel-binding type not available", "unsupported-channel-binding-type")
            return
        if self._plus:
            raise _bad_binding("-PLUS without channel binding", "channel-bindings-dont-match")
        if first.binding_flag == "y" and self._context.plus_offered:
            # RFC 5802 section 6: the client could bind but saw no -PLUS, while we offered it: somebody between us
            # took it off the list.
            raise _bad_binding("channel-binding downgrade", "server-does-support-channel-binding")

    async def _answer_final(self, first: ClientFirst, data: bytes) -> ServerStep:
        final = parse_client_final(data)
        if self._verifier is None or not hmac.compare_digest(final.nonce, self._nonce):
            raise MalformedError("SCRAM: nonce is not ours", data=b"e=other-error")
        proved = self._proved(self._verifier, first, final)
        bound = self._bound(first, final)
        # A wrong binding is only told to who proved to know the password.
        if not (proved and self._known):
            refusal: Reason | None = Reason.BAD_CREDENTIALS
        else:
            refusal = None if bound else Reason.BAD_CHANNEL_BINDING
        granted = self._grant(await self._conclude(refusal), first.authzid)
        if isinstance(granted, Failure):
            # RFC 5802 section 7: the server-final-message may be left out on failure.
            return granted
        self._success = granted
        message = self._auth_message(first, final)
        signature = hmac.digest(self._verifier.server_key, message, self._hash)
        return Challenge(b"v=" + encode_base64(signature), final=True)

    def _auth_message(self, first: ClientFirst, final: ClientFinal) -> bytes:
        return b",".join((first.bare, self._server_first, final.without_proof))

    def _proved(self, verifier: ScramVerifier, first: ClientFirst, final: ClientFinal) -> bool:
        # RFC 5802 section 3: ClientKey = ClientProof XOR ClientSignature, and H(ClientKey) must be StoredKey.
        signature = hmac.digest(verifier.stored_key, self._auth_message(first, final), self._hash)
        if len(final.proof) != len(signature):
            return False
        client_key = (int.from_bytes(final.proof) ^ int.from_bytes(signature)).to_bytes(len(signature))
        return hmac.compare_digest(hashlib.new(self._hash, client_key).digest(), verifier.stored_key)

    def _bound(self, first: ClientFirst, final: ClientFinal) -> bool:
        if first.binding_flag != "p":
            return hmac.compare_digest(final.binding_input, first.gs2_header)
        candidates = self._context.bindings.get(first.binding_name, ())
        return any(hmac.compare_digest(final.binding_input, first.gs2_header + data) for data in candidates)


def _bad_binding(detail: str, word: str) -> MalformedError:
    return MalformedError(
        "SCRAM: " + detail, reason=Reason.BAD_CHANNEL_BINDING, data=b"e=" + word.encode("ascii")
    )
