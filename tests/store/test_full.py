"""A disk that is full: the answer is StoreFullError, nothing is lost, and the service goes on when there is room."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure

from moxtwisted.errors import StoreFullError
from moxtwisted.message.flags import SEEN, MessageFlags
from moxtwisted.store.room import Room
from tests.store.mail import StoreTestCase, small_disk


def message(number: int, size: int = 20_000) -> bytes:
    """One that does not shrink."""
    filler = random.Random(number).randbytes(size).hex().encode()
    return f"Subject: {number}\r\nMessage-ID: <{number}@a.example>\r\n\r\n".encode() + filler + b"\r\n"


class FillingTestCase(StoreTestCase):
    """Fills its store."""

    def fill(self) -> dict[int, bytes]:
        """Add until the store is full; what was acknowledged, by UID."""
        there: dict[int, bytes] = {}
        for number in range(1000):
            octets = message(number)
            result: list[Any] = []
            try:
                self.add(octets).addBoth(result.append)
            except StoreFullError:
                return there
            if isinstance(result[0], Failure):
                result[0].trap(StoreFullError)
                return there
            there[result[0][0].uid] = octets
        raise self.failureException("it never was full")

    def still_there(self, there: dict[int, bytes]) -> None:
        """All that was acknowledged can be read, and there is nothing else."""
        self.assertEqual(list(self.account.state(self.inbox).uids), list(there))
        for uid, octets in there.items():
            self.assertEqual(self.octets(uid), octets)

    def goes_on(self, there: dict[int, bytes]) -> None:
        """With room again, mail is taken again, now and after a restart."""
        [added] = self.successResultOf(self.add(message(-1)))
        there[added.uid] = message(-1)
        self.still_there(there)
        self.reopen()
        self.still_there(there)
        self.successResultOf(self.account.store_flags(self.inbox, list(there), "add", MessageFlags.of(SEEN)))


def stuff(path: Path) -> None:
    """Take all the room that a disk has left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


