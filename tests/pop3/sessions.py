"""A client of the POP3 machine, in memory."""

from __future__ import annotations

from typing import Any

from moxtwisted.pop3.memory import MemoryAuthenticator, MemoryMaildrop
from moxtwisted.pop3.server import Close, Run, Server, StartTLS, Stream, Surroundings, Transport
from moxtwisted.pop3.settings import ServerSettings
from moxtwisted.sasl.decoys import Decoys

MESSAGES = (b"Subject: one\r\n\r\n.dot\r\nend\r\n", b"Subject: two\r\n\r\nno end", b"")
SETTINGS = ServerSettings(hostname="pop.example", allow_plain_without_tls=True, offer_stls=True)


def entropy(count: int) -> bytes:
    """Octets, the same each time."""
    return bytes(n % 256 for n in range(count))


def run_now(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the coroutine waits")


class Session:
    """A connection to a machine; work is done at once.

    :ivar closed: whether the server hung up.
    :ivar tls_wanted: whether it waits for a handshake.
    """

    def __init__(
        self,
        settings: ServerSettings = SETTINGS,
        maildrop: MemoryMaildrop | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.maildrop = maildrop or MemoryMaildrop(MESSAGES)
        authenticator = MemoryAuthenticator({"alice": ("secret", self.maildrop)}, entropy)
        self.server = Server(settings, authenticator, Surroundings(entropy, Decoys(entropy(32))), transport)
        self.closed = self.tls_wanted = False
        self.server.start()
        self.greeting = self._carry_out()

    def send(self, octets: bytes) -> bytes:
        """What the server says to octets."""
        self.server.receive(octets)
        return self._carry_out()

    def say(self, *lines: str) -> bytes:
        """What the server says to the last of these lines."""
        said = b""
        for line in lines:
            said = self.send(line.encode() + b"\r\n")
        return said

    def log_in(self) -> bytes:
        """As Alice."""
        return self.say("USER alice", "PASS secret")

    def _carry_out(self) -> bytes:
        said = []
        work: Any = None
        while not self.closed and not self.tls_wanted:
            work = work or self.server.next_work()
            said.append(self.server.take_output())
            following = None
            match work:
                case None:
                    break
                case Run(coroutine):
                    following = run_now(coroutine)
                case Stream(pieces):
                    said.extend(pieces)
                    self.server.streamed()
                case StartTLS():
                    self.tls_wanted = True
                case Close():
                    self.closed = True
            work = following
        said.append(self.server.take_output())
        return b"".join(said)
