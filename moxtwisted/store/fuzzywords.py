"""Words of the index that are close to one that was looked for: a bounded number of them, found without reading all.

A word of the index that differs in its second half, or has another ending, begins as the word does: a range of the vocabulary. One that
differs in the first half is among some hundred variations, which are looked up one by one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from moxtwisted.message.fuzzy import MIN_PREFIX, MIN_TYPO, Needle, closeness, stem, variations
from moxtwisted.store.fieldtexts import FieldSearch

__all__ = ["FuzzyRating", "close_terms"]

# Of a range of the vocabulary so many words are looked at; of those that are close the closest count.
_MAX_RANGE: Final = 3000
_MAX_TERMS: Final = 64
_MAX_LETTERS: Final = 40
_TERMS_AT_ONCE: Final = 100
_Work = Generator[None, None, dict[int, int]]
_LAST: Final = "\U0010ffff"


def close_terms(connection: Any, word: str) -> Generator[None, None, dict[int, list[str]]]:
    """Words that may be in the index and are close, by closeness, the closest first.

    :param word: folded as the words of the index are.
    """
    found: dict[str, int] = {word: closeness(word, word)}
    if MIN_PREFIX <= len(word) <= _MAX_LETTERS:
        # What is after the word itself first, so that a crowded range leaves out others.
        for beginning in dict.fromkeys((word, stem(word), word[: max(2, len(word) // 2)])):
            rows = connection.execute(
                "SELECT term FROM vocabulary WHERE term >= ? AND term < ? LIMIT ?",
                (beginning, beginning + _LAST, _MAX_RANGE),
            ).fetchall()
            found.update(
                (term, close) for (term,) in rows if term not in found and (close := closeness(word, term))
            )
            yield
    known = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_MAX_TERMS]
    if MIN_TYPO <= len(word) <= _MAX_LETTERS:
        # Whether the index has them is seen when they are looked up.
        known += [
            (term, closeness(word, term))
            for term in dict.fromkeys(variations(word))
            if term and term not in found
        ]
    groups: dict[int, list[str]] = {}
    for term, close in sorted(known, key=lambda item: -item[1]):
        if close:
            groups.setdefault(close, []).append(term)
    return groups


class FuzzyRating:
    """Base of the index: how relevant messages are."""

    __slots__ = ()
    _connection: Any
    _words: Any
    _memory: Any
    _owner: Any
    _rated: Any
    _rows: Any
    _text: Any
    indexed: Any

    def _tokens(self, text: str) -> list[str]:
        """The words of a text, as they are in the index."""
        return [word.text for word in self._words(text)]

    def _rate_fields(self, mailbox: int, name: bytes, needle: Needle, uids: Sequence[int]) -> _Work:
        found: dict[int, int] = {}
        fields = FieldSearch(self._connection, self._memory, self._owner)
        for some in fields.texts(mailbox, name, uids):
            for uid, text in some:
                score = needle.rate(self._tokens(text)) if text is not None else 0
                if score:
                    found[uid] = score
            yield
        return found

    def _rate_bodies(self, mailbox: int, needle: Needle, uids: Sequence[int]) -> _Work:
        # Read before all else: what gets into the index from now on counts as not indexed.
        indexed = self.indexed()
        key = (indexed, needle.words)
        if self._rated is None or self._rated[0] != key:
            scores = yield from self._score(needle)
            # ESEARCH asks the same of each mailbox.
            self._rated = (key, scores)
        scores = self._rated[1]
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

    def _score(self, needle: Needle) -> _Work:
        """The relevancy of bodies in the index."""
        best: dict[int, dict[int, int]] = {}
        for n, word in enumerate(needle.words):
            groups = yield from close_terms(self._connection, word)
            for close, terms in groups.items():
                for start in range(0, len(terms), _TERMS_AT_ONCE):
                    query = " OR ".join(f'"{term}"' for term in terms[start : start + _TERMS_AT_ONCE])
                    for (body,) in self._connection.execute(
                        "SELECT rowid FROM words WHERE words MATCH ?", (query,)
                    ).fetchall():
                        # The closest come first.
                        best.setdefault(body, {}).setdefault(n, close)
                    yield
        return {body: score for body, close in best.items() if (score := needle.overall(close))}
