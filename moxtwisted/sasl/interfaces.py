"""The seams of the SASL exchanges: where verifiers come from and who says the last word.

An exchange knows the wire; an ``ISASLBackend`` knows the users. Its methods return awaitables, so they are
usually written ``async def``; they may wait on whatever the host's event loop has (Deferreds under Twisted),
the exchange never looks inside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any

from zope.interface import Attribute, Interface

from moxtwisted.sasl.credentials import PasswordVerifiers
from moxtwisted.sasl.outcome import Failure, Outcome, Reason, ServerStep

__all__ = ["ISASLBackend", "IServerExchange"]


class ISASLBackend(Interface):
    """Knows who may log in. An object may serve one session or all of them; no peer address is passed here."""

    def verifiers(username: str, mechanism: str) -> Awaitable[PasswordVerifiers | Failure | None]:
        """The stored verifiers of a user for a mechanism that does its own arithmetic (SCRAM, CRAM-MD5).

        :param username: as the peer sent it, decoded, not prepared.
        :return: the verifiers; ``None`` when there is no such user (the exchange then goes on with decoys, so
            that the peer learns nothing); a ``Failure`` to end the exchange at once (rate limit, no database).
        """

    def conclude(username: str, mechanism: str, refusal: Reason | None) -> Awaitable[Outcome]:
        """The last word on an exchange that the mechanism decided itself, and the place where it is counted.

        Called once per exchange that does not end in ``check_password``, ``external`` or in a ``Failure`` that
        ``verifiers`` gave.

        :param username: empty when the exchange broke off before a name was known.
        :param refusal: ``None`` when the proof was right; else why it was not, to be returned as a ``Failure``.
        """

    def check_password(username: str, password: str, mechanism: str) -> Awaitable[Outcome]:
        """Whether this is the password of the user (PLAIN, LOGIN).

        :param username: as the peer sent it, decoded, not prepared.
        :param password: likewise.
        """

    def external(username: str) -> Awaitable[Outcome]:
        """Whether the credentials of the layer below (a TLS client key) log in a user.

        :param username: the identity asked for; empty = the one the key belongs to.
        """


class IServerExchange(Interface):
    """One authentication exchange, server side. Calls must not overlap."""

    mechanism = Attribute("str: the SASL mechanism name in upper case")
    username = Attribute("str: the user name as far as the peer has sent it, for the log; else empty")

    def respond(data: bytes | None) -> Coroutine[Any, Any, ServerStep]:
        """Take the peer's next message.

        :param data: octets after base64 decoding; ``None`` on the first call when the peer sent no initial
            response. An empty initial response (``=`` in SMTP and IMAP) is ``b""``.
        :return: a `Challenge <moxtwisted.sasl.outcome.Challenge>` to send, or the end. After the end every
            further call is a ``Failure`` with ``Reason.BAD_PROTOCOL``.
        """

    def abort() -> Coroutine[Any, Any, Failure]:
        """The peer cancelled the exchange (``*`` in SMTP and IMAP), or its base64 was bad, or the connection is gone.

        Whoever owns the exchange calls it in all three cases: a SCRAM exchange left alone after the salt was shown is
        how somebody collects salts, and only this call lets the backend count it. Nothing happens after the end.
        """
