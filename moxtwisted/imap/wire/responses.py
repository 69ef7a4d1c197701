r"""Reading what a server says, for a client: octets in, typed responses out, whatever the cuts between packets.

    reader = ResponseReader()
    reader.receive(b"* 3 EXISTS\r\n* 2 FETCH (UID 7 FLAGS (\\Seen))\r\na1 OK [READ-WRITE] done\r\n")
    reader.next()     # Exists(count=3)
    reader.next()     # Fetched(number=2, items={"UID": 7, "FLAGS": ("\\Seen",)})
    reader.next()     # StatusResponse(tag=b"a1", condition="OK", text="done", code=ResponseCode("READ-WRITE", None))

What cannot be read is ``BadResponse``; reading goes on behind it. Data of unknown names is ``OtherData``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from attrs import frozen

from moxtwisted.imap.wire import extensionresponses
from moxtwisted.imap.wire.lexer import MAX_NUMBER64, CommandError
from moxtwisted.imap.wire.responsecodes import response_code, rest_words
from moxtwisted.imap.wire.responsecursor import MAX_DEPTH, ResponseCursor, bounded, strings
from moxtwisted.imap.wire.responsedata import (
    BadResponse,
    Capabilities,
    Continuation,
    Enabled,
    Exists,
    Expunged,
    Fetched,
    FlagsData,
    IdData,
    ListData,
    LiteralData,
    LiteralEnd,
    LiteralStart,
    NamespaceData,
    OtherData,
    Recent,
    Response,
    ResponseCode,
    SearchData,
    StatusData,
    StatusResponse,
    Streamed,
    Value,
    VanishedData,
)
from moxtwisted.imap.wire.sequence import MAX_NUMBER

__all__ = ["MAX_DEPTH", "ResponseLimits", "ResponseReader", "parse_response"]


@frozen
class ResponseLimits:
    """What a server may make the client hold.

    :ivar line_octets: of a response without its literals.
    :ivar literal_octets: of one literal.
    :ivar response_octets: of all literals of a response.
    """

    line_octets: int = 16 * 1024 * 1024
    literal_octets: int = 128 * 1024 * 1024
    response_octets: int = 256 * 1024 * 1024


_HEAD = re.compile(
    rb'(\*|[^\x00-\x20(){%*"\\+\x7f-\xff]+) ++(?:([0-9]{1,10}) ++)?([A-Za-z][A-Za-z0-9._-]*)(?: ++|$)'
)
_MARK = re.compile(rb"~?\{([0-9]{1,19})\+?\}$")
# Keywords with a closing bracket stand in the parentheses of PERMANENTFLAGS.
_CODE = re.compile(
    rb"\[([^\x00-\x20\[\]()]+)(?: ((?>(?:[^\]\"\r\n(]|\"(?>(?:[^\"\\]|\\.)*)\"|\([^()\"\r\n]*\)|\()*)))?\] ?"
)
_LABEL = re.compile(
    rb"[A-Za-z0-9._-]+(?:\[(?>(?:[^\]\"\r\n{]|\"(?>(?:[^\"\\\r\n]|\\.)*)\")*)\](?:<[0-9]+>)?)?"
)
_QUOTED_ATOM = re.compile(rb'"([^\x00-\x20(){%*"\\\]\x7f-\xff]+)"')
_NUMBERS = re.compile(rb"(?>(?:[0-9]{1,10}(?![0-9]) *+)*)")
_CONDITIONS = {b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"}


def _status_response(tag: bytes | None, condition: bytes, rest: bytes) -> StatusResponse:
    code: ResponseCode | None = None
    match = _CODE.match(rest)
    if match is not None:
        code = response_code(match.group(1), match.group(2))
        rest = rest[match.end() :]
    return StatusResponse(tag, condition.decode("ascii"), rest.decode("utf-8", "replace"), code)


# -- data ------------------------------------------------------------------------------------------------------------


def _old_name(cursor: ResponseCursor) -> tuple[str, ...]:
    """OLDNAME (RFC 9051 section 6.3.9.7): a mailbox name in a list, written as the mailbox's own name is."""
    names: list[str] = []
    cursor.expect(b"(", "a list")
    while not cursor.skip(b")"):
        names.append(cursor.name())
        cursor.spaces()
    return tuple(names)


