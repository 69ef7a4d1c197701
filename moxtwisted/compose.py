"""From the configuration to the running server: the only module that knows the classes of all services.

::

    service = make_service(load(Path("mox.conf")), reactor)      # for twistd; KeyRefusedError, StoreUnavailableError
    administration = await offline(Path("mox.conf"))             # the same store without listeners, for the commands

The order of a start: ports and certificates as the user that started us, then another user, then the store, then the services.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from moxtwisted import __version__
from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.config.load import LoadedConfig, load
from moxtwisted.config.privileges import DropPrivileges, find_identity
from moxtwisted.config.schema import (
    DomainsConfig,
    Listener,
    ListenerTLS,
    LMTPService,
    SMTPService,
    StaticConfig,
    SubmissionService,
    SubmissionsService,
)
from moxtwisted.config.storekey import read_key
from moxtwisted.config.watch import DomainsWatcher, HangUp
from moxtwisted.imap.protocol import ServerTLS as IMAPTLS
from moxtwisted.imap.settings import Limits as IMAPSessionLimits
from moxtwisted.imap.settings import ServerSettings as IMAPSettings
from moxtwisted.imap.settings import Timeouts as IMAPTimeouts
from moxtwisted.server.administration import Administered, Administration
from moxtwisted.server.authentication import AuthenticationSettings, Authenticator, HashPool
from moxtwisted.server.certificates.contexts import TLSProfile
from moxtwisted.server.certificates.files import CertificateFiles
from moxtwisted.server.certificates.store import CertificateStore, CertificateWatch
from moxtwisted.server.control.amp import ControlService
from moxtwisted.server.credentials import DirectoryCredentials
from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.directory import (
    AccountEntry,
    AliasEntry,
    Delivery,
    Directory,
    DirectoryHolder,
    DomainEntry,
    Postmaster,
)
from moxtwisted.server.imapd.service import IMAPService, Mail
from moxtwisted.server.inbound.handler import Inbound, InboundFactory, InboundSettings
from moxtwisted.server.inbound.provocation import ByLocalpart, Provocation
from moxtwisted.server.ratelimit import AuthenticationLimits, ConnectionLimiter, ConnectionLimits
from moxtwisted.server.submission.handler import Submission, SubmissionFactory, SubmissionSettings
from moxtwisted.smtp.protocol import ServerTLS as SMTPTLS
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.settings import Limits as SMTPSessionLimits
from moxtwisted.smtp.settings import Mode
from moxtwisted.smtp.settings import ServerSettings as SMTPSettings
from moxtwisted.smtp.settings import Timeouts as SMTPTimeouts
from moxtwisted.store.keys import MasterKey, check_key_value
from moxtwisted.store.queue import Queue, SendingLimits
from moxtwisted.store.store import Store

__all__ = ["initial_mailboxes", "make_service", "offline"]

_log = Logger()

#: In the data directory.
SOCKET_NAME: Final = "ctl"
QUEUE_NAME: Final = "queue.db"
#: How often expunged messages are looked at, seconds.
RETIRE_SECONDS: Final = 86400.0


def make_service(
    loaded: LoadedConfig, reactor: Any, *, log_levels: Any = None, localserve: bool = False
) -> IService:
    """The whole server.

    :param localserve: a server for tests: takes mail for every address into the first account, and lets addresses
        provoke errors.
    :raises KeyRefusedError: when the key is missing or not the one of this store; nothing was touched.
    """
    key = _master_key(loaded)
    check_key_value(loaded.data_directory / "key-check", key)
    server = _Server(loaded, reactor, key, localserve=localserve)
    top = MultiService()
    for service in server.services(log_levels):
        service.setServiceParent(top)
    return top


async def offline(static_path: Path) -> Administration:
    """The administration of a server that is down, on its closed files; close it when done.

    :raises KeyRefusedError: , StoreUnavailableError, ConfigurationError.
    """
    from twisted.internet import reactor

    loaded = load(static_path)
    store = Store.open(reactor, loaded.data_directory, _master_key(loaded))
    static = loaded.static
    store.quota_of = partial(_quota, loaded.domains, static)
    queue = _open_queue(loaded, store)
    await _ready_accounts(store, loaded.domains, static)
    return Administration(
        ConfigurationEditor(loaded.static_path),
        Administered(
            reactor=reactor,
            store=store,
            queue=queue,
            initial_mailboxes=initial_mailboxes(static),
            retire_after_seconds=static.store.retire_expunged_after_seconds,
            cram_md5=static.authentication.cram_md5,
        ),
    )


def initial_mailboxes(static: StaticConfig) -> Sequence[tuple[str, str]]:
    """(name, special use) of the mailboxes of a new account, beside INBOX."""
    special = static.initial_mailboxes.special_use
    uses = (
        (special.sent, "\\Sent"),
        (special.archive, "\\Archive"),
        (special.trash, "\\Trash"),
        (special.drafts, "\\Drafts"),
        (special.junk, "\\Junk"),
    )
    return [(name, use) for name, use in uses if name] + [
        (name, "") for name in static.initial_mailboxes.regular
    ]


def build_directory(static: StaticConfig, domains: DomainsConfig, *, localserve: bool = False) -> Directory:
    """Domains, accounts and addresses as the services look them up."""
    everything = Delivery(next(iter(domains.accounts)), "INBOX") if localserve else None
    return Directory.build(
        [
            DomainEntry(
                name,
                disabled=domain.disabled,
                separators=domain.localpart_separators,
                case_sensitive=domain.case_sensitive,
                aliases={
                    localpart: AliasEntry(alias.addresses, alias.post_public, alias.allow_message_from)
                    for localpart, alias in domain.aliases.items()
                },
            )
            for name, domain in domains.domains.items()
        ],
        [
            AccountEntry(
                name,
                disabled=account.disabled,
                imap_capabilities_disabled=frozenset(account.imap_capabilities_disabled),
                tls_public_keys=frozenset(account.tls_public_keys),
                addresses={address: to.mailbox for address, to in account.addresses.items()},
            )
            for name, account in domains.accounts.items()
        ],
        Postmaster(static.postmaster.account, static.postmaster.mailbox),
        static.hostname,
        everything,
    )


def _master_key(loaded: LoadedConfig) -> MasterKey | None:
    secret = read_key(loaded)
    return None if secret is None else MasterKey(secret)


def _open_queue(loaded: LoadedConfig, store: Store) -> Queue:
    return Queue.open(loaded.data_directory / QUEUE_NAME, store.database_key("queue"), store.pool)


def _quota(domains: DomainsConfig, static: StaticConfig, name: str) -> int | None:
    account = domains.accounts.get(name)
    octets = account.quota_octets if account is not None else None
    # 0 is no limit, in both places.
    return (static.store.quota_octets if octets is None else octets) or None


async def _ready_accounts(store: Store, domains: DomainsConfig, static: StaticConfig) -> None:
    """Make the accounts that the configuration has and the store has not."""
    there = set(store.accounts())
    for name in domains.accounts:
        if name not in there:
            await store.create_account(name, initial_mailboxes(static))
            _log.info("account {account} was made", account=name)


class _Server:
    """The parts that services share, made when the process has become the user it runs as."""

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
        self.started = time.time()
        self.opened = False

    # -- services ------------------------------------------------------------------------------------------------

    def services(self, log_levels: Any) -> Iterator[Service]:
        """All of them, in the order of their start."""
        core = _Core(self)
        yield core
        for certificates in core.certificates:
            yield CertificateWatch(certificates, self.reactor)
        watcher = DomainsWatcher(self.loaded, self.reactor, self.use)
        yield watcher
        yield HangUp(self.reactor.callFromThread, lambda: self._reload(watcher, core))
        yield _Control(self, watcher, log_levels)
        yield _Retirement(self)
        if self.static.user:
            yield DropPrivileges(find_identity(self.static.user))

    @staticmethod
    def _reload(watcher: DomainsWatcher, core: _Core) -> None:
        watcher.check()
        for certificates in core.certificates:
            certificates.check()

    def open(self) -> None:
        """Open the store and make what needs it.

        :raises StoreUnavailableError: when another process uses it.
        """
        self.store = Store.open(self.reactor, self.loaded.data_directory, self.key)
        self.store.quota_of = partial(_quota, self.loaded.domains, self.static)
        self.queue = _open_queue(self.loaded, self.store)
        self.delivery = LocalDelivery(self.store)
        limits = self.static.limits
        self.authenticator = Authenticator(
            DirectoryCredentials(self.directory, self.store),
            self.hashes,
            self.reactor,
            os.urandom,
            limits=AuthenticationLimits(
                limits.authentication_failures_per_minute, limits.authentication_failures_per_day
            ),
            settings=AuthenticationSettings(decoy_secret=self.key.derive("decoys") if self.key else b""),
        )
        self.hashes.start()
        self.opened = True

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self.directory.current = build_directory(self.static, domains, localserve=self.localserve)
        self.authenticator.forget_all()
        self.store.quota_of = partial(_quota, domains, self.static)
        self.store.refresh_quotas()
        made = Deferred.fromCoroutine(_ready_accounts(self.store, domains, self.static))
        made.addErrback(lambda failure: _log.failure("new accounts could not be made", failure))

    async def close(self) -> None:
        """Close the files; nothing when the start came to nothing."""
        if not self.opened:
            return
        self.opened = False
        self.hashes.stop()
        await self.queue.close()
        await self.store.close()

    # -- what listeners serve ------------------------------------------------------------------------------------

    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms on offer."""
        authentication = self.static.authentication
        return authentication.mechanisms + (("CRAM-MD5",) if authentication.cram_md5 else ())

    def inbound(
        self, hostname: str, settings: SMTPSettings, tls: Callable[[], SMTPTLS | None]
    ) -> SMTPServerFactory:
        """An MX or LMTP listener's factory."""
        limits = self.static.limits.smtp
        shared = Inbound(
            settings=InboundSettings(
                hostname=hostname,
                lmtp=settings.mode is Mode.LMTP,
                null_sender_recipients=limits.recipients_of_null_sender,
                received_fields=limits.received_fields,
                unknown_recipients_delay_seconds=limits.unknown_recipients_delay_seconds,
            ),
            store=self.store,
            directory=self.directory,
            delivery=self.delivery,
            clock=self.reactor,
            connections=self.connections,
            provocation=self.provocation,
        )
        return SMTPServerFactory(settings, InboundFactory(shared), self.reactor, tls())

    def submission(
        self, hostname: str, settings: SMTPSettings, tls: Callable[[], SMTPTLS | None]
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
        )
        return SMTPServerFactory(settings, SubmissionFactory(shared), self.reactor, tls())

    def imap(self, settings: IMAPSettings, tls: Callable[[], IMAPTLS | None]) -> IMAPService:
        """An IMAP listener's factory."""
        mail = Mail(
            store=self.store,
            directory=self.directory,
            authenticator=self.authenticator,
            connections=self.connections,
            mechanisms=tuple(m for m in self.mechanisms() if m != "LOGIN"),
            append_limit=self.static.limits.imap.message_octets,
            seconds=time.time,
        )
        return IMAPService(settings, mail, self.reactor, tls(), decoys=self.authenticator.decoys)


