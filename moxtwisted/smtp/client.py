"""The client machine: commands in, octets out; octets in, replies out, each with the command it belongs to.

::

    machine = ClientMachine()
    machine.receive(b"220 mx.example ESMTP\\r\\n")
    machine.next_event()                          # Replied(Command(''), Reply(220, ...))
    wire = machine.send(hello("EHLO", "client.example"))
    machine.receive(b"250-mx.example\\r\\n250 PIPELINING\\r\\n")
    machine.next_event()
    machine.extensions                            # {'PIPELINING': ''}

Replies are matched with commands in their order, so that commands may be pipelined (RFC 2920) where the server offers it. What no
SMTP server may say raises ``ServerRefused``: lines too long or too many, codes that differ within a reply; ``OutOfStep`` where replies and
commands do not fit together any more: a reply to nothing, a code that this command cannot have.

Where we take more than the grammar allows: lines that end in LF alone; ``250`` without a space and text; lines of more than
512 octets (up to ``MAX_LINE_OCTETS``); octets beyond ASCII in the text.
"""

from __future__ import annotations

import re
from collections import deque

from attrs import frozen

from moxtwisted.errors import MailError
from moxtwisted.smtp.clientcommands import Command
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.transfer import MisuseError

__all__ = ["GREETING", "ClientMachine", "OutOfStep", "Replied", "ServerRefused", "Unsolicited"]

MAX_LINE_OCTETS = 4096
MAX_REPLY_LINES = 128

GREETING = Command("", b"")

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?\Z", re.DOTALL)
# RFC 2034 section 4: the class of the enhanced code is the first digit of the reply code.
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |\Z)")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")

#: RFC 5321 section 4.3.2: which codes below 400 answer a command, where it matters to us. Anything else there is the answer to another
#: command, from a server that said something twice or left something out: taken for consent it would lose mail.
_CONSENTS = {
    "": frozenset({220}),
    "STARTTLS": frozenset({220}),
    "AUTH": frozenset({235, 334}),
    "DATA": frozenset({354}),
}
_COMPLETED = frozenset({"EHLO", "HELO", "LHLO", "MAIL", "RCPT", "RSET", "BDAT", "."})


class ServerRefused(MailError):  # noqa: N818  (what it says is a reply)
    """The server does not speak SMTP; there is no going on with this connection."""

    reply_code = 451
    enhanced_code = "4.5.0"
    public_text = "the next server does not speak SMTP"


class OutOfStep(ServerRefused):
    """What the server says does not fit what it was asked: earlier replies may have belonged to other commands than we thought."""


def _fits(command: Command, code: int) -> bool:
    """Whether a server that keeps step can answer so."""
    if code >= 400:
        return True
    consents = _CONSENTS.get(command.verb)
    if consents is not None:
        return code in consents
    return command.verb not in _COMPLETED or code < 300 or (code == 353 and command.more > 0)


@frozen
class Replied:
    """A reply to a command (to the greeting: ``GREETING``)."""

    command: Command
    reply: Reply


@frozen
class Unsolicited:
    """A refusal of nothing in particular: 421 may come at any time (RFC 5321 section 3.8), and some servers do not wait for
    the end of a message to refuse it."""

    reply: Reply


