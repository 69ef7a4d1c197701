"""NOTIFY over the real store: pushed between commands, bounded, and gone with the connection."""

from __future__ import annotations

from attrs import evolve
from zope.interface.verify import verifyObject

from moxtwisted.imap.notification import IHappening, IHappeningFeed, INotifyingSession
from moxtwisted.imap.notifying import Notifying
from moxtwisted.store.interfaces import MailboxChange
from tests.server.house import Line
from tests.server.test_imapd import IMAPCase

ALL = "(MessageNew MessageExpunge FlagChange)"


class NotifyTests(IMAPCase):
    def listening(self, groups: str, *before: str) -> Line:
        line = self.log_in()
        for command in before:
            self.ask(line, command)
        self.assertIn("t OK NOTIFY completed", self.ask(line, f"NOTIFY SET {groups}"))
        return line

    def test_interfaces(self) -> None:
        """Session, feed and changes provide what NOTIFY asks for."""
        line = self.log_in()
        self.assertIn(" NOTIFY", self.ask(line, "CAPABILITY"))
        session = line.protocol.server.connection.session
        verifyObject(INotifyingSession, session)
        verifyObject(IHappeningFeed, session.watch(10, lambda: None), tentative=True)
        change = MailboxChange("messages", 1, "INBOX", 1)
        for name in IHappening.names():
            self.assertTrue(hasattr(change, name), name)

    def test_delivery(self) -> None:
        """A delivery is told without any command: STATUS of other mailboxes, EXISTS and the items of the selected one."""
        line = self.listening(
            f"(selected (MessageNew (uid preview) MessageExpunge)) (personal {ALL})",
            "CREATE Lists",
            "SELECT INBOX",
        )
        self.add(mailbox="Lists")
        self.assertEqual(self.heard(line), "* STATUS Lists (MESSAGES 1 UIDNEXT 2)\r\n")
        self.add()
        self.assertEqual(self.heard(line), '* 1 EXISTS\r\n* 1 FETCH (UID 1 PREVIEW "It works.")\r\n')
        self.add(mailbox="Lists")
        self.add(mailbox="Lists")
        self.assertEqual(self.heard(line).split("\r\n")[-2], "* STATUS Lists (MESSAGES 3 UIDNEXT 4)")

    def test_renamed_over_deleted(self) -> None:
        """Annotations of what was renamed to the name of a deleted mailbox are told; those of the deleted one are not."""
        other = self.log_in()
        for name in ("Old", "New", "Third"):
            self.ask(other, f"CREATE {name}")
        line = self.listening("(personal (MailboxMetadataChange))")
        push = Notifying.push
        self.patch(Notifying, "push", lambda _: None)
        self.ask(other, 'SETMETADATA Old (/private/old "1")')
        self.ask(other, 'SETMETADATA New (/private/new "1")')
        self.ask(other, "DELETE Old")
        self.ask(other, "RENAME New Old")
        self.ask(other, "RENAME Third New")
        self.ask(other, 'SETMETADATA New (/private/third "1")')
        self.patch(Notifying, "push", push)
        told = self.ask(line, "NOOP")
        self.assertEqual(
            [one for one in told.splitlines() if "METADATA" in one],
            ["* METADATA Old /private/new", "* METADATA New /private/third"],
        )

    def test_left_behind(self) -> None:
        """Who leaves a mailbox between what was told and what was not is told up to where that was all: else he would never hear of it."""
        other = self.log_in()
        for command in ("UNSELECT", "CLOSE", "SELECT Lists", "SELECT Missing", "SELECT INBOX"):
            for _ in range(3):
                self.add()
            line = self.listening(
                f"(selected-delayed {ALL})", "ENABLE QRESYNC", "CREATE Lists", "SELECT INBOX"
            )
            self.ask(other, "SELECT INBOX")
            self.ask(other, "STORE 1 +FLAGS.SILENT (\\Deleted)")
            complete = int(self.heard(line).partition("MODSEQ (")[2].partition(")")[0])
            self.ask(other, "EXPUNGE")
            self.ask(other, "STORE 2 +FLAGS.SILENT (\\Flagged)")
            told = self.heard(line)
            self.assertIn(f"MODSEQ ({complete + 2})", told)
            self.assertNotIn("VANISHED", told)
            answer = self.ask(line, command)
            self.assertTrue(answer.startswith(f"* OK [HIGHESTMODSEQ {complete}] "), (command, answer))
            if command != "SELECT INBOX":
                self.assertEqual(answer.count("HIGHESTMODSEQ"), 2 if "Lists" in command else 1, command)
            line.drop()

    def test_updates(self) -> None:
        """RFC 5465 section 7: a search that looks at texts tells data items of new messages that match, with those of NOTIFY."""
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        self.assertIn("t OK", self.ask(line, 'UID SEARCH RETURN (UPDATE (PREVIEW)) BODY "works"'))
        self.assertIn("u OK", line.say('u SEARCH RETURN (UPDATE (FLAGS)) BODY "nothing of it"'))
        self.assertIn("+ idling", line.say("i IDLE"))
        self.add()
        added = '* ESEARCH (TAG "t") UID ADDTO (0 %d)\r\n'
        told = '* 1 EXISTS\r\n* 1 FETCH (UID 1 PREVIEW "It works.")\r\n' + added % 1
        self.assertEqual(self.heard(line), told)
        self.assertIn("i OK IDLE", line.say("DONE"))
        self.ask(line, "NOTIFY SET (selected (MessageNew (RFC822.SIZE) MessageExpunge))")
        self.add()
        heard = self.heard(line)
        self.assertTrue(heard.startswith("* 2 EXISTS\r\n" + added % 2), heard)
        self.assertRegex(heard, r'\* 2 FETCH \(UID 2 RFC822.SIZE \d+ PREVIEW "It works."\)\r\n$')

    def test_while_idling(self) -> None:
        """IDLE tells exactly what NOTIFY asked for."""
        line = self.listening("(personal (MessageNew MessageExpunge))", "CREATE Lists", "SELECT INBOX")
        self.assertIn("+ idling", line.say("t IDLE"))
        self.add()
        self.assertEqual(self.heard(line), "")
        self.add(mailbox="Lists")
        self.assertEqual(self.heard(line), "* STATUS Lists (MESSAGES 1 UIDNEXT 2)\r\n")
        self.assertIn("t OK IDLE", line.say("DONE"))
        self.add(mailbox="Lists")
        self.assertIn("* STATUS Lists (MESSAGES 2", self.heard(line))

    def test_condstore_and_qresync(self) -> None:
        """Who enabled them gets HIGHESTMODSEQ in STATUS, MODSEQ in FETCH and VANISHED."""
        line = self.listening(
            f"(selected (MessageNew (uid) MessageExpunge FlagChange)) (personal {ALL})",
            "ENABLE QRESYNC",
            "CREATE Lists",
            "SELECT INBOX",
        )
        self.add(mailbox="Lists")
        self.assertRegex(
            self.heard(line), r"^\* STATUS Lists \(MESSAGES 1 UIDNEXT 2 HIGHESTMODSEQ \d+\)\r\n$"
        )
        self.add()
        self.assertRegex(self.heard(line), r"^\* 1 EXISTS\r\n\* 1 FETCH \(UID 1 MODSEQ \(\d+\)\)\r\n$")
        other = self.log_in(ip="198.51.100.7")
        self.ask(other, "SELECT Lists")
        self.ask(other, "STORE 1 +FLAGS (\\Seen)")
        self.assertRegex(
            self.heard(line), r"^\* STATUS Lists \(UIDVALIDITY \d+ HIGHESTMODSEQ \d+ UNSEEN 0\)\r\n$"
        )
        self.ask(other, "SELECT INBOX")
        self.ask(other, "STORE 1 +FLAGS (\\Deleted)")
        self.assertRegex(self.heard(line), r"^\* 1 FETCH \(UID 1 FLAGS \(\\Deleted\) MODSEQ \(\d+\)\)\r\n$")
        self.ask(other, "EXPUNGE")
        self.assertEqual(self.heard(line), "* VANISHED 1\r\n")

    def test_uidonly(self) -> None:
        """With UIDONLY the items of new messages are told by UID."""
        line = self.listening(
            "(selected (MessageNew (flags) MessageExpunge))", "ENABLE UIDONLY", "SELECT INBOX"
        )
        self.add()
        self.assertEqual(self.heard(line), "* 1 EXISTS\r\n* 1 UIDFETCH (FLAGS ())\r\n")

    def test_names(self) -> None:
        """Mailboxes that others make, rename, subscribe and delete, and their annotations, are told; one's own are not."""
        line = self.listening(
            "(personal (MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange))"
        )
        other = self.log_in(ip="198.51.100.7")
        self.assertNotIn("LIST", self.ask(line, "CREATE Mine/Below"))
        self.assertEqual(self.heard(line), "")
        self.ask(other, "CREATE Lists/One")
        self.assertEqual(
            self.heard(line),
            '* LIST (\\Subscribed \\HasChildren) "/" Lists\r\n* LIST (\\Subscribed \\HasNoChildren) "/" Lists/One\r\n',
        )
        self.ask(other, "RENAME Lists Archive/Old")
        answer = self.heard(line)
        self.assertIn('* LIST (\\Subscribed \\HasChildren) "/" Archive/Old ("OLDNAME" (Lists))\r\n', answer)
        self.assertNotIn("One", answer)
        self.ask(other, "UNSUBSCRIBE Archive/Old")
        self.assertEqual(self.heard(line), '* LIST (\\HasChildren) "/" Archive/Old\r\n')
        self.ask(other, 'SETMETADATA Archive (/private/comment "x")')
        self.assertEqual(self.heard(line), "* METADATA Archive /private/comment\r\n")
        self.ask(other, 'SETMETADATA "" (/private/comment "x")')
        self.assertEqual(self.heard(line), '* METADATA "" /private/comment\r\n')
        self.assertNotIn("METADATA Archive", self.ask(line, 'SETMETADATA Archive (/private/comment "y")'))
        self.assertEqual(self.heard(line), "")
        self.ask(other, "DELETE Archive/Old/One")
        answer = self.heard(line)
        self.assertIn("\\NonExistent", answer)
        self.assertIn('\\HasNoChildren) "/" Archive/Old\r\n', answer)

    def test_special_use(self) -> None:
        """Special uses are annotations: it is told which mailboxes have other ones, but not who did it."""
        line = self.listening("(personal (MailboxMetadataChange))")
        other = self.log_in(ip="198.51.100.7")
        self.ask(other, "CREATE One")
        self.ask(other, "CREATE Two")
        self.ask(other, 'SETMETADATA One (/private/specialuse "\\\\Junk")')
        self.assertEqual(self.heard(line), "* METADATA One /private/specialuse\r\n")
        answer = self.ask(line, 'SETMETADATA Two (/private/specialuse "\\\\Junk")')
        self.assertNotIn("METADATA Two", answer)
        self.assertIn("METADATA One /private/specialuse", answer + self.heard(line))

    def test_annotated_and_renamed(self) -> None:
        """An annotation is told of the mailbox as it is called now; of one that is gone, none is."""
        line = self.log_in()
        other = self.log_in(ip="198.51.100.7")
        self.ask(other, "CREATE One")
        self.ask(other, "CREATE Two")
        self.ask(line, "NOTIFY SET (personal (MailboxMetadataChange))")
        push = Notifying.push
        self.patch(Notifying, "push", lambda _: None)
        for command in (
            "SETMETADATA One (/private/a {1+}\r\nx)",
            "SETMETADATA Two (/private/a {1+}\r\nx)",
            "RENAME One Three",
            "CREATE One",
            "DELETE Two",
            "CREATE Two",
        ):
            self.ask(other, command)
        self.patch(Notifying, "push", push)
        told = self.ask(line, "NOOP")
        self.assertEqual(
            [one for one in told.splitlines() if "METADATA" in one], ["* METADATA Three /private/a"]
        )

    def told_later(self, groups: str, *commands: str, own: str = "NOOP") -> list[str]:
        """The LIST responses to who watches these groups, when another session has done all this, and after a command of its own."""
        line, other = self.listening(groups), self.log_in(ip="198.51.100.7")
        push = Notifying.push
        self.patch(Notifying, "push", lambda _: None)
        for command in commands:
            self.assertIn("t OK", self.ask(other, command), command)
        self.patch(Notifying, "push", push)
        told = self.ask(line, own).splitlines()
        self.assertTrue(told[0].startswith("t OK"), told)
        line.drop()
        other.drop()
        return [one[len("* LIST ") :] for one in told if one.startswith("* LIST ")]

    def test_renamed_twice(self) -> None:
        """Of renames one after the other the outcome is told, with the name that the client knows."""
        told = self.told_later(
            "(personal (MailboxName))", "CREATE Zero", "CREATE One", "RENAME One Two", "RENAME Two Three"
        )
        self.assertEqual(told, [f'(\\Subscribed \\HasNoChildren) "/" {name}' for name in ("Zero", "Three")])
        told = self.told_later("(personal (MailboxName))", "RENAME Three Four", "RENAME Four Five")
        self.assertEqual(told, ['(\\Subscribed \\HasNoChildren) "/" Five ("OLDNAME" (Three))'])
        told = self.told_later("(personal (MailboxName))", "RENAME Five Six", own="RENAME Six Seven")
        self.assertEqual(told, ['(\\Subscribed \\HasNoChildren) "/" Seven ("OLDNAME" (Five))'])
        told = self.told_later("(personal (MailboxName))", "RENAME Seven Six", "DELETE Six")
        self.assertEqual(told, ['(\\NonExistent \\HasNoChildren) "/" Seven'])

    def test_changed_places(self) -> None:
        """Where OLDNAME would leave a client with something wrong, it is told what is there."""
        line = self.log_in()
        for name in ("One", "Two", "Top/Below"):
            self.ask(line, f"CREATE {name}")
        told = self.told_later(
            "(personal (MailboxName))", "RENAME One Third", "RENAME Two One", "RENAME Third Two"
        )
        self.assertEqual(
            sorted(told), [f'(\\Subscribed \\HasNoChildren) "/" {name}' for name in ("One", "Two")]
        )
        told = self.told_later("(personal (MailboxName))", "DELETE Top/Below", "RENAME Top Else")
        self.assertEqual(
            told,
            [
                '(\\Subscribed \\HasNoChildren) "/" Else ("OLDNAME" (Top))',
                '(\\NonExistent \\HasNoChildren) "/" Else/Below',
            ],
        )

    def test_renamed_above(self) -> None:
        """RFC 5465 section 5.4: nothing is told of what lies below a renamed mailbox, unless its own rename is not told either."""
        line = self.log_in()
        self.ask(line, "CREATE Top/Below")
        told = self.told_later("(mailboxes Top/Below (MailboxName))", "RENAME Top Else")
        self.assertEqual(told, ['(\\Subscribed \\HasNoChildren) "/" Else/Below ("OLDNAME" (Top/Below))'])
        told = self.told_later("(subtree Else (MailboxName))", "RENAME Else Top")
        self.assertEqual(told, ['(\\Subscribed \\HasChildren) "/" Top ("OLDNAME" (Else))'])
        told = self.told_later("(personal (SubscriptionChange))", "RENAME Top Else")
        self.assertIn('(\\NonExistent \\HasNoChildren) "/" Top/Below', told)
        self.assertIn('(\\Subscribed \\HasNoChildren) "/" Else/Below', told)

    def test_no_longer_subscribed(self) -> None:
        """RFC 5465 section 6.4: what is unsubscribed or deleted was among the subscribed mailboxes when that happened."""
        groups = "(subscribed (MailboxName SubscriptionChange))"
        line = self.log_in()
        self.ask(line, "CREATE One")
        self.assertEqual(self.told_later(groups, "UNSUBSCRIBE One"), ['(\\HasNoChildren) "/" One'])
        self.assertEqual(self.told_later(groups, "DELETE One"), [])
        self.ask(line, "CREATE One")
        self.assertEqual(self.told_later(groups, "DELETE One"), ['(\\NonExistent \\HasNoChildren) "/" One'])

    def test_another_mailbox_under_a_name(self) -> None:
        """RFC 5465 section 5.1: when another mailbox is called so now, its UIDVALIDITY is told; not to who renamed it."""
        other = self.log_in(ip="198.51.100.7")
        self.ask(other, "CREATE One")
        line = self.listening("(mailboxes Two (MessageNew MessageExpunge FlagChange))")
        self.ask(other, "RENAME One Two")
        self.assertRegex(self.heard(line), r"^\* STATUS Two \(MESSAGES 0 UIDNEXT 1 UIDVALIDITY \d+\)\r\n$")
        self.ask(other, "RENAME Two One")
        self.assertEqual(self.heard(line), "")
        self.assertNotIn("STATUS", self.ask(line, "RENAME One Two"))

    def test_subscribed_and_subtree(self) -> None:
        """The list of subscriptions counts as it is when something happens; a subtree has its top, and not its neighbours."""
        line = self.log_in()
        for name in ("Lists/One", "Listserv", "misc"):
            self.ask(line, f"CREATE {name}")
        self.ask(line, "NOTIFY SET (subscribed (MessageNew MessageExpunge))")
        self.add(mailbox="misc")
        self.assertIn("* STATUS misc", self.heard(line))
        self.ask(line, "UNSUBSCRIBE misc")
        self.add(mailbox="misc")
        self.assertEqual(self.heard(line), "")
        self.ask(line, "NOTIFY SET (subtree Lists (MessageNew MessageExpunge))")
        for name in ("Lists", "Lists/One", "Listserv"):
            self.add(mailbox=name)
        self.assertEqual(
            self.heard(line),
            "* STATUS Lists (MESSAGES 1 UIDNEXT 2)\r\n* STATUS Lists/One (MESSAGES 1 UIDNEXT 2)\r\n",
        )

    def test_does_not_read(self) -> None:
        """For a client that does not read a bounded number of happenings is kept; after more it is told that this is the end of them."""
        line = self.listening("(personal (MessageNew MessageExpunge))", "CREATE Lists")
        connection = line.protocol.server.connection
        connection.settings = evolve(
            connection.settings, limits=evolve(connection.settings.limits, notifications=5)
        )
        self.ask(line, "NOTIFY SET (personal (MessageNew MessageExpunge))")
        line.protocol.pauseProducing()
        for _ in range(9):
            self.add(mailbox="Lists")
        self.house.clock.advance(0)
        line.protocol.resumeProducing()
        answer = self.heard(line)
        self.assertRegex(answer, r"^\* OK \[NOTIFICATIONOVERFLOW\] [^\r\n]*\r\n$")
        self.add(mailbox="Lists")
        self.assertEqual(self.heard(line), "")
        self.ask(line, "NOTIFY SET (personal (MessageNew MessageExpunge))")
        self.add(mailbox="Lists")
        self.assertIn("MESSAGES 11", self.heard(line))

    def test_nothing_is_left(self) -> None:
        """When the connection is gone nobody watches the account or listens to a mailbox."""
        account = self.house.store.account("alice")
        for ending in ("LOGOUT", "IDLE", "NOTIFY NONE", "UNAUTHENTICATE"):
            line = self.listening(f"(selected {ALL}) (personal {ALL})", "SELECT INBOX")
            state = line.protocol.server.connection.box.view.live
            self.assertEqual((len(account._queues), len(state._listeners)), (1, 1))
            line.say(f"t {ending}")
            if ending != "UNAUTHENTICATE":
                line.transport.loseConnection()
                line.protocol.connectionLost()
            self.assertEqual((len(account._queues), len(state._listeners)), (0, 0), ending)
