"""The text of one header field of all messages of a mailbox, in one string.

SEARCH SUBJECT and FROM look into every message. What they look at is decoded and folded once; then a search is one look
through a string, at the speed of memory, and bisection tells whose text it was::

    texts = FieldTexts.EMPTY.having([(4, "hello world"), (5, None), (7, "grüße")])
    yield from texts.containing("gr")             # [7]
    yield from texts.containing("")               # [4, 7]: whoever has the field
    texts.missing([4, 5, 7, 9])                   # [9]

Text that is ASCII, which is most, has a string of its own: one wide character would make all the others wide.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, ClassVar, Final

import apsw
from attrs import field, frozen

from moxtwisted.message.casemap import casemap
from moxtwisted.message.headers import MAX_FIELDS, Header, decode_words
from moxtwisted.message.text import header_text
from moxtwisted.store.facts import picker
from moxtwisted.store.interfaces import Column
from moxtwisted.store.remembered import Remembered

__all__ = ["FieldSearch", "FieldTexts", "field_reader", "folded"]

#: Stands behind every text. No text has it: what decodes header fields leaves it out.
_END: Final = "\0"
#: Messages whose fields are read in one step.
_FIELDS_AT_ONCE: Final = 100
#: Texts that are put behind the others in one step.
_TEXTS_AT_ONCE: Final = 10_000
#: Characters that are looked through, and texts that are found, in one step.
_CHARACTERS_AT_ONCE: Final = 1 << 20
_FOUND_AT_ONCE: Final = 1000
#: The field of that many messages is put into one string; of more it is compared one by one.
_MAX_TEXTS: Final = 200_000
_FIELDS: Final = picker(Column.FIELDS)


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

    def containing(self, needle: str) -> Generator[None, None, list[int]]:
        """UIDs, in steps."""
        find, ends, uids, size = self.text.find, self.ends, self.uids, len(self.text)
        found: list[int] = []
        at, place = 0, -1
        # What begins before this character is looked for now.
        stop, beyond = _CHARACTERS_AT_ONCE, len(needle) - 1
        while at < size:
            hit = find(needle, at, stop + beyond)
            if hit < 0:
                at = max(at, stop)
                stop = at + _CHARACTERS_AT_ONCE
                yield
                continue
            # Mostly it is the next text, where most have it.
            place += 1
            if hit >= ends[place]:
                place = bisect_right(ends, hit, place)
            found.append(uids[place])
            at = ends[place]
            if len(found) % _FOUND_AT_ONCE == 0:
                yield
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

    def containing(self, needle: str) -> Generator[None, None, list[int]]:
        """UIDs of those whose text contains the folded needle, in steps; an empty one is in every text."""
        if not needle:
            return [*self._plain.uids, *self._wide.uids]
        if _END in needle:
            return []
        found = yield from self._wide.containing(needle)
        if needle.isascii():
            found += yield from self._plain.containing(needle)
        return found

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


def folded(text: str) -> str:
    """Text as it is compared, in the index too."""
    # RFC 5051, i;unicode-casemap: case does not count, nor how a character is composed. Small letters at the end, because those
    # are what the index keeps; casefold(), because lower() would look at what stands beside a letter.
    return text.lower() if text.isascii() else casemap(text).casefold()


@frozen
class FieldSearch:
    """Searches in the header fields that are kept beside the bodies."""

    _connection: Any
    _memory: Remembered
    _owner: int

    def found(
        self, mailbox: int, name: bytes, needle: str, uids: Sequence[int]
    ) -> Generator[None, None, set[int]]:
        """The UIDs of those whose field has the needle; of fields that are kept beside the body."""
        if len(uids) > _MAX_TEXTS:
            return (yield from self._compare(mailbox, name, needle, uids))
        key = (self._owner, mailbox, name)
        texts: FieldTexts = self._memory.get(key) or FieldTexts.EMPTY
        missing = texts.missing(uids)
        if missing:
            more: list[tuple[int, str | None]] = []
            for some in self.texts(mailbox, name, missing):
                more += some
                if len(more) > _TEXTS_AT_ONCE:
                    texts, more = texts.having(more), []
                yield
            texts = texts.having(more)
            self._memory.put(key, texts, texts.octets)
        found = yield from texts.containing(needle)
        yield
        return set(found).intersection(uids)

    def _compare(
        self, mailbox: int, name: bytes, needle: str, uids: Sequence[int]
    ) -> Generator[None, None, set[int]]:
        """The same, with nothing remembered."""
        found: set[int] = set()
        for some in self.texts(mailbox, name, uids):
            found.update([uid for uid, text in some if text is not None and needle in text])
            yield
        return found

    def texts(self, mailbox: int, name: bytes, uids: Sequence[int]) -> Iterator[list[tuple[int, str | None]]]:
        """(UID, folded text of the field) of those that exist, some at a time."""
        read = field_reader(name)
        for start in range(0, len(uids), _FIELDS_AT_ONCE):
            rows = self._connection.execute(
                "SELECT m.uid, b.facts FROM carray(?) k CROSS JOIN message m ON m.mailbox = ? AND m.uid = k.value"
                " CROSS JOIN body b ON b.id = m.body",
                (apsw.carray(array("q", uids[start : start + _FIELDS_AT_ONCE])), mailbox),
            ).fetchall()
            texts = [(uid, read(_FIELDS(facts)[0])) for uid, facts in rows]
            yield [(uid, None if text is None else folded(text)) for uid, text in texts]
