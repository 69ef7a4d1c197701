"""Opening what the configuration says: the key, the queue, the accounts."""

from __future__ import annotations

from functools import partial
from typing import Final

from twisted.logger import Logger

from moxtwisted.compose.junkflags import remember_with
from moxtwisted.compose.translation import initial_mailboxes, message_quota, quota
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.machine import store_key
from moxtwisted.config.schema import DomainsConfig, StaticConfig
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.queue import Queue
from moxtwisted.store.store import Store

__all__ = ["configure_accounts", "master_key", "open_queue", "ready_accounts"]

_log = Logger()

#: In the data directory.
QUEUE_NAME: Final = "queue.db"


def master_key(loaded: LoadedConfig) -> MasterKey | None:
    """The store's key; None when encryption is off. :raises KeyRefusedError:"""
    secret = store_key(loaded)
    return None if secret is None else MasterKey(secret)


def open_queue(loaded: LoadedConfig, store: Store) -> Queue:
    """Open the queue, or make it."""
    return Queue.open(loaded.data_directory / QUEUE_NAME, store.database_key("queue"), store.pool)


def configure_accounts(store: Store, domains: DomainsConfig, static: StaticConfig) -> None:
    """Have accounts be as the configuration wants them, also those that are open."""
    store.quota_of = partial(quota, domains, static)
    store.message_quota_of = partial(message_quota, domains, static)
    store.refresh_quotas()
    remember_with(store, domains)


async def ready_accounts(store: Store, domains: DomainsConfig, static: StaticConfig) -> None:
    """Make the accounts that the configuration has and the store has not."""
    for name in domains.accounts:
        # Asked each time: another edit may be making accounts as well.
        if name not in store.accounts():
            await store.create_account(name, initial_mailboxes(static))
            _log.info("account {account} was made", account=name)
