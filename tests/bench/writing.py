"""What small commands cost over IMAP: ``python -m tests.bench.writing [messages [commands [rounds]]]``.

A server in a process of its own with the store's threads, encrypted, plain TCP; a client that repeats one command, one at a time. Printed
are, for one command, the processor time of all threads of the server, of its reactor alone, and the time that the client waited, in
microseconds; medians of the rounds. The last line is STORE by twenty clients of ten accounts at once. ``WRITING="store append"`` names
what to measure, ``WRITING_DIRECTORY`` where.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from tests.bench.search import letter, vocabulary

ACCOUNTS = 10


def serve(directory: Path, count: int, port: int) -> None:
    """The server: says on a pipe which port it has, and ends with SIGTERM."""
    from moxtwisted.imap.protocol import IMAPServerFactory
    from moxtwisted.imap.settings import ServerSettings
    from moxtwisted.server.sockets import listen_tcp
    from moxtwisted.store.interfaces import Addition, NewMessage
    from moxtwisted.store.keys import MasterKey
    from moxtwisted.store.store import Store
    from tests.bench.notify import Everybody

    async def run(reactor: Any) -> None:
        store = Store.open(reactor, directory / "data", MasterKey(bytes(32)))
        dice = random.Random(1)
        words = vocabulary(dice)
        for number in range(ACCOUNTS):
            account = await store.create_account(f"u{number}")
            additions = []
            for n in range(count if number == 0 else 200):
                staging = store.stage()
                staging.write(letter(dice, words, n))
                additions.append(Addition("INBOX", NewMessage(staging.finish(), b"", 1_700_000_000 + n)))
            await account.add(additions)
            await account.index.complete()
        settings = ServerSettings(hostname="bench.example", allow_plain_without_tls=True)
        everybody: Any = Everybody(store)
        factory = IMAPServerFactory(settings, everybody, reactor)
        listening: Any = listen_tcp(reactor, "127.0.0.1", 0, factory)
        os.write(port, b"%d" % listening.getHost().port)
        os.close(port)
        await Deferred()

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


def cpu(process: int, thread: int | None = None) -> float:
    """Seconds of processor time of a process's threads, or of one."""
    tasks = Path(f"/proc/{process}/task")
    paths = tasks.iterdir() if thread is None else [tasks / str(thread)]
    return sum(int((path / "schedstat").read_text().split()[0]) for path in paths) / 1e9


