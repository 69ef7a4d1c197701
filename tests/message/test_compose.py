"""Writing messages and completing submitted ones."""

from __future__ import annotations

import email

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.compose import (
    Completion,
    complete_submission,
    compose,
    compose_multipart,
    encode_words,
    entity,
    field,
    format_address,
    new_message_id,
    remove_fields,
    text_entity,
    to_crlf,
)
from moxtwisted.message.headers import decode_words, message_ids
from tests.message.test_corpus import scan


def entropy(count: int) -> bytes:
    return bytes(range(count))


class FieldTests(SynchronousTestCase):
    """Fields."""

    def test_fold(self) -> None:
        """Long values are folded at spaces, and line ends in values cannot begin a field."""
        octets = field("Subject", "word " * 40 + "end\r\nX-Forged: yes")
        lines = octets.split(b"\r\n")
        self.assertTrue(all(len(line) <= 78 for line in lines))
        self.assertTrue(all(line.startswith(b" ") for line in lines[1:-1]))
        self.assertEqual(decode_words(octets.partition(b":")[2]), "word " * 40 + "end X-Forged: yes")

    def test_words(self) -> None:
        """Encoded words have at most 75 characters and no character cut in two (RFC 2047 section 2)."""
        encoded = encode_words("Grüße 山田太郎 " * 20)
        for word in encoded.split(" "):
            self.assertLessEqual(len(word), 75)
            decode_words(word.encode()).encode()
        self.assertEqual(decode_words(encoded.encode()), "Grüße 山田太郎 " * 20)
        self.assertEqual(encode_words("plain"), "plain")

    def test_addresses(self) -> None:
        """Names are bare, quoted or encoded as they need."""
        for name, expected in (
            ("", "a@b"),
            ("Anna Berg", "Anna Berg <a@b>"),
            ("Berg, Anna", '"Berg, Anna" <a@b>'),
            ('A "x" \\', '"A \\"x\\" \\\\" <a@b>'),
            ("J. R.", '"J. R." <a@b>'),
            ("Jü", "=?utf-8?b?SsO8?= <a@b>"),
            ("a\r\nb", "a b <a@b>"),
        ):
            self.assertEqual(format_address(name, "a@b"), expected)

    def test_message_id(self) -> None:
        """A new identifier is made of the entropy handed in."""
        self.assertEqual(new_message_id(entropy, "a.example"), "<aaaqeayeaudaocajbifqydio@a.example>")
        self.assertEqual(len(message_ids(new_message_id(entropy, "a.example").encode())), 1)


class MessageTests(SynchronousTestCase):
    """Messages."""

    def test_plain(self) -> None:
        """ASCII goes out as it is."""
        self.assertEqual(
            compose([("From", "a@b"), ("Subject", "x")], "one\ntwo"),
            b"From: a@b\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\none\r\ntwo\r\n",
        )

    def test_long_lines(self) -> None:
        """Long lines and other letters go out as quoted-printable."""
        octets = compose([("Subject", "ü")], "x" * 2000 + "\nü\n")
        self.assertTrue(all(len(line) <= 78 for line in octets.split(b"\r\n")))
        self.assertTrue(octets.isascii())

    def test_multipart(self) -> None:
        """Several entities are put together so that they can be taken apart."""
        octets = compose_multipart(
            [("Subject", "report")],
            "report",
            [text_entity("Hello\n"), entity("message/delivery-status", b"Status: 5.1.1\r\n")],
            entropy,
            parameters="; report-type=delivery-status",
        )
        root = scan(octets).root
        self.assertEqual(
            [child.content_type.subtype for child in root.children], ["plain", "delivery-status"]
        )
        self.assertEqual(root.content_type.parameter("report-type"), "delivery-status")
        message = email.message_from_bytes(octets)
        self.assertEqual([part.get_content_type() for part in message.walk()][1], "text/plain")
        self.assertEqual(message.defects, [])

    def test_line_ends(self) -> None:
        """Every kind of line end becomes CRLF."""
        self.assertEqual(to_crlf(b"a\nb\r\nc\rd"), b"a\r\nb\r\nc\r\nd")


class SubmissionTests(SynchronousTestCase):
    """complete_submission."""

    def test_missing_fields(self) -> None:
        """Message-ID and Date are added, Bcc is removed, the rest stays octet for octet."""
        done = complete_submission(
            b"From: a@b\r\nBCC: secret@x,\r\n other@x\r\nX-Odd :  spaces \r\nResent-Bcc: y\r\n\r\n",
            Completion(0, "a.example", entropy),
        )
        self.assertEqual(
            done,
            b"Message-ID: <aaaqeayeaudaocajbifqydio@a.example>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
            b"From: a@b\r\nX-Odd :  spaces \r\n\r\n",
        )

    def test_complete(self) -> None:
        """A complete header stays as it is."""
        header = b"Message-ID: <x@y>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n\r\n"
        self.assertEqual(complete_submission(header, Completion(5, "a.example", entropy)), header)

    def test_remove(self) -> None:
        """Fields are removed by name."""
        self.assertEqual(remove_fields(b"A: 1\r\nB: 2\r\n\r\n", [b"a"]), b"B: 2\r\n\r\n")
