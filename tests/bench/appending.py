"""APPEND one by one, as W4 of the team's benchmark does it, on any disk: ``python3 tests/bench/appending.py SERVERS [ROUNDS]``.

All servers run side by side; in each round every one gets 200 messages of 4 KB, one after the other, into a new mailbox. Said is how
long a sync of 56 KB takes on that disk, and of each server messages a second, the median of an answer, CPU of a message, and the
ratios to the first. ``APPENDING_DIRECTORY`` is where the servers keep their mail: on a disk that takes its time, say
(``tests/bench/slowdisk.c``). With ``BENCH_DRIVERS=tests/bench`` and ``postfix_dovecot,moxtwisted:nochecks``.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import peers  # type: ignore[import-not-found]  # beside this script

MESSAGES = 200
#: What an APPEND of 4 KB writes into the log, octets.
WRITTEN = 57_344


def sync_microseconds(directory: Path) -> float:
    """The median sync of so much in a file that is there already."""
    took = []
    with (directory / "probe").open("w+b", buffering=0) as file:
        file.write(bytes(WRITTEN))
        os.fsync(file)
        for _ in range(50):
            os.pwrite(file.fileno(), os.urandom(WRITTEN), 0)
            began = time.perf_counter()
            os.fdatasync(file)
            took.append(time.perf_counter() - began)
    return 1e6 * statistics.median(took)


def append(ctx: Any, server: Any, mailbox: bytes) -> tuple[float, float, float]:
    """(messages a second, median in µs, CPU µs a message)."""
    import imapclient  # type: ignore[import-not-found]  # the benchmark's own
    import procstat  # type: ignore[import-not-found]

    connection = imapclient.Imap(server.imap, ctx.source()).login(*server.login(0))
    connection.cmd(b"CREATE " + mailbox)
    some = ctx.corpus["small"]
    messages = [some[n % len(some)].copy(ctx.number()) for n in range(MESSAGES)]
    took, cpu = [], procstat.cpu(*server.roots())
    for message in messages:
        began = time.perf_counter()
        connection.append(message, mailbox)
        took.append(time.perf_counter() - began)
    used = procstat.cpu(*server.roots()) - cpu
    connection.close()
    return MESSAGES / sum(took), 1e6 * statistics.median(took), 1e6 * used / MESSAGES


def main(names: str, rounds: int = 5) -> None:
    """Measure the servers in turn."""
    work = Path(os.environ.get("APPENDING_DIRECTORY", "/tmp/bench-appending"))
    servers: dict[str, Any] = {}
    results: dict[str, list[tuple[float, float, float]]] = {}
    with peers.context(work) as ctx:
        print(f"a sync of {WRITTEN} octets takes {sync_microseconds(work):.0f} µs in {work}")
        try:
            for name in names.split(","):
                server = peers.make(name, work, 1)
                server.setup()
                server.start()
                servers[name] = server
            time.sleep(3)
            for number in range(rounds):
                for name in servers if number % 2 else reversed(servers):
                    time.sleep(1)
                    figures = append(ctx, servers[name], b"Other%d" % number)
                    results.setdefault(name, []).append(figures)
                    rate, median, cpu = figures
                    print(
                        f"round {number + 1} {name}: {rate:.0f} a second, median {median:.0f} µs, {cpu:.0f} µs CPU each"
                    )
        finally:
            for server in servers.values():
                server.stop()
    first = results[next(iter(servers))]
    for name in servers:
        ratios = [figures[0] / others[0] for figures, others in zip(results[name], first, strict=True)]
        print(
            f"{name}: {statistics.median(ratios):.2f} × its messages ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *(int(n) for n in sys.argv[2:3]))
