"""Finding text: an index of words that is made behind the deliveries, and a check of what it suggests.

IMAP asks for substrings. The index knows words. So the needle is cut into words as the index cuts text, the vocabulary
says which words contain them, the index which messages have such words, and these few are read and really
compared. What is not in the index yet, and a needle without words, is compared message by message.

Everything is done in the reactor's thread in slices of a few milliseconds: text is decoded by Python code, which in a thread of
its own would only make the reactor wait for the interpreter.
"""

from __future__ import annotations

import time
import unicodedata
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Final

import apsw
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from moxtwisted.message.headers import Header
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.structure import LIST_FIELDS
from moxtwisted.message.text import body_text, header_text
from moxtwisted.store.facts import unpack
from moxtwisted.store.interfaces import IBodyReader, SearchTerm

__all__ = ["SearchIndex"]

_log = Logger()

#: How long one slice of work may take before the reactor gets its turn, seconds.
SLICE_SECONDS: Final = 0.004
#: The index waits so long after the last new message, seconds, and at most so long in all.
QUIET_SECONDS: Final = 1.0
IMPATIENT_SECONDS: Final = 10.0
#: Messages, and characters of text, that go into the index in one transaction.
BATCH_BODIES: Final = 50
BATCH_CHARACTERS: Final = 4_000_000
#: Words of the vocabulary that contain a needle's word; when there are more, the index does not narrow the search.
MAX_WORDS: Final = 2000
#: Words in one question to the index.
WORDS_AT_ONCE: Final = 200
_READ_OCTETS: Final = 262_144

#: Header fields that machines write for machines, as long as the rest of the header and different in every message. They are
#: not among the words of a message: TEXT does not look into them (RFC 9051 section 6.4.4 would have it so), HEADER with
#: their name does, message by message.
MACHINE_FIELDS: Final = frozenset(
    (
        "arc-authentication-results",
        "arc-message-signature",
        "arc-seal",
        "authentication-results",
        "dkim-signature",
        "domainkey-signature",
        "received",
        "received-spf",
        "x-gm-message-state",
        "x-google-dkim-signature",
        "x-google-smtp-source",
        "x-microsoft-antispam-message-info",
        "x-microsoft-antispam-mailbox-delivery",
        "x-ms-exchange-antispam-messagedata-0",
        "x-received",
    )
)

#: A generator that does a little at each step; what it yields is nothing, what it returns is the result.
Work = Generator[None, None, Any]


