"""Twenty IMAP clients that do what people's programs do all day, on several servers in turn.

Run: BENCH_DRIVERS=tests/bench python3 tests/bench/mixture.py postfix_dovecot,moxtwisted [ROUNDS [SECONDS]]

Each of ten accounts has 200 messages and two clients, which LIST, STATUS, SELECT, FETCH, STORE, APPEND, and expunge what they
appended themselves. No client waits for another one. Every command must be answered OK; at the end every mailbox must have exactly
the messages that were put there and not expunged, with the flags that were set last. What the servers before left to the system to
write is written before a server is measured. It needs the team's benchmark beside the project.
"""

from __future__ import annotations

import os
import random
import re
import selectors
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import peers  # type: ignore[import-not-found]  # beside this script

ACCOUNTS, CLIENTS, MESSAGES = 10, 20, 200
WEIGHTS = {"list": 5, "status": 15, "select": 10, "fetch": 35, "store": 15, "append": 10, "expunge": 10}


class Client:
    """One connection and what it knows of its own messages."""

    def __init__(self, connection: Any, dice: random.Random, letters: list[bytes]) -> None:
        self.connection, self.dice, self.letters = connection, dice, letters
        self.own: list[int] = []
        self.flagged: dict[int, bool] = {}
        self.kind, self.uid = "", 0
        self.tag = self._rest = b""

    def begin(self) -> None:
        """Say the next command."""
        dice = self.dice
        (self.kind,) = dice.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
        if self.kind in {"store", "expunge"} and not self.own:
            self.kind = "append"
        command = {
            "list": b'LIST "" "*"',
            "status": b"STATUS Other (MESSAGES UIDNEXT UNSEEN)",
            "select": b"SELECT INBOX",
        }.get(self.kind)
        if self.kind == "fetch":
            what = dice.choice((b"FLAGS", b"FLAGS ENVELOPE BODYSTRUCTURE", b"BODY.PEEK[]"))
            command = b"UID FETCH %d (%b)" % (dice.randrange(1, MESSAGES), what)
        elif self.kind == "append":
            letter = dice.choice(self.letters)
            command = b"APPEND INBOX {%d+}\r\n%b" % (len(letter), letter)
        elif self.kind == "store":
            self.uid = dice.choice(self.own)
            self.flagged[self.uid] = not self.flagged[self.uid]
            sign = b"+" if self.flagged[self.uid] else b"-"
            command = b"UID STORE %d %bFLAGS (\\Flagged)" % (self.uid, sign)
        elif self.kind == "expunge":
            self.uid = self.own.pop(dice.randrange(len(self.own)))
            del self.flagged[self.uid]
            command = b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % self.uid
            self._rest = b"UID EXPUNGE %d" % self.uid
        assert command is not None
        self.tag = self.connection.send(command)

    def end(self) -> bool:
        """Read the answer; False: what was begun has a second part, which is said now."""
        line = b""
        while not line.startswith(self.tag + b" "):
            line = self.connection.line()
        if not line.startswith(self.tag + b" OK"):
            raise AssertionError(f"{self.kind}: {line!r}")
        if self._rest:
            self.tag, self._rest = self.connection.send(self._rest), b""
            return False
        if self.kind == "append":
            uid = int(re.search(rb"APPENDUID \d+ (\d+)", line)[1])  # type: ignore[index]
            self.own.append(uid)
            self.flagged[uid] = False
        return True


def prepare(ctx: Any, server: Any) -> list[list[bytes]]:
    """Fill the mailboxes; the messages to append, for each account."""
    import imapclient  # type: ignore[import-not-found]  # the benchmark's own

    letters = []
    for account in range(ACCOUNTS):
        connection = imapclient.Imap(server.imap, ctx.source()).login(*server.login(account))
        some = ctx.corpus["small"]
        connection.append_all([some[n % len(some)].copy(ctx.number()) for n in range(MESSAGES)])
        connection.cmd(b"CREATE Other")
        connection.close()
        letters.append([some[n].copy(ctx.number()) for n in range(20)])
    return letters


def check(ctx: Any, server: Any, clients: list[Client]) -> None:
    """Every mailbox has what it must have."""
    import imapclient

    for account in range(ACCOUNTS):
        expected = dict.fromkeys(range(1, MESSAGES + 1), False)
        for client in clients[account::ACCOUNTS]:
            expected.update(client.flagged)
        connection = imapclient.Imap(server.imap, ctx.source()).login(*server.login(account))
        connection.cmd(b"SELECT INBOX")
        there = {}
        for line in connection.cmd(b"UID FETCH 1:* (FLAGS)", rb"FETCH"):
            there[int(re.search(rb"UID (\d+)", line)[1])] = b"\\Flagged" in line  # type: ignore[index]
        connection.close()
        if there != expected:
            raise AssertionError(f"account {account}: {set(there.items()) ^ set(expected.items())}")


def measure(ctx: Any, server: Any, seconds: float) -> tuple[float, float, float]:
    """(commands a second, CPU ms a command, median latency in ms)."""
    import imapclient
    import procstat  # type: ignore[import-not-found]  # the benchmark's own

    letters = prepare(ctx, server)
    time.sleep(4)
    clients = []
    for n in range(CLIENTS):
        connection = imapclient.Imap(server.imap, ctx.source()).login(*server.login(n % ACCOUNTS))
        connection.cmd(b"SELECT INBOX")
        clients.append(Client(connection, random.Random(n), letters[n % ACCOUNTS]))
    selector = selectors.DefaultSelector()
    began, cpu = time.perf_counter(), procstat.cpu(*server.roots())
    since: dict[int, float] = {}
    for client in clients:
        selector.register(client.connection.sock, selectors.EVENT_READ, client)
        since[id(client)] = time.perf_counter()
        client.begin()
    took: list[float] = []
    busy = len(clients)
    while busy:
        for key, _ in selector.select(60):
            client = key.data
            if not client.end():
                continue
            now = time.perf_counter()
            took.append(now - since[id(client)])
            if now - began < seconds:
                since[id(client)] = now
                client.begin()
            else:
                selector.unregister(key.fileobj)
                busy -= 1
    wall, used = time.perf_counter() - began, procstat.cpu(*server.roots()) - cpu
    check(ctx, server, clients)
    return len(took) / wall, 1000 * used / len(took), 1000 * statistics.median(took)


def main(names: str, rounds: int = 3, seconds: float = 20.0) -> None:
    """Measure the servers in turn."""
    work = Path(os.environ.get("MIXTURE_DIRECTORY", "/tmp/bench-mixture"))
    results: dict[str, list[tuple[float, float, float]]] = {}
    for number in range(rounds):
        for name in names.split(","):
            with peers.context(work) as ctx:
                server = peers.make(name, work, ACCOUNTS)
                # Of the servers before, which need not have synced everything.
                os.sync()
                try:
                    server.setup()
                    server.start()
                    figures = measure(ctx, server, seconds)
                finally:
                    server.stop()
            results.setdefault(name, []).append(figures)
            rate, cpu, latency = figures
            print(
                f"round {number + 1} {name}: {rate:.0f} commands/s, {cpu:.3f} ms CPU each, median {latency:.2f} ms"
            )
    first = results[names.split(",", maxsplit=1)[0]]
    for name, found in results.items():
        ratios = [(f[0] / g[0], f[1] / g[1]) for f, g in zip(found, first, strict=True)]
        print(
            f"{name}: {statistics.median(r[0] for r in ratios):.2f} × its commands a second,"
            f" {statistics.median(r[1] for r in ratios):.2f} × its CPU"
        )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *(int(n) for n in sys.argv[2:4]))
