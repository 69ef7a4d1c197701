"""Reading octets in given cuts, for the tests of the reader."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from moxtwisted.imap.wire.commands import AppendMessage, Command
from moxtwisted.imap.wire.parser import AppendChunk, BadCommand, CommandReader, Event, Limits


def read(reader: CommandReader, *pieces: bytes, refuse: bool = False) -> list[Event]:
    """All events of the pieces; messages are accepted, or refused."""
    events: list[Event] = []
    for piece in pieces:
        reader.receive(piece)
        while True:
            event = reader.next()
            if event is None:
                break
            events.append(event)
            if isinstance(event, AppendMessage):
                if refuse:
                    reader.refuse_message()
                else:
                    reader.accept_message()
    return events


def one(text: bytes, *, utf8: bool = False) -> Command | BadCommand:
    """The one command of a text with non-synchronising literals."""
    reader = CommandReader()
    reader.utf8 = utf8
    events = read(reader, text)
    if len(events) != 1 or not isinstance(events[0], Command | BadCommand) or reader.buffered_octets:
        raise AssertionError(events)
    return events[0]


def joined(events: Iterable[Event]) -> list[Event]:
    """Events with the chunks of a message put together, and without those of a message that went bad."""
    found: list[Event] = []
    for event in events:
        if (
            isinstance(event, AppendChunk)
            and found
            and isinstance(found[-1], AppendChunk)
            and not found[-1].last
        ):
            found[-1] = AppendChunk(found[-1].data + event.data, event.last)
        else:
            if (
                isinstance(event, BadCommand)
                and found
                and isinstance(found[-1], AppendChunk)
                and not found[-1].last
            ):
                found.pop()
            found.append(event)
    return found


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    """The text in pieces."""
    edges = sorted({0, len(text), *[place % (len(text) + 1) for place in places]})
    return [text[a:b] for a, b in pairwise(edges)]


SMALL = Limits(
    line_octets=100, literal_octets=50, command_octets=200, literals=5, tag_octets=10, skip_octets=1000
)
