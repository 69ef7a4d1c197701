"""A whole BadSMTP server: its ports, its web site, its stores and its log, out of one configuration.

::

    server = BadSMTP(reactor, configure({}, os.environ))
    server.startService()
    server.ports["smtp"], server.ports["http"]
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool

from moxtwisted.badsmtp.configuration import Configuration
from moxtwisted.badsmtp.interfaces import Hooks
from moxtwisted.badsmtp.journal import Journal
from moxtwisted.badsmtp.service import BadSMTPFactory, BadSMTPService
from moxtwisted.badsmtp.surroundings import Listener
from moxtwisted.errors import MailError
from moxtwisted.server.sockets import listen_problem

__all__ = ["BadSMTP"]

# For what is still to be written to the log when the server ends.
_LOG_SECONDS: Final = 1.0


class BadSMTP(MultiService):
    """One BadSMTP server with all that belongs to it.

    :ivar service: the ports that misbehave.
    :ivar journal: the log.
    """

    def __init__(self, reactor: Any, configuration: Configuration, hooks: Hooks | None = None) -> None:
        """:param hooks: parts in the place of those that the configuration names."""
        super().__init__()  # type: ignore[no-untyped-call]
        hooks = hooks or Hooks()
        self._reactor = reactor
        self.settings = configuration.settings
        self.journal = hooks.journal or Journal.to(configuration.log)
        self.service = BadSMTPService(reactor, self.settings, attrs.evolve(hooks, journal=self.journal))
        self._web: Any = None

    @property
    def captured(self) -> Any:
        """The messages that came in, an ``ICaptured``."""
        return self.service.captured

    @property
    def ports(self) -> Mapping[str, int]:
        """All ports that are open, by the name of their listener."""
        ports = dict(self.service.ports)
        if self._web is not None:
            ports["http"] = self._web.getHost().port
        return MappingProxyType(ports)

    def startService(self) -> None:
        """Make the Maildirs, and open all ports.

        :raise MailError: a Maildir or a file cannot be made, or a port is taken; nothing is open then.
        """
        try:
            self.service.startService()
            if self.settings.http_port is not None:
                self._web = self._listen_web(self.settings.http_port)
        except CannotListenError as e:
            self.service.stopService()
            raise MailError(_taken(e)) from e
        except OSError as e:
            where = f"{e.filename}: " if e.filename is not None else ""
            raise MailError(f"{where}{e.strerror or e}") from e
        super().startService()  # type: ignore[no-untyped-call]

    def _listen_web(self, port: int) -> Any:
        # Klein and its like are loaded only for those who want the page.
        from moxtwisted.http.badsmtp.site import make_site

        address = self.settings.listen_address
        surroundings = self.service.surroundings
        smtp = BadSMTPFactory(surroundings, Listener(name="playground"))
        names = [name.strip() for name in self.settings.http_hostnames.split(",") if name.strip()]
        site = make_site(
            self.captured, lambda: self.ports, self._reactor, smtp=smtp, address=address, names=names
        )
        return self._reactor.listenTCP(port, site, interface=address)

    def stopService(self) -> Deferred[None]:
        """Close all ports, let everybody go with 421, and end the log after them."""
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        web, self._web = self._web, None
        if web is not None:
            await maybeDeferred(web.stopListening)
        await maybeDeferred(self.service.stopService)
        await maybeDeferred(super().stopService)
        if isinstance(self.journal, Journal):
            pool = self._reactor.getThreadPool()
            await deferToThreadPool(self._reactor, pool, self.journal.close, _LOG_SECONDS)


def _taken(error: CannotListenError) -> str:
    """What is in the way, in words."""
    reason = listen_problem(error.socketError)
    where = f"[{error.interface}]" if ":" in str(error.interface) else error.interface
    return f"{where}:{error.port}: {reason}"
