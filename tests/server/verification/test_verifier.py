"""What is found out about a message, and that it ends."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.mailauth.arc import ChainStatus, seal
from moxtwisted.mailauth.arc import validate as validate_chain
from moxtwisted.mailauth.authres import AuthenticationResults, MethodResult, Property, parse_results
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.verify import Status
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.inflow import MessageHasher
from moxtwisted.mailauth.iprev import Verdict as IPRevVerdict
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.server.verification.fields import verdicts
from moxtwisted.server.verification.interfaces import Verified
from tests.server.verification.world import IP, KEY, LETTER, PEM, SlowResolver, World, path, signed

FORGED = LETTER.replace(b"hello", b"pay now")


class VerifierCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A world in which all is good."""
        self.world = World()

    def verified(self, message: bytes = LETTER, **changes: Any) -> Verified:
        """What is found, at once."""
        work = self.world.verifier().verify(self.world.unverified(message, **changes))
        found: Verified = self.successResultOf(Deferred.fromCoroutine(work))  # type: ignore[arg-type]
        return found

    def dmarc(self, found: Verified) -> tuple[DMARCVerdict, Policy]:
        """What became of DMARC."""
        assert found.dmarc is not None
        return found.dmarc.verdict, found.dmarc.disposition


class KeptTests(VerifierCase):
    def begin(self, sender: str = "a@sender.example", **changes: Any) -> Any:
        """What is known at MAIL FROM, all answers being there."""
        given = {"ip": IP, "hello": "out.sender.example", **changes}
        return self.one.begin(given["ip"], given["hello"], path(sender))

    def setUp(self) -> None:
        """One verifier for several messages."""
        super().setUp()
        self.one = self.world.verifier()

    def test_next_message(self) -> None:
        """For the next message of a client nothing is asked again, whoever writes it, and the result names him."""
        first = self.begin()
        asked = self.world.zones.lookups
        second = self.begin("b@sender.example")
        self.assertEqual(self.world.zones.lookups, asked)
        self.assertEqual(second.spf.known, evolve(first.spf.known, sender="b@sender.example"))
        self.assertEqual(second.helo_spf.known, first.helo_spf.known)
        self.assertEqual(second.iprev.known, first.iprev.known)

    def test_at_once(self) -> None:
        """What was known at once for the first message is the same object for the next of the same sender."""
        self.assertIs(self.begin(), self.begin())
        self.world.zones.set("7.100.51.198.in-addr.arpa", "PTR", NoAnswerError("x", "PTR", "x"))
        self.one = self.world.verifier()
        self.assertIsNot(self.begin(), self.begin())

    def test_others(self) -> None:
        """Another client, name or domain is asked for."""
        self.begin()
        self.world.zones.set("other.example", "TXT", [b"v=spf1 ?all"])
        self.assertIs(self.begin("a@other.example").spf.known.verdict, SPFVerdict.NEUTRAL)
        self.assertIs(self.begin(ip=IP + 256).spf.known.verdict, SPFVerdict.FAIL)
        self.assertIs(self.begin(hello="x.example").helo_spf.known.verdict, SPFVerdict.NONE)
        self.assertEqual(self.begin("").spf.known.domain, "out.sender.example")

    def test_end(self) -> None:
        """After a minute, or when an answer's time is up, everything is asked again."""
        for ttl, seconds in ((300, 60), (7, 7)):
            self.world.zones.ttl_seconds = ttl
            self.world.zones.set("sender.example", "TXT", [b"v=spf1 +all"])
            self.one = self.world.verifier()
            self.begin()
            self.world.zones.set("sender.example", "TXT", [b"v=spf1 -all"])
            self.world.clock.advance(seconds - 1)
            self.assertIs(self.begin().spf.known.verdict, SPFVerdict.PASS)
            self.world.clock.advance(1)
            self.assertIs(self.begin().spf.known.verdict, SPFVerdict.FAIL)

    def test_local_part(self) -> None:
        """A record that looks at the local part is evaluated for each message."""
        self.world.zones.set("sender.example", "TXT", [b"v=spf1 exists:%{l}.users.sender.example -all"])
        self.world.zones.set("a.users.sender.example", "A", ["127.0.0.1"])
        self.assertIs(self.begin().spf.known.verdict, SPFVerdict.PASS)
        self.assertIs(self.begin("b@sender.example").spf.known.verdict, SPFVerdict.FAIL)
        self.assertIs(self.begin().spf.known.verdict, SPFVerdict.PASS)

    def test_trouble(self) -> None:
        """What could not be found out is not kept."""
        for name, rrtype in (("sender.example", "TXT"), ("7.100.51.198.in-addr.arpa", "PTR")):
            self.world.zones.set(name, rrtype, NoAnswerError(name, rrtype, "x"))
        begun = self.begin()
        self.assertIs(begun.spf.known.verdict, SPFVerdict.TEMPERROR)
        self.assertIs(begun.iprev.known.verdict, IPRevVerdict.TEMPERROR)
        self.world.zones.set("sender.example", "TXT", [b"v=spf1 +all"])
        self.world.zones.set("7.100.51.198.in-addr.arpa", "PTR", ["out.sender.example"])
        begun = self.begin()
        self.assertIs(begun.spf.known.verdict, SPFVerdict.PASS)
        self.assertIs(begun.iprev.known.verdict, IPRevVerdict.PASS)

    def test_hidden_trouble(self) -> None:
        """Nor is a result that an answer that did not come had a part in, though it is no error."""
        self.world.zones.set("sender.example", "TXT", [b"v=spf1 ptr:sender.example -all"])
        self.world.zones.set("out.sender.example", "A", NoAnswerError("out.sender.example", "A", "x"))
        self.assertIs(self.begin().spf.known.verdict, SPFVerdict.FAIL)
        self.world.zones.set("out.sender.example", "A", ["198.51.100.7"])
        self.assertIs(self.begin().spf.known.verdict, SPFVerdict.PASS)


