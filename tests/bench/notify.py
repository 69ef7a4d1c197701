"""What NOTIFY costs: ``python -m tests.bench.notify [sessions]``.

So many sessions of one account, and then one session of each of so many accounts, say NOTIFY; the transports only count. Printed are
the processor time of one delivery, from ``add`` until every session that wants to know has been told, and the memory of a session.
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
from moxtwisted.server.imapd.mail import EXTENSIONS, AccountSession
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store

LETTER = (
    b"From: Anna <a@client.example>\r\nTo: me@example.net\r\nSubject: number\r\n\r\n"
    + b"A line of text.\r\n" * 200
)
GROUPS = {
    "none": "",
    "idle": "IDLE",
    "status": "NOTIFY SET (personal (MessageNew MessageExpunge))",
    "selected": "NOTIFY SET (selected (MessageNew (uid flags) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge))",
    "envelope": "NOTIFY SET (selected (MessageNew (uid flags envelope preview) MessageExpunge FlagChange))",
    "elsewhere": "NOTIFY SET (subtree Lists (MessageNew MessageExpunge))",
}
DELIVERIES = 20


class Transport:
    """Counts what is written."""

    disconnecting = False

    def __init__(self) -> None:
        self.octets = self.writes = 0

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        self.writes += 1

    def getPeer(self) -> None:
        return None

    def registerProducer(self, *_: Any) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def loseConnection(self) -> None:
        pass


class Everybody:
    """Lets everybody in: the user name is the account's."""

    mechanisms = ()
    sasl_backend = None
    extensions = EXTENSIONS

    def __init__(self, store: Store) -> None:
        self._store = store

    async def login(self, username: str, password: str, peer: Any) -> str:
        return username

    def session(self, identity: str, peer: Any) -> AccountSession:
        return AccountSession(
            self._store, self._store.account(identity), frozenset(), 10**8, lambda: None, time.time
        )


def resident() -> int:
    """Octets of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def settled(reactor: Any) -> None:
    """All that was put off has been done."""
    for _ in range(3):
        await deferLater(reactor, 0)


async def deliver(store: Store, account: Any, mailbox: str) -> None:
    """A message, as it comes in."""
    sink = store.stage()
    sink.write(LETTER)
    staged = sink.finish()
    await account.add([Addition(mailbox, NewMessage(staged, b"", 1))])
    staged.close()


async def one(reactor: Any, store: Store, kind: str, accounts: list[str]) -> None:
    """So many sessions of a kind, and some deliveries to the first account."""
    factory = IMAPServerFactory(
        ServerSettings(hostname="bench.example", allow_plain_without_tls=True),
        cast("Any", Everybody(store)),
        reactor,
    )
    for name in set(accounts):
        await deliver(store, store.account(name), "INBOX")
    gc.collect()
    before = resident()
    protocols = []
    for name in accounts:
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(Transport())
        protocol.dataReceived(f"a LOGIN {name} x\r\nb SELECT INBOX\r\n".encode())
        if GROUPS[kind]:
            protocol.dataReceived(f"c {GROUPS[kind]}\r\n".encode())
        protocols.append(protocol)
    await settled(reactor)
    gc.collect()
    memory = (resident() - before) / len(protocols)
    account = store.account(accounts[0])
    for mailbox in ("INBOX", "Lists"):
        await deliver(store, account, mailbox)
        await settled(reactor)
        told = sum(p.transport.writes for p in protocols)
        begin, wall = time.process_time(), time.perf_counter()
        for _ in range(DELIVERIES):
            await deliver(store, account, mailbox)
            await settled(reactor)
        cpu = (time.process_time() - begin) / DELIVERIES
        elapsed = (time.perf_counter() - wall) / DELIVERIES
        told = (sum(p.transport.writes for p in protocols) - told) // DELIVERIES
        print(
            f"{len(set(accounts)):5} accounts, {len(accounts)} sessions, {kind:9} into {mailbox:5}:"
            f" {cpu * 1e3:7.2f} ms CPU, {elapsed * 1e3:7.2f} ms, {told} sessions told;"
            f" {memory / 1024:.1f} KiB a session",
            flush=True,
        )
    for protocol in protocols:
        protocol.connectionLost()


async def measure(reactor: Any, directory: Path, count: int) -> None:
    """Everything."""
    store = Store.open(reactor, directory / "data", MasterKey(bytes(32)))
    await store.create_account("one", [("Lists", "")])
    for kind in GROUPS:
        await one(reactor, store, kind, ["one"] * count)
    names = [f"u{n}" for n in range(count)]
    for name in names:
        await store.create_account(name, [("Lists", "")])
    for kind in ("idle", "selected"):
        await one(reactor, store, kind, names)
    await store.close()


def main(reactor: Any) -> Deferred[None]:
    """Run it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    directory = tempfile.mkdtemp()
    return Deferred.fromCoroutine(measure(reactor, Path(directory), count))


if __name__ == "__main__":
    react(main)
