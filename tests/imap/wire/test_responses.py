"""Reading a server's responses."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import render
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.responses import MAX_DEPTH, ResponseLimits, ResponseReader
from moxtwisted.imap.wire.sequence import SequenceSet
from tests.imap.wire.reading import cut


def read(*pieces: bytes, limits: ResponseLimits | None = None) -> list[r.Response]:
    reader = ResponseReader(limits)
    found: list[r.Response] = []
    for piece in pieces:
        reader.receive(piece)
        while (response := reader.next()) is not None:
            found.append(response)
    return found


def numbers(text: bytes) -> SequenceSet:
    return SequenceSet.parse(text)


PIECES = [b"* ", b"1 ", b"FETCH ", b"(", b")", b"{1}\r\n", b"LIST ", b'"', b"OK [", b"]", b"x", b" ", b"\r\n"]
ENVELOPE = (
    b'* 12 FETCH (ENVELOPE ("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
    b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) NIL '
    b'((NIL NIL "imap" "cac.washington.edu")) NIL NIL NIL "<B27397-0100000@cac.washington.ed>") '
    b'BODY (("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)("TEXT" "HTML" NIL NIL NIL "7BIT" 9 1) "MIXED"))\r\n'
)

SESSION = (
    b"* OK [CAPABILITY IMAP4rev1 LITERAL+] ready {3}\r\n* 3 EXISTS\r\n"
    + ENVELOPE
    + b"* 2 FETCH (UID 7 BODY[HEADER.FIELDS (SUBJECT)] {5}\r\na\r\nb\n BINARY[1] ~{2}\r\n\0\xff)\r\n"
    b"* LIST (\\Noinferiors) NIL {3}\r\na b\r\n+ go on\r\na1 OK [READ-WRITE] done\r\n* bad (\r\n* X-FOO {3}\r\nbar x\r\n"
)


class ReadTests(SynchronousTestCase):
    def check(self, cases: dict[bytes, r.Response]) -> None:
        """Each line is that response."""
        for line, wanted in cases.items():
            self.assertEqual(read(line + b"\r\n"), [wanted], line)

    def test_status_responses(self) -> None:
        """Status responses with their codes."""
        code = r.ResponseCode
        status = r.StatusResponse
        self.check(
            {
                b"a OK done": status(b"a", "OK", "done"),
                b"* bye see you {5}": status(None, "BYE", "see you {5}"),
                b"* OK [UNSEEN 17] first": status(None, "OK", "first", code("UNSEEN", 17)),
                b"* OK [PERMANENTFLAGS (\\Deleted \\*)] x": status(
                    None, "OK", "x", code("PERMANENTFLAGS", ("\\Deleted", "\\*"))
                ),
                b"a OK [APPENDUID 38505 3955:3957] x": status(
                    b"a", "OK", "x", code("APPENDUID", r.AppendUid(38505, numbers(b"3955:3957")))
                ),
                b"a OK [COPYUID 1 304,319:320 3956:3958] x": status(
                    b"a",
                    "OK",
                    "x",
                    code("COPYUID", r.CopyUid(1, numbers(b"304,319:320"), numbers(b"3956:3958"))),
                ),
                b"a OK [MODIFIED 7,9] x": status(b"a", "OK", "x", code("MODIFIED", numbers(b"7,9"))),
                b"a OK [MESSAGELIMIT 1000 23221] x": status(
                    b"a", "OK", "x", code("MESSAGELIMIT", r.MessageLimit(1000, 23221))
                ),
                b"a NO [MESSAGELIMIT 3] x": status(b"a", "NO", "x", code("MESSAGELIMIT", r.MessageLimit(3))),
                b"a NO [MESSAGELIMIT x] y": status(b"a", "NO", "y", code("MESSAGELIMIT", "x")),
                b"a OK [METADATA LONGENTRIES 2199] x": status(
                    b"a", "OK", "x", code("METADATA", r.LongEntries(2199))
                ),
                b"a NO [METADATA TOOMANY] x": status(
                    b"a", "NO", "x", code("METADATA", r.MetadataRefusal("TOOMANY"))
                ),
                b"a NO [BADCHARSET (UTF-8)] x": status(b"a", "NO", "x", code("BADCHARSET", ("UTF-8",))),
                b"a NO [read-only] x": status(b"a", "NO", "x", code("READ-ONLY")),
                b"a NO [X-Y a b] x": status(b"a", "NO", "x", code("X-Y", "a b")),
                b"a OK [UIDNEXT x] y": status(b"a", "OK", "y", code("UIDNEXT", "x")),
                b"a OK": status(b"a", "OK", ""),
            }
        )

    def test_codes(self) -> None:
        """What codes of extensions say is typed; what is not as their standards say is text."""
        values: dict[bytes, r.CodeValue] = {
            b"METADATA MAXSIZE 1024": r.MetadataRefusal("MAXSIZE", 1024),
            b"METADATA NOPRIVATE": r.MetadataRefusal("NOPRIVATE"),
            b"METADATA MAXSIZE x": "MAXSIZE x",
            b"INPROGRESS": r.InProgress(),
            b'INPROGRESS ("A001" 454 1000)': r.InProgress("A001", 454, 1000),
            b"INPROGRESS (NIL 4 NIL)": r.InProgress(None, 4, None),
            b"INPROGRESS (A1 x 99999999999)": r.InProgress("A1"),
            b"INPROGRESS ((1) 2 3)": "((1) 2 3)",
            b"BADURL /INBOX;UIDVALIDITY=7/;UID=1": r.BadUrl("/INBOX;UIDVALIDITY=7/;UID=1"),
            b'BADURL "/a b"': r.BadUrl("/a b"),
            b"URLMECH INTERNAL XSAMPLE=P34OKhO7VEkCbsiYY8rGEg==": r.UrlMechanisms(
                (
                    r.UrlMechanism("INTERNAL"),
                    r.UrlMechanism("XSAMPLE", bytes.fromhex("3f7e0e2a13bb5449026ec89863cac612")),
                )
            ),
            b"URLMECH INTERNAL X=?": "INTERNAL X=?",
            b'NOUPDATE "B02"': r.NoUpdate(b"B02"),
            b"BADEVENT (MessageNew FlagChange)": r.SupportedEvents(("MessageNew", "FlagChange")),
            b"UNDEFINED-FILTER on-the-road": r.UndefinedFilter("on-the-road"),
        }
        for code, value in values.items():
            (response,) = read(b"a NO [" + code + b"] x\r\n")
            assert isinstance(response, r.StatusResponse)
            assert response.code is not None
            self.assertEqual(response.code, r.ResponseCode(code.split()[0].decode(), value))

    def test_mailbox_data(self) -> None:
        """Responses about mailboxes."""
        self.check(
            {
                b"* CAPABILITY IMAP4rev2 idle": r.Capabilities(("IMAP4REV2", "IDLE")),
                b"* ENABLED": r.Enabled(()),
                b"* FLAGS (\\Seen $Junk)": r.FlagsData(("\\Seen", "$Junk")),
                b'* LIST (\\Sent) "/" "Entw&APw-rfe"': r.ListData(("\\Sent",), "/", "Entwürfe"),
                b'* LIST () "." inbox': r.ListData((), ".", "INBOX"),
                b"* LIST () NIL bad&name": r.ListData((), None, "bad&name"),
                b'* LIST () "/" foo ("CHILDINFO" ("SUBSCRIBED"))': r.ListData(
                    (), "/", "foo", {"CHILDINFO": (b"SUBSCRIBED",)}
                ),
                b'* LSUB (\\Noselect) "/" x': r.ListData(("\\Noselect",), "/", "x", lsub=True),
                b"* STATUS x (MESSAGES 231 mailboxid (F1) APPENDLIMIT NIL)": r.StatusData(
                    "x", {"MESSAGES": 231, "MAILBOXID": "F1", "APPENDLIMIT": None}
                ),
                b"* SEARCH 2 84 882": r.SearchData((2, 84, 882)),
                b"* SEARCH": r.SearchData(()),
                b"* SEARCH 2 5 (MODSEQ 917162500)": r.SearchData((2, 5), 917162500),
                b'* ESEARCH (TAG "a3") UID ALL 4:19,21 COUNT 3': r.EsearchData(
                    b"a3", uid=True, items={"ALL": numbers(b"4:19,21"), "COUNT": 3}
                ),
                b"* ESEARCH": r.EsearchData(None, uid=False, items={}),
                b'* NAMESPACE (("" "/")) NIL (("Shared/" "/"))': r.NamespaceData(
                    (("", "/"),), (), (("Shared/", "/"),)
                ),
                b'* ID ("name" "x" "v" NIL)': r.IdData({"name": "x", "v": None}),
                b"* ID NIL": r.IdData({}),
            }
        )

    def test_message_data(self) -> None:
        """Responses about messages."""
        self.check(
            {
                b"* 23 EXISTS": r.Exists(23),
                b"* 0 RECENT": r.Recent(0),
                b"* 44 EXPUNGE": r.Expunged(44),
                b"* VANISHED (EARLIER) 41,43:116": r.VanishedData(numbers(b"41,43:116"), earlier=True),
                b"* VANISHED 1": r.VanishedData(numbers(b"1")),
                b'* 1 FETCH (FLAGS (\\seen x) UID 9 MODSEQ (65) RFC822.SIZE 44827 INTERNALDATE "17-Jul-1996 02:44:25 -0700")': (
                    r.Fetched(
                        1,
                        {
                            "FLAGS": ("\\Seen", "x"),
                            "UID": 9,
                            "MODSEQ": 65,
                            "RFC822.SIZE": 44827,
                            "INTERNALDATE": datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC),
                        },
                    )
                ),
                b"* 1 FETCH (EMAILID (M6) THREADID NIL SAVEDATE NIL BINARY.SIZE[1] 5 BODY[TEXT]<0> NIL)": r.Fetched(
                    1,
                    {
                        "EMAILID": "M6",
                        "THREADID": None,
                        "SAVEDATE": None,
                        "BINARY.SIZE[1]": 5,
                        "BODY[TEXT]<0>": None,
                    },
                ),
            }
        )

    def test_structures(self) -> None:
        """ENVELOPE and BODY are nested tuples."""
        fetched = read(ENVELOPE)[0]
        assert isinstance(fetched, r.Fetched)
        envelope, body = fetched.items["ENVELOPE"], fetched.items["BODY"]
        self.assertEqual(envelope[2], ((b"Terry Gray", None, b"gray", b"cac.washington.edu"),))
        self.assertEqual(len(envelope), 10)
        self.assertEqual((body[0][6], body[1][1], body[2]), (1152, b"HTML", b"MIXED"))

    def test_bad_responses(self) -> None:
        """What cannot be read is said, and the rest is read."""
        for line in (
            b"",
            b"*",
            b"* ",
            b"hello",
            b"* 1 FETCH (",
            b"* 1 FETCH (UID x)",
            b"* LIST x",
            b"a EXISTS",
            b"* STATUS x (A)",
        ):
            found = read(line + b"\r\n* 1 EXISTS\r\n")
            self.assertIsInstance(found[0], r.BadResponse, line)
            self.assertEqual(found[1:], [r.Exists(1)])

    def test_spaces(self) -> None:
        """Spaces where none, or one, should be do no harm, whatever stands between them."""
        for odd, usual in {
            b"*  3  EXISTS": b"* 3 EXISTS",
            b"* 1 FETCH  ( UID  3  FLAGS ( \\Seen  x ) )  ": b"* 1 FETCH (UID 3 FLAGS (\\Seen x))",
            b'* 1 FETCH (BODY ( ("a" "b" ( "c"  "d" ) ) "e" ) )': b'* 1 FETCH (BODY (("a" "b" ("c" "d")) "e"))',
            b"* FLAGS (\\Seen x )": b"* FLAGS (\\Seen x)",
            b'* LIST ( \\Noselect )  "/"  x  ("CHILDINFO" ("SUBSCRIBED" ) )': (
                b'* LIST (\\Noselect) "/" x ("CHILDINFO" ("SUBSCRIBED"))'
            ),
            b"* STATUS x  (MESSAGES 3 ) ": b"* STATUS x (MESSAGES 3)",
            b"* SEARCH  2  84 ": b"* SEARCH 2 84",
            b'* ESEARCH (TAG "a")  UID  COUNT 3 ': b'* ESEARCH (TAG "a") UID COUNT 3',
            b"* THREAD (1 )( 2)": b"* THREAD (1)(2)",
            b'* NAMESPACE (("" "/"))(("a" "/")) NIL ': b'* NAMESPACE (("" "/")) (("a" "/")) NIL',
            b"* QUOTAROOT x ": b"* QUOTAROOT x",
            b"A1  OK [READ-WRITE]  done": b"A1 OK [READ-WRITE]  done",
        }.items():
            wanted = read(usual + b"\r\n")
            self.assertNotIsInstance(wanted[0], r.BadResponse)
            self.assertEqual(read(odd + b"\r\n"), wanted, odd)
        reader = ResponseReader()
        reader.stream_octets = 2
        reader.receive(b"* 1  FETCH (UID  3 BODY[]  {3}\r\nabc)\r\n")
        self.assertEqual(reader.next(), r.LiteralStart(1, 3, "BODY[]", 3))

    def test_odd_words(self) -> None:
        """Names and keywords that are no atoms are read as they are."""
        flags = ("\\Seen", "[test]", "a]b", "50%", "a*b", "{x}", "caf\u00e9")
        said = " ".join(flags).encode()
        self.assertEqual(
            read(b"* 1 FETCH (FLAGS (" + said + b"))\r\n* FLAGS (\\Seen [test] 50% caf\xc3\xa9)\r\n"),
            [r.Fetched(1, {"FLAGS": flags}), r.FlagsData(("\\Seen", "[test]", "50%", "caf\u00e9"))],
        )
        self.assertEqual(
            read(b"* OK [PERMANENTFLAGS (\\Seen [test] a]b \\*)] some (or [all])\r\n* OK [X (a] b (c)\r\n"),
            [
                r.StatusResponse(
                    None,
                    "OK",
                    "some (or [all])",
                    r.ResponseCode("PERMANENTFLAGS", ("\\Seen", "[test]", "a]b", "\\*")),
                ),
                r.StatusResponse(None, "OK", "b (c)", r.ResponseCode("X", "(a")),
            ],
        )
        for name in ("50%", "a*b", "a\\b", "Entw\u00fcrfe", "[Gmail]/All"):
            self.assertEqual(
                read(b'* LIST () "/" ' + name.encode() + b"\r\n"), [r.ListData((), "/", name)], name
            )
        # Not the mailbox "Sent".
        for line in (
            b'* LIST () "/" Sent Items',
            b'* LIST () "/" "Sent"Items',
            b"* LIST () NIL Sent Items (x)",
        ):
            self.assertIsInstance(read(line + b"\r\n")[0], r.BadResponse, line)

    def test_odd_strings(self) -> None:
        """In a quoted string, a backslash that escapes nothing stands for itself, and any octets may be there."""
        for said, meant in {
            rb'"C:\temp\x.doc"': rb"C:\temp\x.doc",
            rb'"a\"b\\c"': rb'a"b\c',
            b'"a\rb\0\xff"': b"a\rb\0\xff",
        }.items():
            found = read(b"* 1 FETCH (X-Y_Z " + said + b")\r\n")
            self.assertEqual(found, [r.Fetched(1, {"X-Y_Z": meant})])

    def test_quoted_field_names(self) -> None:
        """RFC 9051 section 9: header-fld-name is an astring, so that quotes make no difference where an atom would do."""
        line = b'* 1 FETCH (BODY[HEADER.FIELDS ("Subject" "x]y" From)] {3}\r\na:b)\r\n'
        label = 'BODY[HEADER.FIELDS (SUBJECT "X]Y" FROM)]'
        self.assertEqual(read(line), [r.Fetched(1, {label: b"a:b"})])
        reader = ResponseReader()
        reader.stream_octets = 2
        reader.receive(b'* 1 FETCH (BODY[HEADER.FIELDS ("Subject")] {3}\r\n')
        self.assertEqual(reader.next(), r.LiteralStart(1, None, "BODY[HEADER.FIELDS (SUBJECT)]", 3))

    def test_dates(self) -> None:
        """A day may have one digit; a date that there is not is none."""
        for said, meant in {
            b'" 1-Jan-2020 00:00:00 +0000"': datetime(2020, 1, 1, tzinfo=UTC),
            b'"1-Jan-2020 00:00:00 +0000"': datetime(2020, 1, 1, tzinfo=UTC),
            b"{25}\r\n1-Jan-2020 00:00:00 +0000": datetime(2020, 1, 1, tzinfo=UTC),
            b'"00-Jan-0000 00:00:00 +0000"': None,
            b'"Wed, 1 Jan 2020 00:00:00 GMT"': None,
            b'""': None,
            b"NIL": None,
        }.items():
            found = read(b"* 1 FETCH (INTERNALDATE " + said + b" UID 2)\r\n")
            self.assertEqual(found, [r.Fetched(1, {"INTERNALDATE": meant, "UID": 2})], said)

    def test_numbers(self) -> None:
        """Numbers above what the grammar has (RFC 9051 section 9; 63 bits for RFC 7162 section 7) are refused, and the rest is read."""
        number, number64 = 2**32 - 1, 2**63 - 1
        for text, most in (
            (b"* %d EXISTS", number),
            (b"* %d RECENT", number),
            (b"* %d EXPUNGE", number),
            (b"* %d FETCH (FLAGS ())", number),
            (b"* %d UIDFETCH (FLAGS ())", number),
            (b"* 1 FETCH (UID %d)", number),
            (b"* 1 FETCH (MODSEQ (%d))", number64),
            (b"* 1 FETCH (RFC822.SIZE %d)", number64),
            (b"* SEARCH 1 %d", number),
            (b"* SEARCH 1 (MODSEQ %d)", number64),
            (b"* SORT 1 %d", number),
            (b"* SORT 1 (MODSEQ %d)", number64),
            (b"* THREAD (1 (2)(%d))", number),
            (b"* ESEARCH UID ALL 1:%d", number),
            (b"* ESEARCH UID COUNT %d", number),
            (b"* ESEARCH UID MIN %d", number),
            (b"* ESEARCH UID MODSEQ %d", number64),
            (b"* ESEARCH UID ADDTO (%d 1)", number),
            (b"* ESEARCH UID PARTIAL (1:2 1:%d)", number),
            (b"* VANISHED %d", number),
            (b"* STATUS x (MESSAGES %d)", number),
            (b"* STATUS x (UIDNEXT %d)", number),
            (b"* STATUS x (UIDVALIDITY %d)", number),
            (b"* STATUS x (HIGHESTMODSEQ %d)", number64),
            (b"* STATUS x (SIZE %d)", number64),
            (b"* OK [UIDVALIDITY %d] x", number),
            (b"* OK [UIDNEXT %d] x", number),
            (b"a OK [HIGHESTMODSEQ %d] x", number64),
            (b'* QUOTA "" (STORAGE 1 %d)', number64),
        ):
            for value, refused in ((most, False), (most + 1, True), (2**64, True), (10**25, True)):
                found = read(text % value + b"\r\n* 1 EXISTS\r\n")
                self.assertEqual(isinstance(found[0], r.BadResponse), refused, text % value)
                self.assertEqual(found[1:], [r.Exists(1)])
        for text in (
            b"* 0 EXPUNGE",
            b"* 0 FETCH (FLAGS ())",
            b"* SEARCH 0",
            b"* SORT 0",
            b"* THREAD (0)",
            b"* 1 FETCH (UID 0)",
        ):
            self.assertIsInstance(read(text + b"\r\n")[0], r.BadResponse, text)
        # It ends the reading: nobody knows where the literal would end.
        found = read(b"* 1 FETCH (BODY[] {%d}\r\n" % 2**63, b"* 1 EXISTS\r\n")
        self.assertEqual([type(response) for response in found], [r.BadResponse])

    def test_other_data(self) -> None:
        """Data of unknown names is handed on."""
        self.assertEqual(read(b"* 7 X_FOO y\r\n"), [r.OtherData("X_FOO", b"7 X_FOO y")])
        self.assertEqual(
            read(b"* XQUOTA x (STORAGE 1 2)\r\n"), [r.OtherData("XQUOTA", b"XQUOTA x (STORAGE 1 2)")]
        )

    def test_depth(self) -> None:
        """Nesting is limited."""
        for depth, of in {
            MAX_DEPTH - 1: r.Fetched,
            MAX_DEPTH + 1: r.BadResponse,
            100000: r.BadResponse,
        }.items():
            text = b"* 1 FETCH (BODY " + b"(" * depth + b"x" + b")" * depth + b")\r\n"
            self.assertIsInstance(read(text)[0], of)

    def test_limits(self) -> None:
        """A line or literal over the limits ends the reading."""
        limits = ResponseLimits(line_octets=100, literal_octets=50, response_octets=80)
        for text in (
            b"x" * 101,
            b"* 1 FETCH (BODY[] {51}\r\n",
            b"* 1 FETCH (BODY[] {40}\r\n" + b"x" * 40 + b" A {40}\r\n",
        ):
            found = read(text, b"* 1 EXISTS\r\n", limits=limits)
            self.assertEqual([type(response) for response in found], [r.BadResponse])

    @given(st.lists(st.integers(0, len(SESSION)), max_size=20))
    @settings(max_examples=100)
    def test_any_cuts(self, places: list[int]) -> None:
        """Cuts make no difference."""
        whole = read(SESSION)
        self.assertEqual(read(*cut(SESSION, places)), whole)
        self.assertEqual(len(whole), 9)

    @given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES)).map(b"".join))
    @settings(max_examples=200)
    def test_any_octets(self, text: bytes) -> None:
        """Any octets give responses, never an exception."""
        read(text + b"\r\n")


class OwnServerTests(SynchronousTestCase):
    def test_what_we_render_is_read(self) -> None:
        """What our server writes is read as it was meant."""
        text = render.list_response("a/ü b", ["\\HasChildren"], utf8=False) + render.fetch(
            3, [b"UID 7", b"BODY[] " + render.literal(b"x\r\n"), b"FLAGS " + render.flags(["\\Seen"])]
        )
        self.assertEqual(
            read(text),
            [
                r.ListData(("\\HasChildren",), "/", "a/ü b"),
                r.Fetched(3, {"UID": 7, "BODY[]": b"x\r\n", "FLAGS": ("\\Seen",)}),
            ],
        )
