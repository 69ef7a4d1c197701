"""Fuzz the SMTP server: the machine with its dialogue as MX, submission and LMTP server, and the protocol behind a proxy.

Whatever a client says, every line of it has its replies in the form of RFC 5321, cuts change nothing, no exception reaches the host's
log, and what was accepted goes out and comes in again as the same message.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from moxtwisted.address import Path
from moxtwisted.errors import MailError, OverQuotaError
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.testing import counted_entropy
from moxtwisted.sasl.decoys import Decoys
from moxtwisted.sasl.exchange import ServerContext
from moxtwisted.sasl.server import begin
from moxtwisted.smtp.body import BodyReader, BodyWriter
from moxtwisted.smtp.handlers import MemorySink
from moxtwisted.smtp.protocol import SMTPServerFactory, SMTPServerProtocol
from moxtwisted.smtp.proxyheader import ProxyAddresses, ProxyHeaderError, parse_proxy_header
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.settings import BareLineEnds, Limits, Mode, ServerSettings
from moxtwisted.smtp.testing import MemoryHandlers, MemoryLink
from tests.fuzz.run import alone
from tests.fuzz.watching import nothing_failed, within

MECHANISMS = ("SCRAM-SHA-256", "PLAIN", "LOGIN")
LIMITS = Limits(
    line_octets=300, auth_line_octets=400, recipients=5, discard_octets=600, proxy_header_octets=200
)

#: How far the client has come before the input begins.
_PREFIXES = (
    b"",
    b"EHLO c.example\r\nLHLO c.example\r\n",
    b"EHLO c.example\r\nLHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
    b"EHLO c.example\r\nLHLO c.example\r\nMAIL FROM:<a@b.example> BODY=BINARYMIME\r\nRCPT TO:<c@d.example>\r\n",
)

_REPLY = re.compile(rb"(?:([2-5][0-9]{2})-[^\r\n]*\r\n)*([2-5][0-9]{2})(?: [^\r\n]*)?\r\n")
NOT_NOW = Reply(451, "4.2.1", "not now")
_LONE_LF = re.compile(rb"(?<!\r)\n")
_LONE_CR = re.compile(rb"\r(?!\n)")
_USERS = MemoryAuthenticator({"alice": ("secret", MemoryMail())}, counted_entropy())
_DECOYS = Decoys(b"sixteen octets or more")


def handlers(*, lmtp: bool = False) -> MemoryHandlers:
    """A host that takes nearly everything, lets alice in, and answers each recipient of LMTP by itself."""

    def start(mechanism: str, tls: object) -> object:
        return begin(mechanism, MECHANISMS, ServerContext(_USERS, counted_entropy(), _DECOYS))

    def rcpt(path: Path, parameters: object) -> object:
        if path.wire().startswith(b"<no"):
            raise OverQuotaError
        return Reply(550, "5.1.1", "n\u00f3body\nhere") if path.wire().startswith(b"<un") else None

    def done(sink: MemorySink) -> object:
        if b"boom" in sink.message:
            raise MailError(public_text="refused")
        if not lmtp:
            return None
        return [None if r.path.wire() > b"<c" else NOT_NOW for r in sink.transaction.recipients]

    return MemoryHandlers(sasl_start=start, rcpt=rcpt, data_done=done)


def settings(choice: int) -> ServerSettings:
    """What the first octet of an input chooses."""
    return ServerSettings(
        hostname="mx.example",
        mode=(Mode.MX, Mode.SUBMISSION, Mode.LMTP, Mode.MX)[choice % 4],
        size_limit=400,
        auth_without_tls=True,
        mechanisms=MECHANISMS,
        auth_required=False if choice & 16 else None,
        bare_line_ends=BareLineEnds.REFUSE if choice & 4 else BareLineEnds.NORMALISE,
        close_on_first_unknown_command=bool(choice & 8),
        proxy_networks=(IPv4Network("192.0.2.0/24"),),
        # How much of a refused message is read depends on the cuts, so that limit is met only where these are not compared.
        limits=LIMITS if choice % 4 == 3 else evolve(LIMITS, discard_octets=1 << 20),
    )


def replies(octets: bytes, said: bytes) -> None:
    """The server's octets are replies, and not too many."""
    at = 0
    while at < len(octets):
        match = _REPLY.match(octets, at)
        if match is None or {m for m in match.groups() if m} != {match[2]}:
            raise AssertionError(octets[at:])
        if match[2] != b"334" and max(map(len, match[0].split(b"\r\n"))) > 510:
            raise AssertionError(match[0])
        at = match.end()
    if len(octets) > 1000 + 1000 * said.count(b"\n"):
        raise AssertionError(f"{len(octets)} octets of replies")


