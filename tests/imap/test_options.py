"""Options of capabilities that were taken away."""

import re

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.capabilities import AFTER_LOGIN, CAPABILITIES, OPTIONAL
from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.options import FIELDS, KINDS, MEMBERS, SORTING
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.imap.states import TABLE
from moxtwisted.imap.testing import Driver, counted_entropy
from tests.imap.test_states import LINES as COMMANDS

# What is BAD for an account without the capability, and goes otherwise.
LINES = {
    "CONDSTORE": (
        "FETCH 1 MODSEQ",
        "FETCH 1 FLAGS (CHANGEDSINCE 1)",
        "STORE 1 (UNCHANGEDSINCE 99) +FLAGS (x)",
        "SEARCH MODSEQ 1",
        "SEARCH OR NOT MODSEQ 1 (ALL (SEEN MODSEQ 2))",
        "STORE 1 (UNCHANGEDSINCE 0) FLAGS (x)",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "SELECT INBOX (CONDSTORE)",
    ),
    "QRESYNC": ("ENABLE QRESYNC\r\nb SELECT INBOX (QRESYNC (1 1))",),
    "BINARY": (
        "FETCH 1 BINARY.PEEK[1]",
        "FETCH 1 (FLAGS BINARY.SIZE[1])",
        "APPEND INBOX ~{4+}\r\na: b",
        "APPEND INBOX CATENATE (TEXT ~{4+}\r\na: b)",
        "REPLACE 1 INBOX ~{4+}\r\na: b",
    ),
    "PREVIEW": ("FETCH 1 PREVIEW", "SEARCH RETURN (UPDATE (PREVIEW)) ALL"),
    "SAVEDATE": ("FETCH 1 SAVEDATE", "SEARCH SAVEDSINCE 1-Jan-2020"),
    "OBJECTID": ("FETCH 1 (EMAILID)", "SEARCH THREADID T1", "STATUS INBOX (MAILBOXID)"),
    "WITHIN": ("SEARCH YOUNGER 10", "UID SEARCH NOT OLDER 10"),
    "ESEARCH": ("SEARCH RETURN (COUNT) ALL",),
    "SEARCHRES": ("SEARCH RETURN (SAVE) ALL", "FETCH $ FLAGS", "SEARCH $"),
    "STATUS=SIZE": ("STATUS INBOX (MESSAGES SIZE)", 'LIST "" * RETURN (STATUS (SIZE))'),
    "LIST-EXTENDED": ('LIST (SUBSCRIBED) "" *', 'LIST "" (INBOX Old)'),
    "LIST-STATUS": ('LIST "" * RETURN (STATUS (MESSAGES))',),
    "SPECIAL-USE": ('LIST (SPECIAL-USE) "" *', 'LIST "" * RETURN (SPECIAL-USE)'),
    "CREATE-SPECIAL-USE": ("CREATE New (USE (\\Sent))",),
    "MULTIAPPEND": ("APPEND INBOX {4+}\r\na: b {4+}\r\na: b",),
    "APPENDLIMIT": ("STATUS INBOX (APPENDLIMIT)",),
    "UIDONLY": ("SEARCH UIDAFTER 1", "SEARCH UIDBEFORE 2"),
    "NOTIFY": ("SEARCH RETURN (UPDATE (UID)) ALL", "SORT RETURN (UPDATE (UID)) (DATE) UTF-8 ALL"),
    "CONTEXT=SEARCH": (
        "SEARCH RETURN (UPDATE) ALL",
        "SEARCH RETURN (UPDATE (UID)) ALL",
        "UID SEARCH RETURN (CONTEXT COUNT) ALL",
    ),
    "CONTEXT=SORT": (
        "SORT RETURN (UPDATE) (DATE) UTF-8 ALL",
        "SORT RETURN (UPDATE (UID)) (DATE) UTF-8 ALL",
        "UID SORT RETURN (CONTEXT COUNT) (DATE) UTF-8 ALL",
    ),
    "PARTIAL": ("SEARCH RETURN (PARTIAL -1:-10) ALL", "UID FETCH 1:* FLAGS (PARTIAL 1:10)"),
    "SORT=DISPLAY": ("SORT (DISPLAYFROM) UTF-8 ALL",),
    "ESORT": ("SORT RETURN (COUNT) (DATE) UTF-8 ALL",),
    "CATENATE": (
        'APPEND INBOX CATENATE (URL "/INBOX/;UID=1")',
        "APPEND INBOX CATENATE (TEXT {4+}\r\na: b)",
        'REPLACE 1 INBOX CATENATE (URL "/INBOX/;UID=1")',
    ),
    "SEARCH=FUZZY": ("SEARCH FUZZY SUBJECT one", "SORT (RELEVANCY) UTF-8 FUZZY SUBJECT one"),
    "LIST-MYRIGHTS": ('LIST "" * RETURN (MYRIGHTS)',),
    "LIST-METADATA": ('LIST "" * RETURN (METADATA (/private/comment))',),
    "FILTERS": ("SEARCH FILTER values",),
    "QUOTA=RES-STORAGE": ("STATUS INBOX (DELETED-STORAGE)",),
}

