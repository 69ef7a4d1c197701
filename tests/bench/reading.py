"""What a session's commands cost: ``python -m tests.bench.reading [messages [rounds]]``.

A mailbox of synthetic mail (that of ``tests.bench.search``) is filled and indexed; then each command is said several times over a
transport that only counts. Printed are the processor time of the first time and the median of the others, writer's thread included,
and what the caches hold in the end.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store
from tests.bench.notify import Everybody
from tests.bench.notify import Transport as Counting
from tests.bench.search import letter, vocabulary

COMMANDS = {
    "select": "SELECT INBOX",
    "flags": "UID FETCH 1:* (FLAGS)",
    "envelope": "UID FETCH 1:* (FLAGS ENVELOPE INTERNALDATE RFC822.SIZE BODYSTRUCTURE)",
    "headers": "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID REFERENCES)])",
    "bodies": "UID FETCH 1:* (BODY.PEEK[])",
    "subject": "UID SEARCH SUBJECT qzebrafish",
    "from": "UID SEARCH FROM anna77",
    "text": "UID SEARCH TEXT qzebrafish",
    "unseen": "UID SEARCH UNSEEN",
    "store": "UID STORE 1:* +FLAGS (\\Seen)",
    "unstore": "UID STORE 1:* -FLAGS.SILENT (\\Seen)",
}


class Transport(Counting):
    """Says when the answer is complete; nobody must look all the time, which costs as much as what is measured."""

    tag = b""
    complete: Deferred[None] = Deferred()

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.tag in data[-200:] and not self.complete.called:
            self.complete.callback(None)


async def filled(store: Store, count: int) -> None:
    """An account with so many messages, all of them in the index."""
    dice = random.Random(1)
    words = vocabulary(dice)
    account = await store.create_account("one")
    for start in range(0, count, 500):
        additions = []
        for number in range(start, min(start + 500, count)):
            staging = store.stage()
            staging.write(letter(dice, words, number))
            additions.append(Addition("INBOX", NewMessage(staging.finish(), b"", 1_700_000_000 + number)))
        await account.add(additions)
    await account.index.complete()


async def measure(reactor: Any, directory: Path, count: int, rounds: int) -> None:
    """Fill, say the commands, print."""
    store = Store.open(reactor, directory / "data", MasterKey(bytes(32)))
    await filled(store, count)
    settings = ServerSettings(hostname="bench.example", allow_plain_without_tls=True)
    protocol = IMAPServerFactory(settings, cast("Any", Everybody(store)), reactor).buildProtocol(None)
    transport = Transport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"a LOGIN one x\r\n")
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds):
        for name, command in COMMANDS.items():
            transport.tag, transport.complete = b"%b%d OK" % (name.encode(), number), Deferred()
            begin = time.process_time()
            protocol.dataReceived(f"{name}{number} {command}\r\n".encode())
            await transport.complete
            taken[name].append(1e3 * (time.process_time() - begin))
    for name, times in taken.items():
        print(f"{name:10} first {times[0]:8.1f}, then {statistics.median(times[1:] or times):8.1f} ms CPU")
    kept = store._rows.octets + store._searches.octets
    print(f"{kept / 1e6:.1f} MB are remembered")
    protocol.connectionLost()
    await store.close()


def main(reactor: Any) -> Deferred[None]:
    """Run it."""
    count, rounds = (int(sys.argv[n]) if len(sys.argv) > n else (10_000, 5)[n - 1] for n in (1, 2))

    async def measured() -> None:
        with tempfile.TemporaryDirectory() as directory:
            await measure(reactor, Path(directory), count, rounds)

    return Deferred.fromCoroutine(measured())


if __name__ == "__main__":
    react(main)
