"""Runs a command while a server is up: ``moxmail badsmtp --exec pytest``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError  # noqa: A004  (Twisted's own name)
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from moxtwisted.badsmtp.options import OFF, options
from moxtwisted.badsmtp.portranges import RANGES
from moxtwisted.badsmtp.settings import Settings

__all__ = ["GRACE_SECONDS", "KILL_SECONDS", "environment", "find_program", "run_command"]

#: A command that was interrupted together with us gets so long.
GRACE_SECONDS = 2.0
#: A command that is told to end gets so long.
KILL_SECONDS = 10.0

_SINGLE = {
    "port": "smtp", "tls_port": "tls", "starttls_port": "starttls", "lmtp_port": "lmtp", "imap_port": "imap",
    "pop3_port": "pop3", "imaps_port": "imaps", "pop3s_port": "pop3s", "http_port": "http",
}  # fmt: skip


def find_program(command: Sequence[str]) -> str | None:
    """The path of the command's program, or None."""
    return shutil.which(command[0]) if command else None


def environment(settings: Settings, ports: Mapping[str, int]) -> dict[str, str]:
    """What the command is told: the variables of the settings with the ports that there are, and some more."""
    address = settings.listen_address
    host = f"[{address}]" if ":" in address else address
    found = {
        "BADSMTP_HOST": address,
        "BADSMTP_LISTEN_ADDRESS": address,
        "BADSMTP_PORTS": json.dumps(dict(ports)),
    }
    if "http" in ports:
        found["BADSMTP_URL"] = f"http://{host}:{ports['http']}"
    if settings.tls_root_out:
        found["BADSMTP_CA_FILE"] = settings.tls_root_out
    for option in options():
        if option.name in _SINGLE:
            found[option.variable] = str(ports.get(_SINGLE[option.name], OFF))
        elif option.name in RANGES:
            first = getattr(settings, option.name)
            # Any free ports are in no order: they are in BADSMTP_PORTS.
            found[option.variable] = OFF if first is None else str(first)
    return found


class _Command(ProcessProtocol):
    """The command, on our own standard input, output and error."""

    def __init__(self) -> None:
        self._status: int | None = None
        self._waiting: list[Deferred[int]] = []

    def ended(self) -> Deferred[int]:
        """Fires with its exit status. Each call gives another Deferred, so that one may be cancelled."""
        waiting: Deferred[int] = Deferred()
        if self._status is None:
            self._waiting.append(waiting)
        else:
            waiting.callback(self._status)
        return waiting

    def processEnded(self, reason: Failure) -> None:
        """Called by Twisted."""
        self._status = _status(reason.value)
        for waiting in self._waiting:
            waiting.callback(self._status)


def _status(reason: Any) -> int:
    """The exit status as shells have it."""
    if isinstance(reason, ProcessDone):
        return 0
    if isinstance(reason, ProcessTerminated):
        return 128 + reason.signal if reason.signal is not None else int(reason.exitCode or 0)
    return 1


async def run_command(reactor: Any, command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run it to its end.

    When this is cancelled, the command has ``GRACE_SECONDS`` to end by itself; then it is told to (SIGTERM), and after
    ``KILL_SECONDS`` is made to.

    :returns: its exit status; 128 and more when a signal ended it.
    """
    protocol = _Command()
    process = reactor.spawnProcess(
        protocol, find_program(command), list(command), env=dict(variables), childFDs={0: 0, 1: 1, 2: 2}
    )
    try:
        return await protocol.ended()
    except CancelledError:
        await _end(reactor, process, protocol)
        raise


async def _end(reactor: Any, process: Any, protocol: _Command) -> None:
    """Wait for the end of a command that may have been told already: Ctrl-C tells all that run in the terminal."""
    for signal, seconds in ((None, GRACE_SECONDS), ("TERM", KILL_SECONDS), ("KILL", None)):
        if signal is not None:
            with suppress(ProcessExitedAlready):
                process.signalProcess(signal)
        ended = protocol.ended()
        if seconds is None:
            await ended
            return
        try:
            await ended.addTimeout(seconds, reactor)
        except TimeoutError:
            continue
        return
