"""Signed answers for tests, made with dnspython: as good, and as bad, as the test wants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from moxtwisted.dns.anchors import TrustAnchors
from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.message import Message, Question, decode, parse
from moxtwisted.dns.records import DS, type_name

NOW = 1_800_000_000


class Zone:
    """A zone with one key."""

    def __init__(self, name: str, *, algorithm: str = "ECDSAP256SHA256") -> None:
        self.name = name
        self.private: Any = (
            ed25519.Ed25519PrivateKey.generate()
            if algorithm == "ED25519"
            else ec.generate_private_key(ec.SECP256R1())
        )
        self.key = dns.dnssec.make_dnskey(self.private.public_key(), algorithm, flags=257)

    @property
    def ds(self) -> str:
        """The digest that the parent has."""
        return dns.dnssec.make_ds(dns.name.from_text(self.name), self.key, "SHA256").to_text()

    def signed(
        self,
        name: str,
        rrtype: str,
        *data: str,
        owner: str = "",
        inception: int = NOW - 1000,
        expiration: int = NOW + 1000,
    ) -> list[dns.rrset.RRset]:
        """A set and its signature.

        :param owner: the name it is shown at, when that is another than was signed (what a wildcard makes).
        """
        rrset = dns.rrset.from_text(dns.name.from_text(name), 300, "IN", rrtype, *data)
        rrsig = dns.dnssec.sign(
            rrset,
            self.private,
            dns.name.from_text(self.name),
            self.key,
            inception=inception,
            expiration=expiration,
        )
        signature = dns.rrset.from_rdata(rrset.name, 300, rrsig)
        if owner:
            rrset.name = signature.name = dns.name.from_text(owner)
        return [rrset, signature]

    def keys(self) -> list[dns.rrset.RRset]:
        """The set of its key, signed by itself."""
        return self.signed(self.name, "DNSKEY", self.key.to_text())


class Book:
    """Answers by question; what is not written fails."""

    def __init__(self) -> None:
        self.pages: dict[tuple[str, str], bytes] = {}
        self.asked: list[tuple[str, str]] = []

    def write(
        self,
        name: str,
        rrtype: str,
        answer: Iterable[dns.rrset.RRset] = (),
        authority: Iterable[dns.rrset.RRset] = (),
        *,
        rcode: int = 0,
    ) -> Message:
        """Put an answer into it."""
        reply = dns.message.make_response(dns.message.make_query(name, rrtype), recursion_available=True)
        reply.answer, reply.authority = list(answer), list(authority)
        reply.set_rcode(dns.rcode.Rcode(rcode))
        wire = reply.to_wire(max_size=65535)
        self.pages[name.rstrip(".") or ".", rrtype] = wire
        return parse(wire)

    def zone(self, zone: Zone, parent: Zone | None = None) -> None:
        """Write the keys of a zone, and its digest, signed by its parent."""
        self.write(zone.name, "DNSKEY", zone.keys())
        if parent is not None:
            self.write(zone.name, "DS", parent.signed(zone.name, "DS", zone.ds))

    async def fetch(self, question: Question) -> Message:
        """Look something up."""
        key = (question.name, type_name(question.code))
        self.asked.append(key)
        if key not in self.pages:
            raise NoAnswerError(*key, "not in the book")
        return parse(self.pages[key])


def anchors(zone: Zone) -> TrustAnchors:
    """Trust in a zone's key."""
    tag, algorithm, digest_type, digest = zone.ds.split()
    return TrustAnchors({zone.name: (DS(int(tag), int(algorithm), int(digest_type), bytes.fromhex(digest)),)})


def contents(message: Message) -> list[Any]:
    """What the answer section says."""
    return [decode(message.data, record) for record in message.answer]
