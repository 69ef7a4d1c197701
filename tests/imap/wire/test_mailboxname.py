"""Mailbox names: encodings, rules, patterns."""

from __future__ import annotations

import re
import time
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.wire.mailboxname import (
    ListPattern,
    MailboxNameError,
    canonical,
    combine,
    decode,
    decode_utf7,
    encode,
    encode_utf7,
    validate,
)

names = st.text(st.characters(codec="utf-8"), max_size=20)


class EncodingTests(SynchronousTestCase):
    def test_rfc_example(self) -> None:
        """The example of RFC 3501 section 5.1.3 with English, Chinese and Japanese."""
        octets = b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"
        self.assertEqual(decode_utf7(octets), "~peter/mail/台北/日本語")
        self.assertEqual(encode_utf7("~peter/mail/台北/日本語"), octets)

    def test_ampersand(self) -> None:
        """& is written as &-."""
        self.assertEqual(encode_utf7("a&b&&"), b"a&-b&-&-")
        self.assertEqual(decode_utf7(b"a&-b&-&-"), "a&b&&")

    def test_beyond_the_first_plane(self) -> None:
        """Characters above U+FFFF are surrogate pairs inside."""
        self.assertEqual(decode_utf7(encode_utf7("a\U0001f600b")), "a\U0001f600b")

    def test_refused(self) -> None:
        """Shifts that are open, empty of sense, superfluous, or hide ASCII are refused, and so are 8-bit octets."""
        for octets in (
            b"&",
            b"a&b",
            b"&Jjo",
            b"&Jjo!",
            b"&U,BTFw-&ZeVnLIqe-",  # RFC 3501: superfluous shift
            b"&AGE-",  # an "a" in BASE64
            b"&2AA-",  # half a surrogate pair
            b"&AAA=-",
            b"\xc3\xbc",
        ):
            self.assertRaises(MailboxNameError, decode_utf7, octets)

    def test_inbox(self) -> None:
        """INBOX is the same in any case, as a name and as first level, and nothing else is."""
        self.assertEqual(decode(b"iNbOx", utf8=False), "INBOX")
        self.assertEqual(decode(b"inbox/Sub", utf8=True), "INBOX/Sub")
        self.assertEqual(decode(b"inboxes", utf8=True), "inboxes")
        self.assertEqual(decode(b"a/inbox", utf8=True), "a/inbox")

    def test_composed(self) -> None:
        """RFC 5198: a decomposed name is composed."""
        self.assertEqual(decode("u\u0308".encode(), utf8=True), "ü")
        self.assertEqual(decode(encode_utf7("u\u0308"), utf8=False), "ü")

    def test_utf8(self) -> None:
        """With UTF-8 on, octets are UTF-8 and & is itself."""
        self.assertEqual(decode("ü&-".encode(), utf8=True), "ü&-")
        self.assertEqual(encode("ü&", utf8=True), "ü&".encode())
        self.assertRaises(MailboxNameError, decode, b"\xff", utf8=True)

    @given(names)
    @settings(max_examples=200)
    def test_round_trip(self, name: str) -> None:
        """Every name has one encoding, of printable ASCII, that decodes to it."""
        octets = encode_utf7(name)
        self.assertTrue(all(0x20 <= octet < 0x7F for octet in octets))
        self.assertEqual(decode_utf7(octets), name)

    @given(st.binary(max_size=20) | st.text("&-AbQ,9=", max_size=12).map(str.encode))
    @settings(max_examples=200)
    def test_any_octets(self, octets: bytes) -> None:
        """What decodes encodes to the same octets."""
        try:
            name = decode_utf7(octets)
        except MailboxNameError:
            return
        if all(0x20 <= octet < 0x7F for octet in octets):
            self.assertEqual(encode_utf7(name), octets)


class ValidateTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Usual names pass."""
        for name in ("INBOX", "Archive/2020", "日本語", "a & b", "/".join("a" * 40), "x" * 255, "\U0001fae9"):
            validate(name)

    def test_bad(self) -> None:
        """Names that clients or file systems cannot cope with do not."""
        for name in (
            "", "/a", "a/", "a//b", ".", "..", "../../x", "a/./b",
            "a*", "a%", "#news", "a\x01", "a\x7f", "a\x85", "a\u2028", "/".join("a" * 41),
            "x" * 256, "é" * 200, "/".join(["x" * 200] * 6), "\ufffe", "\U0001ffff", "\ufdd0",
        ):  # fmt: skip
            self.assertRaises(MailboxNameError, validate, name)

    def test_any(self) -> None:
        """No text makes it fail otherwise."""
        validate(canonical("e\u0301"))
        self.assertRaises(MailboxNameError, validate, "\ud800")


class PatternTests(SynchronousTestCase):
    def test_wildcards(self) -> None:
        """* crosses levels and % does not (RFC 9051 section 6.3.9)."""
        every = ["INBOX", "INBOX/a", "foo", "foo/bar", "foo/bar/baz", "food"]
        for pattern, wanted in {
            "*": every,
            "%": ["INBOX", "foo", "food"],
            "foo/%": ["foo/bar"],
            "foo*": ["foo", "foo/bar", "foo/bar/baz", "food"],
            "%/%": ["INBOX/a", "foo/bar"],
            "*ba%": ["foo/bar", "foo/bar/baz"],
            "foo%*baz": ["foo/bar/baz"],
            "": [],
            "foo": ["foo"],
            "inb%": ["INBOX"],
            "inbox/A": [],
            "inbox/a": ["INBOX/a"],
        }.items():
            found = ListPattern(pattern)
            self.assertEqual([name for name in every if found.matches(name)], wanted, pattern)

    def test_no_blow_up(self) -> None:
        """A pattern made to backtrack costs no more than its length times the name's."""
        found = ListPattern("*a%" * 300 + "b")
        before = time.process_time()
        self.assertFalse(found.matches("a" * 1000))
        self.assertLess(time.process_time() - before, 0.5)

    def test_combine(self) -> None:
        """The reference is a prefix; a pattern from the root replaces it."""
        self.assertEqual(combine("", "%"), "%")
        self.assertEqual(combine("foo/", "%"), "foo/%")
        self.assertEqual(combine("foo", "/bar"), "bar")
        self.assertEqual(combine("foo/", "/bar"), "foo/bar")
        self.assertEqual(combine("in", "box"), "INBOX")

    @given(st.text("ab/%*", max_size=8), st.text("ab/", max_size=10))
    @settings(max_examples=200)
    def test_against_regular_expressions(self, pattern: str, name: str) -> None:
        """Matching agrees with the pattern written as a regular expression."""
        expression = "".join({"*": ".*", "%": "[^/]*"}.get(c) or re.escape(c) for c in pattern)
        self.assertEqual(ListPattern(pattern).matches(name), re.fullmatch(expression, name) is not None)

    def test_endless_marks(self) -> None:
        """What is too long for a name is not composed: with a hundred thousand combining marks that takes minutes."""
        name = "e" + "\u0301\u0323" * 50_000
        self.assertEqual(canonical(name), name)
        self.assertEqual(canonical("inbox/" + name), "INBOX/" + name)

    @given(names)
    @settings(max_examples=50)
    def test_canonical_is_composed(self, name: str) -> None:
        """A canonical name is in NFC."""
        self.assertTrue(unicodedata.is_normalized("NFC", canonical(name)))
