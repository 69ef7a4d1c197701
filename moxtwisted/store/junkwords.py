"""What an account learned of junk: in how many messages each word was, of junk and of others.

The words are numbers here; who makes them of a message is handed in::

    words = JunkWords(version=1, take_apart=lambda octets: ([17, 23, …], True))     # a Learner: numbers, whether there is HTML
    account.use_learner(words)
    learned, rows = counts(connection, [17, 23, 99])      # Learned(ham=210, junk=90, …), [(17, 3, 40, 1, 38), …]
    learned.changes                                       # another number as soon as something was learned or unlearned

To unlearn a message is to take it apart again and to subtract: the octets are kept and the version says how they were taken apart, so what
is left is what would be there had it never been learned. ``recount`` proves it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

import apsw
from attrs import define, frozen

from moxtwisted.store.interfaces import IBodyReader
from moxtwisted.store.reading import BodyReader

__all__ = ["JunkWords", "Learned", "counts", "recount"]

_ALL: Final = -1
_CHANGES: Final = -2
_TOTALS_FACTOR: Final = (1 << 62) + 12345
_COLUMNS: Final = "id, ham, junk, html_ham, html_junk"

TakeApart = Callable[[IBodyReader], tuple[Collection[int], bool]]
#: number of a word, messages with it: ham, junk, ham with HTML, junk with HTML
Row = tuple[int, int, int, int, int]

_ADD: Final = """
    INSERT INTO junk_word (id, ham, junk, html_ham, html_junk) SELECT value, ?2, ?3, ?4, ?5 FROM carray(?1) WHERE true
    ON CONFLICT (id) DO UPDATE SET ham = ham + excluded.ham, junk = junk + excluded.junk,
        html_ham = html_ham + excluded.html_ham, html_junk = html_junk + excluded.html_junk
"""
# What is not there, or would fall below zero, was learned by nobody: a damaged database must not become worse.
_TAKE: Final = """
    UPDATE junk_word SET ham = max(ham - ?2, 0), junk = max(junk - ?3, 0),
        html_ham = max(html_ham - ?4, 0), html_junk = max(html_junk - ?5, 0)
    WHERE id IN (SELECT value FROM carray(?1))
"""
_CLEAN: Final = "DELETE FROM junk_word WHERE ham = 0 AND junk = 0 AND id IN (SELECT value FROM carray(?1))"
_COUNTS: Final = """
    SELECT w.id, w.ham, w.junk, w.html_ham, w.html_junk FROM carray(?1) k CROSS JOIN junk_word w ON w.id = k.value
"""


_CHANGED: Final = """
    INSERT INTO junk_word (id, ham, junk, html_ham, html_junk) VALUES (-2, 1, 0, 0, 0)
    ON CONFLICT (id) DO UPDATE SET ham = ham + 1
"""


@frozen
class Learned:
    """Messages that were learned: those that are not junk, those that are, and of each those with HTML.

    :ivar changes: how often something was learned, unlearned or forgotten.
    """

    ham: int = 0
    junk: int = 0
    html_ham: int = 0
    html_junk: int = 0
    changes: int = 0


def counts(connection: Any, numbers: Collection[int]) -> tuple[Learned, list[Row]]:
    """What was learned in all, and of these words; those that were never seen are not among the rows.

    One statement, so the figures agree with each other. It costs about 0.4 µs for each word that is in the page cache.
    """
    rows: list[Row] = connection.execute(_COUNTS, (_array([_CHANGES, _ALL, *numbers]),)).fetchall()
    totals, changes = (0, 0, 0, 0), 0
    # The numbers are sorted: these come first if they are there.
    if rows and rows[0][0] == _CHANGES:
        changes = rows.pop(0)[1]
    if rows and rows[0][0] == _ALL:
        totals = rows.pop(0)[1:]
    return Learned(*totals, changes), rows


def _array(numbers: Collection[int]) -> Any:
    # In the order of the table: neighbours lie on one page.
    return apsw.carray(array("q", sorted(numbers)))


@define(eq=False)
class JunkWords:
    """A ``Learner``; one serves all accounts.

    :ivar version: of what takes messages apart.
    :ivar take_apart: the different words of a message as numbers of 0 to 2^63-1, and whether it has HTML. Must say the same of the same
        octets for ever, or have another version.
    """

    version: int
    take_apart: TakeApart

    def learn(self, connection: Any, body: int, octets: IBodyReader, junk: bool, sign: int) -> None:
        """See ``Learner``."""
        numbers, html = self.take_apart(octets)
        values = (_array([_ALL, *numbers]), not junk, junk, html and not junk, html and junk)
        connection.execute(_CHANGED)
        if sign > 0:
            connection.execute(_ADD, values)
        else:
            connection.execute(_TAKE, values)
            connection.execute(_CLEAN, values[:1])

    def forget(self, connection: Any) -> None:
        """See ``Learner``."""
        connection.execute("DELETE FROM junk_word WHERE id <> -2")
        connection.execute(_CHANGED)


def recount(connection: Any, words: JunkWords) -> Iterator[str]:
    """The checker: take all messages that were learned apart again, and compare. Each problem is a sentence.

    First sums are compared, which takes no memory; only when they differ, word by word.
    """
    learned = connection.execute(
        "SELECT j.body, j.junk, b.size FROM judged j JOIN body b ON b.id = j.body WHERE j.learned = ?",
        (words.version,),
    ).fetchall()
    real = [0, 0, 0, 0]
    for numbers, junk, html in _taken_apart(connection, words, learned):
        # Another factor for the totals than 0, which would hide them.
        total = sum(numbers) + _TOTALS_FACTOR
        real[junk] += total
        real[2 + junk] += html * total
    kept = [0, 0, 0, 0]
    for number, *row in connection.execute(f"SELECT {_COLUMNS} FROM junk_word WHERE id <> {_CHANGES}"):
        factor = number if number >= 0 else _TOTALS_FACTOR
        kept = [total + factor * count for total, count in zip(kept, row, strict=True)]
    if kept != real:
        yield from _compare(connection, _taken_apart(connection, words, learned))


def _taken_apart(
    connection: Any, words: JunkWords, learned: Iterable[tuple[int, int, int]]
) -> Iterator[tuple[Collection[int], int, bool]]:
    for body, junk, size in learned:
        reader = BodyReader(size, connection, body, b"", lambda _: None)
        try:
            numbers, html = words.take_apart(reader)
        finally:
            reader.close()
        yield numbers, junk, html


def _compare(connection: Any, messages: Iterable[tuple[Collection[int], int, bool]]) -> Iterator[str]:
    real: dict[int, list[int]] = {}
    for numbers, junk, html in messages:
        for number in (_ALL, *numbers):
            row = real.setdefault(number, [0, 0, 0, 0])
            row[junk] += 1
            row[2 + junk] += html
    for number, *kept in connection.execute(f"SELECT {_COLUMNS} FROM junk_word WHERE id <> {_CHANGES}"):
        row = real.pop(number, [0, 0, 0, 0])
        if row != kept:
            yield f"junk word {number} has the counts {kept}, a recount gives {row}"
    for number, row in real.items():
        yield f"junk word {number} is missing; a recount gives {row}"
