"""Another key for the store: all of it, or what was begun can be finished."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config import rekey
from moxtwisted.config.load import LoadedConfig, load
from moxtwisted.config.oldkey import old_key_path
from moxtwisted.config.rekey import change_key, restore_owner
from moxtwisted.config.storekey import create_key_file, new_key, parse_key, pending_path, read_key
from moxtwisted.errors import KeyRefusedError, StoreFullError, StoreUnavailableError
from moxtwisted.store import database
from moxtwisted.store.ciphers import Cipher, cipher_of, copy_database
from moxtwisted.store.database import Database, check_key, connect, create_database
from moxtwisted.store.keys import MasterKey, check_key_value, write_key_check
from tests.config.test_load import DOMAINS, STATIC

NAMES = ("accounts/alice", "accounts/bob", "accounts/m\u00fcller", "queue")


def silent(done: int, total: int, what: str) -> None:
    """Nobody watches."""


def killed(work: Callable[[], None], seconds: float | None = None) -> None:
    """Do something in a child that dies by SIGKILL: after so many seconds of it, or when it is done."""
    ready, begun = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if seconds is not None:
                os.write(begun, b"x")
            work()
            os.write(begun, b"x")
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(begun)
    os.read(ready, 1)
    os.close(ready)
    if seconds is not None:
        time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class RekeyTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A data directory with three accounts and a queue, of both ciphers."""
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / "data" / "accounts").mkdir(parents=True)
        (self.directory / "mox.conf").write_text(STATIC)
        (self.directory / "domains.conf").write_text(DOMAINS)
        self.first = new_key()
        create_key_file(self.directory / "store.key", self.first)
        write_key_check(self.directory / "data" / "key-check", MasterKey(self.first))
        for name, cipher in zip(NAMES, cycle(Cipher), strict=False):
            key = MasterKey(self.first).derive(name)
            self.patch(database, "preferred_cipher", lambda cipher=cipher: cipher)
            create_database(
                self.path(name), key, "account", "INSERT INTO setting (key, value) VALUES ('test', ?)", name
            )

    def path(self, name: str) -> Path:
        """The file of a database."""
        if name == "queue":
            return self.directory / "data" / "queue.db"
        return (
            self.directory
            / "data"
            / "accounts"
            / (name.removeprefix("accounts/").replace("\u00fc", "%C3%BC") + ".db")
        )

    def loaded(self) -> LoadedConfig:
        """As the files are now."""
        return load(self.directory / "mox.conf")

    def prefer(self, cipher: Cipher) -> None:
        """What files get from now on."""
        for module in (database, rekey):
            self.patch(module, "preferred_cipher", lambda: cipher)

    def readable(self, key: bytes | None) -> None:
        """All databases have their row, with this key, which is also the configured one."""
        self.assertEqual(read_key(self.loaded(), {}), key)
        master = MasterKey(key) if key is not None else None
        self.assertTrue(check_key_value(self.directory / "data" / "key-check", master))
        for name in NAMES:
            connection = connect(self.path(name), master.derive(name) if master is not None else None)
            self.assertEqual(connection.execute("SELECT value FROM setting WHERE key = 'test'").get, name)
            self.assertEqual(connection.pragma("journal_mode"), "wal")
            connection.close()
        left = [path.name for path in (self.directory / "data").rglob("*") if "rekey" in path.name]
        self.assertEqual(left, [])
        self.assertFalse(pending_path(self.loaded()).exists())

    def contents(self) -> dict[str, bytes]:
        """All files, but for what SQLite remembers of logs."""
        return {
            str(path): path.read_bytes()
            for path in self.directory.rglob("*")
            if path.is_file() and path.suffix != ".db-shm" and path.name != "lock"
        }

    def leave_logs(self, key: bytes | None) -> None:
        """A server works with the databases and is killed: what it did last is in the logs."""
        master = MasterKey(key) if key is not None else None
        opened: list[Database] = []  # until the kill

        def serve() -> None:
            for name in NAMES:
                database = Database.open(
                    self.path(name), master.derive(name) if master is not None else None, "account"
                )
                database.writer.execute(
                    "INSERT INTO setting (key, value) VALUES ('late', ?)"
                    " ON CONFLICT DO UPDATE SET value = excluded.value",
                    (name,),
                )
                # The first page is in the log, too.
                database.writer.execute("CREATE TABLE IF NOT EXISTS more (n); DROP TABLE more")
                opened.append(database)

        killed(serve)
        for name in NAMES:
            self.assertGreater(self.path(name).with_name(self.path(name).name + "-wal").stat().st_size, 8192)

    def late(self, key: bytes | None) -> None:
        """What was only in the logs is there."""
        for name in NAMES:
            derived = MasterKey(key).derive(name) if key is not None else None
            database = Database.open(self.path(name), derived, "account")
            self.assertEqual(
                database.reader.execute("SELECT value FROM setting WHERE key = 'late'").get, name
            )
            database.close()


