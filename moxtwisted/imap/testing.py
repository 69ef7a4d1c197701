r"""Driving an IMAP server in memory: for our tests and for those of programs with their own backend.

::

    mail = MemoryMail()
    driver = Driver.of(mail)
    driver.login()
    driver.command("SELECT INBOX")        # [b"* FLAGS (…)", …, b"a2 OK [READ-WRITE] SELECT completed"]
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from moxtwisted.imap.backend import IAuthenticator
from moxtwisted.imap.connection import Transport
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.server import (
    Close,
    Run,
    Server,
    StartCompression,
    StartTLS,
    StopCompression,
    Stream,
    Surroundings,
)
from moxtwisted.imap.settings import ServerSettings, Timeouts

__all__ = ["Driver", "FixedClock", "counted_entropy", "run_now", "split_responses"]


class FixedClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def seconds(self) -> float:
        """The time, seconds since 1970."""
        return self.now


def counted_entropy() -> Callable[[int], bytes]:
    """Octets that look random enough for a test and are the same in each run."""
    state = 0

    def entropy(count: int) -> bytes:
        nonlocal state
        state += 1
        return (state.to_bytes(8, "big") * (count // 8 + 1))[:count]

    return entropy


def run_now(awaitable: Awaitable[Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    iterator = awaitable.__await__()
    try:
        next(iterator)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the coroutine waits for something that is not there")


def split_responses(octets: bytes) -> list[bytes]:
    """The responses in ``octets``, without their CRLF; literals stay inside their response."""
    found = []
    at = 0
    while at < len(octets):
        start = at
        while True:
            end = octets.index(b"\r\n", at)
            line = octets[at:end]
            at = end + 2
            brace = line.rfind(b"{")
            if not line.endswith(b"}") or brace < 0 or not line[brace + 1 : -1].isdigit():
                break
            at += int(line[brace + 1 : -1])
        found.append(octets[start:end])
    return found


def _settings() -> ServerSettings:
    return ServerSettings(
        hostname="mail.example.org",
        allow_plain_without_tls=True,
        timeouts=Timeouts(login_failure_pause=0.0),
    )


@define(eq=False)
class Driver:
    """One client of one server, both in memory.

    :ivar closed: whether the server wants the connection closed.
    :ivar tls_wanted: whether it waits for a handshake.
    """

    server: Server
    closed: bool = False
    tls_wanted: bool = False
    _count: int = 0
    _output: list[bytes] = field(factory=list)

    @classmethod
    def of(
        cls,
        mail: MemoryMail | None = None,
        *,
        authenticator: IAuthenticator | None = None,
        settings: ServerSettings | None = None,
        transport: Transport | None = None,
        clock: Any = None,
    ) -> Driver:
        """A client that was greeted; user ``alice``, password ``secret``."""
        entropy = counted_entropy()
        if authenticator is None:
            authenticator = MemoryAuthenticator({"alice": ("secret", mail or MemoryMail())}, entropy)
        surroundings = Surroundings(clock or FixedClock(), entropy)
        server = Server(settings or _settings(), authenticator, surroundings, transport)
        driver = cls(server)
        server.start()
        return driver

    def send(self, octets: bytes) -> None:
        """Octets from the client; everything that follows from them happens now."""
        self.server.receive(octets)
        self._carry_out(None)

    def flush(self) -> None:
        """What happened is told to a client that idles or said NOTIFY."""
        work = self.server.flush_changes()
        if work is not None:
            self._carry_out(work)

    def _carry_out(self, work: Any) -> None:
        server = self.server
        while not (self.closed or self.tls_wanted):
            if work is None:
                work = server.next_work()
            self._output.append(server.take_output())
            match work:
                case None:
                    break
                case Run(coroutine):
                    work = run_now(coroutine)
                case Stream(pieces):
                    self._output += pieces
                    server.streamed()
                    work = None
                case StartTLS():
                    self.tls_wanted = True
                case StartCompression():
                    server.compression_started()
                    work = None
                case StopCompression():
                    server.compression_stopped()
                    work = None
                case Close():
                    self.closed = True
                    server.lost()

    def handshake(self, transport: Transport | None = None) -> None:
        """TLS has been started."""
        self.tls_wanted = False
        self.server.tls_started(transport or Transport(tls=True))

    def received(self) -> bytes:
        """What the server said since the last call."""
        self._output.append(self.server.take_output())
        octets = b"".join(self._output)
        self._output.clear()
        return octets

    def command(self, text: str | bytes) -> list[bytes]:
        """Send a command with a tag of its own. @return: the responses."""
        self._count += 1
        self.received()
        octets = text.encode("utf-8") if isinstance(text, str) else text
        self.send(b"a%d %b\r\n" % (self._count, octets))
        return split_responses(self.received())

    def login(self) -> None:
        """Log in as ``alice``."""
        self.command("LOGIN alice secret")
