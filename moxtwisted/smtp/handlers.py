"""Handlers to begin with: one whose every answer is yes, to subclass, and a factory that hands over whole messages.

::

    def deliver(transaction, message):
        print(transaction.reverse_path, message.decode("utf-8", "replace"))

    factory = SMTPServerFactory(ServerSettings(hostname="localhost"), WholeMessages(deliver), reactor)

``deliver`` may return a reply, None (accepted), in LMTP a sequence with one for each recipient, or an awaitable of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from zope.interface import implementer

from moxtwisted.address import Path
from moxtwisted.sasl.outcome import Success
from moxtwisted.smtp.envelope import MailParameters, RcptParameters, Transaction
from moxtwisted.smtp.interfaces import Answer, IMessageSink, ISMTPHandler, ISMTPHandlerFactory
from moxtwisted.smtp.peer import Peer, TLSInfo
from moxtwisted.smtp.replies import Reply

__all__ = ["Handler", "MemorySink", "WholeMessages"]


@implementer(IMessageSink)
@define
class MemorySink:
    """Keeps one message in memory, for messages that are known to be small: ``MemorySink(transaction)``.

    :ivar transaction: the envelope that the message belongs to; all that the constructor needs.
    :ivar blocks: the pieces so far, as they came.
    :ivar aborted: whether the message was given up; then there are no pieces.
    """

    transaction: Transaction
    blocks: list[bytes] = field(factory=list)
    aborted: bool = False

    def write(self, octets: bytes) -> None:
        """Keep the octets."""
        self.blocks.append(octets)

    def abort(self) -> None:
        """Forget them."""
        self.aborted = True
        self.blocks.clear()

    @property
    def message(self) -> bytes:
        """All of it."""
        return b"".join(self.blocks)


@implementer(ISMTPHandler)
class Handler:
    """Lets everybody send to everybody, and throws the messages away: override what should be otherwise.

    ::

        class OnlyFriends(Handler):
            def rcpt(self, forward_path, parameters):
                if str(forward_path) != "alice@example.org":
                    return Reply(550, "5.1.1", "nobody of that name here")

            def data_done(self, sink):
                print(sink.transaction.reverse_path, sink.message)
    """

    def hello(self, name: str, esmtp: bool) -> Answer:
        """See ``ISMTPHandler.hello``."""
        return None

    def tls_started(self, tls: TLSInfo) -> None:
        """See ``ISMTPHandler.tls_started``."""

    def sasl_start(self, mechanism: str, tls: TLSInfo | None) -> Any:
        """See ``ISMTPHandler.sasl_start``; nobody may log in."""
        return Reply(535, "5.7.8", "authentication credentials invalid")

    def authenticated(self, identity: Success) -> Answer:
        """See ``ISMTPHandler.authenticated``."""
        return None

    def mail(self, reverse_path: Path, parameters: MailParameters) -> Answer:
        """See ``ISMTPHandler.mail``."""
        return None

    def rcpt(self, forward_path: Path, parameters: RcptParameters) -> Answer:
        """See ``ISMTPHandler.rcpt``."""
        return None

    def data_started(self, transaction: Transaction) -> Any:
        """See ``ISMTPHandler.data_started``; the message is kept in memory until ``data_done``."""
        return MemorySink(transaction)

    def data_done(self, sink: Any) -> Any:
        """See ``ISMTPHandler.data_done``."""
        return None

    def reset(self) -> None:
        """See ``ISMTPHandler.reset``."""

    def disconnected(self, reason: str) -> None:
        """See ``ISMTPHandler.disconnected``."""


class _Whole(Handler):
    def __init__(self, deliver: Callable[[Transaction, bytes], Any]) -> None:
        self._deliver = deliver

    def data_done(self, sink: MemorySink) -> Any:
        return self._deliver(sink.transaction, sink.message)


@implementer(ISMTPHandlerFactory)
class WholeMessages:
    """Gives each message to a function, whole: ``deliver(transaction, message)``, the line ends CRLF."""

    def __init__(self, deliver: Callable[[Transaction, bytes], Any]) -> None:
        self._deliver = deliver

    def connected(self, peer: Peer) -> Handler:
        """Everybody is welcome."""
        return _Whole(self._deliver)
