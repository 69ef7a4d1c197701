"""Ask what is to be done with mail from a domain (DMARC), when SPF and DKIM passed for some domains or for none::

python examples/dmarc_policy.py news.example.com example.com mailer.example.net
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet.defer import Deferred

from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.servers import ResolverSettings
from moxtwisted.mailauth.dmarc.destinations import check_destinations
from moxtwisted.mailauth.dmarc.evaluation import Authenticated, Evaluator


async def judge(resolver, author, spf_domain="", *dkim_domains):
    """Evaluate, and say where reports may be sent."""
    evaluator = Evaluator(resolver, os.urandom)
    result = await evaluator.evaluate(author, Authenticated(spf_domain, dkim_domains))
    print(f"{result.verdict.value}: {result.why}")
    print(f"to be done: {result.disposition.value}")
    if result.record is not None:
        for one in await check_destinations(resolver, result.record_domain, result.record.aggregate):
            print(f"{one.wanted.uri}: {'may' if one.allowed else 'may not'} be sent reports, {one.why}")
    return result


def main(reactor, author, *passed):
    """Evaluate with the resolvers of this machine."""
    settings = ResolverSettings.from_resolv_conf(Path("/etc/resolv.conf").read_text())
    resolver = DNSResolver(reactor, settings, entropy=os.urandom)
    return Deferred.fromCoroutine(judge(resolver, author, *passed))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    from twisted.internet.task import react

    react(main, sys.argv[1:])
