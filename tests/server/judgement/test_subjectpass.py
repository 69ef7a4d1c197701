"""Passes in subjects."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.server.judgement.subjectpass import has_pass, make_pass, might_have_pass
from tests.server.judgement.samples import NOW

KEY, MARY, ALICE = b"k" * 32, "mary@a.example", "alice@example.org"
PERIOD = 43200.0


class Passes(SynchronousTestCase):
    """What a pass is good for."""

    def good(
        self, subject: str, *, author: str = MARY, to: str = ALICE, now: float = NOW, key: bytes = KEY
    ) -> bool:
        """Whether it is."""
        return has_pass(subject, key, author, to, now, PERIOD)

    def test_for_whom(self) -> None:
        """It is for one author and one address, in any case, and for one key."""
        subject = f"Re: hello (pass:{make_pass(KEY, MARY, ALICE, NOW)})"
        self.assertTrue(might_have_pass(subject))
        self.assertTrue(self.good(subject))
        self.assertTrue(self.good(subject, author="Mary@A.example"))
        self.assertFalse(self.good(subject, author="bob@a.example"))
        self.assertFalse(self.good(subject, to="bob@example.org"))
        self.assertFalse(self.good(subject, key=b"l" * 32))

    def test_how_long(self) -> None:
        """It is good for its period, give or take some minutes, and not before it was made."""
        subject = f"(pass:{make_pass(KEY, MARY, ALICE, NOW)})"
        self.assertTrue(self.good(subject, now=NOW + PERIOD - 1))
        self.assertFalse(self.good(subject, now=NOW + PERIOD + 1024))
        self.assertFalse(self.good(subject, now=NOW - 1024))

    def test_several(self) -> None:
        """A good one among bad ones counts, but for a subject that is nothing but passes."""
        good, bad = f"(pass:{make_pass(KEY, MARY, ALICE, NOW)})", f"(pass:{'A' * 22})"
        self.assertTrue(self.good(bad + good))
        self.assertFalse(self.good(bad * 5 + good))

    def test_damaged(self) -> None:
        """A changed letter makes it worthless, but for the bits that encode nothing."""
        token = make_pass(KEY, MARY, ALICE, NOW)
        for i in range(len(token) - 1):
            changed = token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :]
            self.assertFalse(self.good(f"(pass:{changed})"))

    @settings(max_examples=100)
    @given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60), st.floats(0, 2e9))
    def test_anything(self, subject: str, now: float) -> None:
        """No subject makes it stumble."""
        self.assertFalse(self.good(f"(pass:{subject})", now=now))
