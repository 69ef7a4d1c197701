"""What follows from a message being junk or not: the history of its sender, and the words that were learned from it.

Users say what is junk by flags (``$Junk``, ``$NotJunk``, and as Thunderbird and others write them), by moving messages, and by answering
them. Whatever may have changed what a message is only notes its body, in the same transaction::

    note(ledger, [body])                    # one row in `unjudged`

In the writer's pauses, behind the replies, slices of a few milliseconds look at what the flags of these bodies' messages say now and
bring up to date what follows from it: rows of ``history``, by which ``moxtwisted.store.reputation`` answers, and what a ``Learner``
has learned. What was made of a body is in ``judged``, so that it can be taken back exactly. All of it is one transaction with the
removal of the note: a crash at any moment loses nothing and does nothing twice.

A body counts once, however many copies of the message there are. When they contradict each other it is neither. When the last one is
expunged, what followed from it is taken back before its octets are deleted.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import apsw
from twisted.logger import Logger

from moxtwisted.errors import ConsistencyError
from moxtwisted.message.flags import ANSWERED
from moxtwisted.store.facts import unpack
from moxtwisted.store.interfaces import Sender
from moxtwisted.store.learner import Learner
from moxtwisted.store.ledger import Ledger
from moxtwisted.store.reading import BodyReader
from moxtwisted.store.senders import history_keys, name_origin, number, unpack_sender

__all__ = [
    "Judging",
    "combined",
    "history_rows",
    "note",
    "note_alike",
    "note_rows",
    "relearn",
    "settle",
    "use_learner",
    "verdict",
]

_log = Logger()

#: Keywords that say what a message is, in lower case (the IANA registry has the first two; Thunderbird writes Junk and NonJunk).
JUNK_WORDS: Final = frozenset(("$junk", "junk"))
NOT_JUNK_WORDS: Final = frozenset(("$notjunk", "notjunk", "nonjunk"))
#: Bodies that one slice looks at, and how long it works at most (but for the one that it is at), seconds.
_SLICE_BODIES: Final = 50
_SLICE_SECONDS: Final = 0.004
_REMEMBER: Final = "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?)"
_FORGET: Final = "DELETE FROM history WHERE key = ? AND at = ? AND body = ?"
#: A message that is moved so soon after it came is taken for delivered there: nobody reads so fast.
_AT_ONCE_SECONDS: Final = 60
#: The messages of a body, and whether somebody did something to them since they were delivered.
_MESSAGES: Final = "SELECT flags, keywords, internaldate, modseq > createseq OR savedate > internaldate + ?2 FROM message WHERE body = ?1"


@lru_cache(4096)
def verdict(flags: int, keywords: str) -> bool | None:
    """Whether a message with these flags is junk: True, False, or None for neither.

    :param flags: bits of ``moxtwisted.message.flags``.
    :param keywords: names, separated by spaces.
    """
    words = frozenset(keywords.lower().split())
    junk, not_junk = bool(words & JUNK_WORDS), bool(words & NOT_JUNK_WORDS)
    if junk or not_junk:
        return None if junk and not_junk else junk
    # Who answers a message did want it.
    return False if flags & ANSWERED else None


def combined(verdicts: Iterable[bool | None]) -> bool | None:
    """What the copies of a message say together."""
    said = set(verdicts) - {None}
    return said.pop() if len(said) == 1 else None


# -- notes ---------------------------------------------------------------------------------------------------------------


def note(ledger: Ledger, bodies: Sequence[int]) -> None:
    """What messages of these bodies are may have changed."""
    if not bodies:
        return
    if len(bodies) == 1:
        ledger.unjudge(bodies[0])
    else:
        ledger.connection.execute(
            "INSERT OR IGNORE INTO unjudged SELECT value FROM carray(?)", (apsw.carray(array("q", bodies)),)
        )
    ledger.judgements_due = True


def note_arrival(ledger: Ledger, mailbox: str) -> None:
    """There is a mailbox of this name now: what was destined for it when there was none is its own."""
    ledger.connection.execute(
        "INSERT OR IGNORE INTO unjudged SELECT body FROM judged WHERE origin = ? AND origin < 0",
        (name_origin(mailbox),),
    )
    ledger.judgements_due |= bool(ledger.connection.changes())


def note_alike(ledger: Ledger, span: tuple[int, int, int], flags: tuple[int, str]) -> None:
    """The same of all in a mailbox, from one UID to another, that have these flags (still)."""
    ledger.connection.execute(
        "INSERT OR IGNORE INTO unjudged SELECT body FROM message"
        " WHERE mailbox = ? AND uid BETWEEN ? AND ? AND flags = ? AND keywords = ?",
        (*span, *flags),
    )
    ledger.judgements_due = True


def note_rows(ledger: Ledger, rows: Sequence[tuple[Any, ...]]) -> None:
    """Messages came or went; rows as ``messages`` reads them, with flags and keywords behind the UID and the body at the end."""
    note(ledger, [row[-1] for row in rows if (row[1] or row[2]) and verdict(row[1], row[2]) is not None])


# -- the writer's pauses -------------------------------------------------------------------------------------------------


class Judging:
    """Sees that there is one idle job as long as anything is noted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._more = False

    def begin(self) -> bool:
        """Something was noted; whether somebody has to see that ``slice`` is called."""
        with self._lock:
            begun, self._begun, self._more = self._begun, True, True
        return not begun

    @property
    def busy(self) -> bool:
        """Whether there is something to be done."""
        return self._begun

    def slice(self, ledger: Ledger) -> bool:
        """In the writer, in a transaction of its own: do some; whether to call it again."""
        with self._lock:
            self._more = False
        try:
            more = _judge_some(ledger)
        except BaseException:
            with self._lock:
                self._begun = False
            raise
        with self._lock:
            self._begun = more or self._more
            return self._begun


