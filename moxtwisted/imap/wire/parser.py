r"""Reading what a client sends: octets in, commands out, whatever the cuts between packets.

Give octets with ``receive``, take events with ``next`` until it returns ``None``::

    reader = CommandReader()
    reader.receive(b"a1 NOOP\r\na2 LOGIN {5}\r\n")
    reader.next()     # Noop(tag=b'a1')
    reader.next()     # NeedContinuation(tag=b'a2', size_octets=5): send "+ \r\n"
    reader.receive(b"alice secret\r\n")
    reader.next()     # Login(tag=b'a2', username='alice')
    reader.next()     # None: more octets, please

The messages of APPEND go through without being kept. Each is announced as
`AppendMessage <moxtwisted.imap.wire.commands.AppendMessage>`; ``next`` then returns ``None`` until the answer
``accept_message()`` or ``refuse_message()``. After acceptance come ``NeedContinuation`` if the client waits for it,
``AppendChunk`` with the octets, the last one marked, and then the next announcement or the command
`Append <moxtwisted.imap.wire.commands.Append>`, the time to commit. ``BadCommand`` with the same tag instead means: forget it all.

A caller that grants IDLE or needs another SASL response says so (``expect_done``, ``expect_sasl``) before it calls ``next`` again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from attrs import field, frozen

from moxtwisted.imap.wire.appendgrammar import AppendText, CatenateBegin, append_text
from moxtwisted.imap.wire.commands import Append, AppendMessage, Command, Done, Replace
from moxtwisted.imap.wire.grammar import (
    COMMANDS,
    UID_COMMANDS,
    ArgumentReader,
    decode_base64,
    uid_arguments,
)
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.mailboxgrammar import MAX_VALUE_OCTETS, value_too_large
from moxtwisted.imap.wire.replacegrammar import announces_replacement, replaced
from moxtwisted.imap.wire.skipping import Skipper

__all__ = [
    "AppendChunk",
    "BadCommand",
    "CommandReader",
    "Event",
    "Limits",
    "NeedContinuation",
    "SaslCancelled",
    "SaslResponse",
    "TooMuch",
]


@frozen
class Limits:
    """What a client may make the server hold, each for one command. The defaults are those of mox.

    :ivar line_octets: of a line without its literals.
    :ivar literal_octets: of a literal that is no message.
    :ivar command_octets: of all lines and literals but messages.
    :ivar literals: how many; also how many messages an APPEND may have.
    :ivar tag_octets: of the tag (our choice).
    :ivar skip_octets: how much of a refused command is read and thrown away before ``TooMuch`` (our choice).
    :ivar nonsync_literal_octets: of a literal sent without waiting: ``None`` for any (LITERAL+), 4096 when the server
        announces LITERAL- (RFC 7888 section 5).
    """

    line_octets: int = 16 * 1024
    literal_octets: int = 100 * 1024
    command_octets: int = 1024 * 1024
    literals: int = 1000
    tag_octets: int = 128
    skip_octets: int = 16 * 1024 * 1024
    nonsync_literal_octets: int | None = None


@frozen
class NeedContinuation:
    """The client waits for ``+`` before it sends a literal. Sending it is all there is to do."""

    tag: bytes
    size_octets: int


@frozen
class AppendChunk:
    """Octets of the message that was accepted.

    :ivar last: whether the message is complete; a message without octets has one empty, last chunk.
    """

    data: bytes = field(repr=False)
    last: bool


@frozen
class BadCommand:
    """A command that cannot be carried out; its octets are read over. Answer with the condition and go on.

    :ivar tag: of the command, or ``None`` when it has none that could be read: the answer is untagged.
    :ivar text: what is wrong, ASCII.
    :ivar code: response code without brackets, or empty.
    :ivar condition: ``"BAD"`` or ``"NO"``.
    :ivar saving: whether it is a search whose result was to be saved.
    """

    tag: bytes | None
    text: str
    code: str = ""
    condition: str = "BAD"
    saving: bool = False


@frozen
class SaslResponse:
    """The client's answer to a SASL challenge, decoded."""

    data: bytes = field(repr=False)


