"""An IMAP client: log in, list the newest messages of the inbox, wait for new mail if a number of seconds follows::

    python examples/imap_client.py tcp:127.0.0.1:2143 reader reader
    python examples/imap_client.py tls:mail.example.org:993 alice@example.org secret 60

``save`` writes a message to a file. The connection does TLS by itself, so that log-in can be bound to it (SCRAM-PLUS); SSL_CERT_FILE names
the certificate of a server that has made its own.
"""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.ssl import optionsForClientTLS

from moxtwisted.errors import MailError
from moxtwisted.imap.agent import ClientSettings, ClientTLS, IMAPClient, connect
from moxtwisted.imap.client.notices import NewCount, Notice
from moxtwisted.sasl.client import Credentials


def settings_for(where: str, username: str, password: str) -> tuple[str, ClientSettings]:
    """An endpoint for plain TCP, and how the session is opened on it."""
    kind, _, rest = where.partition(":")
    tls = ClientTLS(optionsForClientTLS(rest.split(":")[0]), implicit=True) if kind == "tls" else None
    credentials = Credentials(username, password)
    return f"tcp:{rest}", ClientSettings(tls=tls, credentials=credentials, allow_clear_password=tls is None)


class Saved:
    """Takes a large message piece by piece."""

    def __init__(self, name: str) -> None:
        self.file = Path(name).open("wb")  # noqa: SIM115  closed by close

    def write(self, octets: bytes) -> None:
        """Nothing more is read from the server before this returns (or what it returns has fired)."""
        self.file.write(octets)

    def close(self, *, complete: bool) -> None:
        """All of it is there, or the connection was lost."""
        self.file.close()


async def show_newest(client: IMAPClient, mailbox: str = "INBOX", count: int = 10) -> None:
    """Print sender and subject of the newest messages."""
    selected = await client.select(mailbox, examine=True)
    print(f"{mailbox}: {selected.exists} messages")
    if selected.exists:
        newest = range(max(1, selected.exists - count + 1), selected.exists + 1)
        for message in await client.fetch(newest, ["UID", "FLAGS", "ENVELOPE"], uid=False):
            envelope = message.envelope
            sender = envelope.from_[0].address if envelope and envelope.from_ else "nobody"
            print(message.uid, sender, envelope.subject if envelope else "")


async def save(client: IMAPClient, uid: int, name: str) -> None:
    """Write a message to a file; its octets pass through."""
    target = Saved(name)

    def small(message: Any) -> None:
        octets = message.section()
        if octets is not None:  # a small one comes whole, without a sink
            target.write(octets)
            target.close(complete=True)

    await client.fetch_each([uid], ["BODY.PEEK[]"], small, sinks=lambda started: target)


async def main(reactor: Any, where: str, username: str, password: str, wait_seconds: str = "0") -> None:
    """Show the newest messages, then what comes within some seconds."""

    def heard(notice: Notice) -> None:
        if isinstance(notice, NewCount):
            print(f"now {notice.count} messages")

    endpoint, settings = settings_for(where, username, password)
    try:
        client = await connect(reactor, clientFromString(reactor, endpoint), settings, heard)
        await show_newest(client)
        if float(wait_seconds):
            idle = await client.idle()
            await task.deferLater(reactor, float(wait_seconds))
            await idle.done()
        await client.close()
    except MailError as error:
        sys.exit(f"{where}: {error.explanation}")


if __name__ == "__main__":
    if len(sys.argv) not in {4, 5}:
        sys.exit(__doc__)
    task.react(lambda reactor, *words: ensureDeferred(main(reactor, *words)), sys.argv[1:])
