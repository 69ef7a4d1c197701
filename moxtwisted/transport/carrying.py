"""How a connection leaves this process, and how one comes into it; ``moxtwisted.server.sockets.Carrier`` does it for Twisted's.

::

    descriptor, waiting = carrier.detach(transport)        # in clear: the client's own socket goes
    descriptor = carrier.pair(pump)                        # else: one end of a pair goes, see moxtwisted.transport.pump
    carrier.adopt(descriptor, protocol)                    # in the other process, either of the two
"""

from __future__ import annotations

from typing import Any

from zope.interface import Interface

__all__ = ["ICarrier"]


class ICarrier(Interface):
    """Takes transports apart and makes them of descriptors."""

    def carries(transport: Any) -> bool:
        """Whether a connection can leave."""

    def detach(transport: Any) -> tuple[int, bytes] | None:
        """Take a connection away from the reactor, without an end that its client or its protocol could notice.

        :return: the client's socket, not blocking, the caller's now, and the octets that were written and did not leave; None: there is
            something between the socket and what is said, as TLS, so that it has to stay.
        """

    def pair(protocol: Any) -> int:
        """Connect a protocol with one end of a new pair of sockets.

        :return: the other end, not blocking, the caller's.
        """

    def adopt(descriptor: int, protocol: Any) -> None:
        """Connect a protocol with what ``detach`` or ``pair`` gave, here or in another process.

        :param descriptor: not the caller's any more.
        :raises OSError: when the connection is gone.
        """
