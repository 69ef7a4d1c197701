"""What indexing and searching cost: ``python -m tests.bench.search [messages]``.

An account of synthetic mail (4 KB each, words drawn by Zipf's law from 60,000) is filled, indexed and searched; printed are CPU
times per message and times of searches. Nothing is written outside a temporary directory.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from moxtwisted.store.interfaces import Addition, NewMessage, SearchTerm
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store

WORDS = 60_000
BODY_OCTETS = 3600


def vocabulary(dice: random.Random) -> list[str]:
    """Invented words, the frequent ones first."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = [26 - n for n in range(26)]
    return ["".join(dice.choices(letters, weights, k=2 + min(n // 2000, 9))) for n in range(WORDS)]


def letter(dice: random.Random, words: list[str], number: int) -> bytes:
    """One message."""
    lines, size = [], 0
    while size < BODY_OCTETS:
        line = " ".join(words[int(WORDS ** dice.random()) - 1] for _ in range(12))
        lines.append(line)
        size += len(line) + 2
    subject = " ".join(words[int(WORDS ** dice.random()) - 1] for _ in range(6))
    return (
        f"From: Anna {words[number % 500]} <anna{number % 300}@example.org>\r\nTo: me@example.net\r\n"
        f"Subject: {subject}\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{number}@example.org>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + "\r\n".join(lines) + "\r\n"
    ).encode()


async def measure(reactor: Any, directory: Path, count: int) -> None:
    """Fill, index, search, print."""
    dice = random.Random(1)
    words = vocabulary(dice)
    store = Store.open(reactor, directory, MasterKey(bytes(32)))
    account = await store.create_account("bench")
    inbox = account.mailbox("INBOX")
    if inbox is None:
        raise RuntimeError("no INBOX")
    account.index._stopped = True  # not before all is there
    for start in range(0, count, 500):
        additions = []
        for number in range(start, min(start + 500, count)):
            staging = store.stage()
            staging.write(letter(dice, words, number))
            additions.append(Addition("INBOX", NewMessage(staging.finish(), b"", 1_700_000_000 + number)))
        await account.add(additions)
    account.index._stopped = False
    cpu, clock = time.process_time(), time.perf_counter()
    await account.index.complete()
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    print(f"indexing: {1e6 * cpu / count:.0f} us CPU, {1e6 * clock / count:.0f} us by the clock, a message")
    uids = account.state(inbox.id).uids
    rare, common, part = words[WORDS - 7], words[20], words[WORDS - 3000][2:7]
    terms = [
        ("text", rare),
        ("text", common),
        ("text", part),
        ("body", rare),
        ("body", f"{words[3]} {words[5]}"),
    ]
    terms += [
        ("subject", rare),
        ("subject", words[300]),
        ("subject", "e"),
        ("header", "anna77"),
        ("from", "anna77@"),
    ]
    for field, needle in terms:
        cpu, clock = time.process_time(), time.perf_counter()
        found = await account.search(inbox.id, SearchTerm(field, needle), uids)
        cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
        print(f"{field:8} {needle!r:22} {len(found):6} found, {1e3 * clock:8.1f} ms, {1e3 * cpu:8.1f} ms CPU")
    size = sum(path.stat().st_size for path in (directory / "accounts").iterdir())
    print(f"{size / count:.0f} octets a message on disk")
    await store.close()


def main() -> None:
    """Run it in a reactor."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    with tempfile.TemporaryDirectory() as directory:
        done = Deferred.fromCoroutine

        def begin() -> None:
            running = done(measure(reactor, Path(directory) / "data", int((sys.argv[1:] or ["10000"])[0])))
            running.addErrback(lambda failure: print(failure.getTraceback()))
            running.addBoth(lambda _: reactor.stop())

        reactor.callWhenRunning(begin)
        reactor.run()


if __name__ == "__main__":
    main()
