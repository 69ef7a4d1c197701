"""Which mechanisms a server offers, and how it begins an exchange.

::

    policy = SASLPolicy(cram_md5=False)
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


@frozen
class SASLPolicy:
    """Which mechanisms an operator lets in.

    @ivar scram_sha1: offer SCRAM-SHA-1; no attack on it is known, and some clients have nothing newer.
    @ivar cram_md5: offer CRAM-MD5; accounts need contexts for it.
    @ivar plain: offer PLAIN.
    @ivar login: offer LOGIN (not meant for IMAP, which has a command of that name).
    @ivar passwords_without_tls: offer PLAIN and LOGIN on connections in clear, for networks that are trusted.
    """

    scram_sha1: bool = True
    cram_md5: bool = False
    plain: bool = True
    login: bool = True
    passwords_without_tls: bool = False


def offered(
    policy: SASLPolicy, *, tls: bool, bindings: ChannelBindings, client_key: bool = False
) -> tuple[str, ...]:
    """The mechanisms to announce on a connection, strongest first.

    @param tls: whether the connection is under TLS.
    @param bindings: its channel-binding data; the -PLUS mechanisms need some.
    @param client_key: whether the peer showed a TLS client certificate, without which EXTERNAL is pointless.
    """
    passwords = tls or policy.passwords_without_tls
    wanted = {
        "EXTERNAL": tls and client_key,
        "SCRAM-SHA-256-PLUS": tls and bool(bindings),
        "SCRAM-SHA-256": True,
        "SCRAM-SHA-1-PLUS": policy.scram_sha1 and tls and bool(bindings),
        "SCRAM-SHA-1": policy.scram_sha1,
        "CRAM-MD5": policy.cram_md5,
        "PLAIN": policy.plain and passwords,
        "LOGIN": policy.login and passwords,
    }
    return tuple(name for name in MECHANISMS if wanted[name])


_SIMPLE: dict[str, Callable[[ServerContext], ServerExchange]] = {
    "EXTERNAL": ExternalServer,
    "CRAM-MD5": CramMD5Server,
    "PLAIN": PlainServer,
    "LOGIN": LoginServer,
}


def begin(mechanism: str, names: Collection[str], context: ServerContext) -> ServerExchange | None:
    """Begin an exchange.

    @param mechanism: as the peer wrote it; case does not matter.
    @param names: what was announced on this connection, see L{offered}.
    @return: the exchange, or C{None} when the mechanism was not announced (SMTP 504 5.5.4, IMAP tagged NO).
    """
    name = mechanism.upper()
    if name not in names or name not in MECHANISMS:
        return None
    if name in SCRAM_MECHANISMS:
        return ScramServer(name, context)
    return _SIMPLE[name](context)