class KeptPolicyTests(VerifierCase):
    def setUp(self) -> None:
        """One verifier for several messages."""
        super().setUp()
        self.one = self.world.verifier()

    def policy(self, message: bytes = LETTER, **changes: Any) -> tuple[DMARCVerdict, Policy]:
        """What DMARC comes to for a message."""
        work = self.one.verify(self.world.unverified(message, **changes))
        return self.dmarc(self.successResultOf(Deferred.fromCoroutine(work)))  # type: ignore[arg-type]

    def set(self, record: bytes) -> None:
        """Another policy."""
        self.world.zones.set("_dmarc.sender.example", "TXT", [record])

    def test_next_message(self) -> None:
        """For a minute, or as long as the answers hold, what DMARC came to is not found out again where the same passed."""
        for ttl, seconds in ((300, 60), (7, 7)):
            self.world.zones.ttl_seconds = ttl
            self.one = self.world.verifier()
            self.set(b"v=DMARC1; p=reject")
            self.assertEqual(self.policy(), (DMARCVerdict.PASS, Policy.NONE))
            self.set(b"v=something")
            self.world.clock.advance(seconds - 1)
            self.assertEqual(self.policy(ip=IP + 1), (DMARCVerdict.PASS, Policy.NONE))
            self.world.clock.advance(1)
            self.assertEqual(self.policy(), (DMARCVerdict.NONE, Policy.NONE))

    def test_others(self) -> None:
        """Another message of the domain for which something else passed is judged by itself."""
        self.assertEqual(self.policy(), (DMARCVerdict.PASS, Policy.NONE))
        self.assertEqual(self.policy(ip=IP + 256), (DMARCVerdict.FAIL, Policy.REJECT))
        self.assertEqual(self.policy(signed(LETTER), ip=IP + 256), (DMARCVerdict.PASS, Policy.NONE))
        self.assertEqual(self.policy(ip=IP + 256), (DMARCVerdict.FAIL, Policy.REJECT))

    def test_sample(self) -> None:
        """A sample is drawn for each message."""
        draws = [b"\0\0\0\0", b"\0\0\0\x63"]
        self.one = evolve(self.one, entropy=lambda _: draws.pop())
        self.set(b"v=DMARC1; p=reject; pct=50")
        self.assertEqual(self.policy(ip=IP + 256), (DMARCVerdict.FAIL, Policy.QUARANTINE))
        self.assertEqual(self.policy(ip=IP + 256), (DMARCVerdict.FAIL, Policy.REJECT))

    def test_trouble(self) -> None:
        """What could not be found out is not kept."""
        self.world.zones.set("_dmarc.sender.example", "TXT", NoAnswerError("x", "TXT", "x"))
        self.assertEqual(self.policy(), (DMARCVerdict.TEMPERROR, Policy.NONE))
        self.set(b"v=DMARC1; p=reject")
        self.assertEqual(self.policy(), (DMARCVerdict.PASS, Policy.NONE))


