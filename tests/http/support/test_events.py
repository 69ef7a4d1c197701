"""Server-sent events."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from moxtwisted.http.support.events import BACKLOG_EVENTS, KEEP_ALIVE_SECONDS, EventStream
from moxtwisted.http.support.site import BoundedSite
from tests.http.memory import Client


class EventTests(SynchronousTestCase):
    """One stream."""

    def setUp(self) -> None:
        self.clock = Clock()
        streams: list[EventStream] = []

        class Streaming(Resource):
            isLeaf = True

            def render(inner, request: Any) -> Any:
                streams.append(EventStream(request, self.clock))
                return NOT_DONE_YET

        client = Client(BoundedSite(Streaming(), self.clock), self.clock)
        self.addCleanup(client.close)
        self.exchange = client.begin("GET", "/")
        [self.stream] = streams

    def test_wire(self) -> None:
        """An event has its identity, its name and a line of data."""
        self.stream.send("message", b'{"a":1}', "17")
        self.assertIn(b'id: 17\nevent: message\ndata: {"a":1}\n\n', self.exchange.octets)

    def test_keeping_alive(self) -> None:
        """A comment goes out now and then, so that a connection that is gone is noticed."""
        self.clock.advance(KEEP_ALIVE_SECONDS)
        self.clock.advance(KEEP_ALIVE_SECONDS)
        self.assertEqual(self.exchange.octets.count(b": still here\n\n"), 2)

    def test_who_does_not_read(self) -> None:
        """What happens while nobody reads waits, but not without end: then the stream is closed."""
        self.stream.pauseProducing()
        self.stream.send("message", b"first")
        self.assertNotIn(b"first", self.exchange.octets)
        self.stream.resumeProducing()
        self.assertIn(b"first", self.exchange.octets)
        self.stream.pauseProducing()
        for _ in range(BACKLOG_EVENTS):
            self.stream.send("message", b"more")
        self.assertNoResult(self.stream.closed)
        self.stream.send("message", b"too much")
        self.successResultOf(self.stream.closed)
        self.clock.advance(KEEP_ALIVE_SECONDS)
        self.stream.resumeProducing()
        self.assertNotIn(b"still here", self.exchange.octets)

    def test_who_leaves(self) -> None:
        """When the connection is gone, the stream is closed, and says nothing any more."""
        self.stream.stopProducing()
        self.successResultOf(self.stream.closed)
        self.stream.send("message", b"late")
        self.assertNotIn(b"late", self.exchange.octets)
