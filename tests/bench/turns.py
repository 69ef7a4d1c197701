"""How long commands hold the reactor: ``python -m tests.bench.turns [messages [rounds [directory]]]``.

A mailbox of synthetic mail (that of ``tests.bench.ordering``, 100,000 messages without more said) is filled, or found in the directory
of an earlier run; then each command is said over a transport that only counts, while something else asks for its turn all the time.
Printed are, of the quietest round, the longest time that it had to wait, by the clock and by the reactor's thread, and the processor
time that the whole command took. The first round, which reads what later ones remember, is a line of its own.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store
from tests.bench.notify import Everybody
from tests.bench.notify import Transport as Counting
from tests.bench.ordering import START, letters

READING = (
    "SEARCH SUBJECT qzebrafish",
    "SEARCH SUBJECT e",
    "UID SEARCH RETURN (COUNT) FROM person",
    "SEARCH NOT SUBJECT lunch",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "SORT (SUBJECT) UTF-8 ALL",
)
#: So many messages are in the results that are kept up to date, and are moved there and back.
SORTED = 20_000
MOVED = 10_000
CONTEXTS = ("SUBJECT", "DATE", "REVERSE DATE", "FROM", "DISPLAYFROM", "TO", "SIZE", "REVERSE SUBJECT DATE")


class Transport(Counting):
    """Says when the answer is complete, and how it ends."""

    tag = b""
    complete: Deferred[bytes] = Deferred()

    def write(self, data: bytes) -> None:
        super().write(data)
        line = data[-400:].rstrip().rpartition(b"\r\n")[2]
        if line.startswith(self.tag) and not self.complete.called:
            self.complete.callback(line)


class Waiting:
    """Somebody who wants a turn of the reactor at any time."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._last = self._last_cpu = 0.0
        self._on = False
        self.longest = self.longest_cpu = 0.0
        self.turns = 0

    def start(self) -> None:
        """From now on."""
        self._on, self.turns, self.longest, self.longest_cpu = True, 0, 0.0, 0.0
        self._last, self._last_cpu = time.perf_counter(), time.thread_time()
        self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self.longest_cpu = max(self.longest_cpu, cpu - self._last_cpu)
        self._last, self._last_cpu = now, cpu
        self.turns += 1
        if self._on:
            self._reactor.callLater(0, self._turn)

    async def stop(self) -> None:
        """With the next turn, which is the last."""
        self._on = False
        await deferLater(self._reactor, 0)


async def fill(store: Store, count: int) -> None:
    """Two accounts, one with so many messages, all of them in the index."""
    account = await store.create_account("one")
    messages = letters(count)
    for start in range(0, count, 500):
        additions = []
        for number, octets in enumerate(messages[start : start + 500], start):
            staging = store.stage()
            staging.write(octets)
            additions.append(Addition("INBOX", NewMessage(staging.finish(), b"", START + number)))
        await account.add(additions)
    await account.index.complete()


class Session:
    """One connection."""

    def __init__(self, reactor: Any, store: Store) -> None:
        settings = ServerSettings(hostname="bench.example", allow_plain_without_tls=True)
        self.protocol = IMAPServerFactory(settings, cast("Any", Everybody(store)), reactor).buildProtocol(
            None
        )
        self._transport = Transport()
        self.protocol.makeConnection(self._transport)
        self.protocol.dataReceived(b"a LOGIN one x\r\n")
        self._waiting = Waiting(reactor)
        self._number = 0

    async def say(self, command: str) -> tuple[float, float, float, int]:
        """A command; milliseconds: the longest turn, that by the processor, the processor time of all, and turns."""
        self._number += 1
        self._transport.tag, self._transport.complete = b"t%d " % self._number, Deferred()
        gc.freeze()
        self._waiting.start()
        begun = time.process_time()
        self.protocol.dataReceived(f"t{self._number} {command}\r\n".encode())
        answer = await self._transport.complete
        taken = time.process_time() - begun
        await self._waiting.stop()
        if b" OK " not in answer:
            raise RuntimeError(f"{command}: {answer!r}")
        waiting = self._waiting
        return 1e3 * waiting.longest, 1e3 * waiting.longest_cpu, 1e3 * taken, waiting.turns


def show(name: str, results: list[tuple[float, float, float, int]]) -> None:
    """The first, and the least of the others."""
    first, rest = results[0], results[1:] or results[:1]
    least = [min(column) for column in zip(*rest, strict=True)]
    print(
        f"{name:40} first {first[0]:7.1f} ({first[1]:6.1f}) of {first[2]:7.0f};"
        f" then {least[0]:7.1f} ({least[1]:6.1f}) of {least[2]:7.0f} ms CPU"
    )


async def measure(reactor: Any, directory: Path, count: int, rounds: int) -> None:
    """Fill, say the commands, print."""
    there = (directory / "data").exists()
    store = Store.open(reactor, directory / "data", MasterKey(bytes(32)))
    if not there:
        await fill(store, count)
    session = Session(reactor, store)
    await session.say("SELECT INBOX")
    for command in READING:
        show(command, [await session.say(command) for _ in range(rounds)])
    if not there:
        await session.say("CREATE Other")
    back = Session(reactor, store)
    await back.say("SELECT Other")
    moved: list[tuple[float, float, float, int]] = []
    for _ in range(rounds):
        await session.say("SELECT INBOX")
        for criteria in CONTEXTS:
            await session.say(f"UID SORT RETURN (UPDATE COUNT) ({criteria}) UTF-8 {count - SORTED + 1}:*")
        moved.append(await session.say(f"MOVE {count - MOVED + 1}:* Other"))
        await back.say("NOOP")
        await back.say("MOVE 1:* INBOX")
    show(f"MOVE of {MOVED}, {len(CONTEXTS)} sorted results", moved)
    session.protocol.connectionLost()
    back.protocol.connectionLost()
    await store.close()


def main(reactor: Any) -> Deferred[None]:
    """Run it."""
    count, rounds = (int(sys.argv[n]) if len(sys.argv) > n else (100_000, 4)[n - 1] for n in (1, 2))

    async def measured() -> None:
        if len(sys.argv) > 3:
            await measure(reactor, Path(sys.argv[3]), count, rounds)
            return
        with tempfile.TemporaryDirectory() as directory:
            await measure(reactor, Path(directory), count, rounds)

    return Deferred.fromCoroutine(measured())


if __name__ == "__main__":
    react(main)
