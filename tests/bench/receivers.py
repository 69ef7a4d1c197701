"""What it costs to hand a message from one process to another, without its octets: CPU microseconds, the best of some rounds. One
recipient, one signature; no message is as the one before it, but for who sends it.

::

    python -m tests.bench.receivers
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import msgspec
from attrs import evolve

from moxtwisted.config.startup import collector_paused
from moxtwisted.server.directory import Delivery, Recipients
from moxtwisted.server.inbound.lease import Lease
from moxtwisted.server.inbound.outcome import Complete
from moxtwisted.server.inbound.presence import Presence
from moxtwisted.server.judgement.interfaces import Incoming
from moxtwisted.server.receivers.shapes import read_complete, write_complete
from moxtwisted.smtp.envelope import MailParameters, Recipient, Transaction
from moxtwisted.store.staging import Staging
from tests.bench.verification import Bench
from tests.server.verification.world import HELLO, IP, path

ROUNDS = 30
MESSAGES = 64


def messages(count: int = MESSAGES) -> list[Complete]:
    """As a receiver has them."""
    bench = Bench()
    verified = bench.whole()
    if b"dmarc=pass" not in verified.trace:
        raise RuntimeError(verified.trace.decode())
    return [_message(bench.message.replace(b"<1@", b"<%d@" % i), verified, i) for i in range(count)]


def _message(octets: bytes, verified: Any, number: int) -> Complete:
    staging = Staging(None, bytes)  # type: ignore[arg-type]
    staging.write(octets)
    staged = staging.finish()
    sender, recipient = path(f"a{number}@sender.example"), path("alice@example.org")
    spf = evolve(verified.spf, sender=f"a{number}@sender.example")
    incoming = Incoming(
        reverse_path=sender,
        recipients=(recipient,),
        verified=evolve(verified, spf=spf),
        header=staged.scanned.header,
        staged=staged,
        hello=HELLO,
        tls=True,
        seconds=1.8e9 + number,
        session=f"s{number}",
        ip=str(IP),
    )
    return Complete(
        transaction=Transaction(
            sender, MailParameters(size=len(octets), body="8BITMIME"), [Recipient(recipient)]
        ),
        found={recipient: Recipients((Delivery("alice", "INBOX", "alice@example.org"),))},
        incoming=incoming,
        lease=Lease(staged),
        received=b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n",
    )


class Nowhere:
    """Octets that nobody reads."""

    def read(self, offset: int, length: int) -> bytes:
        """None."""
        return b""

    def packed(self) -> Iterator[tuple[int, bytes]]:
        """None."""
        return iter(())

    def close(self) -> None:
        """Nothing to do."""


def cost(work: Callable[[Any], object], given: Sequence[Any]) -> float:
    """Microseconds of CPU that one call takes."""
    best = 1e9
    for _ in range(ROUNDS):
        begin = time.process_time()
        for one in given:
            work(one)
        best = min(best, (time.process_time() - begin) / len(given) * 1e6)
    return best


def main() -> None:
    """Print the figures."""
    with collector_paused():
        pass  # from here on it looks as seldom as in the program
    given = messages()
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    plain = [write_complete(one) for one in given]
    octets = [encode(one) for one in plain]
    places, presence = cycle([Nowhere()]), Presence()
    print(f"octets  {len(octets[0]):7}")
    print(f"write   {cost(write_complete, given):7.1f}")
    print(f"encode  {cost(encode, plain):7.1f}")
    print(f"decode  {cost(decode, octets):7.1f}")
    print(f"read    {cost(lambda one: read_complete(one, next(places), 100_000, presence), plain):7.1f}")


if __name__ == "__main__":
    main()
