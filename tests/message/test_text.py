"""Previews, searched text, attachments."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.products import references, render
from moxtwisted.message.text import (
    MAX_PREVIEW_CHARACTERS,
    MAX_SEARCH_OCTETS,
    MAX_SEARCH_PART_OCTETS,
    body_text,
    decode_transfer,
    has_attachments,
    header_text,
    html_to_text,
    preview,
    search_text,
)
from tests.message.test_corpus import reader, scan
from tests.message.test_mime import MESSAGES


def shown(message: bytes) -> str:
    return preview(scan(message), reader(message))


class PreviewTests(SynchronousTestCase):
    """preview."""

    def test_long_text(self) -> None:
        """A preview has at most 200 characters on one line, and is read from the beginning alone."""
        message = b"\r\n" + b"word \r\n" * 100_000
        read: list[int] = []

        def count(offset: int, length: int) -> bytes:
            read.append(length)
            return message[offset : offset + length]

        text = preview(scan(message), count)
        self.assertEqual(text, ("word " * 100)[:MAX_PREVIEW_CHARACTERS].rstrip())
        self.assertLess(sum(read), 10_000)

    def test_encodings(self) -> None:
        """Transfer encodings are undone, also where the octets read end within a character."""
        octets = ("ü" * 5000).encode()
        for encoding, body in (
            (b"8bit", octets),
            (b"base64", base64.encodebytes(octets)),
            (b"quoted-printable", b"".join(b"=%02X" % o for o in octets)),
        ):
            head = (
                b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
                + encoding
                + b"\r\n\r\n"
            )
            self.assertEqual(shown(head + body), "ü" * MAX_PREVIEW_CHARACTERS, encoding)

    def test_html(self) -> None:
        """Of HTML the words are shown, though they stand behind a long style sheet."""
        message = b"Content-Type: text/html\r\n\r\n<style>" + b"p{}" * 5000 + b"</style><p>a&lt;b<p>c"
        self.assertEqual(shown(message), "a<b c")

    def test_quotes(self) -> None:
        """Quoted lines are left out unless there is nothing else."""
        self.assertEqual(shown(b"\r\n> quoted\r\nown\r\n"), "own")
        self.assertEqual(shown(b"\r\n> quoted\r\n"), "> quoted")

    def test_attached_text_is_not_shown(self) -> None:
        """A text file that is attached is not the message."""
        self.assertEqual(shown(b"Content-Disposition: attachment\r\n\r\nx\r\n"), "")


class DecodeTests(SynchronousTestCase):
    """Transfer encodings and HTML."""

    def test_base64(self) -> None:
        """Damaged base64 is decoded as far as it goes."""
        for octets, expected in (
            (b"YWJj", b"abc"),
            (b"YW\r\nJj\r\n", b"abc"),
            (b"YWI=", b"ab"),
            (b"YWI", b"ab"),
            (b"YWJjY", b"abc"),
            (b"Y!W$J*j", b"abc"),
            (b"", b""),
        ):
            self.assertEqual(decode_transfer(octets, "base64"), expected, octets)

    def test_others(self) -> None:
        """Quoted-printable and uuencode are decoded, identities and unknown ones stay."""
        self.assertEqual(decode_transfer(b"a=3D=\r\nb=zz", "quoted-printable"), b"a=b=zz")
        self.assertEqual(decode_transfer(b"begin 644 x\n#86)C\n`\nend\n", "x-uuencode"), b"abc")
        self.assertEqual(decode_transfer(b"=3D", "8bit"), b"=3D")
        self.assertEqual(decode_transfer(b"=3D", "unknown"), b"=3D")

    def test_html(self) -> None:
        """Tags go, words stay; blocks are set apart and inline marks are not."""
        for text, expected in (
            ("a<b>b</b>c", "abc"),
            ("a<p>b</p>c", "a\nb\nc"),
            ("a<br/>b", "a\nb"),
            ("<!-- a -- b --->c", "c"),
            ("<!DOCTYPE html>a<?xml?>", "a"),
            ("<script>if (a<b) {}</script>x", "\nx"),
            ("<STYLE type='a'>x</style>y", "\ny"),
            ("<script>never closed", ""),
            ("<img src=x alt='the &amp; alt'>", " the & alt "),
            ("a < b > c", "a < b > c"),
            ("1 <2 and <", "1 <2 and <"),
            ("<a", ""),
            ("&uuml;&#252;&#xfc;&bogus;", "üüü&bogus;"),
        ):
            self.assertEqual(html_to_text(text), expected, text)

    @settings(max_examples=150)
    @given(st.text(st.sampled_from("<>/!-?= \"'abscriptstyle&;#x\n"), max_size=100))
    def test_any_html(self, text: str) -> None:
        """Any text can be stripped."""
        self.assertIsInstance(html_to_text(text), str)


class SearchTests(SynchronousTestCase):
    """search_text and body_text."""

    def test_bounds(self) -> None:
        """Two megabytes of a part and eight of a message are searched, the rest is not."""
        part = b"--b\r\n\r\n" + b"x" * (MAX_SEARCH_PART_OCTETS + 1000) + b"\r\n"
        message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 6 + b"--b--\r\n"
        lengths = [len(piece) for piece in body_text(scan(message), reader(message))]
        self.assertEqual(lengths, [MAX_SEARCH_PART_OCTETS] * 4)
        self.assertEqual(sum(lengths), MAX_SEARCH_OCTETS)

    def test_no_binaries(self) -> None:
        """Attachments that are no text are not read, their names are found."""
        message = b"Content-Type: application/pdf; name=secret.pdf\r\n\r\nbinary\r\n"
        self.assertEqual(list(body_text(scan(message), reader(message))), ["secret.pdf"])

    def test_header(self) -> None:
        """All fields, or those of some names, decoded."""
        header = scan(b"Subject: =?utf-8?q?=C3=BC?=\r\nX-A: b\r\n c\r\n\r\n").header
        self.assertEqual(header_text(header), "Subject: ü\nX-A: b c")
        self.assertEqual(header_text(header, frozenset([b"x-a"])), "b c")

    @settings(max_examples=100)
    @given(MESSAGES)
    def test_any_message(self, octets: bytes) -> None:
        """Of any message there is text without NUL, and products."""
        scanned = scan(octets)
        for piece in search_text(scanned, reader(octets)):
            self.assertNotIn("\0", piece)
        rendered = render(scanned, reader(octets))
        self.assertLessEqual(len(rendered.preview), MAX_PREVIEW_CHARACTERS)
        self.assertNotIn("\n", rendered.preview)
        self.assertEqual(list(rendered.relatives.references), references(scanned))


class AttachmentTests(SynchronousTestCase):
    """has_attachments."""

    def test_kinds(self) -> None:
        """Files and embedded messages count; text, signatures, reports and pictures within the text do not."""

        def mixed(subtype: bytes, *parts: bytes) -> bytes:
            return (
                b"Content-Type: multipart/"
                + subtype
                + b"; boundary=b\r\n\r\n"
                + b"".join(b"--b\r\n" + part + b"\r\n\r\nx\r\n" for part in parts)
                + b"--b--\r\n"
            )

        for message, expected in (
            (b"\r\nx", False),
            (b"Content-Type: application/pdf\r\n\r\nx", True),
            (b"Content-Disposition: attachment\r\n\r\nx", True),
            (b"Content-Disposition: inline; filename=x.txt\r\n\r\nx", False),
            (mixed(b"alternative", b"Content-Type: text/plain", b"Content-Type: text/html"), False),
            (mixed(b"mixed", b"Content-Type: text/plain", b"Content-Type: image/png"), True),
            (
                mixed(b"related", b"Content-Type: text/html", b"Content-Type: image/png\r\nContent-ID: <a>"),
                False,
            ),
            (mixed(b"related", b"Content-Type: text/html", b"Content-Type: image/png"), True),
            (
                mixed(b"signed", b"Content-Type: text/plain", b"Content-Type: application/pgp-signature"),
                False,
            ),
            (mixed(b"report", b"Content-Type: text/plain", b"Content-Type: message/delivery-status"), False),
            (mixed(b"mixed", b"Content-Type: message/rfc822"), True),
        ):
            self.assertEqual(has_attachments(scan(message)), expected, message)
