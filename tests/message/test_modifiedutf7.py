"""Modified UTF-7 by itself; what IMAP does with it is in tests/imap/wire."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.modifiedutf7 import ModifiedUTF7Error, decode, encode


class ModifiedUTF7Tests(SynchronousTestCase):
    def test_rfc_example(self) -> None:
        """The example of RFC 3501 section 5.1.3."""
        self.assertEqual(encode("~peter/mail/台北/日本語"), b"~peter/mail/&U,BTFw-/&ZeVnLIqe-")

    @settings(max_examples=100)
    @given(st.text(st.characters(codec="utf-8"), max_size=30))
    def test_round_trip(self, text: str) -> None:
        """Every text comes back, from printable US-ASCII."""
        octets = encode(text)
        self.assertTrue(octets.decode("ascii").isprintable())
        self.assertEqual(decode(octets), text)

    @settings(max_examples=200)
    @given(st.one_of(st.binary(max_size=20), st.text("&-,+/AJo4 ", max_size=12).map(str.encode)))
    def test_one_form(self, octets: bytes) -> None:
        """What is decoded at all is the one encoding of that text, but for control characters that stand for themselves."""
        try:
            text = decode(octets)
        except ModifiedUTF7Error:
            return
        if text.isprintable():
            self.assertEqual(encode(text), octets)
