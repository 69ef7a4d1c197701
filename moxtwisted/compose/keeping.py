"""A keeper: a process that has accounts which the owner lends it, and serves those who are logged in to them by IMAP.

::

    Keeping(reactor).start(descriptor, lock)        # of the link, and the store's lock; the owner says the rest

It has the key of the store, and no listener: clients come with their connections, or through the owner where there is TLS. What the owner
has to know or to do about an account it asks for (``moxtwisted.server.lending``).
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger, globalLogBeginner

from moxtwisted.compose.effects import Effects
from moxtwisted.compose.files import allow_many_files
from moxtwisted.compose.judgement import Judging
from moxtwisted.compose.junk import filter_content, learn_junk
from moxtwisted.compose.opening import configure_accounts
from moxtwisted.compose.translation import build_directory
from moxtwisted.compose.verification import Verification
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import DomainsConfig, StaticConfig
from moxtwisted.config.startup import collector_paused
from moxtwisted.errors import StoreUnavailableError
from moxtwisted.imap.backend import ISession
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.directory import DirectoryHolder
from moxtwisted.server.imapd.arrived import KeptIMAP
from moxtwisted.server.imapd.service import Mail
from moxtwisted.server.lending.grants import KeptGrants
from moxtwisted.server.lending.keeper import turn_away
from moxtwisted.server.lending.operations import Operations
from moxtwisted.server.lending.words import Word
from moxtwisted.server.logging import LevelControl
from moxtwisted.server.processes.events import EventSender
from moxtwisted.server.processes.link import Link
from moxtwisted.server.ratelimit import AdmittedElsewhere
from moxtwisted.server.sockets import adopt_link
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store

__all__ = ["KeeperSetUp", "Keeping"]

_log = Logger()

#: How often it is looked at whether an account that is wanted back is not used any more, seconds.
_LOOK_SECONDS: Final = 0.01
#: After so many looks what nobody refers to any more is collected, and again each time after so many more.
_LOOKS_BEFORE_COLLECTING: Final = 5
_LOOKS_BETWEEN_COLLECTING: Final = 100
#: How long its files may take to be closed, seconds: as long as it is there, no other server can open them.
_CLOSE_SECONDS: Final = 30.0


class KeeperSetUp(msgspec.Struct, frozen=True):
    """What the owner tells a keeper at its start.

    :ivar static: the configuration, and where it was.
    :ivar key: of the store; None: it is not encrypted.
    :ivar levels: of the log.
    """

    static: StaticConfig
    domains: DomainsConfig
    static_path: str
    domains_path: str
    key: bytes | None
    levels: dict[str, str]


class Keeping:
    """The whole keeper."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.link: Link[Word] = Link(Word, self._heard, self._lost)
        self._levels = LevelControl()
        self._services: dict[bytes, KeptIMAP] = {}
        self._mine: set[str] = set()
        self._wanted: set[str] = set()
        self._leaving: set[str] = set()
        self._at_work: Counter[str] = Counter()
        self._told: dict[int, Deferred[None]] = {}
        self._numbers = 0
        self._lock = -1
        self._store: Store | None = None
        self._ending = False
        self._words: dict[Word, Callable[..., None]] = {
            Word.SET_UP: self._set_up,
            Word.LENT: self._lent,
            Word.RECALL: self._recall,
            Word.CONNECTION: self._connection,
            Word.DO: self._do,
            Word.DONE: self._done,
            Word.END: self._end,
            Word.END_ALL: self._end_all,
            Word.USE: self._use,
            Word.LEVELS: self._use_levels,
            Word.SHUT_DOWN: self._shut_down,
            Word.ASK: partial(self.link.say, Word.HERE),
        }

    def start(self, descriptor: int, lock: int) -> None:
        """Listen to the owner, and log through it."""
        # It has the key.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.set_blocking(descriptor, False)
        self._lock = lock
        adopt_link(self._reactor, descriptor, self.link)
        os.close(descriptor)
        send = EventSender(partial(self.link.say, Word.EVENT), self._levels, self._reactor.callFromThread)
        globalLogBeginner.beginLoggingTo([send], redirectStandardIO=False)

    def _heard(self, word: Word, values: list[Any]) -> None:
        self._words[word](*values)

    def _lost(self) -> None:
        """Nobody owns these accounts any more: whoever does next opens them when this process has ended."""
        told, self._told = self._told, {}
        for waiting in told.values():
            waiting.errback(StoreUnavailableError("the owner of the accounts is gone"))
        self._close()

    # -- the beginning and the end -----------------------------------------------------------------------------------

    def _set_up(self, octets: bytes) -> None:
        told = msgspec.msgpack.decode(octets, type=KeeperSetUp)
        self._use_levels(told.levels)
        loaded = self._loaded = LoadedConfig(
            told.static, told.domains, Path(told.static_path), Path(told.domains_path)
        )
        allow_many_files()
        key = MasterKey(told.key) if told.key is not None else None
        store = self._store = Store.join(self._reactor, loaded.data_directory, key, self._lock)
        store.elsewhere = lambda name: name not in self._mine or name in self._leaving
        store.grants = KeptGrants(store.pool, self._shares)
        configure_accounts(store, told.domains, told.static)
        learn_junk(store)
        self._directory = DirectoryHolder(build_directory(told.static, told.domains, localserve=False))
        self._verification = Verification(loaded, self._reactor)
        self._judging = Judging(loaded, self._reactor, self._verification, self._directory)
        self._effects = Effects(loaded, self._reactor, self._verification, self._judging)
        self._effects.content = filter_content(store, self._reactor)
        delivery = LocalDelivery(store)
        # Traps and what is known as good are the owner's affair.
        self._effects.open(store, delivery, lambda ip, why: None, lambda ip: None)
        self._operations = Operations(store, delivery, self._effects.judge, self._effects.rejects)
        self._mail = Mail(
            store=store,
            directory=self._directory,
            authenticator=None,
            connections=AdmittedElsewhere(),
            mechanisms=(),
            append_limit=told.static.limits.imap.message_octets,
            seconds=time.time,
        )
        with collector_paused():
            self._effects.rejects()
        self.link.say(Word.READY)

    def _use(self, octets: bytes) -> None:
        domains = msgspec.msgpack.decode(octets, type=DomainsConfig)
        self._directory.current = build_directory(self._loaded.static, domains, localserve=False)
        self._judging.use(domains)
        self._effects.use(domains)
        if self._store is not None:
            configure_accounts(self._store, domains, self._loaded.static)
        for service in self._services.values():
            service.review()

    def _use_levels(self, levels: dict[str, str]) -> None:
        self._levels.replace(levels)

    def _end_all(self) -> None:
        for service in self._services.values():
            service.shutdown()

    def _shut_down(self) -> None:
        ended: Deferred[Any] = gatherResults(
            [service.shutdown() for service in self._services.values()], consumeErrors=True
        )
        ended.addTimeout(self._loaded.static.limits.shutdown_seconds, self._reactor)
        ended.addErrback(lambda _: None)
        ended.addCallback(lambda _: self.link.close())

    def _close(self) -> None:
        """Close the files, and end."""
        if self._ending:
            return
        self._ending = True
        self._reactor.callLater(_CLOSE_SECONDS, os._exit, 1)
        closed: Deferred[Any] = Deferred.fromCoroutine(self._closed())
        closed.addErrback(lambda failure: _log.failure("a keeper could not close everything", failure))
        closed.addBoth(lambda _: self._reactor.stop() if self._reactor.running else None)

    async def _closed(self) -> None:
        if self._store is None:
            return
        for service in self._services.values():
            for protocol in list(service.kept.values()):
                if protocol.transport is not None:
                    protocol.transport.abortConnection()
        self._verification.stop()
        await self._effects.close()
        await self._store.close()

    # -- accounts ----------------------------------------------------------------------------------------------------

    def _lent(self, account: str) -> None:
        self._mine.add(account)

    def _recall(self, account: str) -> None:
        # Who comes from now on would keep it here: nobody tells him that it is wanted back.
        self._wanted.add(account)
        for service in self._services.values():
            service.end_sessions(account)
        done = Deferred.fromCoroutine(self._return(account))
        done.addErrback(lambda failure: _log.failure("{account} is not given back", failure, account=account))

    async def _return(self, account: str) -> None:
        store = self._store
        if store is None:
            return
        while self._at_work[account]:
            await deferLater(self._reactor, _LOOK_SECONDS)
        self._leaving.add(account)
        looked = 0
        while not await store.let_go(account):
            looked += 1
            if looked % _LOOKS_BETWEEN_COLLECTING == _LOOKS_BEFORE_COLLECTING:
                # Whoever had it may be a circle by now that only the collector of such ends: what the error of a command remembers, say.
                gc.collect()
            await deferLater(self._reactor, _LOOK_SECONDS)
        del self._at_work[account]
        self._mine.discard(account)
        self._leaving.discard(account)
        self._wanted.discard(account)
        self.link.say(Word.RETURNED, account)

    def _shares(self, account: str, identifiers: frozenset[str]) -> Deferred[None]:
        self._numbers += 1
        told = self._told[self._numbers] = Deferred()
        self.link.say(Word.SHARES, self._numbers, account, sorted(identifiers))
        return told

    def _done(self, number: int, error: bytes | None) -> None:
        told = self._told.pop(number, None)
        if told is None:
            return
        if error is None:
            told.callback(None)
        else:
            told.errback(pickle.loads(error))  # noqa: S301  of the owner, which is the same program

    # -- operations --------------------------------------------------------------------------------------------------

    def _do(self, number: int, account: str, octets: bytes, descriptors: int) -> None:
        self._at_work[account] += 1
        done = Deferred.fromCoroutine(self._operations.answer(octets, self.link.descriptors(descriptors)))

        def over(answer: Any) -> Any:
            self._at_work[account] -= 1
            return answer

        done.addBoth(over)
        done.addCallback(lambda answer: self.link.say(Word.ANSWER, number, answer))
        done.addErrback(lambda failure: _log.failure("an operation was not answered", failure))

    # -- clients -----------------------------------------------------------------------------------------------------

    def _connection(self, number: int, octets: bytes) -> None:
        descriptor = self.link.descriptor()
        departure, settings = pickle.loads(octets)  # noqa: S301  of the owner, which is the same program
        account = departure.account
        if account not in self._mine or account in self._wanted:
            # It was wanted back, or went, while its client was on the way here.
            _log.debug("a client of {account} has to log in again", account=account)
            turn_away(descriptor)
            self.link.say(Word.CLOSED, number, False)
            return
        try:
            session = self._session(account)
        except Exception:  # noqa: BLE001 - a boundary: one account that cannot be opened is not the others' end
            _log.failure("{account} cannot be served", account=account)
            turn_away(descriptor)
            self.link.say(Word.CLOSED, number, False)
            return
        try:
            self._service(settings).serve(number, descriptor, departure, session)
        except OSError:
            # It came and went.
            self.link.say(Word.CLOSED, number, False)
        except Exception:  # noqa: BLE001 - a boundary: what is wrong with one connection is not the others' end
            _log.failure("a client of {account} cannot be served", account=account)
            self.link.say(Word.CLOSED, number, False)

    def _session(self, account: str) -> ISession:
        # By its name, which might also be read as somebody's address.
        entry = self._directory.current.accounts.get(account)
        if entry is None:
            raise StoreUnavailableError(f"{account} logged in, and is not there any more")
        return self._mail.session(entry)

    def _service(self, settings: ServerSettings) -> KeptIMAP:
        key = pickle.dumps(settings)
        service = self._services.get(key)
        if service is None:
            settings = evolve(settings, offer_starttls=False)
            service = self._services[key] = KeptIMAP(settings, self._mail, self._reactor)
            service.gone = self._gone
        return service

    def _gone(self, number: int, errors: bool) -> None:
        self.link.say(Word.CLOSED, number, errors)

    def _end(self, number: int) -> None:
        for service in self._services.values():
            if number in service.kept:
                self._reactor.callLater(0, service.kept[number].shutdown)
