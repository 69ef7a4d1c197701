"""What we are called in the greeting."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.badsmtp import ownnames
from moxtwisted.badsmtp.ownnames import OwnNames


class Reactor(Clock):
    """A clock with a thread pool that has one thread: the test's."""

    slow = False

    def getThreadPool(self) -> Reactor:
        return self

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)

    def callInThreadWithCallback(
        self, done: Callable[..., Any], function: Callable[..., Any], *arguments: Any
    ) -> None:
        if not self.slow:
            done(True, function(*arguments))


class OwnNameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[str] = []
        self.names = {"192.0.2.1": "mail.example.org", "192.0.2.2": ""}
        self.patch(ownnames, "_look_up", self.look_up)
        self.reactor = Reactor()

    def look_up(self, address: str) -> str:
        self.asked.append(address)
        return self.names.get(address, "")

    def name(self, names: OwnNames, address: str) -> Any:
        answer = names(IPv6Address(address) if ":" in address else IPv4Address(address))
        return answer if isinstance(answer, str) else self.successResultOf(Deferred.fromCoroutine(answer))

    def test_at_once(self) -> None:
        """Loopback is localhost, a name of the settings is everywhere, and no address is badsmtp.test."""
        names = OwnNames(self.reactor)
        self.assertEqual(names(IPv4Address("127.0.0.9")), "localhost")
        self.assertEqual(names(IPv6Address("::1")), "localhost")
        self.assertEqual(names(None), "badsmtp.test")
        self.assertEqual(OwnNames(self.reactor, "mx.example")(IPv4Address("127.0.0.1")), "mx.example")
        self.assertEqual(self.asked, [])

    def test_reverse_dns(self) -> None:
        """Others are asked for, once; what has no name is called by its address."""
        names = OwnNames(self.reactor)
        for _ in range(2):
            self.assertEqual(self.name(names, "192.0.2.1"), "mail.example.org")
            self.assertEqual(self.name(names, "192.0.2.2"), "[192.0.2.2]")
            self.assertEqual(self.name(names, "2001:db8::1"), "[IPv6:2001:db8::1]")
        self.assertEqual(self.asked, ["192.0.2.1", "192.0.2.2", "2001:db8::1"])

    def test_patience(self) -> None:
        """The answer is not waited for longer than two seconds."""
        self.reactor.slow = True
        waiting = Deferred.fromCoroutine(OwnNames(self.reactor)(IPv4Address("192.0.2.1")))
        self.reactor.advance(1.9)
        self.assertNoResult(waiting)
        self.reactor.advance(0.2)
        self.assertEqual(self.successResultOf(waiting), "[192.0.2.1]")
