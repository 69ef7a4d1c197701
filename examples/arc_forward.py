"""Forward a message as a mailing list does, change it, and seal it (ARC); then receive it, and find out what the list vouches for::

    python examples/arc_forward.py message.eml

Keys are made for the occasion, and only a resolver of our own knows them: nothing is asked of the network.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from twisted.internet.defer import Deferred

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.arc import seal, trusted_results, validate
from moxtwisted.mailauth.authres import AuthenticationResults, MethodResult
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.dkim.verify import verify
from moxtwisted.mailauth.inflow import MessageHasher

FOOTER = b"-- \r\nSent by lists.example.net.\r\n"


def hashed(octets):
    """A message, ready to be verified and sealed."""
    hasher = MessageHasher(also=[BodyForm(Canonicalization.RELAXED)])
    hasher.feed(octets)
    return hasher.finish()


async def forward(octets, key, resolver, now):
    """The message as the list sends it on. It says what it found before it changed anything; DMARC stands for the rest here."""
    came = hashed(octets)
    chain = await validate(came, resolver)
    signatures = await verify(came, resolver, now=now)
    passed = "pass" if any(one.authenticates for one in signatures) else "fail"
    methods = (*(one.method_result() for one in signatures), MethodResult("dmarc", passed))
    leaving = octets + FOOTER
    fields = seal(hashed(leaving), chain, AuthenticationResults(key.domain, methods).payload(), key, now=now)
    return fields + leaving


async def receive(octets, resolver, now, trusted):
    """What its receiver knows: the author's signature, the chain, and what those vouch for whom it trusts."""
    came = hashed(octets)
    for one in await verify(came, resolver, now=now):
        print(
            f"DKIM {one.status.value}: {one.signature.domain if one.signature else '?'}"
            + (f", {one.reason.value}" if one.reason else "")
        )
    chain = await validate(came, resolver)
    print(f"ARC {chain.status.value}: {', '.join(found.seal.domain for found in chain.sets) or 'no seals'}")
    sealed = trusted_results(chain, trusted)
    if sealed is not None and sealed.dmarc_pass:
        print(f"{sealed.sealer} saw that it passed DMARC")
    return chain, sealed


async def run(path, now):
    """From the author by the list to the receiver."""
    octets = Path(path).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    author, *lists = (
        SigningKey.from_pem(domain, "2026a", new_private_key("ed25519"))
        for domain in ("example.org", "lists.example.net", "other.example.com")
    )
    resolver = ZoneResolver({(key.name, "TXT"): [key.record_text().encode()] for key in (author, *lists)})
    message = sign(hashed(octets), author, SigningRules(), now=now) + octets
    for key in lists:
        message = await forward(message, key, resolver, now)
    return await receive(message, resolver, now, {key.domain for key in lists})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)

    from twisted.internet.task import react

    react(lambda _, path: Deferred.fromCoroutine(run(path, time.time())), sys.argv[1:])
