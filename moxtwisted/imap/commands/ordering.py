"""What SORT and THREAD compare: values of messages, read from the backend in slices.

::

    positions, keys = await load_keys(connection, matching, found, [SortKey.DATE, SortKey.SUBJECT])
    members = await load_members(connection, matching, found)

Values come from what the backend keeps ready (ENVELOPE, the header fields of lists, INTERNALDATE, the size), never from bodies.
``SOURCES`` has for each sort key the columns and the function that makes values of them, so an extension adds a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

from moxtwisted.imap.backend import ENVELOPE, FIELDS, INTERNALDATE, SIZE
from moxtwisted.imap.commands.envelopes import first_address, sent_and_subject
from moxtwisted.imap.commands.matching import Matching
from moxtwisted.imap.connection import Connection
from moxtwisted.imap.wire.sortcriteria import SortKey
from moxtwisted.message.casemap import casemap
from moxtwisted.message.charset import decode_unlabelled
from moxtwisted.message.dates import parse_sent_date
from moxtwisted.message.headers import Header, decode_words
from moxtwisted.message.subject import base_subject
from moxtwisted.message.threadtree import ThreadMember, ThreadMembers

__all__ = ["SOURCES", "load_keys", "load_members", "load_subject_members", "take_turns"]

_ROWS_A_CALL: Final = 500
# Of header fields that are read for THREAD before others have their turn; usual messages have a kilobyte.
_OCTETS_A_TURN: Final = 131_072
_MAX_REMEMBERED: Final = 50_000
_QUOTED: Final = re.compile(rb"\\?(.)", re.DOTALL)
_IDENTIFIER: Final = re.compile(rb"<([^<>\s]+)>")
_MAX_REFERENCES: Final = 1000
# Identifiers of one THREAD; each takes a hundred octets. Of messages behind that only the nearest relatives are looked at.
_MOST_IDENTIFIERS: Final = 1_000_000
_FEW_REFERENCES: Final = 10
_LAST: Final = "\U0010ffff"

_Columns = Mapping[int, Sequence[Any]]
_Memory = dict[bytes, Any]


def _collated(text: str) -> str:
    """Text in the form that is compared."""
    known = casemap(text)
    # RFC 5255 section 4.6: what its charset does not account for stands together behind all other text.
    return _LAST + known if "\ufffd" in known else known


def _dates(columns: _Columns, _memory: _Memory) -> list[int]:
    return [
        _sent(sent_and_subject(envelope)[0], arrived)
        for envelope, arrived in zip(columns[ENVELOPE], columns[INTERNALDATE], strict=True)
    ]


def _sent(value: bytes, arrived: int) -> int:
    # RFC 5256 section 2.2: without a Date that can be read it is the internal date.
    sent = parse_sent_date(value) if value else None
    return arrived if sent is None else sent


def _subjects(columns: _Columns, memory: _Memory) -> list[str]:
    return [_base(sent_and_subject(envelope)[1], memory)[0] for envelope in columns[ENVELOPE]]


def _base(subject: bytes, memory: _Memory) -> tuple[str, bool]:
    """The base subject in the form that is compared, and whether it is a reply."""
    known: tuple[str, bool] | None = memory.get(subject)
    if known is None:
        # RFC 5255 section 4.2: what makes the base subject comes before the comparator.
        base, is_reply = base_subject(decode_words(subject))
        known = _collated(base), is_reply
        if len(memory) < _MAX_REMEMBERED:
            memory[subject] = known
    return known


def _mailboxes(place: int) -> Callable[[_Columns, _Memory], list[str]]:
    """RFC 5256 section 3: addr-mailbox of the first address in this place of the envelope."""

    def values(columns: _Columns, _memory: _Memory) -> list[str]:
        return [_collated(decode_unlabelled(first_address(e, place)[1])) for e in columns[ENVELOPE]]

    return values


def _displayed(place: int) -> Callable[[_Columns, _Memory], list[str]]:
    """RFC 5957 section 3: the name of the first address, or else, also when nothing is left of it once it is decoded, the address."""

    def value(envelope: bytes, memory: _Memory) -> str:
        name, mailbox, host = first_address(envelope, place)
        shown = _mapped(name, decode_words, memory) if name else ""
        return shown or _mapped(b"%b@%b" % (mailbox, host) if host else mailbox, decode_unlabelled, memory)

    def values(columns: _Columns, memory: _Memory) -> list[str]:
        return [value(envelope, memory) for envelope in columns[ENVELOPE]]

    return values


def _mapped(octets: bytes, decode: Callable[[bytes], str], memory: _Memory) -> str:
    known: str | None = memory.get(octets)
    if known is None:
        known = _collated(decode(octets))
        if len(memory) < _MAX_REMEMBERED:
            memory[octets] = known
    return known


def _column(column: int) -> Callable[[_Columns, _Memory], Sequence[Any]]:
    return lambda columns, _memory: columns[column]


SOURCES: Final[dict[SortKey, tuple[int, Callable[[_Columns, _Memory], Sequence[Any]]]]] = {
    SortKey.ARRIVAL: (INTERNALDATE, _column(INTERNALDATE)),
    SortKey.CC: (ENVELOPE, _mailboxes(6)),
    SortKey.DATE: (ENVELOPE | INTERNALDATE, _dates),
    SortKey.FROM: (ENVELOPE, _mailboxes(2)),
    SortKey.SIZE: (SIZE, _column(SIZE)),
    SortKey.SUBJECT: (ENVELOPE, _subjects),
    SortKey.TO: (ENVELOPE, _mailboxes(5)),
    SortKey.DISPLAYFROM: (ENVELOPE, _displayed(2)),
    SortKey.DISPLAYTO: (ENVELOPE, _displayed(5)),
}
"""By sort key: the columns it is made of, and the function that makes the values of some messages; it may remember what it worked
out, by octets."""


async def take_turns(connection: Connection, work: Generator[None, None, Any]) -> Any:
    """The result of some work; whenever it yields, others have their turn."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
        if connection.pause is not None:
            await connection.pause(0)


