"""The second opinion on signatures."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

from moxtwisted.dns.answers import NoAnswerError
from moxtwisted.dns.testing import ZoneResolver
from moxtwisted.mailauth.dkim import keys
from moxtwisted.mailauth.dkim.secondopinion import MAX_OCTETS, second_opinion
from moxtwisted.mailauth.dkim.verify import Reason, Status
from tests.mailauth.dkim.test_verify import EDWARDS, KEY, MESSAGE, NOW, VerifyTestCase, hashed, signed

try:
    import dkim
    import nacl  # noqa: F401
except ImportError:
    dkim = None


class SecondOpinionTests(VerifyTestCase):
    def setUp(self) -> None:
        if dkim is None:
            raise SkipTest("dkimpy or PyNaCl is not installed")

    def opinion(self, message: bytes, verifications: Any = None) -> frozenset[str] | None:
        """What it comes to."""
        verifications = self.verified(message) if verifications is None else verifications
        running = second_opinion(message, hashed(message).found, verifications, ZoneResolver(self.records))
        # dkimpy looks at the clock.
        with patch("time.time", lambda: NOW):
            found: frozenset[str] | None = self.successResultOf(Deferred.fromCoroutine(running))
        return found

    def test_agreement(self) -> None:
        """Nobody finds a changed message right; what passed is not asked about."""
        self.assertEqual(self.opinion(signed() + b"more\r\n"), frozenset())
        self.assertEqual(self.opinion(signed().replace(b"lunch", b"money")), frozenset())
        self.assertEqual(self.opinion(signed()), frozenset())

    def test_wrong_on_purpose(self) -> None:
        """When our arithmetic is wrong, dkimpy finds what we did not, of several signatures each."""
        message = signed(signed(key=EDWARDS))
        with patch.object(keys.PublicKey, "verify", lambda *_: False):
            verifications = self.verified(message)
        self.assertEqual([v.reason for v in verifications], [Reason.SIGNATURE] * 2)
        self.assertEqual(self.opinion(message, verifications), {"example.org"})

    def test_among_many(self) -> None:
        """Of many signatures it is asked about that which we looked at, wherever it stands."""
        others = b"".join(
            signed().replace(b"d=example.org", b"d=d%d.example" % n)[: -len(MESSAGE)] for n in range(20)
        )
        message = others + signed()
        with patch.object(keys.PublicKey, "verify", lambda *_: False):
            verifications = self.verified(message)
        self.assertEqual(
            [v.signature.domain for v in verifications if v.reason is Reason.SIGNATURE and v.signature],
            ["example.org"],
        )
        self.assertEqual(self.opinion(message, verifications), {"example.org"})

    def test_policy_stays(self) -> None:
        """What was refused by policy is not asked about."""
        (found,) = self.verified(signed(), now=1)
        self.assertIs(found.status, Status.POLICY)
        self.assertEqual(self.opinion(signed(), (found,)), frozenset())

    def test_unreadable_stays(self) -> None:
        """A signature that only dkimpy can read is not taken from it."""
        message = signed().replace(b"==\r\nReceived", b"====\r\nReceived")
        (found,) = self.verified(message)
        self.assertIs(found.reason, Reason.SYNTAX)
        self.assertEqual(self.opinion(message, (found,)), frozenset())

    def test_no_opinion(self) -> None:
        """Large messages, those that would take dkimpy long, and keys without an answer have none."""
        for more in (b"x" * MAX_OCTETS, b" " * 1000 + b"x", b"\r\n" * 1000 + b"x"):
            self.assertIsNone(self.opinion(signed() + more))
        message = signed().replace(b"lunch", b"money")
        verifications = self.verified(message)
        self.records = {(KEY.name, "TXT"): NoAnswerError(KEY.name, "TXT", "time-out")}
        self.assertIsNone(self.opinion(message, verifications))
