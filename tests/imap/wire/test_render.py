"""What a server says: strings, dates, responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.lexer import Cursor
from moxtwisted.imap.wire.responsecursor import ResponseCursor


class StringTests(SynchronousTestCase):
    def test_quoted_or_literal(self) -> None:
        """What can be quoted is, the rest is a literal."""
        cases: dict[bytes | str, bytes] = {
            b"": b'""',
            b'a"b\\': b'"a\\"b\\\\"',
            b"a\r\nb": b"{4}\r\na\r\nb",
            b"a\nb": b"{3}\r\na\nb",
            "ü": b"{2}\r\n\xc3\xbc",
            b"x" * 5000: b"{5000}\r\n" + b"x" * 5000,
        }
        for value, written in cases.items():
            self.assertEqual(render.string(value), written)

    def test_utf8(self) -> None:
        """With UTF-8 on, UTF-8 is quoted, and what is no UTF-8 still is not."""
        self.assertEqual(render.string("ü", utf8=True), b'"\xc3\xbc"')
        self.assertEqual(render.string(b"\xff", utf8=True), b"{1}\r\n\xff")

    def test_astring(self) -> None:
        """An astring is bare when it may be, and never a bare NIL."""
        self.assertEqual(render.astring("a]b"), b"a]b")
        for value in ("NIL", "nil", "a b", "", "a%", "a*", "(", "{3}", '"'):
            self.assertTrue(render.astring(value).startswith(b'"'), value)
        self.assertEqual(render.nstring(None), b"NIL")
        self.assertEqual(render.nstring("NIL"), b'"NIL"')

    def test_mailbox(self) -> None:
        """Names are written in the encoding that was enabled."""
        self.assertEqual(render.mailbox("Entwürfe", utf8=False), b"Entw&APw-rfe")
        self.assertEqual(render.mailbox("Entwürfe", utf8=True), '"Entwürfe"'.encode())

    @given(st.binary(max_size=60), st.booleans())
    @settings(max_examples=200)
    def test_round_trip(self, value: bytes, utf8: bool) -> None:
        """A string that was written is read back."""
        written = render.string(value, utf8=utf8)
        literals = iter([value])
        text = written[: -len(value)] if written.startswith(b"{") and value else written
        cursor = ResponseCursor(text, 0, literals, utf8=utf8)
        self.assertEqual(cursor.string(), value)
        self.assertTrue(cursor.at_end())


class DateTests(SynchronousTestCase):
    def test_form(self) -> None:
        """RFC 9051 section 9: the day has two places, the zone four digits."""
        zone = timezone(timedelta(hours=-7))
        self.assertEqual(
            render.date_time(datetime(1996, 7, 7, 2, 44, 25, tzinfo=zone)), b'" 7-Jul-1996 02:44:25 -0700"'
        )
        self.assertEqual(render.date_time_seconds(0), b'" 1-Jan-1970 00:00:00 +0000"')
        self.assertEqual(render.date_time_seconds(0, -90), b'"31-Dec-1969 22:30:00 -0130"')

    @given(
        st.datetimes(datetime(1900, 1, 1), datetime(9999, 1, 1)),  # noqa: DTZ001 the zone is added below
        st.integers(-14 * 60, 14 * 60),
    )
    @settings(max_examples=100)
    def test_round_trip(self, moment: datetime, minutes: int) -> None:
        """A date that was written is read back, to the second."""
        value = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)) if minutes else UTC)
        found = Cursor(render.date_time(value)).date_time()
        self.assertEqual((found, found.utcoffset()), (value, value.utcoffset()))


class ResponseTests(SynchronousTestCase):
    def test_status_responses(self) -> None:
        """Status responses with and without code; the text is one line of ASCII and never looks like a code."""
        self.assertEqual(render.tagged(b"a", b"OK", "done"), b"a OK done\r\n")
        code = render.code_appenduid(38505, b"3955")
        self.assertEqual(render.tagged(b"a", b"OK", "done", code), b"a OK [APPENDUID 38505 3955] done\r\n")
        self.assertEqual(render.untagged(b"NO", "x\r\ny\xfc"), b"* NO x y\r\n")
        self.assertEqual(render.untagged(b"NO", "ü\r\n", utf8=True), b"* NO \xc3\xbc\r\n")
        self.assertEqual(render.untagged(b"BYE", ""), b"* BYE done\r\n")
        self.assertEqual(render.untagged(b"OK", "[ALERT] x"), b"* OK ALERT] x\r\n")
        self.assertEqual(
            render.untagged(b"OK", "x", render.code_copyuid(1, b"2:3", b"5:6")),
            b"* OK [COPYUID 1 2:3 5:6] x\r\n",
        )
        self.assertEqual(render.continuation(""), b"+ \r\n")
        self.assertEqual(render.code_permanentflags(["\\Seen", "x"]), b"PERMANENTFLAGS (\\Seen x \\*)")

    def test_messages(self) -> None:
        """Responses about messages."""
        self.assertEqual(render.exists(23), b"* 23 EXISTS\r\n")
        self.assertEqual(render.expunge(44), b"* 44 EXPUNGE\r\n")
        self.assertEqual(render.vanished([4, 5, 7], earlier=True), b"* VANISHED (EARLIER) 4:5,7\r\n")
        self.assertEqual(render.vanished([]), b"")
        self.assertEqual(render.fetch(12, [b"UID 5", b"FLAGS ()"]), b"* 12 FETCH (UID 5 FLAGS ())\r\n")
        self.assertEqual(
            render.fetch_many(b"* %d FETCH (UID %d FLAGS %b)\r\n", [(1, 7, b"()"), (2, 9, b"(x)")]),
            b"* 1 FETCH (UID 7 FLAGS ())\r\n* 2 FETCH (UID 9 FLAGS (x))\r\n",
        )
        self.assertEqual(render.search([2, 84, 882]), b"* SEARCH 2 84 882\r\n")
        self.assertEqual(render.search([2], 917162500), b"* SEARCH 2 (MODSEQ 917162500)\r\n")
        self.assertEqual(render.search([], 5), b"* SEARCH\r\n")

    def test_esearch(self) -> None:
        """The examples of RFC 9051 section 7.3.4."""
        self.assertEqual(
            render.esearch(b"a3", render.EsearchResult(count=5, every=b"4:19,21,28"), uid=True),
            b'* ESEARCH (TAG "a3") UID ALL 4:19,21,28 COUNT 5\r\n',
        )
        self.assertEqual(
            render.esearch(b'a"', render.EsearchResult(2, 9, modseq=7), uid=False),
            b'* ESEARCH (TAG "a\\"") MIN 2 MAX 9 MODSEQ 7\r\n',
        )

    def test_mailboxes(self) -> None:
        """LIST, LSUB, STATUS, NAMESPACE, ID and lists of words."""
        self.assertEqual(
            render.list_response("foo2", [], utf8=False, child_info=["SUBSCRIBED"]),
            b'* LIST () "/" foo2 ("CHILDINFO" ("SUBSCRIBED"))\r\n',
        )
        self.assertEqual(
            render.list_response("NewMailbox", ["\\Sent"], utf8=False, old_name="a b"),
            b'* LIST (\\Sent) "/" NewMailbox ("OLDNAME" ("a b"))\r\n',
        )
        self.assertEqual(
            render.lsub_response("x", ["\\Noselect"], utf8=False), b'* LSUB (\\Noselect) "/" x\r\n'
        )
        self.assertEqual(
            render.status("x", [("MESSAGES", 231), ("MAILBOXID", "F2"), ("APPENDLIMIT", None)], utf8=False),
            b"* STATUS x (MESSAGES 231 MAILBOXID (F2) APPENDLIMIT NIL)\r\n",
        )
        self.assertEqual(render.namespace(utf8=False), b'* NAMESPACE (("" "/")) NIL NIL\r\n')
        self.assertEqual(
            render.namespace([""], ["Other Users/"], utf8=False),
            b'* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL\r\n',
        )
        self.assertEqual(render.id_response([("name", "x"), ("v", None)]), b'* ID ("name" "x" "v" NIL)\r\n')
        self.assertEqual(render.id_response([]), b"* ID NIL\r\n")
        self.assertEqual(render.capability(["IMAP4rev1", "IDLE"]), b"* CAPABILITY IMAP4rev1 IDLE\r\n")
        self.assertEqual(render.enabled([]), b"* ENABLED\r\n")
        self.assertEqual(render.flags([]), b"()")
