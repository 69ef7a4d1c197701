"""What an account knows of senders: one range of an index for each question, however large the account is.

::

    account.reputation.past("INBOX", "domain", "a.example", True, now - 2 * YEAR, 20)
    # [PastMessage(junk=False, at=1790000000, localpart=4711), ...]
    account.reputation.wrote_to("address", "mary@a.example", now - 3 * YEAR)        # True

The history follows the flags behind the replies (``moxtwisted.store.judgements``): within milliseconds when the account is quiet, within
some two seconds a slice of 50 messages when it never is. So an answer may not know yet what was flagged a moment ago; after an import of
100,000 flagged messages it knows all of them some minutes later.

A mailbox is known by its id, so that it keeps its history when it is renamed, and loses it when it is deleted: another of the same name
begins anew. What was destined for a mailbox that was not there is found by that name, and by the mailbox when it comes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import apsw
from attrs import frozen
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.store.interfaces import IReputation, Mailbox, PastMessage, ReputationKind
from moxtwisted.store.mailboxes import canonical_name
from moxtwisted.store.senders import KINDS_OF_FROM, history_key, name_origin, number

if TYPE_CHECKING:
    from moxtwisted.store.ledger import Ledger

__all__ = ["Answers", "Reputation", "correspondent_hash", "destination", "wrote"]

_PAST: Final = "SELECT junk, at, localpart FROM history WHERE key = ? ORDER BY at DESC LIMIT ?"
#: Addresses of one message that count as written to, at most; the rest are a mailing.
MOST_RECIPIENTS: Final = 200

_NOTHING: Final = "SELECT NOT EXISTS (SELECT 1 FROM history), NOT EXISTS (SELECT 1 FROM correspondent)"
_PAST_EXISTS: Final = "SELECT value FROM carray(?) WHERE EXISTS (SELECT 1 FROM history WHERE key = value)"
_CORRESPONDENT_EXISTS: Final = (
    "SELECT value FROM carray(?) WHERE EXISTS (SELECT 1 FROM correspondent WHERE hash = value)"
)
#: Answers of a kind that an account remembers: some 200 octets each, but for 50 rows of a past (4 KB), which are rare.
_MOST_ANSWERS: Final = 500
#: And the same of those that are yes or no: 100 octets each.
_MOST_NUMBERS: Final = 2000

_K = TypeVar("_K")
_V = TypeVar("_V")
_HistoryRow = tuple[int, int, int]
_CorrespondentKind = Literal["address", "domain", "organization"]


@implementer(IReputation)
@frozen
class Reputation:
    """See ``IReputation``.

    :ivar connection: gives the reader's.
    :ivar mailbox: finds one by its name.
    :ivar answers: what was asked before.
    """

    _connection: Callable[[], Any]
    _mailbox: Callable[[str], Mailbox | None]
    _answers: Answers

    def past(
        self,
        origin: str,
        kind: ReputationKind,
        key: str,
        validated: bool | None,
        since: int,
        limit: int,
    ) -> Sequence[PastMessage]:
        """Messages with this key that are junk or not junk, the newest first."""
        key, place = key.lower(), self._place(origin)
        if validated is not None or kind not in KINDS_OF_FROM:
            found = self._rows(history_key(place, kind, bool(validated), key), limit)
        else:
            both = [history_key(place, kind, state, key) for state in (True, False)]
            found = [row for each in both for row in self._rows(each, limit)]
            found = sorted(found, key=_newest)[:limit]
        return [PastMessage(junk == 1, at, localpart) for junk, at, localpart in found if at >= since]

    def _place(self, origin: str) -> int:
        mailbox = self._mailbox(origin)
        return name_origin(destination(origin)) if mailbox is None else mailbox.id

    def _rows(self, wanted: int, limit: int) -> Sequence[_HistoryRow]:
        """The newest of a key, however old."""
        if self._nothing()[0]:
            return ()
        known = self._answers.past.get((wanted, limit))
        if known is None:
            known = self._connection().execute(_PAST, (wanted, limit)).fetchall()
            self._answers.add(self._answers.past, (wanted, limit), known)
        return known

    def _nothing(self) -> tuple[int, int]:
        """Whether there is no history, and whether there are no correspondents."""
        nothing = self._answers.nothing
        if nothing is None:
            nothing = self._answers.nothing = self._connection().execute(_NOTHING).fetchone()
        return nothing

    def wrote_to(self, kind: _CorrespondentKind, key: str, since: int) -> bool:
        """Whether the account sent mail there."""
        wanted, known = correspondent_hash(kind, key), self._answers.written
        if wanted not in known:
            found = self._connection().execute("SELECT at FROM correspondent WHERE hash = ?", (wanted,)).get
            self._answers.add(known, wanted, found)
        at = known[wanted]
        return at is not None and at >= since

    def glance(
        self,
        origin: str,
        asked: Sequence[tuple[ReputationKind, str, bool]],
        written: Sequence[tuple[_CorrespondentKind, str]],
    ) -> tuple[Sequence[bool], Sequence[bool]]:
        """Which of these questions have an answer at all."""
        place, answers = self._place(origin), self._answers
        no_past, no_correspondence = self._nothing()
        past: Sequence[bool] = [False] * len(asked)
        correspondence: Sequence[bool] = [False] * len(written)
        if not no_past:
            numbers = [history_key(place, kind, validated, key.lower()) for kind, key, validated in asked]
            past = answers.exist(answers.judged, numbers, _PAST_EXISTS, self._connection)
        if not no_correspondence:
            numbers = [correspondent_hash(kind, key) for kind, key in written]
            correspondence = answers.exist(
                answers.correspondents, numbers, _CORRESPONDENT_EXISTS, self._connection
            )
        return past, correspondence


class Answers:
    """What an account was asked lately. A commit voids the pages that a reader has in memory, so that to ask the database again costs as
    much as the first time; what is known of senders changes far more seldom.

    :ivar nothing: see ``Reputation._nothing``; None: not known yet.
    :ivar past: rows, by the number and how many were wanted.
    :ivar written: times, by the number.
    :ivar judged: whether the history has anything of a number.
    :ivar correspondents: the same of correspondents.
    """

    def __init__(self) -> None:
        self.nothing: tuple[int, int] | None = None
        self.past: dict[tuple[int, int], Sequence[_HistoryRow]] = {}
        self.written: dict[int, int | None] = {}
        self.judged: dict[int, bool] = {}
        self.correspondents: dict[int, bool] = {}

    def add(self, known: dict[_K, _V], question: _K, answer: _V) -> None:
        """Remember an answer in one of them."""
        if len(known) >= _MOST_ANSWERS:
            known.clear()
        known[question] = answer

    def exist(
        self, known: dict[int, bool], numbers: Sequence[int], statement: str, connection: Callable[[], Any]
    ) -> Sequence[bool]:
        """Of which of these there is anything; the database is asked for those that are not known."""
        if len(known) + len(numbers) > _MOST_NUMBERS:
            known.clear()
        missing = [number for number in numbers if number not in known]
        if missing:
            found = {row[0] for row in connection().execute(statement, (apsw.carray(array("q", missing)),))}
            known.update((number, number in found) for number in missing)
        return [known[number] for number in numbers]

    def forget(self) -> None:
        """There may be other answers now."""
        self.nothing = None
        for known in (self.past, self.written, self.judged, self.correspondents):
            known.clear()


def destination(name: str) -> str:
    """The canonical name of a mailbox that mail was destined for, if it is one that a mailbox can have."""
    with suppress(MailError):
        name = canonical_name(name)
    return name


def _newest(row: tuple[int, int, int]) -> int:
    return -row[1]


# -- whom the account wrote to -------------------------------------------------------------------------------------------


@lru_cache(4096)
def correspondent_hash(kind: _CorrespondentKind, key: str) -> int:
    """The number that stands for an address or a domain."""
    return number(f"{kind} {key.lower()}")


def wrote(ledger: Ledger, addresses: Sequence[tuple[str, str, str]], at: int) -> None:
    """A job: the account wrote to these. What is known to a day writes nothing.

    :param addresses: (local part, domain, organizational domain), domains as A-labels.
    :param at: seconds since 1970.
    """
    hashes: set[int] = set()
    for localpart, domain, organization in addresses[:MOST_RECIPIENTS]:
        hashes.add(correspondent_hash("address", f"{localpart}@{domain}"))
        hashes.add(correspondent_hash("domain", domain))
        hashes.add(correspondent_hash("organization", organization))
    ledger.experience = True
    ledger.connection.executemany(
        "INSERT INTO correspondent VALUES (?, ?) ON CONFLICT DO UPDATE SET at = excluded.at WHERE excluded.at > at + 86400",
        [(each, at) for each in sorted(hashes)],
    )
