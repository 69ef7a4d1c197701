"""Mailboxes give flags to what comes into them."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.flags import FLAGGED, NO_FLAGS, SEEN, MessageFlags
from moxtwisted.store.interfaces import Addition
from moxtwisted.store.junkflags import JunkFlags
from tests.store.mail import StoreTestCase

JUNK = MessageFlags.of(0, ["$Junk"])
NOT_JUNK = MessageFlags.of(0, ["$NotJunk"])


class RuleTests(SynchronousTestCase):
    def test_of_a_new_account(self) -> None:
        """Junk is junk, the inbox and what is like it neutral, all other mailboxes are for what is no junk."""
        rules = JunkFlags()
        for name, expected in (
            ("INBOX", "neutral"),
            ("Junk", "junk"),
            ("Junk/old", "junk"),
            ("SPAM", "junk"),
            ("Rejects", "neutral"),
            ("Postmaster", "neutral"),
            ("Archive", "not_junk"),
            ("No spam", "not_junk"),
            ("Sent", "not_junk"),
        ):
            self.assertEqual(rules.rule((name, "")), expected, name)

    def test_order(self) -> None:
        """The first pattern that is found counts: junk, neutral, not junk; with all three set, the rest is left alone."""
        rules = JunkFlags("a", "b", "c")
        for name, expected in (("abc", "junk"), ("bc", "neutral"), ("C", "not_junk"), ("d", None)):
            self.assertEqual(rules.rule((name, "")), expected, name)

    def test_the_third(self) -> None:
        """When two are set, the third is for the rest; when fewer are, nothing is."""
        for patterns, expected in (
            (("", "b", "c"), "junk"),
            (("a", "", "c"), "neutral"),
            (("a", "b", ""), "not_junk"),
            (("a", "", ""), None),
            (("", "", ""), None),
        ):
            self.assertEqual(JunkFlags(*patterns).rule(("other", "")), expected)

    def test_special_uses(self) -> None:
        """The mailbox for junk is one whatever its name; what goes into the trash stays what it was."""
        rules = JunkFlags()
        self.assertEqual(rules.rule(("Bulk", "\\Junk")), "junk")
        self.assertEqual(rules.rule(("INBOX", "\\junk")), "junk")
        self.assertIsNone(rules.rule(("Bin", "\\Trash")))
        self.assertEqual(JunkFlags(not_junk="^bin").rule(("Bin", "\\Trash")), "not_junk")

    def test_waiting(self) -> None:
        """Where refused mail lies is neutral whatever its name, unless a pattern says something else."""
        rules = JunkFlags(not_junk="^no", neutral="", waiting=frozenset(("no entry", "refused")))
        self.assertEqual(rules.rule(("Refused", "")), "neutral")
        self.assertEqual(rules.rule(("No entry", "")), "not_junk")

    def test_back(self) -> None:
        """What is taken out of the junk or another neutral mailbox into INBOX is no junk; into other neutral ones it is neither."""
        rules = JunkFlags()
        inbox = ("INBOX", "")
        self.assertEqual(rules.rule_from(("Junk", ""), inbox), "not_junk")
        self.assertEqual(rules.rule_from(("Rejects", ""), inbox), "not_junk")
        self.assertEqual(rules.rule_from(("Archive", ""), inbox), "neutral")
        self.assertEqual(rules.rule_from(inbox, inbox), "neutral")
        self.assertEqual(rules.rule_from(("Junk", ""), ("Rejects", "")), "neutral")
        self.assertEqual(rules.rule_from(inbox, ("Junk", "")), "junk")

    def test_words(self) -> None:
        """Whatever spelling is there goes, our own is set, and all else stays."""
        rules = JunkFlags()
        flags = (SEEN, "$Forwarded junk NonJunk zebra")
        self.assertEqual(rules.applied("junk", flags), (SEEN, "$Forwarded $Junk zebra"))
        self.assertEqual(rules.applied("not_junk", flags), (SEEN, "$Forwarded $NotJunk zebra"))
        self.assertEqual(rules.applied("neutral", flags), (SEEN, "$Forwarded zebra"))
        self.assertEqual(rules.applied(None, flags), flags)

    def test_no_pattern(self) -> None:
        """What is no regular expression is refused."""
        self.assertRaises(re.error, JunkFlags, "(")

    def test_bounded(self) -> None:
        """What is remembered of names and flags is bounded."""
        rules = JunkFlags()
        for n in range(10_100):
            rules.rule((f"m{n}", ""))
            rules.applied("junk", (0, f"k{n}"))
        self.assertLess(len(rules._by_mailbox) + len(rules._flags), 300)


class MailboxTests(StoreTestCase):
    def setUp(self) -> None:
        """An account with the mailboxes of a new one."""
        super().setUp()
        self.ids = {"INBOX": self.inbox, "Sent": self.account.mailbox("Sent").id}
        for name in ("Junk", "Archive", "Rejects"):
            self.ids[name] = self.successResultOf(self.account.create_mailbox(name)).id

    def put(self, name: str, flags: MessageFlags = NO_FLAGS) -> int:
        """Add a message there."""
        addition = Addition(name, self.new(b"Subject: x\r\n\r\nx\r\n", flags))
        uid: int = self.successResultOf(self.account.add([addition]))[0].uid
        return uid

    def flags(self, name: str) -> list[MessageFlags]:
        """Of the messages there, as sessions see them; the same as in the database."""
        state = self.account.state(self.ids[name])
        rows = self.account.reader.execute(
            "SELECT flags, keywords FROM message WHERE mailbox = ?", (self.ids[name],)
        ).fetchall()
        self.assertEqual([(f.system, " ".join(f.keywords)) for f in state.flags], rows)
        found: list[MessageFlags] = state.flags
        return found

    def move(self, source: str, uids: Any, target: str, what: str = "move") -> None:
        """Move or copy."""
        for name in (source, target):
            self.account.state(self.ids[name])
        self.successResultOf(getattr(self.account, what)(self.ids[source], uids, self.ids[target]))

    def test_switched_off(self) -> None:
        """Without rules no flags change."""
        self.put("Junk", NOT_JUNK)
        self.move("Junk", [1], "Archive")
        self.assertEqual(self.flags("Archive"), [NOT_JUNK])

    def test_added(self) -> None:
        """What is delivered or appended has the flags of its mailbox, also one that is made for it."""
        self.account.set_junk_flags(JunkFlags())
        self.put("Junk", MessageFlags.of(FLAGGED, ["NonJunk"]))
        self.assertEqual(self.flags("Junk"), [MessageFlags.of(FLAGGED, ["$Junk"])])
        self.put("INBOX", JUNK)
        self.assertEqual(self.flags("INBOX"), [NO_FLAGS])
        self.put("Lists/new")
        self.ids["new"] = self.account.mailbox("Lists/new").id
        self.assertEqual(self.flags("new"), [NOT_JUNK])

    def test_set_aside(self) -> None:
        """What the server put into Junk says nothing until somebody does; out of it, it was not."""
        self.account.set_junk_flags(JunkFlags())
        rules = self.account.junk_flags
        junk = ("Junk", "")
        self.assertEqual(rules.delivered(junk, (0, "$Junk"), judged=True), (0, ""))
        self.assertEqual(rules.delivered(junk, (0, ""), judged=False), (0, "$Junk"))
        self.assertEqual(rules.delivered(("Lists", ""), (0, ""), judged=True), (0, "$NotJunk"))
        self.assertEqual(rules.rule_from(junk, ("INBOX", "")), "not_junk")

    def test_moved(self) -> None:
        """Moves and copies say what messages are, and all of it is judged."""
        self.account.set_junk_flags(JunkFlags())
        for _ in range(3):
            self.put("INBOX")
        self.move("INBOX", [1, 2], "Junk")
        self.assertEqual(self.flags("Junk"), [JUNK, JUNK])
        self.move("INBOX", [3], "Archive", "copy")
        self.assertEqual((self.flags("INBOX"), self.flags("Archive")), ([NO_FLAGS], [NOT_JUNK]))
        judged = self.account.reader.execute("SELECT body, junk FROM judged").fetchall()
        self.assertEqual(judged, [(1, 1), (2, 1), (3, 0)])
        self.move("Junk", [2], "INBOX")
        self.assertEqual(self.flags("INBOX"), [NO_FLAGS, NOT_JUNK])
        self.move("Junk", [1], "Rejects")
        self.assertEqual(self.flags("Rejects"), [NO_FLAGS])
        judged = self.account.reader.execute("SELECT body, junk FROM judged").fetchall()
        self.assertEqual(judged, [(2, 0), (3, 0)])

    def test_replaced(self) -> None:
        """A message that replaces another has the flags of the mailbox, too."""
        self.account.set_junk_flags(JunkFlags())
        uid = self.put("Junk")
        addition = Addition("Archive", self.new(b"Subject: y\r\n\r\ny\r\n", JUNK))
        self.successResultOf(self.account.replace(self.ids["Junk"], uid, addition))
        self.assertEqual(self.flags("Archive"), [NOT_JUNK])

    def test_from_the_store(self) -> None:
        """Accounts have the rules that the store is told, from the moment they are opened or it is told again."""
        self.store.junk_flags_of = {"bob": JunkFlags()}.get
        self.store.refresh_junk_flags()
        self.put("Junk")
        self.assertEqual(self.flags("Junk"), [JUNK])
        self.store.junk_flags_of = lambda name: None
        self.store.refresh_junk_flags()
        self.put("Junk")
        self.assertEqual(self.flags("Junk"), [JUNK, NO_FLAGS])
