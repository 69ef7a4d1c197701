"""Access control lists, and the index of who shares with whom: true after every end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import LimitError, MailboxMissingError, StoreFullError
from moxtwisted.store import acl
from moxtwisted.store.consistency import check
from moxtwisted.store.database import connect, newest_version
from moxtwisted.store.store import Store
from tests.store.mail import KEY, StoreTestCase, go_back


def names(store: Store, owner: str) -> frozenset[str]:
    """Whom the lists of an account name, on disk."""
    account = store.account(owner)
    return acl._names(acl.read_lists(account.reader).values())


class GrantCase(StoreTestCase):
    """Bob and Ann, who has ``Projects``."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.successResultOf(self.store.create_account("ann", [("Projects", ""), ("Other", "")]))
        self.projects = self.ann.mailbox("Projects").id

    def share(self, identifier: str, rights: str, mode: Any = "replace", mailbox: int | None = None) -> None:
        self.successResultOf(self.change(identifier, rights, mode, mailbox))

    def change(self, identifier: str, rights: str, mode: Any, mailbox: int | None = None) -> Deferred[None]:
        coroutine = self.store.grants.change(
            self.ann, mailbox or self.projects, identifier, mode, frozenset(rights)
        )
        return Deferred.fromCoroutine(coroutine)

    def lists(self) -> dict[str, str]:
        return {k: "".join(sorted(v)) for k, v in self.ann.access.of(self.projects).items()}

    def again(self) -> None:
        """After a restart."""
        self.reopen()
        self.ann = self.store.account("ann")


class ListTests(GrantCase):
    """The lists themselves."""

    def test_change(self) -> None:
        """Entries are replaced, added to and taken from, and survive a restart; one without rights is gone."""
        self.share("bob", "lr")
        self.share("bob", "s", "add")
        self.share("anyone", "l")
        self.share("-bob", "s")
        self.assertEqual(self.lists(), {"bob": "lrs", "anyone": "l", "-bob": "s"})
        self.share("bob", "r", "remove")
        self.again()
        self.assertEqual(self.lists(), {"bob": "ls", "anyone": "l", "-bob": "s"})
        self.share("bob", "", "replace")
        self.share("-bob", "s", "remove")
        self.assertEqual(self.lists(), {"anyone": "l"})

    def test_same_object_until_it_changes(self) -> None:
        """A list is the same object until it changes, so that sessions see by identity whether to look again."""
        self.share("bob", "lr")
        before = self.ann.access.of(self.projects)
        self.share("bob", "r", "add")
        self.assertIs(self.ann.access.of(self.projects), before)
        self.share("bob", "s", "add")
        self.assertIsNot(self.ann.access.of(self.projects), before)
        self.assertEqual(before, {"bob": frozenset("lr")})

    def test_told(self) -> None:
        """A change of a list has a modseq, wakes who has the mailbox selected, and is told to watchers."""
        queue, state = self.ann.watch(), self.ann.state(self.projects)
        woken: list[int] = []
        state.listen(lambda: woken.append(len(self.lists())))
        self.share("bob", "lr")
        (change,), _ = queue.take()
        self.assertEqual((change.kind, change.name), ("acl", "Projects"))
        self.assertEqual(woken, [1])
        self.assertEqual(state.highestmodseq, self.ann.mailbox("Projects").highestmodseq)

    def test_kept_over_renames_and_removed(self) -> None:
        """A list stays with its mailbox when it is renamed, and goes with it."""
        self.share("bob", "lr")
        self.successResultOf(self.ann.rename_mailbox("Projects", "Work/Deep"))
        self.assertEqual(self.lists(), {"bob": "lr"})
        self.assertEqual(self.ann.access.of(self.ann.mailbox("Work").id), {})
        self.successResultOf(self.ann.delete_mailbox("Work/Deep"))
        self.assertEqual(self.ann.access.all(), {})
        self.assertEqual(names(self.store, "ann"), frozenset())
        self.successResultOf(self.ann.create_mailbox("Projects"))
        self.assertEqual(dict(self.ann.access.of(self.ann.mailbox("Projects").id)), {})

    def test_inherited(self) -> None:
        """RFC 4314 section 4: what is made below a mailbox begins with a copy of its list, however deep."""
        self.share("bob", "lrk")
        self.successResultOf(self.ann.create_mailbox("Projects/A/B"))
        for name in ("Projects/A", "Projects/A/B"):
            self.assertEqual(self.ann.access.of(self.ann.mailbox(name).id), {"bob": frozenset("lrk")}, name)
        self.share("bob", "")
        self.again()
        self.assertEqual(self.ann.access.of(self.ann.mailbox("Projects/A/B").id), {"bob": frozenset("lrk")})

    def test_limit(self) -> None:
        """A list has a bounded number of entries."""
        with patch.object(acl, "MAX_ENTRIES", 3):
            for n in range(3):
                self.share(f"user{n}", "l")
            self.failureResultOf(self.change("bob", "l", "replace"), LimitError)
            self.share("user2", "lr")
        self.failureResultOf(self.change("bob", "l", "add", 99), MailboxMissingError)
        self.assertNotIn("bob", self.store.grants.named("ann"))

    def test_migration(self) -> None:
        """An account from before there were lists gets the table, after a copy of it was made."""
        self.successResultOf(self.store.close())
        path = self.directory / "accounts" / "ann.db"
        connection = connect(path, KEY.derive("accounts/ann"))
        go_back(connection, 1)
        connection.close()
        self.store = self.open()
        self.ann = self.store.account("ann")
        self.assertTrue(path.with_name("ann.db.before-0002").exists())
        self.assertEqual(self.ann.reader.pragma("user_version"), newest_version("account"))
        self.share("bob", "lr")
        self.account = self.store.account("bob")


