r"""What the answers mean: typed values from the responses of the wire.

::

    message(fetched)        # Message(number=2, uid=7, flags=frozenset({"\\Seen"}), envelope=Envelope(subject="hello", …), …)
    message(fetched).structure.parts[1].section       # "2", for BODY.PEEK[2]
    threads(data)           # (Thread((2,)), Thread((3, 6), (Thread((4, 23)), Thread((44, 7, 96)))))

A server may say anything: what has not the shape that the standard wants raises ``ResultError``, which names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from attrs import field, frozen

from moxtwisted.errors import MailError
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.lexer import MAX_NUMBER64
from moxtwisted.imap.wire.sequence import SequenceSet

__all__ = [
    "Envelope",
    "EnvelopeAddress",
    "Message",
    "Page",
    "Part",
    "ResultError",
    "SearchResult",
    "Thread",
    "envelope",
    "members",
    "message",
    "search_result",
    "structure",
    "threads",
]

MAX_ADDRESSES = 100_000
"""The most addresses in one field of an envelope."""


class ResultError(MailError):
    """The server's answer has not the shape that the standard wants."""

    public_text = "the server's answer cannot be understood"


def _text(value: Any) -> str:
    """A string as text; octets that are no UTF-8 become U+FFFD."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, bytes):
        raise ResultError("a string was expected")
    return value.decode("utf-8", "replace")


def _number(value: Any) -> int:
    if isinstance(value, bytes) and value.isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int):
        raise ResultError("a number was expected")
    if not 0 <= value <= MAX_NUMBER64:
        raise ResultError("a number is out of range")
    return value


def _count(value: Any) -> int | None:
    """A number of octets or lines; ``None`` where the server does not know it, which some say by NIL or a negative number."""
    if value is None or (isinstance(value, bytes) and value[:1] == b"-" and value[1:].isdigit()):
        return None
    return _number(value)


def _listed(value: Any) -> tuple[Any, ...]:
    """A list; NIL is an empty one."""
    if value is None:
        return ()
    if not isinstance(value, tuple):
        raise ResultError("a list was expected")
    return value


# -- ENVELOPE --------------------------------------------------------------------------------------------------------


@frozen
class EnvelopeAddress:
    """An address of an envelope (RFC 9051 section 7.5.2).

    :ivar name: the display name, encoded words as they came.
    :ivar mailbox: what is before the @; the name of the group where one begins.
    :ivar host: what is behind it; empty at the beginning and end of a group.
    """

    name: str
    mailbox: str
    host: str

    @property
    def address(self) -> str:
        """``mailbox@host``, or nothing for the marks of a group."""
        return f"{self.mailbox}@{self.host}" if self.host else ""


@frozen
class Envelope:
    """ENVELOPE, as strings of the header; nothing is decoded but UTF-8."""

    date: str = ""
    subject: str = ""
    from_: tuple[EnvelopeAddress, ...] = ()
    sender: tuple[EnvelopeAddress, ...] = ()
    reply_to: tuple[EnvelopeAddress, ...] = ()
    to: tuple[EnvelopeAddress, ...] = ()
    cc: tuple[EnvelopeAddress, ...] = ()
    bcc: tuple[EnvelopeAddress, ...] = ()
    in_reply_to: str = ""
    message_id: str = ""


def _addresses(value: Any) -> tuple[EnvelopeAddress, ...]:
    found = []
    for item in _listed(value)[:MAX_ADDRESSES]:
        fields = _listed(item)
        if len(fields) != 4:
            raise ResultError("an address has four fields")
        found.append(EnvelopeAddress(_text(fields[0]), _text(fields[2]), _text(fields[3])))
    return tuple(found)


def envelope(value: Any) -> Envelope:
    """An envelope.

    :raise ResultError:
    """
    fields = _listed(value)
    if len(fields) != 10:
        raise ResultError("an envelope has ten fields")
    people = [_addresses(item) for item in fields[2:8]]
    return Envelope(
        _text(fields[0]),
        _text(fields[1]),
        people[0],
        people[1],
        people[2],
        people[3],
        people[4],
        people[5],
        _text(fields[8]),
        _text(fields[9]),
    )


# -- BODYSTRUCTURE -----------------------------------------------------------------------------------------------------


@frozen
class Part:
    """A part of a message, or the whole (RFC 9051 section 7.5.2, BODYSTRUCTURE).

    :ivar section: what BODY[…] calls it; empty for the whole of a multipart message.
    :ivar media_type: in lower case, as ``"text/plain"``.
    :ivar parameters: by name in lower case.
    :ivar encoding: in lower case.
    :ivar size_octets: as encoded; 0 for a multipart, and where the server does not know it.
    :ivar lines: of text and message/rfc822, if the server knows them.
    :ivar disposition: in lower case, or empty.
    :ivar parts: of a multipart; of a message/rfc822, its body alone, if the server tells of it.
    :ivar envelope: of a message/rfc822.
    """

    section: str
    media_type: str
    parameters: Mapping[str, str] = field(factory=dict)
    content_id: str = ""
    description: str = ""
    encoding: str = ""
    size_octets: int = 0
    lines: int | None = None
    md5: str = ""
    disposition: str = ""
    disposition_parameters: Mapping[str, str] = field(factory=dict)
    languages: tuple[str, ...] = ()
    location: str = ""
    parts: tuple[Part, ...] = ()
    envelope: Envelope | None = None

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in order."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def file_name(self) -> str:
        """What the part says its file is called; raw, and nothing to open a file with."""
        return self.disposition_parameters.get("filename", "") or self.parameters.get("name", "")


def _parameters(value: Any) -> dict[str, str]:
    """Pairs; servers were seen to send an empty string for none."""
    if value == b"":
        return {}
    fields = _listed(value)
    if len(fields) % 2:
        raise ResultError("parameters are pairs")
    return {_text(name).lower(): _text(text) for name, text in zip(fields[::2], fields[1::2], strict=True)}


def _extension(values: tuple[Any, ...]) -> dict[str, Any]:
    """Disposition, languages and location, as far as they are there."""
    found: dict[str, Any] = {}
    if values and values[0]:
        # Servers were seen to send the name alone, with and without parentheses.
        disposition = values[0] if isinstance(values[0], tuple) else (values[0],)
        if len(disposition) > 2:
            raise ResultError("a disposition has a name and parameters")
        found["disposition"] = _text(disposition[0]).lower()
        found["disposition_parameters"] = _parameters(disposition[1] if len(disposition) > 1 else None)
    if len(values) > 1 and values[1] is not None:
        languages = values[1] if isinstance(values[1], tuple) else (values[1],)
        found["languages"] = tuple(map(_text, languages))
    if len(values) > 2:
        found["location"] = _text(values[2])
    return found


def structure(value: Any, section: str = "") -> Part:
    """A BODYSTRUCTURE, or a BODY without extension data. The reader has bounded its depth.

    :raise ResultError:
    """
    fields = _listed(value)
    if not fields:
        raise ResultError("a body without a type")
    if isinstance(fields[0], tuple):
        return _multipart(fields, section)
    return _single(fields, section or "1")


def _multipart(fields: tuple[Any, ...], section: str) -> Part:
    count = next((n for n, item in enumerate(fields) if not isinstance(item, tuple)), len(fields))
    prefix = section + "." if section else ""
    parts = tuple(structure(item, f"{prefix}{n}") for n, item in enumerate(fields[:count], 1))
    rest = fields[count:]
    if not rest:
        raise ResultError("a multipart without a subtype")
    return Part(
        section,
        f"multipart/{_text(rest[0]).lower()}",
        _parameters(rest[1]) if len(rest) > 1 else {},
        parts=parts,
        **_extension(rest[2:]),
    )


def _single(fields: tuple[Any, ...], section: str) -> Part:
    if len(fields) < 7:
        raise ResultError("a part has seven fields or more")
    kind, subtype = _text(fields[0]).lower(), _text(fields[1]).lower()
    more: dict[str, Any] = {}
    rest = fields[7:]
    if kind == "text" and rest:
        more["lines"] = _count(rest[0])
        rest = rest[1:]
    # message/global (RFC 6532) has the fields of message/rfc822; a server that does not know it has not. Others leave out what they have
    # not looked at.
    elif kind == "message" and rest and isinstance(rest[0], tuple):
        more["envelope"] = envelope(rest[0])
        inner = rest[1] if len(rest) > 1 else None
        if inner is not None:
            # RFC 9051 section 6.4.5.1: the parts of a message within are numbered below it, a multipart's without a level of its own.
            multipart = isinstance(inner, tuple) and bool(inner) and isinstance(inner[0], tuple)
            more["parts"] = (structure(inner, section if multipart else section + ".1"),)
        more["lines"] = _count(rest[2]) if len(rest) > 2 else None
        rest = rest[3:]
    if rest:
        more["md5"] = _text(rest[0])
        more.update(_extension(rest[1:]))
    return Part(
        section,
        f"{kind}/{subtype}",
        _parameters(fields[2]),
        _text(fields[3]),
        _text(fields[4]),
        _text(fields[5]).lower(),
        _count(fields[6]) or 0,
        **more,
    )


# -- FETCH -------------------------------------------------------------------------------------------------------------


@frozen
class Message:
    """What FETCH said about a message; ``None`` is what it did not say.

    :ivar number: the sequence number; 0 with UIDONLY.
    :ivar sections: octets by label (``"BODY[HEADER]"``, ``"BINARY[1]"``); ``None`` for NIL, ``Streamed`` for what a sink was given.
    :ivar binary_sizes: octets decoded, by section.
    :ivar other: items of other names.
    """

    number: int
    uid: int | None = None
    flags: frozenset[str] | None = None
    internaldate: datetime | None = None
    size_octets: int | None = None
    modseq: int | None = None
    envelope: Envelope | None = None
    structure: Part | None = None
    preview: str | None = None
    savedate: datetime | None = None
    email_id: str | None = None
    thread_id: str | None = None
    sections: Mapping[str, bytes | r.Streamed | None] = field(factory=dict)
    binary_sizes: Mapping[str, int] = field(factory=dict)
    other: Mapping[str, r.Value] = field(factory=dict)

    def section(self, name: str = "") -> bytes | None:
        """The octets of ``BODY[name]``, if they were fetched whole."""
        found = self.sections.get(f"BODY[{name.upper()}]")
        return found if isinstance(found, bytes) else None


_PLAIN = {
    "UID": "uid",
    "INTERNALDATE": "internaldate",
    "RFC822.SIZE": "size_octets",
    "MODSEQ": "modseq",
    "SAVEDATE": "savedate",
    "EMAILID": "email_id",
    "THREADID": "thread_id",
}
_TYPES: dict[str, tuple[type, ...]] = {"MODSEQ": (int,), "EMAILID": (str,), "THREADID": (str,)}


def message(fetched: r.Fetched) -> Message:
    """A message from a FETCH response.

    :raise ResultError:
    """
    known: dict[str, Any] = {}
    sections: dict[str, bytes | r.Streamed | None] = {}
    sizes: dict[str, int] = {}
    other: dict[str, r.Value] = {}
    for label, value in fetched.items.items():
        if label in _PLAIN:
            if value is not None and not isinstance(value, _TYPES.get(label, (object,))):
                raise ResultError(f"{label} has another type")
            known[_PLAIN[label]] = value
        elif label == "FLAGS":
            known["flags"] = frozenset(value)
        elif label == "ENVELOPE":
            known["envelope"] = envelope(value)
        elif label in {"BODY", "BODYSTRUCTURE"}:
            known["structure"] = structure(value)
        elif label == "PREVIEW":
            known["preview"] = None if value is None else _text(value)
        elif label.startswith("BINARY.SIZE["):
            sizes[label[12:-1]] = _number(value)
        elif label.startswith(("BODY[", "BINARY[")) or label in {"RFC822", "RFC822.TEXT", "RFC822.HEADER"}:
            sections[label] = _section(value)
        else:
            other[label] = value
    return Message(fetched.number, sections=sections, binary_sizes=sizes, other=other, **known)


def _section(value: Any) -> bytes | r.Streamed | None:
    if isinstance(value, int):
        return b"%d" % value  # an atom of digits: not a string, but servers were seen to send it
    if value is None or isinstance(value, (bytes, r.Streamed)):
        return value
    raise ResultError("a section is a string")


# -- SEARCH, SORT, THREAD ------------------------------------------------------------------------------------------------


class Page(NamedTuple):
    """A window on the results (PARTIAL, RFC 9394 section 3.1).

    :ivar range: as it was asked for, ``"-1:-100"``.
    :ivar numbers: those in it, in the order of the results; ``None`` when the results end before.
    """

    range: str
    numbers: SequenceSet | None


@frozen
class SearchResult:
    """What SEARCH, SORT or their UID forms found.

    :ivar numbers: in the server's order, when it listed them; a set when it sent one (ESEARCH), ``None`` when it was asked for neither.
    :ivar partial: of PARTIAL.
    :ivar mailbox: where, for a search in several mailboxes; with its UIDVALIDITY.
    :ivar tag: of the command: what ``ContextChanged`` names, and ``cancel_updates`` takes (RFC 5267).
    :ivar limited: how far it came, when it looked at the newest messages only (RFC 9738); not of a search in several mailboxes.
    :ivar updated: whether the server tells of changes from now on, when it was asked to (UPDATE).
    :ivar changes: those that it has told of already, after the result.
    """

    numbers: tuple[int, ...] | SequenceSet | None = None
    count: int | None = None
    least: int | None = None
    most: int | None = None
    modseq: int | None = None
    partial: Page | None = None
    relevancy: tuple[int, ...] = ()
    mailbox: str | None = None
    uidvalidity: int | None = None
    other: Mapping[str, r.Value] = field(factory=dict)
    tag: bytes | None = None
    limited: r.MessageLimit | None = None
    updated: bool = False
    changes: tuple[r.ContextChange, ...] = ()


_ESEARCH = {"COUNT": "count", "MIN": "least", "MAX": "most", "MODSEQ": "modseq"}


def search_result(response: r.SearchData | r.SortData | r.EsearchData) -> SearchResult:
    """A result, typed.

    :raise ResultError:
    """
    if not isinstance(response, r.EsearchData):
        return SearchResult(response.numbers, modseq=response.modseq)
    known: dict[str, Any] = {}
    other: dict[str, r.Value] = {}
    for label, value in response.items.items():
        if label in _ESEARCH:
            known[_ESEARCH[label]] = _number(value)
        elif label == "ALL":
            known["numbers"] = value
        elif label == "PARTIAL" and isinstance(value, tuple):
            known["partial"] = Page(*value)
        elif label == "RELEVANCY":
            known["relevancy"] = tuple(map(_number, _listed(value)))
        else:
            other[label] = value
    return SearchResult(mailbox=response.mailbox, uidvalidity=response.uidvalidity, other=other, **known)


def members(numbers: tuple[int, ...] | SequenceSet | None, limit: int = 10_000_000) -> Iterator[int]:
    """The members of a result, one after the other.

    :raise ResultError: when there are more than ``limit``: a hostile server needs only eleven octets for four thousand million.
    """
    if numbers is None:
        return
    if not isinstance(numbers, SequenceSet):
        yield from numbers
        return
    if numbers.saved or numbers.has_star() or sum(high - low + 1 for low, high in numbers.ranges) > limit:
        raise ResultError("the set is too large")
    for low, high in numbers.ranges:
        yield from range(low, high + 1)


@frozen
class Thread:
    """A conversation: messages one below the other, then branches.

    :ivar numbers: a line of descent, each the parent of the next; empty where the common ancestor of the branches is missing.
    :ivar branches: what follows the last of them, if it is several.
    """

    numbers: tuple[int, ...]
    branches: tuple[Thread, ...] = ()

    def walk(self) -> Iterator[int]:
        """All messages, parents first."""
        yield from self.numbers
        for branch in self.branches:
            yield from branch.walk()


def threads(data: r.ThreadData) -> tuple[Thread, ...]:
    """Trees from a THREAD response (RFC 5256 section 4).

    :raise ResultError:
    """
    return tuple(_thread(value) for value in data.threads)


def _thread(value: Any) -> Thread:
    """One parenthesized list; the reader has bounded their depth."""
    items = _listed(value)
    count = next((n for n, item in enumerate(items) if isinstance(item, tuple)), len(items))
    return Thread(tuple(map(_number, items[:count])), tuple(map(_thread, items[count:])))
