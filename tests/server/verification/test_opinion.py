"""What happens when we are wrong: the second opinion differs, and the sender does not pay for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from moxtwisted.mailauth.dkim import canonical
from moxtwisted.mailauth.dkim.keys import PublicKey, SigningKey, new_private_key
from moxtwisted.mailauth.dkim.secondopinion import second_opinion
from moxtwisted.mailauth.dmarc.evaluation import Verdict as DMARCVerdict
from moxtwisted.mailauth.dmarc.record import Policy
from moxtwisted.mailauth.spf.evaluation import Evaluator, SPFResult
from moxtwisted.mailauth.spf.evaluation import Verdict as SPFVerdict
from moxtwisted.server.verification import opinion
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.server.verification.opinion import as_it_came
from moxtwisted.server.verification.verifier import Verifier
from tests.server.verification.world import IP, KEY, LETTER, SlowResolver, World, path, signed

EVIL = SigningKey.from_pem("evil.example", "s", new_private_key("ed25519"))


def now(function: Callable[[], Any]) -> Deferred[Any]:
    """In place of a thread."""
    return execute(function)


class OpinionCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A world, and what is logged."""
        self.world = World()
        self.events: list[dict[str, Any]] = []

        @implementer(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            if "second_opinion" in event:
                self.events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def verifier(self) -> Verifier:
        world = self.world
        return Verifier(world.resolver, world.clock, world.settings, bytes, now)

    def verified(self, message: bytes, **changes: Any) -> Verified:
        """What is found of a message from a stranger's host."""
        unverified = self.world.unverified(message, **{"ip": IP + 256, "hello": "x.example", **changes})
        found: Verified = self.successResultOf(Deferred.fromCoroutine(self.verifier().verify(unverified)))
        return found

    def dmarc(self, found: Verified) -> tuple[DMARCVerdict, Policy]:
        """What became of DMARC."""
        assert found.dmarc is not None
        return found.dmarc.verdict, found.dmarc.disposition


REJECTED = (DMARCVerdict.FAIL, Policy.REJECT)
SPARED = (DMARCVerdict.FAIL, Policy.NONE)


class DKIMTests(OpinionCase):
    def test_wrong_arithmetic(self) -> None:
        """When our check of the value is wrong, dkimpy is believed and the evidence logged."""
        with patch.object(PublicKey, "verify", lambda *_: False):
            found = self.verified(signed(LETTER))
        self.assertEqual(self.dmarc(found), SPARED)
        self.assertEqual(found.unconfirmed, {"dkim"})
        [event] = self.events
        self.assertEqual((event["second_opinion"], event["ours"], event["theirs"]), ("dkim", "fail", "pass"))
        self.assertIn(b"p=", event["records"])
        self.assertIn(b"Subject: hello", event["header"])
        self.assertEqual(event["domain"], "sender.example")
        self.assertIn(b"(p=reject, not confirmed)", found.trace)

    def test_wrong_body(self) -> None:
        """The same when our canonical body is."""
        message = signed(LETTER)
        with patch.object(canonical, "_collapsed", lambda octets: octets + b"x"):
            unverified = self.world.unverified(message, ip=IP + 256)
        work = Deferred.fromCoroutine(self.verifier().verify(unverified))
        self.assertEqual(self.dmarc(self.successResultOf(work)), SPARED)

    def test_large(self) -> None:
        """A larger message is looked at in a thread, with what the DNS said before."""
        threads = []

        def thread(function: Callable[[], Any]) -> Deferred[Any]:
            threads.append(function)
            return now(function)

        message = signed(LETTER + b"words and words\r\n" * 10_000)
        world = self.world
        verifier = Verifier(world.resolver, world.clock, world.settings, bytes, thread)
        with patch.object(PublicKey, "verify", lambda *_: False):
            work = Deferred.fromCoroutine(verifier.verify(world.unverified(message, ip=IP + 256)))
        self.assertEqual(self.dmarc(self.successResultOf(work)), SPARED)
        self.assertEqual(len(threads), 1)

    def test_too_large(self) -> None:
        """Nobody gets around a policy by a message that is too large for a second opinion."""
        message = signed(LETTER) + b"more\r\n" * 200_000
        self.assertEqual(self.dmarc(self.verified(message)), REJECTED)

    def test_slow(self) -> None:
        """A thread that does not end leaves our own verdict."""
        world = self.world
        verifier = Verifier(world.resolver, world.clock, world.settings, bytes, lambda _: Deferred())
        message = signed(LETTER) + b"more\r\n" * 20_000
        work = Deferred.fromCoroutine(verifier.verify(world.unverified(message, ip=IP + 256)))
        self.assertNoResult(work)
        world.clock.advance(11)
        self.assertEqual(self.dmarc(self.successResultOf(work)), REJECTED)

    def test_many_signatures(self) -> None:
        """Of many wrong signatures dkimpy is given two."""
        message = signed(LETTER).replace(b"It works", b"It does not")
        signature = message[: message.index(b"From: ")]
        with patch.object(opinion, "ask_dkimpy", wraps=second_opinion) as asked:
            self.verified(signature * 8 + message)
        self.assertEqual(sum(found.reason is not None for found in asked.call_args[0][2]), 2)

    def test_agreement(self) -> None:
        """What both find wrong is refused, without a word in the log."""
        found = self.verified(signed(LETTER).replace(b"It works", b"It does not"))
        self.assertEqual((self.dmarc(found), found.unconfirmed), (REJECTED, frozenset()))
        self.assertEqual(self.events, [])

    def test_somebody_elses(self) -> None:
        """A stranger's own signature, about which the two differ, is no way around the policy of the domain in From."""
        self.world.zones.set(EVIL.name, "TXT", [EVIL.record_text().encode()])
        with patch.object(PublicKey, "verify", lambda *_: False):
            found = self.verified(signed(LETTER, EVIL))
        self.assertEqual((self.dmarc(found), found.unconfirmed), (REJECTED, frozenset()))

    def test_not_asked(self) -> None:
        """Where From is proved otherwise, nobody is asked."""
        self.world.zones.set("_dmarc.sender.example", "TXT", [b"v=DMARC1; p=none"])
        with patch.object(opinion, "ask_dkimpy", side_effect=AssertionError):
            self.verified(signed(LETTER).replace(b"It works", b"It does not"), ip=IP)
            self.verified(signed(LETTER))

    def test_without_policy(self) -> None:
        """Without a policy a recipient may still want proof of From, so it is said that there is a doubt."""
        self.world.zones.remove("_dmarc.sender.example", "TXT")
        with patch.object(PublicKey, "verify", lambda *_: False):
            found = self.verified(signed(LETTER))
        self.assertEqual((found.from_validated, found.unconfirmed), (False, {"dkim"}))

    def test_strict(self) -> None:
        """A signature of a neighbour does not count where the owner wants its own."""
        self.world.zones.set("_dmarc.sender.example", "TXT", [b"v=DMARC1; p=reject; adkim=s"])
        key = SigningKey.from_pem("news.sender.example", "s", new_private_key("ed25519"))
        self.world.zones.set(key.name, "TXT", [key.record_text().encode()])
        with patch.object(PublicKey, "verify", lambda *_: False):
            found = self.verified(signed(LETTER, key))
        self.assertEqual((self.dmarc(found), found.unconfirmed), (REJECTED, frozenset()))

    def test_removed_fields(self) -> None:
        """Dkimpy is given the message as it came, also when fields were taken out of what is stored."""
        forged = b"Authentication-Results: mx.example.org; dkim=pass\r\n"
        message = signed(forged + LETTER)
        came, stored = self.world.unverified(message), self.world.unverified(message.replace(forged, b""))
        self.assertEqual(as_it_came(came.hashed, stored.staged, len(forged)), message)
        for octets in (message, LETTER, b"\r\nbody", b"Subject: x\r\n", b""):
            one = self.world.unverified(octets)
            self.assertEqual(as_it_came(one.hashed, one.staged, 0), octets)


class SPFTests(OpinionCase):
    def wrong(self, verdict: SPFVerdict) -> Any:
        """Our evaluation comes to this, whatever it is about."""
        right = Evaluator._check

        async def check(evaluator: Evaluator, *arguments: Any) -> SPFResult:
            return evolve(await right(evaluator, *arguments), verdict=verdict)

        return patch.object(Evaluator, "_check", check)

    def test_wrong(self) -> None:
        """When our SPF is wrong, pyspf is believed: nothing is to be refused for SPF nor for DMARC."""
        with self.wrong(SPFVerdict.FAIL):
            found = self.verified(LETTER, ip=IP)
        self.assertEqual((self.dmarc(found), found.unconfirmed), (SPARED, {"spf"}))
        [event] = self.events
        self.assertEqual((event["second_opinion"], event["ours"], event["theirs"]), ("spf", "fail", "pass"))
        self.assertIn("sender.example: v=spf1 ip4:198.51.100.0/24 -all", event["records"])

    def test_without_policy(self) -> None:
        """The same for SPF alone, also when the message names no author."""
        for message in (LETTER, b"Subject: nobody\r\n\r\n"):
            with self.wrong(SPFVerdict.SOFTFAIL):
                found = self.verified(message, ip=IP, reverse_path=path("a@sender.example"))
            self.assertIn("spf", found.unconfirmed)

    def test_agreement(self) -> None:
        """What both find wrong stays so."""
        found = self.verified(LETTER)
        assert found.spf is not None
        self.assertEqual(found.spf.verdict, SPFVerdict.FAIL)
        self.assertEqual((self.dmarc(found), found.unconfirmed), (REJECTED, frozenset()))
        self.assertEqual(self.events, [])

    def test_not_asked(self) -> None:
        """Who passes, or has no record, is not asked about."""
        with patch.object(opinion, "ask_pyspf", side_effect=AssertionError):
            self.verified(LETTER, ip=IP)
            self.world.zones.set("_dmarc.sender.example", "TXT", [b"v=DMARC1; p=none"])
            self.world.zones.remove("sender.example", "TXT")
            self.verified(LETTER)

    def test_changed_meanwhile(self) -> None:
        """Records that changed between both looks are not held against the sender."""
        slow = SlowResolver(self.world.zones, "_dmarc.sender.example")
        self.world.resolver = slow
        message = self.world.unverified(LETTER, ip=IP + 256)
        work = Deferred.fromCoroutine(self.verifier().verify(message))
        self.world.zones.set("sender.example", "TXT", [b"v=spf1 ip4:198.51.0.0/16 -all"])
        slow.answer()
        found = self.successResultOf(work)
        self.assertEqual((self.dmarc(found), found.unconfirmed), (SPARED, {"spf"}))

    def test_signed(self) -> None:
        """A good signature makes the whole question of DMARC go away."""
        found = self.verified(signed(LETTER, KEY))
        self.assertEqual(self.dmarc(found), (DMARCVerdict.PASS, Policy.NONE))
