"""Ciphers of database files: which one a file has, which one new files get, and from one to another."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import KeyRefusedError
from moxtwisted.store import ciphers, database
from moxtwisted.store.ciphers import Cipher, cipher_of, copy_database, preferred_cipher
from moxtwisted.store.database import Database, check_key, connect, create_database, read_with
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store

KEY = b"k" * 32
OTHER = b"o" * 32


class CipherTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A folder, and a schema of its own."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "m\u00fcller & co?.db"
        self.patch(database, "_SCHEMA", self.directory)
        self.patch(database, "_read_schema", database._read_schema.__wrapped__)
        (self.directory / "thing-0001.sql").write_text(
            "CREATE TABLE thing (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);"
            "CREATE VIRTUAL TABLE words USING fts5 (word, content = '', contentless_delete = 1, detail = none)"
        )

    def prefer(self, cipher: Cipher) -> None:
        """What new files get."""
        self.patch(database, "preferred_cipher", lambda: cipher)

    def create(self, cipher: Cipher, rows: int = 100) -> None:
        """A file with rows."""
        self.prefer(cipher)
        create_database(self.path, KEY, "thing")
        opened = Database.open(self.path, KEY, "thing")
        with opened.writer:
            for number in range(rows):
                opened.writer.execute(
                    "INSERT INTO thing VALUES (?, ?)", (3 * number, f"secret {number}" * 50)
                )
                opened.writer.execute("INSERT INTO words (rowid, word) VALUES (?, 'secret')", (3 * number,))
        opened.close()

    def rows(self, path: Path, key: bytes | None) -> list[Any]:
        """What is in a file."""
        connection = connect(path, key)
        try:
            self.assertEqual(connection.pragma("quick_check"), "ok")
            words = connection.execute("SELECT rowid FROM words WHERE words MATCH 'secret'").fetchall()
            rows = connection.execute("SELECT id, name FROM thing ORDER BY id").fetchall()
            self.assertEqual([row[0] for row in rows], [row[0] for row in words])
            return list(rows)
        finally:
            connection.close()


class FileTests(CipherTestCase):
    """One file of each cipher."""

    def test_says_its_cipher(self) -> None:
        """A file opens with the cipher that it was made with, whatever new ones get."""
        for made in Cipher:
            self.create(made)
            for preferred in Cipher:
                self.prefer(preferred)
                self.assertIs(cipher_of(self.path), made)
                opened = Database.open(self.path, KEY, "thing")
                opened.writer.execute("INSERT INTO thing (name) VALUES ('more')")
                opened.close()
            connection = connect(self.path, KEY)
            self.assertEqual(connection.execute("SELECT count(*) FROM thing WHERE name <> ''").get, 102)
            connection.close()
            self.assertNotIn(b"secret", self.path.read_bytes())
            database.remove_database(self.path)

    def test_of_the_program_before(self) -> None:
        """A file as it was made before there was a choice opens as it is."""
        connection = apsw.Connection(str(self.path))
        connection.pragma("cipher", "chacha20")
        connection.execute(f"PRAGMA key = 'raw:{KEY.hex()}'")
        connection.execute(
            "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
            + (self.directory / "thing-0001.sql").read_text()
            + "; INSERT INTO thing (name) VALUES ('old'); PRAGMA user_version = 1"
        ).fetchall()
        connection.close()
        before = self.path.read_bytes()
        self.prefer(Cipher.AEGIS)
        opened = Database.open(self.path, KEY, "thing")
        self.assertEqual(opened.reader.execute("SELECT name FROM thing").get, "old")
        opened.close()
        # Opening writes the first page, which notes how the file gives back room.
        self.assertEqual(self.path.read_bytes()[database.PAGE_SIZE :], before[database.PAGE_SIZE :])
        self.assertIs(cipher_of(self.path), Cipher.CHACHA20)

    def test_other_keys(self) -> None:
        """Another key, or none, is refused as that, also with the log of a killed process, and nothing is changed."""
        for made in Cipher:
            self.create(made)
            pid = os.fork()
            if pid == 0:
                try:
                    left = Database.open(self.path, KEY, "thing")
                    left.writer.execute("INSERT INTO thing (name) VALUES ('late'); CREATE TABLE other (n)")
                    os.kill(os.getpid(), signal.SIGKILL)
                finally:
                    os._exit(1)
            os.waitpid(pid, 0)
            log = self.path.with_name(self.path.name + "-wal")
            before = self.path.read_bytes(), log.read_bytes()
            self.assertGreater(len(before[1]), 8192)
            for wrong in (OTHER, None):
                self.assertRaises(KeyRefusedError, read_with, self.path, wrong)
                self.assertRaises(KeyRefusedError, Database.open, self.path, wrong, "thing")
            read_with(self.path, KEY)
            self.assertEqual((self.path.read_bytes(), log.read_bytes()), before)
            opened = Database.open(self.path, KEY, "thing")
            self.assertEqual(opened.reader.execute("SELECT count(*) FROM thing").get, 101)
            opened.close()
            database.remove_database(self.path)

    def test_forged(self) -> None:
        """A page that somebody changed, or put in another's place, is not read."""
        for made in Cipher:
            self.create(made, 500)
            whole = self.path.read_bytes()
            size = database.PAGE_SIZE
            self.assertGreater(len(whole), 6 * size)
            for at in (4 * size, 4 * size + 5000, 5 * size - 80, 5 * size - 1):
                changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
                self.path.write_bytes(changed)
                self.assertRaises(apsw.CorruptError, self.scan)
            self.path.write_bytes(whole[: 3 * size] + whole[4 * size : 5 * size] + whole[4 * size :])
            self.assertRaises(apsw.CorruptError, self.scan)
            self.path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
            self.assertRaises(KeyRefusedError, check_key, self.path, KEY)
            self.path.write_bytes(whole)
            self.scan()
            database.remove_database(self.path)

    def scan(self) -> None:
        """Read every page of the table."""
        connection = connect(self.path, KEY, immutable=True)
        try:
            connection.execute("PRAGMA integrity_check").fetchall()
            connection.execute("SELECT sum(length(name)), max(name) FROM thing").fetchall()
            connection.execute("SELECT count(*), max(block) FROM words_data").fetchall()
        finally:
            connection.close()

    def test_nothing_twice(self) -> None:
        """The same page is never encrypted the same way."""
        for made in Cipher:
            self.create(made)
            seen = set()
            for _ in range(3):
                connection = connect(self.path, KEY)
                before = connection.execute("SELECT name FROM thing WHERE id = 0").get
                for name in ("other", before):
                    connection.execute("UPDATE thing SET name = ? WHERE id = 0", (name,))
                connection.close()
                seen.add(self.path.read_bytes()[database.PAGE_SIZE * 2 :])
            self.assertEqual(len(seen), 3)
            database.remove_database(self.path)

    def test_migration(self) -> None:
        """The copy before a migration is of the cipher of its original."""
        for made in Cipher:
            self.create(made)
            self.prefer(next(cipher for cipher in Cipher if cipher is not made))
            (self.directory / "thing-0002.sql").write_text("ALTER TABLE thing ADD COLUMN size INTEGER")
            Database.open(self.path, KEY, "thing").close()
            copy = self.path.with_name(f"{self.path.name}.before-0002")
            self.assertIs(cipher_of(copy), made)
            self.assertEqual(self.rows(copy, KEY), self.rows(self.path, KEY))
            (self.directory / "thing-0002.sql").unlink()
            database.remove_database(self.path)

    def test_store(self) -> None:
        """A data directory whose files have both ciphers is one as any other, and so is one brought from elsewhere."""
        self.patch(database, "_SCHEMA", Path(database.__file__).parent / "schema")
        data, moved = self.directory / "data", self.directory / "moved"
        for name, cipher in (("ann", Cipher.CHACHA20), ("bob", Cipher.AEGIS)):
            self.prefer(cipher)
            store = Store.open(None, data, MasterKey(KEY), threads=0)
            self.successResultOf(store.create_account(name))
            self.successResultOf(store.close())
        shutil.copytree(data, moved)
        for cipher in Cipher:
            self.prefer(cipher)
            store = Store.open(None, moved, MasterKey(KEY), threads=0)
            for name in ("ann", "bob"):
                self.assertIsNotNone(store.account(name).mailbox("INBOX"))
            self.successResultOf(store.close())
        found = {path.name: cipher_of(path) for path in (moved / "accounts").glob("*.db")}
        self.assertEqual(found, {"ann.db": Cipher.CHACHA20, "bob.db": Cipher.AEGIS})


