"""Judges for tests: everything verified at once, and decisions as the test says."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from zope.interface import implementer

from moxtwisted.mailauth.dmarc.author import Author
from moxtwisted.server.inbound.decisions import Bench
from moxtwisted.server.inbound.outcome import Outcome
from moxtwisted.server.inbound.presence import WaitingRoom
from moxtwisted.server.inbound.rejects import Rejects, RejectsPolicy
from moxtwisted.server.inbound.splitting import Splitting
from moxtwisted.server.judgement.interfaces import Decision, IJudge, Incoming, Recipient
from moxtwisted.server.verification.checks import Checks
from moxtwisted.server.verification.interfaces import IVerifier, Unverified, Verified
from moxtwisted.smtp.replies import Reply
from tests.server.house import House

__all__ = ["LATER", "NEVER", "Judging", "Verifying", "verified_by"]

NEVER = Reply(550, "5.7.1", "never")
LATER = Reply(451, "4.7.1", "later")


@implementer(IVerifier)
@define
class Verifying:
    """Finds nothing but what the test says, at once."""

    found: dict[str, Any] = field(factory=dict)

    def begin(self, ip: Any, hello: str, reverse_path: Any) -> None:
        """Nothing to begin."""

    def header_came(self, hashed: Any) -> None:
        """Nothing to ask."""

    async def verify(self, message: Unverified) -> Verified:
        """Where it came from is the client's address."""
        domain = message.hashed.fields.header.unfolded(b"from").decode().strip("<>").rpartition("@")[2]
        found = {
            "ip": message.ip,
            "author": Author(domain),
            "organizational_domain": domain,
            "trace": b"Authentication-Results: mx.example.org; none\r\n",
            **self.found,
        }
        return Verified(**found)


@implementer(IJudge)
@define
class Judging:
    """Decides by account.

    :ivar says: what for whom: a Decision (its mailbox is the recipient's when it is empty), an exception, or None to accept.
    :ivar asked: who was asked for.
    :ivar by_address: what for an address, before all else.
    """

    says: dict[str, Any] = field(factory=dict)
    asked: list[Recipient] = field(factory=list)
    by_address: dict[str, Decision] = field(factory=dict)

    async def judge(self, incoming: Incoming, recipient: Recipient) -> Decision:
        """As the test says."""
        self.asked.append(recipient)
        said = self.by_address.get(str(recipient.path)) or self.says.get(recipient.account)
        if isinstance(said, Exception):
            raise said
        if said is None:
            said = Decision(accept=True, reason="no-bad-signals", explanation="nothing bad", mailbox="")
        return evolve(said, mailbox=said.mailbox or recipient.mailbox)

    def refuse(self, account: str, reply: Reply = NEVER, *, keep: bool = False) -> None:
        """An account refuses."""
        self.says[account] = Decision(
            accept=False,
            reason="junk-content",
            explanation="it looks bad",
            mailbox="",
            reply=reply,
            keep_in_rejects=keep,
        )

    @staticmethod
    def decision(word: str) -> Decision:
        """For ``yes``, ``later`` or ``never``."""
        reply = {"later": LATER, "never": NEVER}.get(word)
        return Decision(accept=reply is None, reason="r", explanation="e", mailbox="", reply=reply)

    def accept(self, account: str, **decision: Any) -> None:
        """An account accepts."""
        self.says[account] = Decision(
            **{"accept": True, "reason": "no-bad-signals", "explanation": "fine", "mailbox": "", **decision}
        )


def verified_by(
    house: House,
    judge: Any,
    verified: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    **bench: Any,
) -> Outcome:
    """Have a house's listeners verify and judge; gives what decides.

    :param verified: what is found of messages, beside the client's address.
    :param more: for the outcome.
    """
    house.checks = lambda: Checks(verifier=Verifying(verified or {}), own_names=frozenset())
    rejects = asking = Rejects(house.store, house.clock.seconds, lambda _: RejectsPolicy())
    if house.lent is not None:
        judge = house.lent.give(judge, rejects)
        asking = Rejects(house.taking, house.clock.seconds, lambda _: RejectsPolicy(), places=house.lent)
    outcome = Outcome(
        delivery=house.delivery,
        bench=Bench(judge, **bench),
        rejects=asking,
        splitting=Splitting(),
        room=WaitingRoom(house.clock),
        **(more or {}),
    )
    house.outcome = lambda: outcome
    house.delivery.make_room = asking.make_room
    house.rejects = rejects
    return outcome
