"""The IMAP listener of the server: who may connect and log in, and whose mail it then is."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock
from zope.interface import implementer

from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.imap.backend import IAuthenticator, ISession
from moxtwisted.imap.preauthentication import IPreauthenticator
from moxtwisted.imap.protocol import IMAPServerFactory, IMAPServerProtocol, ServerTLS
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.imap.sharedsession import SharingSession
from moxtwisted.sasl.interfaces import ISASLBackend
from moxtwisted.sasl.outcome import Failure, Reason
from moxtwisted.server.authentication import Authenticator, Origin, Session
from moxtwisted.server.certificates.binding import client_key_fingerprint, tls_description
from moxtwisted.server.directory import AccountEntry, DirectoryHolder
from moxtwisted.server.imapd.away import AwaySession
from moxtwisted.server.imapd.mail import EXTENSIONS, AccountSession
from moxtwisted.server.imapd.queued import QueueSession
from moxtwisted.server.imapd.sharing import StoreShares
from moxtwisted.server.imapd.urlkeys import URLKeys
from moxtwisted.server.lending.interfaces import AllHere, IPlaces
from moxtwisted.server.ratelimit import Connections
from moxtwisted.store.interfaces import IAccount
from moxtwisted.store.queue import Queue
from moxtwisted.store.store import Store

if TYPE_CHECKING:
    # Few servers lend anything.
    from moxtwisted.server.lending.lending import Lending

__all__ = ["IMAPService", "Mail"]


#: What BYE says when a session has to end, and another may begin.
_LOG_IN_AGAIN: Final = "please log in again"


class TooManyConnectionsError(MailError):
    """A client connects too often."""

    reply_code = 421
    enhanced_code = "4.7.0"
    imap_code = "UNAVAILABLE"


class LoginRefusedError(MailError):
    """A log-in failed for a reason that the user may know."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail, public_text=failure.public_text)
        self.imap_code = failure.reason.imap_code


@frozen(kw_only=True)
class Mail:
    """What all connections share.

    :ivar authenticator: None where nobody logs in.
    :ivar append_limit: octets of one message.
    :ivar seconds: the time of day.
    :ivar url_keys: one at a time makes the key of an account's URLs.
    :ivar queue: shown to those accounts that want to see it; None: to nobody.
    :ivar places: where the accounts are.
    :ivar lending: has other processes serve those who logged in; None: there are none.
    """

    store: Store
    directory: DirectoryHolder
    authenticator: Authenticator | None
    connections: Connections
    mechanisms: tuple[str, ...]
    append_limit: int
    seconds: Callable[[], float]
    entropy: Callable[[int], bytes] = os.urandom
    url_keys: DeferredLock = field(factory=DeferredLock)
    queue: Queue | None = None
    places: IPlaces = field(factory=AllHere)
    lending: Lending | None = None

    def entry(self, identity: str) -> AccountEntry:
        """Whose mail it is. :raises StoreUnavailableError: nobody's any more."""
        directory = self.directory.current
        # The identity is the login; an account without an address of its own (a catch-all) goes by its name.
        entry = directory.account_of_login(identity) or directory.accounts.get(identity)
        if entry is None:
            raise StoreUnavailableError(f"{identity} logged in, and is not there any more")
        return entry

    def session(self, entry: AccountEntry) -> ISession:
        """The mail of an account, which is opened here."""
        directory = self.directory.current
        disabled = entry.imap_capabilities_disabled

        def session_of(account: IAccount) -> AccountSession:
            return AccountSession(
                self.store,
                account,
                disabled,
                self.append_limit,
                lambda: None,
                self.seconds,
                # RFC 5464 section 3.2.1.1
                f"mailto:{directory.postmaster}" if directory.postmaster else "",
            )

        session: ISession = session_of(self.store.account(entry.name))
        # Without ACL neither are its mailboxes shared by IMAP, nor does it see others'.
        if "ACL" not in disabled:
            shares = StoreShares(entry.name, self.store, self.directory, session_of, self.places)
            session = SharingSession(session, shares)
        if entry.queue_mailbox and self.queue is not None:
            clock = self.store.workplace.clock
            session = QueueSession(session, partial(self.queue.mailbox, entry.name, clock), clock)
        return session


