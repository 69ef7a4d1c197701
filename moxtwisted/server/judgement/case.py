"""One message for one recipient on its way through the steps: what is asked, what was found out, and how it may end.

::

    case = Case(incoming=incoming, recipient=recipient, rules=rules, strictness=strictness, server=server, sources=sources)
    case.say("The client's address has no name.")
    return case.refuse(Reason.IPREV, Reply(451, "4.3.0", "…"))
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, evolve, field, frozen

from moxtwisted.errors import MailError
from moxtwisted.identifiers import is_inbox
from moxtwisted.mailauth.dnsbl import Listing
from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.server.judgement.author import Author
from moxtwisted.server.judgement.interfaces import Decision, Incoming, JunkScore, Recipient
from moxtwisted.server.judgement.reasons import SENTENCES, Reason
from moxtwisted.server.judgement.reputation import UNKNOWN, Standing
from moxtwisted.server.judgement.rules import (
    AccountRules,
    DestinationRules,
    Ruleset,
    ServerRules,
    Strictness,
)
from moxtwisted.server.judgement.rulesets import VerifiedDomains, find_ruleset, is_below
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.interfaces import IReputation, Sender

if TYPE_CHECKING:
    from moxtwisted.mailauth.reports.message import Report

__all__ = ["INBOX", "Case", "Content", "SourceError", "Sources"]

INBOX: Final = "INBOX"
_SEEN: Final = MessageFlags.of(SEEN)
#: Of an explanation: with the field's name and its folding it stays below a kilobyte.
_MOST_CHARACTERS: Final = 900
_ORDINARY: Final = DestinationRules()
#: RFC 3463 section 3.4: X.3.0, other or undefined mail system status: nothing that the sender could do anything about is said.
NOT_NOW: Final = Reply(451, "4.3.0", "error processing")


class SourceError(MailError):
    """Something that was to be asked cannot answer; ``detail`` says what and why."""


class Sources(Protocol):
    """What is asked when a step needs it, and not before. What cannot answer raises ``SourceError``."""

    def within_rates(self) -> bool:
        """Whether the client's networks may send this account one more message of this size."""

    def may_post(self, author: str) -> bool | None:
        """Whether that author, once proved, may write to the address; None: everybody may."""

    def reputation(self) -> IReputation | None:
        """The account's memory; None when it has none."""

    def subject_key(self) -> Awaitable[bytes]:
        """The account's secret for passes."""

    def score(self) -> Awaitable[JunkScore | None]:
        """The content filter's word; None without a filter."""

    def jitter(self) -> float:
        """From -0.05 to 0.05, another for each message, so that the filter's limit cannot be felt for."""

    def block_list(self) -> Awaitable[Listing | None] | None:
        """The first list of clients to block that has this one; None at once when there are no lists."""

    def allow_list(self) -> Awaitable[Listing | None] | None:
        """The first list of clients to let in that has this one; None at once when there are no lists."""

    def report(self, kinds: frozenset[str]) -> Awaitable[Report | str]:
        """The report in the message, of one of these kinds, or why there is none."""

    def is_ours(self, domain: str) -> bool:
        """Whether a domain, A-labels, is here."""


@frozen
class Content:
    """What was made of the content filter's word.

    :ivar good: whether the message may be taken.
    :ivar reason: for a refusal.
    :ivar nearly: whether it is so far below the limit that its sender may be told a pass.
    """

    good: bool
    reason: Reason = Reason.JUNK_CONTENT
    nearly: bool = False


