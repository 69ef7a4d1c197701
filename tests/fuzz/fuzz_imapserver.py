"""Fuzz the IMAP server over mail in memory, logged in, so that every command is reached.

Whatever a client says, what it hears can be read by our own reader, no tag is answered more often than it was said, cuts change nothing,
and when the connection is gone nothing is held.
"""

from __future__ import annotations

from collections import Counter

from attrs import define

from moxtwisted.errors import OverQuotaError
from moxtwisted.imap.memory import MemoryMail, MemoryMailbox
from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.rights import parse_modification
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.imap.wire.responsedata import BadResponse, StatusResponse
from moxtwisted.imap.wire.responses import ResponseReader
from moxtwisted.message.flags import NO_FLAGS
from tests.fuzz.run import alone
from tests.fuzz.watching import within

MOST_MESSAGES = 40

PLAIN = (
    b"Subject: =?utf-8?q?h=C3=A9?= you\r\nFrom: Anna <a@b.example>\r\nTo: b@b.example, c@b.example\r\n"
    b"Date: Mon, 1 Jan 2024 10:00:00 +0100\r\nMessage-ID: <1@b.example>\r\n\r\nhello\r\n"
)
PARTS = (
    b"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\naMOpbGxv\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: in it\r\n\r\nbody\r\n--x--\r\n"
)
EMPTY = b"\r\n"

_SETTINGS = ServerSettings(
    hostname="mail.example",
    allow_plain_without_tls=True,
    offer_starttls=True,
    timeouts=Timeouts(login_failure_pause=0.0),
    limits=Limits(
        line_octets=1000,
        literal_octets=300,
        command_octets=2000,
        append_octets=500,
        append_messages=4,
        fetch_batch=2,
        body_batch_octets=300,
        output_piece_octets=400,
    ),
)


@define(eq=False)
class SmallMail(SharedMemoryMail):
    """Mail with little room: a copy of everything may be asked for again and again."""

    def next_modseq(self) -> int:
        """See ``MemoryMail``."""
        if (
            sum(len(box.uids) for box in self._boxes.values()) > MOST_MESSAGES
            or len(self._boxes) > MOST_MESSAGES
        ):
            raise OverQuotaError
        return super().next_modseq()


def _rendered() -> MemoryMailbox:
    mail = MemoryMail()
    for message in (PLAIN, PARTS, EMPTY):
        mail.add("INBOX", message)
    return mail.find("INBOX")


_RENDERED = _rendered()


def filled() -> SmallMail:
    """The messages, and a few mailboxes; nothing is rendered again."""
    mail = SmallMail()
    inbox = mail.find("INBOX")
    for message in _RENDERED.messages.values():
        inbox.add(message, NO_FLAGS, mail.next_modseq())
    mail.make("Archive/2024")
    mail.make("Entw\u00fcrfe", ("\\Drafts",))
    return mail


def shared() -> SmallMail:
    """What Bob lets Alice do something with."""
    mail = filled()
    for name, rights in (("INBOX", "lrswite"), ("Archive/2024", "lrkxa"), ("Archive", "lk")):
        mail.put(mail.find(name), "alice", parse_modification(rights))
    return mail


def dialogue(choice: int, octets: bytes, size: int) -> bytes:
    """What the server says to octets in pieces of ``size``."""
    mail, others = filled(), shared()
    users = {"alice": ("secret", mail), "bob": ("secret", others)}
    driver = Driver.of(
        mail,
        authenticator=SharingAuthenticator(users, counted_entropy(), ("PLAIN",)),
        settings=_SETTINGS,
    )
    if choice & 1:
        driver.login()
    if choice & 2:
        driver.command("ENABLE QRESYNC IMAP4rev2")
    if choice & 4:
        driver.command('SELECT "Other Users/bob/INBOX"' if choice & 8 else "SELECT INBOX")
    said = []
    for i in range(0, len(octets), size):
        driver.send(octets[i : i + size])
        said.append(driver.received())
        if driver.tls_wanted:
            driver.handshake()
        if driver.closed:
            break
    if not driver.closed:
        driver.server.timed_out()
        driver.server.lost()
    for one_ in (mail, others):
        if one_.sessions or any(box._listeners for box in one_._boxes.values()):
            raise AssertionError("something is held")
    return b"".join(said)


def answered(said: bytes, octets: bytes) -> None:
    """The server's octets are responses."""
    reader = ResponseReader()
    reader.receive(said)
    tags: Counter[bytes] = Counter()
    while (response := reader.next()) is not None:
        if isinstance(response, BadResponse):
            raise AssertionError(response)  # noqa: TRY004  (the server's fault, not a type's)
        if isinstance(response, StatusResponse) and response.tag is not None:
            tags[response.tag] += 1
    if reader.buffered_octets:
        raise AssertionError("the last response has no end")
    if any(octets.count(tag) < count for tag, count in tags.items()):
        raise AssertionError(tags)


def one(data: bytes) -> None:
    """Try one input: an octet for the state to begin in, one for the cuts, and what the client says."""
    if len(data) < 2:
        return
    choice, size, octets = data[0], data[1] % 64 + 1, data[2:]
    said = within(
        20_000 + 300 * MOST_MESSAGES * (10 + len(octets)),
        data,
        lambda: dialogue(choice, octets, len(octets) or 1),
    )
    answered(said, octets)
    # What is in the packet of STARTTLS is thrown away; COMPRESS is refused when something is in its packet; after NOTIFY, and of
    # what a search watches (RETURN (UPDATE)), the server speaks whenever the client does not.
    told_by_packets = any(word in octets.upper() for word in (b"STARTTLS", b"COMPRESS", b"NOTIFY", b"UPDATE"))
    if not told_by_packets and dialogue(choice, octets, size) != said:
        raise AssertionError("the cuts change what is said")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