@implementer(IAuthenticator, IPreauthenticator)
@define(eq=False)
class ConnectionAuthenticator(URLKeys):
    """The log-ins of one connection.

    :ivar settings: of the listener; None: it has none.
    """

    _mail: Mail
    _transport: Any
    _ip: str
    settings: ServerSettings | None = None
    _session: Session = field(init=False)
    _released: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        if self._mail.authenticator is not None:
            self._session = self._mail.authenticator.session(Origin(self._ip, "imap"))

    extensions: ClassVar = EXTENSIONS

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """See ``IAuthenticator``."""
        return self._mail.mechanisms

    @property
    def sasl_backend(self) -> ISASLBackend:
        """See ``IAuthenticator``; asked at each exchange, when TLS may have come since."""
        self._look_at_tls()
        backend: ISASLBackend = self._session
        return backend

    def _look_at_tls(self) -> None:
        self._session.update(
            tls=tls_description(self._transport), fingerprint=client_key_fingerprint(self._transport)
        )

    async def preauthenticate(self, peer: Any) -> str | None:
        """See ``IPreauthenticator``."""
        self._look_at_tls()
        # Who took EXTERNAL off the mechanisms wants no client keys.
        return await self._session.preauthenticate() if "EXTERNAL" in self.mechanisms else None

    async def login(self, username: str, password: str, peer: Any) -> str | None:
        """See ``IAuthenticator``."""
        outcome = await self._session.check_password(username, password, "LOGIN")
        if isinstance(outcome, Failure):
            if outcome.reason is Reason.BAD_CREDENTIALS:
                return None
            raise LoginRefusedError(outcome)
        return outcome.login

    def session(self, identity: str, peer: Any) -> ISession | Awaitable[ISession]:
        """See ``IAuthenticator``."""
        entry = self._mail.entry(identity)
        lending = self._mail.lending
        return self._mail.session(entry) if lending is None else self._here_or_there(entry, lending)

    async def _here_or_there(self, entry: AccountEntry, lending: Lending) -> Any:
        authenticator = self._mail.authenticator
        epoch = authenticator.epoch if authenticator is not None else 0
        keeper = await lending.lend(entry.name)
        if authenticator is not None and authenticator.epoch != epoch:
            # The password may be another one by now, or the account gone; who ended its sessions did not know of this one.
            raise StoreUnavailableError(f"{entry.name} changed while it was logged in to")
        if keeper is None:
            return self._mail.session(entry)
        return AwaySession(self, self._mail, entry, lending, keeper)

    def departed(self) -> str:
        """Another process serves the client, and says when it is gone; the client's address."""
        self._released = True
        return self._ip

    def release(self, *, errors: bool) -> None:
        """The connection is gone; ``errors``: because the client made too many."""
        if not self._released:
            self._released = True
            self._mail.connections.release(self._ip, errors=errors)


class IMAPService(IMAPServerFactory):
    """Makes the connections of a listener, each with its own authenticator."""

    def __init__(
        self, settings: ServerSettings, mail: Mail, clock: Any, tls: ServerTLS | None, **more: Any
    ) -> None:
        super().__init__(settings, self, clock, tls, **more)  # type: ignore[arg-type]
        self._mail = mail

    def authenticator_for(self, transport: Any) -> IAuthenticator:
        """See ``IMAPServerFactory``."""
        ip = getattr(transport.getPeer(), "host", "")
        refusal = self._mail.connections.admit(ip)
        if refusal is not None:
            raise TooManyConnectionsError(refusal.kind, public_text=refusal.text)
        authenticator: IAuthenticator = ConnectionAuthenticator(self._mail, transport, ip, self.settings)
        return authenticator

    def end_sessions(self, account: str) -> None:
        """Say BYE to all who are logged in to an account: it is gone or wanted elsewhere, or its password changed."""
        for connection in list(self.connections):
            session = connection.server.connection.session if connection.server is not None else None
            if session is not None and session.account == account:
                connection.shutdown(_LOG_IN_AGAIN)

    def review(self) -> None:
        """A new directory is in force: end the sessions of accounts that are gone or were switched off."""
        accounts = self._mail.directory.current.accounts
        for connection in list(self.connections):
            session = connection.server.connection.session if connection.server is not None else None
            entry = accounts.get(session.account) if session is not None else None
            if session is not None and (entry is None or entry.disabled):
                connection.shutdown()

    def connection_lost(self, connection: IMAPServerProtocol) -> None:
        """See ``IMAPServerFactory``."""
        super().connection_lost(connection)
        if connection.server is not None:
            authenticator = connection.server.connection.authenticator
            if isinstance(authenticator, ConnectionAuthenticator):
                authenticator.release(errors=connection.server.misbehaved)
