"""A client of a site, in memory: octets of a request in, the answer out; time passes when the test says so.

::

    client = Client(site, clock)
    client.ask("GET", "/api/messages").json      # {'messages': [], 'total': 0}
    waiting = client.begin("GET", "/api/wait?timeout=5")
    clock.advance(5)
    waiting.answer.status                         # 408
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any

import msgspec
from attrs import frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Site


class _Socket:
    """What ``http.client`` reads an answer from."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._octets)


@frozen
class Answer:
    """An answer, complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What the body says."""
        return msgspec.json.decode(self.body)


class _Transport(StringTransport):
    """One that is gone when it is aborted."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class Exchange:
    """A request that was sent, on a connection of its own."""

    def __init__(self, site: Site, octets: bytes, method: str) -> None:
        self.transport = _Transport()
        self.protocol: Any = site.buildProtocol(self.transport.getPeer())
        self.method = method
        self.refused = self.protocol is None
        if not self.refused:
            self.protocol.makeConnection(self.transport)
            self.protocol.dataReceived(octets)

    @property
    def octets(self) -> bytes:
        """What came so far."""
        return self.transport.value()

    @property
    def answer(self) -> Answer:
        """The answer.

        :raise http.client.HTTPException: it is not there, or not whole.
        """
        response = HTTPResponse(_Socket(self.octets), method=self.method)  # type: ignore[arg-type]
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def leave(self) -> None:
        """The client goes away."""
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(ConnectionDone()))


class Client:
    """Asks a site."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self.site = site
        self.clock = clock
        self._exchanges: list[Exchange] = []

    def close(self) -> None:
        """All that is open goes away, so that nothing waits for ever; for ``addCleanup``."""
        for exchange in self._exchanges:
            exchange.leave()

    def begin(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Exchange:
        """Send a request."""
        fields = {"Host": "127.0.0.1:25080", **(headers or {})}
        if body is not None and "Transfer-Encoding" not in fields:
            fields.setdefault("Content-Length", str(len(body)))
            fields.setdefault("Content-Type", "application/json")
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        octets = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b"")
        return self.send(octets, method)

    def send(self, octets: bytes, method: str = "GET") -> Exchange:
        """Send octets, whatever they are."""
        exchange = Exchange(self.site, octets, method)
        self._exchanges.append(exchange)
        self.clock.advance(0)
        return exchange

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send a request that is answered at once, but for turns that others have."""
        exchange = self.begin(method, path, headers, body)
        for _ in range(100):
            if exchange.octets:
                break
            self.clock.advance(0)
        answer = exchange.answer
        exchange.leave()
        return answer
