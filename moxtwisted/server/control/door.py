r"""What else the control socket is good for: a connection that is not about administration.

AMP begins with a zero octet (the high one of the length of the first key, which is short). What begins with another is a line
that says what is wanted, and the rest of the connection is that. There is one such thing, IMAP with an account's mail, without a log-in::

    imap alice\n
    * PREAUTH [CAPABILITY ...] mail.example.org logged in as alice

Whoever can open the socket may do everything anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

__all__ = ["Door", "IMAPDoor", "OpenIMAP"]

_log = Logger()

OpenIMAP = Callable[[Any, str], None]
"""Takes a transport and the name of an account, or one of its addresses, and goes on from there."""

_MAX_LINE_OCTETS: Final = 1024


class _FirstOctets(Protocol):
    """Looks at the beginning, then hands the transport over."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._line = b""

    def dataReceived(self, data: bytes) -> None:
        """The beginning, perhaps all of it."""
        self._line += data
        transport: Any = self.transport
        if self._line.startswith(b"\0"):
            inner: Any = self._door.administration.buildProtocol(None)
            transport.protocol = inner
            inner.makeConnection(transport)
            inner.dataReceived(self._line)
            return
        line, end, rest = self._line.partition(b"\n")
        word, _, name = line.partition(b" ")
        if len(line) > _MAX_LINE_OCTETS or (end and word != b"imap"):
            transport.loseConnection()
            return
        if end:
            account = name.decode("utf-8", "replace").strip()
            _log.info("control: IMAP for {account}", account=account)
            self._door.open_imap(transport, account)
            if rest:
                transport.protocol.dataReceived(rest)


class Door(Factory):
    """Makes the protocols of the control socket.

    :param administration: makes those that speak AMP.
    :param open_imap: makes the transport one of IMAP.
    """

    noisy = False

    def __init__(self, administration: Factory, open_imap: OpenIMAP) -> None:
        self.administration = administration
        self.open_imap = open_imap

    def buildProtocol(self, addr: Any) -> Protocol:
        """See ``Factory``."""
        return _FirstOctets(self)


class _Known(Protocol):
    """Hands the transport over."""

    def __init__(self, door: IMAPDoor) -> None:
        self._door = door

    def connectionMade(self) -> None:
        """Nothing has to be said first."""
        self._door.open_imap(self.transport, self._door.account)


class IMAPDoor(Factory):
    """IMAP from the first octet, with an account that is known.

    :param open_imap: makes the transport one of IMAP.
    """

    noisy = False

    def __init__(self, open_imap: OpenIMAP, account: str) -> None:
        self.open_imap = open_imap
        self.account = account

    def buildProtocol(self, addr: Any) -> Protocol:
        """See ``Factory``."""
        return _Known(self)