@frozen
class SaslCancelled:
    """The client ended AUTHENTICATE with ``*``: a tagged BAD is due (RFC 9051 section 6.2.2)."""


@frozen
class TooMuch:
    """More octets of a refused command than we read over: say BYE and close. Nothing comes after this."""

    text: str


Event = (
    Command
    | AppendMessage
    | AppendChunk
    | NeedContinuation
    | BadCommand
    | SaslResponse
    | SaslCancelled
    | TooMuch
)

_HEAD = re.compile(rb'([^\x00-\x20(){%*"\\+\x7f-\xff]+) ([A-Za-z]+)(?= |$)')
_TAG = re.compile(rb'([^\x00-\x20(){%*"\\+\x7f-\xff]+)(?: |$)')
_MARK = re.compile(rb"(~?)\{([0-9]{1,20})(\+?)\}$")


# Of APPEND: the text before a message is read anew with each literal that is an argument in it.
_MOST_ARGUMENTS = 100

# What comes next; places in a tuple, since members of an Enum are slow to look up.
_LINE, _LITERAL, _ANNOUNCED, _MESSAGE, _SKIP, _DEAD = range(6)


class _Mode(Enum):
    COMMAND = 1
    SASL = 2
    IDLE = 3


def _check_literal(limits: Limits, name: bytes, octets: int, command_octets: int, literals: int) -> None:
    """Whether a literal that is an argument may come, after so many others."""
    if octets > MAX_VALUE_OCTETS and name == b"SETMETADATA":
        raise value_too_large()
    if octets > limits.literal_octets:
        raise CommandError("literal is too long", "TOOBIG")
    if command_octets > limits.command_octets:
        raise CommandError("command is too long", "TOOBIG")
    if literals >= limits.literals:
        raise CommandError("too many literals", "TOOBIG")


def _completed(messages: tuple[AppendMessage, ...], steps: tuple[Any, ...]) -> Command:
    """The command whose messages these were."""
    first = messages[0]
    if first.replaces is not None:
        return Replace(first.tag, first.replaces, first.mailbox, first, first.uid, steps)
    return Append(first.tag, first.mailbox, messages, steps)


