"""Bans, as the configuration wants them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import StaticConfig
from moxtwisted.server.bans import (
    FAILED_LOGINS,
    PROTOCOL_ERRORS,
    SPAM_TRAP,
    SPRAYING,
    Bans,
    BanSettings,
    Rule,
)
from moxtwisted.store.bans import Ban, BanRecords
from moxtwisted.store.store import Store

__all__ = ["ban_settings", "end_connections", "open_bans"]

#: In the data directory.
BANS_NAME: Final = "bans"
_HOUR: Final = 3600.0
_DAY: Final = 86400.0


def ban_settings(static: StaticConfig) -> BanSettings:
    """The rules, and who is never banned: load balancers neither, whose clients would all be."""
    bans = static.bans
    proxies = [network for listener in static.listeners.values() for network in listener.proxy_protocol_from]
    return BanSettings(
        rules={
            FAILED_LOGINS: Rule(bans.failed_logins_per_day, _DAY, bans.failed_logins_seconds),
            SPRAYING: Rule(bans.login_names_per_hour, _HOUR, bans.login_names_seconds),
            SPAM_TRAP: Rule(bans.spam_traps_per_day, _DAY, bans.spam_traps_seconds),
            PROTOCOL_ERRORS: Rule(bans.protocol_errors_per_hour, _HOUR, bans.protocol_errors_seconds),
        },
        never=(*bans.never, *proxies),
    )


def open_bans(loaded: LoadedConfig, store: Store, reactor: Any) -> Bans:
    """Those that were kept. :raises KeyRefusedError:"""
    path = loaded.data_directory / f"{BANS_NAME}.db"
    records = BanRecords(path, store.database_key(BANS_NAME), store.pool)
    return Bans(time.time, reactor, ban_settings(loaded.static), records)


def end_connections(bans: Bans, factories: Iterable[Any], reactor: Any, ban: Ban) -> None:
    """End the connections of those who are banned now; what they just did is answered first."""

    def end() -> None:
        for factory in factories:
            for connection in list(factory.connections):
                if bans.ban_of(connection.client_ip) is not None:
                    connection.shutdown()

    reactor.callLater(0, end)
