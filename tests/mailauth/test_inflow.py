"""Messages on their way in."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.inflow import HashedMessage, MessageHasher

FORM = BodyForm(Canonicalization.SIMPLE)


def hashed(message: bytes, size: int) -> HashedMessage:
    """A message in pieces."""
    hasher = MessageHasher(also=[FORM])
    for i in range(0, len(message), size):
        hasher.feed(message[i : i + size])
    return hasher.finish()


class MessageHasherTests(SynchronousTestCase):
    def test_cuts(self) -> None:
        """Wherever it is cut, header and body are the same."""
        pieces = st.sampled_from([b"A: b", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"x"])

        @given(st.lists(pieces, max_size=12).map(b"".join), st.integers(1, 5))
        @settings(max_examples=200)
        def check(message: bytes, size: int) -> None:
            whole, cut = hashed(message, len(message) or 1), hashed(message, size)
            self.assertEqual(whole.header.fields, cut.header.fields)
            self.assertEqual(whole.bodies, cut.bodies)

        check()

    def test_parts(self) -> None:
        """The body begins behind the first empty line; without one there is none, and without a header all is body."""
        for message, names, body in (
            (b"A: b\r\n\r\nc\r\n", [b"a"], b"c\r\n"),
            (b"A: b\r\n", [b"a"], b"\r\n"),
            (b"A: b", [b"a"], b"\r\n"),
            (b"\r\nA: b\r\n", [], b"A: b\r\n"),
            (b"", [], b"\r\n"),
        ):
            with self.subTest(message):
                found = hashed(message, 1)
                self.assertEqual([name for _, name in found.header.fields], names)
                self.assertEqual(found.bodies.digest(FORM), hashlib.sha256(body).digest())

    def test_while_the_body_comes(self) -> None:
        """The fields are there as soon as the header is whole."""
        hasher = MessageHasher()
        hasher.feed(b"A: b\r\n")
        self.assertIsNone(hasher.fields)
        hasher.feed(b"\r\nbody")
        fields = hasher.fields
        assert fields is not None
        self.assertEqual(fields.positions(b"a"), [0])
