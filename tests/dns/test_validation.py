"""The chain of trust, and what those try who want to be in it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import dns.name
import dns.rdata
import dns.rrset
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.anchors import ROOT_ANCHORS, TrustAnchors
from moxtwisted.dns.answers import BogusError, NoAnswerError, Security
from moxtwisted.dns.message import Message, Question
from moxtwisted.dns.resolution import Found, Resolution, Verdict
from moxtwisted.dns.signatures import Budget
from moxtwisted.dns.validation import TrustChain, Validator
from tests.dns.signing import NOW, Book, Zone, anchors

A, TXT, DS, NXDOMAIN = 1, 16, 43, 3


class ValidationTestCase(SynchronousTestCase):
    """A root, ``example`` and ``child.example``, all signed."""

    def setUp(self) -> None:
        self.root, self.zone, self.child = (
            Zone("."),
            Zone("example", algorithm="ED25519"),
            Zone("child.example"),
        )
        self.book = Book()
        self.book.zone(self.root)
        self.book.zone(self.zone, self.root)
        self.book.zone(self.child, self.zone)
        self.chain = TrustChain(anchors(self.root))
        self.now = float(NOW)

    def validator(self, budget: Budget | None = None) -> Validator:
        return Validator(self.chain, self.book.fetch, lambda: self.now, budget or Budget())

    def verdict(self, work: Awaitable[Verdict]) -> Verdict:
        async def wait() -> Verdict:
            return await work

        return self.successResultOf(Deferred.fromCoroutine(wait()))

    def positive(self, message: Message, name: str = "www.example", code: int = A) -> Verdict:
        return self.verdict(self.validator().positive(message, name, code))

    def negative(self, message: Message, name: str, code: int = A) -> Verdict:
        return self.verdict(self.validator().negative(message, name, code))

    def bogus(self, work: Awaitable[Any]) -> str:
        async def wait() -> Any:
            return await work

        return self.failureResultOf(Deferred.fromCoroutine(wait()), BogusError).value.reason

    def address(self, **changes: Any) -> list[dns.rrset.RRset]:
        return self.zone.signed("www.example.", "A", "192.0.2.1", **changes)


class PositiveTests(ValidationTestCase):
    def test_secure(self) -> None:
        """What the zone signed is secure, for no longer than the signature holds, and the chain is fetched once."""
        message = self.book.write("www.example", "A", self.address(expiration=NOW + 100))
        self.assertEqual(self.positive(message), Verdict(Security.SECURE, 100))
        self.assertEqual(self.book.asked, [(".", "DNSKEY"), ("example", "DS"), ("example", "DNSKEY")])
        count = len(self.book.asked)
        self.positive(message)
        self.assertEqual(len(self.book.asked), count)

    def test_changed(self) -> None:
        """A record that was changed, added or taken away is bogus."""
        rrset, signature = self.address()
        for data in (["192.0.2.2"], ["192.0.2.1", "192.0.2.2"]):
            forged = dns.rrset.from_text(rrset.name, 300, "IN", "A", *data)
            message = self.book.write("www.example", "A", [forged, signature])
            self.bogus(self.validator().positive(message, "www.example", A))

    def test_times(self) -> None:
        """A signature does not hold before its time, nor after it."""
        early = self.address(inception=NOW + 10)
        late = self.address(expiration=NOW - 10)
        for rrsets, reason in ((early, "not yet valid"), (late, "expired")):
            message = self.book.write("www.example", "A", rrsets)
            self.assertIn(reason, self.bogus(self.validator().positive(message, "www.example", A)))

    def test_stripped(self) -> None:
        """In a signed zone, what has no signature is bogus; the walk shows that the name is in it."""
        self.book.write(
            "www.example", "DS", (), self.zone.signed("www.example.", "NSEC", "x.example. A RRSIG NSEC")
        )
        message = self.book.write("www.example", "A", self.address()[:1])
        self.assertEqual(self.bogus(self.validator().positive(message, "www.example", A)), "no signature")

    def test_other_signers(self) -> None:
        """A signature by a zone that the name is not in, or by the child for its parent, counts for nothing."""
        self.book.write(
            "www.example", "DS", (), self.zone.signed("www.example.", "NSEC", "x.example. A RRSIG NSEC")
        )
        other = Zone("other")
        self.book.zone(other, self.root)
        for zone in (other, self.child):
            message = self.book.write("www.example", "A", zone.signed("www.example.", "A", "192.0.2.1"))
            self.bogus(self.validator().positive(message, "www.example", A))

    def test_same_name_other_key(self) -> None:
        """A key that the parent does not name is not taken, whoever signs with it."""
        impostor = Zone("example")
        self.book.write("example", "DNSKEY", impostor.keys())
        message = self.book.write("www.example", "A", impostor.signed("www.example.", "A", "192.0.2.1"))
        self.bogus(self.validator().positive(message, "www.example", A))

    def test_digest_by_the_zone_itself(self) -> None:
        """DS records are signed by the parent, not by the zone that they are about."""
        impostor = Zone("child.example")
        self.book.write("child.example", "DNSKEY", impostor.keys())
        self.book.write("child.example", "DS", impostor.signed("child.example.", "DS", impostor.ds))
        message = self.book.write("child.example", "A", impostor.signed("child.example.", "A", "192.0.2.1"))
        self.bogus(self.validator().positive(message, "child.example", A))

    def test_unknown_algorithm(self) -> None:
        """A zone that is signed in ways nobody knows is insecure."""
        self.book.write("example", "DS", self.root.signed("example.", "DS", "1 250 2 " + "ab" * 32))
        message = self.book.write("www.example", "A", self.address())
        self.assertIs(self.positive(message).security, Security.INSECURE)

    def test_broken_key(self) -> None:
        """A key that is no key is a reason not to believe, and no accident."""
        broken: Any = dns.rdata.from_text("IN", "DNSKEY", "257 3 8 AA==")
        self.zone.key = broken
        self.book.write("example", "DS", self.root.signed("example.", "DS", self.zone.ds))
        keys = dns.rrset.from_rdata(dns.name.from_text("example"), 300, broken)
        tag = self.zone.ds.split()[0]
        signature = dns.rrset.from_text(
            "example.", 300, "IN", "RRSIG", f"DNSKEY 8 1 300 {NOW + 9} {NOW - 9} {tag} example. AAAA"
        )
        self.book.write("example", "DNSKEY", [keys, signature])
        message = self.book.write(
            "www.example", "A", Zone("example").signed("www.example.", "A", "192.0.2.1")
        )
        self.bogus(self.validator().positive(message, "www.example", A))

    def test_no_anchor(self) -> None:
        """Where no trust begins, nothing is known."""
        self.chain = TrustChain(TrustAnchors({"other": ROOT_ANCHORS.zones["."]}))
        message = self.book.write("www.example", "A", self.address())
        self.assertIs(self.positive(message).security, Security.INDETERMINATE)


class WildcardTests(ValidationTestCase):
    def expanded(self) -> list[dns.rrset.RRset]:
        return self.zone.signed("*.example.", "A", "192.0.2.9", owner="www.example.")

    def test_with_proof(self) -> None:
        """What a wildcard makes is secure, with the proof that nothing closer is there."""
        proof = self.zone.signed("v.example.", "NSEC", "x.example. A RRSIG NSEC")
        message = self.book.write("www.example", "A", self.expanded(), proof)
        self.assertIs(self.positive(message).security, Security.SECURE)

    def test_without(self) -> None:
        """Without it, or with one for another name, it is bogus: the name may have records of its own."""
        for proof in ([], self.zone.signed("a.example.", "NSEC", "b.example. A RRSIG NSEC")):
            message = self.book.write("www.example", "A", self.expanded(), proof)
            self.assertIn("wildcard", self.bogus(self.validator().positive(message, "www.example", A)))


class NegativeTests(ValidationTestCase):
    def nsec(self, zone: Zone, owner: str, following: str, types: str) -> list[dns.rrset.RRset]:
        return zone.signed(owner + ".", "NSEC", f"{following}. {types} RRSIG NSEC")

    def inside(self, name: str) -> None:
        """Write that no zone begins at a name."""
        self.book.write(name, "DS", (), self.nsec(self.zone, name, "zzz.example", "A"))

    def test_no_name(self) -> None:
        """Proofs that neither the name is there nor a wildcard for it make its absence secure; one of the two does not."""
        both = [
            *self.nsec(self.zone, "a.example", "x.example", "A"),
            *self.nsec(self.zone, "example", "a.example", "SOA NS"),
        ]
        message = self.book.write("no.example", "A", (), both, rcode=NXDOMAIN)
        self.assertIs(self.negative(message, "no.example").security, Security.SECURE)
        self.inside("no.example")
        message = self.book.write("no.example", "A", (), both[:2], rcode=NXDOMAIN)
        self.bogus(self.validator().negative(message, "no.example", A))

    def test_no_type(self) -> None:
        """The types at a name are what its record says; a record that has the type proves nothing."""
        message = self.book.write("a.example", "TXT", (), self.nsec(self.zone, "a.example", "x.example", "A"))
        self.assertIs(self.negative(message, "a.example", TXT).security, Security.SECURE)
        self.inside("a.example")
        self.bogus(self.validator().negative(message, "a.example", A))

    def test_stripped(self) -> None:
        """An absence without proof is bogus in a signed zone."""
        self.inside("no.example")
        message = self.book.write("no.example", "A", rcode=NXDOMAIN)
        self.bogus(self.validator().negative(message, "no.example", A))

    def test_parents_record(self) -> None:
        """What the parent says about the delegation does not deny names of the child."""
        proof = [
            *self.nsec(self.zone, "child.example", "d.example", "NS DS"),
            *self.nsec(self.zone, "example", "a.example", "SOA NS"),
        ]
        self.book.write(
            "www.child.example", "DS", (), self.nsec(self.child, "www.child.example", "z.child.example", "A")
        )
        for rcode in (0, NXDOMAIN):
            message = self.book.write("www.child.example", "A", (), proof, rcode=rcode)
            self.bogus(self.validator().negative(message, "www.child.example", A))

    def test_childs_record(self) -> None:
        """What the child says about its apex does not deny the DS records of the parent, so that a signed zone stays signed."""
        self.book.write(
            "child.example", "DS", (), self.nsec(self.child, "child.example", "a.child.example", "SOA NS")
        )
        message = self.book.write(
            "child.example", "A", [dns.rrset.from_text("child.example.", 300, "IN", "A", "192.0.2.66")]
        )
        self.bogus(self.validator().positive(message, "child.example", A))

    def test_unsigned_delegation(self) -> None:
        """Below a delegation that the parent shows to have no DS record, everything is insecure."""
        self.book.write("un.example", "DS", (), self.nsec(self.zone, "un.example", "x.example", "NS"))
        answer = [dns.rrset.from_text("www.un.example.", 300, "IN", "A", "192.0.2.1")]
        message = self.book.write("www.un.example", "A", answer)
        self.assertIs(self.positive(message, "www.un.example").security, Security.INSECURE)
        message = self.book.write("no.un.example", "A", rcode=NXDOMAIN)
        self.assertIs(self.negative(message, "no.un.example").security, Security.INSECURE)

    def test_proofs_of_two_zones(self) -> None:
        """Behind a chain of CNAME records there are proofs of several zones; the deepest that fits is the one that counts."""
        proof = [
            *self.nsec(self.zone, "a.example", "b.example", "A"),
            *self.nsec(self.child, "child.example", "z.child.example", "SOA NS"),
        ]
        message = self.book.write("no.child.example", "A", (), proof, rcode=NXDOMAIN)
        self.assertIs(self.negative(message, "no.child.example").security, Security.SECURE)

    def test_expanded_proof(self) -> None:
        """A record of absence that a wildcard made is not one."""
        proof = self.zone.signed("*.example.", "NSEC", "x.example. A RRSIG NSEC", owner="n.example.")
        self.inside("no.example")
        message = self.book.write("no.example", "A", (), proof, rcode=NXDOMAIN)
        self.bogus(self.validator().negative(message, "no.example", A))


class WorkTests(ValidationTestCase):
    def test_many_signatures(self) -> None:
        """Many bad signatures cost as many checks as a lookup may have, and no more."""
        rrset, signature = self.address()
        bad = [
            dns.rrset.from_rdata(signature.name, 300, signature[0].replace(signature=bytes([n]) * 64))
            for n in range(100)
        ]
        merged = bad[0]
        for one in bad[1:]:
            merged.add(one[0])
        message = self.book.write("www.example", "A", [rrset, merged])
        self.positive(
            self.book.write("x.example", "A", self.zone.signed("x.example.", "A", "192.0.2.1")), "x.example"
        )
        budget = Budget()
        self.bogus(self.validator(budget).positive(message, "www.example", A))
        self.assertGreaterEqual(budget.signatures, 60 - 8)
        reason = self.bogus(self.validator(Budget(signatures=3)).positive(message, "www.example", A))
        self.assertIn("too many signatures", reason)

    def test_many_keys(self) -> None:
        """A zone with more keys than anybody has is not believed."""
        keys = [f"256 3 15 {number:04d}" for number in range(1000, 1040)]
        self.book.write(
            "example", "DNSKEY", self.zone.signed("example.", "DNSKEY", self.zone.key.to_text(), *keys)
        )
        message = self.book.write("www.example", "A", self.address())
        self.assertIn("too many keys", self.bogus(self.validator().positive(message, "www.example", A)))

    def test_long_walk(self) -> None:
        """A name of a hundred labels makes no hundred questions."""
        name = ".".join(["x"] * 100) + ".example"
        labels = name.split(".")
        for index in range(100):
            at = ".".join(labels[index:])
            self.book.write(at, "DS", (), self.zone.signed(f"{at}.", "NSEC", "zzz.example. A RRSIG NSEC"))
        message = self.book.write(name, "A", [dns.rrset.from_text(name + ".", 300, "IN", "A", "192.0.2.1")])
        budget = Budget(signatures=1000)
        self.assertIn("too many questions", self.bogus(self.validator(budget).positive(message, name, A)))
        self.assertLess(len(self.book.asked), 100)


class ResolutionTests(ValidationTestCase):
    def resolve(self, name: str, code: int = A) -> Deferred[Found]:
        resolution = Resolution(self.book.fetch, self.validator())
        return Deferred.fromCoroutine(resolution.resolve(Question(name, code)))

    def test_weakest_link(self) -> None:
        """A chain of CNAME records is as good as its weakest link."""
        link = self.zone.signed("alias.example.", "CNAME", "www.un.example.")
        self.book.write(
            "un.example", "DS", (), self.zone.signed("un.example.", "NSEC", "x.example. NS RRSIG NSEC")
        )
        target = dns.rrset.from_text("www.un.example.", 60, "IN", "A", "192.0.2.1")
        self.book.write("alias.example", "A", [*link, target])
        answer = self.successResultOf(self.resolve("alias.example")).answer
        self.assertEqual(
            (answer.records, answer.canonical_name, answer.security, answer.ttl_seconds),
            (("192.0.2.1",), "www.un.example", Security.INSECURE, 60),
        )

    def test_forged_link(self) -> None:
        """A link that was changed spoils the answer, however good its end is."""
        signature = self.zone.signed("alias.example.", "CNAME", "other.example.")[1]
        forged = dns.rrset.from_text("alias.example.", 300, "IN", "CNAME", "www.example.")
        self.book.write("alias.example", "A", [forged, signature, *self.address()])
        self.failureResultOf(self.resolve("alias.example"), BogusError)

    def test_two_links(self) -> None:
        """A name with two CNAME records is no answer."""
        links = dns.rrset.from_text("alias.example.", 300, "IN", "CNAME", "a.example.")
        message = self.book.write("alias.example", "A", [links])
        other = dns.rrset.from_text("alias.example.", 300, "IN", "CNAME", "b.example.")
        self.book.write("alias.example", "A", [links, other])
        self.assertTrue(message.answer)
        self.failureResultOf(self.resolve("alias.example"), NoAnswerError)

    def test_unreachable_chain(self) -> None:
        """When the chain cannot be fetched there is no answer, not a weaker one."""
        del self.book.pages["example", "DS"]
        self.book.write("www.example", "A", self.address())
        self.failureResultOf(self.resolve("www.example"), NoAnswerError)


class AnchorTests(SynchronousTestCase):
    def test_file(self) -> None:
        """What Debian ships is what is built in."""
        text = (
            "; comment\n"
            ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
            ". 3600 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C48 3AF444A4C0FB2B16\n"
        )
        self.assertEqual(TrustAnchors.parse(text), ROOT_ANCHORS)

    def test_bad(self) -> None:
        """A file without anchors, or with something else, is refused."""
        for text in ("", "; nothing", ". IN DNSKEY 257 3 8 AwEAA", ". IN DS 1 2", ". IN DS a b c d"):
            with self.assertRaises(ValueError, msg=text):
                TrustAnchors.parse(text)
