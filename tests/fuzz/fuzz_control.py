"""Fuzz the control socket: AMP boxes from anybody who may open it, and answers from a server that says anything.

A box calls nothing but an operation with the arguments it takes, each call is answered, and no exception is logged but what an operation
itself raises.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from moxtwisted.errors import ConfigurationError, MailError
from moxtwisted.server.control.amp import (
    MAX_CALLS,
    ClientProtocol,
    ControlProtocol,
    RemoteAdministration,
    operations,
)
from tests.fuzz.run import alone
from tests.fuzz.watching import nothing_failed, within


class Administration:
    """Takes every operation, and looks at what it is given.

    :ivar calls: how many there were.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.waiting: list[Deferred[None]] = []

    def __getattr__(self, name: str) -> Any:
        """An operation."""
        method = operations().get(name)
        if method is None:
            raise AttributeError(name)

        async def operation(**keywords: Any) -> Any:
            self.calls += 1
            if set(keywords) != set(method.getSignatureInfo()["positional"]):
                raise AssertionError((name, keywords))
            if name == "stop":
                # Some operations take their time.
                later: Deferred[None] = Deferred()
                self.waiting.append(later)
                await later
            if "progress" in keywords:
                keywords["progress"](1, 2, "half")
            if name == "domain_list":
                raise MailError("refused")
            return {"keys": sorted(keywords)}

        return operation


def box(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A box as AMP writes it."""
    written = [len(x).to_bytes(2) + x for pair in pairs for x in pair if len(x) < 0x10000]
    return b"".join(written) + b"\0\0"


def called(data: bytes) -> bytes:
    """Boxes with calls, from lines of method, tab and arguments: so that the JSON is reached."""
    boxes = []
    for number, line in enumerate(data.split(b"\n")[: 2 * MAX_CALLS]):
        method, _, arguments = line.partition(b"\t")
        boxes.append(
            box(
                [
                    (b"_ask", b"%d" % number),
                    (b"_command", b"Call"),
                    (b"serial", b"%d" % (number % 10)),
                    (b"method", method[:200]),
                    (b"arguments", arguments[:2000]),
                ]
            )
        )
    return b"".join(boxes)


def server(octets: bytes, size: int) -> bytes:
    """What the server answers."""
    administration = Administration()
    protocol = ControlProtocol(administration, lambda: 0.0)
    transport = StringTransport()
    with nothing_failed():
        protocol.makeConnection(transport)
        for i in range(0, len(octets), size):
            if transport.disconnecting:
                break
            protocol.dataReceived(octets[i : i + size])
        if len(administration.waiting) > MAX_CALLS:
            raise AssertionError(len(administration.waiting))
        for later in administration.waiting[::2]:
            later.callback(None)
        protocol.connectionLost(Failure(ConnectionDone()))
    if administration.calls > octets.count(b"Call"):
        raise AssertionError(administration.calls)
    return transport.value()


def client(octets: bytes, size: int) -> bytes:
    """The command's side hears anything; whoever asked is told that it failed."""
    protocol = ClientProtocol()
    transport = StringTransport()
    outcomes: list[Any] = []
    with nothing_failed():
        protocol.makeConnection(transport)
        remote = RemoteAdministration(protocol)
        remote.queue_list().addBoth(outcomes.append)
        remote.reparse("alice", lambda done, total, what: outcomes and None).addBoth(outcomes.append)
        for i in range(0, len(octets), size):
            if transport.disconnecting:
                break
            protocol.dataReceived(octets[i : i + size])
        protocol.connectionLost(Failure(ConnectionDone()))
    if len(outcomes) != 2:
        raise AssertionError(outcomes)
    for outcome in outcomes:
        if isinstance(outcome, Failure) and not outcome.check(MailError, ConfigurationError):
            raise AssertionError(outcome.getTraceback())
    return transport.value()


def one(data: bytes) -> None:
    """Try one input: an octet for what it is, one for the cuts, and the octets or the lines."""
    if len(data) < 2:
        return
    kind, size, octets = data[0] % 4, data[1] % 64 + 1, data[2:]
    if kind == 1:
        octets = called(octets)
    elif kind == 3:
        octets = b"".join(
            box([(b"_answer", b"%x" % (number + 1)), (b"outcome", line)])
            for number, line in enumerate(octets.split(b"\n"))
        )
    side = server if kind < 2 else client
    whole = within(20_000 + 400 * len(octets), data, lambda: side(octets, len(octets) or 1))
    if side(octets, size) != whole:
        raise AssertionError("the cuts change what is said")


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
