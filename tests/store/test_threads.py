"""Which messages belong together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import apsw
from twisted.trial.unittest import SynchronousTestCase

import moxtwisted.store
from moxtwisted.message.products import Relatives
from moxtwisted.store.facts import Facts, pack
from moxtwisted.store.threads import SUBJECT_WINDOW_SECONDS, Threads
from tests.store.mail import StoreTestCase


def message(
    message_id: str = "",
    references: tuple[str, ...] = (),
    base_subject: str = "hello",
    is_reply: bool = False,
    in_reply_to: str = "",
) -> Relatives:
    return Relatives(message_id, in_reply_to, references, base_subject, is_reply)


def fresh() -> Any:
    """An empty account."""
    schema = Path(moxtwisted.store.__file__).parent / "schema" / "account-0001.sql"
    connection = apsw.Connection(":memory:")
    connection.execute(schema.read_text("utf-8"))
    return connection


def header(said: Relatives) -> bytes:
    """Fields that say so."""
    references = " ".join(f"<{one}>" for one in said.references)
    fields = [f"Subject: {'Re: ' if said.is_reply else ''}{said.base_subject}"]
    if said.message_id:
        fields.append(f"Message-ID: <{said.message_id}>")
    if said.in_reply_to:
        fields.append(f"In-Reply-To: <{said.in_reply_to}>")
    if references:
        fields.append(f"References: {references}")
    return "".join(f"{field}\r\n" for field in fields).encode()


class ThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = fresh()
        self.bodies = 0
        self.known = Threads(self.connection)

    def add(self, said: Relatives, at: int = 1000) -> int:
        self.bodies += 1
        thread = self.known.assign(self.bodies, said, at)
        self.connection.execute(
            "INSERT INTO body (id, refs, size, prefix_size, header_size, thread, facts) VALUES (?, 1, 0, 0, 0, ?, ?)",
            (self.bodies, thread, pack(Facts(b"", b"", header(said), "", b"", b""))),
        )
        self.connection.execute(
            "INSERT INTO message VALUES (1, ?1, 1, 1, 0, '', 0, ?2, 0, ?1)", (self.bodies, at)
        )
        self.between()
        return thread

    def between(self) -> None:
        """What happens after each message."""

    def threads(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT thread FROM body ORDER BY id")]

    def test_reply(self) -> None:
        """A reply joins what it refers to, by References or In-Reply-To."""
        self.add(message("a"))
        self.add(message("b", ("a",), is_reply=True))
        self.add(message("c", in_reply_to="b", is_reply=True))
        self.assertEqual(self.threads(), [1, 1, 1])

    def test_new_subject(self) -> None:
        """A reply with another base subject begins a thread."""
        self.add(message("a"))
        self.add(message("b", ("a",), base_subject="something else"))
        self.assertEqual(self.threads(), [1, 2])

    def test_late_parent(self) -> None:
        """The order of arrival does not matter: the message that links two threads makes them one."""
        self.add(message("c", ("b",)))
        self.add(message("a"))
        self.assertEqual(self.threads(), [1, 2])
        self.add(message("b", ("a",)))
        self.assertEqual(self.threads(), [1, 1, 1])
        self.add(message("d", ("a",)))
        self.assertEqual(self.threads(), [1, 1, 1, 1])

    def test_subject_alone(self) -> None:
        """A reply that names nobody joins the newest thread of its subject, for four weeks."""
        self.add(message("a"), 1000)
        self.add(message("b", is_reply=True), 2000)
        self.add(message("c", is_reply=True), 2001 + SUBJECT_WINDOW_SECONDS)
        self.assertEqual(self.threads(), [1, 1, 3])

    def test_same_subject_without_reply(self) -> None:
        """Two new messages that happen to have the same subject are two threads."""
        self.add(message("a"))
        self.add(message("b"))
        self.assertEqual(self.threads(), [1, 2])

    def test_no_identity(self) -> None:
        """Messages without Message-ID and subject stay by themselves."""
        self.add(message(base_subject=""))
        self.add(message(base_subject="", is_reply=True))
        self.assertEqual(self.threads(), [1, 2])

    def test_duplicate(self) -> None:
        """The same message twice is one thread."""
        self.add(message("a"))
        self.add(message("a"))
        self.assertEqual(self.threads(), [1, 1])


class WrittenThreadTests(ThreadTests):
    """The same, all in the tables at once."""

    def between(self) -> None:
        self.known.write(self.bodies)


class CrashedThreadTests(ThreadTests):
    """The same, after each message something forgets what was in memory."""

    def between(self) -> None:
        self.known = Threads(self.connection)
        self.known.load()


class OftenCrashedThreadTests(ThreadTests):
    """The same, with some in the tables, some in memory, and some that had to be read again."""

    def between(self) -> None:
        if self.bodies % 3 == 1:
            self.known.write(self.bodies)
        elif self.bodies % 3 == 2:
            self.known.load()


class PendingTests(SynchronousTestCase):
    def test_written_together(self) -> None:
        """Links of some hundred messages go to the tables in one transaction, and say how far they reach."""
        connection = fresh()
        known = Threads(connection)
        known.load()
        body = 0
        while not known.due:
            body += 1
            known.assign(body, message(f"m{body}", base_subject=f"s{body}"), body)
        self.assertEqual(body, 256)
        self.assertEqual(connection.execute("SELECT count(*) FROM thread_link").get, 0)
        known.write(body)
        self.assertFalse(known.due)
        self.assertEqual(connection.execute("SELECT count(*) FROM thread_link").get, 256)
        self.assertEqual(connection.execute("SELECT count(*) FROM thread_subject").get, 256)
        self.assertEqual(connection.execute("SELECT value FROM setting WHERE key = 'linked_body'").get, 256)
        self.assertEqual(known.assign(300, message("r", ("m77",), "s77"), 1), 77)

    def test_damaged(self) -> None:
        """A body whose facts cannot be read does not keep the account from being opened."""
        connection = fresh()
        connection.execute("INSERT INTO body VALUES (1, 1, 0, 0, 0, 1, x'017777')")
        Threads(connection).load()

    def test_nothing_in_the_tables(self) -> None:
        """As long as nothing was written there, the tables are not asked."""
        connection = fresh()
        known = Threads(connection)
        known.load()
        asked: list[str] = []

        def note(_: Any, statement: str, __: Any) -> bool:
            asked.append(statement)
            return True

        connection.exec_trace = note
        self.assertEqual(known.assign(1, message("a"), 1), 1)
        self.assertEqual(known.assign(2, message("b", ("a",)), 1), 1)
        self.assertEqual(known.assign(3, message("", is_reply=True), 1), 1)
        self.assertEqual(asked, [])


class AccountTests(StoreTestCase):
    def test_killed(self) -> None:
        """After a crash a reply still belongs to a message whose links were in memory only."""
        (first,) = self.successResultOf(self.add(b"Message-ID: <1@a>\r\nSubject: hello\r\n\r\none\r\n"))
        self.successResultOf(self.add(b"Message-ID: <2@a>\r\nSubject: other\r\n\r\ntwo\r\n"))
        left = self.directory.with_name("left")
        shutil.copytree(self.directory, left)
        self.successResultOf(self.store.close())
        self.directory = left
        self.store = self.open()
        self.account = self.store.account("bob")
        (reply,) = self.successResultOf(
            self.add(b"In-Reply-To: <1@a>\r\nSubject: Re: hello\r\n\r\nthree\r\n")
        )
        self.assertEqual(reply.thread, first.thread)
