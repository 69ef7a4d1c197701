"""From the configuration to the running server: all services, in the order of their start.

::

    service = make_service(load(Path("mox.conf")), reactor)      # for twistd; KeyRefusedError, StoreUnavailableError

The order of a start: ports and certificates as the user that started us, then another user, then the store, then the services.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from twisted.application.service import MultiService, Service
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from moxtwisted.compose.listeners import Listeners
from moxtwisted.compose.opening import master_key
from moxtwisted.compose.parts import Parts
from moxtwisted.compose.signing import SigningWatch
from moxtwisted.compose.upkeep import Control, Retirement
from moxtwisted.config.load import LoadedConfig
from moxtwisted.config.machine import check_start
from moxtwisted.config.privileges import DropPrivileges, find_identity
from moxtwisted.config.reading import Problems
from moxtwisted.config.watch import DomainsWatcher, HangUp
from moxtwisted.errors import ConfigurationError, MailError, StoreInUseError
from moxtwisted.server.certificates.store import CertificateWatch

__all__ = ["EXIT_CANNOT_START", "EXIT_LATER", "make_service"]

_log = Logger()

#: When the configuration is good and the server cannot start all the same (sysexits.h: EX_CONFIG).
EXIT_CANNOT_START: Final = 78
#: When somebody else has the data directory, who may be a command that is soon done with it (EX_TEMPFAIL).
EXIT_LATER: Final = 75


def make_service(
    loaded: LoadedConfig,
    reactor: Any,
    *,
    log_levels: Any = None,
    localserve: bool = False,
    hang_up: bool = True,
) -> MultiService:
    """The whole server.

    :param localserve: a server for tests: takes mail for every address into the first account, and lets addresses
        provoke errors.
    :param hang_up: whether SIGHUP is to look at the configuration again, as in a server without a terminal.
    :raises ConfigurationError: when the key is missing or not the one of this store, the user is unknown, or the data
        directory is none; nothing was touched.
    """
    problems, notes = Problems(loaded.static_path.name), Problems(loaded.static_path.name)
    check_start(loaded, problems, notes)
    if problems.lines:
        raise ConfigurationError(tuple(problems.lines))
    for note in notes.lines:
        _log.warn("{note}", note=note)
    key = master_key(loaded)
    top = MultiService() if localserve else _Top()  # type: ignore[no-untyped-call]  # Twisted's
    parts = Parts(loaded, reactor, key, localserve=localserve)
    parts.signers.load()
    for service in _services(parts, log_levels, hang_up=hang_up):
        service.setServiceParent(top)
    return top


class _Top(MultiService):
    """All services, for twistd: what keeps the server from starting is a sentence in the log and an exit status, not a
    traceback."""

    def privilegedStartService(self) -> None:
        """Bind ports, read certificates."""
        with _one_sentence():
            super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Open the store, serve."""
        with _one_sentence():
            super().startService()  # type: ignore[no-untyped-call]


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except (MailError, CannotListenError, OSError, ValueError) as e:
        _log.critical("cannot start: {error}", error=(e.explanation if isinstance(e, MailError) else str(e)))
        _log.debug("cannot start", log_failure=Failure())
        raise SystemExit(EXIT_LATER if isinstance(e, StoreInUseError) else EXIT_CANNOT_START) from None


def _services(parts: Parts, log_levels: Any, *, hang_up: bool) -> Iterator[Service]:
    """All of them, in the order of their start."""
    listeners = Listeners(parts, log_levels)
    yield listeners
    for certificates in listeners.certificates:
        yield CertificateWatch(certificates, parts.reactor)
    watcher = DomainsWatcher(parts.loaded, parts.reactor, parts.use)
    yield watcher

    yield SigningWatch(parts.signers, parts.reactor)

    def reload() -> None:
        watcher.check()
        parts.signers.check()
        for certificates in listeners.certificates:
            certificates.check()

    if hang_up:
        yield HangUp(parts.reactor.callFromThread, reload)
    yield Control(parts, watcher, log_levels)
    yield Retirement(parts)
    if parts.static.user:
        yield DropPrivileges(find_identity(parts.static.user))