# What is told with the capability and not without it, and for which command.
TOLD = {
    **{
        name: ((f"ENABLE {name}", f"* ENABLED {name}"),)
        for name in ("IMAP4rev2", "UTF8=ACCEPT", "UIDONLY", "QRESYNC", "METADATA")
    },
    "CONDSTORE": (
        ("ENABLE CONDSTORE", "* ENABLED CONDSTORE"),
        ("SELECT INBOX", "HIGHESTMODSEQ"),
        ("NOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange))", "HIGHESTMODSEQ"),
    ),
    "UIDPLUS": (
        ("APPEND INBOX {4+}\r\na: b", "APPENDUID"),
        ("REPLACE 1 INBOX {4+}\r\na: b", "APPENDUID"),
        ("COPY 1 Old", "COPYUID"),
        ("MOVE 1 Old", "COPYUID"),
    ),
    "SPECIAL-USE": (
        ('LIST "" *', "\\Archive"),
        ("GETMETADATA Old /private/specialuse", "Archive"),
        ('SETMETADATA Old (/private/specialuse "\\\\Sent")', "OK"),
    ),
    "OBJECTID": (("SELECT INBOX", "MAILBOXID"), ("CREATE New", "MAILBOXID")),
    "QUOTA=RES-STORAGE": (('GETQUOTA ""', "STORAGE"), ("GETQUOTAROOT INBOX", "STORAGE")),
    "QUOTA=RES-MESSAGE": (('GETQUOTA ""', "MESSAGE"), ("GETQUOTAROOT INBOX", "MESSAGE")),
    "URL-PARTIAL": (('APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;PARTIAL=0.9")', "OK"),),
    "URLAUTH": (("SELECT INBOX", "URLMECH"), ("EXAMINE Old", "URLMECH")),
}

# Where there is nothing to be refused, or another test shows that it is.
NOTHING: dict[str, str] = {
    "IMAP4rev1": "the protocol itself, which is spoken to everybody",
    "LITERAL+": "the octets of such a literal come whether or not they are wanted, and must be read as what they are",
    "CHILDREN": "attributes that RFC 9051 section 7.3.1 has in any LIST response",
    "RIGHTS=kxte": "says which letters ACL has; without it they are the same",
    "I18NLEVEL=1": "says how strings are compared",
    "MESSAGELIMIT": "a limit, which goes with it (tests.imap.test_messagelimit)",
    "INPROGRESS": "told, not asked for (tests.imap.test_inprogress)",
}

