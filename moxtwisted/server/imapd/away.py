"""A log-in to an account that a keeper has: the connection goes on there (``moxtwisted.imap.departing``)."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from attrs import define, field
from zope.interface import implementer

from moxtwisted.imap.backend import ISession
from moxtwisted.imap.departing import Departure, IAwaySession, Way
from moxtwisted.server.directory import AccountEntry

if TYPE_CHECKING:
    from moxtwisted.server.imapd.service import ConnectionAuthenticator, Mail
    from moxtwisted.server.lending.keeper import Keeper
    from moxtwisted.server.lending.lending import Lending

__all__ = ["AwaySession"]


@implementer(IAwaySession)
@define(eq=False)
class AwaySession:
    """Until the connection departs."""

    _authenticator: ConnectionAuthenticator
    _mail: Mail
    _entry: AccountEntry
    _lending: Lending
    _keeper: Keeper
    account: str = field(init=False)
    disabled_capabilities: frozenset[str] = field(init=False)
    append_limit: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.account = self._entry.name
        self.disabled_capabilities = self._entry.imap_capabilities_disabled
        self.append_limit = self._mail.append_limit

    def logout(self) -> None:
        """See ``IAwaySession``."""

    async def stay(self) -> ISession:
        """See ``IAwaySession``."""
        await self._lending.home(self.account)
        return self._mail.session(self._entry)

    def depart(self, departure: Departure, way: Way) -> None:
        """See ``IAwaySession``."""
        octets = pickle.dumps((departure, self._authenticator.settings))
        ip = self._authenticator.departed()
        self._keeper.give(self.account, octets, way.descriptor, ip)
        self._lending.used(self._keeper, self.account)
