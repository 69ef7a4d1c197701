"""The mailbox Queue: what waits of a user's own messages, over IMAP."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Coroutine
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.test import iosim
from zope.interface.verify import verifyObject

from moxtwisted.imap.agent import ClientSettings, connect
from moxtwisted.imap.backend import IMailboxView, IMessageBody, ISelectedMailbox, ISession
from moxtwisted.imap.client.messagecommands import NewMail
from moxtwisted.imap.client.notices import NewCount, Notice
from moxtwisted.imap.client.results import members, message
from moxtwisted.imap.client.session import CommandRefusedError
from moxtwisted.imap.fuzzy import IFuzzyMailbox
from moxtwisted.imap.metadata import IAnnotatedSession
from moxtwisted.imap.notification import INotifyingSession
from moxtwisted.imap.quota import IQuotaSession
from moxtwisted.imap.replacement import IReplacingSession
from moxtwisted.imap.sharing import ISharedSession
from moxtwisted.imap.wire.commands import QResync, StoreMode
from moxtwisted.sasl.client import Credentials
from moxtwisted.server.imapd.queued import QueueSession
from tests.imap.test_agent import Given
from tests.server.house import ACCOUNTS, SECRET, House, Line
from tests.server.test_imapd import ALICE, LETTER, IMAPCase

BOB = "bob@example.org"
#: How many times two sessions do what they like.
SEEDS = 3
SENT = b"From: alice@example.org\r\nTo: a@elsewhere.example\r\nSubject: %s\r\nMessage-ID: <%s@x>\r\n\r\nSome %s text.\r\n"


class QueueCase(IMAPCase):
    """Alice and Bob see their queues."""

    def setUp(self) -> None:
        super().setUp()
        self.allow("alice", "bob")
        self.alice = self.log_in()

    def allow(self, *names: str) -> None:
        """Who has such a mailbox."""
        accounts = [evolve(entry, queue_mailbox=entry.name in names) for entry in ACCOUNTS]
        self.house.holder.current = House.directory(accounts=accounts)

    def send(self, subject: str, *recipients: str, user: str = ALICE, parameters: str = "") -> None:
        """Submit a message to others."""
        line = self.house.submission(user)
        line.say(f"MAIL FROM:<{user}>{parameters}")
        for recipient in recipients or ("a@elsewhere.example",):
            line.say(f"RCPT TO:<{recipient}>")
        word = subject.encode()
        octets = (SENT % (word, word, word)).replace(ALICE.encode(), user.encode())
        self.assertIn("250", line.send(octets))
        line.drop()

    def yes(self, line: Line, command: str) -> str:
        answer = self.ask(line, command)
        self.assertIn("\r\nt OK", "\r\n" + answer, command)
        return answer

    def no(self, code: str, command: str, line: Line | None = None) -> None:
        self.assertIn(f"\r\nt NO [{code}]", "\r\n" + self.ask(line or self.alice, command), command)

    def waiting(self, account: str = "alice") -> list[str]:
        return [entry.recipient for entry in self.house.queue.entries(account)]


class ReadingTests(QueueCase):
    def test_interfaces(self) -> None:
        """Session, selected mailbox, view and bodies provide what the protocol asks for, and what it is around provided."""
        self.send("one")
        self.yes(self.alice, "SELECT Queue")
        connection = self.alice.protocol.server.connection
        self.assertIsInstance(connection.session, QueueSession)
        for interface in (
            ISession,
            ISharedSession,
            IAnnotatedSession,
            IQuotaSession,
            IReplacingSession,
            INotifyingSession,
        ):
            verifyObject(interface, connection.session)
        selected = connection.session.select("Queue", read_only=True)
        verifyObject(ISelectedMailbox, selected)
        verifyObject(IFuzzyMailbox, selected)
        for name in IMailboxView.names():
            self.assertTrue(hasattr(selected.view, name), name)
        body = selected.open_body(1)
        verifyObject(IMessageBody, body, tentative=True)
        body.close()

    def test_whole(self) -> None:
        """All that is known of a message is told, and whoever did not get it stands in its header, with the reason."""
        self.send("one", "a@elsewhere.example", "b@elsewhere.example")
        answer = self.yes(self.alice, "SELECT Queue")
        for expected in (
            "* 1 EXISTS",
            "* OK [PERMANENTFLAGS (\\Deleted)]",
            "* OK [UIDNEXT 2]",
            "* OK [HIGHESTMODSEQ 2]",
            "t OK [READ-WRITE]",
        ):
            self.assertIn(expected, answer)
        answer = self.yes(
            self.alice,
            "FETCH 1 (UID FLAGS INTERNALDATE SAVEDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE PREVIEW EMAILID THREADID"
            " MODSEQ BODY[HEADER.FIELDS (SUBJECT RECEIVED)] BODY[1] BINARY.SIZE[1])",
        )
        for expected in (
            "UID 1",
            "FLAGS (\\Seen)",
            'INTERNALDATE "14-Nov-2023 22:13:20 +0000"',
            '"one"',
            '"text" "plain"',
            'PREVIEW "Some one text."',
            "MODSEQ (2)",
            "Subject: one",
            "Received: ",
            "BODY[1] {16}\r\nSome one text.\r\n",
        ):
            self.assertIn(expected, answer)
        size = int(re.findall(r"RFC822.SIZE (\d+)", answer)[0])
        answer = self.yes(self.alice, "FETCH 1 BODY[]")
        literal = re.findall(r"BODY\[\] \{(\d+)\}\r\n", answer)[0]
        self.assertEqual(int(literal), size)
        octets = answer.partition("}\r\n")[2][:size]
        self.assertTrue(octets.endswith("Some one text.\r\n"))
        fields = octets.replace("\r\n ", " ").split("\r\n")[:2]
        for recipient, told in zip("ab", fields, strict=True):
            self.assertRegex(
                told,
                f"^X-Moxtwisted-Queue: {recipient}@elsewhere.example; queued Tue, 14 Nov 2023 22:13:20 .0000;"
                " next attempt Tue, 14 Nov 2023 22:13:20 .0000; attempts so far 0; delivery to other servers is not ",
            )
        answer = self.yes(self.alice, "FETCH 1 BODY[HEADER.FIELDS (X-MOXTWISTED-QUEUE)]")
        self.assertEqual(answer.count("X-Moxtwisted-Queue"), 2)
        self.assertIn("FLAGS (\\Seen)", self.yes(self.alice, "FETCH 1 FLAGS"))

    def test_found(self) -> None:
        """Messages are found, sorted and threaded as anywhere."""
        for word in ("berry", "apple", "cherry"):
            self.send(word)
        self.yes(self.alice, "SELECT Queue")
        for criteria, found in (
            ("SUBJECT APPL", "2"),
            ("TEXT cherry", "3"),
            ("BODY elsewhere", ""),
            ("TEXT elsewhere", "1 2 3"),
            ("HEADER X-Moxtwisted-Queue delivery", "1 2 3"),
            ("HEADER Message-ID berry", "1"),
            ("FUZZY SUBJECT aple", "2"),
            ("FUZZY BODY chery", "3"),
            ("FUZZY TO elsewhere", "1 2 3"),
            ('FUZZY TEXT ""', "1 2 3"),
            ("UNSEEN", ""),
            ("SEEN UNDELETED LARGER 10 SINCE 1-Jan-2020", "1 2 3"),
            ("MODSEQ 3", "2 3"),
        ):
            answer = self.yes(self.alice, f"SEARCH {criteria}")
            self.assertRegex(answer, rf"\* SEARCH ?{found}( \(MODSEQ \d+\))?\r\n", criteria)
        self.assertIn("* SORT 2 1 3\r\n", self.yes(self.alice, "SORT (SUBJECT) UTF-8 ALL"))
        self.assertIn("* THREAD (1)(2)(3)\r\n", self.yes(self.alice, "THREAD REFERENCES UTF-8 ALL"))
        answer = self.yes(self.alice, "ESEARCH IN (personal) SUBJECT apple")
        self.assertIn('MAILBOX "Queue"' if '"Queue"' in answer else "MAILBOX Queue", answer)

    def test_listed(self) -> None:
        """It is among the mailboxes, with its counts."""
        self.send("one")
        self.assertIn('* LIST (\\HasNoChildren) "/" Queue\r\n', self.yes(self.alice, 'LIST "" *'))
        answer = self.yes(
            self.alice,
            'LIST "" Queue RETURN (MYRIGHTS STATUS (MESSAGES UIDNEXT UNSEEN SIZE DELETED MAILBOXID))',
        )
        self.assertIn("* MYRIGHTS Queue lrted\r\n" if "lrted" in answer else "* MYRIGHTS Queue", answer)
        size = re.findall(r"MESSAGES 1 UIDNEXT 2 UNSEEN 0 SIZE (\d+) DELETED 0 MAILBOXID \(Q\d+\)", answer)[0]
        self.yes(self.alice, "SELECT Queue")
        self.assertIn(f"RFC822.SIZE {size})", self.yes(self.alice, "FETCH 1 RFC822.SIZE"))
        self.yes(self.alice, "STORE 1 +FLAGS (\\Deleted)")
        answer = self.yes(self.alice, "STATUS Queue (DELETED DELETED-STORAGE HIGHESTMODSEQ)")
        self.assertIn(f"DELETED 1 DELETED-STORAGE {size} HIGHESTMODSEQ 3", answer)
        self.assertIn("* QUOTAROOT Queue\r\n", self.yes(self.alice, "GETQUOTAROOT Queue"))
        self.yes(self.alice, "SUBSCRIBE Queue")
        self.assertIn("Queue", self.yes(self.alice, 'LSUB "" *'))

    def test_extensions(self) -> None:
        """It works with UIDONLY, PARTIAL, contexts, CATENATE, URLAUTH and the object identifiers that it tells."""
        self.send("one")
        self.send("two")
        answer = self.yes(self.alice, "SELECT Queue")
        validity = re.findall(r"UIDVALIDITY (\d+)", answer)[0]
        emailid, threadid = re.findall(
            r"EMAILID \((\w+)\) THREADID \((\w+)\)", self.yes(self.alice, "FETCH 2 (EMAILID THREADID)")
        )[0]
        self.assertIn("* SEARCH 2\r\n", self.yes(self.alice, f"SEARCH EMAILID {emailid} THREADID {threadid}"))
        self.assertIn("PARTIAL (-1:-1 2)", self.yes(self.alice, "SEARCH RETURN (PARTIAL -1:-1) ALL"))
        self.assertIn("COUNT 2", self.yes(self.alice, "SEARCH RETURN (UPDATE COUNT) UNDELETED"))
        self.send("three")
        self.assertIn("ADDTO (0 3)", self.yes(self.alice, "NOOP"))
        url = f"imap://alice%40example.org@mx.example.org/Queue;UIDVALIDITY={validity}/;UID=2"
        made = self.yes(self.alice, f'GENURLAUTH "{url}/;SECTION=1;URLAUTH=authuser" INTERNAL')
        authorised = re.findall(r'GENURLAUTH "?([^"\r]+)', made)[0]
        self.assertIn("{16}\r\nSome two text.\r\n", self.yes(self.log_in(BOB), f'URLFETCH "{authorised}"'))
        catenated = f'APPEND INBOX CATENATE (URL "/Queue;UIDVALIDITY={validity}/;UID=1")'
        self.assertIn("APPENDUID", self.yes(self.alice, catenated))
        self.assertIn(b"Some one text.", self.house.messages("alice")[0])
        self.yes(self.alice, "ENABLE UIDONLY")
        self.assertIn("* 2 UIDFETCH (FLAGS (\\Seen))", self.yes(self.alice, "UID FETCH 2 FLAGS"))
        self.yes(self.alice, "UID STORE 2 +FLAGS (\\Deleted)")
        self.assertIn("* VANISHED 2\r\n", self.yes(self.alice, "EXPUNGE"))

    def test_only_whom_it_is_for(self) -> None:
        """Who is not to have it has none, and nobody sees what others sent."""
        self.send("secret", user=BOB)
        self.assertIn("MESSAGES 0 UIDNEXT 1", self.yes(self.alice, "STATUS Queue (MESSAGES UIDNEXT)"))
        self.yes(self.alice, "SELECT Queue")
        self.assertNotIn("* 1 FETCH", self.yes(self.alice, "UID FETCH 1:* FLAGS"))
        selected: Any = self.alice.protocol.server.connection.selected.mailbox
        self.assertEqual(
            (selected.rows([1], 1), selected.bodies([1], 10**6), selected.open_body(1)), ([], [], None)
        )
        self.assertEqual(self.successResultOf(selected._waiting.expunge(None, only_deleted=False)), ())
        self.assertEqual(self.waiting("bob"), ["a@elsewhere.example"])
        self.assertIn("MESSAGES 1", self.yes(self.log_in(BOB), "STATUS Queue (MESSAGES)"))
        self.assertNotIn("Queue", self.yes(self.log_in(BOB), 'LIST "" "Other Users/*"'))
        self.allow()
        bob = self.log_in(BOB)
        self.assertNotIn("Queue", self.yes(bob, 'LIST "" *'))
        self.no("NONEXISTENT", "SELECT Queue", bob)
        self.yes(bob, "CREATE Queue")

    def test_own_mailbox_of_that_name(self) -> None:
        """A mailbox that was there before is the user's, and hides it."""
        self.send("one")
        self.allow()
        self.yes(self.log_in(), "CREATE Queue/Below")
        self.allow("alice")
        alice = self.log_in()
        self.assertIn("MESSAGES 0", self.yes(alice, "STATUS Queue (MESSAGES)"))
        self.assertEqual(self.yes(alice, 'LIST "" *').count('"/" Queue\r\n'), 1)
        self.assertIn("APPENDUID", self.append(alice, "Queue", LETTER))
        self.yes(alice, "SELECT Queue")
        self.yes(alice, "MOVE 1 Queue/Below")
        self.yes(alice, 'SETMETADATA Queue (/private/comment "x")')
        self.yes(alice, f"SETACL Queue {BOB} lr")
        self.yes(alice, "RENAME Queue Mine")
        self.assertIn("MESSAGES 1", self.yes(alice, "STATUS Queue (MESSAGES)"))

    def test_read_while_it_leaves(self) -> None:
        """What somebody reads stays readable to its end, and then nothing of it is left."""
        self.send("one")
        queue = self.house.queue
        selected: Any = self.alice.protocol.server.connection.session.select("Queue", read_only=True)
        body, twice = selected.open_body(1), selected.open_body(1)
        octets = twice.read(0, twice.size)
        twice.close()
        self.successResultOf(queue.remove([queue.entries()[0].id]))
        self.assertIsNone(selected.open_body(1))
        self.assertEqual(selected.bodies([1], 10**6), [])
        self.assertEqual(body.read(0, body.size), octets)
        self.assertEqual(self.count("chunk"), 1)
        body.close()
        self.assertEqual((self.count("chunk"), self.count("leftover")), (0, 0))

    def count(self, table: str) -> int:
        number: int = self.house.queue._database.reader.execute(f"SELECT count(*) FROM {table}").get
        return number


