"""What a message is taken apart into: known answers, bounds, and input that means no good."""

from __future__ import annotations

import base64
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.junk.tokens import ENOUGH_OCTETS, MAX_TOKENS, VIEWS, digest, features
from moxtwisted.message.mime import Scanner
from tests.junk.messages import found_in, message, texts_of


class TokenTests(SynchronousTestCase):
    def test_digest(self) -> None:
        """A token has the same number of 63 bits in every process."""
        self.assertEqual(digest("subject:free"), 0xE36BD2E6076D1DE)

    def test_words(self) -> None:
        """Words are lower case but for those in capitals; what stands around them is no part of them; single letters are none."""
        texts = texts_of(message('"Please," CLICK (here) a lot... *now*; only $5,000!'))
        self.assertLessEqual({"please", "CLICK", "here", "lot", "now", "only", "$5,000!"}, texts)
        self.assertNotIn("a", texts)

    def test_words_only(self) -> None:
        """A word of the text that looks like another kind of token is still a word."""
        one, other = found_in(message("html:width=10 url/buy from:@a.example")), found_in(message("buy"))
        words = set(one.views[VIEWS.index("word")])
        self.assertEqual(set(one.texts(words).values()), {"html:width=10", "url/buy", "from:@a.example"})
        self.assertFalse(words & {digest("html:width=10"), digest("url/buy"), digest("from:@a.example")})
        self.assertEqual(set(other.views[VIEWS.index("word")]), {digest("buy")})

    def test_beginning_and_end(self) -> None:
        """Of a long text the words at its beginning and the last ones are heard, of each part."""
        texts = texts_of(message(" ".join(f"word{n}" for n in range(1000))))
        self.assertLessEqual({"word0", "word100", "word970", "word999"}, texts)
        self.assertNotIn("word500", texts)
        parts = b"".join(
            b"--b\r\nContent-Type: text/plain\r\n\r\n" + name + b" filling" * 1000 + b"\r\n"
            for name in (b"first", b"second")
        )
        both = texts_of(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n")
        self.assertLessEqual({"first", "second", "filling"}, both)

    def test_header(self) -> None:
        """Words of header fields carry the field's name, domains stand with those above them."""
        texts = texts_of(
            message(
                "x",
                "From: Bargain House <sale17@mail.shop.example>",
                "Subject: =?utf-8?q?Fr=C3=BChling?= SALE !!!",
                "Message-ID: <ab12@shop.example>",
                "Date: Sun, 22 Nov 2026 05:00:00 +0900",
                "X-Mailer: Bulk Sender",
                "X-Oddity: 1",
            )
        )
        wanted = {
            *("subject:frühling", "subject:SALE", "subject:signs"),
            *("from:bargain", "from:house", "from:named", "from:digits", "from:count 1"),
            *("from:@example", "from:@shop.example", "from:@mail.shop.example", "to:none"),
            *("x-mailer:bulk", "has:x-mailer", "has:x-oddity", "date:+0900"),
        }
        self.assertLessEqual(wanted, texts)

    def test_machines(self) -> None:
        """What relays, other filters and we write changes nothing."""
        bare = message("hello there", "Subject: hi")
        added = b"".join(
            name + b": something\r\n"
            for name in (
                b"Return-Path",
                b"Received",
                b"X-Spam-Status",
                b"Authentication-Results",
                b"Delivered-To",
            )
        )
        self.assertEqual(
            found_in(bare).numbers(), found_in(added + b"X-Moxtwisted-Reason: x\r\n" + bare).numbers()
        )

    def test_links(self) -> None:
        """Hosts of links, with what is above; addresses in numbers stand out."""
        texts = texts_of(
            message(
                "see http://user@Pills.Shop.Example:8080/buy%20now/cheap?x, www.other.example, https://192.0.2.1/"
            )
        )
        wanted = {
            *("url:example", "url:shop.example", "url:pills.shop.example", "url:at sign", "url:percent"),
            *("url/buy", "url/cheap", "url:www.other.example", "url:number"),
        }
        self.assertLessEqual(wanted, texts)

    def test_html(self) -> None:
        """HTML gives its text, without what is not shown, and how it is made; tags within a word do not hide it."""
        found = found_in(
            message(
                "<html><style>hidden</style><!-- more --><body bgcolor=#ff0000>vi<b></b>ag<i>r</i>a<br>"
                '<img alt="big deal"><marquee width="10">now</marquee></body>',
                html=True,
            )
        )
        texts = set(found.texts(found.numbers()).values())
        self.assertTrue(found.html)
        self.assertLessEqual(
            {
                "viagra",
                "now",
                "big",
                "deal",
                "html:marquee",
                "html:bgcolor=#ff0000",
                "html:width=10",
                "html:images 1",
            },
            texts,
        )
        self.assertLessEqual({"html:comment", "html:tag in a word"}, texts)
        self.assertFalse({"hidden", "more", "html:body"} & texts)

    def test_tricks(self) -> None:
        """Invisible characters, mixed alphabets, letters apart and letters in disguise are seen, and seen through."""
        self.assertLessEqual({"trick:invisible", "viagra"}, texts_of(message("vi\u200bag\u00adra")))
        self.assertIn("trick:alphabets mixed", texts_of(message("p\u0430yp\u0430l")))
        self.assertIn("VIAGRA", texts_of(message("buy V.I.A.G.R.A! today")))
        self.assertIn("viagra", texts_of(message("buy v|i|a|g|r|a today")))
        self.assertLessEqual({"trick:letters apart", "apart:free"}, texts_of(message("get it F R E E now")))
        self.assertIn(
            "viagra", texts_of(message("\U0001d42f\U0001d422\U0001d41a\U0001d420\U0001d42b\U0001d41a"))
        )

    def test_no_spaces(self) -> None:
        """Of scripts without spaces two characters are a word."""
        self.assertLessEqual({"無料", "料で"}, texts_of(message("無料で")))

    def test_encodings(self) -> None:
        """Text is judged as it is shown, whatever it is wrapped in."""
        for encoding, octets in (
            (b"base64", base64.encodebytes("Größe zählt".encode())),
            (b"quoted-printable", b"Gr=C3=B6=C3=9Fe z=C3=A4hlt"),
        ):
            head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding
            self.assertLessEqual({"größe", "zählt"}, texts_of(head + b"\r\n\r\n" + octets))


class BoundTests(SynchronousTestCase):
    def timed(self, octets: bytes, seconds: float = 2.0) -> int:
        """How many tokens; taking the scanned message apart must not take long."""
        scanner = Scanner()
        scanner.feed(octets)
        scanned = scanner.finish()
        begun = time.thread_time()
        count = len(features(scanned, lambda offset, length: octets[offset : offset + length]).numbers())
        self.assertLess(time.thread_time() - begun, seconds)
        self.assertLessEqual(count, MAX_TOKENS)
        return count

    def test_one_word(self) -> None:
        """100 MB of one word."""
        self.assertLess(self.timed(b"Subject: x\r\n\r\n" + b"x" * 100_000_000), 40)

    def test_many_words(self) -> None:
        """Megabytes of different words, in text and header."""
        words = b" ".join(b"w%dx" % n for n in range(200_000))
        self.timed(b"\r\n" + words)
        self.timed(b"Subject: " + words + b"\r\nFrom: " + words.replace(b" ", b"@x.example, ") + b"\r\n\r\n")
        self.timed(b"".join(b"X-%d: 1\r\n" % n for n in range(20_000)) + b"\r\n")

    def test_many_parts(self) -> None:
        """10,000 parts, each of another type."""
        part = b"--b\r\nContent-Type: text/x%d; name=a.%d\r\n\r\nword%d\r\n"
        body = b"".join(part % (n, n, n) for n in range(10_000))
        self.timed(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body)

    def test_nested(self) -> None:
        """Parts within parts, 500 deep."""
        body = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(500)
        )
        self.timed(body + b"\r\ntext")

    def test_html(self) -> None:
        """Gigantic HTML, open tags, open comments, entities and attributes without end."""
        head = b"Content-Type: text/html\r\n\r\n"
        for piece in (
            b"<a ",
            b"<",
            b"<!--",
            b"<b>x</b>",
            b"&#1;",
            b"<img alt='",
            b"<style>",
            b"width=",
            b"x<b>y",
            b"</",
        ):
            self.timed(head + piece * (3_000_000 // len(piece)))

    def test_patterns(self) -> None:
        """What makes patterns go back and forth."""
        for piece in (
            b"a.",
            b"a ",
            b"www.",
            b"://a",
            b"@a",
            b"@a.",
            b"!?",
            b"'",
            b"a-",
            b"$",
            b"%!",
            b"\xe2\x80\x8b",
            b"\xd0\xb0a",
        ):
            self.timed(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + piece * 500_000)
            self.timed(b"Subject: " + piece * 100_000 + b"\r\nFrom: " + piece * 100_000 + b"\r\n\r\n")

    def test_broken_charsets(self) -> None:
        """Charsets that there are not, or that do not fit."""
        for charset in (
            b"utf-7",
            b"utf-16",
            b"x-unknown",
            b"idna",
            b"",
            b"\xff",
            b"hex",
            b"iso-2022-jp",
            b"a" * 5000,
        ):
            self.timed(
                b"Content-Type: text/plain; charset=" + charset + b"\r\n\r\n" + bytes(range(256)) * 500
            )

    def test_beginning_is_enough(self) -> None:
        """The tokens of a long message are those of its beginning, which is all that is read to learn it."""
        parts = b"".join(
            b"--b\r\nContent-Type: text/plain\r\n\r\nword%d " % n + b"filling " * 30_000 + b"\r\n"
            for n in range(20)
        )
        octets = b"Content-Type: multipart/mixed; boundary=b\r\nSubject: s\r\n\r\n" + parts + b"--b--\r\n"
        self.assertGreater(len(octets), 2 * ENOUGH_OCTETS)
        self.assertEqual(found_in(octets).numbers(), found_in(octets[:ENOUGH_OCTETS]).numbers())

    @settings(max_examples=150)
    @given(st.binary(max_size=2000))
    def test_anything(self, octets: bytes) -> None:
        """Any octets have tokens, the same every time, and each can be named."""
        found = found_in(octets)
        numbers = found.numbers()
        self.assertEqual(numbers, found_in(octets).numbers())
        self.assertEqual(found.texts(numbers).keys(), numbers)
        self.assertTrue(all(0 <= number < 1 << 63 for number in numbers))

    @settings(max_examples=150)
    @given(st.text(max_size=500), st.text(max_size=100), st.booleans())
    def test_any_text(self, text: str, subject: str, html: bool) -> None:
        """Any text, too."""
        found = found_in(message(text, "Subject: " + subject, html=html).replace(b"\xed", b""))
        self.assertEqual(found.texts(found.numbers()).keys(), found.numbers())
