"""The judge of all accounts: gathers what the steps ask for, when they ask for it.

::

    judge = Judge(store, rules, JudgeParts(limiter=DeliveryLimiter(DeliveryLimits(), reactor), entropy=os.urandom))
    decision = await judge.judge(incoming, recipient)
    decision.accept, decision.reason, decision.explanation

The procedure is in ``moxtwisted.server.judgement.steps``. What cannot answer makes a temporary refusal. Deliveries are counted, for the
limits by network, when a message is taken; the counts are in memory and begin anew at a restart. The judge of an account that is with a
keeper is there, and is told what is known of these limits here (``judge_told``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import define, field, frozen
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.mailauth.dnsbl import Listing, Lists
from moxtwisted.server.directory import DirectoryHolder
from moxtwisted.server.judgement.case import NOT_NOW, Case, SourceError
from moxtwisted.server.judgement.interfaces import (
    Decision,
    IContentFilter,
    IJudge,
    Incoming,
    IReportReader,
    JunkScore,
    Recipient,
)
from moxtwisted.server.judgement.reasons import SENTENCES, Reason
from moxtwisted.server.judgement.rules import AccountRules, RulesHolder
from moxtwisted.server.judgement.steps import decide
from moxtwisted.server.judgement.subjectpass import KEY_OCTETS
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.server.ratelimit import DeliveryLimiter
from moxtwisted.store.interfaces import IReputation, IStore, PastMessage, ReputationKind

if TYPE_CHECKING:
    from moxtwisted.mailauth.reports.message import Report

__all__ = ["Judge", "JudgeParts"]

_log = Logger()

#: Name of the secret in the account.
_KEY_NAME: Final = "subjectpass"
_MOST_KEYS: Final = 1000
_JITTER: Final = 0.05


@frozen(kw_only=True)
class JudgeParts:
    """Whom a judge asks.

    :ivar limiter: counts deliveries by account and network.
    :ivar entropy: gives that many random octets.
    :ivar directory: knows the lists to which only members may write.
    :ivar content: the junk filter of the accounts.
    :ivar block_lists: gives the lists of clients to block; asked for when it is first needed.
    :ivar allow_lists: gives those of clients to let in.
    :ivar reports: gives what reads reports; asked for when it is first needed.
    :ivar places: knows which accounts are with a keeper.
    """

    limiter: DeliveryLimiter
    entropy: Callable[[int], bytes]
    directory: DirectoryHolder | None = None
    content: IContentFilter | None = None
    block_lists: Callable[[], Lists] | None = None
    allow_lists: Callable[[], Lists] | None = None
    reports: Callable[[], IReportReader] | None = None
    places: IPlaces = field(factory=AllHere)


@implementer(IJudge)
@define(eq=False)
class Judge:
    """See ``IJudge``."""

    _store: IStore
    _rules: RulesHolder
    _parts: JudgeParts
    # By the account as it was opened: the next of the same name has a key of its own.
    _keys: OrderedDict[int, bytes] = field(factory=OrderedDict, init=False)

    async def judge(self, incoming: Incoming, recipient: Recipient) -> Decision:
        """Whether to take it; never raises."""
        try:
            return await self._judge(incoming, recipient, None)
        except Exception as e:  # noqa: BLE001  a boundary: what goes wrong here must cost nobody a message
            return _no_judgement(incoming, recipient, e)

    async def judge_told(self, incoming: Incoming, recipient: Recipient, within_rates: bool) -> Decision:
        """The same for an account that is here, when somebody else counts what is delivered; never raises.

        :param within_rates: whether the client's networks may send the account one more message of this size.
        """
        try:
            return await self._judge(incoming, recipient, within_rates)
        except Exception as e:  # noqa: BLE001  a boundary, as above
            return _no_judgement(incoming, recipient, e)

    async def _judge(self, incoming: Incoming, recipient: Recipient, told: bool | None) -> Decision:
        account = recipient.account
        if told is None and self._parts.places.is_away(account):
            return await self._judge_away(incoming, recipient)
        rules = self._rules.current
        address = recipient.path.address
        domain = address.domain.ascii if address is not None else ""
        wanted = rules.of(account)
        asking = _Asking(self, self._parts, incoming, recipient, wanted, told)
        case = Case(
            incoming=incoming,
            recipient=recipient,
            rules=wanted,
            strictness=rules.strictness(account, domain),
            server=rules.server,
            sources=asking,
        )
        decision = await decide(case)
        if decision.accept and asking.ip and told is None:
            self._parts.limiter.add(account, asking.ip, incoming.staged.size)
        return decision

    async def _judge_away(self, incoming: Incoming, recipient: Recipient) -> Decision:
        account, ip, size, parts = recipient.account, incoming.ip, incoming.staged.size, self._parts
        within_rates = not ip or parts.limiter.allows(account, ip, size)
        decision: Decision = await parts.places.ask(account, "judge", incoming, recipient, within_rates)
        if decision.accept and ip:
            parts.limiter.add(account, ip, size)
        return decision

    # -- what cases ask -------------------------------------------------------------------------------------------

    def account(self, name: str) -> Any:
        """The account. :raises SourceError:"""
        try:
            return self._store.account(name)
        except MailError as e:
            raise SourceError(e.explanation) from e

    async def subject_key(self, name: str) -> bytes:
        """The account's key; made when there is none. :raises SourceError:"""
        account = self.account(name)
        key = self._keys.get(account.opening)
        if key is not None:
            return key
        try:
            kept: bytes | None = account.secret(_KEY_NAME)
            if kept is None:
                kept = self._parts.entropy(KEY_OCTETS)
                await account.set_secret(_KEY_NAME, kept)
                # Whoever made one at the same time: what is kept in the end counts.
                kept = account.secret(_KEY_NAME) or kept
        except MailError as e:
            raise SourceError(e.explanation) from e
        self._keys[account.opening] = kept
        if len(self._keys) > _MOST_KEYS:
            self._keys.popitem(last=False)
        return kept


