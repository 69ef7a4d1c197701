"""Words of an index, found by their parts."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import apsw
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.store.vocabulary import Vocabulary


def done(work: Generator[None, None, Any]) -> Any:
    try:
        while True:
            next(work)
    except StopIteration as e:
        return e.value


class VocabularyTests(SynchronousTestCase):
    def test_containing(self) -> None:
        """Words are found that contain, begin with or end with something, each once."""
        words = Vocabulary(1, "\nalpha\nalphabet\nbeta\nlalala\n")

        def found(part: str, begins: bool = False, ends: bool = False) -> list[str]:
            result: list[str] = done(words.containing(part, begins=begins, ends=ends))
            return result

        self.assertEqual(found("la"), ["lalala"])
        self.assertEqual(found("a"), ["alpha", "alphabet", "beta", "lalala"])
        self.assertEqual(found("alpha", begins=True), ["alpha", "alphabet"])
        self.assertEqual(found("ta", ends=True), ["beta"])
        self.assertEqual(found("la", ends=True), ["lalala"])
        self.assertEqual(found("alpha", begins=True, ends=True), ["alpha"])
        self.assertEqual(found("gamma"), [])
        self.assertEqual(found(""), ["alpha", "alphabet", "beta", "lalala"])

    def test_read(self) -> None:
        """All words are read, in steps, however many there are."""
        connection = apsw.Connection(":memory:")
        connection.execute("CREATE TABLE vocabulary (term TEXT PRIMARY KEY)")
        terms = sorted(f"w{number}" for number in range(7000))
        connection.executemany("INSERT INTO vocabulary VALUES (?)", [(term,) for term in terms])
        words = done(Vocabulary.read(connection, 5))
        self.assertEqual(words.text.split(), terms)
        self.assertEqual(done(words.containing("w", begins=True, ends=False)), terms)
        self.assertEqual(words.octets, len(words.text))

    def test_learning(self) -> None:
        """Words that come later are found, each once, until they are too many."""
        words: Any = Vocabulary(1, "\nalpha\n").having(2, {"beta", "alpha"})
        words = words.having(3, {"beta", "gamma"})
        self.assertEqual(words.indexed, 3)
        self.assertEqual(
            sorted(done(words.containing("a", begins=False, ends=True))), ["alpha", "beta", "gamma"]
        )
        self.assertEqual(done(words.containing("alpha", begins=True, ends=True)), ["alpha"])
        self.assertIsNone(words.having(4, {str(number) for number in range(30_000)}))

    def test_empty(self) -> None:
        """An empty index has no words."""
        connection = apsw.Connection(":memory:")
        connection.execute("CREATE TABLE vocabulary (term TEXT PRIMARY KEY)")
        words = done(Vocabulary.read(connection, 0))
        self.assertEqual(done(words.containing("a", begins=False, ends=False)), [])