class CopyTests(CipherTestCase):
    """All of a file in a new one."""

    def test_from_each_to_each(self) -> None:
        """The copy has all rows and settings, the other key, and the cipher that was asked for; so back again."""
        self.create(Cipher.CHACHA20)
        expected = self.rows(self.path, KEY)
        path: Path = self.path
        key: bytes | None = KEY
        steps: tuple[tuple[Cipher, bytes | None], ...] = (
            *((cipher, OTHER) for cipher in Cipher),
            (Cipher.CHACHA20, None),
            (Cipher.AEGIS, KEY),
            (Cipher.AEGIS, OTHER),
            (Cipher.AEGIS, None),
            (Cipher.CHACHA20, KEY),
        )
        for number, wanted in enumerate(steps):
            copy = self.directory / f"copy {number}%41.db"
            connection = connect(path, key)
            copy_database(connection, copy, wanted[1], wanted[0])
            connection.close()
            self.assertEqual(copy.stat().st_mode & 0o777, 0o600)
            path, key = copy, wanted[1]
            if key is not None:
                self.assertIs(cipher_of(path), wanted[0])
                self.assertRaises(KeyRefusedError, check_key, path, b"x" * 32)
            self.assertEqual(b"secret" in path.read_bytes(), key is None)
            self.assertEqual(self.rows(path, key), expected)
            connection = connect(path, key)
            settings = [connection.pragma(name) for name in ("page_size", "auto_vacuum", "user_version")]
            self.assertEqual(settings, [database.PAGE_SIZE, 2, 1])
            self.assertEqual(connection.execute("SELECT seq FROM sqlite_sequence").get, 297)
            connection.close()

    def test_nothing_overwritten(self) -> None:
        """What lies where the copy is to be is left alone."""
        self.create(Cipher.AEGIS)
        target = self.directory / "there"
        target.write_bytes(b"x")
        connection = connect(self.path, KEY)
        self.assertRaises(OSError, copy_database, connection, target, OTHER, Cipher.AEGIS)
        connection.close()
        self.assertEqual(target.read_bytes(), b"x")


