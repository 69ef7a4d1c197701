"""The web site of a BadSMTP server, ready to listen.

::

    site = make_site(service.captured, lambda: service.ports, reactor, smtp=factory)
    await TCP4ServerEndpoint(reactor, 25080, interface="127.0.0.1").listen(site)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

from moxtwisted.badsmtp.interfaces import ICaptured
from moxtwisted.http.badsmtp.application import BadSMTPApplication
from moxtwisted.http.badsmtp.playground import Playground
from moxtwisted.http.support.guard import Guard, Guarded
from moxtwisted.http.support.site import BoundedSite

__all__ = ["BadSMTPSite", "make_site"]


class BadSMTPSite(BoundedSite):
    """A site that ends the playground's dialogues when it stops listening."""

    playground: Playground | None = None

    def stopFactory(self) -> None:
        """The port is closed."""
        if self.playground is not None:
            self.playground.close()
        super().stopFactory()


def make_site(
    captured: ICaptured,
    ports: Callable[[], Mapping[str, int]],
    reactor: Any,
    *,
    smtp: Any = None,
    address: str = "127.0.0.1",
    names: Iterable[str] = (),
) -> BadSMTPSite:
    """The site.

    :param captured: an ``ICaptured``.
    :param ports: gives the port of each listener by its name, whenever somebody asks.
    :param smtp: the ``IProtocolFactory`` that the playground speaks with, best one without TLS, which nobody can type; without it there is
        no playground.
    :param address: that the ports listen on, for the page.
    :param names: host names that the site is reached by, besides ``localhost`` and addresses.
    """
    playground = Playground(smtp, reactor, os.urandom) if smtp is not None else None
    application = BadSMTPApplication(captured, ports, address, playground, reactor, _away(reactor))
    site = BadSMTPSite(Guarded(application.app.resource(), Guard([*names, address])), reactor)
    site.playground = playground
    return site


def _away(reactor: Any) -> Callable[..., Any]:
    """What calls functions away from the reactor, when it has threads."""
    if IReactorThreads.providedBy(reactor):
        return partial(deferToThreadPool, reactor, reactor.getThreadPool())
    return maybeDeferred
