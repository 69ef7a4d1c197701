"""A connection that leaves the process in which its client logged in, and goes on in another one.

What ``IAuthenticator.session`` gives need not be the mail: when that is with another process, it is an ``IAwaySession``. Nothing that
the client said after its log-in is looked at here then; the session is given all that is known of the connection, and a descriptor::

    C: a1 LOGIN alice secret
    C: a2 SELECT INBOX                                      # waits, not looked at
       session.depart(Departure(output=b"a1 OK ...", input=b"a2 SELECT INBOX\\r\\n", ...), Way(17))
    ...                                                     # in the other process:
       factory.arrive(17, departure, mail)
    S: a1 OK [CAPABILITY ...] welcome
    S: * FLAGS ...

A connection in clear leaves as the client's socket itself. Under TLS it is one end of a pair of sockets that goes; the
process that the client came to passes octets on for as long as the connection lasts (``moxtwisted.transport.pump``). It takes
a factory with a ``carrier``, and one of the transports that this knows. Where there is none, the session is asked to ``stay``.

After it has left, nobody can log in again: UNAUTHENTICATE is not on offer from the answer of the log-in on.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from attrs import frozen
from zope.interface import Attribute, Interface

from moxtwisted.imap.backend import ISession
from moxtwisted.transport.facts import Transport

__all__ = ["Departure", "IAwaySession", "Peer", "Way"]


@frozen
class Peer:
    """A client's address, in plain values.

    :ivar host: the IP address; empty when there is none.
    """

    host: str
    port: int

    @classmethod
    def of(cls, address: Any) -> Peer:
        """Of what a transport's ``getPeer`` gives."""
        return cls(str(getattr(address, "host", "") or ""), int(getattr(address, "port", 0) or 0))


@frozen(kw_only=True)
class Departure:
    """What there is to know of a connection; can be pickled.

    :ivar account: the session's.
    :ivar identity: who logged in, as ``IAuthenticator.session`` was told.
    :ivar output: what the client is to be sent before anything else: the answer of its log-in or the greeting that needs none, and what
        was said before it and did not leave.
    :ivar input: what the client said after its log-in, as far as it came.
    :ivar transport: its peer is a ``Peer``; without channel bindings, which no log-in needs any more.
    :ivar client_id: of ID (RFC 2971), if the client said it before.
    """

    account: str
    identity: str
    output: bytes
    input: bytes
    transport: Transport
    client_id: tuple[tuple[str, str | None], ...] | None = None


@frozen
class Way:
    """How the octets go on.

    :ivar descriptor: of a socket that is not blocking, the client's or one end of a pair; whoever gets this has to close it.
    :ivar pump: the ``Pump <moxtwisted.transport.pump.Pump>`` of a pair; None: nothing of the connection is left here. Its ``end()`` has the
        other process finish what is under way and say BYE.
    """

    descriptor: int
    pump: Any = None


class IAwaySession(Interface):
    """The mail of a user, when it is with another process."""

    account = Attribute("str: for the log")
    disabled_capabilities = Attribute("frozenset of str: as of the ISession in the other process")
    append_limit = Attribute("int: likewise, for APPENDLIMIT")

    def logout() -> None:
        """The connection ended before it left: neither of the others will be called, or what ``stay`` gives is not wanted."""

    def depart(departure: Departure, way: Way) -> None:
        """The connection goes; called once, at the end of the log-in, and then nothing is. Raises nothing: the descriptor has to be
        taken care of in any case, and whoever closes it ends the connection."""

    def stay() -> ISession | Awaitable[ISession]:
        """The connection cannot leave: the mail is to be here. Called instead of ``depart``, before the log-in is answered; what it gives
        replaces this session, which is not used any more.

        :raises MailError: when that cannot be; the log-in is refused with it.
        """
