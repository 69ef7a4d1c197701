"""SMTP replies: a code, an enhanced status code and text.

A reply on the wire (RFC 5321 section 4.2, RFC 2034 for the enhanced code)::

    >>> Reply(250, "2.1.5", "recipient ok").wire()
    b'250 2.1.5 recipient ok\\r\\n'
    >>> Reply(250, "", ("mx.example", "PIPELINING")).wire()
    b'250-mx.example\\r\\n250 PIPELINING\\r\\n'

Whoever wants other octets on the wire (a test server, for one) subclasses ``Reply`` and overrides ``Reply.wire``;
the machine looks only at ``code`` and ``close``.
"""

# ruff: noqa: RUF009  (the defaults are frozen values)

from __future__ import annotations

from typing import Any

from attrs import evolve, field, frozen

from moxtwisted.errors import MailError
from moxtwisted.smtp.settings import Mode, ServerSettings

__all__ = ["RawReply", "Reply", "StandardReplies", "reply_for_error"]

#: RFC 5321 section 4.5.3.1.5: a reply line has at most 512 octets with code and CRLF. Longer text is folded into more lines.
REPLY_LINE_OCTETS = 512


def _text_lines(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@frozen
class Reply:
    """One reply.

    :ivar code: 200 to 599 (RFC 5321 section 4.2.1).
    :ivar enhanced: ``"2.1.5"`` (RFC 3463), or empty: replies to EHLO/HELO, 220, 221 at greeting, 334, 354 have none (RFC 2034 section 4).
    :ivar lines: the text, a string or a sequence of lines, without CR, LF; non-ASCII text goes out as UTF-8 and is
        allowed only in a transaction with SMTPUTF8 (RFC 6531 section 3.6); see ``ascii``.
    :ivar close: whether the connection ends after this reply. 421 and 221 always close.
    :ivar slow: whether the connection is in slow mode from here on (see ``moxtwisted.smtp.settings.Timeouts``).
    """

    code: int
    enhanced: str = ""
    lines: tuple[str, ...] = field(default=("",), converter=_text_lines)
    close: bool = field(default=False, kw_only=True)
    slow: bool = field(default=False, kw_only=True)
    _wire: bytes | None = field(default=None, init=False, eq=False, repr=False)

    @property
    def text(self) -> str:
        """The lines as one string."""
        return " ".join(self.lines)

    @property
    def positive(self) -> bool:
        """Whether this accepts: 2yz or 3yz."""
        return self.code < 400

    @property
    def temporary(self) -> bool:
        """Whether this is 4yz: the same command may succeed later."""
        return 400 <= self.code < 500

    def closing(self) -> Reply:
        """The same reply, after which the connection ends."""
        return evolve(self, close=True)

    def wire(self) -> bytes:
        """The octets to send, CRLF included. Computed once: constant replies cost nothing afterwards."""
        octets = self._wire
        if octets is None:
            octets = _encode(self)
            object.__setattr__(self, "_wire", octets)
        return octets


@frozen
class RawReply(Reply):
    """A reply whose octets are given literally: for servers that misbehave on purpose.

    :ivar octets: what goes out instead of an encoded reply; may be empty, malformed, or without line end.
    """

    octets: bytes = field(default=b"", kw_only=True)

    def wire(self) -> bytes:
        """The octets, untouched."""
        return self.octets


def _fold(line: str, room: int) -> list[bytes]:
    octets = line.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
    if len(octets) <= room:
        return [octets]
    pieces = []
    while octets:
        cut = len(octets) if len(octets) <= room else (octets.rfind(b" ", 1, room) + 1 or room)
        while cut < len(octets) and octets[cut] & 0xC0 == 0x80:  # never inside a UTF-8 character
            cut -= 1
        pieces.append(octets[:cut].rstrip(b" "))
        octets = octets[cut:]
    return pieces


def _encode(reply: Reply) -> bytes:
    enhanced = reply.enhanced.encode("ascii") + b" " if reply.enhanced else b""
    # A SASL challenge is one line whatever its length (RFC 4954 section 4).
    room = REPLY_LINE_OCTETS - 6 - len(enhanced) if reply.code != 334 else 1 << 20
    texts = [piece for line in reply.lines for piece in _fold(line, room)] or [b""]
    code = b"%03d" % reply.code
    # RFC 2034 section 4: the enhanced code is repeated on every line of a multi-line reply.
    out = [code + b"-" + enhanced + text for text in texts[:-1]]
    out.append(code + b" " + enhanced + texts[-1])
    return b"\r\n".join(out) + b"\r\n"


def reply_for_error(error: MailError) -> Reply:
    """The reply that a host's ``MailError`` stands for; its ``detail`` stays inside."""
    return Reply(error.reply_code, error.enhanced_code, error.public_text, close=error.reply_code == 421)


def _reply(code: int, enhanced: str, text: str, *, close: bool = False) -> Any:
    return field(default=Reply(code, enhanced, text, close=close))


@frozen(kw_only=True)
class StandardReplies:
    """What the server machine says by itself; ``attrs.evolve(StandardReplies(), mail_ok=Reply(...))`` says it in other words.

    Enhanced codes are those of RFC 3463 and RFC 5248 that fit closest.
    """

    ok: Reply = _reply(250, "2.0.0", "ok")
    mail_ok: Reply = _reply(250, "2.1.0", "sender ok")
    rcpt_ok: Reply = _reply(250, "2.1.5", "recipient ok")
    start_mail: Reply = _reply(354, "", "end the message with <CRLF>.<CRLF>")
    chunk_ok: Reply = _reply(250, "2.0.0", "chunk ok")
    message_ok: Reply = _reply(250, "2.6.0", "message accepted")
    # draft-hall-prdr: what announces a reply for each recipient; no enhanced code begins with 3 (RFC 3463 section 2).
    each_recipient: Reply = _reply(353, "", "each recipient is answered by itself")
    goodbye: Reply = _reply(221, "2.0.0", "goodbye", close=True)
    help: Reply = _reply(214, "2.0.0", "see RFC 5321")
    cannot_verify: Reply = _reply(252, "2.0.0", "not verified, but mail can be tried")
    starttls: Reply = _reply(220, "2.0.0", "go ahead")
    authenticated: Reply = _reply(235, "2.7.0", "authenticated")

    unknown_command: Reply = _reply(500, "5.5.1", "command not recognized")
    not_implemented: Reply = _reply(502, "5.5.1", "command not implemented here")
    bad_sequence: Reply = _reply(503, "5.5.1", "bad sequence of commands")
    hello_first: Reply = _reply(503, "5.5.1", "say EHLO first")
    bad_argument: Reply = _reply(501, "5.5.4", "syntax error in parameters or arguments")
    no_argument: Reply = _reply(501, "5.5.4", "no parameters allowed")
    bad_hello: Reply = _reply(501, "5.5.4", "expected a host name or an address literal")
    line_too_long: Reply = _reply(500, "5.5.2", "line too long", close=True)
    smuggling: Reply = _reply(
        500, "5.5.2", "bare carriage return or newline, may be smtp smuggling", close=True
    )
    no_recipients: Reply = _reply(554, "5.5.1", "no valid recipients")
    binary_needs_bdat: Reply = _reply(503, "5.5.1", "BODY=BINARYMIME needs BDAT")
    too_big: Reply = _reply(552, "5.3.4", "message is larger than the limit")
    # RFC 5321 section 4.5.3.1.10
    too_many_recipients: Reply = _reply(
        452, "4.5.3", "too many recipients, send the others in another transaction"
    )
    held_too_long: Reply = _reply(501, "5.5.4", "cannot be held so long")

    tls_active: Reply = _reply(503, "5.5.1", "TLS is active already")
    starttls_first: Reply = _reply(530, "5.7.0", "must issue a STARTTLS command first")
    starttls_injection: Reply = _reply(
        501, "5.5.1", "nothing may follow STARTTLS before the handshake", close=True
    )

    # RFC 4954 sections 4 and 6
    auth_first: Reply = _reply(530, "5.7.0", "authentication required")
    auth_needs_tls: Reply = _reply(538, "5.7.11", "encryption required for authentication")
    auth_unavailable: Reply = _reply(454, "4.7.0", "temporary authentication failure")
    auth_cancelled: Reply = _reply(501, "5.7.0", "authentication cancelled")
    auth_too_long: Reply = _reply(500, "5.5.6", "authentication exchange line is too long", close=True)
    bad_base64: Reply = _reply(501, "5.5.2", "cannot decode base64")
    already_authenticated: Reply = _reply(503, "5.5.1", "already authenticated")
    unknown_mechanism: Reply = _reply(504, "5.5.4", "authentication mechanism is not on offer")
    bad_credentials: Reply = _reply(535, "5.7.8", "authentication credentials invalid")
    too_many_auth_failures: Reply = _reply(421, "4.7.0", "too many failed authentications", close=True)

    too_many_bad_transactions: Reply = _reply(550, "5.7.0", "too many failed transactions", close=True)
    too_many_bad_commands: Reply = _reply(421, "4.7.0", "too many errors", close=True)
    local_error: Reply = _reply(451, "4.3.0", "error in processing")
    timeout: Reply = _reply(421, "4.4.2", "time-out", close=True)
    shutting_down: Reply = _reply(421, "4.3.2", "service is shutting down", close=True)

    def greeting(self, settings: ServerSettings) -> Reply:
        """The first line (RFC 5321 section 4.2: our name comes first)."""
        protocol = "LMTP" if settings.mode is Mode.LMTP else "ESMTP"
        return Reply(220, "", f"{settings.hostname} {protocol} {settings.software}")
