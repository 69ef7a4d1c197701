"""From a complete message to a decision for each account that it is for: everybody who has a say is asked, at the same time.

::

    bench = Bench(judge, externals=(rspamd,), adjust=(allowed, greylisted))
    decisions, opinions = await bench.decide(incoming, recipients)        # a Decision for each Recipient, in their order

External judges look once, before the accounts' own, for all who do not do without them; a refusal of theirs is that of all these. What
goes wrong refuses for now: nobody loses mail for our trouble.
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

__all__ = ["Adjustment", "Bench", "refusal", "remarks"]

_log = Logger()

#: A last word on a decision, such as greylisting's; it gives the same one, or another.
Adjustment = Callable[[Incoming, Recipient, Decision], "Decision | Awaitable[Decision]"]
Opinions = tuple[Opinion, ...]

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


def remarks(recipient: Recipient, decision: Decision) -> dict[str, str]:
    """What the log says of a decision. That a message was taken for its only recipient stands in the line about the message: most are."""
    return {
        "account": recipient.account,
        "decision": "accepted" if decision.accept else "refused",
        "reason": decision.reason,
        "explanation": decision.explanation[:_MOST_CHARACTERS],
    }


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
    #: The keys of external judges that do not count for a recipient.
    _do_without: Callable[[Recipient], frozenset[str]] = field(default=lambda _: frozenset())
    counts: Counter[tuple[str, str]] = field(factory=Counter, init=False)

    async def decide(
        self, incoming: Incoming, recipients: Sequence[Recipient]
    ) -> tuple[list[Decision], list[Opinions]]:
        """A decision for each recipient, and what the external judges said that counts for it."""
        if len(recipients) == 1 and not self._externals:
            decision = await self._judged(incoming, recipients[0])
            self._note(incoming, recipients[0], decision, alone=True)
            return [decision], [()]
        opinions: list[Opinions] = [()] * len(recipients)
        if self._externals:
            opinions = await self._look(incoming, recipients)
        if len(recipients) == 1:
            alone, said = recipients[0], opinions[0]
            decisions = [await (self._one(incoming, alone, said) if said else self._judged(incoming, alone))]
        else:
            asked = [
                Deferred.fromCoroutine(self._one(incoming, r, theirs))
                for r, theirs in zip(recipients, opinions, strict=True)
            ]
            decisions = [await one for one in asked]
        for recipient, decision in zip(recipients, decisions, strict=True):
            self._note(incoming, recipient, decision, alone=len(recipients) == 1)
        return decisions, opinions

    def note(self, incoming: Incoming, recipients: Sequence[Recipient], decision: Decision) -> None:
        """Log and count a decision that was made without anybody here."""
        for recipient in recipients:
            self._note(incoming, recipient, decision)

    async def _look(self, incoming: Incoming, recipients: Sequence[Recipient]) -> list[Opinions]:
        """Each external judge is shown the message with those of its recipients who want that."""
        without = [self._do_without(r) for r in recipients]
        looking = []
        for external in self._externals:
            wanted = [r.path for r, keys in zip(recipients, without, strict=True) if external.key not in keys]
            shown = incoming
            if len(wanted) < len(recipients):
                shown = evolve(incoming, recipients=tuple(dict.fromkeys(wanted)))
            looking.append(Deferred.fromCoroutine(_opinion(external, shown)) if wanted else None)
        found = [(e.key, await one) for e, one in zip(self._externals, looking, strict=True) if one]
        return [tuple(o for key, o in found if o is not None and key not in keys) for keys in without]

    async def _one(self, incoming: Incoming, recipient: Recipient, opinions: Opinions) -> Decision:
        refused = next((o for o in opinions if o.reply is not None), None)
        if refused is not None and refused.reply is not None:
            return refusal(refused.reply, refused.source, refused.explanation, keep=refused.keep_in_rejects)
        decision = await self._judged(incoming, recipient)
        junk = next((o for o in opinions if o.junk), None)
        if junk is None or not decision.accept or decision.reason in _WANTED:
            return decision
        return _as_junk(decision, junk, self._junk_mailbox(recipient.account))

    async def _judged(self, incoming: Incoming, recipient: Recipient) -> Decision:
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

    def _note(
        self, incoming: Incoming, recipient: Recipient, decision: Decision, *, alone: bool = False
    ) -> None:
        what = "accepted" if decision.accept else "refused"
        self.counts[what, decision.reason] += 1
        if decision.accept and (alone or self._judge is None):
            return  # the line about the message has it, see ``remarks``
        _log.info(
            "message from {sender} for {account}: {decision}, {reason}: {explanation}",
            session=incoming.session,
            peer=incoming.ip,
            sender=str(incoming.reverse_path),
            recipient=str(recipient.path),
            **remarks(recipient, decision),
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
