"""The arguments of each command, from the examples of the standards, and what is refused."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import fetchattributes as f
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.commands import ListReturn, ListSelection, SearchReturn, StatusItem, StoreMode
from moxtwisted.imap.wire.grammar import COMMANDS, UID_COMMANDS
from moxtwisted.imap.wire.mailboxname import MATCHLESS, ListPattern
from moxtwisted.imap.wire.parser import BadCommand
from moxtwisted.imap.wire.searchkeys import Comparison
from moxtwisted.imap.wire.sequence import SequenceSet
from tests.imap.wire.reading import one

PIECES = [
    *'() "\\{}[]<>*%,:.$+-',
    *"NIL 1 0 FLAGS BODY BODY[ HEADER RETURN OR NOT ALL x 1-Jan-2020 CHARSET UTF-8".split(),
    " (",
    ") ",
]


def numbers(text: str) -> SequenceSet:
    return SequenceSet.parse(text.encode())


class GrammarCase(SynchronousTestCase):
    def reads(self, text: str, wanted: c.Command) -> None:
        """The text is that command."""
        self.assertEqual(one(text.encode() + b"\r\n"), wanted, text)

    def refuses(self, *texts: str) -> None:
        """Each text is BAD under its tag."""
        for text in texts:
            event = one(text.encode() + b"\r\n")
            self.assertIsInstance(event, BadCommand, text)
            self.assertEqual(event.tag, b"a", text)


class SimpleTests(GrammarCase):
    BARE: ClassVar[dict[str, type[c.Command]]] = {
        "CAPABILITY": c.Capability,
        "NOOP": c.Noop,
        "LOGOUT": c.Logout,
        "STARTTLS": c.StartTLS,
        "NAMESPACE": c.Namespace,
        "IDLE": c.Idle,
        "CHECK": c.Check,
        "CLOSE": c.Close,
        "UNSELECT": c.Unselect,
        "EXPUNGE": c.Expunge,
        "UNAUTHENTICATE": c.Unauthenticate,
    }

    def test_without_arguments(self) -> None:
        """Commands without arguments take none."""
        for word, of in self.BARE.items():
            self.reads(f"a {word.lower()}", of(b"a"))
            self.refuses(f"a {word} x", f"a {word} ")

    def test_every_command_is_bounded_by_its_end(self) -> None:
        """No command is complete without arguments unless it has none, nor with an open parenthesis behind it."""
        for word in COMMANDS:
            if word.decode() not in self.BARE and word not in {b"LANGUAGE", b"RESETKEY"}:
                self.refuses(f"a {word.decode()}", f"a {word.decode()} ", f"a {word.decode()} (")
        for word in UID_COMMANDS:
            self.refuses(f"a UID {word.decode()}", f"a UID {word.decode()} 1 (")

    def test_login(self) -> None:
        """LOGIN takes atoms and strings; quotes and backslashes are escaped in strings."""
        self.reads("a LOGIN SMITH SESAME", c.Login(b"a", "SMITH", "SESAME"))
        self.reads('a login "a b" "\\"\\\\"', c.Login(b"a", "a b", '"\\'))
        self.reads("a login x ]", c.Login(b"a", "x", "]"))
        self.refuses(
            "a login x", "a login x y z", 'a login x "', 'a login x "\\x"', "a login (x) y", "a login x  y"
        )

    def test_authenticate(self) -> None:
        """RFC 4959: an initial response is base64, = when it is empty."""
        self.reads("a AUTHENTICATE plain", c.Authenticate(b"a", "PLAIN"))
        self.reads("a AUTHENTICATE PLAIN dGVzdA==", c.Authenticate(b"a", "PLAIN", b"test"))
        self.reads("a AUTHENTICATE EXTERNAL =", c.Authenticate(b"a", "EXTERNAL", b""))
        self.refuses(
            "a AUTHENTICATE PLAIN dGVzdA",
            "a AUTHENTICATE PLAIN ",
            "a AUTHENTICATE PLAIN a b",
            "a AUTHENTICATE ()",
        )

    def test_id(self) -> None:
        """The examples of RFC 2971 section 3.1; fields are limited as there."""
        self.reads(
            'a ID ("name" "sodr" "version" "19.34" "vendor" NIL)',
            c.Id(b"a", (("name", "sodr"), ("version", "19.34"), ("vendor", None))),
        )
        self.reads("a ID NIL", c.Id(b"a"))
        self.reads("a ID ()", c.Id(b"a", ()))
        self.refuses(
            'a ID ("x")',
            "a ID (x y)",
            f'a ID ("{"x" * 31}" "y")',
            "a ID (" + " ".join(['"a" "b"'] * 31) + ")",
        )

    def test_enable(self) -> None:
        """ENABLE takes one or more capabilities."""
        self.reads("a ENABLE condstore X-GOOD", c.Enable(b"a", ("CONDSTORE", "X-GOOD")))
        self.refuses("a ENABLE", "a ENABLE ", "a ENABLE x ")


class MailboxTests(GrammarCase):
    def test_names(self) -> None:
        """Names are decoded and INBOX is INBOX."""
        self.reads("a SELECT inbox", c.Select(b"a", "INBOX"))
        self.reads('a EXAMINE "Entw&APw-rfe"', c.Select(b"a", "Entwürfe", examine=True))
        self.reads("a DELETE &-", c.Delete(b"a", "&"))
        self.reads('a SUBSCRIBE ""', c.Subscribe(b"a", ""))
        self.reads("a UNSUBSCRIBE x", c.Unsubscribe(b"a", "x"))
        self.reads("a RENAME blurdybloop sarasoop", c.Rename(b"a", "blurdybloop", "sarasoop"))
        self.refuses("a SELECT a&b", "a SELECT %", "a SELECT a*", "a SELECT x y", "a RENAME x")

    def test_select_parameters(self) -> None:
        """The examples of RFC 7162 sections 3.1.8 and 3.2.5."""
        self.reads("a SELECT INBOX (CONDSTORE)", c.Select(b"a", "INBOX", condstore=True))
        self.reads(
            "a SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
            c.Select(
                b"a", "INBOX", qresync=c.QResync(67890007, 20050715194045000, numbers("41,43:211,214:541"))
            ),
        )
        self.reads(
            "a SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (5,9 71,82)) condstore)",
            c.Select(
                b"a",
                "INBOX",
                condstore=True,
                qresync=c.QResync(
                    67890007, 90060115194045000, numbers("41:211,214:541"), (numbers("5,9"), numbers("71,82"))
                ),
            ),
        )
        self.reads(
            "a SELECT INBOX (QRESYNC (1 2 (5 7)))",
            c.Select(b"a", "INBOX", qresync=c.QResync(1, 2, None, (numbers("5"), numbers("7")))),
        )
        self.refuses(
            "a SELECT INBOX ()",
            "a SELECT INBOX CONDSTORE",
            "a SELECT INBOX (CONDSTORE CONDSTORE)",
            "a SELECT INBOX (QRESYNC (0 1))",
            "a SELECT INBOX (QRESYNC (1 0))",
            "a SELECT INBOX (QRESYNC (1 1 1:*))",
            "a SELECT INBOX (QRESYNC (1 1 $))",
            "a SELECT INBOX (QRESYNC (1 9223372036854775808))",
            "a SELECT INBOX (FOO)",
        )

    def test_create(self) -> None:
        """RFC 6154 section 3: USE with attributes."""
        self.reads("a CREATE owatagusiam/", c.Create(b"a", "owatagusiam/"))
        self.reads("a CREATE MyDrafts (USE (\\drafts))", c.Create(b"a", "MyDrafts", ("\\Drafts",)))
        self.reads("a CREATE x (USE ())", c.Create(b"a", "x", ()))
        self.refuses(
            "a CREATE x (USE)", "a CREATE x (USE (Drafts))", "a CREATE x (FOO (\\Sent))", "a CREATE x ()"
        )

    def test_list(self) -> None:
        """LIST plain, with the examples of RFC 5258, RFC 5819 and RFC 6154."""
        self.reads('a LIST "" ""', c.List(b"a", "", ("",)))
        self.reads("a LIST ~/Mail/ %", c.List(b"a", "~/Mail/", ("%",)))
        self.reads('a LIST "" inb*', c.List(b"a", "", ("inb*",)))
        self.reads(
            'a LIST (SUBSCRIBED) "" "*"',
            c.List(b"a", "", ("*",), frozenset({ListSelection.SUBSCRIBED}), extended=True),
        )
        self.reads(
            'a LIST (REMOTE) "" "%" RETURN (CHILDREN)',
            c.List(
                b"a",
                "",
                ("%",),
                frozenset({ListSelection.REMOTE}),
                frozenset({ListReturn.CHILDREN}),
                (),
                True,
            ),
        )
        self.reads(
            'a LIST "" ("INBOX" "Drafts" "Sent/%")',
            c.List(b"a", "", ("INBOX", "Drafts", "Sent/%"), extended=True),
        )
        self.reads(
            'a LIST () "" % RETURN (SPECIAL-USE STATUS (MESSAGES UNSEEN) SUBSCRIBED)',
            c.List(
                b"a",
                "",
                ("%",),
                returns=frozenset({ListReturn.SPECIAL_USE, ListReturn.SUBSCRIBED}),
                status=(StatusItem.MESSAGES, StatusItem.UNSEEN),
                extended=True,
            ),
        )
        self.reads('a LIST "" % RETURN ()', c.List(b"a", "", ("%",), extended=True))
        self.refuses(
            'a LIST ""',
            'a LIST (RECURSIVEMATCH) "" *',
            'a LIST (RECURSIVEMATCH REMOTE) "" *',
            'a LIST (FOO) "" *',
            'a LIST "" * RETURN (FOO)',
            'a LIST "" * RETURN',
            'a LIST "" ()',
            'a LIST "" * FOO ()',
            'a LIST "" * RETURN (STATUS)',
        )

    def test_patterns_that_are_no_names(self) -> None:
        """A pattern in a wrong encoding is one that nothing matches, beside others too (RFC 9051 section 6.3.9)."""
        for pattern in ("&", "R&D", "&*", '"a&b"', "{2+}\r\n\xff"):
            self.reads(f'a LIST "" {pattern}', c.List(b"a", "", (MATCHLESS,)))
            self.reads(f'a LSUB "" {pattern}', c.Lsub(b"a", "", MATCHLESS))
            self.reads(f'a LIST "" (x {pattern} %)', c.List(b"a", "", ("x", MATCHLESS, "%"), extended=True))
        self.assertFalse(ListPattern(MATCHLESS).matches(""))
        self.refuses('a LIST "&" *', "a SELECT &")

    def test_lsub_and_status(self) -> None:
        """LSUB and STATUS; items are given once."""
        self.reads('a LSUB "#news." "comp.mail.*"', c.Lsub(b"a", "#news.", "comp.mail.*"))
        self.reads(
            "a STATUS blurdybloop (UIDNEXT messages UIDNEXT)",
            c.Status(b"a", "blurdybloop", (StatusItem.UIDNEXT, StatusItem.MESSAGES)),
        )
        for item in StatusItem:
            self.reads(f"a STATUS x ({item.value})", c.Status(b"a", "x", (item,)))
        self.refuses(
            "a STATUS x", "a STATUS x ()", "a STATUS x MESSAGES", "a STATUS x (FOO)", "a STATUS x (SIZE ) "
        )


class MessageTests(GrammarCase):
    def test_store(self) -> None:
        """STORE in all its forms, with the examples of RFC 9051 section 6.4.6 and RFC 7162 section 3.1.3."""
        self.reads(
            "a STORE 2:4 +FLAGS (\\Deleted)", c.Store(b"a", numbers("2:4"), StoreMode.ADD, ("\\Deleted",))
        )
        self.reads(
            "a UID STORE 5 -flags.silent (\\SEEN $Junk)",
            c.Store(b"a", numbers("5"), StoreMode.REMOVE, ("\\Seen", "$Junk"), silent=True, uid=True),
        )
        self.reads(
            "a STORE 1 FLAGS \\Seen foo", c.Store(b"a", numbers("1"), StoreMode.REPLACE, ("\\Seen", "foo"))
        )
        self.reads("a STORE $ FLAGS ()", c.Store(b"a", numbers("$"), StoreMode.REPLACE, ()))
        self.reads(
            "a STORE 7,5,9 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\\Deleted \\deleted)",
            c.Store(
                b"a", numbers("7,5,9"), StoreMode.ADD, ("\\Deleted",), silent=True, unchanged_since=320162338
            ),
        )
        self.refuses(
            "a STORE 1 *FLAGS (x)",
            "a STORE 1 +FLAGS",
            "a STORE 1 +FLAGS (x",
            "a STORE 1 +FLAGS (x )",
            "a STORE 1 +FLAGS (x  y)",
            "a STORE 1 +FLAGS ( x)",
            "a STORE 1 +FLAGS (a\\b)",
            "a STORE 1 +FLAGS a\\b",
            "a STORE 1 +FLAGS (\\Seen\\Draft)",
            "a STORE 1 +FLAGS (\\*)",
            "a STORE 0 +FLAGS (x)",
            "a STORE 1 (UNCHANGEDSINCE) +FLAGS (x)",
            "a STORE 1 (FOO 1) +FLAGS (x)",
            "a STORE 1 +FLAGS (" + " ".join(f"k{n}" for n in range(1001)) + ")",
        )

    def test_copy_move_expunge(self) -> None:
        """COPY and MOVE by number and by UID, UID EXPUNGE."""
        self.reads("a COPY 2:4 MEETING", c.Copy(b"a", numbers("2:4"), "MEETING"))
        self.reads("a uid copy 1 inbox", c.Copy(b"a", numbers("1"), "INBOX", uid=True))
        self.reads("a MOVE * x", c.Move(b"a", numbers("*"), "x"))
        self.reads("a UID MOVE 42:69 foo", c.Move(b"a", numbers("42:69"), "foo", uid=True))
        self.reads("a UID EXPUNGE 3000:3002", c.UIDExpunge(b"a", numbers("3000:3002")))
        self.refuses("a COPY x y", "a UID EXPUNGE", "a UID NOOP", "a MOVE 1")


class FetchTests(GrammarCase):
    def fetched(self, items: str) -> tuple[f.FetchAttribute, ...]:
        """What a FETCH of these items asks for."""
        command = one(f"a FETCH 1 {items}\r\n".encode())
        self.assertIsInstance(command, c.Fetch, items)
        assert isinstance(command, c.Fetch)
        return command.attributes

    def test_rfc_example(self) -> None:
        """The example of RFC 9051 section 6.4.5."""
        self.reads(
            "a FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
            c.Fetch(
                b"a",
                numbers("2:4"),
                (f.Flags(), f.BodySection((), f.SectionText.HEADER_FIELDS, ("DATE", "FROM"))),
            ),
        )

    def test_macros(self) -> None:
        """Macros are replaced, and are none in a list."""
        self.assertEqual(self.fetched("ALL"), (f.Flags(), f.InternalDate(), f.Rfc822Size(), f.Envelope()))
        self.assertEqual(self.fetched("fast"), (f.Flags(), f.InternalDate(), f.Rfc822Size()))
        self.assertEqual(self.fetched("FULL")[-1], f.Body())
        self.refuses("a FETCH 1 (ALL)")

    def test_all_simple_items(self) -> None:
        """Every item without arguments is read alone and in a list."""
        for name, item in f.SIMPLE.items():
            self.assertEqual(self.fetched(name.decode().lower()), (item,))
        listed = " ".join(name.decode() for name in f.SIMPLE)
        self.assertEqual(self.fetched(f"({listed})"), tuple(f.SIMPLE.values()))

    def test_sections(self) -> None:
        """The sections of RFC 9051 section 6.4.5.1 and RFC 3516."""
        text = f.SectionText
        for written, item in {
            "BODY[]": f.BodySection(),
            "BODY.PEEK[]<0.2048>": f.BodySection(partial=(0, 2048), peek=True),
            "BODY[1.2.3]": f.BodySection((1, 2, 3)),
            "BODY[HEADER]": f.BodySection((), text.HEADER),
            "BODY[4.1.MIME]": f.BodySection((4, 1), text.MIME),
            "BODY[3.HEADER]": f.BodySection((3,), text.HEADER),
            "body[4.2.text]": f.BodySection((4, 2), text.TEXT),
            "BODY.PEEK[1.HEADER.FIELDS.NOT (x)]": f.BodySection(
                (1,), text.HEADER_FIELDS_NOT, ("x",), peek=True
            ),
            'BODY[HEADER.FIELDS ("x y" z)]<5.1>': f.BodySection((), text.HEADER_FIELDS, ("x y", "z"), (5, 1)),
            "BINARY[1]": f.BinarySection((1,)),
            "BINARY.PEEK[1.2]<1.2>": f.BinarySection((1, 2), (1, 2), peek=True),
            "BINARY[]": f.BinarySection(),
            "BINARY.SIZE[3.1]": f.BinarySize((3, 1)),
        }.items():
            self.assertEqual(self.fetched(written), (item,), written)
            self.assertEqual(item.request().upper(), written.upper().replace('"X"', "X").encode())

    def test_labels(self) -> None:
        """The name in the response has no PEEK, and only the offset of a partial."""
        item = self.fetched("BODY.PEEK[HEADER.FIELDS (Subject)]<10.20>")[0]
        self.assertEqual(item.response_label(), b"BODY[HEADER.FIELDS (Subject)]<10>")
        self.assertEqual(self.fetched("BINARY.PEEK[1]<0.5>")[0].response_label(), b"BINARY[1]<0>")
        self.assertEqual(self.fetched("RFC822.SIZE")[0].response_label(), b"RFC822.SIZE")

    def test_seen(self) -> None:
        """Only what reads the text sets the flag Seen."""
        for written, seen in {
            "BODY[]": True,
            "BODY.PEEK[]": False,
            "RFC822": True,
            "RFC822.TEXT": True,
            "RFC822.HEADER": False,
            "BINARY[1]": True,
            "BINARY.PEEK[1]": False,
            "BINARY.SIZE[1]": False,
            "BODY": False,
        }.items():
            self.assertEqual(self.fetched(written)[0].sets_seen, seen, written)

    def test_modifiers(self) -> None:
        """RFC 7162 sections 3.1.4.1 and 3.2.6."""
        self.reads(
            "a UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
            c.Fetch(b"a", numbers("300:500"), (f.Flags(),), 12345, vanished=True, uid=True),
        )
        self.refuses(
            "a UID FETCH 1 (FLAGS) (VANISHED)",
            "a FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)",
            "a FETCH 1 FLAGS (CHANGEDSINCE 0)",
            "a FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
            "a FETCH 1 FLAGS ()",
        )

    def test_refused(self) -> None:
        """Wrong items are BAD."""
        self.refuses(
            *(
                f"a FETCH 1 {items}"
                for items in (
                    "()", "(FLAGS", "FLAGS)", "(FLAGS  UID)", "FOO", "FLAGS[]", "BODY[", "BODY[]<1>", "BODY[]<0.0>", "BODY[0]",
                    "BODY[1.]", "BODY[1.0]", "BODY[MIME]", "BODY[FOO]", "BODY[1.FOO]", "BODY[HEADER.FIELDS]",
                    "BODY[HEADER.FIELDS ()]", "BODY[HEADER.FIELDS (a:b)]", "BINARY[TEXT]", "BINARY.SIZE[1]<0.1>", "BODY.PEEK",
                    "ENVELOPE[]", "BODY[4294967296]", f"BODY[{'.'.join(['1'] * 101)}]",
                    "(" + " ".join(["UID"] * 501) + ")",
                )
            )
        )  # fmt: skip

    def test_field_names_as_literals(self) -> None:
        """A header field name may be a literal, which never comes from the cache of parsed lists."""
        for name in (b"Subject", b"From"):
            command = one(b"a FETCH 1 BODY[HEADER.FIELDS ({%d+}\r\n%b)]\r\n" % (len(name), name))
            assert isinstance(command, c.Fetch)
            self.assertEqual(getattr(command.attributes[0], "fields", None), (name.decode(),))


class SearchTests(GrammarCase):
    def key(self, program: str) -> k.SearchKey:
        """The tree of a program."""
        command = one(f"a SEARCH {program}\r\n".encode())
        self.assertIsInstance(command, c.Search, program)
        assert isinstance(command, c.Search)
        return command.key

    def test_rfc_examples(self) -> None:
        """The examples of RFC 9051 section 6.4.4."""
        self.reads(
            'a SEARCH RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"',
            c.Search(
                b"a",
                k.And(
                    (
                        k.HasFlag("\\Flagged"),
                        k.InternalDate(Comparison.SINCE, date(1994, 2, 1)),
                        k.Not(k.HeaderContains("From", "Smith")),
                    )
                ),
                frozenset({SearchReturn.MIN, SearchReturn.COUNT}),
            ),
        )
        self.reads(
            'a SEARCH RETURN () TEXT "string not in mailbox"',
            c.Search(b"a", k.TextContains("string not in mailbox"), frozenset({SearchReturn.ALL})),
        )
        self.reads(
            "a UID SEARCH RETURN (SAVE) CHARSET utf-8 $ SMALLER 4096",
            c.Search(
                b"a",
                k.And((k.NumberIn(numbers("$")), k.Smaller(4096))),
                frozenset({SearchReturn.SAVE}),
                "UTF-8",
                uid=True,
            ),
        )

    def test_each_key(self) -> None:
        """Every key is read."""
        day = date(2020, 2, 9)
        for program, wanted in {
            "ALL": k.Everything(),
            "UNSEEN": k.HasFlag("\\Seen", present=False),
            "recent": k.HasFlag("\\Recent"),
            "OLD": k.HasFlag("\\Recent", present=False),
            "NEW": k.And((k.HasFlag("\\Recent"), k.HasFlag("\\Seen", present=False))),
            "KEYWORD $Junk": k.HasFlag("$Junk"),
            "UNKEYWORD x": k.HasFlag("x", present=False),
            "BCC x": k.HeaderContains("Bcc", "x"),
            'HEADER X-Foo ""': k.HeaderContains("X-Foo", ""),
            "BODY x": k.BodyContains("x"),
            "TEXT x": k.TextContains("x"),
            'BEFORE "9-Feb-2020"': k.InternalDate(Comparison.BEFORE, day),
            "SENTON 09-feb-2020": k.SentDate(Comparison.ON, day),
            "SAVEDSINCE 9-Feb-2020": k.SavedDate(Comparison.SINCE, day),
            "SAVEDATESUPPORTED": k.SaveDateSupported(),
            "LARGER 5000000000": k.Larger(5000000000),
            "YOUNGER 3600": k.Younger(3600),
            "OLDER 1": k.Older(1),
            "UID 1:5": k.UidIn(numbers("1:5")),
            "UIDAFTER 7": k.UidAfter(7),
            "UIDBEFORE 7": k.UidBefore(7),
            "FUZZY SUBJECT x": k.Fuzzy(k.HeaderContains("Subject", "x")),
            "FUZZY (ALL SEEN)": k.Fuzzy(k.And((k.Everything(), k.HasFlag("\\Seen")))),
            "1,3:*": k.NumberIn(numbers("1,3:*")),
            "*": k.NumberIn(numbers("*")),
            "MODSEQ 620162338": k.ModSeqAtLeast(620162338),
            'MODSEQ "/flags/\\\\draft" all 0': k.ModSeqAtLeast(0, "/flags/\\draft", "all"),
            "EMAILID M1-a": k.EmailIdIs("M1-a"),
            "THREADID T1": k.ThreadIdIs("T1"),
            "(SEEN)": k.HasFlag("\\Seen"),
            "(SEEN 1)": k.And((k.HasFlag("\\Seen"), k.NumberIn(numbers("1")))),
            "OR (SEEN 1) NOT NOT ALL": k.Or(
                k.And((k.HasFlag("\\Seen"), k.NumberIn(numbers("1")))), k.Not(k.Not(k.Everything()))
            ),
        }.items():
            self.assertEqual(self.key(program), wanted, program)

    def test_refused(self) -> None:
        """Wrong programs are BAD."""
        self.refuses(
            *(
                f"a SEARCH {program}"
                for program in (
                    "", "FOO", "()", "(ALL", "ALL)", "OR ALL", "NOT", "KEYWORD \\Seen", "BEFORE 30-Feb-2020", "ON 1-Foo-2020",
                    "SINCE 2020-02-01", "LARGER x", "LARGER 9223372036854775808", "YOUNGER 0", "UID x", "UID", "HEADER x",
                    "MODSEQ", 'MODSEQ "/x" all 1', 'MODSEQ "/flags/x" foo 1', "RETURN (FOO) ALL", "RETURN ALL", "RETURN (ALL)",
                    "CHARSET UTF-8", "ALL  ALL", "ALL ",
                )
            )
        )  # fmt: skip

    def test_charset(self) -> None:
        """Strings are UTF-8 or US-ASCII; another charset is NO with BADCHARSET."""
        command = one("a SEARCH CHARSET UTF-8 TEXT {2+}\r\nü\r\n".encode())
        assert isinstance(command, c.Search)
        self.assertEqual(command.key, k.TextContains("ü"))
        for text in (b"CHARSET US-ASCII TEXT {2+}\r\n\xc3\xbc", b"TEXT {1+}\r\n\xfc"):
            self.assertIsInstance(one(b"a SEARCH " + text + b"\r\n"), BadCommand)
        self.assertEqual(
            one(b"a SEARCH CHARSET KOI8-R TEXT x\r\n"),
            BadCommand(b"a", "unknown charset", "BADCHARSET (US-ASCII UTF-8)", "NO"),
        )

    def test_depth_and_number_are_limited(self) -> None:
        """Programs that are nested too deep, in any way, or have too many keys are refused with LIMIT."""
        for program in (
            "(" * 1000 + "ALL" + ")" * 1000,
            "NOT " * 1000 + "ALL",
            "OR ALL " * 1000 + "ALL",
            "OR " * 1000 + "ALL" + " ALL" * 1000,
            " ".join(["1"] * 2001),
        ):
            event = one(f"a SEARCH {program}\r\n".encode())
            self.assertEqual(event, BadCommand(b"a", getattr(event, "text", ""), "LIMIT", "NO"))
        self.assertIsInstance(one(b"a SEARCH " + b"(" * 100 + b"ALL" + b")" * 100 + b"\r\n"), c.Search)


class AnyTextTests(GrammarCase):
    @given(
        st.sampled_from([*COMMANDS, *(b"UID " + word for word in UID_COMMANDS)]),
        st.lists(
            st.sampled_from(PIECES),
            max_size=12,
        ).map("".join),
    )  # fmt: skip
    @settings(max_examples=200)
    def test_no_exception(self, word: bytes, text: str) -> None:
        """Whatever follows a command's name, it is a command or refused."""
        if text.endswith("}"):
            return
        self.assertIsInstance(one(b"a " + word + b" " + text.encode() + b"\r\n"), c.Command | BadCommand)
