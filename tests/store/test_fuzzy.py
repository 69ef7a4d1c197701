"""Fuzzy searching over the index (moxtwisted.store.fuzzywords, SearchIndex.search_fuzzy)."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from moxtwisted.message.fuzzy import Needle, closeness
from moxtwisted.store.fuzzywords import close_terms
from moxtwisted.store.interfaces import SearchTerm
from tests.store.test_search import SearchCase, letter

words = st.text("abcdeß", min_size=2, max_size=7)


class FuzzyTests(SearchCase):
    def rated(self, field: str, needle: str, uids: Sequence[int] | None = None) -> dict[int, int]:
        term = SearchTerm(field, needle)
        known = self.account.state(self.inbox).uids if uids is None else uids
        found: dict[int, int] = self.wait(self.account.search_fuzzy(self.inbox, term, known))
        return found

    def test_indexed_or_not(self) -> None:
        """The same messages with the same relevancy, whether the index has them or not."""
        self.add(
            letter("hello", "world"),
            letter("help wanted", "x"),
            letter("nothing", "HELO there"),
            letter("other", "y"),
        )
        late = self.rated("text", "Helo")
        self.assertEqual(late, {1: 45, 2: 45, 3: 100})
        self.index()
        self.assertEqual(self.rated("text", "Helo"), late)
        self.add(letter("helo", "again"))
        self.assertEqual(self.rated("text", "Helo"), {**late, 5: 100})

    def test_several_words(self) -> None:
        """Half of the words must be there, and each missing one costs its share."""
        self.add(letter("imap break", "x"), letter("imap", "x"), letter("breaks", "imaps"), letter("no", "x"))
        self.index()
        self.assertEqual(self.rated("text", "IMAP break"), {1: 100, 2: 50, 3: 85})

    def test_fields(self) -> None:
        """A kept field is looked at by itself; another one exactly."""
        self.add(
            letter("working", "x", "X-Odd: works\r\n"),
            letter("x", "working"),
        )
        self.index()
        self.assertEqual(self.rated("subject", "works"), {1: 85})
        self.assertEqual(self.rated("x-odd", "work"), {1: 100})
        self.assertEqual(self.rated("x-odd", "wrok"), {})

    def test_needles_without_words(self) -> None:
        """They are searched as ever."""
        self.add(letter("a -> b", "x"), letter("c", "x"))
        self.index()
        self.assertEqual(self.rated("text", "->"), {1: 100})
        self.assertEqual(self.rated("text", ""), {1: 100, 2: 100})

    def test_only_the_asked(self) -> None:
        """Other messages of the mailbox are not told."""
        self.add(letter("hello", "x"), letter("hello", "x"))
        self.index()
        self.assertEqual(self.rated("text", "hello", [2]), {2: 100})

    def test_long_and_strange_needles(self) -> None:
        """They cost no more than others, and break nothing."""
        self.add(letter("hello", "x"))
        self.index()
        for needle in (
            "a" * 10_000,
            " ".join(f"word{n}" for n in range(1000)),
            "\ud800",
            "\0",
        ):
            self.assertEqual(self.rated("text", needle), {}, needle[:20])
        self.assertEqual(self.rated("text", 'x" OR "hello'), {1: 66})

    @settings(max_examples=30)
    @given(st.lists(words, min_size=1, max_size=30), st.lists(words, min_size=1, max_size=3))
    def test_all_close_words_are_found(self, texts: list[str], needles: list[str]) -> None:
        """With few words in the index, those that are close are just what closeness() says."""
        self.setUp()
        self.add(*(letter("x", text) for text in texts))
        self.index()
        connection = self.account.index._connection
        vocabulary = [row[0] for row in connection.execute("SELECT term FROM vocabulary")]
        for needle in needles:
            word = needle.lower()
            found = close_terms(connection, word)
            try:
                while True:
                    next(found)
            except StopIteration as end:
                told = {t: c for c, terms in end.value.items() for t in terms if t in vocabulary}
                self.assertEqual(told, {t: c for t in vocabulary if (c := closeness(word, t))})
        rated = self.rated("body", " ".join(needles))
        needle_of = Needle([n.casefold() for n in needles])
        expected = {n for n, text in enumerate(texts, 1) if needle_of.rate([text.casefold()])}
        self.assertEqual(set(rated), expected)
        self.end()
