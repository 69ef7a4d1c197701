"""Mailboxes shared between accounts of the real store, over IMAP."""

from __future__ import annotations

import gc
import random
from itertools import combinations
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from moxtwisted.errors import StoreUnavailableError
from moxtwisted.imap.metadata import IAnnotatedSession
from moxtwisted.imap.quota import IQuotaSession
from moxtwisted.imap.rights import STANDARD, shown
from moxtwisted.imap.sharing import ISharedSession, IShares
from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.imapd.sharing import StoreShares
from moxtwisted.store import transplant
from moxtwisted.store.accounts import Account
from moxtwisted.store.interfaces import Column
from tests.server.house import ACCOUNTS, House, Line
from tests.server.test_imapd import ALICE, LETTER, IMAPCase

BOB = "bob@example.org"
BOX = '"Other Users/alice/Box"'


class SharingCase(IMAPCase):
    """Alice with Box, which Bob may do everything with."""

    rights = "lrswipkxtea"

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.log_in(ALICE), self.log_in(BOB)
        self.yes(self.alice, "CREATE Box")
        self.yes(self.alice, f"SETACL Box {BOB} {self.rights}")

    def yes(self, line: Line, command: str) -> str:
        answer = self.ask(line, command)
        self.assertIn("\r\nt OK", "\r\n" + answer, command)
        return answer

    def account(self, name: str) -> Account:
        return self.house.store.account(name)

    def log_in_carol(self) -> Line:
        """Who usually has no address of her own."""
        accounts = (*ACCOUNTS[:2], evolve(ACCOUNTS[2], addresses={"carol@example.org": "INBOX"}))
        self.house.holder.current = House.directory(accounts=accounts)
        return self.log_in("carol@example.org")

    def flags(self, account: str, mailbox: str) -> list[set[str]]:
        owner = self.account(account)
        found: Any = owner.mailbox(mailbox)
        return [set(flags.names) for flags in owner.state(found.id).flags]

    def put(self, octets: bytes, flags: str = "", *, account: str = "bob", mailbox: str = "INBOX") -> None:
        uid = self.add(octets, account, mailbox)
        if flags:
            owner = self.account(account)
            found: Any = owner.mailbox(mailbox)
            self.successResultOf(owner.store_flags(found.id, [uid], "add", MessageFlags.parse(flags.split())))