def _list(cursor: ResponseCursor, *, lsub: bool = False) -> Response:
    attributes = strings(cursor.value())
    cursor.space()
    separator = cursor.nstring()
    cursor.space()
    name = cursor.name()
    extended: dict[str, Value] = {}
    cursor.spaces()
    if cursor.skip(b"("):
        while not cursor.skip(b")"):
            cursor.spaces()
            label = cursor.astring().decode("utf-8", "replace").upper()
            cursor.space()
            extended[label] = _old_name(cursor) if label == "OLDNAME" else cursor.value()
            cursor.spaces()
    if not cursor.at_end():
        # Half of a name would be another mailbox's.
        raise CommandError("expected the end of the response")
    character = None if separator is None else separator.decode("ascii", "replace")
    return ListData(attributes, character, name, extended, lsub)


_STATUS_NUMBERS = {"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED"}
_STATUS_NUMBERS64 = {"SIZE", "HIGHESTMODSEQ", "DELETED-STORAGE", "APPENDLIMIT"}


def _status(cursor: ResponseCursor) -> Response:
    name = cursor.name()
    cursor.space()
    listed = cursor.value()
    if not isinstance(listed, tuple) or len(listed) % 2:
        raise CommandError("expected pairs of items and values")
    items: dict[str, Value] = {}
    for label, value in zip(listed[::2], listed[1::2], strict=True):
        if not isinstance(label, bytes):
            raise CommandError("expected an item")
        item = label.decode("ascii", "replace").upper()
        # RFC 8474 section 4.3: MAILBOXID is in parentheses.
        items[item] = strings(value)[0] if item == "MAILBOXID" and value else value
        if item in _STATUS_NUMBERS:
            bounded(value, MAX_NUMBER)
        elif item in _STATUS_NUMBERS64:
            bounded(value, MAX_NUMBER64)
    return StatusData(name, items)


def _search(cursor: ResponseCursor) -> Response:
    match = _NUMBERS.match(cursor.text, cursor.position)
    numbers = tuple(map(int, match.group().split())) if match is not None else ()
    cursor.position = match.end() if match is not None else cursor.position
    if numbers and not (min(numbers) >= 1 and max(numbers) <= MAX_NUMBER):
        raise CommandError("number is out of range")
    modseq: int | None = None
    if cursor.skip(b"(MODSEQ "):
        modseq = cursor.number64()
        cursor.expect(b")", "a closing parenthesis")
    if cursor.text[cursor.position :].strip():
        raise CommandError("expected numbers")
    return SearchData(numbers, modseq)


def _namespace(cursor: ResponseCursor) -> Response:
    kinds: list[tuple[tuple[str, str | None], ...]] = []
    translations: dict[str, str] = {}
    for index in range(3):
        # Without a space between lists, as in an example of RFC 5255 (section 3.2).
        if index and not cursor.looking_at(b"("):
            cursor.space()
        pairs: list[tuple[str, str | None]] = []
        prefixes = cursor.value() or ()
        if not isinstance(prefixes, tuple):
            raise CommandError("expected a list of prefixes")
        for pair in prefixes:
            if not isinstance(pair, tuple) or len(pair) < 2 or not isinstance(pair[0], bytes):
                raise CommandError("expected prefix and separator")
            separator = pair[1].decode("ascii", "replace") if isinstance(pair[1], bytes) else None
            prefix = cursor.decoded(pair[0])
            pairs.append((prefix, separator))
            for word, said in zip(pair[2::2], pair[3::2], strict=False):
                if word == b"TRANSLATION" and isinstance(said, tuple) and said and isinstance(said[0], bytes):
                    translations[prefix] = cursor.decoded(said[0])
        kinds.append(tuple(pairs))
    return NamespaceData(kinds[0], kinds[1], kinds[2], translations)


def _id(cursor: ResponseCursor) -> Response:
    listed = cursor.value() or ()
    if not isinstance(listed, tuple) or len(listed) % 2:
        raise CommandError("expected pairs of fields and values")
    fields: dict[str, str | None] = {}
    for name, value in zip(listed[::2], listed[1::2], strict=True):
        text = None if value is None else strings((value,))[0]
        fields[strings((name,))[0].lower()] = text
    return IdData(fields)


