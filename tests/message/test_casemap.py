"""The collation i;unicode-casemap against its definition, character by character."""

import unicodedata
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message import casemap as module
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

    @settings(max_examples=50)
    @given(
        st.lists(
            st.sampled_from(["a", "ü", "e\u0301\u0323", "ｶﾞ", "각", "ffi", "\u0344", "אָּ"]),
            min_size=150,
            max_size=900,
        )
    )
    def test_long_text(self, syllables: list[str]) -> None:
        """A long text is decomposed in pieces, with the same outcome as in one."""
        text = "".join(syllables)
        self.assertEqual(casemap(text), unicodedata.normalize("NFKD", text.upper()).upper())

    def test_endless_marks(self) -> None:
        """Very many combining marks, which would take minutes to be put into their order, are looked at in short pieces."""
        lengths: list[int] = []

        def normalize(form: Any, text: str) -> str:
            lengths.append(len(text))
            return unicodedata.normalize(form, text)

        with patch.object(module, "normalize", normalize):
            found = casemap("a" + "\u0301\u0323" * 50_000 + "\uff9e" * 10_000)
        self.assertEqual(len(found), 110_001)
        self.assertLess(max(lengths), 300)
        self.assertEqual(found, casemap("A" + "\u0301\u0323" * 50_000 + "\uff9e" * 10_000))

    def test_order(self) -> None:
        """The order is that of code points in titlecase: an underscore comes behind the letters."""
        words = ["zebra", "_", "Äpfel", "Apfel", "[x]", "affe", "1", "", "Ω", "ß"]
        self.assertEqual(
            sorted(words, key=casemap), ["", "1", "affe", "Apfel", "Äpfel", "ß", "zebra", "[x]", "_", "Ω"]
        )

    @given(st.text(), st.text())
    @settings(max_examples=100)
    def test_mapped_once(self, text: str, other: str) -> None:
        """A form is its own form, and what is equal by Python's folding is equal."""
        self.assertEqual(casemap(casemap(text)), casemap(text))
        if text.casefold() == other.casefold():
            self.assertEqual(casemap(text), casemap(other))
