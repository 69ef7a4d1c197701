"""METADATA, QUOTA and FILTERS over the real store."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from moxtwisted.imap.metadata import IAnnotatedSession
from moxtwisted.imap.quota import IQuotaSession
from tests.server.house import HOST
from tests.server.test_imapd import LETTER, IMAPCase


class MetadataTests(IMAPCase):
    def test_interfaces(self) -> None:
        """The session of an account keeps both interfaces."""
        line = self.log_in()
        session = line.protocol.server.connection.session
        verifyObject(IAnnotatedSession, session)
        verifyObject(IQuotaSession, session)

    def test_round(self) -> None:
        """What is set is there for the next session, by mailbox, and removed with NIL."""
        line = self.log_in()
        self.assertIn("METADATA", self.ask(line, "CAPABILITY"))
        self.assertIn(
            "t OK", self.ask(line, 'SETMETADATA INBOX (/private/comment "mine" /shared/comment "all")')
        )
        self.assertIn("t OK", self.ask(line, 'SETMETADATA "" (/private/comment "server")'))
        line.drop()
        line = self.log_in()
        answer = self.ask(line, "GETMETADATA INBOX (DEPTH infinity) (/private /shared)")
        self.assertIn('* METADATA INBOX (/private/comment "mine" /shared/comment "all")', answer)
        self.assertIn("t OK", self.ask(line, "SETMETADATA INBOX (/private/comment NIL)"))
        answer = self.ask(line, 'LIST "" INBOX RETURN (METADATA (/private/comment /shared/comment))')
        self.assertIn('* METADATA INBOX (/private/comment NIL /shared/comment "all")', answer)
        self.assertIn("NO [NONEXISTENT]", self.ask(line, "GETMETADATA Nowhere /private/comment"))

    def test_administrator(self) -> None:
        """The administrator is the postmaster of the host, and nobody else can be set."""
        line = self.log_in()
        answer = self.ask(line, 'GETMETADATA "" /shared/admin')
        self.assertIn(f'* METADATA "" (/shared/admin "mailto:postmaster@{HOST}")', answer)
        self.assertIn("NO [NOPERM]", self.ask(line, 'SETMETADATA "" (/shared/admin "mailto:x@y.example")'))

    def test_accounts_are_apart(self) -> None:
        """What one account keeps, even shared, no other account sees."""
        line = self.log_in()
        self.ask(line, 'SETMETADATA "" (/shared/comment "secret")')
        other = self.log_in("bob@example.org")
        self.assertIn("NIL", self.ask(other, 'GETMETADATA "" /shared/comment'))

    def test_special_use(self) -> None:
        """Special uses are set as metadata, together with other entries, and leave the mailbox that had them."""
        line = self.log_in()
        self.ask(line, "CREATE Old (USE (\\Drafts))")
        self.ask(line, "CREATE New")
        self.assertIn(
            "t OK", self.ask(line, 'SETMETADATA New (/private/specialuse "\\\\Drafts" /private/comment "x")')
        )
        answer = self.ask(line, 'LIST "" *')
        self.assertIn('\\Drafts) "/" New', answer)
        self.assertNotIn('\\Drafts) "/" Old', answer)
        self.assertIn("NO [USEATTR]", self.ask(line, 'SETMETADATA Old (/private/specialuse "\\\\All")'))
        self.assertIn("t OK", self.ask(line, "SETMETADATA New (/private/specialuse NIL)"))
        self.assertIn("/private/specialuse NIL", self.ask(line, "GETMETADATA New /private/specialuse"))

    def test_news(self) -> None:
        """A session that enabled METADATA hears what another session changes, also while it idles, and leaves nothing behind."""
        line, other = self.log_in(), self.log_in()
        self.ask(line, "ENABLE METADATA")
        self.ask(line, "CREATE Drafts (USE (\\Drafts))")
        self.assertNotIn("METADATA INBOX", self.ask(line, 'SETMETADATA INBOX (/private/comment "own")'))
        self.ask(other, 'SETMETADATA INBOX (/private/comment "x")')
        self.assertIn("* METADATA INBOX /private/comment\r\n", self.ask(line, "NOOP"))
        self.assertNotIn("METADATA INBOX", self.ask(line, "NOOP"))
        line.say("i IDLE")
        self.ask(other, "CREATE Other")
        self.ask(other, 'SETMETADATA Other (/private/specialuse "\\\\Drafts")')
        self.house.clock.advance(0)
        heard = line.heard()
        self.assertIn("* METADATA Drafts /private/specialuse", heard)
        self.assertIn("* METADATA Other /private/specialuse", heard)
        queues = self.house.store.account("alice")._queues
        self.assertEqual(len(queues), 1)
        line.drop()
        self.assertEqual(queues, [])

    def test_filters(self) -> None:
        """A search program is kept with the account and used by its name."""
        self.add()
        line = self.log_in()
        self.ask(line, "SELECT INBOX")
        self.assertIn(
            "t OK",
            self.ask(line, 'SETMETADATA "" (/private/filters/values/works "TEXT \\"works\\" UNSEEN")'),
        )
        self.assertIn("* SEARCH 1\r\n", self.ask(line, "SEARCH FILTER works"))
        self.ask(line, "STORE 1 +FLAGS (\\Seen)")
        self.assertNotIn("* SEARCH 1", self.ask(line, "SEARCH FILTER works"))


class QuotaTests(IMAPCase):
    def test_told_and_kept(self) -> None:
        """Limits of octets and of messages are told as they are now, and kept by APPEND, COPY and delivery."""
        line = self.log_in()
        self.assertEqual(self.ask(line, "GETQUOTAROOT INBOX").splitlines()[0], "* QUOTAROOT INBOX")
        self.house.quotas["alice"] = 10_240
        self.house.store.message_quota_of = {"alice": 2}.get
        self.house.store.refresh_quotas()
        self.append(line, "INBOX", LETTER)
        answer = self.ask(line, "GETQUOTAROOT INBOX")
        self.assertIn('* QUOTAROOT INBOX ""\r\n* QUOTA "" (STORAGE 1 10 MESSAGE 1 2)', answer)
        self.ask(line, "SELECT INBOX")
        self.assertIn("t OK", self.ask(line, "COPY 1 INBOX"))
        self.assertIn("NO [OVERQUOTA]", self.ask(line, "COPY 1 INBOX"))
        self.assertIn("NO [OVERQUOTA]", line.say(f"t APPEND INBOX {{{len(LETTER)}}}"))
        smtp = self.house.inbound()
        self.assertIn("452 4.2.2", smtp.begin("a@client.example", "alice@example.org"))
        self.ask(line, "STORE 2 +FLAGS (\\Deleted)")
        self.assertIn("DELETED 1", self.ask(line, "STATUS INBOX (DELETED DELETED-STORAGE)"))
        self.ask(line, "EXPUNGE")
        self.assertIn("250", smtp.say("RCPT TO:<alice@example.org>"))
        self.assertIn("MESSAGE 1 2", self.ask(line, 'GETQUOTA ""'))
        self.assertIn("NO [NOPERM]", self.ask(line, 'SETQUOTA "" (MESSAGE 5)'))