class PreferredTests(SynchronousTestCase):
    """What new files get."""

    def decide(self, seconds: dict[Cipher, float]) -> Cipher:
        """What is preferred where reading takes so long."""
        clock = [0.0]

        class Trial:
            def __init__(self, cipher: Cipher) -> None:
                self._cipher = cipher

            def execute(self, _: str) -> Any:
                clock[0] += seconds[self._cipher]
                return self

            def fetchall(self) -> None:
                """Nothing."""

            def close(self) -> None:
                """Nothing."""

        self.patch(ciphers, "_trial", lambda path, cipher: Trial(cipher))
        self.patch(time, "thread_time", lambda: clock[0])
        return preferred_cipher.__wrapped__()

    def test_faster(self) -> None:
        """It is AEGIS where that reads faster, and ChaCha20 elsewhere."""
        self.assertIs(self.decide({Cipher.AEGIS: 1.0, Cipher.CHACHA20: 4.0}), Cipher.AEGIS)
        self.assertIs(self.decide({Cipher.AEGIS: 5.0, Cipher.CHACHA20: 1.0}), Cipher.CHACHA20)

    def test_really(self) -> None:
        """The files that are read for it are of the ciphers, and gone afterwards."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.patch(tempfile, "tempdir", str(folder))
        seen = []
        real = ciphers._trial

        def trial(path: Path, cipher: Cipher) -> Any:
            connection = real(path, cipher)
            seen.append((cipher_of(path), path.stat().st_size > 200_000))
            return connection

        self.patch(ciphers, "_trial", trial)
        self.assertIn(preferred_cipher.__wrapped__(), Cipher)
        self.assertEqual(seen, [(cipher, True) for cipher in Cipher])
        self.assertEqual(list(folder.iterdir()), [])

    def test_cannot_be_found_out(self) -> None:
        """Where nothing can be tried it is ChaCha20."""
        self.patch(tempfile, "tempdir", str(Path(self.mktemp()).absolute()))
        self.assertIs(preferred_cipher.__wrapped__(), Cipher.CHACHA20)
