"""Address fields that every program reads alike, and all others."""

from __future__ import annotations

import time
from email.utils import getaddresses

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.addresslist import mailboxes
from moxtwisted.message.comments import without_comments
from moxtwisted.server.submission.authors import authors

OWN = b"me@x.example"
PIECES = [
    *(bytes((c,)) for c in b'"()\\<>,;:@[] .a'),
    b"\r\n ",
    b"boss@bank.example",
    b"<boss@bank.example>",
    OWN,
    b"<" + OWN + b">",
    b"=?utf-8?q?boss=40bank.example=2C?=",
]
FIELDS = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


class ReadingTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Local parts come unquoted, domains as they stand, and comments and groups are gone."""
        for value, want in (
            (b" a@b.example\r\n", [(b"a", b"b.example")]),
            (b'"a b\\"@"@c', [(b'a b"@', b"c")]),
            (b"A (x (y) \\) z) B <a.b@c>, d@e", [(b"a.b", b"c"), (b"d", b"e")]),
            (b"A: a@b, <c@d>;, e@f", [(b"a", b"b"), (b"c", b"d"), (b"e", b"f")]),
            ("Ä <ä@ö.example>".encode(), [("ä".encode(), "ö.example".encode())]),
            (b"", []),
            (b"(nobody)", []),
            (b"A:;", []),
        ):
            self.assertEqual(authors(value), want, value)

    def test_comments(self) -> None:
        """A comment is a space; quotes in it count only for those who look for strings there."""
        self.assertEqual(without_comments(b'a(b"c)d'), b"a d")
        self.assertEqual(without_comments(b'a("b)c")d', strings_in_comments=True), b"a d")
        self.assertIsNone(without_comments(b'a("b)d', strings_in_comments=True))
        self.assertEqual(without_comments(b'"(" a'), b'"(" a')
        for open_ended in (b"(", b")", b'"', b'"\\"', b"(\\)", b"\\", b"a\\", b"(()", b"(" * 11 + b")" * 11):
            self.assertIsNone(without_comments(open_ended), open_ended)

    @given(st.one_of(st.binary(max_size=60), FIELDS))
    @settings(max_examples=200)
    def test_anything(self, value: bytes) -> None:
        """Nothing raises, and the tolerant reading sees the same addresses."""
        found = authors(value)
        if found:
            read = [(entry.local, entry.domain) for entry in mailboxes(value) if entry.domain]
            self.assertEqual(read, found)

    @given(FIELDS.filter(lambda value: b"\r" not in value))
    @settings(max_examples=200)
    def test_another_reader(self, value: bytes) -> None:
        """Another parser sees nobody else in a field of our own addresses."""
        found = authors(value)
        if found and all(b"@".join(author) == OWN for author in found):
            others = [address for _, address in getaddresses([value.decode()]) if address != OWN.decode()]
            self.assertFalse([address for address in others if "@bank" in address], value)

    def test_linear(self) -> None:
        """Sixteen times the octets take no hundred times as long."""
        for piece in (
            b"a\\(",
            b'(")',
            b"()",
            b'""',
            b'a"b',
            b'\\"',
            b"a ",
            b",",
            b'""@a,',
            b"a:;,",
            b"(",
            b"<",
        ):
            for start in (b"", b"x (", b'"', b"a <"):
                spent = []
                for count in (1000, 16_000):
                    before = time.process_time()
                    authors(start + piece * count)
                    spent.append(time.process_time() - before)
                self.assertLess(spent[1], 100 * spent[0] + 0.1, (start, piece, spent))
