"""A Twisted Web site whose connections, request bodies and waits are bounded, and which can be closed.

::

    site = BoundedSite(Guarded(app.resource(), Guard(["mail.example.org"])), reactor)
    port = await TCP4ServerEndpoint(reactor, 8080, interface="127.0.0.1").listen(site)
    ...
    port.stopListening()              # ends the connections that are open, too
"""

from __future__ import annotations

from typing import Any, cast

from attrs import frozen
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

#: How long the requests that a client sends without waiting for answers may keep others from having their turn.
_TURN_SECONDS = 0.02

__all__ = ["BoundedRequest", "BoundedSite", "SiteLimits"]


@frozen(kw_only=True)
class SiteLimits:
    """What one site bears.

    :ivar connections: open at the same time; further ones are closed at once. Browsers take six each.
    :ivar body_octets: of a request; a longer one is read to its end, kept nowhere, and answered with 413.
    :ivar drained_octets: of a request, after which its connection is cut.
    :ivar idle_seconds: without a request, or without the next octets of one.
    """

    connections: int = 200
    body_octets: int = 256 * 1024
    drained_octets: int = 16 * 1024 * 1024
    idle_seconds: float = 60.0


class BoundedRequest(Request):
    """A request that keeps no more of its body than the site allows.

    :ivar oversized: whether the body was longer; none of it is there then.
    """

    oversized = False
    _body_octets = 0

    def process(self) -> None:
        """Called by the channel when all of it is there."""
        # The channel does not declare what the site gave it.
        channel: Any = self.channel
        if channel.site.turn_is_over():
            channel.site.reactor.callLater(0, self._process_later)
        else:
            super().process()  # type: ignore[no-untyped-call]

    def _process_later(self) -> None:
        if not self._disconnected:
            self.process()

    @property
    def body_octets_limit(self) -> int:
        """How long a body may be."""
        return self._limits.body_octets

    @property
    def _limits(self) -> SiteLimits:
        # The site gave itself to the channel, which does not declare that.
        channel: Any = self.channel
        limits: SiteLimits = channel.site.limits
        return limits

    def gotLength(self, length: int | None) -> None:
        """Called by the channel when the header is read."""
        if length is not None and length > self.body_octets_limit:
            self.oversized = True
        # Below the length from which Twisted takes a temporary file: our limit keeps it in memory.
        super().gotLength(0)  # type: ignore[no-untyped-call]  # as all that is of Twisted here

    def handleContentChunk(self, data: bytes) -> None:
        """Called by the channel with the next octets of the body."""
        self._body_octets += len(data)
        content: Any = self.content
        if self._body_octets > self.body_octets_limit and not self.oversized:
            self.oversized = True
            content.seek(0)
            content.truncate()
        if not self.oversized:
            content.write(data)
        elif self._body_octets > self._limits.drained_octets:
            self.channel.loseConnection()


class BoundedSite(Site):
    """A site within ``SiteLimits``.

    :ivar connections: those that are open.
    """

    noisy = False
    requestFactory = BoundedRequest
    _log = Logger()

    def __init__(self, resource: IResource, reactor: Any, limits: SiteLimits | None = None) -> None:
        self.limits = limits if limits is not None else SiteLimits()
        super().__init__(  # type: ignore[no-untyped-call]
            resource, timeout=self.limits.idle_seconds, reactor=reactor
        )
        self.connections: set[Any] = set()
        self._turn_ends: float | None = None

    def turn_is_over(self) -> bool:
        """Whether requests took long enough in this turn of the reactor."""
        now = self.reactor.seconds()
        if self._turn_ends is None:
            self._turn_ends = now + _TURN_SECONDS
            self.reactor.callLater(0, self._new_turn)
        return bool(now > self._turn_ends)

    def _new_turn(self) -> None:
        self._turn_ends = None

    def buildProtocol(self, addr: Any) -> Any:
        """A channel, or None when there are too many."""
        if len(self.connections) >= self.limits.connections:
            self._log.warn("{count} connections are open, one more is refused", count=len(self.connections))
            return None
        channel = super().buildProtocol(addr)  # type: ignore[no-untyped-call]
        # All that a wrapper asks of its factory are the two methods below.
        return ProtocolWrapper(cast("Any", self), channel)

    def registerProtocol(self, connection: Any) -> None:
        """A connection is made."""
        self.connections.add(connection)

    def unregisterProtocol(self, connection: Any) -> None:
        """A connection is gone."""
        self.connections.discard(connection)

    def startFactory(self) -> None:
        """Nothing is to be started: requests are logged as events, not to a file."""

    def stopFactory(self) -> None:
        """The port is closed: so are the connections, some of which would wait for events for ever."""
        for connection in tuple(self.connections):
            connection.transport.abortConnection()

    def log(self, request: Any) -> None:
        """Log an answered request; without its query, which may name people."""
        self._log.debug("{method} {path} {code}", method=request.method, path=request.path, code=request.code)
