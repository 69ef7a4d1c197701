"""Send a message, and say what became of each recipient::

python examples/smtp_client.py tcp:127.0.0.1:2525 me@example.org you@example.org < message.eml
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString

from moxtwisted.address import Address, Path
from moxtwisted.smtp.agent import BytesSource, ClientSettings, send_mail
from moxtwisted.smtp.envelope import Recipient
from moxtwisted.smtp.transmission import Envelope, RecipientResult


async def send(
    reactor: Any, where: str, sender: str, recipients: list[str], message: bytes
) -> list[RecipientResult]:
    """Send it over a connection of its own."""
    envelope = Envelope(
        Path(Address.parse(sender)), [Recipient(Path(Address.parse(recipient))) for recipient in recipients]
    )
    settings = ClientSettings(hello_name="localhost")
    return await send_mail(
        reactor, clientFromString(reactor, where), settings, envelope, BytesSource(message)
    )


def main(
    reactor: Any, where: str, sender: str, *recipients: str, message: bytes | None = None
) -> Deferred[None]:
    """Send what is on standard input, and print the results."""

    async def run() -> None:
        octets = sys.stdin.buffer.read() if message is None else message
        for result in await send(reactor, where, sender, list(recipients), octets):
            word = "delivered" if result.delivered else "refused"
            print(
                f"{result.recipient.path} {word} at {result.stage}: {result.reply.code} {result.reply.text}"
            )

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    from twisted.internet.task import react

    react(main, sys.argv[1:])
