"""What lists of senders mean for a message: at the connection, at MAIL, at RCPT, and after it.

::

    policy = SenderPolicy(allow=Together((ListFile(...),)), block=Together(...), accounts=lambda name: AccountLists())
    policy.at_connect(ip), policy.at_mail(ip, reverse_path)          # a refusal, or None
    Bench(judge, adjustments=(policy.adjust, ...))

Who is in both is let in; what an account says goes before what the operator says, but for those that were refused before anybody knew for
whom they came. A listed client is let in as it is. A listed sender is let in when it is it: its envelope when SPF passes or, of a listed
domain, its organization signed, its From when that is proved; otherwise everybody could write a friend's name. With the word ``dmarc`` an
entry holds without that proof.

Being let in overrides what is known of the sender, its networks and names, lists in the DNS, the content and greylisting. Not: DMARC (but
with that word), rates, what an address asks for by its rules, our own trouble.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from moxtwisted.address import Path
from moxtwisted.identifiers import Domain
from moxtwisted.mailauth.publicsuffix import organizational_domain
from moxtwisted.mailauth.spf.evaluation import Verdict
from moxtwisted.server.inbound.decisions import refusal
from moxtwisted.server.inbound.senderlists import Entry, IPAddress, SenderList, Together
from moxtwisted.server.judgement.interfaces import Decision, Incoming, Recipient
from moxtwisted.server.judgement.reasons import Reason
from moxtwisted.smtp.replies import Reply

__all__ = ["ALLOW_LISTED", "BLOCK_LISTED", "AccountLists", "SenderPolicy"]

_log = Logger()

ALLOW_LISTED: Final = "allow-listed"
BLOCK_LISTED: Final = "block-listed"

# RFC 5321 section 3.1: 554 instead of the greeting. RFC 3463 section 3.8: X.7.1, not authorized.
_BLOCKED_CLIENT: Final = Reply(554, "5.7.1", "mail from your address is not taken here", close=True)
_BLOCKED_SENDER: Final = Reply(550, "5.7.1", "mail from this sender is not taken here")

_DMARC: Final = frozenset({Reason.DMARC_POLICY, Reason.DMARC_QUARANTINE, Reason.NO_AUTHOR})
#: Reasons to refuse that being listed does not override.
_FIRM: Final = frozenset(
    {
        Reason.HIGH_RATE,
        Reason.MSG_AUTH_REQUIRED,
        Reason.MEMBERS_ONLY,
        Reason.REPUTATION_ERROR,
        Reason.JUDGEMENT_ERROR,
        BLOCK_LISTED,
    }
)


class _Lookup(Protocol):
    def of_client(self, ip: IPAddress | None) -> Entry | None:
        """By the client."""

    def of_name(self, localpart: str, domain: str) -> Entry | None:
        """By address or domain."""


_NONE: Final = SenderList()


@frozen
class AccountLists:
    """Whom an account lets in and keeps out itself."""

    allow: SenderList = _NONE
    block: SenderList = _NONE


@define(eq=False)
class SenderPolicy:
    """The lists, applied.

    :ivar counts: by where and what: ``("connect", "blocked")``, ``("mail", "blocked")``, ``("message", "allowed")`` …
    """

    _allow: Together
    _block: Together
    _accounts: Callable[[str], AccountLists]
    counts: Counter[tuple[str, str]] = field(factory=Counter, init=False)

    def at_connect(self, ip: IPAddress | None) -> Reply | None:
        """What a client hears instead of the greeting."""
        if self._block.of_client(ip) is None or self._allow.of_client(ip) is not None:
            return None
        self._note("connect", ip, "")
        return _BLOCKED_CLIENT

    def at_mail(self, ip: IPAddress | None, reverse_path: Path) -> Reply | None:
        """What a sender hears at MAIL."""
        if not self._block.files or _by_path(self._block, reverse_path) is None:
            return None
        if self._allow.of_client(ip) is not None or _by_path(self._allow, reverse_path) is not None:
            return None
        self._note("mail", ip, str(reverse_path))
        return _BLOCKED_SENDER

    def at_rcpt(self, accounts: Iterable[str], ip: IPAddress | None, reverse_path: Path) -> Reply | None:
        """What a sender hears at RCPT, when all accounts that the recipient stands for keep it out."""
        for account in accounts:
            lists = self._accounts(account)
            if lists.block is _NONE:
                return None
            blocked = lists.block.of_client(ip) or _by_path(lists.block, reverse_path)
            allowed = lists.allow.of_client(ip) or _by_path(lists.allow, reverse_path)
            if blocked is None or allowed is not None:
                return None
        self._note("rcpt", ip, str(reverse_path))
        return _BLOCKED_SENDER

    def _note(self, where: str, ip: IPAddress | None, sender: str) -> None:
        self.counts[where, "blocked"] += 1
        _log.info(
            "{peer} {sender} is kept out by a list, at {what}",
            peer=str(ip),
            sender=sender,
            effect="block-list",
            what=where,
        )

    def allowed(self, incoming: Incoming) -> bool:
        """Whether the operator's lists let the client or sender of a message in."""
        return self._entry(self._allow, incoming, proof=True) is not None

    def adjust(self, incoming: Incoming, recipient: Recipient, decision: Decision) -> Decision:
        """The decision with the lists; see ``decisions.Adjustment``."""
        mine = self._accounts(recipient.account)
        if mine.allow is _NONE and mine.block is _NONE and not (self._allow.files or self._block.files):
            return decision
        for allow, block, whose in (
            (mine.allow, mine.block, f"a list of {recipient.account}"),
            (self._allow, self._block, "a list of the operator"),
        ):
            entry = self._entry(allow, incoming, proof=True)
            if entry is not None:
                return self._let_in(entry, whose, recipient, decision)
            entry = self._entry(block, incoming, proof=False)
            if entry is not None and decision.accept:
                self.counts["message", "blocked"] += 1
                return refusal(
                    _BLOCKED_SENDER, BLOCK_LISTED, f"{whose} keeps out {entry.text} ({entry.where})"
                )
        return decision

    def _let_in(self, entry: Entry, whose: str, recipient: Recipient, decision: Decision) -> Decision:
        reason = decision.reason
        if decision.accept and reason not in {Reason.NO_BAD_SIGNALS, Reason.DMARC_QUARANTINE}:
            return decision
        if reason in _FIRM or (reason in _DMARC and not entry.dmarc):
            return decision
        self.counts["message", "allowed"] += 1
        said = f"{whose} lets in {entry.text} ({entry.where})"
        return evolve(
            decision,
            accept=True,
            reason=ALLOW_LISTED,
            explanation=f"{said}; otherwise {reason}: {decision.explanation}",
            mailbox=recipient.mailbox if reason in _DMARC else decision.mailbox or recipient.mailbox,
            reply=None,
            keep_in_rejects=False,
            delay_seconds=0.0,
            overridden="local_policy" if reason in _DMARC else decision.overridden,
        )

    @staticmethod
    def _entry(lists: _Lookup, incoming: Incoming, *, proof: bool) -> Entry | None:
        """The entry that a message is meant by.

        :param proof: whether names have to be the sender's own.
        """
        verified = incoming.verified
        entry = lists.of_client(verified.ip)
        if entry is not None:
            return entry
        entry = _by_path(lists, incoming.reverse_path)
        if entry is not None and (entry.dmarc or not proof or _envelope_proved(incoming, entry)):
            return entry
        author = incoming.author
        entry = lists.of_name(author.localpart, author.domain) if author.domain else None
        if entry is not None and (entry.dmarc or verified.from_validated or not proof):
            return entry
        return None


def _envelope_proved(incoming: Incoming, entry: Entry) -> bool:
    """Whether the domain of the envelope's sender answers for what an entry says of it, by SPF or by a signature aligned with it."""
    address = incoming.reverse_path.address
    if address is None or not isinstance(address.domain, Domain):
        return False
    spf, name = incoming.verified.spf, address.domain.ascii
    # With RFC 7208 section 2.4 the domain that was checked is that of MAIL FROM, as there is one.
    if spf is not None and spf.verdict is Verdict.PASS and spf.domain.lower() == name:
        return True
    if entry.address:
        # RFC 6376 section 5.4: a signature covers fields, and never MAIL FROM. Who has any other mailbox there can send on what the
        # provider signed for him in the name of his neighbour.
        return False
    signers = {v.signature.domain for v in incoming.verified.dkim if v.authenticates and v.signature}
    if not signers:
        return False
    return organizational_domain(name) in map(organizational_domain, signers)


def _by_path(lists: _Lookup, path: Path) -> Entry | None:
    address = path.address
    if address is None or not isinstance(address.domain, Domain):
        return None
    return lists.of_name(address.localpart, address.domain.ascii)
