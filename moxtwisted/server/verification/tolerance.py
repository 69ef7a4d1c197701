"""A resolver for those to whom signatures in the DNS are welcome, and not needed.

::

    resolver = TolerantResolver(validating, make_plain, clock)
    await resolver.lookup("example.org", "TXT")

Some simple forwarders do not pass signatures on, and on a machine with a wrong clock none is valid. Then whoever validates has no answers
at all, and no mail would come in. Nothing that is asked about senders needs signatures, so it is asked without them as long as not even
those of the root can be had, and the log says so. One bogus name under a good root stays bogus.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.dns.answers import Answer, BogusError, IResolver, NoAnswerError
from moxtwisted.dns.names import ROOT

__all__ = ["TolerantResolver"]

_log = Logger()

#: After so long it is tried again.
_SECONDS: Final = 600.0


@implementer(IResolver)
@define(eq=False)
class TolerantResolver:
    """Asks another resolver.

    :ivar validating: who is asked first.
    :ivar make_plain: makes one that does not look at signatures, when it is needed.
    """

    _validating: IResolver
    _make_plain: Callable[[], IResolver]
    _clock: IReactorTime
    _plain: IResolver | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)

    async def lookup(self, name: str, rrtype: str) -> Answer:
        """See ``IResolver``."""
        if self._plain is None or self._clock.seconds() >= self._until:
            try:
                return await self._validating.lookup(name, rrtype)
            except BogusError:
                if not await self._nothing_is_signed():
                    raise
        if self._plain is None:
            self._plain = self._make_plain()
        return await self._plain.lookup(name, rrtype)

    async def _nothing_is_signed(self) -> bool:
        try:
            await self._validating.lookup(ROOT, "NS")
        except BogusError as e:
            if self._clock.seconds() >= self._until:
                _log.error(
                    "DNS: not even the root can be validated ({problem}); senders are checked without DNSSEC. "
                    "See [resolver] in mox.conf",
                    problem=e.reason,
                )
            self._until = self._clock.seconds() + _SECONDS
            return True
        except NoAnswerError:
            pass
        return False