class MethodTests(VerifierCase):
    def test_all_good(self) -> None:
        """All methods pass for a sender that does everything right."""
        found = self.verified(signed(LETTER))
        self.assertEqual(verdicts(found), {"dmarc": "pass", "spf": "pass", "dkim": "pass", "iprev": "pass"})
        assert found.helo_spf is not None
        self.assertIs(found.helo_spf.verdict, SPFVerdict.PASS)
        self.assertTrue(found.from_validated)
        self.assertEqual(found.organizational_domain, "sender.example")
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_forged(self) -> None:
        """A stranger's mail in somebody's name fails, and the owner's wish is there."""
        found = self.verified(FORGED, ip=IP + 256)
        self.assertEqual(self.dmarc(found), (DMARCVerdict.FAIL, Policy.REJECT))
        self.assertEqual(verdicts(found)["spf"], "fail")
        self.assertFalse(found.from_validated)

    def test_signature_alone(self) -> None:
        """A forwarded message passes by its signature."""
        found = self.verified(signed(LETTER), ip=IP + 256, hello="forwarder.example")
        self.assertEqual(self.dmarc(found), (DMARCVerdict.PASS, Policy.NONE))

    def test_without_address(self) -> None:
        """Without an address of the client only the message itself is looked at."""
        found = self.verified(signed(LETTER), ip=None)
        self.assertEqual((found.iprev, found.spf, found.helo_spf), (None, None, None))
        self.assertEqual(verdicts(found)["dkim"], "pass")

    def test_null_sender(self) -> None:
        """With a null reverse-path SPF is about the name in EHLO, asked once."""
        found = self.verified(reverse_path=path(""))
        assert found.spf is not None
        assert found.helo_spf is not None
        self.assertEqual((found.spf.domain, found.helo_spf.verdict), ("out.sender.example", SPFVerdict.PASS))
        self.assertEqual(self.world.zones.asked.count(("out.sender.example", "TXT")), 1)
        # aligned, relaxed
        self.assertEqual(self.dmarc(found)[0], DMARCVerdict.PASS)

    def test_bare_name(self) -> None:
        """A client that says no domain in EHLO has no SPF of its own."""
        for hello in ("localhost", "[198.51.100.7]"):
            self.assertIsNone(self.verified(hello=hello).helo_spf)

    def test_two_authors(self) -> None:
        """A message whose From names several domains has no DMARC result, and the reason is written."""
        found = self.verified(b"From: x@elsewhere.example\r\n" + LETTER)
        self.assertIsNone(found.dmarc)
        self.assertIn(b"dmarc=permerror", found.trace)
        self.assertFalse(found.from_validated)

    def test_without_policy(self) -> None:
        """Without a DMARC record From is validated by SPF or DKIM of the same organization."""
        self.world.zones.remove("_dmarc.sender.example", "TXT")
        self.assertTrue(self.verified().from_validated)
        self.assertTrue(self.verified(LETTER.replace(b"a@sender", b"a@news.sender")).from_validated)
        self.assertFalse(self.verified(LETTER.replace(b"a@sender", b"a@other")).from_validated)
        self.assertFalse(self.verified(ip=IP + 256).from_validated)

    def test_public_suffix_signs(self) -> None:
        """Nobody signs for all below a public suffix."""
        key = SigningKey.from_pem("co.uk", "s", PEM)
        self.world.zones.set(key.name, "TXT", [key.record_text().encode()])
        found = self.verified(signed(LETTER, key))
        self.assertIs(found.dkim[0].status, Status.POLICY)

    def test_tree_walk(self) -> None:
        """With the tree walk the record of a parent domain holds, whatever the list says."""
        self.world = World(tree_walk=True)
        self.world.zones.set("_dmarc.co.uk", "TXT", [b"v=DMARC1; p=reject; psd=n"])
        found = self.verified(LETTER.replace(b"sender.example", b"shop.co.uk"))
        self.assertEqual(found.organizational_domain, "co.uk")


