"""Whom users write to: their answers are welcome.

::

    await remember(store, places, "alice", [path, path], now)   # behind the reply; alice's judge knows them from then on
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from moxtwisted.address import Path
from moxtwisted.errors import MailError
from moxtwisted.identifiers import Domain
from moxtwisted.server.lending.interfaces import IPlaces
from moxtwisted.store.interfaces import IStore

__all__ = ["remember"]

_log = Logger()


async def remember(
    store: IStore, places: IPlaces, account: str, recipients: Iterable[Path], now: int
) -> None:
    """Have the account remember that it wrote to these; what goes wrong here changes nothing else.

    :param now: seconds since 1970.
    """
    addresses = [
        (path.address.localpart, path.address.domain.ascii)
        for path in recipients
        if path.address is not None and isinstance(path.address.domain, Domain)
    ]
    try:
        if places.is_away(account):
            await places.ask(account, "wrote", addresses, now)
        else:
            await store.account(account).wrote(addresses, now)
    except MailError:
        _log.failure("recipients cannot be remembered", account=account)
