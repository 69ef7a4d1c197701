"""IMAP for the operator: with the mail of any account, without a log-in, on a connection that only he can open.

::

    service = LocalIMAP(settings, mail, reactor)
    service.serve(transport, "alice")              # * PREAUTH [CAPABILITY ...] ... logged in as alice
"""

from __future__ import annotations

from typing import Any

from attrs import define
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IAuthenticator, ISession
from moxtwisted.imap.preauthentication import IPreauthenticator
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.server.imapd.service import ConnectionAuthenticator, IMAPService, Mail

__all__ = ["LocalIMAP"]


class NoAccountError(MailError):
    """The operator asks for the mail of nobody."""

    imap_code = "NONEXISTENT"
    public_text = "there is no such account"


@implementer(IAuthenticator, IPreauthenticator)
@define(eq=False)
class _Known(ConnectionAuthenticator):
    """Knows who it is."""

    account: str = ""

    async def preauthenticate(self, peer: Any) -> str | None:
        """See ``IPreauthenticator``."""
        directory = self._mail.directory.current
        entry = directory.accounts.get(self.account) or directory.account_of_login(self.account)
        if entry is None:
            raise NoAccountError(self.account)
        return entry.name

    async def session(self, identity: str, peer: Any) -> ISession:
        """See ``IAuthenticator``; the account comes home, and stays as long as the session."""
        entry = self._mail.entry(identity)
        await self._mail.places.home(entry.name)
        return self._mail.session(entry)

    def release(self, *, errors: bool) -> None:
        """It was not counted."""


class LocalIMAP(IMAPService):
    """Makes the connections."""

    def __init__(self, settings: ServerSettings, mail: Mail, clock: Any, **more: Any) -> None:
        super().__init__(settings, mail, clock, None, **more)
        self.private = True
        self._account = ""

    def serve(self, transport: Any, account: str) -> None:
        """Speak IMAP on a transport from now on.

        :param account: its name, or one of its addresses; when there is none, the client reads BYE.
        """
        protocol = self.buildProtocol(None)
        if protocol is None:
            transport.loseConnection()
            return
        self._account = account
        transport.protocol = protocol
        protocol.makeConnection(transport)

    def authenticator_for(self, transport: Any) -> IAuthenticator:
        """See ``IMAPServerFactory``; called by ``serve`` by way of ``makeConnection``."""
        authenticator: IAuthenticator = _Known(self._mail, transport, "", account=self._account)
        return authenticator