class BrokenServerTests(VerifierCase):
    """A stranger whose own name servers do not answer."""

    def setUp(self) -> None:
        super().setUp()
        self.world = World(tree_walk=True)
        zones = self.world.zones
        for name in ("_dmarc.sender.example", KEY.name):
            zones.set(name, "TXT", NoAnswerError(name, "TXT", "no answer"))
        zones.set("bank.example", "A", ["192.0.2.1"])
        self.forged = signed(LETTER.replace(b"a@sender.example", b"ceo@bank.example"))

    def test_without_policy(self) -> None:
        """Where From has no policy, he proves nothing of it."""
        self.assertFalse(self.verified(self.forged).from_validated)

    def test_with_policy(self) -> None:
        """Where it has one, it is not put off for his key."""
        self.world.zones.set("_dmarc.bank.example", "TXT", [b"v=DMARC1; p=reject"])
        self.assertEqual(self.dmarc(self.verified(self.forged)), (DMARCVerdict.FAIL, Policy.REJECT))


class TimeTests(VerifierCase):
    def slow(self, *names: str) -> SlowResolver:
        self.world.resolver = slow = SlowResolver(self.world.zones, *names)
        return slow

    def begin(self, message: bytes) -> Deferred[Verified]:
        work = self.world.verifier().verify(self.world.unverified(message))
        return Deferred.fromCoroutine(work)  # type: ignore[arg-type]

    def test_all_at_once(self) -> None:
        """Nothing waits for anything else: the first questions of all methods are under way together."""
        slow = self.slow("7.100.51.198.in-addr.arpa", "sender.example", "out.sender.example", KEY.name)
        work = self.begin(signed(LETTER))
        self.assertEqual(len(slow.waiting), 4)
        slow.answer()
        self.assertEqual(set(verdicts(self.successResultOf(work)).values()), {"pass"})
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_methods_end(self) -> None:
        """What has no answer in its time is a temporary error, and so is DMARC when nothing else is aligned."""
        self.slow("7.100.51.198.in-addr.arpa", "sender.example", "out.sender.example", KEY.name)
        work = self.begin(signed(LETTER))
        self.world.clock.advance(19.9)
        self.assertNoResult(work)
        self.world.clock.advance(0.2)
        found = self.successResultOf(work)
        assert found.helo_spf is not None
        assert found.iprev is not None
        self.assertEqual(set(verdicts(found).values()), {"temperror"})
        self.assertIs(found.helo_spf.verdict, SPFVerdict.TEMPERROR)
        self.assertIs(found.iprev.verdict, IPRevVerdict.TEMPERROR)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_one_is_enough(self) -> None:
        """SPF that has no answer does not spoil a signature."""
        self.slow("sender.example")
        work = self.begin(signed(LETTER))
        self.world.clock.advance(21)
        self.assertEqual(self.dmarc(self.successResultOf(work))[0], DMARCVerdict.PASS)

    def test_all_end(self) -> None:
        """All together end in the time for all, however many steps are slow."""
        self.slow("sender.example", "_dmarc.sender.example")
        work = self.begin(LETTER)
        self.world.clock.advance(20.1)
        self.assertNoResult(work)
        self.world.clock.advance(10)
        self.assertEqual(self.dmarc(self.successResultOf(work))[0], DMARCVerdict.TEMPERROR)

    def test_enemies_silence(self) -> None:
        """A signature whose key server never answers does not save a forger from the policy of others."""
        evil = SigningKey.from_pem("evil.example", "s", new_private_key("ed25519"))
        self.slow(evil.name)
        message = self.world.unverified(signed(FORGED, evil), ip=IP + 256)
        work = Deferred.fromCoroutine(self.world.verifier().verify(message))
        self.world.clock.advance(21)
        found = self.successResultOf(work)
        self.assertEqual(verdicts(found)["dkim"], "temperror")
        self.assertEqual(self.dmarc(found), (DMARCVerdict.FAIL, Policy.REJECT))

    def test_broken_dns(self) -> None:
        """A DNS that answers with errors makes temporary errors, at once."""
        for name in ("sender.example", "out.sender.example", KEY.name, "7.100.51.198.in-addr.arpa"):
            for rrtype in ("TXT", "A", "PTR"):
                self.world.zones.set(name, rrtype, NoAnswerError(name, rrtype, "SERVFAIL"))
        found = self.verified(signed(LETTER))
        self.assertEqual(set(verdicts(found).values()), {"temperror"})

    def test_our_own_trouble(self) -> None:
        """An exception in our own code is logged and becomes a temporary error."""

        class Broken:
            async def lookup(self, name: str, rrtype: str) -> None:
                raise ZeroDivisionError

        self.world.resolver = Broken()
        found = self.verified(signed(LETTER))
        self.assertEqual(set(verdicts(found).values()), {"temperror"})
        self.assertEqual(self.dmarc(found)[1], Policy.NONE)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_begun_early(self) -> None:
        """What was asked at MAIL FROM is not asked again."""
        verifier = self.world.verifier()
        begun = verifier.begin(IP, "out.sender.example", path("a@sender.example"))
        asked = list(self.world.zones.asked)
        self.assertIn(("sender.example", "TXT"), asked)
        work = verifier.verify(self.world.unverified(LETTER, begun=begun))
        found = self.successResultOf(Deferred.fromCoroutine(work))
        self.assertEqual(verdicts(found)["spf"], "pass")
        self.assertNotIn(("sender.example", "TXT"), self.world.zones.asked[len(asked) :])

    def test_keys_early(self) -> None:
        """Keys and the policy are asked for when the header is there."""
        hasher = MessageHasher()
        hasher.feed(signed(LETTER))
        self.world.verifier().header_came(hasher)
        self.assertEqual(self.world.zones.asked, [(KEY.name, "TXT"), ("_dmarc.sender.example", "TXT")])


