"""Messages kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.badsmtp.captured import Captured, cost
from moxtwisted.badsmtp.interfaces import CapturedMessage, Direction, ICaptured, TranscriptLine


def _message(*recipients: str, content: bytes = b"") -> CapturedMessage:
    return CapturedMessage(
        received=datetime(2026, 1, 1, tzinfo=UTC),
        reverse_path="a@example.org",
        forward_paths=recipients or ("b@example.org",),
        content=content,
    )


class CapturedTests(SynchronousTestCase):
    """``Captured``."""

    def test_interface(self) -> None:
        """It is what the page, the interface for programs and the twins expect."""
        self.assertTrue(verifyObject(ICaptured, Captured(1, 1)))

    def test_numbers(self) -> None:
        """Messages are numbered from 1, and numbers go on after all are forgotten."""
        captured = Captured(10, 100_000)
        self.assertEqual([captured.keep(_message()).number for _ in range(3)], [1, 2, 3])
        self.assertEqual(captured.clear(), 3)
        self.assertEqual(captured.octets, 0)
        self.assertEqual(captured.keep(_message()).number, 4)
        self.assertEqual([m.number for m in captured.messages()], [4])

    def test_count(self) -> None:
        """The oldest make room when there are too many."""
        captured = Captured(2, 100_000)
        for _ in range(5):
            captured.keep(_message())
        self.assertEqual([m.number for m in captured.messages()], [4, 5])

    def test_octets(self) -> None:
        """The oldest make room when they are too large together, transcripts counted."""
        line = TranscriptLine(at_seconds=0.0, direction=Direction.CLIENT, text="x" * 1000)
        one = _message(content=b"x" * 1000)
        self.assertGreaterEqual(
            cost(
                CapturedMessage(
                    received=one.received, reverse_path="", forward_paths=(), content=b"", transcript=(line,)
                )
            ),
            1000,
        )
        captured = Captured(1000, 3 * cost(one))
        for _ in range(10):
            captured.keep(one)
        self.assertEqual([m.number for m in captured.messages()], [8, 9, 10])
        self.assertLessEqual(captured.octets, captured.octets_limit)

    def test_larger_than_all(self) -> None:
        """A message larger than the bound is not kept, drives out nothing and is told to nobody."""
        captured = Captured(10, 5000)
        captured.keep(_message())
        told: list[CapturedMessage] = []
        captured.subscribe(told.append)
        self.assertEqual(captured.keep(_message(content=b"x" * 5000)).number, 2)
        self.assertEqual([m.number for m in captured.messages()], [1])
        self.assertEqual(told, [])

    def test_selection(self) -> None:
        """Messages are found by recipient, without case, and by number."""
        captured = Captured(10, 100_000)
        captured.keep(_message("bob@example.org"))
        captured.keep(_message("carol@example.org", "Bob@Example.Org"))
        captured.keep(_message("carol@example.org"))
        self.assertEqual([m.number for m in captured.messages("BOB@example.org")], [1, 2])
        self.assertEqual([m.number for m in captured.messages("bob@example.org", after=1)], [2])
        self.assertEqual([m.number for m in captured.messages(after=2)], [3])
        second = captured.message(2)
        self.assertEqual(second.number if second else None, 2)
        self.assertIsNone(captured.message(9))

    def test_remove(self) -> None:
        """A message is removed once, and its octets with it."""
        captured = Captured(10, 100_000)
        captured.keep(_message())
        self.assertTrue(captured.remove(1))
        self.assertFalse(captured.remove(1))
        self.assertEqual((len(captured), captured.octets), (0, 0))

    def test_watchers(self) -> None:
        """Who watches is told what is forgotten: removed, to make room, or with all."""
        captured = Captured(2, 100_000)
        gone: list[Sequence[int]] = []
        captured.watch_removed(gone.append)
        for _ in range(4):
            captured.keep(_message())
        captured.remove(4)
        captured.remove(4)
        captured.keep(_message())
        captured.clear()
        self.assertEqual([list(numbers) for numbers in gone], [[1], [2], [4], [3, 5]])

    def test_listeners(self) -> None:
        """Who subscribed is told of each message until leaving, twice is told twice, and a failure harms nobody."""
        captured = Captured(10, 100_000)
        told: list[int] = []

        def fail(message: CapturedMessage) -> None:
            raise ValueError

        def listen(message: CapturedMessage) -> None:
            told.append(message.number)

        captured.subscribe(fail)
        leave = captured.subscribe(listen)
        captured.subscribe(listen)
        captured.keep(_message())
        leave()
        leave()
        captured.keep(_message())
        self.assertEqual(told, [1, 1, 2])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
