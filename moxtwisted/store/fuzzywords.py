"""Words of the index that are close to one that was looked for: a bounded number of them, found without reading all.

A word of the index that differs in its second half, or has another ending, begins as the word does: a range of the vocabulary. One that
differs in the first half is among some hundred variations, which are looked up one by one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from moxtwisted.message.fuzzy import MIN_PREFIX, MIN_TYPO, Needle, closeness, stem, variations

__all__ = ["FuzzyRating", "close_terms"]

# Of a range of the vocabulary so many words are looked at; of those that are close the closest count.
_MAX_RANGE: Final = 3000
_MAX_TERMS: Final = 64
_MAX_LETTERS: Final = 40
_LOOKUPS_AT_ONCE: Final = 50
_Work = Generator[None, None, dict[int, int]]
_LAST: Final = "\U0010ffff"


def close_terms(connection: Any, word: str) -> Generator[None, None, list[tuple[str, int]]]:
    """(word of the index, closeness) of those that are close, the closest first.

    :param word: folded as the words of the index are.
    """
    found: dict[str, int] = {}

    def look(rows: Any) -> None:
        for (term,) in rows:
            close = closeness(word, term)
            if close:
                found[term] = close

    look(connection.execute("SELECT term FROM vocabulary WHERE term = ?", (word,)).fetchall())
    if MIN_PREFIX <= len(word) <= _MAX_LETTERS:
        # What is after the word itself first, so that a crowded range leaves out others.
        for beginning in dict.fromkeys((word, stem(word), word[: max(2, len(word) // 2)])):
            yield
            look(
                connection.execute(
                    "SELECT term FROM vocabulary WHERE term >= ? AND term < ? LIMIT ?",
                    (beginning, beginning + _LAST, _MAX_RANGE),
                ).fetchall()
            )
    if MIN_TYPO <= len(word) <= _MAX_LETTERS:
        for n, variation in enumerate(dict.fromkeys(variations(word))):
            if not n % _LOOKUPS_AT_ONCE:
                yield
            look(connection.execute("SELECT term FROM vocabulary WHERE term = ?", (variation,)).fetchall())
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_MAX_TERMS]


class FuzzyRating:
    """Base of the index: how relevant messages are."""

    __slots__ = ()
    _connection: Any
    _words: Any
    _field_texts: Any
    _having: Any
    _rows: Any
    _text: Any
    indexed: Any

    def _tokens(self, text: str) -> list[str]:
        """The words of a text, as they are in the index."""
        return [word.text for word in self._words(text)]

    def _rate_fields(self, mailbox: int, name: bytes, needle: Needle, uids: Sequence[int]) -> _Work:
        found: dict[int, int] = {}
        for some in self._field_texts(mailbox, name, uids):
            for uid, text in some:
                score = needle.rate(self._tokens(text)) if text is not None else 0
                if score:
                    found[uid] = score
            yield
        return found

    def _rate_bodies(self, mailbox: int, needle: Needle, uids: Sequence[int]) -> _Work:
        # Read before all else: what gets into the index from now on counts as not indexed.
        indexed = self.indexed()
        best: dict[int, dict[int, int]] = {}
        for n, word in enumerate(needle.words):
            terms = yield from close_terms(self._connection, word)
            for term, close in terms:
                for body in (yield from self._having([term])):
                    # The closest come first.
                    best.setdefault(body, {}).setdefault(n, close)
        scores = {body: score for body, close in best.items() if (score := needle.overall(close))}
        wanted, found = set(uids), {}
        for uid, body in self._rows(mailbox, set(scores), indexed):
            if uid not in wanted:
                continue
            score = scores.get(body, 0)
            if body > indexed:
                score = needle.rate(self._tokens((yield from self._text(body))))
            if score:
                found[uid] = score
            yield
        return found
