"""The programs beside us that ``[scanners]`` names, as judges."""

from __future__ import annotations

from typing import Any

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema.scanners import RspamdScanner
from moxtwisted.server.judgement.interfaces import IExternalJudge

__all__ = ["make_rspamd", "make_scanners"]


def make_scanners(loaded: LoadedConfig, reactor: Any) -> tuple[IExternalJudge, ...]:
    """All of them, in the order in which they are asked: malware first, which needs no other opinion."""
    scanners = loaded.static.scanners
    made: list[Any] = []
    if not (scanners.clamd or scanners.rspamd or scanners.milters):
        return ()
    from moxtwisted.server.scanners.asking import Scanner

    if scanners.clamd is not None:
        from moxtwisted.server.scanners.clamd import Clamd

        clamd = Clamd(_endpoint(scanners.clamd.address, reactor), reactor, scanners.clamd.seconds)
        made.append(Scanner("clamd", clamd.examine, reactor, scanners.clamd.when_unavailable))
    for name, settings in scanners.milters.items():
        from moxtwisted.server.scanners.milters import Milter

        milter = Milter(
            f"milter {name}",
            _endpoint(settings.address, reactor),
            reactor,
            loaded.static.hostname,
            settings.seconds,
        )
        made.append(Scanner(milter.name, milter.examine, reactor, settings.when_unavailable))
    if scanners.rspamd is not None:
        rspamd = make_rspamd(loaded, scanners.rspamd, reactor)
        made.append(Scanner("rspamd", rspamd.examine, reactor, scanners.rspamd.when_unavailable))
    return tuple(made)


def make_rspamd(loaded: LoadedConfig, scanner: RspamdScanner, reactor: Any) -> Any:
    """The rspamd of this table, which can be taught, too."""
    from twisted.web.client import Agent, HTTPConnectionPool

    from moxtwisted.server.scanners.rspamd import Rspamd, RspamdSettings

    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = 8
    # A new attempt on a fresh connection would send the message again: the pool's own is enough.
    pool.retryAutomatically = False
    password = ""
    if scanner.password_file:
        password = loaded.resolve(scanner.password_file).read_text("utf-8").strip()
    return Rspamd(
        RspamdSettings(
            url=scanner.url,
            controller_url=scanner.controller_url,
            password=password,
            seconds=scanner.seconds,
            hostname=loaded.static.hostname,
            greylist=scanner.greylist,
            message_octets=scanner.message_octets,
        ),
        Agent(reactor, connectTimeout=scanner.seconds, pool=pool),
        reactor,
    )


def _endpoint(address: str, reactor: Any) -> Any:
    from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint

    if address.startswith("/"):
        return UNIXClientEndpoint(reactor, address)
    host, _, port = address.rpartition(":")
    return HostnameEndpoint(reactor, host.strip("[]"), int(port))
