"""The collation i;unicode-casemap against its definition, character by character."""

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.casemap import casemap


def literally(character: str) -> str:
    """RFC 5051: the titlecase where it is one character, decomposed as far as it goes."""
    title = character.title()
    return unicodedata.normalize("NFKD", title if len(title) == 1 else character)


class CasemapTests(SynchronousTestCase):
    def test_every_character(self) -> None:
        """Characters that are equal by the letter of RFC 5051 have the same form, whatever plane they are in."""
        forms: dict[str, str] = {}
        for code in range(0x110000):
            form = casemap(chr(code))
            self.assertEqual(forms.setdefault(literally(chr(code)), form), form, hex(code))

    def test_examples(self) -> None:
        """Case and composition do not count; accents and letters do."""
        self.assertEqual(casemap("GRU\u0308ßE"), casemap("grüsse"))
        self.assertEqual(casemap("ＡＢｃ"), "ABC")
        self.assertEqual(casemap("ﬁx"), "FIX")
        self.assertIn(casemap("mu"), casemap("Müller"))
        self.assertNotIn(casemap("mul"), casemap("Müller"))
        self.assertNotEqual(casemap("resume"), casemap("résumé"))

    def test_order(self) -> None:
        """The order is that of code points in titlecase: an underscore comes behind the letters."""
        words = ["zebra", "_", "Äpfel", "Apfel", "[x]", "affe", "1", "", "Ω", "ß"]
        self.assertEqual(
            sorted(words, key=casemap), ["", "1", "affe", "Apfel", "Äpfel", "ß", "zebra", "[x]", "_", "Ω"]
        )

    @given(st.text(), st.text())
    @settings(max_examples=100, deadline=None)
    def test_mapped_once(self, text: str, other: str) -> None:
        """A form is its own form, and what is equal by Python's folding is equal."""
        self.assertEqual(casemap(casemap(text)), casemap(text))
        if text.casefold() == other.casefold():
            self.assertEqual(casemap(text), casemap(other))