class RekeyTests(RekeyTestCase):
    """A change of the key of closed files."""

    def test_rotate(self) -> None:
        """With a new key everything is readable, with the old one nothing."""
        second = MasterKey.generate()
        seen: list[tuple[int, int, str]] = []
        change_key(self.loaded(), second, lambda *report: seen.append(report))
        self.readable(second.secret)
        self.assertEqual(seen[-1], (4, 4, "databases"))
        self.assertRaises(
            KeyRefusedError, check_key, self.path("queue"), MasterKey(self.first).derive("queue")
        )

    def test_cipher(self) -> None:
        """With a new key everything has the cipher that new files have here."""
        self.assertEqual({cipher_of(self.path(name)) for name in NAMES}, set(Cipher))
        for cipher in (*Cipher, *Cipher):
            self.prefer(cipher)
            key = MasterKey.generate()
            change_key(self.loaded(), key, silent)
            self.readable(key.secret)
            self.assertEqual({cipher_of(self.path(name)) for name in NAMES}, {cipher})

    def test_no_text_beside(self) -> None:
        """While it is rewritten nothing of what is encrypted is on the disk in the clear."""
        octets = bytearray()
        real = copy_database

        def copied(connection: Any, target: Path, *arguments: Any) -> None:
            real(connection, target, *arguments)
            for path in self.directory.rglob("*"):
                if path.is_file():
                    octets.extend(path.read_bytes())

        self.patch(rekey, "copy_database", copied)
        change_key(self.loaded(), MasterKey.generate(), silent)
        self.assertGreater(len(octets), 100_000)
        for text in (b"accounts/alice", b"CREATE TABLE", b"SQLite format"):
            self.assertNotIn(text, bytes(octets))

    def test_off_and_on(self) -> None:
        """Encryption is switched off, which mox.conf notes, and on again."""
        change_key(self.loaded(), None, silent)
        self.readable(None)
        self.assertTrue(self.path("queue").read_bytes().startswith(b"SQLite format 3"))
        second = MasterKey.generate()
        change_key(self.loaded(), second, silent)
        self.readable(second.secret)

    def interrupt(self, after: int, new: MasterKey | None) -> None:
        """Begin a change that is cut short after some databases."""
        real = rekey._rewrite
        left = [after]

        def rewrite(*arguments: Any) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            real(*arguments)

        patched = self.patch(rekey, "_rewrite", rewrite)
        self.assertRaises(KeyboardInterrupt, change_key, self.loaded(), new, silent)
        patched.restore()

    def test_cut_short(self) -> None:
        """A change that was cut short keeps the server from starting, and is finished with the key that was begun with."""
        for after in range(len(NAMES)):
            begun = MasterKey.generate()
            self.interrupt(after, begun)
            error = self.assertRaises(KeyRefusedError, read_key, self.loaded(), {})
            self.assertIn("moxmail key rotate", error.detail)
            change_key(self.loaded(), MasterKey.generate(), silent)
            self.readable(begun.secret)

    def test_cut_short_at_the_end(self) -> None:
        """So is one that was cut short between its last steps."""
        for step in ("write_key_check", "write_key", "restore_owner"):
            begun = MasterKey.generate()

            def stop(*arguments: Any) -> None:
                raise KeyboardInterrupt

            patched = self.patch(rekey, step, stop)
            self.assertRaises(KeyboardInterrupt, change_key, self.loaded(), begun, silent)
            patched.restore()
            if step != "restore_owner":
                change_key(self.loaded(), MasterKey.generate(), silent)
            self.readable(begun.secret)

    def test_rotation_cut_short_then_off(self) -> None:
        """When something else is asked for, the begun change is finished first and then that is done."""
        self.interrupt(2, MasterKey.generate())
        change_key(self.loaded(), None, silent)
        self.readable(None)
        self.interrupt(1, MasterKey.generate())
        change_key(self.loaded(), None, silent)
        self.readable(None)

    def test_off_cut_short(self) -> None:
        """Switching off that was cut short is finished, too."""
        self.interrupt(2, None)
        self.assertRaises(KeyRefusedError, read_key, self.loaded(), {})
        change_key(self.loaded(), None, silent)
        self.readable(None)

    def test_server_runs(self) -> None:
        """While a server holds the data directory nothing is touched."""
        with (self.directory / "data" / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            error = self.assertRaises(StoreUnavailableError, change_key, self.loaded(), None, silent)
        self.assertIn("moxmail stop", error.detail)
        self.readable(self.first)

    def test_wrong_key(self) -> None:
        """With a key that is not that of the files nothing is begun."""
        (self.directory / "store.key").unlink()
        create_key_file(self.directory / "store.key", new_key())
        self.assertRaises(KeyRefusedError, change_key, self.loaded(), MasterKey.generate(), silent)
        (self.directory / "store.key").unlink()
        create_key_file(self.directory / "store.key", self.first)
        self.readable(self.first)

    def test_no_room(self) -> None:
        """Without room for a copy the databases stay as they are, and the change can be finished later."""

        def full(connection: Any, target: Path, key: bytes | None, cipher: Cipher) -> None:
            target.write_bytes(b"x")
            raise OSError(28, "No space left on device")

        patched = self.patch(rekey, "copy_database", full)
        self.assertRaises(StoreFullError, change_key, self.loaded(), MasterKey.generate(), silent)
        patched.restore()
        change_key(self.loaded(), MasterKey.generate(), silent)
        key = read_key(self.loaded(), {})
        self.readable(key)

    def test_key_of_the_operator(self) -> None:
        """A key from the environment cannot be changed from here."""
        (self.directory / "mox.conf").write_text(STATIC + '[store]\nkey_environment = "K"\n')
        self.assertRaises(KeyRefusedError, change_key, self.loaded(), None, silent)

    def test_owner(self) -> None:
        """What root made in a data directory of somebody else is given to them."""
        if os.geteuid() != 0:
            self.skipTest("only root can give files away")
        os.chown(self.directory / "data", 65534, 65534)
        restore_owner(self.loaded())
        self.assertEqual({path.stat().st_uid for path in (self.directory / "data").rglob("*")}, {65534})


class KilledTests(RekeyTestCase):
    """Servers and changes that were killed."""

    def test_rotate_after_a_kill(self) -> None:
        """What a killed server left in its logs is converted with the rest."""
        self.leave_logs(self.first)
        second = MasterKey.generate()
        change_key(self.loaded(), second, silent)
        self.late(second.secret)
        self.readable(second.secret)

    def test_off_and_on_after_a_kill(self) -> None:
        """So it is when encryption is switched off, and on."""
        self.leave_logs(self.first)
        change_key(self.loaded(), None, silent)
        self.late(None)
        self.readable(None)
        self.leave_logs(None)
        second = MasterKey.generate()
        change_key(self.loaded(), second, silent)
        self.late(second.secret)
        self.readable(second.secret)

    def test_wrong_key_with_logs(self) -> None:
        """A well-formed key that is not that of the files is refused, with logs too, and nothing is changed."""
        self.leave_logs(self.first)
        (self.directory / "store.key").unlink()
        create_key_file(self.directory / "store.key", new_key())
        before = self.contents()
        for new in (MasterKey.generate(), None):
            error = self.assertRaises(KeyRefusedError, change_key, self.loaded(), new, silent)
            self.assertIn("nothing was changed", error.detail)
            self.assertEqual(self.contents(), before)
        (self.directory / "store.key").unlink()
        create_key_file(self.directory / "store.key", self.first)
        change_key(self.loaded(), MasterKey.generate(), silent)
        self.late(read_key(self.loaded(), {}))

    def test_one_strange_database(self) -> None:
        """One database that opens with neither key is a refusal before any is converted."""
        self.path("accounts/zoe").write_bytes(b"")
        self.leave_logs(self.first)
        before = self.contents()
        error = self.assertRaises(KeyRefusedError, change_key, self.loaded(), MasterKey.generate(), silent)
        self.assertIn("zoe.db", error.detail)
        self.assertEqual(self.contents(), before)

    def test_converted_wrongly(self) -> None:
        """When a database does not open with the new key after all, the key file stays as it is."""
        self.patch(rekey, "_rewrite", lambda *arguments: None)
        before = (self.directory / "store.key").read_bytes()
        self.assertRaises(KeyRefusedError, change_key, self.loaded(), MasterKey.generate(), silent)
        self.assertEqual((self.directory / "store.key").read_bytes(), before)

    def test_rotation_killed(self) -> None:
        """A change that was killed at any point, after a server was, is finished by the next; nothing is lost."""
        dice = random.Random(20)
        key: bytes | None = self.first
        for turn in range(20):
            if turn % 3 == 0:
                self.leave_logs(key)
            begun = None if turn % 5 == 4 else MasterKey.generate()

            def change(new: MasterKey | None = begun) -> None:
                change_key(self.loaded(), new, silent)

            self.prefer(dice.choice(tuple(Cipher)))
            killed(change, dice.uniform(0.0, 0.12))
            asked = MasterKey.generate()
            change_key(self.loaded(), asked, silent)
            key = read_key(self.loaded(), {})
            self.assertIn(key, (asked.secret, begun.secret if begun is not None else None))
            self.late(key)
            self.readable(key)


class OldKeyTests(RekeyTestCase):
    """The key that was changed."""

    def old(self) -> Path:
        """Where it is kept."""
        return old_key_path(self.directory / "store.key")

    def test_kept_until_the_next_start(self) -> None:
        """It stays beside the new one, for its owner only, until a start finds that all databases open."""
        second = MasterKey.generate()
        change_key(self.loaded(), second, silent)
        self.assertEqual(parse_key(self.old().read_text()), self.first)
        self.assertEqual(self.old().stat().st_mode & 0o777, 0o600)
        self.assertEqual(read_key(self.loaded(), {}), second.secret)
        self.assertFalse(self.old().exists())

    def test_kept_while_needed(self) -> None:
        """It stays while a database does not open with the new key, whatever its log makes of it."""
        change_key(self.loaded(), MasterKey.generate(), silent)
        self.path("queue").unlink()
        create_database(self.path("queue"), MasterKey(self.first).derive("queue"), "account")

        opened: list[Database] = []

        def serve() -> None:
            database = Database.open(self.path("queue"), MasterKey(self.first).derive("queue"), "account")
            opened.append(database)
            database.writer.execute("INSERT INTO setting (key, value) VALUES ('late', 1)")

        killed(serve)
        read_key(self.loaded(), {})
        self.assertEqual(parse_key(self.old().read_text()), self.first)

    def test_off(self) -> None:
        """Switching encryption off keeps it as well, and so does switching it on again keep what lay there."""
        change_key(self.loaded(), None, silent)
        self.assertEqual(parse_key(self.old().read_text()), self.first)
        self.readable(None)
        self.assertFalse(self.old().exists())
        change_key(self.loaded(), MasterKey.generate(), silent)
        self.assertEqual(parse_key(self.old().read_text()), self.first)
