"""Address lists in header fields."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.addresslist import (
    MAX_ADDRESSES,
    GroupEnd,
    GroupStart,
    HeaderAddress,
    mailboxes,
    parse_address_list,
)


def plain(octets: bytes) -> list[object]:
    """Entries as tuples, group names as octets, None for the end of a group."""
    out: list[object] = []
    for entry in parse_address_list(octets):
        if isinstance(entry, HeaderAddress):
            out.append((entry.name, entry.local, entry.domain))
        else:
            out.append(entry.name if isinstance(entry, GroupStart) else None)
    return out


class AddressListTests(SynchronousTestCase):
    """parse_address_list."""

    def test_standard_forms(self) -> None:
        """The forms of RFC 5322 section 3.4 and appendix A."""
        for octets, expected in (
            (b"a@b", [(None, b"a", b"b")]),
            (b"<a@b>", [(None, b"a", b"b")]),
            (b"A B <a@b>", [(b"A B", b"a", b"b")]),
            (b'"A, B" <a@b>', [(b"A, B", b"a", b"b")]),
            (b'"A \\"B\\" C" <a@b>', [(b'A "B" C', b"a", b"b")]),
            (b'"" <a@b>', [(b"", b"a", b"b")]),
            (b"a@b, C <c@d>,e@f", [(None, b"a", b"b"), (b"C", b"c", b"d"), (None, b"e", b"f")]),
            (b"A\r\n B\r\n\t<a@b>", [(b"A B", b"a", b"b")]),
            (b"a@b (Full Name)", [(b"Full Name", b"a", b"b")]),
            (b"a@b (outer (inner) \\) x)", [(b"outer (inner) ) x", b"a", b"b")]),
            (b'"a b"@c', [(None, b"a b", b"c")]),
            (b"a@[192.0.2.1]", [(None, b"a", b"[192.0.2.1]")]),
            (b"A <a@[IPv6:::1]>", [(b"A", b"a", b"[IPv6:::1]")]),
            (b"Who? <one@y.test>", [(b"Who?", b"one", b"y.test")]),
            (
                b"Joe Q. Public <john.q.public@example.com>",
                [(b"Joe Q. Public", b"john.q.public", b"example.com")],
            ),
            (b"T: a@b, C <c@d>;", [b"T", (None, b"a", b"b"), (b"C", b"c", b"d"), None]),
            (b"undisclosed recipients:;", [b"undisclosed recipients", None]),
            (b'"A:B": a@b;, c@d', [b"A:B", (None, b"a", b"b"), None, (None, b"c", b"d")]),
        ):
            self.assertEqual(plain(octets), expected, octets)

    def test_obsolete_forms(self) -> None:
        """Routes, spaces around @ and dots, empty elements (RFC 5322 section 4.4)."""
        for octets, expected in (
            (b"Mary <@machine.tld:mary@example.net>", [(b"Mary", b"mary", b"example.net")]),
            (b"<@a,@b:mary@example.net>", [(None, b"mary", b"example.net")]),
            (b"jdoe@test  . example", [(None, b"jdoe", b"test.example")]),
            (b"john . doe @ example", [(None, b"john.doe", b"example")]),
            (b",, a@b ,,", [(None, b"a", b"b")]),
        ):
            self.assertEqual(plain(octets), expected, octets)

    def test_broken_forms(self) -> None:
        """What senders get wrong is read as well as may be."""
        for octets, expected in (
            (b"", []),
            (b" \r\n ", []),
            (b"nobody", [(None, b"nobody", b"")]),
            (b"A B", [(None, b"A B", b"")]),
            (b"Foo <foo>", [(b"Foo", b"foo", b"")]),
            (b"A <>", [(b"A", b"", b"")]),
            (b"<>", []),
            (b"<a@b", [(None, b"a", b"b")]),
            (b"a@b>", [(None, b"a", b"b")]),
            (b"A <a@b> junk, c@d", [(b"A", b"a", b"b"), (None, b"c", b"d")]),
            (b"a@b c@d", [(None, b"a", b"b"), (None, b"c", b"d")]),
            (b"A <a@b> C <c@d>", [(b"A", b"a", b"b"), (b"C", b"c", b"d")]),
            (b"a@b; c@d", [(None, b"a", b"b"), (None, b"c", b"d")]),
            (b"a@b@c", [(None, b"a@b", b"c")]),
            (b"a@b <c@d>", [(b"a@b", b"c", b"d")]),
            (b'"a@b" <c@d>', [(b"a@b", b"c", b"d")]),
            (b"A (open <a@b>", [(b"open <a@b>", b"A", b"")]),
            (b'"open <a@b>', [(None, b"open <a@b>", b"")]),
            (b"T: a@b", [b"T", (None, b"a", b"b"), None]),
            (b"A <a@b>;", [(b"A", b"a", b"b")]),
            (b"A <mailto:a@b>", [(b"A", b"a", b"b")]),
        ):
            self.assertEqual(plain(octets), expected, octets)

    def test_text(self) -> None:
        """Names are decoded on request; UTF-8 addresses are text (RFC 6532)."""
        entry = mailboxes("=?utf-8?q?J=C3=BC?= <jü@münster.example>".encode())[0]
        self.assertEqual((entry.display_name, entry.address), ("Jü", "jü@münster.example"))
        self.assertEqual(HeaderAddress(None, b"a", b"b").display_name, "")
        self.assertEqual(len(mailboxes(b"T: a@b, c@d;")), 2)

    def test_bounded(self) -> None:
        """No more than ten thousand entries are read, on either way through."""
        self.assertEqual(len(parse_address_list(b"a@b," * (MAX_ADDRESSES + 9))), MAX_ADDRESSES)
        self.assertLessEqual(len(parse_address_list(b"(c)," + b"a@b," * (MAX_ADDRESSES + 9))), MAX_ADDRESSES)

    @settings(max_examples=200)
    @given(st.text(st.sampled_from('ab@.,;:<>()[]"\\ \t\r\nü\0'), max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any octets are read, groups that begin also end, and no name has a line end."""
        open_groups = 0
        for entry in parse_address_list(text.encode()):
            if isinstance(entry, GroupStart):
                open_groups += 1
            elif isinstance(entry, GroupEnd):
                open_groups -= 1
            else:
                self.assertNotIn(b"\n", (entry.name or b"") + entry.local + entry.domain)
        self.assertEqual(open_groups, 0)