@define(kw_only=True)
class Case:
    """See the module.

    :ivar mailbox: where the message is to go, as far as is known.
    :ivar origin: where it is destined for, which reputation goes by.
    :ivar forwarded: whether somebody forwarded it whom the recipient trusts.
    :ivar local_client: whether the client is on this machine.
    :ivar quarantined: taken only into the junk mailbox.
    :ivar overridden: see ``Decision.overridden``.
    :ivar report: what it reports, at an address for reports.
    """

    incoming: Incoming
    recipient: Recipient
    rules: AccountRules
    strictness: Strictness
    server: ServerRules
    sources: Sources
    author: Author = field(init=False)
    domains: VerifiedDomains = field(init=False)
    destination: DestinationRules = field(init=False)
    ruleset: Ruleset | None = field(init=False)
    sender: Sender = field(init=False)
    mailbox: str = field(init=False)
    origin: str = field(init=False)
    forwarded: bool = field(init=False)
    local_client: bool = field(init=False)
    standing: Standing = UNKNOWN
    content: Content = Content(good=True)
    blocked: Listing | None = None
    suspicious: bool = False
    quarantined: bool = False
    overridden: str = ""
    report: Report | None = None
    said: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        incoming, verified = self.incoming, self.incoming.verified
        self.author = incoming.author
        self.domains = VerifiedDomains.of(verified, incoming.reverse_path)
        self.destination = self.rules.destinations.get(self.recipient.destination, _ORDINARY)
        rulesets = self.destination.rulesets
        self.ruleset = find_ruleset(rulesets, incoming, self.author, self.domains) if rulesets else None
        self.forwarded = self.ruleset is not None and self.ruleset.forward
        self.local_client = verified.ip is None or verified.ip.is_loopback
        mailbox = (self.ruleset.mailbox if self.ruleset is not None else "") or self.recipient.mailbox
        self.mailbox = self.origin = INBOX if is_inbox(mailbox) else mailbox
        self.sender = self._sender()

    def _sender(self) -> Sender:
        verified, domains = self.incoming.verified, self.domains
        return Sender(
            localpart=self.author.localpart,
            domain=self.author.domain,
            organizational_domain=verified.organizational_domain,
            validated=verified.from_validated,
            dkim_domains=domains.dkim,
            spf_localpart=domains.sender_localpart,
            spf_domain=domains.sender,
            helo_domain=domains.helo,
            ip=self.incoming.ip,
            origin=self.origin,
        )

    def without_forwarder(self) -> Sender:
        """The sender without what is only the forwarder's: its address, names and signature."""
        forwarder = self.ruleset.verified_domain if self.ruleset is not None else ""
        return evolve(
            self.sender,
            ip="",
            helo_domain="",
            spf_localpart="",
            spf_domain="",
            dkim_domains=tuple(d for d in self.sender.dkim_domains if not is_below(d, forwarder)),
        )

    def say(self, sentence: str) -> None:
        """Something for the explanation."""
        self.said.append(sentence)

    def explanation(self, reason: Reason) -> str:
        """All that was said, the reason's own sentence first, cut where it is too long."""
        text = " ".join((SENTENCES[reason], *self.said))
        return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"

    # -- how it may end ------------------------------------------------------------------------------------------

    def accept(self, reason: Reason, delay_seconds: float = 0.0) -> Decision:
        """Take it; into the junk mailbox when it is to be set aside."""
        mailbox = self.mailbox
        if self.quarantined:
            self.say(f"Otherwise it would have been taken ({reason}).")
            reason, mailbox, delay_seconds = Reason.DMARC_QUARANTINE, self.rules.junk_mailbox, 0.0
        return Decision(
            accept=True,
            reason=reason,
            explanation=self.explanation(reason),
            mailbox=mailbox,
            delay_seconds=delay_seconds,
            sender=self.sender,
            overridden=self.overridden,
            report=self.report,
        )

    def refuse(self, reason: Reason, reply: Reply = NOT_NOW) -> Decision:
        """Refuse it, or take it into the mailbox that the recipient has for what would be refused."""
        into = self.ruleset.accept_rejects_to if self.ruleset is not None else ""
        if into:
            self.say("A rule of the recipient takes such mail nevertheless.")
            return Decision(
                accept=True,
                reason=reason,
                explanation=self.explanation(reason),
                mailbox=into,
                # It is to be found, not to be noticed.
                flags=_SEEN,
                sender=self.sender,
                overridden=self.overridden,
            )
        return self._refusal(reason, reply, keep=bool(self.rules.rejects_mailbox))

    def trouble(self, reason: Reason, error: MailError | None = None) -> Decision:
        """We cannot tell now: the sender is to come again, and nothing else happens."""
        if error is not None:
            self.say(error.explanation + ".")
        return self._refusal(reason, NOT_NOW, keep=False)

    def _refusal(self, reason: Reason, reply: Reply, *, keep: bool) -> Decision:
        if self.server.contact:
            reply = evolve(reply, lines=(*reply.lines, self.server.contact))
        return Decision(
            accept=False,
            reason=reason,
            explanation=self.explanation(reason),
            mailbox=self.mailbox,
            reply=reply,
            keep_in_rejects=keep,
            sender=self.sender,
            overridden=self.overridden,
        )

    def turn_away(self, reason: Reason, reply: Reply) -> Decision:
        """Refuse it without a trace in the account."""
        return self._refusal(reason, reply, keep=False)
