"""What runs beside the listeners: the socket for the commands, and the daily upkeep."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from moxtwisted import __version__
from moxtwisted.compose.ending import stop
from moxtwisted.compose.parts import Parts
from moxtwisted.compose.translation import initial_mailboxes
from moxtwisted.config.watch import DomainsWatcher
from moxtwisted.server.control.service import ControlService

if TYPE_CHECKING:
    from moxtwisted.server.administration import Administration

__all__ = ["Control", "Retirement"]

_log = Logger()

#: In the data directory.
SOCKET_NAME: Final = "ctl"
#: How often expunged messages are looked at, seconds.
RETIRE_SECONDS: Final = 86400.0
#: After the start, seconds.
RETIRE_FIRST_SECONDS: Final = 3600.0


class Control(Service):
    """The unix socket for the commands."""

    def __init__(self, server: Parts, watcher: DomainsWatcher, log_levels: Any) -> None:
        self._server = server
        self._watcher = watcher
        self._log_levels = log_levels
        self._inner: ControlService | None = None
        self._imap: Any = None

    def startService(self) -> None:
        """Listen."""
        Service.startService(self)
        server = self._server
        path = server.loaded.data_directory / SOCKET_NAME
        self._inner = ControlService(server.reactor, path, self._administration, self._serve_imap)
        self._inner.startService()

    def _administration(self) -> Administration:
        # Imported with the first command, not before the first banner.
        from moxtwisted.config.edit import ConfigurationEditor
        from moxtwisted.server.administration import Administered, Administration, time_text

        server = self._server
        editor = ConfigurationEditor(server.loaded.static_path, self._watcher.check, deferToThread)
        administered = Administered(
            reactor=server.reactor,
            store=server.store,
            queue=server.queue,
            initial_mailboxes=initial_mailboxes(server.static),
            retire_after_seconds=server.static.store.retire_expunged_after_seconds,
            cram_md5=server.static.authentication.cram_md5,
            changed_account=server.changed_account,
            facts={
                "version": __version__,
                "hostname": server.static.hostname,
                "pid": os.getpid(),
                "started": time_text(int(server.started)),
                "failures": server.failures.counts,
            },
            keepers=lambda: server.keepers.report() if server.keepers is not None else [],
            metrics=lambda: server.metrics.text(server.failures.counts),
            stop=lambda: server.reactor.callLater(0.05, stop, server.reactor),
            shutdown_seconds=server.static.limits.shutdown_seconds,
            log_levels=self._log_levels,
            bans=server.bans,
            reports=server.reports.records,
            places=server.places,
        )
        return Administration(editor, administered)

    def _serve_imap(self, transport: Any, account: str) -> None:
        if self._imap is None:
            self._imap = self._server.local_imap()
        self._imap.serve(transport, account)

    def stopService(self) -> Any:
        """Listen no more."""
        Service.stopService(self)
        if self._inner is None:
            return None
        stopped = [maybeDeferred(self._inner.stopService)]
        if self._imap is not None:
            stopped.append(self._imap.shutdown())
        return gatherResults(stopped)


class Retirement(Service):
    """Once a day, forgets what was expunged long ago."""

    def __init__(self, server: Parts) -> None:
        self._server = server
        self._loop = LoopingCall(self._retire)
        self._loop.clock = server.reactor
        self._first: Any = None

    def startService(self) -> None:
        """Begin an hour after the start: a restart is no reason to open all accounts."""
        Service.startService(self)
        self._first = self._server.reactor.callLater(RETIRE_FIRST_SECONDS, self._loop.start, RETIRE_SECONDS)

    def stopService(self) -> None:
        """End."""
        Service.stopService(self)
        if self._first is not None and self._first.active():
            self._first.cancel()
        if self._loop.running:
            self._loop.stop()

    async def _work(self) -> None:
        from moxtwisted.store.maintenance import retire

        server = self._server
        older = server.static.store.retire_expunged_after_seconds
        for name in server.store.accounts():
            try:
                if server.places.is_away(name):
                    # Nobody is disconnected for that.
                    await server.places.ask(name, "retire", older, int(time.time()))
                else:
                    await retire(server.store.account(name), older, int(time.time()))
            except Exception:  # noqa: BLE001 - a boundary: one account's trouble is not the others'
                _log.failure("forgetting expunged messages of {account} failed", account=name)

    def _retire(self) -> Deferred[None]:
        done = Deferred.fromCoroutine(self._work())
        return done.addErrback(lambda failure: _log.failure("forgetting expunged messages failed", failure))
