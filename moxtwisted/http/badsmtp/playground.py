"""A dialogue with the server's own SMTP, in memory: octets go to a protocol of its factory and come back. Nothing is connected anywhere.

::

    playground = Playground(smtp_factory, reactor, os.urandom)
    dialogue = playground.open()
    dialogue.say(b"EHLO tester.example\\r\\n")
    await dialogue.news(after=0, timeout=20)
    dialogue.chunks                           # [(0.001, b"220 …"), (0.2, b"250-…")]

Dialogues are bounded in number, octets and time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IProtocolFactory, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.http.support.problems import ProblemError

__all__ = ["Dialogue", "PlayLimits", "Playground"]


@frozen(kw_only=True)
class PlayLimits:
    """Bounds.

    :ivar dialogues: open at the same time.
    :ivar input_octets: that one dialogue may say altogether.
    :ivar output_octets: that may be answered; a longer answer ends the dialogue.
    :ivar chunks: pieces of the answers.
    :ivar idle_seconds: without anybody saying or asking anything.
    :ivar total_seconds: of one dialogue.
    :ivar kept_seconds: how long what was said can be read after the end.
    """

    dialogues: int = 20
    input_octets: int = 1024 * 1024
    output_octets: int = 1024 * 1024
    chunks: int = 20_000
    idle_seconds: float = 300.0
    total_seconds: float = 1800.0
    kept_seconds: float = 60.0


@implementer(ITransport)
class Dialogue:
    """One dialogue, and the transport that the server's protocol believes in.

    :ivar chunks: what the server said: seconds since the beginning, and octets.
    :ivar closed: whether it is over.
    :ivar reason: why; empty before.
    """

    _log = Logger()

    def __init__(self, protocol: Any, clock: Any, limits: PlayLimits, gone: Callable[[], None]) -> None:
        self._protocol = protocol
        self._clock = clock
        self._limits = limits
        self._gone = gone
        self._started: float = clock.seconds()
        self._input: list[bytes] = []
        self._input_octets = self._output_octets = 0
        self._paused = self._feeding = False
        self._waiting: list[Deferred[None]] = []
        self.chunks: list[tuple[float, bytes]] = []
        self.closed = False
        self.reason = ""
        self.disconnecting = False
        self._losing: Any = None
        self._idle = clock.callLater(limits.idle_seconds, self._end, "nobody said anything for a while")
        self._total = clock.callLater(limits.total_seconds, self._end, "that was long enough")
        protocol.makeConnection(self)

    # -- our side -------------------------------------------------------------------------------------------------------

    def say(self, octets: bytes) -> None:
        """The client says something.

        :raise ProblemError: the dialogue is over, or has said enough.
        """
        if self.closed:
            raise ProblemError(409, f"the dialogue is over: {self.reason}")
        if self._input_octets + len(octets) > self._limits.input_octets:
            raise ProblemError(413, f"a dialogue has {self._limits.input_octets} octets at most")
        self._input_octets += len(octets)
        self._input.append(octets)
        self._stir()
        self._feed_soon()

    def news(self, after: int, timeout: float) -> Deferred[None]:
        """Wait until there are more chunks than that, or the end, or the time is over (seconds)."""
        self._stir()
        if len(self.chunks) > after or self.closed or timeout <= 0:
            return succeed(None)
        done: Deferred[None] = Deferred(
            lambda _: self._waiting.remove(done) if done in self._waiting else None
        )
        self._waiting.append(done)
        call = self._clock.callLater(timeout, self._tell, done)

        def stop(result: Any) -> Any:
            if call.active():
                call.cancel()
            return result

        return done.addBoth(stop)

    def hang_up(self, reason: str = "you hung up") -> None:
        """The client closes the connection."""
        self._end(reason)
        self._lose(ConnectionDone)

    def _stir(self) -> None:
        if self._idle.active():
            self._idle.reset(self._limits.idle_seconds)

    def _tell(self, done: Deferred[None]) -> None:
        if done in self._waiting:
            self._waiting.remove(done)
            done.callback(None)

    def _tell_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)

    def _feed_soon(self) -> None:
        if not self._feeding and self._input and not self._paused:
            self._feeding = True
            self._clock.callLater(0, self._feed)

    def _feed(self) -> None:
        self._feeding = False
        if self._paused or self.closed or not self._input:
            return
        octets = b"".join(self._input)
        self._input.clear()
        try:
            self._protocol.dataReceived(octets)
        except Exception:  # noqa: BLE001  a boundary: as a reactor would
            self._log.failure("the playground's server failed")
            self._end("the server failed")

    def _end(self, reason: str, why: type[Exception] = ConnectionDone) -> None:
        """The connection is gone, for both."""
        if self.closed:
            return
        self.closed, self.reason = True, reason
        for call in (self._idle, self._total):
            if call.active():
                call.cancel()
        # A protocol does not expect to be told so while it is still asking for it.
        self._losing = self._clock.callLater(0, self._lose, why)
        self._gone()
        self._tell_all()

    def _lose(self, why: type[Exception]) -> None:
        losing, self._losing = self._losing, None
        if losing is None:
            return
        if losing.active():
            losing.cancel()
        self._protocol.connectionLost(Failure(why()))

    # -- the server's side: a transport -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """The server says something."""
        if self.closed or not data:
            return
        self._output_octets += len(data)
        if self._output_octets > self._limits.output_octets or len(self.chunks) >= self._limits.chunks:
            self._end("the server said too much for this page", ConnectionAborted)
            return
        self.chunks.append((round(self._clock.seconds() - self._started, 3), bytes(data)))
        self._tell_all()

    def writeSequence(self, data: Any) -> None:
        """The server says something in pieces."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """The server hangs up."""
        self._end("the server closed the connection")

    def abortConnection(self) -> None:
        """The server resets the connection."""
        self._end("the server reset the connection", ConnectionAborted)

    def startTLS(self, context: Any, normal: bool = True) -> None:
        """The server wants to speak TLS, which nobody can type."""
        self._end("TLS would begin here, which is not played: nobody can type it")

    def pauseProducing(self) -> None:
        """The server does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The server reads."""
        self._paused = False
        self._feed_soon()

    def stopProducing(self) -> None:
        """The server reads no more."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """What is written is kept at once: nobody is ever asked to wait."""

    def unregisterProducer(self) -> None:
        """See ``registerProducer``."""

    def getPeer(self) -> IPv4Address:
        """Where the client is."""
        return IPv4Address("TCP", "127.0.0.1", 0)

    def getHost(self) -> IPv4Address:
        """Where the server is."""
        return IPv4Address("TCP", "127.0.0.1", 0)


class Playground:
    """All dialogues.

    :ivar limits: their bounds.
    """

    def __init__(
        self,
        factory: Any,
        clock: Any,
        entropy: Callable[[int], bytes],
        limits: PlayLimits | None = None,
    ) -> None:
        self._factory = IProtocolFactory(factory)
        self._clock = clock
        self._entropy = entropy
        self.limits = limits if limits is not None else PlayLimits()
        self._dialogues: dict[str, Dialogue] = {}
        self._forgetting: dict[str, Any] = {}

    def open(self) -> str:
        """Begin a dialogue.

        :return: what it is called.
        :raise ProblemError: there are too many.
        """
        busy = sum(not dialogue.closed for dialogue in self._dialogues.values())
        if busy >= self.limits.dialogues:
            raise ProblemError(503, f"{busy} dialogues are open already", {"Retry-After": "30"})
        while len(self._dialogues) >= 2 * self.limits.dialogues:
            self._forget(next(name for name, dialogue in self._dialogues.items() if dialogue.closed))
        protocol = self._factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 0))
        if protocol is None:
            raise ProblemError(503, "the server takes no connections now", {"Retry-After": "30"})
        name = self._entropy(16).hex()
        self._dialogues[name] = Dialogue(protocol, self._clock, self.limits, lambda: self._over(name))
        return name

    def dialogue(self, name: str) -> Dialogue:
        """The dialogue of this name.

        :raise ProblemError: there is none.
        """
        found = self._dialogues.get(name)
        if found is None:
            raise ProblemError(404, "there is no dialogue of that name, or it was over long ago")
        return found

    def close(self) -> None:
        """End all dialogues and forget them."""
        for name, dialogue in tuple(self._dialogues.items()):
            dialogue.hang_up("the server stops")
            self._forget(name)

    def _over(self, name: str) -> None:
        self._forgetting[name] = self._clock.callLater(self.limits.kept_seconds, self._forget, name)

    def _forget(self, name: str) -> None:
        self._dialogues.pop(name, None)
        call = self._forgetting.pop(name, None)
        if call is not None and call.active():
            call.cancel()
