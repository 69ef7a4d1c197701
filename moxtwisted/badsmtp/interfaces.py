"""What a BadSMTP server is made of, and what can be put in its place.

Each hook is an interface of its own; ``Hooks`` holds those of one server, and what is not given is as it comes out of the box::

    service = BadSMTPService(reactor, Settings(), Hooks(observers=[MyObserver()], store=MyStore()))

A hook may answer at once or by an awaitable. What it raises, but ``StorageError``, is logged and answered with 451.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from zope.interface import Attribute, Interface

from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from moxtwisted.smtp.replies import Reply

__all__ = [
    "CapturedMessage",
    "Direction",
    "Hooks",
    "IAuthenticator",
    "IAuthorizer",
    "ICapabilityParser",
    "ICaptured",
    "IErrorSimulator",
    "IJournal",
    "IMessageStore",
    "IRateLimiter",
    "ISMTPExtension",
    "ISessionObserver",
    "ISessionWriter",
    "Level",
    "StorageError",
    "TranscriptLine",
]


class Direction(Enum):
    """Who said it."""

    CLIENT = "C"
    SERVER = "S"
    EVENT = "*"
    """Nobody: the connection was made, TLS began, we waited, we hung up."""


@frozen
class TranscriptLine:
    """One line of a dialogue.

    :ivar at_seconds: since the connection was made.
    :ivar text: without its line end; what follows AUTH is ``[redacted]``, octets that are no UTF-8 are ``\\xNN``.
    """

    at_seconds: float
    direction: Direction
    text: str


@frozen(kw_only=True)
class CapturedMessage:
    """A message that was taken in.

    :ivar number: given by the store that keeps it, from 1, never again; 0 before.
    :ivar received: aware of its zone (UTC).
    :ivar reverse_path: of MAIL FROM, empty for ``<>``.
    :ivar forward_paths: of the accepted RCPT TO, in their order.
    :ivar content: the octets as they came, dot-stuffing undone, line ends CRLF but for BDAT with BINARYMIME.
    :ivar hello_name: of EHLO, HELO or LHLO.
    :ivar protocol: as in a Received field (RFC 3848): ``"ESMTP"``, ``"ESMTPSA"``, ``"LMTP"`` …
    :ivar client: the peer, ``"127.0.0.1:40312"``.
    :ivar port: the port of ours that it came in by.
    :ivar username: who logged in, empty for nobody.
    :ivar session: ``"sess_"`` and 24 hexadecimal digits.
    :ivar server_name: the host name that the client asked for in TLS (SNI), empty for none.
    :ivar directory: where the Maildir is, when whoever made the message decided that; empty: the store decides.
    :ivar transcript: the dialogue up to now, from the start of the connection, bounded.
    """

    received: datetime
    reverse_path: str
    forward_paths: tuple[str, ...]
    content: bytes
    hello_name: str = ""
    protocol: str = "ESMTP"
    client: str = ""
    port: int = 0
    username: str = ""
    session: str = ""
    server_name: str = ""
    directory: str = ""
    transcript: tuple[TranscriptLine, ...] = ()
    number: int = 0


class StorageError(MailError):
    """A store could not keep a message: the text decides the reply as in BadSMTP ("not active" 550, "quota" 452, else 450)."""


class Level(Enum):
    """How bad a log line is; the values are the words of the log."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class IJournal(Interface):
    """Takes log lines."""

    def write(level: Level, message: str, fields: Mapping[str, Any], error: str = "") -> None:
        """One line.

        :param message: one of the fixed sentences of the log ("SMTP command received").
        :param fields: by the names that the documentation lists; nothing secret: the caller has redacted it.
        """


class IMessageStore(Interface):
    """Keeps messages."""

    def store(message: CapturedMessage) -> Any:
        """Keep a message. It is answered with 250 when this returns (or the awaitable it returns has its result).

        :raise StorageError: it cannot be kept.
        """


class ICaptured(Interface):
    """The messages that are kept in memory, the newest of them: for the page, for programs that test, and for the IMAP and POP3 twins."""

    def messages(recipient: str = "", after: int = 0) -> tuple[CapturedMessage, ...]:
        """What is there, the oldest first.

        :param recipient: only those with this forward-path, compared without case; empty for all.
        :param after: only those with a higher number.
        """

    def message(number: int) -> CapturedMessage | None:
        """The message of this number."""

    def remove(number: int) -> bool:
        """Forget a message; whether it was there."""

    def clear() -> int:
        """Forget all; how many there were. Numbers go on."""

    def subscribe(listener: Callable[[CapturedMessage], None]) -> Callable[[], None]:
        """Be called with each message that is kept from now on, until the returned function is called."""


