"""A receiver that somebody else has taken over: the owner hears all of it, lives, stores nothing broken, and keeps nothing open."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
from attrs import evolve
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs

from moxtwisted.server.inbound.lease import Lease
from moxtwisted.server.processes.events import republish
from moxtwisted.server.receivers.near import Desk, Receiver
from moxtwisted.server.receivers.shapes import write_complete
from moxtwisted.server.receivers.words import Word
from moxtwisted.store.bodies import CHUNK_OCTETS, PLAIN, ZSTD, encode
from moxtwisted.store.staging import Staging
from tests.server.house import HouseCase
from tests.server.judgement.samples import HEADER, path
from tests.server.judging import Judging, verified_by
from tests.server.receivers.crossing import complete

IP = "203.0.113.7"
TAKEN, TROUBLE = 250, 451


class _Wire(StringTransport):
    """Keeps what is sent, closes descriptors; has ended when it was aborted.

    :ivar waiting_descriptors: that were not fetched yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting_descriptors: list[int] = []

    def send_with(self, descriptors: Sequence[int], data: bytes) -> None:
        """As between real sockets."""
        for descriptor in descriptors:
            os.close(descriptor)
        self.write(data)

    def abortConnection(self) -> None:
        """End it."""
        self.disconnecting = True


class LiesCase(HouseCase):
    def setUp(self) -> None:
        """A house with a judge; what is open before."""
        super().setUp()
        self.judge = Judging()
        verified_by(self.house, self.judge)
        self.events: list[dict[str, Any]] = []
        self.receivers: list[Receiver] = []
        self.begin()
        self.deliver()
        self.open = self.descriptors()

    def tear_down(self) -> None:
        """Nothing but the honest messages is there, and all receivers' things are closed."""
        for receiver in self.receivers:
            self.end(receiver)
        self.assertEqual(self.descriptors(), self.open)
        self.assertEqual(self.house.leaks(), [])
        super().tear_down()

    @staticmethod
    def descriptors() -> int:
        """How many files are open."""
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    # -- a receiver ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Another receiver, whose client is connected."""
        from moxtwisted.server.inbound.room import Room
        from moxtwisted.server.intake import Trouble

        publish: Any = self.events.append
        desk = Desk(
            outcome=self.house.outcome,
            directory=self.house.holder,
            message_octets=5_000_000,
            room=Room(self.house.store, Trouble(self.house.clock.seconds), self.house.outcome),
            connections=self.house.connections,
            republish=lambda event, number: republish(
                event, publish, receiver=number, now=self.house.clock.seconds
            ),
        )
        self.ended = 0
        receiver = self.receiver = Receiver(desk, 1, self.note_end, lambda _: None)
        self.receivers.append(receiver)
        self.wire = _Wire()
        receiver.link.makeConnection(self.wire)
        ours, theirs = socket.socketpair()
        theirs.close()
        self.assertIsNone(self.house.connections.admit(IP))
        receiver.give("public", ours, IP)
        self.heard()

    def note_end(self) -> None:
        """Its link is gone."""
        self.ended += 1

    def end(self, receiver: Receiver) -> None:
        """The other end is gone."""
        if receiver.link.up:
            receiver.link.connectionLost()

    def octets(self, *frames: Any) -> bytes:
        """As they cross."""
        written = [frame if isinstance(frame, bytes) else msgspec.msgpack.encode(frame) for frame in frames]
        return b"".join(len(frame).to_bytes(4, "big") + frame for frame in written)

    def say(self, *frames: Any, descriptor: int = -1) -> None:
        """The receiver says this; the descriptor goes over, and stays the caller's."""
        if descriptor >= 0:
            self.receiver.link.fileDescriptorReceived(os.dup(descriptor))
        self.receiver.link.dataReceived(self.octets(*frames))

    def heard(self) -> list[list[Any]]:
        """What the owner said since."""
        octets, found = self.wire.value(), []
        self.wire.clear()
        while octets:
            length = int.from_bytes(octets[:4], "big") + 4
            found.append(msgspec.msgpack.decode(octets[4:length]))
            octets = octets[length:]
        return found

    def answer(self) -> int:
        """The code of the one answer."""
        [[word, _, answer, _]] = self.heard()
        self.assertEqual(word, Word.ANSWER)
        if answer is None:
            return TAKEN
        self.assertEqual(answer[0], "one")
        return int(answer[1][0])

    # -- what is told --------------------------------------------------------------------------------------------

    def taken(self, number: int = 1, octets: bytes = HEADER + b"hello\r\n", **changes: Any) -> list[Any]:
        """An honest message, but for the changes: message, size, chunks, places, secret."""
        message = complete(octets=octets)
        handed = message.lease.staged.hand_over()  # type: ignore[attr-defined]
        told = {
            "chunks": handed.chunks,
            "places": (),
            "secret": b"",
            "size": len(octets),
            "message": write_complete(message),
            **changes,
        }
        return [
            Word.TAKE,
            number,
            told["message"],
            told["size"],
            [told["chunks"], told["places"], told["secret"]],
        ]

    def deliver(self) -> None:
        """An honest message is taken."""
        before = len(self.house.messages("alice"))
        self.say(self.taken())
        self.assertEqual(self.answer(), TAKEN)
        self.assertEqual(len(self.house.messages("alice")), before + 1)

    def is_ended(self, lie: Any = None) -> None:
        """The receiver was ended with a line in the log; another one serves."""
        text = repr(lie)[:200]
        self.assertTrue(self.wire.disconnecting, text)
        self.assertEqual(self.heard(), [], text)
        self.assertEqual(len(self.flushLoggedErrors()), 1, text)
        self.say(self.taken(99))
        self.assertEqual(self.heard(), [], f"it was heard after its end: {text}")
        self.end(self.receiver)
        self.assertEqual(self.ended, 1, text)
        self.assertEqual(self.house.connections.open_connections(IP), (0, 0, 0), text)
        self.begin()


