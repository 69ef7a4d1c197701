"""Database files: keys, migrations, what a crash leaves, and two processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import apsw
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import KeyRefusedError, StoreUnavailableError
from moxtwisted.store import database
from moxtwisted.store.database import Database, connect, create_database, remove_database
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store
from moxtwisted.store.writeaheadlog import _AHEAD, _FRAME, WriteAheadLog
from tests.store.mail import KEY, StoreTestCase


def files(directory: Path) -> dict[str, bytes]:
    """All files below, with what is in them."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def many(octets: int, rows: int) -> str:
    """SQL that inserts so many rows."""
    numbers = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    return f"{numbers} INSERT INTO thing (name) SELECT randomblob({octets}) FROM n"


class OverwrittenLogTests(SynchronousTestCase):
    """A log that is long already, and begins anew."""

    def setUp(self) -> None:
        """What is asked of the system."""
        path = Path(self.mktemp())
        path.with_name(path.name + "-wal").write_bytes(bytes(1 << 20))
        self.log = WriteAheadLog(path)
        self.addCleanup(self.log.close)
        self.asked: list[range] = []
        self.written, self.now = 0, 100.0
        self.patch(time, "monotonic", lambda: self.now)
        self.patch(os, "posix_fadvise", self.advised)
        # It learns how long it is when it seems to be too short.
        for _ in range(6):
            self.commit(1)
        self.log.written_back()

    def advised(self, handle: int, start: int, length: int, advice: int) -> None:
        """Note it."""
        self.assertEqual((handle, advice), (self.log.handle(), os.POSIX_FADV_WILLNEED))
        self.asked.append(range(start, start + length))

    def commit(self, pages: int) -> None:
        """A transaction of so many pages."""
        self.written += pages
        self.log.committed(
            mock.Mock(**{"status.return_value": (self.written, 0), "wal_checkpoint.return_value": (0, 0)})
        )

    def test_read_before(self) -> None:
        """What a commit overwrites was asked for before, none of it twice, and nothing behind the end of the file."""
        for _ in range(3):
            self.assertEqual([there.start for there in self.asked[-1:]], [0])
            del self.asked[:-1]
            while (start := self.log.pages * _FRAME) < 900_000:
                for octet in range(start, start + 7 * _FRAME, 1024):
                    self.assertTrue(any(octet in there for there in self.asked), (octet, self.asked))
                self.commit(7)
            starts = [there.start for there in self.asked]
            self.assertEqual(starts, list(range(0, len(starts) * _AHEAD, _AHEAD)))
            self.assertLess(starts[-1], 1 << 20)
            self.log.written_back()

    def test_after_a_pause(self) -> None:
        """What nobody wrote for a while may have gone from memory: the next commit asks for what it overwrites, once."""
        self.commit(3)
        del self.asked[:]
        self.now += 0.9
        self.log.expect()
        self.assertEqual(self.asked, [])
        self.now += 0.2
        self.log.expect()
        self.assertEqual(self.asked, [range(3 * _FRAME, 3 * _FRAME + _AHEAD)])
        self.commit(3)
        self.log.expect()
        self.assertEqual(len(self.asked), 1)


