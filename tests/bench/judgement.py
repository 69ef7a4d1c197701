"""CPU of a judgement, without the content filter: ``.venv/bin/python -m tests.bench.judgement``.

Three accounts: one that knows nothing, one that knows the author among 2,000 others, and one with a hundred messages of each identity,
half of them junk, so that every row is looked at and nothing decides.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock

from moxtwisted.message.flags import MessageFlags
from moxtwisted.server.judgement.judge import Judge, JudgeParts
from moxtwisted.server.judgement.rules import Rules, RulesHolder
from moxtwisted.server.ratelimit import DeliveryLimiter, DeliveryLimits
from moxtwisted.store.interfaces import Addition, NewMessage, Sender
from moxtwisted.store.store import Store
from tests.server.judgement.samples import ALICE, HEADER, NOW, incoming, run

MARY = Sender(
    localpart="mary",
    domain="a.example",
    organizational_domain="a.example",
    validated=True,
    dkim_domains=("a.example",),
    spf_localpart="mary",
    spf_domain="a.example",
    helo_domain="mx.a.example",
    ip="192.0.2.1",
)
TIMES = 3000


def others(number: int) -> list[Sender]:
    """Many senders."""
    return [
        evolve(
            MARY,
            localpart=f"u{i % 300}",
            domain=f"d{i % 50}.example",
            organizational_domain=f"d{i % 50}.example",
            dkim_domains=(f"d{i % 50}.example",),
            spf_domain=f"d{i % 50}.example",
            helo_domain=f"mx{i % 50}.example",
            ip=f"198.51.{i % 200}.{i % 250}",
        )
        for i in range(number)
    ]


def fill(account: Any, staged: Any, senders: list[Sender], every: int) -> None:
    """Messages of these, every so many-th junk."""
    junk, good = MessageFlags.of(0, ["$Junk"]), MessageFlags.of(0, ["$NotJunk"])
    additions = [
        Addition("INBOX", NewMessage(staged, b"", NOW - 100_000 + i, good if i % every else junk, sender))
        for i, sender in enumerate(senders)
    ]
    for i in range(0, len(additions), 100):
        account.add(additions[i : i + 100])


def main() -> None:
    """Measure."""
    clock = Clock()
    clock.advance(NOW)
    with tempfile.TemporaryDirectory() as directory:
        store = Store.open(None, Path(directory), None, threads=0, seconds=clock.seconds)
        for name in ("nothing", "known", "mixed"):
            store.create_account(name)
        staging = store.stage(10)
        staging.write(HEADER + b"x\r\n")
        staged = staging.finish()
        fill(store.account("known"), staged, others(2000), 3)
        fill(store.account("known"), staged, [MARY] * 100, 1000)
        unknown = evolve(MARY, localpart="", domain="", organizational_domain="")
        fill(store.account("mixed"), staged, [unknown] * 200, 2)
        no_limit = DeliveryLimits((10**9,) * 3, (10**9,) * 3, (10**15,) * 3, (10**15,) * 3)
        parts = JudgeParts(limiter=DeliveryLimiter(no_limit, clock), entropy=os.urandom)
        judge = Judge(store, RulesHolder(Rules()), parts)
        message = incoming()
        for _ in range(2):
            for name in ("nothing", "known", "mixed"):
                recipient = evolve(ALICE, account=name)
                reason = run(judge.judge(message, recipient)).reason
                began = time.process_time()
                for _ in range(TIMES):
                    run(judge.judge(message, recipient))
                microseconds = (time.process_time() - began) / TIMES * 1e6
                sys.stdout.write(f"{name}: {microseconds:.0f} us ({reason})\n")


if __name__ == "__main__":
    main()
