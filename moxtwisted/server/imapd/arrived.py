"""IMAP in a keeper: clients that logged in to the owner of the accounts.

::

    service = KeptIMAP(settings, mail, reactor)
    service.gone = lambda number, errors: ...
    service.serve(17, descriptor, departure, session)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field

from moxtwisted.imap.backend import IAuthenticator, ISession
from moxtwisted.imap.departing import Departure
from moxtwisted.imap.protocol import IMAPServerProtocol
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.server.imapd.service import ConnectionAuthenticator, IMAPService, Mail
from moxtwisted.server.sockets import Carrier

__all__ = ["KeptIMAP"]


@define(eq=False)
class _Known(ConnectionAuthenticator):
    """Of a client who is logged in.

    :ivar gone: called when the connection is, with whether its client made too many errors.
    """

    gone: Callable[[bool], None] = field(kw_only=True)

    def release(self, *, errors: bool) -> None:
        """The owner counts it."""
        self.gone(errors)


class KeptIMAP(IMAPService):
    """Serves those that logged in to listeners with the same settings.

    :ivar gone: called with each connection that ended, and whether it made too many errors.
    :ivar kept: connections by their numbers.
    """

    gone: Callable[[int, bool], None]

    def __init__(self, settings: ServerSettings, mail: Mail, clock: Any, **more: Any) -> None:
        super().__init__(settings, mail, clock, None, **more)
        self.carrier = Carrier(clock)
        self.kept: dict[int, IMAPServerProtocol] = {}

    def serve(self, number: int, descriptor: int, departure: Departure, session: ISession) -> None:
        """Go on with a connection, whose descriptor is not the caller's any more. :raises OSError: it is gone."""
        gone = partial(self._lost, number)
        authenticator: IAuthenticator = _Known(self._mail, None, departure.transport.peer.host, gone=gone)
        self.kept[number] = self.arrive(descriptor, departure, session, authenticator)

    def _lost(self, number: int, errors: bool) -> None:
        if self.kept.pop(number, None) is not None:
            self.gone(number, errors)
