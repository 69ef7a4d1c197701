"""Sharing over the memory backend: the table of RFC 4314 section 4 for every set of rights, and what the table does not say."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.imap.backend import IMailboxView, ISelectedMailbox, ISession
from moxtwisted.imap.memorysharing import MemoryShares, SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.replacement import IReplacingSession
from moxtwisted.imap.rights import (
    ALL,
    STANDARD,
    Modification,
    RightsError,
    granted,
    kept_flags,
    modified,
    parse_modification,
    parse_rights,
    shown,
)
from moxtwisted.imap.sharedsession import SharingSession
from moxtwisted.imap.sharing import ISharedSession, IShares
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.message.flags import MessageFlags

BOX = '"Other Users/alice/Box"'
LETTER = b"Subject: hello\r\n\r\nworld\r\n"
EVERY_FLAG = "(\\Seen \\Deleted \\Flagged $Label)"


def shared(driver: Driver, command: str) -> str:
    """The code of the tagged response, or its first word when there is none."""
    words = driver.command(command)[-1].split()
    return words[2].decode().strip("[]") if words[2].startswith(b"[") else words[1].decode()


class House:
    """Alice with Box, Box/Leaf and INBOX, Bob with a message in INBOX; both logged in; Bob has these rights on both."""

    def __init__(self, rights: Any = "", *, users: tuple[str, ...] = ("alice", "bob")) -> None:
        self.mail = {name: SharedMemoryMail() for name in users}
        authenticator = SharingAuthenticator(
            {name: ("secret", mail) for name, mail in self.mail.items()}, counted_entropy()
        )
        self.alice = self.mail["alice"]
        for name in ("Box", "Box/Leaf"):
            self.alice.make(name)
        self.give(rights)
        self.clients = {name: self.log_in(authenticator, name) for name in users}

    def give(self, rights: Any, identifier: str = "bob") -> None:
        for name in ("Box", "Box/Leaf"):
            self.alice.put(self.alice.find(name), identifier, Modification("replace", frozenset(rights)))

    @staticmethod
    def log_in(authenticator: SharingAuthenticator, name: str) -> Driver:
        driver = Driver.of(authenticator=authenticator)
        driver.command(f"LOGIN {name} secret")
        return driver

    def flags(self, mailbox: str) -> list[set[str]]:
        return [set(flags.names) for flags in self.alice.find(mailbox).flags]


def kept(rights: frozenset[str]) -> set[str]:
    """RFC 4314 section 4: which of EVERY_FLAG may be set."""
    found = set()
    for letter, flags in (("s", {"\\Seen"}), ("t", {"\\Deleted"}), ("w", {"\\Flagged", "$Label"})):
        if letter in rights:
            found |= flags
    return found


#: RFC 4314 section 4: command, and the rights that it needs; of the last group any.
PLAIN: tuple[tuple[str, str], ...] = (
    (f"STATUS {BOX} (MESSAGES)", "r"),
    (f"GETACL {BOX}", "a"),
    (f"LISTRIGHTS {BOX} bob", "a"),
    (f"SETACL {BOX} carol lr", "a"),
    (f"DELETEACL {BOX} carol", "a"),
    (f"EXAMINE {BOX}", "r"),
    (f"SELECT {BOX}", "r"),
    ('RENAME "Other Users/alice/Box/Leaf" "Other Users/alice/Box/Other"', "xk"),
    ('DELETE "Other Users/alice/Box/Other"', "x"),
)


class TableTests(SynchronousTestCase):
    """For every command and every set of rights."""

    def setUp(self) -> None:
        """All sets."""
        self.sets = [frozenset(c) for n in range(12) for c in combinations(STANDARD, n)]
        self.assertEqual(len(self.sets), 2048)

    def refused(self, rights: frozenset[str]) -> str:
        """RFC 4314 section 6: who may not list it learns nothing."""
        return "NOPERM" if "l" in rights else "NONEXISTENT"

    def test_every_command_with_every_set(self) -> None:
        """What may be done, and what is said when not, is what the table of RFC 4314 says, for all 2048 sets of rights."""
        house = House(users=("alice", "bob", "carol"))
        bob = house.clients["bob"]
        for rights in self.sets:
            self.managing(house, bob, rights)

    def managing(self, house: House, bob: Driver, rights: frozenset[str]) -> None:
        house.give(rights)
        why = shown(rights)
        self.assertEqual(shared(bob, f"SUBSCRIBE {BOX}"), "OK", why)
        self.assertEqual(shared(bob, f"UNSUBSCRIBE {BOX}"), "OK", why)
        listed = b"".join(bob.command('LIST "" "*"'))
        self.assertEqual(b"alice/Box" in listed, "l" in rights, why)
        may_know = bool(rights & set("lrikxa"))
        self.assertEqual(shared(bob, f"MYRIGHTS {BOX}"), "OK" if may_know else "NONEXISTENT", why)
        made = bob.command(f'CREATE {BOX[:-1]}/New"')[-1]
        self.assertEqual(b" OK " in made, "k" in rights, why)
        if "k" in rights:
            self.assertEqual(house.alice.entries(house.alice.find("Box/New")).get("bob"), rights, why)
            house.alice.remove("Box/New")
        else:
            self.assertIn(b"NO [NOPERM] you cannot make a mailbox there", made, why)
        for command, needed in PLAIN:
            if command.startswith("DELETE ") and not rights.issuperset("xk"):
                command = command.replace('Other"', 'Leaf"')  # noqa: PLW2901 - it was not renamed
            answer = bob.command(command)
            if rights.issuperset(needed):
                self.assertIn(b" OK", answer[-1], (why, command))
            else:
                code = self.refused(rights)
                if command.startswith("RENAME") and "x" in rights:
                    code = "NOPERM"
                self.assertIn(f" NO [{code}] ".encode(), answer[-1] + b" ", (why, command))
        if "r" in rights:
            mode = b"READ-WRITE" if rights & set("iewst") else b"READ-ONLY"
            self.assertIn(mode, answer_of(bob, f"SELECT {BOX}")[-1], why)
        bob.command("UNSELECT")
        if "x" in rights:
            house.alice.make("Box/Leaf")

    def test_flags_with_every_set_that_matters(self) -> None:
        """APPEND, COPY, STORE, FETCH, EXPUNGE, MOVE and CLOSE do what r, s, w, i, t and e allow."""
        for n in range(7):
            for letters in combinations("rswite", n):
                self.messages(frozenset(letters) | {"l"})
                self.messages(frozenset(letters))

    def messages(self, rights: frozenset[str]) -> None:
        house, why = House(rights), shown(rights)
        bob = house.clients["bob"]
        house.mail["bob"].add("INBOX", LETTER, MessageFlags.parse(EVERY_FLAG[1:-1].split()))
        missing = "NOPERM" if "l" in rights else "TRYCREATE"
        # APPEND, COPY, MOVE into it; RFC 9051 sections 6.3.12 and 6.4.7: who may not select it learns no UIDs
        told = "r" in rights
        expected = ("APPENDUID" if told else "OK") if "i" in rights else missing
        self.assertEqual(
            shared(bob, f"APPEND {BOX} {EVERY_FLAG} {{{len(LETTER)}+}}\r\n{LETTER.decode()}"), expected, why
        )
        bob.command("SELECT INBOX")
        expected = ("COPYUID" if told else "OK") if "i" in rights else missing
        self.assertEqual(shared(bob, f"COPY 1 {BOX}"), expected, why)
        answer = b"".join(bob.command(f"MOVE 1 {BOX}"))
        self.assertEqual(b"COPYUID" in answer, rights >= {"i", "r"}, why)
        self.assertEqual(len(house.mail["bob"].find("INBOX").uids), "i" not in rights, why)
        self.assertEqual(house.flags("Box"), [kept(rights)] * 3 if "i" in rights else [], why)
        if "r" not in rights:
            return
        self.reading(rights)

    def reading(self, rights: frozenset[str]) -> None:
        house, why = House(rights), shown(rights)
        bob = house.clients["bob"]
        for flags in ("", "\\Flagged $Old", "\\Deleted", "\\Deleted"):
            house.alice.add("Box", LETTER, MessageFlags.parse(flags.split()))
        permanent = next(x for x in bob.command(f"SELECT {BOX}") if b"PERMANENTFLAGS" in x)
        self.assertEqual(b"\\Seen" in permanent, "s" in rights, why)
        self.assertEqual(b"\\Deleted" in permanent, "t" in rights, why)
        self.assertEqual(b"\\*" in permanent, "w" in rights, why)
        # FETCH sets \Seen only with s, and never fails
        self.assertEqual(shared(bob, "FETCH 1 BODY[]"), "OK", why)
        self.assertEqual("\\Seen" in house.flags("Box")[0], "s" in rights, why)
        # STORE: what may be changed is, and it fails only when nothing may be
        some = bool(kept(rights))
        self.assertEqual(" OK" in tagged(bob, f"STORE 1 +FLAGS {EVERY_FLAG}"), some, why)
        self.assertEqual(house.flags("Box")[0], kept(rights), why)
        self.assertEqual(" OK" in tagged(bob, "STORE 1:2 FLAGS ()"), some, why)
        self.assertEqual(house.flags("Box")[0], set(), why)
        self.assertEqual(house.flags("Box")[1], set() if "w" in rights else {"\\Flagged", "$Old"}, why)
        self.assertEqual(" OK" in tagged(bob, "STORE 2 -FLAGS (\\Seen $Old)"), bool(rights & {"s", "w"}), why)
        self.assertEqual(shared(bob, "COPY 2 INBOX"), "COPYUID", why)
        move = b"".join(bob.command("MOVE 2 INBOX"))
        self.assertEqual(b"COPYUID" in move, rights >= {"t", "e"}, why)
        left = len(house.flags("Box"))
        self.assertEqual(left, 3 if rights >= {"t", "e"} else 4, why)
        self.assertEqual(" OK" in tagged(bob, "UID EXPUNGE 3"), "e" in rights, why)
        self.assertEqual(len(house.flags("Box")), left - ("e" in rights), why)
        # CLOSE never fails
        left = len(house.flags("Box"))
        self.assertEqual(shared(bob, "CLOSE"), "OK", why)
        self.assertEqual(len(house.flags("Box")), left - ("e" in rights), why)


def tagged(driver: Driver, command: str) -> str:
    return driver.command(command)[-1].decode()


def answer_of(driver: Driver, command: str) -> list[bytes]:
    return driver.command(command)


class KnowledgeTests(SynchronousTestCase):
    """What somebody must not know of."""

    COMMANDS = (
        "SELECT {}", "EXAMINE {}", "STATUS {} (MESSAGES)", "DELETE {}", "RENAME {} \"Other Users/alice/X\"", "GETACL {}",
        "SETACL {} bob lr", "DELETEACL {} bob", "LISTRIGHTS {} bob", "MYRIGHTS {}", "CREATE {}", "APPEND {} {{3+}}\r\na: ",
    )  # fmt: skip

    def test_not_there_and_not_to_be_known(self) -> None:
        """A mailbox without rights, one that is not there and one of an account that is not there get the same answers."""
        house = House()
        house.alice.make("Open")
        house.alice.put(house.alice.find("Open"), "bob", parse_modification("l"))
        bob = house.clients["bob"]
        bob.command("SELECT INBOX")
        house.mail["bob"].add("INBOX", LETTER)
        names = (
            '"Other Users/alice/Box"',
            '"Other Users/alice/None"',
            '"Other Users/zoe/Box"',
            '"Other Users/alice"',
        )
        for command in (*self.COMMANDS, "COPY 1 {}", "MOVE 1 {}"):
            if command[:4] in {"COPY", "MOVE"}:
                bob.command("SELECT INBOX")
            answers = {bob.command(command.format(name))[-1].split(b" ", 1)[1] for name in names}
            self.assertEqual(len(answers), 1, (command, answers))
            self.assertTrue(next(iter(answers)).startswith(b"NO ["), answers)

    def test_parents(self) -> None:
        """A mailbox is listed without the one above it, whose level is told as one without a mailbox."""
        house = House()
        house.alice.put(house.alice.find("Box/Leaf"), "bob", parse_modification("lr"))
        bob = house.clients["bob"]
        self.assertEqual(
            bob.command('LIST "" "*"')[:-1],
            [
                b'* LIST (\\HasNoChildren) "/" INBOX',
                b'* LIST (\\HasNoChildren) "/" "Other Users/alice/Box/Leaf"',
            ],
        )
        self.assertEqual(
            bob.command('LIST "Other Users/alice/" %')[:-1],
            [b'* LIST (\\NoSelect \\HasChildren) "/" "Other Users/alice/Box"'],
        )
        self.assertEqual(
            bob.command('LIST "" ("Other Users/%") RETURN (CHILDREN)')[:-1],
            [b'* LIST (\\NonExistent \\HasChildren) "/" "Other Users/alice"'],
        )
        # REMOTE leaves out nothing
        self.assertEqual(
            bob.command('LIST (REMOTE) "" "Other Users/%"')[:-1],
            [b'* LIST (\\NonExistent \\HasChildren) "/" "Other Users/alice"'],
        )

    def test_listed_and_not_read(self) -> None:
        """RFC 5819: LIST with STATUS tells a mailbox that cannot be read with NoSelect and without STATUS."""
        house = House("l")
        answers = house.clients["bob"].command('LIST "" "Other*" RETURN (STATUS (MESSAGES))')
        self.assertIn(b'* LIST (\\HasChildren \\NoSelect) "/" "Other Users/alice/Box"', answers)
        self.assertFalse([a for a in answers if b"STATUS" in a and a.startswith(b"*")])


class LivingTests(SynchronousTestCase):
    """Rights that change, mailboxes that go."""

    def test_revoked_while_selected(self) -> None:
        """Who loses the right to read sees the mailbox become empty at once, idling too, and nothing of what comes later."""
        house = House("lr")
        house.alice.add("Box", LETTER)
        bob, alice = house.clients["bob"], house.clients["alice"]
        bob.command(f"SELECT {BOX}")
        bob.command("IDLE")
        alice.command("SETACL Box bob -r")
        bob.server.flush_changes()
        self.assertEqual(bob.received(), b"* 1 EXPUNGE\r\n")
        house.alice.add("Box", LETTER)
        bob.server.flush_changes()
        bob.send(b"DONE\r\n")
        self.assertNotIn(b"EXISTS", bob.received())
        for command in (
            "FETCH 1 BODY[]",
            "UID FETCH 1:* BODY[]",
            "SEARCH ALL",
            "UID STORE 1:* +FLAGS (x)",
            "UID COPY 1:* INBOX",
        ):
            answer = b"".join(bob.command(command))
            self.assertNotIn(b"FETCH (", answer, command)
            self.assertNotIn(b"COPYUID", answer, command)
        self.assertEqual(house.mail["bob"].find("INBOX").uids.tolist(), [])

    def test_revoked_before_it_is_told(self) -> None:
        """A FETCH that comes before the session could be told gets nothing either."""
        house = House("lr")
        house.alice.add("Box", LETTER)
        bob = house.clients["bob"]
        bob.command(f"SELECT {BOX}")
        house.give("l")
        self.assertIn(b"NO [EXPUNGEISSUED]", bob.command("FETCH 1 (FLAGS BODY[])")[-1])

    def test_more_rights(self) -> None:
        """What is given while the mailbox is selected may be used at once."""
        house = House("lrs")
        house.alice.add("Box", LETTER)
        bob = house.clients["bob"]
        bob.command(f"SELECT {BOX}")
        self.assertIn("NOPERM", tagged(bob, "STORE 1 +FLAGS (\\Flagged)"))
        house.give("lrsw")
        self.assertIn(" OK", tagged(bob, "STORE 1 +FLAGS (\\Flagged)"))

    def test_numbers_stand_still(self) -> None:
        """Who may not read any more does not learn from UIDNEXT and HIGHESTMODSEQ that anything happens."""
        house = House("lrse")
        house.alice.add("Box", LETTER)
        bob = house.clients["bob"]
        bob.command("ENABLE QRESYNC")
        bob.command(f"SELECT {BOX}")
        live = bob.server.connection.box.view.live
        before = live.uidnext, live.highestmodseq
        house.give("")
        told = bob.command("EXPUNGE")[-1]
        self.assertIn(b"[HIGHESTMODSEQ ", told)
        house.alice.add("Box", LETTER)
        self.assertEqual(bob.command("EXPUNGE")[-1].split()[1:], told.split()[1:])
        self.assertEqual((live.uidnext, live.highestmodseq), before)
        house.give("lr")
        self.assertEqual((live.uidnext, live.highestmodseq > before[1]), (3, True))

    def test_silent_store_of_some_flags(self) -> None:
        """RFC 4314 section 4: where the rights let STORE with SILENT do only some of what it says, what came of it is told."""
        house = House("lrw")
        house.alice.add("Box", LETTER, MessageFlags.parse(["\\Flagged", "\\Seen"]))
        bob = house.clients["bob"]
        bob.command(f"SELECT {BOX}")
        for change, outcome in (
            ("+FLAGS.SILENT (\\Deleted \\Flagged)", b"* 1 FETCH (FLAGS (\\Seen \\Flagged))"),
            ("+FLAGS.SILENT (\\Flagged $Label)", None),
            ("-FLAGS.SILENT (\\Seen $Label)", b"* 1 FETCH (FLAGS (\\Seen \\Flagged))"),
            ("FLAGS.SILENT (\\Deleted)", b"* 1 FETCH (FLAGS (\\Seen))"),
        ):
            told = bob.command(f"STORE 1 {change}")
            self.assertEqual(told[:-1], [outcome] if outcome is not None else [], change)
            self.assertIn(b" OK", told[-1])
        house.give("lrswt")
        bob.command("NOOP")
        self.assertEqual(len(bob.command("STORE 1 FLAGS.SILENT (\\Deleted)")), 1)

    def test_changed_flags_are_told(self) -> None:
        """RFC 4314 section 5.1.1: when rights change so that other flags can be changed, FLAGS and PERMANENTFLAGS are told, once."""
        house = House("lrs")
        bob = house.clients["bob"]
        bob.command(f"SELECT {BOX}")
        bob.command("IDLE")
        house.give("lrst")
        bob.server.flush_changes()
        told = bob.received()
        self.assertIn(b"* FLAGS (", told)
        self.assertIn(b"* OK [PERMANENTFLAGS (\\Seen \\Deleted)]", told)
        bob.send(b"DONE\r\n")
        self.assertNotIn(b"PERMANENTFLAGS", bob.received())
        house.give("lrstia")
        self.assertEqual(len(bob.command("NOOP")), 1)

    def test_renamed_and_removed(self) -> None:
        """A renamed mailbox keeps its list and stays selected; a removed one becomes empty, and its list is gone."""
        house = House("lr")
        house.alice.add("Box", LETTER)
        bob, alice = house.clients["bob"], house.clients["alice"]
        bob.command(f"SELECT {BOX}")
        alice.command("RENAME Box Case")
        self.assertIn(b'* LIST (\\HasChildren) "/" "Other Users/alice/Case"', bob.command('LIST "" *'))
        self.assertIn(b"BODY[] {", bob.command("FETCH 1 BODY[]")[0])
        alice.command("DELETE Case/Leaf")
        alice.command("DELETE Case")
        self.assertIn(b"* 1 EXPUNGE", bob.command("NOOP"))
        alice.command("CREATE Case")
        self.assertIn(b"* ACL Case alice lrswipkxteacd", alice.command("GETACL Case"))

    def test_renamed_while_selected(self) -> None:
        """The selected mailbox goes by the name that its owner gave it since: it is searched, and what one adds oneself is no news."""
        house = House("lri")
        house.alice.add("Box", LETTER)
        bob, alice = house.clients["bob"], house.clients["alice"]
        bob.command(f"SELECT {BOX}")
        self.assertTrue(verifyObject(IMailboxView, bob.server.connection.box.view.live))
        bob.command("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
        alice.command("RENAME Box Case")
        answers = bob.command("ESEARCH IN (selected) ALL")
        self.assertIn(b'MAILBOX "Other Users/alice/Case" UIDVALIDITY', answers[0])
        self.assertTrue(answers[0].endswith(b" UID ALL 1"), answers)
        answers = bob.command('APPEND "Other Users/alice/Case" {2+}\r\nhi')
        self.assertEqual([b"* 2 EXISTS"], answers[:-1])
        self.assertEqual(len(bob.command("NOOP")), 1)

    def test_unchanged_since(self) -> None:
        """STORE with UNCHANGEDSINCE refuses the same messages whatever the rights."""
        house = House("lrs")
        for _ in range(2):
            house.alice.add("Box", LETTER)
        bob = house.clients["bob"]
        bob.command(f"SELECT {BOX} (CONDSTORE)")
        seen = house.alice.find("Box").modseqs[0]
        answer = tagged(bob, f"STORE 1:2 (UNCHANGEDSINCE {seen}) FLAGS (\\Seen \\Flagged)")
        self.assertIn("[MODIFIED 2]", answer)
        self.assertEqual(house.flags("Box"), [{"\\Seen"}, set()])

    def test_replace(self) -> None:
        """REPLACE within somebody's mailboxes needs i, t, e and r; between accounts there is none."""
        for rights, expected in (("lrite", " OK"), ("lrie", "NO [NOPERM]"), ("lrte", "NO [NOPERM]")):
            house = House(rights)
            house.alice.add("Box", LETTER)
            bob = house.clients["bob"]
            bob.command(f"SELECT {BOX}")
            command = "REPLACE 1 {} (\\Seen) {{{}+}}\r\n{}"
            self.assertIn(expected, tagged(bob, command.format(BOX, len(LETTER), LETTER.decode())), rights)
            if expected == " OK":
                self.assertEqual(house.flags("Box"), [set()])
                self.assertIn(
                    "NO [CANNOT]", tagged(bob, command.format("INBOX", len(LETTER), LETTER.decode()))
                )


