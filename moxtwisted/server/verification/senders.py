"""What is asked of a sender before there is a message.

::

    rules = SenderRules(resolver, clock, seconds=20.0)
    await rules.can_receive(path)                  # SenderTrouble.NO_MAIL: nobody could be told that the mail did not arrive
    await rules.may_have_recipients(begun)         # False: one recipient at a time
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from moxtwisted.address import Path
from moxtwisted.dns.answers import IResolver, NoAnswerError
from moxtwisted.dns.cache import Cache
from moxtwisted.identifiers import Domain
from moxtwisted.mailauth.spf.evaluation import Verdict
from moxtwisted.server.verification.interfaces import ISenderRules, SenderTrouble
from moxtwisted.server.verification.verifier import Begun
from moxtwisted.server.verification.waiting import Pending

__all__ = ["SenderRules"]


#: Domains that take mail are kept for further messages, seconds at most.
_MAX_KEPT_SECONDS: Final = 60
_MAX_KEPT: Final = 2000
_MAX_KEPT_OCTETS: Final = 2**20


@implementer(ISenderRules)
@frozen(eq=False)
class SenderRules:
    """See ``ISenderRules``.

    :ivar reachable: whether the domain of a sender must be one that takes mail.
    :ivar spf_for_several: whether a message may have several recipients only when SPF passed.
    """

    resolver: IResolver
    clock: IReactorTime
    seconds: float = 20.0
    reachable: bool = True
    spf_for_several: bool = True
    _taking_mail: Cache[bool] = field(init=False, factory=lambda: Cache(_MAX_KEPT, _MAX_KEPT_OCTETS))

    async def can_receive(self, reverse_path: Path) -> SenderTrouble | None:
        """See ``ISenderRules``: MX, or A or AAAA, and no null MX."""
        address = reverse_path.address
        if not self.reachable or address is None or not isinstance(address.domain, Domain):
            return None
        domain, now = address.domain.ascii, self.clock.seconds()
        if self._taking_mail.get(domain, now) is not None:
            return None
        # RFC 5321 section 5.1: where there is no MX, the host of that name takes the mail.
        looking: Pending[tuple[SenderTrouble | None, int]] = Pending(
            self._look(domain), self.seconds, self.clock, lambda _: (SenderTrouble.UNKNOWN, 0)
        )
        trouble, ttl = looking.known or await looking.result()
        if trouble is None:
            ttl = min(ttl, _MAX_KEPT_SECONDS)
            self._taking_mail.put(domain, True, octets=len(domain), now=now, ttl_seconds=ttl)
        return trouble

    async def _look(self, domain: str) -> tuple[SenderTrouble | None, int]:
        """What is wrong, and for how many seconds the DNS says so."""
        try:
            answer = await self.resolver.lookup(domain, "MX")
            if answer.records:
                # RFC 7505 section 3: one MX whose exchange is the root.
                null = all(mx.exchange in ("", ".") for mx in answer.records)
                return SenderTrouble.NO_MAIL if null else None, answer.ttl_seconds
            if answer.exists:
                for rrtype in ("A", "AAAA"):
                    host = await self.resolver.lookup(domain, rrtype)
                    if host.records:
                        return None, min(answer.ttl_seconds, host.ttl_seconds)
        except NoAnswerError:
            return SenderTrouble.UNKNOWN, 0
        return SenderTrouble.NO_MAIL, 0

    async def may_have_recipients(self, begun: Begun | None) -> bool:
        """See ``ISenderRules``."""
        if not self.spf_for_several or begun is None or begun.spf is None:
            return True
        return (await begun.spf.result()).verdict is Verdict.PASS
