"""What every store must do, said through the interfaces alone; another implementation gives another `factory`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.errors import (
    LimitError,
    MailboxExistsError,
    MailboxMissingError,
    MailError,
    OverQuotaError,
    StoreUnavailableError,
)
from moxtwisted.message.flags import NO_FLAGS, SEEN, MessageFlags
from moxtwisted.store.consistency import check
from moxtwisted.store.interfaces import (
    Added,
    Addition,
    Column,
    IAccessLists,
    IAccount,
    IBodyReader,
    IGrants,
    IMailboxState,
    IStagedMessage,
    IStaging,
    IStore,
    NewMessage,
    SearchTerm,
)
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store

PREFIX = b"Return-Path: <ann@a.example>\r\n"


def message(number: int, *, subject: str = "hello", references: str = "") -> bytes:
    """A small message."""
    more = f"References: {references}\r\n" if references else ""
    return (
        f"From: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: {subject}\r\n"
        f"Message-ID: <{number}@a.example>\r\n{more}\r\nThis is number {number}.\r\n"
    ).encode()


class StoreContract:
    """The contract; a subclass opens its kind of store and may look whether it is consistent."""

    store: Any
    account: Any
    failureResultOf: Any
    successResultOf: Any
    assertEqual: Any
    assertTrue: Any
    assertFalse: Any
    assertIn: Any
    assertIs: Any
    assertIsNone: Any
    assertRaises: Any
    assertGreater: Any

    def open_store(self) -> Any:
        """Open (again) the store of this test."""
        raise NotImplementedError

    def problems(self, account: Any) -> list[str]:
        """What is inconsistent in an account."""
        raise NotImplementedError

    def setUp(self) -> None:
        """A store with one account."""
        self.store = self.open_store()
        self.account = self.done(self.store.create_account("bob", [("Sent", "\\Sent"), ("Lists", "")]))
        self.inbox = self.account.mailbox("INBOX").id
        self.sent = self.account.mailbox("Sent").id

    def tearDown(self) -> None:
        """Whatever a test did, the account agrees with itself."""
        if self.account is not None:
            self.assertEqual(self.problems(self.account), [])
        self.done(self.store.close())

    # -- tools -------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Give the reactor its turn."""
        raise NotImplementedError

    def done(self, awaitable: Any) -> Any:
        """The result of what the store has acknowledged."""
        result = ensureDeferred(_wait(awaitable))
        for _ in range(1000):
            if result.called:
                break
            self.turn()
        return self.successResultOf(result)

    def refused(self, awaitable: Any, error: type[MailError]) -> MailError:
        """The error that it answered with."""
        failure = self.failureResultOf(ensureDeferred(_wait(awaitable)))
        failure.trap(error)
        value: MailError = failure.value
        return value

    def staged(self, octets: bytes) -> Any:
        """Octets that came in."""
        sink = self.store.stage()
        sink.write(octets)
        return sink.finish()

    def new(self, octets: bytes, flags: MessageFlags = NO_FLAGS, at: int = 1_700_000_000) -> NewMessage:
        """A message to be added."""
        return NewMessage(self.staged(octets), PREFIX, at, flags)

    def add(self, count: int, *, mailbox: int | None = None, flags: Sequence[str] = ()) -> list[int]:
        """Add so many messages, one commit each; their UIDs."""
        where = self.inbox if mailbox is None else mailbox
        combination = MessageFlags.parse(flags)
        return [
            self.done(self.account.add([Addition(where, self.new(message(n), combination))]))[0].uid
            for n in range(count)
        ]

    def octets(self, mailbox: int, uid: int) -> bytes:
        """One message's octets."""
        reader = self.account.open_body(mailbox, uid)
        try:
            whole: bytes = reader.read(0, reader.size)
            return whole
        finally:
            reader.close()

    def reopen(self) -> None:
        """Close everything and open it again."""
        self.done(self.store.close())
        self.store = self.open_store()
        self.account = self.store.account("bob")

    # -- interfaces --------------------------------------------------------------------------------------------

    def test_interfaces(self) -> None:
        """The objects provide what they say."""
        self.add(1)
        sink = self.store.stage()
        for interface, thing in (
            (IStore, self.store),
            (IGrants, self.store.grants),
            (IAccessLists, self.account.access),
            (IAccount, self.account),
            (IStaging, sink),
            (IStagedMessage, self.staged(b"\r\n")),
            (IMailboxState, self.account.state(self.inbox)),
            (IBodyReader, self.account.open_body(self.inbox, 1)),
        ):
            self.assertTrue(verifyObject(interface, thing))

    # -- sharing -----------------------------------------------------------------------------------------------

    def share(self, mailbox: int, identifier: str, mode: Any, rights: str) -> Any:
        """Change a list."""
        return ensureDeferred(
            self.store.grants.change(self.account, mailbox, identifier, mode, frozenset(rights))
        )

    def test_sharing(self) -> None:
        """A list stays with its mailbox, new ones below inherit it, and the index says who shares with whom, after a restart too."""
        grants, access = self.store.grants, self.account.access
        self.assertEqual((grants.owners("ann"), access.of(self.inbox)), (frozenset(), {}))
        self.done(self.share(self.sent, "ann", "replace", "lr"))
        self.done(self.share(self.sent, "-ann", "add", "r"))
        self.done(self.share(self.sent, "ann", "add", "s"))
        self.done(self.account.rename_mailbox("Sent", "Out"))
        self.done(self.account.create_mailbox("Out/Below"))
        expected = {"ann": frozenset("lrs"), "-ann": frozenset("r")}
        self.assertEqual(access.of(self.sent), expected)
        below = self.account.mailbox("Out/Below").id
        self.assertEqual(access.all(), {self.sent: expected, below: expected})
        self.done(self.store.close())
        self.store = self.open_store()
        self.assertEqual(self.store.grants.owners("ann"), {"bob"})
        self.account = self.store.account("bob")
        self.assertEqual(self.account.access.of(below), expected)
        self.done(self.account.delete_mailbox("Out/Below"))
        for identifier in ("ann", "-ann"):
            self.done(self.share(self.sent, identifier, "remove", "lrs"))
        self.assertEqual(self.account.access.all(), {})
        self.assertEqual(self.store.grants.owners("ann"), frozenset())
        self.failureResultOf(self.share(99, "ann", "add", "l"), MailboxMissingError)

    # -- adding ------------------------------------------------------------------------------------------------

    def test_add(self) -> None:
        """An added message is there with its prefix, its facts and the next UID."""
        flags = MessageFlags.parse(["\\Seen", "$Forwarded"])
        added = self.done(self.account.add([Addition("inbox", self.new(message(1), flags, 1234))]))
        self.assertEqual([(a.mailbox, a.uid) for a in added], [(self.inbox, 1)])
        self.assertEqual(self.octets(self.inbox, 1), PREFIX + message(1))
        columns = Column.SIZE | Column.INTERNALDATE | Column.FIELDS | Column.HEADER_SIZE | Column.PREFIX_SIZE
        [(uid, size, date, fields, header_size, prefix_size)] = self.account.rows(self.inbox, [1], columns)
        self.assertEqual((uid, size, date), (1, len(PREFIX + message(1)), 1234))
        self.assertEqual((header_size, prefix_size), (message(1).index(b"This"), len(PREFIX)))
        self.assertIn(b"Return-Path: <ann@a.example>\r\n", fields)
        self.assertIn(b"Subject: hello\r\n", fields)
        state = self.account.state(self.inbox)
        self.assertEqual((list(state.uids), list(state.flags)), ([1], [flags]))
        self.assertEqual((state.uidnext, state.highestmodseq, state.unseen), (2, added[0].modseq, 0))

    def test_add_many(self) -> None:
        """Additions of one call are one commit; the same octets for two mailboxes are one body."""
        one, two = self.new(message(1)), self.new(message(2))
        added = self.done(
            self.account.add(
                [Addition("INBOX", one), Addition(self.sent, two), Addition("Archive/2024", one)]
            )
        )
        self.assertEqual(len({a.modseq for a in added}), 1)
        self.assertEqual(added[0].body, added[2].body)
        self.assertTrue(added[1].body != added[0].body)
        self.assertEqual(self.account.mailbox("Archive/2024").id, added[2].mailbox)
        self.assertIn("Archive", self.account.subscriptions())

    def test_add_nothing_or_all(self) -> None:
        """When one target is missing, nothing is added."""
        queue = self.account.watch()
        one = self.new(message(1))
        self.refused(self.account.add([Addition("INBOX", one), Addition(9999, one)]), MailboxMissingError)
        self.assertEqual(self.account.mailbox("INBOX").messages, 0)
        self.assertEqual(queue.take(), ([], False))

    def test_quota(self) -> None:
        """Over the quota nothing is added or copied, unless the caller does not want it checked."""
        self.add(1)
        size = self.account.usage()[0]
        self.account.set_quota(2 * size)
        self.add(1)
        addition = Addition("INBOX", self.new(message(3)))
        self.refused(self.account.add([addition]), OverQuotaError)
        self.refused(self.account.copy(self.inbox, [1], self.sent), OverQuotaError)
        self.assertEqual(self.account.usage(), (2 * size, 2, 2 * size))
        self.done(self.account.add([addition], check_quota=False))
        self.account.set_quota(None)
        self.done(self.account.copy(self.inbox, [1], self.sent))
        self.assertEqual(self.account.usage(), (4 * size, 4, None))

    def test_sizes(self) -> None:
        """Messages of no octets, of one chunk exactly, and of several come back as they were, in any cuts."""
        for size in (0, 1, 262_144 - len(PREFIX), 262_144, 262_145, 3_000_000):
            octets = (b"Subject: x\r\n\r\n" + bytes(range(256)) * (size // 256 + 1))[:size]
            [added] = self.done(self.account.add([Addition("INBOX", self.new(octets))]))
            whole = PREFIX + octets
            self.assertEqual(self.octets(self.inbox, added.uid), whole)
            reader = self.account.open_body(self.inbox, added.uid)
            for offset in (0, len(PREFIX) - 1, len(PREFIX), 262_143, size // 2, size):
                self.assertEqual(reader.read(offset, 70_000), whole[offset : offset + 70_000])
            self.assertEqual(reader.read(len(whole), 10), b"")
            reader.close()

    def test_staging(self) -> None:
        """What was written is what is staged, however it was cut, in memory or in a file."""
        octets = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 150_000
        sink = self.store.stage()
        for start in range(0, len(octets), 70_001):
            sink.write(octets[start : start + 70_001])
        staged = sink.finish()
        self.assertEqual(staged.size, len(octets))
        self.assertEqual(b"".join(staged.chunks()), octets)
        self.assertEqual(staged.read(1_000_003, 777), octets[1_000_003:1_000_780])
        self.assertEqual(staged.rendered.header_size, 14)
        staged.close()
        staged.close()
        aborted = self.store.stage()
        aborted.write(octets)
        aborted.abort()
        aborted.abort()

    def test_threads(self) -> None:
        """An answer is in the thread of what it answers."""
        first = self.new(message(1, subject="plan"))
        answer = self.new(message(2, subject="Re: plan", references="<1@a.example>"))
        [a] = self.done(self.account.add([Addition("INBOX", first)]))
        [b] = self.done(self.account.add([Addition("INBOX", answer)]))
        self.assertEqual(a.thread, b.thread)
        self.assertEqual(
            [row[1] for row in self.account.rows(self.inbox, [1, 2], Column.THREAD)], [a.thread] * 2
        )

    # -- flags -------------------------------------------------------------------------------------------------

    def test_store_flags(self) -> None:
        """Flags are added, removed and replaced; only what changed counts."""
        self.add(3)
        state = self.account.state(self.inbox)
        seen = MessageFlags.parse(["\\Seen", "work"])
        stored = self.done(self.account.store_flags(self.inbox, [1, 3, 77], "add", seen))
        self.assertEqual((stored.changed, stored.refused), ((1, 3), ()))
        again = self.done(
            self.account.store_flags(self.inbox, [1, 2, 3], "add", MessageFlags.parse(["WORK"]))
        )
        self.assertEqual(again.changed, (2,))
        self.assertGreater(again.modseq, stored.modseq)
        self.assertEqual(list(state.modseqs), [stored.modseq, again.modseq, stored.modseq])
        nothing = self.done(self.account.store_flags(self.inbox, [1], "add", seen))
        self.assertEqual((nothing.changed, nothing.modseq), ((), 0))
        self.done(self.account.store_flags(self.inbox, [1], "remove", MessageFlags.parse(["Work"])))
        self.done(self.account.store_flags(self.inbox, [3], "replace", MessageFlags.parse(["\\Deleted"])))
        self.assertEqual([flags.names for flags in state.flags], [("\\Seen",), ("WORK",), ("\\Deleted",)])
        mailbox = self.account.mailbox("INBOX")
        self.assertEqual((mailbox.unseen, mailbox.deleted, state.unseen), (2, 1, 2))

    def test_unchanged_since(self) -> None:
        """RFC 7162 section 3.1.3: what changed meanwhile is left alone and named."""
        self.add(2)
        before = self.account.mailbox("INBOX").highestmodseq
        self.done(self.account.store_flags(self.inbox, [1], "add", MessageFlags.of(SEEN)))
        stored = self.done(
            self.account.store_flags(self.inbox, [1, 2], "add", MessageFlags.parse(["x"]), before)
        )
        self.assertEqual((stored.changed, stored.refused), ((2,), (1,)))

    # -- copy, move, expunge -----------------------------------------------------------------------------------

    def test_copy(self) -> None:
        """A copy has new UIDs, the same body, flags and date."""
        self.add(2, flags=["\\Flagged", "x"])
        copied = self.done(self.account.copy(self.inbox, [2, 5], self.sent))
        self.assertEqual((copied.source_uids, copied.uids), ((2,), (1,)))
        columns = Column.BODY | Column.INTERNALDATE
        self.assertEqual(
            self.account.rows(self.inbox, [2], columns)[0][1:],
            self.account.rows(self.sent, [1], columns)[0][1:],
        )
        self.assertEqual(self.account.state(self.sent).flags[0].names, ("\\Flagged", "x"))
        self.done(self.account.expunge(self.inbox, [2], only_deleted=False))
        self.assertEqual(self.octets(self.sent, 1), PREFIX + message(1))

    def test_copy_within(self) -> None:
        """A mailbox can get copies of its own messages, and lose them again."""
        self.add(2)
        self.done(self.account.copy(self.inbox, [1, 2], self.inbox))
        self.done(self.account.copy(self.inbox, [1], self.inbox))
        self.assertEqual(list(self.account.state(self.inbox).uids), [1, 2, 3, 4, 5])
        self.assertEqual(
            self.done(self.account.expunge(self.inbox, None, only_deleted=False)), (1, 2, 3, 4, 5)
        )

    def test_move(self) -> None:
        """What is moved leaves and arrives in one change."""
        self.add(3, flags=["\\Seen"])
        inbox, sent = self.account.state(self.inbox), self.account.state(self.sent)
        moved = self.done(self.account.move(self.inbox, [1, 3], self.sent))
        self.assertEqual((moved.source_uids, moved.uids), ((1, 3), (1, 2)))
        self.assertEqual((list(inbox.uids), list(sent.uids)), ([2], [1, 2]))
        self.assertEqual((inbox.highestmodseq, sent.highestmodseq), (moved.modseq, moved.modseq))
        self.assertEqual(self.account.expunged_since(self.inbox, moved.modseq - 1), ([1, 3], True))
        self.assertEqual(self.octets(self.sent, 2), PREFIX + message(2))

    def test_move_nothing(self) -> None:
        """Moving what is not there changes nothing."""
        moved = self.done(self.account.move(self.inbox, [5], self.sent))
        self.assertEqual((moved.uids, moved.modseq), ((), 0))
        self.refused(self.account.move(self.inbox, [5], 4711), MailboxMissingError)

    def test_expunge(self) -> None:
        """EXPUNGE removes what is marked, UID EXPUNGE only these of it."""
        self.add(4)
        self.done(self.account.store_flags(self.inbox, [1, 2, 4], "add", MessageFlags.parse(["\\Deleted"])))
        self.assertEqual(self.account.mailbox("INBOX").deleted, 3)
        before = self.account.mailbox("INBOX").highestmodseq
        self.assertEqual(self.done(self.account.expunge(self.inbox, [2, 3])), (2,))
        self.assertEqual(self.done(self.account.expunge(self.inbox, None)), (1, 4))
        self.assertEqual(self.done(self.account.expunge(self.inbox, None)), ())
        self.assertEqual(self.account.expunged_since(self.inbox, before), ([1, 2, 4], True))
        self.assertIsNone(self.account.open_body(self.inbox, 1))
        self.assertEqual(self.account.usage()[1], 1)

    def test_expunge_while_reading(self) -> None:
        """An open body can be read to its end after its message was expunged."""
        octets = b"Subject: long\r\n\r\n" + b"z" * 700_000
        self.done(self.account.add([Addition("INBOX", self.new(octets))]))
        reader = self.account.open_body(self.inbox, 1)
        self.assertEqual(reader.read(0, 10), PREFIX[:10])
        self.done(self.account.expunge(self.inbox, [1], only_deleted=False))
        self.assertEqual(reader.read(len(PREFIX), 800_000), octets)
        reader.close()
        reader.close()

    def test_uids_never_return(self) -> None:
        """RFC 9051 section 2.3.1.1: a UID is not given twice, also after a restart."""
        self.add(2)
        self.done(self.account.expunge(self.inbox, None, only_deleted=False))
        body = self.done(self.account.add([Addition("INBOX", self.new(message(9)))]))[0].body
        self.done(self.account.expunge(self.inbox, None, only_deleted=False))
        self.reopen()
        [added] = self.done(self.account.add([Addition("INBOX", self.new(message(9)))]))
        self.assertEqual(added.uid, 4)
        self.assertGreater(added.body, body)

    # -- states ------------------------------------------------------------------------------------------------

    def test_changes_since(self) -> None:
        """A session learns what changed about the messages that it knew, and nothing about others."""
        self.add(4)
        state = self.account.state(self.inbox)
        seen = state.version
        snapshot = state.uids
        self.add(1)
        self.done(self.account.store_flags(self.inbox, [1, 2, 5], "add", MessageFlags.of(SEEN)))
        self.done(self.account.expunge(self.inbox, [2, 4, 5], only_deleted=False))
        expunged, flagged = state.changes_since(seen)
        self.assertEqual((list(expunged), list(flagged)), ([2, 4], [1]))
        self.assertEqual(list(snapshot), [1, 2, 3, 4])
        expunged, flagged = state.changes_since(state.version)
        self.assertEqual((list(expunged), list(flagged)), ([], []))

    def test_listen(self) -> None:
        """Listeners are told after a change, until they do not want it any more."""
        state = self.account.state(self.inbox)
        told: list[int] = []

        def callback() -> None:
            told.append(len(state.uids))

        state.listen(callback)
        self.add(2)
        state.unlisten(callback)
        self.add(1)
        self.assertEqual(told, [1, 2])

    def test_state_is_shared(self) -> None:
        """All sessions have the same state, and a new one starts with what is there."""
        self.add(2)
        state = self.account.state(self.inbox)
        self.assertIs(state, self.account.state(self.inbox))
        self.assertEqual(
            (list(state.uids), state.uidvalidity), ([1, 2], self.account.mailbox("INBOX").uidvalidity)
        )
        self.assertRaises(MailboxMissingError, self.account.state, 4711)

    def test_watch(self) -> None:
        """A change queue has every change of the account, and says when some were dropped."""
        queue, small = self.account.watch(), self.account.watch(2)
        self.add(2)
        self.done(self.account.store_flags(self.inbox, [1], "add", MessageFlags.of(SEEN)))
        self.done(self.account.move(self.inbox, [1], self.sent))
        self.done(self.account.create_mailbox("New"))
        self.done(self.account.rename_mailbox("New", "Newer"))
        self.done(self.account.unsubscribe("Newer"))
        self.done(self.account.delete_mailbox("Newer"))
        changes, dropped = queue.take()
        self.assertFalse(dropped)
        self.assertEqual(
            [(c.kind, c.name, c.added, c.expunged, c.flagged) for c in changes if c.kind == "messages"],
            [
                ("messages", "INBOX", (1,), (), ()),
                ("messages", "INBOX", (2,), (), ()),
                ("messages", "INBOX", (), (), (1,)),
                ("messages", "INBOX", (), (1,), ()),
                ("messages", "Sent", (1,), (), ()),
            ],
        )
        self.assertEqual(
            [(c.kind, c.name, c.old_name) for c in changes if c.kind != "messages"],
            [
                ("created", "New", ""),
                ("renamed", "Newer", "New"),
                ("unsubscribed", "Newer", ""),
                ("removed", "Newer", ""),
            ],
        )
        self.assertEqual(sorted(c.modseq for c in changes), [c.modseq for c in changes])
        few, dropped = small.take()
        self.assertEqual((len(few), dropped), (2, True))
        small.close()
        queue.close()

    # -- mailboxes ---------------------------------------------------------------------------------------------

    def test_new_account(self) -> None:
        """A new account has INBOX and what was asked for, all subscribed."""
        names = [mailbox.name for mailbox in self.account.mailboxes()]
        self.assertEqual(names, ["INBOX", "Lists", "Sent"])
        self.assertEqual(self.account.subscriptions(), frozenset(names))
        self.assertEqual(self.account.mailbox("Sent").special_use, ("\\Sent",))
        self.assertEqual(len({mailbox.uidvalidity for mailbox in self.account.mailboxes()}), 3)

    def test_create(self) -> None:
        """A mailbox is made with its parents; a name is one in any normal form, INBOX in any case."""
        made = self.done(self.account.create_mailbox("a/b/Entwu\u0308rfe"))
        self.assertEqual(made.name, "a/b/Entw\u00fcrfe")
        self.assertEqual(self.account.mailbox("a/b/Entw\u00fcrfe"), made)
        self.assertEqual(self.account.mailbox_by_id(made.id), made)
        self.assertEqual(self.account.mailbox("a").messages, 0)
        for name in ("a", "inbox", "a/b/Entw\u00fcrfe"):
            self.refused(self.account.create_mailbox(name), MailboxExistsError)
        self.assertEqual(self.done(self.account.create_mailbox("inBox/x")).name, "INBOX/x")

    def test_bad_names(self) -> None:
        """Names that cannot be are refused, by every command, before anything happens."""
        for name in (
            "",
            "/",
            "a//b",
            "/a",
            "a/",
            "a*",
            "a%",
            "a\nb",
            "a\x7f",
            ".",
            "..",
            "../../x",
            "a/.",
            "a/../b",
        ):
            error = self.refused(self.account.create_mailbox(name), MailError)
            self.assertEqual(error.imap_code, "CANNOT")
            self.assertIsNone(self.account.mailbox(name))
            self.refused(self.account.rename_mailbox("Sent", name), MailError)
            self.refused(self.account.add([Addition(name, self.new(message(1)))]), MailError)
        self.refused(self.account.create_mailbox("x" * 10_000), LimitError)
        self.refused(self.account.create_mailbox("/".join("x" * 200)), LimitError)

    def test_rename(self) -> None:
        """A mailbox goes with what is below it, and keeps its id, UIDs and messages."""
        self.done(self.account.create_mailbox("Lists/twisted/dev"))
        lists = self.account.mailbox("Lists")
        deep = self.account.mailbox("Lists/twisted/dev")
        self.add(1, mailbox=deep.id)
        state = self.account.state(deep.id)
        renamed = self.done(self.account.rename_mailbox("Lists", "Old/Mail"))
        self.assertEqual((renamed.id, renamed.uidvalidity), (lists.id, lists.uidvalidity))
        self.assertEqual(state.name, "Old/Mail/twisted/dev")
        self.assertEqual(
            [mailbox.name for mailbox in self.account.mailboxes()],
            ["INBOX", "Old", "Old/Mail", "Old/Mail/twisted", "Old/Mail/twisted/dev", "Sent"],
        )
        self.assertEqual(self.octets(deep.id, 1), PREFIX + message(0))
        self.assertIn("Old/Mail/twisted", self.account.subscriptions())
        self.refused(self.account.rename_mailbox("Lists", "x"), MailboxMissingError)
        self.refused(self.account.rename_mailbox("Old", "Sent"), MailboxExistsError)
        self.refused(self.account.rename_mailbox("Old", "Old/x"), MailError)
        self.reopen()
        self.assertEqual(self.account.mailbox("Old/Mail/twisted/dev").id, deep.id)

    def test_rename_inbox(self) -> None:
        """RFC 9051 section 6.3.6: renaming INBOX moves its messages and leaves it empty."""
        self.add(2)
        new = self.done(self.account.rename_mailbox("INBOX", "Saved"))
        self.assertEqual((new.messages, self.account.mailbox("INBOX").messages), (2, 0))
        self.assertEqual(self.octets(new.id, 2), PREFIX + message(1))

    def test_delete(self) -> None:
        """A mailbox goes with its messages; not INBOX, and not one with others below it."""
        self.done(self.account.create_mailbox("Lists/x"))
        lists = self.account.mailbox("Lists")
        self.add(2, mailbox=lists.id)
        state = self.account.state(lists.id)
        self.assertEqual(self.refused(self.account.delete_mailbox("inbox"), MailError).imap_code, "CANNOT")
        self.assertEqual(
            self.refused(self.account.delete_mailbox("Lists"), MailError).imap_code, "HASCHILDREN"
        )
        self.done(self.account.delete_mailbox("Lists/x"))
        self.done(self.account.delete_mailbox("Lists"))
        self.refused(self.account.delete_mailbox("Lists"), MailboxMissingError)
        self.assertFalse(state.exists)
        self.assertIsNone(self.account.mailbox_by_id(lists.id))
        self.assertEqual(self.account.usage()[:2], (0, 0))
        again = self.done(self.account.create_mailbox("Lists"))
        self.assertGreater(again.uidvalidity, lists.uidvalidity)

    def test_subscriptions(self) -> None:
        """Any name can be subscribed, once; unsubscribing is always possible."""
        self.done(self.account.subscribe("not/there"))
        self.done(self.account.subscribe("not/there"))
        self.assertIn("not/there", self.account.subscriptions())
        self.reopen()
        self.assertIn("not/there", self.account.subscriptions())
        self.done(self.account.unsubscribe("not/there"))
        self.done(self.account.unsubscribe("not/there"))
        self.assertFalse("not/there" in self.account.subscriptions())

    def test_special_use(self) -> None:
        """RFC 6154: a use belongs to one mailbox; giving it to another takes it away."""
        self.done(self.account.set_special_use("Lists", ["\\Sent", "\\Archive"]))
        self.assertEqual(self.account.mailbox("Lists").special_use, ("\\Sent", "\\Archive"))
        self.assertEqual(self.account.mailbox("Sent").special_use, ())
        made = self.done(self.account.create_mailbox("Arch", ["\\Archive"]))
        self.assertEqual(made.special_use, ("\\Archive",))
        self.assertEqual(self.account.mailbox("Lists").special_use, ("\\Sent",))
        self.refused(self.account.set_special_use("nowhere", []), MailboxMissingError)

    def test_annotations(self) -> None:
        """RFC 5464: entries of a mailbox and of the account, any octets, without case."""
        self.done(self.account.annotate(self.inbox, {"/private/Comment": b"a\0b", "/private/x": b""}))
        self.done(self.account.annotate(0, {"/shared/admin": b"mailto:x"}))
        self.assertEqual(
            self.account.annotations(self.inbox), {"/private/comment": b"a\0b", "/private/x": b""}
        )
        self.done(self.account.annotate(self.inbox, {"/private/comment": None, "/private/none": None}))
        self.assertEqual(self.account.annotations(self.inbox), {"/private/x": b""})
        self.assertEqual(self.account.annotations(0), {"/shared/admin": b"mailto:x"})
        self.refused(self.account.annotate(4711, {"/private/x": b"1"}), MailboxMissingError)
        self.refused(self.account.annotate(0, {"/private/x": b"1" * 10_000_000}), LimitError)

    # -- reading -----------------------------------------------------------------------------------------------

    def test_rows(self) -> None:
        """Rows come in the order of UIDs and columns, for what exists among what is asked."""
        self.add(6)
        self.done(self.account.expunge(self.inbox, [3], only_deleted=False))
        for load in (False, True):
            if load:
                self.account.state(self.inbox)
            for wanted in ([1, 2, 4, 5, 6], [2, 3, 4], [1, 3, 5, 99], [4], [3], [], [1, 2, 5]):
                rows = self.account.rows(self.inbox, wanted, Column.PREVIEW | Column.SIZE)
                self.assertEqual([row[0] for row in rows], [uid for uid in wanted if uid in {1, 2, 4, 5, 6}])
                self.assertTrue(all(row[2] == f"This is number {row[0] - 1}." for row in rows))
        everything = self.account.rows(self.inbox, [1], Column(4095))
        self.assertEqual(len(everything[0]), 13)
        self.assertEqual(self.account.rows(self.inbox, [1, 2], Column(0)), [(1,), (2,)])

    def test_bodies(self) -> None:
        """Small bodies come together as far as they fit."""
        self.add(4)
        large = b"Subject: large\r\n\r\n" + b"x" * 500_000
        self.done(self.account.add([Addition("INBOX", self.new(large))]))
        size = len(PREFIX + message(0))
        got = self.account.bodies(self.inbox, [1, 2, 3, 4, 5], 3 * size)
        self.assertEqual(got, [(n + 1, PREFIX + message(n)) for n in range(3)])
        self.assertEqual(self.account.bodies(self.inbox, [5, 6], 1000), [])
        self.assertEqual(
            self.account.bodies(self.inbox, [4, 5, 6], 10**6), [(4, PREFIX + message(3)), (5, PREFIX + large)]
        )
        self.assertEqual(self.account.bodies(self.inbox, [77], 10**6), [])

    def test_search(self) -> None:
        """Text is found as a substring, without case, indexed or not."""
        self.done(self.account.add([Addition("INBOX", self.new(message(1, subject="Zebrafish")))]))
        self.add(2)
        uids = [1, 2, 3]
        self.assertEqual(
            self.done(self.account.search(self.inbox, SearchTerm("subject", "EBRAF"), uids)), {1}
        )
        self.assertEqual(
            self.done(self.account.search(self.inbox, SearchTerm("text", "number 1"), uids)), {1, 3}
        )
        self.assertEqual(self.done(self.account.search(self.inbox, SearchTerm("body", "zebra"), uids)), set())

    # -- restart -----------------------------------------------------------------------------------------------

    def test_restart(self) -> None:
        """Everything that was acknowledged is there after a restart."""
        self.add(3, flags=["\\Answered", "x"])
        self.done(self.account.store_flags(self.inbox, [2], "add", MessageFlags.of(SEEN)))
        moved = self.done(self.account.move(self.inbox, [1], self.sent))
        self.done(self.account.set_secret("scram", b"\0secret"))
        before = self.account.mailboxes()
        self.reopen()
        self.assertEqual(list(self.account.mailboxes()), list(before))
        state = self.account.state(self.inbox)
        self.assertEqual((list(state.uids), state.unseen, state.highestmodseq), ([2, 3], 1, moved.modseq))
        self.assertEqual([f.names for f in state.flags], [("\\Seen", "\\Answered", "x"), ("\\Answered", "x")])
        self.assertEqual(self.octets(self.sent, 1), PREFIX + message(0))
        self.assertEqual(self.account.expunged_since(self.inbox, 0), ([1], True))
        self.assertEqual(self.account.secret("scram"), b"\0secret")
        added: list[Added] = self.done(self.account.add([Addition("INBOX", self.new(message(9)))]))
        self.assertGreater(added[0].modseq, moved.modseq)

    def test_secrets(self) -> None:
        """A secret is kept as given until it is removed."""
        self.assertIsNone(self.account.secret("argon2"))
        self.done(self.account.set_secret("argon2", b"x"))
        self.done(self.account.set_secret("argon2", b"y"))
        self.assertEqual(self.account.secret("argon2"), b"y")
        self.done(self.account.set_secret("argon2", None))
        self.assertIsNone(self.account.secret("argon2"))

    def test_accounts(self) -> None:
        """Accounts are made, listed and removed; a name that comes again has greater UIDVALIDITYs."""
        self.done(self.store.create_account("../ann@b.example"))
        self.assertEqual(list(self.store.accounts()), ["../ann@b.example", "bob"])
        self.assertRaises(StoreUnavailableError, self.store.account, "nobody")
        self.assertRaises(StoreUnavailableError, self.store.create_account, "bob")
        self.add(1)
        before = max(mailbox.uidvalidity for mailbox in self.account.mailboxes())
        old = self.account
        self.account = None
        self.done(self.store.remove_account("bob"))
        self.assertEqual(list(self.store.accounts()), ["../ann@b.example"])
        self.assertRaises(StoreUnavailableError, old.state, self.inbox)
        self.refused(old.subscribe("x"), StoreUnavailableError)
        self.account = self.done(self.store.create_account("bob"))
        self.assertGreater(self.account.mailbox("INBOX").uidvalidity, before)
        self.assertEqual(self.account.usage()[:2], (0, 0))

    def test_closed(self) -> None:
        """A closed store says so."""
        self.done(self.store.close())
        self.assertRaises(StoreUnavailableError, self.store.account, "bob")
        self.assertRaises(StoreUnavailableError, self.store.stage)
        self.refused(self.account.subscribe("x"), StoreUnavailableError)
        self.store = self.open_store()
        self.account = self.store.account("bob")


async def _wait(awaitable: Any) -> Any:
    return await awaitable


class SQLiteStoreTests(StoreContract, SynchronousTestCase):
    """The store on SQLite, encrypted, everything in the test's thread."""

    key: MasterKey | None = MasterKey(b"k" * 32)

    def open_store(self) -> Any:
        """Open it in the test's own directory."""
        if not hasattr(self, "directory"):
            self.directory = Path(self.mktemp())
            self.clock = Clock()
            self.clock.advance(1_700_000_000)
        return Store.open(self.clock, self.directory, self.key, threads=0, seconds=self.clock.seconds)

    def turn(self) -> None:
        """What was put off to the reactor's next turn."""
        self.clock.advance(0)

    def problems(self, account: Any) -> list[str]:
        """Ask the checker."""
        return check(account.reader)


class PlainStoreTests(SQLiteStoreTests):
    """The same without encryption."""

    key = None
