"""Texts of header fields in one string say what a look at every header says."""

from __future__ import annotations

from collections.abc import Generator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.headers import Header
from moxtwisted.message.text import header_text
from moxtwisted.store import fieldtexts
from moxtwisted.store.fieldtexts import FieldTexts, field_reader

_PIECES = [
    b"Subject: one\r\n",
    b"subject : two\r\n\tand more\r\n",
    b"SUBJECT:\r\n",
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n",
    b"Subject: zero\0octet\n",
    b"Subject: last",
    b"X-Subject: no\r\n",
    b" subject: no\r\n",
    b"Sub: no\r\n",
    b"no field\r\n",
    b"From: a\xff\r\n",
    b"\r\n",
]


def done(work: Generator[None, None, list[int]]) -> list[int]:
    """All steps."""
    return counted(work)[0]


def counted(work: Generator[None, None, list[int]]) -> tuple[list[int], int]:
    """All steps, and how many there were besides the last."""
    steps = 0
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value, steps
        steps += 1


class FieldTextsTests(SynchronousTestCase):
    def test_found(self) -> None:
        """A needle is found in the text that contains it, wide or not, and never across two texts."""
        texts = FieldTexts.EMPTY.having([(4, "hello"), (5, None), (7, "grüße"), (8, "o, hello hello")])
        self.assertEqual(sorted(done(texts.containing("hello"))), [4, 8])
        self.assertEqual(done(texts.containing("ü")), [7])
        self.assertEqual(sorted(done(texts.containing(""))), [4, 7, 8])
        self.assertEqual(done(texts.containing("hello\0")), [])
        self.assertEqual(done(texts.containing("helloo")), [])
        self.assertEqual(sorted(done(texts.containing("r"))), [7])

    def test_more(self) -> None:
        """Messages that come later are missing until they are added; the old ones stay."""
        texts = FieldTexts.EMPTY.having([(1, "a")])
        self.assertEqual(list(texts.missing([1, 2, 3])), [2, 3])
        more = texts.having([(2, None), (3, "ba")])
        self.assertEqual(list(more.missing([1, 2, 3])), [])
        self.assertEqual(list(more.missing([2, 3])), [])
        self.assertEqual(sorted(done(more.containing("a"))), [1, 3])
        self.assertEqual(done(texts.containing("a")), [1])
        self.assertGreater(more.octets, texts.octets)

    def test_many_found(self) -> None:
        """A needle that most texts have is found some hundred texts at a time."""
        texts = FieldTexts.EMPTY.having([(uid, f"hello {uid}") for uid in range(1, 10_001)])
        found, steps = counted(texts.containing("e"))
        self.assertEqual(found, list(range(1, 10_001)))
        self.assertGreaterEqual(steps, 10)
        self.assertEqual(done(texts.containing("hello 77")), [77, *range(770, 780), *range(7700, 7800)])

    def test_much_text(self) -> None:
        """Long text is looked through a piece at a time."""
        self.patch(fieldtexts, "_CHARACTERS_AT_ONCE", 1000)
        texts = FieldTexts.EMPTY.having([(uid, "x" * 97 + "yz") for uid in range(1, 101)])
        found, steps = counted(texts.containing("no"))
        self.assertEqual(found, [])
        self.assertGreaterEqual(steps, 9)
        self.assertEqual(done(texts.containing("yz")), list(range(1, 101)))

    @settings(max_examples=300)
    @given(st.lists(st.text("ab", max_size=6)), st.text("ab", min_size=1, max_size=4), st.integers(1, 9))
    def test_pieces(self, texts: list[str], needle: str, at_once: int) -> None:
        """Wherever one piece ends and the next begins, what contains the needle is found once."""
        self.patch(fieldtexts, "_CHARACTERS_AT_ONCE", at_once)
        known = FieldTexts.EMPTY.having(list(enumerate(texts, 1)))
        self.assertEqual(
            done(known.containing(needle)), [uid for uid, text in enumerate(texts, 1) if needle in text]
        )

    @settings(max_examples=200)
    @given(st.lists(st.sampled_from(_PIECES), max_size=8).map(b"".join))
    def test_reader(self, octets: bytes) -> None:
        """The text of a field is what the header parser and the decoder make of it."""
        header = Header.parse(octets)
        expected = header_text(header, frozenset((b"subject",))) if b"subject" in header.values else None
        self.assertEqual(field_reader(b"subject")(octets), expected)

    def test_many_fields(self) -> None:
        """Of a header with too many fields the first are looked at."""
        octets = b"X: 1\r\n" * 10_000 + b"Subject: too late\r\n"
        self.assertIsNone(field_reader(b"subject")(octets))
