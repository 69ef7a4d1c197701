"""What lookups cost: from the cache, from a server on the loopback, and the reading of an answer beside dnspython's.

::

    python -m tests.bench.resolver

CPU of this process, the test server's included where there is one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import dns.message
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred

from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.message import Question, decode, parse, query
from moxtwisted.dns.servers import ResolverSettings
from tests.dns.servers import FakeServer, reply_to

reactor: Any = installed_reactor
RECORDS = ["example. 3600 MX 10 mail.example.", "example. 3600 MX 20 backup.example."]


def cost(work: Callable[[], object], times: int) -> float:
    """Microseconds of CPU that one call takes."""
    begin = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begin) / times * 1e6


def codec() -> None:
    """Reading an answer."""
    asked = query(Question("example", 15), 1)
    octets = reply_to(dns.message.from_wire(asked), asked, RECORDS)

    def ours() -> None:
        message = parse(octets)
        for record in message.answer:
            decode(octets, record)

    print(f"write a query        {cost(lambda: query(Question('example', 15), 1), 20000):8.1f} us")
    print(f"read an answer       {cost(ours, 20000):8.1f} us")
    print(f"  with dnspython     {cost(lambda: dns.message.from_wire(octets), 2000):8.1f} us")


async def lookups() -> None:
    """Whole lookups."""
    answers: dict[bytes, bytes] = {}

    def behave(asked: Any, octets: bytes, stream: bool) -> list[bytes]:
        return [answers.get(octets) or reply_to(asked, octets, RECORDS)]

    server = FakeServer(behave)
    settings = ResolverSettings(servers=(server.address,), validate=False)
    resolver = DNSResolver(reactor, settings, entropy=os.urandom)
    await resolver.lookup("example", "MX")

    begin = time.process_time()
    for _ in range(50_000):
        await resolver.lookup("example", "MX")
    print(f"cached lookup        {(time.process_time() - begin) / 50_000 * 1e6:8.1f} us")
    begin = time.process_time()
    for number in range(500):
        await resolver.lookup(f"n{number}.example", "TXT")
    print(f"asked, with server   {(time.process_time() - begin) / 500 * 1e6:8.1f} us")
    await server.stop()


def main() -> None:
    """Print the table."""
    codec()
    done = Deferred.fromCoroutine(lookups())
    done.addErrback(lambda failure: failure.printTraceback())
    done.addBoth(lambda _: reactor.stop())
    reactor.run()


if __name__ == "__main__":
    main()
