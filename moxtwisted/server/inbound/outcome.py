"""What becomes of a message after it is complete: decisions, copies, and an answer that is true for everybody.

::

    answer = await outcome.take_in(Complete(transaction=..., found=..., incoming=..., lease=..., received=..., presence=...))

Each account decides by itself (``moxtwisted.server.inbound.decisions``). Then

* all take it: a copy for each mailbox, and the positive answer after the commit;
* all refuse it: their answer. It is temporary when one of them is, since a later attempt may then reach that one;
* they differ, and each recipient has an answer of its own (LMTP; SMTP with PRDR): each gets it;
* they differ, and there is one answer for all: those that take it get it, and the client comes again, in parts that agree
  (``moxtwisted.server.inbound.splitting``).

No report is ever sent for what could have been refused, and nothing that was refused disappears: the client knows. Refused messages can
be looked at (``moxtwisted.server.inbound.rejects``).

An alias has one answer: it is taken when one member takes it; to the others it is as if they had refused it, and their copies are
among their rejects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen
from twisted.logger import Logger
from zope.interface import Attribute, Interface, implementer

from moxtwisted.address import Path
from moxtwisted.errors import MailError
from moxtwisted.message.compose import encode_words
from moxtwisted.message.compose import field as header_field
from moxtwisted.server.delivery import Attempt, Copy, LocalDelivery
from moxtwisted.server.directory import Delivery, Recipients
from moxtwisted.server.inbound.alterations import Alterations
from moxtwisted.server.inbound.decisions import Bench, remarks
from moxtwisted.server.inbound.lease import Lease
from moxtwisted.server.inbound.presence import Presence, WaitingRoom
from moxtwisted.server.inbound.rejects import IRejects, Refusal
from moxtwisted.server.inbound.senderpolicy import SenderPolicy
from moxtwisted.server.inbound.splitting import Label, Splitting
from moxtwisted.server.inbound.traps import Traps
from moxtwisted.server.judgement.interfaces import Decision, Incoming, Recipient
from moxtwisted.smtp.envelope import Transaction
from moxtwisted.smtp.replies import Reply, reply_for_error
from moxtwisted.store.interfaces import IStagedMessage

if TYPE_CHECKING:
    from moxtwisted.mailauth.reports.message import Report

__all__ = ["Complete", "IOutcome", "Outcome", "reason_field"]

_log = Logger()

#: The answer to a message: one for all, None for the standard positive one; or one for each recipient.
Answer = Reply | Sequence[Reply | None] | None

#: What is said in a header field; with its name and folding it is less than a kilobyte.
_REASON_OCTETS: Final = 940
#: Why an account that has the message from an earlier attempt takes it.
_KNOWN: Final = "already-delivered"

# RFC 3463 section 3.6: X.5.3, more recipients than could be delivered to at once, which "may be resolved by segmenting the message".
_DECIDED_APART: Final = Reply(
    451,
    "4.5.3",
    "not all recipients take this message: try again, some will be asked for in another transaction",
)
# RFC 5321 section 4.5.3.1.10: 452, and the client sends to the others in another transaction.
_ANOTHER_TRANSACTION: Final = Reply(452, "4.5.3", "this recipient in another transaction, please")
# RFC 3463 section 3.5: X.4.2, bad connection. Nobody reads it.
_GONE: Final = Reply(451, "4.4.2", "you were not there any more")
# RFC 3463 section 3.8: X.7.1, not authorized.
_REFUSED_REPLY: Final = Reply(451, "4.7.1", "not taken")

_Place = tuple[str, str, str]  # account, mailbox, destination


@frozen(kw_only=True)
class Complete:
    """A message that is complete.

    :ivar found: where each accepted recipient leads.
    :ivar lease: its octets, as they are delivered.
    :ivar received: our trace field.
    :ivar presence: of the client.
    :ivar lmtp: whether each recipient has an answer of its own.
    :ivar trapped: recipients that are traps; they lead nowhere.
    :ivar remarks: what else the log is to say of it; filled in while it is taken in.
    """

    transaction: Transaction
    found: Mapping[Path, Recipients]
    incoming: Incoming
    lease: Lease
    received: bytes
    presence: Presence = field(factory=Presence)
    lmtp: bool = False
    trapped: tuple[Path, ...] = ()
    remarks: dict[str, str] = field(factory=dict)

    @property
    def sender(self) -> bytes:
        """The reverse-path as on the wire."""
        return _wire(self.transaction.reverse_path)

    @property
    def separate(self) -> bool:
        """Whether recipients have answers of their own."""
        return self.lmtp or (self.transaction.parameters.prdr and len(self.transaction.recipients) > 1)


@frozen
class Said:
    """What scanners make of a copy.

    :ivar fields: that they add.
    :ivar altered: the octets; None: as they came.
    """

    fields: bytes = b""
    altered: IStagedMessage | None = None


_NOTHING_SAID: Final = Said()


def reason_field(decision: Decision) -> bytes:
    """``X-Moxtwisted-Reason``: why a message was taken or refused, in a word and in sentences; nothing when there is no word."""
    if not decision.reason:
        return b""
    text = f"{decision.reason}; {decision.explanation}" if decision.explanation else decision.reason
    if text.isascii() and text.isprintable() and "  " not in text and "=?" not in text:
        # Nearly all of them: nothing is to be encoded.
        text = text.strip()
        if len(text) >= _REASON_OCTETS:
            text = f"{text[: max(text.rfind(' ', 0, _REASON_OCTETS), 0)]} ..."
        return header_field("X-Moxtwisted-Reason", text)
    printable = "".join([c if c.isprintable() else " " for c in text])
    words: list[str] = []
    left = _REASON_OCTETS
    # Words beyond ASCII are encoded one by one, so that the rest can be read as it is.
    for word in map(encode_words, printable.split()):
        left -= len(word) + 1
        if left < 0:
            words.append("...")
            break
        words.append(word)
    return header_field("X-Moxtwisted-Reason", " ".join(words))


class IOutcome(Interface):
    """What decides what becomes of messages."""

    policy = Attribute("SenderPolicy | None: the lists of senders to let in and keep out")
    has_traps = Attribute("bool: whether mail for traps may come")

    def take_in(message: Complete) -> Awaitable[Answer]:
        """Decide, deliver, and say what the answer is."""


@implementer(IOutcome)
@define(eq=False)
class Outcome:
    """Shared by all connections of a service."""

    _delivery: LocalDelivery
    _bench: Bench
    _rejects: IRejects
    _splitting: Splitting
    _room: WaitingRoom
    _traps: Traps | None = None
    _policy: SenderPolicy | None = None
    #: Keeps what reports say, once they are taken.
    _note_report: Callable[[Report, Incoming], None] | None = None

    @property
    def policy(self) -> SenderPolicy | None:
        """The lists of senders to let in and keep out."""
        return self._policy

    @property
    def rejects(self) -> IRejects:
        """Where refused mail can be looked at."""
        return self._rejects

    @property
    def splits(self) -> bool:
        """Whether recipients are remembered that have to come apart."""
        return len(self._splitting) > 0

    @property
    def has_traps(self) -> bool:
        """Whether mail for traps may come."""
        return self._traps is not None

    def apart(self, reverse_path: Path, others: Iterable[Path], path: Path, now: float) -> Reply | None:
        """The refusal, at RCPT, of a recipient who is to come in another transaction than those before, or than others
        who are to come first."""
        if not len(self._splitting):
            return None
        sender, recipient = _wire(reverse_path), _wire(path)
        apart = self._splitting.apart(sender, recipient, [_wire(other) for other in others], now)
        return _ANOTHER_TRANSACTION if apart else None

    async def take_in(self, message: Complete) -> Answer:
        """Decide, deliver, and say what the answer is."""
        if message.trapped and self._traps is not None:
            return await self._trapped(message, self._traps)
        recipients = _recipients(message)
        attempt = self._attempt(message, recipients)
        known = (
            await self._delivery.noted(
                {account for account, _, _ in recipients}, attempt, message.lease.staged
            )
            if attempt is not None
            else frozenset()
        )
        decisions: dict[_Place, Decision] = {}
        asked = recipients
        if known:
            decisions = self._taken_before(message, recipients, known)
            asked = {place: r for place, r in recipients.items() if place not in decisions}
        made, opinions = await self._bench.decide(message.incoming, list(asked.values()))
        decisions.update(zip(asked, made, strict=True))
        if len(made) == 1 and made[0].accept and made[0].reason:
            message.remarks.update(remarks(next(iter(asked.values())), made[0]))
        delay = 0.0
        for decision in made:
            if decision.accept and decision.delay_seconds > delay:
                delay = decision.delay_seconds
        # Nothing was promised to who is gone; it comes again. LMTP clients are programs of ours.
        waits = delay > 0 and not message.lmtp
        if not (await self._room.wait(delay, message.presence) if waits else message.presence.here):
            return _GONE
        if not any(opinions):
            alone = len(made) == len(message.found) == len(message.transaction.recipients) == 1
            if alone and attempt is None:
                return await self._settle_alone(message, next(iter(asked.values())), made[0])
            return await self._settle(message, decisions, {}, attempt, known)
        versions = Alterations(
            message.lease.staged, message.incoming.header, self._delivery.stage, self._room.turn
        )
        try:
            said = {
                place: Said(b"".join([o.fields for o in found]), await versions.of(found))
                for place, found in zip(asked, opinions, strict=True)
                if found and decisions[place].accept
            }
            return await self._settle(message, decisions, said, attempt, known)
        finally:
            versions.close()

    def _taken_before(
        self, message: Complete, recipients: Mapping[_Place, Recipient], known: frozenset[str]
    ) -> dict[_Place, Decision]:
        """For those who have it. An account may have it for one of its addresses, and have refused it for another."""
        now = message.incoming.seconds
        return {
            place: Decision(accept=True, reason=_KNOWN, explanation="", mailbox=place[1])
            for place, r in recipients.items()
            if place[0] in known
            and self._splitting.label(message.sender, _wire(r.path), now) in (None, Label.TAKEN)
        }

    async def _trapped(self, message: Complete, traps: Traps) -> Reply:
        """One answer for all, who can see it among their rejects."""
        decision = traps.decision(message)
        recipients = list(_recipients(message).values())
        self._bench.note(message.incoming, recipients, decision)
        await traps.caught(message, _prefix(message, decision, message.trapped, b""))
        for account in sorted({r.account for r in recipients}):
            paths = [r.path for r in recipients if r.account == account]
            self._rejects.keep(Refusal(account, message.lease, _prefix(message, decision, paths, b"")))
        return evolve(decision.reply or _REFUSED_REPLY, slow=True)

    def _attempt(self, message: Complete, recipients: Mapping[_Place, Recipient]) -> Attempt | None:
        """What tells the client's attempts apart, when it may have to try again for recipients that have the message."""
        alone = len(recipients) < 2
        if (alone and not len(self._splitting)) or message.separate:
            return None  # one commit: all or nothing
        these = frozenset(_wire(r.path) for r in message.transaction.recipients)
        everybody = self._splitting.all_of(message.sender, these, message.incoming.seconds)
        if alone and not everybody:
            return None
        return Attempt(message.sender, everybody | these, split=bool(everybody))

    async def _settle_alone(self, message: Complete, recipient: Recipient, decision: Decision) -> Answer:
        """As ``_settle``, for the only copy of the only recipient, as most mail has: there is nothing to compare."""
        path, account, lease = recipient.path, recipient.account, message.lease
        stored: Mapping[str, MailError | None] = {}
        if decision.accept:
            prefix = _prefix(message, decision, (path,), b"")
            copy = Copy(
                account, decision.mailbox or recipient.mailbox, prefix, decision.flags, decision.sender
            )
            stored = await self._delivery.deliver(lease.staged, (copy,), int(message.incoming.seconds))
            if stored[account] is None:
                self._rejects.accepted(account, lease)
                if decision.report is not None and self._note_report is not None:
                    self._note_report(decision.report, message.incoming)
        elif decision.keep_in_rejects:
            prefix = _prefix(message, decision, (path,), b"")
            self._rejects.keep(Refusal(account, lease, prefix, decision.sender))
        answer = _answer((decision,), message.found[path].deliveries, stored)
        if message.separate:
            return [answer]
        return self._one_answer(message, (answer,), {path: _label((decision,))}, differ=False)

    async def _settle(
        self,
        message: Complete,
        decisions: Mapping[_Place, Decision],
        said: Mapping[_Place, Said],
        attempt: Attempt | None,
        known: frozenset[str],
    ) -> Answer:
        by_path: dict[Path, list[Decision]] = {}
        labels: dict[Path, Label] = {}
        for recipient in message.transaction.recipients:
            path = recipient.path
            mine = [decisions[d.place] for d in message.found[path].deliveries]
            by_path[path], labels[path] = mine, _label(mine)
        differ = len(labels) > 1 and not message.separate and len(set(labels.values())) > 1
        # What an account that has it takes for another address now is a copy of its own; its note is about the first.
        more: dict[_Place, Decision] = {}
        if known:
            more = {p: d for p, d in decisions.items() if p[0] in known and d.reason != _KNOWN}
        others = {p: d for p, d in decisions.items() if p not in more} if more else decisions
        stored: dict[str, MailError | None] = {}
        for some, tried in ((more, None), (others, attempt)):
            copies = _copies(message, some, said) if some else ()
            if copies:
                found = await self._delivery.deliver(
                    message.lease.staged,
                    copies,
                    int(message.incoming.seconds),
                    attempt=tried,
                    incomplete=differ and tried is not None,
                )
                for account, error in found.items():
                    stored[account] = error or stored.get(account)
        self._look_after_rejects(message, decisions, stored)
        self._look_after_reports(message, decisions, stored)
        # A recipient may be named twice, and is answered as often.
        paths = [r.path for r in message.transaction.recipients]
        answers = [_answer(by_path[path], message.found[path].deliveries, stored) for path in paths]
        if message.separate:
            return answers
        return self._one_answer(message, answers, labels, differ=differ)

    def _one_answer(
        self,
        message: Complete,
        answers: Sequence[Reply | None],
        labels: Mapping[Path, Label],
        *,
        differ: bool,
    ) -> Reply | None:
        negative = [a for a in answers if a is not None]
        if not (negative or differ or len(self._splitting)):
            return None
        sender = message.sender
        temporary = next((a for a in negative if a.temporary), None)
        if differ:
            _log.info(
                "recipients of a message from {sender} do not agree: it is to come again in parts",
                session=message.incoming.session,
                sender=str(message.transaction.reverse_path),
                effect="split",
                what="asked",
            )
            self._splitting.remember(
                sender, {_wire(path): label for path, label in labels.items()}, message.incoming.seconds
            )
            return evolve(temporary, slow=False) if temporary is not None else _DECIDED_APART
        if temporary is None and len(self._splitting):
            self._splitting.forget(sender, [_wire(path) for path in labels])
        # One answer for all: when one account failed, the sender tries again, and those that have it get no second.
        return temporary or (negative[0] if negative else None)

    def _look_after_rejects(
        self,
        message: Complete,
        decisions: Mapping[_Place, Decision],
        stored: Mapping[str, MailError | None],
    ) -> None:
        """Keep what was refused for its recipients to see; take away what was taken after all."""
        taken: set[str] = set()
        not_taken: set[str] = set()
        for (account, _, _), d in decisions.items():
            if not d.accept:
                not_taken.add(account)
            elif stored.get(account) is None:
                taken.add(account)
        for account in sorted(taken):
            self._rejects.accepted(account, message.lease)
        for account in sorted(not_taken - taken):
            refused = [(p, d) for p, d in decisions.items() if p[0] == account and d.keep_in_rejects]
            if refused:
                place, decision = refused[0]
                prefix = _prefix(message, decision, _addresses(message, place), b"")
                self._rejects.keep(Refusal(account, message.lease, prefix, decision.sender))

    def _look_after_reports(
        self,
        message: Complete,
        decisions: Mapping[_Place, Decision],
        stored: Mapping[str, MailError | None],
    ) -> None:
        """Note what was reported: once, also when several addresses took it."""
        if self._note_report is None:
            return
        for place, decision in decisions.items():
            if decision.accept and decision.report is not None and stored.get(place[0]) is None:
                self._note_report(decision.report, message.incoming)
                return


