r"""Writing what a server says (RFC 9051 sections 7 and 9): values to octets, each response whole with its CRLF.

Response codes are made apart and put into a status response without their brackets::

    tagged(b"a1", b"OK", "done", code_appenduid(38505, b"3955"))
      -> b'a1 OK [APPENDUID 38505 3955] done\r\n'
    fetch(12, [b"FLAGS (\\Seen)", b"UID 4827"])
      -> b'* 12 FETCH (FLAGS (\\Seen) UID 4827)\r\n'

Strings are quoted where that is allowed and else become literals; ``utf8`` says whether the client enabled IMAP4rev2 or
UTF8=ACCEPT, so that quoted strings may hold UTF-8 (RFC 9755 section 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Literal

from attrs import frozen

from moxtwisted.imap.wire import mailboxname
from moxtwisted.imap.wire.sequence import compact

__all__ = [
    "CRLF",
    "QUOTED_OCTETS",
    "EsearchResult",
    "astring",
    "capability",
    "code_appenduid",
    "code_copyuid",
    "code_permanentflags",
    "continuation",
    "date_time",
    "date_time_seconds",
    "enabled",
    "esearch",
    "exists",
    "expunge",
    "fetch",
    "fetch_many",
    "flags",
    "id_response",
    "list_response",
    "literal",
    "literal8",
    "lsub_response",
    "mailbox",
    "metadata_value",
    "namespace",
    "nstring",
    "parenthesized",
    "quoted",
    "search",
    "status",
    "string",
    "tagged",
    "untagged",
    "vanished",
]

CRLF = b"\r\n"

QUOTED_OCTETS = 4096
"""Strings up to this length are quoted if their octets allow it; longer ones are literals, which need no scan."""

Condition = Literal[b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"]

_MONTHS = (
    b"",
    b"Jan",
    b"Feb",
    b"Mar",
    b"Apr",
    b"May",
    b"Jun",
    b"Jul",
    b"Aug",
    b"Sep",
    b"Oct",
    b"Nov",
    b"Dec",
)
_ASTRING = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]+')
_SPECIAL = re.compile(rb'["\\]')
_UNQUOTABLE = re.compile(rb"[\x00\r\n\x80-\xff]")
_UNQUOTABLE_UTF8 = re.compile(rb"[\x00\r\n]")
_NOT_TEXT = re.compile(r"[^\x20-\x7e]+")
_NOT_TEXT_UTF8 = re.compile(r"[\x00-\x1f\x7f]+")


# -- strings ---------------------------------------------------------------------------------------------------------


def _octets(value: str | bytes) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else value


def literal(value: str | bytes) -> bytes:
    """``{n}`` CRLF and the octets, which must not have NUL."""
    octets = _octets(value)
    return b"{%d}\r\n%b" % (len(octets), octets)


def literal8(value: bytes) -> bytes:
    """``~{n}`` CRLF and any octets (RFC 3516)."""
    return b"~{%d}\r\n%b" % (len(value), value)


def quoted(value: str | bytes) -> bytes:
    """The value in double quotes. It must have neither NUL, CR nor LF, and what is not ASCII must be allowed."""
    octets = _octets(value)
    if b'"' in octets or b"\\" in octets:
        octets = _SPECIAL.sub(rb"\\\g<0>", octets)
    return b'"%b"' % octets


def _quotable(octets: bytes, *, utf8: bool) -> bool:
    if len(octets) > QUOTED_OCTETS:
        return False
    if not utf8:
        return _UNQUOTABLE.search(octets) is None
    if _UNQUOTABLE_UTF8.search(octets) is not None:
        return False
    if not octets.isascii():
        try:
            octets.decode("utf-8")
        except UnicodeDecodeError:
            return False
    return True


def string(value: str | bytes, *, utf8: bool = False) -> bytes:
    """Quoted if possible, else a literal. A literal cannot hold NUL: the caller has removed it."""
    octets = _octets(value)
    return quoted(octets) if _quotable(octets, utf8=utf8) else literal(octets)


def nstring(value: str | bytes | None, *, utf8: bool = False) -> bytes:
    """A string, or NIL for ``None``."""
    return b"NIL" if value is None else string(value, utf8=utf8)


def astring(value: str | bytes, *, utf8: bool = False) -> bytes:
    """As it is if its octets allow it, else a string."""
    octets = _octets(value)
    if _ASTRING.fullmatch(octets) is not None and octets.upper() != b"NIL":
        return octets
    return string(octets, utf8=utf8)


def mailbox(name: str, *, utf8: bool) -> bytes:
    """A mailbox name in the encoding that the client has enabled.

    :param name: decoded, canonical.
    """
    return _mailbox(name, utf8)


@lru_cache(maxsize=4096)
def _mailbox(name: str, utf8: bool) -> bytes:
    return astring(mailboxname.encode(name, utf8=utf8), utf8=utf8)


def metadata_value(value: bytes | None, *, utf8: bool) -> bytes:
    """``value`` of RFC 5464 section 5: NIL, a string, or a literal8 when it has NUL."""
    if value is not None and b"\0" in value:
        return literal8(value)
    return nstring(value, utf8=utf8)


def parenthesized(items: Iterable[bytes]) -> bytes:
    """Items with spaces between, in parentheses."""
    return b"(%b)" % b" ".join(items)


def flags(names: Iterable[str]) -> bytes:
    """A list of flags in parentheses."""
    return f"({' '.join(names)})".encode("ascii")


def date_time(value: datetime) -> bytes:
    """A quoted ``date-time``, in the zone of the value, which must have one."""
    offset = value.utcoffset() or timedelta()
    minutes = offset // timedelta(minutes=1)
    sign, minutes = (b"-", -minutes) if minutes < 0 else (b"+", minutes)
    return b'"%2d-%b-%04d %02d:%02d:%02d %b%02d%02d"' % (
        value.day,
        _MONTHS[value.month],
        value.year,
        value.hour,
        value.minute,
        value.second,
        sign,
        minutes // 60,
        minutes % 60,
    )


def date_time_seconds(seconds: int, zone_minutes: int = 0) -> bytes:
    """A quoted ``date-time`` for seconds since 1970 UTC, shown in a zone so many minutes east."""
    zone = timezone(timedelta(minutes=zone_minutes)) if zone_minutes else UTC
    return date_time(datetime.fromtimestamp(seconds, zone))


# -- status responses ------------------------------------------------------------------------------------------------


def _text(code: bytes, text: str, *, utf8: bool) -> bytes:
    """``resp-text``; never empty, never with an end of line, and no bracket that could be taken for a code."""
    octets = (_NOT_TEXT_UTF8 if utf8 else _NOT_TEXT).sub(" ", text).encode("utf-8").strip() or b"done"
    if code:
        return b"[%b] %b" % (code, octets)
    return octets.lstrip(b"[") or b"done" if octets.startswith(b"[") else octets


def tagged(tag: bytes, condition: Condition, text: str, code: bytes = b"", *, utf8: bool = False) -> bytes:
    """``tag OK [code] text``.

    :param code: response code without brackets, or empty.
    :param utf8: whether the text may be other than ASCII (IMAP4rev2 enabled).
    """
    return b"%b %b %b\r\n" % (tag, condition, _text(code, text, utf8=utf8))


def untagged(condition: Condition, text: str, code: bytes = b"", *, utf8: bool = False) -> bytes:
    """``* OK [code] text``."""
    return b"* %b %b\r\n" % (condition, _text(code, text, utf8=utf8))


def continuation(text: str = "OK") -> bytes:
    """``+ text``. For SASL the text is base64 and may be empty."""
    return b"+ %b\r\n" % _NOT_TEXT.sub(" ", text).encode("ascii")


# -- response codes (RFC 9051 section 7.1), without brackets; those without arguments are just words ----------------------


def code_appenduid(uidvalidity: int, uids: bytes) -> bytes:
    """APPENDUID.

    :param uids: one UID, or for MULTIAPPEND a set, as from ``compact``.
    """
    return b"APPENDUID %d %b" % (uidvalidity, uids)


def code_copyuid(uidvalidity: int, source: bytes, target: bytes) -> bytes:
    """COPYUID: UIDs copied and the UIDs they got, as sets of the same order."""
    return b"COPYUID %d %b %b" % (uidvalidity, source, target)


def code_permanentflags(names: Iterable[str], *, keywords: bool = True) -> bytes:
    r"""PERMANENTFLAGS.

    :param keywords: whether a client may make new ones (``\*``).
    """
    return b"PERMANENTFLAGS " + flags([*names, "\\*"] if keywords else names)


# -- data responses --------------------------------------------------------------------------------------------------


def capability(names: Iterable[str]) -> bytes:
    """``* CAPABILITY …``; also usable as code, with ``[2:-2]``."""
    return f"* CAPABILITY {' '.join(names)}\r\n".encode("ascii")


def enabled(names: Sequence[str]) -> bytes:
    """``* ENABLED …``, which may be empty."""
    return f"* {' '.join(['ENABLED', *names])}\r\n".encode("ascii")


def exists(count: int) -> bytes:
    """``* n EXISTS``."""
    return b"* %d EXISTS\r\n" % count


def expunge(number: int) -> bytes:
    """``* n EXPUNGE``."""
    return b"* %d EXPUNGE\r\n" % number


def vanished(uids: Iterable[int], *, earlier: bool = False) -> bytes:
    """``* VANISHED …`` (RFC 7162 section 3.2.10); empty when there are none.

    :param uids: ascending.
    """
    text = compact(uids)
    if not text:
        return b""
    return b"* VANISHED %b%b\r\n" % (b"(EARLIER) " if earlier else b"", text)


def fetch(number: int, items: Iterable[bytes]) -> bytes:
    """``* n FETCH (…)``.

    :param items: each a name and its value, as ``b"UID 5"``.
    """
    return b"* %d FETCH (%b)\r\n" % (number, b" ".join(items))


def fetch_many(template: bytes, rows: Iterable[tuple[int | bytes, ...]]) -> bytes:
    """Many FETCH responses of one shape.

    :param template: a whole response with ``%d`` and ``%b``, as ``b"* %d FETCH (UID %d FLAGS %b)\\r\\n"``.
    :param rows: what goes into it.
    """
    return b"".join([template % row for row in rows])


def search(numbers: Iterable[int], modseq: int | None = None) -> bytes:
    """The SEARCH response of IMAP4rev1.

    :param modseq: the highest mod-sequence of what was found, when the client asked by MODSEQ (RFC 7162 section 3.1.5).
    """
    listed = "".join([f" {number}" for number in numbers])
    suffix = f" (MODSEQ {modseq})" if modseq is not None and listed else ""
    return f"* SEARCH{listed}{suffix}\r\n".encode("ascii")


@frozen
class EsearchResult:
    """What an ESEARCH response holds; ``None`` and empty is left out.

    :ivar every: the found numbers as a set, as from ``compact``.
    """

    least: int | None = None
    most: int | None = None
    every: bytes = b""
    count: int | None = None
    modseq: int | None = None


def esearch(tag: bytes, result: EsearchResult, *, uid: bool) -> bytes:
    """``* ESEARCH (TAG "a1") UID MIN 2 …`` (RFC 9051 section 7.3.4)."""
    parts = [b"* ESEARCH (TAG %b)" % quoted(tag)]
    if uid:
        parts.append(b"UID")
    if result.least is not None:
        parts.append(b"MIN %d" % result.least)
    if result.most is not None:
        parts.append(b"MAX %d" % result.most)
    if result.every:
        parts.append(b"ALL " + result.every)
    if result.count is not None:
        parts.append(b"COUNT %d" % result.count)
    if result.modseq is not None:
        parts.append(b"MODSEQ %d" % result.modseq)
    return b" ".join(parts) + CRLF


def list_response(
    name: str,
    attributes: Iterable[str],
    *,
    utf8: bool,
    child_info: Sequence[str] = (),
    old_name: str | None = None,
) -> bytes:
    r"""``* LIST (attributes) "/" name``.

    :param attributes: as ``"\\HasNoChildren"``.
    :param child_info: selection options for CHILDINFO (RFC 5258 section 4).
    :param old_name: the name it had (OLDNAME, RFC 9051 section 6.3.9.7).
    """
    extended = []
    if child_info:
        extended.append(b'"CHILDINFO" ' + parenthesized([quoted(option) for option in child_info]))
    if old_name is not None:
        extended.append(b'"OLDNAME" ' + parenthesized([mailbox(old_name, utf8=utf8)]))
    return b'* LIST %b "/" %b%b\r\n' % (
        flags(attributes),
        mailbox(name, utf8=utf8),
        b" " + parenthesized(extended) if extended else b"",
    )


def lsub_response(name: str, attributes: Iterable[str], *, utf8: bool) -> bytes:
    """``* LSUB (attributes) "/" name``."""
    return b'* LSUB %b "/" %b\r\n' % (flags(attributes), mailbox(name, utf8=utf8))


def status(name: str, items: Iterable[tuple[str, int | str | None]], *, utf8: bool) -> bytes:
    """``* STATUS name (MESSAGES 231 …)``.

    :param items: names and values; text goes in parentheses (MAILBOXID, RFC 8474 section 4.3), ``None`` is NIL.
    """
    listed = [
        f"{item} NIL"
        if value is None
        else f"{item} ({value})"
        if isinstance(value, str)
        else f"{item} {value}"
        for item, value in items
    ]
    return b"* STATUS %b (%b)\r\n" % (mailbox(name, utf8=utf8), " ".join(listed).encode("ascii"))


def namespace(
    personal: Sequence[str] = ("",), other: Sequence[str] = (), shared: Sequence[str] = (), *, utf8: bool
) -> bytes:
    """``* NAMESPACE (("" "/")) NIL NIL``; the arguments are the prefixes of each kind."""
    parts = []
    for prefixes in (personal, other, shared):
        listed = b"".join(
            [b'(%b "/")' % string(mailboxname.encode(prefix, utf8=utf8), utf8=utf8) for prefix in prefixes]
        )
        parts.append(b"(%b)" % listed if listed else b"NIL")
    return b"* NAMESPACE %b\r\n" % b" ".join(parts)


def id_response(pairs: Iterable[tuple[str, str | None]]) -> bytes:
    """``* ID ("name" "…")``, NIL for no pairs."""
    listed = b" ".join([quoted(key) + b" " + nstring(value) for key, value in pairs])
    return b"* ID %b\r\n" % (b"(%b)" % listed if listed else b"NIL")