def again(message: bytes) -> None:
    """A message goes out and comes in as it was."""
    if _LONE_LF.search(message) or _LONE_CR.search(message):
        return
    writer, reader = BodyWriter(), BodyReader(BareLineEnds.REFUSE)
    half = len(message) // 2
    wire = writer.feed(message[:half]) + writer.feed(message[half:]) + writer.finish()
    whole = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    if reader.feed(wire) != whole or not reader.done or reader.rest:
        raise AssertionError((message, wire))


def dialogue(choice: int, octets: bytes, size: int) -> tuple[bytes, list[bytes]]:
    """What the server says to octets in pieces of ``size``, and the messages it accepted."""
    host = handlers(lmtp=choice % 4 == 2)
    link = MemoryLink(settings(choice), host)
    link.machine.tls_available = True
    said = link.say() + link.say_each(octets[i : i + size] for i in range(0, len(octets), size))
    if link.failures:
        raise AssertionError(link.failures)
    if link.ended is not None and link.say(b"NOOP\r\n"):
        raise AssertionError("said something after the end")
    link.dialogue.over("lost")
    ends = [[call for call in h.calls if call[0] == "disconnected"] for h in host.handlers]
    # Who made too many errors is told apart.
    if link.failures or any(
        end not in ([("disconnected", "lost")], [("disconnected", "errors")]) for end in ends
    ):
        raise AssertionError((link.failures, ends))
    for message in host.messages:
        if message.transaction.parameters.body != "BINARYMIME" and _LONE_LF.search(message.octets):
            raise AssertionError(message.octets)
    return said, [m.octets for m in host.messages]


def header(octets: bytes) -> ProxyAddresses | None:
    """A PROXY header is read when it is complete and never before, and is refused no later."""
    try:
        whole = parse_proxy_header(octets, LIMITS.proxy_header_octets)
    except ProxyHeaderError:
        return None
    for n in range(min(len(octets), LIMITS.proxy_header_octets) if whole is None else whole.octets):
        if parse_proxy_header(octets[:n], LIMITS.proxy_header_octets) is not None:
            raise AssertionError(octets[:n])
    if whole is not None and parse_proxy_header(octets[: whole.octets], LIMITS.proxy_header_octets) != whole:
        raise AssertionError(octets)
    return whole


class Transport(StringTransport):
    """In memory, and gone when it is closed."""

    gone = False

    def loseWriteConnection(self) -> None:
        """Nothing is written any more."""

    def abortConnection(self) -> None:
        """At once."""
        self.gone = True

    def loseConnection(self) -> None:
        """At once."""
        self.gone = True


def dripped(protocol: SMTPServerProtocol, clock: Clock) -> None:
    """In slow mode replies go out octet by octet, but not for ever."""
    drip = protocol._drip
    for _ in range(100):
        if drip is None or drip.empty:
            return
        clock.advance(1)
    raise AssertionError("still dripping")


def proxied(choice: int, octets: bytes, size: int) -> None:
    """The same behind a proxy, through the protocol."""
    header(octets)
    clock = Clock()
    factory = SMTPServerFactory(settings(choice), handlers(), clock)
    protocol = factory.buildProtocol(None)
    transport = Transport(peerAddress=IPv4Address("TCP", "192.0.2.1", 4000))
    with nothing_failed():
        protocol.makeConnection(transport)
        for i in range(0, len(octets), size):
            if transport.gone:
                break
            protocol.dataReceived(octets[i : i + size])
            if transport.producerState == "paused":
                clock.advance(2)
        dripped(protocol, clock)
        replies(transport.value(), octets)
        protocol.connectionLost(Failure(ConnectionLost()))
    if clock.getDelayedCalls() or factory.connections:
        raise AssertionError(clock.getDelayedCalls())


def one(data: bytes) -> None:
    """Try one input: an octet for the settings, one for the cuts, and what the client says."""
    if len(data) < 2:
        return
    choice, size, octets = data[0], data[1] % 64 + 1, data[2:]
    if choice % 4 == 3:
        proxied(choice, octets, size)
        return
    octets = _PREFIXES[choice >> 5 & 3] + octets
    said, messages = within(
        3000 + 100 * len(octets) + 1000 * octets.count(b"\n"),
        data,
        lambda: dialogue(choice, octets, len(octets) or 1),
    )
    replies(said, octets)
    for message in messages:
        again(message)
    # Behind STARTTLS nothing may be in the same packet, so there the cuts decide.
    if b"STARTTLS" not in octets.upper() and dialogue(choice, octets, size) != (said, messages):
        raise AssertionError("the cuts change what is said")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