def _vanished(cursor: ResponseCursor) -> Response:
    earlier = cursor.skip(b"(EARLIER) ")
    return VanishedData(cursor.uid_set(), earlier)


def _date(cursor: ResponseCursor) -> datetime | None:
    """A date; None also for one that there is not, which says no more than NIL."""
    said = cursor.nstring()
    if said is None:
        return None
    try:
        # A day of one digit stands behind a space (RFC 9051 section 9, date-day-fixed), which some servers leave out.
        return ResponseCursor(b'"%b"' % said.rjust(26)).date_time()
    except CommandError:
        return None


def _within(cursor: ResponseCursor) -> Value:
    value = cursor.value()
    if isinstance(value, tuple):
        return value[0] if value else None
    return value


def _modseq(cursor: ResponseCursor) -> Value:
    # RFC 7162 section 7: 63 bits. We take 0, too, of servers that have none.
    return bounded(_within(cursor), MAX_NUMBER64)


def _size(cursor: ResponseCursor) -> Value:
    """RFC822.SIZE; None where the server does not know it, which some say by NIL or a negative number."""
    if cursor.skip(b"-") or cursor.looking_at(b"N"):
        cursor.word()
        return None
    return cursor.number64()


def _single(cursor: ResponseCursor) -> Value:
    """EMAILID, THREADID: one value in parentheses, or NIL."""
    value = _within(cursor)
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


_FETCH_VALUES: dict[str, Callable[[ResponseCursor], Value]] = {
    "FLAGS": lambda cursor: cursor.flag_list(),
    "UID": lambda cursor: cursor.number(least=1),
    "RFC822.SIZE": _size,
    "INTERNALDATE": _date,
    "SAVEDATE": _date,
    "MODSEQ": _modseq,
    "EMAILID": _single,
    "THREADID": _single,
}


def _item_name(label: bytes) -> str:
    """The name of a data item in upper case; names of header fields, which some servers quote without need, as atoms."""
    if b'"' in label:
        label = _QUOTED_ATOM.sub(rb"\1", label)
    return label.decode("ascii", "replace").upper()


def _fetch(cursor: ResponseCursor, number: int) -> Response:
    cursor.expect(b"(", "data items in parentheses")
    items: dict[str, Value] = {}
    cursor.spaces()
    while not cursor.skip(b")"):
        label = _item_name(cursor.scan(_LABEL, "a data item"))
        cursor.space()
        reader = _FETCH_VALUES.get(label)
        items[label] = cursor.value() if reader is None else reader(cursor)
        cursor.spaces()
    return Fetched(number, items)


def _uid_fetch(cursor: ResponseCursor, number: int) -> Response:
    # RFC 9586 section 3.3: with UIDONLY the number is the UID, and there are no sequence numbers.
    fetched = _fetch(cursor, 0)
    if not isinstance(fetched, Fetched):
        raise CommandError("expected a UID")
    return Fetched(0, {"UID": number, **fetched.items})


_DATA: dict[bytes, Callable[[ResponseCursor], Response]] = {
    b"CAPABILITY": lambda cursor: Capabilities(rest_words(cursor)),
    b"ENABLED": lambda cursor: Enabled(rest_words(cursor)),
    b"FLAGS": lambda cursor: FlagsData(strings(cursor.value())),
    b"LIST": _list,
    b"LSUB": lambda cursor: _list(cursor, lsub=True),
    b"STATUS": _status,
    b"SEARCH": _search,
    b"NAMESPACE": _namespace,
    b"ID": _id,
    b"VANISHED": _vanished,
    **extensionresponses.READERS,
}

_NUMBERED: dict[bytes, Callable[[ResponseCursor, int], Response]] = {
    b"EXISTS": lambda _cursor, number: Exists(number),
    b"RECENT": lambda _cursor, number: Recent(number),
    b"EXPUNGE": lambda _cursor, number: Expunged(number),
    b"FETCH": _fetch,
    b"UIDFETCH": _uid_fetch,
}


_COUNTS = {b"EXISTS", b"RECENT"}