# What a client of IMAP4rev1 says, in this order.
PLAIN = (
    'LIST "" ""',
    'LIST "" *',
    'LSUB "" %',
    "CREATE &APw-x",
    "SUBSCRIBE &APw-x",
    "RENAME &APw-x &APw-y",
    'LIST "" *',
    "STATUS &APw-y (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)",
    "EXAMINE Old",
    "SELECT INBOX",
    'APPEND INBOX (\\Seen) "17-Jul-1996 02:44:25 -0700" {22+}\r\nSubject: two\r\n\r\ntwo\r\n',
    "FETCH 1 FULL",
    "FETCH 1:* (UID BODYSTRUCTURE RFC822.HEADER BODY[TEXT]<0.2> BODY.PEEK[HEADER.FIELDS (Subject)])",
    "UID FETCH 1:* ALL",
    "FETCH 1 RFC822",
    "SEARCH UNSEEN SUBJECT two",
    "SEARCH CHARSET UTF-8 ALL",
    "UID SEARCH 1:2 NOT DELETED",
    "STORE 1 +FLAGS (\\Deleted)",
    "UID STORE 1 -FLAGS.SILENT (\\Seen)",
    "COPY 1:2 &APw-y",
    "UID COPY 2 INBOX",
    "CHECK",
    "NOOP",
    "EXPUNGE",
    "CLOSE",
    "DELETE &APw-y",
    "UNSUBSCRIBE &APw-x",
)
MORE = (b"* OK [HIGHESTMODSEQ ", b"* OK [MAILBOXID ", b"* OK [URLMECH ")


