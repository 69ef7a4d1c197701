"""An LMTP server (RFC 2033) behind a mail server: after the message it answers for each recipient on its own::

    python examples/lmtp_server.py
    postconf -e mailbox_transport=lmtp:inet:127.0.0.1:2424        # Postfix then delivers to it

Mail for ``full@...`` is deferred, all other mail is printed.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString

from moxtwisted.smtp.envelope import Transaction
from moxtwisted.smtp.handlers import WholeMessages
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.settings import Mode, ServerSettings


def deliver(transaction: Transaction, message: bytes) -> list[Reply | None]:
    """One reply for each recipient, in their order; None is 250."""
    replies: list[Reply | None] = []
    for recipient in transaction.recipients:
        if str(recipient.path).startswith("full@"):
            replies.append(Reply(452, "4.2.2", "mailbox is over its quota"))
        else:
            print(f"for {recipient.path}: {len(message)} octets")
            replies.append(None)
    return replies


def main(reactor: Any, where: str = "tcp:2424:interface=127.0.0.1") -> Any:
    """Listen; a Deferred of the port."""
    settings = ServerSettings(hostname="localhost", mode=Mode.LMTP)
    return serverFromString(reactor, where).listen(
        SMTPServerFactory(settings, WholeMessages(deliver), reactor)
    )


def announce(port: Any) -> Deferred[None]:
    """Say where it serves, until it is interrupted."""
    print(f"LMTP at {port.getHost().host} port {port.getHost().port}", flush=True)
    return Deferred()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda reactor, *words: main(reactor, *words).addCallback(announce), sys.argv[1:])
