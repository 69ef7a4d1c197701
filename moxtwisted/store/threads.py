"""Which messages belong together.

A message belongs to the thread of a message with its Message-ID, of a message that it refers to (References,
In-Reply-To), or of one that refers to it, when their base subjects (RFC 5256 section 2.1) are the same: a reply with
a new subject is a new thread. A reply whose headers lead nowhere belongs to the newest thread of its base
subject, if that had mail in the last four weeks. The order of arrival does not matter: a message that
links two threads makes them one.

Every id that a message names becomes a *link*, a 63-bit hash of (id, base subject); equal links are one thread. That is
one indexed look-up for each id, however large the account is.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Protocol

__all__ = ["SUBJECT_WINDOW_SECONDS", "Threadable", "assign", "join"]

#: How long a thread takes in replies by their subject alone.
SUBJECT_WINDOW_SECONDS: Final = 28 * 86400

#: References beyond these many (the last ones are the nearest relatives) are not looked at.
_MAX_REFERENCES: Final = 50


class Threadable(Protocol):
    """What counts of a message; ``message.products.Rendered`` has it. Ids are without angle brackets."""

    @property
    def message_id(self) -> str:
        """Empty when there is none."""

    @property
    def in_reply_to(self) -> str:
        """The first identifier there; empty when there is none."""

    @property
    def references(self) -> tuple[str, ...]:
        """Oldest first."""

    @property
    def base_subject(self) -> str:
        """Case folded."""

    @property
    def is_reply(self) -> bool:
        """Whether the subject says so."""


def assign(connection: Any, body: int, message: Threadable, at_seconds: int) -> int:
    """The thread of a new body, inside the transaction that adds it; links and joins what belongs together.

    :param connection: an apsw connection that is in a transaction.
    :param at_seconds: its internal date, seconds since 1970.
    :returns: the thread's id: that of its first body.
    """
    links = _links(message)
    marks = ",".join("?" * len(links))
    threads = (
        sorted(
            row[0]
            for row in connection.execute(
                f"SELECT DISTINCT thread FROM thread_link WHERE hash IN ({marks})", links
            )
        )
        if links
        else []
    )
    subject = _hash("", message.base_subject) if message.base_subject else None
    if not threads and message.is_reply and subject is not None:
        threads = [
            row[0]
            for row in connection.execute(
                "SELECT thread FROM thread_subject WHERE hash = ? AND at BETWEEN ? AND ?",
                (subject, at_seconds - SUBJECT_WINDOW_SECONDS, at_seconds + SUBJECT_WINDOW_SECONDS),
            )
        ]
    thread = threads[0] if threads else body
    for other in threads[1:]:
        join(connection, thread, other)
    connection.executemany(
        "INSERT INTO thread_link (hash, thread) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(link, thread) for link in links],
    )
    if subject is not None:
        connection.execute(
            "INSERT INTO thread_subject (hash, thread, at) VALUES (?1, ?2, ?3)"
            " ON CONFLICT DO UPDATE SET thread = ?2, at = ?3 WHERE at <= ?3",
            (subject, thread, at_seconds),
        )
    return thread


def join(connection: Any, thread: int, other: int) -> None:
    """Make one thread of two; its id is the first's."""
    connection.execute(
        # The index has the bodies whose thread is another's; so name the first one by its id.
        "UPDATE body SET thread = ?1 WHERE (thread = ?2 AND thread <> id) OR (id = ?2 AND thread = ?2)",
        (thread, other),
    )
    for table in ("thread_link", "thread_subject"):
        connection.execute(f"UPDATE {table} SET thread = ? WHERE thread = ?", (thread, other))


def _links(message: Threadable) -> list[int]:
    ids = {i for i in (message.message_id, message.in_reply_to, *message.references[-_MAX_REFERENCES:]) if i}
    return [_hash(i, message.base_subject) for i in sorted(ids)]


def _hash(identifier: str, subject: str) -> int:
    """63 bits: SQLite's integers are signed."""
    digest = hashlib.blake2b(
        f"{identifier}\0{subject}".encode("utf-8", "surrogateescape"), digest_size=8
    ).digest()
    return int.from_bytes(digest) >> 1
