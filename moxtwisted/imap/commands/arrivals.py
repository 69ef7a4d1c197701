r"""Data items of new messages that are told without a FETCH: what NOTIFY asks for (RFC 5465 section 5.2), and UPDATE (section 7).

::

    C: a00 SEARCH RETURN (COUNT UPDATE (UID BODY[HEADER.FIELDS (SUBJECT)])) FROM "boss"
    S: * ESEARCH (TAG "a00") COUNT 17
    S: a00 OK SEARCH completed
    S: * 93 EXISTS
    S: * 93 FETCH (UID 127001 BODY[HEADER.FIELDS (SUBJECT)] {28}
    S: Subject: Re: good morning
    S:
    S: )
    S: * ESEARCH (TAG "a00") ADDTO (0 93)

All that is wanted of a message is in one response. They are pulled as the client reads, as those of a FETCH.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from attrs import evolve

from moxtwisted.imap.commands.fetch import fetched
from moxtwisted.imap.connection import Connection
from moxtwisted.imap.view import Findings
from moxtwisted.imap.wire.fetchattributes import BinarySection, BodySection, FetchAttribute

__all__ = ["told"]

_Lists = tuple[tuple[FetchAttribute, ...], ...]


def told(connection: Connection, findings: Findings) -> Iterator[bytes]:
    """What was found out about results, and the data items of new messages; nothing else is to be said until it is."""
    notifying = connection.notifying
    wanted: dict[int, _Lists] = dict(findings.wanted)
    notified = notifying.take_new() if notifying is not None else ()
    for uid in notified:
        wanted[uid] = (notifying.selected.attributes, *wanted.get(uid, ()))
    # RFC 5465 section 5.2 wants the data items behind changes of results, section 7 before them (erratum 4833). We do as the one says
    # where NOTIFY asked for items, and else as the other.
    if notified and findings.lines:
        yield b"".join(findings.lines)
    for attributes, ranges in _runs(connection, wanted):
        yield from fetched(connection, attributes, ranges)
    if findings.lines and not notified:
        yield b"".join(findings.lines)


def _runs(
    connection: Connection, wanted: Mapping[int, _Lists]
) -> Iterator[tuple[tuple[FetchAttribute, ...], list[tuple[int, int]]]]:
    """The data items, with half-open ranges of the positions of messages that they are wanted of."""
    lists: _Lists = ()
    ranges: list[tuple[int, int]] = []
    for uid in sorted(wanted):
        at = connection.box.view.position(uid)
        if at is None:
            continue
        if wanted[uid] != lists:
            if ranges:
                yield _joined(lists), ranges
            lists, ranges = wanted[uid], []
        if ranges and ranges[-1][1] == at:
            ranges[-1] = (ranges[-1][0], at + 1)
        else:
            ranges.append((at, at + 1))
    if ranges:
        yield _joined(lists), ranges


@lru_cache(maxsize=64)
def _joined(lists: _Lists) -> tuple[FetchAttribute, ...]:
    """All of these, each once."""
    if len(lists) == 1:
        return lists[0]
    return tuple(dict.fromkeys(_quiet(item) for items in lists for item in items))


def _quiet(item: FetchAttribute) -> FetchAttribute:
    r"""With PEEK or without, it sets no ``\Seen`` here, and has the same name."""
    return evolve(item, peek=True) if isinstance(item, BodySection | BinarySection) else item
