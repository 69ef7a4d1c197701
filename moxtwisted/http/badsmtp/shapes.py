"""What the JSON interface takes and gives.

The names are those of the log where it has the same thing: ``mail_from``, ``rcpt_to``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

__all__ = [
    "Chunk",
    "Detail",
    "HeaderField",
    "MessagePage",
    "MessagePath",
    "MessageQuery",
    "Opened",
    "Page",
    "PartPath",
    "PartShape",
    "PlayPath",
    "PlayQuery",
    "Played",
    "Port",
    "Ports",
    "Removal",
    "Removed",
    "Summary",
    "Typed",
    "Wait",
]

#: The largest number that JavaScript counts to.
_LARGEST = 2**53 - 1
_TEXT = Meta(max_length=1000)

Number = Annotated[int, Meta(ge=1, le=_LARGEST)]
Count = Annotated[int, Meta(ge=0, le=_LARGEST)]


# -- what is asked for ------------------------------------------------------------------------------------------


class MessagePath(Struct, frozen=True):
    """Which message."""

    number: Annotated[Number, Meta(description="The number of the message.")]


class PartPath(Struct, frozen=True):
    """Which part of which message."""

    number: Annotated[Number, Meta(description="The number of the message.")]
    part: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{1,5}(\.[0-9]{1,5}){0,99}$",
            description="Where it is in the message, as IMAP counts: 1, 2.1.",
        ),
    ]


class MessageQuery(Struct, frozen=True):
    """Which messages."""

    to: Annotated[str, _TEXT, Meta(description="A recipient of the envelope, compared without case.")] = ""
    from_: Annotated[
        str,
        _TEXT,
        Meta(description="A piece of the sender, in the envelope or in From, compared without case."),
    ] = field(default="", name="from")
    subject: Annotated[str, _TEXT, Meta(description="A piece of the subject, compared without case.")] = ""
    after: Annotated[Count, Meta(description="Only messages with a higher number.")] = 0


class MessagePage(MessageQuery, frozen=True):
    """Which messages, and how many of them at once."""

    search: Annotated[
        str,
        _TEXT,
        Meta(description="Words that all are in sender, recipients, subject or the beginning of the text."),
    ] = ""
    before: Annotated[Count, Meta(description="Only messages with a lower number; 0 for all.")] = 0
    limit: Annotated[int, Meta(ge=1, le=200, description="How many at most, the newest.")] = 50


class Wait(MessageQuery, frozen=True):
    """Which message is waited for."""

    timeout: Annotated[float, Meta(ge=0, le=300, description="Seconds to wait.")] = 30


class Removal(Struct, frozen=True):
    """Which messages are deleted."""

    to: Annotated[
        str, _TEXT, Meta(description="Only those to this recipient of the envelope; all without it.")
    ] = ""


# -- messages ---------------------------------------------------------------------------------------------------


class Summary(Struct, frozen=True):
    """A message, as lists show it."""

    number: Annotated[Number, Meta(description="Given in the order of arrival, never again.")]
    received: Annotated[datetime, Meta(tz=True)]
    mail_from: Annotated[str, Meta(description="Of the envelope; empty for <>.")]
    rcpt_to: Annotated[list[str], Meta(description="The accepted recipients of the envelope.")]
    from_: Annotated[str, Meta(description="The From field, decoded.")] = field(name="from")
    to: Annotated[str, Meta(description="The To field, decoded.")]
    subject: Annotated[str, Meta(description="Decoded.")]
    preview: Annotated[str, Meta(description="The beginning of the text.")]
    size: Annotated[Count, Meta(description="Octets.")]
    attachments: Annotated[bool, Meta(description="Whether files are attached.")]
    protocol: Annotated[str, Meta(description="ESMTP, ESMTPS, ESMTPSA, LMTP …")]
    client: Annotated[str, Meta(description="Where it came from: address and port.")]
    port: Annotated[Count, Meta(description="Which port of ours it came in by.")]
    username: Annotated[str, Meta(description="Who was logged in; empty for nobody.")]
    session: Annotated[str, Meta(description="As in the log.")]


class Page(Struct, frozen=True):
    """Messages, the newest first."""

    messages: list[Summary]
    total: Annotated[Count, Meta(description="How many match, with those that did not fit here.")]


class HeaderField(Struct, frozen=True):
    """A field of the header."""

    name: str
    value: Annotated[str, Meta(description="Unfolded and decoded.")]


class PartShape(Struct, frozen=True):
    """A part of a message."""

    path: Annotated[str, Meta(description="Where it is, as IMAP counts.")]
    media_type: str
    charset: str
    encoding: Annotated[str, Meta(description="Content-Transfer-Encoding.")]
    filename: Annotated[str, Meta(description="As the sender has it: not safe as a path.")]
    disposition: Annotated[str, Meta(description="inline, attachment or empty.")]
    content_id: str
    size: Annotated[Count, Meta(description="Octets, encoded as it came.")]
    container: Annotated[
        bool, Meta(description="Whether it consists of the parts that follow below its path.")
    ]


class Line(Struct, frozen=True):
    """A line of the dialogue that brought the message."""

    at_seconds: Annotated[float, Meta(description="Since the connection was made.")]
    who: Annotated[Literal["C", "S", "*"], Meta(description="Client, server, or neither: an event.")]
    text: str


class Detail(Struct, frozen=True):
    """All of a message but its source."""

    summary: Summary
    hello_name: Annotated[str, Meta(description="What the client said in EHLO, HELO or LHLO.")]
    directory: Annotated[str, Meta(description="The Maildir, when there is one.")]
    headers: list[HeaderField]
    parts: list[PartShape]
    text: Annotated[str, Meta(description="What a person reads: plain text, or HTML without its tags.")]
    cut: Annotated[bool, Meta(description="Whether text, headers or parts were too many to be here whole.")]
    html: Annotated[bool, Meta(description="Whether there is HTML, at /api/messages/{number}/html.")]
    transcript: list[Line]


class Removed(Struct, frozen=True):
    """What was deleted."""

    removed: Annotated[Count, Meta(description="How many.")]


# -- ports ------------------------------------------------------------------------------------------------------


class Port(Struct, frozen=True):
    """A port that listens."""

    name: Annotated[str, Meta(description="As in the settings: smtp, tls, greeting-3 …")]
    port: Annotated[int, Meta(ge=0, le=65535)]
    protocol: Annotated[str, Meta(description="SMTP, SMTP with TLS, LMTP, IMAP, POP3, HTTP.")]
    does: Annotated[str, Meta(description="What it does, and what is wrong with it.")]


class Example(Struct, frozen=True):
    """Something to try in the playground."""

    title: str
    lines: list[str]


class Wording(Struct, frozen=True):
    """How a client asks for something to go wrong."""

    say: Annotated[str, Meta(description="What the client says.")]
    does: Annotated[str, Meta(description="What happens.")]
    kind: Annotated[str, Meta(description="Where it is said.")]


class Ports(Struct, frozen=True):
    """What listens where, and what can be asked for there."""

    address: Annotated[str, Meta(description="The address of all ports.")]
    ports: list[Port]
    wordings: list[Wording]
    examples: list[Example]


# -- the playground ---------------------------------------------------------------------------------------------


class PlayPath(Struct, frozen=True):
    """Which dialogue."""

    session: Annotated[str, Meta(pattern="^[0-9a-f]{32}$", description="From the answer that opened it.")]


class PlayQuery(Struct, frozen=True):
    """What is new."""

    after: Annotated[Count, Meta(description="How many chunks are known already.")] = 0
    timeout: Annotated[float, Meta(ge=0, le=60, description="Seconds to wait for something new.")] = 20


class Typed(Struct, frozen=True, forbid_unknown_fields=True):
    """What the client says."""

    text: Annotated[
        str,
        Meta(max_length=100_000, description="Sent in UTF-8; line ends are as they are: SMTP wants CRLF."),
    ]


class Opened(Struct, frozen=True):
    """A dialogue."""

    session: Annotated[str, Meta(description="What it is called in the paths.")]


class Chunk(Struct, frozen=True):
    """Octets that the server said in one piece."""

    at_seconds: Annotated[float, Meta(description="Since the dialogue began.")]
    octets: Annotated[str, Meta(description="Each character is the octet of its number: ISO 8859-1.")]


class Played(Struct, frozen=True):
    """What the server said."""

    chunks: list[Chunk]
    position: Annotated[Count, Meta(description="How many chunks there were: the next after.")]
    closed: Annotated[bool, Meta(description="Whether the dialogue is over.")]
    reason: Annotated[str, Meta(description="Why it is over.")]


JSONObject = dict[str, Any]
