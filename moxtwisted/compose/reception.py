"""A receiver: a process that takes in mail from strangers for the owner of the accounts.

::

    Reception(reactor, levels).start(descriptor)        # of the link; the owner says the rest

It has the configuration, the certificates of its listeners and a directory for large messages, and no key, database or other listener;
and it cannot open them (``moxtwisted.server.receivers.confinement``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger, globalLogBeginner

from moxtwisted.compose.certificates import inbound_tls
from moxtwisted.compose.confinement import confine_receiver
from moxtwisted.compose.inbound import inbound_settings
from moxtwisted.compose.senders import SenderLists
from moxtwisted.compose.translation import (
    SMTPListenerSettings,
    build_directory,
    message_quota,
    quota,
)
from moxtwisted.compose.verification import Verification
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import DomainsConfig, Listener, StaticConfig
from moxtwisted.config.startup import collector_paused
from moxtwisted.server.certificates.handed import HandedCertificates
from moxtwisted.server.directory import DirectoryHolder
from moxtwisted.server.inbound.handler import Inbound, InboundFactory
from moxtwisted.server.logging import LevelControl
from moxtwisted.server.processes.events import EventSender
from moxtwisted.server.ratelimit import AdmittedElsewhere
from moxtwisted.server.receivers.far import FarOutcome, FarRoom, HandedFactory, Owner
from moxtwisted.server.receivers.words import Word
from moxtwisted.server.sockets import adopt_connection, adopt_link
from moxtwisted.store.staging import Staging

__all__ = ["Reception", "SetUp"]

_log = Logger()

#: How often ticket keys of TLS are looked at, seconds.
_TICKETS_SECONDS: Final = 3600.0


class SetUp(msgspec.Struct, frozen=True):
    """What the owner tells a receiver at its start.

    :ivar static: the configuration, and where it was.
    :ivar certificates: by listener: see ``CertificateStore.handed``.
    :ivar staging: directory for large messages.
    :ivar levels: of the log.
    """

    static: StaticConfig
    domains: DomainsConfig
    static_path: str
    domains_path: str
    certificates: dict[str, list[tuple[str, str, bytes, bytes]]]
    staging: str
    levels: dict[str, str]


class Reception:
    """The whole receiver."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._owner = Owner(self._heard, self._lost)
        self._levels = LevelControl()
        self._factories: dict[str, HandedFactory] = {}
        self._certificates: dict[str, HandedCertificates] = {}
        self._protocols: dict[int, Any] = {}
        self._packer = ThreadPoolExecutor(1, "moxtwisted-packer")
        self._ending = False
        self._words: dict[Word, Callable[..., None]] = {
            Word.SET_UP: self._set_up,
            Word.CONNECTION: self._connection,
            Word.END: self._end,
            Word.USE: self._use,
            Word.CERTIFICATES: self._use_certificates,
            Word.LEVELS: self._use_levels,
            Word.LIST: self._use_list,
            Word.SHUT_DOWN: self._shut_down,
            Word.ASK: partial(self._owner.link.say, Word.HERE),
        }

    def start(self, descriptor: int) -> None:
        """Listen to the owner, and log through it."""
        os.set_blocking(descriptor, False)
        adopt_link(self._reactor, descriptor, self._owner.link)
        os.close(descriptor)
        send = EventSender(
            partial(self._owner.link.say, Word.EVENT), self._levels, self._reactor.callFromThread
        )
        globalLogBeginner.beginLoggingTo([send], redirectStandardIO=False)

    def _heard(self, word: Word, values: list[Any]) -> None:
        self._words[word](*values)

    def _lost(self) -> None:
        """Without the owner there is nothing to do, and nothing was promised to anybody."""
        self._packer.shutdown(wait=False, cancel_futures=True)
        if self._reactor.running:
            self._reactor.stop()

    # -- what the owner says -------------------------------------------------------------------------------------

    def _set_up(self, octets: bytes) -> None:
        told = msgspec.msgpack.decode(octets, type=SetUp)
        self._use_levels(told.levels)
        self._loaded = LoadedConfig(
            told.static, told.domains, Path(told.static_path), Path(told.domains_path)
        )
        self._staging = Path(told.staging)
        self._directory = DirectoryHolder(build_directory(told.static, told.domains, localserve=False))
        self._domains = told.domains
        self._lists = SenderLists(self._loaded, self._reactor, handed=True)
        self._verification = Verification(self._loaded, self._reactor)
        self._outcome: FarOutcome | None = None
        for name, handed in told.certificates.items():
            self._certificates[name] = HandedCertificates(self._reactor)
            self._certificates[name].use(handed)
        with collector_paused():
            self._verification.checks()
            self._verification.prepare()
            self._decider()
        for name, listener in told.static.listeners.items():
            if listener.smtp is not None and listener.smtp.enabled and not listener.proxy_protocol_from:
                self._factories[name] = self._factory(name, listener)
        self._reactor.callLater(_TICKETS_SECONDS, self._renew_tickets)
        # There is no other thread yet, which would be left out.
        confine_receiver(self._loaded, self._staging, self._verification.resolver.settings.servers)
        self._owner.link.say(Word.READY)

    def _factory(self, name: str, listener: Listener) -> HandedFactory:
        static, smtp = self._loaded.static, listener.smtp
        if smtp is None:
            raise ValueError(f"listener {name} takes no mail")
        hostname = listener.hostname or static.hostname
        settings = SMTPListenerSettings(static, (), listener, hostname).inbound(smtp)
        shared = Inbound(
            settings=inbound_settings(static, hostname, settings),
            stage=lambda _: Staging(self._staging, os.urandom, self._packer),
            room=FarRoom(self._owner, self._limited),
            directory=self._directory,
            delivery=None,
            clock=self._reactor,
            connections=AdmittedElsewhere(),
            checks=self._verification.checks_for(settings.mode),
            outcome=self._decider,
        )
        factory = HandedFactory(
            # Who may do without TLS depends on the recipient, which the machine does not know.
            evolve(settings, require_starttls=False),
            InboundFactory(shared),
            self._reactor,
            inbound_tls(listener, self._certificates.get(name)),
        )
        factory.gone = self._gone
        return factory

    def _decider(self) -> FarOutcome:
        if self._outcome is None:
            self._outcome = FarOutcome(self._owner, self._lists.policy())
        return self._outcome

    def _limited(self, account: str) -> bool:
        static = self._loaded.static
        return (
            quota(self._domains, static, account) is not None
            or message_quota(self._domains, static, account) is not None
        )

    def _connection(self, number: int, listener: str) -> None:
        descriptor = self._owner.link.descriptor()
        transport = None
        try:
            factory = self._factories[listener]
            factory.number = number
            transport = adopt_connection(self._reactor, descriptor, factory)
        except OSError:
            # It came and went.
            transport = None
        finally:
            os.close(descriptor)
        if transport is None:
            self._gone(number, errors=False)
        elif transport.connected:
            self._protocols[number] = transport.protocol

    def _gone(self, number: int, errors: bool) -> None:
        self._protocols.pop(number, None)
        self._owner.link.say(Word.CLOSED, number, errors)

    def _end(self, number: int) -> None:
        protocol = self._protocols.get(number)
        if protocol is not None:
            self._reactor.callLater(0, protocol.shutdown)

    def _use(self, octets: bytes) -> None:
        self._domains = msgspec.msgpack.decode(octets, type=DomainsConfig)
        self._directory.current = build_directory(self._loaded.static, self._domains, localserve=False)
        self._lists.use(self._domains)

    def _use_certificates(self, name: str, handed: list[Any]) -> None:
        self._certificates[name].use([tuple(one) for one in handed])

    def _use_levels(self, levels: dict[str, str]) -> None:
        self._levels.replace(levels)

    def _use_list(self, path: str, there: bool) -> None:
        if not there:
            self._lists.hand(path, None)
            return
        descriptor = self._owner.link.descriptor()
        try:
            self._lists.hand(path, descriptor)
        finally:
            os.close(descriptor)

    def _renew_tickets(self) -> None:
        for certificates in self._certificates.values():
            certificates.check()
        self._reactor.callLater(_TICKETS_SECONDS, self._renew_tickets)

    def _shut_down(self) -> None:
        if self._ending:
            return
        self._ending = True
        ended: Deferred[Any] = DeferredList([f.shutdown() for f in self._factories.values()])
        ended.addCallback(lambda _: self._owner.link.close())
