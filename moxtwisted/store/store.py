"""The store below one data directory.

::

    data/lock             held by the process that uses the store
    data/key-check        which key it is written with (``moxtwisted.store.keys``)
    data/accounts/me.db   one account
    data/ballast          place that is given up when the disk is full (``moxtwisted.store.room``)
    data/tmp/             unnamed files of large messages on their way in

    store = Store.open(reactor, Path("data"), key)         # KeyRefusedError, StoreUnavailableError
    account = store.account("me")
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import urllib.parse
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import Clock, deferLater
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.errors import MailError, StoreInUseError, StoreUnavailableError
from moxtwisted.identifiers import is_inbox
from moxtwisted.store.accounts import Account
from moxtwisted.store.acl import read_identifiers
from moxtwisted.store.database import (
    Database,
    bound_memory,
    create_database,
    databases,
    open_reader,
    read_with,
    remove_database,
    sync_directory,
)
from moxtwisted.store.gathering import Gathering
from moxtwisted.store.grants import Grants
from moxtwisted.store.interfaces import IStore
from moxtwisted.store.junkflags import JunkFlags
from moxtwisted.store.keptrows import ROWS_OCTETS
from moxtwisted.store.keys import MasterKey, check_key_value, write_key_check
from moxtwisted.store.learner import Decided, Learner
from moxtwisted.store.pacing import Crowd
from moxtwisted.store.readahead import AHEAD_CACHE_KIB, ReadAhead
from moxtwisted.store.remembered import SEARCH_OCTETS, Remembered
from moxtwisted.store.room import Room
from moxtwisted.store.staging import Staging
from moxtwisted.store.transplant import Workplace
from moxtwisted.store.writer import WriterPool

__all__ = ["Store"]

_T = TypeVar("_T")
_log = Logger()

#: Accounts kept open though nobody uses them, and for how long, seconds.
KEPT_OPEN: Final = 256
KEPT_SECONDS: Final = 300.0
#: So many of them are looked at when one is asked for.
_LOOKED_AT: Final = 8
#: Threads that write. On two processors a third one only takes the interpreter from the others.
WRITERS: Final = 2 if (os.cpu_count() or 1) <= 2 else 3
_SUFFIX: Final = ".db"
_SAFE: Final = "@+=,"
#: How long closing an account may take before opening it again gives up, seconds.
_CLOSING_SECONDS: Final = 60.0
#: How often it is looked at whether an account is closed that another process waits for, seconds.
_LOOK_SECONDS: Final = 0.002
#: How long, at a start, processes are waited for that a killed one left behind; and how often they are looked at; seconds.
_LEFT_SECONDS: Final = 10.0
_LEFT_LOOK_SECONDS: Final = 0.02


def _file_name(account: str) -> str:
    """The file of an account; every name has one, and no two the same."""
    quoted = urllib.parse.quote(account, safe=_SAFE)
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    return quoted + _SUFFIX


@implementer(IStore)
class Store:
    """See ``IStore``; open it with ``Store.open``."""

    def __init__(
        self,
        reactor: Any,
        directory: Path,
        key: MasterKey | None,
        *,
        threads: int,
        seconds: Callable[[], float],
    ) -> None:
        self._clock = Clock() if reactor is None else reactor
        self._directory = directory
        self._staging = directory / "tmp"
        self._key = key
        self._seconds = seconds
        self._entropy: Callable[[int], bytes] = os.urandom
        self.room = Room(directory)
        self.pool = WriterPool(reactor, threads, self.room)
        self._packer = ThreadPoolExecutor(1, "store-packer") if threads else None
        self._checkpointer = ThreadPoolExecutor(1, "store-checkpointer") if threads else None
        #: Reads messages before they are asked for; None: nothing does.
        self.read_ahead = ReadAhead(self._clock) if threads else None
        self._searches = Remembered(SEARCH_OCTETS)
        self._crowd = Crowd()
        self._rows = Remembered(ROWS_OCTETS)
        self._open: weakref.WeakValueDictionary[str, Account] = weakref.WeakValueDictionary()
        self._kept: OrderedDict[str, tuple[Account, float]] = OrderedDict()
        self._closing: dict[str, tuple[threading.Event, weakref.WeakMethod[Callable[[], None]]]] = {}
        self._removing: set[str] = set()
        self._closed = False
        self._lock = -1
        #: Which accounts share something with whom.
        self.grants = Grants(directory / "grants.db", self.database_key("grants"), self.pool)
        #: The quota of an account by its name, in octets; None is no limit. Asked when it is opened.
        self.quota_of: Callable[[str], int | None] = lambda name: None
        #: The same of its quota in messages.
        self.message_quota_of: Callable[[str], int | None] = lambda name: None
        #: What the mailboxes of an account make of messages; None is nothing. Asked when it is opened.
        self.junk_flags_of: Callable[[str], JunkFlags | None] = lambda name: None
        #: Learns what is junk, in all accounts that are opened from now on.
        self.learner: Learner | None = None
        #: Called with an account's name and (body, whether it is junk) of messages about which its users decided.
        self.decided: Decided | None = None
        #: The organizational domain of a domain, both A-labels in lower case.
        self.organization: Callable[[str], str] = lambda domain: domain
        #: Whether another process has an account, or is about to get it: then it cannot be opened here.
        self.elsewhere: Callable[[str], bool] = lambda name: False

    @classmethod
    def open(
        cls,
        reactor: Any,
        directory: Path,
        key: MasterKey | None,
        *,
        threads: int = WRITERS,
        seconds: Callable[[], float] = time.time,
    ) -> Store:
        """Open a data directory; an empty one is made ready.

        :param reactor: for callFromThread and callLater; may be None with ``threads=0``, where all that is changed is
            changed in the caller at once, and nothing is put into the search index.
        :param key: None: without encryption.
        :param threads: that write.
        :param seconds: the time of day.
        :raises KeyRefusedError: when it is written with another key; nothing was touched.
        :raises StoreInUseError: when another process uses it.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(directory / "lock")
        try:
            check = directory / "key-check"
            known = check_key_value(check, key)
            if not known:
                # The note is lost: none is made of a key that the databases do not open with.
                for path, name in databases(directory):
                    read_with(path, key.derive(name) if key is not None else None)
            for name in ("accounts", "tmp"):
                (directory / name).mkdir(mode=0o700, exist_ok=True)
            if not known:
                write_key_check(check, key)
            for left in (directory / "accounts").glob("*.removed"):
                remove_database(left.with_suffix(""))
        except BaseException:
            os.close(lock)
            raise
        bound_memory()
        store = cls(reactor, directory, key, threads=threads, seconds=seconds)
        store.room.prepare()
        store._lock = lock
        os.pwrite(lock, b"%-20d" % os.getpid(), 0)  # see _lock
        try:
            store.grants.open(store._shared)
        except BaseException:
            store.pool.stop()
            os.close(lock)
            raise
        return store

    @classmethod
    def join(
        cls,
        reactor: Any,
        directory: Path,
        key: MasterKey | None,
        lock: int,
        *,
        threads: int = WRITERS,
        seconds: Callable[[], float] = time.time,
    ) -> Store:
        """Use a data directory together with the process that opened it; set ``elsewhere`` and ``grants`` before the first account.

        :param lock: the descriptor of that process's lock (``lock_descriptor``), inherited: nobody else opens the directory before
            both are gone.
        """
        bound_memory()
        store = cls(reactor, directory, key, threads=threads, seconds=seconds)
        store.room.shared = True
        store.room.prepare()
        store._lock = lock
        return store

    @property
    def lock_descriptor(self) -> int:
        """What holds the data directory, for ``join``."""
        return self._lock

    def _shared(self) -> dict[str, frozenset[str]]:
        """Read the access control lists of all accounts: who is named in them. A millisecond an account, once."""
        found = {}
        for name in self.accounts():
            try:
                found[name] = read_identifiers(self._path(name), self._account_key(name))
            except (MailError, apsw.Error):
                _log.failure("account {account} cannot be read", account=name)
        return found

    def _path(self, account: str) -> Path:
        return self._directory / "accounts" / _file_name(account)

    def database_key(self, name: str) -> bytes | None:
        """The key of one database."""
        return None if self._key is None else self._key.derive(name)

    def _account_key(self, account: str) -> bytes | None:
        return self.database_key(f"accounts/{account}")

    # -- accounts ------------------------------------------------------------------------------------------------

    def accounts(self) -> Sequence[str]:
        """Names that exist on disk."""
        return sorted(
            urllib.parse.unquote(path.name.removesuffix(_SUFFIX))
            for path in (self._directory / "accounts").glob("*" + _SUFFIX)
        )

    def account(self, name: str) -> Account:
        """Open it."""
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        kept = self._kept.get(name)
        if kept is not None and 0 <= self._seconds() - kept[1] < 1.0:
            # It is asked for several times while a message is delivered.
            return kept[0]
        account = self._open.get(name)
        if account is None:
            if name in self._removing:
                # Whoever opened it now would write into files that are going to be deleted.
                raise StoreUnavailableError(f"account {name} is being removed")
            if self.elsewhere(name):
                raise StoreUnavailableError(f"account {name} is with another process of the server")
            self._wait_until_closed(name)
            account = self._open[name] = self._opened(name)
            account.set_quota(self.quota_of(name), self.message_quota_of(name))
            account.set_judgement(self.junk_flags_of(name), self.learner, self.organization)
            account.decided = self.decided
            account.index.share(self._searches, self._crowd)
            account.kept_rows.share(self._rows)
            self.grants.opened(account)
        self._keep(account)
        return account

    def _wait_until_closed(self, name: str) -> None:
        if name not in self._closing:
            return
        closed, lane = self._closing[name]
        give_way = lane()
        if give_way is not None:
            # What it waits for may be ours to do.
            give_way()
        if not closed.wait(_CLOSING_SECONDS):
            raise StoreUnavailableError(f"account {name} does not close")
        del self._closing[name]

    async def let_go(self, name: str) -> bool:
        """Close an account that another process is to open, unless somebody uses it here.

        ``elsewhere`` has to keep it from being opened here from before the call on.

        :return: whether it is closed.
        """
        if name in self._removing:
            # It is closed, but its files are not gone yet, and those of its successor would be instead.
            return False
        self._kept.pop(name, None)
        account = self._open.get(name)
        if account is not None:
            self._keep(account)
            return False
        latest = self._clock.seconds() + _CLOSING_SECONDS
        while (closing := self._closing.get(name)) is not None and not closing[0].is_set():
            give_way = closing[1]()
            if give_way is not None:
                give_way()
            del give_way
            if self._clock.seconds() > latest:
                return False
            await deferLater(self._clock, _LOOK_SECONDS)
        self._closing.pop(name, None)
        return True

    def _opened(self, name: str) -> Account:
        database = Database.open(self._path(name), self._account_key(name), "account", self.room)
        try:
            database.checkpointer = self._checkpointer
            if self.read_ahead is not None:
                reader = partial(open_reader, database.path, self._account_key(name), AHEAD_CACHE_KIB)
                database.ahead = self.read_ahead.line(reader)
            closed = threading.Event()
            account = Account(name, database, self.pool, self._clock, self._seconds, closed)
        except BaseException:
            database.close()
            raise
        self._closing[name] = closed, weakref.WeakMethod(account.give_way)
        return account

    def _keep(self, account: Account) -> None:
        """Keep it open for a while; what was kept too long and nobody uses closes by itself."""
        now = self._seconds()
        self._kept[account.name] = (account, now)
        self._kept.move_to_end(account.name)
        for _ in range(_LOOKED_AT):
            name, (oldest, since) = next(iter(self._kept.items()))
            if len(self._kept) <= KEPT_OPEN and since + KEPT_SECONDS > now:
                break
            if oldest.busy:
                # As long as somebody writes, it may have an index to be made: the others do not wait for that.
                self._kept[name] = (oldest, now)
                self._kept.move_to_end(name)
            else:
                del self._kept[name]

    def refresh_quotas(self) -> None:
        """Ask ``quota_of`` and ``message_quota_of`` again for the accounts that are open."""
        for name, account in list(self._open.items()):
            account.set_quota(self.quota_of(name), self.message_quota_of(name))

    def refresh_junk_flags(self) -> None:
        """Ask ``junk_flags_of`` again for the accounts that are open."""
        for name, account in list(self._open.items()):
            account.set_junk_flags(self.junk_flags_of(name))

    def create_account(self, name: str, mailboxes: Sequence[tuple[str, str]] = ()) -> Deferred[Account]:
        """Make it."""
        path = self._path(name)
        if not name or len(path.name.encode()) > 200:
            raise StoreUnavailableError(f"no account can have this name: {name!r}")
        if path.exists():
            raise StoreUnavailableError(f"account {name} exists already")
        # RFC 9051 section 2.3.1.1: a mailbox made again needs a greater UIDVALIDITY; the time is one.
        create_database(
            path,
            self._account_key(name),
            "account",
            "INSERT INTO setting (key, value) VALUES ('uidvalidity_next', ?)",
            self._first_uidvalidity(),
            room=self.room,
        )
        account = self.account(name)
        done: list[Deferred[Any]] = [account.create_mailbox("INBOX"), self._withdraw(name)]
        for mailbox, special_use in mailboxes:
            if not is_inbox(mailbox):
                done.append(account.create_mailbox(mailbox, [special_use] if special_use else []))
        return gatherResults(done, consumeErrors=True).addCallback(lambda _: account)

    def _first_uidvalidity(self) -> int:
        """Greater than all that an account of this name can have had."""
        floor = self._directory / "uidvalidity"
        known = int(floor.read_text("ascii")) if floor.exists() else 0
        return max(int(self._seconds()), known)

    def remove_account(self, name: str) -> Deferred[None]:
        """With everything in it, and what others share with it."""
        # First: an account of the same name that is made later shall find nothing shared with it.
        return self._withdraw(name).addCallback(lambda _: self._remove(name))

    def _withdraw(self, name: str) -> Deferred[None]:
        """Take an account off the lists of others."""
        if not self.grants.naming(name):
            return succeed(None)
        return Deferred.fromCoroutine(self.grants.withdraw(name, self.account))

    @property
    def workplace(self) -> Workplace:
        """For copies between accounts."""
        return Workplace(self._clock, self.room, self._staging, self._entropy)

    def opened(self, name: str) -> bool:
        """Whether an account is open, so that ``account`` gives it at once."""
        return name in self._open

    def _remove(self, name: str) -> Deferred[None]:
        account = self.account(name)
        self._kept.pop(name, None)
        del self._open[name]
        self._removing.add(name)
        used = account.highest_uidvalidity
        done = account.close()

        def remove(_: object) -> None:
            floor = self._directory / "uidvalidity"
            new = floor.with_suffix(".new")
            new.write_text(str(max(self._first_uidvalidity(), used + 1)), "ascii")
            new.rename(floor)
            remove_database(self._path(name))
            sync_directory(self._path(name).parent)

        def removed(result: _T) -> _T:
            self._removing.discard(name)
            return result

        return done.addCallback(remove).addBoth(removed).addCallback(lambda _: self.grants.forget(name))

    # -- the rest ------------------------------------------------------------------------------------------------

    @property
    def staging_directory(self) -> Path:
        """Where large messages wait."""
        return self._staging

    def stage(self, size_hint: int = 0) -> Staging:
        """A place for a message that comes in."""
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        return Staging(self._staging, self._entropy, self._packer)

    def gathering(self) -> Gathering:
        """Places for messages that come in one after the other, and are added together."""
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        return Gathering(self._staging, self._entropy, self._packer)

    def close(self) -> Deferred[None]:
        """Finish pending commits, checkpoint, close all files."""
        if self._closed:
            return succeed(None)
        self._closed = True
        accounts = list(self._open.values())
        self._kept.clear()
        done = [self.grants.close(), *(account.close() for account in accounts)]
        accounts.clear()

        def end(_: object) -> None:
            self.pool.stop()
            for worker in (self._packer, self._checkpointer):
                if worker is not None:
                    worker.shutdown()
            if self.read_ahead is not None:
                self.read_ahead.stop()
            os.close(self._lock)

        return gatherResults(done, consumeErrors=True).addBoth(end)


def _lock(path: Path) -> int:
    """Hold the data directory. :raises StoreInUseError: when another process does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    latest = time.monotonic() + _LEFT_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if not _is_gone(os.pread(handle, 20, 0)) or time.monotonic() > latest:
                os.close(handle)
                raise StoreInUseError(
                    f"{path.parent} is in use by another process: a server that runs (see moxmail status), one that is still"
                    " shutting down, or a command of moxmail that works on the files (import, imapserve)"
                ) from e
            # Who held it was killed: those that it had lent accounts to (``Store.join``) are just closing them.
            time.sleep(_LEFT_LOOK_SECONDS)
        else:
            return handle


def _is_gone(noted: bytes) -> bool:
    """Whether there is no process of this number, or only what is left of one that has ended: not all that start others notice it soon."""
    try:
        os.kill(int(noted), 0)
        # proc(5): the state follows the name, which is in brackets and may have some itself.
        return Path(f"/proc/{int(noted)}/stat").read_bytes().rpartition(b")")[2].split()[:1] == [b"Z"]
    except ProcessLookupError:
        return True
    except (ValueError, OSError):
        return False
