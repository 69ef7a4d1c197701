"""NOTIFY of mailboxes of other users, over the real store: alice has Box, bob watches."""

from __future__ import annotations

import random
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from moxtwisted.imap import sharedsession
from moxtwisted.imap.notification import INotifyingSharedSession, IOthersFeed
from moxtwisted.imap.rights import granted
from moxtwisted.imap.sharedfeed import MOST_WATCHED
from moxtwisted.store.interfaces import IGrants
from tests.imap.test_notify_others import Believing
from tests.imap.test_notify_others import command as change
from tests.server.house import ACCOUNTS, House
from tests.server.test_sharing import BOX, SharingCase

MESSAGES = "(MessageNew MessageExpunge FlagChange)"
ALL = "(MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange)"
TREE = '"Other Users/alice"'


class NotifyOthersCase(SharingCase):
    """Bob may find and read Box, and mark as read."""

    rights = "lrs"

    def told(self) -> str:
        return self.heard(self.bob)

    def listen(self, groups: str) -> str:
        return self.yes(self.bob, f"NOTIFY SET {groups}")

    def watchers(self, name: str = "alice") -> int:
        return len(self.account(name)._queues)


class MessagesTests(NotifyOthersCase):
    """What happens to messages."""

    def test_interfaces(self) -> None:
        """Session, feed and index provide what is asked of them."""
        session = self.bob.protocol.server.connection.session
        verifyObject(INotifyingSharedSession, session)
        feed = session.watch_others(10, lambda: None, {"alice"})
        verifyObject(IOthersFeed, feed, tentative=True)
        feed.close()
        feed.close()
        verifyObject(IGrants, self.house.store.grants, tentative=True)

    def test_each_filter(self) -> None:
        """New, flagged and expunged messages are told where a filter stands for the mailbox, and not where none does."""
        for groups, told in (
            (f"(mailboxes {BOX} {MESSAGES})", True),
            (f'(subtree "Other Users" {MESSAGES})', True),
            (f"(subtree {TREE} {MESSAGES})", True),
            (f"(subtree {BOX} {MESSAGES})", True),
            (f"(subscribed {MESSAGES})", True),
            (f"(personal {MESSAGES})", False),
            (f"(inboxes {MESSAGES})", False),
            (f"(subtree Other {MESSAGES})", False),
            (f'(mailboxes "Other Users" {MESSAGES})', False),
            (f'(mailboxes "Other Users/alice/Boxes" {MESSAGES})', False),
        ):
            if "subscribed" in groups:
                self.yes(self.bob, f"SUBSCRIBE {BOX}")
            answer = self.listen(f"STATUS {groups}")
            self.assertEqual(f"* STATUS {BOX} (MESSAGES" in answer, told, groups)
            self.assertNotIn("NoAccess", answer)
            uid = self.add(mailbox="Box")
            self.assertEqual(
                self.told(), f"* STATUS {BOX} (MESSAGES 1 UIDNEXT {uid + 1})\r\n" if told else "", groups
            )
            self.yes(self.alice, "SELECT Box")
            self.yes(self.alice, "STORE 1 +FLAGS (\\Seen)")
            self.assertRegex(self.told(), f"^\\* STATUS {BOX} .UIDVALIDITY \\d+ UNSEEN 0" if told else "^$")
            self.yes(self.alice, "STORE 1 +FLAGS (\\Deleted)")
            self.yes(self.alice, "EXPUNGE")
            self.assertIn("MESSAGES 0" if told else "", self.told())
            self.assertEqual(self.told(), "")

    def test_condstore(self) -> None:
        """Who enabled CONDSTORE gets HIGHESTMODSEQ."""
        self.yes(self.bob, "ENABLE CONDSTORE")
        self.listen(f"(mailboxes {BOX} {MESSAGES})")
        self.add(mailbox="Box")
        self.assertRegex(self.told(), r'^\* STATUS "[^"]*" \(MESSAGES 1 UIDNEXT 2 HIGHESTMODSEQ \d+\)\r\n$')

    def test_what_is_not_shared(self) -> None:
        """Of what alice does not share nothing is told, whatever happens there; nor what she subscribes and notes for herself."""
        self.listen(f'(subtree "Other Users" {ALL})')
        self.add()
        for command in (
            "CREATE Secret/Below",
            "APPEND Secret {2+}\r\nhi",
            "RENAME Secret Hidden",
            "DELETE Hidden/Below",
            "UNSUBSCRIBE Box",
            'SETMETADATA Box (/private/comment "x")',
            'SETMETADATA "" (/shared/comment "x")',
        ):
            self.yes(self.alice, command)
            self.assertEqual(self.told(), "", command)
        self.yes(self.alice, "SETACL Hidden bob rswit")
        self.add(mailbox="Hidden")
        self.assertEqual(self.told(), "", "not to be listed")
        self.yes(self.alice, 'SETMETADATA Box (/shared/comment "x")')
        self.assertEqual(self.told(), f"* METADATA {BOX} /shared/comment\r\n")

    def test_ones_own_doing(self) -> None:
        """What bob does there himself he is not told; his other connection is."""
        self.yes(self.alice, "SETACL Box bob +ikxte")
        other = self.log_in("bob@example.org", ip="198.51.100.7")
        for line in (self.bob, other):
            self.yes(line, f"NOTIFY SET (subtree {TREE} {ALL})")
        self.append(self.bob, BOX, b"Subject: x\r\n\r\n")
        self.assertEqual(self.told(), "")
        self.assertEqual(self.heard(other), f"* STATUS {BOX} (MESSAGES 1 UIDNEXT 2)\r\n")
        new = f'{BOX[:-1]}/New"'
        self.yes(self.bob, f"CREATE {new}")
        self.assertNotIn("New", self.told())
        self.assertIn(f'\\HasNoChildren) "/" {new}', self.heard(other))

    def test_selected(self) -> None:
        """Of the selected mailbox the selected filter decides, whoever owns it."""
        self.yes(self.bob, f"SELECT {BOX}")
        self.listen(f"(selected (MessageNew (uid) MessageExpunge)) (mailboxes {BOX} {MESSAGES})")
        self.add(mailbox="Box")
        self.assertEqual(self.told(), "* 1 EXISTS\r\n* 1 FETCH (UID 1)\r\n")
        self.yes(self.bob, "UNSELECT")
        self.add(mailbox="Box")
        self.assertIn(f"* STATUS {BOX} (MESSAGES 2", self.told())

    def test_overflow(self) -> None:
        """Of an account a part of the limit is kept; after more this is the end of it, of what one's own is, too."""
        connection = self.bob.protocol.server.connection
        connection.settings = evolve(
            connection.settings, limits=evolve(connection.settings.limits, notifications=24)
        )
        groups = f"(subtree {TREE} {MESSAGES}) (personal {MESSAGES})"
        self.listen(groups)
        for kept in (3, 4):
            self.bob.protocol.pauseProducing()
            for _ in range(kept):
                self.add(mailbox="Box")
            self.house.clock.advance(0)
            self.bob.protocol.resumeProducing()
            self.assertIn("STATUS" if kept == 3 else "OK [NOTIFICATIONOVERFLOW]", self.told())
        self.assertEqual((self.watchers(), self.watchers("bob")), (0, 0))
        self.add(mailbox="Box")
        self.assertEqual(self.told(), "")
        self.listen(groups)
        self.add(mailbox="Box")
        self.assertIn("MESSAGES 9", self.told())


