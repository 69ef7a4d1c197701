"""The owner's side of keepers: they are started, lent accounts and told of changes, and started again when they end.

::

    keepers = Keepers(parts, lending, log_levels)
    keepers.begin()                           # once the ports serve
    keepers.use(domains)                      # a new domains.conf is in force
    keepers.report()                          # what each has
    await keepers.end_connections()           # the server stops: their clients read BYE
    await keepers.finish()                    # accounts are closed
"""

from __future__ import annotations

import os
import resource
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from moxtwisted.compose.keeping import KeeperSetUp
from moxtwisted.config.schema import DomainsConfig
from moxtwisted.config.storekey import key_variables
from moxtwisted.server.lending.keeper import Keeper, KeeperEvents, KeptConnection
from moxtwisted.server.lending.lending import Lending
from moxtwisted.server.lending.words import LOCK_DESCRIPTOR, Word
from moxtwisted.server.logging import LevelControl
from moxtwisted.server.processes.events import republish
from moxtwisted.server.processes.process import Program
from moxtwisted.server.processes.supervision import Place, Supervision
from moxtwisted.server.sockets import adopt_link

if TYPE_CHECKING:
    from moxtwisted.compose.parts import Parts

__all__ = ["Keepers"]

_log = Logger()

_MODULE: Final = "moxtwisted.tap.keeper"
#: How often it is looked at whether accounts are not used any more, seconds.
_TIDY_SECONDS: Final = 60.0
#: How long keepers may take to close their accounts, seconds.
_END_SECONDS: Final = 20.0


class Keepers(Supervision[Keeper]):
    """All of a server."""

    def __init__(self, parts: Parts, lending: Lending, levels: LevelControl | None) -> None:
        # The key comes by the link.
        program = Program(
            "keeper",
            _MODULE,
            without=key_variables(parts.static),
            inherited={LOCK_DESCRIPTOR: parts.store.lock_descriptor},
        )
        super().__init__(parts.reactor, program, parts.static.keepers.processes, (Word.ASK, Word.SHUT_DOWN))
        self._parts = parts
        self._lending = lending
        self._levels = levels if levels is not None else LevelControl()
        self._domains = parts.loaded.domains
        self._tidy = LoopingCall(lending.tidy)
        self._tidy.clock = parts.reactor
        self._empty: list[Deferred[None]] = []
        self._ending = False

    def begin(self) -> None:
        """See ``Supervision``."""
        super().begin()
        self._levels.changed.append(self._tell_levels)
        self._parts.store.grants.changed = self._lending.share
        self._tidy.start(_TIDY_SECONDS, now=False)

    def report(self) -> list[dict[str, Any]]:
        """What is known here of each, see ``IMailAdministration.status``."""
        return [
            {
                "keeper": place.number,
                "pid": place.process.pid if place.process is not None else None,
                "ready": place.peer is not None and place.peer.ready,
                "connections": len(place.peer.connections) if place.peer is not None else 0,
                "accounts": sorted(place.peer.accounts) if place.peer is not None else [],
            }
            for place in self.places
        ]

    # -- processes -----------------------------------------------------------------------------------------------

    def set_up(self, place: Place[Keeper], descriptor: int) -> None:
        """See ``Supervision``."""
        events = KeeperEvents(
            began=partial(self.began, place),
            lost=partial(self._lost, place, place.process),
            closed=self._closed,
            returned=self._lending.returned,
            shares=self._parts.store.grants.put,
            republish=lambda event, number: republish(event, keeper=number),
        )
        keeper = place.peer = Keeper(events, place.number, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        adopt_link(self._reactor, descriptor, keeper.link)
        loaded, key = self._parts.loaded, self._parts.key
        told = KeeperSetUp(
            static=loaded.static,
            domains=self._domains,
            static_path=os.fspath(loaded.static_path),
            domains_path=os.fspath(loaded.domains_path),
            key=None if key is None else key.secret,
            levels=self._levels.list(),
        )
        keeper.link.say(Word.SET_UP, msgspec.msgpack.encode(told))

    def is_ready(self, place: Place[Keeper]) -> None:
        """See ``Supervision``."""
        keeper = place.peer
        if keeper is not None and place.process is not None and not self._ending:
            self._lending.keepers.append(keeper)
            _log.info("keeper {keeper} serves IMAP", keeper=place.number, pid=place.process.pid)

    def _lost(self, place: Place[Keeper], process: Any) -> None:
        if place.peer is not None and place.peer in self._lending.keepers:
            self._lending.keepers.remove(place.peer)
        self.silent(place, process)

    def ended(self, place: Place[Keeper]) -> None:
        """See ``Supervision``."""
        if place.peer is not None:
            self._lending.lost(place.peer)

    def meanwhile(self) -> str:
        """See ``Supervision``."""
        return "others serve IMAP" if self._lending.keepers else "the server serves IMAP itself"

    # -- what they say -------------------------------------------------------------------------------------------

    def _closed(self, keeper: Keeper, kept: KeptConnection, errors: bool) -> None:
        self._parts.connections.release(kept.client_ip, errors=errors)
        self._lending.used(keeper, kept.account)
        if not self.connections:
            empty, self._empty = self._empty, []
            for waiting in empty:
                waiting.callback(None)

    # -- what they are told --------------------------------------------------------------------------------------

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self._domains = domains
        self.tell(Word.USE, msgspec.msgpack.encode(domains))
        self._lending.review()

    def _tell_levels(self) -> None:
        self.tell(Word.LEVELS, self._levels.list())

    def end_connections(self) -> Deferred[None]:
        """Say BYE to all clients, and lend nothing more; fires when they are gone."""
        self._ending = True
        self._lending.keepers.clear()
        self.tell(Word.END_ALL)
        if not self.connections:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._empty.append(waiting)
        return waiting

    async def finish(self) -> None:
        """Have them close their accounts and end; those that take too long are ended."""
        if self._tidy.running:
            self._tidy.stop()
        ended = self.shutdown().addTimeout(_END_SECONDS, self._reactor)
        ended.addErrback(lambda _: _log.warn("some keepers did not end in time"))
        await ended
        self.kill()
