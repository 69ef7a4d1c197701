"""The checker: does what one account's database says agree with itself?

::

    problems = check(connection)            # quick: counts, references, numbers
    problems = check(connection, deep=True) # also every page and every stored octet

Each problem is a sentence that names the row. The tests run it after everything they do to a store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import apsw

from moxtwisted.store.facts import unpack

__all__ = ["CHUNK_OCTETS", "check"]

CHUNK_OCTETS: Final = 262144

#: More of one kind is summed up.
_MAX_PROBLEMS: Final = 100

# Each row of an answer is a problem: the sentence, and the columns that go into it.
_QUESTIONS: Final = (
    (
        "mailbox {0} ({1}) counts {2} but holds {3} (messages, unseen, deleted, octets, octets deleted)",
        """
        SELECT m.id, m.name,
            m.messages || ' ' || m.unseen || ' ' || m.deleted || ' ' || m.size || ' ' || m.deleted_size AS says,
            count(g.uid) || ' ' || coalesce(sum(g.flags & 1 = 0), 0) || ' ' || coalesce(sum(g.flags & 8 <> 0), 0)
            || ' ' || coalesce(sum(g.size), 0) || ' ' || coalesce(sum(iif(g.flags & 8, g.size, 0)), 0) AS has
        FROM mailbox m LEFT JOIN message g ON g.mailbox = m.id GROUP BY m.id HAVING says <> has
        """,
    ),
    (
        "message {1} of mailbox {0} is not below the mailbox's next UID {2}",
        "SELECT g.mailbox, g.uid, m.uidnext FROM message g JOIN mailbox m ON m.id = g.mailbox WHERE g.uid >= m.uidnext OR g.uid < 1",
    ),
    (
        "message {1} lies in mailbox {0}, which is not there",
        "SELECT mailbox, uid FROM message WHERE mailbox NOT IN (SELECT id FROM mailbox)",
    ),
    (
        "message {1} of mailbox {0} has modseq {2}, beyond the mailbox's {3} or the account's",
        """
        SELECT g.mailbox, g.uid, g.modseq, m.modseq FROM message g JOIN mailbox m ON m.id = g.mailbox
        WHERE g.modseq > m.modseq OR g.createseq > g.modseq OR g.modseq < 1
        """,
    ),
    (
        "message {1} of mailbox {0} has no body {2}",
        "SELECT g.mailbox, g.uid, g.body FROM message g LEFT JOIN body b ON b.id = g.body WHERE b.id IS NULL",
    ),
    (
        "message {1} of mailbox {0} says {2} octets, its body and prefix have {3}",
        """
        SELECT g.mailbox, g.uid, g.size, b.size + b.prefix_size FROM message g JOIN body b ON b.id = g.body
        WHERE g.size <> b.size + b.prefix_size
        """,
    ),
    (
        "body {0} counts {1} messages, {2} name it",
        """
        SELECT b.id, b.refs, count(g.uid) AS n FROM body b LEFT JOIN message g ON g.body = b.id
        GROUP BY b.id HAVING n <> b.refs
        """,
    ),
    (
        "body {0} of {1} octets has {2} chunks, the last is number {3}",
        """
        SELECT b.id, b.size, count(c.id) AS n, max(c.id & 65535) AS last, (b.size + 262143) / 262144 AS want
        FROM body b LEFT JOIN chunk c ON c.id BETWEEN b.id * 65536 AND b.id * 65536 + 65535
        GROUP BY b.id HAVING n <> want OR (n > 0 AND last <> want - 1)
        """,
    ),
    (
        "chunk {1} belongs to body {0}, which is not there",
        "SELECT id >> 16, id & 65535 FROM chunk WHERE id >> 16 NOT IN (SELECT id FROM body)",
    ),
    (
        "message {1} of mailbox {0} is there and counts as expunged",
        "SELECT e.mailbox, e.uid FROM expunged e JOIN message g ON g.mailbox = e.mailbox AND g.uid = e.uid",
    ),
    (
        "the expunged message {1} of mailbox {0} has modseq {2}, beyond the mailbox's",
        "SELECT e.mailbox, e.uid, e.modseq FROM expunged e JOIN mailbox m ON m.id = e.mailbox WHERE e.modseq > m.modseq",
    ),
    (
        "annotation {1} belongs to mailbox {0}, which is not there",
        "SELECT mailbox, key FROM annotation WHERE mailbox <> 0 AND mailbox NOT IN (SELECT id FROM mailbox)",
    ),
    (
        "mailbox {0}, which is not there, is shared with {1}",
        "SELECT mailbox, identifier FROM acl WHERE mailbox NOT IN (SELECT id FROM mailbox)",
    ),
    (
        "mailbox {0} is shared with {1}, who may do nothing: {2}",
        "SELECT mailbox, identifier, rights FROM acl WHERE rights = '' OR identifier IN ('', '-') OR rights GLOB '*[^a-z0-9]*'",
    ),
    ("there is no INBOX", "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM mailbox WHERE name = 'INBOX')"),
    (
        "body {0} belongs to thread {1}",
        """
        SELECT id, thread FROM body WHERE thread < 1 OR thread > (
            SELECT max(id) FROM (SELECT id FROM body UNION SELECT value FROM setting WHERE key = 'last_body'))
        """,
    ),
    (
        "the search index goes up to body {0}, the newest was {1}",
        """
        SELECT s.value, q.newest FROM setting s, (SELECT coalesce(max(id), 0) AS newest
            FROM (SELECT id FROM body UNION SELECT value FROM setting WHERE key = 'last_body')) q
        WHERE s.key = 'indexed_body' AND s.value > q.newest
        """,
    ),
)


def check(
    connection: Any, *, deep: bool = False, decode: Callable[[int, bytes], bytes] | None = None
) -> list[str]:
    """Ask all the questions.

    :param connection: an apsw connection to an account's database; all is asked in one transaction.
    :param deep: also read every page, check the search index, and decode every chunk.
    :param decode: what makes octets of (codec, data); wanted with ``deep``.
    :returns: sentences; empty when all is well.
    """
    problems: list[str] = []
    own = not connection.in_transaction
    if own:
        connection.execute("BEGIN")
    try:
        for sentence, question in _QUESTIONS:
            _collect(problems, _answers(connection, sentence, question))
        if deep:
            _collect(problems, _pages(connection))
            _collect(problems, _unreadable_facts(connection))
            if decode is not None:
                _collect(problems, _undecodable(connection, decode))
    except apsw.Error as e:
        problems.append(f"the database cannot be read: {e}")
    finally:
        if own:
            connection.execute("ROLLBACK")
    return problems


def _collect(problems: list[str], found: Iterator[str]) -> None:
    for n, problem in enumerate(found):
        if n == _MAX_PROBLEMS:
            problems.append(f"… and {1 + sum(1 for _ in found)} more of this kind")
            return
        problems.append(problem)


def _answers(connection: Any, sentence: str, question: str) -> Iterator[str]:
    for row in connection.execute(question):
        yield sentence.format(*row)


def _pages(connection: Any) -> Iterator[str]:
    for row in connection.execute("PRAGMA integrity_check"):
        if row[0] != "ok":
            yield row[0]


def _unreadable_facts(connection: Any) -> Iterator[str]:
    for body, facts, prefix_size in connection.execute(
        "SELECT id, CAST(facts AS BLOB), prefix_size FROM body"
    ):
        try:
            prefix = unpack(facts).prefix
        except Exception as e:  # noqa: BLE001 - a boundary: whatever damaged facts provoke is the finding
            yield f"the facts of body {body} cannot be unpacked: {e}"
            continue
        if len(prefix) != prefix_size:
            yield f"body {body} says that its prefix has {prefix_size} octets, it has {len(prefix)}"


def _undecodable(connection: Any, decode: Callable[[int, bytes], bytes]) -> Iterator[str]:
    for identifier, codec, data, size in connection.execute(
        "SELECT c.id, c.codec, CAST(c.data AS BLOB), b.size FROM chunk c JOIN body b ON b.id = c.id >> 16"
    ):
        body, number = identifier >> 16, identifier & 65535
        want = min(CHUNK_OCTETS, size - number * CHUNK_OCTETS)
        try:
            got = len(decode(codec, data))
        except Exception as e:  # noqa: BLE001 - a boundary: whatever a damaged chunk provokes is the finding
            yield f"chunk {number} of body {body} cannot be decoded: {e}"
            continue
        if got != want:
            yield f"chunk {number} of body {body} has {got} octets instead of {want}"
