"""What a host gives to an SMTP server: who may speak, who may receive, where the message goes.

For each connection the protocol asks an ``ISMTPHandlerFactory`` for an ``ISMTPHandler`` and calls it as the dialogue goes::

    C: (connects)                    factory.connected(peer)            -> handler
    C: EHLO client.example           handler.hello("client.example", True)
    C: STARTTLS, handshake           handler.tls_started(tls)           then EHLO again
    C: AUTH PLAIN ...                handler.sasl_start("PLAIN"), then handler.authenticated(identity)
    C: MAIL FROM:<a@client.example>  handler.mail(path, parameters)
    C: RCPT TO:<b@here.example>      handler.rcpt(path, parameters)
    C: DATA                          sink = handler.data_started(transaction)
    C: (message) .                   sink.write(octets) ..., handler.data_done(sink)
    C: QUIT                          handler.disconnected("quit")

Every method that answers a command may return a value at once, or an awaitable of it (a coroutine, a Deferred):
the protocol then stops reading until the answer is there. A plain return costs nothing more than the call. ``None`` means the
standard positive reply. An exception that is a ``moxtwisted.errors.MailError`` becomes its reply; any other is
logged and becomes 451 4.3.0.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from zope.interface import Attribute, Interface

from moxtwisted.address import Path
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Transaction
from moxtwisted.smtp.peer import Peer, TLSInfo
from moxtwisted.smtp.replies import Reply

if TYPE_CHECKING:
    from moxtwisted.smtp.events import Event

__all__ = [
    "Answer",
    "IMessageSink",
    "ISMTPAttached",
    "ISMTPCommandHandler",
    "ISMTPConnection",
    "ISMTPHandler",
    "ISMTPHandlerFactory",
    "ISMTPInterceptor",
    "ISMTPTagged",
]

#: The answer to a command: a reply, ``None`` for the standard positive one, or an awaitable of either.
Answer: TypeAlias = "Reply | Awaitable[Reply | None] | None"


class ISMTPHandlerFactory(Interface):
    """Makes a handler for each connection."""

    def connected(peer: Peer) -> Any:
        """A client connected (after a PROXY header, before the greeting and before implicit TLS).

        :return: an ``ISMTPHandler``, or a ``Reply`` of 4yz or 5yz that is sent instead of the greeting (with implicit TLS:
            nothing is sent) before the connection is closed, or an awaitable of either.
        """


class IMessageSink(Interface):
    """Takes one message."""

    def write(octets: bytes) -> Any:
        """Take the next octets. Line ends are CRLF and dot-stuffing is undone (with BINARYMIME: octets as they are).

        Pieces are cut anywhere. What it raises ends the message: the rest is read and thrown away and the error is the reply.
        It may return an awaitable: reading pauses until it is there.
        """

    def abort() -> None:
        """The message ends incomplete or is refused: forget it. Not called after ``data_done``."""


class ISMTPHandler(Interface):
    """One connection of one client, as the host sees it."""

    def hello(name: str, esmtp: bool) -> Answer:
        """EHLO, HELO or LHLO. Called again after STARTTLS, and whenever the client repeats it.

        :param name: the argument as it came; it is a domain or an address literal by its syntax, or (on submission only)
            anything else.
        :param esmtp: whether it was EHLO or LHLO.
        """

    def tls_started(tls: TLSInfo) -> None:
        """The TLS handshake is done: all that was said before does not count (RFC 3207 section 4.2)."""

    def sasl_start(mechanism: str, tls: TLSInfo | None) -> Any:
        """AUTH: begin an exchange.

        :param mechanism: one of ``ServerSettings.mechanisms``, upper case.
        :return: an ``IServerExchange``, or a ``Reply`` that refuses, or an
            awaitable of either.
        """

    def authenticated(identity: Any) -> Answer:
        """The exchange succeeded. A refusal here is the reply to AUTH.

        :param identity: the ``Success`` of the exchange.
        :return: None for 235 2.7.0.
        """

    def mail(reverse_path: Path, parameters: MailParameters) -> Answer:
        """MAIL FROM: a transaction begins."""

    def rcpt(forward_path: Path, parameters: RcptParameters) -> Answer:
        """RCPT TO."""

    def data_started(transaction: Transaction) -> Any:
        """DATA or the first BDAT.

        :return: an ``IMessageSink``, or a ``Reply`` that refuses, or an awaitable of either.
        """

    def data_done(sink: Any) -> Reply | Sequence[Reply | None] | Awaitable[Any] | None:
        """The message is complete. Our positive reply means that it is safe (RFC 5321 section 4.2.5).

        :return: the reply; in LMTP a sequence with one reply per accepted recipient (RFC 2033 section 4.2), or one for all. Both may
            be given as well in a transaction whose parameters have ``prdr``.
        """

    def reset() -> None:
        """The transaction was dropped: RSET, EHLO, STARTTLS, or a failed message. Not called after ``data_done``."""

    def disconnected(reason: str) -> None:
        """The connection is gone; called once, last. ``reason`` is one word for the log: ``"quit"``, ``"lost"``,
        ``"timeout"``, ``"refused"``, ``"shutdown"``, ``"tls"``, ``"error"``, and ``"errors"`` when the client made more of them
        than are borne."""


class ISMTPInterceptor(Interface):
    """A handler that also provides this sees every reply before it is sent, and may replace it: for test servers that
    misbehave, tarpits, rewriting of texts."""

    def intercept(event: Event, reply: Reply) -> Answer:
        """``event`` is about to be answered with ``reply``.

        :return: another reply (a ``moxtwisted.smtp.replies.RawReply`` for any octets at all), None to let it pass, or an
            awaitable of either, which may take its time.
        """


class ISMTPCommandHandler(Interface):
    """A handler that also provides this is asked for the commands that change nothing, and for those of its own extensions."""

    def command(verb: str, argument: str) -> Answer:
        """VRFY, EXPN, HELP, NOOP, or a verb that an ``Extension`` added.

        :param argument: what followed the verb, UTF-8; octets that are none are surrogates.
        :return: None for the standard reply.
        """


class ISMTPConnection(Interface):
    """What a handler may do with its connection besides answering; see ``ISMTPAttached``."""

    machine = Attribute("the ``moxtwisted.smtp.server.ServerMachine`` of the connection")

    def write(octets: bytes) -> None:
        """Send octets out of turn: behind the replies that are ready, before the next one."""

    def sleep(seconds: float) -> Awaitable[None]:
        """Wait, on the connection's clock."""

    def listen() -> None:
        """While an answer of the host is awaited, hear the client leave all the same: the awaitable is then cancelled. What the
        client says meanwhile is kept; with its first octets reading pauses again."""

    def abort() -> None:
        """Drop the connection at once, with a reset. What is written and not sent is lost."""


class ISMTPAttached(Interface):
    """A handler that also provides this is given its connection, before anything is said."""

    def attached(connection: Any) -> None:
        """The connection, an ``ISMTPConnection``. It is of use until ``ISMTPHandler.disconnected``."""


class ISMTPTagged(Interface):
    """A handler that also provides this has its refusals marked, so that a sender's complaint leads to our log."""

    reply_tag = Attribute(
        "str: ASCII, appended in brackets to the text of every 4yz and 5yz reply; empty = not now"
    )
