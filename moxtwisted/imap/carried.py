"""What the protocol of IMAP does when its connection leaves for another process, and when it came from one.

Nothing here knows Twisted; ``moxtwisted.imap.protocol`` derives from these. See ``moxtwisted.imap.departing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from moxtwisted.imap.connected import Connected
from moxtwisted.imap.departing import Departure, Way
from moxtwisted.transport.pump import Pump

if TYPE_CHECKING:
    from moxtwisted.imap.backend import IAuthenticator, ISession
    from moxtwisted.imap.protocol import IMAPServerProtocol

    _Protocol = IMAPServerProtocol
else:
    _Protocol = object

__all__ = ["Arriving", "Leaving"]


class Leaving(Connected):
    """A connection that can leave."""

    _passing: Pump | None = None  # the connection has left, and its octets pass through here

    def _can_leave(self) -> bool:
        """Whether this connection could go on elsewhere."""
        carrier = self.factory.carrier
        return self._layer is None and carrier is not None and bool(carrier.carries(self._transport))

    def _leave(self, output: bytes) -> None:
        """It goes on elsewhere, with the session that knows where.

        :param output: what was said and not written.
        """
        factory, transport = self.factory, self._transport
        session: Any = self.machine.connection.session
        departure = self.machine.departed(output)
        self._ended = True
        self._stop_timers()
        transport.unregisterProducer()
        detached = factory.carrier.detach(transport)
        if detached is not None:
            descriptor, waiting = detached
            self.transport = None
            factory.departed(self)
            session.depart(evolve(departure, output=waiting + departure.output), Way(descriptor))
            return
        pump = Pump(transport, self._deadline, factory.settings.timeouts.write)
        try:
            descriptor = factory.carrier.pair(pump)
        except OSError:
            # Too many files are open, say. There is nothing that could be said to the client any more.
            session.logout()
            self._abort()
            raise
        self._passing = pump
        # One call less for everything that the client says.
        self.dataReceived = pump.pipe.write
        session.depart(departure, Way(descriptor, pump))

    def _stop_timers(self) -> None:
        """No call of the clock is left."""
        raise NotImplementedError


class Arriving(_Protocol):
    """A connection that comes from another process, where its client logged in."""

    _departure: Departure
    _session: ISession
    _authenticator: IAuthenticator

    def expect(self, departure: Departure, session: ISession, authenticator: IAuthenticator) -> None:
        """What to begin with when it is connected."""
        self._departure, self._session, self._authenticator = departure, session, authenticator

    @property
    def client_ip(self) -> str:
        """The client's address, whatever the octets come through."""
        return str(self._departure.transport.peer.host)

    def connectionMade(self) -> None:
        """Go on where it was."""
        factory, transport = self.factory, self._transport
        factory.connections.add(self)
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self.server = factory.make_machine(self._authenticator, self._departure.transport, self._changed)
        self.server.connection.pause = self._pause
        self.server.arrived(self._departure, self._session)
        # Who waits for the mail to be let go of waits for this, too: see ``Server.forget``.
        del self._session, self._authenticator
        self._departure = evolve(self._departure, output=b"", input=b"")
        self._run()

    def readConnectionLost(self) -> None:
        """The client said its last word; or, under TLS, the process that has it wants to have it ended."""
        if self._departure.transport.tls and not (self._silent or self._ended):
            # Clients of TLS say no last word that others would hear of, so it was the other process.
            self._silent = True
            self.shutdown()
            self._rest()
        else:
            super().readConnectionLost()