class SealerTests(VerifierCase):
    """A list that changes messages and seals them."""

    LIST = SigningKey.from_pem("list.example", "l", new_private_key("ed25519"))

    def through_list(self, dmarc: str = "pass", seen: str = "sender.example") -> bytes:
        """A message that a list changed."""
        changed = signed(LETTER).replace(b"Subject: ", b"Subject: [list] ")
        hasher = MessageHasher(also=[BodyForm(Canonicalization.RELAXED)])
        hasher.feed(changed)
        message = hasher.finish()
        self.world.zones.set(self.LIST.name, "TXT", [self.LIST.record_text().encode()])
        chain = self.successResultOf(Deferred.fromCoroutine(validate_chain(message, self.world.zones)))
        results = AuthenticationResults(
            "list.example", (MethodResult("dmarc", dmarc, properties=(Property("header", "from", seen),)),)
        )
        return seal(message, chain, results.payload(), self.LIST, now=1000) + changed

    def judged(self, message: bytes, *trusted: str) -> Verified:
        self.world = World(trusted_sealers=frozenset(trusted))
        self.world.zones.set(self.LIST.name, "TXT", [self.LIST.record_text().encode()])
        return self.verified(message, ip=IP + 256, reverse_path=path("bounces@list.example"))

    def test_trusted(self) -> None:
        """A trusted sealer that saw DMARC pass is named when it fails here."""
        found = self.judged(self.through_list(), "list.example")
        assert found.arc is not None
        self.assertIs(found.arc.status, ChainStatus.PASS)
        self.assertEqual(self.dmarc(found), (DMARCVerdict.FAIL, Policy.REJECT))
        assert found.sealed is not None
        self.assertEqual(found.sealed.sealer, "list.example")
        self.assertIn(b"sealed by list.example", b" ".join(found.trace.split()))

    def test_not_trusted(self) -> None:
        """Any other sealer changes nothing, nor one that saw DMARC fail, or another domain in From."""
        self.assertIsNone(self.judged(self.through_list()).sealed)
        self.assertIsNone(self.judged(self.through_list("fail"), "list.example").sealed)
        self.assertIsNone(self.judged(self.through_list(seen="other.example"), "list.example").sealed)
        broken = self.through_list().replace(b"It works", b"It is broken")
        self.assertIsNone(self.judged(broken, "list.example").sealed)


