"""What the tests of verifiers share: coroutines that end at once, a resolver that takes its time."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxtwisted.dns.answers import Answer, IResolver
from moxtwisted.dns.testing import ZoneResolver

T = TypeVar("T")


class AskingTestCase(SynchronousTestCase):
    """For coroutines that never wait."""

    def ended(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that asks a ``ZoneResolver``."""
        try:
            coroutine.send(None)
        except StopIteration as e:
            return e.value
        raise self.failureException("the coroutine waits")


@implementer(IResolver)
class SlowResolver:
    """Answers as another resolver does, and lets the clock go on meanwhile."""

    def __init__(self, resolver: ZoneResolver, clock: Clock, seconds: float) -> None:
        self.resolver, self.clock, self.seconds = resolver, clock, seconds

    async def lookup(self, name: str, rrtype: str) -> Answer:
        """See ``IResolver``."""
        self.clock.advance(self.seconds)
        return await self.resolver.lookup(name, rrtype)
