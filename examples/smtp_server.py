r"""An SMTP server that prints what it receives::

python examples/smtp_server.py
printf 'Subject: hello\n\nIs there anybody?\n' | curl smtp://127.0.0.1:2525 \
        --mail-from me@example.org --mail-rcpt you@example.org --upload-file -
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString

from moxtwisted.smtp.envelope import Transaction
from moxtwisted.smtp.handlers import WholeMessages
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.settings import ServerSettings


def deliver(transaction: Transaction, message: bytes) -> None:
    """Print one message; returning None accepts it."""
    print("From", transaction.reverse_path, "to", *(r.path for r in transaction.recipients))
    print(message.decode("utf-8", "replace"))


def main(reactor: Any, where: str = "tcp:2525:interface=127.0.0.1") -> Any:
    """Listen; a Deferred of the port."""
    factory = SMTPServerFactory(ServerSettings(hostname="localhost"), WholeMessages(deliver), reactor)
    return serverFromString(reactor, where).listen(factory)


def announce(port: Any) -> Deferred[None]:
    """Say where it serves, until it is interrupted."""
    print(f"SMTP at {port.getHost().host} port {port.getHost().port}", flush=True)
    return Deferred()


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda reactor, *words: main(reactor, *words).addCallback(announce), sys.argv[1:])