class ClientMachine:
    """One connection, client side.

    :ivar extensions: what the last EHLO reply offered: keyword in upper case to its parameters.
    :ivar outstanding: the commands whose replies are still to come, in order.
    """

    def __init__(self) -> None:
        self.extensions: dict[str, str] = {}
        self.outstanding: deque[Command] = deque((GREETING,))
        self._due = 1  # replies still due to the first of them
        self._extended = False  # whether its 353 came
        self._buffer = b""
        self._at = 0
        self._lines: list[bytes] = []
        self._code = b""
        self._tls_answered = False

    @property
    def pipelining(self) -> bool:
        """Whether commands may be sent before the replies to those before them."""
        return "PIPELINING" in self.extensions

    @property
    def rcpt_max(self) -> int | None:
        """The most recipients the server takes in one transaction, if it says so (RFC 9422)."""
        for word in self.extensions.get("LIMITS", "").split():
            name, _, value = word.partition("=")
            if name.upper() == "RCPTMAX" and value.isdigit() and 0 < len(value) <= 6:
                return max(1, int(value))
        return None

    def send(self, *commands: Command) -> bytes:
        """The octets of these commands, which are outstanding from now on.

        :raise MisuseError: they may not be sent now, because replies are outstanding.
        """
        for command in commands:
            if self.outstanding and (not self.pipelining or self.outstanding[-1].last):
                raise MisuseError(f"{command.verb} before the reply to {self.outstanding[-1].verb}")
            if not self.outstanding:
                self._due = command.replies
            self.outstanding.append(command)
        return b"".join(command.octets for command in commands)

    def receive(self, data: bytes) -> None:
        """Take octets from the server."""
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = 0

    def next_event(self) -> Replied | Unsolicited | None:
        """The next reply, or None when more octets are needed.

        :raise ServerRefused: it is none.
        :raise OutOfStep: it is none to the command whose turn it is.
        """
        reply = self._next_reply()
        if reply is None:
            return None
        if not self.outstanding:
            if reply.positive:
                raise OutOfStep(f"a reply to nothing: {reply.code} {reply.text}"[:200])
            return Unsolicited(reply)
        command = self.outstanding[0]
        if not _fits(command, reply.code):
            raise OutOfStep(f"{reply.code} is no reply to {command.verb or 'a connection'}")
        self._due -= 1
        if reply.code == 353 and command.more and not self._extended:
            self._due, self._extended = self._due + command.more, True
        if not self._due:
            self._extended = False
            self.outstanding.popleft()
            if self.outstanding:
                self._due = self.outstanding[0].replies
        self._learn(command, reply)
        return Replied(command, reply)

    def tls_started(self) -> None:
        """The TLS handshake is done: what the server offered in clear does not count (RFC 3207 section 4.2).

        :raise ServerRefused: it said something in clear after its 220.
        """
        if self.buffered:
            raise ServerRefused("octets in clear after the reply to STARTTLS")
        self.extensions = {}
        self._buffer, self._at = b"", 0

    @property
    def buffered(self) -> bool:
        """Whether octets are waiting that belong to no reply yet."""
        return self._at < len(self._buffer) or bool(self._lines)

    def _next_reply(self) -> Reply | None:
        while True:
            end = self._buffer.find(b"\n", self._at)
            if (end if end >= 0 else len(self._buffer)) - self._at > MAX_LINE_OCTETS:
                raise ServerRefused("reply line too long")
            if end < 0:
                return None
            line = self._buffer[self._at : end].removesuffix(b"\r")
            self._at = end + 1
            match = _LINE.match(line)
            if match is None:
                raise ServerRefused(f"not a reply: {line[:80]!r}")
            code, more, text = match.groups()
            if self._lines and code != self._code:
                raise ServerRefused(f"reply with codes {self._code!r} and {code!r}")
            self._code = code
            self._lines.append(text or b"")
            if more != b"-":
                break
            if len(self._lines) >= MAX_REPLY_LINES:
                raise ServerRefused("reply with too many lines")
        lines, self._lines = self._lines, []
        return _reply(int(code), [line.decode("utf-8", "replace") for line in lines])

    def _learn(self, command: Command, reply: Reply) -> None:
        if command.verb not in {"EHLO", "LHLO", "HELO"}:
            return
        self.extensions = {}
        if reply.positive and command.verb != "HELO":
            for line in reply.lines[1:]:
                # RFC 5321 section 4.1.1.1; some servers of old write AUTH=LOGIN.
                keyword, _, parameters = line.partition(" ")
                if _KEYWORD.match(keyword):
                    self.extensions[keyword.upper()] = parameters.strip()


def _reply(code: int, lines: list[str]) -> Reply:
    enhanced = _ENHANCED.match(lines[-1])
    if enhanced is None or enhanced[1][0] != str(code)[0]:
        return Reply(code, "", lines)
    prefix = enhanced[1]
    return Reply(code, prefix, [line.removeprefix(prefix).lstrip(" ") for line in lines])
