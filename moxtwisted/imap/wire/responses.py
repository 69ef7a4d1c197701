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

from attrs import frozen

from moxtwisted.imap.wire import mailboxname
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.responsedata import (
    AppendUid,
    BadResponse,
    Capabilities,
    Continuation,
    CopyUid,
    Enabled,
    EsearchData,
    Exists,
    Expunged,
    Fetched,
    FlagsData,
    IdData,
    ListData,
    NamespaceData,
    OtherData,
    Recent,
    Response,
    ResponseCode,
    SearchData,
    StatusData,
    StatusResponse,
    Value,
    VanishedData,
)

__all__ = ["MAX_DEPTH", "ResponseLimits", "ResponseReader", "parse_response"]

MAX_DEPTH = 200
"""The deepest nesting of parentheses that is read (BODYSTRUCTURE of deeply nested messages)."""


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
    rb'(\*|[^\x00-\x20(){%*"\\+\x7f-\xff]+) (?:([0-9]{1,10}) )?([A-Za-z][A-Za-z0-9.-]*)(?: |$)'
)
_MARK = re.compile(rb"~?\{([0-9]{1,19})\+?\}$")
_CODE = re.compile(rb"\[([^\x00-\x20\[\]()]+)(?: ((?:[^\]\"\r\n]|\"(?:[^\"\\]|\\.)*+\")*+))?\] ?")
_LITERAL = re.compile(rb"~?\{[0-9]+\+?\}\r\n")
_WORD = re.compile(rb'[^\x00-\x20(){"\x7f-\xff]+')
_LABEL = re.compile(rb"[A-Za-z0-9.-]+(?:\[(?:[^\]\"\r\n{]|\"(?:[^\"\\\r\n]|\\.)*+\")*+\](?:<[0-9]+>)?)?")
_NUMBERS = re.compile(rb"(?:[0-9]{1,10} ?)*")
_CONDITIONS = {b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"}


class ResponseCursor(Cursor):
    """A cursor with what only servers send: literal8, NIL anywhere, nested lists."""

    __slots__ = ()

    @staticmethod
    def _check_utf8(value: bytes) -> None:
        """Servers in use send any octets in quoted strings; whoever decodes them sees to that."""

    def string(self, what: str = "a string") -> bytes:
        """A string of any octets."""
        match = _LITERAL.match(self.text, self.position)
        if match is not None and self._literals is not None:
            self.position = match.end()
            return next(self._literals)
        return super().string(what)

    def word(self) -> bytes:
        """Anything up to a space or parenthesis."""
        return self.scan(_WORD, "a word")

    def name(self) -> str:
        """A mailbox name, decoded as well as it can be."""
        octets = self.astring()
        try:
            return mailboxname.decode(octets, utf8=self.utf8 or not octets.isascii())
        except mailboxname.MailboxNameError:
            return octets.decode("utf-8", "replace")

    def value(self) -> Value:
        """A string, NIL, number, atom, or list of these nested up to ``MAX_DEPTH``."""
        stack: list[list[Value]] = []
        while True:
            if self.skip(b"("):
                if len(stack) >= MAX_DEPTH:
                    raise CommandError("nested too deep")
                stack.append([])
                if not self.looking_at(b")"):
                    continue
            else:
                item = self._scalar()
                if not stack:
                    return item
                stack[-1].append(item)
            while self.skip(b")"):
                done = tuple(stack.pop())
                if not stack:
                    return done
                stack[-1].append(done)
            # body-type-mpart: the bodies of a multipart stand without spaces between (RFC 9051 section 9).
            if not self.skip(b" ") and not self.looking_at(b"("):
                raise CommandError("expected a space")

    def _scalar(self) -> Value:
        following = self.text[self.position : self.position + 1]
        if following in {b'"', b"{"} or self.looking_at(b"~{"):
            return self.string()
        word = self.word()
        if word.isdigit() and len(word) < 20:
            return int(word)
        return None if word.upper() == b"NIL" else word


def _strings(value: Value) -> tuple[str, ...]:
    """A list of atoms or strings, decoded."""
    if not isinstance(value, tuple):
        raise CommandError("expected a list")
    found: list[str] = []
    for item in value:
        if isinstance(item, tuple):
            raise CommandError("expected a list of words")
        found.append(str(item) if isinstance(item, int) else (item or b"").decode("utf-8", "replace"))
    return tuple(found)


def _rest_words(cursor: ResponseCursor) -> tuple[str, ...]:
    rest = cursor.text[cursor.position :]
    cursor.position = len(cursor.text)
    return tuple(rest.decode("ascii", "replace").upper().split())


# -- response codes --------------------------------------------------------------------------------------------------

_NUMBER_CODES = {"UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "APPENDLIMIT"}


def _code(name: bytes, arguments: bytes | None) -> ResponseCode:
    word = name.decode("ascii", "replace").upper()
    if arguments is None:
        return ResponseCode(word)
    cursor = ResponseCursor(arguments)
    try:
        if word in _NUMBER_CODES:
            return ResponseCode(word, cursor.number64())
        if word == "APPENDUID":
            validity = cursor.number(least=1)
            cursor.space()
            return ResponseCode(word, AppendUid(validity, cursor.uid_set()))
        if word == "COPYUID":
            validity = cursor.number(least=1)
            cursor.space()
            source = cursor.uid_set()
            cursor.space()
            return ResponseCode(word, CopyUid(validity, source, cursor.uid_set()))
        if word == "MODIFIED":
            return ResponseCode(word, cursor.uid_set())
        if word == "CAPABILITY":
            return ResponseCode(word, _rest_words(cursor))
        if arguments.startswith(b"("):
            return ResponseCode(word, _strings(cursor.value()))
    except CommandError:
        pass  # a code is a hint: what we cannot read is handed on as it is
    return ResponseCode(word, arguments.decode("utf-8", "replace"))


def _status_response(tag: bytes | None, condition: bytes, rest: bytes) -> StatusResponse:
    code: ResponseCode | None = None
    match = _CODE.match(rest)
    if match is not None:
        code = _code(match.group(1), match.group(2))
        rest = rest[match.end() :]
    return StatusResponse(tag, condition.decode("ascii"), rest.decode("utf-8", "replace"), code)


# -- data ------------------------------------------------------------------------------------------------------------


def _list(cursor: ResponseCursor, *, lsub: bool = False) -> Response:
    attributes = _strings(cursor.value())
    cursor.space()
    separator = cursor.nstring()
    cursor.space()
    name = cursor.name()
    extended: dict[str, Value] = {}
    if cursor.skip(b" ("):
        while not cursor.skip(b")"):
            cursor.skip(b" ")
            label = cursor.astring().decode("utf-8", "replace").upper()
            cursor.space()
            extended[label] = cursor.value()
    character = None if separator is None else separator.decode("ascii", "replace")
    return ListData(attributes, character, name, extended, lsub)


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
        items[item] = _strings(value)[0] if item == "MAILBOXID" and value else value
    return StatusData(name, items)


def _search(cursor: ResponseCursor) -> Response:
    match = _NUMBERS.match(cursor.text, cursor.position)
    numbers = tuple(map(int, match.group().split())) if match is not None else ()
    cursor.position = match.end() if match is not None else cursor.position
    modseq: int | None = None
    if cursor.skip(b"(MODSEQ "):
        modseq = cursor.number64()
        cursor.expect(b")", "a closing parenthesis")
    if cursor.text[cursor.position :].strip():
        raise CommandError("expected numbers")
    return SearchData(numbers, modseq)


def _esearch(cursor: ResponseCursor) -> Response:
    tag: bytes | None = None
    uid = False
    items: dict[str, Value] = {}
    if cursor.skip(b"("):
        if cursor.keyword() != b"TAG":
            raise CommandError("expected TAG")
        cursor.space()
        tag = cursor.astring()
        cursor.expect(b")", "a closing parenthesis")
        cursor.skip(b" ")
    while not cursor.at_end():
        label = cursor.keyword().decode("ascii")
        if label == "UID" and not items and not uid:
            uid = True
        else:
            cursor.space()
            items[label] = cursor.sequence_set() if label == "ALL" else cursor.value()
        if not cursor.at_end():
            cursor.space()
    return EsearchData(tag, uid, items)


def _namespace(cursor: ResponseCursor) -> Response:
    kinds: list[tuple[tuple[str, str | None], ...]] = []
    for index in range(3):
        if index:
            cursor.space()
        pairs: list[tuple[str, str | None]] = []
        prefixes = cursor.value() or ()
        if not isinstance(prefixes, tuple):
            raise CommandError("expected a list of prefixes")
        for pair in prefixes:
            if not isinstance(pair, tuple) or len(pair) < 2 or not isinstance(pair[0], bytes):
                raise CommandError("expected prefix and separator")
            separator = pair[1].decode("ascii", "replace") if isinstance(pair[1], bytes) else None
            pairs.append((pair[0].decode("utf-8", "replace"), separator))
        kinds.append(tuple(pairs))
    return NamespaceData(*kinds)


def _id(cursor: ResponseCursor) -> Response:
    listed = cursor.value() or ()
    if not isinstance(listed, tuple) or len(listed) % 2:
        raise CommandError("expected pairs of fields and values")
    fields: dict[str, str | None] = {}
    for name, value in zip(listed[::2], listed[1::2], strict=True):
        text = None if value is None else _strings((value,))[0]
        fields[_strings((name,))[0].lower()] = text
    return IdData(fields)


def _vanished(cursor: ResponseCursor) -> Response:
    earlier = cursor.skip(b"(EARLIER) ")
    return VanishedData(cursor.uid_set(), earlier)


def _date(cursor: ResponseCursor) -> datetime | None:
    if cursor.text[cursor.position : cursor.position + 3].upper() == b"NIL":
        cursor.position += 3
        return None
    return cursor.date_time()


def _single(cursor: ResponseCursor) -> Value:
    """MODSEQ, EMAILID, THREADID: one value in parentheses, or NIL."""
    value = cursor.value()
    if isinstance(value, tuple):
        value = value[0] if value else None
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


_FETCH_VALUES: dict[str, Callable[[ResponseCursor], Value]] = {
    "FLAGS": lambda cursor: cursor.flag_list(),
    "UID": lambda cursor: cursor.number(least=1),
    "RFC822.SIZE": lambda cursor: cursor.number64(),
    "INTERNALDATE": _date,
    "SAVEDATE": _date,
    "MODSEQ": _single,
    "EMAILID": _single,
    "THREADID": _single,
}


def _fetch(cursor: ResponseCursor, number: int) -> Response:
    cursor.expect(b"(", "data items in parentheses")
    items: dict[str, Value] = {}
    while not cursor.skip(b")"):
        cursor.skip(b" ")
        label = cursor.scan(_LABEL, "a data item").decode("ascii", "replace").upper()
        cursor.space()
        reader = _FETCH_VALUES.get(label)
        items[label] = cursor.value() if reader is None else reader(cursor)
    return Fetched(number, items)


_DATA: dict[bytes, Callable[[ResponseCursor], Response]] = {
    b"CAPABILITY": lambda cursor: Capabilities(_rest_words(cursor)),
    b"ENABLED": lambda cursor: Enabled(_rest_words(cursor)),
    b"FLAGS": lambda cursor: FlagsData(_strings(cursor.value())),
    b"LIST": _list,
    b"LSUB": lambda cursor: _list(cursor, lsub=True),
    b"STATUS": _status,
    b"SEARCH": _search,
    b"ESEARCH": _esearch,
    b"NAMESPACE": _namespace,
    b"ID": _id,
    b"VANISHED": _vanished,
}

_NUMBERED: dict[bytes, Callable[[ResponseCursor, int], Response]] = {
    b"EXISTS": lambda _cursor, number: Exists(number),
    b"RECENT": lambda _cursor, number: Recent(number),
    b"EXPUNGE": lambda _cursor, number: Expunged(number),
    b"FETCH": _fetch,
}


def parse_response(text: bytes, literals: Iterator[bytes], *, utf8: bool = False) -> Response:
    """One whole response without its last CRLF; ``BadResponse`` if it cannot be read."""
    if text.startswith(b"+"):
        return Continuation(text[1:].lstrip(b" "))
    match = _HEAD.match(text)
    if match is None:
        return BadResponse("not a response", text[:200])
    tag, number, word = match.groups()
    name = word.upper()
    if number is None and name in _CONDITIONS:
        return _status_response(None if tag == b"*" else tag, name, text[match.end() :])
    if tag != b"*":
        return BadResponse("not a response", text[:200])
    cursor = ResponseCursor(text, match.end(), literals, utf8=utf8)
    try:
        if number is None:
            reader = _DATA.get(name)
            if reader is not None:
                return reader(cursor)
        else:
            numbered = _NUMBERED.get(name)
            if numbered is not None:
                return numbered(cursor, int(number))
    except (CommandError, StopIteration) as error:
        return BadResponse(str(error), text[:200])
    return OtherData(name.decode("ascii"), text[match.start(2 if number else 3) :])


class ResponseReader:
    """An incremental reader of responses.

    :ivar utf8: set it when IMAP4rev2 or UTF8=ACCEPT was enabled.
    :ivar failed: why nothing more is read (a limit was passed), or empty.
    """

    def __init__(self, limits: ResponseLimits | None = None) -> None:
        self.limits = limits or ResponseLimits()
        self.utf8 = False
        self.failed = ""
        self._buffer = b""
        self._position = 0
        self._searched = 0
        self._text: list[bytes] = []
        self._literals: list[bytes] = []
        self._parts: list[bytes] = []
        self._octets = 0
        self._remaining = 0
        self._in_literal = False

    def receive(self, data: bytes) -> None:
        """Take octets from the server."""
        if self.failed:
            return
        if self._position == len(self._buffer):
            self._buffer = data
            self._searched = 0
        else:
            self._buffer = self._buffer[self._position :] + data
            self._searched -= self._position
        self._position = 0

    @property
    def buffered_octets(self) -> int:
        """How many octets wait to be read; 0 is wanted before TLS starts."""
        return len(self._buffer) - self._position

    def next(self) -> Response | None:
        """The next response, or ``None`` when it takes more octets."""
        while not self.failed:
            if self._in_literal:
                if not self._collect():
                    return None
                continue
            buffer, start = self._buffer, self._position
            end = buffer.find(b"\n", max(start, self._searched))
            stop = len(buffer) if end < 0 else end
            if stop - start > self.limits.line_octets:
                return self._fail("line is too long")
            if end < 0:
                self._searched = stop
                return None
            line = buffer[start:end].removesuffix(b"\r")
            self._position = end + 1
            mark = _MARK.search(line) if line.endswith(b"}") and self._may_announce(line) else None
            self._text.append(line)
            if mark is None:
                return self._finish()
            self._remaining = int(mark.group(1))
            self._octets += self._remaining + len(line)
            if self._remaining > self.limits.literal_octets or self._octets > self.limits.response_octets:
                return self._fail("literal is too long")
            self._in_literal = True
        return None

    def _may_announce(self, line: bytes) -> bool:
        """Whether braces at the end announce a literal; in the text of a status response they are just braces."""
        if self._text:
            return True
        match = _HEAD.match(line)
        return match is not None and (match.group(2) is not None or match.group(3).upper() not in _CONDITIONS)

    def _collect(self) -> bool:
        chunk = self._buffer[self._position : self._position + self._remaining]
        self._position += len(chunk)
        self._remaining -= len(chunk)
        self._parts.append(chunk)
        if self._remaining:
            return False
        self._literals.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        self._parts = []
        self._in_literal = False
        return True

    def _finish(self) -> Response:
        text = self._text[0] if len(self._text) == 1 else b"\r\n".join(self._text)
        response = parse_response(text, iter(self._literals), utf8=self.utf8)
        self._text = []
        self._literals = []
        self._octets = 0
        return response

    def _fail(self, why: str) -> BadResponse:
        line = b"".join([*self._text, self._buffer[self._position : self._position + 200]])[:200]
        self.failed = why
        self._buffer = b""
        self._position = self._searched = 0
        self._text = []
        self._literals = []
        return BadResponse(why, line)
