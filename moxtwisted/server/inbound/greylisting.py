"""Greylisting (RFC 6647): strangers are asked once to come again later. Mail servers do; much that sends junk does not.

::

    greylisting = Greylisting(records, wanted=lambda recipient: True)
    Bench(judge, adjustments=(greylisting.adjust,))

It comes last, after the message: only mail that would be taken for want of anything against it is asked to wait, from senders of whom
the account knows nothing. Whoever is known, was written to, or is refused anyway never meets it.

Who is who
----------
A sender that proved its domain (by DMARC, DKIM or SPF) is that domain, from wherever it comes: large senders try again from other
addresses. Others are their network (/24, /64) with the domain of their envelope. Who comes again for the same recipient after a minute,
and within a day, is known from then on, for all recipients here, as long as it comes again within five weeks. Of who does not come again
nothing is kept after that day.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_network
from typing import Final, Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from moxtwisted.errors import MailError
from moxtwisted.mailauth.spf.evaluation import Verdict
from moxtwisted.server.inbound.decisions import refusal
from moxtwisted.server.judgement.interfaces import Decision, Incoming, Recipient
from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.smtp.replies import Reply

__all__ = ["GREYLISTED", "Greylisting", "GreylistingTimes", "IGreylistRecords"]

_log = Logger()

#: The reason, in ``X-Moxtwisted-Reason``, the log and counters.
GREYLISTED: Final = "greylisted"
# RFC 6647 section 5: 450 is the reasonable code where the connection goes on. RFC 3463 section 3.8: X.7.1, not authorized.
_AGAIN: Final = Reply(450, "4.7.1", "you are not known here yet: please try again in a few minutes")
#: How often "still there" is written, seconds.
_REFRESH: Final = 86400


class IGreylistRecords(Protocol):
    """Where it is kept (``moxtwisted.store.greylist``)."""

    def find(self, key: bytes) -> tuple[int, int] | None:
        """First and last time."""

    def put(
        self, rows: list[tuple[bytes, int, int]], forget_before: int = 0, forget_asked_before: int = 0
    ) -> Deferred[None]:
        """Write."""


@frozen(kw_only=True)
class GreylistingTimes:
    """Seconds.

    :ivar soonest: who comes again before is asked once more. RFC 6647 section 5: one minute to 24 hours.
    :ivar latest: who comes again after this begins anew; so long it is kept that somebody was asked.
    :ivar known: so long somebody is known who comes no more; RFC 6647 section 5 asks for a week at least.
    """

    soonest: float = 60.0
    latest: float = 86400.0
    known: float = 35 * 86400.0


@define(eq=False)
class Greylisting:
    """Asks strangers to come again.

    :ivar counts: ``asked``, ``early``, ``came-again``, ``known``, ``exempt``, ``trouble``.
    """

    _records: IGreylistRecords
    _wanted: Callable[[Recipient], bool]
    _exempt: Callable[[Incoming], Awaitable[bool]] | None = None
    _times: GreylistingTimes = field(factory=GreylistingTimes)
    counts: Counter[str] = field(factory=Counter, init=False)

    def adjust(
        self, incoming: Incoming, recipient: Recipient, decision: Decision
    ) -> Decision | Awaitable[Decision]:
        """The decision, or one to ask the sender to come again; see ``decisions.Adjustment``."""
        stranger = decision.accept and decision.reason == Reason.NO_BAD_SIGNALS
        # RFC 6647 section 5, item 7: not against who is authenticated or on our own machine.
        if not stranger or incoming.verified.ip is None or not self._wanted(recipient):
            return decision
        return self._ask(incoming, recipient, decision)

    async def _ask(self, incoming: Incoming, recipient: Recipient, decision: Decision) -> Decision:
        try:
            return await self._decide(incoming, recipient, decision)
        except MailError as e:
            # A full disk, say: who is not written down would be asked for ever.
            self.counts["trouble"] += 1
            _log.warn(
                "greylisting is off, since it can note nothing: {error}", error=e.detail or e.public_text
            )
            return decision

    async def _decide(self, incoming: Incoming, recipient: Recipient, decision: Decision) -> Decision:
        now, times = int(incoming.seconds), self._times
        who = identity(incoming)
        known, asked = _key(who), _key(f"{who} {str(recipient.path).lower()}")
        oldest, oldest_asked = int(now - times.known), int(now - times.latest)
        found = self._records.find(known)
        if found is not None and found[1] >= oldest:
            self.counts["known"] += 1
            if now - found[1] > _REFRESH:
                await self._records.put([(known, found[0], now)], oldest, oldest_asked)
            return decision
        if self._exempt is not None and await self._exempt(incoming):
            self.counts["exempt"] += 1
            return decision
        before = self._records.find(asked)
        if before is None or now - before[0] > times.latest:
            await self._records.put([(asked, now, now)], oldest, oldest_asked)
            return self._again(
                "asked", f"{who} is not known here: it was asked to come again later", decision
            )
        if now - before[0] < times.soonest:
            return self._again("early", f"{who} came again too early", decision)
        self.counts["came-again"] += 1
        _log.info(
            "{who} came again", who=who, session=incoming.session, effect="greylisting", what="came-again"
        )
        # That this recipient was written to is of no use any more.
        await self._records.put([(known, before[0], now)], oldest, oldest_asked)
        # It has waited already.
        return evolve(decision, delay_seconds=0.0)

    def _again(self, what: str, explanation: str, decision: Decision) -> Decision:
        self.counts[what] += 1
        return refusal(_AGAIN, GREYLISTED, f"{explanation}. {decision.explanation}")


def identity(incoming: Incoming) -> str:
    """Who sends: the domain that it proved, or its network with the domain that it says."""
    verified = incoming.verified
    if verified.from_validated and verified.organizational_domain:
        return verified.organizational_domain
    spf = verified.spf
    if spf is not None and spf.verdict is Verdict.PASS and spf.domain:
        return spf.domain.lower()
    ip = verified.ip
    network = ""
    if ip is not None:
        network = str(ip_network((ip, 24 if isinstance(ip, IPv4Address) else 64), strict=False))
    address = incoming.reverse_path.address
    return f"{network} {str(address.domain).lower() if address is not None else '<>'}"


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:16]
