"""One SMTP or LMTP client that brings mail for accounts here.

The dialogue is the machine's (``moxtwisted.smtp``); decided here: who may connect (rates), which recipients exist and
have room, whether the message goes round in circles, and that the positive answer comes after the commit.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from functools import cache, partial
from ipaddress import IPv4Address, IPv6Address
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import Factory, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.address import Path
from moxtwisted.errors import StoreUnavailableError
from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.directory import Delivery, DirectoryHolder, Recipients, Refused
from moxtwisted.server.inbound.arrival import Arrival
from moxtwisted.server.inbound.lease import Lease
from moxtwisted.server.inbound.presence import Presence
from moxtwisted.server.inbound.provocation import Provocation
from moxtwisted.server.inbound.refusals import Refusals
from moxtwisted.server.inbound.room import Asked, IRoom
from moxtwisted.server.intake import Intake, Trouble, admission
from moxtwisted.server.ratelimit import Connections
from moxtwisted.server.trace import TracedSession, attempt, copies, first_recipients
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Transaction
from moxtwisted.smtp.interfaces import Answer, ISMTPHandler, ISMTPHandlerFactory
from moxtwisted.smtp.peer import Peer, TLSInfo
from moxtwisted.smtp.replies import Reply, reply_for_error
from moxtwisted.store.interfaces import IStagedMessage, IStaging

if TYPE_CHECKING:
    from moxtwisted.server.inbound.outcome import Complete, IOutcome
    from moxtwisted.server.inbound.senderpolicy import SenderPolicy
    from moxtwisted.server.judgement.interfaces import Incoming
    from moxtwisted.server.verification.checks import Checks
    from moxtwisted.server.verification.interfaces import ISenderRules, Unverified, Verified

__all__ = ["Inbound", "InboundFactory", "InboundHandler", "InboundSettings"]

_log = Logger()

_RELAYED_IN_CIRCLES: Final = Reply(550, "5.4.6", "loop detected, too many Received fields")
# RFC 5321 section 4.5.5: a null reverse-path marks a report, which has one recipient.
_NULL_SENDER_RECIPIENTS: Final = Reply(452, "4.5.3", "too many recipients for a message from <>")
# RFC 3463 section 3.7: X.6.0, an error in the message itself.
_BEGINS_FOLDED: Final = Reply(554, "5.6.0", "the message must not begin with white space")
_ODD_HEADER: Final = Reply(554, "5.6.0", "a lone carriage return or NUL in the header")
_ODD: Final = re.compile(rb"\0|\r(?![\r\n])")
# We say 4.5.3 where the reference says 5.5.3: the classes of both codes are the same (RFC 3463 section 2).
_ONE_RECIPIENT: Final = Reply(452, "4.5.3", "one recipient at a time unless SPF passes for the sender")
# RFC 3207 section 4: 530 to every command that is not for clients without TLS.
_STARTTLS_FIRST: Final = Reply(530, "5.7.0", "must issue a STARTTLS command first")
_NULL_PATH: Final = Path(None)
_MEMBERS_ONLY: Final = Reply(550, "5.7.2", "only members may write to this address")


@frozen(kw_only=True)
class InboundSettings:
    """What the services that take mail need to know.

    :ivar hostname: ours, for Received.
    :ivar lmtp: LMTP: an answer per recipient, no delays.
    :ivar null_sender_recipients: recipients of a message from ``<>``.
    :ivar received_fields: more Received fields than this are a loop.
    :ivar unknown_recipients_delay_seconds: before the refusal to a client that found no recipient yet.
    :ivar starttls_first: mail without TLS is refused, but for reports about TLS.
    """

    hostname: str
    lmtp: bool = False
    null_sender_recipients: int = 1
    received_fields: int = 100
    unknown_recipients_delay_seconds: float = 5.0
    starttls_first: bool = False


@frozen(kw_only=True)
class Inbound:
    """What all connections of a service share.

    :ivar stage: gives a place for a message; the parameter is how many octets it may have, or 0.
    :ivar room: who knows how full accounts are.
    :ivar delivery: puts what nobody judges into accounts; None: all mail is judged here.
    :ivar checks: gives what finds out where messages come from; None: nothing does, as for mail that another server hands over.
    :ivar turn_away: gives the refusal of a client by its address; None: it may come.
    :ivar outcome: gives what decides what becomes of those messages; None: all are taken.
    """

    settings: InboundSettings
    stage: Callable[[int], IStaging]
    room: IRoom
    directory: DirectoryHolder
    delivery: LocalDelivery | None
    clock: IReactorTime
    connections: Connections
    provocation: Provocation = field(factory=Provocation)
    checks: Callable[[], Checks] | None = None
    outcome: Callable[[], IOutcome] | None = None
    turn_away: Callable[[IPv4Address | IPv6Address | None], Reply | None] | None = None
    seconds: Callable[[], float] = time.time
    trouble: Trouble = Factory(lambda self: Trouble(self.clock.seconds), takes_self=True)


@implementer(ISMTPHandlerFactory)
@frozen
class InboundFactory:
    """Makes the handlers of a listener."""

    _inbound: Inbound

    def connected(self, peer: Peer) -> ISMTPHandler | Reply:
        """See ``ISMTPHandlerFactory``: refuse who connects too often."""
        inbound = self._inbound
        turned_away = inbound.turn_away(peer.ip) if inbound.turn_away is not None else None
        turned_away = turned_away or admission(inbound.connections, peer.ip)
        if turned_away is not None:
            return turned_away
        handler: ISMTPHandler = InboundHandler(self._inbound, peer)
        return handler


@implementer(ISMTPHandler)
class InboundHandler:
    """One connection."""

    def __init__(self, inbound: Inbound, peer: Peer) -> None:
        settings = inbound.settings
        self._inbound = inbound
        self._session = TracedSession(settings.hostname, peer, settings.lmtp)
        self._refusals = Refusals(self._session)
        self._reverse_path = _NULL_PATH
        self._transaction: Transaction | None = None
        self._deliveries: dict[Path, Recipients] = {}
        self._trapped: list[Path] = []
        self._presence = Presence()
        self._prdr = False
        self._declared_octets = 0
        self._checks: Checks | None = None
        self._outcome: IOutcome | None = None  # of this transaction; None: nobody judges it
        self._begun: Any = None

    # -- ISMTPHandler --------------------------------------------------------------------------------------------

    def hello(self, name: str, esmtp: bool) -> Answer:
        """Take note."""
        self._session.name, self._session.esmtp = name, esmtp
        return None

    def tls_started(self, tls: TLSInfo) -> None:
        """Take note."""
        self._session.tls = tls

    def sasl_start(self, mechanism: str, tls: TLSInfo | None) -> Any:
        """Nobody logs in here: the listener announces no AUTH."""
        return Reply(503, "5.5.1", "AUTH is not available here")

    def authenticated(self, identity: object) -> Answer:
        """Nobody logs in here."""
        return Reply(503, "5.5.1", "AUTH is not available here")

    def mail(self, reverse_path: Path, parameters: MailParameters) -> Answer:
        """Begin a transaction."""
        self.reset()
        if self._wants_tls() and not self._inbound.directory.current.takes_tls_reports():
            return _STARTTLS_FIRST
        self._reverse_path = reverse_path
        self._declared_octets = parameters.size or 0
        self._prdr = parameters.prdr
        inbound, ip = self._inbound, self._session.peer.ip
        provoked = inbound.provocation.at_mail(reverse_path)
        if provoked is not None or inbound.checks is None or ip is None:
            # Who comes by a unix socket is on this machine, and no sender.
            return provoked
        outcome = inbound.outcome() if inbound.outcome is not None else None
        if outcome is not None and outcome.policy is not None:
            blocked: Reply | None = outcome.policy.at_mail(ip, reverse_path)
            if blocked is not None:
                return blocked
        self._checks, self._outcome = inbound.checks(), outcome
        self._begun = self._checks.verifier.begin(ip, self._session.name, reverse_path)
        rules = self._sender_rules()
        if rules is None or reverse_path.address is None:
            return None
        return _at_once(_sender_refusal(rules, reverse_path))

    def rcpt(self, forward_path: Path, parameters: RcptParameters) -> Answer:
        """Take a recipient that exists and has room."""
        inbound = self._inbound
        if self._reverse_path.is_null and len(self._deliveries) >= inbound.settings.null_sender_recipients:
            return self._refused(forward_path, _NULL_SENDER_RECIPIENTS)
        # RFC 8460 section 3: reports about TLS are delivered "despite any TLS-related failures".
        if self._wants_tls() and not inbound.directory.current.takes_tls_reports(forward_path):
            return self._refused(forward_path, _STARTTLS_FIRST)
        provoked = inbound.provocation.at_rcpt(forward_path)
        if provoked is not None:
            return provoked
        outcome, directory = self._outcome, inbound.directory.current
        if outcome is not None and outcome.has_traps and directory.is_trap(forward_path):
            self._trapped.append(forward_path)
            return None
        found = directory.resolve(forward_path)
        if isinstance(found, Refused):
            return self._refuse(forward_path, found)
        if not found.public and outcome is None:
            # Nobody will look whether From is a member's.
            return self._refused(forward_path, _MEMBERS_ONLY)
        kept_out = self._kept_out(outcome, found) if outcome is not None else None
        if kept_out is not None:
            # Their policy has logged it.
            return kept_out
        refusal = inbound.room.refusal(self._asked(found, forward_path))
        if refusal is None:
            return self._take(forward_path, found)
        if isinstance(refusal, Reply):
            return self._refused(forward_path, refusal)
        return _at_once(self._later(refusal, forward_path, found))

    def data_started(self, transaction: Transaction) -> Arrival:
        """A place for the message."""
        self._transaction = transaction
        intake = Intake(self._inbound.stage(self._declared_octets), self._inbound.trouble)
        return Arrival(intake, self._checks, self._begun)

    def data_done(self, sink: Arrival) -> Awaitable[Reply | Sequence[Reply | None] | None]:
        """Deliver; the answer comes after the commit."""
        transaction, self._transaction = self._transaction, None
        trapped, self._trapped = tuple(self._trapped), []
        deliveries, self._deliveries = self._deliveries, {}
        self._begun = None
        if transaction is None:
            raise StoreUnavailableError("a message ended that never began")
        return self._deliver(transaction, deliveries, trapped, sink)

    def reset(self) -> None:
        """The transaction is void."""
        self._reverse_path = _NULL_PATH
        self._transaction = None
        self._deliveries = {}
        self._trapped = []
        self._checks = self._outcome = None
        self._ask_no_more()

    def disconnected(self, reason: str) -> None:
        """The client is gone."""
        self._presence.leave()
        self._ask_no_more()
        if self._session.peer.ip is not None:
            self._inbound.connections.release(str(self._session.peer.ip), errors=reason == "errors")

    # -- decisions -----------------------------------------------------------------------------------------------

    def _ask_no_more(self) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.cancel()

    def _wants_tls(self) -> bool:
        return self._inbound.settings.starttls_first and self._session.tls is None

    def _sender_rules(self) -> ISenderRules | None:
        if self._checks is None or self._session.peer.local:
            # A program on this machine may write from a name that nobody else knows.
            return None
        return self._checks.sender_rules

    def _refused(self, forward_path: Path, reply: Reply) -> Reply:
        return self._refusals.note(self._reverse_path, forward_path, reply)

    def _refuse(self, forward_path: Path, refused: Refused) -> Answer:
        reply = self._refused(forward_path, Reply(refused.reply_code, refused.enhanced_code, refused.text))
        delay = self._inbound.settings.unknown_recipients_delay_seconds
        if self._deliveries or self._inbound.settings.lmtp or delay <= 0 or reply.temporary:
            return reply
        # Whoever guesses addresses learns little an hour; a list with one stale address among good ones does not wait.
        waiting: Deferred[Reply] = deferLater(self._inbound.clock, delay, lambda: reply)
        return waiting

    def _kept_out(self, outcome: IOutcome, found: Recipients) -> Reply | None:
        """The refusal of a sender by the accounts themselves."""
        policy: SenderPolicy | None = outcome.policy
        if policy is None:
            return None
        accounts = [d.account for d in found.deliveries]
        return policy.at_rcpt(accounts, self._session.peer.ip, self._reverse_path)

    def _asked(self, found: Recipients, forward_path: Path) -> Asked:
        deliveries = found.deliveries
        return Asked(
            accounts=(deliveries[0].account,)
            if len(deliveries) == 1
            else tuple(dict.fromkeys([d.account for d in deliveries])),
            octets=self._declared_octets,
            reverse_path=self._reverse_path,
            forward_path=forward_path,
            others=tuple(self._deliveries),
            judged=self._outcome is not None,
            together=not (self._prdr or self._inbound.settings.lmtp),
            seconds=self._inbound.seconds(),
        )

    async def _later(
        self, refusal: Awaitable[Reply | None], forward_path: Path, found: Recipients
    ) -> Reply | None:
        """Take a recipient if there is room, which somebody else knows."""
        reply = await refusal
        if reply is not None:
            return self._refused(forward_path, reply)
        answer = self._take(forward_path, found)
        return await answer if isinstance(answer, Awaitable) else answer

    def _take(self, forward_path: Path, found: Recipients) -> Answer:
        """Take a recipient, unless this sender may have one only."""
        if self._deliveries and forward_path not in self._deliveries:
            rules = self._sender_rules()
            if rules is not None:
                return _at_once(self._another(rules, forward_path, found))
        self._deliveries[forward_path] = found
        return None

    async def _another(self, rules: ISenderRules, forward_path: Path, found: Recipients) -> Reply | None:
        if not await rules.may_have_recipients(self._begun):
            return self._refused(forward_path, _ONE_RECIPIENT)
        self._deliveries[forward_path] = found
        return None

    async def _deliver(
        self,
        transaction: Transaction,
        deliveries: dict[Path, Recipients],
        trapped: tuple[Path, ...],
        sink: Arrival,
    ) -> Reply | Sequence[Reply | None] | None:
        provoked = self._inbound.provocation.at_data([r.path for r in transaction.recipients])
        if provoked is not None:
            sink.abort()
            reply = await provoked if isinstance(provoked, Awaitable) else provoked
            if reply is not None:
                return reply
        staged = sink.finish()
        lease = Lease(staged)
        try:
            if staged.scanned.received_count > self._inbound.settings.received_fields:
                # RFC 5321 section 6.3: many trace fields are a loop; at least 100 are to be borne.
                return _RELAYED_IN_CIRCLES
            if staged.read(0, 1) in (b" ", b"\t"):
                # RFC 5322 section 2.2.3: behind our Received it would be a part of that, and what programs make of a
                # header that begins in the middle of a field differs: no octet of it could be trusted.
                return _BEGINS_FOLDED
            if sink.checks is not None and _is_odd(staged.scanned.header.octets):
                # RFC 5322 section 2.2: neither may be there. Some programs begin a line behind it, or end at it, and so find
                # another From than the one that is judged.
                return _ODD_HEADER
            verified = await self._verify(transaction, sink, staged)
            if verified is not None and self._inbound.outcome is not None:
                return await self._judged(transaction, deliveries, trapped, lease, verified)
            return await self._into_accounts(transaction, deliveries, staged, verified)
        finally:
            lease.release()

    async def _verify(
        self, transaction: Transaction, sink: Arrival, staged: IStagedMessage
    ) -> Verified | None:
        """Find out where it comes from; None when that is nobody's matter here."""
        checks, hashed = sink.checks, sink.hashed
        if checks is None or hashed is None:
            return None
        make, _ = _of_verification()
        message = make(
            ip=self._session.peer.ip,
            hello=self._session.name,
            reverse_path=transaction.reverse_path,
            hashed=hashed,
            staged=staged,
            removed_octets=sink.removed_octets,
            smtputf8=transaction.parameters.smtputf8,
            begun=sink.begun,
            session=self._session.id,
        )
        return await checks.verifier.verify(message)

    async def _judged(
        self,
        transaction: Transaction,
        deliveries: dict[Path, Recipients],
        trapped: tuple[Path, ...],
        lease: Lease,
        verified: Verified,
    ) -> Reply | Sequence[Reply | None] | None:
        """Let the accounts decide."""
        make_incoming, make_complete = _of_judgement()
        if self._inbound.outcome is None:
            raise StoreUnavailableError("nobody to decide")
        now, staged, peer = self._inbound.seconds(), lease.staged, self._session.peer
        incoming = make_incoming(
            reverse_path=transaction.reverse_path,
            recipients=tuple([r.path for r in transaction.recipients]),
            verified=verified,
            header=staged.scanned.header,
            staged=staged,
            hello=self._session.name,
            tls=self._session.tls is not None,
            seconds=now,
            session=self._session.id,
            ip=peer.ip_text if peer.ip is not None else "",
        )
        message = make_complete(
            transaction=transaction,
            found=deliveries,
            incoming=incoming,
            lease=lease,
            received=self._session.trace(transaction, now),
            presence=self._presence,
            lmtp=self._inbound.settings.lmtp,
            trapped=trapped,
        )
        answer = await self._inbound.outcome().take_in(message)
        if answer is None or isinstance(answer, Reply):
            failed = 0 if answer is None else len(transaction.recipients)
        else:
            failed = sum([a is not None for a in answer])
        self._log_message(transaction, staged, failed, _verdicts(verified) | message.remarks)
        return answer

    async def _into_accounts(
        self,
        transaction: Transaction,
        deliveries: dict[Path, Recipients],
        staged: IStagedMessage,
        verified: Verified | None,
    ) -> Reply | Sequence[Reply | None] | None:
        delivery = self._inbound.delivery
        if delivery is None:
            raise StoreUnavailableError("nobody to deliver")
        now = self._inbound.seconds()
        trace = self._session.trace(transaction, now)
        if verified is not None:
            trace = verified.trace + trace
        several = len(transaction.recipients) > 1
        separate = self._inbound.settings.lmtp or (transaction.parameters.prdr and several)
        wanted = copies(
            transaction.reverse_path,
            {path: found.deliveries for path, found in deliveries.items()},
            trace,
        )
        outcome = await delivery.deliver(
            staged,
            wanted,
            int(now),
            attempt=None if separate or len(wanted) == 1 else attempt(transaction),
        )
        answers = [_worst(outcome, deliveries[r.path].deliveries) for r in transaction.recipients]
        failed = sum(a is not None for a in answers)
        self._log_message(transaction, staged, failed, _verdicts(verified))
        if separate:
            return answers
        # One answer for all: when one account failed, the sender tries again, and those that have it get no second.
        return next((a for a in answers if a is not None), None)

    def _log_message(
        self, transaction: Transaction, staged: IStagedMessage, failed: int, findings: Mapping[str, str]
    ) -> None:
        _log.info(
            "message from {sender} for {count} recipients {recipients}: {octets} octets, {failed} failed",
            session=self._session.id,
            peer=self._session.peer.ip_text,
            sender=str(transaction.reverse_path),
            recipients=first_recipients(transaction),
            count=len(transaction.recipients),
            octets=staged.size,
            failed=failed,
            **findings,
        )


