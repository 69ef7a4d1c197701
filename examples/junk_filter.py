"""Learn what is junk from two folders of messages, and judge another by it::

    python examples/junk_filter.py wanted/ junk/ message.eml

The counts are in memory here; the server keeps them in the account's database.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from moxtwisted.junk.scoring import Totals, weigh, weights
from moxtwisted.junk.tokens import features
from moxtwisted.message.mime import Scanner


def take_apart(path):
    """The tokens of a message."""
    octets = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    scanner = Scanner()
    scanner.feed(octets)
    return features(scanner.finish(), lambda offset, length: octets[offset : offset + length])


class Counts:
    """How many messages had a token: wanted, junk, and of these those with HTML."""

    def __init__(self):
        self.totals = [0, 0, 0, 0]
        self.rows: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])

    def learn(self, found, junk):
        """One message more."""
        kinds = (junk, junk + 2) if found.html else (junk,)
        for counts in (self.totals, *(self.rows[number] for number in found.numbers())):
            for kind in kinds:
                counts[kind] += 1

    def judge(self, found):
        """What the message is worth."""
        ham, junk, html_ham, html_junk = self.totals
        totals = Totals(ham=ham, junk=junk, html_ham=html_ham, html_junk=html_junk)
        rows = [(number, *self.rows[number]) for number in found.numbers() if number in self.rows]
        return weigh(found, weights(rows, totals, html=found.html), totals)


def main(wanted, junk, message):
    """Learn, judge, and say why."""
    counts = Counts()
    for folder, is_junk in ((wanted, 0), (junk, 1)):
        for path in sorted(Path(folder).iterdir()):
            counts.learn(take_apart(path), is_junk)
    verdict = counts.judge(take_apart(Path(message)))
    known = "" if verdict.significant else " (it has not learned enough for that to count)"
    print(f"junk with a probability of {verdict.probability:.3f}{known}")
    for weight in verdict.words:
        print(f"  {weight.token}: {weight.probability:.2f}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