class CommandTests(SynchronousTestCase):
    """The commands' own rules."""

    def test_owner(self) -> None:
        """The owner has all rights, always: no entry can be made for him, by his name or taken from everybody."""
        house = House()
        alice = house.clients["alice"]
        for command in (
            "SETACL Box alice lr",
            "SETACL Box -alice a",
            "SETACL Box Alice@example.org +l",
            "DELETEACL Box alice",
        ):
            self.assertIn("NO [CANNOT] the owner of a mailbox always has all rights", tagged(alice, command))
        self.assertIn(b"* LISTRIGHTS Box Alice lrswipkxteacd", alice.command("LISTRIGHTS Box Alice"))
        self.assertIn(b'* LISTRIGHTS Box -alice ""', alice.command("LISTRIGHTS Box -alice"))
        self.assertIn(" OK", tagged(alice, "SETACL Box -anyone lrswipkxtea"))
        self.assertIn(b"* MYRIGHTS Box lrswipkxteacd", alice.command("MYRIGHTS Box"))
        self.assertIn(" OK", tagged(alice, "DELETEACL Box -anyone"))

    def test_identifiers(self) -> None:
        """Names are compared without case; who is not here is refused, what cannot be a name is BAD."""
        house = House()
        alice = house.clients["alice"]
        self.assertIn(" OK", tagged(alice, "SETACL Box BOB@example.org lr"))
        self.assertIn(b"* ACL Box alice lrswipkxteacd bob lr", alice.command("GETACL Box"))
        self.assertIn("NO [CANNOT] nobody here", tagged(alice, "SETACL Box zoe lr"))
        self.assertIn("NO [CANNOT] nobody here", tagged(alice, "LISTRIGHTS Box zoe"))
        for identifier in ('""', "-", '"a b"', "{3+}\r\na\tb", "{2+}\r\n\xc2\xad".encode().decode()):
            self.assertIn(" BAD", tagged(alice, f"SETACL Box {identifier} lr"), identifier)

    def test_anyone_and_negative(self) -> None:
        """What everybody has comes to what somebody has; negative entries take away from both."""
        house = House("r", users=("alice", "bob", "carol"))
        alice, bob, carol = (house.clients[name] for name in ("alice", "bob", "carol"))
        alice.command("SETACL Box anyone ls")
        alice.command("SETACL Box -carol s")
        self.assertIn(f"* MYRIGHTS {BOX} lrs".encode(), bob.command(f"MYRIGHTS {BOX}"))
        self.assertIn(f"* MYRIGHTS {BOX} l".encode(), carol.command(f"MYRIGHTS {BOX}"))
        self.assertIn(b"* ACL Box alice lrswipkxteacd -carol s anyone ls bob r", alice.command("GETACL Box"))

    def test_own_namespace(self) -> None:
        """Nobody makes a mailbox of his own among those of others, or moves one there; one that is there already stays his."""
        house = House("lrk")
        bob = house.clients["bob"]
        house.mail["bob"].make("Other Users/alice/Box")
        house.mail["bob"].make("Mine")
        self.assertIn(b"* MYRIGHTS", bob.command(f"MYRIGHTS {BOX}")[0])
        self.assertEqual(len([a for a in bob.command('LIST "" *') if b'alice/Box"' in a]), 1)
        for command in (
            'CREATE "Other Users"', 'CREATE "Other Users/zoe"', 'RENAME Mine "Other Users"',
            'RENAME Mine "Other Users/alice/Mine"', 'RENAME "Other Users/alice/Box/Leaf" Mine2',
        ):  # fmt: skip
            self.assertIn(" NO [", tagged(bob, command), command)

    def test_inbox(self) -> None:
        """Somebody else's INBOX can be shared, and not be renamed or deleted."""
        house = House()
        house.alice.put(house.alice.find("INBOX"), "bob", Modification("replace", ALL))
        bob = house.clients["bob"]
        self.assertIn(" OK [READ-WRITE]", tagged(bob, 'SELECT "Other Users/alice/inbox"'))
        self.assertIn(
            "NO [CANNOT]", tagged(bob, 'RENAME "Other Users/alice/INBOX" "Other Users/alice/INBOX/x"')
        )
        self.assertIn("NO [CANNOT]", tagged(bob, 'DELETE "Other Users/alice/INBOX"'))

    def test_inbox_in_any_case(self) -> None:
        """Somebody else's INBOX is subscribed, and watched, in whatever case it is written."""
        house = House()
        house.alice.put(house.alice.find("INBOX"), "bob", Modification("replace", ALL))
        bob = house.clients["bob"]
        listed = '\\Subscribed \\HasNoChildren) "/" "Other Users/alice/INBOX"'
        house.mail["bob"].subscribed().add("Other Users/alice/Inbox")
        self.assertIn(listed, str(b"".join(bob.command('LIST (SUBSCRIBED) "" *')), "ascii"))
        bob.command('UNSUBSCRIBE "Other Users/alice/INBOX"')
        self.assertNotIn(b"alice", b"".join(bob.command('LSUB "" *')))
        bob.command('SUBSCRIBE "Other Users/alice/inbox"')
        self.assertIn(listed, str(b"".join(bob.command('LIST (SUBSCRIBED) "" *')), "ascii"))
        bob.command('NOTIFY SET (mailboxes "Other Users/alice/inbox" (MessageNew MessageExpunge))')
        house.clients["alice"].command("APPEND INBOX {5+}\r\nhello")
        bob.flush()
        self.assertIn(b'* STATUS "Other Users/alice/INBOX" (MESSAGES 1', bob.received())

    def test_without_sharing(self) -> None:
        """Over a backend that shares nothing there are neither commands nor namespace."""
        driver = Driver.of()
        driver.login()
        self.assertIn(b'* NAMESPACE (("" "/")) NIL NIL', driver.command("NAMESPACE"))
        self.assertIn(" BAD", tagged(driver, "GETACL INBOX"))

    def test_interfaces(self) -> None:
        """Session, mailboxes, views and the backend's part provide what they say; so does what the own session provides."""
        house = House("lr")
        session: Any = house.clients["bob"].server.connection.mail
        for interface in (ISession, ISharedSession, IReplacingSession):
            verifyObject(interface, session)
        for name in ("INBOX", "Other Users/alice/Box"):
            selected = session.select(name, read_only=False)
            verifyObject(ISelectedMailbox, selected)
            for attribute in IMailboxView.names():
                getattr(selected.view, attribute)
        verifyObject(IShares, MemoryShares("bob", {}))
        self.assertIsInstance(session, SharingSession)


