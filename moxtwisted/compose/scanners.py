"""The programs beside us that ``[scanners]`` names, as judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.schema.scanners import RspamdScanner
from moxtwisted.server.judgement.interfaces import IExternalJudge
from moxtwisted.store.interfaces import IStore

if TYPE_CHECKING:
    from moxtwisted.server.scanners.rspamd import Rspamd
    from moxtwisted.server.scanners.teaching import Teacher

__all__ = ["make_scanners", "make_teacher"]


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
        made.append(
            Scanner(milter.name, milter.examine, reactor, settings.when_unavailable, f"milters.{name}")
        )
    if scanners.rspamd is not None:
        rspamd = _make_rspamd(loaded, scanners.rspamd, reactor)
        made.append(Scanner("rspamd", rspamd.examine, reactor, scanners.rspamd.when_unavailable))
    return tuple(made)


def make_teacher(
    loaded: LoadedConfig, reactor: Any, store: IStore, teaches: Callable[[str], bool]
) -> Teacher | None:
    """What tells rspamd what people decide; None when it is not to be taught.

    :param teaches: whether an account's mail is for it.
    """
    scanner = loaded.static.scanners.rspamd
    if scanner is None or not scanner.controller_url:
        return None
    from moxtwisted.server.scanners.teaching import Teacher

    return Teacher(store, _make_rspamd(loaded, scanner, reactor).learn, teaches)


def _make_rspamd(loaded: LoadedConfig, scanner: RspamdScanner, reactor: Any) -> Rspamd:
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
