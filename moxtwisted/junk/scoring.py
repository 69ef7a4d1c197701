"""Weighing what a message has against what was learned.

::

    learned = Totals(ham=200, junk=150, html_ham=40, html_junk=120)
    rows = [(number, ham, junk, html_ham, html_junk), …]            # of those of its tokens that were ever seen
    verdict = weigh(found, weights(rows, learned, html=found.html), learned)
    verdict.probability, verdict.significant
    verdict.words                                                  # (("subject:offer", 0.98, 3.9), …): what weighed most

A token that stands in the share *j* of all junk and *h* of all wanted mail has the odds ``j : h``. They are pulled towards
1 : 1, as if ``RARE`` messages more had had it, half of them junk (Robinson). The shares are those among messages of the same form,
with HTML or without, as far as there are enough of them, and among all otherwise: that a newsletter and junk are both made of HTML must not
count with each of their words. From each view (see ``moxtwisted.junk.tokens``) those few that speak most against a message and those few
that speak most for it add the logarithms of their odds (Graham), at most ``STRONGEST`` each; what speaks for it counts more, because a good
message that is refused costs more than junk that is not. That both sides are always heard keeps long letters, in which something always
sounds like junk, from being taken for it. A curve makes a probability of the sum. How all this was chosen, and against what, is in
docs/design/junk.rst.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import frozen

from moxtwisted.junk.tokens import TOKENIZER, VIEWS, Features

__all__ = ["MIN_HAM", "MIN_JUNK", "VERSION", "Totals", "Verdict", "Weight", "weigh", "weights"]

#: number of a token; messages with it: ham, junk, ham with HTML, junk with HTML
Row = tuple[int, int, int, int, int]

MIN_HAM: Final = 50
"""Messages that are not junk from which the filter's word counts, as with mox."""
MIN_JUNK: Final = 20
"""And messages that are."""

_UNICODE: Final = tuple(int(number) for number in unicodedata.unidata_version.split("."))
VERSION: Final = (TOKENIZER * 1000 + _UNICODE[0]) * 10 + _UNICODE[1]
"""Of what is learned from a message. Another Unicode, which comes with another Python, cuts some words in another way."""


#: Tokens of each view that count, of those against a message and of those for it.
_MOST: Final = dict(zip(VIEWS, (3, 10, 4, 4, 12), strict=True))
#: So many messages with a token, half of them junk, are thought to have been there besides those that were.
_RARE: Final = 0.6
#: So many messages of the same form count as much as all that is known.
_FORM: Final = 30.0
#: What weighs less than this says nothing: odds of 3 to 2.
_LEAST: Final = 0.4
#: The most that a token adds: odds of 150 to 1.
_STRONGEST: Final = 5.0
#: So many times what speaks for a message counts.
_FAVOUR: Final = 1.3
#: The sum at which the probability is one half, and by how much it grows with it.
_MIDDLE: Final = 5.0
_STEEPNESS: Final = 0.21


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


def weigh(found: Features, weight: Mapping[int, float], learned: Totals, explain: int = 12) -> Verdict:
    """How much a message looks like junk.

    :param weight: of its tokens, see ``weights``; those that weigh nothing may be left out.
    :param explain: how many words the verdict names.
    """
    if not learned.ham or not learned.junk:
        return Verdict(0.5, 0.0, significant=False)
    get = weight.get
    heard: list[float] = []
    for numbers, most in zip(found.views, _MOST.values(), strict=True):
        known = sorted(filter(None, map(get, numbers)))
        middle = bisect_left(known, 0.0)
        heard += known[: min(most, middle)]
        heard += known[max(middle, len(known) - most) :]
    total = sum(heard)
    strengths = sorted(map(abs, heard), reverse=True)[:explain]
    named = tuple(_explained(found, weight, strengths))
    return Verdict(_probability(total), total, learned.significant, named)


def _explained(found: Features, weight: Mapping[int, float], strengths: list[float]) -> Iterator[Weight]:
    """The tokens with these strengths."""
    if not strengths:
        return
    get, least = weight.get, strengths[-1]
    strong: list[tuple[float, float, int]] = []
    for numbers, most in zip(found.views, _MOST.values(), strict=True):
        # The number decides between equals: the same message gets the same words every time.
        of_view = [(weight[n], n) for n in numbers if not -least < get(n, 0.0) < least]
        of_view.sort()
        strong += [(-w, w, n) for w, n in of_view[:most] if w < 0]
        strong += [(w, w, n) for w, n in of_view[-most:] if w > 0]
    strong.sort(reverse=True)
    del strong[len(strengths) :]
    texts = found.texts([number for _, _, number in strong])
    for _, w, number in strong:
        odds = w if w > 0 else w / _FAVOUR
        yield Weight(texts.get(number, ""), 1.0 / (1.0 + math.exp(-odds)), w)


def weights(rows: Iterable[Row], learned: Totals, *, html: bool) -> dict[int, float]:
    """What tokens add in messages with HTML, or in those without, by number; of those that say anything."""
    if not learned.ham or not learned.junk:
        return {}
    ham_of_form = learned.html_ham if html else max(learned.ham - learned.html_ham, 0)
    junk_of_form = learned.html_junk if html else max(learned.junk - learned.html_junk, 0)
    ham_share, junk_share = 1 / (ham_of_form + _FORM), 1 / (junk_of_form + _FORM)
    # A message of the form counts by its share of them, and each by what all add to that.
    all_ham, all_junk = _FORM / learned.ham * ham_share, _FORM / learned.junk * junk_share
    if not html:
        # Those without HTML are all but those with it.
        all_ham, ham_share = all_ham + ham_share, -ham_share
        all_junk, junk_share = all_junk + junk_share, -junk_share
    log = math.log
    found = {}
    for number, ham, junk, html_ham, html_junk in rows:
        h = all_ham * ham + ham_share * html_ham
        j = all_junk * junk + junk_share * html_junk
        if h < 0.0 or j < 0.0 or not h + j:
            continue  # a damaged database
        twice, unknown = 2 * (ham + junk), _RARE * (h + j)
        weight = log((twice * j + unknown) / (twice * h + unknown))
        if weight > _LEAST:
            found[number] = min(weight, _STRONGEST)
        elif weight < -_LEAST:
            found[number] = _FAVOUR * max(weight, -_STRONGEST)
    return found


def _probability(total: float) -> float:
    exponent = (_MIDDLE - total) * _STEEPNESS
    return 0.0 if exponent > sys.float_info.max_exp * 0.69 else 1.0 / (1.0 + math.exp(exponent))
