"""What a POP3 server asks of whoever keeps the mail.

A maildrop is a snapshot: while somebody is logged in, numbers, sizes and unique identifiers stay what they were. Where "may be
awaitable" stands, the method may return the value itself or an awaitable of it. Errors are ``moxtwisted.errors.MailError``;
what the client reads of them is their ``public_text`` and a response code (``replies.response_code``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Any

from zope.interface import Attribute, Interface

__all__ = ["IAuthenticator", "IMaildrop", "IMessageBody"]


class IMessageBody(Interface):
    """One message's octets, lines ended by CRLF."""

    size = Attribute("int: octets")

    def read(offset: int, length: int) -> bytes:
        """Octets; fewer at the end. At most a megabyte a call."""

    def close() -> None:
        """Let go."""


class IMaildrop(Interface):
    """The messages of a user who is logged in; they have the numbers 1 to n."""

    sizes = Attribute("sequence of int: octets of each message, lines ended by CRLF")
    identifiers = Attribute(
        "sequence of str: the unique identifier of each, 1 to 70 characters from ! to ~ (RFC 1939 section 7)"
    )

    def body(number: int) -> IMessageBody | None:
        """A message; None when it is gone all the same. May be awaitable."""

    def update(deleted: Collection[int]) -> Awaitable[None]:
        """QUIT: remove these messages. :raises MailError: not all could be removed."""

    def release() -> None:
        """The session is over, in whatever way; called once, last. The maildrop may be opened again."""


class IAuthenticator(Interface):
    """How a user gets a maildrop."""

    sasl_backend = Attribute("moxtwisted.sasl backend that knows the users' secrets")
    mechanisms = Attribute("sequence of str: SASL mechanisms on offer, strongest first")

    def login(username: str, password: str, peer: Any) -> Awaitable[str | None]:
        """USER and PASS: the identity, or None when refused. :raises MailError: with text for the user (disabled, rate)."""

    def maildrop(identity: str, peer: Any) -> IMaildrop | Awaitable[IMaildrop]:
        """The mail of an identity that was authenticated, and nobody else's until it is released.

        :raises MailError: it cannot be opened; ``imap_code`` ``"INUSE"`` when another session has it.
        """
