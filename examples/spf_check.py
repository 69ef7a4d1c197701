"""Ask whether a client may send mail for a domain (SPF), and print the header field that says so::

python examples/spf_check.py 192.0.2.1 alice@example.com client.example.com
"""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path

from twisted.internet.defer import Deferred

from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.servers import ResolverSettings
from moxtwisted.mailauth.spf.evaluation import Evaluator
from moxtwisted.mailauth.spf.trace import received_spf


async def check(resolver, clock, ip, sender, helo):
    """Check the sender of the envelope; the records that led to the verdict are printed, too."""
    evaluator = Evaluator(resolver, clock, receiver="mx.example.org")
    result = await evaluator.check_mail_from(ip_address(ip), sender, helo)
    for step in result.chain:
        print(f"{step.domain}: {step.record} -> {step.term or 'no term'}")
    print(received_spf(result, "mx.example.org").decode())
    return result


def main(reactor, ip, sender, helo):
    """Check with the resolvers of this machine."""
    settings = ResolverSettings.from_resolv_conf(Path("/etc/resolv.conf").read_text())
    resolver = DNSResolver(reactor, settings, entropy=os.urandom)
    return Deferred.fromCoroutine(check(resolver, reactor, ip, sender, helo))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    from twisted.internet.task import react

    react(main, sys.argv[1:])
