"""Dialogues in memory."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.http.badsmtp.playground import Dialogue, Playground, PlayLimits
from moxtwisted.http.support.problems import ProblemError


class _Server(Protocol):
    """Says what it hears, and does what it is told."""

    lost: Failure | None = None

    def connectionMade(self) -> None:
        self.say(b"hello ")

    def say(self, octets: bytes) -> None:
        transport: Any = self.transport
        transport.write(octets)

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        match data:
            case b"close":
                self.say(b"bye")
                transport.loseConnection()
            case b"reset":
                transport.abortConnection()
            case b"tls":
                transport.startTLS(object())
            case b"pause":
                transport.pauseProducing()
            case b"fail":
                raise ValueError("a fault of the server")
            case _:
                transport.writeSequence([b"<", data, b">"])

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost = reason


class DialogueTests(SynchronousTestCase):
    """One dialogue and its bounds."""

    limits = PlayLimits(dialogues=2, input_octets=100, output_octets=200, chunks=10)

    def setUp(self) -> None:
        self.clock = Clock()
        self.servers: list[_Server] = []
        self.counter = 0

        def build(address: object) -> _Server:
            self.servers.append(_Server())
            return self.servers[-1]

        factory = Factory()
        factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        self.playground = Playground(factory, self.clock, self.entropy, self.limits)
        self.addCleanup(self.playground.close)

    def entropy(self, count: int) -> bytes:
        """Octets that differ."""
        self.counter += 1
        return self.counter.to_bytes(count, "big")

    def begin(self) -> Dialogue:
        """A new dialogue."""
        return self.playground.dialogue(self.playground.open())

    def say(self, dialogue: Dialogue, octets: bytes) -> bytes:
        """Say something; all that was answered so far."""
        dialogue.say(octets)
        self.clock.advance(0)
        return b"".join(said for _, said in dialogue.chunks)

    def test_to_and_fro(self) -> None:
        """What is said arrives, and what is answered is kept with its time."""
        dialogue = self.begin()
        self.clock.advance(1.5)
        self.assertEqual(self.say(dialogue, b"x"), b"hello <x>")
        self.assertEqual(dialogue.chunks, [(0, b"hello "), (1.5, b"<x>")])

    def test_news(self) -> None:
        """Who waits is told when there is more, when time is over, and at the end."""
        dialogue = self.begin()
        self.successResultOf(dialogue.news(0, 10))
        waiting = dialogue.news(1, 10)
        self.assertNoResult(waiting)
        self.say(dialogue, b"x")
        self.successResultOf(waiting)
        waiting = dialogue.news(2, 10)
        self.clock.advance(10)
        self.successResultOf(waiting)
        waiting = dialogue.news(2, 10)
        dialogue.hang_up()
        self.successResultOf(waiting)
        self.successResultOf(dialogue.news(2, 10))

    def test_who_waits_no_longer(self) -> None:
        """A wait that is given up leaves nothing behind."""
        dialogue = self.begin()
        waiting = dialogue.news(1, 10)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertEqual(dialogue._waiting, [])
        self.say(dialogue, b"x")

    def test_endings(self) -> None:
        """Each way to end is told to the server and to the reader, and nothing can be said after it."""
        for said, reason in (
            (b"close", "the server closed the connection"),
            (b"reset", "the server reset the connection"),
            (b"tls", "TLS would begin here, which is not played: nobody can type it"),
        ):
            dialogue = self.begin()
            self.say(dialogue, said)
            self.assertEqual((dialogue.closed, dialogue.reason), (True, reason))
            self.assertIsNotNone(self.servers[-1].lost)
            self.assertEqual(self.assertRaises(ProblemError, dialogue.say, b"x").status, 409)

    def test_a_server_that_fails(self) -> None:
        """A failure of the server is logged and ends the dialogue."""
        dialogue = self.begin()
        self.say(dialogue, b"fail")
        self.assertEqual(dialogue.reason, "the server failed")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_pausing(self) -> None:
        """While the server does not read, what is said waits."""
        dialogue = self.begin()
        self.say(dialogue, b"pause")
        self.assertEqual(self.say(dialogue, b"x"), b"hello ")
        dialogue.resumeProducing()
        self.assertEqual(self.say(dialogue, b"y"), b"hello <xy>")

    def test_too_much_is_said(self) -> None:
        """A dialogue takes so many octets, and a server that says too much is cut off."""
        dialogue = self.begin()
        self.assertEqual(self.assertRaises(ProblemError, dialogue.say, b"x" * 101).status, 413)
        self.say(dialogue, b"x" * 100)
        self.assertEqual(self.assertRaises(ProblemError, dialogue.say, b"x").status, 413)
        self.servers[-1].say(b"x" * 200)
        self.assertEqual(dialogue.reason, "the server said too much for this page")
        dialogue = self.begin()
        for _ in range(10):
            self.servers[-1].say(b"x")
        self.assertTrue(dialogue.closed)
        self.assertEqual(len(dialogue.chunks), 10)

    def test_time(self) -> None:
        """Who is silent for long is hung up on, and so is who goes on for very long."""
        limits = evolve(self.limits, idle_seconds=10, total_seconds=25, kept_seconds=1000)
        self.playground.limits = limits
        silent, busy = self.begin(), self.begin()
        for _ in range(4):
            self.clock.advance(6)
            if not busy.closed:
                self.say(busy, b"x")
        self.assertEqual(silent.reason, "nobody said anything for a while")
        self.assertFalse(busy.closed)
        self.clock.advance(2)
        self.assertEqual(busy.reason, "that was long enough")

    def test_number(self) -> None:
        """There are so many dialogues at once; those that are over are kept for a while, but not too many."""
        self.begin()
        self.begin()
        self.assertEqual(self.assertRaises(ProblemError, self.playground.open).status, 503)
        names = list(self.playground._dialogues)
        self.playground.dialogue(names[0]).hang_up()
        self.begin()
        self.playground.dialogue(names[0])
        self.clock.advance(self.limits.kept_seconds)
        self.assertEqual(self.assertRaises(ProblemError, self.playground.dialogue, names[0]).status, 404)
        for _ in range(20):
            self.playground.dialogue(list(self.playground._dialogues)[-1]).hang_up()
            self.begin()
            self.assertLessEqual(len(self.playground._dialogues), 4)

    def test_the_end(self) -> None:
        """When the site ends, nothing of the dialogues is left."""
        self.begin()
        self.begin().hang_up()
        self.playground.close()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(all(server.lost for server in self.servers))
