"""What the junk filter of an account says of a message that comes in.

::

    content = ContentFilter(store.account, reactor)              # IContentFilter
    score = await content.score("alice", staged, staged.scanned.header)
    score.probability, score.significant, score.words

What words weigh is remembered for a while: looking them up costs nearly as much as taking a message apart, and most words of it stood in
others before. What was learned meanwhile counts after ``STALE_SECONDS`` at the latest, and at once where nothing is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from moxtwisted.junk.scoring import Totals, Verdict, weigh, weights
from moxtwisted.junk.tokens import Features, features
from moxtwisted.message.headers import Header
from moxtwisted.server.judgement.interfaces import IContentFilter, JunkScore
from moxtwisted.store.interfaces import IStagedMessage
from moxtwisted.store.junkwords import Learned, counts

__all__ = ["STALE_SECONDS", "ContentFilter", "judge_features"]

STALE_SECONDS: Final = 10.0
"""So long what was remembered is used though something else was learned."""
#: Words that are remembered in all, of all accounts: 100 octets each.
_MOST_WORDS: Final = 400_000
#: And of one account.
_ACCOUNT_WORDS: Final = 40_000
#: Words that a score names.
_NAMED_WORDS: Final = 12


def _totals(learned: Learned) -> Totals:
    return Totals(learned.ham, learned.junk, learned.html_ham, learned.html_junk)


def judge_features(connection: Any, found: Features, explain: int = _NAMED_WORDS) -> Verdict:
    """What is thought of a message, everything looked up now.

    :param connection: for reading the account's database.
    :param explain: how many words are named.
    """
    learned, rows = counts(connection, found.numbers())
    totals = _totals(learned)
    return weigh(found, weights(rows, totals, html=found.html), totals, explain)


@define(eq=False)
class _Remembered:
    """What words weigh in one account: without HTML, and with it; 0 for those that weigh nothing.

    :ivar opening: of the account: what is known of one that was removed is nothing of the next that has its name.
    :ivar experience: the account's, when ``learned`` was read.
    :ivar changes: see ``Learned.changes``, when the first word was looked up; -1: none was.
    :ivar since: when that was, seconds.
    """

    opening: int
    experience: int = -1
    learned: Learned = field(factory=Learned)
    changes: int = -1
    since: float = 0.0
    weights: tuple[dict[int, float], dict[int, float]] = field(factory=lambda: ({}, {}))

    def __len__(self) -> int:
        return len(self.weights[0]) + len(self.weights[1])


@implementer(IContentFilter)
class ContentFilter:
    """See the module.

    :param account: gives an open account by its name.
    :param clock: tells how old what is remembered is.
    """

    def __init__(self, account: Callable[[str], Any], clock: IReactorTime) -> None:
        self._account = account
        self._clock = clock
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._words = 0

    async def score(self, account: str, message: IStagedMessage, header: Header) -> JunkScore | None:
        """See ``IContentFilter``."""
        opened = self._account(account)
        remembered = self._take(account, opened.opening)
        try:
            if remembered.experience != opened.experience:
                remembered.experience = opened.experience
                remembered.learned, _ = opened.ask(counts, ())
            if not remembered.learned.ham or not remembered.learned.junk:
                # Who knows one kind only cannot tell the kinds apart.
                return JunkScore(0.5, significant=False)
            found = features(message.scanned, message.read)
            known = self._weights(remembered, opened.ask, found)
            verdict = weigh(found, known, _totals(remembered.learned), _NAMED_WORDS)
        finally:
            self._remember(account, remembered)
        words = tuple([(word.token, word.probability, word.weight) for word in verdict.words])
        return JunkScore(verdict.probability, verdict.significant, words)

    def _weights(self, remembered: _Remembered, ask: Callable[..., Any], found: Features) -> dict[int, float]:
        """What words weigh, all of this message among them."""
        now, changes = self._clock.seconds(), remembered.learned.changes
        stale = remembered.changes != changes and now - remembered.since > STALE_SECONDS
        if remembered.changes < 0 or stale:
            remembered.changes, remembered.since, remembered.weights = changes, now, ({}, {})
        known = remembered.weights[found.html]
        missing = found.numbers().difference(known)
        if missing:
            remembered.learned, rows = ask(counts, missing)
            known.update(dict.fromkeys(missing, 0.0))
            known.update(weights(rows, _totals(remembered.learned), html=found.html))
        return known

    def _take(self, account: str, opening: int) -> _Remembered:
        """What is remembered of an account; nothing if that is too much, or of another."""
        remembered = self._remembered.pop(account, None)
        if remembered is None:
            return _Remembered(opening)
        self._words -= len(remembered)
        keep = remembered.opening == opening and len(remembered) < _ACCOUNT_WORDS
        return remembered if keep else _Remembered(opening)

    def _remember(self, account: str, remembered: _Remembered) -> None:
        self._remembered[account] = remembered
        self._words += len(remembered)
        while self._words > _MOST_WORDS and len(self._remembered) > 1:
            _, forgotten = self._remembered.popitem(last=False)
            self._words -= len(forgotten)

    def forget(self, accounts: Iterable[str]) -> None:
        """Look everything up anew in these accounts: what was just learned there shall count at once."""
        for account in accounts:
            forgotten = self._remembered.pop(account, None)
            self._words -= 0 if forgotten is None else len(forgotten)