class DatabaseTests(SynchronousTestCase):
    """One file."""

    def setUp(self) -> None:
        """A schema of its own."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "x.db"
        self.patch(database, "_SCHEMA", self.directory)
        self.remembering = database._read_schema
        self.patch(database, "_read_schema", self.remembering.__wrapped__)
        (self.directory / "thing-0001.sql").write_text("CREATE TABLE thing (name TEXT);")

    def create(self, key: bytes | None = b"k" * 32) -> None:
        """Make the file, with one row."""
        create_database(self.path, key, "thing", "INSERT INTO thing (name) VALUES (?)", "first")

    def opened(self, key: bytes | None = b"k" * 32) -> Database:
        """Open it; it is closed at the end."""
        opened = Database.open(self.path, key, "thing")
        self.addCleanup(opened.close)
        return opened

    def test_files_of_the_schema_replaced(self) -> None:
        """What was read of a schema once is what holds, while an update replaces its files; without any, nothing is made."""
        self.patch(database, "_read_schema", self.remembering)
        self.create()
        (self.directory / "thing-0001.sql").rename(self.directory / "thing-0002.sql")
        remove_database(self.path)
        self.create()
        self.assertEqual(self.opened().writer.pragma("user_version"), 1)
        self.assertRaises(StoreUnavailableError, create_database, self.directory / "y.db", None, "other")

    def filled(self, packer: ThreadPoolExecutor, gate: threading.Event | None = None) -> Database:
        """One whose log is long enough to be written back, beside the writer."""
        self.patch(database, "CHECKPOINT_PAGES", 40)
        self.patch(database, "_LOOK_PAGES", 20)
        self.create()
        opened = self.opened()
        opened.checkpointer = packer
        opened._look_at = 20
        if gate is not None:
            packer.submit(gate.wait, 20)
        self.grow(opened, 3)
        return opened

    def grow(self, opened: Database, times: int) -> None:
        """Commits of 20 pages each."""
        for _ in range(times):
            opened.writer.execute(many(8000, 20))
            opened.tidy()

    def packer(self) -> ThreadPoolExecutor:
        """One thread."""
        packer = ThreadPoolExecutor(1)
        self.addCleanup(packer.shutdown)
        return packer

    def test_written_back_beside_the_writer(self) -> None:
        """Another thread writes a long log back; then it begins anew, and nothing is missing."""
        gate = threading.Event()
        opened = self.filled(self.packer(), gate)
        checkpoint = opened._checkpoint
        gate.set()
        assert checkpoint is not None
        self.assertIsNone(checkpoint.exception(20))
        grown = 3
        while opened._checkpoint is checkpoint and grown < 10:
            self.grow(opened, 1)
            grown += 1
        self.assertIsNone(opened._checkpoint)
        self.grow(opened, 1)
        self.assertLess(opened._log.pages, 80)
        for _ in range(20):
            self.grow(opened, 1)
            checkpoint = opened._checkpoint
            if checkpoint is not None:
                self.assertIsNone(checkpoint.exception(20))
            self.assertLess(opened._log.pages, 200)
        self.assertEqual(opened.reader.execute("SELECT count(*) FROM thing").get, 1 + (grown + 21) * 20)
        self.assertEqual(opened.writer.execute("PRAGMA integrity_check").get, "ok")

    def test_not_asked_for(self) -> None:
        """Where the system does not have that, or refuses, nothing is different."""
        opened = self.filled(self.packer())
        with mock.patch.object(os, "posix_fadvise", side_effect=OSError("no")) as refused:
            self.grow(opened, 12)
        refused.assert_called()
        with mock.patch.object(os, "posix_fadvise"):
            del os.posix_fadvise
            self.grow(opened, 12)
        self.assertEqual(opened.writer.execute("PRAGMA integrity_check").get, "ok")

    def test_writer_waits_for_a_slow_one(self) -> None:
        """While the thread is busy the log grows, up to a limit; then the writer does it."""
        gate = threading.Event()
        self.patch(database, "_PATIENT_PAGES", 100)
        opened = self.filled(self.packer(), gate)
        longest = 0
        for _ in range(20):
            self.grow(opened, 1)
            longest = max(longest, opened._log.pages)
        gate.set()
        self.assertGreater(longest, 80)
        self.assertLess(longest, 160)

    def test_closed_before_written_back(self) -> None:
        """Closing does not wait for what has not begun, and leaves all in the file."""
        gate = threading.Event()
        opened = self.filled(self.packer(), gate)
        opened.close()
        gate.set()
        again = self.opened()
        self.assertEqual(again.reader.execute("SELECT count(*) FROM thing").get, 61)

    def test_closed_while_asked(self) -> None:
        """Closing waits for what another thread is just asking, and closes all."""
        self.create()
        opened = Database.open(self.path, b"k" * 32, "thing")
        asking = threading.Event()
        found: list[Any] = []

        def ask() -> None:
            numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
            asking.set()
            found.append(opened.reader.execute(f"{numbers} SELECT sum(i) FROM n").get)

        thread = threading.Thread(target=ask)
        thread.start()
        asking.wait()
        time.sleep(0.02)
        opened.close()
        thread.join()
        self.assertEqual(found, [500_000_500_000])
        self.assertRaises(apsw.ConnectionClosedError, opened.writer.execute, "SELECT 1")

    def test_thread_fails(self) -> None:
        """What the thread cannot do is the writer's to do."""
        opened = self.filled(self.packer())
        opened._settle()
        opened._connect = lambda: connect(self.directory / "nowhere" / "x.db", None)
        self.grow(opened, 30)
        self.assertLess(opened._log.pages, 200)
        self.assertEqual(opened.reader.execute("SELECT count(*) FROM thing").get, 1 + 33 * 20)

    def test_settings(self) -> None:
        """The file is as the design says: log, full synchronisation, foreign keys, incremental vacuum."""
        self.create()
        writer = self.opened().writer
        self.assertEqual(
            [writer.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum")],
            ["wal", 2, 1, 2],
        )
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_who_only_opens_it_writes_nothing(self) -> None:
        """To open, read and close a database takes no write to the file or its log, and no sync."""
        for key in (b"k" * 32, None):
            remove_database(self.path)
            self.create(key)
            before = self.path.read_bytes()
            opened = Database.open(self.path, key, "thing")
            self.assertEqual(opened.reader.execute("SELECT count(*) FROM thing").get, 1)
            self.assertEqual(self.path.with_name(self.path.name + "-wal").stat().st_size, 0)
            opened.close()
            self.assertEqual(self.path.read_bytes(), before)

    def test_encrypted(self) -> None:
        """With a key nothing of the content can be read in any file, log included."""
        self.create()
        opened = self.opened()
        opened.writer.execute("INSERT INTO thing VALUES ('very secret')")
        for name, octets in files(self.directory).items():
            if name.startswith("x.db"):
                self.assertNotIn(b"secret", octets)
                self.assertNotIn(b"SQLite format", octets)

    def test_other_key(self) -> None:
        """Another key, a missing or a needless one is refused, and no octet of the files changes."""
        for right, wrongs in ((b"k" * 32, (b"x" * 32, None)), (None, (b"k" * 32,))):
            remove_database(self.path)
            self.create(right)
            # Another connection that is still open leaves a log behind, as a crash does.
            for log in (False, True):
                if log:
                    opened = self.opened(right)
                    opened.writer.execute("INSERT INTO thing VALUES ('second')")
                before = {name: octets for name, octets in files(self.directory).items() if "shm" not in name}
                for wrong in wrongs:
                    self.assertRaises(KeyRefusedError, Database.open, self.path, wrong, "thing")
                after = {name: octets for name, octets in files(self.directory).items() if "shm" not in name}
                self.assertEqual(after, before)
            self.assertEqual(opened.reader.execute("SELECT count(*) FROM thing").get, 2)
            opened.close()

    def test_other_key_after_a_kill(self) -> None:
        """So it is with the log that a killed process left, and with it the right key finds all there is."""
        for right, wrongs in ((b"k" * 32, (b"x" * 32, None)), (None, (b"k" * 32,))):
            remove_database(self.path)
            self.create(right)
            pid = os.fork()
            if pid == 0:
                try:
                    opened = Database.open(self.path, right, "thing")
                    opened.writer.execute("INSERT INTO thing VALUES ('second'); CREATE TABLE other (n)")
                    os.kill(os.getpid(), signal.SIGKILL)
                finally:
                    os._exit(1)
            os.waitpid(pid, 0)
            before = {name: octets for name, octets in files(self.directory).items() if "shm" not in name}
            self.assertGreater(len(before["x.db-wal"]), 8192)
            for wrong in wrongs:
                self.assertRaises(KeyRefusedError, database.read_with, self.path, wrong)
                self.assertRaises(KeyRefusedError, Database.open, self.path, wrong, "thing")
            database.read_with(self.path, right)
            after = {name: octets for name, octets in files(self.directory).items() if "shm" not in name}
            self.assertEqual(after, before)
            self.assertEqual(self.opened(right).reader.execute("SELECT count(*) FROM thing").get, 2)

    def test_recovered(self) -> None:
        """What a killed server left in the log is in the file, and on disk, before anything is written behind it."""
        self.create()
        opened = self.opened()
        opened.writer.execute(many(4000, 20)).fetchall()
        left = self.directory / "left"
        left.mkdir()
        for suffix in ("", "-wal"):
            (left / ("x.db" + suffix)).write_bytes((self.directory / ("x.db" + suffix)).read_bytes())
        again = Database.open(left / "x.db", b"k" * 32, "thing")
        self.addCleanup(again.close)
        (left / "alone").mkdir()
        (left / "alone" / "x.db").write_bytes((left / "x.db").read_bytes())
        alone = connect(left / "alone" / "x.db", b"k" * 32)
        self.addCleanup(alone.close)
        self.assertEqual(alone.execute("SELECT count(*) FROM thing").get, 21)

    def test_half_written(self) -> None:
        """A file that was cut while the log was written back is opened by means of the log."""
        self.create()
        opened = self.opened()
        opened.writer.execute(many(1000, 200))
        log = self.path.with_name("x.db-wal").read_bytes()
        opened.close()
        whole = self.path.read_bytes()
        for damaged in (whole[: database.PAGE_SIZE * 3], whole[:4096] + b"\0" * 4096 + whole[8192:]):
            self.path.write_bytes(damaged)
            self.path.with_name("x.db-wal").write_bytes(log)
            again = self.opened()
            self.assertEqual(again.reader.execute("SELECT count(*) FROM thing").get, 201)
            again.close()

    def test_migration(self) -> None:
        """A new version is reached step by step, each after a copy of the whole that has the same key."""
        self.create()
        (self.directory / "thing-0002.sql").write_text("ALTER TABLE thing ADD COLUMN size INTEGER;")
        (self.directory / "thing-0003.sql").write_text("UPDATE thing SET size = length(name);")
        opened = self.opened()
        self.assertEqual(opened.reader.execute("SELECT name, size FROM thing").fetchall(), [("first", 5)])
        self.assertEqual(opened.writer.pragma("user_version"), 3)
        for number, columns in ((2, 1), (3, 2)):
            copy = self.path.with_name(f"x.db.before-{number:04}")
            self.assertNotIn(b"first", copy.read_bytes())
            database.check_key(copy, b"k" * 32)
            backup = database.connect(copy, b"k" * 32)
            self.assertEqual(len(backup.execute("SELECT * FROM thing").fetchall()[0]), columns)
            self.assertEqual(backup.pragma("user_version"), number - 1)
            backup.close()

    def test_failed_migration(self) -> None:
        """A step that fails leaves the database as it was before it."""
        self.create()
        (self.directory / "thing-0002.sql").write_text("UPDATE thing SET name = 'changed'; SELECT nonsense;")
        with self.assertRaises(Exception):  # noqa: B017 - whatever SQLite says
            self.opened()
        (self.directory / "thing-0002.sql").unlink()
        opened = self.opened()
        self.assertEqual(opened.reader.execute("SELECT name FROM thing").get, "first")
        self.assertEqual(opened.writer.pragma("user_version"), 1)

    def test_newer(self) -> None:
        """What a newer program wrote is not opened."""
        (self.directory / "thing-0002.sql").write_text("ALTER TABLE thing ADD COLUMN size INTEGER;")
        self.create()
        (self.directory / "thing-0002.sql").unlink()
        self.assertRaises(StoreUnavailableError, self.opened)

    def test_missing(self) -> None:
        """Opening does not create."""
        self.assertRaises(StoreUnavailableError, self.opened)
        self.assertFalse(self.path.exists())

    def test_left_over(self) -> None:
        """What a crash left of making a database is no obstacle."""
        self.path.with_name("x.db.new").write_bytes(b"half")
        self.path.with_name("x.db.new-wal").write_bytes(b"half")
        self.create()
        self.assertEqual(self.opened().reader.execute("SELECT name FROM thing").get, "first")

    def test_log_is_written_back(self) -> None:
        """A full log is written back after the commit, and used again from its start."""
        self.create()
        opened = self.opened()
        for _ in range(3):
            opened.writer.execute(many(7000, 5000))
            opened.tidy()
        self.assertLess(self.path.with_name("x.db-wal").stat().st_size, 60_000_000)
        self.assertGreater(self.path.stat().st_size, 100_000_000)


class StoreFilesTests(StoreTestCase):
    """The data directory."""

    def test_other_key(self) -> None:
        """A store is not opened with another key, with none, or with a needless one; and nothing is touched."""
        self.successResultOf(self.store.close())
        before = files(self.directory)
        for wrong in (MasterKey(b"x" * 32), None):
            self.assertRaises(KeyRefusedError, self.open, wrong)
        self.assertEqual(files(self.directory), before)
        plain = Path(self.mktemp())
        self.successResultOf(Store.open(None, plain, None, threads=0).close())
        self.assertRaises(KeyRefusedError, Store.open, None, plain, KEY, threads=0)
        self.store = self.open()

    def test_other_key_without_note(self) -> None:
        """So it is when the note of the key is lost, and the log of a killed process is there."""
        self.successResultOf(self.store.close())
        pid = os.fork()
        if pid == 0:
            try:
                self.store = self.open()
                self.account = self.store.account("bob")
                self.add(b"Subject: late\r\n\r\nlate\r\n")
                os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(1)
        os.waitpid(pid, 0)
        (self.directory / "key-check").unlink()
        before = {name: octets for name, octets in files(self.directory).items() if "shm" not in name}
        self.assertIn("accounts/bob.db-wal", before)
        for wrong in (MasterKey(b"x" * 32), None):
            self.assertRaises(KeyRefusedError, self.open, wrong)
        after = {name: octets for name, octets in files(self.directory).items() if "shm" not in name}
        self.assertEqual(after, before)
        self.store = self.open()
        self.account = self.store.account("bob")
        self.assertIn(b"late", self.octets(1))

    def test_no_text_on_disk(self) -> None:
        """No file of an encrypted store has a word of a message."""
        self.successResultOf(self.add(b"Subject: Zebrafish\r\n\r\nZebrafish\r\n"))
        sink = self.store.stage()
        sink.write(b"Subject: Zebrafish\r\n\r\n" + b"Zebrafish\r\n" * 200_000)
        for octets in files(self.directory).values():
            self.assertNotIn(b"ebrafish", octets)
        sink.abort()

    def test_two_processes(self) -> None:
        """A data directory that a process uses is refused to another, and free when the process ends."""
        code = (
            "import sys; from pathlib import Path; from moxtwisted.store.store import Store;"
            "from moxtwisted.store.keys import MasterKey;"
            "Store.open(None, Path(sys.argv[1]), MasterKey(b'k' * 32), threads=0)"
        )

        def other() -> Any:
            return subprocess.run(
                [sys.executable, "-c", code, str(self.directory.absolute())],
                capture_output=True,
                text=True,
                cwd=Path(__file__).parents[2],
                check=False,
            )

        self.assertIn(
            "is in use by another process: a server that runs (see moxmail status), ", other().stderr
        )
        self.assertRaises(StoreUnavailableError, self.open)
        self.successResultOf(self.store.close())
        self.assertEqual(other().returncode, 0)
        self.store = self.open()

    def test_left_behind(self) -> None:
        """Who opened it was killed, and whoever started it did not notice yet: those that it shared it with are waited for."""
        self.successResultOf(self.store.close())
        code = (
            "import fcntl, os, sys, time; lock = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(lock, fcntl.LOCK_EX);"
            "os.pwrite(lock, b'%-20d' % os.getpid(), 0); os.fork() or time.sleep(0.3)"
        )
        with subprocess.Popen([sys.executable, "-c", code, str(self.directory / "lock")]) as first:
            os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
            self.store = self.open()
            self.assertIsNone(first.returncode)

    def test_closed_for_want_of_use(self) -> None:
        """An account that nobody holds is closed after a while, one that somebody uses is not."""
        for name in ("ann", "cleo"):
            self.successResultOf(self.store.create_account(name))
        ann = self.store.account("ann")
        log = self.directory / "accounts" / "cleo.db-wal"
        self.assertTrue(log.exists())
        self.clock.advance(301)
        self.store.account("bob")
        self.assertFalse(log.exists())
        self.assertIs(self.store.account("ann"), ann)
        self.assertEqual(self.store.account("cleo").mailbox("INBOX").messages, 0)

    def test_removed_account_leaves_nothing(self) -> None:
        """No file of a removed account stays, even when the removal was cut short."""
        self.successResultOf(self.store.create_account("ann"))
        self.successResultOf(self.store.remove_account("ann"))
        self.assertEqual([name for name in files(self.directory) if "ann" in name], [])
        (self.directory / "accounts" / "ann.db.removed").write_bytes(b"x")
        (self.directory / "accounts" / "ann.db-wal").write_bytes(b"x")
        self.reopen()
        self.assertEqual([name for name in files(self.directory) if "ann" in name], [])

    def test_unused_bodies_go_at_start(self) -> None:
        """Bodies that a crash left without a message are removed when the account is opened."""
        self.successResultOf(self.add(b"Subject: x\r\n\r\n" + b"x" * 1_000_000))
        writer = self.account._database.writer
        writer.execute(
            "DELETE FROM message; UPDATE body SET refs = 0; UPDATE mailbox SET messages = 0, unseen = 0, size = 0"
        )
        self.reopen()
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM body").get, 0)
        self.assertEqual(self.account.reader.execute("SELECT count(*) FROM chunk").get, 0)
        self.assertGreater(self.successResultOf(self.add(b"\r\n"))[0].body, 1)

    def test_room_is_given_back(self) -> None:
        """When much was removed, the file gets shorter by itself."""
        path = self.directory / "accounts" / "bob.db"
        for number in range(30):
            octets = random.Random(number).randbytes(700_000).replace(b"\r", b"x").replace(b"\n", b"y")
            self.successResultOf(self.add(b"Subject: x\r\n\r\n" + octets))
        self.reopen()
        before = path.stat().st_size
        self.successResultOf(self.account.expunge(self.inbox, list(range(3, 31)), only_deleted=False))
        self.reopen()
        self.assertLess(path.stat().st_size, before * 3 // 4)
