"""From a complete message to a decision for each account that it is for: everybody who has a say is asked, at the same time.

::

    bench = Bench(judge, externals=(rspamd,), adjust=(allowed, greylisted))
    decisions = await bench.decide(incoming, recipients)        # a Decision for each Recipient, in their order

External judges look once, before the accounts' own; a refusal of theirs is everybody's. What goes wrong refuses for now: nobody
loses mail for our trouble.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from moxtwisted.errors import MailError
from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.judgement.interfaces import (
    Decision,
    IExternalJudge,
    IJudge,
    Incoming,
    Opinion,
    Recipient,
)
from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.smtp.replies import Reply, reply_for_error

__all__ = ["Adjustment", "Bench", "refusal"]

_log = Logger()

#: A last word on a decision, such as greylisting's; it gives the same one, or another.
Adjustment = Callable[[Incoming, Recipient, Decision], "Decision | Awaitable[Decision]"]

# RFC 3463 section 3.4: X.3.0, other mail system status.
_CANNOT_JUDGE: Final = Reply(451, "4.3.0", "error in processing")
_JUNK: Final = "$Junk"
#: Why mail was taken whatever its content is: what others think of that does not set it aside.
_WANTED: Final = frozenset(
    {
        "allow-listed",
        Reason.LIST_ALLOW,
        Reason.SUBJECTPASS,
        Reason.MSGFROMFULL,
        Reason.MSGTOFULL,
        Reason.MSGFROMDOMAIN,
        Reason.MSGTODOMAIN,
        Reason.MSGFROMORGDOMAIN,
        Reason.MSGTOORGDOMAIN,
    }
)
#: What an explanation may say in the header and in the log.
_MOST_CHARACTERS: Final = 2000


def refusal(reply: Reply, reason: str, explanation: str, *, keep: bool = False) -> Decision:
    """A decision to refuse."""
    return Decision(
        accept=False,
        reason=reason,
        explanation=explanation[:_MOST_CHARACTERS],
        mailbox="",
        reply=reply,
        keep_in_rejects=keep,
    )


@define(eq=False)
class Bench:
    """Everybody who has a say.

    :ivar counts: decisions so far, by whether the message was taken and the reason: ``("refused", "junk-content")``.
    """

    _judge: IJudge | None = None
    _externals: Sequence[IExternalJudge] = ()
    _adjustments: Sequence[Adjustment] = ()
    #: Where an account wants mail that is set aside; empty: where it goes otherwise.
    _junk_mailbox: Callable[[str], str] = field(default=lambda _: "")
    counts: Counter[tuple[str, str]] = field(factory=Counter, init=False)

    async def decide(
        self, incoming: Incoming, recipients: Sequence[Recipient]
    ) -> tuple[list[Decision], list[Opinion]]:
        """A decision for each recipient, and what the external judges said."""
        opinions = await self._look(incoming) if self._externals else []
        refused = next((o for o in opinions if o.reply is not None), None)
        if refused is not None and refused.reply is not None:
            decision = refusal(
                refused.reply, refused.source, refused.explanation, keep=refused.keep_in_rejects
            )
            decisions = [decision] * len(recipients)
        elif len(recipients) == 1:
            decisions = [await self._one(incoming, recipients[0])]
        else:
            asked = [Deferred.fromCoroutine(self._one(incoming, r)) for r in recipients]
            decisions = [await one for one in asked]
        junk = next((o for o in opinions if o.junk), None)
        if junk is not None:
            decisions = [
                _as_junk(d, junk, self._junk_mailbox(r.account))
                if d.accept and d.reason not in _WANTED
                else d
                for r, d in zip(recipients, decisions, strict=True)
            ]
        for recipient, decision in zip(recipients, decisions, strict=True):
            self._note(incoming, recipient, decision)
        return decisions, opinions

    def note(self, incoming: Incoming, recipients: Sequence[Recipient], decision: Decision) -> None:
        """Log and count a decision that was made without anybody here."""
        for recipient in recipients:
            self._note(incoming, recipient, decision)

    async def _look(self, incoming: Incoming) -> list[Opinion]:
        looking = [Deferred.fromCoroutine(_opinion(external, incoming)) for external in self._externals]
        found = [await one for one in looking]
        return [opinion for opinion in found if opinion is not None]

    async def _one(self, incoming: Incoming, recipient: Recipient) -> Decision:
        try:
            if self._judge is None:
                decision = Decision(accept=True, reason="", explanation="", mailbox=recipient.mailbox)
            else:
                decision = await self._judge.judge(incoming, recipient)
            for adjust in self._adjustments:
                adjusted = adjust(incoming, recipient, decision)
                decision = adjusted if isinstance(adjusted, Decision) else await adjusted
        except MailError as e:
            reply = reply_for_error(e)
            _log.warn("no judgement for {account}: {error}", account=recipient.account, error=e.detail)
            return refusal(reply if reply.temporary else _CANNOT_JUDGE, "judgement-error", e.public_text)
        except Exception:  # noqa: BLE001  a boundary: our trouble is nobody's refusal for good
            _log.failure("no judgement for {account}", account=recipient.account)
            return refusal(_CANNOT_JUDGE, "judgement-error", "the message could not be judged")
        if not decision.accept and decision.reply is None:
            return evolve(decision, reply=_CANNOT_JUDGE)
        return decision

    def _note(self, incoming: Incoming, recipient: Recipient, decision: Decision) -> None:
        what = "accepted" if decision.accept else "refused"
        self.counts[what, decision.reason] += 1
        if self._judge is None and decision.accept:
            return
        _log.info(
            "message from {sender} for {account}: {decision}, {reason}: {explanation}",
            session=incoming.session,
            peer=incoming.ip,
            sender=str(incoming.reverse_path),
            account=recipient.account,
            recipient=str(recipient.path),
            decision=what,
            reason=decision.reason,
            explanation=decision.explanation[:_MOST_CHARACTERS],
        )


async def _opinion(external: IExternalJudge, incoming: Incoming) -> Opinion | None:
    try:
        return await external.look(incoming)
    except Exception:  # noqa: BLE001  a boundary: what it says when it fails is its own decision, so this is a fault of ours
        _log.failure("an external judge failed")
        return None


def _as_junk(decision: Decision, opinion: Opinion, mailbox: str) -> Decision:
    """Taken, and set aside as junk. Only where there is no mailbox for junk a flag says so: of a flag the account learns."""
    words = decision.flags.keywords if mailbox else (*decision.flags.keywords, _JUNK)
    explanation = f"{opinion.source}: {opinion.explanation}; {decision.explanation}"
    return evolve(
        decision,
        mailbox=mailbox or decision.mailbox,
        flags=MessageFlags.of(decision.flags.system, words),
        explanation=explanation[:_MOST_CHARACTERS],
        delay_seconds=0.0,
    )