class RightsTests(SynchronousTestCase):
    """Lists of rights."""

    def test_examples(self) -> None:
        """RFC 4314 sections 2.1.1 and 3.1: virtual rights are read as their members, and told with them."""
        self.assertEqual(parse_rights("lrswida"), frozenset("lrswitea"))
        self.assertEqual(shown(parse_rights("lrswida")), "lrswitead")
        self.assertEqual(shown(parse_rights("lrswikda")), "lrswikteacd")
        self.assertEqual(shown(modified(parse_rights("lrswi"), parse_modification("+cda"))), "lrswikxteacd")
        for text, why in (
            ("lrQ", "uppercase"),
            ("lrqs", "the q right"),
            ("lr5", "the 5 right"),
            ("lré", "given right"),
        ):
            with self.assertRaises(RightsError) as caught:
                parse_rights(text)
            self.assertIn(why, caught.exception.public_text)

    @settings(max_examples=200)
    @given(st.text("lrswipkxteacd", max_size=20), st.sampled_from(("", "+", "-")), st.text("lrswipkxtea"))
    def test_round_trip(self, text: str, sign: str, before: str) -> None:
        """What is shown is read as the same rights; a modification does what its sign says."""
        rights = parse_rights(text)
        self.assertEqual(parse_rights(shown(rights).rstrip("cd")), rights)
        self.assertGreaterEqual(parse_rights(shown(rights)), rights)
        after = modified(frozenset(before), parse_modification(sign + text))
        expected = {"": rights, "+": rights | set(before), "-": frozenset(before) - rights}[sign]
        self.assertEqual(after, expected)

    @settings(max_examples=200)
    @given(
        st.dictionaries(
            st.sampled_from(("bob", "-bob", "anyone", "-anyone", "carol", "-carol")),
            st.frozensets(st.sampled_from(STANDARD)),
        ),
        st.sampled_from(STANDARD),
    )
    def test_weighed(self, acl: dict[str, frozenset[str]], letter: str) -> None:
        """Somebody has a right if he or everybody was given it and neither he nor everybody has it taken away."""
        given_ = any(letter in acl.get(name, ()) for name in ("bob", "anyone"))
        taken = any(letter in acl.get(name, ()) for name in ("-bob", "-anyone"))
        self.assertEqual(letter in granted(acl, "bob"), given_ and not taken)

    def test_flags(self) -> None:
        """Flags are kept as s, t and w say."""
        flags = MessageFlags.parse(["\\Seen", "\\Deleted", "\\Draft", "$Label"])
        for rights, names in (
            ("", ()), ("s", ("\\Seen",)), ("t", ("\\Deleted",)), ("w", ("\\Draft", "$Label")), ("swt", flags.names),
        ):  # fmt: skip
            self.assertEqual(kept_flags(flags, frozenset(rights)).names, names)


