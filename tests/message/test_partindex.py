"""Sections of a message by their IMAP names."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.partindex import PartIndex, Section
from tests.message.test_corpus import CORPUS, scan
from tests.message.test_mime import MESSAGES

# RFC 9051 section 6.4.5.1 has this message as its example.
EXAMPLE = b"""Subject: root\r
Content-Type: multipart/mixed; boundary=a\r
\r
--a\r
Content-Type: text/plain\r
\r
one\r
--a\r
Content-Type: application/octet-stream\r
Content-Transfer-Encoding: BASE64\r
\r
dHdv\r
--a\r
Content-Type: message/rfc822\r
\r
Subject: three\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
\r
three.one\r
--b\r
Content-Transfer-Encoding: x-other\r
\r
three.two\r
--b--\r
--a\r
Content-Type: multipart/mixed; boundary=c\r
\r
--c\r
Content-Type: image/gif\r
\r
four.one\r
--c\r
Content-Type: message/rfc822\r
\r
Subject: four.two\r
Content-Type: multipart/mixed; boundary=d\r
\r
--d\r
\r
four.two.one\r
--d\r
Content-Type: multipart/alternative; boundary=e\r
\r
--e\r
\r
four.two.two.one\r
--e\r
Content-Type: text/richtext\r
\r
four.two.two.two\r
--e--\r
--d--\r
--c--\r
--a--\r
"""


class SectionTests(SynchronousTestCase):
    """PartIndex.section and lookup."""

    def setUp(self) -> None:
        self.index = PartIndex.decode(PartIndex.of(scan(EXAMPLE)).encode())

    def octets(self, name: str, message: bytes = EXAMPLE, index: PartIndex | None = None) -> bytes | None:
        found = (index or self.index).section(name)
        return None if found is None else message[found[0] : found[0] + found[1]]

    def test_leaves(self) -> None:
        """Numbers lead to bodies, through multiparts and messages."""
        for name, body in (
            ("1", b"one"),
            ("2", b"dHdv"),
            ("3.1", b"three.one"),
            ("3.2", b"three.two"),
            ("4.1", b"four.one"),
            ("4.2.1", b"four.two.one"),
            ("4.2.2.1", b"four.two.two.one"),
            ("4.2.2.2", b"four.two.two.two"),
        ):
            self.assertEqual(self.octets(name), body, name)

    def test_headers_and_texts(self) -> None:
        """HEADER and TEXT are those of the message, MIME those of the part; names have any case."""
        self.assertEqual(self.octets(""), EXAMPLE)
        self.assertEqual(self.octets("HEADER"), EXAMPLE[: EXAMPLE.index(b"--a")])
        self.assertEqual(self.octets("text"), EXAMPLE[EXAMPLE.index(b"--a") :])
        self.assertEqual(self.octets("3.MIME"), b"Content-Type: message/rfc822\r\n\r\n")
        self.assertEqual(
            self.octets("3.header"), b"Subject: three\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        )
        text = self.octets("3.TEXT")
        assert text is not None
        self.assertTrue(text.startswith(b"--b\r\n"))
        self.assertTrue(text.endswith(b"--b--"))
        header = self.octets("3.HEADER")
        assert header is not None
        self.assertEqual(self.octets("3"), header + text)
        self.assertEqual(self.octets("4.2.2.2.MIME"), b"Content-Type: text/richtext\r\n\r\n")

    def test_missing(self) -> None:
        """Sections that the message does not have, and words that name none, are None."""
        for name in (
            *("0", "5", "1.1", "1.HEADER", "1.TEXT", "4.HEADER", "3.3", "3.1.1", "MIME"),
            *("HEADER.1", "1.", ".1", "1..2", "-1", "x", "1.x", "99999999", "²", "1.MIME.2", "TEXT.MIME"),
        ):
            self.assertIsNone(self.index.section(name), name)
            self.assertIsNone(self.index.lookup(name), name)

    def test_single_part(self) -> None:
        """A message that is no multipart has part 1, its body."""
        message = b"Subject: x\r\n\r\nbody\r\n"
        index = PartIndex.of(scan(message))
        self.assertEqual(self.octets("1", message, index), b"body\r\n")
        self.assertEqual(self.octets("1.MIME", message, index), b"Subject: x\r\n\r\n")
        self.assertIsNone(index.section("1.1"))
        self.assertIsNone(index.section("2"))

    def test_message_as_body(self) -> None:
        """When the message itself is message/rfc822, part 1 is the message within."""
        message = (CORPUS / "message-in-message.eml").read_bytes()
        index = PartIndex.of(scan(message))
        header = self.octets("1.HEADER", message, index)
        assert header is not None
        self.assertTrue(header.startswith(b"From: middle@a.example\r\n"))
        self.assertEqual(self.octets("1.1", message, index), b"cover")
        self.assertEqual(self.octets("1.2.1", message, index), b"deep text")
        self.assertEqual(self.octets("1.2.TEXT", message, index), b"deep text")

    def test_encodings(self) -> None:
        """BINARY learns how a part is encoded, and that some have no single content."""
        self.assertEqual(self.index.lookup("2"), Section(EXAMPLE.index(b"dHdv"), 4, "base64"))
        for name, encoding, divided in (
            ("1", "7bit", False),
            ("3.2", "", False),
            ("3", "7bit", True),
            ("4", "7bit", True),
            ("HEADER", "binary", False),
            ("", "binary", True),
        ):
            found = self.index.lookup(name)
            assert found is not None
            self.assertEqual((found.encoding, found.divided), (encoding, divided), name)

    def test_damaged(self) -> None:
        """Octets that are no index are refused."""
        good = self.index.encode()
        for octets in (
            b"",
            b"\x01",
            b"\x03" + good[1:],
            good[:-1],
            good + bytes([0, 0, 99, 0]) + bytes(12),
            good[:65],
        ):
            with self.assertRaises(ValueError):
                PartIndex.decode(octets).section("1")

    def test_wide(self) -> None:
        """Messages of 4 GiB have offsets that fit."""
        index = PartIndex([(4, 0, 0, 0, 10, 1 << 33)])
        self.assertEqual(PartIndex.decode(index.encode()).section("TEXT"), (10, (1 << 33) - 10))

    @settings(max_examples=100)
    @given(MESSAGES, st.from_regex(r"\A([12]\.){0,3}([12]|MIME|HEADER|TEXT)\Z"))
    def test_within_the_message(self, octets: bytes, name: str) -> None:
        """Every section lies within its message."""
        found = PartIndex.decode(PartIndex.of(scan(octets)).encode()).section(name)
        if found is not None:
            offset, length = found
            self.assertGreaterEqual(offset, 0)
            self.assertGreaterEqual(length, 0)
            self.assertLessEqual(offset + length, len(octets))