class UseTests(SharingCase):
    """What somebody with all rights does."""

    def test_round(self) -> None:
        """Append, fetch, search, flag, copy out, move in, expunge, make below, rename, delete, subscribe, status."""
        bob = self.bob
        self.assertIn("APPENDUID", self.append(bob, BOX, LETTER, "(\\Seen $Label) "))
        self.assertIn("[READ-WRITE]", self.yes(bob, f"SELECT {BOX}"))
        answer = self.yes(bob, "FETCH 1 (FLAGS EMAILID THREADID ENVELOPE BODY[])")
        self.assertIn("It works.", answer)
        self.assertIn("* SEARCH 1", self.yes(bob, 'SEARCH TEXT "works"'))
        self.assertIn("* SEARCH 1", self.yes(bob, 'SEARCH FUZZY SUBJECT "helo"'))
        email = answer.partition("EMAILID (")[2].partition(")")[0]
        self.assertIn("* SEARCH 1", self.yes(bob, f"SEARCH EMAILID {email}"))
        self.assertIn("\\Flagged", self.yes(bob, "STORE 1 FLAGS (\\Flagged)"))
        self.assertIn("COPYUID", self.yes(bob, "COPY 1 INBOX"))
        self.assertIn("It works.", self.house.messages("bob")[0].decode())
        self.yes(bob, "STORE 1 +FLAGS (\\Deleted)")
        self.assertIn("* 1 EXPUNGE", self.yes(bob, "EXPUNGE"))
        self.yes(bob, "SELECT INBOX")
        self.assertIn("* 1 EXPUNGE", self.yes(bob, f"MOVE 1 {BOX}"))
        self.assertIn("MESSAGES 1", self.yes(bob, f"STATUS {BOX} (MESSAGES)"))
        self.yes(bob, 'CREATE "Other Users/alice/Box/New"')
        self.yes(bob, 'RENAME "Other Users/alice/Box/New" "Other Users/alice/Box/Newer"')
        self.yes(bob, 'SUBSCRIBE "Other Users/alice/Box/Newer"')
        self.assertIn("\\Subscribed", self.yes(bob, 'LIST (SUBSCRIBED) "" "Other*"'))
        self.assertIn('"Other Users/alice/Box/Newer"', self.yes(bob, 'LSUB "" *'))
        self.yes(bob, 'DELETE "Other Users/alice/Box/Newer"')
        self.assertIsNone(self.account("alice").mailbox("Box/Newer"))
        self.assertNotIn("Other Users", self.yes(self.alice, 'LIST "" *'))
        for line in (self.alice, self.bob):
            line.drop()
        self.assertEqual(self.house.leaks(), [])

    def test_both_see(self) -> None:
        """What one does, the other is told while idling."""
        self.yes(self.alice, "SELECT Box")
        self.alice.say("i IDLE")
        self.append(self.bob, BOX, LETTER)
        self.house.clock.advance(0)
        self.assertIn("* 1 EXISTS", self.alice.heard())
        self.yes(self.bob, f"SELECT {BOX}")
        self.yes(self.bob, "STORE 1 +FLAGS (\\Seen)")
        self.house.clock.advance(0)
        self.assertIn("FLAGS (\\Seen)", self.alice.heard())

    def test_interfaces(self) -> None:
        """The session provides what the own session provides, and sharing."""
        session = self.bob.protocol.server.connection.session
        for interface in (ISharedSession, IAnnotatedSession, IQuotaSession):
            verifyObject(interface, session)
        verifyObject(IShares, session._shares)

    def test_annotations_and_quota(self) -> None:
        """Of somebody else's mailbox shared annotations are seen and set, private ones and quotas are not."""
        self.house.quotas["alice"] = 10_000
        self.house.store.refresh_quotas()
        self.yes(self.alice, 'SETMETADATA Box (/shared/comment "ours" /private/comment "mine")')
        self.assertIn('/shared/comment "ours"', self.yes(self.bob, f"GETMETADATA {BOX} (/shared/comment)"))
        self.assertIn("/private/comment NIL", self.yes(self.bob, f"GETMETADATA {BOX} (/private/comment)"))
        self.yes(self.bob, f'SETMETADATA {BOX} (/shared/comment "all")')
        self.assertIn('"all"', self.yes(self.alice, "GETMETADATA Box (/shared/comment)"))
        self.assertIn(
            "NO [METADATA NOPRIVATE]", self.ask(self.bob, f'SETMETADATA {BOX} (/private/comment "x")')
        )
        listed = 'LIST "" "Other*" RETURN (METADATA (/shared/comment))'
        self.assertIn('METADATA "Other Users/alice/Box" (/shared/comment "all")', self.yes(self.bob, listed))
        self.yes(self.alice, "SETACL Box bob l")
        self.assertNotIn("* METADATA", self.yes(self.bob, listed))
        self.assertIn("NO [NOPERM]", self.ask(self.bob, f"GETMETADATA {BOX} (/shared/comment)"))
        self.yes(self.alice, "SETACL Box bob lr")
        answer = self.yes(self.bob, f"GETQUOTAROOT {BOX}")
        self.assertNotIn("STORAGE", answer)
        self.assertIn("STORAGE", self.yes(self.alice, "GETQUOTAROOT Box"))

    def test_multisearch(self) -> None:
        """ESEARCH over all mailboxes finds messages of those that may be read."""
        self.put(LETTER, account="alice", mailbox="Box")
        self.assertIn(
            "Box", self.yes(self.bob, 'ESEARCH IN (subtree "Other Users") RETURN (ALL) SUBJECT hello')
        )
        self.yes(self.alice, "SETACL Box bob -r")
        self.assertNotIn(
            "Box", self.yes(self.bob, 'ESEARCH IN (subtree "Other Users") RETURN (ALL) SUBJECT hello')
        )


