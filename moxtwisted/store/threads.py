"""Which messages belong together.

A message belongs to the thread of a message with its Message-ID, of a message that it refers to (References,
In-Reply-To), or of one that refers to it, when their base subjects (RFC 5256 section 2.1) are the same: a reply with
a new subject is a new thread. A reply whose headers lead nowhere belongs to the newest thread of its base
subject, if that had mail in the last four weeks. The order of arrival does not matter: a message that
links two threads makes them one.

Every id that a message names becomes a *link*, a 63-bit hash of (id, base subject); equal links are one thread. That is
one indexed look-up for each id, however large the account is.

Hashes lie all over their tables: each new one would cost a commit a page. So those of the newest bodies are kept in memory and
written together, a few hundred bodies at a time; the setting ``linked_body`` says up to which body they are in the tables. After a crash
they are made again from what is kept of the bodies beyond it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from moxtwisted.errors import ConsistencyError
from moxtwisted.message.headers import Header
from moxtwisted.message.products import Relatives, relatives
from moxtwisted.store.facts import unpack
from moxtwisted.store.insertion import insert_rows

__all__ = ["SUBJECT_WINDOW_SECONDS", "Threads"]

#: How long a thread takes in replies by their subject alone.
SUBJECT_WINDOW_SECONDS: Final = 28 * 86400

#: References beyond these many (the last ones are the nearest relatives) are not looked at.
_MAX_REFERENCES: Final = 50
#: Links that wait in memory, at most: reading them again takes some milliseconds.
_PENDING_LINKS: Final = 512


class Threads:
    """The writer's view of an account's threads; what writes does so inside a transaction.

    :param connection: an apsw connection; ``load`` comes first.
    :param writing: gives the connection to write with, in a transaction; by default there is one already.
    """

    def __init__(self, connection: Any, writing: Callable[[], Any] | None = None) -> None:
        self._connection = connection
        self._writing = writing or (lambda: connection)
        self._links: dict[int, int] = {}
        self._subjects: dict[int, tuple[int, int]] = {}
        #: Whether there may be anything in the tables.
        self._written = True

    def load(self) -> None:
        """Forget what is in memory, and make again what the tables do not have."""
        self._links.clear()
        self._subjects.clear()
        execute = self._connection.execute
        linked: int = execute("SELECT value FROM setting WHERE key = 'linked_body'").get
        self._written = linked > 0
        for thread, facts, at in execute(
            "SELECT b.thread, b.facts, (SELECT max(m.internaldate) FROM message m WHERE m.body = b.id)"
            " FROM body b WHERE b.id > ? ORDER BY b.id",
            (linked,),
        ).fetchall():
            try:
                message = relatives(Header.parse(unpack(facts).fields))
            except ConsistencyError:
                # The checker tells of it; replies to this message begin a thread of their own.
                continue
            self._remember(_links(message), message.base_subject, thread, at or 0)

    @property
    def due(self) -> bool:
        """Whether so much waits that it should be written."""
        return len(self._links) + len(self._subjects) >= _PENDING_LINKS

    def write(self, last_body: int) -> None:
        """Write what waits; all bodies up to this one are then in the tables."""
        if not self._links and not self._subjects:
            return
        connection = self._writing()
        # In the order of the table: neighbours share a page.
        insert_rows(
            connection,
            "INSERT INTO thread_link (hash, thread) VALUES (?, ?) ON CONFLICT DO NOTHING",
            sorted(self._links.items()),
        )
        insert_rows(
            connection,
            "INSERT INTO thread_subject (hash, thread, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
            " SET thread = excluded.thread, at = excluded.at WHERE at <= excluded.at",
            [(subject, thread, at) for subject, (thread, at) in sorted(self._subjects.items())],
        )
        connection.execute(
            "INSERT INTO setting (key, value) VALUES ('linked_body', ?)"
            " ON CONFLICT DO UPDATE SET value = excluded.value",
            (last_body,),
        )
        self._written = True
        self._links.clear()
        self._subjects.clear()

    def assign(self, body: int, message: Relatives, at_seconds: int) -> int:
        """The thread of a new body; links and joins what belongs together.

        :param at_seconds: its internal date, seconds since 1970.
        :returns: the thread's id: that of its first body.
        """
        links = _links(message)
        linked = self._linked(links)
        threads = sorted(set(linked.values()))
        if not threads and message.is_reply and message.base_subject:
            found = self._by_subject(_hash("", message.base_subject))
            if found is not None and abs(found[1] - at_seconds) <= SUBJECT_WINDOW_SECONDS:
                threads = [found[0]]
        thread = threads[0] if threads else body
        for other in threads[1:]:
            self._join(thread, other)
        self._remember(
            [link for link in links if link not in linked], message.base_subject, thread, at_seconds
        )
        return thread

    def _linked(self, links: list[int]) -> dict[int, int]:
        """The threads of those of the links that there are."""
        pending = self._links
        linked = {link: pending[link] for link in links if link in pending}
        asked = [link for link in links if link not in pending]
        if asked and self._written:
            marks = ",".join("?" * len(asked))
            linked.update(
                self._connection.execute(
                    f"SELECT hash, thread FROM thread_link WHERE hash IN ({marks})", asked
                ).fetchall()
            )
        return linked

    def _by_subject(self, subject: int) -> tuple[int, int] | None:
        """(thread, seconds) of the newest with this base subject."""
        pending = self._subjects.get(subject)
        if not self._written:
            return pending
        kept: list[tuple[int, int]] = self._connection.execute(
            "SELECT thread, at FROM thread_subject WHERE hash = ?", (subject,)
        ).fetchall()
        if pending is None or (kept and kept[0][1] > pending[1]):
            return kept[0] if kept else None
        return pending

    def _remember(self, links: Iterable[int], base_subject: str, thread: int, at_seconds: int) -> None:
        for link in links:
            self._links[link] = thread
        if base_subject:
            subject = _hash("", base_subject)
            known = self._subjects.get(subject)
            if known is None or known[1] <= at_seconds:
                self._subjects[subject] = (thread, at_seconds)

    def _join(self, thread: int, other: int) -> None:
        """Make one thread of two; its id is the first's."""
        connection = self._writing()
        connection.execute(
            # The index has the bodies whose thread is another's; so name the first one by its id.
            "UPDATE body SET thread = ?1 WHERE (thread = ?2 AND thread <> id) OR (id = ?2 AND thread = ?2)",
            (thread, other),
        )
        for table in ("thread_link", "thread_subject"):
            connection.execute(f"UPDATE {table} SET thread = ? WHERE thread = ?", (thread, other))
        self._links.update([(link, thread) for link, named in self._links.items() if named == other])
        self._subjects.update(
            [(subject, (thread, at)) for subject, (named, at) in self._subjects.items() if named == other]
        )


def _links(message: Relatives) -> list[int]:
    ids = {i for i in (message.message_id, message.in_reply_to, *message.references[-_MAX_REFERENCES:]) if i}
    return [_hash(i, message.base_subject) for i in sorted(ids)]


def _hash(identifier: str, subject: str) -> int:
    """63 bits: SQLite's integers are signed."""
    digest = hashlib.blake2b(
        f"{identifier}\0{subject}".encode("utf-8", "surrogateescape"), digest_size=8
    ).digest()
    return int.from_bytes(digest) >> 1
