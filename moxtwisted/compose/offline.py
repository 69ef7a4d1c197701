"""The store of a server that is down, for the commands.

::

    administration = await offline(Path("mox.conf"), reactor)        # KeyRefusedError, StoreUnavailableError
    ...
    await administration.close()

Nothing of a service is imported here: a command that lists accounts would take half as long again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moxtwisted.compose.junk import learn_junk
from moxtwisted.compose.junkflags import remember_with
from moxtwisted.compose.opening import master_key, open_queue, ready_accounts
from moxtwisted.compose.reports import open_reports
from moxtwisted.compose.translation import initial_mailboxes, message_quota, quota
from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.config.load import LoadedConfig, load
from moxtwisted.server.administration import Administered, Administration
from moxtwisted.store.store import Store

if TYPE_CHECKING:
    from twisted.internet.protocol import Factory

__all__ = ["offline", "offline_imap"]


async def offline(static_path: Path, reactor: Any) -> Administration:
    """The administration of a server that is down, on its closed files; close it when done.

    :raises KeyRefusedError: , StoreUnavailableError, ConfigurationError.
    """
    loaded = load(static_path)
    store = Store.open(reactor, loaded.data_directory, master_key(loaded))
    static = loaded.static
    store.quota_of = partial(quota, loaded.domains, static)
    store.message_quota_of = partial(message_quota, loaded.domains, static)
    remember_with(store, loaded.domains)
    learn_junk(store)
    queue = open_queue(loaded, store)
    await ready_accounts(store, loaded.domains, static)
    return Administration(
        ConfigurationEditor(loaded.static_path),
        Administered(
            reactor=reactor,
            store=store,
            queue=queue,
            initial_mailboxes=initial_mailboxes(static),
            retire_after_seconds=static.store.retire_expunged_after_seconds,
            cram_md5=static.authentication.cram_md5,
            reports=open_reports(loaded, store),
        ),
    )


async def offline_imap(
    loaded: LoadedConfig, reactor: Any, account: str
) -> tuple[Factory, Callable[[], Awaitable[None]]]:
    """IMAP with the mail of one account of a server that is down.

    :return: makes the one connection; and what closes the files.
    :raises KeyRefusedError: , StoreUnavailableError.
    """
    from moxtwisted.compose.parts import Parts
    from moxtwisted.server.control.door import IMAPDoor

    parts = Parts(loaded, reactor, master_key(loaded), localserve=False)
    parts.open()
    await ready_accounts(parts.store, loaded.domains, loaded.static)
    service = parts.local_imap()

    async def close() -> None:
        await service.shutdown()
        await parts.close()

    return IMAPDoor(service.serve, account), close
