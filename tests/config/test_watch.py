"""Changes of domains.conf are noticed and taken if they are valid; privileges go at the end of the start."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.application.service import MultiService, Service
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.load import load
from moxtwisted.config.privileges import (
    DropPrivileges,
    Identity,
    UnknownUserError,
    closed_directory,
    closed_program,
    find_identity,
)
from moxtwisted.config.schema import DomainsConfig
from moxtwisted.config.watch import DomainsWatcher, HangUp
from tests.config.test_load import DOMAINS, STATIC


class WatcherTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A watched file."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "mox.conf").write_text(STATIC)
        self.path = directory / "domains.conf"
        self.path.write_text(DOMAINS)
        self.clock = Clock()
        self.taken: list[DomainsConfig] = []
        self.watcher = DomainsWatcher(load(directory / "mox.conf"), self.clock, self.taken.append)
        self.watcher.startService()
        self.addCleanup(self.watcher.stopService)
        self.lines: list[str] = []
        observer = cast("ILogObserver", self.observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def observe(self, event: Any) -> None:
        """Remember what the watcher logs."""
        if event.get("log_namespace") == "moxtwisted.config.watch":
            self.lines.append(str(event.get("problem", event["log_format"])))

    def test_nothing_new(self) -> None:
        """A file that stays as it is changes nothing."""
        self.clock.pump([1] * 5)
        self.assertEqual(self.taken, [])

    def test_changed_in_place(self) -> None:
        """A second after an edit the new configuration is in force."""
        self.path.write_text(DOMAINS + '[domains."new.example"]\n')
        self.clock.advance(1)
        self.assertIn("new.example", self.taken[0].domains)
        self.assertIs(self.watcher.current, self.taken[0])
        self.clock.advance(1)
        self.assertEqual(len(self.taken), 1)

    def test_renamed_over(self) -> None:
        """An editor that writes another file and renames it is noticed, even when time and size are the same."""
        before = self.path.stat()
        other = self.path.with_name("other")
        other.write_text(DOMAINS.replace("Rest", "Misc"))
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.clock.advance(1)
        other.replace(self.path)
        self.clock.advance(1)
        self.assertEqual(self.taken[0].accounts["alice"].addresses["@example.org"].mailbox, "Misc")

    def test_invalid_keeps_the_old(self) -> None:
        """An invalid file leaves the old configuration in force and logs all problems, once."""
        old = self.watcher.current
        self.path.write_text(DOMAINS + "[x]\n[y]\n")
        self.clock.pump([1] * 5)
        self.assertIs(self.watcher.current, old)
        self.assertEqual(self.taken, [])
        self.assertEqual(len(self.lines), 3)
        self.path.write_text(DOMAINS)
        self.clock.advance(1)
        self.assertIs(self.watcher.current, old)

    def test_gone(self) -> None:
        """A file that vanishes leaves the old configuration in force."""
        self.path.unlink()
        self.clock.pump([1] * 3)
        self.assertEqual(self.taken, [])
        self.assertEqual(len(self.lines), 2)

    def test_only_comments(self) -> None:
        """A change that means nothing disturbs nobody."""
        self.path.write_text("# note\n" + DOMAINS)
        self.clock.advance(1)
        self.assertEqual(self.taken, [])

    def test_check_now(self) -> None:
        """After an edit of our own the file is read at once."""
        self.path.write_text(DOMAINS + '[domains."new.example"]\n')
        self.watcher.check()
        self.assertEqual(len(self.taken), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.taken), 1)

    def test_receiver_fails(self) -> None:
        """A defect of whoever takes the configuration is logged, and the watcher goes on."""
        self.watcher._use = lambda domains: 1 / 0  # type: ignore[assignment,return-value]
        self.path.write_text(DOMAINS + '[domains."new.example"]\n')
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.watcher._use = self.taken.append
        self.path.write_text(DOMAINS + '[domains."newer.example"]\n')
        self.clock.advance(1)
        self.assertEqual(len(self.taken), 1)

    def test_changed_before_the_start(self) -> None:
        """A change between reading at start and watching is not missed."""
        self.watcher.stopService()
        self.path.write_text(DOMAINS + '[domains."new.example"]\n')
        self.watcher.startService()
        self.assertEqual(len(self.taken), 1)

    def test_hang_up(self) -> None:
        """SIGHUP asks for a look, in the reactor's thread; afterwards the signal is as before."""
        calls: list[Callable[[], None]] = []
        before = signal.getsignal(signal.SIGHUP)
        service = HangUp(calls.append, self.watcher.check)
        service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(calls, [self.watcher.check])
        service.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)


