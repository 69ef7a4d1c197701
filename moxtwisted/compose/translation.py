"""From the configuration's classes to the settings of those who use them."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from twisted.logger import Logger

from moxtwisted import __version__
from moxtwisted.config.schema import (
    DomainsConfig,
    Listener,
    SMTPService,
    StaticConfig,
    SubmissionService,
    SubmissionsService,
)
from moxtwisted.imap.settings import Limits as IMAPSessionLimits
from moxtwisted.imap.settings import ServerSettings as IMAPSettings
from moxtwisted.imap.settings import Timeouts as IMAPTimeouts
from moxtwisted.server.directory import (
    AccountEntry,
    AliasEntry,
    Delivery,
    Directory,
    DomainEntry,
    KeyEntry,
    Postmaster,
    ReportEntry,
)
from moxtwisted.smtp.settings import Limits as SMTPSessionLimits
from moxtwisted.smtp.settings import Mode
from moxtwisted.smtp.settings import ServerSettings as SMTPSettings
from moxtwisted.smtp.settings import Timeouts as SMTPTimeouts

__all__ = [
    "SMTPListenerSettings",
    "build_directory",
    "imap_settings",
    "initial_mailboxes",
    "message_quota",
    "quota",
    "report_addresses",
]

_log = Logger()


def initial_mailboxes(static: StaticConfig) -> Sequence[tuple[str, str]]:
    """(name, special use) of the mailboxes of a new account, beside INBOX."""
    special = static.initial_mailboxes.special_use
    uses = (
        (special.sent, "\\Sent"),
        (special.archive, "\\Archive"),
        (special.trash, "\\Trash"),
        (special.drafts, "\\Drafts"),
        (special.junk, "\\Junk"),
    )
    return [(name, use) for name, use in uses if name] + [
        (name, "") for name in static.initial_mailboxes.regular
    ]


def build_directory(static: StaticConfig, domains: DomainsConfig, *, localserve: bool = False) -> Directory:
    """Domains, accounts and addresses as the services look them up."""
    everything = Delivery(next(iter(domains.accounts)), "INBOX") if localserve else None
    return Directory.build(
        [
            DomainEntry(
                name,
                disabled=domain.disabled,
                separators=domain.localpart_separators,
                case_sensitive=domain.case_sensitive,
                aliases={
                    localpart: AliasEntry(alias.addresses, alias.post_public, alias.allow_message_from)
                    for localpart, alias in domain.aliases.items()
                },
                traps=frozenset(domain.spam_traps),
                reports_only=domain.reports_only,
            )
            for name, domain in domains.domains.items()
        ],
        [
            AccountEntry(
                name,
                disabled=account.disabled,
                imap_capabilities_disabled=frozenset(account.imap_capabilities_disabled),
                queue_mailbox=account.queue_mailbox,
                tls_public_keys={
                    fingerprint: KeyEntry(key.login, key.imap_preauth)
                    for fingerprint, key in account.tls_public_keys.items()
                },
                addresses={address: to.mailbox for address, to in account.addresses.items()},
                refusals={
                    address: to.smtp_error for address, to in account.addresses.items() if to.smtp_error
                },
            )
            for name, account in domains.accounts.items()
        ],
        Postmaster(static.postmaster.account, static.postmaster.mailbox),
        static.hostname,
        everything,
        [
            ReportEntry(address, account, mailbox, tls=kind == "tls")
            for address, account, mailbox, kind in report_addresses(static, domains)
        ],
    )


def report_addresses(static: StaticConfig, domains: DomainsConfig) -> list[tuple[str, str, str, str]]:
    """Address, account, mailbox and kind (``dmarc``, ``tls``) of what takes reports; an address may be there for each kind."""
    found = []
    for domain in domains.domains.values():
        for reports, kind in ((domain.dmarc_reports, "dmarc"), (domain.tls_reports, "tls")):
            if reports is not None:
                found.append((reports.address, reports.account, reports.mailbox, kind))
    host = static.host_tls_reports
    if host is not None:
        found.append((f"{host.localpart}@{static.hostname}", host.account, host.mailbox, "tls"))
    return found


def quota(domains: DomainsConfig, static: StaticConfig, name: str) -> int | None:
    """Room for the messages of an account, in octets; None is no limit."""
    account = domains.accounts.get(name)
    octets = account.quota_octets if account is not None else None
    # 0 is no limit, in both places.
    return (static.store.quota_octets if octets is None else octets) or None


def message_quota(domains: DomainsConfig, static: StaticConfig, name: str) -> int | None:
    """How many messages an account may have; None is no limit."""
    account = domains.accounts.get(name)
    messages = account.quota_messages if account is not None else None
    return (static.store.quota_messages if messages is None else messages) or None


class SMTPListenerSettings:
    """Settings of a listener's SMTP services."""

    def __init__(
        self, static: StaticConfig, mechanisms: tuple[str, ...], listener: Listener, hostname: str
    ) -> None:
        self._static = static
        self._mechanisms = mechanisms
        limits = static.limits.smtp
        slow = 1.0 if limits.slow_mode else 0.0
        self._common: dict[str, Any] = {
            "hostname": hostname,
            "size_limit": limits.message_octets,
            "proxy_networks": tuple(ip_network(n) for n in listener.proxy_protocol_from),
            "limits": SMTPSessionLimits(
                line_octets=limits.line_octets,
                recipients=limits.recipients,
                bad_transactions=limits.bad_transactions,
                auth_failures_slow=static.limits.authentication_failures_before_delay,
            ),
            "timeouts": SMTPTimeouts(
                command=limits.read_seconds,
                data_block=limits.read_seconds,
                data_total=limits.data_seconds,
                tls_handshake=limits.tls_handshake_seconds,
                write=limits.write_seconds,
                slow_read=slow,
                slow_write=slow,
                shutdown=static.limits.shutdown_seconds,
            ),
        }

    def inbound(self, smtp: SMTPService) -> SMTPSettings:
        """For port 25."""
        return SMTPSettings(
            prdr=True,
            requiretls=smtp.requiretls,
            require_starttls=smtp.starttls == "required",
            **self._common,
        )

    def submission(self, submission: SubmissionService | SubmissionsService) -> SMTPSettings:
        """For 587 and 465."""
        plain = isinstance(submission, SubmissionService) and not submission.require_starttls
        return SMTPSettings(
            mode=Mode.SUBMISSION,
            mechanisms=self._mechanisms,
            require_starttls=isinstance(submission, SubmissionService) and submission.require_starttls,
            auth_without_tls=plain and self._static.authentication.allow_plain_without_tls,
            **self._common,
        )

    def lmtp(self) -> SMTPSettings:
        """For LMTP."""
        return SMTPSettings(mode=Mode.LMTP, **self._common)


def imap_settings(static: StaticConfig, hostname: str, *, plain: bool) -> IMAPSettings:
    """For an IMAP listener.

    :param plain: whether it may do without TLS.
    """
    limits = static.limits.imap
    return IMAPSettings(
        hostname=hostname,
        software=("moxtwisted", __version__),
        allow_plain_without_tls=plain and static.authentication.allow_plain_without_tls,
        limits=IMAPSessionLimits(
            line_octets=limits.line_octets,
            literal_octets=limits.literal_octets,
            command_octets=limits.command_octets,
            literals=limits.literals,
            append_octets=limits.message_octets,
            messages=limits.messages_per_command,
            messages_enforced=10 * limits.messages_per_command,
            bad_commands=limits.bad_commands,
        ),
        timeouts=IMAPTimeouts(
            login=limits.login_seconds,
            idle=limits.idle_seconds,
            write=limits.write_seconds,
            shutdown=static.limits.shutdown_seconds,
        ),
    )
