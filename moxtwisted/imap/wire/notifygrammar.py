"""NOTIFY, read and written (RFC 5465 section 8).

::

    a1 NOTIFY SET STATUS (selected (MessageNew (uid) MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))
    a2 NOTIFY NONE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moxtwisted.imap.wire.commands import Notify
from moxtwisted.imap.wire.events import MESSAGE_EVENTS, Event, EventGroup
from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.fetchgrammar import fetch_attributes
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.mailboxfilter import FilterKind, filter_names

if TYPE_CHECKING:
    from moxtwisted.imap.wire.request import RequestWriter

__all__ = ["MAX_EVENTS", "MAX_GROUPS", "notify_arguments", "write_group", "write_notify"]

MAX_GROUPS = 100
"""The most groups of events of one NOTIFY (our choice: a client has one for the selected mailbox and a few others)."""

MAX_EVENTS = 50
"""The most events of one group."""

# RFC 7377 section 2.2: SUBTREE-ONE is for ESEARCH only.
_FILTERS = {kind.value.encode("ascii"): kind for kind in FilterKind if kind is not FilterKind.SUBTREE_ONE}
_EVENTS = {event.value.upper().encode("ascii"): event for event in Event}


def _events(
    cursor: Cursor,
) -> tuple[frozenset[Event], tuple[FetchAttribute, ...], tuple[str, ...]]:
    """``events``: known ones, the attributes of MessageNew, and names that are not known."""
    if not cursor.skip(b"("):
        if cursor.keyword("events in parentheses, or NONE") != b"NONE":
            raise CommandError("expected events in parentheses, or NONE")
        return frozenset(), (), ()
    known: set[Event] = set()
    unknown: dict[str, None] = {}
    attributes: tuple[FetchAttribute, ...] = ()
    while True:
        name = cursor.atom("an event")
        event = _EVENTS.get(name.upper())
        if event is None:
            unknown[name.decode("ascii")] = None
        else:
            known.add(event)
        if event is Event.MESSAGE_NEW and cursor.looking_at(b" ("):
            cursor.space()
            attributes = fetch_attributes(cursor)
        if len(known) + len(unknown) > MAX_EVENTS:
            raise CommandError("too many events")
        if cursor.skip(b")"):
            return frozenset(known), attributes, tuple(unknown)
        cursor.space()


def _group(cursor: Cursor) -> EventGroup:
    cursor.expect(b"(", "a group of events")
    kind = _FILTERS.get(cursor.keyword("which mailboxes"))
    if kind is None:
        raise CommandError("unknown kind of mailboxes")
    cursor.space()
    names: tuple[str, ...] = ()
    if kind.has_names:
        names = filter_names(cursor)
        cursor.space()
    events, attributes, unknown = _events(cursor)
    cursor.expect(b")", "the end of the group")
    _check(kind, events, attributes)
    return EventGroup(kind, names, events, attributes, unknown)


def _check(kind: FilterKind, events: frozenset[Event], attributes: tuple[FetchAttribute, ...]) -> None:
    """RFC 5465 sections 5 and 6.1: what must stand together, and what must not."""
    both = {Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE}
    if events & MESSAGE_EVENTS and not events >= both:
        raise CommandError(
            "MessageNew and MessageExpunge go together, and other events of messages need them"
        )
    if kind.of_selected and not events <= MESSAGE_EVENTS:
        raise CommandError("the selected mailbox has events of messages only")
    if attributes and not kind.of_selected:
        raise CommandError("data items are told of the selected mailbox only")


def notify_arguments(tag: bytes, cursor: Cursor) -> Notify:
    """What follows NOTIFY."""
    cursor.space()
    word = cursor.keyword("SET or NONE")
    if word == b"NONE":
        cursor.end()
        return Notify(tag)
    if word != b"SET":
        raise CommandError("expected SET or NONE")
    cursor.space()
    status = not cursor.looking_at(b"(")
    if status:
        if cursor.keyword("STATUS or a group of events") != b"STATUS":
            raise CommandError("expected STATUS or a group of events")
        cursor.space()
    groups = [_group(cursor)]
    while not cursor.at_end():
        cursor.space()
        groups.append(_group(cursor))
        if len(groups) > MAX_GROUPS:
            raise CommandError("too many groups of events")
    cursor.end()
    if sum(group.mailboxes.of_selected for group in groups) > 1:
        # Section 6.1
        raise CommandError("the selected mailbox can have one group only")
    return Notify(tag, tuple(groups), status)


def write_notify(writer: RequestWriter, command: Notify) -> None:
    """What follows NOTIFY, for a client."""
    if command.groups is None:
        writer.write(b" NONE")
        return
    writer.write(b" SET STATUS" if command.status else b" SET")
    for group in command.groups:
        write_group(writer, group)


def write_group(writer: RequestWriter, group: EventGroup) -> None:
    """One of the groups of events, with the space before it.

    :raise ValueError: NOTIFY has no such one.
    """
    if group.mailboxes is FilterKind.SUBTREE_ONE:
        raise ValueError("SUBTREE-ONE is for ESEARCH only")
    writer.write(b" (" + group.mailboxes.value.encode("ascii"))
    if group.mailboxes.has_names:
        writer.write(b" ")
        writer.some_mailboxes(group.names)
    writer.write(b" " + _written(group) + b")")


def _written(group: EventGroup) -> bytes:
    events = [event.value.encode("ascii") for event in Event if event in group.events]
    if group.attributes:
        items = b" ".join(item.request() for item in group.attributes)
        events[events.index(b"MessageNew")] = b"MessageNew (%b)" % items
    events += [name.encode("ascii") for name in group.unknown]
    return b"(" + b" ".join(events) + b")" if events else b"NONE"
