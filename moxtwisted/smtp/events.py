"""What the server machine tells its caller.

Each event but ``BodyData`` wants an answer: ``machine.send(reply)`` with the event's own ``reply`` or with another. What
the answer is decides where the dialogue goes on: a MAIL that was answered with 550 began no transaction.
"""

from __future__ import annotations

from attrs import define, frozen

from moxtwisted.address import Path
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Transaction
from moxtwisted.smtp.replies import Reply

__all__ = [
    "AuthResponse",
    "AuthStart",
    "BodyData",
    "BodyEnd",
    "BodyStart",
    "ChunkEnd",
    "CommandEvent",
    "Event",
    "ExtensionCommand",
    "Greeting",
    "Hello",
    "Mail",
    "Plain",
    "Quit",
    "Rcpt",
    "Refused",
    "Reset",
    "StartTLS",
]


@define
class Event:
    """Something happened that has an answer.

    :ivar verb: the command in upper case, as ``"MAIL"``; empty for the greeting and for lines that are no command.
    :ivar reply: the answer that the machine proposes.
    """

    verb: str
    reply: Reply


CommandEvent = Event


@define
class Greeting(Event):
    """A client is there; the reply is 220."""


@define
class Hello(Event):
    """EHLO, HELO or LHLO."""

    name: str
    esmtp: bool


@define
class StartTLS(Event):
    """STARTTLS. After a positive answer was written, the caller starts TLS and calls ``machine.tls_started()``."""


@define
class AuthStart(Event):
    """AUTH: the caller runs the SASL exchange and answers 334, 235 or 5yz.

    :ivar initial: decoded initial response; ``b""`` for ``=``, None when there was none (RFC 4954 section 4).
    """

    mechanism: str
    initial: bytes | None


@define
class AuthResponse(Event):
    """The client's next message in the SASL exchange, decoded."""

    data: bytes


@define
class Mail(Event):
    """MAIL FROM."""

    path: Path
    parameters: MailParameters


@define
class Rcpt(Event):
    """RCPT TO."""

    path: Path
    parameters: RcptParameters


@define
class BodyStart(Event):
    """DATA (the reply is 354) or the first BDAT of a message (the reply is 250, and it is not sent: a positive answer yields
    no octets, because BDAT is answered at the end of the chunk)."""

    transaction: Transaction


@frozen
class BodyData:
    """Octets of the message; not answered."""

    octets: bytes


@define
class ChunkEnd(Event):
    """The end of a BDAT chunk that is not the last."""


@define
class BodyEnd(Event):
    """The message is complete. In LMTP the answer is one reply per recipient: ``machine.send_each(replies)``; so it may be when
    the client asked for PRDR."""

    transaction: Transaction


@define
class Reset(Event):
    """RSET."""


@define
class Quit(Event):
    """QUIT."""


@define
class Plain(Event):
    """NOOP, HELP, VRFY or EXPN with its argument: nothing changes by it."""

    argument: str


@define
class ExtensionCommand(Event):
    """A command that an extension of the host added."""

    argument: str


@define
class Refused(Event):
    """A command that cannot be: syntax, sequence, limits; or a message refused while it came.

    :ivar body: whether it ends a message in transfer, so that the sink is to be aborted.
    """

    body: bool = False