# -- parts -------------------------------------------------------------------------------------------------------------


def _wire(path: Path) -> bytes:
    return path.wire(smtputf8=True)


def _recipients(message: Complete) -> dict[_Place, Recipient]:
    """Whom to ask for: each account once for each mailbox and address of it. An address stands for itself before it is a member."""
    found: dict[_Place, Recipient] = {}
    items = message.found.items()
    for path, recipients in items if len(items) < 2 else sorted(items, key=lambda item: item[1].alias):
        for d in recipients.deliveries:
            if d.place not in found:
                found[d.place] = Recipient(
                    path=path,
                    account=d.account,
                    mailbox=d.mailbox,
                    destination=d.destination,
                    alias=recipients.alias,
                )
    return found


def _label(decisions: Sequence[Decision]) -> Label:
    later = False
    for d in decisions:
        if d.accept:
            return Label.TAKEN
        later = later or d.reply is None or d.reply.temporary
    return Label.LATER if later else Label.REFUSED


def _answer(
    decided: Sequence[Decision],
    deliveries: Sequence[Delivery],
    stored: Mapping[str, MailError | None],
) -> Reply | None:
    """The answer to one recipient; None is the positive one.

    :param decided: about each delivery.
    """
    accepted = False
    for delivery, decision in zip(deliveries, decided, strict=True):
        if decision.accept:
            # Members of an alias that refused it do not count; one that could not take it does: it gets it next time.
            accepted = True
            error = stored[delivery.account]
            if error is not None:
                return reply_for_error(error)
    if accepted:
        return None
    replies = [d.reply or _REFUSED_REPLY for d in decided]
    reply = next((r for r in replies if r.temporary), replies[0])
    return evolve(reply, slow=True) if any(d.keep_in_rejects for d in decided) else reply


