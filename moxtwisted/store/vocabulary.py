"""All words of an account's index in one string, where those that contain something are found as fast as memory is read.

FTS5 needs 1.8 µs to tell each of its words; a string of them is searched a hundred times faster::

    words = Vocabulary(12_000, "\\nalpha\\nbeta\\nalphabet\\n")
    words.containing("pha", begins=False, ends=False)      # ["alpha", "alphabet"]
    words.containing("alpha", begins=True, ends=False)     # ["alpha", "alphabet"]

It has the words of the messages that were indexed when it was read, and those of newer ones that it is given by who indexes
them. Otherwise newer messages are compared themselves, until they are so many that it is better to read it again. Words that are
gone since then do no harm: nothing is found by them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from attrs import frozen

__all__ = ["MAX_BEHIND", "Vocabulary"]

#: So many messages may be newer than a vocabulary that is used.
MAX_BEHIND: Final = 32
#: Words that are read, and found, in one step.
_TERMS_AT_ONCE: Final = 3000
_FOUND_AT_ONCE: Final = 1000
_MAX_RECENT: Final = 30_000


@frozen
class Vocabulary:
    """The words.

    :ivar indexed: the newest body whose words are among them.
    :ivar text: a line feed before and behind every word; some words may stand there twice.
    :ivar recent: words that it was given.
    """

    indexed: int
    text: str
    recent: frozenset[str] = frozenset()

    @classmethod
    def read(cls, connection: Any, indexed: int) -> Generator[None, None, Vocabulary]:
        """Read it, in steps; ``indexed`` was looked up before."""
        pieces: list[str] = [""]
        last = ""
        while True:
            # Each step is a statement of its own: one that stays open would keep this connection from seeing commits.
            terms = [
                row[0]
                for row in connection.execute(
                    "SELECT term FROM vocabulary WHERE term > ? LIMIT ?", (last, _TERMS_AT_ONCE)
                )
            ]
            pieces.extend(terms)
            if len(terms) < _TERMS_AT_ONCE:
                return cls(indexed, "\n".join([*pieces, ""]))
            last = terms[-1]
            yield

    def having(self, indexed: int, words: set[str]) -> Vocabulary | None:
        """With those of newer messages; None: it has got so many that it is better to read it again."""
        new = words - self.recent
        if len(self.recent) + len(new) > _MAX_RECENT:
            return None
        return Vocabulary(indexed, "\n".join([self.text[:-1], *new, ""]), self.recent | new)

    @property
    def octets(self) -> int:
        """What it takes of the memory, roughly: one character that is not Latin makes all of them wide."""
        text = self.text
        return (len(text) if text.isascii() else 4 * len(text)) + 100 * len(self.recent)

    def containing(self, part: str, *, begins: bool, ends: bool) -> Generator[None, None, list[str]]:
        """The words that contain ``part`` (or begin, or end with it), in steps."""
        text = self.text
        wanted = ("\n" if begins else "") + part + ("\n" if ends else "")
        if not wanted.strip("\n"):
            return text.split()
        found: list[str] = []
        at = text.find(wanted)
        while at >= 0:
            start = text.rfind("\n", 0, at + 1) + 1
            end = text.find("\n", start)
            found.append(text[start:end])
            at = text.find(wanted, end)
            if len(found) % _FOUND_AT_ONCE == 0:
                yield
        return list(dict.fromkeys(found)) if self.recent else found
