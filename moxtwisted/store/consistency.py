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

from moxtwisted.errors import ConsistencyError
from moxtwisted.store.facts import unpack
from moxtwisted.store.judgements import combined, history_rows, verdict
from moxtwisted.store.senders import unpack_sender

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
    # A large one that nobody names goes some chunks at a time, the last ones first.
    (
        "body {0} of {1} octets has {2} chunks, the last is number {3}",
        """
        SELECT b.id, b.size, count(c.id) AS n, max(c.id & 65535) AS last, (b.size + 262143) / 262144 AS want
        FROM body b LEFT JOIN chunk c ON c.id BETWEEN b.id * 65536 AND b.id * 65536 + 65535
        GROUP BY b.id HAVING (n <> want AND b.refs > 0) OR n > want OR (n > 0 AND last <> n - 1)
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
    (
        "body {0} is judged or to be judged, and is not there",
        "SELECT body FROM (SELECT body FROM judged UNION SELECT body FROM unjudged) WHERE body NOT IN (SELECT id FROM body)",
    ),
    (
        "body {0} was learned by version {1} of a learner, all others by {2}",
        """
        SELECT body, learned, coalesce((SELECT value FROM setting WHERE key = 'learned_by'), 0) AS version FROM judged
        WHERE learned NOT IN (0, version)
        """,
    ),
    (
        "the history has a row for body {0}, which says junk {1} at {2}; judged is {3}",
        """
        SELECT h.body, h.junk, h.at, coalesce(j.junk || ' at ' || j.at, 'nothing') FROM history h LEFT JOIN judged j ON j.body = h.body
        WHERE j.body IS NULL OR j.junk <> h.junk OR j.at <> h.at
        """,
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
        _collect(problems, _misjudged(connection))
        if deep:
            _collect(problems, _pages(connection))
            _collect(problems, _unreadable_facts(connection))
            _collect(problems, _wrong_history(connection))
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


def _misjudged(connection: Any) -> Iterator[str]:
    """What the flags say of the messages, compared with what was made of it; but for what is to be judged yet."""
    due = {row[0] for row in connection.execute("SELECT body FROM unjudged")}
    judged = dict(connection.execute("SELECT body, junk FROM judged").fetchall())
    said: dict[int, list[bool | None]] = {}
    for body, flags, keywords in connection.execute(
        "SELECT body, flags, keywords FROM message WHERE flags & 2 OR keywords <> ''"
    ):
        opinion = verdict(flags, keywords)
        if opinion is not None:
            said.setdefault(body, []).append(opinion)
    for body in sorted((said.keys() | judged.keys()) - due):
        flags_say, known = combined(said.get(body, ())), judged.get(body)
        if flags_say is not (None if known is None else bool(known)):
            yield f"body {body} is judged {_words(known)}, its messages' flags say {_words(flags_say)}"


def _words(junk: object) -> str:
    return "neither" if junk is None else "junk" if junk else "not junk"


def _wrong_history(connection: Any) -> Iterator[str]:
    """Recount: the rows that the history has to have, and no others."""
    count = 0
    for body, junk, at, origin, facts in connection.execute(
        "SELECT j.body, j.junk, j.at, j.origin, b.facts FROM judged j JOIN body b ON b.id = j.body ORDER BY j.body"
    ):
        try:
            sender = unpack_sender(unpack(facts).sender)
        except ConsistencyError as e:
            yield f"the sender of body {body} cannot be read: {e}"
            continue
        if (sender is None) is not (origin == 0):
            yield f"body {body} is judged as destined for {origin}, which does not fit what is known of its sender"
        rows = (
            set(history_rows(sender[0], body, at, origin, junk)) if sender is not None and origin else set()
        )
        count += len(rows)
        known = {
            row
            for key, *_ in rows
            for row in connection.execute(
                "SELECT key, at, body, junk, localpart FROM history WHERE key = ? AND at = ? AND body = ?",
                (key, at, body),
            )
        }
        if rows != known:
            yield f"the history lacks {len(rows - known)} of {len(rows)} rows for body {body}"
    has = connection.execute("SELECT count(*) FROM history").get
    if has > count:
        yield f"the history has {has} rows, {count} are right"


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
