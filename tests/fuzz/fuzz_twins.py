"""Fuzz the IMAP and POP3 twins of BadSMTP: user names with wishes, and commands after log-in.

Whatever is asked for, no exception reaches the log, what a server says is bounded, and when the connection is gone nothing is left.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from moxtwisted.badsmtp.imaptwin import ImapTwinFactory
from moxtwisted.badsmtp.poptwin import PopTwinFactory
from moxtwisted.badsmtp.twinmail import Mailrooms
from tests.badsmtp.imapclients import make_surroundings
from tests.fuzz.run import alone
from tests.fuzz.watching import nothing_failed

_ADDRESS = IPv4Address("TCP", "127.0.0.1", 25143)
#: A reply of "long" has a megabyte, one of "twice" what there is twice.
MOST_OCTETS = 60_000_000


class _Transport(StringTransport):
    """Counts what is written, and forgets it."""

    octets = 0

    def write(self, data: bytes) -> None:
        """Octets for the client."""
        self.octets += len(data)

    def abortConnection(self) -> None:
        """A reset."""
        self.disconnecting = True


def _factory(clock: Any, *, imap: bool) -> Any:
    surroundings = make_surroundings(clock)
    if not imap:
        return PopTwinFactory(surroundings)
    rooms = Mailrooms(surroundings.captured, clock, most_messages=100, octets=100_000)
    return ImapTwinFactory(surroundings, rooms)


def one(data: bytes) -> None:
    """Try one input: an octet for the protocol, one for the cuts, a line with a user name, and what the client says then."""
    if len(data) < 2:
        return
    imap, size = bool(data[0] & 1), data[1] % 64 + 1
    name, _, octets = data[2:].partition(b"\n")
    name = bytes(c for c in name if 0x20 < c < 0x7F and c not in b'"\\')[:100] or b"bob"
    octets = octets[:2000]
    clock: Any = Clock()
    clock.advance(1_700_000_000)
    factory = _factory(clock, imap=imap)
    transport = _Transport(hostAddress=_ADDRESS, peerAddress=_ADDRESS)
    with nothing_failed():
        protocol = factory.buildProtocol(_ADDRESS)
        protocol.makeConnection(transport)
        login = b'a1 LOGIN "%b" x\r\na2 SELECT INBOX\r\n' if imap else b"USER %b\r\nPASS x\r\n"
        protocol.dataReceived(login % name)
        for at in range(0, len(octets), size):
            if transport.disconnecting:
                break
            protocol.dataReceived(octets[at : at + size])
            clock.advance(1)
        for _ in range(12):
            clock.advance(10)
        protocol.connectionLost(Failure(ConnectionLost()))
        clock.advance(0)
    left = clock.getDelayedCalls()
    if left or factory.connections:
        raise AssertionError(("something is left", left))
    if transport.octets > MOST_OCTETS:
        raise AssertionError(transport.octets)


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
