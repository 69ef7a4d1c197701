"""What REPLACE (RFC 8508) asks of a backend besides ``ISession``.

A session that provides ``IReplacingSession`` puts a message into a mailbox and takes another out of the selected one, both or
neither; its authenticator then names ``REPLACE`` among its ``extensions``.
"""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from moxtwisted.imap.backend import Appended, IAppendSink, Incoming, ISelectedMailbox

__all__ = ["IReplacingSession"]


class IReplacingSession(Interface):
    """A session whose messages can be replaced."""

    def replacement_sink(selected: ISelectedMailbox, uid: int, mailbox: str, size_octets: int) -> IAppendSink:
        """As ``ISession.append_sink``; the message that goes counts for the quota (RFC 8508 section 3.4)."""

    def replace(selected: ISelectedMailbox, uid: int, mailbox: str, message: Incoming) -> Awaitable[Appended]:
        """Add ``message`` to ``mailbox`` and remove ``uid`` from ``selected``, in one step.

        :raises MessageMissingError: when it is gone already; then, as after any error, nothing has changed.
        """