class IAuthenticator(Interface):
    """Says who may log in."""

    def authenticate(mechanism: str, username: str, secret: bytes, session: Any) -> Any:
        """Whether this log-in succeeds (a bool, or an awaitable of one).

        :param secret: the password or the client's proof, by the mechanism; nothing logs it.
        :param session: the ``ISessionWriter``.
        """


class ICapabilityParser(Interface):
    """Reads wishes out of the name that a client says in EHLO."""

    def parse(hello_name: str) -> Any:
        """A ``moxtwisted.badsmtp.tokens.Wishes``, or None when the name says nothing to this parser: the next is asked."""


class ISMTPExtension(Interface):
    """A verb and a keyword of one's own."""

    def capability() -> str:
        """The line of the EHLO reply (``"GOBANANAS"``); empty for none."""

    def commands() -> Mapping[str, frozenset[Any]]:
        """Verbs in upper case, with the ``moxtwisted.smtp.states.State`` values that allow them."""

    def handle(verb: str, argument: str, session: Any) -> Any:
        """Answer one of these verbs: a ``Reply``, or an awaitable of one.

        :param session: the ``ISessionWriter``.
        """


class ISessionWriter(Interface):
    """A connection, as hooks see it."""

    session = Attribute("str: ``sess_`` and 24 hexadecimal digits")
    client_ip = Attribute("str: the peer's address, empty on a unix socket")
    hello_name = Attribute("str: of the last EHLO, HELO or LHLO")
    username = Attribute("str: who logged in, empty for nobody")

    def write_response(octets: bytes) -> None:
        """Send octets out of turn, before the next reply, as they are."""

    def metadata(key: str) -> Any:
        """What was set under this key in this connection, or None."""

    def set_metadata(key: str, value: Any) -> None:
        """Remember something for the rest of this connection."""


class ISessionObserver(Interface):
    """Is told what happens; answers nothing."""

    def connected(session: Any) -> None:
        """Somebody connected. All methods are given the ``ISessionWriter``."""

    def authenticated(session: Any, mechanism: str, username: str, success: bool) -> None:
        """A log-in ended."""

    def message(session: Any, message: CapturedMessage) -> None:
        """A message was kept."""

    def error(session: Any, verb: str, reply: Reply) -> None:
        """A reply of 4yz or 5yz went out, whoever decided it."""

    def disconnected(session: Any, reason: str) -> None:
        """The connection is gone; called once, last."""


class IRateLimiter(Interface):
    """Says who comes too often. By default nobody does; ``moxtwisted.badsmtp.hooks.SimpleRateLimiter`` counts by minute."""

    def allow_connection(client_ip: str) -> bool:
        """Whether a connection is served; else it gets 421."""

    def allow_message(client_ip: str, username: str) -> bool:
        """Whether MAIL is taken; else it gets 450."""

    def connection_closed(client_ip: str) -> None:
        """A connection that was allowed is gone."""


class IAuthorizer(Interface):
    """Says who may send from where to where."""

    def can_send_from(username: str, reverse_path: str) -> Any:
        """Whether MAIL is taken (a bool or an awaitable of one); else 553."""

    def can_send_to(username: str, forward_path: str) -> Any:
        """Whether RCPT is taken (a bool or an awaitable of one); else 550."""

    def quota_octets(username: str) -> int | None:
        """The largest message that this user may send, or None; a larger one gets 552."""


class IErrorSimulator(Interface):
    """Decides on errors before the grammar of addresses does."""

    def fault(verb: str, argument: str, session: Any) -> Reply | None:
        """The reply to say instead of ours (a ``RawReply`` for any octets at all), or None.

        :param verb: upper case; ``"."`` for the end of a message, empty for the greeting.
        :param session: the ``ISessionWriter``.
        """


def _all(hooks: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(hooks)


@frozen(kw_only=True)
class Hooks:
    """What stands in for the standard parts of one server.

    :ivar store: an ``IMessageStore`` in place of the one that the settings name; what it keeps is captured in memory all the same.
    :ivar authenticator: an ``IAuthenticator``.
    :ivar capability_parsers: asked in their order, before the tokens of ``moxtwisted.badsmtp.tokens``.
    """

    store: Any = None
    authenticator: Any = None
    capability_parsers: tuple[Any, ...] = field(default=(), converter=_all)
    extensions: tuple[Any, ...] = field(default=(), converter=_all)
    observers: tuple[Any, ...] = field(default=(), converter=_all)
    rate_limiter: Any = None
    authorizer: Any = None
    error_simulators: tuple[Any, ...] = field(default=(), converter=_all)
    journal: Any = None