class FieldTests(VerifierCase):
    def results(self, found: Verified) -> AuthenticationResults:
        field, _, rest = found.trace.partition(b"\r\nReceived-SPF: ")
        self.assertTrue(rest.endswith(b"\r\n"))
        results = parse_results(field.partition(b":")[2])
        assert results is not None
        return results

    def test_all(self) -> None:
        """Authentication-Results has each method with what it was about."""
        results = self.results(self.verified(signed(LETTER)))
        self.assertEqual(results.authserv_id, "mx.example.org")
        self.assertEqual(
            [(r.method, r.result) for r in results.results],
            [("iprev", "pass"), ("spf", "pass"), ("spf", "pass"), ("dkim", "pass"), ("dmarc", "pass")],
        )
        iprev, mail_from, helo, dkim, dmarc = results.results
        self.assertEqual(iprev.value("policy", "iprev"), "198.51.100.7")
        self.assertEqual(mail_from.value("smtp", "mailfrom"), "a@sender.example")
        self.assertEqual(helo.value("smtp", "helo"), "out.sender.example")
        self.assertEqual((dkim.value("header", "d"), dkim.value("header", "s")), ("sender.example", "s"))
        self.assertTrue(dkim.value("header", "b"))
        self.assertEqual(dmarc.value("header", "from"), "sender.example")
        self.assertEqual(dmarc.value("policy", "dmarc"), "none")

    def test_policy(self) -> None:
        """What the owner wants done stands beside a failure, and why."""
        dmarc = self.results(self.verified(FORGED, ip=IP + 256)).of("dmarc")[0]
        self.assertEqual((dmarc.result, dmarc.value("policy", "dmarc")), ("fail", "reject"))
        self.assertIn("neither SPF nor DKIM passed", dmarc.reason)

    def test_received_spf(self) -> None:
        """Received-SPF says whom the sender's domain designates."""
        found = self.verified()
        self.assertIn(
            b"Received-SPF: pass (mx.example.org: domain of a@sender.example designates\r\n", found.trace
        )

    def test_injection(self) -> None:
        """What strangers say cannot end a field or a result."""
        found = self.verified(hello='x.example;\r\n\tdkim=pass header.d="bank.example')
        for line in found.trace.split(b"\r\n")[:-1]:
            self.assertRegex(line, rb"\A(Authentication-Results:|Received-SPF:|[ \t])")
        self.assertEqual([r.result for r in self.results(found).of("dkim")], ["none"])
