"""Reading the program of SEARCH (RFC 9051 section 6.4.4) into a tree of ``moxtwisted.imap.wire.searchkeys``.

A key is a word and its arguments; ``KEYS`` has a function for each word, so an extension adds an entry. Nesting
(parentheses, NOT and OR) is counted against ``MAX_DEPTH``, all keys against ``MAX_KEYS``, so neither recursion nor time
is the client's to choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from moxtwisted.imap.wire import searchkeys as keys
from moxtwisted.imap.wire.commands import CancelUpdate, MultiSearch, Search
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.mailboxfilter import FilterKind, MailboxFilter, mailbox_filter
from moxtwisted.imap.wire.returngrammar import return_options
from moxtwisted.imap.wire.returnoptions import ReturnOptions, saves
from moxtwisted.imap.wire.searchkeys import Comparison, SearchKey

__all__ = [
    "CHARSETS",
    "KEYS",
    "MAX_DEPTH",
    "MAX_KEYS",
    "SearchProgram",
    "cancelupdate_arguments",
    "multisearch_arguments",
    "search_arguments",
    "search_charset",
]

MAX_DEPTH = 100
"""The deepest nesting of a search program (our choice; clients stay below 10)."""

MAX_KEYS = 2000
"""The most keys of a search program (our choice; some clients list a few hundred addresses with OR)."""

# RFC 9051 section 9, tag: the characters of an astring but "+".
_TAG = re.compile(rb'[^\x00-\x20(){%*"\\+\x7f-\xff]+')

MAX_TAGS = 1000
"""The most tags of CANCELUPDATE (our choice)."""

MAX_SOURCES = 1000
"""The most source options of ESEARCH (our choice)."""

# RFC 7377 section 2.2: of NOTIFY's filters all but this.
_NO_SOURCES = frozenset({FilterKind.SELECTED_DELAYED})

_NAMES_FILTER = re.compile(rb"[ (]FILTER ", re.IGNORECASE)

CHARSETS = frozenset({"UTF-8", "US-ASCII"})
"""RFC 9051 section 6.4.4: these must be supported; no client in use sends another."""


class SearchProgram:
    """Reads search keys at a cursor.

    :param cursor: at the first key.
    :param charset: of the strings; ``None`` for UTF-8, of which US-ASCII is a part.
    """

    __slots__ = ("_ascii_only", "_count", "cursor")

    def __init__(self, cursor: Cursor, charset: str | None = None) -> None:
        self.cursor = cursor
        self._ascii_only = charset == "US-ASCII"
        self._count = 0

    def keys(self, depth: int = 0) -> SearchKey:
        """One or more keys with spaces between, up to the end or a closing parenthesis."""
        found = [self.key(depth)]
        while self.cursor.skip(b" "):
            found.append(self.key(depth))
        return found[0] if len(found) == 1 else keys.And(tuple(found))

    def key(self, depth: int) -> SearchKey:
        """One key.

        :param depth: how many keys are around it.
        """
        self._count += 1
        if depth > MAX_DEPTH:
            raise CommandError("search program is nested too deep", "LIMIT", "NO")
        if self._count > MAX_KEYS:
            raise CommandError("search program has too many keys", "LIMIT", "NO")
        cursor = self.cursor
        following = cursor.text[cursor.position : cursor.position + 1]
        if following == b"(":
            cursor.position += 1
            found = self.keys(depth + 1)
            cursor.expect(b")", "a closing parenthesis")
            return found
        if following.isdigit() or following in {b"*", b"$"}:
            return keys.NumberIn(cursor.sequence_set())
        reader = KEYS.get(cursor.keyword("a search key"))
        if reader is None:
            raise CommandError("unknown search key")
        return reader(self, depth + 1)

    def text(self) -> str:
        """A string argument, decoded."""
        self.cursor.space()
        octets = self.cursor.astring("a search string")
        if self._ascii_only and not octets.isascii():
            raise CommandError("search string is not US-ASCII")
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            raise CommandError("search string is not valid UTF-8") from None


Reader = Callable[[SearchProgram, int], SearchKey]


def _constant(key: SearchKey) -> Reader:
    return lambda _program, _depth: key


def _flag(name: str, *, present: bool) -> Reader:
    return _constant(keys.HasFlag(name, present))


def _keyword(*, present: bool) -> Reader:
    def read(program: SearchProgram, _depth: int) -> SearchKey:
        program.cursor.space()
        # RFC 9051 section 9: flag-keyword is an atom; a system flag has a search key of its own.
        return keys.HasFlag(program.cursor.atom("a keyword").decode("ascii"), present)

    return read


def _field(name: str) -> Reader:
    return lambda program, _depth: keys.HeaderContains(name, program.text())


def _date(of: type[keys.InternalDate | keys.SentDate | keys.SavedDate], comparison: Comparison) -> Reader:
    def read(program: SearchProgram, _depth: int) -> SearchKey:
        program.cursor.space()
        return of(comparison, program.cursor.date())

    return read


def _number(of: type[keys.Larger | keys.Smaller]) -> Reader:
    def read(program: SearchProgram, _depth: int) -> SearchKey:
        program.cursor.space()
        return of(program.cursor.number64())

    return read


def _seconds(of: type[keys.Older | keys.Younger]) -> Reader:
    def read(program: SearchProgram, _depth: int) -> SearchKey:
        program.cursor.space()
        # RFC 5032 section 3: an nz-number of seconds.
        return of(program.cursor.number(least=1))

    return read


def _object_id(of: type[keys.EmailIdIs | keys.ThreadIdIs]) -> Reader:
    def read(program: SearchProgram, _depth: int) -> SearchKey:
        program.cursor.space()
        octets = program.cursor.astring("an object identifier")
        if not octets.isascii():
            raise CommandError("expected an object identifier")
        return of(octets.decode("ascii"))

    return read


def _header(program: SearchProgram, _depth: int) -> SearchKey:
    return keys.HeaderContains(program.text(), program.text())


def _not(program: SearchProgram, depth: int) -> SearchKey:
    program.cursor.space()
    return keys.Not(program.key(depth))


def _fuzzy(program: SearchProgram, depth: int) -> SearchKey:
    program.cursor.space()
    return keys.Fuzzy(program.key(depth))


def _or(program: SearchProgram, depth: int) -> SearchKey:
    program.cursor.space()
    left = program.key(depth)
    program.cursor.space()
    return keys.Or(left, program.key(depth))


def _uid(program: SearchProgram, _depth: int) -> SearchKey:
    program.cursor.space()
    return keys.UidIn(program.cursor.sequence_set())


def _one_uid(of: type[keys.UidAfter | keys.UidBefore]) -> Reader:
    def read(program: SearchProgram, _depth: int) -> SearchKey:
        program.cursor.space()
        return of(program.cursor.number(least=1))

    return read


def _modseq(program: SearchProgram, _depth: int) -> SearchKey:
    """RFC 7162 section 3.1.5: MODSEQ [entry-name SP entry-type-req SP] mod-sequence-valzer."""
    cursor = program.cursor
    cursor.space()
    if not cursor.looking_at(b'"'):
        return keys.ModSeqAtLeast(cursor.number64())
    entry = cursor.string("an entry name")
    if not entry.lower().startswith(b"/flags/") or not entry.isascii():
        raise CommandError("unknown entry name")
    cursor.space()
    entry_type = cursor.keyword("an entry type").decode("ascii").lower()
    if entry_type not in {"all", "priv", "shared"}:
        raise CommandError("unknown entry type")
    cursor.space()
    return keys.ModSeqAtLeast(cursor.number64(), entry.decode("ascii"), entry_type)


def _filter(program: SearchProgram, _depth: int) -> SearchKey:
    program.cursor.space()
    name = program.cursor.atom("a filter name").decode("ascii")
    if "/" in name:
        raise CommandError("not a filter name")
    return keys.Filter(name)


def _flags() -> dict[bytes, Reader]:
    readers: dict[bytes, Reader] = {}
    for flag in ("Answered", "Deleted", "Draft", "Flagged", "Seen"):
        readers[flag.upper().encode()] = _flag("\\" + flag, present=True)
        readers[b"UN" + flag.upper().encode()] = _flag("\\" + flag, present=False)
    return readers


def _dates() -> dict[bytes, Reader]:
    readers: dict[bytes, Reader] = {}
    for comparison in Comparison:
        word = comparison.value.encode()
        readers[word] = _date(keys.InternalDate, comparison)
        readers[b"SENT" + word] = _date(keys.SentDate, comparison)
        readers[b"SAVED" + word] = _date(keys.SavedDate, comparison)
    return readers


KEYS: dict[bytes, Reader] = {
    b"ALL": _constant(keys.Everything()),
    **_flags(),
    **_dates(),
    b"RECENT": _flag("\\Recent", present=True),
    b"OLD": _flag("\\Recent", present=False),
    b"NEW": _constant(keys.And((keys.HasFlag("\\Recent"), keys.HasFlag("\\Seen", present=False)))),
    b"KEYWORD": _keyword(present=True),
    b"UNKEYWORD": _keyword(present=False),
    b"BCC": _field("Bcc"),
    b"CC": _field("Cc"),
    b"FROM": _field("From"),
    b"SUBJECT": _field("Subject"),
    b"TO": _field("To"),
    b"HEADER": _header,
    b"BODY": lambda program, _depth: keys.BodyContains(program.text()),
    b"TEXT": lambda program, _depth: keys.TextContains(program.text()),
    b"LARGER": _number(keys.Larger),
    b"SMALLER": _number(keys.Smaller),
    b"NOT": _not,
    b"FUZZY": _fuzzy,
    b"OR": _or,
    b"UID": _uid,
    b"UIDAFTER": _one_uid(keys.UidAfter),
    b"UIDBEFORE": _one_uid(keys.UidBefore),
    b"YOUNGER": _seconds(keys.Younger),
    b"OLDER": _seconds(keys.Older),
    b"MODSEQ": _modseq,
    b"FILTER": _filter,
    b"SAVEDATESUPPORTED": _constant(keys.SaveDateSupported()),
    b"EMAILID": _object_id(keys.EmailIdIs),
    b"THREADID": _object_id(keys.ThreadIdIs),
}
"""A function for each search key that is a word; it is called with the cursor behind the word."""


def search_charset(cursor: Cursor) -> str:
    """A charset, in upper case.

    :raise CommandError: NO for one that is not supported.
    """
    charset = cursor.astring("a charset").decode("ascii", "replace").upper()
    if charset not in CHARSETS:
        # RFC 9051 section 6.4.4: tagged NO with BADCHARSET and the list of those supported; RFC 5466 section 3.1 wants BAD
        # when a filter is named.
        condition = "BAD" if _NAMES_FILTER.search(cursor.text, cursor.position) else "NO"
        raise CommandError("unknown charset", "BADCHARSET (US-ASCII UTF-8)", condition)
    return charset


def search_arguments(tag: bytes, cursor: Cursor, *, uid: bool = False) -> Search:
    """What follows SEARCH or UID SEARCH."""
    returns, charset, key = _program(cursor)
    return Search(tag, key, returns, charset, uid)


def multisearch_arguments(tag: bytes, cursor: Cursor) -> MultiSearch:
    """What follows ESEARCH (RFC 7377 section 4)."""
    sources: list[MailboxFilter] = []
    if cursor.text[cursor.position : cursor.position + 4].upper() == b" IN ":
        cursor.position += 4
        cursor.expect(b"(", "source options in parentheses")
        sources.append(mailbox_filter(cursor, _NO_SOURCES))
        while not cursor.skip(b")"):
            cursor.space()
            if cursor.looking_at(b"("):
                # RFC 7377 section 4: scope-options, of which none is defined.
                raise CommandError("unknown scope option")
            if len(sources) >= MAX_SOURCES:
                raise CommandError("too many source options", "LIMIT", "NO")
            sources.append(mailbox_filter(cursor, _NO_SOURCES))
    returns, charset, key = _program(cursor)
    return MultiSearch(tag, key, tuple(sources), returns, charset)


def cancelupdate_arguments(tag: bytes, cursor: Cursor) -> CancelUpdate:
    """What follows CANCELUPDATE (RFC 5267 section 5)."""
    tags: list[bytes] = []
    while not tags or cursor.looking_at(b" "):
        cursor.space()
        if len(tags) >= MAX_TAGS:
            raise CommandError("too many tags", "LIMIT", "NO")
        found = cursor.string("a tag in quotes")
        if _TAG.fullmatch(found) is None:
            raise CommandError("not a tag")
        tags.append(found)
    cursor.end()
    return CancelUpdate(tag, tuple(tags))


def _program(cursor: Cursor) -> tuple[ReturnOptions | None, str | None, SearchKey]:
    """Result options, charset and the keys."""
    cursor.space()
    returns: ReturnOptions | None = None
    charset: str | None = None
    if cursor.text[cursor.position : cursor.position + 7].upper() == b"RETURN ":
        cursor.position += 7
        returns = return_options(cursor)
        cursor.space()
    try:
        if cursor.text[cursor.position : cursor.position + 8].upper() == b"CHARSET ":
            cursor.position += 8
            charset = search_charset(cursor)
            cursor.space()
        key = SearchProgram(cursor, charset).keys()
        cursor.end()
    except CommandError as error:
        error.saving = saves(returns)
        raise
    return returns, charset, key
