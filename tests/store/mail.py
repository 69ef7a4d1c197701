"""A store in the test's thread, and messages to put into it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from moxtwisted import store
from moxtwisted.message.flags import NO_FLAGS, MessageFlags
from moxtwisted.store.bodies import decode
from moxtwisted.store.consistency import check
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store

KEY = MasterKey(b"k" * 32)


class StoreTestCase(SynchronousTestCase):
    """A store with the account ``bob``; at the end it is checked, every octet of it."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.directory = self.place()
        self.store = self.open()
        self.account: Any = self.successResultOf(self.store.create_account("bob", [("Sent", "\\Sent")]))
        self.inbox = self.account.mailbox("INBOX").id
        self.addCleanup(self._end)

    def place(self) -> Path:
        """Where the store is to be."""
        return Path(self.mktemp())

    def open(self, key: MasterKey | None = KEY) -> Any:
        """Open the store."""
        return Store.open(self.clock, self.directory, key, threads=0, seconds=self.clock.seconds)

    def reopen(self) -> None:
        """Close the store and open it again."""
        self.successResultOf(self.store.close())
        self.store = self.open()
        self.account = self.store.account("bob")

    def _end(self) -> None:
        self.reopen()
        self.assertEqual(check(self.account.reader, deep=True, decode=decode), [])
        self.successResultOf(self.store.close())

    def new(self, octets: bytes, flags: MessageFlags = NO_FLAGS) -> NewMessage:
        """A message to be added."""
        sink = self.store.stage()
        sink.write(octets)
        return NewMessage(sink.finish(), b"", 1, flags)

    def add(self, octets: bytes) -> Any:
        """The Deferred of its addition to INBOX."""
        return self.account.add([Addition(self.inbox, self.new(octets))])

    def octets(self, uid: int) -> bytes:
        """What INBOX has under this UID."""
        reader = self.account.open_body(self.inbox, uid)
        self.assertIsNotNone(reader)
        whole: bytes = reader.read(0, reader.size)
        reader.close()
        return whole


def go_back(connection: Any, version: int) -> None:
    """Make the database of an account one of an earlier version: without the tables that came later."""
    for path in sorted((Path(store.__file__).parent / "schema").glob("account-*.sql"), reverse=True):
        if int(path.stem.rpartition("-")[2]) > version:
            for table in re.findall(r"^CREATE (?:VIRTUAL )?TABLE (\w+)", path.read_text(), re.MULTILINE):
                connection.execute(f"DROP TABLE {table}").fetchall()
    connection.pragma("user_version", version)


def small_disk(test: SynchronousTestCase, path: Path, octets: int) -> None:
    """Mount a file system of this size there for the duration of the test; skips it where that is not allowed."""
    path.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={octets}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if done.returncode:
        raise SkipTest("mounting a small disk needs root: " + done.stderr.decode(errors="replace").strip())
    test.addCleanup(subprocess.run, ["umount", "-l", str(path)], capture_output=True, check=False)
