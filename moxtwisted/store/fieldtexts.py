"""The text of one header field of all messages of a mailbox, in one string.

SEARCH SUBJECT and FROM look into every message. What they look at is decoded and folded once; then a search is one look
through a string, at the speed of memory, and bisection tells whose text it was::

    texts = FieldTexts.EMPTY.having([(4, "hello world"), (5, None), (7, "grüße")])
    texts.containing("gr")                        # [7]
    texts.containing("")                          # [4, 7]: whoever has the field
    texts.missing([4, 5, 7, 9])                   # [9]

Text that is ASCII, which is most, has a string of its own: one wide character would make all the others wide.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import ClassVar, Final

from attrs import field, frozen

from moxtwisted.message.headers import MAX_FIELDS, Header, decode_words
from moxtwisted.message.text import header_text

__all__ = ["FieldTexts", "field_reader"]

#: Stands behind every text. No text has it: what decodes header fields leaves it out.
_END: Final = "\0"


@frozen
class _Texts:
    """Texts behind each other: whose they are, and where each ends."""

    uids: array[int] = field(factory=lambda: array("I"))
    ends: array[int] = field(factory=lambda: array("Q"))
    text: str = ""

    def having(self, texts: Sequence[tuple[int, str]]) -> _Texts:
        """With more of them."""
        if not texts:
            return self
        joined = _END.join([*[text for _, text in texts], ""])
        lengths = [len(text) + 1 for _, text in texts]
        ends = accumulate(lengths, initial=len(self.text))
        next(ends)
        return _Texts(
            self.uids + array("I", [uid for uid, _ in texts]),
            self.ends + array("Q", ends),
            self.text + joined,
        )

    def containing(self, needle: str) -> list[int]:
        """UIDs."""
        find, ends, uids = self.text.find, self.ends, self.uids
        found = []
        at = find(needle)
        while at >= 0:
            place = bisect_right(ends, at)
            found.append(uids[place])
            at = find(needle, ends[place])
        return found


@frozen
class FieldTexts:
    """See above; immutable."""

    EMPTY: ClassVar[FieldTexts]

    known: array[int]
    _plain: _Texts
    _wide: _Texts

    def missing(self, uids: Sequence[int]) -> Sequence[int]:
        """Those of the UIDs (ascending) of which nothing is known here."""
        if len(uids) == len(self.known) and self.known == array("I", uids):
            return ()
        known = set(self.known)
        return [uid for uid in uids if uid not in known]

    def having(self, texts: Iterable[tuple[int, str | None]]) -> FieldTexts:
        """With the folded texts of more messages; None where the field is not."""
        texts = list(texts)
        known = self.known + array("I", [uid for uid, _ in texts])
        plain = [(uid, text) for uid, text in texts if text is not None and text.isascii()]
        wide = [(uid, text) for uid, text in texts if text is not None and not text.isascii()]
        return FieldTexts(known, self._plain.having(plain), self._wide.having(wide))

    def containing(self, needle: str) -> list[int]:
        """UIDs of those whose text contains the folded needle; an empty one is in every text."""
        if not needle:
            return [*self._plain.uids, *self._wide.uids]
        if _END in needle:
            return []
        found = self._wide.containing(needle)
        return found + self._plain.containing(needle) if needle.isascii() else found

    @property
    def octets(self) -> int:
        """What it takes of the memory, roughly."""
        texts = len(self._plain.text) + 4 * len(self._wide.text)
        return texts + 4 * len(self.known) + 12 * (len(self._plain.uids) + len(self._wide.uids)) + 500


FieldTexts.EMPTY = FieldTexts(array("I"), _Texts(), _Texts())


def field_reader(name: bytes) -> Callable[[bytes], str | None]:
    """A function from a header block to the text of its fields with this (lower-case) name, or None."""
    # As moxtwisted.message.headers cuts fields: a name begins a line, what begins with a blank goes on.
    values = re.compile(rb"\n%b[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)" % re.escape(name), re.IGNORECASE).findall

    def text(octets: bytes) -> str | None:
        if octets.count(b"\n") > MAX_FIELDS:
            header = Header.parse(octets)
            return header_text(header, frozenset((name,))) if name in header.values else None
        found = values(b"\n" + octets)
        if not found:
            return None
        if len(found) == 1:
            return decode_words(found[0]).replace(_END, "")
        return "\n".join(map(decode_words, found)).replace(_END, "")

    return text
