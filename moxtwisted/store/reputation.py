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

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Literal

from attrs import frozen
from zope.interface import implementer

from moxtwisted.errors import MailError
from moxtwisted.store.interfaces import IReputation, Mailbox, PastMessage, ReputationKind
from moxtwisted.store.mailboxes import canonical_name
from moxtwisted.store.senders import KINDS_OF_FROM, history_key, name_origin, number

__all__ = ["Reputation", "correspondent_hash", "destination", "wrote"]

_PAST: Final = "SELECT junk, at, localpart FROM history WHERE key = ? AND at >= ? ORDER BY at DESC LIMIT ?"
#: Addresses of one message that count as written to, at most; the rest are a mailing.
MOST_RECIPIENTS: Final = 200

_CorrespondentKind = Literal["address", "domain", "organization"]


@implementer(IReputation)
@frozen
class Reputation:
    """See ``IReputation``.

    :ivar connection: gives the reader's.
    :ivar mailbox: finds one by its name.
    """

    _connection: Callable[[], Any]
    _mailbox: Callable[[str], Mailbox | None]

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
        execute, key = self._connection().execute, key.lower()
        mailbox = self._mailbox(origin)
        place = name_origin(destination(origin)) if mailbox is None else mailbox.id
        if validated is not None or kind not in KINDS_OF_FROM:
            wanted = history_key(place, kind, bool(validated), key)
            found: list[tuple[int, int, int]] = execute(_PAST, (wanted, since, limit)).fetchall()
        else:
            both = [history_key(place, kind, state, key) for state in (True, False)]
            found = [row for each in both for row in execute(_PAST, (each, since, limit)).fetchall()]
            found = sorted(found, key=_newest)[:limit]
        return [PastMessage(junk == 1, at, localpart) for junk, at, localpart in found]

    def wrote_to(self, kind: _CorrespondentKind, key: str, since: int) -> bool:
        """Whether the account sent mail there."""
        at = (
            self._connection()
            .execute("SELECT at FROM correspondent WHERE hash = ?", (correspondent_hash(kind, key),))
            .get
        )
        return at is not None and at >= since

    def glance(
        self,
        origin: str,
        asked: Sequence[tuple[ReputationKind, str, bool]],
        written: Sequence[tuple[_CorrespondentKind, str]],
    ) -> tuple[Sequence[bool], Sequence[bool]]:
        """Which of these questions have an answer at all."""
        mailbox = self._mailbox(origin)
        place = name_origin(destination(origin)) if mailbox is None else mailbox.id
        numbers = [history_key(place, kind, validated, key.lower()) for kind, key, validated in asked]
        numbers += [correspondent_hash(kind, key) for kind, key in written]
        if not numbers:
            return (), ()
        found = self._connection().execute(_glance(len(asked), len(written)), numbers).fetchone()
        answers = [answer == 1 for answer in found]
        return answers[: len(asked)], answers[len(asked) :]


@lru_cache(256)
def _glance(asked: int, written: int) -> str:
    """A statement with one row: whether there is anything of each."""
    past = ["EXISTS(SELECT 1 FROM history WHERE key = ?)"] * asked
    correspondence = ["EXISTS(SELECT 1 FROM correspondent WHERE hash = ?)"] * written
    return "SELECT " + ", ".join(past + correspondence)


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


def wrote(connection: Any, addresses: Sequence[tuple[str, str, str]], at: int) -> None:
    """A job: the account wrote to these. What is known to a day writes nothing.

    :param addresses: (local part, domain, organizational domain), domains as A-labels.
    :param at: seconds since 1970.
    """
    hashes: set[int] = set()
    for localpart, domain, organization in addresses[:MOST_RECIPIENTS]:
        hashes.add(correspondent_hash("address", f"{localpart}@{domain}"))
        hashes.add(correspondent_hash("domain", domain))
        hashes.add(correspondent_hash("organization", organization))
    connection.executemany(
        "INSERT INTO correspondent VALUES (?, ?) ON CONFLICT DO UPDATE SET at = excluded.at WHERE excluded.at > at + 86400",
        [(each, at) for each in sorted(hashes)],
    )