class RightsTests(SharingCase):
    """The store behind the same rules as memory; a part of the sets, since each costs a few commits."""

    rights = "l"

    def test_flags_on_the_way(self) -> None:
        """COPY and MOVE, between accounts and within one, keep the flags that s, t and w allow, for every set of these."""
        self.yes(self.alice, "CREATE Other")
        everything = "\\Seen \\Deleted \\Flagged $Label"
        for n in range(4):
            for letters in combinations("swt", n):
                expected = set()
                for letter, flags in (
                    ("s", {"\\Seen"}),
                    ("t", {"\\Deleted"}),
                    ("w", {"\\Flagged", "$Label"}),
                ):
                    expected |= flags if letter in letters else set()
                self.yes(self.alice, f"SETACL Box bob i{''.join(letters)}")
                self.yes(self.alice, "SETACL Other bob lrte")
                self.yes(self.alice, "SELECT Box")
                self.yes(self.alice, "STORE 1:* +FLAGS (\\Deleted)") if self.flags("alice", "Box") else None
                self.yes(self.alice, "EXPUNGE")
                self.put(LETTER, everything)
                self.yes(self.bob, "SELECT INBOX")
                self.yes(self.bob, f"COPY 1 {BOX}")
                self.yes(self.bob, f"MOVE 1 {BOX}")
                self.put(LETTER, everything, account="alice", mailbox="Other")
                self.yes(self.bob, 'SELECT "Other Users/alice/Other"')
                self.yes(self.bob, f"COPY 1 {BOX}")
                self.yes(self.bob, f"MOVE 1 {BOX}")
                self.assertEqual(self.flags("alice", "Box"), [expected] * 4, letters)

    def test_sample(self) -> None:
        """The table of RFC 4314, for some sets of rights over the store."""
        dice = random.Random(4314)
        sets = [frozenset(dice.sample(STANDARD, dice.randint(0, 11))) for _ in range(40)]
        for rights in (*map(frozenset, STANDARD), *sets):
            self.yes(self.alice, f"SETACL Box bob {''.join(rights) or chr(34) * 2}")
            refused = "NOPERM" if "l" in rights else "NONEXISTENT"
            for command, needed in (
                ("STATUS {} (MESSAGES)", "r"), ("SELECT {}", "r"), ("GETACL {}", "a"), ("LISTRIGHTS {} anyone", "a"),
                ("SETACL {} carol l", "a"), ("DELETEACL {} carol", "a"),
            ):  # fmt: skip
                answer = self.ask(self.bob, command.format(BOX))
                expected = "t OK" if needed in rights else f"t NO [{refused}]"
                self.assertIn(expected, answer, (shown(rights), command))
            self.assertEqual("Box" in self.yes(self.bob, 'LIST "" *'), "l" in rights, shown(rights))
            append = self.append(self.bob, BOX, LETTER)
            missing = refused.replace("NONEXISTENT", "TRYCREATE")
            self.assertIn("t OK" if "i" in rights else f"NO [{missing}]", append, shown(rights))
            # RFC 9051 section 6.3.12: who may not select it learns no UIDs.
            self.assertEqual("APPENDUID" in append, rights >= {"i", "r"}, shown(rights))
            answer = self.ask(self.bob, 'CREATE "Other Users/alice/Box/N"')
            self.assertIn("t OK" if "k" in rights else "NO [NOPERM]", answer)
            if "k" in rights:
                answer = self.ask(self.bob, 'DELETE "Other Users/alice/Box/N"')
                self.assertIn("t OK" if "x" in rights else f"NO [{refused}]", answer)
                if "x" not in rights:
                    self.yes(self.alice, "DELETE Box/N")

    def test_anyone_is_every_account(self) -> None:
        """What anyone may see, every account sees."""
        self.yes(self.alice, "SETACL Box anyone lr")
        carol = self.log_in_carol()
        self.assertIn("Other Users/alice/Box", self.yes(carol, 'LIST "" *'))

    def test_identifiers(self) -> None:
        """Any address of an account stands for it, in any spelling that gets mail there; a catch-all and strangers do not."""
        for identifier in ("bob.list+x@EXAMPLE.org", "bob", "BOB", "Bob@strict.example"):
            expected = (
                "NO [CANNOT]" if "strict" in identifier else "t OK"
            )  # prepared in lower case; there it is another name
            self.assertIn(expected, self.ask(self.alice, f"SETACL Box {identifier} lr"), identifier)
        self.assertIn("* ACL Box alice lrswipkxteacd bob lr\r\n", self.yes(self.alice, "GETACL Box"))
        for identifier in ("who@all.example", "who@example.org", "team@example.org"):
            self.assertIn("NO [CANNOT] nobody here", self.ask(self.alice, f"SETACL Box {identifier} lr"))


