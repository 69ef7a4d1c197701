"""Server-sent events: one answer that goes on, an event at a time.

::

    stream = EventStream(request, clock)
    stream.send("message", b'{"number":17}', identity="17")
    await stream.closed                       # the client went away, or did not read

On the wire::

    id: 17
    event: message
    data: {"number":17}

A browser connects again by itself, and says in ``Last-Event-ID`` what it saw last (``last_event``).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

__all__ = ["EventStream", "last_event"]

#: A comment line goes out so often, so that a connection that is gone is noticed.
KEEP_ALIVE_SECONDS = 15.0
#: What a client that does not read may leave waiting.
BACKLOG_EVENTS = 500


def last_event(request: Any) -> str:
    """The identity of the last event that the client saw, by its header; empty: none."""
    value: bytes = request.requestHeaders.getRawHeaders(b"last-event-id", [b""])[0]
    return value.decode("utf-8", "replace")


@implementer(IPushProducer)
class EventStream:
    """The answer to one request.

    :ivar closed: fires with None when nobody reads any more.
    """

    def __init__(self, request: Any, clock: Any) -> None:
        self._request = request
        self._clock = clock
        self._paused = False
        self._waiting: list[bytes] = []
        self.closed: Deferred[None] = Deferred()
        self._open = True
        request.setHeader("content-type", "text/event-stream")
        request.registerProducer(self, True)
        # The header is sent at once, and how long to wait before connecting again.
        request.write(b"retry: 2000\n\n")
        self._timer = clock.callLater(KEEP_ALIVE_SECONDS, self._keep_alive)

    def send(self, event: str, data: bytes, identity: str = "") -> None:
        """Send an event.

        :param event: its name; no line ends in it.
        :param data: one line.
        :param identity: what the client says when it comes back; no line ends in it.
        """
        head = f"id: {identity}\n" if identity else ""
        self._write(f"{head}event: {event}\n".encode() + b"data: " + data + b"\n\n")

    def close(self) -> None:
        """Nothing more is sent; the caller finishes the request."""
        if not self._open:
            return
        self._open = False
        self._timer.cancel()
        self._waiting.clear()
        # Twisted takes its channel from a request whose connection is lost.
        if self._request.channel is not None:
            self._request.unregisterProducer()
        if not self.closed.called:
            self.closed.callback(None)

    def _write(self, octets: bytes) -> None:
        if not self._open:
            return
        if not self._paused:
            self._request.write(octets)
        elif len(self._waiting) < BACKLOG_EVENTS:
            self._waiting.append(octets)
        else:
            self.close()

    def _keep_alive(self) -> None:
        self._timer = self._clock.callLater(KEEP_ALIVE_SECONDS, self._keep_alive)
        self._write(b": still here\n\n")

    def pauseProducing(self) -> None:
        """The client does not read: what happens waits."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._paused = False
        waiting, self._waiting = self._waiting, []
        for octets in waiting:
            self._write(octets)

    def stopProducing(self) -> None:
        """The connection is gone."""
        self.close()
