"""Weighing what a message has against what was learned.

::

    learned = Totals(ham=200, junk=150, html_ham=40, html_junk=120)
    rows = [(number, ham, junk, html_ham, html_junk), …]            # of those of its tokens that were ever seen
    verdict = weigh(found, worths(rows, learned, html=found.html), learned)
    verdict.probability, verdict.significant
    verdict.words                                                  # (("subject:offer", 0.98, 3.9), …): what weighed most

A token that stands in the share *j* of all junk and *h* of all wanted mail is worth ``d = (j - h) / (j + h) * n / (n + RARE)``, between -1
and 1: seen *n* times only, it is pulled towards 0 (Robinson). The shares are those among messages of the same form, with HTML or without,
as far as there are enough of them, and among all otherwise: that a newsletter and junk are both made of HTML must not count with each of
their words. From each view (see ``moxtwisted.junk.tokens``) those few that are worth most add ``log((1 + d) / (1 - d))``, the logarithm
of the odds (Graham), at most ``STRONGEST``; what speaks for a message counts twice, because a good message that is refused costs more than
junk that is not. A curve makes a probability of the sum. How all this was chosen, and against what, is in docs/design/junk.rst.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from moxtwisted.junk.tokens import TOKENIZER, VIEWS, Features

__all__ = ["MIN_HAM", "MIN_JUNK", "VERSION", "Totals", "Verdict", "Weight", "weigh", "worths"]

#: number of a token; messages with it: ham, junk, ham with HTML, junk with HTML
Row = tuple[int, int, int, int, int]

MIN_HAM: Final = 50
"""Messages that are not junk from which the filter's word counts, as with mox."""
MIN_JUNK: Final = 20
"""And messages that are."""

_UNICODE: Final = tuple(int(number) for number in unicodedata.unidata_version.split("."))
VERSION: Final = (TOKENIZER * 1000 + _UNICODE[0]) * 10 + _UNICODE[1]
"""Of what is learned from a message. Another Unicode, which comes with another Python, cuts some words in another way."""


#: Tokens of each view that count, those that are worth most.
_MOST: Final = dict(zip(VIEWS, (4, 8, 4, 4, 8), strict=True))
#: A token that was seen so many times is worth half of what it says.
_RARE: Final = 0.4
#: So many messages of the same form count as much as all that is known.
_FORM: Final = 30.0
#: What is worth less than this says nothing.
_LEAST: Final = 0.2
#: The most that a token adds: odds of 20 to 1.
_STRONGEST: Final = 3.0
#: So many times what speaks for a message counts.
_FAVOUR: Final = 2.0
#: The sum at which the probability is one half, and by how much it grows with it.
_MIDDLE: Final = -4.9
_STEEPNESS: Final = 0.4


@frozen
class Totals:
    """Messages that were learned."""

    ham: int = 0
    junk: int = 0
    html_ham: int = 0
    html_junk: int = 0

    @property
    def significant(self) -> bool:
        """Whether they are enough to judge others by."""
        return self.ham >= MIN_HAM and self.junk >= MIN_JUNK


@frozen
class Weight:
    """What one token said.

    :ivar token: in words.
    :ivar probability: that a message with it is junk, by itself, 0 to 1.
    :ivar weight: what it added to the sum; negative: it spoke for the message.
    """

    token: str
    probability: float
    weight: float


@frozen
class Verdict:
    """What the filter thinks of a message.

    :ivar probability: that it is junk, 0 to 1.
    :ivar sum: of the weights.
    :ivar significant: whether enough was learned for this to count.
    :ivar words: what weighed most, first.
    """

    probability: float
    sum: float
    significant: bool
    words: tuple[Weight, ...] = ()


def weigh(found: Features, worth: Mapping[int, float], learned: Totals, explain: int = 12) -> Verdict:
    """How much a message looks like junk.

    :param worth: of its tokens, see ``worths``; those that are worth nothing may be left out.
    :param explain: how many words the verdict names.
    """
    if not learned.ham or not learned.junk:
        return Verdict(0.5, 0.0, significant=False)
    get = worth.get
    chosen: list[tuple[float, float, int]] = []
    for numbers, most in zip(found.views, _MOST.values(), strict=True):
        strengths = sorted(map(abs, filter(None, map(get, numbers))), reverse=True)
        if not strengths:
            continue
        # Of a hundred tokens eight are wanted: only they, and those that equal the last, become more than a figure.
        least = strengths[min(most, len(strengths)) - 1]
        strong = [number for number in numbers if not -least < get(number, 0.0) < least]
        # The number decides between equals: the same message gets the same words every time.
        chosen += sorted([(abs(worth[number]), worth[number], number) for number in strong], reverse=True)[
            :most
        ]
    total = sum([_weight(w) for _, w, _ in chosen])
    named = sorted(chosen, reverse=True)[:explain]
    return Verdict(_probability(total), total, learned.significant, tuple(_explained(found, named)))


def _weight(worth: float) -> float:
    weight = math.log((1.0 + worth) / (1.0 - worth))
    return min(weight, _STRONGEST) if weight > 0 else _FAVOUR * max(weight, -_STRONGEST)


def _explained(found: Features, chosen: Sequence[tuple[float, float, int]]) -> Iterator[Weight]:
    texts = found.texts([number for _, _, number in chosen])
    for _, worth, number in chosen:
        yield Weight(texts.get(number, ""), (1.0 + worth) / 2, _weight(worth))


def worths(rows: Iterable[Row], learned: Totals, *, html: bool) -> dict[int, float]:
    """What tokens are worth in messages with HTML, or in those without: -1 to 1 by number, those that are worth anything."""
    if not learned.ham or not learned.junk:
        return {}
    ham_of_form = learned.html_ham if html else learned.ham - learned.html_ham
    junk_of_form = learned.html_junk if html else learned.junk - learned.html_junk
    ham_share, junk_share = 1 / (ham_of_form + _FORM), 1 / (junk_of_form + _FORM)
    ham_all, junk_all = _FORM / learned.ham, _FORM / learned.junk
    worth_of = {}
    for number, ham, junk, html_ham, html_junk in rows:
        h = ((html_ham if html else ham - html_ham) + ham_all * ham) * ham_share
        j = ((html_junk if html else junk - html_junk) + junk_all * junk) * junk_share
        seen = ham + junk
        if not seen:
            continue
        worth = seen * (j - h) / ((seen + _RARE) * (j + h))
        if worth > _LEAST or worth < -_LEAST:
            worth_of[number] = worth
    return worth_of


def _probability(total: float) -> float:
    exponent = (_MIDDLE - total) * _STEEPNESS
    return 0.0 if exponent > sys.float_info.max_exp * 0.69 else 1.0 / (1.0 + math.exp(exponent))
