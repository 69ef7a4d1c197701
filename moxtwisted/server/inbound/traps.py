"""Spam traps: addresses that nobody has and nobody was ever given, such as one that stands only in the hidden part of a web page.

::

    traps = Traps(report=lambda ip, why: bans.report(ip, "spam-trap", why), exempt=policy.allowed)
    if message.trapped:
        return await traps.caught(message)

Who writes to one did not get the address by any good way, so the message is refused for all of its recipients, after it came: what it was
can be learned from and looked at. The client's network is reported; some of these within a day, and it is banned. Not reported
are those whom the operator lets in, and reports of failed delivery (``<>``), which come from servers that were lied to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import define, field
from twisted.logger import Logger

from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.server.delivery import Copy, LocalDelivery
from moxtwisted.server.inbound.decisions import refusal
from moxtwisted.server.judgement.interfaces import Decision, Incoming
from moxtwisted.smtp.replies import Reply

if TYPE_CHECKING:
    from moxtwisted.server.inbound.outcome import Complete

__all__ = ["SPAM_TRAP", "Traps"]

_log = Logger()

SPAM_TRAP: Final = "spam-trap"
# As to any address that is not there: a trap that can be told from others is none.
_NO_SUCH_USER: Final = Reply(550, "5.1.1", "no such user here")
# RFC 3463 section 3.8: X.7.1, not authorized.
_NOT_TAKEN: Final = Reply(550, "5.7.1", "this message is not taken here")
_JUNK: Final = MessageFlags.of(SEEN, ("$Junk",))


@define(eq=False)
class Traps:
    """What happens to mail for traps.

    :ivar counts: ``caught``, ``reported``, ``learned``.
    """

    _report: Callable[[str, str], None]
    _exempt: Callable[[Incoming], bool]
    _delivery: LocalDelivery | None = None
    #: The account whose junk mailbox gets a copy, and that mailbox; no account: none does.
    _learner: Callable[[], tuple[str, str]] = field(default=lambda: ("", ""))
    counts: Counter[str] = field(factory=Counter, init=False)

    def decision(self, message: Complete) -> Decision:
        """For all recipients."""
        trap = message.trapped[0]
        alone = len(message.transaction.recipients) == len(message.trapped)
        return refusal(
            _NO_SUCH_USER if alone else _NOT_TAKEN,
            SPAM_TRAP,
            f"It was sent to {trap} as well, an address that only those write to who got it by no good way.",
            keep=True,
        )

    async def caught(self, message: Complete, prefix: bytes) -> None:
        """Report the client, and keep a copy to learn from."""
        incoming = message.incoming
        self.counts["caught"] += 1
        ip, traps = incoming.verified.ip, ", ".join(str(path) for path in message.trapped[:5])
        reported = ip is not None and not incoming.reverse_path.is_null and not self._exempt(incoming)
        _log.info(
            "message from {sender} for the trap {trap}, client {peer}",
            session=incoming.session,
            sender=str(incoming.reverse_path),
            trap=traps,
            peer=str(ip),
            reported=reported,
            effect="spam-trap",
            what="reported" if reported else "not-reported",
        )
        if reported:
            self.counts["reported"] += 1
            self._report(str(ip), f"mail to {traps}")
        account, mailbox = self._learner()
        if account and self._delivery is not None:
            copy = Copy(account, mailbox, prefix, _JUNK)
            outcome = await self._delivery.deliver(message.lease.staged, [copy], int(incoming.seconds))
            self.counts["learned"] += outcome[account] is None
