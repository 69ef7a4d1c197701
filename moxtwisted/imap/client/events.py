"""What the client machine tells: one frozen class for each kind of event."""

from __future__ import annotations

from attrs import field, frozen

from moxtwisted.imap.wire import responsedata as r

__all__ = [
    "BodyData",
    "BodyEnded",
    "BodyStarted",
    "Challenge",
    "ClientEvent",
    "Completed",
    "Data",
    "Failed",
    "Greeting",
    "Idling",
    "NotWritten",
    "Unsolicited",
    "Upload",
]


@frozen
class Greeting:
    """The server's first response: OK, PREAUTH or BYE."""

    response: r.StatusResponse


@frozen
class Completed:
    """A command was answered.

    :ivar status: the tagged response.
    :ivar responses: the data that came before it, in order.
    :ivar alone: whether no other command is under way, whose data may still be to come.
    """

    tag: bytes
    status: r.StatusResponse
    responses: tuple[r.Response, ...]
    alone: bool = True

    @property
    def ok(self) -> bool:
        """Whether the command was carried out."""
        return self.status.condition == "OK"

    @property
    def limited(self) -> r.MessageLimit | None:
        """How far the command came, when it was about the newest messages only."""
        # RFC 9738 section 3.1: in an untagged NO, when another code stands in the tagged response.
        for status in (self.status, *self.responses):
            if isinstance(status, r.StatusResponse) and status.code is not None:
                value = status.code.value
                if isinstance(value, r.MessageLimit):
                    return value
        return None


@frozen
class NotWritten:
    """A command whose arguments IMAP has no way to write; nothing of it was sent.

    :ivar error: ``ValueError`` or ``TypeError``.
    """

    tag: bytes
    error: Exception


@frozen
class Data:
    """Data for a command that was given with ``deliver``."""

    tag: bytes
    response: r.Response


@frozen
class BodyStarted:
    """A large section begins; its octets follow, and behind them the ``Fetched`` it belongs to.

    :ivar number: the sequence number, the UID with UIDONLY.
    :ivar uid: if the server has said it already.
    """

    tag: bytes
    number: int
    uid: int | None
    label: str
    size_octets: int


@frozen
class BodyData:
    """Octets of it."""

    octets: bytes = field(repr=False)


@frozen
class BodyEnded:
    """It was the last of them."""


@frozen
class Upload:
    """The server waits for so many octets: give them to ``Client.feed``."""

    tag: bytes
    size_octets: int


@frozen
class Unsolicited:
    """Data that no command asked for, or that came during IDLE; BYE too."""

    response: r.Response


@frozen
class Challenge:
    """AUTHENTICATE waits for ``Client.respond``."""

    tag: bytes
    data: bytes = field(repr=False)


@frozen
class Idling:
    """IDLE was granted; ``Client.done`` ends it."""

    tag: bytes


@frozen
class Failed:
    """The server says what cannot be understood, or too much of it; close the connection."""

    reason: str


ClientEvent = (
    Greeting
    | Completed
    | NotWritten
    | Data
    | BodyStarted
    | BodyData
    | BodyEnded
    | Upload
    | Unsolicited
    | Challenge
    | Idling
    | Failed
)