class CancellingTests(QueueCase):
    def test_expunged(self) -> None:
        r"""A message with \Deleted leaves with EXPUNGE, UID EXPUNGE or CLOSE, and nobody who waits for it gets it; it is gone for good."""
        for word in ("one", "two", "three", "four"):
            self.send(word, f"{word}@elsewhere.example", "b@elsewhere.example")
        self.yes(self.alice, "SELECT Queue")
        self.assertIn(
            "* 2 FETCH (FLAGS (\\Seen \\Deleted))", self.yes(self.alice, "STORE 1:3 +FLAGS (\\Deleted)")
        )
        self.yes(self.alice, "STORE 1 -FLAGS (\\Deleted)")
        self.yes(self.alice, "UID EXPUNGE 2")
        self.assertIn("* 2 EXPUNGE", self.yes(self.alice, "EXPUNGE"))
        kept = [
            "one@elsewhere.example",
            "b@elsewhere.example",
            "four@elsewhere.example",
            "b@elsewhere.example",
        ]
        self.assertEqual(self.waiting(), kept)
        self.yes(self.alice, "STORE 2 FLAGS.SILENT (\\Deleted \\Flagged)")
        self.yes(self.alice, "CLOSE")
        self.assertEqual(self.waiting(), kept[:2])
        self.successResultOf(self.house.queue.close())
        house = self.house
        house.queue = type(house.queue).open(house.path / "queue.db", None, house.store.pool)
        self.assertEqual(self.waiting(), kept[:2])
        alice = self.log_in()
        self.assertIn("* OK [UIDNEXT 5]", self.yes(alice, "SELECT Queue"))
        self.assertIn("UID 1", self.yes(alice, "FETCH 1 UID"))

    def test_moved(self) -> None:
        """MOVE cancels, and what waited is in the other mailbox; COPY leaves it waiting."""
        self.send("one")
        self.yes(self.alice, "CREATE Drafts")
        self.yes(self.alice, "SELECT Queue")
        self.yes(self.alice, "STORE 1 +FLAGS (\\Deleted)")
        self.assertRegex(self.yes(self.alice, "COPY 1 Drafts"), r"t OK \[COPYUID \d+ 1 1\]")
        self.assertEqual(len(self.waiting()), 1)
        octets = self.yes(self.alice, "FETCH 1 BODY[]").partition("}\r\n")[2]
        answer = self.yes(self.alice, "MOVE 1 Drafts")
        self.assertRegex(answer, r"\* OK \[COPYUID \d+ 1 2\] moved\r\n\* 1 EXPUNGE\r\n")
        self.assertEqual(self.waiting(), [])
        one, two = self.house.messages("alice", "Drafts")
        self.assertEqual(one, two)
        self.assertTrue(octets.startswith(one.decode()))
        self.yes(self.alice, "SELECT Drafts")
        answer = self.yes(self.alice, "FETCH 1:2 (FLAGS INTERNALDATE)")
        self.assertEqual(answer.count('FLAGS (\\Seen) INTERNALDATE "14-Nov-2023 22:13:20 +0000"'), 2)
        self.alice.drop()
        self.assertEqual(self.house.leaks(), [])

    def test_moved_while_something_changes(self) -> None:
        """What gets another UID while it is being moved is cancelled all the same, and what came meanwhile is not."""
        self.send("one", "a@elsewhere.example", "b@elsewhere.example")
        self.send("two")
        self.yes(self.alice, "SELECT Queue")
        session = self.alice.protocol.server.connection.session
        append = session._inner.append

        async def changing(*given: Any) -> Any:
            await self.house.queue.remove([self.house.queue.entries()[0].id])
            self.send("three", "c@elsewhere.example")
            return await append(*given)

        with patch.object(type(session._inner), "append", lambda _, *given: changing(*given)):
            self.assertIn("COPYUID", self.yes(self.alice, "MOVE 1:2 INBOX"))
        self.assertEqual(self.waiting(), ["c@elsewhere.example"])
        self.assertEqual(self.yes(self.alice, "FETCH 1:* UID").count("* 1 FETCH (UID 4)"), 1)
        self.assertEqual(len(self.house.messages("alice")), 2)

    def test_copied_to_somebody_else(self) -> None:
        """COPY and MOVE go into mailboxes of others, too, with the rights that there are."""
        self.send("one")
        bob = self.log_in(BOB)
        self.yes(bob, "CREATE Box")
        self.yes(bob, f"SETACL Box {ALICE} lri")
        self.yes(self.alice, "SELECT Queue")
        self.assertIn("COPYUID", self.yes(self.alice, 'COPY 1 "Other Users/bob/Box"'))
        self.yes(bob, f"SETACL Box {ALICE} lr")
        self.no("NOPERM", 'MOVE 1 "Other Users/bob/Box"')
        self.assertEqual((len(self.waiting()), len(self.house.messages("bob", "Box"))), (1, 1))

    def test_nowhere_to_go(self) -> None:
        """What cannot be copied is not cancelled."""
        self.send("one")
        self.send("two")
        self.yes(self.alice, "SELECT Queue")
        for command in ("COPY", "MOVE"):
            self.no("TRYCREATE", f"{command} 1:2 Nowhere")
            self.no("NOPERM", f"{command} 1:2 Queue")
        self.house.quotas["alice"] = 100
        self.house.store.refresh_quotas()
        self.no("OVERQUOTA", "MOVE 1:2 INBOX")
        self.alice.drop()
        small = self.log_in(append_limit=800)
        self.yes(small, "SELECT Queue")
        self.no("LIMIT", "MOVE 1:2 INBOX", small)
        small.drop()
        self.assertEqual(len(self.waiting()), 2)
        self.assertEqual(self.house.leaks(), [])

    def test_went_meanwhile(self) -> None:
        """What left before it could be cancelled or copied is no error in a UID command, and EXPUNGEISSUED in others."""
        self.send("one")
        self.yes(self.alice, "SELECT Queue")
        self.successResultOf(self.house.queue.remove([self.house.queue.entries()[0].id]))
        self.no("EXPUNGEISSUED", "STORE 1 +FLAGS (\\Deleted)")
        self.assertRegex(self.ask(self.alice, "MOVE 1 INBOX"), r"\* 1 EXPUNGE\r\nt NO \[EXPUNGEISSUED\]")
        self.yes(self.alice, "UID STORE 1 +FLAGS (\\Deleted)")
        self.yes(self.alice, "UID EXPUNGE 1")


