"""The process of a receiver: started, its output heard, its end noticed.

::

    process = ReceiverProcess(1, ended)
    descriptor = process.start(reactor)           # our end of the link; not blocking
    process.kill()

It is a Python of its own, which inherits nothing but its end of the link and the environment, without what is not for its eyes.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

import moxtwisted

__all__ = ["LINK_DESCRIPTOR", "ReceiverProcess"]

_log = Logger()

#: Where the receiver finds its end of the link.
LINK_DESCRIPTOR: Final = 3
_MODULE: Final = "moxtwisted.tap.receiver"
#: Of a line that it writes where it should write nothing: what Python says when it cannot start, say.
_LINE_OCTETS: Final = 1000
#: How long its output is read after its end.
_LAST_WORDS_SECONDS: Final = 1.0


class ReceiverProcess(ProcessProtocol):
    """One process.

    :param without: variables of the environment that it does not get.
    :ivar pid: 0 before it was started.
    """

    def __init__(self, number: int, ended: Callable[[], None], without: Collection[str] = ()) -> None:
        self._number = number
        self._ended = ended
        self._without = without
        self.pid = 0
        self._reactor: Any = None

    def start(self, reactor: Any) -> int:
        """Start it; our end of the link, which is the caller's. :raises OSError:"""
        self._reactor = reactor
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            ours.setblocking(False)
            here = str(Path(moxtwisted.__file__).parent.parent)
            paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
            environment = {name: value for name, value in os.environ.items() if name not in self._without}
            # -P: what lies in the working directory is no part of the program.
            arguments = [sys.executable, "-P", "-m", _MODULE]
            transport = reactor.spawnProcess(
                self,
                sys.executable,
                arguments,
                env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
                childFDs={0: "w", 1: "r", 2: "r", LINK_DESCRIPTOR: theirs.fileno()},
            )
            self.pid = transport.pid
            return ours.detach()

    def outReceived(self, data: bytes) -> None:
        """It should say nothing."""
        for line in data.splitlines()[:100]:
            _log.warn(
                "receiver {receiver} says: {text}",
                receiver=self._number,
                text=line[:_LINE_OCTETS].decode("utf-8", "backslashreplace"),
            )

    errReceived = outReceived

    def processExited(self, reason: Failure) -> None:
        """It is gone. Whoever else has its pipes is not waited for."""
        code, signal = getattr(reason.value, "exitCode", None), getattr(reason.value, "signal", None)
        _log.info(
            "receiver {receiver} ended", receiver=self._number, pid=self.pid, exit_status=code, signal=signal
        )
        self._ended()
        if self.transport is not None:
            self._reactor.callLater(_LAST_WORDS_SECONDS, self.transport.loseConnection)

    def kill(self) -> None:
        """End it now."""
        if self.transport is not None:
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return
