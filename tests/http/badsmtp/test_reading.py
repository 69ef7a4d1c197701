"""Messages as people and programs see them."""

from __future__ import annotations

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.http.badsmtp import reading
from moxtwisted.http.badsmtp.reading import Reader, numbered, scan
from moxtwisted.http.badsmtp.shapes import Detail
from moxtwisted.message.partindex import PartIndex
from moxtwisted.message.text import decode_transfer
from tests.http.badsmtp.material import MIXED, message

PIECES = st.sampled_from(
    (
        b"\r\n", b"\n", b"--m\r\n", b"--m--\r\n", b"--r\r\n", b"Content-Type: multipart/mixed; boundary=m\r\n\r\n", b"\r\n\r\n",
        b"Content-Type: multipart/digest; boundary=r\r\n\r\n", b"Content-Type: message/rfc822\r\n\r\n", b"\xff\xfe\0",
        b"Content-Type: text/html; charset=utf-7\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n", b"=?utf-8?b?8J+YgA==?=",
        b"Content-Disposition: attachment; filename*=utf-8''%ff%00\r\n",
        b"Subject: <script>alert(1)</script>\r\n", b"From: \xed\xa0\x80\r\n",
        b"<p onclick=alert(1)>", b"<!--", b"QUJD", b"=3D=\r\n",
    )
)  # fmt: skip


class PartTests(SynchronousTestCase):
    """Where parts are."""

    def test_numbers(self) -> None:
        """Parts have the numbers that IMAP gives them, down into embedded messages."""
        found = [(path, part.content_type.subtype) for path, part in numbered(scan(MIXED).root)]
        self.assertEqual(
            found,
            [
                ("1", "related"),
                ("1.1", "html"),
                ("1.2", "png"),
                ("2", "plain"),
                ("3", "rfc822"),
                ("3.1", "plain"),
            ],
        )
        self.assertEqual([path for path, _ in numbered(scan(b"Subject: x\r\n\r\ny").root)], ["1"])

    @settings(max_examples=150)
    @given(st.lists(PIECES, max_size=14).map(b"".join))
    @example(MIXED)
    @example(b"Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\nx: y\r\n\r\nz")
    def test_numbers_are_those_of_imap(self, content: bytes) -> None:
        """Whatever the message is, each number leads to the octets that IMAP gives for it."""
        scanned = scan(content)
        index = PartIndex.of(scanned)
        for path, part in numbered(scanned.root):
            self.assertEqual(index.section(path), (part.body_start, part.size), path)


class ReaderTests(SynchronousTestCase):
    """All of a message."""

    @settings(max_examples=150)
    @given(st.lists(PIECES, max_size=14).map(b"".join) | st.binary(max_size=200))
    @example(MIXED)
    def test_any_message(self, content: bytes) -> None:
        """Whatever the message is, it is told in JSON that says the same when it is read again, and its parts are there."""
        captured = message(content, number=1)
        reader = Reader()
        detail = reader.detail(captured)
        self.assertEqual(msgspec.json.decode(msgspec.json.encode(detail), type=Detail), detail)
        for shape in detail.parts:
            self.assertIsNotNone(reader.part(captured, shape.path))
        reader.html(captured)

    def test_text(self) -> None:
        """The text is the plain one that is not attached, else the HTML without its tags."""
        reader = Reader()
        self.assertEqual(reader.detail(message(MIXED)).text, "Hi")
        plain = b"Content-Type: multipart/alternative; boundary=m\r\n\r\n--m\r\n\r\nplain\r\n"
        plain += b"--m\r\nContent-Type: text/html\r\n\r\n<b>x\r\n--m--\r\n"
        self.assertEqual(reader.detail(message(plain)).text, "plain")
        self.assertEqual(reader.detail(message(b"Content-Type: image/png\r\n\r\nx")).text, "")

    def test_bounds(self) -> None:
        """What is too long to be shown is cut, and said to be."""
        self.patch(reading, "TEXT_CHARACTERS", 10)
        self.patch(reading, "FIELDS", 2)
        self.patch(reading, "FIELD_CHARACTERS", 5)
        self.patch(reading, "PARTS", 1)
        reader = Reader()
        self.assertFalse(reader.detail(message(b"a: b\r\n\r\n1234567890")).cut)
        for content in (b"a: b\r\n\r\n12345678901", b"a: 123456\r\n\r\n", b"a: b\r\n" * 3 + b"\r\n", MIXED):
            self.assertTrue(reader.detail(message(content)).cut, content)
        detail = reader.detail(message(b"a: 1234567\r\n\r\n1234567890123"))
        self.assertEqual((detail.text, detail.headers[0].value), ("1234567890", "12345"))

    def test_summaries_are_remembered(self) -> None:
        """A summary is made once, and of the oldest forgotten first."""
        reader = Reader(kept_summaries=2)
        first = reader.summary(message(number=1))
        self.assertIs(reader.summary(message(number=1)), first)
        for number in (2, 3):
            reader.summary(message(number=number))
        self.assertIsNot(reader.summary(message(number=1)), first)

    def test_pictures(self) -> None:
        """The pictures that a message brings are found by their Content-ID, decoded."""
        found = Reader().html(message(MIXED))
        if found is None:
            self.fail("there is HTML")
        self.assertEqual(found[1], {"dot@x": ("image/png", decode_transfer(b"iVBORw0KGgo=", "base64"))})