def driver(*disabled: str) -> Driver:
    mail = SharedMemoryMail(disabled_capabilities=frozenset(disabled))
    mail.add("INBOX", b"Subject: one\r\n\r\n1\r\n")
    mail.make("Old", ("\\Archive",))
    mail.annotations.limits = (10_000_000, 1000)
    made = Driver.of(authenticator=SharingAuthenticator({"alice": ("secret", mail)}, counted_entropy()))
    made.login()
    made.command('SETMETADATA "" (/private/filters/values/values "ALL")')
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

    def test_every_capability(self) -> None:
        """What can be taken away is refused, or not told any more; or there is a reason."""
        known = {*CAPABILITIES, *OPTIONAL, *AFTER_LOGIN}
        commands = {capability for _, capability in COMMANDS.values()} - {"", "STARTTLS"}
        self.assertEqual({*LINES, *TOLD, *commands}.union(NOTHING), known)
        self.assertEqual({*LINES, *TOLD, *commands}.intersection(NOTHING), set())

    def test_told(self) -> None:
        """What belongs to a capability is told with it and not without it."""
        for capability, told in TOLD.items():
            for line, what in told:
                self.assertIn(what.encode(), b" ".join(driver("XYZZY").command(line)), (capability, line))
                answers = driver(capability).command(line)
                self.assertNotIn(what.encode(), b" ".join(answers), (capability, line))

    def test_utf8_message(self) -> None:
        """Without UTF8=ACCEPT there is no UTF8 in APPEND for a client of IMAP4rev2 either."""
        for disabled, right in (("XYZZY", b" OK "), ("UTF8=ACCEPT", b" BAD UTF8=ACCEPT")):
            for line in (
                "APPEND INBOX UTF8 (~{4+}\r\na: b)",
                "APPEND INBOX CATENATE (UTF8 (~{4+}\r\na: b))",
                "REPLACE 1 INBOX UTF8 (~{4+}\r\na: b)",
            ):
                made = driver(disabled)
                made.command("ENABLE IMAP4rev2")
                self.assertIn(right, made.command(line)[-1], (disabled, line))

    def test_initial_response(self) -> None:
        """RFC 4959: the client may not begin without SASL-IR, and is asked."""
        for disabled, right in ((frozenset(), b"OK"), (frozenset({"SASL-IR"}), b"BAD")):
            settings = ServerSettings(
                hostname="mail.example.org", allow_plain_without_tls=True, disabled_capabilities=disabled
            )
            made = Driver.of(settings=settings)
            answer = made.command("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==")[-1]
            self.assertEqual(answer.split()[1], right)
        self.assertEqual(made.command("AUTHENTICATE PLAIN"), [b"+ "])

    def test_parts_of_the_protocol(self) -> None:
        """Without what IMAP4rev2 contains, itself or by way of something else, it is not on offer."""
        for name in ("MOVE", "UIDPLUS", "LIST-EXTENDED", "ESEARCH", "ENABLE", "BINARY", "STATUS=SIZE"):
            made = driver(name)
            self.assertNotIn(b"IMAP4rev2", made.command("CAPABILITY")[0], name)
            self.assertNotIn(b"IMAP4rev2", made.command("ENABLE IMAP4rev2")[0], name)
        self.assertIn(b"IMAP4rev2", driver("CONDSTORE", "LITERAL+").command("CAPABILITY")[0])

    def test_both_resources(self) -> None:
        """RFC 9208 section 7: with no resource to be told there is no quota root."""
        made = driver("QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE")
        self.assertIn(b"NO [NONEXISTENT]", made.command('GETQUOTA ""')[-1])
        self.assertEqual(made.command("GETQUOTAROOT INBOX")[:-1], [b"* QUOTAROOT INBOX"])

    def test_windows(self) -> None:
        """RFC 5267 section 4.4: contexts have windows without PARTIAL, but none from the end, and none of FETCH."""
        for disabled, line, refused in (
            (("PARTIAL",), "SEARCH RETURN (PARTIAL 1:2) ALL", None),
            (("PARTIAL", "CONTEXT=SORT"), "UID SEARCH RETURN (PARTIAL 1:2) ALL", None),
            (("PARTIAL", "CONTEXT=SEARCH"), "SEARCH RETURN (PARTIAL 1:2) ALL", b"PARTIAL"),
            (("CONTEXT=SEARCH", "CONTEXT=SORT"), "SEARCH RETURN (PARTIAL 1:2) ALL", None),
            (("PARTIAL",), "SORT RETURN (PARTIAL 1:2) (DATE) UTF-8 ALL", None),
            (("PARTIAL", "CONTEXT=SORT"), "SORT RETURN (PARTIAL 1:2) (DATE) UTF-8 ALL", b"PARTIAL"),
            (("PARTIAL",), "ESEARCH IN (mailboxes INBOX) RETURN (PARTIAL 1:2) ALL", None),
            (("PARTIAL",), "UID FETCH 1:* FLAGS (PARTIAL 1:2)", b"PARTIAL"),
        ):
            last = driver(*disabled).command(line)[-1]
            self.assertIn(b" OK " if refused is None else b" BAD %b" % refused, last, (disabled, line))

    def test_names(self) -> None:
        """The tables name capabilities that there are."""
        known = {*CAPABILITIES, *OPTIONAL, *AFTER_LOGIN}
        for table in (KINDS, MEMBERS, SORTING, FIELDS):
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

    def test_client_that_enables_nothing(self) -> None:
        """To a client of IMAP4rev1 that asks for nothing else the server with everything says what a plain one says.

        Besides it there are response codes, which such a client passes over (RFC 3501 section 7.1), and special uses among the attributes.
        """
        everything = driver()
        nothing = driver(*({*CAPABILITIES, *OPTIONAL, *AFTER_LOGIN} - {"IMAP4rev1"}))
        more = re.compile(rb"\[(MAILBOXID|APPENDUID|COPYUID) [^]]*\] | \\Archive")
        for line in PLAIN:
            said, plain = everything.command(line), nothing.command(line)
            left = [more.sub(b"", answer) for answer in said if not answer.startswith(MORE)]
            self.assertEqual(left, plain, line)
            # RFC 3501 section 9: nothing but ASCII outside of literals, and no data that it does not have.
            for answer in said:
                self.assertTrue(answer.isascii(), answer)
                self.assertNotRegex(
                    answer, rb"^\* (ESEARCH|VANISHED|UIDFETCH|ENABLED)|MODSEQ \(|OLDNAME|CHILDINFO"
                )
            self.assertIn(b" OK ", said[-1], line)