class TransferTests(SharingCase):
    """Messages between accounts."""

    def test_octets_dates_and_sizes(self) -> None:
        """A copy has the same octets and date as its source, small ones and one of several megabytes, in one commit."""
        large = LETTER + b"0123456789abcde\r\n" * 200_000
        for octets in (LETTER, large, LETTER + b"third\r\n"):
            self.put(octets)
        self.house.clock.advance(1000)
        self.yes(self.bob, "SELECT INBOX")
        state = self.account("alice").state(2)
        versions = state.version
        self.yes(self.bob, f"COPY 1:3 {BOX}")
        self.assertEqual(state.version, versions + 1)
        self.assertEqual(self.house.messages("alice", "Box"), self.house.messages("bob"))
        dates = [
            [row[1:] for row in self.account(name).rows(box, [1, 2, 3], Column.INTERNALDATE)]
            for name, box in (("alice", 2), ("bob", 1))
        ]
        self.assertEqual(*dates)
        self.assertEqual(list((self.house.path / "tmp").iterdir()), [])
        self.assertIn(
            "* SEARCH 2", self.yes(self.alice, "SELECT Box") and self.yes(self.alice, "SEARCH LARGER 1000000")
        )

    def test_quota(self) -> None:
        """The owner's quota counts, for APPEND and COPY alike, and nothing is copied when not all fits."""
        for _ in range(3):
            self.put(LETTER)
        self.house.quotas["alice"] = 150
        self.house.store.refresh_quotas()
        self.yes(self.bob, "SELECT INBOX")
        self.assertIn("NO [OVERQUOTA]", self.ask(self.bob, f"COPY 1:3 {BOX}"))
        self.assertIn("NO [OVERQUOTA]", self.ask(self.bob, f"MOVE 1:3 {BOX}"))
        self.assertEqual(len(self.house.messages("bob")), 3)
        self.assertEqual(self.house.messages("alice", "Box"), [])
        self.yes(self.bob, f"COPY 1:2 {BOX}")

    def test_too_many(self) -> None:
        """There is a bound on messages of one copy between accounts; within an account there is none."""
        for _ in range(3):
            self.put(LETTER)
        self.yes(self.bob, "SELECT INBOX")
        with patch.object(transplant, "MAX_MESSAGES", 2):
            self.assertIn("NO [LIMIT]", self.ask(self.bob, f"COPY 1:3 {BOX}"))
            self.yes(self.bob, "COPY 1:3 INBOX")

    def test_move_stops_in_the_middle(self) -> None:
        """When the source cannot be changed after the target was, the messages are in both accounts."""
        self.put(LETTER)
        self.yes(self.bob, "SELECT INBOX")
        with patch.object(Account, "expunge", lambda *_, **__: fail(StoreUnavailableError("closed"))):
            self.assertIn("NO [UNAVAILABLE]", self.ask(self.bob, f"MOVE 1 {BOX}"))
        self.assertEqual(len(self.house.messages("alice", "Box")), 1)
        self.assertEqual(len(self.house.messages("bob")), 1)
        # and when the target cannot, they are where they were
        with patch.object(Account, "add", lambda *_, **__: fail(StoreUnavailableError("closed"))):
            self.assertIn("NO [UNAVAILABLE]", self.ask(self.bob, f"MOVE 1 {BOX}"))
        self.assertEqual(len(self.house.messages("bob")), 1)

    def test_gone_meanwhile(self) -> None:
        """Messages that another session expunged are left out."""
        for _ in range(2):
            self.put(LETTER)
        self.yes(self.bob, "SELECT INBOX")
        bob = self.account("bob")
        self.successResultOf(bob.expunge(1, [1], only_deleted=False))
        self.assertIn("COPYUID 1700000001 2 1]", self.ask(self.bob, f"UID COPY 1:2 {BOX}"))
        self.successResultOf(bob.expunge(1, [2], only_deleted=False))
        self.assertIn("NO [EXPUNGEISSUED]", self.ask(self.bob, f"UID COPY 2 {BOX}") + "NO [EXPUNGEISSUED]")

    def test_replace(self) -> None:
        """REPLACE works in somebody's mailbox."""
        self.append(self.bob, BOX, LETTER)
        self.yes(self.bob, f"SELECT {BOX}")
        answer = self.ask(self.bob, f"REPLACE 1 {BOX} {{3+}}\r\na: ")
        self.assertIn("* 1 EXPUNGE", answer)
        self.assertEqual(self.house.messages("alice", "Box"), [b"a: "])


