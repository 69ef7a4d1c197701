"""What all server exchanges share: limits, the end of the exchange, and the rule for authorization identities.

A mechanism subclasses ``ServerExchange`` and writes ``_step``; it raises ``MalformedError`` at anything the peer may
not send and never has to count octets or remember that it is finished.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen
from zope.interface import implementer

from moxtwisted.sasl import prep
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.interfaces import ISASLBackend, IServerExchange
from moxtwisted.sasl.outcome import Accepted, Failure, Outcome, Reason, ServerStep, Success

__all__ = ["MAX_MESSAGE_OCTETS", "MalformedError", "ServerContext", "ServerExchange", "decode_text"]

MAX_MESSAGE_OCTETS = 4096
"""Octets of one message of the peer after base64 decoding. RFC 4616 section 2: three strings of 255 must fit."""

MAX_STEPS = 6

ChannelBindings = Mapping[str, Sequence[bytes]]


@frozen
class ServerContext:
    """What a server exchange needs to know of its surroundings.

    :ivar backend: who knows the users (for this session).
    :ivar entropy: ``entropy(n)`` gives n unpredictable octets.
    :ivar decoys: verifiers for unknown users.
    :ivar bindings: channel-binding data of the TLS connection by type name (``tls-exporter``,
        ``tls-server-end-point``, ``tls-unique``): each a sequence of acceptable values, usually one.
        Empty = no TLS, so the -PLUS mechanisms cannot be used.
    :ivar plus_offered: whether -PLUS mechanisms were in the list the peer saw; a client that could have used
        one and says that there was none was shown a forged list.
    :ivar hostname: our name, for the CRAM-MD5 challenge.
    """

    backend: ISASLBackend
    entropy: Callable[[int], bytes]
    decoys: Decoys
    bindings: ChannelBindings = field(factory=dict)
    plus_offered: bool = False
    hostname: str = "localhost"


class MalformedError(Exception):
    """The peer broke the mechanism's rules; ``detail`` is for the log and holds no secret.

    :ivar reason: usually ``BAD_PROTOCOL``.
    :ivar data: the mechanism's error message for the peer, if it has one.
    """

    def __init__(
        self, detail: str, *, reason: Reason = Reason.BAD_PROTOCOL, data: bytes | None = None
    ) -> None:
        self.detail = detail
        self.reason = reason
        self.data = data
        super().__init__(detail)


def decode_text(octets: bytes, what: str) -> str:
    """Decode UTF-8 without NUL.

    :raise MalformedError: when it is none; ``what`` names it.
    """
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError(f"{what} is not UTF-8") from None
    if "\0" in text:
        raise MalformedError(f"{what} has a NUL")
    return text


@implementer(IServerExchange)
class ServerExchange(abc.ABC):
    """One exchange; see ``IServerExchange``."""

    def __init__(self, mechanism: str, context: ServerContext) -> None:
        self.mechanism = mechanism
        self.username = ""
        self._context = context
        self._over = False
        self._steps = 0
        self._told = False

    async def respond(self, data: bytes | None) -> ServerStep:
        """Take the peer's next message; see ``IServerExchange.respond``."""
        if self._over:
            return Failure(Reason.BAD_PROTOCOL, self.username, detail="the exchange is over")
        self._steps += 1
        try:
            if data is not None and len(data) > MAX_MESSAGE_OCTETS:
                raise MalformedError("message too long")
            if self._steps > MAX_STEPS or (data is None and self._steps > 1):
                raise MalformedError("message out of turn")
            step = await self._step(data)
        except MalformedError as e:
            self._over = True
            await self._tell(e.reason)
            return Failure(e.reason, self.username, detail=e.detail, data=e.data)
        except BaseException:
            self._over = True
            raise
        if isinstance(step, (Success, Failure)):
            self._over = True
        return step

    async def abort(self) -> Failure:
        """The peer cancelled; see ``IServerExchange.abort``."""
        if not self._over:
            self._over = True
            await self._tell(Reason.ABORTED)
        return Failure(Reason.ABORTED, self.username)

    @abc.abstractmethod
    async def _step(self, data: bytes | None) -> ServerStep:
        """The mechanism's own step. @raise MalformedError: at anything it does not allow."""

    async def _tell(self, reason: Reason) -> None:
        if not self._told:
            self._told = True
            await self._context.backend.conclude(self.username, self.mechanism, reason)

    async def _conclude(self, refusal: Reason | None) -> Outcome:
        """Let the backend have the last word after our own verification."""
        self._told = True
        return await self._context.backend.conclude(self.username, self.mechanism, refusal)

    async def _check_password(self, authzid: str, password: str) -> Success | Failure:
        self._told = True
        outcome = await self._context.backend.check_password(self.username, password, self.mechanism)
        return self._grant(outcome, authzid)

    def _grant(self, outcome: Outcome, authzid: str) -> Success | Failure:
        if isinstance(outcome, Failure):
            return outcome
        if not self._may_act_as(outcome, authzid):
            return Failure(Reason.NOT_AUTHORIZED, self.username, detail="authorization identity is another")
        return Success(outcome.login, outcome.account, authzid, self.mechanism)

    def _may_act_as(self, accepted: Accepted, authzid: str) -> bool:
        # RFC 4422 section 3.4.1: we let nobody act for another, so a non-empty identity must be the same one.
        if not authzid or authzid in (self.username, accepted.login):
            return True
        try:
            return prep.username_case_mapped(authzid) == prep.username_case_mapped(accepted.login)
        except prep.PreparationError:
            return False