class PrivilegesTests(SynchronousTestCase):
    def calls(self, uid: int) -> list[tuple[Any, ...]]:
        """Pretend to be this user, and record what would be changed."""
        calls: list[tuple[Any, ...]] = []
        for name in ("initgroups", "setgroups", "setresgid", "setresuid", "umask"):
            self.patch(os, name, lambda *values, name=name: calls.append((name, *values)))
        self.patch(os, "getuid", lambda: uid)
        return calls

    def test_order(self) -> None:
        """As root: groups first, then group, then user, for good."""
        calls = self.calls(0)
        DropPrivileges(Identity(1000, 100, "mail")).privilegedStartService()
        self.assertEqual([call[0] for call in calls], ["initgroups", "setresgid", "setresuid", "umask"])
        self.assertEqual(calls[2], ("setresuid", 1000, 1000, 1000))

    def test_number_without_name(self) -> None:
        """A number that has no name gets no supplementary groups."""
        calls = self.calls(0)
        DropPrivileges(Identity(4242, 4242, "")).privilegedStartService()
        self.assertEqual(calls[0], ("setgroups", [4242]))

    def test_not_root(self) -> None:
        """Who is not root stays who it is."""
        calls = self.calls(1000)
        DropPrivileges(Identity(1000, 100, "mail")).privilegedStartService()
        DropPrivileges(Identity(1001, 100, "mail")).privilegedStartService()
        self.assertEqual(calls, [])

    def test_after_the_ports(self) -> None:
        """As the last service it changes the user after all others had their privileged start."""
        calls = self.calls(0)
        services = MultiService()

        class Binds(Service):
            def privilegedStartService(self) -> None:
                """Note it."""
                calls.append(("bind",))

        Binds().setServiceParent(services)
        DropPrivileges(Identity(1000, 100, "mail")).setServiceParent(services)
        services.privilegedStartService()
        self.assertEqual(calls[0], ("bind",))

    def test_names_and_numbers(self) -> None:
        """Users and groups are names or numbers; what does not exist is told."""
        self.assertEqual(find_identity("root"), Identity(0, 0, "root"))
        self.assertEqual(find_identity("0:0"), Identity(0, 0, "root"))
        self.assertEqual(find_identity("987654:987654"), Identity(987654, 987654, ""))
        for text in ("nobody-of-that-name", "987654", "root:nogroup-of-that-name", "99999999999999999999"):
            self.assertRaises(UnknownUserError, find_identity, text)

    def test_closed_directory(self) -> None:
        """The topmost directory that a user cannot pass is named: by its owner, by its group, or by all others."""
        outer = Path(self.mktemp()).absolute()
        file = outer / "inner" / "python"
        file.parent.mkdir(parents=True)
        file.parent.chmod(0o755)
        status = outer.stat()
        stranger = Identity(status.st_uid + 1, status.st_gid + 1, "")
        member = Identity(status.st_uid + 1, status.st_gid, "")
        beyond = set(outer.parents)
        for mode, closed in (
            (0o700, {stranger, member}),
            (0o710, {stranger}),
            (0o701, {member}),
            (0o711, set()),
        ):
            outer.chmod(mode)
            for identity in (stranger, member):
                found = closed_directory(identity, file)
                if found not in beyond:
                    self.assertEqual(found, outer if identity in closed else None)
        self.assertIsNone(closed_directory(Identity(0, 0, "root"), file))

    def test_closed_program(self) -> None:
        """A Python that lies where the user cannot go is told with the directory and with what helps; root goes anywhere."""
        outer = Path(self.mktemp()).absolute()
        outer.mkdir(mode=0o700)
        self.patch(sys, "executable", str(outer / "python"))
        text = closed_program(Identity(os.getuid() + 1, os.getgid() + 1, ""))
        self.assertIn(" is closed to ", text)
        self.assertIn("/opt/moxmail", text)
        self.assertEqual(closed_program(Identity(0, 0, "root")), "")
