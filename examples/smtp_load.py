"""Load an SMTP server, and say how long it took: here with 1000 messages, 50 a second::

python examples/smtp_load.py tcp:127.0.0.1:2525 1000 50

With ``sink`` in place of a server, one is made that throws everything away and counts.
"""

from __future__ import annotations

import os
import random
import sys
import time
from email.utils import formatdate
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString

from moxtwisted.address import Address, Path
from moxtwisted.load.letters import MadeUpLetters, Numbering
from moxtwisted.load.sink import Sink, SinkSettings
from moxtwisted.load.source import Figures, LoadSource, Mail, SourceSettings
from moxtwisted.smtp.agent import ClientSettings
from moxtwisted.smtp.envelope import Recipient


async def load(reactor: Any, where: str, messages: int, rate: float | None) -> Figures:
    """Send so many messages; with a rate, so many a second, whatever the server does."""
    letters = MadeUpLetters(
        Numbering(os.urandom(4).hex(), messages, "client.example"),
        [("From", "<me@client.example>"), ("To", "<you@example.org>"), ("Subject", "load")],
        octets=(2000, 6000),
        random=random.random,
        date=formatdate,
    )
    recipients = [Recipient(Path(Address.parse("you@example.org")))]
    mail = Mail(letters, Path(Address.parse("me@client.example")), lambda number: recipients)
    settings = SourceSettings(
        client=ClientSettings(hello_name="client.example"),
        sessions=10,
        messages=messages,
        rate=rate,
        per_connection=None,
    )
    source = LoadSource(reactor, clientFromString(reactor, where), settings, mail, now=time.perf_counter)
    return await source.run()


def report(figures: Figures) -> None:
    """Print what came of it."""
    tally = figures.tally
    print(
        f"{tally.delivered} delivered, {tally.refused} refused, {tally.failed} failed, {figures.rate:.0f} a second"
    )
    for stage in ("connect", "MAIL", ".", "message", "response"):
        if tally.stages[stage].count:
            p50, p99 = (tally.stages[stage].percentile(percent) * 1000 for percent in (50, 99))
            print(f"{stage}: half within {p50:.2f} ms, 99 of 100 within {p99:.2f} ms")


def main(reactor: Any, where: str, messages: str = "100", rate: str = "") -> Deferred[None]:
    """Load what is there, or a sink."""

    async def run() -> None:
        if where != "sink":
            report(await load(reactor, where, int(messages), float(rate) if rate else None))
            return
        sink = Sink(SinkSettings(), reactor, random=random.random, entropy=os.urandom)
        port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(sink.factory)
        report(await load(reactor, f"tcp:127.0.0.1:{port.getHost().port}", int(messages), None))
        print(f"{sink.figures()['missing']} missing, {sink.figures()['doubled']} came twice")
        await port.stopListening()
        await sink.factory.shutdown()

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    from twisted.internet.task import react

    react(main, sys.argv[1:])