class IndexTests(GrantCase):
    """The index."""

    def test_owners(self) -> None:
        """The index knows who names somebody, or anyone, and forgets who does not any more."""
        self.assertEqual(self.store.grants.owners("bob"), frozenset())
        self.share("bob", "lr")
        self.share("bob", "lr", mailbox=self.ann.mailbox("Other").id)
        self.assertEqual(self.store.grants.owners("bob"), {"ann"})
        self.assertEqual(self.store.grants.owners("carol"), frozenset())
        self.share("anyone", "l")
        self.assertEqual(self.store.grants.owners("carol"), {"ann"})
        self.share("anyone", "")
        self.share("bob", "")
        self.assertEqual(self.store.grants.owners("bob"), {"ann"})
        self.share("bob", "", mailbox=self.ann.mailbox("Other").id)
        self.assertEqual(self.store.grants.owners("bob"), frozenset())
        self.again()
        self.assertEqual(self.store.grants.owners("bob"), frozenset())

    def test_no_file_without_accounts(self) -> None:
        """A new store has no index; the first grant makes it, and it is encrypted as all are."""
        self.assertFalse((self.directory / "grants.db").exists())
        # Too long to be there by chance.
        self.share("bob-the-builder", "lr")
        octets = (self.directory / "grants.db").read_bytes()
        self.assertNotIn(b"bob-the-builder", octets)
        self.assertNotIn(b"SQLite", octets)

    def test_lost(self) -> None:
        """A lost index is made again from all accounts, without leaving them open."""
        self.share("bob", "lr")
        self.successResultOf(self.store.close())
        (self.directory / "grants.db").unlink()
        self.store = self.open()
        self.assertEqual(self.store.grants.owners("bob"), {"ann"})
        self.assertFalse(self.store.opened("ann"))
        self.again()
        self.assertEqual(self.store.grants.owners("bob"), {"ann"})

    def test_restored_account(self) -> None:
        """An account file that came back from a back-up is believed when it is opened: both ways."""
        self.share("bob", "lr")
        self.successResultOf(self.store.close())
        path = self.directory / "accounts" / "ann.db"
        old = path.read_bytes()
        self.store = self.open()
        self.ann = self.store.account("ann")
        self.share("bob", "")
        self.share("carol", "l")
        self.successResultOf(self.store.close())
        path.write_bytes(old)
        self.again()
        self.assertEqual(self.store.grants.named("ann"), {"bob"})
        self.assertEqual(self.store.grants.owners("carol"), frozenset())

    def test_removed_account(self) -> None:
        """With an account goes what it shares, and what was shared with it: another of its name inherits nothing."""
        self.share("bob", "lr")
        self.share("-bob", "a")
        self.share("anyone", "l")
        self.successResultOf(self.store.remove_account("bob"))
        self.assertEqual(self.lists(), {"anyone": "l"})
        self.account = self.successResultOf(self.store.create_account("bob"))
        self.assertEqual(self.lists(), {"anyone": "l"})
        self.successResultOf(self.store.remove_account("ann"))
        self.assertEqual(self.store.grants.owners("bob"), frozenset())
        self.reopen()
        self.assertEqual(self.store.grants.owners("bob"), frozenset())

    def test_left_of_a_removed_account(self) -> None:
        """An entry that a process left when it died while it removed an account goes when the name is taken again."""
        self.share("carol", "lr")
        self.successResultOf(self.store.create_account("carol"))
        self.assertEqual(self.lists(), {})

    def test_disk_full(self) -> None:
        """When the index cannot be written, nothing is shared; the next attempt writes both."""
        self.share("anyone", "l")
        grants = self.store.grants
        with patch.object(grants, "_write", lambda *_: fail(StoreFullError("full"))):
            self.failureResultOf(self.change("bob", "lr", "replace"), StoreFullError)
        self.assertEqual(grants.owners("bob"), {"ann"})  # by anyone
        self.assertEqual(grants.named("ann"), {"anyone"})
        self.assertEqual(self.lists(), {"anyone": "l"})
        self.share("bob", "lr")
        self.again()
        self.assertEqual(self.store.grants.named("ann"), {"anyone", "bob"})

    @settings(max_examples=30)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("bob", "-bob", "anyone", "carol")),
                st.sampled_from(("", "l", "lr", "a")),
                st.sampled_from(("replace", "add", "remove")),
                st.booleans(),
            ),
            max_size=8,
        )
    )
    def test_anything(self, changes: list[tuple[str, str, str, bool]]) -> None:
        """Whatever is changed, in whatever order, the index says what the lists say."""
        for identifier, rights, mode, other in changes:
            mailbox = self.ann.mailbox("Other").id if other else None
            self.share(identifier, rights, mode, mailbox)
            self.assertEqual(self.store.grants.named("ann"), names(self.store, "ann"))
            self.assertEqual(self.ann.access.identifiers(), names(self.store, "ann"))


