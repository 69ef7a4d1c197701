"""An SMTP server that prints what it receives::

python examples/smtp_server.py
printf 'Subject: hello\\n\\nIs there anybody?\\n' | curl smtp://127.0.0.1:2525 \\
        --mail-from me@example.org --mail-rcpt you@example.org --upload-file -
"""

from __future__ import annotations

from typing import Any

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


if __name__ == "__main__":
    from twisted.internet import reactor

    main(reactor)
    reactor.run()
