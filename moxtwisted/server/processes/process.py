"""A process that the server starts: its output heard, its end noticed.

::

    program = Program("receiver", "moxtwisted.tap.receiver", without=["MOX_KEY"])
    process = ChildProcess(program, 1, ended)
    descriptor = process.start(reactor)           # our end of the link; not blocking
    process.kill()

It is a Python of its own, which inherits nothing but its end of the link, what the program says, and the environment, without what is not
for its eyes.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

import moxtwisted

__all__ = ["LINK_DESCRIPTOR", "ChildProcess", "Program"]

_log = Logger()

#: Where the process finds its end of the link.
LINK_DESCRIPTOR: Final = 3
#: Of a line that it writes where it should write nothing: what Python says when it cannot start, say.
_LINE_OCTETS: Final = 1000
#: How long its output is read after its end.
_LAST_WORDS_SECONDS: Final = 1.0


@frozen
class Program:
    """What processes of one kind are.

    :ivar kind: what one is called in the log, where the field with its number has the same name: ``receiver``.
    :ivar module: that Python runs.
    :ivar without: variables of the environment that it does not get.
    :ivar inherited: descriptors besides that of the link, by their numbers there; they stay ours, and have to be open at each start.
    """

    kind: str
    module: str
    without: Collection[str] = field(default=(), kw_only=True)
    inherited: Mapping[int, int] = field(factory=dict, kw_only=True)

    def told(self, text: str) -> str:
        """The format of a line of the log about one of them."""
        return f"{self.kind} {{{self.kind}}} {text}"


class ChildProcess(ProcessProtocol):
    """One process.

    :param number: for the log.
    :param ended: called when it has ended.
    :ivar pid: 0 before it was started.
    """

    def __init__(self, program: Program, number: int, ended: Callable[[], None]) -> None:
        self._program = program
        self._whose = {program.kind: number}
        self._ended = ended
        self.pid = 0
        self._reactor: Any = None

    def start(self, reactor: Any) -> int:
        """Start it; our end of the link, which is the caller's. :raises OSError:"""
        self._reactor = reactor
        program = self._program
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            ours.setblocking(False)
            here = str(Path(moxtwisted.__file__).parent.parent)
            paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
            environment = {name: value for name, value in os.environ.items() if name not in program.without}
            # -P: what lies in the working directory is no part of the program.
            arguments = [sys.executable, "-P", "-m", program.module]
            transport = reactor.spawnProcess(
                self,
                sys.executable,
                arguments,
                env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
                childFDs={0: "w", 1: "r", 2: "r", LINK_DESCRIPTOR: theirs.fileno(), **program.inherited},
            )
            self.pid = transport.pid
            return ours.detach()

    def outReceived(self, data: bytes) -> None:
        """It should say nothing."""
        for line in data.splitlines()[:100]:
            text = line[:_LINE_OCTETS].decode("utf-8", "backslashreplace")
            _log.warn(self._program.told("says: {text}"), text=text, **self._whose)

    errReceived = outReceived

    def processExited(self, reason: Failure) -> None:
        """It is gone. Whoever else has its pipes is not waited for."""
        code, signal = getattr(reason.value, "exitCode", None), getattr(reason.value, "signal", None)
        _log.info(self._program.told("ended"), pid=self.pid, exit_status=code, signal=signal, **self._whose)
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
