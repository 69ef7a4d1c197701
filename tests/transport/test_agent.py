"""Waiting for another machine."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.transport.agent import SoleFactory, hang_up, in_time


class InTimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Nobody connects yet."""
        self.clock: Any = MemoryReactorClock()
        self.connecting: Deferred[Any] = Deferred()

    def wait(self, connecting: Deferred[Any]) -> Deferred[None]:
        self.connecting = connecting
        return Deferred.fromCoroutine(in_time(self.clock, connecting, 30.0))

    def test_there(self) -> None:
        """Who waits goes on, also when the connection was there at once; no timer is left."""
        done = self.wait(Deferred())
        self.assertNoResult(done)
        self.connecting.callback(Protocol())
        self.successResultOf(done)
        at_once: Deferred[Any] = Deferred()
        at_once.callback(Protocol())
        self.successResultOf(self.wait(at_once))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_there(self) -> None:
        """What the endpoint failed with comes out as it is."""
        done = self.wait(Deferred())
        self.connecting.errback(ConnectError())
        self.failureResultOf(done, ConnectError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        """After its time the attempt is given up, whatever the endpoint says of that."""
        for error in (ConnectingCancelledError(None), DNSLookupError("no such host"), CancelledError()):
            done = self.wait(Deferred(lambda waiting, error=error: waiting.errback(error)))  # type: ignore[misc]
            self.clock.advance(29)
            self.assertNoResult(done)
            self.clock.advance(2)
            self.assertIn("in time", str(self.failureResultOf(done, TookTooLong).value))
            self.assertTrue(self.connecting.called)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """A cancel is one, whatever the endpoint says of it, and reaches the endpoint."""
        for error in (ConnectingCancelledError(None), DNSLookupError("no such host"), CancelledError()):
            done = self.wait(Deferred(lambda waiting, error=error: waiting.errback(error)))  # type: ignore[misc]
            done.cancel()
            self.failureResultOf(done, CancelledError)
            self.assertTrue(self.connecting.called)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connected_nevertheless(self) -> None:
        """Where the endpoint goes on although it was cancelled, its connection gets no protocol, and so is closed."""
        for end in (lambda waiting: waiting.cancel(), lambda _: self.clock.advance(31)):
            protocol = Protocol()

            async def wait(factory: SoleFactory) -> None:
                with factory:
                    await in_time(self.clock, Deferred(), 30.0)

            factory = SoleFactory(protocol)
            done = Deferred.fromCoroutine(wait(factory))
            self.assertIs(factory.buildProtocol(None), protocol)
            end(done)
            self.failureResultOf(done)
            self.assertIsNone(factory.buildProtocol(None))

    def test_real_endpoints(self) -> None:
        """Twisted's own, while they connect and while they look for the host, too."""
        factory = Factory.forProtocol(Protocol)
        for endpoint in (
            TCP4ClientEndpoint(self.clock, "127.0.0.1", 25),
            HostnameEndpoint(self.clock, "mx.example", 25),
        ):
            done = self.wait(endpoint.connect(factory))
            done.cancel()
            self.failureResultOf(done, CancelledError)


class HangUpTests(SynchronousTestCase):
    def test_hang_up(self) -> None:
        """A connection is closed at once, and that with a process as soon as can be."""
        for has in (["abortConnection", "loseConnection"], ["loseConnection"]):
            transport = Mock(spec=has)
            hang_up(transport)
            self.assertEqual([call[0] for call in transport.method_calls], has[:1])
