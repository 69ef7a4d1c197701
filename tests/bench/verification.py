"""What it costs to find out who sent a message of 4 KB with one RSA signature, all answers of the DNS in the cache: CPU microseconds, the
best of fifteen rounds.

::

    python -m tests.bench.verification
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.answers import Answer, Security
from moxtwisted.dns.records import type_code
from moxtwisted.dns.servers import ResolverSettings
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.verify import verify
from moxtwisted.server.inbound.arrival import Arrival
from moxtwisted.server.intake import Intake, Trouble
from moxtwisted.server.verification.checks import Checks
from moxtwisted.server.verification.fields import trace_fields
from moxtwisted.server.verification.interfaces import Unverified, Verified
from moxtwisted.server.verification.senders import SenderRules
from moxtwisted.server.verification.tolerance import TolerantResolver
from moxtwisted.server.verification.verifier import Verifier
from moxtwisted.store.staging import Staging
from tests.server.verification.world import HELLO, HOST, IP, NOW, SENDER, World, hashed, path, signed, zones

KEY = SigningKey.from_pem("sender.example", "s", new_private_key("rsa"))
TRACE = b"Received: from a.example by b.example with ESMTP id 1; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
LETTER = (
    3 * TRACE + b"From: A Sender <a@sender.example>\r\nTo: alice@example.org\r\nSubject: hello there\r\n"
    b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
    + 64
    * b"some words in a line of text that is long enough\r\n"
)


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of what waits for nothing."""
    done: Any = Deferred.fromCoroutine(work)
    if not done.called:
        raise RuntimeError("it waits")
    return done.result


class Sink(Staging):
    """Stages nothing: the store's share is measured elsewhere."""

    def write(self, data: bytes) -> None:
        """Nothing."""


class Bench:
    """A verifier with a full cache."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        inner = DNSResolver(self.clock, ResolverSettings(), entropy=os.urandom)
        records = {**zones(), (KEY.name, "TXT"): [KEY.record_text().encode()], ("sender.example", "A"): []}
        known = ZoneResolver(records)
        for name, rrtype in records:
            found = at_once(known.lookup(name, rrtype))
            answer = Answer(name, rrtype, found.records, name, found.exists, Security.INSECURE, 86_400)
            inner._keep((name, type_code(rrtype)), answer, 100, 86_400)
        self.resolver = TolerantResolver(inner, lambda: inner, self.clock)
        settings = World().settings
        self.verifier = Verifier(self.resolver, self.clock, settings, os.urandom)
        self.rules = SenderRules(self.resolver, self.clock)
        self.checks = Checks(verifier=self.verifier, own_names=frozenset((HOST,)), sender_rules=self.rules)
        self.message = signed(LETTER, KEY)
        self.path = path(SENDER)
        self.trouble = Trouble(self.clock.seconds)

    def arrive(self, begun: Any = None) -> tuple[Arrival, Any]:
        """The octets come in."""
        sink = Arrival(Intake(Sink(Path("/nonexistent"), bytes), self.trouble), self.checks, begun)
        sink.write(self.message)
        return sink, sink._intake

    def first(self) -> Verified:
        """The same for the first message of a client, with the answers of the DNS in the cache."""
        self.verifier._kept.clear()
        return self.whole()

    def begin(self) -> object:
        """What is asked at MAIL, for the first message of a client."""
        self.verifier._kept.clear()
        return self.verifier.begin(IP, HELLO, self.path)

    def whole(self) -> Verified:
        """From MAIL to the header fields."""
        begun = self.verifier.begin(IP, HELLO, self.path)
        at_once(self.rules.can_receive(self.path))
        sink, staged = self.arrive(begun)
        if sink._hasher is None:
            raise RuntimeError("not hashed")
        found: Verified = at_once(
            self.verifier.verify(
                Unverified(
                    ip=IP,
                    hello=HELLO,
                    reverse_path=self.path,
                    hashed=sink._hasher.finish(),
                    staged=staged,
                    begun=begun,
                )
            )
        )
        return found


def cost(work: Callable[[], object]) -> float:
    """Microseconds of CPU that one call takes."""
    best = 1e9
    for _ in range(15):
        begin = time.process_time()
        for _ in range(200):
            work()
        best = min(best, (time.process_time() - begin) / 200 * 1e6)
    return best


def main() -> None:
    """Print the figures."""
    bench = Bench()
    found = bench.whole()
    if b"dmarc=pass" not in found.trace:
        raise RuntimeError(found.trace.decode())
    message = hashed(bench.message)
    print(f"all of it                {cost(bench.whole):7.1f}")
    print(f"of a client's first      {cost(bench.first):7.1f}")
    print(f"header and hashes        {cost(bench.arrive):7.1f}")
    print(f"iprev, SPF twice         {cost(bench.begin):7.1f}")
    print(f"for the next message     {cost(lambda: bench.verifier.begin(IP, HELLO, bench.path)):7.1f}")
    print(f"MX of the sender         {cost(lambda: at_once(bench.rules.can_receive(bench.path))):7.1f}")
    dkim = cost(lambda: at_once(verify(message, bench.resolver, now=NOW, rules=bench.verifier.rules)))
    print(f"DKIM, fields made before {dkim:7.1f}")
    print(f"two header fields        {cost(lambda: trace_fields(found, HOST)):7.1f}")


if __name__ == "__main__":
    main()