class FrameLies(LiesCase):
    """What no receiver says."""

    def test_words(self) -> None:
        """Garbage, words that are none, the owner's own, too few and too many values, numbers of nobody: it is ended."""
        lies: list[Any] = [
            b"", b"\xc1", b"\x93", os.urandom(64), b"\x91" * 10_000, {"a": 1}, [], ["x"], [99], [Word.SET_UP, b""],
            [Word.CONNECTION, 1, "public"], [Word.ANSWER, 1, None, {}], [Word.READY, 1], [Word.TAKE], [Word.TAKE, 1, 2, 3, 4],
            [Word.CLOSED, 17, False], [Word.CLOSED, "1", False], [Word.CLOSED, [1], False], [Word.CLOSED, 1], [Word.GONE],
            [Word.GONE, []], [Word.ROOM, 1, None], [Word.ROOM, 1, [["alice"], -1, b"", b"", [], False, False, 0.0]],
            [Word.EVENT, None], [Word.EVENT, ["info", "x", 0.0, "{a.__class__}", {"a": 1}, ""]],
        ]  # fmt: skip
        for lie in lies:
            self.say(lie)
            self.is_ended(lie)
        self.deliver()

    def test_length(self) -> None:
        """A frame that would be too long is not waited for; half of one that is not holds what came, and nobody is ended for it."""
        self.receiver.link.dataReceived(b"\x7f\xff\xff\xff")
        self.is_ended()
        self.receiver.link.dataReceived((1 << 20).to_bytes(4, "big") + b"x" * 1000)
        self.assertFalse(self.wire.disconnecting)

    def test_not_fetched(self) -> None:
        """Who does not fetch the connections that it was given gets no more of them."""
        self.assertFalse(self.receiver.free, "it is not ready")
        self.say([Word.READY])
        self.wire.waiting_descriptors = [7] * 63
        self.assertTrue(self.receiver.free)
        self.wire.waiting_descriptors.append(7)
        self.assertFalse(self.receiver.free)
        self.end(self.receiver)
        self.assertFalse(self.receiver.free)

    def test_twice(self) -> None:
        """A connection that ends twice is counted once."""
        self.say([Word.CLOSED, 1, False])
        self.assertEqual(self.house.connections.open_connections(IP), (0, 0, 0))
        self.say([Word.CLOSED, 1, False])
        self.is_ended()

    def test_events(self) -> None:
        """Events without number are written down and nothing else; between them messages are taken."""
        with capturedLogs() as captured:
            for _ in range(20):
                self.say(*[[Word.EVENT, ["info", "x", 0.0, "text {a}", {"a": n}, ""]] for n in range(500)])
            self.deliver()
        self.assertEqual(len(self.events), 10_000)
        self.assertEqual({event["receiver"] for event in self.events}, {1})
        self.assertEqual(captured, [])

    def test_descriptors(self) -> None:
        """Descriptors that belong to nothing are closed with the receiver, and who sends them without end is ended."""
        reading, writing = os.pipe()
        for _ in range(50):
            self.say([Word.GONE, 1], descriptor=reading)
        self.end(self.receiver)
        self.begin()
        os.close(writing)
        os.close(reading)
        self.assertEqual(self.descriptors(), self.open)


