"""Which mechanisms a server offers, and how it begins an exchange.

::

    policy = SASLPolicy()
    names = offered(policy, tls=True, bindings=bindings, client_key=False)     # for EHLO or CAPABILITY
    exchange = begin("SCRAM-SHA-256-PLUS", names, context)                     # None: not on offer
    step = await exchange.respond(initial_response)
    while isinstance(step, Challenge):
        step = await exchange.respond(await ask(step.data))
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from attrs import frozen

from moxtwisted.sasl.cram import CramMD5Server
from moxtwisted.sasl.exchange import ChannelBindings, ServerContext, ServerExchange
from moxtwisted.sasl.external import ExternalServer
from moxtwisted.sasl.passwords import LoginServer, PlainServer
from moxtwisted.sasl.scram import SCRAM_MECHANISMS, ScramServer

__all__ = ["MECHANISMS", "SASLPolicy", "begin", "offered"]

MECHANISMS = ("EXTERNAL", *SCRAM_MECHANISMS, "CRAM-MD5", "PLAIN", "LOGIN")
"""All mechanisms, strongest first."""

_PASSWORD_ITSELF = ("PLAIN", "LOGIN")


@frozen
class SASLPolicy:
    """Which mechanisms an operator lets in.

    :ivar mechanisms: in the order of the announcement. LOGIN is not meant for IMAP, which has a command of that name.
    :ivar cram_md5: also offer CRAM-MD5, before the mechanisms that send the password; accounts need contexts for it.
    :ivar passwords_without_tls: offer PLAIN and LOGIN on connections in clear, for networks that are trusted.
    """

    mechanisms: tuple[str, ...] = tuple(name for name in MECHANISMS if name != "CRAM-MD5")
    cram_md5: bool = False
    passwords_without_tls: bool = False

    def order(self) -> tuple[str, ...]:
        """All mechanisms that are let in, in the order of the announcement."""
        names = self.mechanisms
        if not self.cram_md5 or "CRAM-MD5" in names:
            return names
        at = next((i for i, name in enumerate(names) if name in _PASSWORD_ITSELF), len(names))
        return (*names[:at], "CRAM-MD5", *names[at:])


def offered(
    policy: SASLPolicy, *, tls: bool, bindings: ChannelBindings, client_key: bool = False
) -> tuple[str, ...]:
    """The mechanisms to announce on a connection, in the operator's order.

    :param tls: whether the connection is under TLS.
    :param bindings: its channel-binding data; the -PLUS mechanisms need some.
    :param client_key: whether the peer showed a TLS client certificate, without which EXTERNAL is pointless.
    """

    def possible(name: str) -> bool:
        if name == "EXTERNAL":
            return tls and client_key
        if name.endswith("-PLUS"):
            return tls and bool(bindings)
        return name not in _PASSWORD_ITSELF or tls or policy.passwords_without_tls

    return tuple(name for name in policy.order() if name in MECHANISMS and possible(name))


_SIMPLE: dict[str, Callable[[ServerContext], ServerExchange]] = {
    "EXTERNAL": ExternalServer,
    "CRAM-MD5": CramMD5Server,
    "PLAIN": PlainServer,
    "LOGIN": LoginServer,
}


def begin(mechanism: str, names: Collection[str], context: ServerContext) -> ServerExchange | None:
    """Begin an exchange.

    :param mechanism: as the peer wrote it; case does not matter.
    :param names: what was announced on this connection, see ``offered``.
    :return: the exchange, or ``None`` when the mechanism was not announced (SMTP 504 5.5.4, IMAP tagged NO).
    """
    name = mechanism.upper()
    if name not in names or name not in MECHANISMS:
        return None
    if name in SCRAM_MECHANISMS:
        return ScramServer(name, context)
    return _SIMPLE[name](context)
