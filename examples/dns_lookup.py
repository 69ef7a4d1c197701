"""Look up records, and say whether DNSSEC proves them::

python examples/dns_lookup.py MX example.org
python examples/dns_lookup.py TLSA _25._tcp.mail.example.org 127.0.0.1:5353
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.servers import ResolverSettings, ServerAddress


def resolver_for(reactor: Any, server: str = "", **changes: Any) -> DNSResolver:
    """A resolver that asks one server, or those of this machine."""
    settings = (
        ResolverSettings(servers=(ServerAddress.parse(server),))
        if server
        else ResolverSettings.from_resolv_conf(Path("/etc/resolv.conf").read_text())
    )
    return DNSResolver(reactor, evolve(settings, **changes), entropy=os.urandom)


def main(reactor: Any, rrtype: str, name: str, server: str = "", **changes: Any) -> Deferred[None]:
    """Print the records of a type at a name."""

    async def run() -> None:
        answer = await resolver_for(reactor, server, **changes).lookup(name, rrtype)
        print(answer.canonical_name, answer.security.value, "exists" if answer.exists else "does not exist")
        for record in answer.records:
            print(" ", record)

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit(__doc__)
    from twisted.internet.task import react

    react(main, sys.argv[1:])
