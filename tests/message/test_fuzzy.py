"""How close words are (moxtwisted.message.fuzzy)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.fuzzy import MIN_TYPO, Needle, closeness, stem, variations

words = st.text("abcd", min_size=1, max_size=8)


def _distance(one: str, other: str) -> int:
    """Edits between two words, with exchanges of neighbours (the textbook's table)."""
    rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if not i or not j:
                rows[i][j] = i + j
                continue
            change = one[i - 1] != other[j - 1]
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + change)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


class ClosenessTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """The same word, its stem, its beginning, a letter off, and what has nothing to do with it, in this order."""
        scores = [
            closeness("connect", t) for t in ("connect", "connecting", "connector", "conect", "context")
        ]
        self.assertEqual(scores, [100, 85, 72, 45, 0])
        self.assertEqual([closeness("helo", t) for t in ("hello", "help", "ehlo", "hell")], [45, 45, 45, 45])

    def test_short_words_are_taken_as_they_are(self) -> None:
        """Of two letters nothing is a beginning, of three none may be wrong."""
        self.assertEqual(closeness("ab", "abc"), 0)
        self.assertEqual(closeness("abc", "abd"), 0)

    def test_stem(self) -> None:
        """Usual endings go, three letters stay."""
        self.assertEqual(
            [stem(w) for w in ("messages", "sending", "bed", "informationen", "this")],
            ["messag", "send", "bed", "information", "thi"],
        )

    @settings(max_examples=200)
    @given(words, words)
    def test_a_letter_off(self, one: str, other: str) -> None:
        """Words of four letters are close when one edit makes the one the other, and only then unless one begins the other."""
        if len(one) < MIN_TYPO:
            return
        distance = _distance(one, other)
        if distance == 1:
            self.assertGreaterEqual(closeness(one, other), 45)
        elif distance > 1 and stem(one) != stem(other) and not other.startswith(one):
            self.assertEqual(closeness(one, other), 0)

    @settings(max_examples=100)
    @given(words, words)
    def test_variations(self, one: str, other: str) -> None:
        """Each word one edit away is a variation, or begins with the first half of the word."""
        if len(one) >= MIN_TYPO and _distance(one, other) == 1:
            half = one[: max(2, len(one) // 2)]
            self.assertTrue(other in set(variations(one)) or other.startswith(half), (one, other))


class NeedleTests(SynchronousTestCase):
    def test_rate(self) -> None:
        """Half of the words must be there, each counts with its closest term."""
        needle = Needle(("imap", "break"))
        self.assertEqual(needle.rate({"imap", "break"}), 100)
        self.assertEqual(needle.rate({"imap", "breaking"}), 92)
        self.assertEqual(needle.rate({"imap", "x"}), 50)
        self.assertEqual(needle.rate({"x"}), 0)
        self.assertEqual(Needle(("one", "two", "three")).rate({"one"}), 0)
        self.assertEqual(Needle(()).rate({"one"}), 0)

    def test_bounds(self) -> None:
        """Of a long needle the first words count; a score is between 1 and 100."""
        self.assertEqual(len(Needle([str(n) for n in range(100)]).words), 8)
        self.assertEqual(Needle(("a", "a")).words, ("a",))
