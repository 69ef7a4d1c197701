"""Reaching the administration: over the socket of the running server, or on the closed files.

::

    def domain_add(arguments):
        return administer(arguments, lambda administration, show: administration.domain_add("example.net", "", False))

The reactor runs until the operation is done. Operations that take long get ``show``, which draws a progress bar
when standard error is a terminal.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from moxtwisted.cli.progress import ProgressBar
from moxtwisted.config.load import LoadedConfig, default_path, find_data_directory, load
from moxtwisted.config.startup import collector_paused
from moxtwisted.errors import ConfigurationError, MailError
from moxtwisted.server.control.interfaces import IConfigurationOperations, Progress

__all__ = [
    "SOCKET_NAME",
    "InterruptedBySignal",
    "NotRunningError",
    "administer",
    "call",
    "load_for",
    "run_reactor",
    "socket_path",
    "static_path",
]

#: In the data directory.
SOCKET_NAME = "ctl"

Operation = Callable[[Any, Progress], Awaitable[Any]]


def static_path(arguments: argparse.Namespace) -> Path:
    """The ``mox.conf`` that the command is about.

    :raises ConfigurationError: when nobody said which, and there is none where it would be.
    """
    if arguments.config:
        return Path(arguments.config)
    path = default_path()
    try:
        path.stat()
    except FileNotFoundError:
        from moxtwisted.cli.localserve import default_directory

        lines = [f"{path}: there is no such file; -c FILE or $MOXMAIL_CONFIG says where mox.conf is"]
        local = default_directory() / path.name
        if local.exists():
            lines.append(f"for the server of moxmail localserve: -c {local}")
        raise ConfigurationError(tuple(lines)) from None
    except OSError:
        pass  # Whoever reads it says why that cannot be done.
    return path


class InterruptedBySignal(KeyboardInterrupt):
    """The command was told to end.

    :ivar signal: by which signal; the exit status is this and 128, as that of a program that has no handler.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


class NotRunningError(MailError):
    """The operation is about a running server, and none runs."""


def socket_path(arguments: argparse.Namespace) -> Path:
    """Where the running server would be reached.

    Needs nothing but the data directory: a running server can be asked, and stopped, whatever became of its configuration.

    :raises ConfigurationError: when ``mox.conf`` cannot be read so far.
    """
    if arguments.socket:
        return Path(arguments.socket).absolute()
    return find_data_directory(static_path(arguments)) / SOCKET_NAME


def load_for(arguments: argparse.Namespace) -> LoadedConfig:
    """The configuration that the command is about.

    :raises ConfigurationError: with every problem.
    """
    return load(static_path(arguments))


def call(arguments: argparse.Namespace, operation: Operation, *, running: bool = False) -> Any:
    """Do one operation and return its result.

    :param running: whether it makes sense only with a running server.
    :raises MailError: when it was refused.
    """
    path = socket_path(arguments)
    bar = ProgressBar(sys.stderr)

    async def work(reactor: Any) -> Any:
        administration, close = await _reach(reactor, path, None if running else arguments)
        try:
            return await operation(administration, bar)
        finally:
            bar.finish()
            await close()

    return run_reactor(work)


def administer(arguments: argparse.Namespace, operation: Operation, *, running: bool = False) -> int:
    """Do one operation that has nothing to print but notes.

    :returns: the exit status.
    """
    for note in call(arguments, operation, running=running) or ():
        print(note)
    return 0


async def _reach(
    reactor: Any, path: Path, offline: argparse.Namespace | None
) -> tuple[Any, Callable[[], Awaitable[None]]]:
    """The administration, and how to let go of it.

    :param offline: the command's arguments, when it works on closed files too.
    """
    from twisted.internet.error import ConnectError

    from moxtwisted.server.control.amp import connect

    try:
        remote = await connect(reactor, path)
    except (ConnectError, OSError) as e:
        if not _is_stale(e):
            raise MailError(f"{path}: the running server cannot be reached: {e}") from e
        if offline is None or offline.socket:
            raise NotRunningError(f"the server does not run (nobody listens at {path})") from e
    else:

        async def hang_up() -> None:
            remote.disconnect()

        return remote, hang_up
    closed = _ClosedFiles(reactor, load_for(offline))
    return closed, closed.close


class _ClosedFiles:
    """The administration while no server runs. The store is opened only for what needs it."""

    def __init__(self, reactor: Any, loaded: LoadedConfig) -> None:
        self._reactor = reactor
        self._loaded = loaded
        self._static_path = loaded.static_path
        self._opened: Any = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def operation(*positional: Any) -> Any:
            target = await self._target(name)
            return await getattr(target, name)(*positional)

        return operation

    async def _target(self, name: str) -> Any:
        if name in IConfigurationOperations.names():
            from moxtwisted.config.edit import ConfigurationEditor

            return ConfigurationEditor(self._static_path)
        if self._opened is None:
            with collector_paused():
                from moxtwisted.compose.offline import offline

            self._opened = await offline(self._static_path, self._reactor)
        return self._opened

    async def close(self) -> None:
        """Close the store, if it was opened."""
        if self._opened is not None:
            await self._opened.close()
            from moxtwisted.config.rekey import restore_owner

            restore_owner(self._loaded)


def _is_stale(error: Exception) -> bool:
    """Whether nobody listens at the socket (a server that was killed left it, or there is none)."""
    import errno

    number = error.errno if isinstance(error, OSError) else getattr(error, "osError", None)
    return number in (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)


def run_reactor(work: Callable[[Any], Awaitable[Any]], observer: Any = None) -> Any:
    """Run the reactor until the work is done; its result, or its failure raised.

    When the process is told to end (SIGINT, SIGTERM, SIGHUP), the work is cancelled and the reactor waits for it, however often it is told.

    :param observer: of the log; without it, warnings and worse go to standard error.
    :raises InterruptedBySignal: when the work was cancelled.
    """
    with collector_paused():
        from twisted.internet import reactor
        from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
        from twisted.internet.interfaces import IReactorCore
        from twisted.logger import globalLogBeginner
        from twisted.python.failure import Failure

        from moxtwisted.compose.ending import Ending
        from moxtwisted.server.logging import LevelControl, LineObserver, LogFile

    if observer is None:
        observer = LineObserver(LogFile(None), LevelControl("warn"))
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
    core = IReactorCore(reactor)
    ending = Ending(core)
    outcome: list[Any] = []
    finished: Deferred[None] = Deferred()

    async def start() -> Any:
        return await work(reactor)

    def done(result: Any) -> None:
        outcome.append(result)
        finished.callback(None)
        ending.stop()

    def begin() -> None:
        ending.take_signals()
        running: Deferred[Any] = ensureDeferred(start())

        def end() -> Deferred[None]:
            running.cancel()
            return finished

        core.addSystemEventTrigger("before", "shutdown", end)
        running.addBoth(done)

    core.callWhenRunning(begin)
    core.run()
    interrupted = InterruptedBySignal(ending.signal or signal.SIGINT)
    if not outcome:
        raise interrupted
    if isinstance(outcome[0], Failure):
        if outcome[0].check(CancelledError):
            raise interrupted
        outcome[0].raiseException()
    return outcome[0]