class KilledTestCase(FillingTestCase):
    """Has a child work on the store, which is killed."""

    def killed(self, work: Callable[[], dict[int, bytes]]) -> dict[int, bytes]:
        """Close the store, have a child open it and work, kill it, open it here; what it says is there."""
        self.successResultOf(self.store.close())
        said, say = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self.store = self.open()
                self.account = self.store.account("bob")
                os.write(say, b" ".join(f"{uid}:{_number(m)}".encode() for uid, m in work().items()))
                os.kill(os.getpid(), signal.SIGKILL)
            except BaseException as e:
                os.write(say, f"failed {e!r}".encode())
            finally:
                os._exit(1)
        os.close(say)
        with os.fdopen(said, "rb") as answer:
            told = answer.read().decode()
        os.waitpid(pid, 0)
        self.assertNotIn("failed", told)
        return {int(uid): message(int(number)) for uid, number in (pair.split(":") for pair in told.split())}

    def start(self) -> None:
        """Open the store again."""
        self.store = self.open()
        self.account = self.store.account("bob")

    def remove(self, there: dict[int, bytes], share: int) -> None:
        """Flag and expunge this part of the messages."""
        gone = list(there)[: len(there) // share]
        self.successResultOf(self.account.store_flags(self.inbox, gone, "add", MessageFlags.of(SEEN)))
        self.assertEqual(
            self.successResultOf(self.account.expunge(self.inbox, gone, only_deleted=False)), tuple(gone)
        )
        for uid in gone:
            del there[uid]
        self.still_there(there)


def _number(octets: bytes) -> int:
    return int(octets.split(b"\r\n", 1)[0].removeprefix(b"Subject: "))


class LimitTests(FillingTestCase):
    """Whatever stops the files from growing."""

    def test_page_limit(self) -> None:
        """A limit on the size of the database refuses what goes beyond it."""
        writer = self.account._database.writer
        writer.pragma("max_page_count", writer.pragma("page_count") + 200)
        there = self.fill()
        self.assertGreater(len(there), 10)
        self.still_there(there)
        writer.pragma("max_page_count", 1 << 30)
        self.goes_on(there)

    def test_file_size_limit(self) -> None:
        """A limit on the size of files refuses what goes beyond it."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, limits[1]))
        there = self.fill()
        self.assertGreater(len(there), 10)
        self.still_there(there)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.goes_on(there)

    def test_one_does_not_spoil_another(self) -> None:
        """In one commit a message that finds no room leaves the others alone."""
        writer = self.account._database.writer
        writer.pragma("max_page_count", writer.pragma("page_count") + 100)
        results: list[Any] = []
        thread = self.account._lane._thread
        # Hold the writer back, so that all three are in one transaction.
        thread._busy = True
        for octets in (message(1), message(2, 2_000_000), message(3)):
            self.add(octets).addBoth(results.append)
        thread.work([thread._jobs.get() for _ in range(3)])
        thread._busy = False
        thread._reports.deliver()
        self.assertEqual([isinstance(result, Failure) for result in results], [False, True, False])
        results[1].trap(StoreFullError)
        self.still_there({1: message(1), 2: message(3)})


class KilledLimitTests(KilledTestCase):
    """A limit on the size of files, for a process of its own."""

    def test_file_size_limit(self) -> None:
        """Under a limit on the size of files messages can be deleted and others taken, and a kill loses nothing."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, limits[1]))

        def work() -> dict[int, bytes]:
            limit()
            self.reopen()
            there = self.fill()
            self.remove(there, 2)
            for number in range(2000, 2010):
                [added] = self.successResultOf(self.add(message(number)))
                there[added.uid] = message(number)
            there |= {uid: octets for uid, octets in self.fill().items() if uid not in there}
            return there

        there = self.killed(work)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        limit()
        self.start()
        self.still_there(there)
        self.remove(there, 3)
        self.goes_on(there)


class SmallDiskTests(KilledTestCase):
    """A disk of six megabytes, which is really full."""

    def place(self) -> Path:
        """On that disk."""
        path = Path(self.mktemp()).absolute()
        small_disk(self, path, 6 << 20)
        return path / "data"

    def test_small_disk(self) -> None:
        """When the disk is full, mail is refused until something else made room."""
        ballast = self.directory.parent / "ballast"
        ballast.write_bytes(bytes(2 << 20))
        there = self.fill()
        self.assertGreater(len(there), 10)
        self.still_there(there)
        self.assertRaises(StoreFullError, self.new, message(7, 2_000_000))
        ballast.unlink()
        self.goes_on(there)

    def test_restart_when_full(self) -> None:
        """A store on a full disk can be opened and read, and mail can be removed from it."""
        ballast = self.directory.parent / "ballast"
        ballast.write_bytes(bytes(2 << 20))
        there = self.fill()
        self.reopen()
        self.still_there(there)
        ballast.unlink()
        first = list(there)[: len(there) // 2]
        self.successResultOf(self.account.expunge(self.inbox, first, only_deleted=False))
        for uid in first:
            del there[uid]
        self.still_there(there)
        self.goes_on(there)

    def full_to_the_brim(self) -> dict[int, bytes]:
        """Fill the store, then the rest of the disk; what is in the store."""
        there = self.fill()
        stuff(self.directory.parent / "stuffing")
        return there

    def test_delete_on_a_full_disk(self) -> None:
        """With no octet free, flags change, messages move and go, and then mail is taken again."""
        there = self.full_to_the_brim()
        sent = self.account.mailbox("Sent").id
        last = max(there)
        self.successResultOf(self.account.move(self.inbox, [last], sent))
        del there[last]
        self.still_there(there)
        self.remove(there, 2)
        self.assertFalse(self.store.room.low)
        self.goes_on(there)

    def test_a_little_at_a_time(self) -> None:
        """Messages can be deleted one by one, until there is room."""
        there = self.full_to_the_brim()
        while self.store.room.low or isinstance(self.result(message(5000)), Failure):
            self.assertGreater(len(there), 3)
            self.remove(there, len(there))
        [added] = [uid for uid in self.account.state(self.inbox).uids if uid not in there]
        there[added] = message(5000)
        self.goes_on(there)

    def result(self, octets: bytes) -> Any:
        """What came of adding."""
        results: list[Any] = []
        self.add(octets).addBoth(results.append)
        return results[0]

    def test_thrown_off_by_another(self) -> None:
        """The place of a ballast that another process threw off is not for mail here either: messages can be deleted in both."""
        there = self.full_to_the_brim()
        other = Room(self.directory)
        self.store.room.shared = other.shared = True
        self.assertFalse(self.store.room.low)
        self.assertTrue(other.release())
        self.assertTrue(self.store.room.low)
        there |= self.fill()
        self.remove(there, 2)
        self.assertEqual((self.store.room.low, other.low), (False, True))
        stuff(self.directory.parent / "more")
        self.assertTrue(other.restore(), "it is there again")
        (self.directory.parent / "more").unlink()
        self.goes_on(there)

    def test_no_ballast_possible(self) -> None:
        """Where there can be no ballast, who shares the directory goes on without, and does not try each time."""
        self.store.room.shared = True
        (self.directory / "ballast").unlink()
        (self.directory / "ballast").symlink_to(self.directory / "nowhere")
        self.assertTrue(self.store.room.low)
        self.assertTrue(self.store.room.restore())
        self.assertFalse(self.store.room.low)

    def test_killed_on_a_full_disk(self) -> None:
        """After a kill on a disk with no octet free the store opens, nothing is lost, and messages can be deleted."""
        there = self.killed(self.full_to_the_brim)
        self.start()
        self.still_there(there)
        self.remove(there, 2)
        self.goes_on(there)

    def test_no_ballast(self) -> None:
        """Without ballast opening on a full disk is refused with one sentence, and works when there is room."""

        def work() -> dict[int, bytes]:
            there = self.full_to_the_brim()
            (self.directory / "ballast").unlink()
            # What SQLite remembers of the log is to be made again, for which there is no place.
            (self.directory / "accounts" / "bob.db-shm").unlink()
            return there

        there = self.killed(work)
        stuff(self.directory.parent / "more")
        self.store = self.open()
        error = self.assertRaises(StoreFullError, self.store.account, "bob")
        self.assertIn("bob.db: the disk is full; make room on the file system of", error.detail)
        self.assertRaises(StoreFullError, self.store.create_account, "carol")
        self.assertEqual(list(self.store.accounts()), ["bob"])
        self.successResultOf(self.store.close())
        (self.directory.parent / "more").unlink()
        self.start()
        self.still_there(there)
        self.remove(there, 2)
        self.goes_on(there)

    def test_ballast(self) -> None:
        """The ballast really takes its place, and is made again at the next start that finds room."""
        ballast = self.directory / "ballast"
        self.assertGreaterEqual(ballast.stat().st_blocks * 512, 256 << 10)
        self.assertEqual(ballast.stat().st_mode & 0o777, 0o600)
        ballast.unlink()
        self.reopen()
        self.assertTrue(ballast.exists())
        self.assertFalse(self.store.room.low)
