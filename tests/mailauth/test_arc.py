"""Chains beyond the published suite: whom to believe, what is never sealed, and what comes from enemies."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.arc import Chain, ChainReason, ChainStatus, seal, trusted_results, validate
from moxtwisted.mailauth.arcset import MAX_SETS
from moxtwisted.mailauth.authres import AuthenticationResults, MethodResult
from moxtwisted.mailauth.dkim.canonical import BodyForm, Canonicalization
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.inflow import HashedMessage, MessageHasher

PEM = new_private_key("ed25519")
DOMAINS = ("one.example", "two.example", "three.example")
KEYS = [SigningKey.from_pem(domain, "s", PEM) for domain in DOMAINS]
RECORDS: dict[tuple[str, str], Any] = {(key.name, "TXT"): [key.record_text().encode()] for key in KEYS}
MESSAGE = b"From: a@example.org\r\nSubject: x\r\n\r\nHello\r\n"


def hashed(message: bytes) -> HashedMessage:
    """A message that came in and may be sealed."""
    hasher = MessageHasher(also=[BodyForm(Canonicalization.RELAXED)])
    hasher.feed(message)
    return hasher.finish()


class ChainTestCase(SynchronousTestCase):
    records = RECORDS

    def judged(self, message: bytes) -> Chain:
        """What we make of a message."""
        self.resolver = ZoneResolver(self.records)
        chain: Chain = self.successResultOf(Deferred.fromCoroutine(validate(hashed(message), self.resolver)))
        return chain

    def passed_on(self, message: bytes, key: SigningKey, dmarc: str = "pass") -> bytes:
        """A message as one more server sends it on."""
        results = AuthenticationResults(key.domain, (MethodResult("dmarc", dmarc),))
        fields = seal(hashed(message), self.judged(message), results.payload(), key, now=1000)
        return fields + message

    def through(self, *keys: SigningKey) -> bytes:
        """A message that came through several; the first saw DMARC pass, the others did not."""
        message = MESSAGE
        for i, key in enumerate(keys):
            message = self.passed_on(message, key, "fail" if i else "pass")
        return message


class ChainTests(ChainTestCase):
    def test_passes(self) -> None:
        """What we seal passes, and which sealers there were is said."""
        chain = self.judged(self.through(*KEYS))
        self.assertEqual((chain.status, chain.oldest_pass, chain.highest), (ChainStatus.PASS, 0, 3))
        self.assertEqual([found.seal.domain for found in chain.sets], list(DOMAINS))
        self.assertEqual([found.seal.chain_status for found in chain.sets], ["none", "pass", "pass"])

    def test_too_much(self) -> None:
        """How far down nothing was changed is not found out of what takes too much work; whether the chain passes is."""
        with patch("moxtwisted.mailauth.arc._OLDEST_OCTETS", 10):
            chain = self.judged(self.through(*KEYS))
        self.assertEqual((chain.status, chain.oldest_pass), (ChainStatus.PASS, 3))

    def test_told(self) -> None:
        """Authentication-Results says how far down nothing was changed, or why the chain failed."""
        told = self.judged(self.through(*KEYS)).method_result()
        self.assertEqual((told.result, told.value("header", "oldest-pass")), ("pass", "0"))
        self.assertEqual(told.comment, "i=3 three.example")
        self.assertEqual(self.judged(MESSAGE).method_result().result, "none")
        self.assertIn(
            "seal",
            self.judged(self.through(KEYS[0]).replace(b"one.example;", b"two.example;"))
            .method_result()
            .reason,
        )

    def test_changed_on_the_way(self) -> None:
        """A change before the last seal leaves the chain whole; since when there was none is said. One after it breaks it."""
        message = self.through(KEYS[0]).replace(b"Hello", b"Hello, list")
        self.assertEqual(self.judged(message).reason, ChainReason.BODY)
        forwarder = seal(
            hashed(message), self.judged(self.through(KEYS[0])), b"two.example; none", KEYS[1], now=1
        )
        chain = self.judged(forwarder + message)
        self.assertEqual((chain.status, chain.oldest_pass), (ChainStatus.PASS, 2))
        self.assertEqual(
            self.judged(self.through(*KEYS).replace(b"Subject: x", b"Subject: y")).reason,
            ChainReason.MESSAGE_SIGNATURE,
        )

    def test_tampered_results(self) -> None:
        """Results that were changed break the seals above them."""
        chain = self.judged(
            self.through(*KEYS)
            .replace(b"one.example; ", b"one.example ;", 1)
            .replace(b"dmarc=pass", b"dmarc=none")
        )
        self.assertEqual(
            (chain.status, chain.reason, chain.instance), (ChainStatus.FAIL, ChainReason.SEAL, 3)
        )

    def test_failed_is_sealed_once(self) -> None:
        """A chain that failed is sealed as failed, and nothing is added after that."""
        broken = self.through(KEYS[0]).replace(b"Hello", b"Bye")
        once = self.passed_on(broken, KEYS[1])
        self.assertIn(b"cv=fail", once)
        self.assertEqual(self.judged(once).reason, ChainReason.CHAIN_STATUS)
        self.assertEqual(self.passed_on(once, KEYS[2]), once)

    def test_moved(self) -> None:
        """Fields that were added above the chain since it was judged do no harm; a set that was added stops us."""
        message = self.through(KEYS[0])
        chain = self.judged(message)
        listed = b"List-Id: <list.example>\r\nReceived: x\r\n" + message
        fields = seal(hashed(listed), chain, b"two.example; none", KEYS[1], now=1)
        self.assertEqual(self.judged(fields + listed).status, ChainStatus.PASS)
        more = self.passed_on(message, KEYS[1])
        self.assertEqual(seal(hashed(more), chain, b"three.example; none", KEYS[2], now=1), b"")

    def test_no_answer(self) -> None:
        """When a key cannot be asked for, that is said, and the chain is left as it is."""
        message = self.through(KEYS[0])
        self.records = {(KEYS[0].name, "TXT"): NoAnswerError(KEYS[0].name, "TXT", "time-out")}
        chain = self.judged(message)
        self.assertEqual((chain.status, chain.reason), (ChainStatus.TEMPERROR, ChainReason.DNS))
        self.assertEqual(seal(hashed(message), chain, b"two.example; none", KEYS[1], now=1), b"")

    def test_no_key(self) -> None:
        """A key that is not there is a failure."""
        message = self.through(KEYS[0])
        self.records = {}
        self.assertEqual(self.judged(message).reason, ChainReason.KEY)

    def test_full(self) -> None:
        """Fifty sets are the most."""
        message = self.through(*[KEYS[i % 3] for i in range(MAX_SETS)])
        self.assertEqual(self.judged(message).status, ChainStatus.PASS)
        self.assertEqual(self.passed_on(message, KEYS[0]), message)


class TrustTests(ChainTestCase):
    def test_all_trusted(self) -> None:
        """With all sealers trusted, the first one's results count."""
        found = trusted_results(self.judged(self.through(*KEYS)), set(DOMAINS))
        assert found is not None
        self.assertEqual((found.instance, found.sealer, found.dmarc_pass), (1, "one.example", True))

    def test_some_trusted(self) -> None:
        """Below a sealer who is not trusted nothing counts: it may have invented all of that."""
        chain = self.judged(self.through(*KEYS))
        found = trusted_results(chain, {"three.example", "one.example"})
        assert found is not None
        self.assertEqual((found.instance, found.dmarc_pass), (3, False))
        self.assertIsNone(trusted_results(chain, {"one.example", "two.example"}))
        self.assertIsNone(trusted_results(chain, {"example"}))

    def test_only_what_passed(self) -> None:
        """A chain that did not pass has no results, whoever sealed it."""
        self.assertIsNone(trusted_results(self.judged(self.through(*KEYS) + b"more\r\n"), set(DOMAINS)))
        self.assertIsNone(trusted_results(self.judged(MESSAGE), set(DOMAINS)))


class HostileTests(ChainTestCase):
    def test_many_sets(self) -> None:
        """Thousands of fields are not even read."""
        message = (
            b"".join(b"ARC-Seal: i=%d\r\nARC-Message-Signature: i=1\r\n" % i for i in range(4000)) + MESSAGE
        )
        started = time.process_time()
        chain = self.judged(message)
        self.assertEqual((chain.status, chain.reason), (ChainStatus.FAIL, ChainReason.STRUCTURE))
        self.assertLess(time.process_time() - started, 1)

    def test_fifty_broken(self) -> None:
        """A body that was changed costs no question to the DNS, however long the chain."""
        message = self.through(*[KEYS[i % 3] for i in range(20)]) + b"more\r\n"
        self.assertEqual(self.judged(message).reason, ChainReason.BODY)
        self.assertEqual(self.resolver.asked, [])
