"""How a client's session is opened: its name, TLS, log-in and waits.

::

    ClientSettings(hello_name="mail.example.org", tls=ClientTLS(optionsForClientTLS("mx.example.net")))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from moxtwisted.errors import MailError
from moxtwisted.sasl.agent import nameless
from moxtwisted.sasl.client import ClientExchange
from moxtwisted.smtp.peer import TLSInfo, inspect_tls

__all__ = ["ClientSettings", "ClientTLS", "ClientTimeouts"]


@frozen(kw_only=True)
class ClientTimeouts:
    """Waits in seconds, after RFC 5321 section 4.5.3.2."""

    connect: float = 30.0
    tls_handshake: float = 60.0
    greeting: float = 300.0
    hello: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    data_block: float = 180.0
    data_end: float = 600.0
    other: float = 300.0


def inspect_as_client(connection: Any) -> TLSInfo:
    """Facts of a handshake in which we were the client.

    :raise MailError: the certificate was to be verified, and names no host.
    """
    if nameless(connection):
        raise MailError("the certificate names no host")
    return inspect_tls(connection, server=False)


@frozen
class ClientTLS:
    """How we do TLS.

    :ivar creator: an ``IOpenSSLClientConnectionCreator``, as of ``optionsForClientTLS(hostname)``: it verifies what is to be verified.
    :ivar implicit: the handshake comes first.
    :ivar required: without TLS nothing is sent; else STARTTLS is used where it is offered.
    :ivar inspect: gives the facts of a finished handshake, or raises ``MailError`` when there is something that the creator lets through.
    """

    creator: Any
    implicit: bool = False
    required: bool = True
    inspect: Callable[[Any], TLSInfo] = inspect_as_client


@frozen(kw_only=True)
class ClientSettings:
    """How a session is opened.

    :ivar hello_name: our name.
    :ivar tls: None = never.
    :ivar exchange: chooses a SASL exchange from the offered mechanisms and the TLS of the connection (see
        ``moxtwisted.sasl.client.choose``), or None when none fits, which is a failure; without ``exchange`` there is no AUTH.
    :ivar lmtp: LMTP (RFC 2033).
    :ivar prefer_chunking: BDAT where it is offered; else it is used for BINARYMIME only.
    """

    hello_name: str
    tls: ClientTLS | None = None
    exchange: Callable[[list[str], TLSInfo | None], ClientExchange | None] | None = None
    lmtp: bool = False
    prefer_chunking: bool = False
    timeouts: ClientTimeouts = field(factory=ClientTimeouts)
