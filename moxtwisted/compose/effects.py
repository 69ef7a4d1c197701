"""What decides what becomes of mail from strangers, made when the first message comes (or some time before).

::

    effects = Effects(loaded, reactor, verification, judging)
    effects.open(store, delivery, report)          # report: tells who wrote to a trap
    effects.outcome_for(Mode.MX)                   # for the listener; None: all mail is taken
    effects.use(domains)                           # a new domains.conf is in force
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.compose.judgement import Judging
from moxtwisted.compose.scanners import make_scanners, make_teacher
from moxtwisted.compose.senders import SenderLists
from moxtwisted.compose.verification import Verification
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import DomainsConfig
from moxtwisted.identifiers import Domain
from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.smtp.settings import Mode
from moxtwisted.store.store import Store

if TYPE_CHECKING:
    from moxtwisted.mailauth.reports.message import Report
    from moxtwisted.server.inbound.greylisting import Greylisting
    from moxtwisted.server.inbound.outcome import Outcome
    from moxtwisted.server.inbound.rejects import Rejects
    from moxtwisted.server.judgement.interfaces import IContentFilter, Incoming, Recipient
    from moxtwisted.server.judgement.judge import Judge
    from moxtwisted.server.judgement.rules import Strictness
    from moxtwisted.server.scanners.teaching import Teacher
    from moxtwisted.store.greylist import GreylistRecords

__all__ = ["Effects"]

#: In the data directory.
GREYLIST_NAME: Final = "greylist"


class Effects:
    """One of it in a process.

    :ivar content: gives the junk filter of the accounts; set before the first message.
    :ivar note_report: keeps what reports say; set before the first message.
    :ivar places: where accounts are; set before the first message.
    """

    def __init__(
        self, loaded: LoadedConfig, reactor: Any, verification: Verification, judging: Judging
    ) -> None:
        self._loaded = loaded
        self._domains = loaded.domains
        self._reactor = reactor
        self._verification = verification
        self._judging = judging
        self._outcome: Outcome | None = None
        self._records: GreylistRecords | None = None
        self._judge: Judge | None = None
        self._rejects: Rejects | None = None
        self._teacher: Teacher | None = None
        self._lists = SenderLists(loaded, reactor)
        self.content: Callable[[], IContentFilter | None] = lambda: None
        self.note_report: Callable[[Report, Incoming], None] | None = None
        self.places: IPlaces = AllHere()

    def open(
        self,
        store: Store,
        delivery: LocalDelivery,
        report: Callable[[str, str], None],
        welcome: Callable[[str], None],
    ) -> None:
        """The store is there.

        :param report: (client's address, why): who wrote to a spam trap.
        :param welcome: (client's address): who brought mail from a sender that is known as good.
        """
        self._store = store
        self._delivery = delivery
        self._report = report
        self._welcome = welcome
        self._teacher = make_teacher(self._loaded, self._reactor, store, self._judging.teaches_rspamd)
        if self._teacher is not None:
            store.decided = self._teacher.put

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self._domains = domains
        self._lists.use(domains)

    async def close(self) -> None:
        """What is under way is done, and files are closed."""
        if self._teacher is not None:
            self._teacher.stop()
        if self._rejects is not None:
            await self._rejects.close()
        if self._records is not None:
            await self._records.close()

    def outcome_for(self, mode: Mode) -> Callable[[], Outcome] | None:
        """What a listener is given. Who hands over mail by LMTP took it before: a refusal would only make it send reports."""
        return self.outcome if self._judging.enabled and mode is Mode.MX else None

    def turn_away_for(self, mode: Mode) -> Callable[[Any], Any] | None:
        """What refuses clients by their address; None: nothing does."""
        if self.outcome_for(mode) is None or not self._loaded.static.senders.block_files:
            return None

        def turn_away(ip: Any) -> Any:
            policy = self.outcome().policy
            return policy.at_connect(ip) if policy is not None else None

        return turn_away

    def outcome(self) -> Outcome:
        """What decides."""
        if self._outcome is None:
            self._outcome = self._make()
        return self._outcome

    def judge(self) -> Judge:
        """What judges."""
        if self._judge is None:
            self._judge = self._judging.judge(self._store, self.content(), self.places)
        return self._judge

    def rejects(self) -> Rejects:
        """Where refused mail goes, and what makes room for other mail."""
        if self._rejects is None:
            from moxtwisted.server.inbound.rejects import Rejects, RejectsPolicy

            rules = self._judging.rules

            def policy(account: str) -> RejectsPolicy:
                wanted = rules.current.of(account)
                return RejectsPolicy(wanted.rejects_mailbox, wanted.keep_rejects)

            self._rejects = Rejects(self._store, time.time, policy, places=self.places)
            self._delivery.make_room = self._rejects.make_room
        return self._rejects

    def _make(self) -> Outcome:
        from moxtwisted.server.inbound.decisions import Bench
        from moxtwisted.server.inbound.goodsenders import GoodSenders
        from moxtwisted.server.inbound.outcome import Outcome
        from moxtwisted.server.inbound.presence import WaitingRoom
        from moxtwisted.server.inbound.splitting import Splitting
        from moxtwisted.server.inbound.traps import Traps

        rules = self._judging.rules
        policy, greylisting = self._lists.policy(), self._make_greylisting()
        return Outcome(
            delivery=self._delivery,
            bench=Bench(
                self.judge(),
                externals=make_scanners(self._loaded, self._reactor),
                adjustments=(policy.adjust, greylisting.adjust, GoodSenders(self._welcome)),
                junk_mailbox=lambda account: rules.current.of(account).junk_mailbox,
                do_without=lambda recipient: self._strictness(recipient).scanners_off,
            ),
            rejects=self.rejects(),
            splitting=Splitting(),
            room=WaitingRoom(self._reactor),
            traps=Traps(self._report, policy.allowed, self._delivery, self._trap_learner),
            policy=policy,
            note_report=self.note_report,
        )

    def _make_greylisting(self) -> Greylisting:
        from moxtwisted.server.inbound.greylisting import Greylisting
        from moxtwisted.store.greylist import GreylistRecords

        path = self._loaded.data_directory / f"{GREYLIST_NAME}.db"
        self._records = GreylistRecords(path, self._store.database_key(GREYLIST_NAME), self._store.pool)
        lists = self._judging.allow_lists()

        async def listed(incoming: Incoming) -> bool:
            ip = incoming.verified.ip
            if ip is None or lists is None:
                return False
            return (await lists().check(ip)).listed is not None

        return Greylisting(
            self._records,
            lambda recipient: self._strictness(recipient).greylisting,
            listed if lists is not None else None,
        )

    def _strictness(self, recipient: Recipient) -> Strictness:
        address = recipient.path.address
        domain = address.domain.ascii if address is not None and isinstance(address.domain, Domain) else ""
        return self._judging.rules.current.strictness(recipient.account, domain)

    def _trap_learner(self) -> tuple[str, str]:
        account = self._loaded.static.senders.spam_trap_account
        if account not in self._domains.accounts:
            return "", ""
        return account, self._judging.rules.current.of(account).junk_mailbox