class BelievingTests(NotifyOthersCase):
    """The same as over the memory backend."""

    def test_believes_the_truth(self) -> None:
        """After any changes names and numbers of messages are those that LIST and STATUS tell."""
        for seed in range(6):
            dice = random.Random(seed)
            bob = Believing()
            bob.hear(
                self.yes(self.bob, 'LIST "" "Other Users/*" RETURN (STATUS (MESSAGES UIDNEXT))').encode()
            )
            self.listen('(subtree "Other Users" (MessageNew MessageExpunge MailboxName))')
            for _ in range(40):
                self.ask(self.alice, change(dice))
                if dice.random() < 0.3:
                    continue
                bob.hear(self.told().encode())
                bob.check(self, self.bob.protocol.server.connection.mail, f"seed {seed}")
            self.told()


class NamesTests(NotifyOthersCase):
    """Names, subscriptions and rights."""

    def test_names(self) -> None:
        """Mailboxes that alice makes below Box, renames and deletes are told, with what is true of them."""
        self.listen(f"(subtree {TREE} (MailboxName))")
        self.yes(self.alice, "CREATE Box/One")
        one = f'{BOX[:-1]}/One"'
        self.assertEqual(
            self.told(),
            f'* LIST (\\HasNoChildren) "/" {one}\r\n* LIST (\\HasChildren) "/" {BOX}\r\n',
        )
        self.yes(self.alice, "RENAME Box Crate")
        self.assertEqual(
            self.told(), f'* LIST (\\HasChildren) "/" "Other Users/alice/Crate" ("OLDNAME" ({BOX}))\r\n'
        )
        self.yes(self.alice, "DELETE Crate/One")
        answer = self.told()
        self.assertIn('\\NonExistent \\HasNoChildren) "/" "Other Users/alice/Crate/One"', answer)
        self.assertIn('(\\HasNoChildren) "/" "Other Users/alice/Crate"', answer)
        # What happened before anything could be told is one step.
        self.yes(self.alice, "RENAME Crate Box")
        self.yes(self.alice, "RENAME Box Chest")
        self.assertIn(
            '"/" "Other Users/alice/Chest" ("OLDNAME" ("Other Users/alice/Crate"))\r\n', self.told()
        )

    def test_renamed_above(self) -> None:
        """A mailbox below one that bob may not list is renamed with that: he is told its own new name, and nothing else."""
        self.yes(self.alice, "CREATE Secret/Shared")
        self.yes(self.alice, "SETACL Secret/Shared bob lr")
        self.listen(f"(subtree {TREE} (MailboxName))")
        self.yes(self.alice, "RENAME Secret Hidden")
        self.assertEqual(
            self.told(),
            '* LIST (\\HasNoChildren) "/" "Other Users/alice/Hidden/Shared" '
            '("OLDNAME" ("Other Users/alice/Secret/Shared"))\r\n',
        )

    def test_list_right(self) -> None:
        """To be given l is as if the mailbox was made, to lose it as if it was deleted; meanwhile nothing is told of it."""
        self.listen(f"(subtree {TREE} {ALL})")
        self.yes(self.alice, "SETACL Box bob -l")
        gone = self.told()
        self.assertIn(f'* LIST (\\NonExistent \\HasNoChildren) "/" {BOX}\r\n', gone)
        self.add(mailbox="Box")
        self.yes(self.alice, 'SETMETADATA Box (/shared/comment "x")')
        self.yes(self.alice, "CREATE Box/Hidden")
        self.assertEqual(self.told(), "")
        self.yes(self.alice, "SETACL Box bob +l")
        answer = self.told()
        self.assertIn(f'* LIST (\\HasNoChildren) "/" {BOX}\r\n', answer)
        self.assertIn(f"* STATUS {BOX} (MESSAGES 1 UIDNEXT 2 UIDVALIDITY", answer)
        self.add(mailbox="Box")
        self.assertIn(f"* STATUS {BOX} (MESSAGES 2", self.told())
        self.yes(self.alice, "DELETE Box/Hidden")
        self.yes(self.alice, "DELETE Box")
        self.assertEqual(self.told(), gone, "a deletion and the loss of l are told in the same words")

    def test_read_right(self) -> None:
        """Who may list and not read is told that he has no access, when he asks, when he loses it, and when he gets it back."""
        self.yes(self.alice, "SETACL Box bob l")
        answer = self.listen(f"STATUS (mailboxes ({BOX} Missing) {MESSAGES})")
        self.assertEqual(answer, f'* LIST (\\NoAccess) "/" {BOX}\r\nt OK NOTIFY completed')
        self.add(mailbox="Box")
        self.assertEqual(self.told(), "")
        self.yes(self.alice, "SETACL Box bob lr")
        answer = self.told()
        self.assertIn(f'* LIST (\\HasNoChildren) "/" {BOX}\r\n* STATUS {BOX} (MESSAGES 1', answer)
        self.yes(self.alice, "SETACL Box bob -r")
        self.assertEqual(self.told(), f'* LIST (\\HasNoChildren \\NoAccess) "/" {BOX}\r\n')
        self.add(mailbox="Box")
        self.assertEqual(self.told(), "")

    def test_without_names(self) -> None:
        r"""Who wants no names is told with \NoAccess that l is lost, as of a deletion, and that it is there again."""
        self.listen(f"(mailboxes {BOX} {MESSAGES})")
        self.yes(self.alice, "DELETEACL Box bob")
        gone = self.told()
        self.assertEqual(gone, f'* LIST (\\NoAccess \\HasNoChildren) "/" {BOX}\r\n')
        self.add(mailbox="Box")
        self.assertEqual(self.told(), "")
        self.yes(self.alice, "SETACL Box bob lr")
        self.assertIn(f'* LIST (\\HasNoChildren) "/" {BOX}\r\n* STATUS {BOX} (MESSAGES 1', self.told())
        self.yes(self.alice, "DELETE Box")
        self.assertEqual(self.told(), gone)

    def test_may_not_list(self) -> None:
        """Who may read and not list a mailbox names it in vain."""
        self.yes(self.alice, "SETACL Box bob rswitek")
        self.assertEqual(self.listen(f"STATUS (mailboxes {BOX} {ALL})"), "t OK NOTIFY completed")
        self.add(mailbox="Box")
        self.yes(self.alice, 'SETMETADATA Box (/shared/comment "x")')
        self.yes(self.alice, "RENAME Box Crate")
        self.assertEqual(self.told(), "")

    def test_begins_to_share(self) -> None:
        """An account that shares nothing with the user is watched as soon as it does, by name or with anyone."""
        carol = self.log_in_carol()
        self.listen(f'(subtree "Other Users" {ALL})')
        self.yes(carol, "CREATE Lists")
        self.yes(carol, "SETACL Lists anyone lr")
        lists = '"Other Users/carol/Lists"'
        self.assertIn(f'* LIST (\\HasNoChildren) "/" {lists}\r\n', self.told())
        self.add(account="carol", mailbox="Lists")
        self.assertIn(f"* STATUS {lists} (MESSAGES 1", self.told())
        self.yes(carol, "SETACL Lists -bob l")
        self.assertIn(f'\\NonExistent \\HasNoChildren) "/" {lists}\r\n', self.told())
        self.yes(carol, "DELETEACL Lists -bob")
        self.assertIn(f'* LIST (\\HasNoChildren) "/" {lists}\r\n', self.told())
        self.yes(carol, "DELETEACL Lists anyone")
        self.assertIn(f'\\NonExistent \\HasNoChildren) "/" {lists}\r\n', self.told())
        self.assertEqual(self.watchers("carol"), 0)

    def test_subscriptions(self) -> None:
        """A subscription in another session is told, and counts from then on; what may not be known is as what is not there."""
        other = self.log_in("bob@example.org", ip="198.51.100.7")
        self.listen("(subscribed (MessageNew MessageExpunge SubscriptionChange))")
        self.assertEqual(self.watchers(), 0)
        self.yes(other, f"SUBSCRIBE {BOX}")
        self.assertEqual(self.told().count(f'* LIST (\\Subscribed \\HasNoChildren) "/" {BOX}'), 1)
        self.add(mailbox="Box")
        self.assertIn(f"* STATUS {BOX} (MESSAGES 1", self.told())
        self.assertEqual(self.watchers(), 1)
        self.yes(self.alice, "CREATE Secret")
        for name in ("Secret", "Nothing"):
            self.yes(other, f'SUBSCRIBE "Other Users/alice/{name}"')
            self.assertEqual(
                self.told(),
                f'* LIST (\\NonExistent \\Subscribed \\HasNoChildren) "/" "Other Users/alice/{name}"\r\n',
            )
            self.yes(other, f'UNSUBSCRIBE "Other Users/alice/{name}"')
            # RFC 5465 section 6.4: it was among them when that happened.
            self.assertEqual(
                self.told(), f'* LIST (\\NonExistent \\HasNoChildren) "/" "Other Users/alice/{name}"\r\n'
            )
        self.yes(other, f"UNSUBSCRIBE {BOX}")
        self.assertEqual(self.told(), f'* LIST (\\HasNoChildren) "/" {BOX}\r\n')
        self.add(mailbox="Box")
        self.assertEqual(self.told(), "")
        self.assertEqual(self.watchers(), 0)