@define(eq=False)
class SearchIndex:
    """The text of one account.

    :ivar connection: for reading.
    :ivar open_body: a body by its id; None when it is gone.
    :ivar submit: runs a job (it gets the writing connection) in a transaction.
    """

    _connection: Any
    _open_body: Callable[[int], IBodyReader | None]
    _submit: Callable[[Callable[[Any], None]], Deferred[None]]
    _clock: IReactorTime
    _seconds: Callable[[], float] = time.perf_counter
    _waiting: IDelayedCall | None = field(default=None, init=False)
    _waiting_since: float = field(default=0.0, init=False)
    _running: Deferred[None] | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _tokenize: Any = field(default=None, init=False)

    # -- making the index ------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There are new messages: put them into the index once it is quiet."""
        if self._stopped or self._running is not None:
            return
        now = self._clock.seconds()
        if self._waiting is None:
            self._waiting_since = now
            self._waiting = self._clock.callLater(QUIET_SECONDS, self._begin)
        elif now - self._waiting_since < IMPATIENT_SECONDS:
            self._waiting.reset(QUIET_SECONDS)

    def stop(self) -> Deferred[None]:
        """Fires when no work is under way any more; the rest is done after the next start."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        done: Deferred[None] = Deferred()
        if self._running is None:
            done.callback(None)
        else:
            self._running.addBoth(lambda _: done.callback(None))
        return done

    @property
    def busy(self) -> bool:
        """Whether something waits to be indexed, or is."""
        return self._running is not None or self._waiting is not None

    def complete(self) -> Deferred[None]:
        """Put all that is missing into the index now."""
        return Deferred.fromCoroutine(self._index_all())

    def indexed(self) -> int:
        """The newest body that is in the index."""
        rows = self._connection.execute("SELECT value FROM setting WHERE key = 'indexed_body'").fetchall()
        return int(rows[0][0]) if rows else 0

    def _begin(self) -> None:
        self._waiting = None
        self._running = Deferred.fromCoroutine(self._index_all())
        self._running.addErrback(lambda failure: _log.failure("indexing failed", failure))
        self._running.addBoth(self._ended)

    def _ended(self, result: Any) -> None:
        self._running = None
        if not self._stopped and self._missing(1):
            self.wake()

    def _missing(self, limit: int) -> list[int]:
        rows = self._connection.execute(
            "SELECT id FROM body WHERE id > ? ORDER BY id LIMIT ?", (self.indexed(), limit)
        )
        return [row[0] for row in rows]

    async def _index_all(self) -> None:
        while not self._stopped:
            bodies = self._missing(BATCH_BODIES)
            if not bodies:
                return
            texts = await self._in_slices(self._texts(bodies))
            await self._submit(lambda connection, texts=texts: _insert(connection, texts))  # type: ignore[misc]

    # -- searching -------------------------------------------------------------------------------------------------

    async def search(self, mailbox: int, term: SearchTerm, uids: Sequence[int]) -> set[int]:
        """Those of the UIDs whose text contains the needle, without case.

        RFC 9051 section 6.4.4: an empty needle matches whatever has the field.
        """
        needle = _folded(term.needle)
        indexed = term.field.lower() not in MACHINE_FIELDS
        candidates = self._candidates(mailbox, needle if indexed else "", set(uids))
        found: set[int] = await self._in_slices(self._compare(candidates, term.field.lower(), needle))
        return found

    def _candidates(self, mailbox: int, needle: str, wanted: set[int]) -> list[tuple[int, int]]:
        """(uid, body) to be compared, ascending."""
        suggested = self._suggested(needle)
        if suggested is None:
            rows = self._connection.execute("SELECT uid, body FROM message WHERE mailbox = ?", (mailbox,))
        else:
            rows = self._connection.execute(
                "SELECT uid, body FROM message WHERE mailbox = ?1 AND body > ?2 UNION"
                " SELECT m.uid, m.body FROM carray(?3) c JOIN message m ON m.body = c.value WHERE m.mailbox = ?1",
                (mailbox, self.indexed(), apsw.carray(_numbers(suggested))),
            )
        return sorted(row for row in rows if row[0] in wanted)

    def _suggested(self, needle: str) -> set[int] | None:
        """Bodies in the index that may match; None: all may."""
        words = sorted(set(self._words(needle)), key=len, reverse=True)
        suggested: set[int] | None = None
        # The two longest say most; the comparison does the rest.
        for word in words[:2]:
            longer = [
                row[0]
                for row in self._connection.execute(
                    "SELECT term FROM vocabulary WHERE instr(term, ?) LIMIT ?", (word, MAX_WORDS + 1)
                )
            ]
            if len(longer) > MAX_WORDS:
                continue
            having = set(self._having(longer))
            suggested = having if suggested is None else suggested & having
        return suggested

    def _words(self, needle: str) -> list[str]:
        if self._tokenize is None:
            self._tokenize = self._connection.fts5_tokenizer("unicode61", ["remove_diacritics", "0"])
        tokens = self._tokenize(needle.encode("utf-8", "replace"), apsw.FTS5_TOKENIZE_QUERY, None)
        return [token[2] for token in tokens]

    def _having(self, words: Sequence[str]) -> Iterator[int]:
        for start in range(0, len(words), WORDS_AT_ONCE):
            question = " OR ".join(f'"{word}"' for word in words[start : start + WORDS_AT_ONCE])
            for row in self._connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (question,)):
                yield row[0]

    # -- comparing -------------------------------------------------------------------------------------------------

    def _compare(self, candidates: Sequence[tuple[int, int]], name: str, needle: str) -> Work:
        """The UIDs of those that match."""
        found: set[int] = set()
        for uid, body in candidates:
            if (yield from self._matches(body, name, needle)):
                found.add(uid)
            yield
        return found

    def _matches(self, body: int, name: str, needle: str) -> Work:
        """Whether the body's text has the needle in this place."""
        octets_name = name.encode("utf-8", "replace")
        if octets_name in _KEPT_FIELDS:
            rows = self._connection.execute("SELECT facts FROM body WHERE id = ?", (body,)).fetchall()
            return bool(rows) and _in_field(Header.parse(unpack(rows[0][0]).fields), octets_name, needle)
        reader = self._open_body(body)
        if reader is None:
            return False
        try:
            scanned = yield from _scan(reader)
            if name not in ("text", "body", "header"):
                return _in_field(scanned.header, octets_name, needle)
            if name != "body" and needle in _folded(_written_text(scanned.header)):
                return True
            if name == "header":
                return False
            for piece in body_text(scanned, reader.read):
                if needle in _folded(piece):
                    return True
                yield
            return False
        finally:
            reader.close()

    def _texts(self, bodies: Sequence[int]) -> Work:
        """(body, text) of these, fewer when they are long."""
        texts: list[tuple[int, str]] = []
        room = BATCH_CHARACTERS
        for body in bodies:
            text = yield from self._text(body)
            texts.append((body, text))
            room -= len(text)
            if room < 0:
                break
            yield
        return texts

    def _text(self, body: int) -> Work:
        """All words of a body, to be indexed."""
        reader = self._open_body(body)
        if reader is None:
            return ""
        try:
            scanned = yield from _scan(reader)
            pieces = [_written_text(scanned.header)]
            for piece in body_text(scanned, reader.read):
                pieces.append(piece)
                yield
            # Folded as needles are, so that both have the same words.
            return _folded("\n".join(pieces))
        finally:
            reader.close()

    async def _in_slices(self, work: Work) -> Any:
        """The result of some work; the reactor gets its turn every few milliseconds."""
        until = self._seconds() + SLICE_SECONDS
        try:
            while True:
                next(work)
                if self._seconds() > until:
                    await deferLater(self._clock, 0)
                    until = self._seconds() + SLICE_SECONDS
        except StopIteration as e:
            return e.value