def _judge_some(ledger: Ledger) -> bool:
    version = ledger.learner.version if ledger.learner is not None else 0
    if ledger.learned_by != version:
        # Who could unlearn is not here: it waits until the account is opened by a program that has a learner.
        return False
    ledger.flush()
    execute = ledger.connection.execute
    bodies = [
        row[0]
        for row in execute("SELECT body FROM unjudged ORDER BY body LIMIT ?", (_SLICE_BODIES,)).fetchall()
    ]
    ends = time.perf_counter() + _SLICE_SECONDS
    for done, body in enumerate(bodies, 1):
        try:
            _judge(ledger, body)
        except ConsistencyError as e:
            _log.error("body {body} cannot be judged: {error}", body=body, error=e.detail)
        if done == len(bodies) or time.perf_counter() > ends:
            execute("DELETE FROM unjudged WHERE body <= ?", (body,))
            return done < len(bodies) or len(bodies) == _SLICE_BODIES
    return False


def settle(ledger: Ledger, body: int) -> bool:
    """A body is going to be deleted: take back what followed from it; whether that was possible."""
    execute = ledger.connection.execute
    known = execute("SELECT learned FROM judged WHERE body = ?", (body,)).fetchall()
    if known:
        if known[0][0] and (ledger.learner is None or ledger.learned_by != ledger.learner.version):
            return False
        _judge(ledger, body)
    execute("DELETE FROM unjudged WHERE body = ?", (body,))
    return True


