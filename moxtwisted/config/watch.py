"""Notice that ``domains.conf`` changed, and take it if it is valid.

::

    watcher = DomainsWatcher(loaded, reactor, use)       # use(DomainsConfig) is called with each new one
    watcher.setServiceParent(services)
    watcher.check()                                      # now, not in a second: after an edit of our own

Once a second the file's time, size and inode are compared (an editor may write in place or rename). A file that
cannot be read as a configuration leaves the old one in force; every problem is logged, once for each version of the
file. SIGHUP asks for a check at once, even when the file looks the same.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from moxtwisted.config.load import LoadedConfig, parse_domains, read_octets, summary
from moxtwisted.config.schema import DomainsConfig
from moxtwisted.errors import ConfigurationError

__all__ = ["DomainsWatcher"]

log = Logger()

#: Seconds; what an operator does not notice as waiting. A stat costs microseconds.
INTERVAL_SECONDS = 1.0

_Stamp = tuple[int, int, int]


class DomainsWatcher(Service):
    """Keeps the dynamic configuration up to date.

    :ivar current: the configuration in force.
    :param clock: tells time.
    :param changed: called with each new configuration, in the reactor's thread.
    """

    def __init__(
        self, loaded: LoadedConfig, clock: IReactorTime, changed: Callable[[DomainsConfig], None]
    ) -> None:
        self.current = loaded.domains
        self._static = loaded.static
        self._static_name = loaded.static_path.name
        self._path = loaded.domains_path
        self._clock = clock
        self._use = changed
        # Not the stamp of now: the file may have changed since it was loaded.
        self._seen: _Stamp | None = None
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        self._loop.start(INTERVAL_SECONDS, now=True)

    def stopService(self) -> None:
        """Look no more."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp != self._seen:
            self._seen = stamp
            self._read()

    def check(self) -> None:
        """Read the file now; also when it looks unchanged."""
        self._seen = _stamp(self._path)
        self._read()

    def _read(self) -> None:
        try:
            domains = parse_domains(read_octets(self._path), self._static, self._path.name)
        except ConfigurationError as e:
            for problem in e.problems:
                log.error("{problem}", problem=problem)
            log.error(
                "{summary}: the old configuration stays in force",
                summary=summary(self._path.with_name(self._static_name), e.problems),
            )
            return
        if domains == self.current:
            return
        self.current = domains
        try:
            self._use(domains)
        except Exception:  # noqa: BLE001  a boundary: the watcher must go on
            log.failure("the new configuration could not be taken")
            return
        log.info(
            "{file} was read: {count} accounts",
            file=str(self._path),
            count=len(domains.accounts),
        )


def _stamp(path: Path) -> _Stamp | None:
    """What changes when the file does; None while it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class HangUp(Service):
    """Calls a function at SIGHUP, from the reactor.

    It is a service of its own because only the process's main program may have signal handlers: compose
    it in the server, not in tests.
    """

    def __init__(
        self, call_from_signal: Callable[[Callable[[], None]], object], function: Callable[[], None]
    ) -> None:
        """``call_from_signal`` is ``reactor.callFromThread``."""
        self._call = call_from_signal
        self._function = function
        self._old: Any = None

    def startService(self) -> None:
        """Take the signal."""
        Service.startService(self)
        self._old = signal.signal(signal.SIGHUP, self._signalled)

    def stopService(self) -> None:
        """Give it back."""
        Service.stopService(self)
        if self._old is not None:
            signal.signal(signal.SIGHUP, self._old)
            self._old = None

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._call(self._function)
