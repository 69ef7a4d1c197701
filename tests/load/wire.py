"""A source joined to a sink in memory, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.test import iosim

from moxtwisted.address import Address, Path
from moxtwisted.load.letters import Letters, MadeUpLetters, Numbering
from moxtwisted.load.sink import Sink, SinkSettings
from moxtwisted.load.source import LoadSource, Mail, SourceSettings
from moxtwisted.smtp.agent import ClientSettings
from moxtwisted.smtp.envelope import Recipient

RUN = "1f2e3d4c"


def path(text: str) -> Path:
    """A path to an address."""
    return Path(Address.parse(text))


def letters(
    total: int = 0, octets: tuple[int, int] = (300, 300), *, eight_bit: bool = False
) -> MadeUpLetters:
    """Letters of the run ``RUN``."""
    return MadeUpLetters(
        Numbering(RUN, total, "client.example"),
        [("From", "<me@client.example>"), ("Subject", "load")],
        octets=octets,
        random=dice(0.1, 0.5, 0.9),
        date=lambda: "Sun, 22 Nov 2026 08:00:00 +0000",
        eight_bit=eight_bit,
    )


def mail(
    source: Letters | None = None, recipients: Sequence[str] = ("you@sink.example",), **options: Any
) -> Mail:
    """What is sent to the same recipients each time."""
    always = [Recipient(path(text)) for text in recipients]
    return Mail(source or letters(), path("me@client.example"), lambda _: always, **options)


def dice(*numbers: float) -> Callable[[], float]:
    """Random numbers that are known: these, again and again."""
    left: list[float] = []

    def throw() -> float:
        if not left:
            left.extend(numbers)
        return left.pop(0)

    return throw


class Wire:
    """An endpoint whose connections end in a factory.

    :ivar refusing: so many connections are refused first.
    """

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self.pumps: list[iosim.IOPump] = []
        self.refusing = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        """A connection."""
        if self.refusing:
            self.refusing -= 1
            return fail(Refused())
        client, server = factory.buildProtocol(None), self.factory.buildProtocol(None)
        if server is None:
            return fail(Refused())
        ends = iosim.FakeTransport(server, isServer=True), iosim.FakeTransport(client, isServer=False)
        self.pumps.append(iosim.connect(server, ends[0], client, ends[1], greet=False))
        return succeed(client)

    def deliver(self) -> None:
        """Carry octets until nobody has any left."""
        moved = True
        while moved:
            moved = sum(pump.pump() for pump in list(self.pumps)) > 0


class World:
    """A source and a sink.

    :ivar figures: what ``run`` came to, once it has ended.
    """

    def __init__(self, sink: SinkSettings | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.sink = Sink(sink or SinkSettings(), self.clock, random=dice(0.0, 0.25, 0.5, 0.75), entropy=bytes)
        self.wire = Wire(self.sink.factory)
        client = ClientSettings(hello_name="client.example", **settings.pop("client", {}))
        self.settings = SourceSettings(client=client, **settings)
        self.source: LoadSource
        self.running: Deferred[Any]
        self.figures: Any = None
        self.trace: Any = None

    def start(self, what: Mail | None = None, endpoint: Any = None) -> None:
        """Begin, and go as far as that goes without time."""
        wire: Any = endpoint or self.wire
        self.source = LoadSource(self.clock, wire, self.settings, what or mail(), random=dice(0.5))
        if self.trace is not None:
            self.source.trace_to(self.trace)
        self.running = self.source.run()
        self.running.addCallback(self.ended)
        self.wire.deliver()

    def ended(self, figures: Any) -> None:
        """The run has."""
        self.figures = figures

    def advance(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass in small steps, everything being delivered at each."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.wire.deliver()

    def finish(self) -> Any:
        """Let time pass until the run ends; its figures."""
        for _ in range(2000):
            if self.figures is not None:
                return self.figures
            self.advance(0.05, 0.05)
        raise AssertionError("the run does not end")
