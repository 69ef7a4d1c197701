"""Finding text: an index of words that is made behind the deliveries, and a check of what it suggests.

IMAP asks for substrings. The index knows words. So the needle is cut into words as the index cuts text, the vocabulary
says which words contain them, the index which messages have such words, and these few are read and really
compared::

    needle "ed offer, th"   ->  a word that ends with "ed", the word "offer", a word that begins with "th"

What is not in the index yet, and a needle without words, is compared message by message; so are the few messages whose
text is too long to be indexed whole. Header fields that lists show are compared as they are kept, without the index.

Everything is done in the reactor's thread in slices of a few milliseconds: text is decoded by Python code, which in a thread of
its own would only make the reactor wait for the interpreter.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Final

import apsw
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from moxtwisted.errors import ConsistencyError, StoreFullError, StoreUnavailableError
from moxtwisted.message.fuzzy import Needle
from moxtwisted.message.headers import Header, decode_words
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.message.structure import LIST_FIELDS
from moxtwisted.message.text import body_text, header_text
from moxtwisted.store.fieldtexts import FieldSearch
from moxtwisted.store.fieldtexts import folded as _folded
from moxtwisted.store.fuzzywords import FuzzyRating
from moxtwisted.store.interfaces import IBodyReader, SearchTerm
from moxtwisted.store.pacing import IMPATIENT_SECONDS, QUIET_SECONDS, Crowd, Pace
from moxtwisted.store.remembered import SEARCH_OCTETS, Remembered
from moxtwisted.store.vocabulary import MAX_BEHIND, Vocabulary

__all__ = ["SearchIndex", "in_field", "in_slices", "occurs", "scan", "storable"]

_log = Logger()

#: How long one slice of work may take before the reactor gets its turn, seconds.
SLICE_SECONDS: Final = 0.004
#: On a full disk it tries again after so many seconds.
FULL_SECONDS: Final = 60.0
#: Messages, and characters of text, that go into the index in one transaction: 20 ms of the writer's time at most, for
#: which a delivery may have to wait.
BATCH_BODIES: Final = 50
BATCH_CHARACTERS: Final = 128 * 1024
#: Of a longer text, so many characters are indexed, and it is compared in every search.
MAX_CHARACTERS: Final = 256 * 1024
#: FTS5 cuts words after 32,768 octets; a shorter text has no such word.
MAX_WORD_OCTETS: Final = 32_000
_READ_OCTETS: Final = 262_144

#: Stands in the text of a body that must be compared in every search. U+F8FF is private: no mail has it in a word but by chance.
_COMPARE_ALWAYS: Final = "\uf8ffcompare"

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
_MACHINE_NAMES: Final = frozenset(name.encode() for name in MACHINE_FIELDS)
_KEPT_FIELDS: Final = frozenset(name.lower() for name in LIST_FIELDS)

#: A generator that does a little at each step; what it yields is nothing, what it returns is the result.
Work = Generator[None, None, Any]


@frozen
class _Word:
    """A word of a needle, and how a word of the index must contain it.

    :ivar begins: a word of the index must begin with it, since something that is in no word stands before it; ``ends`` likewise.
    """

    text: str
    begins: bool
    ends: bool


@define(eq=False)
class SearchIndex(FuzzyRating):
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
    _full: bool = field(default=False, init=False)
    _pace: Pace = field(init=False)
    _tokenize: Any = field(default=None, init=False)
    _rated: Any = field(default=None, init=False)
    #: Shared by all accounts, if the store says so.
    _memory: Remembered = field(factory=lambda: Remembered(SEARCH_OCTETS), init=False)
    _owner: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._pace = Pace(self._clock)

    def share(self, memory: Remembered, crowd: Crowd) -> None:
        """Remember what was read in this memory, and be one of these accounts."""
        self._memory, self._owner = memory, memory.owner()
        self._pace.share(crowd)

    def forget(self) -> None:
        """Something that was read has changed, or is not wanted any more."""
        self._memory.forget(self._owner)

    # -- making the index ------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There are new messages: put them into the index once it is quiet."""
        self.disturb()
        if self._stopped or self._running is not None:
            return
        now = self._pace.disturbed_at
        if self._waiting is None:
            self._waiting_since = now
            self._waiting = self._clock.callLater(QUIET_SECONDS, self._begin)
        elif now - self._waiting_since < IMPATIENT_SECONDS:
            self._waiting.reset(QUIET_SECONDS)

    def disturb(self) -> None:
        """Somebody has changed something, and may go on: he and the index have one writer."""
        self._pace.disturb()

    def stop(self) -> Deferred[None]:
        """Fires when no indexing is under way any more; the rest is done after the next start. Searches fail from now on."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._pace.hurry()
        return self._after_running()

    @property
    def busy(self) -> bool:
        """Whether something waits to be indexed, or is."""
        return self._running is not None or self._waiting is not None

    def complete(self) -> Deferred[None]:
        """Put all that is missing into the index now."""
        if self._running is None and not self._stopped:
            if self._waiting is not None:
                self._waiting.cancel()
            self._begin()
        else:
            self._pace.hurry()
        return self._after_running()

    def _after_running(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self._running is None:
            done.callback(None)
        else:

            def ended(result: Any) -> Any:
                done.callback(None)
                return result

            self._running.addBoth(ended)
        return done

    def indexed(self) -> int:
        """The newest body that is in the index."""
        rows = self._connection.execute("SELECT value FROM setting WHERE key = 'indexed_body'").fetchall()
        return int(rows[0][0]) if rows else 0

    def _begin(self) -> None:
        self._waiting = None
        running: Deferred[None] = Deferred()
        self._running = running
        running.addBoth(self._ended)
        Deferred.fromCoroutine(self._index_all()).addErrback(self._failed).chainDeferred(running)

    def _failed(self, failure: Any) -> None:
        # An account that nobody uses closes by itself, whatever waits to be indexed.
        if failure.check(apsw.ConnectionClosedError, StoreUnavailableError):
            self._stopped = True
        elif failure.check(StoreFullError):
            self._full = True
            _log.warn("the search index waits: {error}", error=failure.value.detail)
        else:
            _log.failure("indexing failed", failure)

    def _ended(self, result: Any) -> None:
        self._running = None
        self._pace.over()
        full, self._full = self._full, False
        if self._stopped or not self._missing(1):
            return
        self.wake()
        if full and self._waiting is not None:
            self._waiting.reset(FULL_SECONDS)

    def _missing(self, limit: int, indexed: int | None = None) -> list[int]:
        after = self.indexed() if indexed is None else indexed
        rows = self._connection.execute(
            "SELECT id FROM body WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        )
        return [row[0] for row in rows]

    async def _index_all(self) -> None:
        while not self._stopped:
            before = self.indexed()
            bodies = self._missing(BATCH_BODIES, before)
            if not bodies:
                return
            begun = self._seconds()
            self._pace.begin_batch()
            texts = await self._in_slices(self._texts(bodies))
            await self._submit(lambda connection, texts=texts: _insert(connection, texts))  # type: ignore[misc]
            self._learn(before, texts)
            await self._pace.rest(self._seconds() - begun)

    def _learn(self, before: int, texts: Sequence[tuple[int, str]]) -> None:
        """If the vocabulary is remembered, it learns the words of texts that were indexed after ``before``."""
        key = (self._owner, "vocabulary")
        known: Vocabulary | None = self._memory.get(key)
        if known is None or known.indexed != before:
            return
        tokenize, words = self._tokenizer(), set[str]()
        for _, text in texts:
            octets = storable(text).encode()
            words.update(
                tokenize(
                    octets, apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False, include_colocated=False
                )
            )
        learned = known.having(texts[-1][0], words)
        if learned is not None:
            self._memory.put(key, learned, learned.octets)

    def _texts(self, bodies: Sequence[int]) -> Work:
        """(body, text) of these, fewer when they are long."""
        texts: list[tuple[int, str]] = []
        room = BATCH_CHARACTERS
        for body in bodies:
            try:
                text = yield from self._text(body)
            except ConsistencyError as e:
                _log.error("body {body} cannot be read: {error}", body=body, error=e.detail)
                text = _COMPARE_ALWAYS
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
            scanned = yield from scan(reader)
            pieces = [_written_text(scanned.header)]
            length = len(pieces[0])
            for piece in body_text(scanned, reader.read):
                pieces.append(piece)
                length += len(piece)
                if length > MAX_CHARACTERS:
                    break
                yield
        finally:
            reader.close()
        # Folded as needles are, so that both have the same words.
        text = _folded("\n".join(pieces))
        if length > MAX_CHARACTERS or (4 * length > MAX_WORD_OCTETS and _has_endless_word(text)):
            return f"{_COMPARE_ALWAYS} {text[:MAX_CHARACTERS]}"
        return text

    # -- searching -------------------------------------------------------------------------------------------------

    async def search(self, mailbox: int, term: SearchTerm, uids: Sequence[int]) -> set[int]:
        """Those of the UIDs whose text contains the needle, without case.

        RFC 9051 section 6.4.4: an empty needle matches whatever has the field.

        :raises StoreUnavailableError: when the account was closed meanwhile.
        """
        found: set[int] = await self._in_slices(
            self._found(mailbox, term.field.lower(), _folded(storable(term.needle)), uids)
        )
        return found

    def _found(self, mailbox: int, name: str, needle: str, uids: Sequence[int]) -> Work:
        octets_name = name.encode("utf-8", "replace")
        if octets_name in _KEPT_FIELDS:
            fields = FieldSearch(self._connection, self._memory, self._owner)
            return (yield from fields.found(mailbox, octets_name, needle, uids))
        if not needle and name in ("text", "body", "header"):
            return set(uids)
        wanted = set(uids)
        # Read before all else: what gets into the index from now on counts as not indexed.
        indexed = self.indexed()
        suggested, sure = None, False
        if name not in MACHINE_FIELDS:
            words = self._words(needle)
            suggested, indexed = yield from self._suggested(words, indexed)
            # A needle that is one word is in the text exactly when a word of the text contains it.
            sure = name == "text" and needle.isascii() and len(words) == 1 and words[0].text == needle
        found: set[int] = set()
        compare: set[int] = set()
        if suggested is not None:
            compare = yield from self._having([_COMPARE_ALWAYS])
        rows = self._rows(mailbox, None if suggested is None else suggested | compare, indexed)
        yield
        for uid, body in rows:
            if uid not in wanted:
                continue
            known = sure and suggested is not None and body <= indexed and body not in compare
            if known or (yield from self._matches(body, name, needle)):
                found.add(uid)
            yield
        return found

    async def search_fuzzy(self, mailbox: int, term: SearchTerm, uids: Sequence[int]) -> dict[int, int]:
        """Those of the UIDs whose text has words close to those of the needle, and how relevant they are (1 to 100).

        Header fields that are not kept beside the body, and needles without words, are searched as ever, and are all relevant.

        :raises StoreUnavailableError: when the account was closed meanwhile.
        """
        name, text = term.field.lower(), _folded(storable(term.needle))
        needle = Needle(self._tokens(text))
        if name.encode("utf-8", "replace") in _KEPT_FIELDS and needle.words:
            work = self._rate_fields(mailbox, name.encode(), needle, uids)
        elif name in ("text", "body") and needle.words:
            work = self._rate_bodies(mailbox, needle, uids)
        else:
            return dict.fromkeys(await self.search(mailbox, term, uids), 100)
        found: dict[int, int] = await self._in_slices(work)
        return found

    def _rows(self, mailbox: int, bodies: set[int] | None, indexed: int) -> list[tuple[int, int]]:
        """(uid, body) of messages with one of these bodies or with one that is not indexed; None: of all."""
        if bodies is None:
            rows = self._connection.execute("SELECT uid, body FROM message WHERE mailbox = ?", (mailbox,))
        else:
            rows = self._connection.execute(
                # The plus signs: by the bodies, not by the whole mailbox.
                "SELECT uid, body FROM message WHERE +mailbox = ?1 AND body > ?2 UNION"
                " SELECT m.uid, m.body FROM carray(?3) c CROSS JOIN message m ON m.body = c.value"
                " WHERE +m.mailbox = ?1",
                (mailbox, indexed, apsw.carray(_numbers(bodies))),
            )
        return sorted(rows)

    def _tokenizer(self) -> Any:
        """What cuts text into words as the index does."""
        if self._tokenize is None:
            self._tokenize = self._connection.fts5_tokenizer("unicode61", ["remove_diacritics", "0"])
        return self._tokenize

    def _words(self, needle: str) -> list[_Word]:
        octets = needle.encode()
        words = []
        for start, end, text in self._tokenizer()(octets, apsw.FTS5_TOKENIZE_QUERY, None):
            before, after = octets[start - 1 : start] if start else b"", octets[end : end + 1]
            words.append(_Word(text, _separates(before), _separates(after)))
        return words

    def _suggested(self, words: Sequence[_Word], indexed: int) -> Work:
        """Bodies in the index that may match (None: all may), and the newest body of which that can be said."""
        whole = sorted((w for w in words if w.begins and w.ends), key=lambda w: -len(w.text))[:3]
        parts = [w for w in words if not (w.begins and w.ends)]
        if not words:
            return None, indexed
        suggested: set[int] | None = None
        for word in whole:
            having = yield from self._having([word.text])
            suggested = having if suggested is None else suggested & having
        if parts and (suggested is None or len(suggested) > 100):
            vocabulary = yield from self._vocabulary(indexed)
            indexed = vocabulary.indexed
            for word in parts:
                terms = yield from vocabulary.containing(word.text, begins=word.begins, ends=word.ends)
                having = yield from self._having(terms)
                suggested = having if suggested is None else suggested & having
        return suggested, indexed

    def _vocabulary(self, indexed: int) -> Work:
        """The words of the index; those of the newest messages may be missing."""
        key = (self._owner, "vocabulary")
        known: Vocabulary | None = self._memory.get(key)
        if known is None or (
            known.indexed != indexed and len(self._missing(MAX_BEHIND, known.indexed)) == MAX_BEHIND
        ):
            known = yield from Vocabulary.read(self._connection, indexed)
            self._memory.put(key, known, known.octets)
        return known

    def _having(self, terms: Iterable[str]) -> Work:
        """Bodies in the index that have one of these words."""
        having: set[int] = set()
        for term in terms:
            having.update(
                [
                    row[0]
                    for row in self._connection.execute(
                        "SELECT rowid FROM words WHERE words MATCH ?", (f'"{term}"',)
                    )
                ]
            )
            yield
        return having

    # -- comparing -------------------------------------------------------------------------------------------------

    def _matches(self, body: int, name: str, needle: str) -> Work:
        """Whether the body's text has the needle in this place."""
        reader = self._open_body(body)
        if reader is None:
            return False
        try:
            return (yield from occurs(reader, name, needle))
        except ConsistencyError as e:
            # One damaged message must not make all searches fail; `moxmail verifydata` finds it.
            _log.error("body {body} cannot be read: {error}", body=body, error=e.detail)
            return False
        finally:
            reader.close()

    async def _in_slices(self, work: Work) -> Any:
        """The result of some work; the reactor gets its turn every few milliseconds."""
        return await in_slices(work, self._clock, self._seconds, lambda: self._stopped)


