"""What it costs to look at a sender, when the answers of the DNS are in memory.

::

    python -m tests.bench.senders
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from moxtwisted.dns.answers import Answer, IResolver, Security
from moxtwisted.mailauth.dmarc.evaluation import Authenticated
from moxtwisted.mailauth.dmarc.evaluation import Evaluator as DMARCEvaluator
from moxtwisted.mailauth.dnsbl import Lists
from moxtwisted.mailauth.iprev import check_iprev
from moxtwisted.mailauth.spf.evaluation import Evaluator as SPFEvaluator
from moxtwisted.mailauth.spf.secondopinion import Recorder, second_opinion
from moxtwisted.mailauth.spf.trace import received_spf

CLIENT = ip_address("192.0.2.1")
ZONE: dict[tuple[str, str], list[Any]] = {
    ("small.example", "TXT"): [b"v=spf1 ip4:192.0.2.0/24 -all"],
    ("large.example", "TXT"): [b"v=spf1 include:_spf.example ip4:198.51.100.0/24 mx -all"],
    ("_spf.example", "TXT"): [b"v=spf1 include:_a.example include:_b.example ~all"],
    ("_a.example", "TXT"): [b"v=spf1 " + b" ".join(b"ip4:10.%d.0.0/16" % n for n in range(20)) + b" ~all"],
    ("_b.example", "TXT"): [b"v=spf1 " + b" ".join(b"ip4:192.0.%d.0/24" % n for n in range(10)) + b" ~all"],
    ("_dmarc.large.example", "TXT"): [b"v=DMARC1; p=reject; rua=mailto:reports@large.example"],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["c.large.example"],
    ("c.large.example", "A"): ["192.0.2.1"],
    ("2.0.0.127.bl.example", "A"): ["127.0.0.2"],
}


@implementer(IResolver)
class Memory:
    """Answers that are made already."""

    def __init__(self) -> None:
        self.found = {
            key: Answer(
                *key, tuple(records), key[0], exists=True, security=Security.INSECURE, ttl_seconds=300
            )
            for key, records in ZONE.items()
        }

    async def lookup(self, name: str, rrtype: str) -> Answer:
        """See ``IResolver``."""
        found = self.found.get((name, rrtype))
        return found or Answer(
            name, rrtype, (), name, exists=False, security=Security.INSECURE, ttl_seconds=300
        )


def ended(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as e:
        return e.value
    raise RuntimeError("the coroutine waits")


def report(what: str, work: Callable[[], object], times: int = 5000) -> None:
    """Print what one call takes of CPU."""
    work()
    begin = time.process_time()
    for _ in range(times):
        work()
    print(f"{what:44}{(time.process_time() - begin) / times * 1e6:8.1f} us")


def main() -> None:
    """Measure everything."""
    resolver, clock = Memory(), Clock()
    spf, dmarc = SPFEvaluator(resolver, clock), DMARCEvaluator(resolver, bytes)
    lists = Lists(resolver, clock, ("bl.example",))
    result = ended(spf.check_mail_from(CLIENT, "joe@large.example", "c.large.example"))
    recorder = Recorder(resolver)
    found = Authenticated("large.example", ("large.example",))
    report("SPF, one record", lambda: ended(spf.check_mail_from(CLIENT, "joe@small.example", "c.example")))
    report(
        "SPF, four records with 31 networks",
        lambda: ended(spf.check_mail_from(CLIENT, "joe@large.example", "c.example")),
    )
    report("Received-SPF", lambda: received_spf(result, "mx.example.org"))
    report("  pyspf on the same answers", lambda: ended(second_opinion(result, recorder)), 200)
    report("DMARC", lambda: ended(dmarc.evaluate("large.example", found)))
    report(
        "DMARC, below the organisational domain", lambda: ended(dmarc.evaluate("a.b.large.example", found))
    )
    report("iprev", lambda: ended(check_iprev(resolver, CLIENT)))
    report("a list", lambda: ended(lists.check(CLIENT)))


if __name__ == "__main__":
    main()