def parse_response(text: bytes, literals: Iterator[Any], *, utf8: bool = False) -> Response:
    """One whole response without its last CRLF; ``BadResponse`` if it cannot be read."""
    if text.startswith(b"+"):
        return Continuation(text[1:].lstrip(b" "))
    match = _HEAD.match(text)
    if match is None:
        return BadResponse("not a response", text[:200])
    tag, number, word = match.groups()
    name = word.upper()
    if number is None and name in _CONDITIONS:
        try:
            return _status_response(None if tag == b"*" else tag, name, text[match.end() :])
        except CommandError as error:
            return BadResponse(str(error), text[:200])
    if tag != b"*":
        return BadResponse("not a response", text[:200])
    cursor = ResponseCursor(text.rstrip(b" "), match.end(), literals, utf8=utf8)
    try:
        if number is None:
            reader = _DATA.get(name)
            if reader is not None:
                return reader(cursor)
        else:
            numbered = _NUMBERED.get(name)
            if numbered is not None:
                count = int(number)
                # RFC 9051 section 9, message-data: a message has a number from 1, their count may be 0.
                if count > MAX_NUMBER or (not count and name not in _COUNTS):
                    raise CommandError("number is out of range")
                return numbered(cursor, count)
    except (CommandError, StopIteration) as error:
        return BadResponse(str(error), text[:200])
    return OtherData(name.decode("ascii"), text[match.start(2 if number else 3) :])


# Without an opening bracket in a section, so that a line of many beginnings is not looked through from each of them to its end.
_STREAMABLE = re.compile(
    rb"[ (](BODY\[[^\[\]\r\n]*\](?:<[0-9]+>)?|BINARY\[[0-9.]*\](?:<[0-9]+>)?|RFC822(?:\.TEXT|\.HEADER)?) ++~?\{[0-9]+\+?\}$",
    re.IGNORECASE,
)
_FETCH_HEAD = re.compile(rb"\* ++([1-9][0-9]{0,9}) ++(UID)?FETCH ++\(", re.IGNORECASE)
_UID_SAID = re.compile(rb"[ (]UID ++([1-9][0-9]{0,9}) ", re.IGNORECASE)


