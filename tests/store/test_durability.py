"""Nothing that was acknowledged is lost when the process is killed, whatever it was doing."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.store.bodies import decode
from moxtwisted.store.consistency import check
from moxtwisted.store.store import Store
from tests.store import murdered

ROUNDS = int(os.environ.get("MOXTWISTED_KILL_ROUNDS", "50"))

# Where a message is and its flags; None: nowhere.
Place = tuple[str, frozenset[str]] | None


@define
class Fate:
    """What is known of one message: where it was when that was acknowledged, and where it may be."""

    place: Place = None
    pending: list[Place] = field(factory=list)
    account: str = ""

    def intend(self, what: str, arguments: list[str]) -> None:
        """Something was asked for."""
        words = frozenset(arguments[-1].split(",")) - {""} if arguments else frozenset()
        if what == "add":
            self.pending.append((arguments[0], words))
        elif what == "flags":
            self.pending.append((self.place[0] if self.place else "", words))
        elif what == "move":
            self.pending.append((arguments[0], self.place[1] if self.place else frozenset()))
        else:
            self.pending.append(None)

    def acknowledge(self) -> None:
        """And it was acknowledged."""
        self.place = self.pending.pop()


class KillTests(SynchronousTestCase):
    """A child works on three accounts, nine things at a time, and is killed; again and again on the same files."""

    def setUp(self) -> None:
        """Accounts, and the program whose children are killed."""
        self.directory = Path(self.mktemp()).absolute()
        store = Store.open(None, self.directory, murdered.KEY, threads=0)
        for name in murdered.ACCOUNTS:
            self.successResultOf(store.create_account(name, [("Work", "")]))
        self.successResultOf(store.close())
        self.program = subprocess.Popen(
            [sys.executable, "-m", "tests.store.murdered"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self.addCleanup(self._end)
        self.fates: dict[str, Fate] = {}

    def _end(self) -> None:
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.close()
        self.program.wait(10)
        self.program.stdout.close()

    # -- one round -----------------------------------------------------------------------------------------------

    def _lines(self, number: int, seconds: float) -> list[str]:
        """Let a child work for so long after its first acknowledgement, kill it; what it said."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(f"{self.directory} {number}\n".encode())
        self.program.stdin.flush()
        out = self.program.stdout.fileno()
        said = b""
        pid = 0
        killed_at = time.monotonic() + 20
        while (now := time.monotonic()) < killed_at:
            if select.select([out], [], [], min(0.01, killed_at - now))[0]:
                said += os.read(out, 65536)
            if not pid and b"\n" in said:
                pid = int(said.split(None, 2)[1])
            if seconds and b"\n<" in said:
                killed_at, seconds = time.monotonic() + seconds, 0
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.001)
        while select.select([out], [], [], 0)[0]:
            said += os.read(out, 65536)
        return said.decode().splitlines()[1:]

    def _take(self, lines: list[str]) -> set[str]:
        touched = set()
        for line in lines:
            self.assertNotEqual(line[0], "!", line)
            _, key, *words = line.split(" ")
            fate = self.fates.setdefault(key, Fate())
            fate.account = murdered.ACCOUNTS[int(key.split(".")[1]) % len(murdered.ACCOUNTS)]
            touched.add(key)
            if line[0] == ">":
                fate.intend(words[0], words[1:])
            else:
                fate.acknowledge()
        return touched

    def _compare(self, touched: set[str], *, deep: bool = False) -> None:
        """Open the files again and look at everything."""
        store = Store.open(Clock(), self.directory, murdered.KEY, threads=0)
        found: dict[str, list[tuple[str, frozenset[str]]]] = {}
        for name in murdered.ACCOUNTS:
            account = store.account(name)
            self.assertEqual(check(account.reader, deep=deep, decode=decode), [])
            for mailbox in murdered.MAILBOXES:
                self._read(account, mailbox, touched, found)
        for key, fate in self.fates.items():
            places = found.pop(key, [])
            self.assertLessEqual(len(places), 1, f"{key} is there twice")
            is_at = places[0] if places else None
            self.assertIn(is_at, [fate.place, *fate.pending], key)
            fate.place, fate.pending = is_at, []
        self.assertEqual(found, {}, "messages that nobody sent")
        self.successResultOf(store.close())

    def _read(self, account: Any, mailbox: str, touched: set[str], found: dict[str, Any]) -> None:
        identifier = account.mailbox(mailbox).id
        state = account.state(identifier)
        for uid, flags in zip(state.uids, state.flags, strict=True):
            reader = account.open_body(identifier, uid)
            head = reader.read(0, 200)
            key = head.split(b"X-Key: ")[1].split(b"\r\n")[0].decode()
            if key in touched:
                self.assertEqual(
                    b"".join(reader.read(at, 1 << 20) for at in range(0, reader.size, 1 << 20)),
                    b"X-Prefix: 1\r\n" + murdered.octets(key),
                )
            reader.close()
            found.setdefault(key, []).append((mailbox, frozenset(flags.names)))

    def test_killed(self) -> None:
        """After each kill every acknowledged message is there once, with its octets and flags, and all adds up."""
        dice = random.Random(ROUNDS)
        acknowledged = 0
        for number in range(ROUNDS):
            lines = self._lines(number, dice.uniform(0.005, 0.25))
            acknowledged += sum(line.startswith("<") for line in lines)
            self._compare(self._take(lines))
        self._compare(set(self.fates), deep=True)
        self.assertGreater(acknowledged, ROUNDS)
