"""Processes that are started: what they get, and what is heard of them."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from moxtwisted.server.processes import process
from moxtwisted.server.processes.process import LINK_DESCRIPTOR, ChildProcess, Program

MODULE = "tests.server.processes.child"


def told(descriptor: int) -> list[Any]:
    """What the process says over its link; ours is closed then."""
    with socket.socket(fileno=descriptor) as link:
        link.setblocking(True)
        link.settimeout(20)
        with link.makefile("rb") as lines:
            found: list[Any] = json.loads(lines.readline())
            return found


class ProcessTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        """Its output is not waited for long."""
        self.patch(process, "_LAST_WORDS_SECONDS", 0.0)
        self.events: list[dict[str, Any]] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def start(self, program: Program, number: int = 3) -> tuple[ChildProcess, int, Deferred[None]]:
        """A process, our end of its link, and its end, when nothing of it is left."""
        ended: Deferred[None] = Deferred()

        class Child(ChildProcess):
            def processEnded(self, reason: Failure) -> None:
                ended.callback(None)

        child = Child(program, number, lambda: None)
        return child, child.start(reactor), ended

    async def test_inherited(self) -> None:
        """It has its end of the link and what it inherits, at their numbers wherever they are here, and nothing else."""
        mine = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(3)]
        files = [socket.socketpair()[0] for _ in range(3)]
        for descriptor in mine:
            self.addCleanup(os.close, descriptor)
        for made in files:
            self.addCleanup(made.close)
        # Some lie where others belong.
        here = [*mine[:2], files[0].fileno()]
        there = [here[1], here[0], 4 if 4 not in here else 5]
        for descriptors in ({}, {4: here[2]}, {here[2]: here[2]}, dict(zip(there, here, strict=True))):
            wanted: dict[int, int] = dict(descriptors)
            _, link, ended = self.start(Program("keeper", MODULE, inherited=wanted))
            inodes, _, _ = await deferToThread(told, link)
            await ended
            self.assertEqual({int(number) for number in inodes}, {0, 1, 2, LINK_DESCRIPTOR, *wanted})
            for number, descriptor in wanted.items():
                self.assertEqual(inodes[str(number)], os.fstat(descriptor).st_ino)

    async def test_environment(self) -> None:
        """It has our environment without what it is not to have, and nothing of the working directory."""
        os.environ["MOX_KEY"], os.environ["MOX_OTHER"] = "secret", "open"
        self.addCleanup(os.environ.pop, "MOX_KEY")
        self.addCleanup(os.environ.pop, "MOX_OTHER")
        _, link, ended = self.start(Program("keeper", MODULE, without=("MOX_KEY", "MOX_NONE")))
        _, environment, first = await deferToThread(told, link)
        await ended
        self.assertNotIn("MOX_KEY", environment)
        self.assertEqual(environment["MOX_OTHER"], "open")
        self.assertNotIn(first, ("", str(Path.cwd())))

    async def test_log(self) -> None:
        """What it prints and its end are lines of the log, with its number in a field that is called as it is."""
        for kind in ("receiver", "keeper"):
            child, link, ended = self.start(Program(kind, MODULE), 5)
            await deferToThread(told, link)
            await ended
            lines = [event for event in self.events if kind in event]
            self.assertEqual(
                [formatEvent(event) for event in lines],
                [f"{kind} 5 says: here", f"{kind} 5 says: again", f"{kind} 5 ended"],
            )
            self.assertEqual([event[kind] for event in lines], [5, 5, 5])
            self.assertEqual([event["log_level"] for event in lines[1:]], [LogLevel.warn, LogLevel.info])
            last = lines[-1]
            self.assertEqual((last["pid"], last["exit_status"], last["signal"]), (child.pid, 7, None))

    async def test_killed(self) -> None:
        """One can be ended at any time, and again."""
        child, link, ended = self.start(Program("keeper", MODULE))
        self.addCleanup(os.close, link)
        child.kill()
        await ended
        child.kill()
        [last] = [event for event in self.events if "signal" in event]
        self.assertEqual((last["exit_status"], last["signal"]), (None, 9))
