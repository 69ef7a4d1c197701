r"""Commands as a client gives them: a word and how its arguments are written.

A ``Request`` is written when its turn comes, since ENABLE and CAPABILITY change how things are written::

    Request("SETQUOTA", lambda writer: (writer.space(), writer.astring("user"), writer.write(b" (STORAGE 512)")))
    of_command(commands.Noop(b""))         # one of the classes that the server reads, too

Its octets are segments; after one the client may have to wait for a continuation, and then to be given the octets of a
message (``Upload``) that nobody wants to have in memory whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve, frozen

from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.request import NonSync, Outgoing, RequestWriter, render_command
from moxtwisted.imap.wire.request import flags as list_of_flags
from moxtwisted.imap.wire.url import IMAPURL
from moxtwisted.imap.wire.url import render as render_url

__all__ = [
    "NONSYNC_MINUS_OCTETS",
    "Request",
    "Segment",
    "SegmentWriter",
    "UploadPart",
    "UrlPart",
    "append",
    "of_command",
    "plain",
]

NONSYNC_MINUS_OCTETS = 4096
"""RFC 7888 section 5: the largest literal that LITERAL- lets a client send without waiting."""


@frozen
class Segment:
    """A piece of a command.

    :ivar waits: whether a continuation must come before anything else is sent.
    :ivar upload_octets: how many octets the caller gives behind it (``Client.feed``).
    """

    octets: bytes
    waits: bool = False
    upload_octets: int = 0


class SegmentWriter(RequestWriter):
    """A ``RequestWriter`` that knows uploads, spaces and lists.

    :param utf8_messages: whether UTF8=ACCEPT was enabled.
    """

    def __init__(
        self, literals: NonSync = NonSync.NONE, *, utf8: bool = False, utf8_messages: bool = False
    ) -> None:
        super().__init__(literals, utf8=utf8)
        self.utf8_messages = utf8_messages
        self._nonsync = literals
        self._done: list[Segment] = []

    def space(self) -> None:
        """Add a space."""
        self.write(b" ")

    def upload(self, size_octets: int, *, binary: bool = False) -> None:
        """Add a literal whose octets come later."""
        waits = self._nonsync is NonSync.NONE or (
            self._nonsync is NonSync.SMALL and size_octets > NONSYNC_MINUS_OCTETS
        )
        self._parts.append(b"%b{%d%b}\r\n" % (b"~" if binary else b"", size_octets, b"" if waits else b"+"))
        self._announces = False
        self._cut(Segment(b"", waits, size_octets))

    def _cut(self, last: Segment) -> None:
        for octets in self._segments:
            self._done.append(Segment(octets, waits=True))
        self._done.append(evolve(last, octets=b"".join(self._parts)))
        self._segments, self._parts = [], []

    def values(self, items: Sequence[str | bytes]) -> None:
        """Add a list of astrings in parentheses."""
        self.write(b"(")
        for index, item in enumerate(items):
            if index:
                self.space()
            self.astring(item)
        self.write(b")")

    def nstring(self, value: bytes | None) -> None:
        """Add a string of any octets, or NIL."""
        if value is None:
            self.write(b"NIL")
        elif b"\0" in value:
            self.literal(value, binary=True)
        else:
            written = render.string(value, utf8=self.utf8)
            if written.startswith(b"{"):
                self.literal(value)
            else:
                self.write(written)

    def segments(self) -> list[Segment]:
        """All of it, with the CRLF at the end.

        :raise ValueError: as of ``end``.
        """
        self.end()
        self._parts.append(b"\r\n")
        self._cut(Segment(b""))
        return self._done


def _nothing(_writer: SegmentWriter) -> None:
    return None


@frozen
class Request:
    """A command without its tag.

    :ivar word: as ``"UID FETCH"``.
    :ivar write: adds the arguments, each with the space before it.
    :ivar command: the class that the server reads, if it is one of those.
    """

    word: str
    write: Callable[[SegmentWriter], Any] = _nothing
    command: c.Command | None = None

    def segments(
        self, tag: bytes, literals: NonSync, *, utf8: bool, utf8_messages: bool = False
    ) -> list[Segment]:
        """What is to be sent."""
        if self.command is not None:
            pieces = render_command(evolve(self.command, tag=tag), literals=literals, utf8=utf8)
            return [Segment(piece, waits=index + 1 < len(pieces)) for index, piece in enumerate(pieces)]
        writer = SegmentWriter(literals, utf8=utf8, utf8_messages=utf8_messages)
        writer.write(b"%b %b" % (tag, self.word.encode("ascii")))
        self.write(writer)
        return writer.segments()


def of_command(command: c.Command) -> Request:
    """A request for one of ``moxtwisted.imap.wire.commands``; its tag does not matter."""
    return Request(command.name, command=command)


def plain(word: str, arguments: bytes = b"") -> Request:
    """A request whose arguments are octets already."""
    return Request(word, lambda writer: writer.write(b" " + arguments if arguments else b""))


@frozen
class UploadPart:
    """A message, or a part of one for CATENATE, whose octets come later.

    :ivar size_octets: exactly.
    :ivar binary: literal8: it may have NUL (RFC 3516).
    :ivar utf8: its header has UTF-8.
    """

    size_octets: int
    binary: bool = False
    utf8: bool = False


@frozen
class UrlPart:
    """A part for CATENATE that is on the server already (RFC 4469).

    :ivar url: ``IMAPURL(mailbox, uid, section)``, or its text.
    """

    url: str | IMAPURL


def append(
    mailbox: str,
    messages: Sequence[tuple[Sequence[str], datetime | None, bytes | Sequence[bytes | UploadPart | UrlPart]]],
    *,
    word: str = "APPEND",
    number: int = 0,
) -> Request:
    """APPEND, of several messages with MULTIAPPEND (RFC 3502); or REPLACE (RFC 8508) of ``number``.

    :param messages: flags, date and octets of each; a list of parts is CATENATE, but for a single ``UploadPart``.
    """

    def write(writer: SegmentWriter) -> None:
        if number:
            writer.write(b" %d" % number)
        writer.space()
        writer.mailbox(mailbox)
        for flags, received, content in messages:
            if flags:
                writer.write(b" " + list_of_flags(flags))
            if received is not None:
                if received.utcoffset() is None:
                    raise ValueError("a date without a time zone")
                writer.write(b" " + render.date_time(received))
            writer.space()
            _content(writer, content)

    return Request(word, write)


def _content(writer: SegmentWriter, content: bytes | Sequence[bytes | UploadPart | UrlPart]) -> None:
    if isinstance(content, bytes):
        _part(writer, content)
        return
    if len(content) == 1 and isinstance(content[0], UploadPart):
        _part(writer, content[0])
        return
    writer.write(b"CATENATE (")
    for index, part in enumerate(content):
        if index:
            writer.space()
        if isinstance(part, UrlPart):
            writer.write(b"URL ")
            writer.astring(part.url if isinstance(part.url, str) else render_url(part.url))
        else:
            _part(writer, part, lead=b"TEXT ")
    writer.write(b")")


def _part(writer: SegmentWriter, part: bytes | UploadPart, *, lead: bytes = b"") -> None:
    if isinstance(part, UploadPart):
        _upload(writer, part, lead)
    else:
        _message(writer, part, lead)


# RFC 9755 section 4: once UTF8=ACCEPT is enabled, a header that has UTF-8 goes into UTF8 (…), which in CATENATE stands in the place of
# TEXT (…). IMAP4rev2 has no such form, and takes these octets as they are (RFC 9051 section 6.3.12).


def _upload(writer: SegmentWriter, part: UploadPart, lead: bytes) -> None:
    if writer.utf8_messages and part.utf8:
        writer.write(b"UTF8 (")
        writer.upload(part.size_octets, binary=True)
        writer.write(b")")
        return
    writer.write(lead)
    writer.upload(part.size_octets, binary=part.binary)


def _message(writer: SegmentWriter, octets: bytes, lead: bytes) -> None:
    header = octets.partition(b"\r\n\r\n")[0]
    if writer.utf8_messages and not header.isascii():
        writer.write(b"UTF8 (")
        writer.literal(octets, binary=True)
        writer.write(b")")
        return
    writer.write(lead)
    writer.literal(octets, binary=b"\0" in octets)


def outgoing(mailbox: str, messages: Sequence[Outgoing]) -> Request:
    """APPEND of messages in memory."""
    return append(mailbox, [(message.flags, message.received, message.data) for message in messages])