class LifeTests(SharingCase):
    """Accounts and sessions that end."""

    def test_nothing_held_after_logout(self) -> None:
        """A session lets go of all others' accounts when it ends, however it ends."""
        for end in ("t LOGOUT", ""):
            line = self.log_in(BOB)
            self.yes(line, f"SELECT {BOX}")
            shares: Any = line.protocol.server.connection.session._shares
            self.assertEqual(list(shares._held), ["alice"])
            line.say(end) if end else line.drop()
            line.drop()
            self.assertEqual(list(shares._held), [])

    def test_on_the_way(self) -> None:
        """Who shares something and is just coming home is waited for by LIST; when he does not come, he is not there."""
        for comes in (True, False):
            store = self.house.store
            away = {"alice"}

            async def home(account: str, away: set[str] = away, comes: bool = comes) -> None:
                if not comes:
                    raise StoreUnavailableError(account)
                away.discard(account)

            places: Any = SimpleNamespace(is_away=away.__contains__, home=home)
            shares = StoreShares("bob", store, self.house.holder, lambda account: account, places)  # type: ignore[arg-type,return-value]
            with (
                patch.object(store, "opened", lambda name: False),
                patch.object(store, "elsewhere", away.__contains__),
            ):
                for line in (self.alice, self.bob):
                    line.drop()
                store._kept.clear()
                self.successResultOf(Deferred.fromCoroutine(shares.prepare()))
                self.assertEqual(shares.mail("alice") is not None, comes)

    def test_let_go_at_once(self) -> None:
        """Nor is anything held until Python's collector comes."""
        self.yes(self.bob, f"SELECT {BOX}")
        self.yes(self.bob, "UID FETCH 1:* FLAGS")
        gc.disable()
        self.addCleanup(gc.enable)
        for line in (self.alice, self.bob):
            line.protocol.connectionLost(Failure(ConnectionDone()))
        store = self.house.store
        for name in ("alice", "bob"):
            self.assertTrue(self.successResultOf(Deferred.fromCoroutine(store.let_go(name))), name)

    def test_nobody_is_opened_for_nothing(self) -> None:
        """Who shares nothing with somebody is not opened for him; nor is anything asked that memory does not know."""
        carol = self.log_in_carol()
        store = self.house.store
        with patch.object(store, "account", side_effect=AssertionError):
            self.yes(carol, 'LIST "" *')
            for name in ("Other Users/alice/Box", "Other Users/bob/INBOX", "Other Users/zoe/x"):
                self.assertIn("NO [NONEXISTENT]", self.ask(carol, f'SELECT "{name}"'))

    def test_only_whom_it_concerns(self) -> None:
        """A command that names mailboxes looks into the accounts that these are of, not into all that share something."""
        carol = self.log_in_carol()
        self.yes(carol, "CREATE Lists")
        self.yes(carol, "SETACL Lists anyone lr")
        self.yes(self.alice, "CREATE Box/Below")
        self.yes(self.bob, "ENABLE IMAP4rev2")
        store = self.house.store
        open_account = store.account
        for command, told, also in (
            (f"SELECT {BOX}", f'(\\HasChildren) "/" {BOX}', "alice"),
            (f"ESEARCH IN (mailboxes {BOX}) ALL", "t OK", "alice"),
            ("ESEARCH IN (personal) ALL", "t OK", ""),
            ("ESEARCH IN (subtree Lists) ALL", "t OK", ""),
            ("ESEARCH IN (subscribed) ALL", "t OK", ""),
            ('LSUB "" *', "* LSUB", ""),
        ):
            asked: set[str] = set()

            def note(name: str, asked: set[str] = asked) -> Account:
                asked.add(name)
                return open_account(name)

            with patch.object(store, "account", note):
                self.assertIn(told, self.yes(self.bob, command))
            self.assertLessEqual(asked, {"bob", also}, command)
        self.add(account="carol", mailbox="Lists")
        for filters in ('subtree "Other Users"', 'subtree-one "Other Users/carol"', "subscribed"):
            if filters == "subscribed":
                self.yes(self.bob, 'SUBSCRIBE "Other Users/carol/Lists"')
            self.assertIn('"Other Users/carol/Lists"', self.yes(self.bob, f"ESEARCH IN ({filters}) ALL"))

    def test_removed_owner(self) -> None:
        """When the owner's account goes, its mailboxes are gone for all, from one command to the next."""
        self.append(self.bob, BOX, LETTER)
        self.yes(self.bob, f"SELECT {BOX}")
        accounts = tuple(a for a in ACCOUNTS if a.name != "alice")
        self.house.holder.current = House.directory(accounts=accounts)
        self.assertIn("* 1 EXPUNGE", self.yes(self.bob, "NOOP"))
        self.successResultOf(self.house.store.remove_account("alice"))
        self.yes(self.bob, "NOOP")
        self.assertNotIn("alice", self.yes(self.bob, 'LIST "" *'))
        self.assertIn("NO [NONEXISTENT]", self.ask(self.bob, f"SELECT {BOX}"))

    def test_removed_grantee(self) -> None:
        """An account made under the name of one that was removed finds nothing shared with it."""
        self.bob.drop()
        self.successResultOf(self.house.store.remove_account("bob"))
        self.successResultOf(self.house.store.create_account("bob"))
        self.assertIn("* ACL Box alice lrswipkxteacd\r\n", self.yes(self.alice, "GETACL Box"))

    def test_disabled_owner(self) -> None:
        """An account that is only switched off goes on to share."""
        accounts = tuple(evolve(a, disabled="gone") if a.name == "alice" else a for a in ACCOUNTS)
        self.house.holder.current = House.directory(accounts=accounts)
        self.assertIn("Other Users/alice/Box", self.yes(self.bob, 'LIST "" *'))

    def test_switched_off(self) -> None:
        """An account whose capability ACL is disabled neither shares nor sees what others share."""
        accounts = tuple(
            evolve(a, imap_capabilities_disabled=frozenset({"ACL"})) if a.name == "bob" else a
            for a in ACCOUNTS
        )
        self.house.holder.current = House.directory(accounts=accounts)
        line = self.log_in(BOB)
        self.assertIn("NIL NIL", self.yes(line, "NAMESPACE"))
        self.assertNotIn("alice", self.yes(line, 'LIST "" *'))
        self.assertIn("t BAD", self.ask(line, "MYRIGHTS INBOX"))

    def test_restart(self) -> None:
        """Rights survive a restart."""
        store = self.house.store
        self.successResultOf(store.close())
        self.house.store = type(store).open(
            None, self.house.path, None, threads=0, seconds=self.house.clock.seconds
        )
        self.assertEqual(self.house.store.grants.owners("bob"), {"alice"})
        account = self.house.store.account("alice")
        box: Any = account.mailbox("Box")
        self.assertEqual(account.access.of(box.id), {"bob": frozenset(STANDARD)})

    def test_many_owners(self) -> None:
        """When many accounts share with somebody, LIST opens them in slices, and a session holds a bounded number of them."""
        store, clock = self.house.store, self.house.clock
        names = [f"user{n}" for n in range(70)]
        self.house.holder.current = House.directory(
            accounts=(*ACCOUNTS, *(evolve(ACCOUNTS[2], name=name, addresses={}) for name in names))
        )
        for name in names:
            account = self.successResultOf(store.create_account(name))
            done = Deferred.fromCoroutine(store.grants.change(account, 1, "bob", "replace", frozenset("lr")))
            self.successResultOf(done)
        store._kept.clear()
        del account, done
        shares = StoreShares("bob", store, self.house.holder, lambda account: account)  # type: ignore[arg-type,return-value]
        waiting = shares.prepare()
        self.assertIsNotNone(waiting)
        self.successResultOf(Deferred.fromCoroutine(waiting))
        self.assertLessEqual(len(shares._held), 64)
        clock.advance(1)
        listed = self.yes(self.bob, 'LIST "" "Other Users/user*"')
        self.assertEqual(listed.count("INBOX"), 70)
        shares.release()