def _judge(ledger: Ledger, body: int) -> None:
    """Bring up to date what follows from what a body is."""
    execute = ledger.connection.execute
    known = execute("SELECT junk, at, origin, learned FROM judged WHERE body = ?", (body,)).fetchall()
    was, at, origin, learned = known[0] if known else (None, 0, 0, 0)
    messages = execute(_MESSAGES, (body, _AT_ONCE_SECONDS)).fetchall()
    junk = combined([verdict(flags, keywords) for flags, keywords, _, _ in messages])
    version = ledger.learner.version if ledger.learner is not None else 0
    if (junk is None and was is None) or (
        was is not None and was == junk and learned == version and origin >= 0
    ):
        return
    found = execute("SELECT size, facts FROM body WHERE id = ?", (body,)).fetchall()
    if not found:
        raise ConsistencyError(f"body {body} is not there")
    ((size, facts),) = found
    if was != junk or origin < 0:
        sender = unpack_sender(unpack(facts).sender)
        if was is None:
            at = min(row[2] for row in messages)
        if sender is not None:
            if origin < 0:
                _remember(ledger, sender[0], (body, at, origin), None)
            if origin <= 0:
                origin = _origin(ledger, *sender)
            _remember(ledger, sender[0], (body, at, origin), junk)
    if learned and was != junk:
        learned = _learned(ledger, (body, size), bool(was), -1)
    if junk is None:
        execute("DELETE FROM judged WHERE body = ?", (body,))
        return
    if learned != version:
        learned = _learned(ledger, (body, size), junk, 1)
    execute("INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?)", (body, junk, at, origin, learned))
    if was != junk and any(row[3] for row in messages):
        ledger.decided.append((body, junk))


def _origin(ledger: Ledger, sender: Sender, mailbox: int | None) -> int:
    if mailbox is not None:
        return mailbox
    record = ledger.by_name.get(sender.origin)
    return record.id if record is not None else name_origin(sender.origin)


def history_rows(sender: Sender, body: int, at: int, origin: int, junk: int) -> list[tuple[int, ...]]:
    """The rows of ``history`` that a message has."""
    localpart = number(sender.localpart) >> 32 if sender.localpart else 0
    return [(key, at, body, junk, localpart) for key in history_keys(sender, origin)]


def _remember(ledger: Ledger, sender: Sender, place: tuple[int, int, int], junk: bool | None) -> None:
    rows = history_rows(sender, *place, bool(junk))
    ledger.experience = True
    if junk is None:
        ledger.connection.executemany(_FORGET, [row[:3] for row in rows])
    else:
        ledger.connection.executemany(_REMEMBER, rows)


def _learned(ledger: Ledger, message: tuple[int, int], junk: bool, sign: int) -> int:
    """Have the learner learn or unlearn; the version that has learned it now, 0 for none."""
    learner, (body, size) = ledger.learner, message
    if learner is None:
        return 0
    reader = BodyReader(size, ledger.connection, body, b"", lambda _: None)
    ledger.experience = True
    try:
        with ledger.connection:
            learner.learn(ledger.connection, body, reader, junk, sign)
    except apsw.Error:
        raise
    except Exception:  # noqa: BLE001 - a boundary: one message must not keep all others from being learned
        _log.failure("body {body} could not be learned from", body=body, sign=sign)
        return 0
    finally:
        reader.close()
    return learner.version if sign > 0 else 0


# -- the learner ---------------------------------------------------------------------------------------------------------


def use_learner(ledger: Ledger, learner: Learner) -> None:
    """A job: this one learns from now on; what another version has learned is forgotten, and learned anew in the pauses."""
    ledger.learner = learner
    if ledger.learned_by != learner.version:
        relearn(ledger)
    elif ledger.connection.execute("SELECT 1 FROM unjudged LIMIT 1").get is not None:
        ledger.judgements_due = True


def relearn(ledger: Ledger) -> None:
    """A job: forget all that was learned, and have it learned anew in the pauses."""
    learner = ledger.learner
    if learner is None:
        return
    learner.forget(ledger.connection)
    ledger.experience = True
    ledger.learned_by = learner.version
    ledger.set_setting("learned_by", learner.version)
    ledger.connection.execute("UPDATE judged SET learned = 0")
    ledger.connection.execute("INSERT OR IGNORE INTO unjudged SELECT body FROM judged")
    ledger.judgements_due = True
