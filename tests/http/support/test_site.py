"""A site bears only so much."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from moxtwisted.http.support.guard import Guard, Guarded
from moxtwisted.http.support.site import BoundedSite, SiteLimits
from tests.http.memory import Client, Exchange


class _Echo(Resource):
    """Says the content of the request, but to those who ask to wait."""

    isLeaf = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock = clock

    def render(self, request: Any) -> Any:
        if request.path == b"/slow":
            # Without calling anybody, as when it takes that long.
            self._clock.rightNow += 0.009
        if request.path == b"/wait":
            return NOT_DONE_YET
        request.content.seek(0)
        return request.content.read()


class SiteTests(SynchronousTestCase):
    """Bodies, connections, silence, the end."""

    def setUp(self) -> None:
        self.clock = Clock()
        limits = SiteLimits(connections=3, body_octets=100, drained_octets=1000, idle_seconds=10)
        self.site = BoundedSite(Guarded(_Echo(self.clock), Guard()), self.clock, limits)
        self.client = Client(self.site, self.clock)
        self.addCleanup(self.client.close)

    def test_bodies(self) -> None:
        """A body within the bound is there, one beyond it is answered with 413 and kept nowhere."""
        self.assertEqual(self.client.ask("POST", "/", body=b"x" * 100).body, b"x" * 100)
        answer = self.client.ask("POST", "/", body=b"x" * 101)
        self.assertEqual((answer.status, answer.json["detail"]), (413, "more than 100 octets of content"))

    def test_chunked_bodies(self) -> None:
        """A body without an announced length is bounded all the same."""
        chunked = {"Transfer-Encoding": "chunked"}
        chunk = b"32\r\n" + b"x" * 50 + b"\r\n"
        self.assertEqual(self.client.ask("POST", "/", chunked, chunk * 2 + b"0\r\n\r\n").body, b"x" * 100)
        self.assertEqual(self.client.ask("POST", "/", chunked, chunk * 3 + b"0\r\n\r\n").status, 413)

    def test_many_at_once(self) -> None:
        """Requests that come without waiting for answers let others have their turn, in their order; a client may leave meanwhile."""
        one = b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n%03d"
        both = [Exchange(self.site, b"".join(one % n for n in range(10)), "POST") for _ in range(2)]
        for exchange in both:
            self.addCleanup(exchange.leave)
        self.assertEqual(both[0].octets.count(b"200 OK"), 3)
        both[1].leave()
        for _ in range(10):
            self.clock.advance(0)
        self.assertEqual(re.findall(rb"\r\n\r\n(...)", both[0].octets), [b"%03d" % n for n in range(10)])
        self.assertLess(both[1].octets.count(b"200 OK"), 10)

    def test_endless_bodies(self) -> None:
        """Who sends much more than the bound is cut off."""
        exchange = self.client.begin("POST", "/", {"Content-Length": "100000"}, b"x" * 2000)
        self.assertTrue(exchange.transport.disconnecting)

    def test_connections(self) -> None:
        """There are so many connections and no more; who leaves makes room."""
        first = self.client.begin("GET", "/wait")
        for _ in range(2):
            self.client.begin("GET", "/wait")
        self.assertTrue(self.client.begin("GET", "/").refused)
        first.leave()
        self.assertEqual(self.client.ask("GET", "/").status, 200)

    def test_silence(self) -> None:
        """Who begins a request and does not end it is cut off; who waits for an answer is not."""
        waiting = self.client.begin("GET", "/wait")
        silent = self.client.send(b"GET / HTTP/1.1\r\nHost: local")
        self.clock.advance(11)
        self.assertTrue(silent.transport.disconnecting)
        self.assertFalse(waiting.transport.disconnecting)

    def test_the_end(self) -> None:
        """When the port is closed, so are the connections that would wait for ever."""
        waiting = self.client.begin("GET", "/wait")
        self.site.doStart()
        self.site.doStop()
        self.assertTrue(waiting.transport.aborted)
