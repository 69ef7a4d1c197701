"""Canonical forms of fields and bodies."""

from __future__ import annotations

import hashlib
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.dkim.canonical import (
    BodyForm,
    BodyHasher,
    BodyHashes,
    Canonicalization,
    relaxed_field,
)

SIMPLE, RELAXED = Canonicalization.SIMPLE, Canonicalization.RELAXED
PIECES = st.sampled_from(
    [b"a", b" ", b"\t", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"word", b" \r\n", b"\x0b", b"\xc3\xa9"]
)


def plain(body: bytes, form: Canonicalization) -> bytes:
    """The canonical body in the words of RFC 6376, on a whole body that ends in a line end."""
    if form is RELAXED:
        body = re.sub(rb"[ \t]+", b" ", body)
        body = re.sub(rb" (?=\r\n|\Z)", b"", body)
    body = re.sub(rb"(?:\r\n)*\Z", b"", body, count=1)
    return body + b"\r\n" if body or form is SIMPLE else b""


def hashed(body: bytes, forms: list[BodyForm], size: int) -> BodyHashes:
    """What comes of a body in pieces of a size."""
    hasher = BodyHasher(forms)
    for i in range(0, len(body), size):
        hasher.feed(body[i : i + size])
    return hasher.finish()


class FieldTests(SynchronousTestCase):
    def test_example(self) -> None:
        """The example of RFC 6376 section 3.4.5."""
        self.assertEqual(relaxed_field(b"A: X\r\n"), b"a:X\r\n")
        self.assertEqual(relaxed_field(b"B : Y\t\r\n\tZ  \r\n"), b"b:Y Z\r\n")

    def test_what_is_no_white_space(self) -> None:
        """CR, vertical tab and form feed by themselves stay."""
        for octets in (b"\r", b"\x0b", b"\x0c"):
            self.assertEqual(relaxed_field(b"A:  x " + octets + b"  y \r\n"), b"a:x " + octets + b" y\r\n")

    def test_no_line_end(self) -> None:
        """A field without a line end gets one."""
        self.assertEqual(relaxed_field(b"A: x"), b"a:x\r\n")


class BodyTests(SynchronousTestCase):
    def test_example(self) -> None:
        """The example of RFC 6376 section 3.4.5."""
        body = b" C \r\nD \t E\r\n\r\n\r\n"
        hashes = hashed(body, [BodyForm(SIMPLE), BodyForm(RELAXED)], 100)
        self.assertEqual(hashes.digest(BodyForm(SIMPLE)), hashlib.sha256(b" C \r\nD \t E\r\n").digest())
        self.assertEqual(hashes.digest(BodyForm(RELAXED)), hashlib.sha256(b" C\r\nD E\r\n").digest())
        self.assertEqual((hashes.size(SIMPLE), hashes.size(RELAXED)), (12, 9))

    def test_empty(self) -> None:
        """An empty body is a line end in simple form and nothing in relaxed form, empty lines or not."""
        for body in (b"", b"\r\n", b"\r\n" * 20_000):
            hashes = hashed(body, [BodyForm(SIMPLE), BodyForm(RELAXED)], 1000)
            self.assertEqual(hashes.digest(BodyForm(SIMPLE)), hashlib.sha256(b"\r\n").digest())
            self.assertEqual(hashes.digest(BodyForm(RELAXED)), hashlib.sha256(b"").digest())

    def test_empty_lines_within(self) -> None:
        """However many empty lines there are before more text, they are hashed."""
        body = b"a\r\n" + b"\r\n" * 30_000 + b"b\r\n"
        hashes = hashed(body, [BodyForm(RELAXED)], 1000)
        self.assertEqual(hashes.digest(BodyForm(RELAXED)), hashlib.sha256(body).digest())

    def test_lengths(self) -> None:
        """Hashes of several lengths are taken in one pass, octets beyond them do not count."""
        forms = [BodyForm(SIMPLE, 0), BodyForm(SIMPLE, 3), BodyForm(SIMPLE, 99), BodyForm(RELAXED, 2)]
        hashes = hashed(b"ab  c\r\n", forms, 2)
        for form, octets in zip(forms, (b"", b"ab ", b"ab  c\r\n", b"ab"), strict=True):
            self.assertEqual(hashes.digest(form), hashlib.sha256(octets).digest())

    def test_not_asked_for(self) -> None:
        """A form that was not asked for in time has no hash."""
        hashes = hashed(b"a", [BodyForm(SIMPLE)], 9)
        self.assertIsNone(hashes.digest(BodyForm(RELAXED)))
        self.assertEqual(hashes.size(RELAXED), -1)

    def test_any_cuts(self) -> None:
        """In any cuts the forms are those of the standard's own words."""

        @given(st.lists(PIECES, max_size=25).map(b"".join), st.integers(1, 7))
        @settings(max_examples=300)
        def check(body: bytes, size: int) -> None:
            hashes = hashed(body, [BodyForm(SIMPLE), BodyForm(RELAXED)], size)
            for form in (SIMPLE, RELAXED):
                expected = plain(body, form)
                self.assertEqual(hashes.digest(BodyForm(form)), hashlib.sha256(expected).digest(), body)
                self.assertEqual(hashes.size(form), len(expected))

        check()