class CommandReader:
    """An incremental reader of commands.

    :ivar utf8: set it when the client enabled IMAP4rev2 or UTF8=ACCEPT: quoted strings and mailbox names are UTF-8.
    :ivar limits: may be replaced between commands, say after login.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        commands: Mapping[bytes, ArgumentReader] = COMMANDS,
        uid_commands: Mapping[bytes, ArgumentReader] = UID_COMMANDS,
    ) -> None:
        self.limits = limits or Limits()
        self.utf8 = False
        self._commands = {**commands, b"UID": uid_arguments(uid_commands)}
        self._buffer = b""
        self._position = 0
        self._searched = 0
        self._state = _LINE
        self._mode = _Mode.COMMAND
        self._mode_tag = b""
        self._skipper = Skipper(0)
        self._remaining = 0
        self._steps = (self._line, self._literal, self._wait, self._message, self._skip, self._wait)
        self._progress = False
        self._reset()

    # -- for the caller ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take octets from the client. What ``next`` was not asked for is kept: stop reading meanwhile."""
        if self._position == len(self._buffer):
            self._buffer = data
            self._searched = 0
        else:
            self._buffer = self._buffer[self._position :] + data
            self._searched -= self._position
        self._position = 0

    @property
    def buffered_octets(self) -> int:
        """How many octets wait to be read. After STARTTLS it must be 0 (RFC 9051 section 6.2.1: injection)."""
        return len(self._buffer) - self._position

    def discard(self) -> bytes:
        """Forget what is buffered, which is returned, and any command that is under way."""
        rest, self._buffer = self._buffer[self._position :], b""
        self._position = self._searched = 0
        self._state = _LINE
        self._mode = _Mode.COMMAND
        self._reset()
        return rest

    def expect_sasl(self, tag: bytes) -> None:
        """The next line is a SASL response for the AUTHENTICATE with that tag."""
        self._mode, self._mode_tag = _Mode.SASL, tag

    def expect_done(self, tag: bytes) -> None:
        """The next line is the DONE of the IDLE with that tag."""
        self._mode, self._mode_tag = _Mode.IDLE, tag

    def accept_message(self) -> None:
        """Have the octets of the message that was announced."""
        if self._state == _ANNOUNCED:
            self._state = _MESSAGE
            self._continuation_due = self._messages[-1].synchronising

    def refuse_message(self) -> None:
        """Do without the message and the rest of its command, which the caller answers now.

        Octets that the client sends anyway are read over, or are ``TooMuch``.
        """
        if self._state != _ANNOUNCED:
            return
        message = self._messages[-1]
        self._reset()
        self._state = _LINE
        if not message.synchronising:
            self._start_skipping(message.size_octets)

    def next(self) -> Event | None:
        """The next event, or ``None`` when it takes more octets or an answer of the caller."""
        while True:
            self._progress = False
            event = self._steps[self._state]()
            if event is not None or not self._progress:
                return event

    # -- lines ------------------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        """Nothing of a command was read yet."""
        self._tag: bytes | None = None
        self._name = b""
        self._behind_name = 0
        self._text: list[bytes] = []
        self._literals: list[bytes] = []
        self._octets = 0
        self._parts: list[bytes] = []
        self._messages: list[AppendMessage] = []
        self._utf8_open = False
        self._catenating = False
        self._begun = 0
        self._continuation_due = False

    def _wait(self) -> None:
        return None

    def _line(self) -> Event | None:
        """Read a line, if there is a whole one."""
        buffer, start = self._buffer, self._position
        end = buffer.find(b"\n", max(start, self._searched))
        limit = self.limits.line_octets
        if end < 0:
            self._searched = len(buffer)
            if len(buffer) - start > limit + 1:  # one for the CR of a line that is just short enough
                return self._refuse_line(buffer[start : start + limit])
            return None
        # RFC 9051 section 2.2 has CRLF; we also take LF alone, which people type. CR elsewhere is no token's octet.
        line = buffer[start : end - 1] if end > start and buffer[end - 1] == 13 else buffer[start:end]
        if len(line) > limit:
            return self._refuse_line(buffer[start : start + limit])
        self._position = end + 1
        if self._mode is not _Mode.COMMAND:
            return self._answer(line)
        if line.endswith(b"}"):
            mark = _MARK.search(line)
            if mark is not None:
                return self._announcement(line, mark)
        if self._messages:
            return self._after_message(line)
        if not self._text:
            return self._parse(line)
        self._text.append(line)
        return self._parse_parts()

    def _refuse_line(self, beginning: bytes) -> BadCommand:
        """A line over the limit: read over the rest of it."""
        tag = self._tag or self._read_tag(beginning)
        if self._mode is not _Mode.COMMAND:
            tag = self._mode_tag
            self._mode = _Mode.COMMAND
        self._reset()
        self._start_skipping(None)
        return BadCommand(tag, "line is too long")

    def _read_tag(self, line: bytes) -> bytes | None:
        match = _TAG.match(line)
        if match is None or match.end(1) > self.limits.tag_octets:
            return None
        return match.group(1)

    def _answer(self, line: bytes) -> Event:
        """A line in answer to a continuation: of AUTHENTICATE or IDLE."""
        mode, self._mode = self._mode, _Mode.COMMAND
        if mode is _Mode.IDLE:
            # RFC 2177 section 3: the one thing that may be said.
            if line.upper() == b"DONE":
                return Done(self._mode_tag)
            return BadCommand(self._mode_tag, "expected DONE")
        if line == b"*":
            return SaslCancelled()
        try:
            return SaslResponse(decode_base64(line))
        except CommandError as error:
            return BadCommand(self._mode_tag, error.text)

    # -- commands ---------------------------------------------------------------------------------------------------

    def _head(self, line: bytes) -> tuple[bytes, ArgumentReader, int]:
        """Tag, reader and the place behind the name.

        :raise CommandError: the tag, if there is one, is in ``_tag``.
        """
        match = _HEAD.match(line)
        if match is None or match.end(1) > self.limits.tag_octets:
            self._tag = self._read_tag(line)
            if self._tag is None:
                raise CommandError("expected a tag and a command")
            raise CommandError("expected a command")
        self._tag, name = match.groups()
        self._name = name.upper()
        reader = self._commands.get(self._name)
        if reader is None:
            raise CommandError("unknown command")
        self._behind_name = match.end()
        return self._tag, reader, self._behind_name

    def _parse(self, line: bytes) -> Event:
        """A command that is one line."""
        try:
            tag, reader, position = self._head(line)
            if not self.utf8 and not line.isascii():
                raise CommandError("8-bit octets need UTF8=ACCEPT or IMAP4rev2 enabled")
            event: Event = reader(tag, Cursor(line, position, utf8=self.utf8))
        except CommandError as error:
            event = BadCommand(self._tag, error.text, error.code, error.condition, error.saving)
        self._tag = None
        return event

    def _cursor(self, text: bytes, position: int) -> Cursor:
        return Cursor(text, position, iter(self._literals), utf8=self.utf8)

    def _parse_parts(self) -> Event:
        """A command with literals, after its last line."""
        text = b"\r\n".join(self._text)
        try:
            tag, reader, position = self._head(text)
            if not self.utf8 and not text.isascii():
                raise CommandError("8-bit octets need a literal, or UTF8=ACCEPT or IMAP4rev2 enabled")
            event: Event = reader(tag, self._cursor(text, position))
        except CommandError as error:
            event = BadCommand(self._tag, error.text, error.code, error.condition, error.saving)
        self._reset()
        return event

    # -- literals ---------------------------------------------------------------------------------------------------

    def _announcement(self, line: bytes, mark: re.Match[bytes]) -> Event | None:
        """A line that ends with the announcement of a literal."""
        size = int(mark.group(2))
        synchronising = not mark.group(3)
        try:
            if not self._text and not self._messages:
                self._head(line)
            most = self.limits.nonsync_literal_octets
            if most is not None and size > most and not synchronising:
                # RFC 7888 section 5: with LITERAL- the client must wait when it is more than 4096 octets.
                raise CommandError(f"literal of more than {most} octets without waiting", "TOOBIG")
            begun = self._name == b"APPEND" or bool(self._messages)
            if begun or announces_replacement(self._text[0] if self._text else line):
                message = self._announced_message(line[: mark.start()], size, mark)
                if message is not None:
                    self._messages.append(message)
                    self._state = _ANNOUNCED
                    return message
            octets = self._octets + len(line) + size
            _check_literal(self.limits, self._name, size, octets, len(self._literals))
        except CommandError as error:
            event = BadCommand(self._tag, error.text, error.code, error.condition)
            self._reset()
            if not synchronising:
                self._start_skipping(size)
            return event
        self._text.append(line)
        self._octets += len(line) + size
        self._remaining = size
        self._state = _LITERAL
        self._progress = True
        return NeedContinuation(self._tag or b"", size) if synchronising else None

    def _literal(self) -> None:
        """Collect a literal that is an argument."""
        start = self._position
        chunk = self._buffer[start : start + self._remaining]
        self._position = start + len(chunk)
        self._remaining -= len(chunk)
        if chunk:
            self._parts.append(chunk)
        if not self._remaining:
            self._literals.append(b"".join(self._parts))
            self._parts = []
            self._state = _LINE
            self._progress = True

    # -- APPEND -----------------------------------------------------------------------------------------------------

    def _announced_message(self, before: bytes, size: int, mark: re.Match[bytes]) -> AppendMessage | None:
        """The message whose literal is announced behind ``before``; ``None`` when it is the mailbox's name."""
        index = len(self._messages)
        appends = self._name == b"APPEND"
        if index >= self.limits.literals:
            raise CommandError("too many messages", "TOOBIG")
        if len(self._literals) >= _MOST_ARGUMENTS:
            raise CommandError("too many URLs as literals", "TOOBIG")
        # Flags and dates of all messages are kept until the end of the command.
        self._octets += len(before)
        if self._octets > self.limits.command_octets:
            raise CommandError("command is too long", "TOOBIG")
        text = b"\r\n".join([*self._text, before])
        number = None
        if index:
            number = self._messages[0].replaces
            cursor = self._cursor(self._close_utf8(text), 0)
        else:
            cursor = self._cursor(text, self._behind_name)
            if not appends:
                number = replaced(cursor, uid=self._name == b"UID")
        found = self._between(cursor, literal=True)
        if found is None:
            return None
        binary = bool(mark.group(1))
        if found.utf8 and not binary:
            raise CommandError("UTF8 needs a literal8")
        self._utf8_open = found.utf8
        self._remaining = size
        self._text, self._literals = [], []
        return AppendMessage(
            self._tag or b"",
            found.mailbox if found.mailbox is not None else self._messages[0].mailbox,
            size,
            found.flags,
            found.received,
            binary,
            found.utf8,
            not mark.group(3),
            index,
            number,
            self._name == b"UID",
            tuple(found.steps),
            found.is_part,
        )

    def _between(self, cursor: Cursor, *, literal: bool) -> AppendText | None:
        """The text before a literal of a message, or behind the last one."""
        if not self.utf8 and not cursor.text.isascii():
            raise CommandError("8-bit octets need a literal, or UTF8=ACCEPT or IMAP4rev2 enabled")
        found = append_text(cursor, first=not self._messages, catenating=self._catenating, literal=literal)
        if found is None:
            return None
        if found.steps:
            self._begun += sum(isinstance(step, CatenateBegin) for step in found.steps)
        self._begun += literal and not found.is_part
        if self._begun > 1 and self._name != b"APPEND":
            # RFC 8508 section 4.7: one message is replaced by one.
            raise CommandError("one message only")
        self._catenating = found.catenating
        return found

    def _close_utf8(self, text: bytes) -> bytes:
        """The text behind a message without the parenthesis that belongs to ``UTF8 (``."""
        if not self._utf8_open:
            return text
        if not text.startswith(b")"):
            raise CommandError("expected a closing parenthesis")
        return text[1:]

    def _message(self) -> Event | None:
        """Hand out octets of a message."""
        message = self._messages[-1]
        if self._continuation_due:
            self._continuation_due = False
            self._progress = True
            return NeedContinuation(message.tag, message.size_octets)
        start = self._position
        if start == len(self._buffer) and self._remaining:
            return None
        chunk = self._buffer[start : start + self._remaining]
        self._position = start + len(chunk)
        self._remaining -= len(chunk)
        if not message.binary and b"\0" in chunk:
            # RFC 9051 section 9: CHAR8 has no NUL; RFC 3516 section 4.4: a literal8 may have it.
            remaining = self._remaining
            self._reset()
            self._start_skipping(remaining)
            return BadCommand(message.tag, "NUL in a message that is no literal8")
        if not self._remaining:
            self._state = _LINE
        return AppendChunk(chunk, not self._remaining)

    def _after_message(self, line: bytes) -> Event:
        """The last line of APPEND."""
        messages = tuple(self._messages)
        steps: tuple[Any, ...] = ()
        try:
            if line or self._text or self._utf8_open or self._catenating:
                text = self._close_utf8(b"\r\n".join([*self._text, line]))
                found = self._between(self._cursor(text, 0), literal=False)
                steps = tuple(found.steps) if found is not None else ()
            event: Event = _completed(messages, steps)
        except CommandError as error:
            event = BadCommand(messages[0].tag, error.text)
        self._reset()
        return event

    # -- reading over -----------------------------------------------------------------------------------------------

    def _start_skipping(self, literal_octets: int | None) -> None:
        """Read over the rest of the command: from inside a line, or a literal that the client sends anyway."""
        self._skipper = Skipper(self.limits.skip_octets, literal_octets)
        self._state = _SKIP

    def _skip(self) -> Event | None:
        skipper = self._skipper
        self._position = skipper.skip(self._buffer, self._position)
        if skipper.exceeded:
            return self._give_up()
        if skipper.done:
            self._state = _LINE
            self._progress = True
        return None

    def _give_up(self) -> TooMuch:
        self._state = _DEAD
        self._buffer = b""
        self._position = self._searched = 0
        return TooMuch("too much to read over")
