"""Our own SMTP client on a wire to a BadSMTP server: in memory, both on clocks that are turned as far as anybody waits."""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from moxtwisted.address import Address, Path
from moxtwisted.badsmtp.interfaces import CapturedMessage
from moxtwisted.badsmtp.surroundings import Listener
from moxtwisted.smtp.agent import BytesSource, ClientSettings, send_mail
from moxtwisted.smtp.envelope import MailParameters, Recipient
from moxtwisted.smtp.transmission import Envelope, Outcome, RecipientResult
from tests.badsmtp.inmemory import Server

#: What is on its way before the writer is told to wait, about what kernels keep.
_ROOM_OCTETS = 256 * 1024
#: Turns of the wire and the clocks, far more than any dialogue needs.
_TURNS = 20_000


class End:
    """One end of a connection, a transport."""

    def __init__(self) -> None:
        self.peer: End
        self.protocol: Any = None
        self.out = bytearray()
        self.octets = 0
        self.reading = True
        self.disconnecting = False
        self.aborted = False
        self.gone = False
        self._producer: Any = None
        self._full = False

    def write(self, octets: bytes) -> None:
        if self.gone or self.disconnecting:
            return
        self.out += octets
        self.octets += len(octets)
        if self._producer is not None and not self._full and len(self.out) > _ROOM_OCTETS:
            self._full = True
            self._producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.disconnecting = self.aborted = True
        self.out.clear()

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 40000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 2525)

    def turn(self) -> bool:
        """Let some octets through, or the end; whether there was anything."""
        if self.gone:
            return False
        if self.out and self.peer.reading and not self.peer.aborted:
            octets = bytes(self.out[:65536])
            del self.out[:65536]
            self.peer.protocol.dataReceived(octets)
            if self._full and not self.out and self._producer is not None:
                self._full = False
                self._producer.resumeProducing()
            return True
        if self.disconnecting and not self.out:
            reason = Failure(ConnectionLost() if self.aborted else ConnectionDone())
            self.gone = self.peer.gone = True
            self.protocol.connectionLost(reason)
            self.peer.protocol.connectionLost(reason)
            return True
        return False


def envelope(sender: str, recipients: list[str], **parameters: Any) -> Envelope:
    """From addresses."""
    return Envelope(
        Path(Address.parse(sender)),
        [Recipient(Path(Address.parse(recipient))) for recipient in recipients],
        MailParameters(**parameters),
    )


@frozen
class Story:
    """How it ended.

    :ivar results: as ``send_mail`` gave them.
    :ivar captured: what the server kept.
    :ivar seconds: how long it took by the client's clock.
    :ivar heard: octets that the server wrote.
    """

    results: list[RecipientResult]
    captured: tuple[CapturedMessage, ...]
    seconds: float
    heard: int

    @property
    def outcomes(self) -> list[Outcome]:
        """In the order of the recipients."""
        return [result.outcome for result in self.results]


@define
class Wire:
    """A server, and clients that connect to it one after the other."""

    listener: Listener = field(factory=lambda: Listener(name="smtp"))
    clock: Clock = field(factory=Clock)
    server: Server = field(init=False)
    ends: tuple[End, End] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.server = Server(self.listener)

    def connect(self, factory: Any) -> Deferred[Any]:
        """As an endpoint does."""
        ours, theirs = self.ends = End(), End()
        ours.peer, theirs.peer = theirs, ours
        ours.protocol = factory.buildProtocol(None)
        theirs.protocol = self.server.factory.buildProtocol(None)
        ours.protocol.makeConnection(ours)
        theirs.protocol.makeConnection(theirs)
        return succeed(ours.protocol)

    def _over(self) -> bool:
        return all(end.gone for end in self.ends)

    def _wait(self) -> None:
        """Turn the clocks to where somebody does something."""
        clocks = (self.clock, self.server.clock)
        waits = [call.getTime() - clock.seconds() for clock in clocks for call in clock.getDelayedCalls()]
        if not waits:
            raise AssertionError("the client waits for ever")
        for clock in clocks:
            clock.advance(max(0.0, min(waits)))

    def send(
        self,
        settings: ClientSettings,
        sender: str,
        recipients: list[str],
        message: bytes = b"Subject: x\r\n\r\n",
        **parameters: Any,
    ) -> Story:
        """Send a message, and wait until everything is over.

        :raise AssertionError: the client does not end, or leaves something behind.
        """
        self.server.captured.clear()
        begun = self.clock.seconds()
        letter = envelope(sender, recipients, **parameters)
        results = self.run(send_mail(self.clock, self, settings, letter, BytesSource(message)))  # type: ignore[arg-type]
        seconds = self.clock.seconds() - begun
        return Story(results, self.server.captured.messages(), seconds, self.ends[1].octets)

    def run(self, working: Deferred[Any]) -> Any:
        """What it fires with; then its connection is gone, and nothing is left to be done.

        :raise AssertionError: it fails, or never fires, or leaves something behind.
        """
        ended: list[Any] = []
        working.addBoth(ended.append)
        for _ in range(_TURNS):
            moved = self.ends[0].turn()
            if self.ends[1].turn() or moved:
                continue
            if ended:
                break
            self._wait()
        if not ended or isinstance(ended[0], Failure):
            raise AssertionError(f"no results: {ended}")
        if not self._over() or self.clock.getDelayedCalls():
            raise AssertionError(f"left behind: {self.ends[0].__dict__} {self.clock.getDelayedCalls()}")
        return ended[0]
