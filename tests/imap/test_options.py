"""Options of capabilities that were taken away."""

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.capabilities import AFTER_LOGIN, CAPABILITIES, OPTIONAL
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.options import FIELDS, KINDS, MEMBERS
from moxtwisted.imap.states import TABLE
from moxtwisted.imap.testing import Driver

# What is BAD for an account without the capability, and goes otherwise.
LINES = {
    "CONDSTORE": (
        "FETCH 1 MODSEQ",
        "FETCH 1 FLAGS (CHANGEDSINCE 1)",
        "STORE 1 (UNCHANGEDSINCE 99) +FLAGS (x)",
        "SEARCH MODSEQ 1",
        "SEARCH OR NOT MODSEQ 1 (ALL (SEEN MODSEQ 2))",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "SELECT INBOX (CONDSTORE)",
    ),
    "QRESYNC": ("ENABLE QRESYNC\r\nb SELECT INBOX (QRESYNC (1 1))",),
    "BINARY": ("FETCH 1 BINARY.PEEK[1]", "FETCH 1 (FLAGS BINARY.SIZE[1])"),
    "PREVIEW": ("FETCH 1 PREVIEW",),
    "SAVEDATE": ("FETCH 1 SAVEDATE", "SEARCH SAVEDSINCE 1-Jan-2020"),
    "OBJECTID": ("FETCH 1 (EMAILID)", "SEARCH THREADID T1", "STATUS INBOX (MAILBOXID)"),
    "WITHIN": ("SEARCH YOUNGER 10", "UID SEARCH NOT OLDER 10"),
    "ESEARCH": ("SEARCH RETURN (COUNT) ALL",),
    "SEARCHRES": ("SEARCH RETURN (SAVE) ALL", "FETCH $ FLAGS", "SEARCH $"),
    "STATUS=SIZE": ("STATUS INBOX (MESSAGES SIZE)", 'LIST "" * RETURN (STATUS (SIZE))'),
    "LIST-EXTENDED": ('LIST (SUBSCRIBED) "" *', 'LIST "" (INBOX Old)'),
    "LIST-STATUS": ('LIST "" * RETURN (STATUS (MESSAGES))',),
    "SPECIAL-USE": ('LIST (SPECIAL-USE) "" *',),
    "CREATE-SPECIAL-USE": ("CREATE New (USE (\\Sent))",),
    "MULTIAPPEND": ("APPEND INBOX {4+}\r\na: b {4+}\r\na: b",),
}


def driver(*disabled: str) -> Driver:
    mail = MemoryMail(disabled_capabilities=frozenset(disabled))
    mail.add("INBOX", b"Subject: one\r\n\r\n1\r\n")
    made = Driver.of(mail)
    made.login()
    made.command("SELECT INBOX")
    return made


class OptionTests(SynchronousTestCase):
    def test_options(self) -> None:
        """An option of a capability that the account does without is BAD; with it, it is not."""
        for capability, lines in LINES.items():
            for line in lines:
                refused = driver(capability).command(line)[-1]
                self.assertIn(b" BAD ", refused, (capability, line))
                self.assertNotIn(b" BAD ", driver("XYZZY").command(line)[-1], (capability, line))

    def test_names(self) -> None:
        """The tables name capabilities that there are."""
        known = {*CAPABILITIES, *OPTIONAL, *AFTER_LOGIN}
        for table in (KINDS, MEMBERS, FIELDS):
            self.assertEqual(set(table.values()) - known, set())
        self.assertEqual({rule.capability for rule in TABLE.values()} - known, {"", "STARTTLS"})

    def test_plain_client(self) -> None:
        """A client of plain IMAP4rev1 has all it needs without any extension."""
        made = driver(*({*CAPABILITIES, *OPTIONAL, *AFTER_LOGIN} - {"IMAP4rev1"}))
        self.assertEqual(made.command("CAPABILITY")[0], b"* CAPABILITY IMAP4rev1")
        for line in (
            'LIST "" *',
            "STATUS INBOX (MESSAGES UNSEEN)",
            "FETCH 1:* (FLAGS UID ENVELOPE BODY.PEEK[HEADER.FIELDS (From)])",
            "SEARCH UNSEEN SUBJECT one",
            "STORE 1 +FLAGS (\\Deleted)",
            "APPEND INBOX {4+}\r\na: b",
            "EXPUNGE",
        ):
            self.assertIn(b" OK ", made.command(line)[-1], line)
