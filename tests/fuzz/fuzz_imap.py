"""Fuzz the IMAP command reader, the response reader and the names of mailboxes.

Cuts must not change what is read, and what was read as a command, written and read again must be the same command.
"""

from __future__ import annotations

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire.mailboxname import ListPattern, MailboxNameError, decode_utf7, encode_utf7, validate
from moxtwisted.imap.wire.parser import CommandReader, Event, Limits
from moxtwisted.imap.wire.request import NonSync, render_command
from moxtwisted.imap.wire.responses import ResponseReader
from tests.fuzz.run import alone
from tests.fuzz.watching import within
from tests.imap.wire.reading import cut, joined, read

LIMITS = Limits(line_octets=2000, literal_octets=500, command_octets=4000, literals=20, skip_octets=5000)


def events_of(pieces: list[bytes], *, utf8: bool, refuse: bool) -> list[Event]:
    """What the reader makes of them."""
    reader = CommandReader(LIMITS)
    reader.utf8 = utf8
    return joined(read(reader, *pieces, refuse=refuse))


def written_again(command: c.Command, *, utf8: bool) -> None:
    """A command survives being written and read."""
    if isinstance(command, c.Append | c.Done | c.Replace):
        return
    text = b"".join(render_command(command, literals=NonSync.ALL, utf8=utf8))
    reader = CommandReader()
    reader.utf8 = utf8
    again = read(reader, text)
    if again != [command]:
        raise AssertionError((command, text, again))


def responses(data: bytes) -> None:
    """The response reader takes anything."""
    reader = ResponseReader()
    reader.receive(data)
    while reader.next() is not None:
        pass


def names(data: bytes) -> None:
    """Names decode to what encodes to them."""
    try:
        name = decode_utf7(data)
    except MailboxNameError:
        return
    if data.isascii() and data.decode("ascii").isprintable() and encode_utf7(name) != data:
        raise AssertionError(data)
    ListPattern(name).matches(name)
    try:
        validate(name)
    except MailboxNameError:
        return


def one(data: bytes) -> None:
    """Try one input; its first octet chooses the modes and the cuts."""
    if not data:
        return
    choice, text = data[0], data[1:]
    utf8, refuse = bool(choice & 1), bool(choice & 2)
    whole = within(1000 + 50 * len(data), data, lambda: events_of([text], utf8=utf8, refuse=refuse))
    within(1000 + 50 * len(data), data, lambda: responses(text))
    within(1000 + 50 * len(data), data, lambda: names(text))
    places = range(choice >> 2, len(text), (choice >> 2) + 1)
    if events_of(cut(text, places), utf8=utf8, refuse=refuse) != whole:
        raise AssertionError((text, whole))
    for event in whole:
        if isinstance(event, c.Command):
            written_again(event, utf8=utf8)


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