def _addresses(message: Complete, place: _Place) -> list[Path]:
    """The recipients that lead to a mailbox of an account."""
    return [
        path
        for path, recipients in message.found.items()
        if any((d.account, d.mailbox) == place[:2] for d in recipients.deliveries)
    ]


def _copies(
    message: Complete, decisions: Mapping[_Place, Decision], said: Mapping[_Place, Said]
) -> list[Copy]:
    """One for each mailbox that a decision names, saying for which addresses."""
    targets: dict[tuple[str, str], tuple[_Place, dict[Path, None]]] = {}
    for place, decision in decisions.items():
        if not decision.accept:
            continue
        _, paths = targets.setdefault((place[0], decision.mailbox or place[1]), (place, {}))
        for path, recipients in message.found.items():
            for d in recipients.deliveries:
                if d.place == place:
                    paths[path] = None
                    break
    copies = []
    for (account, mailbox), (place, paths) in targets.items():
        decision = decisions[place]
        scanners = said.get(place, _NOTHING_SAID)
        prefix = _prefix(message, decision, list(paths), scanners.fields)
        copies.append(Copy(account, mailbox, prefix, decision.flags, decision.sender, scanners.altered))
    return copies


def _prefix(message: Complete, decision: Decision, paths: Sequence[Path], fields: bytes) -> bytes:
    """The fields above the message: Return-Path stands first (RFC 5321 section 4.4), Delivered-To (RFC 9228) names the
    recipients; Authentication-Results stands above our Received (RFC 8601 section 4.1)."""
    return b"".join(
        (
            b"Return-Path: " + message.sender + b"\r\n",
            *[b"Delivered-To: " + _bare(p) + b"\r\n" for p in paths],
            reason_field(decision),
            fields,
            message.incoming.verified.trace,
            message.received,
        )
    )


def _bare(path: Path) -> bytes:
    return path.address.wire(smtputf8=True) if path.address else b"postmaster"