class _Late(Factory):
    """Passes connections on to a factory that is made after the port was bound."""

    noisy = False

    def __init__(self, what: str, make: Callable[[], Any]) -> None:
        self.what = what
        self.make = make
        self.inner: Any = None

    def buildProtocol(self, addr: Any) -> Any:
        return self.inner.buildProtocol(addr) if self.inner is not None else None


class _Core(Service):
    """Store and listeners: bound first, opened as the final user, closed when the last connection ended.

    Twisted calls ``privilegedStartService`` as the user that started the process and ``startService`` as the one it became;
    the reactor does not run in between, so no connection comes too early.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._listeners: list[_Late] = []
        self._ports: list[Any] = []
        self._binders: list[tuple[_Late, Callable[[Factory], Any]]] = []
        self.certificates: list[CertificateStore] = []
        for name, listener in server.static.listeners.items():
            self._plan(name, listener)

    def privilegedStartService(self) -> None:
        """Make the data directory, read the certificates, bind the ports."""
        static = self._server.static
        _make_data_directory(self._server.loaded.data_directory, static.user)
        for certificates in self.certificates:
            certificates.load()
        for late, bind in self._binders:
            self._ports.append(bind(late))
            self._listeners.append(late)

    def startService(self) -> None:
        """Open the store, make the accounts, serve."""
        Service.startService(self)
        self._server.open()
        ready = Deferred.fromCoroutine(
            _ready_accounts(self._server.store, self._server.loaded.domains, self._server.static)
        )
        ready.addCallbacks(
            self._serve, lambda failure: _log.failure("the accounts could not be made", failure)
        )

    def _serve(self, _: object) -> None:
        for late in self._listeners:
            late.inner = late.make()
            _log.info("listening: {what}", what=late.what)

    def stopService(self) -> Deferred[None]:
        """Take no more connections, end those that are there gently, close the store."""
        Service.stopService(self)
        ports, self._ports = self._ports, []
        return Deferred.fromCoroutine(self._stop(ports))

    async def _stop(self, ports: Sequence[Any]) -> None:
        await DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)
        ended: Deferred[Any] = DeferredList(
            [late.inner.shutdown() for late in self._listeners if late.inner is not None], consumeErrors=True
        )
        ended.addTimeout(self._server.static.limits.shutdown_seconds, self._server.reactor)
        ended.addErrback(lambda _: _log.warn("some connections did not end in time"))
        await ended
        await self._server.close()

    # -- listeners -----------------------------------------------------------------------------------------------

    def _plan(self, name: str, listener: Listener) -> None:
        """Note what a listener of the configuration serves, and where."""
        server = self._server
        hostname = listener.hostname or server.static.hostname
        tls = _ListenerTLS(server, listener)
        if tls.certificates is not None:
            self.certificates.append(tls.certificates)
        smtp = _SMTPSettings(server, listener, hostname)
        if listener.smtp is not None and listener.smtp.enabled:
            offered = partial(tls.inbound, listener.smtp)
            make = partial(server.inbound, hostname, smtp.inbound(listener.smtp), offered)
            self._bind(f"smtp ({name})", listener, listener.smtp.port, make)
        for submission, implicit in ((listener.submission, False), (listener.submissions, True)):
            if submission is not None and submission.enabled:
                settings = smtp.submission(submission)
                make = partial(server.submission, hostname, settings, partial(tls.smtp, implicit=implicit))
                word = "submissions" if implicit else "submission"
                self._bind(f"{word} ({name})", listener, submission.port, make)
        for imap, implicit in ((listener.imap, False), (listener.imaps, True)):
            if imap is not None and imap.enabled:
                plain = not implicit and not getattr(imap, "require_starttls", True)
                settings_imap = _imap_settings(server.static, hostname, plain=plain)
                make_imap = partial(self._imap, listener, settings_imap, partial(tls.imap, implicit=implicit))
                self._bind(f"{'imaps' if implicit else 'imap'} ({name})", listener, imap.port, make_imap)
        if listener.lmtp is not None and listener.lmtp.enabled:
            make = partial(server.inbound, hostname, smtp.lmtp(), partial(tls.smtp, implicit=False))
            self._bind_lmtp(name, listener, listener.lmtp, make)

    def _imap(self, listener: Listener, settings: IMAPSettings, tls: Callable[[], IMAPTLS | None]) -> Any:
        factory = self._server.imap(settings, tls)
        if listener.proxy_protocol_from:
            from moxtwisted.server.proxied import ProxiedFactory

            return ProxiedFactory(factory, listener.proxy_protocol_from)
        return factory

    def _bind(self, what: str, listener: Listener, port: int, make: Callable[[], Any]) -> None:
        for ip in listener.ips:
            where = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
            bind = partial(self._listen, port, ip)
            self._binders.append((_Late(f"{what} on {where}", make), bind))

    def _listen(self, port: int, ip: str, factory: Factory) -> Any:
        return self._server.reactor.listenTCP(port, factory, backlog=511, interface=ip)

    def _bind_lmtp(self, name: str, listener: Listener, lmtp: LMTPService, make: Callable[[], Any]) -> None:
        if not lmtp.path:
            self._bind(f"lmtp ({name})", listener, lmtp.port, make)
            return
        path = self._server.loaded.data_directory / lmtp.path

        def bind(factory: Factory) -> Any:
            path.unlink(missing_ok=True)
            return self._server.reactor.listenUNIX(str(path), factory, mode=0o660)

        self._binders.append((_Late(f"lmtp ({name}) on {path}", make), bind))


def _make_data_directory(path: Path, user: str) -> None:
    """Make it for the user that the process becomes."""
    if path.exists():
        return
    path.mkdir(mode=0o700, parents=True)
    if user and os.getuid() == 0:
        identity = find_identity(user)
        os.chown(path, identity.uid, identity.gid)


class _ListenerTLS:
    """The certificates of a listener, and what its services do with them, once they were loaded."""

    def __init__(self, server: _Server, listener: Listener) -> None:
        self._tls = listener.tls
        self.certificates: CertificateStore | None = None
        if listener.tls is not None:
            resolve = server.loaded.resolve
            self.certificates = CertificateStore(
                tuple(
                    CertificateFiles(str(resolve(pair.certificate)), str(resolve(pair.key)))
                    for pair in listener.tls.certificates
                ),
                server.reactor,
            )

    def inbound(self, smtp: SMTPService) -> SMTPTLS | None:
        """For port 25."""
        if self._tls is None or self.certificates is None or smtp.starttls == "none":
            return None
        profile = TLSProfile.inbound(
            minimum_version=self._tls.minimum_version, session_tickets=smtp.tls_session_tickets
        )
        return SMTPTLS(self.certificates.server(profile))

    def smtp(self, *, implicit: bool) -> SMTPTLS | None:
        """For submission and LMTP."""
        if self._tls is None or self.certificates is None:
            return None
        return SMTPTLS(self.certificates.server(self._for_users(self._tls)), implicit)

    def imap(self, *, implicit: bool) -> IMAPTLS | None:
        """For IMAP."""
        if self._tls is None or self.certificates is None:
            return None
        return IMAPTLS(self.certificates.server(self._for_users(self._tls)), implicit)

    @staticmethod
    def _for_users(tls: ListenerTLS) -> TLSProfile:
        return TLSProfile(
            minimum_version=tls.minimum_version, request_client_certificate=tls.client_certificates
        )


class _SMTPSettings:
    """Settings of a listener's SMTP services."""

    def __init__(self, server: _Server, listener: Listener, hostname: str) -> None:
        self._server = server
        static = server.static
        limits = static.limits.smtp
        slow = 1.0 if limits.slow_mode else 0.0
        self._common: dict[str, Any] = {
            "hostname": hostname,
            "size_limit": limits.message_octets,
            "proxy_networks": tuple(ip_network(n, strict=False) for n in listener.proxy_protocol_from),
            "limits": SMTPSessionLimits(
                line_octets=limits.line_octets,
                recipients=limits.recipients,
                bad_transactions=limits.bad_transactions,
                auth_failures_slow=static.limits.authentication_failures_before_delay,
            ),
            "timeouts": SMTPTimeouts(
                command=limits.read_seconds,
                data_block=limits.read_seconds,
                data_total=limits.data_seconds,
                tls_handshake=limits.tls_handshake_seconds,
                write=limits.write_seconds,
                slow_read=slow,
                slow_write=slow,
                shutdown=static.limits.shutdown_seconds,
            ),
        }

    def inbound(self, smtp: SMTPService) -> SMTPSettings:
        """For port 25."""
        return SMTPSettings(
            requiretls=smtp.requiretls, require_starttls=smtp.starttls == "required", **self._common
        )

    def submission(self, submission: SubmissionService | SubmissionsService) -> SMTPSettings:
        """For 587 and 465."""
        plain = isinstance(submission, SubmissionService) and not submission.require_starttls
        return SMTPSettings(
            mode=Mode.SUBMISSION,
            mechanisms=self._server.mechanisms(),
            require_starttls=isinstance(submission, SubmissionService) and submission.require_starttls,
            auth_without_tls=plain and self._server.static.authentication.allow_plain_without_tls,
            **self._common,
        )

    def lmtp(self) -> SMTPSettings:
        """For LMTP."""
        return SMTPSettings(mode=Mode.LMTP, **self._common)


