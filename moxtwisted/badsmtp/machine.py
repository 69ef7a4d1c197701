"""Our SMTP server machine, with the words and the manners of BadSMTP.

Nothing of ``moxtwisted.smtp.server`` is written again: offers, replies and some decisions are others. What the machine hears and says,
its ``watcher`` is told, which also says what a name in EHLO asks for::

    machine = BadMachine(settings, watcher, utc_now=..., octets=10485760)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from attrs import evolve, frozen

from moxtwisted.badsmtp.extensions import BadOffers
from moxtwisted.badsmtp.grammar import TEXTS
from moxtwisted.badsmtp.tokens import Wishes
from moxtwisted.smtp.body import BodyReader
from moxtwisted.smtp.commands import Step
from moxtwisted.smtp.events import Event, ExtensionCommand, Hello, Refused
from moxtwisted.smtp.grammar import parse_chunk_size
from moxtwisted.smtp.replies import Reply, StandardReplies
from moxtwisted.smtp.server import ServerMachine
from moxtwisted.smtp.settings import BareLineEnds, Mode, ServerSettings
from moxtwisted.smtp.states import ALLOWED, State

__all__ = ["HOSTNAME", "STATE_NAMES", "BadMachine", "Watcher", "replies_with_limit"]

#: Who answers EHLO and HELO.
HOSTNAME = "badsmtp.test"

#: What BadSMTP calls our states: most after the command that it waits for.
STATE_NAMES: Mapping[State, str] = {
    State.CONNECTED: "GREETING",
    State.GREETED: "HELO",
    State.READY: "MAIL",
    State.MAIL: "RCPT",
    State.RCPT: "DATA",
    State.CHUNKS: "BDAT",
    State.AUTH: "AUTH",
    State.BODY: "DATA",
    State.CHUNK: "BDAT",
    State.TLS: "HELO",
    State.CLOSED: "QUIT",
}


@frozen(kw_only=True)
class _Replies(StandardReplies):
    """Those of BadSMTP; the host name of the greeting is another, and the session puts it in."""

    def greeting(self, settings: ServerSettings) -> Reply:
        """The first line."""
        protocol = "LMTP" if settings.mode is Mode.LMTP else "ESMTP"
        return Reply(
            220,
            "",
            f"{settings.hostname} {protocol} BadSMTP - The Reliably Unreliable Mail Server https://badsmtp.com",
        )


def _text(code: int, text: str = "", *, close: bool = False) -> Reply:
    return Reply(code, "", text or TEXTS[code], close=close)


_OK = _text(250, "OK")
_SYNTAX = _text(501)
_TOO_LONG = _text(500, "Command too long")
_REPLIES = _Replies(
    ok=_OK,
    mail_ok=_OK,
    rcpt_ok=_OK,
    start_mail=_text(354, "End data with <CR><LF>.<CR><LF>"),
    chunk_ok=_OK,
    message_ok=_text(250, "OK Message accepted for delivery"),
    goodbye=_text(221, "Goodbye", close=True),
    help=_text(214, "MAIL FROM:<verb550@any.example>, see the documentation for more"),
    cannot_verify=_text(502),
    starttls=_text(220, "Ready to start TLS"),
    authenticated=_text(235, "Authentication successful"),
    unknown_command=_text(500, "Command not recognised"),
    not_implemented=_text(502),
    bad_sequence=_text(503),
    hello_first=_text(503),
    bad_argument=_SYNTAX,
    no_argument=_SYNTAX,
    bad_hello=_SYNTAX,
    line_too_long=_TOO_LONG,
    smuggling=_text(500, "A CR or LF stands alone: this may be SMTP smuggling", close=True),
    no_recipients=_text(503),
    binary_needs_bdat=_text(503),
    too_many_recipients=_text(452),
    tls_active=_text(503),
    starttls_injection=_text(501, "Nothing may follow STARTTLS before the handshake", close=True),
    auth_unavailable=_text(535),
    auth_cancelled=_text(501, "Authentication cancelled"),
    auth_too_long=_TOO_LONG,
    bad_base64=_SYNTAX,
    already_authenticated=_text(503),
    unknown_mechanism=_text(504),
    bad_credentials=_text(535),
    too_many_auth_failures=_text(421, close=True),
    too_many_bad_transactions=_text(421, close=True),
    too_many_bad_commands=_text(421, close=True),
    local_error=_text(451),
    timeout=_text(421, close=True),
    shutting_down=_text(421, "Service shutting down", close=True),
)


def replies_with_limit(octets: int) -> StandardReplies:
    """What is said by itself where a message may have so many octets."""
    return evolve(_REPLIES, too_big=_too_big(octets))


def _too_big(octets: int) -> Reply:
    return _text(552, f"Message size exceeds fixed maximum of {octets} bytes")


def _with_ok(event: Event) -> Event:
    """A reply to EHLO with its last line, which is no extension, but BadSMTP has it."""
    if isinstance(event, Hello):
        event.reply = evolve(event.reply, lines=(*event.reply.lines, "OK"))
    return event


class Watcher(Protocol):
    """Who is told what the machine hears and says, and knows what names ask for."""

    def heard(self, line: bytes) -> None:
        """A line of the client, without its end."""

    def said(self, event: Event | None, reply: Reply, wire: bytes) -> None:
        """An answer.

        :param event: what it answers; None: nothing, it is the last word.
        """

    def wishes_of(self, name: str) -> Wishes:
        """What a name in EHLO asks for."""


class _GullibleReader(BodyReader):
    """Takes other things for the end of a message, too, as servers do that let messages be smuggled."""

    __slots__ = ("_ends", "_virtual", "_window")

    def __init__(self, bare: BareLineEnds, ends: tuple[bytes, ...]) -> None:
        super().__init__(bare)
        self._ends = ends
        # The line end of the DATA command counts, and is not part of the message. Up to four octets are held back: no
        # end that is still incomplete is longer.
        self._window = b"\r\n"
        self._virtual = 2

    def feed(self, octets: bytes) -> bytes:
        """The next octets; what comes behind one of our ends is the next command."""
        window = self._window + octets
        proper = window.find(b"\r\n.\r\n")
        at, end = min(((window.find(end), end) for end in self._ends if end in window), default=(-1, b""))
        rest = b""
        if proper >= 0 and (at < 0 or proper <= at):
            ready, self._window = window, b""
        elif at >= 0:
            rest, self._window = window[at + len(end) :], b""
            ready = window[:at] + b"\r\n.\r\n" if at >= self._virtual else window[: self._virtual] + b".\r\n"
        else:
            ready, self._window = window[:-4], window[-4:]
        cut = min(self._virtual, len(ready))
        self._virtual -= cut
        message = super().feed(ready[cut:])
        if rest:
            self.rest = rest
        return message


class BadMachine(ServerMachine):
    """One connection.

    :ivar wishes: what the name of the last accepted EHLO or HELO asked for.
    :ivar argument: what followed the verb of the last command, UTF-8; octets that are none are surrogates.
    :ivar watcher: who is told, or None before there is somebody.
    :ivar extra_commands: verbs of others' extensions, with the states that allow them.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        utc_now: Callable[[], datetime],
        lines: Iterable[str] = (),
        extra_commands: Mapping[str, frozenset[State]] | None = None,
        tls_available: bool = False,
    ) -> None:
        """:param lines: further lines of the EHLO reply."""
        self._default_octets = settings.size_limit
        self._bad_offers = BadOffers(settings.size_limit, lines)
        super().__init__(
            settings,
            utc_now=utc_now,
            offers=self._bad_offers,
            replies=replies_with_limit(settings.size_limit),
            tls_available=tls_available,
        )
        self.wishes = Wishes()
        self.argument = ""
        self.watcher: Watcher | None = None
        self.extra_commands = extra_commands or {}

    # -- lines -----------------------------------------------------------------------------------------------------------

    def next_line(self) -> bytes | Event | None:
        """The next line; BadSMTP ignores empty ones."""
        while True:
            line = super().next_line()
            if isinstance(line, Refused):
                self._hear(b"(a line that cannot be: %d)" % line.reply.code)
            elif isinstance(line, bytes):
                if not line and self.state is not State.AUTH:
                    continue
                self._hear(line)
            return line

    def _hear(self, line: bytes) -> None:
        if self.watcher is not None:
            self.watcher.heard(line)

    def on_line(self, line: bytes) -> Step:
        """A command."""
        self.argument = line.partition(b" ")[2].decode("utf-8", "surrogateescape")
        step = super().on_line(line)
        if isinstance(step, Refused) and step.reply.enhanced:
            # Texts of the grammar and of addresses: BadSMTP has one text for each code.
            reply = step.reply
            step.reply = evolve(reply, enhanced="", lines=(TEXTS.get(reply.code, reply.text),))
        return step

    def body_reader(self) -> BodyReader:
        """What reads a message: by the wishes of the name, too."""
        bare = BareLineEnds.REFUSE if self.wishes.strict_lines else BareLineEnds.NORMALISE
        return _GullibleReader(bare, self.wishes.ends) if self.wishes.ends else BodyReader(bare)

    # -- commands --------------------------------------------------------------------------------------------------------

    def out_of_sequence(self, verb: str, argument: bytes) -> Step:
        """A command that the state does not allow."""
        reply = _text(503, f"Bad sequence - {verb} not allowed in {STATE_NAMES[self.state]} state")
        if verb == "BDAT" and parse_chunk_size(argument) is not None:
            return self.refuse_chunk(argument, reply)
        return Refused(verb, reply)

    def on_unknown(self, verb: str, argument: bytes) -> Event:
        """A line that is no command of SMTP; it may be one of somebody's extension."""
        states = self.extra_commands.get(verb)
        if states is None:
            return Refused(verb, self.replies.unknown_command)
        if self.state not in states:
            reply = _text(503, f"Bad sequence - {verb} not allowed in {STATE_NAMES[self.state]} state")
            return Refused(verb, reply)
        return ExtensionCommand(verb, self.replies.ok, argument.decode("utf-8", "surrogateescape"))

    def on_ehlo(self, argument: bytes) -> Event:
        """EHLO."""
        self._wish(argument)
        return _with_ok(super().on_ehlo(argument))

    def on_helo(self, argument: bytes) -> Event:
        """HELO."""
        self._wish(argument)
        return super().on_helo(argument)

    def on_lhlo(self, argument: bytes) -> Event:
        """LHLO."""
        self._wish(argument)
        return _with_ok(super().on_lhlo(argument))

    def _wish(self, name: bytes) -> None:
        watcher = self.watcher
        self._bad_offers.wishes = (
            Wishes() if watcher is None else watcher.wishes_of(name.decode("utf-8", "replace"))
        )

    def on_auth(self, argument: bytes) -> Event:
        """AUTH; 502 where it is not offered."""
        if "AUTH" not in self.offer.keywords:
            return Refused("AUTH", self.replies.not_implemented)
        return super().on_auth(argument)

    def on_starttls(self, argument: bytes) -> Event:
        """STARTTLS; 502 where it is not offered."""
        if self.hello_name and "STARTTLS" in self.wishes.left_out:
            return Refused("STARTTLS", self.replies.not_implemented)
        return super().on_starttls(argument)

    def on_bdat(self, argument: bytes) -> Step:
        """BDAT; what cannot be done does not end the connection, as far as it is known where the chunk ends."""
        if parse_chunk_size(argument) is None:
            return Refused("BDAT", self.replies.bad_argument)
        if "CHUNKING" not in self.offer.keywords:
            return self.refuse_chunk(argument, self.replies.not_implemented)
        return super().on_bdat(argument)

    # -- answers ---------------------------------------------------------------------------------------------------------

    def _take_wishes(self) -> None:
        self.wishes = self._bad_offers.wishes
        octets = self.wishes.size or self._default_octets
        if octets != self.settings.size_limit:
            self.settings = evolve(self.settings, size_limit=octets)
            self.replies = evolve(self.replies, too_big=_too_big(octets))

    @property
    def enhanced_codes(self) -> bool:
        """Whether replies may have enhanced status codes."""
        return "ENHANCEDSTATUSCODES" in self.offer.keywords

    def send(self, reply: Reply) -> bytes:
        """Answer the last event."""
        event = self.pending
        wire = super().send(reply)
        if isinstance(event, Hello) and reply.positive:
            self._take_wishes()
        if self.watcher is not None and wire:
            self.watcher.said(event, reply, wire)
        return wire

    def send_each(self, replies: Any) -> bytes:
        """Answer the end of a message with a reply for each recipient."""
        event = self.pending
        wire = super().send_each(replies)
        if self.watcher is not None:
            for reply in replies:
                self.watcher.said(event, reply, reply.wire())
        return wire

    def close(self, reply: Reply | None = None) -> bytes:
        """End the dialogue from our side."""
        wire = super().close(reply)
        if self.watcher is not None and reply is not None:
            self.watcher.said(None, reply, wire)
        return wire


#: The verbs that a machine knows without extensions.
KNOWN_VERBS = frozenset(ALLOWED)
