r"""What stands in the brackets of a status response, typed (RFC 9051 section 7.1 and the extensions).

::

    response_code(b"COPYUID", b"38505 304 3956")      # ResponseCode("COPYUID", CopyUid(38505, …, …))
    response_code(b"METADATA", b"MAXSIZE 1024")       # ResponseCode("METADATA", MetadataRefusal("MAXSIZE", 1024))

A code is a hint: arguments that are not what its standard says are handed on as text.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

from moxtwisted.imap.wire.lexer import MAX_NUMBER64, CommandError
from moxtwisted.imap.wire.responsecursor import ResponseCursor, strings
from moxtwisted.imap.wire.responsedata import (
    AppendUid,
    BadUrl,
    CodeValue,
    CopyUid,
    InProgress,
    LongEntries,
    MessageLimit,
    MetadataRefusal,
    NoUpdate,
    ResponseCode,
    SupportedEvents,
    UndefinedFilter,
    UrlMechanism,
    UrlMechanisms,
)
from moxtwisted.imap.wire.sequence import MAX_NUMBER

__all__ = ["response_code", "rest_words"]


def rest_words(cursor: ResponseCursor) -> tuple[str, ...]:
    """The words up to the end, in upper case."""
    return tuple(_rest(cursor).upper().split())


def _rest(cursor: ResponseCursor) -> str:
    rest = cursor.text[cursor.position :]
    cursor.position = len(cursor.text)
    return rest.decode("utf-8", "replace")


def _append_uid(cursor: ResponseCursor) -> AppendUid:
    validity = cursor.number(least=1)
    cursor.space()
    return AppendUid(validity, cursor.uid_set())


def _copy_uid(cursor: ResponseCursor) -> CopyUid:
    validity = cursor.number(least=1)
    cursor.space()
    source = cursor.uid_set()
    cursor.space()
    return CopyUid(validity, source, cursor.uid_set())


def _message_limit(cursor: ResponseCursor) -> MessageLimit:
    most = cursor.number(least=1)
    return MessageLimit(most, cursor.number(least=1) if cursor.skip(b" ") else None)


def _metadata(cursor: ResponseCursor) -> LongEntries | MetadataRefusal:
    # RFC 5464 section 5: LONGENTRIES stands in an OK, the others in a NO.
    word = cursor.keyword().decode("ascii")
    if word in {"LONGENTRIES", "MAXSIZE"}:
        cursor.space()
        size = cursor.number64()
        return LongEntries(size) if word == "LONGENTRIES" else MetadataRefusal(word, size)
    return MetadataRefusal(word)


def _in_progress(cursor: ResponseCursor) -> InProgress:
    """RFC 9585 section 4: tag, progress and goal, each of which may be NIL."""
    listed = cursor.value()
    if not isinstance(listed, tuple):
        raise CommandError("expected a list")
    tag, done, goal = (*listed, None, None, None)[:3]

    def number(value: object) -> int | None:
        return value if isinstance(value, int) and value <= MAX_NUMBER else None

    said = strings((tag,))[0]
    return InProgress(said or None, number(done), number(goal))


def _text(cursor: ResponseCursor) -> str:
    """A quoted string, or anything up to the end."""
    if cursor.looking_at(b'"'):
        return cursor.string().decode("utf-8", "replace")
    return _rest(cursor)


def _mechanism(word: str) -> UrlMechanism:
    """RFC 4467 section 9: a mechanism, and what it says of its key in base64."""
    name, equals, data = word.partition("=")
    try:
        return UrlMechanism(name.upper(), binascii.a2b_base64(data, strict_mode=True) if equals else None)
    except binascii.Error:
        raise CommandError("expected base64") from None


_READERS: dict[str, Callable[[ResponseCursor], CodeValue]] = {
    **dict.fromkeys(("UNSEEN", "APPENDLIMIT"), lambda cursor: cursor.number64()),
    "APPENDUID": _append_uid,
    "COPYUID": _copy_uid,
    "MODIFIED": lambda cursor: cursor.uid_set(),
    "MESSAGELIMIT": _message_limit,
    "METADATA": _metadata,
    "CAPABILITY": rest_words,
    "INPROGRESS": _in_progress,
    # RFC 4469 section 5: the URL stands there as it is; servers in use quote it.
    "BADURL": lambda cursor: BadUrl(_text(cursor)),
    "URLMECH": lambda cursor: UrlMechanisms(tuple(map(_mechanism, _rest(cursor).split()))),
    # RFC 5267 section 4.3.1
    "NOUPDATE": lambda cursor: NoUpdate(cursor.astring()),
    # RFC 5465 section 8: the events that there are.
    "BADEVENT": lambda cursor: SupportedEvents(strings(cursor.value())),
    # RFC 5466 section 4
    "UNDEFINED-FILTER": lambda cursor: UndefinedFilter(cursor.astring().decode("utf-8", "replace")),
}
_LARGEST = {"UIDNEXT": MAX_NUMBER, "UIDVALIDITY": MAX_NUMBER, "HIGHESTMODSEQ": MAX_NUMBER64}
"""Numbers that clients keep (RFC 9051 section 9, RFC 7162 section 7). We take 0, too, where 1 is the least."""


def response_code(name: bytes, arguments: bytes | None) -> ResponseCode:
    """A code.

    :param arguments: what follows the space behind its name, or ``None``.
    :raise CommandError: a number that a client keeps is out of range.
    """
    word = name.decode("ascii", "replace").upper()
    if arguments is None:
        return ResponseCode(word, InProgress() if word == "INPROGRESS" else None)
    cursor = ResponseCursor(arguments)
    if word in _LARGEST and arguments.isdigit():
        return ResponseCode(word, cursor.number(most=_LARGEST[word]))
    try:
        reader = _READERS.get(word)
        if reader is not None:
            return ResponseCode(word, reader(cursor))
        if arguments.startswith(b"("):
            return ResponseCode(word, strings(cursor.value()))
    except CommandError:
        pass
    return ResponseCode(word, arguments.decode("utf-8", "replace"))
