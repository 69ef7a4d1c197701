"""Numbered messages: what is missing, what came twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.load.numbers import Mark, Numbers, find_mark, message_id


class MarkTests(SynchronousTestCase):
    """The Message-ID."""

    def test_found_where_servers_leave_it(self) -> None:
        """The number is found in any letter case and behind other fields, and only in the header."""
        field = f"Message-ID: <{message_id('0a1b', 17, 1000, 'x.example')}>\r\n".encode()
        mark = Mark("0a1b", 17, 1000)
        self.assertEqual(find_mark(field + b"\r\n"), mark)
        self.assertEqual(
            find_mark(b"Received: from x\r\n\tby y\r\n" + field.replace(b"Message-ID", b"message-id")), mark
        )
        self.assertIsNone(find_mark(b"Subject: x\r\n\r\n" + field))
        self.assertIsNone(find_mark(b"Message-ID: <other@x.example>\r\n\r\n"))
        self.assertIsNone(find_mark(b"X-" + field + b"\r\n"))
        self.assertIsNone(find_mark(b""))

    @settings(max_examples=100)
    @given(st.binary(max_size=200))
    def test_anything_is_looked_at(self, octets: bytes) -> None:
        """Whatever the message is, looking at it raises nothing."""
        find_mark(octets)
        find_mark(b"Message-ID: <load." + octets)


class NumberTests(SynchronousTestCase):
    """The memory of them."""

    @settings(max_examples=100)
    @given(st.lists(st.integers(1, 3000), max_size=100), st.integers(0, 3000))
    def test_counted_as_a_set_would(self, numbers: list[int], total: int) -> None:
        """What is missing, what is doubled, and which are missing first is as a set of the numbers says."""
        memory, seen = Numbers(), set[int]()
        for number in numbers:
            self.assertEqual(memory.seen(Mark("aa", number, total)), number not in seen)
            seen.add(number)
        last = max([total, *numbers]) if numbers else 0
        missing = [number for number in range(1, last + 1) if number not in seen]
        self.assertEqual((memory.missing, memory.doubled), (len(missing), len(numbers) - len(seen)))
        if numbers:
            self.assertEqual(memory.as_json()[0]["first_missing"], missing[:10])

    def test_runs_are_apart(self) -> None:
        """The same number of another run is another message."""
        memory = Numbers()
        memory.seen(Mark("aa", 1, 2))
        memory.seen(Mark("bb", 1, 0))
        self.assertEqual((memory.missing, memory.doubled), (1, 0))
        self.assertEqual([run["total"] for run in memory.as_json()], [2, None])

    def test_memory_is_bounded(self) -> None:
        """Runs and numbers beyond what is remembered are counted as such, and taken for new."""
        memory = Numbers()
        self.assertTrue(memory.seen(Mark("aa", 10**11, 10**11)))
        self.assertEqual((memory.untracked, memory.missing), (1, 0))
        for run in range(100):
            self.assertTrue(memory.seen(Mark(f"{run:x}", 1, 1)))
        self.assertEqual(memory.untracked, 1 + 100 - 63)