def _rows(
    connection: Connection, matching: Matching, positions: Sequence[int], columns: int
) -> Generator[tuple[Sequence[int], _Columns], None, None]:
    """Some messages after the other: the positions of those that are still there, and their columns."""
    mailbox, uids = connection.box.mailbox, matching.uids
    bits = [1 << n for n in range(columns.bit_length()) if columns & 1 << n]
    for start in range(0, len(positions), _ROWS_A_CALL):
        part = positions[start : start + _ROWS_A_CALL]
        rows = mailbox.rows([uids[at] for at in part], columns)
        if len(rows) < len(part):
            # Somebody expunged messages meanwhile: they are no part of the result.
            there = {row[0] for row in rows}
            part = [at for at in part if uids[at] in there]
        if rows:
            yield part, dict(zip(bits, list(zip(*rows, strict=True))[1:], strict=True))


async def load_keys(
    connection: Connection, matching: Matching, positions: Sequence[int], keys: Sequence[SortKey]
) -> tuple[list[int], dict[SortKey, list[Any]]]:
    """The values of messages.

    :param positions: in the session's view, ascending.
    :return: the positions of those that are still there, and by key their values, in parallel.
    """
    columns = 0
    for key in keys:
        columns |= SIZE if key is SortKey.RELEVANCY else SOURCES[key][0]
    there: list[int] = []
    values: dict[SortKey, list[Any]] = {key: [] for key in keys}
    memories: dict[SortKey, _Memory] = {key: {} for key in keys}
    for part, data in _rows(connection, matching, positions, columns):
        there += part
        for key in keys:
            if key is SortKey.RELEVANCY:
                # RFC 6203 section 6: the highest score first.
                values[key] += [-score for score in matching.relevancy(part)]
            else:
                values[key] += SOURCES[key][1](data, memories[key])
        if connection.pause is not None:
            await connection.pause(0)
    return there, values


# -- threads ---------------------------------------------------------------------------------------------------------


async def load_subject_members(
    connection: Connection, matching: Matching, positions: Sequence[int]
) -> tuple[list[int], ThreadMembers]:
    """What ORDEREDSUBJECT wants of messages."""
    there, values = await load_keys(connection, matching, positions, [SortKey.SUBJECT, SortKey.DATE])
    return there, ThreadMembers(subjects=values[SortKey.SUBJECT], sent=values[SortKey.DATE])


async def load_members(
    connection: Connection, matching: Matching, positions: Sequence[int]
) -> tuple[list[int], ThreadMembers]:
    """What REFERENCES wants of messages."""
    there: list[int] = []
    members = ThreadMembers()
    memory: _Memory = {}
    identifiers = 0
    for part, data in _rows(connection, matching, positions, FIELDS | INTERNALDATE):
        there += part
        octets_read = 0
        for octets, arrived in zip(data[FIELDS], data[INTERNALDATE], strict=True):
            member = _member(octets, arrived, memory)
            identifiers += len(member.references)
            if identifiers > _MOST_IDENTIFIERS:
                member = member._replace(references=member.references[-_FEW_REFERENCES:])
            members.add(member)
            octets_read += len(octets)
            if octets_read > _OCTETS_A_TURN and connection.pause is not None:
                # A thousand references take long.
                octets_read = 0
                await connection.pause(0)
        if connection.pause is not None:
            await connection.pause(0)
    return there, members


def _member(octets: bytes, arrived: int, memory: _Memory) -> ThreadMember:
    read = _reader(octets)
    # RFC 5256 section 3 (1) (B): the last one is the parent, also when it was named before.
    references = tuple(_identifiers(read(b"references"))[-_MAX_REFERENCES:])
    if not references:
        references = tuple(_identifiers(read(b"in-reply-to"))[:1])
    own = _identifiers(read(b"message-id"))
    subject, is_reply = _base(read(b"subject"), memory)
    return ThreadMember(own[0] if own else b"", references, subject, is_reply, _sent(read(b"date"), arrived))


def _reader(octets: bytes) -> Callable[[bytes], bytes]:
    """A function that gives the raw value of the first field of a name, or nothing."""
    octets = b"\n" + octets
    lower = octets.lower()
    if b" :" in lower or b"\t:" in lower:
        # RFC 5322 section 4.5: white space before the colon; or it is somewhere in a value.
        header = Header.parse(octets[1:])
        return lambda name: header.get(name) or b""

    def read(name: bytes) -> bytes:
        start = lower.find(b"\n%b:" % name)
        if start < 0:
            return b""
        start += len(name) + 2
        end = lower.find(b"\n", start)
        while end >= 0 and lower[end + 1 : end + 2] in (b" ", b"\t"):
            end = lower.find(b"\n", end + 1)
        return octets[start:] if end < 0 else octets[start:end]

    return read


def _identifiers(value: bytes) -> list[bytes]:
    """The message identifiers in a field, normalised."""
    if not value:
        return []
    if b"\n" in value:
        value = value.replace(b"\r", b"").replace(b"\n", b"")
    found = _IDENTIFIER.findall(value)
    return [_normal(one) for one in found] if b'"' in value else found


def _normal(identifier: bytes) -> bytes:
    # RFC 5256 section 3: what is quoted without need is the same identifier.
    local, at, domain = identifier.rpartition(b"@")
    if len(local) > 1 and local[:1] == local[-1:] == b'"':
        local = _QUOTED.sub(rb"\1", local[1:-1])
    return local + at + domain
