"""What it costs to hand a message from one process to another, without its octets: CPU microseconds, the best of some rounds. One
recipient, one signature. Mostly the same senders write again; of strangers nothing was seen before.

::

    python -m tests.bench.receivers
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path as FilePath
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
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.smtp.envelope import MailParameters, Recipient, Transaction
from moxtwisted.store.staging import Staging
from tests.bench.verification import Bench
from tests.server.verification.world import HELLO, IP, path

ROUNDS = 30
MESSAGES = 64
#: More than anything is remembered of.
STRANGERS = 4200


def messages(count: int, *, strangers: bool = False) -> list[Complete]:
    """As a receiver has them.

    :param strangers: each is from another domain.
    """
    bench = Bench()
    verified = bench.whole()
    if b"dmarc=pass" not in verified.trace:
        raise RuntimeError(verified.trace.decode())
    found = []
    for i in range(count):
        domain = f"s{i}.example" if strangers else "sender.example"
        octets = bench.message.replace(b"<1@", b"<%d@" % i)
        found.append(_message(octets, _of(verified, domain, f"a{i}@{domain}"), f"a{i}@{domain}"))
    return found


def _of(verified: Any, domain: str, sender: str) -> Verified:
    """What would have been found of another sender."""
    (dkim,) = verified.dkim
    return evolve(
        verified,
        iprev=evolve(verified.iprev, name=domain, names=(domain,)),
        spf=evolve(verified.spf, domain=domain, sender=sender),
        helo_spf=evolve(verified.helo_spf, domain=domain, helo=domain),
        dkim=(evolve(dkim, signature=evolve(dkim.signature, domain=domain)),),
        dmarc=evolve(verified.dmarc, domain=domain, organizational_domain=domain),
    )


def _message(octets: bytes, verified: Verified, sender: str) -> Complete:
    staging = Staging(FilePath("/nonexistent"), bytes)
    staging.write(octets)
    staged = staging.finish()
    reverse_path, recipient = path(sender), path("alice@example.org")
    incoming = Incoming(
        reverse_path=reverse_path,
        recipients=(recipient,),
        verified=verified,
        header=staged.scanned.header,
        staged=staged,
        hello=HELLO,
        tls=True,
        seconds=1.8e9,
        session="s1234",
        ip=str(IP),
    )
    parameters = MailParameters(size=len(octets), body="8BITMIME")
    return Complete(
        transaction=Transaction(reverse_path, parameters, [Recipient(recipient)]),
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


def cost(work: Callable[[Any], object], given: Sequence[Any], rounds: int = ROUNDS) -> float:
    """Microseconds of CPU that one call takes."""
    best = 1e9
    for _ in range(rounds):
        begin = time.process_time()
        for one in given:
            work(one)
        best = min(best, (time.process_time() - begin) / len(given) * 1e6)
    return best


def main() -> None:
    """Print the figures."""
    with collector_paused():
        pass  # from here on it looks as seldom as in the program
    given, strangers = messages(MESSAGES), messages(STRANGERS, strangers=True)
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    plain = [write_complete(one) for one in given]
    octets = [encode(one) for one in plain]
    octets_of, presence = Nowhere(), Presence()

    def read(plain: object) -> None:
        read_complete(plain, octets_of, 10_000, presence)

    print(f"octets             {len(octets[0]):7}")
    print(f"write              {cost(write_complete, given):7.1f}")
    print(f"write, strangers   {cost(write_complete, strangers, 3):7.1f}")
    print(f"encode             {cost(encode, plain):7.1f}")
    print(f"decode             {cost(decode, octets):7.1f}")
    print(f"read               {cost(read, plain):7.1f}")
    print(f"read, strangers    {cost(read, [write_complete(one) for one in strangers], 3):7.1f}")


if __name__ == "__main__":
    main()
