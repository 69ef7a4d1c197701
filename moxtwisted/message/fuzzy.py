r"""How close a word is to another, for searches that shall find what is nearly meant (RFC 6203).

::

    closeness("connect", "connect")         # 100: the same word
    closeness("connect", "connecting")      # 85: the same stem
    closeness("connect", "connector")       # 72: it begins so
    closeness("conect", "connect")          # 45: one letter is wrong, missing, too much, or two are exchanged
    closeness("cat", "dog")                 # 0

    Needle(("imap", "break")).rate({"broken", "imap", "servers"})      # 50: one word of two
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field

__all__ = ["MAX_WORDS", "MIN_PREFIX", "MIN_TYPO", "Needle", "closeness", "stem", "variations"]

MAX_WORDS: Final = 8
"""Words of a needle that count."""
MIN_PREFIX: Final = 3
"""Letters of a word that may be only the beginning of another."""
MIN_TYPO: Final = 4
"""Letters of a word in which one may be wrong; the example of RFC 6203 section 4 has "Helo" for "hello" and "help"."""

_SAME: Final = 100
_SAME_STEM: Final = 85
_TYPO: Final = 45
# Endings of English and German, the longer first; what stays has three letters at least.
_ENDINGS: Final = (
    "ations",
    "ation",
    "ingly",
    "ings",
    "edly",
    "ing",
    "ies",
    "ers",
    "est",
    "ern",
    "ely",
    "ed",
    "er",
    "es",
    "en",
    "em",
    "ly",
    "s",
    "e",
    "y",
)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


def stem(word: str) -> str:
    """The word without a usual ending."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= MIN_PREFIX:
            return word[: -len(ending)]
    return word


def closeness(word: str, term: str) -> int:
    """How close a term of a text is to a word that was looked for; both folded.

    :return: 1 to 100, or 0: not at all.
    """
    if word == term:
        return _SAME
    if len(word) >= MIN_PREFIX and term[:2] == word[:2]:
        if len(term) > MIN_PREFIX and stem(word) == stem(term):
            return _SAME_STEM
        if term.startswith(word):
            return 45 + 35 * len(word) // len(term)
    if len(word) >= MIN_TYPO and abs(len(word) - len(term)) <= 1 and _one_apart(word, term):
        return _TYPO
    return 0


def _one_apart(one: str, other: str) -> bool:
    """Whether one letter is another, is missing or too much, or two neighbours are exchanged."""
    if len(one) > len(other):
        one, other = other, one
    at = 0
    while at < len(one) and one[at] == other[at]:
        at += 1
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    if one[at + 1 :] == other[at + 1 :]:
        return True
    return one[at : at + 2] == other[at : at + 2][::-1] and one[at + 2 :] == other[at + 2 :]


def variations(word: str) -> Iterator[str]:
    """Words one letter apart from this one, in its first half; those that differ in the second half begin as it does."""
    half = len(word) // 2 + 1
    for at in range(half):
        head, tail = word[:at], word[at:]
        yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in _LETTERS:
            yield head + letter + tail[1:]
            yield head + letter + tail


@define
class Needle:
    """What was looked for.

    :ivar words: folded; at most ``MAX_WORDS`` count.
    """

    words: Sequence[str]
    _known: list[dict[str, int]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.words = tuple(dict.fromkeys(self.words))[:MAX_WORDS]
        self._known = [{} for _ in self.words]

    def rate(self, terms: Iterable[str]) -> int:
        """How relevant a text with these terms is: 1 to 100, or 0 when it does not match."""
        best = [0] * len(self.words)
        for term in terms:
            for n, word in enumerate(self.words):
                known = self._known[n]
                close = known.get(term)
                if close is None:
                    close = closeness(word, term)
                    if len(known) < 100_000:
                        known[term] = close
                best[n] = max(best[n], close)
        return self.overall(dict(enumerate(best)))

    def overall(self, best: Mapping[int, int]) -> int:
        """The relevance of a text, of what is closest to each word (by its place) in it; half of the words must be there."""
        found = sum(1 for close in best.values() if close)
        if not found or 2 * found < len(self.words):
            return 0
        return max(1, sum(best.values()) // len(self.words))
