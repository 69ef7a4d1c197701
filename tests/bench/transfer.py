"""Memory and time of imports: ``python -m tests.bench.transfer [messages …]``; 200,000 must stay below 200 MB.

For each count an mbox file of small messages is written and imported into an account of its own; printed are the time and the
greatest resident size of the process so far, in KiB.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from moxtwisted.store import transfer
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store


def write_mbox(path: Path, count: int) -> None:
    """A file with so many messages of about 1 KB."""
    body = "".join(f"line {n} of a small message, as people write them.\n" for n in range(12))
    with path.open("w") as file:
        for number in range(count):
            file.write(
                "From a@client.example Thu Nov 13 08:15:06 2025\nFrom: Anna <a@client.example>\n"
                f"To: me@example.net\nSubject: number {number}\nMessage-ID: <{number}@client.example>\n\n{body}\n"
            )


async def measure(reactor: Any, directory: Path, count: int) -> None:
    """Import so many."""
    path = directory / f"{count}.mbox"
    write_mbox(path, count)
    store = Store.open(reactor, directory / f"data-{count}", MasterKey(bytes(32)))
    account = await store.create_account("bench")
    begin = time.perf_counter()
    done = await transfer.import_mbox(store, account, "In", path, reactor, lambda *_: None)
    seconds = time.perf_counter() - begin
    await store.close()
    # Not ru_maxrss: that survives exec, and has the memory of whoever started us.
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    resident = int(line.split()[1])
    print(f"{done.messages} messages in {seconds:.1f} s, at most {resident} KiB", flush=True)


async def measure_all(reactor: Any, directory: Path) -> None:
    """One count after the other."""
    for count in sys.argv[1:] or ["200000"]:
        await measure(reactor, directory, int(count))


def main() -> None:
    """Run it in a reactor."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    with tempfile.TemporaryDirectory() as directory:

        def begin() -> None:
            running = Deferred.fromCoroutine(measure_all(reactor, Path(directory)))
            running.addErrback(lambda failure: print(failure.getTraceback()))
            running.addBoth(lambda _: reactor.stop())

        reactor.callWhenRunning(begin)
        reactor.run()


if __name__ == "__main__":
    main()