async def in_slices(
    work: Work, clock: IReactorTime, seconds: Callable[[], float], stopped: Callable[[], bool]
) -> Any:
    """The result of some work on a database; the reactor gets its turn every few milliseconds.

    :param stopped: whether it must not go on.
    :raises StoreUnavailableError: when it must not, or the database was closed.
    """
    until = seconds() + SLICE_SECONDS
    try:
        while True:
            next(work)
            if seconds() > until:
                await deferLater(clock, 0)
                if stopped():
                    raise StoreUnavailableError("it was closed")
                until = seconds() + SLICE_SECONDS
    except StopIteration as e:
        return e.value
    except apsw.ConnectionClosedError as e:
        raise StoreUnavailableError("it was closed") from e
    finally:
        work.close()


def occurs(reader: IBodyReader, name: str, needle: str) -> Generator[None, None, bool]:
    """Whether a message's text has the needle in this place, a little at each step.

    :param name: in lower case; see ``SearchTerm``.
    :param needle: folded.
    :raises ConsistencyError: when the message is damaged.
    """
    scanned = yield from scan(reader)
    if name not in ("text", "body", "header"):
        return in_field(scanned.header, name.encode("utf-8", "replace"), needle)
    if name != "body" and needle in _folded(_written_text(scanned.header)):
        return True
    if name == "header":
        return False
    for piece in body_text(scanned, reader.read):
        if needle in _folded(piece):
            return True
        yield
    return False