class MessageLies(LiesCase):
    """Messages that are none."""

    def refused(self, lie: list[Any], descriptor: int = -1) -> None:
        """The receiver is ended, or its message is wanted later; nothing is kept of it."""
        before = len(self.house.messages("alice"))
        self.say(lie, descriptor=descriptor)
        if self.wire.disconnecting:
            self.is_ended(lie)
        else:
            self.assertEqual(self.answer(), TROUBLE)
            self.flushLoggedErrors()
        self.assertEqual(len(self.house.messages("alice")), before)

    def test_chunks(self) -> None:
        """Chunks that cannot be decoded, are too many, too few or too long, and sizes that are none: nothing is kept."""
        octets = HEADER + b"hello\r\n"
        (codec, data), size = encode(octets), len(octets)
        lies: list[dict[str, Any]] = [
            {"chunks": [(codec, data[:-1])]}, {"chunks": [(99, data)]}, {"chunks": [(ZSTD, b"garbage")]}, {"chunks": []},
            {"chunks": [(codec, data)] * 2}, {"chunks": [(PLAIN, octets + b"x")]}, {"chunks": [("0", octets)]}, {"chunks": [octets]},
            {"chunks": None}, {"chunks": [(PLAIN, octets.decode())]}, {"size": size + 1}, {"size": -1}, {"size": 2**62}, {"size": True},
            {"size": "1"}, {"size": 1.5}, {"secret": "x"}, {"secret": b"x" * 44}, {"message": None}, {"message": [b"", b""]},
        ]  # fmt: skip
        for changes in lies:
            self.refused(self.taken(**changes))
        self.deliver()

    def test_bomb(self) -> None:
        """A message that is in no file is no larger than one that need not be: little that becomes much is not unpacked."""
        zeros = encode(bytes(CHUNK_OCTETS))
        count = 64
        self.assertLess(len(zeros[1]), 100)
        self.refused(self.taken(chunks=[zeros] * count, size=count * CHUNK_OCTETS))
        self.assertEqual(len(self.receivers), 2, "it was not ended")

    def test_files(self) -> None:
        """Files that are none, have other octets, or end too early; places that are nowhere: nothing is kept, and they are closed."""
        octets = HEADER + b"a line of text\r\n" * 100_000
        staging = Staging(Path(self.mktemp()).parent, os.urandom)
        staging.write(octets)
        staged = staging.finish()
        handed = staged.hand_over()
        lease = Lease(staged)
        message = write_complete(evolve(complete(octets=HEADER), lease=lease))
        honest = {
            "message": message,
            "size": len(octets),
            "chunks": (),
            "places": handed.places,
            "secret": handed.secret,
        }

        def told(number: int = 1, **changes: Any) -> list[Any]:
            return self.taken(number, **{**honest, **changes})

        first, *others = handed.places
        for place in (
            (1, -1, 10),
            (1, 2**62, 10),
            (1, 0, 2**40),
            (1, 0, -1),
            (99, *first[1:]),
            (1, first[1] + 1, first[2]),
            (1.0, 0, 1),
        ):
            self.refused(told(places=[place, *others]), handed.descriptor)
        lies: list[dict[str, Any]] = [
            {"secret": b"short"}, {"secret": bytes(44)}, {"places": others}, {"places": []}, {"secret": b""},
        ]  # fmt: skip
        for changes in lies:
            self.refused(told(**changes), handed.descriptor)
            if self.receiver.link.up:
                # Its descriptor may still be there: it would be the next message's.
                self.end(self.receiver)
                self.begin()
        self.refused(told())  # with no descriptor at all
        for opened in self.odd_files():
            self.refused(told(), opened)
            os.close(opened)
        self.say(told(), descriptor=handed.descriptor)
        self.assertEqual(self.answer(), TAKEN)
        self.assertTrue(self.house.messages("alice")[-1].endswith(octets))
        staged.close()

    def odd_files(self) -> list[int]:
        """Descriptors that are no file of a message."""
        reading, writing = os.pipe()
        os.close(writing)
        one, other = socket.socketpair()
        other.close()
        empty = os.open(self.mktemp(), os.O_RDWR | os.O_CREAT)
        deaf = os.open(self.mktemp(), os.O_WRONLY | os.O_CREAT)
        os.write(deaf, bytes(2_000_000))
        devices = [
            os.open(name, os.O_RDONLY) for name in ("/dev/zero", "/dev/null", "/", "/proc/self/status")
        ]
        return [reading, one.detach(), empty, deaf, os.open("/", os.O_PATH), *devices]

    def test_numbers(self) -> None:
        """Two messages with one number, while the first waits: it is ended, and the first is not taken."""
        self.judge.accept("alice", delay_seconds=5.0)
        before = len(self.house.messages("alice"))
        self.say(self.taken(7))
        self.say(self.taken(7))
        self.is_ended()
        self.house.clock.advance(6)
        self.assertEqual(len(self.house.messages("alice")), before)

    def test_too_large(self) -> None:
        """A message that no client may send: it is ended."""
        self.receiver._desk = evolve(self.receiver._desk, message_octets=1000)
        self.say(self.taken(7, HEADER + b"x" * 1000))
        self.is_ended()

    def test_too_much(self) -> None:
        """With more octets than are kept for one receiver, a message is to come again; there is room when others are answered."""
        self.judge.accept("alice", delay_seconds=5.0)
        before = len(self.house.messages("alice"))
        with patch("moxtwisted.server.receivers.near._MOST_OCTETS", 2 * len(HEADER + b"hello\r\n")):
            self.say(self.taken(7), self.taken(8))
            self.assertEqual(self.heard(), [])
            self.say(self.taken(9))
            self.assertEqual(self.answer(), 452)
            self.house.clock.advance(6)
            self.assertEqual(len(self.heard()), 2)
            self.judge.accept("alice")
            self.say(self.taken(10))
            self.assertEqual(self.answer(), TAKEN)
        self.assertEqual(len(self.house.messages("alice")), before + 3)

    def test_names(self) -> None:
        """Recipients who are not here, and accounts that a receiver makes up, are not believed and not made."""
        there = sorted(self.house.store.accounts())
        bob, nobody = path("bob@example.org"), path("nobody@example.org")
        from moxtwisted.server.directory import Delivery, Recipients
        from moxtwisted.smtp.envelope import Recipient, Transaction

        for address, account in ((nobody, "alice"), (nobody, "../../evil"), (bob, "evil")):
            found = {address: Recipients((Delivery(account, "INBOX", str(address)),))}
            given = complete(
                transaction=Transaction(path("mary@a.example"), recipients=[Recipient(address)]), found=found
            )
            self.say(self.taken(message=write_complete(given)))
            self.assertIn(self.answer(), (TAKEN, TROUBLE))
        self.assertEqual(len(self.house.messages("bob")), 1, "where bob's mail goes is the owner's to say")
        for name in ("evil", "../../evil", "", "x" * 1000):
            self.say(
                [Word.ROOM, 5, [[name], 100, b"<a@b.example>", b"<bob@example.org>", [], True, True, 1.0]]
            )
            if self.wire.disconnecting:
                self.is_ended()
            else:
                self.heard()
        self.assertEqual(sorted(self.house.store.accounts()), there)
