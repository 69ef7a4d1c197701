"""Ask what the DNS knows of a client: whether its name leads back to it (iprev), and which lists have it (DNSBL)::

python examples/client_check.py 192.0.2.1 bl.example.org zen.example.net
"""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path

from twisted.internet.defer import Deferred

from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.servers import ResolverSettings
from moxtwisted.mailauth.dnsbl import Lists
from moxtwisted.mailauth.iprev import check_iprev


async def check(resolver, clock, ip, *zones):
    """Look at the client's name, then ask the lists in order. A server keeps its ``Lists``, which remembers the lists' health."""
    reverse = await check_iprev(resolver, ip_address(ip))
    print(f"iprev {reverse.verdict.value}: {reverse.name or reverse.problem}")
    outcome = await Lists(resolver, clock, zones).check(ip_address(ip))
    for zone, why in outcome.skipped:
        print(f"{zone} was not asked: {why}")
    if outcome.listed is None:
        print("not listed")
    else:
        print(f"{outcome.listed.zone} lists it: {outcome.listed.text}")
    return reverse, outcome


def main(reactor, ip, *zones):
    """Check with the resolvers of this machine."""
    settings = ResolverSettings.from_resolv_conf(Path("/etc/resolv.conf").read_text())
    resolver = DNSResolver(reactor, settings, entropy=os.urandom)
    return Deferred.fromCoroutine(check(resolver, reactor, ip, *zones))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    from twisted.internet.task import react

    react(main, sys.argv[1:])