class TellingTests(QueueCase):
    def test_idle(self) -> None:
        """Who idles in it is told of messages that come, are marked by others, and go."""
        other = self.log_in()
        self.yes(self.alice, "SELECT Queue")
        self.yes(other, "SELECT Queue")
        self.alice.say("i IDLE")
        self.send("one")
        self.house.clock.advance(0)
        self.assertIn("* 1 EXISTS", self.alice.heard())
        self.assertIn("* 1 EXISTS", self.yes(other, "NOOP"))
        self.yes(other, "STORE 1 +FLAGS (\\Deleted)")
        self.house.clock.advance(0)
        self.assertIn("* 1 FETCH (UID 1 FLAGS (\\Seen \\Deleted))", self.alice.heard())
        self.yes(other, "EXPUNGE")
        self.house.clock.advance(0)
        self.assertIn("* 1 EXPUNGE", self.alice.heard())

    def test_something_changed(self) -> None:
        r"""When a recipient goes, the message comes again with another UID and what is true now; \Deleted stays."""
        self.send("one", "a@elsewhere.example", "b@elsewhere.example")
        self.yes(self.alice, "SELECT Queue")
        self.yes(self.alice, "STORE 1 +FLAGS (\\Deleted)")
        self.successResultOf(self.house.queue.remove([self.house.queue.entries()[0].id]))
        answer = self.yes(self.alice, "NOOP")
        self.assertRegex(answer, r"\* 1 EXPUNGE\r\n\* 1 EXISTS\r\n")
        answer = self.yes(self.alice, "FETCH 1 (UID FLAGS BODY[HEADER.FIELDS (X-Moxtwisted-Queue)])")
        self.assertIn("UID 2 FLAGS (\\Seen \\Deleted)", answer)
        self.assertNotIn("a@elsewhere", answer)
        self.assertIn("b@elsewhere", answer)

    def test_resynchronised(self) -> None:
        """CONDSTORE and QRESYNC hold: what changed and what went since is told."""
        for word in ("one", "two", "three"):
            self.send(word)
        self.yes(self.alice, "ENABLE QRESYNC")
        answer = self.yes(self.alice, "SELECT Queue")
        validity = re.findall(r"UIDVALIDITY (\d+)", answer)[0]
        self.assertIn("* OK [HIGHESTMODSEQ 4]", answer)
        self.yes(self.alice, "UNSELECT")
        other = self.log_in()
        self.yes(other, "SELECT Queue")
        self.yes(other, "STORE 1:2 +FLAGS (\\Deleted)")
        self.yes(other, "UID EXPUNGE 1")
        self.send("four")
        answer = self.yes(self.alice, f"SELECT Queue (QRESYNC ({validity} 4 1:3))")
        self.assertIn("* OK [HIGHESTMODSEQ 7]", answer)
        self.assertIn("* VANISHED (EARLIER) 1\r\n", answer)
        self.assertIn("* 1 FETCH (UID 2 FLAGS (\\Seen \\Deleted) MODSEQ (5))", answer)
        self.assertNotIn("UID 3", answer)
        answer = self.yes(self.alice, "UID STORE 2:3 (UNCHANGEDSINCE 4) -FLAGS (\\Deleted)")
        self.assertIn("OK [MODIFIED 2]", answer)
        self.yes(self.alice, "UID STORE 2:3 (UNCHANGEDSINCE 5) -FLAGS (\\Deleted)")
        answer = self.yes(self.alice, f"SELECT Queue (QRESYNC ({validity} 8))")
        self.assertNotIn("VANISHED", answer)
        self.assertNotIn("FETCH", answer)

    def test_notify(self) -> None:
        """NOTIFY tells of it while another mailbox is selected."""
        self.yes(self.alice, "SELECT INBOX")
        answer = self.yes(
            self.alice, "NOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange MailboxName))"
        )
        self.assertIn("* STATUS Queue (MESSAGES 0", answer)
        self.send("one")
        self.house.clock.advance(0)
        self.assertIn("* STATUS Queue (MESSAGES 1 UIDNEXT 2)", self.alice.heard())
        self.successResultOf(self.house.queue.remove([self.house.queue.entries()[0].id]))
        self.add()
        self.house.clock.advance(0)
        heard = self.alice.heard()
        self.assertIn("* STATUS Queue (MESSAGES 0 UIDNEXT 2)", heard)
        self.yes(self.alice, "NOTIFY NONE")
        self.alice.drop()

    def test_converge(self) -> None:
        """Two sessions that do whatever they like in a queue that changes believe in the end what is so."""
        for seed in range(SEEDS):
            self.converge(random.Random(seed))
            # So many connections are allowed in a minute.
            self.house.clock.advance(61)

    def converge(self, chance: random.Random) -> None:
        other = self.log_in()
        words = iter(f"word{n}" for n in range(100))
        believed = {id(line): 0 for line in (self.alice, other)}

        def hear(line: Line, answer: str) -> None:
            for number, what in re.findall(r"\* (\d+) (EXISTS|EXPUNGE)", answer):
                count = believed[id(line)]
                believed[id(line)] = int(number) if what == "EXISTS" else count - 1

        for line in (self.alice, other):
            hear(line, self.yes(line, "SELECT Queue"))
        for _ in range(40):
            line = chance.choice((self.alice, other))
            match chance.randrange(5):
                case 0 | 1:
                    self.send(next(words), "a@elsewhere.example", "b@elsewhere.example")
                case 2 if entries := self.house.queue.entries():
                    self.successResultOf(self.house.queue.remove([chance.choice(entries).id]))
                case 3 if believed[id(line)]:
                    number = chance.randint(1, believed[id(line)])
                    hear(line, self.ask(line, f"STORE {number} +FLAGS (\\Deleted)"))
                case 4:
                    hear(line, self.yes(line, "EXPUNGE"))
        views = []
        for line in (self.alice, other):
            hear(line, self.yes(line, "NOOP"))
            views.append(re.findall(r"UID (\d+) FLAGS \((.*?)\)", self.yes(line, "FETCH 1:* (UID FLAGS)")))
            self.assertEqual(len(views[-1]), believed[id(line)])
        self.assertEqual(*views)
        fresh = self.log_in()
        self.yes(fresh, "SELECT Queue")
        answer = self.yes(fresh, "FETCH 1:* (UID FLAGS)")
        self.assertEqual(re.findall(r"UID (\d+) FLAGS \((.*?)\)", answer), views[0])
        for line in (other, fresh):
            line.drop()


