"""Which messages belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

import moxtwisted.store
from moxtwisted.store.threads import SUBJECT_WINDOW_SECONDS, assign


@frozen
class Message:
    message_id: str = ""
    references: tuple[str, ...] = ()
    base_subject: str = "hello"
    is_reply: bool = False
    in_reply_to: str = ""


class ThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        schema = Path(moxtwisted.store.__file__).parent / "schema" / "account-0001.sql"
        self.connection: Any = apsw.Connection(":memory:")
        self.connection.execute(schema.read_text("utf-8"))
        self.bodies = 0

    def add(self, message: Message, at: int = 1000) -> int:
        self.bodies += 1
        thread = assign(self.connection, self.bodies, message, at)
        self.connection.execute(
            "INSERT INTO body (id, refs, size, prefix_size, header_size, thread, facts) VALUES (?, 1, 0, 0, 0, ?, x'')",
            (self.bodies, thread),
        )
        return thread

    def threads(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT thread FROM body ORDER BY id")]

    def test_reply(self) -> None:
        """A reply joins what it refers to, by References or In-Reply-To."""
        self.add(Message("a"))
        self.add(Message("b", ("a",), is_reply=True))
        self.add(Message("c", in_reply_to="b", is_reply=True))
        self.assertEqual(self.threads(), [1, 1, 1])

    def test_new_subject(self) -> None:
        """A reply with another base subject begins a thread."""
        self.add(Message("a"))
        self.add(Message("b", ("a",), base_subject="something else"))
        self.assertEqual(self.threads(), [1, 2])

    def test_late_parent(self) -> None:
        """The order of arrival does not matter: the message that links two threads makes them one."""
        self.add(Message("c", ("b",)))
        self.add(Message("a"))
        self.assertEqual(self.threads(), [1, 2])
        self.add(Message("b", ("a",)))
        self.assertEqual(self.threads(), [1, 1, 1])
        self.add(Message("d", ("a",)))
        self.assertEqual(self.threads(), [1, 1, 1, 1])

    def test_subject_alone(self) -> None:
        """A reply that names nobody joins the newest thread of its subject, for four weeks."""
        self.add(Message("a"), 1000)
        self.add(Message("b", is_reply=True), 2000)
        self.add(Message("c", is_reply=True), 2001 + SUBJECT_WINDOW_SECONDS)
        self.assertEqual(self.threads(), [1, 1, 3])

    def test_same_subject_without_reply(self) -> None:
        """Two new messages that happen to have the same subject are two threads."""
        self.add(Message("a"))
        self.add(Message("b"))
        self.assertEqual(self.threads(), [1, 2])

    def test_no_identity(self) -> None:
        """Messages without Message-ID and subject stay by themselves."""
        self.add(Message(base_subject=""))
        self.add(Message(base_subject="", is_reply=True))
        self.assertEqual(self.threads(), [1, 2])

    def test_duplicate(self) -> None:
        """The same message twice is one thread."""
        self.add(Message("a"))
        self.add(Message("a"))
        self.assertEqual(self.threads(), [1, 1])
