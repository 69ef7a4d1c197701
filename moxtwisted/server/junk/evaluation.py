"""How good the filter is on mail of which one knows what it is: learn a part of it, judge the rest.

::

    samples = [Sample.of("a.eml", octets, junk=True), …]
    judged = judge_halves(samples)                 # each half by what the other teaches
    report = Report.of(judged)
    report.limits                                  # Point(limit=0.95, false_positives=0, caught=0.91), …

Nothing is kept.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import asdict, frozen

from moxtwisted.junk.scoring import Row, Totals, Verdict, weigh, weights
from moxtwisted.junk.tokens import ENOUGH_OCTETS, Features, features
from moxtwisted.message.mime import Scanner

__all__ = ["Judged", "Knowledge", "Point", "Report", "Sample", "judge_halves", "judge_parts"]

LIMITS: Final = (0.25, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
_FALSE_POSITIVES: Final = (0, 1, 2, 3, 5, 10, 20)
_WORST: Final = 5


@frozen(eq=False)
class Sample:
    """A message of which it is known what it is.

    :ivar part: by which it is put into one half or the other: as good as random, and the same every time.
    """

    name: str
    part: int
    junk: bool
    found: Features

    @classmethod
    def of(cls, name: str, octets: bytes, *, junk: bool, part: int | None = None) -> Sample:
        """Take a message apart.

        :param part: None: made of the octets.
        """
        scanner = Scanner()
        scanner.feed(octets[:ENOUGH_OCTETS])
        found = features(scanner.finish(), lambda offset, length: octets[offset : offset + length])
        if part is None:
            part = int.from_bytes(hashlib.blake2b(octets, digest_size=8).digest())
        return cls(name, part, junk, found)


@frozen(eq=False)
class Judged:
    """What was thought of a sample that was not learned."""

    sample: Sample
    verdict: Verdict


class Knowledge:
    """What was learned, in memory."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._rows: dict[int, list[int]] = {}
        whole = [0, 0, 0, 0]
        for sample in samples:
            junk, html = sample.junk, sample.found.html
            for row in (whole, *(self._rows.setdefault(n, [0, 0, 0, 0]) for n in sample.found.numbers())):
                row[junk] += 1
                row[2 + junk] += html
        self.totals = Totals(*whole)

    def judge(self, found: Features) -> Verdict:
        """What is thought of a message."""
        rows: list[Row] = []
        for number in found.numbers():
            row = self._rows.get(number)
            if row is not None:
                rows.append((number, row[0], row[1], row[2], row[3]))
        return weigh(found, weights(rows, self.totals, html=found.html), self.totals)


def judge_parts(
    samples: Sequence[Sample], parts: int, progress: Callable[[int], None] | None = None
) -> list[Judged]:
    """Each of so many parts by what all others teach.

    :param progress: told how many messages were judged.
    """
    judged: list[Judged] = []
    for part in range(parts):
        knowledge = Knowledge([sample for sample in samples if sample.part % parts != part])
        for sample in samples:
            if sample.part % parts == part:
                judged.append(Judged(sample, knowledge.judge(sample.found)))
                if progress is not None:
                    progress(len(judged))
    return judged


def judge_halves(samples: Sequence[Sample], progress: Callable[[int], None] | None = None) -> list[Judged]:
    """Each half by what the other teaches."""
    return judge_parts(samples, 2, progress)


@frozen
class Point:
    """What a limit would do.

    :ivar limit: probability above which mail is refused.
    :ivar false_positives: wanted messages that would be refused.
    :ivar caught: share of the junk that would be refused.
    """

    limit: float
    false_positives: int
    caught: float


@frozen
class Report:
    """How it went.

    :ivar limits: what some limits would do.
    :ivar curve: what could be reached at best with so many false positives, whatever the limit is.
    :ivar worst: (name, probability, words) of the wanted messages that look most like junk.
    :ivar missed: the same of junk that looks most like wanted mail.
    """

    ham: int
    junk: int
    limits: tuple[Point, ...]
    curve: tuple[Point, ...]
    worst: tuple[tuple[str, float, str], ...]
    missed: tuple[tuple[str, float, str], ...]

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> Report:
        """Sum up."""
        ham = sorted((j for j in judged if not j.sample.junk), key=lambda j: -j.verdict.sum)
        junk = sorted((j for j in judged if j.sample.junk), key=lambda j: j.verdict.sum)
        sums = [j.verdict.sum for j in junk]
        share = 1 / max(len(junk), 1)
        limits = tuple(
            Point(
                limit,
                sum(j.verdict.probability > limit for j in ham),
                sum(j.verdict.probability > limit for j in junk) * share,
            )
            for limit in LIMITS
        )
        curve = tuple(
            Point(
                ham[count].verdict.probability,
                count,
                (len(sums) - bisect_right(sums, ham[count].verdict.sum)) * share,
            )
            for count in _FALSE_POSITIVES
            if count < len(ham)
        )
        return cls(len(ham), len(junk), limits, curve, _named(ham[:_WORST]), _named(junk[:_WORST]))

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _named(judged: Iterable[Judged]) -> tuple[tuple[str, float, str], ...]:
    return tuple(
        (j.sample.name, j.verdict.probability, ", ".join([word.token for word in j.verdict.words[:6]]))
        for j in judged
    )