_CHILD = """
import sys
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from moxtwisted.store.store import Store
store = Store.open(Clock(), Path(sys.argv[1]), None, threads=0)
ann = store.account("ann")
projects = ann.mailbox("Projects").id
n = 0
while True:
    n += 1
    name = f"user{n % 7}"
    rights = frozenset("lr") if n % 3 else frozenset()
    Deferred.fromCoroutine(store.grants.change(ann, projects, name, "replace", rights))
    print(f"{name} {''.join(sorted(rights))}", flush=True)
"""


class KilledTests(SynchronousTestCase):
    """SIGKILL at any moment."""

    def test_killed(self) -> None:
        """After kill -9 the lists have all that was acknowledged, and the index is not short of them."""
        directory = Path(self.mktemp())
        store = Store.open(Clock(), directory, None, threads=0)
        self.successResultOf(store.create_account("ann", [("Projects", "")]))
        self.successResultOf(store.close())
        for _ in range(5):
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(directory)], stdout=subprocess.PIPE, text=True
            )
            lines = [child.stdout.readline().rstrip("\n") for _ in range(20)]  # type: ignore[union-attr]
            os.kill(child.pid, signal.SIGKILL)
            lines += child.stdout.read().split("\n")[:-1]  # type: ignore[union-attr]
            child.stdout.close()  # type: ignore[union-attr]
            child.wait()
            known = {}
            for line in lines:
                name, _, rights = line.partition(" ")
                known[name] = rights
            store = Store.open(Clock(), directory, None, threads=0)
            before = store.grants.named("ann")
            account = store.account("ann")
            entries = account.access.of(account.mailbox("Projects").id)  # type: ignore[union-attr]
            self.assertGreaterEqual(before, frozenset(entries))
            self.assertEqual(store.grants.named("ann"), frozenset(entries))
            # One may have been done and not told.
            different = [n for n, r in known.items() if "".join(sorted(entries.get(n, ()))) != r]
            self.assertLessEqual(len(different), 1)
            self.assertEqual(check(account.reader), [])
            self.successResultOf(store.close())


class UnreadableTests(GrantCase):
    """What cannot be read."""

    def test_damaged_account(self) -> None:
        """When the index is made again, an account that cannot be read is passed over and told."""
        self.share("bob", "lr")
        self.successResultOf(self.store.close())
        (self.directory / "grants.db").unlink()
        with patch("moxtwisted.store.store.read_identifiers", side_effect=apsw.CorruptError("damaged")):
            self.store = self.open()
        self.assertEqual(len(self.flushLoggedErrors(apsw.CorruptError)), 2)
        self.ann = self.store.account("ann")
        self.assertEqual(self.store.grants.owners("bob"), {"ann"})
        self.account = self.store.account("bob")
