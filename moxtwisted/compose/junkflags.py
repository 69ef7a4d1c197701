"""What accounts make of messages by their mailboxes, and whom they wrote to: from the configuration to the store."""

from __future__ import annotations

from functools import lru_cache, partial

from moxtwisted.config.schema import AutomaticJunkFlags, DomainsConfig
from moxtwisted.mailauth.publicsuffix import organizational_domain
from moxtwisted.store.junkflags import JunkFlags
from moxtwisted.store.store import Store

__all__ = ["junk_flags", "remember_with"]


@lru_cache(1024)
def _rules(settings: AutomaticJunkFlags, waiting: frozenset[str]) -> JunkFlags:
    # The accounts that have the same share what it remembers.
    return JunkFlags(
        settings.junk_mailboxes, settings.neutral_mailboxes, settings.not_junk_mailboxes, waiting
    )


def junk_flags(domains: DomainsConfig, name: str) -> JunkFlags | None:
    """What the mailboxes of an account make of messages; None is nothing."""
    account = domains.accounts.get(name)
    if account is None or not account.automatic_junk_flags.enabled:
        return None
    waiting = frozenset(name.lower() for name in (account.rejects_mailbox, account.introbox) if name)
    return _rules(account.automatic_junk_flags, waiting)


def remember_with(store: Store, domains: DomainsConfig) -> None:
    """Have the store do this from now on, also in accounts that are open."""
    store.organization = organizational_domain
    store.junk_flags_of = partial(junk_flags, domains)
    store.refresh_junk_flags()
