"""REPLACE over the real store: one commit, the quota of what remains, nothing lost by an error."""

from __future__ import annotations

import re

from twisted.internet.defer import fail
from zope.interface.verify import verifyObject

from moxtwisted.errors import StoreFullError
from moxtwisted.imap.replacement import IReplacingSession
from moxtwisted.store.accounts import Account
from tests.server.test_imapd import LETTER, IMAPCase

NEW = b"From: a@client.example\r\nSubject: again\r\n\r\nIt works better.\r\n"


class ReplaceTests(IMAPCase):
    def replace(self, line: object, start: str, octets: bytes = NEW) -> str:
        return self.ask(line, f"{start} {{{len(octets)}+}}\r\n" + octets.decode())  # type: ignore[arg-type]

    def test_interface(self) -> None:
        """The session provides what REPLACE asks for."""
        line = self.log_in()
        verifyObject(IReplacingSession, line.protocol.server.connection.session)
        self.assertIn(" REPLACE", self.ask(line, "CAPABILITY"))

    def test_in_place(self) -> None:
        """The draft goes and its successor comes with one modseq, its own flags, and another EMAILID."""
        for _ in range(3):
            self.add()
        line, other = self.log_in(), self.log_in(ip="198.51.100.8")
        for one in (line, other):
            self.ask(one, "SELECT INBOX (CONDSTORE)")
        self.ask(line, "STORE 2 +FLAGS (\\Flagged)")
        before = self.ask(line, "FETCH 2 EMAILID")
        answer = self.replace(line, "REPLACE 2 INBOX (\\Draft)")
        self.assertRegex(
            answer,
            r"(?s)^\* OK \[APPENDUID \d+ 4\] .*\* 2 EXPUNGE\r\n\* 3 EXISTS\r\nt OK REPLACE completed$",
        )
        answer = self.ask(line, "FETCH 3 (UID FLAGS MODSEQ EMAILID BODY.PEEK[TEXT])")
        self.assertIn("UID 4 FLAGS (\\Draft)", answer)
        self.assertIn("better", answer)
        self.assertNotIn(before.partition("EMAILID")[2][:8], answer)
        self.assertIn("* 3 EXISTS", self.ask(other, "NOOP"))
        account = self.house.store.account("alice")
        (inbox,) = [m for m in account.mailboxes() if m.name == "INBOX"]
        self.assertEqual((inbox.messages, inbox.uidnext), (3, 5))
        gone, complete = account.expunged_since(inbox.id, inbox.highestmodseq - 1)
        self.assertEqual((list(gone), complete), ([2], True))

    def test_qresync(self) -> None:
        """RFC 8508 section 4.5, RFC 7162 section 3.2.9: with QRESYNC the tagged OK has HIGHESTMODSEQ, as that of UID EXPUNGE."""
        for _ in range(2):
            self.add()
        line = self.log_in()
        self.ask(line, "ENABLE QRESYNC")
        self.ask(line, "SELECT INBOX")
        answer = self.replace(line, "UID REPLACE 1 INBOX")
        found = re.search(r"(?s)\* VANISHED 1\r\n.*t OK \[HIGHESTMODSEQ (\d+)\] REPLACE completed$", answer)
        assert found is not None, answer
        self.assertIn(f"HIGHESTMODSEQ {found.group(1)})", self.ask(line, "STATUS INBOX (HIGHESTMODSEQ)"))

    def test_into_another(self) -> None:
        """The new message may go into another mailbox, which the client learns from APPENDUID."""
        self.add()
        line = self.log_in()
        self.ask(line, "CREATE Elsewhere")
        self.ask(line, "SELECT INBOX")
        answer = self.replace(line, "UID REPLACE 1 Elsewhere (\\Seen)")
        self.assertRegex(answer, r"APPENDUID \d+ 1\]")
        self.assertIn("* 1 EXPUNGE", answer)
        self.assertNotIn("EXISTS", answer)
        self.assertIn("MESSAGES 1 UNSEEN 0", self.ask(line, "STATUS Elsewhere (MESSAGES UNSEEN)"))

    def test_quota_of_the_difference(self) -> None:
        """What is replaced makes room for what replaces it, and no more than that."""
        self.add()
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        account = self.house.store.account("alice")
        used, _, _ = account.usage()
        account.set_quota(used + 10)
        self.assertIn("OVERQUOTA", self.append(line, "INBOX", LETTER))
        self.assertIn("OVERQUOTA", self.replace(line, "REPLACE 1 INBOX", LETTER + b"x" * 1000))
        self.assertIn("t OK", self.replace(line, "REPLACE 1 INBOX", LETTER))
        self.assertIn("MESSAGES 1", self.ask(line, "STATUS INBOX (MESSAGES)"))

    def test_gone_meanwhile(self) -> None:
        """A message that another session expunged is not replaced, and the new one is not added."""
        self.add()
        line, other = self.log_in(), self.log_in(ip="198.51.100.8")
        for one in (line, other):
            self.ask(one, "SELECT INBOX")
        line.say(f"t REPLACE 1 INBOX {{{len(NEW)}+}}")
        self.ask(other, "STORE 1 +FLAGS (\\Deleted)")
        self.ask(other, "EXPUNGE")
        answer = line.say(NEW.decode())
        for _ in range(20):
            self.house.clock.advance(0)
            answer += line.heard()
        self.assertIn("t NO [EXPUNGEISSUED]", answer)
        self.assertIn("MESSAGES 0 UIDNEXT 2", self.ask(line, "STATUS INBOX (MESSAGES UIDNEXT)"))

    def test_store_refuses(self) -> None:
        """When the store fails, the old message is there, and no EXPUNGE is told."""
        self.add()
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        self.patch(Account, "replace", lambda *_args, **_more: fail(StoreFullError("full")))
        answer = self.replace(line, "REPLACE 1 INBOX")
        self.assertIn("t NO", answer)
        self.assertNotIn("EXPUNGE", answer)
        self.assertIn("It works.", self.ask(line, "FETCH 1 BODY.PEEK[TEXT]"))

    def test_uidonly(self) -> None:
        """After ENABLE UIDONLY only the form with a UID is taken, and what went is told by UID."""
        self.add()
        line = self.log_in()
        self.ask(line, "ENABLE UIDONLY")
        self.ask(line, "SELECT INBOX")
        self.assertIn("t BAD [UIDREQUIRED]", self.replace(line, "REPLACE 1 INBOX"))
        self.assertIn("* VANISHED 1\r\n", self.replace(line, "UID REPLACE 1 INBOX"))
