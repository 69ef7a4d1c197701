"""The judge and its rules, from the configuration.

::

    judging = Judging(loaded, reactor, verification, directory)
    judge = judging.judge(store, content, places)       # IJudge; made when the first message comes
    judging.use(domains)                        # a new domains.conf is in force
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from moxtwisted.compose.translation import report_addresses
from moxtwisted.compose.verification import Verification
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.patterns import CompiledPattern, compile_pattern
from moxtwisted.config.schema import Account, Destination, DomainsConfig, Ruleset, StaticConfig
from moxtwisted.identifiers import Domain
from moxtwisted.server.directory import DirectoryHolder
from moxtwisted.store.interfaces import IStore

if TYPE_CHECKING:
    # They are imported with the first message, or in the warming up before.
    from moxtwisted.mailauth.dnsbl import Lists
    from moxtwisted.server.judgement.interfaces import IContentFilter, IReportReader
    from moxtwisted.server.judgement.judge import Judge
    from moxtwisted.server.judgement.rules import AccountRules, DestinationRules, Rules, RulesHolder
    from moxtwisted.server.judgement.rules import Ruleset as RulesetRules
    from moxtwisted.server.lending.interfaces import IPlaces

__all__ = ["Judging", "build_rules"]


def build_rules(static: StaticConfig, domains: DomainsConfig) -> Rules:
    """What accounts, domains and the server want of the judge."""
    from moxtwisted.server.judgement.rules import DomainRules, Rules, ServerRules

    junk = static.initial_mailboxes.special_use.junk or "Junk"
    settings = static.judgement
    reports: dict[str, dict[str, frozenset[str]]] = {}
    for address, account, _, kind in report_addresses(static, domains):
        kinds = reports.setdefault(account, {})
        kinds[address] = kinds.get(address, frozenset()) | {kind}
    return Rules(
        accounts={
            name: _account(account, junk, reports.get(name, {})) for name, account in domains.accounts.items()
        },
        domains={
            Domain.parse(name).ascii: DomainRules(
                dmarc=domain.dmarc,
                spf=domain.spf,
                greylisting=domain.greylisting,
                scanners_off=frozenset(domain.scanners_off),
            )
            for name, domain in domains.domains.items()
        },
        server=ServerRules(
            first_time_delay_seconds=settings.first_time_sender_delay_seconds, contact=settings.contact
        ),
    )


def _account(account: Account, junk_mailbox: str, reports: Mapping[str, frozenset[str]]) -> AccountRules:
    from moxtwisted.server.judgement.rules import AccountRules, DestinationRules

    return AccountRules(
        destinations={
            address: _destination(destination)
            for address, destination in account.addresses.items()
            if destination.rulesets or destination.message_auth_required_smtp_error
        }
        | {address: DestinationRules(reports=kinds) for address, kinds in reports.items()},
        dmarc=account.dmarc,
        spf=account.spf,
        subject_pass_seconds=account.subject_pass_seconds,
        rejects_mailbox=account.rejects_mailbox,
        keep_rejects=account.keep_rejects,
        introbox=account.introbox,
        junk_mailbox=junk_mailbox,
        junk_filter=account.junk_filter.enabled,
        junk_threshold=account.junk_filter.threshold,
        strict_threshold=account.junk_filter.strict_threshold,
        first_time_delay=account.first_time_sender_delay,
        greylisting=account.greylisting,
        scanners_off=None if account.scanners_off is None else frozenset(account.scanners_off),
    )


def _destination(destination: Destination) -> DestinationRules:
    from moxtwisted.server.judgement.rules import DestinationRules

    return DestinationRules(
        rulesets=tuple(_ruleset(ruleset) for ruleset in destination.rulesets),
        authentication_required=destination.message_auth_required_smtp_error,
    )


def _pattern(text: str) -> CompiledPattern | None:
    return compile_pattern(text) if text else None


def _domain(text: str) -> str:
    return Domain.parse(text).ascii if text else ""


def _ruleset(ruleset: Ruleset) -> RulesetRules:
    from moxtwisted.server.judgement.rules import Ruleset as RulesetRules

    return RulesetRules(
        smtp_mail_from=_pattern(ruleset.smtp_mail_from_regexp),
        message_from=_pattern(ruleset.msg_from_regexp),
        verified_domain=_domain(ruleset.verified_domain),
        headers=tuple(
            (compile_pattern(name), compile_pattern(value)) for name, value in ruleset.headers_regexp.items()
        ),
        forward=ruleset.is_forward,
        list_allow_domain=_domain(ruleset.list_allow_domain),
        accept_rejects_to=ruleset.accept_rejects_to_mailbox,
        mailbox=ruleset.mailbox,
    )


class Judging:
    """One of it in a process."""

    def __init__(
        self, loaded: LoadedConfig, reactor: Any, verification: Verification, directory: DirectoryHolder
    ) -> None:
        self._static = loaded.static
        self._domains = loaded.domains
        self._reactor = reactor
        self._verification = verification
        self._directory = directory
        self._rules: RulesHolder | None = None

    @property
    def rules(self) -> RulesHolder:
        """Those in force, also for who looks after rejects and greylisting."""
        if self._rules is None:
            from moxtwisted.server.judgement.rules import RulesHolder

            self._rules = RulesHolder(build_rules(self._static, self._domains))
        return self._rules

    @property
    def enabled(self) -> bool:
        """Whether mail is judged."""
        return self._static.judgement.enabled and self._static.verification.enabled

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self._domains = domains
        if self._rules is not None:
            self._rules.current = build_rules(self._static, domains)

    def teaches_rspamd(self, account: str) -> bool:
        """Whether rspamd learns what the users of an account decide."""
        settings = self._domains.accounts.get(account)
        if settings is None:
            return False
        domain = Domain.parse(settings.domain).ascii
        return "rspamd" not in self.rules.current.strictness(account, domain).scanners_off

    def judge(self, store: IStore, content: IContentFilter | None, places: IPlaces) -> Judge:
        """A judge.

        :param content: the junk filter of the accounts.
        :param places: where these are.
        """
        from moxtwisted.server.judgement.judge import Judge, JudgeParts
        from moxtwisted.server.ratelimit import DeliveryLimiter, DeliveryLimits

        settings, limits = self._static.judgement, self._static.limits
        delivery = DeliveryLimits(
            limits.deliveries_per_minute,
            limits.deliveries_per_day,
            limits.delivered_per_minute_octets,
            limits.delivered_per_day_octets,
        )
        parts = JudgeParts(
            limiter=DeliveryLimiter(delivery, self._reactor),
            entropy=os.urandom,
            directory=self._directory,
            content=content,
            block_lists=self._lists(settings.dns_block_lists),
            allow_lists=self._lists(settings.dns_allow_lists),
            reports=cache(self._report_reader),
            places=places,
        )
        return Judge(store, self.rules, parts)

    def _report_reader(self) -> IReportReader:
        from moxtwisted.server.reports.reading import ReportReader

        return ReportReader(self._reactor)

    def allow_lists(self) -> Callable[[], Lists] | None:
        """Lists in the DNS of clients to let in; None: there are none."""
        lists: Callable[[], Lists] | None = self._lists(self._static.judgement.dns_allow_lists)
        return lists

    def _lists(self, zones: tuple[str, ...]) -> Any:
        if not zones:
            return None
        made: list[Lists] = []

        def lists(names: tuple[str, ...]) -> Lists:
            if not made:
                from moxtwisted.mailauth.dnsbl import Lists

                seconds = self._static.judgement.dns_list_seconds
                made.append(Lists(self._verification.tolerant_resolver, self._reactor, names, seconds))
            return made[0]

        return partial(lists, tuple(Domain.parse(zone).ascii for zone in zones))