@define
class _Asking:
    """The ``Sources`` of one case."""

    _judge: Judge
    _parts: JudgeParts
    _incoming: Incoming
    _recipient: Recipient
    _rules: AccountRules
    _told: bool | None
    _account: str = field(init=False)
    ip: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._account = self._recipient.account
        self.ip = self._incoming.ip

    def within_rates(self) -> bool:
        if self._told is not None:
            return self._told
        size = self._incoming.staged.size
        return not self.ip or self._parts.limiter.allows(self._account, self.ip, size)

    def may_post(self, author: str) -> bool | None:
        directory = self._parts.directory
        if directory is None or not self._recipient.alias:
            return None
        return directory.current.may_post(self._recipient.path, author)

    def reputation(self) -> IReputation | None:
        account = self._judge.account(self._account)
        try:
            return _Memory(account.reputation)
        except MailError as e:
            raise SourceError(e.explanation) from e

    def subject_key(self) -> Awaitable[bytes]:
        return self._judge.subject_key(self._account)

    async def score(self) -> JunkScore | None:
        content = self._parts.content
        if content is None or not self._rules.junk_filter:
            return None
        try:
            return await content.score(self._account, self._incoming.staged, self._incoming.header)
        except Exception as e:
            _log.failure("the content filter of {account} fails", account=self._account)
            raise SourceError(e.explanation if isinstance(e, MailError) else type(e).__name__) from e

    def jitter(self) -> float:
        share = int.from_bytes(self._parts.entropy(2)) / 0xFFFF
        return (2 * share - 1) * _JITTER

    def block_list(self) -> Awaitable[Listing | None] | None:
        lists = self._parts.block_lists
        return None if lists is None else self._ask(lists())

    def allow_list(self) -> Awaitable[Listing | None] | None:
        lists = self._parts.allow_lists
        return None if lists is None else self._ask(lists())

    async def report(self, kinds: frozenset[str]) -> Report | str:
        reports = self._parts.reports
        if reports is None:
            return "nobody reads reports here"
        try:
            found: Report | str = await reports().read(self._incoming.staged, kinds)
        except MailError as e:
            raise SourceError(e.explanation) from e
        return found

    def is_ours(self, domain: str) -> bool:
        directory = self._parts.directory
        return directory is not None and directory.current.is_ours(domain)

    async def _ask(self, lists: Lists) -> Listing | None:
        ip = self._incoming.verified.ip
        if ip is None or ip.is_loopback:
            return None
        outcome = await lists.check(ip)
        for zone, problem in outcome.skipped:
            _log.debug("list {zone} was not asked: {problem}", zone=zone, problem=problem)
        return outcome.listed


@implementer(IReputation)
@frozen
class _Memory:
    """An account's, whose errors are ``SourceError``."""

    _known: IReputation

    def past(
        self,
        origin: str,
        kind: ReputationKind,
        key: str,
        validated: bool | None,
        since: int,
        limit: int,
    ) -> Sequence[PastMessage]:
        try:
            found: Sequence[PastMessage] = self._known.past(origin, kind, key, validated, since, limit)
        except Exception as e:
            raise _unreadable(e) from e
        return found

    def wrote_to(self, kind: Literal["address", "domain", "organization"], key: str, since: int) -> bool:
        try:
            return bool(self._known.wrote_to(kind, key, since))
        except Exception as e:
            raise _unreadable(e) from e

    def glance(
        self,
        origin: str,
        asked: Sequence[tuple[ReputationKind, str, bool]],
        written: Sequence[tuple[Literal["address", "domain", "organization"], str]],
    ) -> tuple[Sequence[bool], Sequence[bool]]:
        try:
            found: tuple[Sequence[bool], Sequence[bool]] = self._known.glance(origin, asked, written)
        except Exception as e:
            raise _unreadable(e) from e
        return found


def _no_judgement(incoming: Incoming, recipient: Recipient, error: Exception) -> Decision:
    """After what was just raised."""
    if isinstance(error, StoreUnavailableError):
        # The account is on its way, or who had it has just ended.
        _log.warn(
            "no judgement of a message for {account}: {problem}",
            account=recipient.account,
            session=incoming.session,
            problem=error.explanation,
        )
    else:
        _log.failure(
            "no judgement of a message for {account}", account=recipient.account, session=incoming.session
        )
    reason = Reason.JUDGEMENT_ERROR
    return Decision(
        accept=False, reason=reason, explanation=SENTENCES[reason], mailbox=recipient.mailbox, reply=NOT_NOW
    )


def _unreadable(error: Exception) -> SourceError:
    _log.failure("what an account knows of senders cannot be read")
    return SourceError(error.explanation if isinstance(error, MailError) else type(error).__name__)
