"""A program that works on a store until it is killed: run by test_durability.

It loads what it needs once. For each line ``DIRECTORY ROUND`` on its standard input it forks a child, which delivers,
changes flags, moves and expunges with some concurrency, and writes to standard output what it is going to do and what
was acknowledged::

    pid 4711
    > 3.1.17 add INBOX \\Seen
    < 3.1.17
    > 3.1.17 move Work
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from moxtwisted.message.flags import MessageFlags
from moxtwisted.store.interfaces import Addition, NewMessage, Sender
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store

KEY = MasterKey(b"d" * 32)
ACCOUNTS = ("ann", "bob", "cleo")
MAILBOXES = ("INBOX", "Work")
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "todo", "$Junk", "$NotJunk")
SENDER = Sender(localpart="mary", domain="a.example", helo_domain="mx.a.example", ip="192.0.2.1")
WORKERS = 9


def octets(key: str) -> bytes:
    """The message of this name: sometimes of several chunks, sometimes one that does not shrink."""
    dice = random.Random(key)
    size = dice.choice((0, 500, 4000, 4000, 4000, 40_000, 600_000))
    filler = dice.randbytes(size).replace(b"\r", b"x").replace(b"\n", b"y")
    if dice.random() < 0.5:
        filler = filler.hex().encode()
    return (
        f"Subject: {key}\r\nMessage-ID: <{key}@a.example>\r\nX-Key: {key}\r\n\r\n".encode() + filler + b"\r\n"
    )


def say(line: str) -> None:
    """One write, which a kill cannot cut: it is shorter than PIPE_BUF."""
    os.write(1, line.encode() + b"\n")


async def work(store: Any, worker: int, number: str) -> None:
    """Do things to messages of one's own, for ever."""
    dice = random.Random(f"{worker} {number}")
    account = store.account(ACCOUNTS[worker % len(ACCOUNTS)])
    mailboxes = {name: account.mailbox(name).id for name in MAILBOXES}
    mine: list[tuple[str, str, int]] = []  # key, mailbox, uid
    count = 0
    while True:
        what = dice.choice(("add", "add", "add", "flags", "flags", "move", "expunge"))
        if what == "add" or not mine:
            count += 1
            key, name = f"{number}.{worker}.{count}", dice.choice(MAILBOXES)
            flags = MessageFlags.parse(dice.sample(FLAGS, dice.randrange(3)))
            sink = store.stage()
            sink.write(octets(key))
            staged = sink.finish()
            say(f"> {key} add {name} {','.join(flags.names)}")
            [added] = await account.add(
                [Addition(name, NewMessage(staged, b"X-Prefix: 1\r\n", 1, flags, SENDER))]
            )
            staged.close()
            mine.append((key, name, added.uid))
        else:
            place = dice.randrange(len(mine))
            key, name, uid = mine[place]
            if what == "flags":
                flags = MessageFlags.parse(dice.sample(FLAGS, dice.randrange(4)))
                say(f"> {key} flags {','.join(flags.names)}")
                await account.store_flags(mailboxes[name], [uid], "replace", flags)
            elif what == "move":
                target = MAILBOXES[1 - MAILBOXES.index(name)]
                say(f"> {key} move {target}")
                moved = await account.move(mailboxes[name], [uid], mailboxes[target])
                mine[place] = (key, target, moved.uids[0])
            else:
                say(f"> {key} expunge")
                await account.expunge(mailboxes[name], [uid], only_deleted=False)
                del mine[place]
        say(f"< {key}")


def run(directory: Path, number: str) -> None:
    """One child."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    store = Store.open(reactor, directory, KEY, threads=2)

    def failed(failure: Any) -> None:
        say("! " + failure.getTraceback().replace("\n", " | ")[-400:])

    def start() -> None:
        for worker in range(WORKERS):
            Deferred.fromCoroutine(work(store, worker, number)).addErrback(failed)

    reactor.callWhenRunning(start)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


def main() -> None:
    """Fork a child for each line of standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        directory, number = line.split()
        pid = os.fork()
        if pid == 0:
            say(f"pid {os.getpid()}")
            try:
                run(Path(directory), number)
            finally:
                os._exit(1)


if __name__ == "__main__":
    main()
