"""Outgoing mail is kept, listed and limited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import KeyRefusedError, LimitError, MailError
from moxtwisted.message.mime import Scanner
from moxtwisted.message.products import Rendered, render
from moxtwisted.store.queue import Outgoing, Queue, QueuedRecipient, SendingLimits
from moxtwisted.store.writer import WriterPool

KEY = bytes(range(32))
DAY = 86400


@frozen
class Staged:
    octets: bytes

    @property
    def size(self) -> int:
        return len(self.octets)

    @property
    def rendered(self) -> Rendered:
        scanner = Scanner()
        scanner.feed(self.octets)
        return render(scanner.finish(), lambda offset, length: self.octets[offset : offset + length])

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.octets), 262144):
            yield self.octets[start : start + 262144]


def outgoing(*recipients: str, octets: bytes = b"Subject: x\r\n\r\ny\r\n", hold: int = 0) -> Outgoing:
    return Outgoing(
        account="alice",
        sender="alice@example.org",
        recipients=[QueuedRecipient(r) for r in recipients],
        staged=Staged(octets),  # type: ignore[arg-type]
        prefix=b"Received: x\r\n",
        message_id="1@x",
        not_before=hold,
    )


class QueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.pool = WriterPool(None, threads=0)
        self.queue = Queue.open(self.path, KEY, self.pool)
        self.addCleanup(lambda: self.successResultOf(self.queue.close()))

    def submit(self, message: Outgoing, now: int = 1000, limits: SendingLimits | None = None) -> int:
        everyone = [r.address for r in message.recipients]
        return self.successResultOf(self.queue.submit(message, everyone, limits or SendingLimits(), now))

    def test_kept(self) -> None:
        """What was submitted is listed, also after the file was closed and opened, and only with its key."""
        self.submit(outgoing("b@example.com", "c@example.com", octets=os.urandom(600_000), hold=5000))
        self.successResultOf(self.queue.close())
        with self.assertRaises(KeyRefusedError):
            Queue.open(self.path, bytes(32), self.pool)
        self.queue = Queue.open(self.path, KEY, self.pool)
        first, second = self.queue.entries()
        self.assertEqual((first.recipient, second.recipient), ("b@example.com", "c@example.com"))
        self.assertEqual((first.size, first.queued, first.next_attempt), (600_013, 1000, 5000))
        self.assertIn("delivery", first.why)
        self.assertEqual(self.queue.entries("bob"), [])

    def test_withdrawn(self) -> None:
        """A message that was withdrawn leaves nothing."""
        number = self.submit(outgoing("b@example.com"))
        self.successResultOf(self.queue.withdraw(number))
        self.assertEqual(self.queue.entries(), [])

    def test_removed(self) -> None:
        """Single recipients go, the message with its last one; when one number is wrong, nothing goes."""
        self.submit(outgoing("b@example.com", "c@example.com"))
        first, second = self.queue.entries()
        self.assertIn(
            "4711", self.failureResultOf(self.queue.remove([first.id, 4711]), MailError).value.detail
        )
        self.assertEqual(len(self.queue.entries()), 2)
        self.assertEqual(self.successResultOf(self.queue.remove([first.id])), [first])
        self.assertEqual(self.queue.entries(), [second])
        self.assertEqual(self.count("chunk"), 1)
        self.successResultOf(self.queue.remove([second.id]))
        self.assertEqual((self.queue.entries(), self.count("submission"), self.count("chunk")), ([], 0, 0))

    def count(self, table: str) -> int:
        """Rows of a table."""
        number: int = self.queue._database.reader.execute(f"SELECT count(*) FROM {table}").get
        return number

    def test_messages_a_day(self) -> None:
        """An account sends so many messages in 24 hours, then no more, then again."""
        limits = SendingLimits(messages=2)
        self.submit(outgoing("b@example.com"), 1000, limits)
        self.submit(outgoing("b@example.com"), 2000, limits)
        failed = self.queue.submit(outgoing("b@example.com"), ["b@example.com"], limits, 3000)
        error = self.failureResultOf(failed, LimitError).value
        self.assertEqual((error.reply_code, error.enhanced_code), (451, "4.7.1"))
        self.assertEqual(len(self.queue.entries()), 2)
        self.submit(outgoing("b@example.com"), 1001 + DAY, limits)

    def test_new_recipients_a_day(self) -> None:
        """Addresses that an account never wrote to are limited, known ones are not; a refusal counts nothing."""
        limits = SendingLimits(new_recipients=2)
        self.submit(outgoing("b@example.com", "c@example.com"), 1000, limits)
        refused = self.queue.submit(outgoing("d@example.com"), ["d@example.com"], limits, 1000)
        self.failureResultOf(refused, LimitError)
        self.submit(outgoing("B@example.com"), 1000, limits)
        self.submit(outgoing("d@example.com"), 1001 + DAY, limits)

    def test_note_only(self) -> None:
        """A message for nobody elsewhere is not kept, but counts."""
        message = outgoing()
        self.assertEqual(
            self.successResultOf(
                self.queue.submit(message, ["b@example.org"], SendingLimits(messages=1), 1000)
            ),
            0,
        )
        refused = self.queue.submit(message, ["b@example.org"], SendingLimits(messages=1), 1000)
        self.failureResultOf(refused, LimitError)
