"""A disk that is full: the answer is StoreFullError, nothing is lost, and the service goes on when there is room."""

from __future__ import annotations

import random
import resource
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure

from moxtwisted.errors import StoreFullError
from moxtwisted.message.flags import SEEN, MessageFlags
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
        thread._deliver()
        self.assertEqual([isinstance(result, Failure) for result in results], [False, True, False])
        results[1].trap(StoreFullError)
        self.still_there({1: message(1), 2: message(3)})


class SmallDiskTests(FillingTestCase):
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