def _imap_settings(static: StaticConfig, hostname: str, *, plain: bool) -> IMAPSettings:
    limits = static.limits.imap
    return IMAPSettings(
        hostname=hostname,
        software=("moxtwisted", __version__),
        allow_plain_without_tls=plain and static.authentication.allow_plain_without_tls,
        limits=IMAPSessionLimits(
            line_octets=limits.line_octets,
            literal_octets=limits.literal_octets,
            command_octets=limits.command_octets,
            append_octets=limits.message_octets,
            bad_commands=limits.bad_commands,
        ),
        timeouts=IMAPTimeouts(
            login=limits.login_seconds,
            idle=limits.idle_seconds,
            write=limits.write_seconds,
            shutdown=static.limits.shutdown_seconds,
        ),
    )


class _Control(Service):
    """The unix socket for the commands."""

    def __init__(self, server: _Server, watcher: DomainsWatcher, log_levels: Any) -> None:
        self._server = server
        self._watcher = watcher
        self._log_levels = log_levels
        self._inner: ControlService | None = None

    def startService(self) -> None:
        """Listen."""
        Service.startService(self)
        server = self._server
        editor = ConfigurationEditor(server.loaded.static_path, self._watcher.check)
        administered = Administered(
            reactor=server.reactor,
            store=server.store,
            queue=server.queue,
            initial_mailboxes=initial_mailboxes(server.static),
            retire_after_seconds=server.static.store.retire_expunged_after_seconds,
            cram_md5=server.static.authentication.cram_md5,
            changed_account=server.authenticator.forget,
            facts={
                "version": __version__,
                "hostname": server.static.hostname,
                "pid": os.getpid(),
                "started": int(server.started),
            },
            stop=lambda: server.reactor.callLater(0.05, server.reactor.stop),
            log_levels=self._log_levels,
        )
        path = server.loaded.data_directory / SOCKET_NAME
        self._inner = ControlService(server.reactor, path, Administration(editor, administered))
        self._inner.startService()

    def stopService(self) -> Any:
        """Listen no more."""
        Service.stopService(self)
        return self._inner.stopService() if self._inner is not None else None


class _Retirement(Service):
    """Once a day, forgets what was expunged long ago."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._loop = LoopingCall(self._retire)
        self._loop.clock = server.reactor

    def startService(self) -> None:
        """Begin, an hour after the start at the earliest: a restart is no reason to open all accounts."""
        Service.startService(self)
        self._loop.start(RETIRE_SECONDS, now=False)

    def stopService(self) -> None:
        """End."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()

    async def _work(self) -> None:
        from moxtwisted.store.maintenance import retire

        server = self._server
        for name in server.store.accounts():
            older = server.static.store.retire_expunged_after_seconds
            await retire(server.store.account(name), older, int(time.time()))

    def _retire(self) -> Deferred[None]:
        done = Deferred.fromCoroutine(self._work())
        return done.addErrback(lambda failure: _log.failure("forgetting expunged messages failed", failure))