class AccountsTests(NotifyOthersCase):
    """Accounts that are opened, watched and given back."""

    def test_nothing_is_left(self) -> None:
        """When it is over nobody watches anybody's account."""
        grants = self.house.store.grants
        for ending in ("NOTIFY NONE", "UNAUTHENTICATE", "LOGOUT", ""):
            line = self.log_in("bob@example.org", ip="198.51.100.7")
            self.yes(line, f'NOTIFY SET (subtree "Other Users" {ALL})')
            self.yes(line, f'NOTIFY SET (subtree "Other Users" {MESSAGES})')
            self.assertEqual((self.watchers(), self.watchers("bob"), len(grants._listeners)), (1, 1, 1))
            if ending:
                line.say(f"t {ending}")
            if ending not in {"NOTIFY NONE", "UNAUTHENTICATE"}:
                line.drop()
            self.assertEqual(
                (self.watchers(), self.watchers("bob"), len(grants._listeners)), (0, 0, 0), ending
            )

    def test_personal_opens_nobody(self) -> None:
        """NOTIFY of personal mailboxes, with STATUS and when names change, looks into no other account; nor does a name of one of them
        concern the others."""
        carol = self.log_in_carol()
        store = self.house.store
        open_account = store.account

        def only(name: str) -> object:
            self.assertEqual(name, "bob")
            return open_account(name)

        with patch.object(store, "account", only):
            self.assertIn("* STATUS INBOX", self.listen(f"STATUS (personal {ALL})"))
            other = self.bob.protocol.server.connection.session
            self.successResultOf(Deferred.fromCoroutine(other.create("New", ())))
            self.assertIn("New", self.told())
            self.listen(f'(mailboxes "Other Users/carol/INBOX" {MESSAGES})')
            self.listen(f"(subscribed {MESSAGES})")
        carol.drop()

    def test_removed_account(self) -> None:
        """When the owner's account goes its mailboxes are told to be gone; one that comes under its name is another."""
        self.listen(f"(subtree {TREE} {ALL})")
        self.alice.drop()
        self.successResultOf(self.house.store.remove_account("alice"))
        self.assertIn(f'(\\NonExistent \\HasNoChildren) "/" {BOX}', self.told())
        account = self.successResultOf(self.house.store.create_account("alice", [("Box", "")]))
        self.add(mailbox="Box")
        self.assertEqual(self.told(), "")
        box = account.mailbox("Box")
        assert box is not None
        grants = self.house.store.grants
        self.successResultOf(
            Deferred.fromCoroutine(grants.change(account, box.id, "bob", "replace", frozenset("lr")))
        )
        self.assertIn(f'* LIST (\\HasNoChildren) "/" {BOX}', self.told())
        self.add(mailbox="Box")
        self.assertIn(f"* STATUS {BOX} (MESSAGES 2", self.told())

    def test_only_what_is_concerned(self) -> None:
        """What happens to one mailbox's name or list has the rights on it looked up, not those on all that the account has."""
        for number in range(30):
            self.yes(self.alice, f"CREATE Box/{number}")
        carol = self.log_in_carol()
        self.listen(f'(subtree "Other Users" {ALL})')
        for command, told in (
            ("SETACL Box/7 bob l", "NoAccess"),
            ("DELETEACL Box/7 bob", "NonExistent"),
            ("SETACL Box/7 bob lr", "Box/7"),
            ("RENAME Box/7 Box/77", "OLDNAME"),
            ("DELETE Box/77", "NonExistent"),
            ("CREATE Secret", ""),
            ("SETACL Secret carol@example.org lr", ""),
            ("DELETEACL Secret carol@example.org", ""),
        ):
            self.yes(self.alice, command)
            with patch.object(sharedsession, "granted", wraps=granted) as asked:
                self.assertIn(told, self.told())
            self.assertLess(asked.call_count, 5, command)
        carol.drop()

    def test_switched_off(self) -> None:
        """Of an account that is not in the directory any more nothing is told."""
        self.listen(f"(subtree {TREE} {MESSAGES})")
        accounts = tuple(a for a in ACCOUNTS if a.name != "alice")
        self.house.holder.current = House.directory(accounts=accounts)
        self.add(mailbox="Box")
        self.assertEqual(self.told(), "")

    def test_too_many(self) -> None:
        """More accounts than a session may watch are refused, and what was asked for before stays; when they become too many it is over."""
        store = self.house.store
        names = [f"user{n}" for n in range(MOST_WATCHED)]
        self.house.holder.current = House.directory(
            accounts=(*ACCOUNTS, *(evolve(ACCOUNTS[2], name=name, addresses={}) for name in names))
        )

        def give(name: str, rights: str) -> None:
            account = store.account(name)
            done = store.grants.change(account, 1, "bob", "replace", frozenset(rights))
            self.successResultOf(Deferred.fromCoroutine(done))

        for name in names:
            self.successResultOf(store.create_account(name))
            if name != "user0":
                give(name, "lr")
        store._kept.clear()
        everybody = f'(subtree "Other Users" {MESSAGES})'
        self.listen(everybody)
        self.assertEqual(self.watchers("user7"), 1)
        self.add(account="user7", mailbox="INBOX")
        self.assertIn('* STATUS "Other Users/user7/INBOX" (MESSAGES 1', self.told())
        give("user0", "lr")
        self.assertIn("* OK [NOTIFICATIONOVERFLOW]", self.told())
        self.assertEqual((self.watchers("user7"), self.watchers("bob")), (0, 0))
        self.listen(f"(subtree {TREE} {MESSAGES})")
        self.assertIn("t NO [NOTIFICATIONOVERFLOW]", self.ask(self.bob, f"NOTIFY SET {everybody}"))
        self.assertEqual(self.watchers("user7"), 0)
        self.add(mailbox="Box")
        self.assertIn(f"* STATUS {BOX} (MESSAGES 1", self.told())
