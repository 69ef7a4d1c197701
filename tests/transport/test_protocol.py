"""The connections of a listener."""

from __future__ import annotations

from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.transport.protocol import ListenerFactory


class Patient(Protocol):
    """Notes that it shall end."""

    factory: PatientFactory
    told = False

    def connectionMade(self) -> None:
        self.factory.connections.add(self)

    def shutdown(self) -> None:
        """See ``Stoppable``."""
        self.told = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connection_lost(self)


class PatientFactory(ListenerFactory[Patient]):
    def make_protocol(self) -> Patient:
        """See ``ListenerFactory``."""
        return Patient()


class ListenerFactoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two connections."""
        self.factory = PatientFactory()
        self.first, self.second = (self.factory.buildProtocol(None) for _ in range(2))
        for protocol in (self.first, self.second):
            protocol.makeConnection(StringTransport())

    def test_counted(self) -> None:
        """The connections that are open are known."""
        self.first.connectionLost()
        self.assertEqual(self.factory.connections, {self.second})

    def test_shutdown(self) -> None:
        """All are told, none comes any more, and the end is that of the last."""
        done, again = self.factory.shutdown(), self.factory.shutdown()
        self.assertTrue(self.first.told and self.second.told)
        self.assertIsNone(self.factory.buildProtocol(None))
        self.first.connectionLost()
        self.assertNoResult(done)
        self.second.connectionLost()
        self.assertIsNone(self.successResultOf(done))
        self.assertIsNone(self.successResultOf(again))

    def test_nobody_there(self) -> None:
        """Without connections a listener has ended at once."""
        self.assertIsNone(self.successResultOf(PatientFactory().shutdown()))