_MACHINE_NAMES: Final = frozenset(name.encode() for name in MACHINE_FIELDS)
_KEPT_FIELDS: Final = frozenset(name.lower() for name in LIST_FIELDS)


def _scan(reader: IBodyReader) -> Generator[None, None, ScannedMessage]:
    scanner = Scanner()
    for offset in range(0, reader.size, _READ_OCTETS):
        scanner.feed(reader.read(offset, _READ_OCTETS))
        yield
    return scanner.finish()


def _in_field(header: Header, name: bytes, needle: str) -> bool:
    return name in header.values and needle in _folded(header_text(header, frozenset((name,))))


def _written_text(header: Header) -> str:
    """The header's fields but for those of machines."""
    return header_text(header, frozenset(header.values) - _MACHINE_NAMES)


def _normal(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    # RFC 5051, i;unicode-casemap: case does not count, nor how a character is composed.
    return text.lower() if text.isascii() else _normal(text.casefold())


def _numbers(values: Iterable[int]) -> Any:

    return array("q", sorted(values))


def _insert(connection: Any, texts: Sequence[tuple[int, str]]) -> None:
    """Put texts into the index, and note how far it goes."""
    for body, text in texts:
        # The message may have been expunged meanwhile.
        connection.execute(
            "INSERT INTO words (rowid, text) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM body WHERE id = ?1)",
            (body, text),
        )
    connection.execute(
        "INSERT INTO setting (key, value) VALUES ('indexed_body', ?)"
        " ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        (texts[-1][0],),
    )