def scan(reader: IBodyReader) -> Generator[None, None, ScannedMessage]:
    """Scan a message, a little at each step."""
    scanner = Scanner()
    for offset in range(0, reader.size, _READ_OCTETS):
        scanner.feed(reader.read(offset, _READ_OCTETS))
        yield
    return scanner.finish()


def in_field(header: Header, name: bytes, needle: str) -> bool:
    """Whether a field of that name has the folded needle."""
    return name in header.values and needle in _folded(header_text(header, frozenset((name,))))


def _written_text(header: Header) -> str:
    """The header's fields, with their names, but for those of machines."""
    written = [decode_words(raw) for raw, name in header.fields if name not in _MACHINE_NAMES]
    return "\n".join(written).replace("\0", "")


def _separates(octet: bytes) -> bool:
    """Whether this octet of a needle is in no word: so far as can be told without Unicode's tables, ASCII only."""
    return octet != b"" and octet < b"\x80" and not octet.isalnum()


def _has_endless_word(text: str) -> bool:
    return any(len(word.encode("utf-8", "replace")) > MAX_WORD_OCTETS for word in text.split())


def storable(text: str) -> str:
    """Without lone surrogates, which SQLite does not take."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _numbers(values: Iterable[int]) -> array[int]:
    # SQLite takes no empty array; there is no body 0.
    return array("q", sorted(values) or [0])


def _insert(connection: Any, texts: Sequence[tuple[int, str]]) -> None:
    """Put texts into the index, and note how far it goes."""
    for body, text in texts:
        # The message may have been expunged meanwhile.
        connection.execute(
            "INSERT INTO words (rowid, text) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM body WHERE id = ?1)",
            (body, storable(text)),
        )
    connection.execute(
        "INSERT INTO setting (key, value) VALUES ('indexed_body', ?)"
        " ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        (texts[-1][0],),
    )