def _is_odd(header: bytes) -> bool:
    """Whether it has NUL, or CR that stands before no CRLF."""
    if 0 not in header and header.count(b"\r") == header.count(b"\r\n"):
        return False
    return _ODD.search(header) is not None


def _worst(outcome: Any, deliveries: Sequence[Delivery]) -> Reply | None:
    errors = [outcome[d.account] for d in deliveries if outcome[d.account] is not None]
    return reply_for_error(errors[0]) if errors else None


def _at_once(answer: Coroutine[Any, Any, Reply | None]) -> Answer:
    """The answer itself when nothing has to be waited for, which costs a tenth of a deferred."""
    try:
        waited = answer.send(None)
    except StopIteration as e:
        return cast("Reply | None", e.value)
    except Exception:  # noqa: BLE001  a boundary: who asked is told
        return fail()
    return Deferred.fromCoroutine(_resumed(answer, waited))


@coroutine
def _resumed(work: Coroutine[Any, Any, Any], waited: Any) -> Generator[Any, Any, Any]:
    """The rest of what began to wait."""
    while True:
        try:
            result = yield waited
        except BaseException as e:  # noqa: BLE001  it is its own
            step: Callable[[], Any] = partial(work.throw, e)
        else:
            step = partial(work.send, result)
        try:
            waited = step()
        except StopIteration as e:
            return e.value


async def _sender_refusal(rules: ISenderRules, reverse_path: Path) -> Reply | None:
    trouble = await rules.can_receive(reverse_path)
    if trouble is None:
        return None
    # RFC 7505 section 4.2: X.7.27, the sender's address has a null MX. It fits whatever else makes it no address.
    temporary = trouble.name == "UNKNOWN"
    return Reply(451, "4.4.3", trouble.value) if temporary else Reply(550, "5.7.27", trouble.value)


def _verdicts(verified: Verified | None) -> dict[str, str]:
    if verified is None:
        return {}
    _, verdicts = _of_verification()
    return verdicts(verified)


# Not imported before they are needed; and to import again what is there takes a microsecond each time.


@cache
def _of_verification() -> tuple[type[Unverified], Callable[[Verified], dict[str, str]]]:
    from moxtwisted.server.verification.fields import verdicts
    from moxtwisted.server.verification.interfaces import Unverified

    return Unverified, verdicts


@cache
def _of_judgement() -> tuple[type[Incoming], type[Complete]]:
    from moxtwisted.server.inbound.outcome import Complete
    from moxtwisted.server.judgement.interfaces import Incoming

    return Incoming, Complete