class ResponseReader:
    """An incremental reader of responses.

    :ivar utf8: set it when IMAP4rev2 or UTF8=ACCEPT was enabled.
    :ivar stream_octets: literals of message sections larger than this are handed out in pieces (``LiteralStart``, ``LiteralData`` …,
        ``LiteralEnd``) before their ``Fetched``; ``None`` keeps all whole.
    :ivar last_octets: how many octets the response had that was read last, streamed ones not counted.
    :ivar failed: why nothing more is read (a limit was passed), or empty.
    """

    def __init__(self, limits: ResponseLimits | None = None) -> None:
        self.limits = limits or ResponseLimits()
        self.utf8 = False
        self.stream_octets: int | None = None
        self.last_octets = 0
        self.failed = ""
        self._failure: BadResponse | None = None
        self._buffer = b""
        self._position = 0
        self._searched = 0
        self._more: list[bytes] = []
        self._more_octets = 0
        self._more_lines = False
        self._text: list[bytes] = []
        self._text_octets = 0
        self._literals: list[bytes | Streamed] = []
        self._parts: list[bytes] = []
        self._octets = 0
        self._remaining = 0
        self._in_literal = False
        self._streaming = False

    def receive(self, data: bytes) -> None:
        """Take octets from the server."""
        if self.failed or not data:
            return
        if self._position == len(self._buffer) and not self._more:
            self._buffer = data
            self._position = self._searched = 0
        else:
            # A line in many pieces is joined once.
            self._more.append(data)
            self._more_octets += len(data)
            self._more_lines = self._more_lines or b"\n" in data

    def _join(self) -> bool:
        """Put what came since into the buffer; whether it has more now."""
        if not self._more:
            return False
        old = self._buffer[self._position :] if self._position else self._buffer
        self._searched = max(0, self._searched - self._position)
        self._buffer = b"".join([old, *self._more])
        self._position = 0
        self._more = []
        self._more_octets = 0
        self._more_lines = False
        return True

    @property
    def buffered_octets(self) -> int:
        """How many octets wait to be read; 0 is wanted before TLS starts."""
        return len(self._buffer) - self._position + self._more_octets

    def take_rest(self) -> bytes:
        """Give up what waits to be read: a compression layer begins or ends here."""
        self._join()
        rest = self._buffer[self._position :]
        self._buffer, self._position, self._searched = b"", 0, 0
        return rest

    def next(self) -> Response | None:
        """The next response, or ``None`` when it takes more octets."""
        while not self.failed:
            if self._in_literal:
                if self._streaming:
                    return self._stream()
                if not self._collect() and not self._join():
                    return None
                continue
            line = self._line()
            if line is None:
                break
            started = self._take(line)
            if started is not None:
                return started
        failure, self._failure = self._failure, None
        return failure

    def _line(self) -> bytes | None:
        """The next line without its end."""
        while True:
            end = self._buffer.find(b"\n", max(self._position, self._searched))
            stop = len(self._buffer) if end < 0 else end
            length = self._text_octets + stop - self._position
            if end < 0:
                self._searched = stop
                if length + self._more_octets <= self.limits.line_octets and not self._more_lines:
                    return None
                if self._join():
                    continue
            if length > self.limits.line_octets:
                self._failure = self._failed("line is too long")
                return None
            line = self._buffer[self._position : end].removesuffix(b"\r")
            self._position = end + 1
            return line

    def _take(self, line: bytes) -> Response | None:
        """Take a line: a whole response, the beginning of a streamed literal, or nothing yet."""
        mark = _MARK.search(line) if line.endswith(b"}") and self._may_announce(line) else None
        self._text.append(line)
        self._text_octets += len(line)
        if mark is None:
            return self._finish()
        size = self._remaining = int(mark.group(1))
        if size > MAX_NUMBER64:
            return self._failed("number is out of range")
        self._in_literal = True
        if self.stream_octets is not None and size > self.stream_octets:
            started = self._start_stream(size)
            if started is not None:
                return started
        self._octets += size + len(line)
        if size > self.limits.literal_octets or self._octets > self.limits.response_octets:
            return self._failed("literal is too long")
        return None

    def _may_announce(self, line: bytes) -> bool:
        """Whether braces at the end announce a literal; in the text of a status response they are just braces."""
        if self._text:
            return True
        match = _HEAD.match(line)
        return match is not None and (match.group(2) is not None or match.group(3).upper() not in _CONDITIONS)

    def _start_stream(self, size: int) -> LiteralStart | None:
        head = _FETCH_HEAD.match(self._text[0])
        label = _STREAMABLE.search(self._text[-1])
        if head is None or label is None:
            return None
        number = int(head.group(1))
        said = _UID_SAID.search(self._text[0]) if head.group(2) is None else head
        self._streaming = True
        self._literals.append(Streamed(size))
        name = _item_name(label.group(1))
        return LiteralStart(number, None if said is None else int(said.group(1)), name, size)

    def _stream(self) -> Response | None:
        if not self._remaining:
            self._streaming = self._in_literal = False
            return LiteralEnd()
        if self._position == len(self._buffer) and not self._join():
            return None
        chunk = self._buffer[self._position : self._position + self._remaining]
        self._position += len(chunk)
        self._remaining -= len(chunk)
        return LiteralData(chunk)

    def _collect(self) -> bool:
        chunk = self._buffer[self._position : self._position + self._remaining]
        self._position += len(chunk)
        self._remaining -= len(chunk)
        if chunk:
            self._parts.append(chunk)
        if self._remaining:
            return False
        self._literals.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        self._parts = []
        self._in_literal = False
        self._searched = self._position
        return True

    def _finish(self) -> Response:
        text = self._text[0] if len(self._text) == 1 else b"\r\n".join(self._text)
        response = parse_response(text, iter(self._literals), utf8=self.utf8)
        self.last_octets = len(text) + self._octets
        self._text = []
        self._text_octets = 0
        self._literals = []
        self._octets = 0
        return response

    def _failed(self, why: str) -> BadResponse:
        line = b"".join([*self._text, self._buffer[self._position : self._position + 200]])[:200]
        self.failed = why
        self._buffer = b""
        self._position = self._searched = 0
        self._more = []
        self._text = []
        self._literals = []
        return BadResponse(why, line)
