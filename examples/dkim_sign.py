"""Sign a message and verify it again, without the network, and print what comes of it::

python examples/dkim_sign.py message.eml
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from twisted.internet.defer import Deferred

from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.dkim.verify import verify
from moxtwisted.mailauth.inflow import MessageHasher


def signed(octets, key, now):
    """The message with a signature in front of it; line ends are CRLF."""
    rules = SigningRules(lifetime_seconds=72 * 3600)
    hasher = MessageHasher(also=[rules.body_form])
    hasher.feed(octets)
    return sign(hasher.finish(), key, rules, now=now) + octets


async def verdicts(octets, resolver, now):
    """What each signature of a message is worth."""
    hasher = MessageHasher()
    hasher.feed(octets)
    return await verify(hasher.finish(), resolver, now=now)


def main(path):
    """Sign with a new key, which only a resolver of our own knows."""
    octets = Path(path).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    key = SigningKey.from_pem("example.org", "2026a", new_private_key("ed25519"))
    resolver = ZoneResolver({(key.name, "TXT"): [key.record_text().encode()]})
    message = signed(octets, key, time.time())
    print(message[: -len(octets)].decode())
    finished = Deferred.fromCoroutine(verdicts(message, resolver, time.time()))
    finished.addCallback(lambda found: [print(one.status.value, one.signature.domain) for one in found])
    return finished


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