class Client:
    """One connection."""

    def __init__(self, port: int, account: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.say(b"LOGIN %b x" % account.encode())
        self.say(b"SELECT INBOX")

    def send(self, command: bytes) -> None:
        self.sock.sendall(b"t " + command + b"\r\n")

    def answer(self) -> bytes:
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("the server is gone")
            if line.startswith(b"t "):
                if not line.startswith(b"t OK"):
                    raise AssertionError(line)
                return line

    def say(self, command: bytes) -> bytes:
        self.send(command)
        return self.answer()


def uid_of(answer: bytes) -> int:
    found = re.search(rb"APPENDUID \d+ (\d+)", answer)
    if found is None:
        raise AssertionError(answer)
    return int(found[1])


Steps = Callable[[Client, int], None]


def commands(count: int, text: bytes) -> dict[str, Steps]:
    """What is measured, by name; each does one step, given which."""
    mine: list[int] = []

    def store(client: Client, n: int) -> None:
        sign = b"-" if (n // count) % 2 else b"+"
        client.say(b"UID STORE %d %bFLAGS (\\Flagged)" % (1 + n % count, sign))

    def silent(client: Client, n: int) -> None:
        sign = b"-" if (n // count) % 2 else b"+"
        client.say(b"UID STORE %d %bFLAGS.SILENT (\\Answered)" % (1 + n % count, sign))

    def append(client: Client, n: int) -> None:
        mine.append(uid_of(client.say(b"APPEND INBOX {%d+}\r\n%b" % (len(text), text))))

    def expunge(client: Client, n: int) -> None:
        if mine:
            uid = mine.pop()
            client.say(b"UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid)
            client.say(b"UID EXPUNGE %d" % uid)

    return {
        "noop": lambda client, n: client.say(b"NOOP") and None,
        "status": lambda client, n: client.say(b"STATUS INBOX (MESSAGES UIDNEXT UNSEEN)") and None,
        "fetch": lambda client, n: client.say(b"UID FETCH %d (FLAGS)" % (1 + n % count)) and None,
        "store": store,
        "silent": silent,
        "append": append,
        "st+exp": expunge,
        "body": lambda client, n: client.say(b"UID FETCH %d (BODY.PEEK[])" % (1 + n % count)) and None,
        "select": lambda client, n: client.say(b"SELECT INBOX") and None,
    }


def together(clients: list[Client], process: int, steps: int) -> tuple[float, float, float]:
    """STORE by many at once."""
    import selectors

    selector = selectors.DefaultSelector()
    dice = random.Random(2)
    left = {id(client): steps for client in clients}

    def begin(client: Client) -> None:
        sign = b"+-"[dice.randrange(2) :][:1]
        client.send(b"UID STORE %d %bFLAGS (\\Flagged)" % (dice.randrange(1, 200), sign))

    since, used, reactor = time.perf_counter(), cpu(process), cpu(process, process)
    for client in clients:
        selector.register(client.sock, selectors.EVENT_READ, client)
        begin(client)
    while left:
        for key, _ in selector.select():
            client = key.data
            client.answer()
            left[id(client)] -= 1
            if left[id(client)]:
                begin(client)
            else:
                del left[id(client)]
                selector.unregister(client.sock)
    total = steps * len(clients)
    wall = time.perf_counter() - since
    return tuple(1e6 * x / total for x in (cpu(process) - used, cpu(process, process) - reactor, wall))  # type: ignore[return-value]


def rounds(port: int, process: int, count: int, steps: int, times: int) -> Iterator[tuple[str, Any]]:
    """Measure; (name, (all threads, reactor, waited)) of each round."""
    dice = random.Random(3)
    text = letter(dice, vocabulary(dice), 1)
    client = Client(port, "u0")
    todo = commands(count, text)
    names = os.environ.get("WRITING", " ".join(todo)).split()
    many = [Client(port, f"u{n % ACCOUNTS}") for n in range(20)]
    position = dict.fromkeys(todo, 0)
    for _ in range(times):
        for name in names:
            if name == "many":
                continue
            before, main, waited = cpu(process), cpu(process, process), []
            for _ in range(steps):
                since = time.perf_counter()
                todo[name](client, position[name])
                waited.append(time.perf_counter() - since)
                position[name] += 1
            # What the store puts off until it is quiet belongs to the command.
            time.sleep(0.5)
            used, reactor = cpu(process) - before, cpu(process, process) - main
            yield name, (1e6 * used / steps, 1e6 * reactor / steps, 1e6 * statistics.median(waited))
        if "WRITING" not in os.environ or "many" in names:
            yield "store, 20", together(many, process, max(1, steps // 10))


def main(count: int = 2000, steps: int = 500, times: int = 5) -> None:
    """Start the server, measure, end it."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(dir=os.environ.get("WRITING_DIRECTORY")) as directory:
        process = os.fork()
        if not process:
            os.close(reading)
            serve(Path(directory), count, writing)
            os._exit(0)
        os.close(writing)
        try:
            port = int(os.read(reading, 16))
            taken: dict[str, list[Any]] = {}
            for name, figures in rounds(port, process, count, steps, times):
                taken.setdefault(name, []).append(figures)
            for name, found in taken.items():
                whole, reactor, waited = (statistics.median(f[at] for f in found) for at in range(3))
                print(
                    f"{name:10} {whole:7.0f} us CPU, reactor {reactor:6.0f}, others {whole - reactor:6.0f}; waited {waited:7.0f}"
                )
        finally:
            os.kill(process, signal.SIGTERM)
            os.waitpid(process, 0)


if __name__ == "__main__":
    main(*(int(n) for n in sys.argv[1:4]))