class ConvergenceTests(SynchronousTestCase):
    """Owner and guest at work in the same mailbox."""

    def test_views_are_equal(self) -> None:
        """Whatever both do, with rights that come and go, at the end both see what is there."""
        for seed in range(300):
            dice = random.Random(seed)
            house = House("lrswite")
            alice, bob = house.clients["alice"], house.clients["bob"]
            alice.command("SELECT Box")
            bob.command(f"SELECT {BOX}")
            for _ in range(40):
                driver, box = dice.choice(((alice, "Box"), (bob, BOX)))
                uid, flag = dice.randint(1, 12), dice.choice(("\\Seen", "\\Deleted", "\\Flagged", "$Label"))
                command = dice.choice(
                    (
                        f"APPEND {box} ({flag}) {{{len(LETTER)}+}}\r\n{LETTER.decode()}",
                        f"UID STORE {uid} {dice.choice('+-')}FLAGS{dice.choice(('', '.SILENT'))} ({flag})",
                        f"UID STORE {uid} FLAGS ({flag})",
                        f"UID COPY {uid} {box}",
                        f"UID MOVE {uid} {box}",
                        "EXPUNGE",
                        "NOOP",
                        "UID FETCH 1:* (FLAGS BODY[])",
                    )
                )
                if dice.random() < 0.05:
                    house.give("lr" + "".join(dice.sample("switex", 3)))
                driver.command(command)
            seen = []
            for driver in (alice, bob):
                driver.command("NOOP")
                seen.append(
                    [line for line in driver.command("UID FETCH 1:* (FLAGS)") if line.startswith(b"*")]
                )
                self.assertEqual(
                    list(driver.server.connection.box.view.uids), list(house.alice.find("Box").uids)
                )
            self.assertEqual(seen[0], seen[1], f"seed {seed}")
            self.assertEqual(len(seen[0]), len(house.flags("Box")), f"seed {seed}")
