"""What the services of one server share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogPublisher

from moxtwisted.compose.authority import make_elsewhere, offered_mechanisms
from moxtwisted.compose.bans import end_connections, open_bans
from moxtwisted.compose.effects import Effects
from moxtwisted.compose.files import allow_many_files
from moxtwisted.compose.inbound import inbound_settings
from moxtwisted.compose.judgement import Judging
from moxtwisted.compose.junk import filter_content, learn_junk
from moxtwisted.compose.opening import configure_accounts, open_queue, ready_accounts
from moxtwisted.compose.reports import Reports
from moxtwisted.compose.signing import Signers
from moxtwisted.compose.translation import (
    build_directory,
    imap_settings,
)
from moxtwisted.compose.verification import Verification
from moxtwisted.config.atomic import replace_file
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema import DomainsConfig
from moxtwisted.imap.settings import ServerSettings as IMAPSettings
from moxtwisted.server.authentication import AuthenticationSettings, Authenticator, HashPool
from moxtwisted.server.bans import SPAM_TRAP
from moxtwisted.server.credentials import DirectoryCredentials
from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.directory import (
    DirectoryHolder,
)
from moxtwisted.server.inbound.handler import Inbound, InboundFactory
from moxtwisted.server.inbound.provocation import ByLocalpart, Provocation
from moxtwisted.server.inbound.room import Room
from moxtwisted.server.intake import Trouble
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.server.logging import FailureCounter
from moxtwisted.server.loginlimits import LoginLimits
from moxtwisted.server.metrics import Metrics
from moxtwisted.server.ratelimit import AuthenticationLimits, ConnectionLimiter, ConnectionLimits
from moxtwisted.server.sockets import Carrier
from moxtwisted.server.submission.handler import Submission, SubmissionFactory, SubmissionSettings
from moxtwisted.smtp.protocol import ServerTLS as SMTPServerTLS
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.settings import Mode
from moxtwisted.smtp.settings import ServerSettings as SMTPSettings
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.queue import SendingLimits
from moxtwisted.store.store import Store

if TYPE_CHECKING:
    # A fifth of what the program is made of: it is imported after the first ports are open, see Listeners.
    from moxtwisted.compose.keepers import Keepers
    from moxtwisted.compose.receivers import Receivers
    from moxtwisted.imap.protocol import ServerTLS as IMAPServerTLS
    from moxtwisted.server.imapd.local import LocalIMAP
    from moxtwisted.server.imapd.service import IMAPService, Mail
    from moxtwisted.server.lending.lending import Lending

__all__ = ["Parts"]

_log = Logger()

#: Only where encryption is off.
DECOYS_NAME: Final = "decoys"


class Parts:
    """The parts that services share, made when the process has become the user it runs as.

    :ivar places: where accounts are.
    :ivar lending: which keeper has which; None: there are no keepers.
    """

    def __init__(
        self, loaded: LoadedConfig, reactor: Any, key: MasterKey | None, *, localserve: bool
    ) -> None:
        self.loaded = loaded
        self.static = loaded.static
        self.reactor = reactor
        self.key = key
        self.localserve = localserve
        self.directory = DirectoryHolder(build_directory(self.static, loaded.domains, localserve=localserve))
        limits = self.static.limits
        self.connections = ConnectionLimiter(
            ConnectionLimits(limits.connections_per_minute, limits.connections_at_once), reactor
        )
        self.hashes = HashPool(reactor)
        self.provocation = ByLocalpart(reactor) if localserve else Provocation()
        self.signers = Signers(loaded.directory, loaded.domains, reactor)
        self.verification = Verification(loaded, reactor)
        self.judging = Judging(loaded, reactor, self.verification, self.directory)
        self.effects = Effects(loaded, reactor, self.verification, self.judging)
        self.started = time.time()
        self.opened = False
        self.failures = FailureCounter()
        self.metrics = Metrics()
        self._imap: list[IMAPService] = []
        self.factories: list[Any] = []
        self.receivers: Receivers | None = None
        self.keepers: Keepers | None = None
        self.places: IPlaces = AllHere()
        self.lending: Lending | None = None
        self._shared_mail: Mail | None = None

    @property
    def has_receivers(self) -> bool:
        """Whether other processes take in mail from strangers."""
        wanted = self.static.receivers.processes > 0 and not self.localserve
        return wanted and self.effects.outcome_for(Mode.MX) is not None

    def open(self) -> None:
        """Open the store and make what needs it.

        :raises StoreUnavailableError: when another process uses it.
        """
        allow_many_files()
        self.store = Store.open(self.reactor, self.loaded.data_directory, self.key)
        if self.has_receivers:
            self.store.pool.leave_reactor_alone_while(
                lambda: self.receivers is not None and self.receivers.are_serving
            )
        configure_accounts(self.store, self.loaded.domains, self.static)
        learn_junk(self.store)
        self.effects.content = filter_content(self.store, self.reactor)
        self.reports = Reports(self.loaded, self.store, self.reactor, self.directory)
        self.effects.note_report = self.reports.note
        self.queue = open_queue(self.loaded, self.store)
        self.delivery = LocalDelivery(self.store)
        if self.has_keepers:
            self._prepare_to_lend()
        self.effects.places = self.places
        self.bans = self.connections.bans = open_bans(self.loaded, self.store, self.reactor)
        self.effects.open(
            self.store,
            self.delivery,
            lambda ip, why: self.bans.report(ip, SPAM_TRAP, why),
            partial(self.bans.welcome, by_mail=True),
        )
        self.bans.observers.append(partial(end_connections, self.bans, self.factories, self.reactor))
        limits = self.static.limits
        self.authenticator = Authenticator(
            DirectoryCredentials(self.directory, self.store, self.places),
            self.hashes,
            self.reactor,
            os.urandom,
            limits=LoginLimits(
                AuthenticationLimits(
                    limits.authentication_failures_per_minute, limits.authentication_failures_per_day
                ),
                self.reactor,
                os.urandom,
                self.bans,
            ),
            settings=AuthenticationSettings(decoy_secret=self._decoy_secret()),
        )
        self.authenticator.elsewhere = make_elsewhere(self.loaded, self.reactor)
        self.hashes.start()
        self.verification.start()
        self.signers.start()
        globalLogPublisher.addObserver(self.failures)
        globalLogPublisher.addObserver(self.metrics)
        self.opened = True

    @property
    def has_keepers(self) -> bool:
        """Whether other processes serve IMAP."""
        return self.static.keepers.processes > 0 and not self.localserve

    def _prepare_to_lend(self) -> None:
        from moxtwisted.server.lending.lending import Lending
        from moxtwisted.server.lending.operations import Operations

        def may_go(account: str) -> bool:
            entry = self.directory.current.accounts.get(account)
            return entry is not None and not entry.queue_mailbox

        operations = Operations(self.store, self.delivery, self.effects.judge, self.effects.rejects)
        self.places = self.lending = Lending(
            store=self.store, clock=self.reactor, operations=operations, may_go=may_go
        )
        self.store.elsewhere = self.lending.is_away
        self.store.room.shared = True
        self.delivery.places = self.places

    def _decoy_secret(self) -> bytes:
        """What the salts of users that are not there are made of; it outlives restarts, as real salts do."""
        if self.key is not None:
            return self.key.derive("decoys")
        path = self.loaded.data_directory / DECOYS_NAME
        if not path.exists():
            replace_file(path, os.urandom(32), 0o600)
        return path.read_bytes()

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self.directory.current = build_directory(self.static, domains, localserve=self.localserve)
        self.authenticator.forget_all()
        self.signers.use(domains)
        self.judging.use(domains)
        self.effects.use(domains)
        if self.receivers is not None:
            self.receivers.use(domains)
        if self.keepers is not None:
            self.keepers.use(domains)
        for service in self._imap:
            service.review()
        configure_accounts(self.store, domains, self.static)
        made = Deferred.fromCoroutine(ready_accounts(self.store, domains, self.static))
        made.addErrback(lambda failure: _log.failure("new accounts could not be made", failure))

    def changed_account(self, name: str) -> None:
        """The password of an account changed, or it is gone: who is logged in is so no longer.

        It came home before that, which ended the sessions it had elsewhere, and is in use here until this returns.
        """
        self.authenticator.forget(name)
        for service in self._imap:
            service.end_sessions(name)

    async def close(self) -> None:
        """Close the files; nothing when the start came to nothing."""
        if not self.opened:
            return
        self.opened = False
        globalLogPublisher.removeObserver(self.failures)
        globalLogPublisher.removeObserver(self.metrics)
        self.hashes.stop()
        self.verification.stop()
        self.signers.stop()
        await self.effects.close()
        await self.bans.close()
        await self.reports.close()
        await self.queue.close()
        await self.store.close()

    # -- what listeners serve ------------------------------------------------------------------------------------

    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms on offer."""
        return offered_mechanisms(self.static.authentication)

    def inbound(
        self, hostname: str, settings: SMTPSettings, tls: Callable[[], SMTPServerTLS | None]
    ) -> SMTPServerFactory:
        """An MX or LMTP listener's factory."""
        outcome = self.effects.outcome_for(settings.mode)
        trouble = Trouble(self.reactor.seconds)
        shared = Inbound(
            settings=inbound_settings(self.static, hostname, settings),
            stage=self.store.stage,
            room=Room(self.store, trouble, outcome, self.places),
            directory=self.directory,
            delivery=self.delivery,
            clock=self.reactor,
            connections=self.connections,
            provocation=self.provocation,
            checks=self.verification.checks_for(settings.mode),
            outcome=outcome,
            turn_away=self.effects.turn_away_for(settings.mode),
            trouble=trouble,
        )
        # Who may do without TLS depends on the recipient, which the machine does not know.
        machine = evolve(settings, require_starttls=False)
        return self._noted(SMTPServerFactory(machine, InboundFactory(shared), self.reactor, tls()))

    def submission(
        self, hostname: str, settings: SMTPSettings, tls: Callable[[], SMTPServerTLS | None]
    ) -> SMTPServerFactory:
        """A submission listener's factory."""
        limits = self.static.limits.smtp
        shared = Submission(
            settings=SubmissionSettings(
                hostname=hostname,
                mechanisms=settings.mechanisms,
                limits=SendingLimits(
                    messages=limits.submitted_messages_per_day,
                    new_recipients=limits.first_time_recipients_per_day,
                ),
            ),
            store=self.store,
            queue=self.queue,
            directory=self.directory,
            delivery=self.delivery,
            authenticator=self.authenticator,
            clock=self.reactor,
            connections=self.connections,
            provocation=self.provocation,
            signing=self.signers.current,
            places=self.places,
        )
        return self._noted(SMTPServerFactory(settings, SubmissionFactory(shared), self.reactor, tls()))

    def _noted(self, factory: SMTPServerFactory) -> SMTPServerFactory:
        """Remember whose connections are ended when a network is banned."""
        self.factories.append(factory)
        return factory

    def imap(self, settings: IMAPSettings, tls: Callable[[], IMAPServerTLS | None]) -> IMAPService:
        """An IMAP listener's factory."""
        from moxtwisted.server.imapd.service import IMAPService

        service = IMAPService(settings, self._mail(), self.reactor, tls(), decoys=self.authenticator.decoys)
        if self.lending is not None:
            service.carrier = Carrier(self.reactor)
        self._imap.append(service)
        self.factories.append(service)
        return service

    def local_imap(self) -> LocalIMAP:
        """IMAP without a log-in, for who can open the control socket."""
        from moxtwisted.server.imapd.local import LocalIMAP

        settings = imap_settings(self.static, self.static.hostname, plain=True)
        service = LocalIMAP(settings, self._mail(), self.reactor, decoys=self.authenticator.decoys)
        self._imap.append(service)
        return service

    def _mail(self) -> Mail:
        if self._shared_mail is None:
            self._shared_mail = self._make_mail()
        return self._shared_mail

    def _make_mail(self) -> Mail:
        from moxtwisted.server.imapd.service import Mail

        return Mail(
            store=self.store,
            directory=self.directory,
            authenticator=self.authenticator,
            connections=self.connections,
            mechanisms=tuple(m for m in self.mechanisms() if m != "LOGIN"),
            append_limit=self.static.limits.imap.message_octets,
            seconds=time.time,
            queue=self.queue,
            lending=self.lending,
            places=self.places,
        )
