"""A sender with all that a good one has, as zones; and enemies.

::

    world = World()
    world.signed(LETTER)                       # with the signature of sender.example
    world.resolver.set("sender.example", "TXT", [b"v=spf1 -all"])
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from moxtwisted.address import Address, Path
from moxtwisted.dns.answers import Answer, IResolver
from moxtwisted.dns.records import MX
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.inflow import HashedMessage, MessageHasher
from moxtwisted.server.verification.checks import Checks
from moxtwisted.server.verification.interfaces import Unverified
from moxtwisted.server.verification.senders import SenderRules
from moxtwisted.server.verification.verifier import Verifier, VerifierSettings
from moxtwisted.store.staging import Staging

NOW = 1_700_000_000.0
HOST = "mx.example.org"
SENDER = "a@sender.example"
HELLO = "out.sender.example"
IP = IPv4Address("198.51.100.7")
PEM = new_private_key("ed25519")
KEY = SigningKey.from_pem("sender.example", "s", PEM)
LETTER = b"From: A <a@sender.example>\r\nTo: alice@example.org\r\nSubject: hello\r\n\r\nIt works.\r\n"


def zones() -> dict[tuple[str, str], Any]:
    """What a good sender publishes."""
    return {
        ("7.100.51.198.in-addr.arpa", "PTR"): ["out.sender.example"],
        ("out.sender.example", "A"): ["198.51.100.7"],
        ("out.sender.example", "TXT"): [b"v=spf1 a -all"],
        ("sender.example", "MX"): [MX(10, "out.sender.example")],
        ("sender.example", "TXT"): [b"v=spf1 ip4:198.51.100.0/24 -all"],
        (KEY.name, "TXT"): [KEY.record_text().encode()],
        ("_dmarc.sender.example", "TXT"): [b"v=DMARC1; p=reject"],
    }


def hashed(message: bytes) -> HashedMessage:
    """As it is when it came in."""
    hasher = MessageHasher()
    hasher.feed(message)
    return hasher.finish()


def signed(message: bytes, key: SigningKey = KEY) -> bytes:
    """With the signature of a key."""
    hasher = MessageHasher(also=[SigningRules().body_form])
    hasher.feed(message)
    return sign(hasher.finish(), key, now=NOW) + message


def path(address: str) -> Path:
    """A reverse-path; empty for none."""
    return Path(Address.parse(address) if address else None)


@implementer(IResolver)
class SlowResolver:
    """Answers some names never, or when told.

    :ivar waiting: by name: who asks.
    """

    def __init__(self, inner: ZoneResolver, *slow: str) -> None:
        self.inner = inner
        self.slow = set(slow)
        self.waiting: dict[str, list[Deferred[None]]] = {}

    async def lookup(self, name: str, rrtype: str) -> Answer:
        """See ``IResolver``."""
        if name in self.slow:
            waiter: Deferred[None] = Deferred()
            self.waiting.setdefault(name, []).append(waiter)
            await waiter
        return await self.inner.lookup(name, rrtype)

    def answer(self) -> None:
        """All that was asked."""
        self.slow.clear()
        while self.waiting:
            for waiter in self.waiting.popitem()[1]:
                if not waiter.called:
                    waiter.callback(None)


class World:
    """A verifier and what it asks."""

    def __init__(self, clock: Clock | None = None, **settings: Any) -> None:
        self.zones = ZoneResolver(zones())
        self.resolver: Any = self.zones
        self.settings = VerifierSettings(authserv_id=HOST, **settings)
        self.clock = clock or Clock()
        if clock is None:
            self.clock.advance(NOW)

    def verifier(self) -> Verifier:
        """One with these settings."""
        return Verifier(self.resolver, self.clock, self.settings, bytes)

    def checks(self, *, rules: bool = True) -> Checks:
        """What a listener gets."""
        return Checks(
            verifier=self.verifier(),
            own_names=frozenset((HOST,)),
            sender_rules=SenderRules(self.resolver, self.clock) if rules else None,
        )

    def unverified(self, message: bytes, **changes: Any) -> Unverified:
        """A message from the good sender's host, but for the changes."""
        staging = Staging(None, bytes)  # type: ignore[arg-type]  # no file is made for so little
        staging.write(message)
        found = Unverified(
            ip=IP, hello=HELLO, reverse_path=path(SENDER), hashed=hashed(message), staged=staging.finish()
        )
        return evolve(found, **changes)