class RefusingTests(QueueCase):
    """What cannot be done with it, and the reason that is told."""

    def setUp(self) -> None:
        super().setUp()
        self.send("one")
        self.add()

    def test_changing_the_mailbox(self) -> None:
        """It is neither made, renamed, deleted, shared nor annotated."""
        for code, command in (
            ("ALREADYEXISTS", "CREATE Queue"),
            ("NOPERM", "CREATE Queue/Below"),
            ("NOPERM", "DELETE Queue"),
            ("NOPERM", "RENAME Queue Other"),
            ("NOPERM", f"SETACL Queue {BOB} lr"),
            ("NOPERM", f"DELETEACL Queue {BOB}"),
            ("NOPERM", "GETACL Queue"),
            ("NOPERM", f"LISTRIGHTS Queue {BOB}"),
            ("CANNOT", 'SETMETADATA Queue (/private/comment "x")'),
            ("CANNOT", 'SETMETADATA Queue (/private/specialuse "\\\\Trash")'),
        ):
            self.no(code, command)
        self.yes(self.alice, "CREATE Box")
        self.no("ALREADYEXISTS", "RENAME Box Queue")
        self.no("NOPERM", "RENAME Box Queue/Box")
        self.no("ALREADYEXISTS", "RENAME INBOX Queue")
        self.assertIn("/private/comment NIL", self.yes(self.alice, "GETMETADATA Queue (/private/comment)"))
        self.assertIn("* MYRIGHTS Queue lrte", self.yes(self.alice, "MYRIGHTS Queue"))

    def test_putting_something_in(self) -> None:
        """Nothing is put into it, from nowhere."""
        self.assertIn("t NO [NOPERM]", self.append(self.alice, "Queue", LETTER))
        self.yes(self.alice, "SELECT INBOX")
        for command in ("COPY 1 Queue", "MOVE 1 Queue", "UID COPY 1 Queue", "UID MOVE 1 Queue"):
            self.no("NOPERM", command)
        self.no("NOPERM", "REPLACE 1 Queue {3+}\r\nabc")
        self.assertEqual(len(self.house.messages("alice")), 1)

    def test_changing_messages(self) -> None:
        r"""No flag but \Deleted changes, nothing at all in EXAMINE, and nothing is replaced."""
        self.yes(self.alice, "SELECT Queue")
        for command in ("+FLAGS (\\Flagged)", "+FLAGS ($Label)", "-FLAGS (\\Seen)"):
            self.no("NOPERM", f"STORE 1 {command}")
        self.yes(self.alice, "STORE 1 FLAGS (\\Flagged)")
        self.assertIn("FLAGS (\\Seen))", self.yes(self.alice, "FETCH 1 FLAGS"))
        self.no("CANNOT", "REPLACE 1 INBOX {3+}\r\nabc")
        self.assertIn("[READ-ONLY]", self.yes(self.alice, "EXAMINE Queue"))
        for command in ("STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "MOVE 1 INBOX"):
            self.assertIn("\r\nt NO ", "\r\n" + self.ask(self.alice, command))
        self.assertEqual(len(self.waiting()), 1)

    def test_without_acl(self) -> None:
        """The same without access control lists."""
        accounts = [
            evolve(entry, queue_mailbox=True, imap_capabilities_disabled=frozenset({"ACL", "NOTIFY"}))
            for entry in ACCOUNTS
        ]
        self.house.holder.current = House.directory(accounts=accounts)
        alice = self.log_in()
        self.no("NOPERM", "DELETE Queue", alice)
        self.yes(alice, "SELECT INBOX")
        self.no("NOPERM", "COPY 1 Queue", alice)
        self.yes(alice, "SELECT Queue")
        self.yes(alice, "MOVE 1 INBOX")
        self.assertEqual(self.waiting(), [])


class OwnClientTests(QueueCase):
    """Our own client, and the server with its store."""

    def setUp(self) -> None:
        super().setUp()
        self.pumps: list[Any] = []

    def connected(self, protocol: Any) -> None:
        server = self.house.imap_factory.buildProtocol(None)
        ends = iosim.FakeTransport(server, isServer=True), iosim.FakeTransport(protocol, isServer=False)
        self.pumps.append(iosim.connect(server, ends[0], protocol, ends[1]))

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it, both sides talking as long as they like."""
        done = Deferred.fromCoroutine(coroutine)
        for _ in range(2000):
            if done.called and not getattr(done, "_chainedTo", None):
                break
            for pump in self.pumps:
                pump.flush()
            self.house.clock.advance(0)
        return self.successResultOf(done)

    def test_round(self) -> None:
        """It finds the mailbox, reads with types, is told of news, cancels, and resynchronises."""
        heard: list[Notice] = []
        settings = ClientSettings(credentials=Credentials(ALICE, SECRET), allow_clear_password=True)
        client = self.wait(connect(self.house.clock, Given(self.connected), settings, heard.append))
        self.send("one", "a@elsewhere.example", "b@elsewhere.example")
        self.send("two")
        self.assertIn("Queue", [box.name for box in self.wait(client.mailboxes())])
        self.assertEqual(
            self.wait(client.status("Queue", ["MESSAGES", "UNSEEN"])), {"MESSAGES": 2, "UNSEEN": 0}
        )
        self.wait(client.enable("QRESYNC"))
        selected = self.wait(client.select("Queue"))
        self.assertEqual((selected.exists, selected.uidnext, selected.read_only), (2, 3, False))
        items = ["FLAGS", "ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]", "MODSEQ", "RFC822.SIZE", "INTERNALDATE"]
        one, two = self.wait(client.fetch([1, 2], items))
        self.assertEqual(one.envelope.subject, "one")
        self.assertEqual((one.structure.media_type, one.flags), ("text/plain", {"\\Seen"}))
        self.assertEqual(one.size_octets, len(one.section()))
        self.assertEqual(one.section().count(b"X-Moxtwisted-Queue"), 2)
        self.assertEqual(list(members(self.wait(client.search("SUBJECT two")).numbers)), [2])
        idle = self.wait(client.idle())
        self.send("three")
        self.wait(idle.done())
        self.assertIn(NewCount(3), heard)
        self.wait(client.unselect())
        self.wait(client.select("Queue"))
        self.wait(client.store([1], StoreMode.ADD, ["\\Deleted"]))
        self.wait(client.expunge([1]))
        self.assertEqual(self.waiting(), ["a@elsewhere.example"] * 2)
        known = QResync(selected.uidvalidity, two.modseq)
        again = self.wait(client.select("Queue", qresync=known))
        self.assertEqual([list(members(gone)) for gone in again.vanished], [[1]])
        self.assertEqual([change.uid for change in map(message, again.changed)], [3])
        self.assertEqual(list(members(self.wait(client.move([2, 3], "INBOX")).target)), [1, 2])
        self.assertEqual(self.waiting(), [])
        caught = self.wait(self.refused(client.append("Queue", NewMail(LETTER))))
        self.assertEqual(caught.imap_code, "NOPERM")

    async def refused(self, command: Awaitable[Any]) -> CommandRefusedError:
        try:
            await command
        except CommandRefusedError as e:
            return e
        raise AssertionError("it was not refused")


class HostileTests(QueueCase):
    def test_reasons_of_strangers(self) -> None:
        """Whatever another server said, and whatever an address has in it, stays one field."""
        self.send("one", '"a; b"@elsewhere.example')
        writer = self.house.queue._database.writer
        why = "550 no\r\nSubject: other\r\n\r\nbody \x00\u2028 grüße =?utf-8?q?x?= " + "y" * 2000
        writer.execute("UPDATE recipient SET why = ?", (why,))
        self.yes(self.alice, "SELECT Queue")
        answer = self.yes(self.alice, "FETCH 1 (RFC822.SIZE BODY[HEADER] BODY[HEADER.FIELDS (SUBJECT)])")
        self.assertEqual(answer.count("\r\nSubject: "), 2)
        self.assertNotIn("\r\nSubject: other", answer)
        self.assertNotIn("y" * 600, answer)

    def test_numbers(self) -> None:
        """Wide and wrong sets are answered."""
        self.send("one")
        self.yes(self.alice, "SELECT Queue")
        self.assertIn("UID 1", self.yes(self.alice, "UID FETCH 1:4294967295 UID"))
        self.yes(self.alice, "UID STORE 4294967295 +FLAGS (\\Deleted)")
        self.yes(self.alice, "UID EXPUNGE 1:4294967295")
        self.assertIn("\r\nt BAD", "\r\n" + self.ask(self.alice, "FETCH 2 UID"))
        self.yes(self.alice, "UID COPY 7:9 INBOX")
        self.assertEqual(len(self.waiting()), 1)

    def test_many(self) -> None:
        """More messages, and recipients, than are read at a time are all there."""
        queue = self.house.queue
        self.send("one", *(f"r{n}@elsewhere.example" for n in range(60)))
        writer = queue._database.writer
        for number in range(2, 2102):
            writer.execute(
                "INSERT INTO submission SELECT ?1, account, sender, queued, size, prefix, message_id, body, smtputf8,"
                " require_tls, ret, envid, ?1, 2, deleted, header_size, facts FROM submission WHERE id = 1",
                (number,),
            )
        writer.execute("UPDATE owner SET uidnext = 2102, modseq = 9")
        self.assertIn(
            "MESSAGES 2101 UIDNEXT 2102", self.yes(self.alice, "STATUS Queue (MESSAGES UIDNEXT SIZE)")
        )
        self.yes(self.alice, "SELECT Queue")
        self.assertEqual(self.yes(self.alice, "FETCH 1:* (RFC822.SIZE ENVELOPE)").count(" FETCH ("), 2101)
        answer = self.yes(self.alice, "FETCH 1 BODY[HEADER]")
        self.assertEqual(answer.count("X-Moxtwisted-Queue: "), 51)
        self.assertIn("X-Moxtwisted-Queue: and 10 more recipients\r\n", answer)
        self.no("LIMIT", "COPY 1:* INBOX")
