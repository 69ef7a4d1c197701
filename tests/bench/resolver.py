"""What lookups cost: from the cache, from a server on the loopback, and the reading of an answer beside dnspython's.

::

    python -m tests.bench.resolver

CPU of this process; the server is another one. The best of five rounds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import dns.message
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import globalLogPublisher

from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.message import Question, decode, parse, query
from moxtwisted.dns.servers import ResolverSettings, ServerAddress
from moxtwisted.server.logging import LevelControl, LineObserver, LogFile
from tests.dns.servers import reply_to

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


#: Answers whatever is asked with one A record, and says its port.
_SERVER = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
while True:
    asked, peer = sock.recvfrom(2048)
    end = asked.index(0, 12) + 5
    head = asked[:2] + bytes((0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0))
    sock.sendto(head + asked[12:end] + bytes.fromhex("c00c000100010000012c00047f000001"), peer)
"""


async def lookups() -> None:
    """Whole lookups."""
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE) as server:
        try:
            port = int((server.stdout or sys.stdin.buffer).readline())
            await _ask(ServerAddress("127.0.0.1", port))
        finally:
            server.kill()


async def _ask(address: ServerAddress) -> None:
    for name, settings in {
        "no validation": ResolverSettings(servers=(address,), validate=False, trust_ad=False),
        "ports kept": ResolverSettings(
            servers=(address,), validate=False, trust_ad=False, queries_per_port=50
        ),
        "AD is believed": ResolverSettings(servers=(address,), validate=False, trust_ad=True),
    }.items():
        resolver = DNSResolver(reactor, settings, entropy=os.urandom)
        await resolver.lookup("example", "A")
        for together in (1, 10):
            best = 1e9
            for turn in range(5):
                begin = time.process_time()
                for number in range(0, 500, together):
                    await gatherResults(
                        [
                            Deferred.fromCoroutine(
                                resolver.lookup(f"n{number + i}-{turn}-{together}.example", "A")
                            )
                            for i in range(together)
                        ]
                    )
                best = min(best, (time.process_time() - begin) / 500 * 1e6)
            print(f"asked, {name}, {together:2} at once {best:8.1f} us")
        resolver.close()
    begin = time.process_time()
    for _ in range(50_000):
        await resolver.lookup("example", "A")
    print(f"cached lookup        {(time.process_time() - begin) / 50_000 * 1e6:8.1f} us")


def main() -> None:
    """Print the table."""
    globalLogPublisher.addObserver(LineObserver(LogFile(os.devnull), LevelControl("info")))
    codec()
    done = Deferred.fromCoroutine(lookups())
    done.addErrback(lambda failure: failure.printTraceback())
    done.addBoth(lambda _: reactor.stop())
    reactor.run()


if __name__ == "__main__":
    main()
