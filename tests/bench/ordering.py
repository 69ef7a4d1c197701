"""What SORT and THREAD cost: ``python -m tests.bench.ordering [messages]``.

An account of synthetic mail (discussions of random shape, a fifth of the subjects encoded) is sorted and threaded through the IMAP
machine over the store; printed are CPU milliseconds. Nothing is written outside a temporary directory.
"""

from __future__ import annotations

import base64
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from moxtwisted.imap.testing import Driver
from moxtwisted.store.interfaces import Addition, NewMessage
from moxtwisted.store.keys import MasterKey
from moxtwisted.store.store import Store
from tests.imap.test_convergence_over_store import StoreAuthenticator

START = 1_700_000_000
COMMANDS = (
    "SORT (ARRIVAL) UTF-8 ALL",
    "SORT (DATE) UTF-8 ALL",
    "SORT (SUBJECT) UTF-8 ALL",
    "SORT (FROM) UTF-8 ALL",
    "SORT (TO) UTF-8 ALL",
    "SORT (DISPLAYFROM) UTF-8 ALL",
    "SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
    "UID SORT RETURN (PARTIAL 1:50) (REVERSE DATE) UTF-8 ALL",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
)


def letters(count: int) -> list[bytes]:
    """Messages, many of them answers to others."""
    dice = random.Random(1)
    names = [f"Person {n}" for n in range(400)]
    known: list[tuple[str, list[str]]] = []
    found = []
    for number in range(count):
        name = dice.choice(names)
        headers = [f"Message-ID: <{number}.{dice.getrandbits(64):x}@mail{number % 40}.example.org>"]
        if known and dice.random() < 0.6:
            subject, references = dice.choice(known[-300:])
            references = references[-12:]
            headers += ["References: " + "\r\n ".join(references), f"In-Reply-To: {references[-1]}"]
            shown = "Re: " + subject
        else:
            subject = (
                f"{dice.choice(['Report', 'Minutes', 'Überblick', 'Lunch'])} number {number} of the week"
            )
            references, shown = [], subject
        if dice.random() < 0.2 or not shown.isascii():
            shown = f"=?utf-8?b?{base64.b64encode(shown.encode()).decode()}?="
        known.append((subject, [*references, headers[0].partition(" ")[2]]))
        sent = format_datetime(datetime.fromtimestamp(START + number * 600 + dice.randrange(86400), UTC))
        found.append(
            (
                f"From: {name} <user{dice.randrange(3000)}@example.org>\r\nTo: Me <me@example.net>, You <you@example.net>\r\n"
                f"Subject: {shown}\r\nDate: {sent}\r\n" + "\r\n".join(headers) + "\r\nMIME-Version: 1.0\r\n"
                "Content-Type: text/plain; charset=utf-8\r\nUser-Agent: Mail 1.0\r\n\r\nHello\r\n"
            ).encode()
        )
    return found


def fill(store: Any, messages: list[bytes]) -> Any:
    """An account with these in INBOX."""
    done: list[Any] = []
    store.create_account("alice", []).addCallback(done.append)
    account = done[0]
    for start in range(0, len(messages), 500):
        additions = []
        for number, octets in enumerate(messages[start : start + 500], start):
            staging = store.stage()
            staging.write(octets)
            additions.append(Addition("INBOX", NewMessage(staging.finish(), b"", START + number)))
        account.add(additions)
    return account


def main() -> None:
    """Run."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as directory:
        clock = Clock()
        clock.advance(START)
        store = Store.open(clock, Path(directory), MasterKey(bytes(32)), threads=0, seconds=clock.seconds)
        account = fill(store, letters(count))
        driver = Driver.of(authenticator=StoreAuthenticator(store, account))
        driver.login()
        driver.command("SELECT INBOX")
        for command in COMMANDS:
            taken = []
            for _ in range(3):
                begun = time.process_time()
                answer = driver.command(command)
                taken.append(1000 * (time.process_time() - begun))
            print(f"{min(taken):8.1f} ms  {command}  ({sum(map(len, answer))} octets)")


if __name__ == "__main__":
    main()
